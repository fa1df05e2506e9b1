//! Times as Kubernetes writes them, in whole seconds: `90s`, `1m30s`.

/// The error says what to do after its semicolon.
pub(super) fn seconds(text: &str) -> Result<u16, String> {
    let bad = || format!("{text:?} is no time of at most 65535 s; write whole seconds as 90s or 1m30s");
    let mut total = 0u32;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u32 = rest[..unit].parse().map_err(|_| bad())?;
        let factor = match rest[unit..].chars().next() {
            Some('h') => 3600,
            Some('m') => 60,
            Some('s') => 1,
            Some(_) | None => return Err(bad()),
        };
        total = number
            .checked_mul(factor)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(bad)?;
        rest = &rest[unit + 1..];
    }
    match u16::try_from(total) {
        Ok(seconds) if !text.is_empty() => Ok(seconds),
        Ok(_) | Err(_) => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_seconds() {
        for (text, wanted) in [("90s", 90), ("1m30s", 90), ("0s", 0), ("18h12m15s", 65535)] {
            assert_eq!(seconds(text), Ok(wanted), "{text}");
        }
        for text in [
            "",
            "90",
            "s",
            "1.5s",
            "90ms",
            "-1s",
            "18h12m16s",
            "99999999999s",
            "4294967295h",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}

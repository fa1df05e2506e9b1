//! Generic UDP Encapsulation, receiving side: `draft-ietf-intarea-gue` variants 0 and 1.

/// The UDP port of GUE.
pub const PORT: u16 = 6080;

/// The IP packet in a GUE payload, or `None` for a control message or anything that is not IP.
#[must_use]
pub fn inner(payload: &[u8]) -> Option<&[u8]> {
    let first = *payload.first()?;
    match first >> 6 {
        // Variant 1: the IP version nibble itself (4 = 0100, 6 = 0110) says so.
        1 => matches!(first >> 4, 4 | 6).then_some(payload),
        // Variant 0: version 2 bits, control 1 bit, header length in words 5 bits, protocol, flags.
        0 if first & 0x20 == 0 => {
            let words = usize::from(first & 0x1f);
            let protocol = *payload.get(1)?;
            matches!(protocol, 4 | 41)
                .then(|| payload.get(4 + 4 * words..))
                .flatten()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_variants_give_the_inner_packet() {
        assert_eq!(inner(&[0x45, 1, 2]), Some(&[0x45, 1, 2][..]));
        assert_eq!(inner(&[0x60, 1, 2]), Some(&[0x60, 1, 2][..]));
        assert_eq!(inner(&[0, 4, 0, 0, 0x45]), Some(&[0x45][..]));
        assert_eq!(inner(&[1, 41, 0, 0, 9, 9, 9, 9, 0x60]), Some(&[0x60][..]));
    }

    #[test]
    fn the_rest_is_refused() {
        let bad: [&[u8]; 7] = [
            &[],
            &[0],
            &[0, 4],
            &[0x20, 4, 0, 0, 0x45],
            &[0, 6, 0, 0, 1],
            &[0x50, 1],
            &[0x85, 0],
        ];
        for payload in bad {
            assert_eq!(inner(payload), None, "{payload:?}");
        }
    }
}

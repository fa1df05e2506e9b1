//! Aligned columns: names in capitals, two spaces between, numbers to the right.

/// Which edge a column's cells keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A heading and its cells' alignment.
pub type Column = (&'static str, Align);

/// The table as text, without a line break at the end. Empty columns keep their heading.
pub fn render(columns: &[Column], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, (name, _))| {
            rows.iter()
                .map(|row| row[i].chars().count())
                .fold(name.len(), usize::max)
        })
        .collect();
    let heading: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let lines: Vec<String> = std::iter::once(&heading)
        .chain(rows)
        .map(|row| line(columns, &widths, row))
        .collect();
    lines.join("\n")
}

fn line(columns: &[Column], widths: &[usize], row: &[String]) -> String {
    let cells: Vec<String> = columns
        .iter()
        .zip(widths)
        .zip(row)
        .map(|(((_, align), &width), cell)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        })
        .collect();
    cells.join("  ").trim_end().to_owned()
}

/// 1234567 -> `1.23M`: at most five characters, for people.
pub fn count(n: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    if n < 10_000 {
        return n.to_string();
    }
    let (scale, unit) = UNITS
        .into_iter()
        .find(|(scale, _)| n as f64 >= *scale)
        .unwrap_or((1.0, ""));
    let value = n as f64 / scale;
    let decimals = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let columns = [
            ("NAME", Align::Left),
            ("PACKETS", Align::Right),
            ("STATE", Align::Left),
        ];
        let rows = [("a", "1", "up"), ("longer", "12345678", "")]
            .map(|(a, b, c)| vec![a.to_owned(), b.to_owned(), c.to_owned()]);
        let want = "NAME     PACKETS  STATE\na              1  up\nlonger  12345678";
        assert_eq!(render(&columns, &rows), want);
        assert_eq!(render(&columns, &[]), "NAME  PACKETS  STATE");
    }

    #[test]
    fn counts_stay_short() {
        for (n, want) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (123_456, "123k"),
            (1_234_567, "1.23M"),
            (98_765_432_100, "98.8G"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(count(n), want);
        }
    }
}

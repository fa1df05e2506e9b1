//! Medians and ratios. Pure.

use std::fmt;

use super::{Contender, Placement, Sample};

/// All samples of a run.
#[derive(Debug, Clone, Default)]
pub struct Table {
    samples: Vec<(Contender, Placement, Sample)>,
}

/// The median of one contender in one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub contender: Contender,
    pub placement: Placement,
    pub median: Sample,
    pub rounds: usize,
    /// Against bare AF_XDP forwarding in the same placement.
    pub ratio: Option<f64>,
}

impl Table {
    pub fn add(&mut self, contender: Contender, placement: Placement, sample: Sample) {
        self.samples.push((contender, placement, sample));
    }

    /// One row for each contender and placement that was measured, in the order of first appearance.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut keys: Vec<(Contender, Placement)> = Vec::new();
        for (contender, placement, _) in &self.samples {
            if !keys.contains(&(*contender, *placement)) {
                keys.push((*contender, *placement));
            }
        }
        keys.into_iter()
            .map(|(contender, placement)| self.row(contender, placement))
            .collect()
    }

    fn row(&self, contender: Contender, placement: Placement) -> Row {
        let own = self.of(contender, placement);
        let pick = |field: fn(&Sample) -> f64| median(own.iter().map(field).collect());
        let bare = median(
            self.of(Contender::Reflect, placement)
                .iter()
                .map(|s| s.max)
                .collect(),
        );
        let median = Sample {
            max: pick(|s| s.max),
            loss_easy: pick(|s| s.loss_easy),
            loss_hard: pick(|s| s.loss_hard),
        };
        let ratio = (bare > 0.0).then(|| median.max / bare);
        Row {
            contender,
            placement,
            median,
            rounds: own.len(),
            ratio,
        }
    }

    fn of(&self, contender: Contender, placement: Placement) -> Vec<Sample> {
        let own = self
            .samples
            .iter()
            .filter(|(c, p, _)| (*c, *p) == (contender, placement));
        own.map(|(_, _, sample)| *sample).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<18} {:<9} {:>6} {:>9} {:>10} {:>10}  rounds",
            "device", "placement", "Mpps", "of bare", "lost @50%", "lost @90%"
        )?;
        for row in self.rows() {
            let ratio = row
                .ratio
                .map_or("-".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0));
            let percent = |share: f64| format!("{:.2} %", share * 100.0);
            writeln!(
                f,
                "{:<18} {:<9} {:>6.3} {ratio:>9} {:>10} {:>10}  {}",
                row.contender.to_string(),
                row.placement.to_string(),
                row.median.max / 1e6,
                percent(row.median.loss_easy),
                percent(row.median.loss_hard),
                row.rounds
            )?;
        }
        Ok(())
    }
}

/// The middle value, or the mean of the middle two; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (n, half) = (values.len(), values.len() / 2);
    match n {
        0 => 0.0,
        _ if n % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_within_a_placement() {
        let mut table = Table::default();
        let sample = |max| Sample {
            max,
            ..Sample::default()
        };
        table.add(Contender::Reflect, Placement::OneCore, sample(1e6));
        table.add(Contender::Reflect, Placement::Split, sample(2e6));
        table.add(Contender::KernelDnat, Placement::OneCore, sample(0.25e6));
        let rows = table.rows();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2].ratio, Some(0.25));
        assert!(table.to_string().contains("25 %"), "{table}");
    }
}

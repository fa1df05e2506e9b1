//! The families in order; here those about the process, the table and the steering program.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Scrape;
use crate::problem::Severity;

pub(super) type Labels = Vec<(&'static str, String)>;

/// A family of counters; the encoder adds `_total` to its name.
pub(super) fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in samples {
        metric
            .encode_family(&labels)?
            .encode_counter::<NoLabelSet, _, f64>(&value, None)?;
    }
    Ok(())
}

pub(super) fn gauge(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

/// A gauge without labels.
pub(super) fn value(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    out.encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(&value)
}

impl Collector for Scrape {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        self.process(out)?;
        self.table(out)?;
        self.updates(out)?;
        self.services(out)?;
        self.backends(out)?;
        self.workers(out)?;
        self.drops(out)?;
        self.sockets(out)?;
        self.steering(out)
    }
}

impl Scrape {
    fn updates(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "From news in the control loop to the table of the last worker";
        let buckets = self.updates.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        out.encode_descriptor("table_update_seconds", help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(self.updates.sum(), count, &buckets, None)
    }

    fn process(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let build = vec![("version", self.version.to_owned())];
        gauge(out, "build_info", "Always 1", [(build, 1.0)].into_iter())?;
        value(
            out,
            "uptime_seconds",
            "Time since start",
            self.uptime.as_secs_f64(),
        )?;
        let synced = self
            .catalog
            .sources
            .iter()
            .map(|(source, synced)| (vec![("source", source.to_string())], f64::from(u8::from(*synced))));
        gauge(
            out,
            "source_synced",
            "Has the source told all it had at its start",
            synced,
        )?;
        let problems = Severity::ALL.into_iter().map(|severity| {
            let count = self
                .catalog
                .problems
                .iter()
                .filter(|p| p.severity == severity)
                .count();
            (vec![("severity", severity.name().to_owned())], count as f64)
        });
        gauge(out, "problems", "What `maglane status` lists as wrong", problems)
    }

    fn table(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        value(
            out,
            "table_generation",
            "Newest table published",
            self.catalog.generation.0 as f64,
        )?;
        let help = "Virtual addresses whose packets come to the workers";
        value(out, "steered_vips", help, self.catalog.steered.vips.len() as f64)
    }

    fn steering(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let packets = self.interfaces.iter().flat_map(|interface| {
            let verdicts = [
                ("redirected", interface.redirected),
                ("passed", interface.passed),
                ("passed_no_socket", interface.passed_no_socket),
                ("passed_fragment", interface.passed_fragment),
            ];
            verdicts.map(|(verdict, count)| {
                let labels = vec![
                    ("interface", interface.interface.clone()),
                    ("verdict", verdict.to_owned()),
                ];
                (labels, count as f64)
            })
        });
        counter(
            out,
            "steering_packets",
            "Verdicts of the steering program",
            packets,
        )?;
        let modes = self.interfaces.iter().map(|i| {
            (
                vec![("interface", i.interface.clone()), ("mode", i.mode.clone())],
                1.0,
            )
        });
        gauge(
            out,
            "steering_info",
            "How the steering program is attached",
            modes,
        )
    }
}

//! [`MetricFamily`]: metrics as they are at one moment, for whoever publishes them.

use nexus_engine::{DURATION_BOUNDS_US, Durations};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The media type of [`Node::metrics_text`](crate::Node::metrics_text).
pub const METRICS_CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its whole name, with its unit and, of a counter, `_total`.
    pub name: &'static str,
    /// What it means, in a line.
    pub help: &'static str,
    /// What can be done with its numbers.
    pub kind: MetricKind,
}

/// What can be done with the numbers of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, from 0 at the start of the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations, counted in buckets.
    Histogram,
}

/// A number of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// A count, or a size.
    Number(u64),
    /// Seconds.
    Seconds(f64),
    /// Durations; boxed in nothing, since there are few.
    Durations(Durations),
}

/// A metric's number, for one set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, and their values.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: MetricValue,
}

/// A metric, with all its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFamily {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its numbers.
    pub samples: Vec<Sample>,
}

impl MetricFamily {
    /// Of one number without a label.
    pub(super) fn one(descriptor: Descriptor, value: MetricValue) -> Self {
        Self { descriptor, samples: vec![Sample { labels: Vec::new(), value }] }
    }

    /// Of one number for each value of a label.
    pub(super) fn of<V: Into<String>>(
        descriptor: Descriptor,
        label: &'static str,
        values: impl IntoIterator<Item = (V, MetricValue)>,
    ) -> Self {
        let sample = |(name, value): (V, _)| Sample { labels: vec![(label, name.into())], value };
        Self { descriptor, samples: values.into_iter().map(sample).collect() }
    }
}

/// The text that Prometheus reads, version 0.0.4.
pub(super) fn text(families: Vec<MetricFamily>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a string takes it");
    text
}

#[derive(Debug)]
struct Families(Vec<MetricFamily>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for MetricFamily { descriptor, samples } in &self.0 {
            let (kind, name) = match descriptor.kind {
                // The library writes the ending of a counter by itself.
                MetricKind::Counter => {
                    (MetricType::Counter, descriptor.name.trim_end_matches("_total"))
                }
                MetricKind::Gauge => (MetricType::Gauge, descriptor.name),
                MetricKind::Histogram => (MetricType::Histogram, descriptor.name),
            };
            let mut metric = encoder.encode_descriptor(name, descriptor.help, None, kind)?;
            for sample in samples {
                match &sample.labels[..] {
                    [] => write_ref(&mut metric, descriptor.kind, &sample.value)?,
                    labels => {
                        write(metric.encode_family(&labels)?, descriptor.kind, &sample.value)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn write(mut metric: MetricEncoder<'_>, kind: MetricKind, value: &MetricValue) -> std::fmt::Result {
    write_ref(&mut metric, kind, value)
}

fn write_ref(
    metric: &mut MetricEncoder<'_>,
    kind: MetricKind,
    value: &MetricValue,
) -> std::fmt::Result {
    match (kind, value) {
        (MetricKind::Counter, MetricValue::Number(number)) => {
            metric.encode_counter::<NoLabelSet, _, u64>(number, None)
        }
        (_, MetricValue::Number(number)) => metric.encode_gauge(number),
        (_, MetricValue::Seconds(seconds)) => metric.encode_gauge(seconds),
        (_, MetricValue::Durations(durations)) => {
            let buckets = buckets(durations);
            let sum = durations.sum().as_secs_f64();
            metric.encode_histogram::<NoLabelSet>(sum, durations.count(), &buckets, None)
        }
    }
}

/// The bounds of buckets in seconds, and how many fell into each.
fn buckets(durations: &Durations) -> Vec<(f64, u64)> {
    let bounds = DURATION_BOUNDS_US.iter().map(|bound| seconds(*bound));
    bounds.chain([f64::INFINITY]).zip(durations.counts).collect()
}

/// Microseconds as seconds.
pub(super) fn seconds(us: u64) -> f64 {
    std::time::Duration::from_micros(us).as_secs_f64()
}

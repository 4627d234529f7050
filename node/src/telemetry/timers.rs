//! What is told of timers.

use std::time::Duration;

use nexus_delivery::timers::Gauges;
use nexus_protocol::limits::METRIC_NAMESPACES_MAX;

use super::family::{Descriptor, MetricFamily, MetricKind, MetricValue, Sample};

/// The timers of a namespace, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct TimerGauges {
    pub(crate) namespace: String,
    pub(crate) gauges: Gauges,
    /// For how long one has been due that has not fired.
    pub(crate) overdue: Duration,
}

const fn metric(name: &'static str, help: &'static str, kind: MetricKind) -> Descriptor {
    Descriptor { name, help, kind }
}

/// A metric, and where its number is.
type Metric = (Descriptor, fn(&TimerGauges) -> MetricValue);

const METRICS: &[Metric] = &[
    (metric("nexus_timers_armed", "Timers that wait for their time", MetricKind::Gauge), |it| {
        MetricValue::Number(it.gauges.armed)
    }),
    (metric("nexus_timers_failed", "Timers that failed, and wait", MetricKind::Gauge), |it| {
        MetricValue::Number(it.gauges.failed)
    }),
    (metric("nexus_timers_fired_total", "Timers fired", MetricKind::Counter), |it| {
        MetricValue::Number(it.gauges.fired)
    }),
    (
        metric("nexus_timers_failures_total", "Tries to fire that failed", MetricKind::Counter),
        |it| MetricValue::Number(it.gauges.failures),
    ),
    (
        metric(
            "nexus_timers_late_seconds_total",
            "How late timers fired, all together",
            MetricKind::Counter,
        ),
        |it| MetricValue::Seconds(Duration::from_micros(it.gauges.late_us).as_secs_f64()),
    ),
    (
        metric(
            "nexus_timers_overdue_seconds",
            "For how long a timer has been due that has not fired",
            MetricKind::Gauge,
        ),
        |it| MetricValue::Seconds(it.overdue.as_secs_f64()),
    ),
];

/// All of it, of the first namespaces by name.
pub(super) fn families(timers: &[TimerGauges]) -> Vec<MetricFamily> {
    let named = timers.iter().take(METRIC_NAMESPACES_MAX);
    let family = |(descriptor, value): &Metric| {
        let samples = named.clone().map(|it| Sample {
            labels: vec![("namespace", it.namespace.clone())],
            value: value(it),
        });
        MetricFamily { descriptor: *descriptor, samples: samples.collect() }
    };
    METRICS.iter().map(family).collect()
}

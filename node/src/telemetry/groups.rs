//! What is told of groups.

use nexus_delivery::coordinator::Gauges;
use nexus_protocol::limits::METRIC_NAMESPACES_MAX;

use super::RunningGauges;
use super::family::{Descriptor, MetricFamily, MetricKind, MetricValue, Sample};
use super::projections::METRIC_PROJECTIONS_MAX;

/// Groups that metrics name, the first by namespace and name, so that a scrape stays bounded however many there are.
const METRIC_GROUPS_MAX: usize = METRIC_NAMESPACES_MAX;

/// A group that is open, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct GroupGauges {
    pub(crate) namespace: String,
    pub(crate) group: String,
    pub(crate) gauges: Gauges,
    /// Events that are not done; beyond what was looked at, positions.
    pub(crate) lag_events: u64,
}

const fn gauge(name: &'static str, help: &'static str) -> Descriptor {
    Descriptor { name, help, kind: MetricKind::Gauge }
}

const fn counter(name: &'static str, help: &'static str) -> Descriptor {
    Descriptor { name, help, kind: MetricKind::Counter }
}

/// A metric, and where its number is.
type Metric = (Descriptor, fn(&GroupGauges) -> u64);

const METRICS: &[Metric] = &[
    (gauge("nexus_group_lag_events", "Events of a group that are not done"), |it| it.lag_events),
    (gauge("nexus_group_in_flight", "Deliveries that are not answered"), |it| it.gauges.in_flight),
    (gauge("nexus_group_consumers", "Consumers of a group"), |it| it.gauges.consumers),
    (
        gauge("nexus_group_stalled", "1: there is work for consumers, and nothing of it is done"),
        |it| it.gauges.stalled.into(),
    ),
    (counter("nexus_group_delivered_total", "Deliveries"), |it| it.gauges.counts.delivered),
    (
        counter(
            "nexus_group_redelivered_total",
            "Deliveries that were not the first of their event",
        ),
        |it| it.gauges.counts.redelivered,
    ),
    (counter("nexus_group_acked_total", "Acknowledgements"), |it| it.gauges.counts.acked),
    (
        counter("nexus_group_ruled_retries_total", "Events that a rule has tried again later"),
        |it| it.gauges.counts.ruled.retried,
    ),
    (counter("nexus_group_ruled_skips_total", "Events that a rule has given up"), |it| {
        it.gauges.counts.ruled.skipped
    }),
    (
        counter("nexus_group_ruled_alerts_total", "Parked events that a rule calls somebody for"),
        |it| it.gauges.counts.ruled.alerted,
    ),
];

/// All of it; timers that failed are parked, and events that could not be folded, too.
pub(super) fn families(running: &RunningGauges) -> Vec<MetricFamily> {
    let RunningGauges { groups, timers, projections, .. } = running;
    let named = groups.iter().take(METRIC_GROUPS_MAX);
    let family =
        |descriptor, label: &'static str, prefix: &str, number: fn(&GroupGauges) -> u64| {
            let samples = named.clone().map(|it| Sample {
                labels: vec![
                    ("namespace", it.namespace.clone()),
                    (label, format!("{prefix}{}", it.group)),
                ],
                value: MetricValue::Number(number(it)),
            });
            MetricFamily { descriptor, samples: samples.collect() }
        };
    let of_groups =
        METRICS.iter().map(|(descriptor, number)| family(*descriptor, "group", "", *number));
    let parked = gauge("nexus_parked", "Events that could not be processed, and are set aside");
    let mut parked = family(parked, "source", "group:", |it| it.gauges.parked);
    parked.samples.extend(timers.iter().take(METRIC_NAMESPACES_MAX).map(|it| Sample {
        labels: vec![("namespace", it.namespace.clone()), ("source", "timers".to_owned())],
        value: MetricValue::Number(it.gauges.failed),
    }));
    parked.samples.extend(projections.iter().take(METRIC_PROJECTIONS_MAX).map(|it| Sample {
        labels: vec![
            ("namespace", it.namespace.clone()),
            ("source", format!("projection:{}", it.projection)),
        ],
        value: MetricValue::Number(it.info.parked),
    }));
    of_groups.chain([parked]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::family;

    fn group(name: &str, stalled: bool) -> GroupGauges {
        let mut gauges =
            Gauges { in_flight: 2, parked: 3, consumers: 4, stalled, ..Gauges::default() };
        let counts = &mut gauges.counts;
        (counts.delivered, counts.redelivered, counts.acked) = (5, 6, 7);
        (counts.ruled.retried, counts.ruled.skipped, counts.ruled.alerted) = (8, 9, 10);
        let (namespace, group) = ("default".to_owned(), name.to_owned());
        GroupGauges { namespace, group, gauges, lag_events: 1 }
    }

    /// That a group stalls is seen after a minute of its clock: here it is told by hand.
    #[test]
    fn each_number_is_told_under_its_own_name() {
        let text = family::text(families(&RunningGauges {
            groups: vec![group("idle", false), group("mail", true)],
            ..RunningGauges::default()
        }));
        let told = |name: &str, label: &str, of: &str| {
            let sample = format!("nexus_{name}{{namespace=\"default\",{label}{of}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&sample));
            line.unwrap_or_else(|| panic!("no {sample}in {text}")).to_owned()
        };
        for (name, expected) in [
            ("group_lag_events", "1"),
            ("group_in_flight", "2"),
            ("group_consumers", "4"),
            ("group_stalled", "1"),
            ("group_delivered_total", "5"),
            ("group_redelivered_total", "6"),
            ("group_acked_total", "7"),
            ("group_ruled_retries_total", "8"),
            ("group_ruled_skips_total", "9"),
            ("group_ruled_alerts_total", "10"),
        ] {
            assert_eq!(told(name, "group=\"", "mail"), expected, "{name}");
        }
        assert_eq!(told("parked", "source=\"group:", "mail"), "3");
        assert_eq!(told("group_stalled", "group=\"", "idle"), "0");
    }
}

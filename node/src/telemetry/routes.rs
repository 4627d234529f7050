//! What is told of routes.

use nexus_protocol::limits::METRIC_NAMESPACES_MAX;

use super::family::{Descriptor, MetricFamily, MetricKind, MetricValue, Sample};

/// Routes that metrics name, the first by namespace and name, so that a scrape stays bounded however many there are.
const METRIC_ROUTES_MAX: usize = METRIC_NAMESPACES_MAX;

/// A route that is carried, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct RouteGauges {
    pub(crate) namespace: String,
    pub(crate) route: String,
    pub(crate) lag_events: u64,
    pub(crate) links: u64,
    pub(crate) failed: bool,
}

/// A metric, and where its number is.
type Metric = (Descriptor, fn(&RouteGauges) -> u64);

const METRICS: &[Metric] = &[
    (
        Descriptor {
            name: "nexus_route_lag_events",
            help: "Positions that a route to a stream has not looked at",
            kind: MetricKind::Gauge,
        },
        |it| it.lag_events,
    ),
    (
        Descriptor {
            name: "nexus_route_links_total",
            help: "Links that a route has written",
            kind: MetricKind::Counter,
        },
        |it| it.links,
    ),
    (
        Descriptor {
            name: "nexus_route_failed",
            help: "1: the target of a route takes nothing, until it is set anew",
            kind: MetricKind::Gauge,
        },
        |it| it.failed.into(),
    ),
];

/// All of it.
pub(super) fn families(routes: &[RouteGauges]) -> Vec<MetricFamily> {
    let family = |(descriptor, number): &Metric| {
        let samples = routes.iter().take(METRIC_ROUTES_MAX).map(|it| Sample {
            labels: vec![("namespace", it.namespace.clone()), ("route", it.route.clone())],
            value: MetricValue::Number(number(it)),
        });
        MetricFamily { descriptor: *descriptor, samples: samples.collect() }
    };
    METRICS.iter().map(family).collect()
}

//! What is told of projections.

use nexus_protocol::limits::METRIC_NAMESPACES_MAX;
use nexus_protocol::projection::{BuildInfo, ProjectionState};

use super::family::{Descriptor, MetricFamily, MetricKind, MetricValue, Sample};

/// Projections that metrics name, the first by namespace and name, so that a scrape stays bounded however many there are.
pub(super) const METRIC_PROJECTIONS_MAX: usize = METRIC_NAMESPACES_MAX;

/// The documents of a projection that answer, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct ProjectionGauges {
    pub(crate) namespace: String,
    pub(crate) projection: String,
    pub(crate) info: BuildInfo,
}

/// A metric, and where its number is.
type Metric = (Descriptor, fn(&BuildInfo) -> u64);

const METRICS: &[Metric] = &[
    (
        Descriptor {
            name: "nexus_projection_lag_events",
            help: "Positions that the documents of a projection know nothing of",
            kind: MetricKind::Gauge,
        },
        |it| it.lag_events,
    ),
    (
        Descriptor {
            name: "nexus_projection_documents",
            help: "Documents of a projection",
            kind: MetricKind::Gauge,
        },
        |it| it.documents,
    ),
    (
        Descriptor {
            name: "nexus_projection_events_total",
            help: "Events that the documents of a projection were folded of",
            kind: MetricKind::Counter,
        },
        |it| it.events,
    ),
    (
        Descriptor {
            name: "nexus_projection_failed",
            help: "1: a projection folds nothing, and says why",
            kind: MetricKind::Gauge,
        },
        |it| (it.state == ProjectionState::Failed).into(),
    ),
];

/// All of it.
pub(super) fn families(projections: &[ProjectionGauges]) -> Vec<MetricFamily> {
    let family = |(descriptor, number): &Metric| {
        let samples = projections.iter().take(METRIC_PROJECTIONS_MAX).map(|it| Sample {
            labels: vec![
                ("namespace", it.namespace.clone()),
                ("projection", it.projection.clone()),
            ],
            value: MetricValue::Number(number(&it.info)),
        });
        MetricFamily { descriptor: *descriptor, samples: samples.collect() }
    };
    METRICS.iter().map(family).collect()
}

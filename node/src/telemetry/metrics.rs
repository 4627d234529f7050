//! [`Metrics`]: the numbers that are recorded, and every metric that is made of them. Each line of the
//! table below is described in `docs/reference/metrics.md`, which `cargo xtask tidy` holds to it.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use nexus_engine::{DurationHistogram, Engine};
use nexus_protocol::limits::METRIC_NAMESPACES_MAX;
use nexus_protocol::{ErrorCode, Position};

use super::family::{Descriptor, MetricFamily, MetricKind, MetricValue};
use super::operation::{Door, Operation};
use super::relaxed::get;

macro_rules! descriptors {
    ($($name:ident $kind:ident $metric:literal $help:literal;)*) => {
        $(const $name: Descriptor =
            Descriptor { name: $metric, help: $help, kind: MetricKind::$kind };)*
    };
}

descriptors! {
    APPEND Histogram "nexus_append_duration_seconds" "From handing in an append to its answer, whichever";
    OPERATION Histogram "nexus_operation_duration_seconds" "From asking for an operation to its end, by operation";
    SYNC Histogram "nexus_sync_duration_seconds" "From giving a frame to the disk until it is durable";
    HEAD Gauge "nexus_log_head_position" "Last position of a log; none while it is empty";
    ERRORS Counter "nexus_errors_total" "Errors that were answered, by name";
    SUPPRESSED Counter "nexus_errors_suppressed_total" "Errors that were counted and not logged: too many in a second";
    APPENDED_EVENTS Counter "nexus_appended_events_total" "Events that were appended";
    APPENDED_BYTES Counter "nexus_appended_bytes_total" "Bytes of their data and metadata";
    READ_EVENTS Counter "nexus_read_events_total" "Events that reads and subscriptions were given";
    READ_BYTES Counter "nexus_read_bytes_total" "Bytes of their data and metadata";
    READ_BLOCKS Counter "nexus_read_blocks_total" "Compressed blocks that some of those events were sent in";
    IN_FLIGHT Gauge "nexus_appends_in_flight" "Appends that are not answered yet";
    SUBSCRIPTIONS Gauge "nexus_subscriptions_open" "Subscriptions that are open";
    CONNECTIONS Gauge "nexus_connections_open" "Connections that are open, by door";
    OPENED Counter "nexus_connections_opened_total" "Connections that were taken, by door";
    REFUSED Counter "nexus_connections_refused_total" "Connections that were not taken, by door";
    REQUEST_BYTES Gauge "nexus_request_bytes_held" "Memory that requests hold until they are answered";
    NAMESPACES Gauge "nexus_namespaces" "Namespaces that are open";
    UPTIME Gauge "nexus_uptime_seconds" "Since the node was opened";
    BUILD Gauge "nexus_build_info" "Always 1; its label says which version this is";
}

/// What one door counts.
#[derive(Debug, Default)]
pub(super) struct DoorMetrics {
    pub(super) open: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// A histogram for each operation.
#[derive(Debug)]
struct ByOperation([DurationHistogram; Operation::ALL.len()]);

impl Default for ByOperation {
    fn default() -> Self {
        Self(std::array::from_fn(|_| DurationHistogram::default()))
    }
}

/// The numbers.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) appends: DurationHistogram,
    operations: ByOperation,
    pub(crate) appends_in_flight: AtomicU64,
    pub(crate) appended_events: AtomicU64,
    pub(crate) appended_bytes: AtomicU64,
    pub(crate) read_events: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
    pub(crate) read_blocks: AtomicU64,
    pub(crate) subscriptions: AtomicU64,
    /// By the place of their code among all codes.
    pub(super) errors: [AtomicU64; ErrorCode::ALL.len()],
    pub(super) errors_suppressed: AtomicU64,
    pub(super) doors: [DoorMetrics; Door::ALL.len()],
    pub(super) request_bytes: AtomicU64,
}

impl Metrics {
    /// An operation has ended.
    pub(crate) fn ended(&self, operation: Operation, took: Duration) {
        self.operations.0[operation as usize].record(took);
    }

    /// All of it, with what the engine counts.
    pub(super) fn families(&self, engine: &Engine, uptime: Duration) -> Vec<MetricFamily> {
        let names = engine.namespaces();
        let number = |count: &AtomicU64| MetricValue::Number(get(count));
        let one = |descriptor, count| MetricFamily::one(descriptor, number(count));
        let timed = Operation::ALL.iter().filter(|operation| operation.is_timed()).map(|it| {
            let durations = self.operations.0[*it as usize].snapshot();
            (it.as_str(), MetricValue::Durations(durations))
        });
        let errors = ErrorCode::ALL.iter().zip(&self.errors);
        let version = [(env!("CARGO_PKG_VERSION"), MetricValue::Number(1))];
        vec![
            MetricFamily::one(APPEND, MetricValue::Durations(self.appends.snapshot())),
            MetricFamily::of(OPERATION, "operation", timed),
            MetricFamily::one(SYNC, MetricValue::Durations(engine.sync_durations())),
            heads(engine, &names),
            MetricFamily::of(ERRORS, "name", errors.map(|(code, it)| (code.name, number(it)))),
            one(SUPPRESSED, &self.errors_suppressed),
            one(APPENDED_EVENTS, &self.appended_events),
            one(APPENDED_BYTES, &self.appended_bytes),
            one(READ_EVENTS, &self.read_events),
            one(READ_BYTES, &self.read_bytes),
            one(READ_BLOCKS, &self.read_blocks),
            one(IN_FLIGHT, &self.appends_in_flight),
            one(SUBSCRIPTIONS, &self.subscriptions),
            self.by_door(CONNECTIONS, |door| &door.open),
            self.by_door(OPENED, |door| &door.opened),
            self.by_door(REFUSED, |door| &door.refused),
            one(REQUEST_BYTES, &self.request_bytes),
            MetricFamily::one(NAMESPACES, MetricValue::Number(names.len() as u64)),
            MetricFamily::one(UPTIME, MetricValue::Seconds(uptime.as_secs_f64())),
            MetricFamily::of(BUILD, "version", version),
        ]
    }

    fn by_door(
        &self,
        descriptor: Descriptor,
        count: fn(&DoorMetrics) -> &AtomicU64,
    ) -> MetricFamily {
        let doors = Door::ALL.iter().map(|door| {
            let count = get(count(&self.doors[*door as usize]));
            (door.as_str(), MetricValue::Number(count))
        });
        MetricFamily::of(descriptor, "door", doors)
    }
}

/// Of the first namespaces by name, so that a scrape stays bounded however many there are.
fn heads(engine: &Engine, names: &[String]) -> MetricFamily {
    let heads = names.iter().take(METRIC_NAMESPACES_MAX).filter_map(|name| {
        let head = engine.namespace(name).ok()?.head().position?;
        Some((name.as_str(), MetricValue::Number(Position::get(head))))
    });
    MetricFamily::of(HEAD, "namespace", heads)
}

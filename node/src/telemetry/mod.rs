//! What the node tells about itself: metrics, and errors in the log.
//!
//! It is recorded where every door and every embedded user comes by: in the handlers. A door adds what
//! only it knows, its connections and the memory it holds, and the errors it answers without a handler.
//!
//! Recording is a few relaxed additions: no lock, no memory, so that it may stand on the path of an
//! append. Labels are words of fixed sets, and names of namespaces up to a bound; never a stream or a
//! principal, of which there is no end. What each metric means is in `docs/reference/metrics.md`.

mod errors;
mod family;
mod groups;
mod metrics;
mod operation;
mod projections;
pub(crate) mod relaxed;
mod routes;
mod throttle;
mod timers;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use nexus_engine::Engine;
use nexus_protocol::TraceContext;
use nexus_protocol::limits::LOGGED_ERRORS_PER_S_MAX;

pub use errors::{Coded, Context, Origin};
pub use family::{Descriptor, METRICS_CONTENT_TYPE, MetricFamily, MetricKind, MetricValue, Sample};
pub(crate) use groups::GroupGauges;
pub use operation::{Door, Operation};
pub(crate) use projections::ProjectionGauges;
pub(crate) use routes::RouteGauges;
pub(crate) use timers::TimerGauges;

use metrics::Metrics;
use throttle::Throttle;

/// What gives a span of a request its parent in another process.
pub type Continue = fn(&tracing::Span, TraceContext);

/// How all is that goes on by itself, at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunningGauges {
    pub(crate) groups: Vec<GroupGauges>,
    pub(crate) routes: Vec<RouteGauges>,
    pub(crate) timers: Vec<TimerGauges>,
    pub(crate) projections: Vec<ProjectionGauges>,
}

/// Metrics and the log of errors of one node.
#[derive(Debug)]
pub struct Telemetry {
    started: Instant,
    metrics: Metrics,
    own_faults: Throttle,
    callers_faults: Throttle,
    /// Whoever exports traces says how a span continues one; the node knows no exporter.
    continues: OnceLock<Continue>,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            metrics: Metrics::default(),
            own_faults: Throttle::new(LOGGED_ERRORS_PER_S_MAX),
            callers_faults: Throttle::new(LOGGED_ERRORS_PER_S_MAX),
            continues: OnceLock::new(),
        }
    }

    /// Says how a span continues a trace of another process; asked for each request that is part of one.
    /// The first that is set stays.
    pub fn continue_traces_by(&self, continues: Continue) {
        let _ = self.continues.set(continues);
    }

    /// A connection came in by a door; it is open until what this answers is dropped.
    pub fn connection_opened(self: &Arc<Self>, door: Door) -> OpenConnection {
        let doors = &self.metrics.doors[door as usize];
        relaxed::add(&doors.opened, 1);
        relaxed::add(&doors.open, 1);
        OpenConnection { telemetry: Arc::clone(self), door }
    }

    /// A connection was not taken: there are too many, or it did not say who it is.
    pub fn connection_refused(&self, door: Door) {
        relaxed::add(&self.metrics.doors[door as usize].refused, 1);
    }

    /// A door holds so many bytes for a request, until what this answers is dropped.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> HeldBytes {
        let bytes = bytes as u64;
        relaxed::add(&self.metrics.request_bytes, bytes);
        HeldBytes { telemetry: Arc::clone(self), bytes }
    }

    /// Every metric, as it is now.
    pub(crate) fn families(&self, engine: &Engine, running: &RunningGauges) -> Vec<MetricFamily> {
        let mut families = self.metrics.families(engine, self.started.elapsed());
        families.extend(groups::families(running));
        families.extend(routes::families(&running.routes));
        families.extend(timers::families(&running.timers));
        families.extend(projections::families(&running.projections));
        families
    }

    /// The same, as Prometheus reads it.
    pub(crate) fn text(&self, engine: &Engine, running: &RunningGauges) -> String {
        family::text(self.families(engine, running))
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A span of an operation: part of the trace that the request belongs to.
    pub(crate) fn span(
        &self,
        operation: Operation,
        namespace: &str,
        trace: Option<TraceContext>,
    ) -> tracing::Span {
        // At `debug`, so that it costs a look at a flag unless somebody exports or wants to see it.
        let span = tracing::debug_span!(
            target: REQUEST_SPANS,
            "request",
            otel.name = operation.as_str(),
            otel.kind = "server",
            operation = operation.as_str(),
            namespace
        );
        if let (Some(trace), Some(continues), false) =
            (trace, self.continues.get(), span.is_disabled())
        {
            continues(&span, trace);
        }
        span
    }

    fn uptime_s(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }
}

/// The target of the spans of requests, at level `debug`: what an exporter of traces listens to.
pub const REQUEST_SPANS: &str = "nexus::request";

/// A connection that is open until this is dropped.
#[derive(Debug)]
#[must_use = "a connection is counted as open until this is dropped"]
pub struct OpenConnection {
    telemetry: Arc<Telemetry>,
    door: Door,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        relaxed::take(&self.telemetry.metrics.doors[self.door as usize].open, 1);
    }
}

/// Bytes that are held for a request until this is dropped.
#[derive(Debug)]
#[must_use = "bytes are counted as held until this is dropped"]
pub struct HeldBytes {
    telemetry: Arc<Telemetry>,
    bytes: u64,
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        relaxed::take(&self.telemetry.metrics.request_bytes, self.bytes);
    }
}

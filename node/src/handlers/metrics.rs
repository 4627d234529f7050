//! To look at the node from outside.

use nexus_protocol::ReadError;

use crate::node::Node;
use crate::principal::Principal;
use crate::telemetry::{Context, MetricFamily, Operation, RunningGauges};

impl Node {
    /// Every metric as Prometheus reads it, in the media type
    /// [`METRICS_CONTENT_TYPE`](crate::METRICS_CONTENT_TYPE).
    ///
    /// # Errors
    /// When the principal may not monitor.
    pub fn metrics_text(&self, principal: &Principal) -> Result<String, ReadError> {
        let context = Context::new(Operation::Metrics, "", &principal.id);
        let running = self.running_gauges();
        let text = || Ok(self.telemetry().text(self.engine(), &running));
        self.observe(principal, &context, text)
    }

    /// The same as numbers, for whoever publishes them in another form.
    ///
    /// # Errors
    /// When the principal may not monitor.
    pub fn metrics(&self, principal: &Principal) -> Result<Vec<MetricFamily>, ReadError> {
        let context = Context::new(Operation::Metrics, "", &principal.id);
        let running = self.running_gauges();
        let families = || Ok(self.telemetry().families(self.engine(), &running));
        self.observe(principal, &context, families)
    }

    fn running_gauges(&self) -> RunningGauges {
        RunningGauges {
            groups: self.running_groups().gauges(self.engine()),
            routes: self.running_routes().gauges(self.engine()),
            timers: self.running_timers().gauges(self.engine()),
            projections: self.projections().gauges(),
        }
    }
}

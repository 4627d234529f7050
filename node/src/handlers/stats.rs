//! To count.

use nexus_protocol::{ReadError, Stats};

use super::Access;
use crate::guard::About;
use crate::telemetry::Operation;

impl Access {
    /// How much there is.
    ///
    /// # Errors
    /// When the principal may not monitor.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        self.observe(Operation::Stats, About::default(), |namespace| Ok(namespace.stats()))
    }
}

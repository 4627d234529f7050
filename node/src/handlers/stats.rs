//! To count.

use nexus_protocol::{ReadError, Stats};

use super::Access;
use crate::guard::Action;

impl Access {
    /// How much there is.
    ///
    /// # Errors
    /// When the principal may not monitor.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        Ok(self.guard(Action::Monitor)?.stats())
    }
}

//! To append.

use nexus_engine::PendingAppend;
use nexus_protocol::{Append, AppendError};

use super::Access;
use crate::guard::Action;

impl Access {
    /// Submits an append; its answer may be awaited or waited for. Durable when it is answered.
    ///
    /// # Errors
    /// When the principal may not append.
    pub fn append(&self, append: Append) -> Result<PendingAppend, AppendError> {
        Ok(self.guard(Action::Append)?.append(append))
    }
}

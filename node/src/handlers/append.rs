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
        let namespace = self.guard(Action::Append)?;
        Ok(namespace.append_on_behalf_of(self.principal.keys(), append))
    }

    /// Whether the principal may append: asked before anything of an append is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_append(&self) -> Result<(), AppendError> {
        self.guard(Action::Append)?;
        Ok(())
    }
}

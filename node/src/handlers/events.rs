//! To look up one event, and the end of the log.

use nexus_protocol::{EventId, Head, ReadError, RecordedEvent};

use super::Access;
use crate::guard::Action;
use crate::telemetry::Operation;

impl Access {
    /// The event with this id, the newest where there are several. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not read, or what has to be looked at is damaged.
    pub fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.observe(Operation::Event, Action::Read, None, |namespace| namespace.event_by_id(id))
    }

    /// The end of the log.
    ///
    /// # Errors
    /// When the principal may not inspect.
    pub fn head(&self) -> Result<Head, ReadError> {
        self.observe(Operation::Head, Action::Inspect, None, |namespace| Ok(namespace.head()))
    }
}

//! To look up one event, events at positions, what links lead to, and the end of the log.

use nexus_engine::Namespace;
use nexus_protocol::limits::LINKS_RESOLVED_MAX;
use nexus_protocol::route::Link;
use nexus_protocol::{EventId, Head, Invalid, Position, ReadError, RecordedEvent};

use super::Access;
use crate::guard::Action;
use crate::telemetry::Operation;

/// Events at positions come in answers of about so many bytes, with at least one.
const AT_BYTES: usize = 1 << 20;

/// Events at positions, ascending.
#[derive(Debug, Default)]
pub struct EventsAt {
    /// Those that the log has still.
    pub events: Vec<RecordedEvent>,
    /// The last position that was looked at: whoever asked for more asks again for those behind it.
    pub looked_at: Option<Position>,
}

impl Access {
    /// The event with this id, the newest where there are several. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not read, or what has to be looked at is damaged.
    pub fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.observe(Operation::Event, Action::Read, None, |namespace| namespace.event_by_id(id))
    }

    /// The events at these positions, which ascend: those that a read of the log shows, or of the first positions as many
    /// as one answer has. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not read, the positions do not ascend or are too many, or what has to be looked at is
    /// damaged.
    pub fn events_at(&self, positions: &[Position]) -> Result<EventsAt, ReadError> {
        self.observe(Operation::Event, Action::Read, None, |namespace| {
            if positions.len() > LINKS_RESOLVED_MAX || !positions.is_sorted_by(|a, b| a < b) {
                let why = format!(
                    "ask for at most {LINKS_RESOLVED_MAX} positions, each higher than the one before"
                );
                return Err(Invalid::Request(why).into());
            }
            let (mut at, mut bytes) = (EventsAt::default(), 0);
            for position in positions {
                if let Some(event) = namespace.event_at(*position)? {
                    bytes += event.as_bytes().len();
                    at.events.push(event);
                }
                at.looked_at = Some(*position);
                if bytes >= AT_BYTES {
                    break;
                }
            }
            Ok(at)
        })
    }

    /// The event that a link leads to; the link itself, where the log has that no more; and what is no link as it is. For
    /// the events of a read: it is part of that, and counts as no question of its own. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not read, or what has to be looked at is damaged.
    pub fn resolved(&self, event: RecordedEvent) -> Result<RecordedEvent, ReadError> {
        if Link::of(&event).is_none() {
            return Ok(event);
        }
        let namespace = self.guard::<ReadError>(Operation::Read, Action::Read, self.origin)?;
        resolved(namespace, event)
    }

    /// The end of the log.
    ///
    /// # Errors
    /// When the principal may not inspect.
    pub fn head(&self) -> Result<Head, ReadError> {
        self.observe(Operation::Head, Action::Inspect, None, |namespace| Ok(namespace.head()))
    }
}

/// What [`Access::resolved`] gives.
pub(super) fn resolved(
    namespace: &Namespace,
    event: RecordedEvent,
) -> Result<RecordedEvent, ReadError> {
    let Some(link) = Link::of(&event) else { return Ok(event) };
    let original = namespace.event_at(link.position)?;
    Ok(original.filter(|original| link.leads_to(original)).unwrap_or(event))
}

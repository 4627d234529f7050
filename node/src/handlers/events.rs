//! To look up one event, events at positions, what links lead to, and the end of the log.

use nexus_engine::Namespace;
use nexus_protocol::limits::LINKS_RESOLVED_MAX;
use nexus_protocol::route::Link;
use nexus_protocol::{EventId, Head, Invalid, Position, ReadError, RecordedEvent};

use super::Access;
use super::show::masked;
use crate::guard::{About, Permit};
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
        self.observe_events(Operation::Event, About::default(), |namespace, permit| {
            let Some(event) = namespace.event_by_id(id)? else { return Ok(None) };
            Ok(self.seen(permit, event))
        })
    }

    /// The events at these positions, which ascend: those that a read of the log shows, or of the first positions as many
    /// as one answer has. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not read, the positions do not ascend or are too many, or what has to be looked at is
    /// damaged.
    pub fn events_at(&self, positions: &[Position]) -> Result<EventsAt, ReadError> {
        self.observe_events(Operation::Event, About::default(), |namespace, permit| {
            if positions.len() > LINKS_RESOLVED_MAX || !positions.is_sorted_by(|a, b| a < b) {
                let why = format!(
                    "ask for at most {LINKS_RESOLVED_MAX} positions, each higher than the one before"
                );
                return Err(Invalid::Request(why).into());
            }
            let (mut at, mut bytes) = (EventsAt::default(), 0);
            for position in positions {
                let event = namespace.event_at(*position)?;
                if let Some(event) = event.and_then(|event| self.seen(permit, event)) {
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

    /// An event as somebody may see it, who asked for it without saying where it stands; `None`: they may not. Of one of the
    /// system's streams that is asked anew.
    fn seen(&self, permit: &Permit, event: RecordedEvent) -> Option<RecordedEvent> {
        let anew;
        let permit = match event.is_system() {
            true => {
                let about =
                    About { stream: Some(event.stream()), system: true, ..About::default() };
                let asked = self.guard::<ReadError>(Operation::Event, about, self.origin);
                anew = asked.ok()?.1;
                &anew
            }
            false => permit,
        };
        permit.shows(&event).then(|| masked(permit, event))
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
        let about = About::default();
        let (namespace, permit) = self.guard::<ReadError>(Operation::Event, about, self.origin)?;
        Ok(masked(&permit, resolved(namespace, &permit, event)?))
    }

    /// The end of the log.
    ///
    /// # Errors
    /// When the principal may not inspect.
    pub fn head(&self) -> Result<Head, ReadError> {
        self.observe(Operation::Head, About::default(), |namespace| Ok(namespace.head()))
    }
}

/// What [`Access::resolved`] gives.
pub(super) fn resolved(
    namespace: &Namespace,
    permit: &Permit,
    event: RecordedEvent,
) -> Result<RecordedEvent, ReadError> {
    let Some(link) = Link::of(&event) else { return Ok(event) };
    let original = namespace.event_at(link.position)?;
    let leads = |original: &RecordedEvent| link.leads_to(original) && permit.shows(original);
    Ok(original.filter(leads).unwrap_or(event))
}

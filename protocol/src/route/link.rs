//! [`Link`]: an event that stands for another.
//!
//! It names where the other stands, never what it says. It has the other's tags, business time, and correlation id, so
//! that a filter by tag takes it too, and waits in groups as long as the other does; the other is its cause. Its metadata name the routes that it came by.

use serde::{Deserialize, Serialize};

use crate::event::EventData;
use crate::ids::{CausationId, EventId, Position, Revision};
use crate::limits::HOPS_MAX;
use crate::record::RecordedEvent;

/// The type of links.
pub const LINK: &str = "$Link";

/// What an event of type [`LINK`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where the event stands in the log.
    pub position: Position,
    /// Its stream.
    pub stream: String,
    /// Where it stands in that.
    pub revision: Revision,
    /// Its id.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
}

/// The metadata of a link.
#[derive(Debug, Default, Serialize, Deserialize)]
struct By {
    /// The routes that it came by, the first one first.
    routes: Vec<String>,
}

/// The routes that an event came by, the first one first; none for what is no link.
pub fn hops_of(event: &RecordedEvent) -> Vec<String> {
    if event.event_type() != LINK {
        return Vec::new();
    }
    serde_json::from_slice::<By>(event.metadata()).unwrap_or_default().routes
}

impl Link {
    /// Where a link leads to; `None`: the event is no link.
    pub fn of(event: &RecordedEvent) -> Option<Self> {
        if event.event_type() != LINK {
            return None;
        }
        event.json().ok()
    }

    /// Whether an event is the one that the link leads to.
    pub fn leads_to(&self, event: &RecordedEvent) -> bool {
        self.position == event.position() && self.id == event.id()
    }

    /// The link that a route writes for an event; for a link, one to the same event. `None`: the route has carried it
    /// already, or so many have that it goes no further.
    pub fn by_route(route: &str, event: &RecordedEvent) -> Option<EventData> {
        let mut routes = hops_of(event);
        if routes.len() >= HOPS_MAX || routes.iter().any(|by| by == route) {
            return None;
        }
        routes.push(route.to_owned());
        let link = Self::of(event).unwrap_or_else(|| Self {
            position: event.position(),
            stream: event.stream().to_owned(),
            revision: event.revision(),
            id: event.id(),
            event_type: event.event_type().to_owned(),
        });
        let metadata = serde_json::to_vec(&By { routes }).expect("names have a JSON form");
        let mut data = EventData::json(LINK, &link).expect("a link has a JSON form");
        data.metadata = metadata.into();
        data.tags = event.tags().map(str::to_owned).collect();
        data.occurred_at = event.occurred_at();
        data.not_before = event.not_before();
        data.correlation_id = event.correlation_id();
        data.causation_id = Some(CausationId::from_bytes(*link.id.as_bytes()));
        data.trace = event.trace();
        Some(data)
    }
}

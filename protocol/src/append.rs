//! The only write: a batch for any number of streams with one condition, applied whole or not at
//! all.

use std::fmt;

use crate::event::EventData;
use crate::ids::{Position, Revision};
use crate::names::StreamName;

/// What the writer believes of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExpectedRevision {
    /// Nothing.
    #[default]
    Any,
    /// That it has no events, or is soft-deleted.
    NoStream,
    /// That it has events and is not deleted.
    Exists,
    /// That its newest event has this revision; holds on a soft-deleted stream too.
    Exact(Revision),
}

impl fmt::Display for ExpectedRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exists => f.write_str("an existing stream"),
            Self::Exact(revision) => write!(f, "revision {revision}"),
        }
    }
}

/// What a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// It never had an event.
    Missing,
    /// Its newest event has this revision.
    At(Revision),
    /// Soft-deleted: the next append revives it, after this revision.
    Deleted(Revision),
    /// Deleted for good.
    Tombstoned,
}

impl StreamState {
    /// The newest revision the stream ever had, if it had one and is not gone for good.
    pub const fn head(self) -> Option<Revision> {
        match self {
            Self::At(revision) | Self::Deleted(revision) => Some(revision),
            Self::Missing | Self::Tombstoned => None,
        }
    }

    /// Whether `expected` holds for it.
    pub fn meets(self, expected: ExpectedRevision) -> bool {
        match (expected, self) {
            (_, Self::Tombstoned) => false,
            (ExpectedRevision::Any, _)
            | (ExpectedRevision::NoStream, Self::Missing | Self::Deleted(_))
            | (ExpectedRevision::Exists, Self::At(_)) => true,
            (ExpectedRevision::Exact(wanted), Self::At(head) | Self::Deleted(head)) => {
                wanted == head
            }
            _ => false,
        }
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no stream"),
            Self::At(revision) => write!(f, "revision {revision}"),
            Self::Deleted(revision) => write!(f, "deleted at revision {revision}"),
            Self::Tombstoned => f.write_str("deleted for good"),
        }
    }
}

/// What an append does to one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamAppend {
    /// The stream's name; checked when it is appended.
    pub stream: String,
    /// What it must be.
    pub expected: ExpectedRevision,
    /// The events, in order; none: the stream is only checked.
    pub events: Vec<EventData>,
}

/// Events that are one of these types **and** carry all of these tags; an empty list asks for
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct QueryItem {
    /// One of these types; empty: any.
    pub types: Vec<String>,
    /// All of these tags.
    pub tags: Vec<String>,
}

impl QueryItem {
    /// Events that carry all of these tags.
    pub fn tags<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self { types: Vec::new(), tags: tags.into_iter().map(Into::into).collect() }
    }

    /// Events of one of these types.
    pub fn types<T: Into<String>>(types: impl IntoIterator<Item = T>) -> Self {
        Self { types: types.into_iter().map(Into::into).collect(), tags: Vec::new() }
    }

    /// The same, of one of these types.
    #[must_use]
    pub fn of_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types = types.into_iter().map(Into::into).collect();
        self
    }
}

/// Events that match any of the items, as in the dcb.events specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// The items, at least one.
    pub items: Vec<QueryItem>,
}

impl Query {
    /// Events that match any of these items.
    pub fn any(items: impl IntoIterator<Item = QueryItem>) -> Self {
        Self { items: items.into_iter().collect() }
    }
}

impl From<QueryItem> for Query {
    fn from(item: QueryItem) -> Self {
        Self { items: vec![item] }
    }
}

/// Fails the append if an event that matches `query` stands after `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Which events.
    pub query: Query,
    /// The last position the writer has seen; `None`: it has seen none, so any match fails.
    pub after: Option<Position>,
}

/// Fails the append if any event matches at all: uniqueness over the whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Which events.
    pub query: Query,
}

/// An append: events for any number of streams, and what must hold for it to happen.
///
/// ```
/// use nexus_protocol::{Append, EventData, Query, QueryItem};
/// let placed = EventData::json("OrderPlaced", &serde_json::json!({"total_cents": 250}))?;
/// let append = Append::to("order-1").no_stream().event(placed.tag("coupon:SPRING"))
///     .absent(QueryItem::tags(["coupon:SPRING"]));
/// assert_eq!(append.streams.len(), 1);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Append {
    /// What is done to each stream; a stream is named at most once.
    pub streams: Vec<StreamAppend>,
    /// Fails if something new stands in its way.
    pub boundary: Option<Boundary>,
    /// Fails if anything matches at all.
    pub absence: Option<Absence>,
    /// Gives events without an id ids of their own, so that the append can be repeated.
    pub idempotency_key: Option<String>,
    /// The revision in `$policies` of the bundle that admitted it, where Nexus itself appends it together with events of its own:
    /// it is kept with the batch. Of all others what is said here counts for nothing, and it is never sent.
    pub policy_revision: Option<Revision>,
}

impl Append {
    /// An append that names no stream yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An append to one stream.
    pub fn to(stream: impl Into<String>) -> Self {
        Self::new().stream(stream)
    }

    /// Goes on with a further stream: what follows is about it.
    #[must_use]
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.streams.push(StreamAppend {
            stream: stream.into(),
            expected: ExpectedRevision::Any,
            events: Vec::new(),
        });
        self
    }

    /// What the current stream must be.
    ///
    /// # Panics
    /// When no stream was named before.
    #[must_use]
    pub fn expected(mut self, expected: ExpectedRevision) -> Self {
        self.current().expected = expected;
        self
    }

    /// The current stream must have no events.
    #[must_use]
    pub fn no_stream(self) -> Self {
        self.expected(ExpectedRevision::NoStream)
    }

    /// The current stream must have events.
    #[must_use]
    pub fn exists(self) -> Self {
        self.expected(ExpectedRevision::Exists)
    }

    /// The newest event of the current stream must have this revision.
    #[must_use]
    pub fn at(self, revision: Revision) -> Self {
        self.expected(ExpectedRevision::Exact(revision))
    }

    /// One more event for the current stream.
    ///
    /// # Panics
    /// When no stream was named before.
    #[must_use]
    pub fn event(mut self, event: EventData) -> Self {
        self.current().events.push(event);
        self
    }

    /// More events for the current stream.
    ///
    /// # Panics
    /// When no stream was named before.
    #[must_use]
    pub fn events(mut self, events: impl IntoIterator<Item = EventData>) -> Self {
        self.current().events.extend(events);
        self
    }

    /// Fails if an event that matches `query` stands after `after`.
    #[must_use]
    pub fn boundary(mut self, query: impl Into<Query>, after: Option<Position>) -> Self {
        self.boundary = Some(Boundary { query: query.into(), after });
        self
    }

    /// Fails if any event matches `query`.
    #[must_use]
    pub fn absent(mut self, query: impl Into<Query>) -> Self {
        self.absence = Some(Absence { query: query.into() });
        self
    }

    /// Gives the events ids made from this key.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// How many events it has.
    pub fn event_count(&self) -> usize {
        self.streams.iter().map(|stream| stream.events.len()).sum()
    }

    fn current(&mut self) -> &mut StreamAppend {
        self.streams.last_mut().expect("name a stream first: Append::to(\"order-1\")")
    }
}

/// Where the events of one stream went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAppended {
    /// The stream.
    pub stream: StreamName,
    /// Revision of its first new event.
    pub first_revision: Revision,
    /// Revision of its last new event.
    pub last_revision: Revision,
}

/// An append happened, and is durable as promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// First and last position; `None` for an append without events.
    pub positions: Option<(Position, Position)>,
    /// The streams that got events, in the order of the append.
    pub streams: Vec<StreamAppended>,
    /// Whether it had happened before, and this is its first answer again.
    pub replayed: bool,
}

impl Appended {
    /// First position; `None` for an append without events.
    pub fn first(&self) -> Option<Position> {
        self.positions.map(|(first, _)| first)
    }

    /// Last position; `None` for an append without events.
    pub fn last(&self) -> Option<Position> {
        self.positions.map(|(_, last)| last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_hold_as_the_design_says() {
        use ExpectedRevision::{Any, Exact, Exists, NoStream};
        use StreamState::{At, Deleted, Missing, Tombstoned};
        let (three, four) = (Revision::new(3), Revision::new(4));
        let table = [
            (Missing, [true, true, false, false, false]),
            (At(three), [true, false, true, true, false]),
            (Deleted(three), [true, true, false, true, false]),
            (Tombstoned, [false; 5]),
        ];
        for (state, holds) in table {
            let all = [Any, NoStream, Exists, Exact(three), Exact(four)];
            assert_eq!(all.map(|expected| state.meets(expected)), holds, "{state}");
        }
    }
}

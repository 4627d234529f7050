//! An event as a client hands it in.

use bytes::Bytes;
use serde::Serialize;

use crate::error::{Invalid, TooLarge};
use crate::ids::{CausationId, CorrelationId, EventId, SchemaId};
use crate::limits::{METADATA_BYTES_MAX, TAGS_MAX};
use crate::names;
use crate::record::RecordedEvent;
use crate::time::Timestamp;
use crate::trace::TraceContext;

/// The content type of data made by [`EventData::json`].
pub const JSON: &str = "application/json";

/// A fact to be appended. Nothing is checked until it is appended, so that building one reads well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventData {
    /// The identity that repeats are recognised by. `None`: made by the store, and then a repeated
    /// append is not recognised unless it has an idempotency key.
    pub id: Option<EventId>,
    /// What happened, in the past tense: `OrderPlaced`.
    pub event_type: String,
    /// Media type of `data`; empty where it is unknown.
    pub content_type: String,
    /// The facts.
    pub data: Bytes,
    /// What belongs to the transport of the facts rather than to them.
    pub metadata: Bytes,
    /// `key:value` pairs that events are found by; order and repeats do not matter.
    pub tags: Vec<String>,
    /// The schema that `data` follows; [`SchemaId::NONE`] for none.
    pub schema: SchemaId,
    /// The schema that the store found `data` to follow, where `schema` names none: it is what is stored then. Set by the
    /// store, whatever a client says. It is no part of what the client said, so that a repeat may follow another.
    pub found_schema: SchemaId,
    /// When it happened, by the client's clock.
    pub occurred_at: Option<Timestamp>,
    /// Consumer groups do not deliver it before; see [`EventData::not_before`].
    pub not_before: Option<Timestamp>,
    /// What it belongs to.
    pub correlation_id: Option<CorrelationId>,
    /// What caused it.
    pub causation_id: Option<CausationId>,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
}

impl EventData {
    /// An event of a type, with bytes of a media type.
    pub fn new(
        event_type: impl Into<String>,
        content_type: impl Into<String>,
        data: Bytes,
    ) -> Self {
        Self {
            event_type: event_type.into(),
            content_type: content_type.into(),
            data,
            ..Self::default()
        }
    }

    /// An event of a type, with a value written as JSON.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub fn json<T: Serialize + ?Sized>(
        event_type: impl Into<String>,
        value: &T,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self::new(event_type, JSON, serde_json::to_vec(value)?.into()))
    }

    /// With this identity.
    #[must_use]
    pub fn id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// With one more tag, `key:value`.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// The schema that is stored with it.
    pub fn stored_schema(&self) -> SchemaId {
        if self.schema == SchemaId::NONE { self.found_schema } else { self.schema }
    }

    /// With the time it happened.
    #[must_use]
    pub fn occurred_at(mut self, at: Timestamp) -> Self {
        self.occurred_at = Some(at);
        self
    }

    /// Delivered by consumer groups not before this time, in microseconds UTC, by the server's clock.
    ///
    /// Groups alone wait. The event stands in the log at once, at its place in the order, and whoever reads or
    /// subscribes gets it at once. A time that is past says nothing. Any time ahead is taken, and costs each group that
    /// takes the event: until then it is one of the events that the group has open, of which there are at most
    /// [`OPEN_MAX`](crate::limits::OPEN_MAX); in ordered mode it holds up all that follows of its key.
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.not_before = Some(at);
        self
    }

    /// With what it belongs to.
    #[must_use]
    pub fn correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// With what caused it.
    #[must_use]
    pub fn causation_id(mut self, id: CausationId) -> Self {
        self.causation_id = Some(id);
        self
    }

    /// As part of this trace.
    #[must_use]
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.trace = Some(trace);
        self
    }

    /// As a consequence of another event: it belongs to what that one belongs to, is part of the same
    /// trace, and says what caused it. What was given before stays.
    #[must_use]
    pub fn caused_by(mut self, cause: &RecordedEvent) -> Self {
        let id = CausationId::from_uuid(cause.id().as_uuid());
        self.causation_id = self.causation_id.or(Some(id));
        self.correlation_id = self.correlation_id.or(cause.correlation_id());
        self.trace = self.trace.or(cause.trace());
        self
    }

    /// With metadata bytes.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<Bytes>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Checks names and sizes; `data_bytes_max` is the store's setting.
    ///
    /// # Errors
    /// Says what is wrong and what would be right.
    pub fn check(&self, data_bytes_max: usize) -> Result<(), EventProblem> {
        names::check_event_type(&self.event_type)?;
        names::check_content_type(&self.content_type)?;
        if self.tags.len() > TAGS_MAX {
            return Err(EventProblem::TooLarge(TooLarge {
                what: "tags of one event".into(),
                size: self.tags.len(),
                max: TAGS_MAX,
            }));
        }
        self.tags.iter().try_for_each(|tag| names::check_tag(tag))?;
        let sizes = [
            ("data of one event, in bytes", self.data.len(), data_bytes_max),
            ("metadata of one event, in bytes", self.metadata.len(), METADATA_BYTES_MAX),
        ];
        for (what, size, max) in sizes {
            if size > max {
                return Err(EventProblem::TooLarge(TooLarge { what: what.into(), size, max }));
            }
        }
        Ok(())
    }
}

/// Why an event is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventProblem {
    /// A name is not one.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Something is over its limit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl From<names::InvalidName> for EventProblem {
    fn from(name: names::InvalidName) -> Self {
        Self::Invalid(Invalid::Name(name))
    }
}

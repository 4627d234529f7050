//! An event with other content than the log has: what a server hands out that was told to.

use bytes::Bytes;

use super::encode::{Recipe, encode_at};
use super::{RecordError, RecordedEvent};
use crate::event::EventData;
use crate::ids::SchemaId;
use crate::limits::{CONTENT_TYPE_BYTES_MAX, EVENT_TYPE_BYTES_MAX, RECORD_BYTES_MAX};

/// What stands in an event instead of what the log has.
#[derive(Clone, Debug)]
pub struct Instead<'a> {
    /// What happened.
    pub event_type: &'a str,
    /// Media type of the data.
    pub content_type: &'a str,
    /// The facts.
    pub data: Bytes,
    /// The schema that the data follows.
    pub schema: SchemaId,
}

impl RecordedEvent {
    /// This event with other facts, and all else as it is, marked as [altered](Self::altered). Its checksum covers what is
    /// made.
    ///
    /// # Errors
    /// When a name, or the whole, is longer than an event may be.
    pub fn with(&self, instead: Instead<'_>) -> Result<Self, RecordError> {
        let Instead { event_type, content_type, data, schema } = instead;
        if event_type.len() > EVENT_TYPE_BYTES_MAX || content_type.len() > CONTENT_TYPE_BYTES_MAX {
            return Err(RecordError::Malformed("length of a name"));
        }
        if data.len() > RECORD_BYTES_MAX {
            return Err(RecordError::Malformed("length"));
        }
        let event = EventData {
            id: None,
            event_type: event_type.to_owned(),
            content_type: content_type.to_owned(),
            data,
            metadata: self.metadata_bytes(),
            tags: Vec::new(),
            schema,
            found_schema: SchemaId::NONE,
            occurred_at: self.occurred_at(),
            not_before: self.not_before(),
            correlation_id: self.correlation_id(),
            causation_id: self.causation_id(),
            trace: self.trace(),
        };
        let tags: Vec<_> = self.tags().collect();
        let recipe = Recipe { stream: self.stream(), id: self.id(), event: &event, tags: &tags };
        let bytes = encode_at(&recipe, self.position(), self.revision(), self.recorded_at());
        Self::decode_covered(bytes.into()).map(Self::as_altered)
    }
}

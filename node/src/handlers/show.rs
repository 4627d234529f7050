//! Events in another version of their schemas than the one they are stored in, and what their schemas are called.

use std::sync::Arc;

use bytes::Bytes;
use nexus_protocol::record::Instead;
use nexus_protocol::schema::AsSchema;
use nexus_protocol::{ReadError, RecordedEvent, SchemaId};
use nexus_schemas::Registry;

use super::Access;
use crate::guard::Permit;

/// What the schemas of a namespace are called.
#[derive(Clone, Debug)]
pub struct SchemaNames(Arc<Registry>);

impl SchemaNames {
    /// The subject and the version that an event follows, as it is shown; `None`: none that is known here.
    pub fn of(&self, event: &RecordedEvent) -> Option<(&str, u32)> {
        self.0.name_of(event)
    }
}

impl Access {
    /// What the schemas of the events are called that it may read: they are part of those, and ask for no right of their own.
    pub fn schema_names(&self) -> SchemaNames {
        // Where the registry is damaged, whoever appends or asks for a schema is told; ids are there still.
        SchemaNames(self.node.schemas().registry(&self.namespace).unwrap_or_default())
    }

    /// The same of an event for somebody, without what they may not see: before it is shown in another version, and after.
    pub(super) fn shown_to(
        &self,
        permit: &Permit,
        event: RecordedEvent,
        as_schema: AsSchema,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let has_mask = permit.mask().is_some();
        let event = masked(permit, event);
        let mut parts = match self.shown(event.clone(), as_schema) {
            // What is masked may be what it takes to show it so: then nothing of it is shown.
            Err(ReadError::NotConverted { .. }) if has_mask => return Ok(vec![withheld(&event)]),
            shown => shown?,
        };
        if as_schema != AsSchema::Raw && has_mask {
            parts = parts.into_iter().map(|part| masked(permit, part)).collect();
        }
        Ok(parts)
    }

    /// An event as it is in a version of its schema: mostly one, and its parts where transforms make several or none of it.
    ///
    /// # Errors
    /// [`ReadError::NotConverted`].
    pub fn shown(
        &self,
        event: RecordedEvent,
        as_schema: AsSchema,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        if as_schema == AsSchema::Raw {
            return Ok(vec![event]);
        }
        let position = event.position();
        let registry = self.node.schemas().registry(&self.namespace);
        let registry = registry
            .map_err(|error| ReadError::NotConverted { position, why: error.to_string() })?;
        registry.show(event, as_schema)
    }
}

/// Shows the events of a reader one by one.
#[derive(Debug)]
pub(super) struct Showing {
    access: Access,
    as_schema: AsSchema,
    permit: Permit,
    parts: std::vec::IntoIter<RecordedEvent>,
}

impl Showing {
    /// `None`: events are shown as they are stored.
    pub(super) fn new(access: &Access, permit: &Permit, as_schema: AsSchema) -> Option<Self> {
        let is_raw = as_schema == AsSchema::Raw && permit.obligations().is_none();
        let parts = Vec::new().into_iter();
        let permit = permit.clone();
        (!is_raw).then(|| Self { access: access.clone(), as_schema, permit, parts })
    }

    /// The next part of what was taken.
    pub(super) fn next(&mut self) -> Option<RecordedEvent> {
        self.parts.next()
    }

    /// Takes the next event; its parts come one by one.
    pub(super) fn take(&mut self, event: RecordedEvent) -> Result<(), ReadError> {
        let parts = self.access.shown_to(&self.permit, event, self.as_schema)?;
        self.parts = parts.into_iter();
        Ok(())
    }
}

/// An event without the values that somebody may not see. Data in which they cannot be found are withheld as a whole.
pub(super) fn masked(permit: &Permit, event: RecordedEvent) -> RecordedEvent {
    let Some(mask) = permit.mask() else { return event };
    let data = mask.apply(event.data()).unwrap_or_default();
    if data == event.data() {
        return event;
    }
    let (event_type, content_type) = (event.event_type(), event.content_type());
    let instead = Instead { event_type, content_type, data: data.into(), schema: event.schema() };
    // Four bytes may stand where one did; an event that is too long by that is withheld too.
    event.with(instead).unwrap_or_else(|_| withheld(&event))
}

/// An event without its data.
fn withheld(event: &RecordedEvent) -> RecordedEvent {
    let (event_type, content_type) = (event.event_type(), event.content_type());
    let (data, schema) = (Bytes::new(), SchemaId::NONE);
    let withheld = event.with(Instead { event_type, content_type, data, schema });
    withheld.expect("an event without data is shorter than it was")
}

//! Events in another version of their schemas than the one they are stored in, and what their schemas are called.

use std::sync::Arc;

use nexus_protocol::schema::AsSchema;
use nexus_protocol::{ReadError, RecordedEvent};
use nexus_schemas::Registry;

use super::Access;

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
    parts: std::vec::IntoIter<RecordedEvent>,
}

impl Showing {
    /// `None`: events are shown as they are stored.
    pub(super) fn new(access: &Access, as_schema: AsSchema) -> Option<Self> {
        let is_raw = as_schema == AsSchema::Raw;
        let parts = Vec::new().into_iter();
        (!is_raw).then(|| Self { access: access.clone(), as_schema, parts })
    }

    /// The next part of what was taken.
    pub(super) fn next(&mut self) -> Option<RecordedEvent> {
        self.parts.next()
    }

    /// Takes the next event; its parts come one by one.
    pub(super) fn take(&mut self, event: RecordedEvent) -> Result<(), ReadError> {
        self.parts = self.access.shown(event, self.as_schema)?.into_iter();
        Ok(())
    }
}

//! What the schemas of events are called, and events in other versions of them: shown here, of a server too, so that what is
//! read is what is stored, and counts as such.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nexus_client::schemas::Registry;
use nexus_protocol::schema::{AsSchema, SCHEMAS_STREAM};
use nexus_protocol::{Position, Read, ReadError, RecordedEvent, Revision, SchemaId};

use super::Store;

/// The schemas of a store, as far as they were asked for.
#[derive(Debug, Default)]
pub(super) struct Schemas(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    registry: Registry,
    /// What was registered before the end that the log had then is known.
    to: Option<Position>,
    /// Why they cannot be read.
    failed: Option<ReadError>,
}

impl Store {
    /// The subject and the version that an event follows, as it is shown; `None`: none that is known here, or that this
    /// command may not see.
    pub(crate) fn schema_name(&self, event: &RecordedEvent) -> Option<(String, u32)> {
        if event.schema() == SchemaId::NONE {
            return None;
        }
        let known = self.known_for(event).ok()?;
        let (subject, version) = known.registry.name_of(event)?;
        Some((subject.to_owned(), version))
    }

    /// An event as it is in a version of its schema: mostly one, and its parts where there are several or none.
    ///
    /// # Errors
    /// When it cannot be shown so, or the schemas cannot be read.
    pub(crate) fn shown(
        &self,
        event: RecordedEvent,
        as_schema: AsSchema,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        if as_schema == AsSchema::Raw {
            return Ok(vec![event]);
        }
        self.known_for(&event)?.registry.show(event, as_schema)
    }

    /// The schemas, read on where an event may follow one that is not known yet.
    fn known_for(&self, event: &RecordedEvent) -> Result<MutexGuard<'_, Known>, ReadError> {
        let mut known = self.schemas.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = event.schema();
        let is_known = match id {
            // Whether it is older than all schemas is known once they were read.
            SchemaId::NONE => known.to.is_some(),
            id => known.registry.by_id(id).is_some(),
        };
        if is_known || Some(event.position()) <= known.to {
            return Ok(known);
        }
        if let Some(error) = &known.failed {
            return Err(error.clone());
        }
        if let Err(error) = self.read_on(&mut known, event.position()) {
            known.failed = Some(error.clone());
            return Err(error);
        }
        Ok(known)
    }

    fn read_on(&self, known: &mut Known, position: Position) -> Result<(), ReadError> {
        let head = self.head().ok().and_then(|head| head.position);
        let from = known.registry.revision().map_or(Revision::ZERO, Revision::next);
        for event in self.read(Read::stream(SCHEMAS_STREAM).from_revision(from)) {
            let event = event?;
            let position = event.position();
            let applied = known.registry.apply(&event);
            applied.map_err(|why| ReadError::NotConverted { position, why: why.to_string() })?;
        }
        known.to = head.max(Some(position));
        Ok(())
    }
}

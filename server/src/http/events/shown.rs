//! Events as they are shown: in a version of their schemas, with what those are called.

use nexus_node::{Access, SchemaNames};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::{EventJson, ReadError, RecordedEvent};

/// What a link leads to, as it is shown; and what is no link as it is.
pub(super) fn followed_link(
    access: &Access,
    event: RecordedEvent,
    as_schema: AsSchema,
) -> Result<Vec<RecordedEvent>, ReadError> {
    let position = event.position();
    let found = access.resolved(event)?;
    // What was read is shown already.
    if found.position() == position { Ok(vec![found]) } else { access.shown(found, as_schema) }
}

/// An event as JSON, with what its schema is called.
pub(crate) fn named<'a>(names: &'a SchemaNames, event: &'a RecordedEvent) -> EventJson<'a> {
    let json = EventJson::from(event);
    match names.of(event) {
        Some((subject, version)) => json.of_schema(subject, version),
        None => json,
    }
}

//! Requests about schemas as JSON, and the events of `$schemas`: each is refused or taken, and what is taken leaves a
//! registry that can be asked and gone on with.

#![no_main]

use nexus_protocol::json::{NewSchemaJson, SettingsChangeJson};
use nexus_protocol::record::{PreparedRecord, Recipe, place};
use nexus_protocol::schema::{
    EffectiveSettings, NewSchema, SCHEMAS_STREAM, SchemaSettings, SettingsChange, VersionPick,
};
use nexus_protocol::{
    Append, EventData, EventId, JSON, Position, RecordedEvent, Revision, Timestamp,
};
use nexus_schemas::{Change, Registering, Registry};

const TYPES: [&str; 4] =
    ["$SchemaRegistered", "$SchemaStateSet", "$SchemaSettingsSet", "$SchemaSomething"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (mut registry, wide) = (Registry::new(), SchemaSettings::default());
    for piece in bytes.split(|byte| *byte == 0).take(16) {
        let Some((kind, data)) = piece.split_first() else { continue };
        let next = registry.revision().map_or(Revision::ZERO, Revision::next);
        let event = match TYPES.get(usize::from(*kind) % 6) {
            Some(event_type) => EventData::new(*event_type, JSON, data.to_vec().into()),
            None => match requested(&registry, *kind % 6 == 4, data, &wide) {
                Some(event) => event,
                None => continue,
            },
        };
        let before = registry.clone();
        if registry.apply(&recorded(&event, next)).is_err() {
            assert_eq!(registry.revision(), before.revision());
            assert!(registry.subjects(None, &wide).eq(before.subjects(None, &wide)));
        }
    }
    for subject in registry.subjects(None, &wide) {
        let latest = registry.version(&subject.subject, VersionPick::Latest);
        assert_eq!(latest.is_some(), !subject.versions.is_empty());
        let event = EventData::new(subject.subject.as_str(), JSON, "{}".into());
        let _ = registry.check_append(&mut Append::to("a-1").event(event), &wide);
        let _ = EffectiveSettings::of([&subject.settings]);
    }
});

/// What a request would have appended.
fn requested(
    registry: &Registry,
    registers: bool,
    data: &[u8],
    wide: &SchemaSettings,
) -> Option<EventData> {
    if registers {
        let new = NewSchema::try_from(serde_json::from_slice::<NewSchemaJson>(data).ok()?).ok()?;
        return match registry.register("A", &new, wide).ok()? {
            Registering::There(_) => None,
            Registering::New { event, .. } => Some(*event),
        };
    }
    let change = serde_json::from_slice::<SettingsChangeJson>(data).ok()?;
    let change = SettingsChange::try_from(change).ok()?;
    match registry.set_settings(Some("A"), change).ok()? {
        Change::There => None,
        Change::New(event) => Some(*event),
    }
}

fn recorded(event: &EventData, revision: Revision) -> RecordedEvent {
    let id = EventId::from_bytes([7; 16]);
    let mut bytes = Vec::new();
    let recipe = Recipe { stream: SCHEMAS_STREAM, id, event, tags: &[] };
    let prepared = PreparedRecord::encode(&recipe, &mut bytes);
    let position = Position::new(revision.get());
    place(&mut bytes, &prepared, position, revision, Timestamp::from_micros(1));
    RecordedEvent::decode(bytes.into()).expect("just encoded")
}

//! The events of [`SCHEMAS_STREAM`](nexus_protocol::schema::SCHEMAS_STREAM): what a registry is read from.
//!
//! Events of three types, in the order in which they count:
//! - `$SchemaRegistered`: a new version; its id is the revision of this event, plus one;
//! - `$SchemaStateSet`: how far a version has come;
//! - `$SchemaSettingsSet`: what holds for a subject, or, without one, for the namespace. It says all of it.

use nexus_protocol::json::{NewSchemaJson, SettingsChangeJson};
use nexus_protocol::schema::{
    NewSchema, SchemaSettings, SchemaState, SchemaVersion, SettingsChange,
};
use nexus_protocol::{EventData, Invalid, Position, RecordedEvent, SchemaId};
use serde::{Deserialize, Serialize};

pub(super) const REGISTERED: &str = "$SchemaRegistered";
pub(super) const STATE_SET: &str = "$SchemaStateSet";
pub(super) const SETTINGS_SET: &str = "$SchemaSettingsSet";

/// An event of the stream, read.
#[derive(Debug)]
pub(super) enum Entry {
    Registered(SchemaVersion, Position),
    StateSet { subject: String, version: u32, state: SchemaState },
    SettingsSet { subject: Option<String>, settings: SchemaSettings },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisteredJson {
    subject: String,
    version: u32,
    fingerprint: String,
    /// As it was handed in.
    schema: NewSchemaJson,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateJson {
    subject: String,
    version: u32,
    state: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    settings: SettingsChangeJson,
}

/// Reads an event of the stream.
pub(super) fn read(event: &RecordedEvent) -> Result<Entry, String> {
    let no_json = |why: serde_json::Error| why.to_string();
    let invalid = |why: Invalid| why.to_string();
    match event.event_type() {
        REGISTERED => registered(event),
        STATE_SET => {
            let StateJson { subject, version, state } = event.json().map_err(no_json)?;
            let state = state.parse().map_err(invalid)?;
            Ok(Entry::StateSet { subject, version, state })
        }
        SETTINGS_SET => {
            let SettingsJson { subject, settings } = event.json().map_err(no_json)?;
            let settings = SettingsChange::try_from(settings).map_err(invalid)?;
            let settings = SchemaSettings::default().with(settings);
            Ok(Entry::SettingsSet { subject, settings })
        }
        other => Err(format!("an event of type {other:?}: a newer Nexus wrote it")),
    }
}

fn registered(event: &RecordedEvent) -> Result<Entry, String> {
    let json: RegisteredJson = event.json().map_err(|why| why.to_string())?;
    let id = event.revision().get().checked_add(1).and_then(|id| u32::try_from(id).ok());
    let id = id.ok_or("a revision beyond what ids can be")?;
    let new = NewSchema::try_from(json.schema).map_err(|why| why.to_string())?;
    let version = SchemaVersion {
        id: SchemaId::new(id),
        subject: json.subject,
        version: json.version,
        format: new.format,
        schema: new.schema,
        references: new.references,
        fingerprint: json.fingerprint,
        state: new.state,
        up: new.up,
        owner: new.owner,
        description: new.description,
        registered_at: event.recorded_at(),
    };
    Ok(Entry::Registered(version, event.position()))
}

fn event<T: Serialize>(event_type: &str, json: &T) -> EventData {
    EventData::json(event_type, json).expect("texts and numbers have a JSON form")
}

/// The event that registers a version.
pub(super) fn registers(
    subject: &str,
    version: u32,
    new: &NewSchema,
    fingerprint: &str,
) -> EventData {
    let (subject, fingerprint) = (subject.to_owned(), fingerprint.to_owned());
    event(REGISTERED, &RegisteredJson { subject, version, fingerprint, schema: new.into() })
}

/// The event that says how far a version has come.
pub(super) fn sets_state(subject: &str, version: u32, state: SchemaState) -> EventData {
    let json = StateJson { subject: subject.to_owned(), version, state: state.to_string() };
    event(STATE_SET, &json)
}

/// The event that says what holds for a subject, or for the namespace.
pub(super) fn sets_settings(subject: Option<&str>, settings: &SchemaSettings) -> EventData {
    let settings = (&SettingsChange::from(settings)).into();
    event(SETTINGS_SET, &SettingsJson { subject: subject.map(str::to_owned), settings })
}

//! The events of [`SCHEMAS_STREAM`](nexus_protocol::schema::SCHEMAS_STREAM): what a registry is read from.
//!
//! Events of three types, in the order in which they count:
//! - `$SchemaRegistered`: a new version; its id is the revision of this event, plus one;
//! - `$SchemaStateSet`: how far a version has come;
//! - `$SchemaSettingsSet`: what holds for a subject, or, without one, for the namespace. It says all of it.

use nexus_protocol::schema::{
    NewSchema, Pattern, SchemaReference, SchemaSettings, SchemaState, SchemaVersion,
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
struct ReferenceJson {
    name: String,
    subject: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisteredJson {
    subject: String,
    version: u32,
    format: String,
    schema: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    references: Vec<ReferenceJson>,
    fingerprint: String,
    state: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compatibility: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
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
            let json: SettingsJson = event.json().map_err(no_json)?;
            let patterns = |texts: Vec<String>| -> Result<Vec<Pattern>, String> {
                texts.into_iter().map(|it| Pattern::new(it).map_err(invalid)).collect()
            };
            let settings = SchemaSettings {
                compatibility: json
                    .compatibility
                    .map(|it| it.parse())
                    .transpose()
                    .map_err(invalid)?,
                validation: json.validation.map(|it| it.parse()).transpose().map_err(invalid)?,
                types: patterns(json.types)?,
                categories: patterns(json.categories)?,
                owner: json.owner,
                description: json.description,
            };
            Ok(Entry::SettingsSet { subject: json.subject, settings })
        }
        other => Err(format!("an event of type {other:?}: a newer Nexus wrote it")),
    }
}

fn registered(event: &RecordedEvent) -> Result<Entry, String> {
    let json: RegisteredJson = event.json().map_err(|why| why.to_string())?;
    let id = event.revision().get().checked_add(1).and_then(|id| u32::try_from(id).ok());
    let id = id.ok_or("a revision beyond what ids can be")?;
    let reference = |it: ReferenceJson| SchemaReference {
        name: it.name,
        subject: it.subject,
        version: it.version,
    };
    let version = SchemaVersion {
        id: SchemaId::new(id),
        subject: json.subject,
        version: json.version,
        format: json.format.parse().map_err(|why: Invalid| why.to_string())?,
        schema: json.schema,
        references: json.references.into_iter().map(reference).collect(),
        fingerprint: json.fingerprint,
        state: json.state.parse().map_err(|why: Invalid| why.to_string())?,
        owner: json.owner,
        description: json.description,
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
    let reference = |it: &SchemaReference| ReferenceJson {
        name: it.name.clone(),
        subject: it.subject.clone(),
        version: it.version,
    };
    let json = RegisteredJson {
        subject: subject.to_owned(),
        version,
        format: new.format.to_string(),
        schema: new.schema.clone(),
        references: new.references.iter().map(reference).collect(),
        fingerprint: fingerprint.to_owned(),
        state: new.state.to_string(),
        owner: new.owner.clone(),
        description: new.description.clone(),
    };
    event(REGISTERED, &json)
}

/// The event that says how far a version has come.
pub(super) fn sets_state(subject: &str, version: u32, state: SchemaState) -> EventData {
    let json = StateJson { subject: subject.to_owned(), version, state: state.to_string() };
    event(STATE_SET, &json)
}

/// The event that says what holds for a subject, or for the namespace.
pub(super) fn sets_settings(subject: Option<&str>, settings: &SchemaSettings) -> EventData {
    let texts = |all: &[Pattern]| all.iter().map(|it| it.as_str().to_owned()).collect();
    let json = SettingsJson {
        subject: subject.map(str::to_owned),
        compatibility: settings.compatibility.map(|it| it.to_string()),
        validation: settings.validation.map(|it| it.to_string()),
        types: texts(&settings.types),
        categories: texts(&settings.categories),
        owner: settings.owner.clone(),
        description: settings.description.clone(),
    };
    event(SETTINGS_SET, &json)
}

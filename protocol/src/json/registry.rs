//! Schemas as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::stream::given;
use crate::error::Invalid;
use crate::schema::{
    Incompatibility, NewSchema, Pattern, SchemaFormat, SchemaProblem, SchemaReference,
    SchemaSettings, SchemaState, SchemaVersion, SettingsChange, SubjectInfo, VersionInfo,
};
use crate::time::Timestamp;

/// Another schema that one speaks of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "SchemaReference")]
pub struct SchemaReferenceJson {
    /// As the schema calls it: a URI in JSON Schema, a full name in Avro, the name of a file in Protobuf.
    pub name: String,
    /// The subject of the other.
    pub subject: String,
    /// Its version, from 1.
    pub version: u32,
}

impl From<SchemaReferenceJson> for SchemaReference {
    fn from(json: SchemaReferenceJson) -> Self {
        Self { name: json.name, subject: json.subject, version: json.version }
    }
}

impl From<&SchemaReference> for SchemaReferenceJson {
    fn from(it: &SchemaReference) -> Self {
        Self { name: it.name.clone(), subject: it.subject.clone(), version: it.version }
    }
}

/// A version to be registered, or to be tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename = "NewSchema")]
pub struct NewSchemaJson {
    /// `json`, `avro`, or `protobuf`; `json` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The schema: its text, or, in JSON Schema and Avro, the JSON itself.
    pub schema: SchemaTextJson,
    /// What it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<Vec<SchemaReferenceJson>>,
    /// `active`, or `draft`; `active` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// How data of the version before it becomes data of this one: a list of operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<Vec<serde_json::Value>>"))]
    pub up: Option<Box<RawValue>>,
    /// Whom to ask about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The text of a schema, which may be given as a string, or, in JSON Schema and Avro, as the JSON that it is: that is kept
/// byte for byte. A string stands for itself: one that is a schema in Avro is written as it is there, as `"\"string\""`.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaTextJson(String);

impl Serialize for SchemaTextJson {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SchemaTextJson {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        let text = match raw.get().starts_with('"') {
            true => serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?,
            false => raw.get().to_owned(),
        };
        Ok(Self(text))
    }
}

#[cfg(feature = "json-schema")]
impl schemars::JsonSchema for SchemaTextJson {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SchemaText".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "object", "array", "boolean"] })
    }
}

impl From<&NewSchema> for NewSchemaJson {
    fn from(new: &NewSchema) -> Self {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let references: Vec<_> = new.references.iter().map(Into::into).collect();
        Self {
            format: Some(new.format.to_string()),
            schema: SchemaTextJson(new.schema.clone()),
            references: (!references.is_empty()).then_some(references),
            state: Some(new.state.to_string()),
            up: raw(&new.up),
            owner: given(&new.owner),
            description: given(&new.description),
        }
    }
}

impl TryFrom<NewSchemaJson> for NewSchema {
    type Error = Invalid;

    fn try_from(json: NewSchemaJson) -> Result<Self, Invalid> {
        let format = json.format.map_or(Ok(SchemaFormat::Json), |it| it.parse())?;
        let references = json.references.unwrap_or_default();
        Ok(Self {
            format,
            schema: json.schema.0,
            references: references.into_iter().map(Into::into).collect(),
            state: json.state.map_or(Ok(SchemaState::Active), |it| it.parse())?,
            up: json.up.map_or_else(String::new, |up| Box::<str>::from(up).into_string()),
            owner: json.owner.unwrap_or_default(),
            description: json.description.unwrap_or_default(),
        })
    }
}

/// A text as the JSON that it is. What is none, which nothing that was checked is, is left out.
fn raw(text: &str) -> Option<Box<RawValue>> {
    serde_json::from_str(text).ok()
}

/// A version.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Schema")]
pub struct SchemaVersionJson<'a> {
    /// What events carry that follow it.
    pub id: u32,
    /// What it stands under.
    pub subject: &'a str,
    /// Its number, from 1.
    pub version: u32,
    /// `json`, `avro`, or `protobuf`.
    pub format: &'static str,
    /// Its text, as it was handed in.
    pub schema: &'a str,
    /// What it speaks of.
    pub references: Vec<SchemaReferenceJson>,
    /// Of its content, and of what it speaks of: 64 hexadecimal digits.
    pub fingerprint: &'a str,
    /// `draft`, `active`, `deprecated`, or `retired`.
    pub state: &'static str,
    /// How data of the version before it becomes data of this one: a list of operations; missing: by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<Vec<serde_json::Value>>"))]
    pub up: Option<Box<RawValue>>,
    /// Whom to ask about it.
    pub owner: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// When it was registered.
    pub registered_at: Timestamp,
}

impl<'a> From<&'a SchemaVersion> for SchemaVersionJson<'a> {
    fn from(of: &'a SchemaVersion) -> Self {
        Self {
            id: of.id.get(),
            subject: &of.subject,
            version: of.version,
            format: of.format.as_str(),
            schema: &of.schema,
            references: of.references.iter().map(Into::into).collect(),
            fingerprint: &of.fingerprint,
            state: of.state.as_str(),
            up: raw(&of.up),
            owner: &of.owner,
            description: &of.description,
            registered_at: of.registered_at,
        }
    }
}

/// A version of a subject, in short.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "SchemaVersionInfo")]
pub struct VersionInfoJson {
    /// Its number, from 1.
    pub version: u32,
    /// What events carry that follow it.
    pub id: u32,
    /// `draft`, `active`, `deprecated`, or `retired`.
    pub state: &'static str,
}

impl From<&VersionInfo> for VersionInfoJson {
    fn from(it: &VersionInfo) -> Self {
        Self { version: it.version, id: it.id.get(), state: it.state.as_str() }
    }
}

/// What was set.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "SchemaSettings")]
pub struct SchemaSettingsJson<'a> {
    /// `NONE`, `BACKWARD`, `BACKWARD_TRANSITIVE`, `FORWARD`, `FORWARD_TRANSITIVE`, `FULL`, or `FULL_TRANSITIVE`; null: as the
    /// wider settings say.
    pub compatibility: Option<&'static str>,
    /// `required`, `optional`, or `off`; null: as the wider settings say.
    pub validation: Option<&'static str>,
    /// The event types that the subject is bound to, in which `*` stands for any characters.
    pub types: Vec<&'a str>,
    /// The categories of streams that it is bound to.
    pub categories: Vec<&'a str>,
    /// Whom to ask about it.
    pub owner: &'a str,
    /// What it is for.
    pub description: &'a str,
}

impl<'a> From<&'a SchemaSettings> for SchemaSettingsJson<'a> {
    fn from(settings: &'a SchemaSettings) -> Self {
        Self {
            compatibility: settings.compatibility.map(|it| it.as_str()),
            validation: settings.validation.map(|it| it.as_str()),
            types: settings.types.iter().map(Pattern::as_str).collect(),
            categories: settings.categories.iter().map(Pattern::as_str).collect(),
            owner: &settings.owner,
            description: &settings.description,
        }
    }
}

/// What holds, once all levels are asked.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "EffectiveSchemaSettings")]
pub struct EffectiveSettingsJson {
    /// Which versions have to understand each other.
    pub compatibility: &'static str,
    /// What is asked of events.
    pub validation: &'static str,
}

/// A subject.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Subject")]
pub struct SubjectInfoJson<'a> {
    /// Its name; empty: these are the settings of the namespace.
    pub subject: &'a str,
    /// The language of its versions; null: it has none yet.
    pub format: Option<&'static str>,
    /// Its versions, the oldest first.
    pub versions: Vec<VersionInfoJson>,
    /// What was set for it.
    pub settings: SchemaSettingsJson<'a>,
    /// What holds for it.
    pub effective: EffectiveSettingsJson,
}

impl<'a> From<&'a SubjectInfo> for SubjectInfoJson<'a> {
    fn from(info: &'a SubjectInfo) -> Self {
        Self {
            subject: &info.subject,
            format: info.format.map(|it| it.as_str()),
            versions: info.versions.iter().map(Into::into).collect(),
            settings: (&info.settings).into(),
            effective: EffectiveSettingsJson {
                compatibility: info.effective.compatibility.as_str(),
                validation: info.effective.validation.as_str(),
            },
        }
    }
}

/// A change of settings: a field that is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename = "SchemaSettingsChange")]
pub struct SettingsChangeJson {
    /// Which versions have to understand each other; null: as the wider settings say.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub compatibility: Option<Option<String>>,
    /// What is asked of events; null: as the wider settings say.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub validation: Option<Option<String>>,
    /// The event types that the subject is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<String>>,
    /// The categories of streams that it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// Whom to ask about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl From<&SettingsChange> for SettingsChangeJson {
    fn from(change: &SettingsChange) -> Self {
        let texts =
            |all: &Vec<Pattern>| all.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>();
        Self {
            compatibility: change.compatibility.map(|it| it.map(|it| it.to_string())),
            validation: change.validation.map(|it| it.map(|it| it.to_string())),
            types: change.types.as_ref().map(texts),
            categories: change.categories.as_ref().map(texts),
            owner: change.owner.clone(),
            description: change.description.clone(),
        }
    }
}

impl TryFrom<SettingsChangeJson> for SettingsChange {
    type Error = Invalid;

    fn try_from(json: SettingsChangeJson) -> Result<Self, Invalid> {
        fn word<T: std::str::FromStr<Err = Invalid>>(
            text: Option<Option<String>>,
        ) -> Result<Option<Option<T>>, Invalid> {
            text.map(|it| it.map(|it| it.parse()).transpose()).transpose()
        }
        let patterns = |texts: Option<Vec<String>>| -> Result<Option<Vec<Pattern>>, Invalid> {
            texts.map(|it| it.into_iter().map(Pattern::new).collect()).transpose()
        };
        Ok(Self {
            compatibility: word(json.compatibility)?,
            validation: word(json.validation)?,
            types: patterns(json.types)?,
            categories: patterns(json.categories)?,
            owner: json.owner,
            description: json.description,
        })
    }
}

/// What is wrong with an event.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "SchemaProblem")]
pub struct SchemaProblemJson<'a> {
    /// Which event of the request, from 0.
    pub event: usize,
    /// The schema that it should follow; 0: there is none.
    pub schema: u32,
    /// Where in its data: a JSON pointer; empty: the data as a whole.
    pub pointer: &'a str,
    /// Which rule it breaks.
    pub rule: &'a str,
    /// What is wrong.
    pub message: &'a str,
}

impl<'a> From<&'a SchemaProblem> for SchemaProblemJson<'a> {
    fn from(it: &'a SchemaProblem) -> Self {
        Self {
            event: it.event,
            schema: it.schema.get(),
            pointer: &it.problem.pointer,
            rule: &it.problem.rule,
            message: &it.problem.message,
        }
    }
}

/// What stands between two versions.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Incompatibility")]
pub struct IncompatibilityJson<'a> {
    /// Where in the schema; empty: the whole.
    pub pointer: &'a str,
    /// Which rule stands in the way.
    pub rule: &'a str,
    /// What the older of the two says there; null: nothing.
    pub old: Option<&'a Value>,
    /// What the newer of the two says there; null: nothing.
    pub new: Option<&'a Value>,
    /// Which version it does not go together with.
    pub version: u32,
}

impl<'a> From<&'a Incompatibility> for IncompatibilityJson<'a> {
    fn from(it: &'a Incompatibility) -> Self {
        Self {
            pointer: &it.pointer,
            rule: &it.rule,
            old: it.old.as_ref(),
            new: it.new.as_ref(),
            version: it.version,
        }
    }
}

/// What became of a candidate that was tried.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "SchemaCheck")]
pub struct SchemaCheckJson<'a> {
    /// Whether it may be registered.
    pub compatible: bool,
    /// Why it may not.
    pub incompatibilities: Vec<IncompatibilityJson<'a>>,
}

impl<'a> From<&'a [Incompatibility]> for SchemaCheckJson<'a> {
    fn from(found: &'a [Incompatibility]) -> Self {
        let incompatibilities = found.iter().map(Into::into).collect();
        Self { compatible: found.is_empty(), incompatibilities }
    }
}

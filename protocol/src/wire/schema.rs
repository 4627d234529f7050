//! Schemas on the wire: what is asked of them, and how they are. From [`PROTOCOL_SCHEMAS`](super::PROTOCOL_SCHEMAS) on.

use rkyv::{Archive, Deserialize, Serialize};

use super::WireError;
use crate::ids::SchemaId;
use crate::json::SettingsChangeJson;
use crate::schema::{
    DataProblem, EffectiveSettings, Incompatibility, NewSchema, SchemaProblem, SchemaReference,
    SchemaSettings, SchemaVersion, SettingsChange, SubjectInfo, VersionInfo,
};
use crate::time::Timestamp;

/// What is asked of schemas.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum SchemaAsk {
    /// To register a version.
    Register(NewSchemaHead),
    /// Whether one could be registered.
    Check(NewSchemaHead),
    /// A page of subjects.
    Subjects {
        /// The last subject of the page before.
        after: Option<String>,
        /// How many at most.
        limit: u32,
    },
    /// A subject.
    Subject,
    /// A version of a subject; `None`: the newest.
    Version(Option<u32>),
    /// The version with this id.
    ById(u32),
    /// To set how far a version has come.
    SetState {
        /// Which version.
        version: u32,
        /// How far, by name.
        state: String,
    },
    /// To change what holds for the subject; without a subject for the namespace.
    SetSettings {
        /// What.
        change: SettingsChangeHead,
        /// For all namespaces.
        global: bool,
    },
    /// What holds for the subject; without a subject for the namespace.
    Settings {
        /// For all namespaces.
        global: bool,
    },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct ReferenceHead {
    name: String,
    subject: String,
    version: u32,
}

fn reference_heads(references: &[SchemaReference]) -> Vec<ReferenceHead> {
    let head = |it: &SchemaReference| ReferenceHead {
        name: it.name.clone(),
        subject: it.subject.clone(),
        version: it.version,
    };
    references.iter().map(head).collect()
}

fn references_of(heads: Vec<ReferenceHead>) -> Vec<SchemaReference> {
    let one = |it: ReferenceHead| SchemaReference {
        name: it.name,
        subject: it.subject,
        version: it.version,
    };
    heads.into_iter().map(one).collect()
}

/// A version as it is handed in: [`NewSchema`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct NewSchemaHead {
    format: String,
    schema: String,
    references: Vec<ReferenceHead>,
    state: String,
    up: String,
    owner: String,
    description: String,
}

impl From<&NewSchema> for NewSchemaHead {
    fn from(new: &NewSchema) -> Self {
        Self {
            format: new.format.to_string(),
            schema: new.schema.clone(),
            references: reference_heads(&new.references),
            state: new.state.to_string(),
            up: new.up.clone(),
            owner: new.owner.clone(),
            description: new.description.clone(),
        }
    }
}

impl TryFrom<NewSchemaHead> for NewSchema {
    type Error = WireError;

    fn try_from(head: NewSchemaHead) -> Result<Self, WireError> {
        Ok(Self {
            format: head.format.parse().map_err(WireError::malformed)?,
            schema: head.schema,
            references: references_of(head.references),
            state: head.state.parse().map_err(WireError::malformed)?,
            up: head.up,
            owner: head.owner,
            description: head.description,
        })
    }
}

/// A version as it is kept: [`SchemaVersion`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SchemaHead {
    id: u32,
    subject: String,
    version: u32,
    format: String,
    schema: String,
    references: Vec<ReferenceHead>,
    fingerprint: String,
    state: String,
    up: String,
    owner: String,
    description: String,
    registered_at: i64,
}

impl From<&SchemaVersion> for SchemaHead {
    fn from(of: &SchemaVersion) -> Self {
        Self {
            id: of.id.get(),
            subject: of.subject.clone(),
            version: of.version,
            format: of.format.to_string(),
            schema: of.schema.clone(),
            references: reference_heads(&of.references),
            fingerprint: of.fingerprint.clone(),
            state: of.state.to_string(),
            up: of.up.clone(),
            owner: of.owner.clone(),
            description: of.description.clone(),
            registered_at: of.registered_at.as_micros(),
        }
    }
}

impl TryFrom<SchemaHead> for SchemaVersion {
    type Error = WireError;

    fn try_from(head: SchemaHead) -> Result<Self, WireError> {
        Ok(Self {
            id: SchemaId::new(head.id),
            subject: head.subject,
            version: head.version,
            format: head.format.parse().map_err(WireError::malformed)?,
            schema: head.schema,
            references: references_of(head.references),
            fingerprint: head.fingerprint,
            state: head.state.parse().map_err(WireError::malformed)?,
            up: head.up,
            owner: head.owner,
            description: head.description,
            registered_at: Timestamp::from_micros(head.registered_at),
        })
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct VersionHead {
    version: u32,
    id: u32,
    state: String,
}

/// A subject: [`SubjectInfo`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SubjectHead {
    subject: String,
    format: Option<String>,
    versions: Vec<VersionHead>,
    settings: SettingsChangeHead,
    compatibility: String,
    validation: String,
}

impl From<&SubjectInfo> for SubjectHead {
    fn from(info: &SubjectInfo) -> Self {
        let version = |it: &VersionInfo| VersionHead {
            version: it.version,
            id: it.id.get(),
            state: it.state.to_string(),
        };
        Self {
            subject: info.subject.clone(),
            format: info.format.map(|it| it.to_string()),
            versions: info.versions.iter().map(version).collect(),
            settings: (&SettingsChange::from(&info.settings)).into(),
            compatibility: info.effective.compatibility.to_string(),
            validation: info.effective.validation.to_string(),
        }
    }
}

impl TryFrom<SubjectHead> for SubjectInfo {
    type Error = WireError;

    fn try_from(head: SubjectHead) -> Result<Self, WireError> {
        let version = |it: VersionHead| -> Result<VersionInfo, WireError> {
            let state = it.state.parse().map_err(WireError::malformed)?;
            Ok(VersionInfo { version: it.version, id: SchemaId::new(it.id), state })
        };
        let format = head.format.map(|it| it.parse()).transpose();
        Ok(Self {
            subject: head.subject,
            format: format.map_err(WireError::malformed)?,
            versions: head.versions.into_iter().map(version).collect::<Result<_, _>>()?,
            settings: SchemaSettings::default().with(head.settings.try_into()?),
            effective: EffectiveSettings {
                compatibility: head.compatibility.parse().map_err(WireError::malformed)?,
                validation: head.validation.parse().map_err(WireError::malformed)?,
            },
        })
    }
}

/// A change of settings: [`SettingsChange`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SettingsChangeHead {
    compatibility: Option<Option<String>>,
    validation: Option<Option<String>>,
    types: Option<Vec<String>>,
    categories: Option<Vec<String>>,
    owner: Option<String>,
    description: Option<String>,
}

impl From<&SettingsChange> for SettingsChangeHead {
    fn from(change: &SettingsChange) -> Self {
        let SettingsChangeJson { compatibility, validation, types, categories, owner, description } =
            change.into();
        Self { compatibility, validation, types, categories, owner, description }
    }
}

impl TryFrom<SettingsChangeHead> for SettingsChange {
    type Error = WireError;

    fn try_from(head: SettingsChangeHead) -> Result<Self, WireError> {
        let SettingsChangeHead { compatibility, validation, types, categories, owner, description } =
            head;
        let texts =
            SettingsChangeJson { compatibility, validation, types, categories, owner, description };
        texts.try_into().map_err(WireError::malformed)
    }
}

/// What is wrong with an event: [`SchemaProblem`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct SchemaProblemHead {
    event: u64,
    schema: u32,
    pointer: String,
    rule: String,
    message: String,
}

impl From<&SchemaProblem> for SchemaProblemHead {
    fn from(it: &SchemaProblem) -> Self {
        Self {
            event: it.event as u64,
            schema: it.schema.get(),
            pointer: it.problem.pointer.clone(),
            rule: it.problem.rule.clone().into_owned(),
            message: it.problem.message.clone(),
        }
    }
}

impl From<SchemaProblemHead> for SchemaProblem {
    fn from(head: SchemaProblemHead) -> Self {
        Self {
            event: usize::try_from(head.event).unwrap_or(usize::MAX),
            schema: SchemaId::new(head.schema),
            problem: DataProblem {
                pointer: head.pointer,
                rule: head.rule.into(),
                message: head.message,
            },
        }
    }
}

/// What stands between two versions: [`Incompatibility`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct IncompatibilityHead {
    pointer: String,
    rule: String,
    /// As JSON.
    old: Option<String>,
    /// As JSON.
    new: Option<String>,
    version: u32,
}

impl From<&Incompatibility> for IncompatibilityHead {
    fn from(it: &Incompatibility) -> Self {
        Self {
            pointer: it.pointer.clone(),
            rule: it.rule.clone().into_owned(),
            old: it.old.as_ref().map(ToString::to_string),
            new: it.new.as_ref().map(ToString::to_string),
            version: it.version,
        }
    }
}

impl From<IncompatibilityHead> for Incompatibility {
    /// What is no JSON is shown as a text: it is for people.
    fn from(head: IncompatibilityHead) -> Self {
        let value = |text: String| serde_json::from_str(&text).unwrap_or_else(|_| text.into());
        Self {
            pointer: head.pointer,
            rule: head.rule.into(),
            old: head.old.map(value),
            new: head.new.map(value),
            version: head.version,
        }
    }
}

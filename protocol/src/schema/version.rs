//! Versions of schemas.

use super::settings::{EffectiveSettings, SchemaSettings};
use super::words;
use crate::error::{Invalid, TooLarge};
use crate::event::EventProblem;
use crate::ids::SchemaId;
use crate::limits::{
    SCHEMA_BYTES_MAX, SCHEMA_OWNER_BYTES_MAX, SCHEMA_REFERENCE_BYTES_MAX, SCHEMA_REFERENCES_MAX,
    TRANSFORM_BYTES_MAX,
};
use crate::time::Timestamp;

words! {
    /// The language that a schema is written in.
    SchemaFormat, "format of schemas" {
        /// JSON Schema: 2020-12, 2019-09, 7, 6, or 4, as `$schema` says, 2020-12 where it says nothing.
        Json = "json",
        /// Avro, as JSON. Payloads are Avro's binary form, without a header.
        Avro = "avro",
        /// Protobuf, as a `.proto` file. Payloads are its first message in binary form.
        Protobuf = "protobuf",
    }
}

words! {
    /// How far a version has come. It goes on from top to bottom, a draft to active or retired; only what is deprecated may be
    /// active again.
    SchemaState, "state of schemas" {
        /// It is looked at and tried, and no event may follow it yet.
        Draft = "draft",
        /// Events may follow it; the newest is what events follow that name none.
        Active = "active",
        /// Events may follow it still, if they name it.
        Deprecated = "deprecated",
        /// No new event may follow it. Those that do are read as ever.
        Retired = "retired",
    }
}

impl SchemaState {
    /// Whether a version of this state may be set to another.
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Draft, next) => matches!(next, Self::Active | Self::Retired),
            (Self::Deprecated, Self::Active) => true,
            (now, next) => next > now,
        }
    }
}

/// Another schema, by the name that a schema speaks of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaReference {
    /// As the schema calls it: a URI in JSON Schema, a full name in Avro, the name of a file in Protobuf.
    pub name: String,
    /// The subject of the other.
    pub subject: String,
    /// Its version, from 1.
    pub version: u32,
}

/// A version as it is handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSchema {
    /// Its language.
    pub format: SchemaFormat,
    /// Its text.
    pub schema: String,
    /// What it speaks of.
    pub references: Vec<SchemaReference>,
    /// [`SchemaState::Active`], or [`SchemaState::Draft`].
    pub state: SchemaState,
    /// How data of the version before it becomes data of this one: a list of operations, as JSON; empty: by itself.
    pub up: String,
    /// Whom to ask about it; empty: nobody is named.
    pub owner: String,
    /// What it is for; empty: nothing is said.
    pub description: String,
}

impl NewSchema {
    /// One that is active at once.
    pub fn new(format: SchemaFormat, schema: impl Into<String>) -> Self {
        Self {
            format,
            schema: schema.into(),
            references: Vec::new(),
            state: SchemaState::Active,
            up: String::new(),
            owner: String::new(),
            description: String::new(),
        }
    }

    /// Checks sizes and names, and not yet the schema itself.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), EventProblem> {
        let sizes = [
            ("text of a schema, in bytes", self.schema.len(), SCHEMA_BYTES_MAX),
            ("operations of a schema, in bytes", self.up.len(), TRANSFORM_BYTES_MAX),
            ("references of a schema", self.references.len(), SCHEMA_REFERENCES_MAX),
            ("owner of a schema, in bytes", self.owner.len(), SCHEMA_OWNER_BYTES_MAX),
            ("description of a schema, in bytes", self.description.len(), SCHEMA_OWNER_BYTES_MAX),
        ];
        for (what, size, max) in sizes {
            if size > max {
                return Err(EventProblem::TooLarge(TooLarge { what: what.into(), size, max }));
            }
        }
        for reference in &self.references {
            super::check_subject(&reference.subject)?;
            crate::names::check("reference", &reference.name, SCHEMA_REFERENCE_BYTES_MAX)?;
            let twice = self.references.iter().filter(|it| it.name == reference.name).count() > 1;
            if twice {
                let why = format!("reference {:?} is named twice", reference.name);
                return Err(EventProblem::Invalid(Invalid::Request(why)));
            }
        }
        if !matches!(self.state, SchemaState::Draft | SchemaState::Active) {
            let why = format!("a new version is draft or active, and not {}", self.state);
            return Err(EventProblem::Invalid(Invalid::Request(why)));
        }
        Ok(())
    }
}

/// A version as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaVersion {
    /// What events carry that follow it.
    pub id: SchemaId,
    /// What it stands under.
    pub subject: String,
    /// Its number, from 1, without gaps.
    pub version: u32,
    /// Its language.
    pub format: SchemaFormat,
    /// Its text, as it was handed in.
    pub schema: String,
    /// What it speaks of.
    pub references: Vec<SchemaReference>,
    /// Of its content: the same for the same schema with the same references, however it is spaced or ordered. 64
    /// hexadecimal digits.
    pub fingerprint: String,
    /// How far it has come.
    pub state: SchemaState,
    /// How data of the version before it becomes data of this one, as it was handed in; may be empty.
    pub up: String,
    /// Whom to ask about it; may be empty.
    pub owner: String,
    /// What it is for; may be empty.
    pub description: String,
    /// When it was registered.
    pub registered_at: Timestamp,
}

/// A version in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its number, from 1.
    pub version: u32,
    /// What events carry that follow it.
    pub id: SchemaId,
    /// How far it has come.
    pub state: SchemaState,
}

/// A subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectInfo {
    /// Its name.
    pub subject: String,
    /// The language of its versions; `None`: it has none yet.
    pub format: Option<SchemaFormat>,
    /// Its versions, the oldest first.
    pub versions: Vec<VersionInfo>,
    /// What was set for it.
    pub settings: SchemaSettings,
    /// What holds for it.
    pub effective: EffectiveSettings,
}

/// Which version of a subject is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionPick {
    /// The newest that is active, or else the newest.
    Latest,
    /// This one, from 1.
    Number(u32),
}

impl std::str::FromStr for VersionPick {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let number = text.parse().ok().filter(|number| *number > 0).map(Self::Number);
        let text: String = text.chars().take(64).collect();
        let why = || Invalid::Request(format!("{text:?} is no version: it is 1, 2, … or latest"));
        number.ok_or_else(why)
    }
}

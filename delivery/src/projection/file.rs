//! [`DefinitionFile`]: a definition as it is written, in JSON or TOML.

use std::collections::BTreeMap;
use std::fmt;

use nexus_protocol::Filter;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::field::FieldType;

/// A definition as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionFile {
    /// What the projection is called.
    pub name: String,
    /// Which of its versions this is, from 1.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Which events; all, where nothing is said.
    #[serde(default)]
    pub filter: Filter,
    /// In which version of its schema an event is folded, by subject; others are folded as they are stored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub as_schema: BTreeMap<String, u32>,
    /// What the document of an event is found by: a pointer into the event, or an expression.
    pub key: Json,
    /// What keeps the documents.
    #[serde(default)]
    pub sink: SinkKind,
    /// Whether documents can be looked at as of an earlier time.
    #[serde(default)]
    pub temporal: bool,
    /// Which tags of events documents carry.
    #[serde(default)]
    pub access: Access,
    /// The types of events that end a document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<String>,
    /// The fields of a document.
    pub fields: BTreeMap<String, FieldFile>,
}

impl DefinitionFile {
    /// The projection over events themselves that comes with Nexus, which nobody has made yet: each event is a document, found
    /// by its position, by what is around it, and by what is in its data.
    ///
    /// ```
    /// use nexus_delivery::projection::{Definition, DefinitionFile};
    ///
    /// let events = Definition::new(DefinitionFile::of_events()).unwrap();
    /// assert_eq!(events.file().name, "events");
    /// ```
    pub fn of_events() -> Self {
        serde_json::from_str(include_str!("events.json")).expect("it is a definition")
    }
}

fn first_version() -> u32 {
    1
}

/// What keeps documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// A search index.
    #[default]
    Search,
    /// A store of keys and values.
    Kv,
}

/// Which tags of events the documents carry that they are folded into: by these it is known who may see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// None: only who may see all events may see a document.
    #[default]
    None,
    /// Those of all of them.
    Union,
    /// Those of the last one.
    Last,
}

/// How a field comes about: by one rule, by the first of several that takes an event, or computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldFile {
    /// What it holds.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// How it changes with an event, where there is one rule for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<Operator>,
    /// Where in the event the value stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value, where it is always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    /// Where in the event stands what `first` and `last` go by; without it, by the order of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The types of events that it takes; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// Several rules; of an event the first counts that takes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleFile>,
    /// An expression over other fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Json>,
    /// How many values `append` keeps: the last so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
}

impl FieldFile {
    /// The rules that are written, one or several.
    pub(super) fn all_rules(&self) -> Result<Vec<RuleFile>, &'static str> {
        let Some(fold) = self.fold else {
            if self.from.is_some()
                || self.value.is_some()
                || self.by.is_some()
                || !self.on.is_empty()
            {
                return Err("say how it changes: \"fold\": \"set\", …");
            }
            return Ok(self.rules.clone());
        };
        if !self.rules.is_empty() {
            return Err("it has `fold` and `rules`: put all of it into `rules`");
        }
        let (from, value) = (self.from.clone(), self.value.clone());
        Ok(vec![RuleFile { fold, from, value, by: self.by.clone(), on: self.on.clone() }])
    }
}

/// How a field changes with an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// How.
    pub fold: Operator,
    /// Where in the event the value stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value, where it is always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    /// Where in the event stands what `first` and `last` go by; without it, by the order of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The types of events that it takes; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
}

/// How the value of a field and that of an event make the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// That of the event; null takes it away.
    Set,
    /// The first there was.
    First,
    /// The last there was.
    Last,
    /// None.
    Unset,
    /// The sum.
    Add,
    /// The difference.
    Subtract,
    /// The lesser one.
    Min,
    /// The greater one.
    Max,
    /// A list of all of them.
    Append,
    /// The members of both objects: those of the event count, and null takes a member away (RFC 7396).
    Merge,
    /// How many there were.
    Count,
    /// How many different ones there were.
    CountDistinct,
}

impl Operator {
    /// Its name in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::First => "first",
            Self::Last => "last",
            Self::Unset => "unset",
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Min => "min",
            Self::Max => "max",
            Self::Append => "append",
            Self::Merge => "merge",
            Self::Count => "count",
            Self::CountDistinct => "count_distinct",
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a definition is none: where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {why}")]
pub struct DefinitionError {
    /// Where in it: the name of a member, or `fields.NAME`.
    pub at: String,
    /// Why.
    pub why: String,
}

impl DefinitionError {
    pub(super) fn new(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self { at: at.into(), why: why.into() }
    }
}

impl DefinitionFile {
    /// Reads one that is JSON already.
    ///
    /// # Errors
    /// Says which member is not what it should be.
    pub fn from_json(json: Json) -> Result<Self, DefinitionError> {
        let Json::Object(mut members) = json else {
            return Err(DefinitionError::new("definition", "it is no object"));
        };
        // One by one, so that it can be said which of them is wrong.
        let fields = members.remove("fields").unwrap_or_default();
        let Json::Object(fields) = fields else {
            let why =
                "say what documents have: {\"NAME\": {\"type\": …, \"fold\": …, \"from\": …}}";
            return Err(DefinitionError::new("fields", why));
        };
        members.insert("fields".to_owned(), Json::Object(serde_json::Map::new()));
        let mut file: Self = serde_json::from_value(Json::Object(members))
            .map_err(|error| DefinitionError::new("definition", error.to_string()))?;
        for (name, field) in fields {
            let field = serde_json::from_value(field).map_err(|error| {
                DefinitionError::new(format!("fields.{name}"), error.to_string())
            })?;
            file.fields.insert(name, field);
        }
        Ok(file)
    }
}

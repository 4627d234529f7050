//! Projections as they are seen from outside: how they are, and what is found in them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::Position;

/// The stream of a namespace with all that was decided about its projections.
pub const PROJECTIONS_STREAM: &str = "$projections";

/// What a projection, or one build of it, is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProjectionState {
    /// It folds what comes.
    Running,
    /// It answers, and its documents are folded again beside it; of a build, it is not what answers.
    Rebuilding,
    /// It folds nothing until it is resumed, and answers from what it has.
    Paused,
    /// It folds nothing, and says why.
    Failed,
}

impl ProjectionState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Rebuilding => "rebuilding",
            Self::Paused => "paused",
            Self::Failed => "failed",
        }
    }
}

/// One set of documents, folded by one version of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "json-schema", schemars(rename = "ProjectionBuild"))]
pub struct BuildInfo {
    /// The version of the definition.
    pub version: u32,
    /// Which fold of this version it is: a later one has a greater number.
    pub generation: u32,
    /// Whether it is what answers.
    pub active: bool,
    /// What it is doing.
    pub state: ProjectionState,
    /// The last position that its documents know of; null: none yet.
    pub position: Option<Position>,
    /// Positions that it has not looked at.
    pub lag_events: u64,
    /// Documents that there are.
    pub documents: u64,
    /// Events that were taken.
    pub events: u64,
    /// What was taken: the same where the same events were, in hexadecimal digits.
    pub events_digest: String,
    /// What came of it: the same where all documents are, in hexadecimal digits.
    pub documents_digest: String,
    /// Keys that are parked.
    pub parked: u64,
    /// Why it folds nothing, or folded all again.
    pub error: Option<String>,
}

/// How a projection is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "json-schema", schemars(rename = "Projection"))]
pub struct ProjectionInfo {
    /// Its name.
    pub name: String,
    /// The version that answers.
    pub version: u32,
    /// What it is doing.
    pub state: ProjectionState,
    /// The last position that the documents which answer know of; null: none yet.
    pub position: Option<Position>,
    /// Positions that they know nothing of.
    pub lag_events: u64,
    /// Documents that answer.
    pub documents: u64,
    /// Events that they were folded of.
    pub events: u64,
    /// See [`BuildInfo::events_digest`].
    pub events_digest: String,
    /// See [`BuildInfo::documents_digest`].
    pub documents_digest: String,
    /// Keys that are parked.
    pub parked: u64,
    /// Why it folds nothing, or folded all again.
    pub error: Option<String>,
    /// The definition of the version that answers.
    pub definition: Value,
    /// All that is folded, the version that answers first.
    pub builds: Vec<BuildInfo>,
}

/// A document that was looked up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "json-schema", schemars(rename = "Document"))]
pub struct FoundDocument {
    /// What it is found by.
    pub key: String,
    /// Its fields that have a value.
    pub document: Map<String, Value>,
    /// The last event that it was folded of.
    pub position: Position,
    /// The last position that the answer knows of; null: none yet.
    pub as_of_position: Option<Position>,
    /// Positions that it knows nothing of.
    pub lag_events: u64,
    /// Whether events of this key wait, since one of them could not be folded: the document knows nothing of these, however
    /// far the answer has come.
    pub parked: bool,
}

/// What is done to a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectionChange {
    /// Its documents are folded again from the first event, beside those that answer, and answer once they have come as far.
    Rebuild,
    /// Another version answers.
    Switch {
        /// Which.
        version: u32,
    },
    /// It folds nothing until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// It is there no more, or one version of it that does not answer.
    Delete {
        /// Which; `None`: all of them.
        version: Option<u32>,
    },
}

/// Which document is looked up, and how fresh the answer has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Its key.
    pub key: String,
    /// The answer knows of this position; whoever asks waits for that.
    pub min_position: Option<Position>,
    /// At most for so many milliseconds; `None`: [`LOOKUP_WAIT_MS_DEFAULT`](crate::limits::LOOKUP_WAIT_MS_DEFAULT).
    pub timeout_ms: Option<u64>,
}

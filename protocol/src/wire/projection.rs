//! Projections on the wire: what is asked of one, how it is, and what is found in it. From
//! [`PROTOCOL_PROJECTIONS`](super::PROTOCOL_PROJECTIONS) on.
//!
//! Definitions and documents travel as JSON: what is in them is for those who wrote them to say, and not for the protocol.

use rkyv::{Archive, Deserialize, Serialize};
use serde_json::Value;

use super::WireError;
use super::parked::{ParkedListHead, ParkedPickHead};
use crate::error::{AppendError, Invalid, TooLarge};
use crate::group::ParkedList;
use crate::ids::Position;
use crate::limits::{DEFINITION_BYTES_MAX, SEARCH_BYTES_MAX};
use crate::projection::{
    BuildInfo, FoundDocument, Lookup, ProjectionChange, ProjectionInfo, ProjectionState,
};
use crate::search::SearchRequest;

/// What is asked of a projection.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum ProjectionAsk {
    /// To be folded by this definition, as a version of its own where it was folded by another.
    Set {
        /// As JSON.
        definition: String,
    },
    /// The names of all projections of the namespace.
    Names,
    /// How it is.
    Info,
    /// To be otherwise from now on.
    Change(ProjectionChangeHead),
    /// A document.
    Lookup(LookupHead),
    /// What is parked.
    Parked {
        /// Of this key only.
        key: Option<String>,
        /// Which of it.
        list: ParkedListHead,
    },
    /// To fold again what is parked.
    Replay(ParkedPickHead),
    /// To be done with what is parked.
    Skip(ParkedPickHead),
    /// To fold, with the payload as its data, what is parked at a position.
    Edit {
        /// Where it stands in the log.
        position: u64,
    },
    /// Documents by what is in them.
    Search {
        /// [`SearchRequest`], as JSON.
        request: String,
    },
}

impl ProjectionAsk {
    /// To be folded by a definition.
    ///
    /// # Errors
    /// `TooLarge` of one that is over [`DEFINITION_BYTES_MAX`]: it would be sent for nothing.
    pub fn set(definition: &Value) -> Result<Self, AppendError> {
        let definition = definition.to_string();
        check_bytes(&definition).map(|()| Self::Set { definition })
    }

    /// To search.
    ///
    /// # Errors
    /// `Invalid` of a search that is over [`SEARCH_BYTES_MAX`]: it would be sent for nothing.
    pub fn search(request: &SearchRequest) -> Result<Self, Invalid> {
        let request = serde_json::to_string(request).expect("a search has a JSON form");
        check_search(&request).map(|()| Self::Search { request })
    }

    /// To list what is parked.
    pub fn parked(list: &ParkedList) -> Self {
        Self::Parked { key: list.key.clone(), list: list.into() }
    }
}

/// The definition in a request.
///
/// # Errors
/// `TooLarge` of one that is over [`DEFINITION_BYTES_MAX`], and `Invalid` of one that is no JSON.
pub fn definition_of(text: &str) -> Result<Value, AppendError> {
    check_bytes(text)?;
    serde_json::from_str(text)
        .map_err(|why| Invalid::Request(format!("the definition is no JSON: {why}")).into())
}

/// The search in a request.
///
/// # Errors
/// `Invalid` of one that is over [`SEARCH_BYTES_MAX`], and of what is none.
pub fn search_of(text: &str) -> Result<SearchRequest, Invalid> {
    check_search(text)?;
    serde_json::from_str(text).map_err(|why| Invalid::Request(format!("the search is none: {why}")))
}

fn check_search(text: &str) -> Result<(), Invalid> {
    match text.len() > SEARCH_BYTES_MAX {
        true => {
            Err(Invalid::Request(format!("a search has at most {SEARCH_BYTES_MAX} bytes, as JSON")))
        }
        false => Ok(()),
    }
}

fn check_bytes(definition: &str) -> Result<(), AppendError> {
    match definition.len() {
        0..=DEFINITION_BYTES_MAX => Ok(()),
        size => Err(AppendError::TooLarge(TooLarge {
            what: "definition of a projection, in bytes".into(),
            size,
            max: DEFINITION_BYTES_MAX,
        })),
    }
}

/// What is done to a projection: [`ProjectionChange`].
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub enum ProjectionChangeHead {
    /// Its documents are folded again.
    Rebuild,
    /// Another version answers.
    Switch {
        /// Which.
        version: u32,
    },
    /// It folds nothing.
    Pause,
    /// It goes on.
    Resume,
    /// It is there no more, or one version of it.
    Delete {
        /// Which.
        version: Option<u32>,
    },
}

impl From<ProjectionChange> for ProjectionChangeHead {
    fn from(change: ProjectionChange) -> Self {
        match change {
            ProjectionChange::Rebuild => Self::Rebuild,
            ProjectionChange::Switch { version } => Self::Switch { version },
            ProjectionChange::Pause => Self::Pause,
            ProjectionChange::Resume => Self::Resume,
            ProjectionChange::Delete { version } => Self::Delete { version },
        }
    }
}

impl From<ProjectionChangeHead> for ProjectionChange {
    fn from(head: ProjectionChangeHead) -> Self {
        match head {
            ProjectionChangeHead::Rebuild => Self::Rebuild,
            ProjectionChangeHead::Switch { version } => Self::Switch { version },
            ProjectionChangeHead::Pause => Self::Pause,
            ProjectionChangeHead::Resume => Self::Resume,
            ProjectionChangeHead::Delete { version } => Self::Delete { version },
        }
    }
}

/// Which document is looked up: [`Lookup`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct LookupHead {
    key: String,
    min_position: Option<u64>,
    timeout_ms: Option<u64>,
}

impl From<&Lookup> for LookupHead {
    fn from(lookup: &Lookup) -> Self {
        Self {
            key: lookup.key.clone(),
            min_position: lookup.min_position.map(Position::get),
            timeout_ms: lookup.timeout_ms,
        }
    }
}

impl From<LookupHead> for Lookup {
    fn from(head: LookupHead) -> Self {
        Self {
            key: head.key,
            min_position: head.min_position.map(Position::new),
            timeout_ms: head.timeout_ms,
        }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum DoesHead {
    Running,
    Rebuilding,
    Paused,
    Failed,
}

impl From<ProjectionState> for DoesHead {
    fn from(state: ProjectionState) -> Self {
        match state {
            ProjectionState::Running => Self::Running,
            ProjectionState::Rebuilding => Self::Rebuilding,
            ProjectionState::Paused => Self::Paused,
            ProjectionState::Failed => Self::Failed,
        }
    }
}

impl From<DoesHead> for ProjectionState {
    fn from(head: DoesHead) -> Self {
        match head {
            DoesHead::Running => Self::Running,
            DoesHead::Rebuilding => Self::Rebuilding,
            DoesHead::Paused => Self::Paused,
            DoesHead::Failed => Self::Failed,
        }
    }
}

/// One set of documents: [`BuildInfo`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct BuildHead {
    version: u32,
    generation: u32,
    active: bool,
    state: DoesHead,
    position: Option<u64>,
    lag_events: u64,
    documents: u64,
    events: u64,
    events_digest: String,
    documents_digest: String,
    parked: u64,
    error: Option<String>,
}

impl From<&BuildInfo> for BuildHead {
    fn from(info: &BuildInfo) -> Self {
        Self {
            version: info.version,
            generation: info.generation,
            active: info.active,
            state: info.state.into(),
            position: info.position.map(Position::get),
            lag_events: info.lag_events,
            documents: info.documents,
            events: info.events,
            events_digest: info.events_digest.clone(),
            documents_digest: info.documents_digest.clone(),
            parked: info.parked,
            error: info.error.clone(),
        }
    }
}

impl From<BuildHead> for BuildInfo {
    fn from(head: BuildHead) -> Self {
        Self {
            version: head.version,
            generation: head.generation,
            active: head.active,
            state: head.state.into(),
            position: head.position.map(Position::new),
            lag_events: head.lag_events,
            documents: head.documents,
            events: head.events,
            events_digest: head.events_digest,
            documents_digest: head.documents_digest,
            parked: head.parked,
            error: head.error,
        }
    }
}

/// How a projection is: [`ProjectionInfo`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ProjectionHead {
    name: String,
    version: u32,
    state: DoesHead,
    position: Option<u64>,
    lag_events: u64,
    documents: u64,
    events: u64,
    events_digest: String,
    documents_digest: String,
    parked: u64,
    error: Option<String>,
    /// As JSON.
    definition: String,
    builds: Vec<BuildHead>,
}

impl From<&ProjectionInfo> for ProjectionHead {
    fn from(info: &ProjectionInfo) -> Self {
        Self {
            name: info.name.clone(),
            version: info.version,
            state: info.state.into(),
            position: info.position.map(Position::get),
            lag_events: info.lag_events,
            documents: info.documents,
            events: info.events,
            events_digest: info.events_digest.clone(),
            documents_digest: info.documents_digest.clone(),
            parked: info.parked,
            error: info.error.clone(),
            definition: info.definition.to_string(),
            builds: info.builds.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<ProjectionHead> for ProjectionInfo {
    type Error = WireError;

    fn try_from(head: ProjectionHead) -> Result<Self, WireError> {
        Ok(Self {
            name: head.name,
            version: head.version,
            state: head.state.into(),
            position: head.position.map(Position::new),
            lag_events: head.lag_events,
            documents: head.documents,
            events: head.events,
            events_digest: head.events_digest,
            documents_digest: head.documents_digest,
            parked: head.parked,
            error: head.error,
            definition: serde_json::from_str(&head.definition).map_err(WireError::malformed)?,
            builds: head.builds.into_iter().map(Into::into).collect(),
        })
    }
}

/// A document but for its fields, which are the payload: [`FoundDocument`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DocumentHead {
    key: String,
    position: u64,
    as_of_position: Option<u64>,
    lag_events: u64,
    parked: bool,
}

impl From<&FoundDocument> for DocumentHead {
    fn from(found: &FoundDocument) -> Self {
        Self {
            key: found.key.clone(),
            position: found.position.get(),
            as_of_position: found.as_of_position.map(Position::get),
            lag_events: found.lag_events,
            parked: found.parked,
        }
    }
}

impl DocumentHead {
    /// The fields, as a JSON object.
    pub fn payload_of(found: &FoundDocument) -> Vec<u8> {
        serde_json::to_vec(&found.document).expect("an object of JSON can be written")
    }

    /// With the fields from the payload.
    ///
    /// # Errors
    /// A payload that is no JSON object.
    pub fn with_fields(self, payload: &[u8]) -> Result<FoundDocument, WireError> {
        Ok(FoundDocument {
            key: self.key,
            document: serde_json::from_slice(payload).map_err(WireError::malformed)?,
            position: Position::new(self.position),
            as_of_position: self.as_of_position.map(Position::new),
            lag_events: self.lag_events,
            parked: self.parked,
        })
    }
}

//! The events of `$projections`: what each says, in JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use nexus_protocol::projection::ProjectionChange;
use nexus_protocol::{EventData, RecordedEvent};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::definition::Definition;
use super::super::file::DefinitionFile;
use super::super::runner::Amendment;
use super::BuildId;

const SET: &str = "ProjectionSet";
const REBUILD_BEGUN: &str = "ProjectionRebuildBegun";
const REBUILT: &str = "ProjectionRebuilt";
const SWITCHED: &str = "ProjectionSwitched";
const PAUSED: &str = "ProjectionPaused";
const RESUMED: &str = "ProjectionResumed";
const DELETED: &str = "ProjectionDeleted";
const AMENDED: &str = "ProjectionAmended";

/// What an event says.
pub(super) enum Decided {
    Set(Box<Definition>),
    Changed(String, ProjectionChange),
    Rebuilt(String, BuildId),
    Amended(String, u32, BTreeMap<u64, Amendment>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetJson {
    definition: DefinitionFile,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NameJson {
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionJson {
    name: String,
    version: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BuildJson {
    name: String,
    version: u32,
    generation: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AmendedJson {
    name: String,
    version: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skip: Vec<u64>,
    /// Positions, and the data that the events there are folded with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    edit: Vec<(u64, String)>,
}

fn event(event_type: &str, says: &impl Serialize) -> EventData {
    EventData::json(event_type, says).expect("what is decided has a JSON form")
}

pub(super) fn set(definition: &DefinitionFile) -> EventData {
    event(SET, &SetJson { definition: definition.clone() })
}

pub(super) fn changed(name: &str, change: ProjectionChange) -> EventData {
    let named = || NameJson { name: name.to_owned() };
    let of = |version| VersionJson { name: name.to_owned(), version };
    match change {
        ProjectionChange::Rebuild => event(REBUILD_BEGUN, &named()),
        ProjectionChange::Switch { version } => event(SWITCHED, &of(Some(version))),
        ProjectionChange::Pause => event(PAUSED, &named()),
        ProjectionChange::Resume => event(RESUMED, &named()),
        ProjectionChange::Delete { version } => event(DELETED, &of(version)),
    }
}

pub(super) fn rebuilt(name: &str, BuildId { version, generation }: BuildId) -> EventData {
    event(REBUILT, &BuildJson { name: name.to_owned(), version, generation })
}

pub(super) fn amended(
    name: &str,
    version: u32,
    amendments: &BTreeMap<u64, Amendment>,
) -> EventData {
    let (mut skip, mut edit) = (Vec::new(), Vec::new());
    for (position, amendment) in amendments {
        match amendment {
            Amendment::Skip => skip.push(*position),
            // What an event is folded with is JSON, or else has nothing that a fold could find.
            Amendment::Edit(data) => {
                edit.push((*position, String::from_utf8_lossy(data).into_owned()));
            }
        }
    }
    event(AMENDED, &AmendedJson { name: name.to_owned(), version, skip, edit })
}

fn says<T: DeserializeOwned>(event: &RecordedEvent) -> Result<T, String> {
    event.json().map_err(|why| why.to_string())
}

impl Decided {
    pub(super) fn of(event: &RecordedEvent) -> Result<Self, String> {
        let name = || says(event).map(|NameJson { name }| name);
        Ok(match event.event_type() {
            SET => {
                let SetJson { definition } = says(event)?;
                let definition = Definition::new(definition).map_err(|why| why.to_string())?;
                Self::Set(Box::new(definition))
            }
            REBUILD_BEGUN => Self::Changed(name()?, ProjectionChange::Rebuild),
            PAUSED => Self::Changed(name()?, ProjectionChange::Pause),
            RESUMED => Self::Changed(name()?, ProjectionChange::Resume),
            SWITCHED => {
                let VersionJson { name, version } = says(event)?;
                let version = version.ok_or("it does not say to which version")?;
                Self::Changed(name, ProjectionChange::Switch { version })
            }
            DELETED => {
                let VersionJson { name, version } = says(event)?;
                Self::Changed(name, ProjectionChange::Delete { version })
            }
            REBUILT => {
                let BuildJson { name, version, generation } = says(event)?;
                Self::Rebuilt(name, BuildId { version, generation })
            }
            AMENDED => {
                let AmendedJson { name, version, skip, edit } = says(event)?;
                let skip = skip.into_iter().map(|position| (position, Amendment::Skip));
                let edit = edit.into_iter();
                let edit = edit.map(|(at, data)| (at, Amendment::Edit(Bytes::from(data))));
                Self::Amended(name, version, skip.chain(edit).collect())
            }
            other => return Err(format!("an event of type {other:?}: a newer Nexus wrote it")),
        })
    }
}

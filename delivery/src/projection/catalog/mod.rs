//! [`Catalog`]: the projections of a namespace, as the stream `$projections` says.
//!
//! All that is decided about projections is an event there: so they are the same on every node, are backed up with the log,
//! and a read model that is gone is made again from nothing else. What is decided is checked against the catalog as it is,
//! and appended on the condition that it still is so.

mod event;

use std::collections::BTreeMap;
use std::pin::Pin;

use futures_core::Stream;
use nexus_protocol::limits::{
    AMENDMENTS_BYTES_MAX, AMENDMENTS_MAX, PROJECTION_VERSIONS_MAX, PROJECTIONS_MAX,
};
use nexus_protocol::projection::{PROJECTIONS_STREAM, ProjectionChange};
use nexus_protocol::{
    Append, AppendError, Corruption, CorruptionKind, EventData, EventStore, ExpectedRevision,
    Invalid, Read, RecordedEvent, Revision,
};

use self::event::Decided;
use super::definition::Definition;
use super::runner::Amendment;
use crate::coordinator::unread;

/// Which documents of a projection: a version, and which time it is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId {
    /// The version of the definition.
    pub version: u32,
    /// Which fold of it this is: a later one has a greater number, and none has one that another had before.
    pub generation: u32,
}

/// The projections of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    named: BTreeMap<String, Named>,
    /// The newest revision of the stream that it is read of.
    revision: Option<Revision>,
}

/// A projection.
#[derive(Clone, Debug)]
pub struct Named {
    /// The version that answers.
    pub active: u32,
    /// Whether it folds nothing until it is resumed.
    pub is_paused: bool,
    versions: BTreeMap<u32, Version>,
}

/// A version of a projection.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its definition.
    pub definition: Definition,
    /// Its documents.
    pub generation: u32,
    /// Documents that are folded beside them, and answer in their place once they have come as far.
    pub rebuilding: Option<u32>,
    /// What was decided about events that could not be folded.
    pub amendments: BTreeMap<u64, Amendment>,
}

impl Named {
    /// Its versions, by number.
    pub fn versions(&self) -> impl Iterator<Item = (u32, &Version)> {
        self.versions.iter().map(|(number, version)| (*number, version))
    }

    /// A version.
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.get(&number)
    }

    /// The documents that answer.
    pub fn answering(&self) -> BuildId {
        let version = self.versions.get(&self.active).expect("the version that answers is there");
        BuildId { version: self.active, generation: version.generation }
    }

    /// All documents that are folded.
    pub fn builds(&self) -> impl Iterator<Item = (BuildId, &Version)> {
        self.versions().flat_map(|(version, it)| {
            let generations = std::iter::once(it.generation).chain(it.rebuilding);
            generations.map(move |generation| (BuildId { version, generation }, it))
        })
    }
}

fn invalid(why: String) -> AppendError {
    Invalid::Request(why).into()
}

fn no_projection(name: &str) -> AppendError {
    AppendError::NotFound { what: format!("projection {name:?}: create it first") }
}

impl Catalog {
    /// Reads the catalog of a namespace.
    ///
    /// # Errors
    /// When its stream cannot be read, or says what is no catalog.
    pub async fn read<S: EventStore>(store: &S) -> Result<Self, AppendError> {
        let mut catalog = Self::default();
        catalog.follow(store).await?;
        Ok(catalog)
    }

    /// Takes in what was decided since.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn follow<S: EventStore>(&mut self, store: &S) -> Result<(), AppendError> {
        let from = self.revision.map_or(Revision::ZERO, Revision::next);
        let mut events = store.read(Read::stream(PROJECTIONS_STREAM).from_revision(from));
        while let Some(event) =
            std::future::poll_fn(|context| Pin::new(&mut events).poll_next(context)).await
        {
            let event = event.map_err(unread)?;
            self.apply(&event).map_err(|why| damaged(&event, why))?;
        }
        Ok(())
    }

    /// Its projections, by name.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Named)> {
        self.named.iter().map(|(name, named)| (name.as_str(), named))
    }

    /// The projection of a name.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn find(&self, name: &str) -> Result<&Named, AppendError> {
        self.named.get(name).ok_or_else(|| no_projection(name))
    }

    /// How what was decided is appended: on the condition that the catalog is as it was.
    pub fn append(&self, event: EventData) -> Append {
        let expected = self.revision.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        Append::to(PROJECTIONS_STREAM).expected(expected).event(event)
    }

    /// That a projection is made, or gets a new version; `None`: it has this one.
    ///
    /// # Errors
    /// `Invalid` of another definition with a version that is there, and where there are too many.
    pub fn set(&self, definition: &Definition) -> Result<Option<EventData>, AppendError> {
        let file = definition.file();
        let (name, version) = (&file.name, file.version);
        match self.named.get(name) {
            None if self.named.len() >= PROJECTIONS_MAX => {
                let why =
                    format!("there are {PROJECTIONS_MAX} projections already: delete one first");
                return Err(invalid(why));
            }
            None => {}
            Some(named) => match named.versions.get(&version) {
                Some(there) if there.definition.fingerprint() == definition.fingerprint() => {
                    return Ok(None);
                }
                Some(_) => {
                    let newest = named.versions.keys().next_back().copied().unwrap_or_default();
                    let next = newest.saturating_add(1);
                    return Err(invalid(format!(
                        "version {version} of projection {name:?} is there with another definition: give it version {next}"
                    )));
                }
                None if named.versions.len() >= PROJECTION_VERSIONS_MAX => {
                    return Err(invalid(format!(
                        "projection {name:?} has {PROJECTION_VERSIONS_MAX} versions already: delete one first"
                    )));
                }
                None => {}
            },
        }
        Ok(Some(event::set(file)))
    }

    /// That something else is done to a projection; `None`: it is so already.
    ///
    /// # Errors
    /// `NotFound` where there is none, or not this version; `Invalid` of what cannot be done with it.
    pub fn change(
        &self,
        name: &str,
        change: ProjectionChange,
    ) -> Result<Option<EventData>, AppendError> {
        let named = self.find(name)?;
        let version_of = |version: u32| {
            named.version(version).ok_or_else(|| AppendError::NotFound {
                what: format!("version {version} of projection {name:?}"),
            })
        };
        let is_so = match change {
            ProjectionChange::Rebuild => version_of(named.active)?.rebuilding.is_some(),
            ProjectionChange::Switch { version } => {
                version_of(version)?;
                version == named.active
            }
            ProjectionChange::Pause => named.is_paused,
            ProjectionChange::Resume => !named.is_paused,
            ProjectionChange::Delete { version: None } => false,
            ProjectionChange::Delete { version: Some(version) } => {
                version_of(version)?;
                if version == named.active {
                    return Err(invalid(format!(
                        "version {version} of projection {name:?} is the one that answers: switch to another one first"
                    )));
                }
                false
            }
        };
        Ok((!is_so).then(|| event::changed(name, change)))
    }

    /// That what was folded again beside its documents answers in their place; `None`: it is not so any more.
    pub fn rebuilt(&self, name: &str, build: BuildId) -> Option<EventData> {
        let version = self.named.get(name)?.version(build.version)?;
        let is_it = version.rebuilding == Some(build.generation);
        is_it.then(|| event::rebuilt(name, build))
    }

    /// That something is decided about events of a version that could not be folded.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Invalid` where there would be too much of it.
    pub fn amend(
        &self,
        name: &str,
        version: u32,
        amendments: &BTreeMap<u64, Amendment>,
    ) -> Result<EventData, AppendError> {
        let there = self.find(name)?.version(version).ok_or_else(|| no_projection(name))?;
        let bytes = |all: &BTreeMap<u64, Amendment>| -> usize {
            let data = all.values().map(|it| match it {
                Amendment::Skip => 0,
                Amendment::Edit(data) => data.len(),
            });
            data.sum()
        };
        let too_many = there.amendments.len() + amendments.len() > AMENDMENTS_MAX;
        if too_many || bytes(&there.amendments) + bytes(amendments) > AMENDMENTS_BYTES_MAX {
            return Err(invalid(format!(
                "{AMENDMENTS_MAX} events of a version, or {AMENDMENTS_BYTES_MAX} bytes, may be decided about: mend what is \
                 wrong in a new version"
            )));
        }
        Ok(event::amended(name, version, amendments))
    }

    /// Takes in what was decided.
    fn apply(&mut self, event: &RecordedEvent) -> Result<(), String> {
        // No two folds have the same: what is left of one that is gone is not taken for another's.
        let generation = u32::try_from(event.revision().get() + 1).unwrap_or(u32::MAX);
        match Decided::of(event)? {
            Decided::Set(definition) => {
                let version = definition.file().version;
                let name = definition.file().name.clone();
                let made = Version {
                    definition: *definition,
                    generation,
                    rebuilding: None,
                    amendments: BTreeMap::new(),
                };
                let named = self.named.entry(name).or_insert_with(|| Named {
                    active: version,
                    is_paused: false,
                    versions: BTreeMap::new(),
                });
                named.versions.insert(version, made);
            }
            Decided::Changed(name, ProjectionChange::Delete { version: None }) => {
                self.named.remove(&name);
            }
            Decided::Changed(name, change) => self.there(&name)?.change(change, generation)?,
            Decided::Rebuilt(name, build) => {
                let version = self.there(&name)?.there(build.version)?;
                (version.generation, version.rebuilding) = (build.generation, None);
            }
            Decided::Amended(name, version, amendments) => {
                self.there(&name)?.there(version)?.amendments.extend(amendments);
            }
        }
        // One that cannot be taken in is not passed over: nothing more is decided before it is.
        self.revision = Some(event.revision());
        Ok(())
    }

    fn there(&mut self, name: &str) -> Result<&mut Named, String> {
        self.named.get_mut(name).ok_or_else(|| format!("there is no projection {name:?}"))
    }
}

impl Named {
    fn there(&mut self, version: u32) -> Result<&mut Version, String> {
        self.versions.get_mut(&version).ok_or_else(|| format!("there is no version {version}"))
    }

    fn change(&mut self, change: ProjectionChange, generation: u32) -> Result<(), String> {
        match change {
            ProjectionChange::Rebuild => {
                let active = self.active;
                self.there(active)?.rebuilding = Some(generation);
            }
            ProjectionChange::Switch { version } => {
                self.there(version)?;
                self.active = version;
            }
            ProjectionChange::Pause => self.is_paused = true,
            ProjectionChange::Resume => self.is_paused = false,
            ProjectionChange::Delete { version } => {
                let gone = version.filter(|it| *it != self.active);
                let gone = gone.and_then(|version| self.versions.remove(&version));
                gone.ok_or("what answers is not deleted alone")?;
            }
        }
        Ok(())
    }
}

fn damaged(event: &RecordedEvent, what: String) -> AppendError {
    let file = format!("stream {:?}, revision {}", event.stream(), event.revision());
    let kind = CorruptionKind::Malformed(what.into());
    AppendError::Corruption(Box::new(Corruption { file, offset_bytes: 0, kind }))
}

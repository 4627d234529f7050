//! [`Registry`]: the schemas of a namespace, as [`SCHEMAS_STREAM`](nexus_protocol::schema::SCHEMAS_STREAM) says.
//!
//! A registry is a value: it is read from the events of its stream, in their order, and says what event a change would
//! have to append. Whoever holds it appends that with the registry's revision expected, applies what was stored, and so
//! has the next registry. Copies share what they have in common, with the schemas that were made ready.

mod append;
mod change;
mod closure;
mod evolve;
mod journal;
mod show;
mod trial;

pub use self::change::{Change, Registering, RegistryError};
pub use self::closure::compile_with;
pub use self::trial::Tried;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use nexus_protocol::schema::{
    EffectiveSettings, SchemaFormat, SchemaSettings, SchemaState, SchemaVersion, SubjectInfo,
    VersionInfo, VersionPick,
};
use nexus_protocol::{Position, RecordedEvent, Revision, SchemaId};

use self::append::Bindings;
use self::journal::Entry;
use self::show::Ways;
use crate::upcast::{Transform, Upcasters};
use crate::{Compiled, SchemaError};

/// The schemas of a namespace. A clone shares with it what was read and made ready.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    subjects: BTreeMap<String, Arc<Subject>>,
    by_id: HashMap<SchemaId, Arc<Version>>,
    settings: SchemaSettings,
    /// The newest event that it was read from.
    revision: Option<Revision>,
    /// Which subject events are bound to, as far as it was asked for.
    bindings: Arc<Bindings>,
    /// Lifts that are written in Rust.
    upcasters: Arc<Upcasters>,
    /// How data of a version is shown in another, as far as it was asked for.
    ways: Arc<Ways>,
}

/// A subject with its versions, the oldest first.
#[derive(Clone, Debug)]
struct Subject {
    name: String,
    versions: Vec<Arc<Version>>,
    settings: SchemaSettings,
}

/// A version, and the same made ready for payloads once that is needed.
#[derive(Clone, Debug)]
struct Version {
    of: SchemaVersion,
    /// Where the event stands that registered it.
    position: Position,
    /// Whether events could follow it at any time. A draft that was given up never counted.
    was_active: bool,
    /// How data of the version before becomes data of this one; `None`: by itself.
    up: Option<Arc<Transform>>,
    /// The way back, where there is one.
    down: Option<Arc<Transform>>,
    compiled: Arc<OnceLock<Result<Arc<Compiled>, SchemaError>>>,
}

/// A stream says what no registry does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {revision}: {what}")]
pub struct Unreadable {
    /// Where.
    pub revision: Revision,
    /// What is wrong.
    pub what: String,
}

impl Version {
    fn new(of: SchemaVersion, position: Position, up: Option<Transform>) -> Self {
        let was_active = of.state == SchemaState::Active;
        let down = up.as_ref().and_then(Transform::inverse).map(Arc::new);
        let up = up.map(Arc::new);
        Self { of, position, was_active, up, down, compiled: Arc::default() }
    }
}

impl Subject {
    fn new(name: &str) -> Self {
        let (name, versions, settings) = (name.to_owned(), Vec::new(), SchemaSettings::default());
        Self { name, versions, settings }
    }

    fn version(&self, number: u32) -> Option<&Arc<Version>> {
        self.versions.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    fn newest_active(&self) -> Option<&Arc<Version>> {
        self.versions.iter().rev().find(|it| it.of.state == SchemaState::Active)
    }

    fn format(&self) -> Option<SchemaFormat> {
        self.versions.first().map(|it| it.of.format)
    }
}

impl Registry {
    /// One that nothing was registered in.
    pub fn new() -> Self {
        Self::default()
    }

    /// With lifts that are written in Rust.
    #[must_use]
    pub fn with_upcasters(mut self, upcasters: Arc<Upcasters>) -> Self {
        (self.upcasters, self.ways) = (upcasters, Arc::default());
        self
    }

    /// Whether these are its lifts.
    pub fn has_upcasters(&self, upcasters: &Arc<Upcasters>) -> bool {
        Arc::ptr_eq(&self.upcasters, upcasters)
    }

    /// With what the next event of the stream says.
    ///
    /// # Errors
    /// When it says what no registry does: nothing is changed then.
    pub fn apply(&mut self, event: &RecordedEvent) -> Result<(), Unreadable> {
        let revision = event.revision();
        let unreadable = |what: String| Unreadable { revision, what };
        let entry = journal::read(event).map_err(unreadable)?;
        self.enter(entry).map_err(unreadable)?;
        self.revision = Some(revision);
        (self.bindings, self.ways) = Default::default();
        Ok(())
    }

    fn enter(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Registered(of, position) => {
                let before = self.subjects.get(&of.subject).map_or(0, |it| it.versions.len());
                if usize::try_from(of.version) != Ok(before + 1) {
                    return Err(format!("version {} is not the next", of.version));
                }
                let up = Transform::of(&of.up).map_err(|why| why.to_string())?;
                let subject = self.subject_mut(&of.subject);
                let version = Version::new(of, position, up);
                let id = version.of.id;
                let version = Arc::new(version);
                subject.versions.push(Arc::clone(&version));
                self.by_id.insert(id, version);
            }
            Entry::StateSet { subject, version, state } => {
                let none = || format!("there is no version {version} of {subject:?}");
                let found = self.subjects.get_mut(&subject).map(Arc::make_mut).ok_or_else(none)?;
                let at = usize::try_from(version).unwrap_or_default().checked_sub(1);
                let found = at.and_then(|at| found.versions.get_mut(at)).ok_or_else(none)?;
                let changed = Arc::make_mut(found);
                changed.of.state = state;
                changed.was_active |= state == SchemaState::Active;
                self.by_id.insert(found.of.id, Arc::clone(found));
            }
            Entry::SettingsSet { subject: Some(subject), settings } => {
                self.subject_mut(&subject).settings = settings;
            }
            Entry::SettingsSet { subject: None, settings } => self.settings = settings,
        }
        Ok(())
    }

    fn subject_mut(&mut self, name: &str) -> &mut Subject {
        let entry = self.subjects.entry(name.to_owned());
        Arc::make_mut(entry.or_insert_with(|| Arc::new(Subject::new(name))))
    }

    /// The newest event that it was read from; `None`: there is none.
    pub fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// Whether nothing was ever registered: then nothing is asked of any event.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// What was set for the namespace.
    pub fn settings(&self) -> &SchemaSettings {
        &self.settings
    }

    /// The subjects whose names come after one, by name.
    pub fn subjects<'a>(
        &'a self,
        after: Option<&'a str>,
        wide: &'a SchemaSettings,
    ) -> impl Iterator<Item = SubjectInfo> + 'a {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let range = self.subjects.range::<str, _>((from, Unbounded));
        range.map(move |(_, subject)| self.info(subject, wide))
    }

    /// A subject; `wide` is what was set for all namespaces.
    pub fn subject(&self, name: &str, wide: &SchemaSettings) -> Option<SubjectInfo> {
        self.subjects.get(name).map(|subject| self.info(subject, wide))
    }

    fn info(&self, subject: &Subject, wide: &SchemaSettings) -> SubjectInfo {
        let version = |it: &Arc<Version>| VersionInfo {
            version: it.of.version,
            id: it.of.id,
            state: it.of.state,
        };
        SubjectInfo {
            subject: subject.name.clone(),
            format: subject.format(),
            versions: subject.versions.iter().map(version).collect(),
            settings: subject.settings.clone(),
            effective: self.effective(subject, wide),
        }
    }

    fn effective(&self, subject: &Subject, wide: &SchemaSettings) -> EffectiveSettings {
        EffectiveSettings::of([&subject.settings, &self.settings, wide])
    }

    /// A version of a subject.
    pub fn version(&self, subject: &str, pick: VersionPick) -> Option<&SchemaVersion> {
        let subject = self.subjects.get(subject)?;
        let found = match pick {
            VersionPick::Number(number) => subject.version(number),
            VersionPick::Latest => subject.newest_active().or(subject.versions.last()),
        };
        found.map(|it| &it.of)
    }

    /// The version with this id.
    pub fn by_id(&self, id: SchemaId) -> Option<&SchemaVersion> {
        self.by_id.get(&id).map(|it| &it.of)
    }

    /// Keeps a schema that was made ready when it was registered, for the payloads that come.
    pub fn keep(&self, id: SchemaId, compiled: Compiled) {
        if let Some(version) = self.by_id.get(&id) {
            // Whoever was sooner has made the same.
            drop(version.compiled.set(Ok(Arc::new(compiled))));
        }
    }

    /// A version made ready to be compared: kept where it is kept already, so that comparing with all versions that were does
    /// not keep all of them in memory.
    fn ready_for_now(&self, version: &Version) -> Result<Arc<Compiled>, SchemaError> {
        match version.compiled.get() {
            Some(ready) => ready.clone(),
            None => {
                let of = &version.of;
                self.compile(of.format, &of.schema, &of.references).map(Arc::new)
            }
        }
    }

    /// A version made ready, once.
    fn ready<'a>(&self, version: &'a Version) -> Result<&'a Compiled, &'a SchemaError> {
        let make = || {
            let of = &version.of;
            self.compile(of.format, &of.schema, &of.references).map(Arc::new)
        };
        version.compiled.get_or_init(make).as_deref()
    }
}

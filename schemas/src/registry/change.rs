//! What a change of the registry would have to append, and why it may not.

use nexus_protocol::limits::{SCHEMA_PROBLEMS_MAX, SCHEMA_VERSIONS_MAX, SUBJECTS_MAX};
use nexus_protocol::schema::{
    Incompatibility, NewSchema, SchemaReference, SchemaSettings, SchemaState, SchemaVersion,
    SettingsChange, VersionPick, check_subject,
};
use nexus_protocol::{EventData, Invalid, TooLarge};

use std::sync::Arc;

use super::evolve::same_up;
use super::{Registry, Subject, Version, journal};
use crate::upcast::Transform;
use crate::{Compiled, Difference, SchemaError};

/// What registering a schema comes to.
#[derive(Debug)]
pub enum Registering {
    /// The subject has this schema already: there is nothing to do.
    There(Box<SchemaVersion>),
    /// It is a new version, once the event is appended.
    New {
        /// The event.
        event: Box<EventData>,
        /// The schema, ready for payloads: to be [kept](Registry::keep) then.
        compiled: Box<Compiled>,
    },
}

/// What another change comes to.
#[derive(Debug)]
pub enum Change {
    /// It is as it should be already.
    There,
    /// It is, once this is appended.
    New(Box<EventData>),
}

/// Why a registry is not changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RegistryError {
    /// The request cannot be right.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Something is over its limit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The schema cannot be used.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// There is no such subject or version.
    #[error("there is no {what}")]
    NotFound {
        /// What is not there.
        what: String,
    },
    /// It does not go together with versions that are there; at most
    /// [`SCHEMA_PROBLEMS_MAX`](nexus_protocol::limits::SCHEMA_PROBLEMS_MAX) reasons.
    #[error("schema is incompatible with version {}", .0.first().map_or(0, |it| it.version))]
    Incompatible(Vec<Incompatibility>),
}

impl From<nexus_protocol::InvalidName> for RegistryError {
    fn from(name: nexus_protocol::InvalidName) -> Self {
        Self::Invalid(name.into())
    }
}

impl From<nexus_protocol::EventProblem> for RegistryError {
    fn from(problem: nexus_protocol::EventProblem) -> Self {
        match problem {
            nexus_protocol::EventProblem::Invalid(invalid) => Self::Invalid(invalid),
            nexus_protocol::EventProblem::TooLarge(size) => Self::TooLarge(size),
        }
    }
}

impl Registry {
    /// What it takes to register a schema under a subject; `wide` is what was set for all namespaces.
    ///
    /// # Errors
    /// When it is no schema, or does not go together with the versions before.
    pub fn register(
        &self,
        subject: &str,
        new: &NewSchema,
        wide: &SchemaSettings,
    ) -> Result<Registering, RegistryError> {
        let (compiled, fingerprint) = self.candidate(subject, new)?;
        if let Some(there) = self.there(subject, &fingerprint) {
            let of = &there.of;
            if not_as_asked(new, there) {
                let todo = match of.state {
                    SchemaState::Retired => "nothing can follow it again: change something",
                    _ => "promote that version",
                };
                let (version, state) = (of.version, of.state);
                let why = format!(
                    "{subject:?} has this schema as version {version}, which is {state}: {todo}"
                );
                return Err(Invalid::Request(why).into());
            }
            same_up(new, of)?;
            return Ok(Registering::There(Box::new(of.clone())));
        }
        let found = self.subjects.get(subject);
        if found.is_none() {
            self.has_room()?;
        }
        let size = found.map_or(0, |it| it.versions.len()) + 1;
        bounded("versions of one subject", size, SCHEMA_VERSIONS_MAX)?;
        let next = self.revision.map_or(1, |it| it.get().saturating_add(2));
        if u32::try_from(next).is_err() {
            let why = "there are no ids left for schemas in this namespace".to_owned();
            return Err(Invalid::Request(why).into());
        }
        let version = u32::try_from(size).expect("bounded above");
        compatible(self.another_format(subject, new).into_iter().collect())?;
        if new.state == SchemaState::Active {
            let up = Transform::of(&new.up)?;
            let found = self.incompatibilities(subject, version, &compiled, up.as_ref(), wide);
            compatible(found)?;
        }
        let event = journal::registers(subject, version, new, &fingerprint);
        Ok(Registering::New { event: Box::new(event), compiled: Box::new(compiled) })
    }

    /// The version of a subject that has this very schema.
    fn there(&self, subject: &str, fingerprint: &str) -> Option<&Arc<Version>> {
        let subject = self.subjects.get(subject)?;
        subject.versions.iter().find(|it| it.of.fingerprint == fingerprint)
    }

    /// What stands between a candidate and the versions of its subject; nothing: it may be registered.
    ///
    /// # Errors
    /// When it is no schema.
    pub fn check(
        &self,
        subject: &str,
        new: &NewSchema,
        wide: &SchemaSettings,
    ) -> Result<Vec<Incompatibility>, RegistryError> {
        let (compiled, fingerprint) = self.candidate(subject, new)?;
        match self.there(subject, &fingerprint) {
            Some(there) if not_as_asked(new, there) => Ok(vec![Incompatibility {
                pointer: String::new(),
                rule: "state".into(),
                old: Some(there.of.state.as_str().into()),
                new: Some(new.state.as_str().into()),
                version: there.of.version,
            }]),
            Some(there) => same_up(new, &there.of).map(|()| Vec::new()),
            None => match self.another_format(subject, new) {
                Some(why) => Ok(vec![why]),
                None => {
                    let number = self.subjects.get(subject).map_or(0, |it| it.versions.len());
                    let number = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
                    let up = Transform::of(&new.up)?;
                    Ok(self.incompatibilities(subject, number, &compiled, up.as_ref(), wide))
                }
            },
        }
    }

    /// Why a schema is none of a subject whose versions are in another language: nobody could read both, whoever has to.
    fn another_format(&self, subject: &str, new: &NewSchema) -> Option<Incompatibility> {
        let first = self.subjects.get(subject)?.versions.first()?;
        (first.of.format != new.format).then(|| Incompatibility {
            pointer: String::new(),
            rule: "format".into(),
            old: Some(first.of.format.as_str().into()),
            new: Some(new.format.as_str().into()),
            version: first.of.version,
        })
    }

    /// A candidate made ready, without anything of it being kept.
    ///
    /// # Errors
    /// When it is no schema.
    pub(super) fn candidate(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<(Compiled, String), RegistryError> {
        check_subject(subject)?;
        new.check()?;
        self.check_references(&new.references, new.state)?;
        self.check_up(subject, new)?;
        let compiled = self.compile(new.format, &new.schema, &new.references)?;
        let fingerprint = self.fingerprint(new, &compiled);
        Ok((compiled, fingerprint))
    }

    /// Whether what a schema of a state refers to may be referred to by it. What is not there is found out later.
    fn check_references(
        &self,
        references: &[SchemaReference],
        state: SchemaState,
    ) -> Result<(), RegistryError> {
        for reference in references {
            let named = self.subjects.get(&reference.subject);
            let Some(named) = named.and_then(|it| it.version(reference.version)) else { continue };
            let usable = match named.of.state {
                SchemaState::Draft => state == SchemaState::Draft,
                SchemaState::Active | SchemaState::Deprecated => true,
                SchemaState::Retired => false,
            };
            if !usable {
                let why = format!(
                    "reference {:?} is version {} of {:?}, which is {}: refer to an active one",
                    reference.name, named.of.version, named.of.subject, named.of.state
                );
                return Err(Invalid::Request(why).into());
            }
        }
        Ok(())
    }

    /// Of a schema and all that it refers to.
    fn fingerprint(&self, new: &NewSchema, compiled: &Compiled) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        add(new.format.as_str().as_bytes());
        add(compiled.canonical());
        let mut references: Vec<_> = new.references.iter().collect();
        references.sort();
        for reference in references {
            let pick = VersionPick::Number(reference.version);
            let named = self.version(&reference.subject, pick);
            add(reference.name.as_bytes());
            add(named.map_or(&[], |it| it.fingerprint.as_bytes()));
        }
        hasher.finalize().to_string()
    }

    /// What it takes to set how far a version has come.
    ///
    /// # Errors
    /// When there is none, when it may not go there, and when a draft that would be active does not go together with the
    /// others.
    pub fn set_state(
        &self,
        subject: &str,
        version: u32,
        state: SchemaState,
        wide: &SchemaSettings,
    ) -> Result<Change, RegistryError> {
        check_subject(subject)?;
        let found = self.subjects.get(subject).and_then(|it| it.version(version));
        let Some(found) = found else {
            let what = format!("version {version} of subject {subject:?}: register it first");
            return Err(RegistryError::NotFound { what });
        };
        let before = found.of.state;
        if before == state {
            return Ok(Change::There);
        }
        if !before.may_become(state) {
            let why = format!(
                "version {version} of {subject:?} is {before}, and cannot be {state} again"
            );
            return Err(Invalid::Request(why).into());
        }
        if state == SchemaState::Active {
            self.check_references(&found.of.references, state)?;
            let compiled = self.ready(found).map_err(SchemaError::clone)?;
            let up = found.up.as_deref();
            compatible(self.incompatibilities(subject, version, compiled, up, wide))?;
        }
        Ok(Change::New(Box::new(journal::sets_state(subject, version, state))))
    }

    /// What it takes to change what holds for a subject, which need not have a version yet; without one for the
    /// namespace.
    ///
    /// # Errors
    /// When the settings cannot be.
    pub fn set_settings(
        &self,
        subject: Option<&str>,
        change: SettingsChange,
    ) -> Result<Change, RegistryError> {
        let found = subject.map(|name| self.subjects.get(name));
        let before = match found {
            None => self.settings.clone(),
            Some(found) => {
                check_subject(subject.unwrap_or_default())?;
                if found.is_none() {
                    self.has_room()?;
                }
                found.map(|it| it.settings.clone()).unwrap_or_default()
            }
        };
        let of_subject = change.types.is_some()
            || change.categories.is_some()
            || change.owner.is_some()
            || change.description.is_some();
        if subject.is_none() && of_subject {
            let why = "types, categories, owner, and description are of a subject: name one";
            return Err(Invalid::Request(why.to_owned()).into());
        }
        let settings = before.clone().with(change);
        settings.check()?;
        // What is set for the first time is noted, even if it is nothing: the subject is there then.
        if settings == before && found.is_none_or(|it| it.is_some()) {
            return Ok(Change::There);
        }
        Ok(Change::New(Box::new(journal::sets_settings(subject, &settings))))
    }

    fn has_room(&self) -> Result<(), RegistryError> {
        bounded("subjects of one namespace", self.subjects.len() + 1, SUBJECTS_MAX)
    }

    /// What stands between a schema and the other versions of its subject, once it is version `number` of it: to those with
    /// a lower number it is the newer one, and to those with a higher number the older one.
    fn incompatibilities(
        &self,
        subject: &str,
        number: u32,
        new: &Compiled,
        up: Option<&Transform>,
        wide: &SchemaSettings,
    ) -> Vec<Incompatibility> {
        let none = Subject::new(subject);
        let subject = self.subjects.get(subject).map_or(&none, |it| it);
        let mode = self.effective(subject, wide).compatibility;
        let many = if mode.is_transitive() { usize::MAX } else { 1 };
        let counts = |it: &&Arc<Version>| it.was_active;
        // Whoever read with what is retired is gone; what follows it is there still.
        let reads = |it: &&Arc<Version>| counts(it) && it.of.state != SchemaState::Retired;
        // Beyond a version that has a transform, nobody reads data as it is stored.
        let (floor, ceiling) = subject.untransformed(number, up.is_some());
        let lower =
            || subject.versions.iter().rev().filter(|it| (floor..number).contains(&it.of.version));
        let higher =
            || subject.versions.iter().filter(|it| (number + 1..ceiling).contains(&it.of.version));
        let mut found = Vec::new();
        if mode.is_forward() {
            // Those that are beyond a transform are shown data of this one by the way back.
            let before = || subject.versions.iter().filter(|it| it.of.version < number);
            let lowest = before().find(reads);
            let from = if mode.is_transitive() { lowest } else { before().rev().find(reads) };
            found =
                from.map_or_else(Vec::new, |it| subject.no_ways_back(it.of.version, number, up));
        }
        if mode.is_backward() {
            // What is lifted to a version is data of it, even if nobody ever wrote it.
            let lifted_to = |it: &&Arc<Version>| it.of.version == floor && it.up.is_some();
            let older = lower().filter(|it| counts(it) || lifted_to(it));
            for older in older.take(many) {
                self.compare(older, &mut found, true, |old| old.differences(new));
            }
            for newer in higher().filter(reads).take(many) {
                self.compare(newer, &mut found, true, |newer| new.differences(newer));
            }
        }
        if mode.is_forward() {
            for older in lower().filter(reads).take(many) {
                self.compare(older, &mut found, false, |old| new.differences(old));
            }
            for newer in higher().filter(counts).take(many) {
                self.compare(newer, &mut found, false, |newer| newer.differences(new));
            }
        }
        found
    }

    /// Adds what stands between a version and another, as long as there is room to tell it.
    fn compare(
        &self,
        other: &Version,
        found: &mut Vec<Incompatibility>,
        is_backward: bool,
        differences: impl FnOnce(&Compiled) -> Vec<Difference>,
    ) {
        let room = SCHEMA_PROBLEMS_MAX.saturating_sub(found.len());
        if room == 0 {
            return;
        }
        match self.ready_for_now(other) {
            Ok(other_ready) => {
                let told = differences(&other_ready).into_iter();
                for it in told.map(|it| it.told(is_backward, other.of.version)).take(room) {
                    // Both may stand in each other's way by the same.
                    if !found.contains(&it) {
                        found.push(it);
                    }
                }
            }
            Err(why) => found.push(unusable(other, &why)),
        }
    }
}

/// Whether a version that has the schema that is handed in is not as far as it is to be.
fn not_as_asked(new: &NewSchema, there: &Version) -> bool {
    new.state == SchemaState::Active && there.of.state != SchemaState::Active
}

fn unusable(other: &Version, why: &SchemaError) -> Incompatibility {
    Incompatibility {
        pointer: String::new(),
        rule: "unusable".into(),
        old: Some(why.to_string().into()),
        new: None,
        version: other.of.version,
    }
}

fn compatible(found: Vec<Incompatibility>) -> Result<(), RegistryError> {
    if found.is_empty() { Ok(()) } else { Err(RegistryError::Incompatible(found)) }
}

fn bounded(what: &'static str, size: usize, max: usize) -> Result<(), RegistryError> {
    if size <= max { Ok(()) } else { Err(TooLarge { what: what.into(), size, max }.into()) }
}

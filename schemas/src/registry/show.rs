//! How events are shown in another version of their schemas than the one they were written in.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use nexus_protocol::limits::RECORD_BYTES_MAX;
use nexus_protocol::record::Instead;
use nexus_protocol::schema::{AsSchema, SchemaFormat, SchemaState};
use nexus_protocol::{ReadError, RecordedEvent, SchemaId};

use super::{Registry, Subject, Version};
use crate::upcast::{Chain, Lifted, Step};

/// Ways that are kept; with so many they are looked for anew.
const WAYS_MAX: usize = 10_000;

/// How data of a version is shown in another, as far as it was asked for.
#[derive(Debug, Default)]
pub(super) struct Ways {
    known: RwLock<HashMap<(SchemaId, AsSchema), Found>>,
}

/// `None`: as it is stored; or why there is no way.
pub(super) type Found = Result<Option<Arc<Way>>, Arc<str>>;

/// From one version to another.
#[derive(Debug)]
pub(super) struct Way {
    chain: Chain,
    to: SchemaId,
}

impl Registry {
    /// What the schema of an event is called: its subject, and its version. `None`: it follows none that is known here.
    pub fn name_of(&self, event: &RecordedEvent) -> Option<(&str, u32)> {
        let version = self.followed(event)?;
        Some((&version.of.subject, version.of.version))
    }

    /// The version that an event follows. An id that was written before there was such a version says nothing.
    pub(super) fn followed(&self, event: &RecordedEvent) -> Option<&Arc<Version>> {
        let version = self.by_id.get(&event.schema())?;
        (event.altered() || event.position() > version.position).then_some(version)
    }

    /// The version that the data of an event are taken for: that which it follows; or, of one that names none and is older than
    /// the schemas of the subject that it is bound to, the first that events could follow.
    pub fn taken_for(&self, event: &RecordedEvent) -> Option<(&str, u32)> {
        let version = self.version_of(event)?;
        Some((&version.of.subject, version.of.version))
    }

    pub(super) fn version_of(&self, event: &RecordedEvent) -> Option<&Arc<Version>> {
        if event.schema() != SchemaId::NONE {
            return self.followed(event);
        }
        let event_type = event.event_type();
        if self.is_empty() || event.is_system() || event_type.starts_with('$') {
            return None;
        }
        let bound = self.bound(event_type, event.category())?;
        let subject = self.subjects.get(&bound.name)?;
        let first = subject.versions.iter().find(|it| it.was_active)?;
        (event.position() < first.position).then_some(first)
    }

    /// An event as it is in a version of its schema: mostly one, and the parts of it where transforms make several or none.
    /// What is [taken for](Self::taken_for) no schema in JSON is shown as it is stored, and so are events of the system.
    ///
    /// # Errors
    /// [`ReadError::NotConverted`]: there is no such version, no way to it, or the data cannot go it.
    pub fn show(
        &self,
        event: RecordedEvent,
        as_schema: AsSchema,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        if as_schema == AsSchema::Raw || event.is_system() {
            return Ok(vec![event]);
        }
        let Some(version) = self.version_of(&event) else { return Ok(vec![event]) };
        let position = event.position();
        let fail = |why: String| ReadError::NotConverted { position, why };
        let way = self.way(version, as_schema).map_err(|why| fail(why.to_string()))?;
        let Some(way) = way else {
            if event.schema() != SchemaId::NONE || version.of.format != SchemaFormat::Json {
                return Ok(vec![event]);
            }
            // It says so now.
            let same = vec![Lifted {
                event_type: event.event_type().to_owned(),
                data: event.data().to_vec(),
            }];
            return parts(&event, same, version.of.id).map_err(fail);
        };
        let lifted = way.chain.apply(event.event_type(), event.data());
        let lifted = lifted.map_err(|why| {
            let (subject, number) = (&version.of.subject, version.of.version);
            fail(format!("its data, of version {number} of {subject:?}, {why}"))
        })?;
        parts(&event, lifted, way.to).map_err(fail)
    }

    /// An event as it is in the version that is named for its subject; as it is stored, where none is.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    pub fn show_in(
        &self,
        event: &RecordedEvent,
        versions: &BTreeMap<String, u32>,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let subject = self.taken_for(event).map(|(subject, _)| subject);
        let version = subject.and_then(|subject| versions.get(subject));
        let as_schema = version.map_or(AsSchema::Raw, |number| AsSchema::Version(*number));
        self.show(event.clone(), as_schema)
    }

    pub(super) fn way(&self, version: &Version, as_schema: AsSchema) -> Found {
        let key = (version.of.id, as_schema);
        {
            let known = self.ways.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(way) = known.get(&key) {
                return way.clone();
            }
        }
        let way = self.find_way(version, as_schema).map(|it| it.map(Arc::new)).map_err(Arc::from);
        let mut known = self.ways.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= WAYS_MAX {
            known.clear();
        }
        known.insert(key, way.clone());
        way
    }

    fn find_way(&self, version: &Version, as_schema: AsSchema) -> Result<Option<Way>, String> {
        let of = &version.of;
        let Some(subject) = self.subjects.get(&of.subject) else { return Ok(None) };
        // Readers of other languages resolve versions by themselves, by that in which data was written.
        if of.format != SchemaFormat::Json {
            return Ok(None);
        }
        let to = match as_schema {
            AsSchema::Raw => return Ok(None),
            AsSchema::Latest => subject.latest(),
            AsSchema::Version(number) => subject.version(number),
        };
        let Some(to) = to else {
            let (name, count) = (&subject.name, subject.versions.len());
            return Err(format!(
                "{name:?} has {count} versions: ask for one of them, or for the latest"
            ));
        };
        if to.of.version == of.version {
            return Ok(None);
        }
        let steps = self.steps(subject, of.version, to.of.version)?;
        Ok(Some(Way { chain: Chain::new(steps), to: to.of.id }))
    }

    /// The steps from one version of a subject to another.
    fn steps(&self, subject: &Subject, from: u32, to: u32) -> Result<Vec<Step>, String> {
        let (mut at, mut steps) = (from, Vec::new());
        while at < to {
            if let Some((upcaster, lifted)) = self.upcasters.lift(&subject.name, at, to) {
                steps.push(Step::Upcaster(Arc::clone(upcaster)));
                at = lifted;
                continue;
            }
            at += 1;
            let up = subject.version(at).and_then(|it| it.up.as_ref());
            steps.extend(up.map(|up| Step::Transform(Arc::clone(up))));
        }
        while at > to {
            if self.upcasters.leads_to(&subject.name, at) {
                return Err(format!(
                    "a lift in Rust leads to version {at} of {:?}, and there is none back: ask for a later version",
                    subject.name
                ));
            }
            if let Some(version) = subject.version(at)
                && let Some(up) = &version.up
            {
                let down = version.down.as_ref().ok_or_else(|| no_down(&subject.name, at, up))?;
                steps.push(Step::Transform(Arc::clone(down)));
            }
            at -= 1;
        }
        Ok(steps)
    }

    /// A hash over how events of these subjects are shown in a version: for snapshots of what is folded from them. 0: nothing
    /// is changed in them.
    pub fn upcaster_hash<'a>(
        &self,
        as_schema: AsSchema,
        subjects: impl IntoIterator<Item = &'a str>,
    ) -> u64 {
        let mut subjects: Vec<_> = subjects.into_iter().collect();
        subjects.sort_unstable();
        subjects.dedup();
        let (mut hasher, mut is_changed) = (blake3::Hasher::new(), false);
        for name in subjects {
            let Some(subject) = self.subjects.get(name) else { continue };
            let to = match as_schema {
                AsSchema::Raw => None,
                AsSchema::Latest => subject.latest().map(|it| it.of.version),
                AsSchema::Version(number) => Some(number),
            };
            let Some(to) = to else { continue };
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&to.to_le_bytes());
            // What leads to later versions says nothing of what was folded before.
            let leads = |it: &&Arc<Version>| it.up.is_some() && it.of.version <= to;
            for version in subject.versions.iter().filter(leads) {
                is_changed = true;
                hasher.update(&version.of.version.to_le_bytes());
                hasher.update(&(version.of.up.len() as u64).to_le_bytes());
                hasher.update(version.of.up.as_bytes());
            }
            for lift in self.upcasters.of_subject(name, to) {
                is_changed = true;
                hasher.update(&lift);
            }
        }
        let hash = hasher.finalize();
        let hash = hash.as_bytes().first_chunk().map_or(0, |it| u64::from_le_bytes(*it));
        if is_changed { hash } else { 0 }
    }
}

impl Subject {
    /// The version that `latest` is: the newest that is active, or else the newest that ever was.
    fn latest(&self) -> Option<&Arc<Version>> {
        let was = |it: &&Arc<Version>| it.was_active && it.of.state != SchemaState::Draft;
        self.newest_active().or_else(|| self.versions.iter().rev().find(was))
    }
}

fn no_down(subject: &str, version: u32, up: &crate::upcast::Transform) -> String {
    let (index, operation) = up.no_way_back().unwrap_or_default();
    format!(
        "version {version} of {subject:?} has no way back: its operation {index}, {operation}, has none by itself, and says no \
         `down`"
    )
}

/// The parts of an event, made of what was lifted.
fn parts(
    event: &RecordedEvent,
    lifted: Vec<Lifted>,
    schema: SchemaId,
) -> Result<Vec<RecordedEvent>, String> {
    let count = lifted.len();
    let (mut parts, mut bytes) = (Vec::with_capacity(count), 0_usize);
    for (index, Lifted { event_type, data }) in lifted.into_iter().enumerate() {
        let instead = Instead {
            event_type: &event_type,
            content_type: event.content_type(),
            data: data.into(),
            schema,
        };
        let part = event.with(instead).map_err(|why| format!("what comes of it is none: {why}"))?;
        bytes = bytes.saturating_add(part.as_bytes().len());
        if bytes > RECORD_BYTES_MAX {
            return Err(format!("its parts come to more than {RECORD_BYTES_MAX} bytes"));
        }
        let index = u32::try_from(index).map_err(|why| why.to_string())?;
        parts.push(part.as_part(index, index as usize + 1 < count));
    }
    Ok(parts)
}

//! [`Space`]: the projections of one namespace: what was decided about them, and what is folded of that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use nexus_delivery::projection::{Amendment, BuildId, Catalog, Definition};
use nexus_engine::Namespace;
use nexus_protocol::{AppendError, EventData};

use super::build::Build;
use super::lifts::Lifts;
use super::pool::Turns;
use super::room::Room;
use crate::parking::block_on;
use crate::schemas::Schemas;

/// How often a change is tried that somebody else came before.
const TRIES: usize = 3;

/// The projections of a namespace.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) namespace: Namespace,
    pub(super) turns: Arc<Turns>,
    /// Where documents are kept; `None`: in memory.
    directory: Option<PathBuf>,
    schemas: Arc<Schemas>,
    pub(super) room: Arc<Room>,
    catalog: Mutex<Catalog>,
    builds: Mutex<BTreeMap<(String, BuildId), Arc<Build>>>,
    /// Held by whoever decides something.
    changing: Mutex<()>,
    /// Whether all are folded, and not only those that somebody asked for.
    follows_all: AtomicBool,
    /// Whether nothing is folded any more.
    has_ended: AtomicBool,
}

impl Space {
    /// Reads what was decided. What is kept of documents that are there no more is removed.
    pub(super) fn open(
        namespace: Namespace,
        (turns, schemas, room): (Arc<Turns>, Arc<Schemas>, Arc<Room>),
        directory: Option<PathBuf>,
    ) -> Result<Self, AppendError> {
        let catalog = block_on(Catalog::read(&namespace))?;
        let space = Self {
            namespace,
            turns,
            directory,
            schemas,
            room,
            catalog: Mutex::new(catalog),
            builds: Mutex::default(),
            changing: Mutex::default(),
            follows_all: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        };
        space.sweep();
        Ok(space)
    }

    pub(super) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn builds(&self) -> MutexGuard<'_, BTreeMap<(String, BuildId), Arc<Build>>> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory_of(&self, name: &str, id: BuildId) -> Option<PathBuf> {
        let BuildId { version, generation } = id;
        let directory = self.directory.as_ref()?;
        Some(directory.join(format!("{name}.{version}.{generation}")))
    }

    /// Removes documents that belong to nothing: whoever removed a projection may have died before.
    fn sweep(&self) {
        let Some(directory) = &self.directory else { return };
        let catalog = self.catalog();
        let builds = catalog.named().flat_map(|(name, named)| {
            named.builds().filter_map(move |(id, _)| self.directory_of(name, id))
        });
        nexus_search::remove_others(directory, &builds.collect::<BTreeSet<_>>());
    }

    /// Folds all projections from now on.
    pub(super) fn follow_all(self: &Arc<Self>) {
        self.follows_all.store(true, Ordering::SeqCst);
        self.reconcile(None);
    }

    /// Folds a projection from now on, if it is there.
    pub(super) fn follow(self: &Arc<Self>, name: &str) -> Result<(), AppendError> {
        let answering = self.catalog().find(name)?.answering();
        // What is folded is kept as it was decided: only what is not yet is begun.
        if !self.builds().contains_key(&(name.to_owned(), answering)) {
            self.reconcile(Some(name));
        }
        Ok(())
    }

    /// Has what is folded be what was decided: of all that is folded, and of a name.
    fn reconcile(self: &Arc<Self>, name: Option<&str>) {
        let follows_all = self.follows_all.load(Ordering::SeqCst);
        let catalog = self.catalog();
        let mut builds = self.builds();
        if self.has_ended.load(Ordering::SeqCst) {
            return;
        }
        let followed: BTreeSet<String> = match follows_all {
            true => catalog.named().map(|(name, _)| name.to_owned()).collect(),
            false => {
                let there = builds.keys().map(|(name, _)| name.clone());
                there.chain(name.map(str::to_owned)).collect()
            }
        };
        let mut wanted = BTreeSet::new();
        for (name, named) in catalog.named().filter(|(name, _)| followed.contains(*name)) {
            for (id, version) in named.builds() {
                let key = (name.to_owned(), id);
                let (is_paused, takes_over) =
                    (named.is_paused, version.rebuilding == Some(id.generation));
                let build = builds.entry(key.clone()).or_insert_with(|| {
                    let directory = self.directory_of(name, id);
                    let definition = version.definition.clone();
                    let build = Arc::new(Build::new(self, (name, id), definition, directory));
                    // Before its first turn: one of a projection that is paused folds nothing.
                    build.set(is_paused, takes_over);
                    std::task::Wake::wake(Arc::clone(&build));
                    build
                });
                build.set(is_paused, takes_over);
                wanted.insert(key);
            }
        }
        for (_, gone) in builds.extract_if(.., |key, _| !wanted.contains(key)) {
            gone.end(true);
        }
    }

    /// Nobody else decides anything as long as this is held. Whoever holds it may wait for a turn to be over; whoever has a
    /// turn never waits for it.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides something, and has it done; `false`: it was so already. Blocks until it is durable.
    pub(super) fn decide(
        self: &Arc<Self>,
        name: &str,
        decide: impl Fn(&Catalog) -> Result<Option<EventData>, AppendError>,
    ) -> Result<bool, AppendError> {
        let alone = self.alone();
        self.decide_alone(&alone, name, decide)
    }

    /// The same for who is [alone](Self::alone).
    pub(super) fn decide_alone(
        self: &Arc<Self>,
        _: &MutexGuard<'_, ()>,
        name: &str,
        decide: impl Fn(&Catalog) -> Result<Option<EventData>, AppendError>,
    ) -> Result<bool, AppendError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let append = {
                let catalog = self.catalog();
                let Some(event) = decide(&catalog)? else { return Ok(false) };
                catalog.append(event)
            };
            let appended = self.namespace.append(append).wait();
            // Also where nobody knows whether it is stored: what is there counts.
            let followed = block_on(self.catalog().follow(&self.namespace));
            self.reconcile(Some(name));
            match appended {
                Err(AppendError::Conflict(_)) if tries < TRIES => followed?,
                Err(error) => return Err(error),
                Ok(_) => return followed.map(|()| true),
            }
        }
    }

    /// Has what was folded again answer; `false`: not now. Never waits for whoever decides something, who may wait for
    /// the turn that this is asked in.
    pub(super) fn rebuilt(self: &Arc<Self>, name: &str, build: BuildId) -> bool {
        let alone = match self.changing.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        self.decide_alone(&alone, name, |catalog| Ok(catalog.rebuilt(name, build))).is_ok()
    }

    /// What answers for a name, if it is folded.
    pub(super) fn answering(&self, name: &str) -> Option<Arc<Build>> {
        let id = self.catalog().find(name).ok()?.answering();
        self.builds().get(&(name.to_owned(), id)).cloned()
    }

    /// What is folded of a projection.
    pub(super) fn of_name(&self, name: &str) -> Vec<Arc<Build>> {
        let builds = self.builds();
        let of = builds.iter().filter(|((of, _), _)| of == name);
        of.map(|(_, build)| Arc::clone(build)).collect()
    }

    /// What is folded of a version.
    pub(super) fn of_version(&self, name: &str, version: u32) -> Vec<Arc<Build>> {
        let builds = self.builds();
        let of = builds.iter().filter(|((of, id), _)| of == name && id.version == version);
        of.map(|(_, build)| Arc::clone(build)).collect()
    }

    /// What lifts the events of a definition.
    pub(super) fn lifts(&self, definition: &Definition) -> Lifts {
        Lifts {
            schemas: Arc::clone(&self.schemas),
            namespace: self.namespace.clone(),
            versions: definition.file().as_schema.clone(),
        }
    }

    pub(super) fn amendments(&self, name: &str, version: u32) -> BTreeMap<u64, Amendment> {
        let catalog = self.catalog();
        let version = catalog.find(name).ok().and_then(|named| named.version(version));
        version.map(|it| it.amendments.clone()).unwrap_or_default()
    }

    /// Ends all that is folded; its documents stay, or go with the namespace.
    pub(super) fn end(&self, removes: bool) {
        let builds = {
            let mut builds = self.builds();
            self.has_ended.store(true, Ordering::SeqCst);
            std::mem::take(&mut *builds)
        };
        for build in builds.into_values() {
            build.end(removes);
            build.close(&mut build.slot(), removes, crate::clock::wall_clock());
        }
        if removes && let Some(directory) = &self.directory {
            drop(nexus_search::remove(directory));
        }
    }
}

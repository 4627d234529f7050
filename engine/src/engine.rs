//! [`Engine`]: a data directory that is open.

mod close;
mod default;
mod delete;
mod directory;
mod threads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{JoinHandle, ThreadId};

use nexus_protocol::{NamespaceName, Unavailable};

use crate::commit::{Committer, Signals};
use crate::error::{LogError, OpenError};
use crate::io::{Disk, DiskLock, MemoryDisk};
use crate::namespace::Namespace;
use crate::open::{self, NAMESPACES_DIR};
use crate::options::Options;
use crate::stats::Durations;

pub use close::CloseError;
use close::Closing;
pub use delete::DeleteNamespaceError;
pub use directory::foreign_entry;
pub(crate) use directory::take_lock;

/// A data directory that is open: all its namespaces. Cheap to clone; the last clone closes it.
///
/// It stands for its namespace `default`: everything that [`Namespace`] does can be called on it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use nexus_engine::Engine;
/// use nexus_protocol::{Append, EventData, Read};
///
/// let engine = Engine::open(dir.path())?;
/// let placed = EventData::json("OrderPlaced", &serde_json::json!({"total_cents": 250}))?;
/// engine.append(Append::to("order-1").no_stream().event(placed)).wait()?;
/// for event in engine.read(Read::stream("order-1")) {
///     assert_eq!(event?.event_type(), "OrderPlaced");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    default: Namespace,
    shared: Arc<Shared>,
}

/// What the clones of an engine, its namespaces, and its threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    parts: Arc<Parts>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Those of these threads, also when they have ended.
    own_threads: Vec<ThreadId>,
    closing: Closing,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
}

/// What the threads work on.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) signals: Signals,
    namespaces: RwLock<BTreeMap<String, Arc<Committer>>>,
    /// Held while a namespace is created or deleted: the list is not, so that nobody else waits for the disk.
    creating: Mutex<()>,
    /// Held for reading by whoever writes beside the commit path, and never while foreign code runs.
    /// Closing waits for them: the lock of the directory is given back when nothing writes any more.
    writing: RwLock<()>,
    stop: AtomicBool,
}

impl Engine {
    /// Opens a data directory, with all its namespaces; an empty or missing one is made a new log.
    ///
    /// # Errors
    /// As [`OpenError`] says: each error names what to do.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, OpenError> {
        Options::default().open(dir)
    }

    /// Options for opening.
    pub fn options() -> Options {
        Options::default()
    }

    /// An engine in memory: the same code on a disk that is gone with it.
    pub fn in_memory() -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let options = Options::default().disk(disk).segment_bytes(64 * 1024, 16 * 1024 * 1024);
        options.open("/memory").expect("an empty disk in memory can be opened")
    }

    /// The directory that it keeps its log in; `None`: it runs on a disk that it was given, as in memory.
    pub fn directory(&self) -> Option<&Path> {
        let parts = &self.shared.parts;
        parts.options.disk.is_none().then_some(&*parts.dir)
    }

    /// Bytes that are left on the disk that it keeps its log on.
    ///
    /// # Errors
    /// Where the disk does not say.
    pub fn free_bytes(&self) -> Result<u64, Unavailable> {
        let parts = &self.shared.parts;
        let free = parts.disk.free_bytes(&parts.dir);
        free.map_err(|error| Unavailable::CannotGrow(error.to_string()))
    }

    pub(crate) fn open_with(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let disk = directory::prepare(dir, &options)?;
        let lock = take_lock(&*disk, dir, options.read_only)?;
        let signals = Signals::default();
        let namespaces = open_all(&disk, dir, &options, &signals)?;
        let parts = Arc::new(Parts {
            disk,
            dir: dir.to_owned(),
            options,
            signals,
            namespaces: RwLock::new(namespaces),
            creating: Mutex::default(),
            writing: RwLock::new(()),
            stop: AtomicBool::new(false),
        });
        let threads = threads::start(&parts);
        let shared = Arc::new(Shared {
            own_threads: threads.iter().map(|thread| thread.thread().id()).collect(),
            threads: Mutex::new(threads),
            closing: Closing::default(),
            lock: Mutex::new(lock),
            parts,
        });
        let default = shared.namespace(NamespaceName::DEFAULT)?;
        Ok(Self { default, shared })
    }

    /// A namespace that exists.
    ///
    /// # Errors
    /// When there is none of that name, or it is not a name.
    pub fn namespace(&self, name: &str) -> Result<Namespace, OpenError> {
        NamespaceName::new(name)?;
        self.shared.namespace(name)
    }

    /// The names of all namespaces, sorted.
    pub fn namespaces(&self) -> Vec<String> {
        let namespaces = self.shared.parts.read_namespaces();
        namespaces.keys().filter(|name| *name != NamespaceName::SYSTEM).cloned().collect()
    }

    /// The names of all namespaces whose log a failed write or sync has poisoned (I7), the node's own among
    /// them: nothing can be appended to them before the engine is opened again.
    pub fn poisoned(&self) -> Vec<String> {
        let namespaces = self.shared.parts.read_namespaces();
        let poisoned = namespaces.iter().filter(|(_, committer)| committer.log.is_poisoned());
        poisoned.map(|(name, _)| name.clone()).collect()
    }

    /// The namespace of the node's own, where there is one: for the layers above the engine, which keep
    /// there what no user may read or write.
    pub fn system(&self) -> Option<Namespace> {
        self.shared.namespace(NamespaceName::SYSTEM).ok()
    }

    /// The same; made where there is none.
    ///
    /// # Errors
    /// When the disk says no, or the engine was closed.
    pub fn create_system(&self) -> Result<Namespace, OpenError> {
        self.create_named(&NamespaceName::system())
    }

    /// How long frames took from being given to the disk until they were durable, since it was opened: of
    /// all namespaces, those that were deleted included. It costs no more than the look.
    pub fn sync_durations(&self) -> Durations {
        self.shared.parts.signals.syncs.snapshot()
    }

    /// Creates a namespace; one that exists is opened as it is.
    ///
    /// # Errors
    /// When the name is not one, the disk says no, or the engine was closed.
    pub fn create_namespace(&self, name: &str) -> Result<Namespace, OpenError> {
        self.create_named(&NamespaceName::new(name)?)
    }

    fn create_named(&self, name: &NamespaceName) -> Result<Namespace, OpenError> {
        let create = || self.create_or_open(name);
        self.shared.parts.while_open(create).unwrap_or(Err(OpenError::Closed))?;
        self.shared.namespace(name.as_str())
    }

    fn create_or_open(&self, name: &NamespaceName) -> Result<(), OpenError> {
        let parts = &self.shared.parts;
        let _one = parts.creating.lock().expect("no panic while a namespace is created");
        if let Some(there) = parts.read_namespaces().get(name.as_str()) {
            let deleted = || {
                OpenError::Invalid(format!(
                    "namespace {:?} is being deleted: create it once that is done",
                    name.as_str()
                ))
            };
            return if there.log.is_ended() { Err(deleted()) } else { Ok(()) };
        }
        let from_log = |error: LogError| OpenError::from_log(error, &parts.dir);
        open::create(&*parts.disk, &parts.dir, name, &parts.options).map_err(from_log)?;
        let dir = parts.dir.join(NAMESPACES_DIR).join(name.as_str());
        let opened = open::open(&parts.disk, &dir, &parts.options, &parts.signals);
        let committer = Arc::new(opened.map_err(from_log)?.committer);
        let mut namespaces = parts.namespaces.write().expect("no panic while one is added");
        let before = namespaces.insert(name.as_str().to_owned(), committer);
        assert!(before.is_none(), "a namespace is opened once");
        Ok(())
    }

    /// Does now what threads do in the background: max age, space, sealing, index files, and the
    /// compression of one segment. For engines without threads.
    ///
    /// # Errors
    /// What the disk said, in words; it is tried again at the next call. Or that the engine was closed.
    pub fn maintain(&self) -> Result<(), CloseError> {
        self.shared.parts.maintain()
    }

    /// Commits what waits, says so in node-state, and closes. Clones and namespaces that are left
    /// answer that the store is closed.
    ///
    /// # Errors
    /// When the end could not be noted: nothing is lost, but the next start reads more.
    pub fn close(self) -> Result<(), CloseError> {
        self.shared.close().1
    }
}

/// Opens all namespaces, and creates `default` in an empty directory.
fn open_all(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &Options,
    signals: &Signals,
) -> Result<BTreeMap<String, Arc<Committer>>, OpenError> {
    let from_log = |error: LogError| OpenError::from_log(error, dir);
    let root = dir.join(NAMESPACES_DIR);
    let mut names = directory::namespaces(&**disk, dir)?;
    if names.is_empty() {
        if !options.create || options.read_only {
            return Err(OpenError::NotFound { dir: dir.to_owned() });
        }
        directory::sync_names(&**disk, dir)?;
        let default = NamespaceName::new(NamespaceName::DEFAULT)?;
        open::create(&**disk, dir, &default, options).map_err(from_log)?;
        names = directory::namespaces(&**disk, dir)?;
    }
    if !options.read_only {
        // A creation may have been killed just before it made the name durable.
        disk.sync_dir(&root)?;
    }
    let mut opened = BTreeMap::new();
    for name in names {
        let namespace = open::open(disk, &root.join(&name), options, signals).map_err(from_log)?;
        if namespace.cut_bytes > 0 {
            tracing::info!(namespace = name, bytes = namespace.cut_bytes, "a torn tail was cut");
        }
        opened.insert(name, Arc::new(namespace.committer));
    }
    if !options.read_only {
        directory::remove_leftovers(&**disk, dir)?;
    }
    Ok(opened)
}

impl Parts {
    fn read_namespaces(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Committer>>> {
        self.namespaces.read().expect("no panic while a namespace is created")
    }

    fn committers(&self) -> Vec<Arc<Committer>> {
        self.read_namespaces().values().cloned().collect()
    }

    /// Waits for all that write beside the commit path now.
    fn wait_for_writing(&self) {
        drop(self.writing.write().expect("nothing is done while it is held for writing"));
    }

    /// Does what writes beside the commit path, unless the engine was closed meanwhile.
    fn while_open<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let _writing = self.writing.read().expect("nothing is done while it is held for writing");
        (!self.stop.load(Ordering::Acquire)).then(work)
    }

    /// The same for what writes one log, unless that was deleted meanwhile.
    fn while_open_of<T>(&self, committer: &Committer, work: impl FnOnce() -> T) -> Option<T> {
        self.while_open(|| (!committer.log.is_ended()).then(work)).flatten()
    }

    fn maintain(&self) -> Result<(), CloseError> {
        for committer in self.committers() {
            crate::retain::age_out(&committer, committer.now());
            let work = || match committer.log.is_ended() {
                true => Ok(()),
                false => self.maintain_all_of(&committer),
            };
            let done = self.while_open(work);
            let done = done.ok_or_else(|| CloseError("the engine was closed".to_owned()))?;
            done.map_err(|error| CloseError(crate::error::describe(&error)))?;
        }
        Ok(())
    }

    fn maintain_all_of(&self, committer: &Committer) -> Result<(), LogError> {
        committer.log.keep_space_ready()?;
        committer.log.seal_left()?;
        while committer.log.write_index_file()? {}
        if self.options.compress {
            committer.log.rewrite_one(self.options.frames_kept_bytes)?;
        }
        let end = committer.lock().writer.durable_end();
        committer.log.note_durable_end(end)
    }
}

impl Shared {
    pub(crate) fn namespace(self: &Arc<Self>, name: &str) -> Result<Namespace, OpenError> {
        let namespaces = self.parts.read_namespaces();
        let committer = namespaces.get(name).cloned().ok_or_else(|| {
            OpenError::Invalid(format!("there is no namespace {name:?}: create it first"))
        })?;
        Ok(Namespace::new(name.to_owned(), committer, Arc::clone(self)))
    }

    pub(crate) fn options(&self) -> &Options {
        &self.parts.options
    }

    fn take_threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.threads.lock().expect("no panic while threads are taken out"))
    }
}

//! [`Engine`]: a data directory that is open.

mod default;
mod threads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

use nexus_protocol::NamespaceName;

use crate::commit::{Committer, Signals};
use crate::error::{LogError, OpenError};
use crate::io::{self, Disk, DiskLock, LockHolder, MemoryDisk};
use crate::namespace::Namespace;
use crate::open::{self, NAMESPACES_DIR};
use crate::options::Options;

/// Name of the lock file in a data directory.
pub(crate) const LOCK_FILE: &str = "lock";

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
    /// Held while a namespace is created: the list is not, so that nobody else waits for the disk.
    creating: Mutex<()>,
    /// Held for reading by whoever writes beside the commit path, and never while foreign code runs.
    /// Closing waits for them: the lock of the directory is given back when nothing writes any more.
    writing: RwLock<()>,
    stop: AtomicBool,
}

/// Why an engine did not close cleanly, or what was due could not be done. What was acknowledged is
/// durable all the same.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CloseError(String);

impl CloseError {
    fn not_cleanly(why: &str) -> Self {
        Self(format!("the data directory is closed, but not cleanly: {why}"))
    }
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

    pub(crate) fn open_with(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let disk = prepare_dir(dir, &options)?;
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
        let shared = Arc::new(Shared {
            threads: Mutex::new(threads::start(&parts)),
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
        if parts.read_namespaces().contains_key(name.as_str()) {
            return Ok(());
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
        self.shared.close()
    }
}

/// Chooses the disk, and makes sure that a directory stands there.
fn prepare_dir(dir: &Path, options: &Options) -> Result<Arc<dyn Disk>, OpenError> {
    let plain: Arc<dyn Disk> = match &options.disk {
        Some(disk) => Arc::clone(disk),
        None => io::open_disk(io::Backend::PortableBuffered)?,
    };
    match plain.metadata(dir)? {
        Some(found) if !found.is_dir => {
            return Err(OpenError::NotADirectory { dir: dir.to_owned() });
        }
        Some(_) if options.create && !options.read_only => refuse_foreign(&*plain, dir)?,
        Some(_) => {}
        None if options.create && !options.read_only => create_dirs(&*plain, dir)?,
        None => return Err(OpenError::NotFound { dir: dir.to_owned() }),
    }
    match (&options.disk, options.backend) {
        (Some(_), _) => Ok(plain),
        (None, Some(backend)) => Ok(io::open_disk(backend)?),
        (None, None) if options.read_only => Ok(plain),
        (None, None) => Ok(io::auto_disk(dir)?.0),
    }
}

/// A folder that holds other things is not made a data directory: a mistyped path would mix a log with
/// somebody's files.
fn refuse_foreign(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    if disk.metadata(&dir.join(NAMESPACES_DIR))?.is_some() {
        return Ok(());
    }
    // What an opening that was interrupted leaves, what a file system has at its root, and what is put
    // there before a server starts for the first time: its settings, its certificate.
    let is_ours = |name: &str| {
        name == LOCK_FILE
            || ["lost+found", "nexus.toml", "tls"].contains(&name)
            || name.starts_with(io::DISK_FILE)
            || (name.starts_with("measure-") && name.ends_with(".tmp"))
    };
    match disk.list(dir)?.into_iter().find(|entry| !is_ours(&entry.name)) {
        Some(entry) => Err(OpenError::NotEmpty { dir: dir.to_owned(), holds: entry.name }),
        None => Ok(()),
    }
}

fn create_dirs(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    if let Some(parent) = dir.parent()
        && !parent.as_os_str().is_empty()
        && disk.metadata(parent)?.is_none()
    {
        create_dirs(disk, parent)?;
    }
    disk.create_dir(dir)?;
    Ok(())
}

/// Makes the name of the data directory durable: without it a crash of the machine takes all that
/// was acknowledged inside. An earlier process may have created the directory and got no further.
fn sync_names(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    if crate::planted::is("data-directory-not-synced") {
        return Ok(());
    }
    for parent in dir.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match disk.sync_dir(parent) {
            // A folder that may not be opened was not created here.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => break,
            synced => synced?,
        }
    }
    Ok(())
}

/// The lock of a directory; only one that is read, and was never open, has none to take.
pub(crate) fn take_lock(
    disk: &dyn Disk,
    dir: &Path,
    read_only: bool,
) -> Result<Option<Box<dyn DiskLock>>, OpenError> {
    let path = dir.join(LOCK_FILE);
    let locked = match read_only {
        true => disk.lock_to_read(&path),
        false => disk.lock(&path).map(Some),
    };
    match locked {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            let holder = error.source.get_ref().and_then(|why| why.downcast_ref());
            let owner = match holder {
                Some(LockHolder::Us) => format!(" (process {}, this one)", std::process::id()),
                Some(LockHolder::Process(pid)) => format!(" (process {pid})"),
                Some(LockHolder::Unknown) | None => String::new(),
            };
            Err(OpenError::Locked { dir: dir.to_owned(), owner })
        }
        locked => Ok(locked?),
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
    let list = || -> Result<Vec<String>, OpenError> {
        if disk.metadata(&root)?.is_none() {
            return Ok(Vec::new());
        }
        let entries = disk.list(&root)?.into_iter().filter(|entry| entry.is_dir);
        Ok(entries.map(|entry| entry.name).filter(|name| NamespaceName::is_folder(name)).collect())
    };
    let mut names = list()?;
    if names.is_empty() {
        if !options.create || options.read_only {
            return Err(OpenError::NotFound { dir: dir.to_owned() });
        }
        sync_names(&**disk, dir)?;
        let default = NamespaceName::new(NamespaceName::DEFAULT)?;
        open::create(&**disk, dir, &default, options).map_err(from_log)?;
        names = list()?;
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
    Ok(opened)
}

impl Parts {
    fn read_namespaces(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Committer>>> {
        self.namespaces.read().expect("no panic while a namespace is created")
    }

    fn committers(&self) -> Vec<Arc<Committer>> {
        self.read_namespaces().values().cloned().collect()
    }

    /// Does what writes beside the commit path, unless the engine was closed meanwhile.
    fn while_open<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let _writing = self.writing.read().expect("nothing is done while it is held for writing");
        (!self.stop.load(Ordering::Acquire)).then(work)
    }

    fn maintain(&self) -> Result<(), CloseError> {
        for committer in self.committers() {
            crate::retain::age_out(&committer, committer.now());
            let done = self.while_open(|| self.maintain_all_of(&committer));
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

    /// Ends all that writes, in order, and only then gives the lock of the directory back.
    fn close(&self) -> Result<(), CloseError> {
        let parts = &self.parts;
        let first = !parts.stop.swap(true, Ordering::AcqRel);
        // Whoever writes beside the commit path ends; a namespace that is being created is among them.
        drop(parts.writing.write().expect("nothing is done while it is held for writing"));
        let committers = parts.committers();
        committers.iter().for_each(|committer| committer.queue.close());
        parts.signals.commit.raise();
        parts.signals.space.raise();
        let threads = std::mem::take(
            &mut *self.threads.lock().expect("no panic while threads are taken out"),
        );
        for thread in threads {
            thread.thread().unpark();
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                // What it left in flight nobody knows: the lock stays until the engine is dropped.
                return Err(CloseError::not_cleanly("a thread of the engine panicked"));
            }
        }
        if !first {
            return Ok(());
        }
        parts.signals.commit.listened.store(false, Ordering::Release);
        let mut result = Ok(());
        for committer in &committers {
            let end = committer.stop();
            committer.log.committed.close();
            if !committer.is_read_only() {
                let noted = committer.log.note_durable_end(end);
                let not_noted = |e: LogError| CloseError::not_cleanly(&crate::error::describe(&e));
                result = result.and(noted.map_err(not_noted));
            }
        }
        drop(self.lock.lock().expect("no panic while the lock is given back").take());
        result
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "closed on drop");
        }
    }
}

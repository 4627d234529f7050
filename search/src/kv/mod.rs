//! [`KvSink`]: documents by key, in one file of redb.
//!
//! A commit is one transaction of redb, which makes it visible whole or not at all. It is on the disk with the next
//! durable one, or when the sink is closed; a crash before that leaves the last durable one, whole. Nothing else is
//! promised, and nothing else is needed: the checkpoint that comes with the documents says from where to fold again.
//!
//! After an error the sink is dropped, and opened anew. After a failed sync that is not enough to be sure of, since the
//! kernel may have forgotten what it could not write and show it all the same; but then a page is missing once the machine
//! has been switched off, the check at the opening finds that, and all is folded again.

pub(crate) mod record;
mod store;

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use nexus_delivery::projection::{Commit, Documents, Kept, Pace, Sink, SinkError};
use nexus_protocol::Position;
use redb::StorageBackend;
use redb::backends::{FileBackend, InMemoryBackend};

use self::store::{Store, builder};
use crate::directory;
use crate::error::of_io;

/// The one file of the directory.
const FILE: &str = "documents.redb";
/// What it is called until it can be opened.
const UNFINISHED_FILE: &str = "documents.redb.new";

/// Documents by key, in one file.
///
/// Dropping it closes the file, also where [`Documents`] of it are held: these then answer
/// [`SinkError::Unavailable`]. It must be dropped before the same directory is opened again.
pub struct KvSink {
    store: Arc<Store>,
    /// Of the last commit.
    next: Position,
}

impl KvSink {
    /// Opens the documents that are kept in a directory, which is made where there is none. All of the file is read and
    /// checked.
    ///
    /// # Errors
    /// [`SinkError::Damaged`] where the file is not what was written: [`remove`](crate::remove) the directory, and fold
    /// again. [`SinkError::Unavailable`] also where somebody else has it open. [`SinkError::Full`] where there is no
    /// room for a new file.
    pub fn open(dir: &Path) -> Result<Self, SinkError> {
        directory::make(dir)?;
        let file = dir.join(FILE);
        let place = file.display().to_string();
        match file.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(dir, &file),
            Err(error) => Err(of_io(place, &error)),
            Ok(_) => {
                directory::keep_name(&file)?;
                Self::new(Store::new(place, false, || Ok(builder().open(&file)?))?)
            }
        }
    }

    /// Makes a new file. It has its name once it can be opened, so that what has the name and cannot be is damaged.
    fn create(dir: &Path, file: &Path) -> Result<Self, SinkError> {
        let unfinished = dir.join(UNFINISHED_FILE);
        let place = unfinished.display().to_string();
        let mut options = File::options();
        let created = options.read(true).write(true).create(true).truncate(true).open(&unfinished);
        let created = created.map_err(|error| of_io(&place, &error))?;
        let store = Store::new(file.display().to_string(), true, || {
            Ok(builder().create_with_backend(FileBackend::new(created)?)?)
        })?;
        directory::rename(&unfinished, file)?;
        Self::new(store)
    }

    /// Documents that are gone when the process is.
    ///
    /// # Errors
    /// None that is known.
    pub fn in_memory() -> Result<Self, SinkError> {
        Self::over(InMemoryBackend::new())
    }

    /// Documents on what keeps bytes, as a disk does: for disks that fail on purpose. It is begun where there are no bytes
    /// yet; until that is done a crash may leave some that cannot be opened.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn over(backend: impl StorageBackend) -> Result<Self, SinkError> {
        let place = "documents".to_owned();
        let is_empty = backend.len().map_err(|error| of_io(&place, &error))? == 0;
        let open = || Ok(builder().create_with_backend(backend)?);
        Self::new(Store::new(place, is_empty, open)?)
    }

    fn new(store: Store) -> Result<Self, SinkError> {
        let next = store.next()?;
        Ok(Self { store: Arc::new(store), next })
    }

    /// Whether a commit that was made is what is found; an error says nothing.
    fn shows(&self, commit: &Commit<'_>) -> bool {
        let is_shown = commit.changed.first().is_none_or(|changed| {
            self.get(&changed.key).map_or(true, |found| found == changed.document)
        });
        is_shown && self.store.next().map_or(true, |next| next == commit.next)
    }
}

impl Drop for KvSink {
    fn drop(&mut self) {
        self.store.close();
    }
}

impl Sink for KvSink {
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SinkError> {
        self.store.checkpoint()
    }

    fn get(&self, key: &str) -> Result<Option<Kept>, SinkError> {
        self.store.document(key)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), SinkError> {
        let (next, last) = (commit.next, self.next);
        assert!(next >= last, "documents that know all before {last} do not go back to {next}");
        self.store.commit(commit)?;
        self.next = next;
        debug_assert!(self.shows(commit), "a commit before {next} is not what is found");
        Ok(())
    }

    fn pace(&self) -> Pace {
        // A commit that need not be durable costs as little as a page or two that are copied in memory, so there is nothing to
        // wait for; one that must be costs a sync.
        Pace { documents_max: 10_000, visible_ms: 0, durable_ms: 1_000, wants_fields: false }
    }

    fn documents(&self) -> Arc<dyn Documents> {
        Arc::clone(&self.store) as Arc<dyn Documents>
    }
}

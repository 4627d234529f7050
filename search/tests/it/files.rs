//! Files in memory for an index, as a file system that is full, or fails at some operation, keeps them: what was written
//! before stays, in part, and what comes after may go through again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, Directory, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite,
    WatchCallback, WatchHandle, WritePtr,
};

/// Something that is done with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// A new file.
    Create,
    Write,
    Flush,
    /// The end of a file, which is synced.
    Terminate,
    /// A file in the place of another, which fails before it is there.
    Replace,
    /// The same, which fails when it is there: its name may not last.
    Keep,
    /// The names of a directory, synced.
    Sync,
    Delete,
    Lock,
    Read,
}

impl Operation {
    pub(crate) const ALL: [Self; 10] = [
        Self::Create,
        Self::Write,
        Self::Flush,
        Self::Terminate,
        Self::Replace,
        Self::Keep,
        Self::Sync,
        Self::Delete,
        Self::Lock,
        Self::Read,
    ];
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    /// So many of them go through before.
    pub(crate) after: u64,
    pub(crate) kind: ErrorKind,
    /// Whether those that follow fail, too.
    pub(crate) lasts: bool,
    /// Only of this file.
    pub(crate) file: Option<&'static str>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Vec<u8>>,
    locked: BTreeSet<PathBuf>,
    /// Bytes that there is room for.
    room: Option<usize>,
    fault: Option<Fault>,
    /// Whether something has failed.
    failed: bool,
    /// Merges stand still at their next new file.
    holds_merges: bool,
    held: usize,
    /// Directories that were synced.
    syncs: u64,
}

impl State {
    fn used(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    fn free(&self) -> usize {
        self.room.map_or(usize::MAX, |room| room.saturating_sub(self.used()))
    }

    fn fail(&mut self, kind: ErrorKind) -> io::Error {
        self.failed = true;
        io::Error::new(kind, "the disk says no")
    }

    /// Whether an operation fails.
    fn check(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        let Some(fault) = &mut self.fault else { return Ok(()) };
        if fault.operation != operation || fault.file.is_some_and(|it| Path::new(it) != path) {
            return Ok(());
        }
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        let (kind, lasts) = (fault.kind, fault.lasts);
        if !lasts {
            self.fault = None;
        }
        Err(self.fail(kind))
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Arc<(Mutex<State>, Condvar)>);

impl Files {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// Waits until something is so.
    fn wait(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        self.0.1.wait_while(self.state(), |state| !until(state)).unwrap()
    }

    /// There is room for so many bytes.
    pub(crate) fn limit(&self, bytes: usize) {
        self.state().room = Some(bytes);
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// Nothing fails any more. Whether something has.
    pub(crate) fn heal(&self) -> bool {
        let mut state = self.state();
        (state.room, state.fault) = (None, None);
        std::mem::take(&mut state.failed)
    }

    /// Bytes of all files.
    pub(crate) fn used(&self) -> usize {
        self.state().used()
    }

    /// Lets merges stand still, or go on.
    pub(crate) fn hold_merges(&self, holds: bool) {
        self.state().holds_merges = holds;
        self.0.1.notify_all();
    }

    /// Waits until a merge stands still.
    pub(crate) fn merge_is_held(&self) {
        drop(self.wait(|state| state.held > 0));
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// How often somebody has them.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Waits until nobody else has them.
    pub(crate) fn is_left(&self) {
        while self.holders() > 1 {
            std::thread::yield_now();
        }
    }

    fn reading(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let mut state = self.state();
        if let Err(error) = state.check(Operation::Read, path) {
            return Err(OpenReadError::wrap_io_error(error, path.to_owned()));
        }
        let bytes = state.files.get(path).cloned();
        bytes.ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }
}

/// A file that is written.
struct Writer {
    files: Files,
    path: PathBuf,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.files.state();
        let failed = state.check(Operation::Write, &self.path);
        let some = match failed {
            Ok(()) => bytes.len().min(state.free()),
            Err(_) => bytes.len() / 2,
        };
        // Where it is gone it is written all the same, to nobody.
        if let Some(file) = state.files.get_mut(&self.path) {
            file.extend_from_slice(&bytes[..some]);
        }
        failed?;
        if some == 0 && !bytes.is_empty() {
            return Err(state.fail(ErrorKind::StorageFull));
        }
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.files.state().check(Operation::Flush, &self.path)
    }
}

impl TerminatingWrite for Writer {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.files.state().check(Operation::Terminate, &self.path)
    }
}

/// What somebody has locked.
struct Locked {
    files: Files,
    path: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.files.state().locked.remove(&self.path);
        self.files.0.1.notify_all();
    }
}

impl Directory for Files {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(OwnedBytes::new(self.reading(path)?)))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let mut state = self.state();
        if let Err(error) = state.check(Operation::Delete, path) {
            return Err(DeleteError::IoError {
                io_error: Arc::new(error),
                filepath: path.to_owned(),
            });
        }
        let removed = state.files.remove(path);
        removed.map(drop).ok_or_else(|| DeleteError::FileDoesNotExist(path.to_owned()))
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.state().files.contains_key(path))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        if std::thread::current().name().is_some_and(|it| it.starts_with("merge")) {
            self.state().held += 1;
            self.0.1.notify_all();
            self.wait(|state| !state.holds_merges).held -= 1;
        }
        let mut state = self.state();
        if state.files.contains_key(path) {
            return Err(OpenWriteError::FileAlreadyExists(path.to_owned()));
        }
        if let Err(error) = state.check(Operation::Create, path) {
            return Err(OpenWriteError::wrap_io_error(error, path.to_owned()));
        }
        state.files.insert(path.to_owned(), Vec::new());
        let writer = Writer { files: self.clone(), path: path.to_owned() };
        Ok(io::BufWriter::new(Box::new(writer)))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.reading(path)
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.check(Operation::Replace, path)?;
        // Both are there until one has the name.
        if data.len() > state.free() {
            return Err(state.fail(ErrorKind::StorageFull));
        }
        state.files.insert(path.to_owned(), data.to_vec());
        state.check(Operation::Keep, path)
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.syncs += 1;
        self.0.1.notify_all();
        state.check(Operation::Sync, Path::new("."))
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        if let Err(error) = self.state().check(Operation::Lock, &lock.filepath) {
            return Err(LockError::IoError(Arc::new(error)));
        }
        let path = &lock.filepath;
        let is_free = |state: &State| !state.locked.contains(path);
        if !lock.is_blocking && !is_free(&self.state()) {
            return Err(LockError::LockBusy);
        }
        self.wait(is_free).locked.insert(path.clone());
        let locked = Locked { files: self.clone(), path: path.clone() };
        Ok(DirectoryLock::from(Box::new(locked)))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

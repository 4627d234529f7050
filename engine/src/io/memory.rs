//! A disk in memory, for logs that need not outlive the process.
//!
//! Names and content are those of a real disk: an open file outlives its name, a rename replaces.
//! Nothing is ever lost but with the last clone of the disk, so every sync succeeds at once. The
//! clocks are the machine's. Log files are held to their alignment here too, so that a bug of the
//! engine shows in the fastest tests and not only on a disk that bypasses the page cache.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use nexus_protocol::Timestamp;

use super::names::{Names, NodeId, last_name};
use super::{
    ALIGNMENT, DirEntry, Disk, DiskError, DiskFile, DiskLock, DiskOperation, DiskResult, FileKind,
    LogWrite, LogWriter, OpenMode, is_aligned,
};

/// A tree of files in memory. A clone is the same disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tree: Mutex<Tree>,
    created: Instant,
}

#[derive(Debug, Default)]
struct Tree {
    names: Names,
    /// By node: what has a name. Open files hold their content themselves.
    files: BTreeMap<NodeId, Arc<RwLock<Content>>>,
    locked: BTreeSet<PathBuf>,
}

impl MemoryDisk {
    /// An empty disk: only the root folder `/` exists.
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared { tree: Mutex::default(), created: Instant::now() }) }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        lock(&self.shared.tree)
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<Arc<RwLock<Content>>> {
        let (node, change) = self.names.plan_open(path, mode)?;
        if let Some(change) = change {
            self.names.apply(&change);
            self.files.insert(node, Arc::default());
        }
        Ok(Arc::clone(self.files.get(&node).expect("every named file has content")))
    }

    fn len_bytes(&self, node: NodeId) -> u64 {
        self.files.get(&node).map_or(0, |content| read(content).len as u64)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        for change in self.names.plan_rename(from, to)? {
            let before = self.names.apply(&change);
            if let (Some(_), Some(replaced)) = (change.target, before) {
                self.files.remove(&replaced.node);
            }
        }
        Ok(())
    }

    fn lock(&mut self, path: &Path) -> io::Result<()> {
        if self.locked.contains(path) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let content = match self.open(path, OpenMode::ReadWrite) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.open(path, OpenMode::Create),
            other => other,
        }?;
        let mut holder = Content::default();
        holder.write(std::process::id().to_string().as_bytes(), 0);
        *content.write().unwrap_or_else(PoisonError::into_inner) = holder;
        self.locked.insert(path.to_owned());
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode, kind: FileKind) -> DiskResult<Arc<dyn DiskFile>> {
        let content = self.tree().open(path, mode).map_err(at(DiskOperation::Open, path))?;
        Ok(Arc::new(MemoryFile {
            path: path.to_owned(),
            content,
            kind,
            writable: mode != OpenMode::Read,
        }))
    }

    fn metadata(&self, path: &Path) -> DiskResult<Option<DirEntry>> {
        let tree = self.tree();
        match tree.names.find(path) {
            Ok(found) => Ok(Some(DirEntry {
                name: last_name(path),
                is_dir: found.is_dir,
                len_bytes: tree.len_bytes(found.node),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::new(DiskOperation::Inspect, path, error)),
        }
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<DirEntry>> {
        let tree = self.tree();
        let folder = tree.names.find_folder(dir).map_err(at(DiskOperation::Inspect, dir))?;
        let entry = |(name, target): (&Arc<str>, super::names::Target)| DirEntry {
            name: name.to_string(),
            is_dir: target.is_dir,
            len_bytes: tree.len_bytes(target.node),
        };
        Ok(tree.names.entries(folder).map(entry).collect())
    }

    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        let mut tree = self.tree();
        let planned = tree.names.plan_create_dir(dir);
        if let Some(change) = planned.map_err(at(DiskOperation::CreateDir, dir))? {
            tree.names.apply(&change);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.tree().rename(from, to).map_err(at(DiskOperation::Rename, from))
    }

    fn remove(&self, path: &Path) -> DiskResult<()> {
        let mut tree = self.tree();
        let change = tree.names.plan_remove(path).map_err(at(DiskOperation::Remove, path))?;
        let removed = tree.names.apply(&change).expect("a planned removal finds its file");
        tree.files.remove(&removed.node);
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> DiskResult<()> {
        let mut tree = self.tree();
        let planned = tree.names.plan_remove_dir(dir);
        tree.names.apply(&planned.map_err(at(DiskOperation::Remove, dir))?);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        self.tree().names.find_folder(dir).map_err(at(DiskOperation::SyncDir, dir))?;
        Ok(())
    }

    fn lock(&self, path: &Path) -> DiskResult<Box<dyn DiskLock>> {
        self.tree().lock(path).map_err(at(DiskOperation::Lock, path))?;
        Ok(Box::new(MemoryLock { disk: self.clone(), path: path.to_owned() }))
    }

    /// As much as a disk can report: memory is bounded by the limits of the engine, not here.
    fn free_bytes(&self, _path: &Path) -> DiskResult<u64> {
        Ok(u64::MAX >> 1)
    }

    fn log_writer(&self) -> DiskResult<Box<dyn LogWriter>> {
        Ok(Box::new(MemoryLogWriter { in_flight: false }))
    }

    fn now(&self) -> Timestamp {
        let micros = |elapsed: Duration| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        })
    }

    #[cfg(target_os = "linux")]
    fn boot_time(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(time).unwrap_or_else(|_| self.shared.created.elapsed())
    }

    #[cfg(not(target_os = "linux"))]
    fn boot_time(&self) -> Duration {
        self.shared.created.elapsed()
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
}

impl DiskLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        assert!(self.disk.tree().locked.remove(&self.path), "a lock is given back once");
    }
}

/// Content in chunks, so that a growing file is never copied as a whole.
#[derive(Debug, Default)]
struct Content {
    /// All full but the last.
    chunks: Vec<Vec<u8>>,
    len: usize,
}

const CHUNK_BYTES: usize = 64 * 1024;
const _: () = assert!(CHUNK_BYTES.is_multiple_of(ALIGNMENT));

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        while self.len < offset {
            let last = self.chunk_at(self.len);
            let missing = offset - self.len;
            let chunk = &mut self.chunks[last];
            let added = missing.min(CHUNK_BYTES - chunk.len());
            chunk.resize(chunk.len() + added, 0);
            self.len += added;
        }
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let within = at % CHUNK_BYTES;
            let (now, later) = rest.split_at(rest.len().min(CHUNK_BYTES - within));
            let index = self.chunk_at(at);
            let chunk = &mut self.chunks[index];
            let over = now.len().min(chunk.len() - within);
            chunk[within..within + over].copy_from_slice(&now[..over]);
            chunk.extend_from_slice(&now[over..]);
            (rest, at) = (later, at + now.len());
        }
        self.len = self.len.max(at);
    }

    /// The index of the chunk that holds `offset`; added where the file ends before it.
    fn chunk_at(&mut self, offset: usize) -> usize {
        let index = offset / CHUNK_BYTES;
        assert!(index <= self.chunks.len(), "chunks are added in order");
        if index == self.chunks.len() {
            self.chunks.push(Vec::new());
        }
        index
    }

    fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let wanted = buffer.len().min(self.len.saturating_sub(offset));
        let mut done = 0;
        while done < wanted {
            let at = offset + done;
            let within = at % CHUNK_BYTES;
            let part = (wanted - done).min(CHUNK_BYTES - within);
            let from = &self.chunks[at / CHUNK_BYTES][within..within + part];
            buffer[done..done + part].copy_from_slice(from);
            done += part;
        }
        wanted
    }
}

#[derive(Debug)]
struct MemoryFile {
    path: PathBuf,
    content: Arc<RwLock<Content>>,
    kind: FileKind,
    writable: bool,
}

impl DiskFile for MemoryFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len_bytes(&self) -> DiskResult<u64> {
        Ok(read(&self.content).len as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> DiskResult<usize> {
        let content = read(&self.content);
        // At the end a disk answers before it looks at the alignment.
        if offset_bytes >= content.len as u64 {
            return Ok(0);
        }
        assert_aligned(self.kind, buffer, offset_bytes);
        Ok(content.read(buffer, in_memory(offset_bytes)))
    }

    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> DiskResult<usize> {
        assert!(self.writable, "{} is open for reading only", self.path.display());
        assert_aligned(self.kind, bytes, offset_bytes);
        let mut content = self.content.write().unwrap_or_else(PoisonError::into_inner);
        content.write(bytes, in_memory(offset_bytes));
        Ok(bytes.len())
    }

    fn sync(&self) -> DiskResult<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Writes at once and keeps that it did.
#[derive(Debug)]
struct MemoryLogWriter {
    in_flight: bool,
}

impl LogWriter for MemoryLogWriter {
    fn depth(&self) -> usize {
        1
    }

    fn submit(&mut self, write: LogWrite) {
        assert!(!self.in_flight, "one write is in flight already");
        let file = write.file.as_any().downcast_ref::<MemoryFile>();
        let file = file.expect("a log writer writes files of its own disk");
        assert_log_write(file.kind, &write, read(&file.content).len as u64);
        let written = file.write_at(&write.bytes, write.offset_bytes);
        assert_eq!(written.ok(), Some(write.bytes.len()), "memory takes every write");
        self.in_flight = true;
    }

    fn complete(&mut self) -> DiskResult<()> {
        assert!(self.in_flight, "no write is in flight");
        self.in_flight = false;
        Ok(())
    }
}

/// Panics when an access to a log file is one that a disk without page cache would refuse.
pub(super) fn assert_aligned(kind: FileKind, bytes: &[u8], offset_bytes: u64) {
    if kind == FileKind::Log {
        assert!(is_aligned(offset_bytes), "offset {offset_bytes} of a log file is not aligned");
        assert!(is_aligned(bytes.len() as u64), "length {} is not aligned", bytes.len());
        assert!(is_aligned(bytes.as_ptr() as u64), "the buffer's address is not aligned");
    }
}

/// Panics when a durable write is not one: of a log file, not empty, inside what the file holds.
pub(super) fn assert_log_write(kind: FileKind, write: &LogWrite, len_bytes: u64) {
    assert_eq!(kind, FileKind::Log, "a log writer writes log files");
    assert!(!write.bytes.is_empty(), "a log write has bytes");
    assert_aligned(kind, &write.bytes, write.offset_bytes);
    let end = write.offset_bytes + write.bytes.len() as u64;
    assert!(end <= len_bytes, "a log write ends at {end}, the file at {len_bytes}");
}

pub(super) fn at(operation: DiskOperation, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |error| DiskError::new(operation, path, error)
}

pub(super) fn in_memory(offset_bytes: u64) -> usize {
    usize::try_from(offset_bytes).expect("a file in memory ends within the address space")
}

/// A panic under the lock is a bug that has been reported already; waiters go on.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(content: &RwLock<Content>) -> std::sync::RwLockReadGuard<'_, Content> {
    content.read().unwrap_or_else(PoisonError::into_inner)
}

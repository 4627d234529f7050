//! What every disk on the host's file system shares: files, folders, names, the lock, the clocks.
//!
//! A backend is a [`HostDisk`] with its own way to write log files durably ([`Backing`]); all else
//! is the same code for all backends, so that a store written through one opens through another.
//!
//! Log files are checked for alignment on every backend, also where the kernel would not mind:
//! an engine that was only ever run on the page cache must not fail on its first direct disk.
//!
//! Names are made durable by the caller ([`Disk::sync_dir`]), never implicitly: a rename that also
//! synced its folder would hide from the simulated disk where the engine forgot to.

use std::any::Any;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nexus_protocol::Timestamp;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::{
    ALIGNMENT, DirEntry, Disk, DiskError, DiskFile, DiskLock, DiskOperation, DiskResult, FileKind,
    LogWrite, LogWriter, OpenMode, is_aligned,
};

/// How the log files of a disk are opened, which decides what a write must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogAccess {
    /// Through the page cache; a write is durable after fdatasync.
    Buffered,
    /// Past the page cache (`O_DIRECT`); a write with `RWF_DSYNC` is durable by itself.
    Direct,
}

/// What distinguishes one host disk from another: how it writes log files durably.
pub trait Backing: fmt::Debug + Send + Sync + 'static {
    /// How log files are opened.
    fn access(&self) -> LogAccess;

    /// The name printed with every figure.
    fn name(&self) -> &'static str;

    /// A writer of log files.
    ///
    /// # Errors
    /// `Setup` when the kernel does not offer what the backend needs.
    fn log_writer(&self) -> DiskResult<Box<dyn LogWriter>>;
}

/// The host's file system, with log files written by `B`.
#[derive(Debug)]
pub struct HostDisk<B> {
    pub(super) backing: B,
}

impl<B: Backing> Disk for HostDisk<B> {
    fn open(&self, path: &Path, mode: OpenMode, kind: FileKind) -> DiskResult<Arc<dyn DiskFile>> {
        let access = match kind {
            FileKind::Plain => None,
            FileKind::Log => Some(self.backing.access()),
        };
        Ok(Arc::new(HostFile::open(path, mode, access)?))
    }

    fn metadata(&self, path: &Path) -> DiskResult<Option<DirEntry>> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DiskError::new(DiskOperation::Inspect, path, error)),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Some(dir_entry(name, &found)))
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<DirEntry>> {
        let failed = |error| DiskError::new(DiskOperation::Inspect, dir, error);
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Follows links, as `metadata` does, so that the two never disagree.
            match fs::metadata(entry.path()) {
                Ok(found) => entries.push(dir_entry(name, &found)),
                // Removed since its name was read, or a link to nothing: it is not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(DiskError::new(DiskOperation::Inspect, &entry.path(), error));
                }
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            other => other.map_err(|error| DiskError::new(DiskOperation::CreateDir, dir, error)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        fs::rename(from, to).map_err(|error| DiskError::new(DiskOperation::Rename, from, error))
    }

    fn remove(&self, path: &Path) -> DiskResult<()> {
        fs::remove_file(path).map_err(|error| DiskError::new(DiskOperation::Remove, path, error))
    }

    fn remove_dir(&self, dir: &Path) -> DiskResult<()> {
        fs::remove_dir(dir).map_err(|error| DiskError::new(DiskOperation::Remove, dir, error))
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        File::open(dir)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| DiskError::new(DiskOperation::SyncDir, dir, error))
    }

    fn lock(&self, path: &Path) -> DiskResult<Box<dyn DiskLock>> {
        Ok(Box::new(HostLock::take(path)?))
    }

    fn lock_to_read(&self, path: &Path) -> DiskResult<Option<Box<dyn DiskLock>>> {
        Ok(HostLock::share(path)?.map(|lock| -> Box<dyn DiskLock> { Box::new(lock) }))
    }

    fn free_bytes(&self, path: &Path) -> DiskResult<u64> {
        let found = rustix::fs::statvfs(path)
            .map_err(|errno| DiskError::new(DiskOperation::Inspect, path, errno.into()))?;
        // What an ordinary user may take; the blocks kept back for root are not ours.
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn log_writer(&self) -> DiskResult<Box<dyn LogWriter>> {
        self.backing.log_writer()
    }

    fn now(&self) -> Timestamp {
        let time = clock_gettime(ClockId::Realtime);
        Timestamp::from_micros(time.tv_sec.saturating_mul(1_000_000) + time.tv_nsec / 1_000)
    }

    fn boot_time(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).expect("the clock from boot starts at 0");
        let nanos = u32::try_from(time.tv_nsec).expect("a second has fewer than 2^32 ns");
        Duration::new(seconds, nanos)
    }

    fn name(&self) -> &'static str {
        self.backing.name()
    }
}

fn dir_entry(name: String, found: &fs::Metadata) -> DirEntry {
    let len_bytes = if found.is_dir() { 0 } else { found.len() };
    DirEntry { name, is_dir: found.is_dir(), len_bytes }
}

/// An open file of the host. Log files remember how they were opened.
#[derive(Debug)]
pub(super) struct HostFile {
    file: File,
    path: PathBuf,
    /// `None` for a plain file.
    access: Option<LogAccess>,
}

impl HostFile {
    fn open(path: &Path, mode: OpenMode, access: Option<LogAccess>) -> DiskResult<Self> {
        let failed = |error| DiskError::new(DiskOperation::Open, path, error);
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::ReadWrite => options.read(true).write(true),
            OpenMode::Create => options.read(true).write(true).create_new(true),
        };
        if access == Some(LogAccess::Direct) {
            options.custom_flags(OFlags::DIRECT.bits().cast_signed());
        }
        let file = match options.open(path) {
            Ok(file) => file,
            Err(error)
                if access == Some(LogAccess::Direct)
                    && error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) =>
            {
                // The kernel creates the name before it finds that the file system cannot do it.
                if mode == OpenMode::Create {
                    let _ = fs::remove_file(path);
                }
                return Err(failed(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "the file system does not support direct input and output (O_DIRECT); use \
                     portable-buffered or uring-linked",
                )));
            }
            Err(error) => return Err(failed(error)),
        };
        // Linux opens a folder for reading without complaint, and refuses only the read.
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self { file, path: path.to_owned(), access })
    }

    /// The file of a log write, checked to be one of a disk with this access.
    ///
    /// # Panics
    /// When the file is of another disk, or the write is not aligned or empty: the caller's bug.
    pub(super) fn of(write: &LogWrite, access: LogAccess) -> &Self {
        let file: &Self =
            write.file.as_any().downcast_ref().expect("a log write names a file of its own disk");
        assert_eq!(file.access, Some(access), "a log write names a log file of its own disk");
        assert!(!write.bytes.is_empty(), "a log write writes something");
        assert_block_aligned(&write.bytes, write.offset_bytes);
        file
    }

    pub(super) fn error(&self, operation: DiskOperation, error: impl Into<io::Error>) -> DiskError {
        DiskError::new(operation, &self.path, error.into())
    }

    /// Whether a log file ends at or before `offset_bytes`, which alone excuses an unaligned read:
    /// a file cut to an odd length ends inside a block, and the read after that is the one that
    /// finds its end.
    fn ends_before(&self, offset_bytes: u64) -> DiskResult<bool> {
        Ok(self.len_bytes()? <= offset_bytes)
    }
}

impl AsFd for HostFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl DiskFile for HostFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len_bytes(&self) -> DiskResult<u64> {
        let found = self.file.metadata();
        found.map(|found| found.len()).map_err(|error| self.error(DiskOperation::Inspect, error))
    }

    fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> DiskResult<usize> {
        if self.access.is_some() && !buffer.is_empty() {
            if !is_aligned(offset_bytes) && self.ends_before(offset_bytes)? {
                return Ok(0);
            }
            assert_block_aligned(buffer, offset_bytes);
        }
        let got = retry(|| self.file.read_at(buffer, offset_bytes))
            .map_err(|error| self.error(DiskOperation::Read, error))?;
        if self.access.is_none() || is_aligned(got as u64) {
            return Ok(got);
        }
        // Part of a block: the file ends there, or a device with smaller blocks failed within it.
        // The latter must not look like the end, so the whole blocks are answered, or the failure.
        if self.ends_before(offset_bytes + got as u64)? {
            return Ok(got);
        }
        match whole_blocks(got) {
            0 => Err(self.error(DiskOperation::Read, Errno::IO)),
            whole => Ok(whole),
        }
    }

    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> DiskResult<usize> {
        if self.access.is_some() && !bytes.is_empty() {
            assert_block_aligned(bytes, offset_bytes);
        }
        let wrote = retry(|| self.file.write_at(bytes, offset_bytes))
            .map_err(|error| self.error(DiskOperation::Write, error))?;
        // A caller goes on after what is answered: at a whole block, or the next write is refused.
        Ok(if self.access.is_some() { whole_blocks(wrote) } else { wrote })
    }

    fn sync(&self) -> DiskResult<()> {
        // fdatasync: it leaves out the times, which nobody reads, and includes the length.
        self.file.sync_data().map_err(|error| self.error(DiskOperation::Sync, error))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `bytes` rounded down to whole blocks.
pub(super) fn whole_blocks(bytes: usize) -> usize {
    bytes - bytes % ALIGNMENT
}

/// Repeats a call that a signal interrupted before it did anything.
pub(super) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn assert_block_aligned(bytes: &[u8], offset_bytes: u64) {
    assert!(is_aligned(offset_bytes), "offset {offset_bytes} of a log file is not aligned");
    assert!(is_aligned(bytes.len() as u64), "length {} of a log file is not aligned", bytes.len());
    assert!(is_aligned(bytes.as_ptr().addr() as u64), "a buffer for a log file is not aligned");
}

/// A lock by `flock`: it belongs to the open file, so a second engine in this process is refused
/// like one in another, and the kernel gives it back when the process dies. (`fcntl` locks belong
/// to the process: a second engine in it would be let in, and closing any other descriptor of the
/// file would give the lock away.)
#[derive(Debug)]
struct HostLock {
    file: File,
}

impl DiskLock for HostLock {}

impl HostLock {
    fn take(path: &Path) -> DiskResult<Self> {
        let failed = |error| DiskError::new(DiskOperation::Lock, path, error);
        // Not truncated on open: it may be another's.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(failed)?;
        // Only for people and for messages: the lock is the flock, so nothing is synced.
        file.set_len(0).map_err(failed)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0).map_err(failed)?;
        Ok(Self { file })
    }

    /// The lock of a reader. A file that may only be read can be locked too, so that those who may
    /// not write the directory are kept from reading it while it is written.
    fn share(path: &Path) -> DiskResult<Option<Self>> {
        let failed = |error| DiskError::new(DiskOperation::Lock, path, error);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        flock(&file, FlockOperation::NonBlockingLockShared).map_err(failed)?;
        Ok(Some(Self { file }))
    }
}

/// Locks an open file; an error says who holds it.
fn flock(file: &File, operation: FlockOperation) -> io::Result<()> {
    match rustix::fs::flock(file, operation) {
        Err(Errno::WOULDBLOCK) => Err(io::Error::new(io::ErrorKind::WouldBlock, held_by(file))),
        done => Ok(done?),
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        // Not left to the close: a child forked meanwhile would share the open file and keep it
        // locked. Closing follows anyway, so a failure changes nothing.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Who holds a lock, for messages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockHolder {
    /// Another engine in this process.
    #[error("it is already open in this process")]
    Us,
    /// That process.
    #[error("it is in use by process {0}")]
    Process(u32),
    /// A process that cannot be named.
    #[error("it is in use by another process")]
    Unknown,
}

/// The kernel's list of locks names readers too, who write nothing into the file. Where it does not
/// (another file system's numbers, another namespace of processes), the file may: it holds the last
/// owner, or is empty while one is about to write.
fn held_by(file: &File) -> LockHolder {
    let mut text = [0; 20];
    let len = file.read_at(&mut text, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(text.get(..len).unwrap_or_default());
    match listed_holder(file).or_else(|| text.trim().parse().ok()) {
        Some(pid) if pid == std::process::id() => LockHolder::Us,
        Some(pid) => LockHolder::Process(pid),
        None => LockHolder::Unknown,
    }
}

/// Who holds a lock by `/proc/locks`, whose lines read
/// `1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`.
fn listed_holder(file: &File) -> Option<u32> {
    let found = rustix::fs::fstat(file).ok()?;
    let (major, minor) = (rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev));
    let wanted = format!("{major:02x}:{minor:02x}:{}", found.st_ino);
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let is_flock = words.next() == Some("FLOCK");
        let pid = words.nth(2)?.parse().ok().filter(|pid| *pid > 0)?;
        (is_flock && words.next() == Some(wanted.as_str())).then_some(pid)
    })
}

#[cfg(test)]
mod tests;

/// Gives this thread a tenth of the share of processor time that others get where they compete for
/// it. A hint: where the system refuses, the thread runs like any other.
pub(crate) fn run_in_background() {
    // On Linux "this process" of setpriority is the calling thread.
    let _ = rustix::process::setpriority_process(None, 10);
}

//! All access to storage, and to the clocks: the [`Disk`] trait.
//!
//! Everything the engine keeps goes through this trait, so that the same engine runs on a real
//! disk, in memory, and on a simulated disk that tears, reorders, loses, and corrupts. Nothing
//! outside this folder opens a file of the log.
//!
//! Two kinds of file, because they have two kinds of need:
//! - **plain** files (manifest, node-state, index files, rewritten segments): ordinary offsets,
//!   durable after [`DiskFile::sync`];
//! - **log** files (segments that are written): every offset, length, and buffer is a multiple of
//!   [`ALIGNMENT`], so that a disk may bypass the page cache. They are written by a [`LogWriter`],
//!   whose completion means durable.
//!
//! What an implementation promises, and what the simulated disk holds the engine to:
//! - a write is durable only when a later `sync` of that file returned success, or, for a
//!   [`LogWriter`], when its completion returned success; until then any part of it may be on the
//!   disk after a crash, in any order with other writes;
//! - a created, renamed, or removed name is durable only after [`Disk::sync_dir`] of its folder;
//! - a failed sync may have dropped what it was asked to write: it is never retried (I7).

#![expect(clippy::disallowed_methods, reason = "the one place where files and clocks are met")]

#[cfg(target_os = "linux")]
mod auto;
#[cfg(target_os = "linux")]
mod backend;
mod buffer;
#[cfg(target_os = "linux")]
mod choose;
mod error;
#[cfg(target_os = "linux")]
mod files;
mod memory;
mod names;
#[cfg(target_os = "linux")]
mod portable;
#[cfg(target_os = "linux")]
pub mod raw;
#[cfg(feature = "testing")]
pub mod sim;
#[cfg(target_os = "linux")]
mod uring;

#[cfg(target_os = "linux")]
pub use auto::{DISK_FILE, auto_disk, remeasure};
#[cfg(target_os = "linux")]
pub use backend::{Backend, BackendError, open_disk};
pub use buffer::{ALIGNMENT, AlignedBuffer, align_up, is_aligned};
#[cfg(target_os = "linux")]
pub use choose::{Choice, Effort, Measurement, choose, measure};
pub use error::{DiskError, DiskOperation, DiskResult};
#[cfg(target_os = "linux")]
pub use files::{Backing, HostDisk, LogAccess};
#[cfg(target_os = "linux")]
pub(crate) use files::{LockHolder, run_in_background};
pub use memory::MemoryDisk;
#[cfg(target_os = "linux")]
pub use portable::{Portable, PortableDisk};
#[cfg(feature = "testing")]
pub use sim::SimDisk;
#[cfg(target_os = "linux")]
pub use uring::{DEPTH_MAX, Uring, UringDisk};

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nexus_protocol::Timestamp;

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    ReadWrite,
    /// For reading and writing; it must not exist and is created empty.
    Create,
}

/// What a file is used for; see the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Any offset and length; durable after `sync`.
    Plain,
    /// Aligned offsets, lengths, and buffers only; the disk may bypass the page cache.
    Log,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without its folder. Names that are not UTF-8 are not ours and are left out.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Length in bytes; 0 for a folder.
    pub len_bytes: u64,
}

/// A lock held on a data directory; dropping it gives it back.
pub trait DiskLock: fmt::Debug + Send + Sync {}

/// Storage and clocks.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens or creates a file.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `PermissionDenied`, `StorageFull`, or any other of the system's.
    fn open(&self, path: &Path, mode: OpenMode, kind: FileKind) -> DiskResult<Arc<dyn DiskFile>>;

    /// What stands at `path`: `None` where nothing does.
    ///
    /// # Errors
    /// When the folder cannot be searched.
    fn metadata(&self, path: &Path) -> DiskResult<Option<DirEntry>>;

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// `NotFound`, or `NotADirectory` when it is a file.
    fn list(&self, dir: &Path) -> DiskResult<Vec<DirEntry>>;

    /// Creates one folder; its parent must exist. A folder that exists already is no error.
    ///
    /// # Errors
    /// `NotFound` for the parent, `AlreadyExists` when a file stands there.
    fn create_dir(&self, dir: &Path) -> DiskResult<()>;

    /// Renames a file or folder, replacing a file that stands at `to`.
    ///
    /// # Errors
    /// As the system's.
    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` or as the system's.
    fn remove(&self, path: &Path) -> DiskResult<()>;

    /// Removes a folder that is empty.
    ///
    /// # Errors
    /// `NotFound`, `DirectoryNotEmpty`, or as the system's.
    fn remove_dir(&self, dir: &Path) -> DiskResult<()>;

    /// Makes created, renamed, and removed names of a folder durable.
    ///
    /// # Errors
    /// As the system's.
    fn sync_dir(&self, dir: &Path) -> DiskResult<()>;

    /// Takes the exclusive lock of a data directory at the lock file `path`, without waiting. The
    /// file is created where it is missing and holds the process id of its owner as text.
    ///
    /// # Errors
    /// `WouldBlock` while another process, or another engine in this one, holds it.
    fn lock(&self, path: &Path) -> DiskResult<Box<dyn DiskLock>>;

    /// Keeps owners out while the directory is read, without waiting and without writing: readers do
    /// not exclude each other. `None` where there is no lock file, and so nobody who has it.
    ///
    /// # Errors
    /// `WouldBlock` while an owner holds it, `PermissionDenied` where the file may not be read.
    fn lock_to_read(&self, path: &Path) -> DiskResult<Option<Box<dyn DiskLock>>> {
        self.lock(path).map(Some)
    }

    /// Bytes that can still be written below `path`.
    ///
    /// # Errors
    /// As the system's.
    fn free_bytes(&self, path: &Path) -> DiskResult<u64>;

    /// A writer of log files, owned by one log. Up to its depth of writes are in flight.
    ///
    /// # Errors
    /// When the backend cannot be set up (for example no io_uring).
    fn log_writer(&self) -> DiskResult<Box<dyn LogWriter>>;

    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// The clock that counts from boot, suspend included, and is never set.
    fn boot_time(&self) -> Duration;

    /// The name printed with every figure, as in `portable-direct` or `uring-direct`.
    fn name(&self) -> &'static str;
}

/// An open file. Every method may be called from any thread.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// The path it was opened at.
    fn path(&self) -> &Path;

    /// Its length in bytes.
    ///
    /// # Errors
    /// As the system's.
    fn len_bytes(&self) -> DiskResult<u64>;

    /// Reads at an offset; may read less than asked, and 0 only at the end or for an empty buffer.
    /// Of a log file, offset and length must be aligned, and the buffer an [`AlignedBuffer`]'s.
    ///
    /// # Errors
    /// As the system's: EIO where the medium is bad.
    fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> DiskResult<usize>;

    /// Writes at an offset, extending the file where needed; may write less than asked. Of a log
    /// file, offset and length must be aligned, and the buffer an [`AlignedBuffer`]'s.
    ///
    /// # Errors
    /// `StorageFull`, EIO, or any other of the system's.
    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> DiskResult<usize>;

    /// Makes all completed writes, and the length, durable.
    ///
    /// # Errors
    /// Then what was written may be lost, now or at the next crash, whatever a later sync says.
    fn sync(&self) -> DiskResult<()>;

    /// For a disk to recognise its own files.
    fn as_any(&self) -> &dyn Any;
}

/// One durable write of a log file.
#[derive(Debug)]
pub struct LogWrite {
    /// A log file of the same disk.
    pub file: Arc<dyn DiskFile>,
    /// Where to: a multiple of [`ALIGNMENT`], inside what the file already holds.
    pub offset_bytes: u64,
    /// What: an [`AlignedBuffer`]'s bytes, a multiple of [`ALIGNMENT`] long.
    pub bytes: Bytes,
}

/// Writes log files durably, in order, with a few writes in flight.
pub trait LogWriter: fmt::Debug + Send {
    /// How many writes may be in flight: 1 to 8.
    fn depth(&self) -> usize;

    /// Starts a write. A disk without asynchronous writes does it here, and keeps the outcome for
    /// [`LogWriter::complete`].
    ///
    /// # Panics
    /// When `depth` writes are in flight already: the caller's bug.
    fn submit(&mut self, write: LogWrite);

    /// Waits for the oldest write in flight. Success means: all of it written **and** durable. A
    /// short write is completed inside, by a further write and sync.
    ///
    /// # Errors
    /// The write or its sync failed: the log is poisoned (I7).
    ///
    /// # Panics
    /// When nothing is in flight: the caller's bug.
    fn complete(&mut self) -> DiskResult<()>;
}

/// Fills `buffer` from `offset_bytes` on.
///
/// # Errors
/// As the disk's, and `UnexpectedEof` where the file ends before.
pub fn read_exact_at(file: &dyn DiskFile, buffer: &mut [u8], offset_bytes: u64) -> DiskResult<()> {
    let got = read_full_at(file, buffer, offset_bytes)?;
    if got < buffer.len() {
        return Err(DiskError::new(
            DiskOperation::Read,
            file.path(),
            std::io::ErrorKind::UnexpectedEof.into(),
        ));
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends; answers how much was read.
///
/// # Errors
/// As the disk's.
pub fn read_full_at(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    offset_bytes: u64,
) -> DiskResult<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset_bytes + done as u64)? {
            0 => break,
            n => done += n,
        }
        assert!(done <= buffer.len(), "a disk reads no more than it was asked for");
    }
    Ok(done)
}

/// Writes all of `bytes` at `offset_bytes`; not durable until `sync`.
///
/// # Errors
/// As the disk's; `WriteZero` when the disk takes nothing.
pub fn write_all_at(file: &dyn DiskFile, bytes: &[u8], offset_bytes: u64) -> DiskResult<()> {
    write_in_steps(file, bytes, offset_bytes, 1)
}

/// Writes all of `bytes`, which are whole blocks, to a log file; not durable until `sync`. A short
/// write goes on at the block it stopped in.
pub(crate) fn write_blocks_at(
    file: &dyn DiskFile,
    bytes: &[u8],
    offset_bytes: u64,
) -> DiskResult<()> {
    write_in_steps(file, bytes, offset_bytes, ALIGNMENT)
}

fn write_in_steps(
    file: &dyn DiskFile,
    bytes: &[u8],
    offset_bytes: u64,
    step_bytes: usize,
) -> DiskResult<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset_bytes + done as u64)? {
            0 => {
                return Err(DiskError::new(
                    DiskOperation::Write,
                    file.path(),
                    std::io::ErrorKind::WriteZero.into(),
                ));
            }
            n => done += n,
        }
        assert!(done <= bytes.len(), "a disk writes no more than it was given");
        done -= if done < bytes.len() { done % step_bytes } else { 0 };
    }
    Ok(())
}

/// The whole of a plain file, refused above `bytes_max`.
///
/// # Errors
/// As the disk's; `FileTooLarge` above the limit.
pub fn read_file(disk: &dyn Disk, path: &Path, bytes_max: u64) -> DiskResult<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read, FileKind::Plain)?;
    let len = file.len_bytes()?;
    let Some(len) = usize::try_from(len).ok().filter(|_| len <= bytes_max) else {
        return Err(DiskError::new(
            DiskOperation::Read,
            path,
            std::io::ErrorKind::FileTooLarge.into(),
        ));
    };
    let mut bytes = vec![0; len];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

/// Puts `bytes` at `path` so that after a crash either the old or the new content stands there:
/// write beside, sync, rename, sync the folder.
///
/// # Errors
/// As the disk's. After an error of the last step either content may be found.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> DiskResult<()> {
    if crate::planted::is("manifest-in-place") && disk.metadata(path)?.is_some() {
        let file = disk.open(path, OpenMode::ReadWrite, FileKind::Plain)?;
        write_all_at(&*file, bytes, 0)?;
        return file.sync();
    }
    let beside = beside(path);
    if disk.metadata(&beside)?.is_some() {
        disk.remove(&beside)?;
    }
    let file = disk.open(&beside, OpenMode::Create, FileKind::Plain)?;
    write_all_at(&*file, bytes, 0)?;
    file.sync()?;
    disk.rename(&beside, path)?;
    match path.parent() {
        Some(dir) if !crate::planted::is("no-directory-sync") => disk.sync_dir(dir),
        _ => Ok(()),
    }
}

/// The name that a file is written under before it replaces `path`.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

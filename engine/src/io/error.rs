//! What a disk answers when it cannot.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Shorthand for what disks answer.
pub type DiskResult<T> = Result<T, DiskError>;

/// What was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOperation {
    /// Open or create a file.
    Open,
    /// Ask for length, kind, names, or free space.
    Inspect,
    /// Create a folder.
    CreateDir,
    /// Read bytes.
    Read,
    /// Write bytes.
    Write,
    /// Make bytes durable.
    Sync,
    /// Make names durable.
    SyncDir,
    /// Rename.
    Rename,
    /// Remove.
    Remove,
    /// Take the lock of a directory.
    Lock,
    /// Set up a writer.
    Setup,
}

impl fmt::Display for DiskOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Inspect => "inspect",
            Self::CreateDir => "create folder",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SyncDir => "sync folder",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Lock => "lock",
            Self::Setup => "set up writer for",
        })
    }
}

/// An operation on the disk failed. Cheap to clone: a failed sync has many waiters.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct DiskError {
    /// What was asked.
    pub operation: DiskOperation,
    /// Of which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: Arc<io::Error>,
}

impl DiskError {
    /// An error of `operation` at `path`.
    pub fn new(operation: DiskOperation, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source: Arc::new(source) }
    }

    /// The system's class of error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether space ran out: the one failure of a write that passes by itself.
    pub fn is_full(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

//! What was done to a simulated disk, in order: enough to do it again on a copy of what it began
//! with, and to stop anywhere on the way.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::Settings;
use super::image::Image;
use crate::io::DiskOperation;
use crate::io::names::NodeId;

/// A file, whatever it is called now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(super) NodeId);

/// A log write from its submission to its completion. Numbers grow in order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub(super) u64);

/// How a sync, or the sync inside a log write, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    /// What was written is durable.
    Succeeded,
    /// It failed, and what was written is gone: reads show what was there before.
    Dropped,
    /// It failed, reads still show what was written, but no later sync will bring it to the medium;
    /// some of it may have got there.
    Abandoned,
}

/// One operation that changed the disk, or was refused. Reads are only counted.
#[derive(Clone, Debug)]
pub enum TraceOp {
    /// A file was created, empty.
    Create {
        /// Its path.
        path: Arc<Path>,
        /// The file.
        file: FileId,
    },
    /// A folder was created.
    CreateDir {
        /// Its path.
        path: Arc<Path>,
    },
    /// A lock file was taken; it is created where it is missing, and is durable at once so that it
    /// does not double every crash state.
    Lock {
        /// Its path.
        path: Arc<Path>,
    },
    /// Bytes were written, not yet durable.
    Write {
        /// The file.
        file: FileId,
        /// The path it was opened at.
        path: Arc<Path>,
        /// Where the bytes went, which is not where they should have gone if misdirected.
        offset_bytes: u64,
        /// What was taken, which may be less than what was offered.
        bytes: Bytes,
    },
    /// A file was synced.
    Sync {
        /// The file.
        file: FileId,
        /// The path it was opened at.
        path: Arc<Path>,
        /// How it ended.
        outcome: SyncOutcome,
    },
    /// A log write started.
    LogSubmit {
        /// The write.
        write: WriteId,
        /// The file.
        file: FileId,
        /// The path it was opened at.
        path: Arc<Path>,
        /// Where the bytes went, which is not where they should have gone if misdirected.
        offset_bytes: u64,
        /// What is written.
        bytes: Bytes,
    },
    /// A log write ended.
    LogComplete {
        /// The write.
        write: WriteId,
        /// The file.
        file: FileId,
        /// The path it was opened at.
        path: Arc<Path>,
        /// How it ended. A write that failed before its sync is dropped: reads do not show it.
        outcome: SyncOutcome,
    },
    /// A name changed.
    Rename {
        /// The old path.
        from: Arc<Path>,
        /// The new path.
        to: Arc<Path>,
    },
    /// A file lost its name.
    Remove {
        /// The path.
        path: Arc<Path>,
    },
    /// An empty folder lost its name.
    RemoveDir {
        /// The path.
        path: Arc<Path>,
    },
    /// The names of a folder were made durable.
    SyncDir {
        /// The folder.
        path: Arc<Path>,
    },
    /// An operation failed and changed nothing.
    Failed {
        /// What was asked.
        operation: DiskOperation,
        /// Of what.
        path: Arc<Path>,
    },
    /// A test damaged the medium.
    Damage(Damage),
}

/// Harm done by a test behind the engine's back; durable at once.
#[derive(Clone, Debug)]
pub enum Damage {
    /// Bytes were replaced.
    Overwrite {
        /// The file's path.
        path: Arc<Path>,
        /// Where.
        offset_bytes: u64,
        /// By what.
        bytes: Bytes,
    },
    /// The end of a file was cut off.
    Truncate {
        /// The file's path.
        path: Arc<Path>,
        /// What is left.
        len_bytes: u64,
    },
    /// A file vanished.
    Remove {
        /// The file's path.
        path: Arc<Path>,
    },
    /// Two files have each other's content.
    Swap {
        /// One.
        one: Arc<Path>,
        /// The other.
        other: Arc<Path>,
    },
}

impl fmt::Display for TraceOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { path, .. } => write!(f, "create {}", path.display()),
            Self::CreateDir { path } => write!(f, "create folder {}", path.display()),
            Self::Lock { path } => write!(f, "lock {}", path.display()),
            Self::Write { path, offset_bytes, bytes, .. } => {
                write!(f, "write {} {offset_bytes}+{}", path.display(), bytes.len())
            }
            Self::Sync { path, outcome, .. } => write!(f, "sync {}: {outcome:?}", path.display()),
            Self::LogSubmit { write, path, offset_bytes, bytes, .. } => {
                let (path, len) = (path.display(), bytes.len());
                write!(f, "submit #{} {path} {offset_bytes}+{len}", write.0)
            }
            Self::LogComplete { write, path, outcome, .. } => {
                write!(f, "complete #{} {}: {outcome:?}", write.0, path.display())
            }
            Self::Rename { from, to } => {
                write!(f, "rename {} to {}", from.display(), to.display())
            }
            Self::Remove { path } => write!(f, "remove {}", path.display()),
            Self::RemoveDir { path } => write!(f, "remove folder {}", path.display()),
            Self::SyncDir { path } => write!(f, "sync folder {}", path.display()),
            Self::Failed { operation, path } => {
                write!(f, "failed to {operation} {}", path.display())
            }
            Self::Damage(damage) => write!(f, "{damage}"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overwrite { path, offset_bytes, bytes } => {
                write!(f, "damage {} {offset_bytes}+{}", path.display(), bytes.len())
            }
            Self::Truncate { path, len_bytes } => {
                write!(f, "cut {} to {len_bytes}", path.display())
            }
            Self::Remove { path } => write!(f, "lose {}", path.display()),
            Self::Swap { one, other } => write!(f, "swap {}, {}", one.display(), other.display()),
        }
    }
}

/// Every operation of a workload, from the image that it began with.
#[derive(Clone, Debug)]
pub struct Trace {
    pub(super) baseline: Image,
    pub(super) ops: Vec<TraceOp>,
    pub(super) read_count: u64,
    /// Those of the disk at the end, for the disks that crashes leave behind.
    pub(super) settings: Settings,
}

impl Trace {
    /// The operations, in order.
    pub fn ops(&self) -> &[TraceOp] {
        &self.ops
    }

    /// How many reads there were.
    pub fn read_count(&self) -> u64 {
        self.read_count
    }
}

//! Errors of opening and keeping a log. Those of appends and reads are the protocol's.

use std::path::{Path, PathBuf};

use nexus_protocol::{Corruption, CorruptionKind, InvalidName};

use crate::io::DiskError;

/// What goes wrong with the files of a log.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes are not what was written.
    #[error(transparent)]
    Corrupt(Box<Corruption>),
    /// A later version wrote it.
    #[error("a newer Nexus wrote {what}")]
    NewerFormat {
        /// The format's version, or the lowest that it can be.
        version: u32,
        /// What says so, and where it stands.
        what: String,
    },
}

impl LogError {
    /// Damage at a place of a file.
    pub(crate) fn corrupt(path: &Path, offset_bytes: u64, kind: CorruptionKind) -> Self {
        Self::Corrupt(Box::new(corruption(path, offset_bytes, kind)))
    }

    /// As damage: a disk that cannot read is no better than one that reads wrong.
    pub(crate) fn into_corruption(self, path: &Path, offset_bytes: u64) -> Corruption {
        match self {
            Self::Corrupt(corruption) => *corruption,
            other => corruption(path, offset_bytes, CorruptionKind::Unreadable(describe(&other))),
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Damage at a place of a file.
pub(crate) fn corruption(path: &Path, offset_bytes: u64, kind: CorruptionKind) -> Corruption {
    Corruption { file: path.display().to_string(), offset_bytes, kind }
}

/// Why a data directory cannot be opened. Each says what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another engine in this one, has it open.
    #[error(
        "{} is open in another process{owner}: stop that one, or use another directory",
        dir.display()
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// ` (process N)` where it is known.
        owner: String,
    },
    /// A later version of Nexus wrote it. Nothing was touched.
    #[error(
        "{} was written by a newer Nexus ({what}; this one reads up to format {known}): \
         use that version, nothing was changed",
        dir.display()
    )]
    NewerFormat {
        /// The data directory.
        dir: PathBuf,
        /// What says so: the manifest's format, or something in a segment, and where it stands.
        what: String,
        /// Its format, or the lowest that it can be.
        version: u32,
        /// The newest this engine reads.
        known: u32,
    },
    /// Acknowledged bytes are damaged or missing. Nothing was cut or changed.
    #[error("{corruption}; nothing was changed: {}", remedy_of_damage(corruption))]
    Corrupt {
        /// What is damaged.
        corruption: Box<Corruption>,
    },
    /// Both slots of node-state are bad, or it is older than the log: what this node voted is unknown.
    #[error(
        "{corruption}; what this node promised to others is lost: put node-state back from a copy, \
         read what is there with `nexus export`, or, on a node that stands alone, go on without it \
         by `nexus node-state reset` (in a program, `Options::reset_node_state`)"
    )]
    NodeState {
        /// What is damaged.
        corruption: Box<Corruption>,
    },
    /// Nothing is there and nothing was to be created.
    #[error("{} holds no Nexus data: check the path", dir.display())]
    NotFound {
        /// The data directory.
        dir: PathBuf,
    },
    /// The directory holds something, and no log: it is somebody else's.
    #[error(
        "{} holds no Nexus data, but other things ({holds:?}, for one): name a directory that is \
         empty, or not there yet",
        dir.display()
    )]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// The name of something in it.
        holds: String,
    },
    /// A file stands where the directory should be.
    #[error("{} is a file: name a directory", dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// The engine was closed.
    #[error("the engine was closed: open the directory again")]
    Closed,
    /// A name or option that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The disk said no.
    #[error("{}{}", describe(.0), remedy(.0))]
    Disk(DiskError),
}

fn remedy_of_damage(corruption: &Corruption) -> &'static str {
    // Without the list of segments nothing can be read, not even around the damage.
    match corruption.file.ends_with(crate::manifest::MANIFEST_FILE) {
        true => "put the directory back from a copy; the list of segments is never guessed",
        false => {
            "put the file or the directory back from a copy, or read what is undamaged with \
             `nexus export`"
        }
    }
}

fn remedy(error: &DiskError) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::PermissionDenied => ": check the owner and mode of the directory",
        ErrorKind::ReadOnlyFilesystem => ": open it with `read_only`, or mount it for writing",
        ErrorKind::NotADirectory => ": a part of the path is a file: name a directory",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ": free some space first",
        _ => "",
    }
}

impl OpenError {
    /// From an error of the log's files.
    pub(crate) fn from_log(error: LogError, dir: &Path) -> Self {
        match error {
            LogError::Disk(error) => Self::Disk(error),
            LogError::NewerFormat { version, what } => Self::NewerFormat {
                dir: dir.to_owned(),
                what,
                version,
                known: crate::manifest::FORMAT_VERSION,
            },
            LogError::Corrupt(corruption) => {
                let node_state = corruption.file.ends_with(crate::node_state::NODE_STATE_FILE)
                    && !matches!(corruption.kind, CorruptionKind::Foreign(_));
                if node_state {
                    Self::NodeState { corruption }
                } else {
                    Self::Corrupt { corruption }
                }
            }
        }
    }
}

impl From<InvalidName> for OpenError {
    fn from(name: InvalidName) -> Self {
        Self::Invalid(name.to_string())
    }
}

impl From<DiskError> for OpenError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

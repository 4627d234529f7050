//! The disks by name, as options, `nexus doctor`, and the file `disk.json` spell them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{DEPTH_MAX, Disk, DiskResult, PortableDisk, UringDisk};

/// A way to write log files durably on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// `portable-buffered`: pwrite, then fdatasync. Works everywhere.
    PortableBuffered,
    /// `portable-direct`: `O_DIRECT` and `RWF_DSYNC`, one write at a time.
    PortableDirect,
    /// `uring-linked`: a write and an fdatasync linked behind it, by io_uring.
    UringLinked,
    /// `uring-direct:N`: `O_DIRECT` and `RWF_DSYNC` by io_uring, several at once.
    UringDirect {
        /// Writes in flight, 1 to [`DEPTH_MAX`].
        depth: usize,
    },
}

impl Backend {
    /// The depth of `uring-direct` where none is named.
    pub const DEPTH_DEFAULT: usize = 4;

    /// How many writes the backend has in flight, 1 to [`DEPTH_MAX`].
    pub const fn depth(self) -> usize {
        match self {
            Self::PortableBuffered | Self::PortableDirect | Self::UringLinked => 1,
            Self::UringDirect { depth } => depth,
        }
    }

    /// Whether log files bypass the page cache.
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::PortableDirect | Self::UringDirect { .. })
    }

    /// Whether it needs io_uring.
    pub const fn is_uring(self) -> bool {
        matches!(self, Self::UringLinked | Self::UringDirect { .. })
    }
}

impl fmt::Display for Backend {
    /// Writes the name, with the depth where there is a choice of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortableBuffered => f.pad("portable-buffered"),
            Self::PortableDirect => f.pad("portable-direct"),
            Self::UringLinked => f.pad("uring-linked"),
            Self::UringDirect { depth } => f.pad(&format!("uring-direct:{depth}")),
        }
    }
}

/// A text is not the name of a disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a disk: write portable-buffered, portable-direct, uring-linked, uring-direct, \
     or uring-direct:N with N from 1 to {DEPTH_MAX}"
)]
pub struct BackendError {
    /// The text that was refused, at most 64 characters of it.
    pub text: String,
}

impl FromStr for Backend {
    type Err = BackendError;

    /// Parses a name; `uring-direct` alone has a depth of [`Backend::DEPTH_DEFAULT`].
    fn from_str(text: &str) -> Result<Self, BackendError> {
        let refused = || BackendError { text: text.chars().take(64).collect() };
        match text {
            "portable-buffered" => Ok(Self::PortableBuffered),
            "portable-direct" => Ok(Self::PortableDirect),
            "uring-linked" => Ok(Self::UringLinked),
            "uring-direct" => Ok(Self::UringDirect { depth: Self::DEPTH_DEFAULT }),
            _ => text
                .strip_prefix("uring-direct:")
                .and_then(|depth| depth.parse().ok())
                .filter(|depth| (1..=DEPTH_MAX).contains(depth))
                .map(|depth| Self::UringDirect { depth })
                .ok_or_else(refused),
        }
    }
}

/// The disk of that name, proven to be set up on this kernel. Whether a file system can do direct
/// writes shows only when a log file is opened there: see [`auto_disk`](super::auto_disk).
///
/// # Errors
/// `Setup` where the kernel has no io_uring, or forbids it to this process.
///
/// # Panics
/// When the depth is not 1 to [`DEPTH_MAX`].
pub fn open_disk(backend: Backend) -> DiskResult<Arc<dyn Disk>> {
    let disk: Arc<dyn Disk> = match backend {
        Backend::PortableBuffered => Arc::new(PortableDisk::buffered()),
        Backend::PortableDirect => Arc::new(PortableDisk::direct()),
        Backend::UringLinked => Arc::new(UringDisk::linked()),
        Backend::UringDirect { depth } => Arc::new(UringDisk::direct(depth)),
    };
    drop(disk.log_writer()?);
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print_alike() {
        for (text, printed) in [
            ("portable-buffered", "portable-buffered"),
            ("portable-direct", "portable-direct"),
            ("uring-linked", "uring-linked"),
            ("uring-direct", "uring-direct:4"),
            ("uring-direct:1", "uring-direct:1"),
            ("uring-direct:8", "uring-direct:8"),
        ] {
            let backend: Backend = text.parse().unwrap();
            assert_eq!(backend.to_string(), printed);
            match open_disk(backend) {
                Ok(disk) => {
                    assert_eq!(disk.name(), printed);
                    assert_eq!(disk.log_writer().unwrap().depth(), backend.depth());
                }
                Err(error) => println!("skipped {backend}: {error}: {}", error.source),
            }
        }
        for text in ["", "direct", "uring-direct:", "uring-direct:0", "uring-direct:9"] {
            assert_eq!(text.parse::<Backend>(), Err(BackendError { text: text.to_owned() }));
        }
    }
}

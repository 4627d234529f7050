//! How a data directory is opened.

use std::path::Path;
use std::sync::Arc;

use nexus_protocol::limits::{
    DATA_BYTES_DEFAULT, DATA_BYTES_MAX, FRAME_BYTES_TARGET, FRAMES_KEPT_BYTES, QUEUE_APPENDS_MAX,
    QUEUE_WAIT_MS, SEGMENT_BYTES_FIRST, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};

use crate::engine::Engine;
use crate::error::OpenError;
use crate::io::{ALIGNMENT, Backend, Disk};

const _: () = assert!(
    SEGMENT_BYTES_MAX.is_multiple_of(ALIGNMENT as u64),
    "what is rounded up is no larger than the largest"
);

/// Options of [`Engine::options`]. The defaults are right for most.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use nexus_engine::Engine;
/// let engine = Engine::options().data_bytes_max(4 * 1024 * 1024).open(dir.path())?;
/// engine.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) read_only: bool,
    pub(crate) damaged: bool,
    pub(crate) create: bool,
    pub(crate) reset_node_state: bool,
    pub(crate) backend: Option<Backend>,
    pub(crate) data_bytes_max: usize,
    pub(crate) segment_bytes_first: u64,
    pub(crate) segment_bytes_max: u64,
    pub(crate) frame_bytes: usize,
    pub(crate) queue_appends_max: usize,
    pub(crate) queue_wait_ms: u64,
    pub(crate) compress: bool,
    pub(crate) frames_kept_bytes: u64,
    pub(crate) threads: bool,
    pub(crate) disk: Option<Arc<dyn Disk>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only: false,
            damaged: false,
            create: true,
            reset_node_state: false,
            backend: None,
            data_bytes_max: DATA_BYTES_DEFAULT,
            segment_bytes_first: SEGMENT_BYTES_FIRST,
            segment_bytes_max: SEGMENT_BYTES_MAX,
            frame_bytes: FRAME_BYTES_TARGET,
            queue_appends_max: QUEUE_APPENDS_MAX,
            queue_wait_ms: QUEUE_WAIT_MS,
            compress: true,
            frames_kept_bytes: FRAMES_KEPT_BYTES,
            threads: true,
            disk: None,
        }
    }
}

impl Options {
    /// Opens for reading only: nothing is written, not even a recovery.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Opens a damaged directory for reading what is left: every read that meets damage says where
    /// it is and where to go on. Implies `read_only`.
    #[must_use]
    pub fn damaged(mut self, damaged: bool) -> Self {
        self.damaged = damaged;
        self.read_only |= damaged;
        self
    }

    /// Whether an empty or missing directory is made a new log. Default: yes.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Goes on without a node-state that can be read, or with one that is older than the log. Only for
    /// a node that stands alone: what it promised to others is forgotten, and the end of the log is
    /// taken as it is found.
    #[must_use]
    pub fn reset_node_state(mut self, reset: bool) -> Self {
        self.reset_node_state = reset;
        self
    }

    /// How the disk is written. Default: what was measured to be best on this disk.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Largest data of one event, in bytes: up to 16 MiB. Default: 1 MiB.
    #[must_use]
    pub fn data_bytes_max(mut self, bytes: usize) -> Self {
        self.data_bytes_max = bytes.clamp(1, DATA_BYTES_MAX);
        self
    }

    /// Size of the first segment and of the largest, in bytes: 64 KiB to 256 MiB. Segments double in
    /// between. What is no multiple of 4,096 is rounded up to one. Default: 1 MiB and 256 MiB.
    #[must_use]
    pub fn segment_bytes(mut self, first: u64, largest: u64) -> Self {
        let in_blocks = |bytes: u64, max: u64| {
            bytes.clamp(SEGMENT_BYTES_MIN, max).next_multiple_of(ALIGNMENT as u64)
        };
        self.segment_bytes_max = in_blocks(largest, SEGMENT_BYTES_MAX);
        self.segment_bytes_first = in_blocks(first, self.segment_bytes_max);
        self
    }

    /// A frame aims at so many bytes at most. Default: 4 MiB. Smaller ones are for tests.
    #[must_use]
    pub fn frame_bytes(mut self, bytes: usize) -> Self {
        self.frame_bytes = bytes.clamp(1, FRAME_BYTES_TARGET);
        self
    }

    /// How many appends may wait, and how long one waits for a place, in milliseconds. Default:
    /// 16,384 and 5,000.
    #[must_use]
    pub fn queue(mut self, appends_max: usize, wait_ms: u64) -> Self {
        self.queue_appends_max = appends_max;
        self.queue_wait_ms = wait_ms;
        self
    }

    /// Whether old sealed segments are rewritten into compressed blocks in the background. Default:
    /// yes.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// How many bytes of the newest sealed segments stay uncompressed, since single streams are read
    /// faster from there. Default: 1 GiB.
    #[must_use]
    pub fn frames_kept_bytes(mut self, bytes: u64) -> Self {
        self.frames_kept_bytes = bytes;
        self
    }

    /// Whether the engine runs threads of its own. Without them whoever waits for an append does the
    /// work, and [`Engine::maintain`] does what is due: for deterministic tests.
    #[must_use]
    pub fn threads(mut self, threads: bool) -> Self {
        self.threads = threads;
        self
    }

    /// The disk to run on, instead of the host's.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// Opens the data directory.
    ///
    /// # Errors
    /// As [`OpenError`] says.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Engine, OpenError> {
        Engine::open_with(dir.as_ref(), self)
    }
}

//! A simulated disk that tears, reorders, loses, and corrupts, exactly as its seed and its test say.
//!
//! It keeps apart what is durable and what programs see: per file the writes since its last sync,
//! per folder the changes of names since its last sync, and the log writes in flight. A crash keeps
//! any part of these, which is all that the contract of [`Disk`] promises and no more:
//! - [`SimDisk::crash`] leaves one random state, for randomized tests;
//! - [`CrashPoints`] goes through every state after every operation of a recorded [`Trace`];
//! - [`Fault`]s make the n-th operation fail, fall short, or go astray;
//! - [`SimDisk::flip_bit`] and its kin damage the medium itself.
//!
//! A disk that a crash left is again a `SimDisk`, which records and crashes in turn. Time moves only
//! when a test moves it. Used by one thread, the same calls give the same bytes, whatever the
//! machine; used by many, it is as safe as a real disk, and as little repeatable.

mod content;
mod control;
mod crash;
mod faults;
mod file;
mod image;
mod random;
mod survival;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nexus_protocol::Timestamp;

pub use crash::{CrashOptions, CrashPoints, CrashState, FineTear};
pub use faults::Fault;
pub use trace::{Damage, FileId, SyncOutcome, Trace, TraceOp, WriteId};

use super::memory::{at, lock};
use super::names::{NodeId, Target, last_name};
use super::{
    DirEntry, Disk, DiskError, DiskFile, DiskLock, DiskOperation, DiskResult, FileKind, LogWriter,
    OpenMode,
};
use faults::{Class, Effect, Faults, input_output_error};
use file::{SimFile, SimLogWriter};
use image::{Image, kept};
use random::Random;

/// Bounds of the depth of a log writer.
const DEPTH: std::ops::RangeInclusive<usize> = 1..=8;
/// 2026-01-01T00:00:00Z, in microseconds: when a simulation starts unless told otherwise.
const START_MICROS: i64 = 1_767_225_600_000_000;
/// How long after boot a simulation starts.
const START_SINCE_BOOT: Duration = Duration::from_secs(10);

/// A simulated disk. A clone is the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// What a crash does not change.
#[derive(Clone, Debug)]
struct Settings {
    depth: usize,
    capacity_bytes: Option<u64>,
    short_writes_one_in: u32,
    short_reads_one_in: u32,
    recording: bool,
    now: Timestamp,
}

struct State {
    settings: Settings,
    since_boot: Duration,
    random: Random,
    image: Image,
    faults: Faults,
    /// Ranges of files that cannot be read.
    unreadable: Vec<(NodeId, Range<u64>)>,
    locked: BTreeSet<PathBuf>,
    baseline: Image,
    ops: Vec<TraceOp>,
    op_count: usize,
    read_count: u64,
}

/// What a simulated disk is made with; see [`SimDisk::builder`].
#[derive(Clone, Debug)]
pub struct SimDiskBuilder {
    settings: Settings,
    seed: u64,
}

impl SimDiskBuilder {
    /// The seed of everything that is left to chance. 1 unless set.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many log writes may be in flight: 1 to 8. 1 unless set.
    #[must_use]
    pub fn depth(mut self, depth: usize) -> Self {
        assert!(DEPTH.contains(&depth), "a log writer has a depth of 1 to 8, not {depth}");
        self.settings.depth = depth;
        self
    }

    /// How much fits on the disk, in blocks of 4096 bytes. Unbounded unless set.
    #[must_use]
    pub fn capacity_bytes(mut self, capacity_bytes: u64) -> Self {
        self.settings.capacity_bytes = Some(capacity_bytes);
        self
    }

    /// One in `n` plain writes takes less than it is offered, by chance; 0, the default: none.
    #[must_use]
    pub fn short_writes_one_in(mut self, n: u32) -> Self {
        self.settings.short_writes_one_in = n;
        self
    }

    /// One in `n` reads gives less than it is asked for, by chance; 0, the default: none.
    #[must_use]
    pub fn short_reads_one_in(mut self, n: u32) -> Self {
        self.settings.short_reads_one_in = n;
        self
    }

    /// Whether operations are kept for [`SimDisk::trace`]; yes unless set. A long random test that
    /// only calls [`SimDisk::crash`] saves memory without.
    #[must_use]
    pub fn recording(mut self, recording: bool) -> Self {
        self.settings.recording = recording;
        self
    }

    /// The wall clock at the start: 2026-01-01T00:00:00Z unless set.
    #[must_use]
    pub fn now(mut self, now: Timestamp) -> Self {
        self.settings.now = now;
        self
    }

    /// An empty disk: only the root folder `/` exists.
    pub fn build(self) -> SimDisk {
        SimDisk::rebooted(Image::default(), &self.settings, self.seed)
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl SimDisk {
    /// Settings to choose, with defaults for each.
    pub fn builder() -> SimDiskBuilder {
        let settings = Settings {
            depth: 1,
            capacity_bytes: None,
            short_writes_one_in: 0,
            short_reads_one_in: 0,
            recording: true,
            now: Timestamp::from_micros(START_MICROS),
        };
        SimDiskBuilder { settings, seed: 1 }
    }

    /// A disk found after the machine started again: no faults, no locks, an empty trace.
    fn rebooted(image: Image, settings: &Settings, seed: u64) -> Self {
        let state = State {
            settings: settings.clone(),
            since_boot: START_SINCE_BOOT,
            random: Random::new(seed),
            baseline: image.clone(),
            image,
            faults: Faults::default(),
            unreadable: Vec::new(),
            locked: BTreeSet::new(),
            ops: Vec::new(),
            op_count: 0,
            read_count: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl State {
    /// Keeps an operation that was done.
    fn record(&mut self, op: TraceOp) {
        self.op_count += 1;
        if self.settings.recording {
            self.ops.push(op);
        }
    }

    /// Keeps that an operation was refused, and says so.
    fn refuse(&mut self, operation: DiskOperation, path: &Path, error: io::Error) -> DiskError {
        self.record(TraceOp::Failed { operation, path: kept(path) });
        DiskError::new(operation, path, error)
    }

    /// Does a change of names, unless a fault strikes it.
    fn change<T>(
        &mut self,
        class: Class,
        operation: DiskOperation,
        path: &Path,
        change: impl FnOnce(&mut Image) -> io::Result<T>,
    ) -> DiskResult<T> {
        match self.faults.strike(class, path) {
            Some(effect) => Err(self.refuse(operation, path, error_of(effect))),
            None => change(&mut self.image).map_err(at(operation, path)),
        }
    }

    fn free_bytes(&self) -> u64 {
        let capacity = self.settings.capacity_bytes.unwrap_or(u64::MAX >> 1);
        capacity.saturating_sub(self.image.used_bytes())
    }

    fn entry(&self, name: String, target: Target) -> DirEntry {
        let len = |target: Target| self.image.file(target.node).visible.len() as u64;
        let len_bytes = if target.is_dir { 0 } else { len(target) };
        DirEntry { name, is_dir: target.is_dir, len_bytes }
    }
}

/// What an operation that fails because of a fault answers.
fn error_of(effect: Effect) -> io::Error {
    match effect {
        Effect::Full => ErrorKind::StorageFull.into(),
        _ => input_output_error(),
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode, kind: FileKind) -> DiskResult<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let file = if mode == OpenMode::Create {
            let open = |image: &mut Image| image.open(path, mode);
            let (file, _) = state.change(Class::Names, DiskOperation::Open, path, open)?;
            state.record(TraceOp::Create { path: kept(path), file: FileId(file) });
            file
        } else {
            state.image.open(path, mode).map_err(at(DiskOperation::Open, path))?.0
        };
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile { disk: self.clone(), file, path: kept(path), kind, writable }))
    }

    fn metadata(&self, path: &Path) -> DiskResult<Option<DirEntry>> {
        let state = self.state();
        match state.image.names.find(path) {
            Ok(found) => Ok(Some(state.entry(last_name(path), found))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::new(DiskOperation::Inspect, path, error)),
        }
    }

    fn list(&self, dir: &Path) -> DiskResult<Vec<DirEntry>> {
        let state = self.state();
        let folder = state.image.names.find_folder(dir);
        let folder = folder.map_err(at(DiskOperation::Inspect, dir))?;
        let entries = state.image.names.entries(folder);
        Ok(entries.map(|(name, target)| state.entry(name.to_string(), target)).collect())
    }

    fn create_dir(&self, dir: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let create = |image: &mut Image| image.create_dir(dir);
        if state.change(Class::Names, DiskOperation::CreateDir, dir, create)? {
            state.record(TraceOp::CreateDir { path: kept(dir) });
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let rename = |image: &mut Image| image.rename(from, to);
        state.change(Class::Names, DiskOperation::Rename, from, rename)?;
        state.record(TraceOp::Rename { from: kept(from), to: kept(to) });
        Ok(())
    }

    fn remove(&self, path: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let remove = |image: &mut Image| image.remove(path);
        state.change(Class::Names, DiskOperation::Remove, path, remove)?;
        state.record(TraceOp::Remove { path: kept(path) });
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let remove = |image: &mut Image| image.remove_dir(dir);
        state.change(Class::Names, DiskOperation::Remove, dir, remove)?;
        state.record(TraceOp::RemoveDir { path: kept(dir) });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> DiskResult<()> {
        let mut state = self.state();
        let sync = |image: &mut Image| image.sync_dir(dir);
        state.change(Class::SyncDir, DiskOperation::SyncDir, dir, sync)?;
        state.record(TraceOp::SyncDir { path: kept(dir) });
        Ok(())
    }

    /// The lock file holds `1`, so that the same seed gives the same bytes in every process, and is
    /// durable at once: it decides nothing at recovery, and would double every crash state.
    fn lock(&self, path: &Path) -> DiskResult<Box<dyn DiskLock>> {
        let mut state = self.state();
        if state.locked.contains(path) {
            return Err(DiskError::new(DiskOperation::Lock, path, ErrorKind::WouldBlock.into()));
        }
        state.image.lock(path).map_err(at(DiskOperation::Lock, path))?;
        state.record(TraceOp::Lock { path: kept(path) });
        state.locked.insert(path.to_owned());
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn free_bytes(&self, _path: &Path) -> DiskResult<u64> {
        Ok(self.state().free_bytes())
    }

    fn log_writer(&self) -> DiskResult<Box<dyn LogWriter>> {
        let depth = self.state().settings.depth;
        Ok(Box::new(SimLogWriter::new(self.clone(), depth)))
    }

    fn now(&self) -> Timestamp {
        self.state().settings.now
    }

    fn boot_time(&self) -> Duration {
        self.state().since_boot
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        assert!(self.disk.state().locked.remove(&self.path), "a lock is given back once");
    }
}

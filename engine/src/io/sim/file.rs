//! Open files of the simulated disk, and its log writer.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::faults::{Class, Effect, input_output_error};
use super::image::allocated_bytes;
use super::trace::{FileId, SyncOutcome, TraceOp, WriteId};
use super::{SimDisk, State, error_of};
use crate::io::memory::{assert_aligned, assert_log_write, in_memory};
use crate::io::names::NodeId;
use crate::io::{
    ALIGNMENT, DiskError, DiskFile, DiskOperation, DiskResult, FileKind, LogWrite, LogWriter,
    is_aligned,
};

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) file: NodeId,
    pub(super) path: Arc<Path>,
    pub(super) kind: FileKind,
    pub(super) writable: bool,
}

impl State {
    fn len_bytes(&self, file: NodeId) -> u64 {
        self.image.file(file).visible.len() as u64
    }

    /// Where a write lands and how much of it, or why not.
    fn plan_write(
        &mut self,
        file: &SimFile,
        offset_bytes: u64,
        len: usize,
    ) -> DiskResult<(u64, usize)> {
        let struck = self.faults.strike(Class::Write, &file.path);
        let (offset_bytes, len) = match struck {
            Some(effect @ (Effect::Fail | Effect::Full | Effect::Drop)) => {
                return Err(self.refuse(DiskOperation::Write, &file.path, error_of(effect)));
            }
            Some(Effect::Short(taken)) => (offset_bytes, shortened(file.kind, len, taken)),
            Some(Effect::Misdirect(to)) => (misdirected(file.kind, to), len),
            Some(Effect::Flip(_)) => unreachable!("only of reads"),
            None => {
                let one_in = self.settings.short_writes_one_in;
                (offset_bytes, self.shortened_by_chance(one_in, file.kind, len))
            }
        };
        match self.fitting(file.file, offset_bytes, len) {
            0 => {
                let error = ErrorKind::StorageFull.into();
                Err(self.refuse(DiskOperation::Write, &file.path, error))
            }
            len => Ok((offset_bytes, len)),
        }
    }

    /// How much of a write fits on the disk.
    fn fitting(&self, file: NodeId, offset_bytes: u64, len: usize) -> usize {
        let allocated = allocated_bytes(self.len_bytes(file));
        let end = offset_bytes + len as u64;
        if self.settings.capacity_bytes.is_none() || end <= allocated {
            return len;
        }
        let free = self.free_bytes() / ALIGNMENT as u64 * ALIGNMENT as u64;
        let room = (allocated + free).saturating_sub(offset_bytes);
        len.min(usize::try_from(room).unwrap_or(len))
    }

    fn shortened_by_chance(&mut self, one_in: u32, kind: FileKind, len: usize) -> usize {
        if !self.random.one_in(one_in) {
            return len;
        }
        let taken = self.random.below(len as u64);
        shortened(kind, len, in_memory(taken))
    }
}

/// `taken` of `len` bytes, but at least what a disk takes at once: one byte, or one block.
fn shortened(kind: FileKind, len: usize, taken: usize) -> usize {
    let taken = match kind {
        FileKind::Plain => taken.max(1),
        FileKind::Log => (taken / ALIGNMENT).max(1) * ALIGNMENT,
    };
    taken.min(len)
}

fn misdirected(kind: FileKind, to: u64) -> u64 {
    assert!(kind == FileKind::Plain || is_aligned(to), "even astray, log writes are aligned");
    to
}

impl DiskFile for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len_bytes(&self) -> DiskResult<u64> {
        Ok(self.disk.state().len_bytes(self.file))
    }

    fn read_at(&self, buffer: &mut [u8], offset_bytes: u64) -> DiskResult<usize> {
        let mut state = self.disk.state();
        state.read_count += 1;
        // At the end a disk answers before it looks at the alignment.
        if buffer.is_empty() || offset_bytes >= state.len_bytes(self.file) {
            return Ok(0);
        }
        assert_aligned(self.kind, buffer, offset_bytes);
        let wanted = buffer.len();
        let struck = state.faults.strike(Class::Read, &self.path);
        let len = match struck {
            Some(Effect::Short(given)) => shortened(self.kind, wanted, given),
            Some(Effect::Flip(_)) => wanted,
            Some(effect) => {
                return Err(DiskError::new(DiskOperation::Read, &self.path, error_of(effect)));
            }
            None => {
                let one_in = state.settings.short_reads_one_in;
                state.shortened_by_chance(one_in, self.kind, wanted)
            }
        };
        let range = offset_bytes..offset_bytes + len as u64;
        let bad = |(file, bad): &(NodeId, std::ops::Range<u64>)| {
            *file == self.file && bad.start < range.end && range.start < bad.end
        };
        if state.unreadable.iter().any(bad) {
            return Err(DiskError::new(DiskOperation::Read, &self.path, input_output_error()));
        }
        let content = &state.image.file(self.file).visible;
        let got = content.read(in_memory(offset_bytes), &mut buffer[..len]);
        if let Some(Effect::Flip(at)) = struck
            && (offset_bytes..offset_bytes + got as u64).contains(&at)
        {
            buffer[in_memory(at - offset_bytes)] ^= 1;
        }
        Ok(got)
    }

    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> DiskResult<usize> {
        assert!(self.writable, "{} is open for reading only", self.path.display());
        assert_aligned(self.kind, bytes, offset_bytes);
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut state = self.disk.state();
        let (offset_bytes, len) = state.plan_write(self, offset_bytes, bytes.len())?;
        let bytes = Bytes::copy_from_slice(&bytes[..len]);
        state.image.write(self.file, offset_bytes, bytes.clone());
        let (file, path) = (FileId(self.file), Arc::clone(&self.path));
        state.record(TraceOp::Write { file, path, offset_bytes, bytes });
        Ok(len)
    }

    fn sync(&self) -> DiskResult<()> {
        let mut state = self.disk.state();
        let outcome = match state.faults.strike(Class::Sync, &self.path) {
            None => SyncOutcome::Succeeded,
            Some(Effect::Drop) => SyncOutcome::Dropped,
            Some(_) => SyncOutcome::Abandoned,
        };
        state.image.sync(self.file, outcome);
        let (file, path) = (FileId(self.file), Arc::clone(&self.path));
        state.record(TraceOp::Sync { file, path, outcome });
        match outcome {
            SyncOutcome::Succeeded => Ok(()),
            _ => Err(DiskError::new(DiskOperation::Sync, &self.path, input_output_error())),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Writes that are in flight until they are completed, in order of submission. What is dropped with
/// the writer stays in flight for ever: a crash may keep it or not.
pub(super) struct SimLogWriter {
    disk: SimDisk,
    depth: usize,
    in_flight: VecDeque<InFlight>,
}

struct InFlight {
    write: WriteId,
    file: NodeId,
    path: Arc<Path>,
    /// Decided when it was submitted, told when it is completed.
    failure: Option<Effect>,
}

impl SimLogWriter {
    pub(super) fn new(disk: SimDisk, depth: usize) -> Self {
        Self { disk, depth, in_flight: VecDeque::new() }
    }
}

impl fmt::Debug for SimLogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLogWriter")
            .field("depth", &self.depth)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

impl LogWriter for SimLogWriter {
    fn depth(&self) -> usize {
        self.depth
    }

    fn submit(&mut self, write: LogWrite) {
        assert!(self.in_flight.len() < self.depth, "{} writes are in flight already", self.depth);
        let file = write.file.as_any().downcast_ref::<SimFile>();
        let file = file.expect("a log writer writes files of its own disk");
        assert!(Arc::ptr_eq(&file.disk.state, &self.disk.state), "the file is another disk's");
        assert!(file.writable, "{} is open for reading only", file.path.display());
        let mut state = self.disk.state();
        assert_log_write(file.kind, &write, state.len_bytes(file.file));
        let (offset_bytes, failure) = match state.faults.strike(Class::Write, &file.path) {
            None | Some(Effect::Short(_)) => (write.offset_bytes, None),
            Some(Effect::Misdirect(to)) => (misdirected(file.kind, to), None),
            Some(effect) => (write.offset_bytes, Some(effect)),
        };
        // The caller's buffer is its own again once the write is complete, a trace is kept longer.
        let bytes = Bytes::copy_from_slice(&write.bytes);
        let id = state.image.submit(file.file, offset_bytes, bytes.clone());
        let path = Arc::clone(&file.path);
        self.in_flight.push_back(InFlight { write: id, file: file.file, path, failure });
        let (file, path) = (FileId(file.file), Arc::clone(&file.path));
        state.record(TraceOp::LogSubmit { write: id, file, path, offset_bytes, bytes });
    }

    fn complete(&mut self) -> DiskResult<()> {
        let InFlight { write, file, path, failure } =
            self.in_flight.pop_front().expect("a completion is of a write in flight");
        let mut state = self.disk.state();
        let unsynced = state.faults.strike(Class::Sync, &path);
        let failure = failure.map(|effect| (DiskOperation::Write, effect));
        let failure = failure.or(unsynced.map(|effect| (DiskOperation::Sync, effect)));
        let outcome = match failure {
            None => SyncOutcome::Succeeded,
            // It got as far as the page cache.
            Some((DiskOperation::Sync, Effect::Fail)) => SyncOutcome::Abandoned,
            Some(_) => SyncOutcome::Dropped,
        };
        state.image.complete(file, write, outcome);
        let (file, kept) = (FileId(file), Arc::clone(&path));
        state.record(TraceOp::LogComplete { write, file, path: kept, outcome });
        match failure {
            None => Ok(()),
            Some((operation, effect)) => Err(DiskError::new(operation, &path, error_of(effect))),
        }
    }
}

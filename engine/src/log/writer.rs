//! The one writer of a log: stamps frames, gives them to the disk, and takes their completions in
//! order.
//!
//! It holds no lock on the disk's path: its owner serialises the calls. A failed write or sync
//! poisons it for good (I7).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nexus_protocol::Timestamp;

use super::prepare::{AHEAD_BYTES, STRIDE_BYTES};
use super::{Log, Prepared};
use crate::error::LogError;
use crate::frame::{
    ChainDigest, EntryId, FrameHeader, FrameKind, HEADER_BYTES, LocalHeader, LogOffset, Proposal,
};
use crate::io::{DiskError, LogWrite, LogWriter};
use crate::manifest::Sealed;
use crate::segment::{Content, FrameSlot, FrameTable, HEADER_BLOCK_BYTES, Segment};

/// Where a writer begins: what recovery found.
#[derive(Debug)]
pub(crate) struct WriterStart {
    pub(crate) active: Arc<Segment>,
    /// The digest before its first frame.
    pub(crate) active_first_digest: ChainDigest,
    pub(crate) offset_bytes: u64,
    pub(crate) chain: ChainDigest,
    pub(crate) next_position: u64,
    pub(crate) last_entry: EntryId,
    pub(crate) recorded_at: Timestamp,
}

/// A frame that became durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completed {
    pub(crate) entry: EntryId,
    pub(crate) next_position: u64,
    pub(crate) end: LogOffset,
}

/// A frame that was given to the disk.
#[derive(Debug)]
struct InFlight {
    becomes: Completed,
    /// When, by the clock that is never set.
    submitted: Duration,
}

/// Appends frames.
#[derive(Debug)]
pub(crate) struct Writer {
    log: Arc<Log>,
    queue: Box<dyn LogWriter>,
    at: WriterStart,
    durable_end: LogOffset,
    in_flight: VecDeque<InFlight>,
    poisoned: Option<DiskError>,
}

impl Writer {
    pub(crate) fn new(log: Arc<Log>, queue: Box<dyn LogWriter>, start: WriterStart) -> Self {
        let durable_end =
            LogOffset { segment: start.active.entry.number, offset_bytes: start.offset_bytes };
        Self { log, queue, at: start, durable_end, in_flight: VecDeque::new(), poisoned: None }
    }

    /// The state after the last frame that was appended.
    pub(crate) fn at(&self) -> &WriterStart {
        &self.at
    }

    /// Everything before this is durable.
    pub(crate) fn durable_end(&self) -> LogOffset {
        self.durable_end
    }

    /// How many frames are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether the disk may be waited for in [`Writer::append`] already, not only in
    /// [`Writer::complete`].
    pub(crate) fn waits_in_append(&self) -> bool {
        self.queue.depth() == 1
    }

    /// Whether one more may be in flight.
    pub(crate) fn has_place(&self) -> bool {
        self.in_flight.len() < self.queue.depth()
    }

    /// The failure that poisoned the log.
    pub(crate) fn poisoned(&self) -> Option<&DiskError> {
        self.poisoned.as_ref()
    }

    /// A cut at `at` failed on the way: nothing is appended any more, and nothing behind it may be
    /// said to be durable.
    pub(crate) fn poison(&mut self, error: DiskError, at: LogOffset) {
        self.poisoned = Some(error);
        self.durable_end = self.durable_end.min(at);
    }

    /// Whether a frame of `padded_bytes` has to start a segment.
    pub(crate) fn must_roll(&self, padded_bytes: u64) -> bool {
        self.at.offset_bytes + padded_bytes > self.at.active.entry.capacity_bytes
    }

    /// Makes sure that a frame of `padded_bytes` finds blocks that hold zeros. Usually maintenance
    /// was here first, and this touches no disk.
    pub(crate) fn ensure_room(
        &self,
        padded_bytes: u64,
        starts_segment: bool,
    ) -> Result<(), LogError> {
        if !starts_segment {
            let end = self.at.offset_bytes + padded_bytes;
            let active = &self.at.active;
            let capacity = active.entry.capacity_bytes;
            return self.ensure_ready(
                active.log_file().expect("it is written"),
                &active.ready_bytes,
                end,
                capacity,
            );
        }
        self.log.prepare_segment(padded_bytes)?;
        let first = self.first_prepared().expect("just prepared");
        let end = HEADER_BLOCK_BYTES + padded_bytes;
        self.ensure_ready(first.file(), &first.ready_bytes, end, first.entry.capacity_bytes)
    }

    fn ensure_ready(
        &self,
        file: &Arc<dyn crate::io::DiskFile>,
        ready_bytes: &AtomicU64,
        end: u64,
        capacity: u64,
    ) -> Result<(), LogError> {
        if ready_bytes.load(Ordering::Acquire) >= end {
            return Ok(());
        }
        let target = (end + STRIDE_BYTES).min(capacity).max(end);
        self.log.extend_ready(&**file, ready_bytes, target)
    }

    fn first_prepared(&self) -> Option<Prepared> {
        let prepared = self.log.prepared.lock().expect("no panic while segments are prepared");
        prepared.first().cloned()
    }

    /// Whether a frame of another node, with its entry id, is the successor of the last one.
    pub(crate) fn check_successor(
        &self,
        proposal: &Proposal,
        entry: EntryId,
    ) -> Result<(), &'static str> {
        let (header, at) = (&proposal.header, &self.at);
        let index_follows = at.last_entry == EntryId::default()
            || Some(entry.index) == at.last_entry.index.checked_add(1);
        let is_new = at.offset_bytes == HEADER_BLOCK_BYTES;
        let starts = header.starts_segment;
        match () {
            () if header.first_position != at.next_position => Err("its position is not the next"),
            () if !index_follows => Err("its index is not the next"),
            () if entry.term < at.last_entry.term => Err("its term is over"),
            () if header.recorded_at < at.recorded_at => Err("it was recorded before the last one"),
            () if starts && is_new => Err("it begins a segment, and so would the next"),
            () if !starts && (is_new || self.must_roll(proposal.padded_bytes() as u64)) => {
                Err("it begins no segment, and has no room in the last one")
            }
            () => Ok(()),
        }
    }

    /// Appends a frame and starts to write it. Room was ensured; fewer frames than the depth are in
    /// flight.
    pub(crate) fn append(&mut self, proposal: Proposal, entry: EntryId) {
        assert!(self.poisoned.is_none(), "a poisoned log takes nothing (I7)");
        assert!(self.has_place(), "frames in flight are bounded (I8)");
        let mut header = proposal.header;
        header.entry = entry;
        let padded = proposal.padded_bytes();
        assert_eq!(header.first_position, self.at.next_position, "positions are dense");
        assert!(
            entry.index == self.at.last_entry.index + 1 || self.at.last_entry == EntryId::default()
        );
        assert!(entry.term >= self.at.last_entry.term && header.recorded_at >= self.at.recorded_at);
        if header.starts_segment {
            self.roll();
        }
        let offset = self.at.offset_bytes;
        assert!(crate::io::is_aligned(offset), "frames begin at blocks");
        assert!(offset + padded as u64 <= self.at.active.ready_bytes.load(Ordering::Acquire));
        let full = FrameHeader { replicated: header, local: self.local_header(&header) };
        let mut buffer = proposal.buffer;
        let encoded = full.encode();
        debug_assert_eq!(FrameHeader::decode(&encoded), Ok(full), "a header reads back");
        buffer.as_mut_slice()[..HEADER_BYTES].copy_from_slice(&encoded);
        let bytes = buffer.into_bytes().slice(..padded);
        self.at.chain = self.at.chain.extend(&header, &proposal.chain_input);
        self.at.next_position = header.next_position();
        self.at.last_entry = entry;
        self.at.recorded_at = header.recorded_at;
        self.at.offset_bytes = offset + padded as u64;
        let end =
            LogOffset { segment: self.at.active.entry.number, offset_bytes: self.at.offset_bytes };
        let slot = (header.kind == FrameKind::Events).then_some(FrameSlot {
            first_position: header.first_position,
            offset_bytes: offset,
            stored_bytes: full.local.stored_length,
            count: header.count,
            recorded_at: header.recorded_at,
        });
        if slot.is_some() {
            let durable = self.log.durable();
            self.log.tail.push(
                header.first_position,
                self.at.next_position,
                bytes.clone(),
                durable,
            );
        }
        self.at.active.add_frame(slot, end.offset_bytes, self.at.next_position);
        let becomes = Completed { entry, next_position: self.at.next_position, end };
        let ready = self.at.active.ready_bytes.load(Ordering::Acquire);
        let capacity = self.at.active.entry.capacity_bytes;
        if ready < (end.offset_bytes + AHEAD_BYTES / 2).min(capacity) {
            self.log.ask_for_space();
        }
        let submitted = self.log.disk.boot_time();
        self.in_flight.push_back(InFlight { becomes, submitted });
        self.queue.submit(LogWrite { file: self.active_file(), offset_bytes: offset, bytes });
    }

    fn local_header(&self, header: &crate::frame::ReplicatedHeader) -> LocalHeader {
        let header_bytes = u32::try_from(HEADER_BYTES).expect("a small constant");
        let durable_end = if crate::planted::is("durable-end-not-stamped") {
            LogOffset::default()
        } else {
            self.durable_end
        };
        LocalHeader {
            salt: self.at.active.entry.salt,
            stored_length: header_bytes + header.raw_length,
            durable_end,
            previous_digest: self.at.chain.prefix(),
        }
    }

    fn active_file(&self) -> Arc<dyn crate::io::DiskFile> {
        Arc::clone(self.at.active.log_file().expect("the active segment is written"))
    }

    /// Goes on in the segment that was prepared.
    fn roll(&mut self) {
        let next = {
            let mut prepared =
                self.log.prepared.lock().expect("no panic while segments are prepared");
            assert!(!prepared.is_empty(), "room was ensured");
            prepared.remove(0)
        };
        assert!(self.at.offset_bytes > HEADER_BLOCK_BYTES, "a segment that is left has a frame");
        assert!(next.entry.number > self.at.active.entry.number, "segments are used in order");
        let table = FrameTable {
            slots: Vec::new(),
            end_bytes: HEADER_BLOCK_BYTES,
            next_position: self.at.next_position,
        };
        let content = Content::Frames(table.into());
        let segment = Segment::new(
            &self.log.dir,
            next.entry,
            self.at.next_position,
            next.files,
            next.ready_bytes,
            content,
        );
        let left = std::mem::replace(&mut self.at.active, Arc::new(segment));
        let sealed = Sealed {
            first_position: left.first_position,
            next_position: self.at.next_position,
            end_bytes: self.at.offset_bytes,
            first_digest: self.at.active_first_digest,
            last_digest: self.at.chain,
            last_entry: self.at.last_entry,
            first_recorded_at: left.first_recorded_at().unwrap_or(self.at.recorded_at),
            last_recorded_at: self.at.recorded_at,
        };
        self.log.left.lock().expect("no panic while a segment is left").push((left, sealed));
        self.at.active_first_digest = self.at.chain;
        self.at.offset_bytes = HEADER_BLOCK_BYTES;
        self.log.add_segment(Arc::clone(&self.at.active));
        self.log.ask_for_space();
    }

    /// Waits for the oldest frame in flight, and publishes it as durable.
    ///
    /// # Errors
    /// The write or the sync failed: the log is poisoned.
    pub(crate) fn complete(&mut self) -> Result<Completed, DiskError> {
        let oldest =
            self.in_flight.pop_front().expect("the caller knows that a frame is in flight");
        let InFlight { becomes: done, submitted } = oldest;
        match self.queue.complete() {
            Err(error) if !crate::planted::is("failed-sync-ignored") => {
                self.poisoned = Some(error.clone());
                Err(error)
            }
            _ => {
                assert!(done.end > self.durable_end, "frames become durable in order");
                assert!(done.next_position >= self.log.durable(), "and positions with them");
                self.durable_end = done.end;
                self.log.set_durable(done.next_position);
                self.log.syncs.record(self.log.disk.boot_time().saturating_sub(submitted));
                Ok(done)
            }
        }
    }

    /// After a failure nothing in flight counts any more. It is waited for all the same: a write that
    /// is under way may land until it has ended, and the directory may be given back by then.
    pub(crate) fn abandon(&mut self) {
        assert!(self.poisoned.is_some(), "only a poisoned log gives up what is in flight");
        for _ in self.in_flight.drain(..) {
            drop(self.queue.complete());
        }
        assert!(self.in_flight.is_empty(), "nothing is in flight in a log that is given up");
        if crate::planted::is("poison-forgotten") {
            self.poisoned = None;
        }
    }

    /// Goes on from `start`, to which the tail was cut.
    pub(crate) fn restart(&mut self, start: WriterStart) {
        assert!(self.in_flight.is_empty(), "nothing is cut while frames are in flight");
        self.durable_end =
            LogOffset { segment: start.active.entry.number, offset_bytes: start.offset_bytes };
        self.at = start;
    }
}

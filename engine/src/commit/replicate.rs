//! The seams of replication: who numbers frames, who says what is committed, and how frames of
//! another node enter and leave the log.
//!
//! The engine has never heard of Raft. A [`Replicator`] gives each frame its entry id and says, when
//! a frame is durable here, up to where the log is committed. [`LocalReplicator`] is the one of a
//! node that stands alone: its own disk is the quorum. It numbers entries as Raft does, so that the
//! same files go on as a cluster's.

use std::sync::Arc;

use bytes::Bytes;
use nexus_protocol::{AppendError, CorruptionKind, RecordedEvent};

use super::{CommitState, Committer};
use crate::error::LogError;
use crate::frame::{EntryId, FrameHeader, FrameKind, HEADER_BYTES, LogOffset, Proposal, digest};
use crate::index::Index;
use crate::log::cut::{Cuttable, Extent, cut};
use crate::log::follow::{Follow, scan_until};
use crate::log::{Prepared, WriterStart};
use crate::manifest::Sealed;
use crate::node_state::Cut;
use crate::segment::window::Window;
use crate::segment::{HEADER_BLOCK_BYTES, Segment};

/// Numbers frames, and says what is committed.
///
/// It is called while the log is locked for a commit: it must not wait, and not call the log.
pub trait Replicator: std::fmt::Debug + Send {
    /// The id of the frame that follows `last`.
    fn next_entry(&mut self, last: EntryId) -> EntryId;

    /// `entry` is durable here: up to where is the log committed now, if that is known?
    fn on_durable(&mut self, entry: EntryId) -> Option<EntryId>;
}

/// A node that stands alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalReplicator;

impl Replicator for LocalReplicator {
    fn next_entry(&mut self, last: EntryId) -> EntryId {
        EntryId { term: last.term, index: last.index + 1 }
    }

    fn on_durable(&mut self, entry: EntryId) -> Option<EntryId> {
        Some(entry)
    }
}

/// A frame on its way between nodes: header and body. The node-local part of the header is not
/// looked at.
#[derive(Clone, Debug)]
pub struct ReplicatedFrame {
    header: FrameHeader,
    body: Bytes,
}

impl ReplicatedFrame {
    /// Reads a frame that another node sent, and checks it.
    ///
    /// # Errors
    /// Says what is wrong with it; nothing of it was used (I5).
    pub fn decode(bytes: &Bytes) -> Result<Self, CorruptionKind> {
        let kind = crate::segment::frames::kind_of;
        let header = FrameHeader::decode(bytes).map_err(kind)?;
        let end = header.local.stored_length as usize;
        let body = bytes.get(HEADER_BYTES..end).ok_or(CorruptionKind::Truncated)?;
        header.check_body(body).map_err(kind)?;
        Ok(Self { body: bytes.slice_ref(body), header })
    }

    /// Its bytes, for another node.
    pub fn encode(&self) -> Bytes {
        let mut bytes = self.header.encode().to_vec();
        bytes.extend_from_slice(&self.body);
        bytes.into()
    }

    /// Its place in the replicated log.
    pub fn entry(&self) -> EntryId {
        self.header.replicated.entry
    }

    fn proposal(&self) -> Result<(Proposal, Vec<RecordedEvent>), CorruptionKind> {
        let header = self.header.replicated;
        if header.kind != FrameKind::Events {
            let (first, at) = (header.first_position, header.recorded_at);
            let starts = header.starts_segment;
            let proposal = Proposal::without_events(header.kind, &self.body, first, at, starts);
            return Ok((proposal, Vec::new()));
        }
        let mut events = Vec::with_capacity(header.count as usize);
        let chain_input = digest(&self.header, &self.body, |event| events.push(event.clone()))
            .map_err(crate::segment::frames::kind_of)?;
        let length = HEADER_BYTES + self.body.len();
        let mut buffer = crate::io::AlignedBuffer::zeroed(crate::io::align_up(length));
        buffer.as_mut_slice()[HEADER_BYTES..length].copy_from_slice(&self.body);
        Ok((Proposal { header, buffer, chain_input }, events))
    }
}

/// The events of a frame enter the index, or none of them does.
fn apply_all(index: &Index, events: &[RecordedEvent], bound: u64) -> Result<(), CorruptionKind> {
    for (done, event) in events.iter().enumerate() {
        if let Err(why) = index.apply_event(event) {
            let applied = events.iter().take(done).rev();
            applied.for_each(|event| index.unapply(event, bound));
            return Err(CorruptionKind::Malformed(why.into()));
        }
    }
    Ok(())
}

/// What the replication layer sees of a log.
#[derive(Clone, Debug)]
pub struct Seams {
    committer: Arc<Committer>,
}

/// Why frames could not be appended or cut.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SeamError(String);

impl SeamError {
    fn new(error: &dyn std::error::Error) -> Self {
        Self(crate::error::describe(error))
    }
}

impl Seams {
    pub(crate) fn new(committer: Arc<Committer>) -> Self {
        Self { committer }
    }

    /// From now on `replicator` numbers frames and says what is committed.
    pub fn set_replicator(&self, replicator: Box<dyn Replicator>) {
        self.committer.lock().replicator = replicator;
    }

    /// The last frame that was appended.
    pub fn last_entry(&self) -> EntryId {
        self.committer.lock().writer.at().last_entry
    }

    /// The digest of the whole log up to its last frame.
    pub fn chain(&self) -> crate::frame::ChainDigest {
        self.committer.lock().writer.at().chain
    }

    /// Appends frames of another node, in order; `on_durable` is told the last one when all are
    /// durable here.
    ///
    /// # Errors
    /// When a frame is damaged or does not follow the one before, there is no room, a write failed or
    /// had failed before, or the engine was closed; what was appended before stays.
    pub fn append_frames(
        &self,
        frames: &[ReplicatedFrame],
        on_durable: impl FnOnce(EntryId),
    ) -> Result<(), SeamError> {
        let last = self.with(|committer, state| {
            refuse_stopped(state)?;
            refuse_read_only(committer)?;
            let appended = frames.iter().try_for_each(|frame| committer.append_frame(state, frame));
            while state.writer.in_flight() > 0 {
                committer.complete(state);
            }
            if let Some(error) = state.writer.poisoned() {
                return Err(SeamError::new(error));
            }
            appended.map(|()| state.writer.at().last_entry)
        })?;
        on_durable(last);
        Ok(())
    }

    /// The log is committed up to `entry`: readers see it, and its appenders are answered.
    pub fn set_committed(&self, entry: EntryId) {
        self.with(|committer, state| committer.commit_up_to(state, entry));
    }

    /// Does something to the log; who is to be woken by it is woken however it ended.
    fn with<T>(&self, work: impl FnOnce(&Committer, &mut CommitState) -> T) -> T {
        let committer = &self.committer;
        let mut guard = committer.lock();
        let done = work(committer, &mut guard);
        // Whoever came while the lock was held found it taken, and relies on this look.
        if committer.leave(guard) || !committer.queue.is_empty() {
            committer.signal.raise();
        }
        done
    }

    /// Cuts every frame after `to`. Appends in those frames are answered `Unknown`.
    ///
    /// # Errors
    /// When `to` is not in the open part of the log, the disk failed, or the engine was closed.
    ///
    /// # Panics
    /// When a committed frame would be cut: the replication layer's bug.
    pub fn truncate_tail(&self, to: EntryId) -> Result<(), SeamError> {
        self.with(|committer, state| {
            refuse_stopped(state)?;
            refuse_read_only(committer)?;
            committer.truncate_tail(state, to).map_err(|error| SeamError::new(&error))
        })
    }

    /// The frames after `entry` in the open segments, as they would be sent to another node.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn frames_after(&self, entry: EntryId) -> Result<Vec<ReplicatedFrame>, SeamError> {
        let state = self.committer.lock();
        let mut found = Vec::new();
        for (segment, _) in self.committer.open_segments(&state) {
            let read = || -> Result<Vec<ReplicatedFrame>, LogError> {
                let mut window = Window::new(log_file(&segment))?;
                let (mut at, mut frames) = (HEADER_BLOCK_BYTES, Vec::new());
                while let Ok((header, body)) = window.frame(at)? {
                    at += header.padded_bytes();
                    if header.replicated.entry > entry {
                        frames.push(ReplicatedFrame { header, body });
                    }
                }
                Ok(frames)
            };
            found.extend(read().map_err(|error| SeamError::new(&error))?);
        }
        Ok(found)
    }
}

fn refuse_stopped(state: &CommitState) -> Result<(), SeamError> {
    if state.stopped { Err(SeamError("the engine was closed".to_owned())) } else { Ok(()) }
}

fn refuse_read_only(committer: &Committer) -> Result<(), SeamError> {
    match committer.is_read_only() {
        true => Err(SeamError("the store is open for reading only".to_owned())),
        false => Ok(()),
    }
}

impl Committer {
    /// Appends a frame of another node, if it follows.
    fn append_frame(
        &self,
        state: &mut CommitState,
        frame: &ReplicatedFrame,
    ) -> Result<(), SeamError> {
        while !state.writer.has_place() {
            self.complete(state);
        }
        if let Some(error) = state.writer.poisoned() {
            return Err(SeamError::new(error));
        }
        let (proposal, events) = frame.proposal().map_err(|kind| SeamError::new(&kind))?;
        state.writer.check_successor(&proposal, frame.entry()).map_err(|why| {
            let EntryId { term, index } = frame.entry();
            SeamError(format!("the frame of term {term}, index {index} does not follow: {why}"))
        })?;
        let padded = proposal.padded_bytes() as u64;
        let starts = proposal.header.starts_segment;
        state.writer.ensure_room(padded, starts).map_err(|error| SeamError::new(&error))?;
        let bound = proposal.header.first_position;
        apply_all(&self.index, &events, bound).map_err(|kind| SeamError::new(&kind))?;
        state.writer.append(proposal, frame.entry());
        state.held.push_back(Vec::new());
        Ok(())
    }

    /// The segments that are not sealed, with the digest before their first frame.
    fn open_segments(&self, state: &CommitState) -> Vec<(Arc<Segment>, crate::frame::ChainDigest)> {
        let left = self.log.left.lock().expect("no panic while a segment is left");
        let mut open: Vec<_> = left
            .iter()
            .map(|(segment, sealed)| (Arc::clone(segment), sealed.first_digest))
            .collect();
        let at = state.writer.at();
        open.push((Arc::clone(&at.active), at.active_first_digest));
        open
    }

    fn truncate_tail(&self, state: &mut CommitState, to: EntryId) -> Result<(), LogError> {
        while state.writer.in_flight() > 0 {
            self.complete(state);
        }
        if let Some(error) = state.writer.poisoned() {
            return Err(error.clone().into());
        }
        if state.writer.at().last_entry <= to {
            return Ok(());
        }
        let open = self.open_segments(state);
        let start = find(&open, to)?.ok_or_else(|| {
            LogError::corrupt(&self.log.dir, 0, CorruptionKind::Malformed("place of a cut".into()))
        })?;
        assert!(start.next_position >= self.log.committed.get(), "what is committed is never cut");
        let bound = start.next_position;
        let events = self.events_from(bound, state.writer.at().next_position)?;
        let cut = self.cut_files(&open, &start, state.writer.durable_end());
        // What stays may still be committed, and is answered then; after a cut that failed nothing
        // is known to stay.
        while state.awaiting.back().is_some_and(|frame| frame.entry > to || cut.is_err()) {
            let frame = state.awaiting.pop_back().expect("just looked at");
            if crate::planted::is("held-answers-released-on-cut") {
                state.answer_all(frame.held);
            } else {
                for (completion, _) in frame.held {
                    state.answer(&completion, Err(AppendError::Unknown));
                }
            }
        }
        if let Err(error) = cut {
            // Nobody knows what the files hold: the next start finds out, and finishes the cut.
            if let LogError::Disk(error) = &error {
                let segment = start.active.entry.number;
                let at = LogOffset { segment, offset_bytes: start.offset_bytes };
                state.writer.poison(error.clone(), at);
                state.woken.add_tasks(self.log.poison());
            }
            return Err(error);
        }
        events.iter().for_each(|event| self.index.unapply(event, bound));
        self.log.tail.truncate(start.next_position);
        self.log.set_durable(start.next_position);
        state.writer.restart(start);
        Ok(())
    }

    /// The events of positions `bound..end`, the newest first.
    fn events_from(&self, bound: u64, end: u64) -> Result<Vec<RecordedEvent>, LogError> {
        let mut cursor = crate::read::Cursor::new(Arc::clone(&self.log));
        let mut event = |position| {
            cursor.event(position, crate::segment::frames::Want::One).map_err(|_| {
                LogError::corrupt(&self.log.dir, 0, CorruptionKind::Checksum("record".into()))
            })
        };
        (bound..end).rev().map(&mut event).collect()
    }

    fn cut_files(
        &self,
        open: &[(Arc<Segment>, crate::frame::ChainDigest)],
        start: &WriterStart,
        until: LogOffset,
    ) -> Result<(), LogError> {
        let number = start.active.entry.number;
        let at = LogOffset { segment: number, offset_bytes: start.offset_bytes };
        let files: Vec<Cuttable> =
            open.iter().map(|(segment, _)| (segment.entry.number, log_file(segment))).collect();
        let mut catalog = self.log.catalog.lock().expect("no panic while the catalog is changed");
        cut(&mut catalog.node_state, &files, Cut { at, until: Some(until) }, Extent::Written)?;
        drop(catalog);
        start.active.truncate_frames(start.offset_bytes, start.next_position);
        self.log.remove_segments_after(number);
        let left = |(segment, _): &(Arc<Segment>, Sealed)| segment.entry.number < number;
        self.log.left.lock().expect("no panic while a segment is left").retain(left);
        // Segments that were begun after the cut are as good as prepared ones.
        let begun = open.iter().filter(|(segment, _)| segment.entry.number > number);
        let begun: Vec<Prepared> = begun
            .map(|(segment, _)| Prepared {
                entry: segment.entry,
                files: segment.files().clone(),
                ready_bytes: Arc::clone(&segment.ready_bytes),
            })
            .collect();
        let mut prepared = self.log.prepared.lock().expect("no panic while segments are prepared");
        prepared.splice(0..0, begun);
        Ok(())
    }
}

fn log_file(segment: &Segment) -> Arc<dyn crate::io::DiskFile> {
    Arc::clone(segment.log_file().expect("an open segment is written"))
}

/// The state of a writer after the frame `to`.
fn find(
    open: &[(Arc<Segment>, crate::frame::ChainDigest)],
    to: EntryId,
) -> Result<Option<WriterStart>, LogError> {
    for (segment, first_digest) in open {
        let mut window = Window::new(log_file(segment))?;
        let Ok((first, _)) = window.frame(HEADER_BLOCK_BYTES)? else { continue };
        let mut follow = Follow {
            chain: *first_digest,
            next_position: first.replicated.first_position,
            last_entry: EntryId { term: 0, index: first.replicated.entry.index.saturating_sub(1) },
            ..Follow::START
        };
        let salt = segment.entry.salt;
        let is_last = |header: &FrameHeader| header.replicated.entry == to;
        let (end, _) =
            scan_until(&mut window, salt, HEADER_BLOCK_BYTES, &mut follow, &is_last, &mut |_| ())?;
        if follow.last_entry == to {
            return Ok(Some(WriterStart {
                active: Arc::clone(segment),
                active_first_digest: *first_digest,
                offset_bytes: end,
                chain: follow.chain,
                next_position: follow.next_position,
                last_entry: to,
                recorded_at: follow.recorded_at,
            }));
        }
    }
    Ok(None)
}

//! Node-state: what this node promised and knows of its own disk. Never in a segment, not derived.
//!
//! Two 4-KiB slots. A save writes both, one after the other, each with its sync: while the first is
//! written the other still holds the state before; once a save is done, either slot alone gives the
//! new state, so that rot of one slot never brings back an older vote. A slot that an interrupted
//! save may have torn is written first the next time. Before the first save after an open, the slot
//! that was read is written again as it is: a sync that failed may have left it in the page cache
//! alone. Both bad: the node must not vote, and goes on only when asked by name.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexus_protocol::{CorruptionKind, LogId};

use crate::error::LogError;
use crate::fields::{FieldError, FieldReader, FieldWriter, newer_version};
use crate::frame::{EntryId, LogOffset};
use crate::io::{self, ALIGNMENT, Disk, DiskFile, FileKind, OpenMode};
use crate::segment::HEADER_BLOCK_BYTES;

/// Name of the file in a namespace's folder.
pub(crate) const NODE_STATE_FILE: &str = "node-state";
const MAGIC: [u8; 8] = *b"NXNODEST";
const VERSION: u32 = 1;
const SLOT_BYTES: usize = ALIGNMENT;

/// A vote of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// Raft's term.
    pub term: u64,
    /// For whom; `None` in a term without a vote.
    pub voted_for: Option<u64>,
    /// Whether that node became leader.
    pub committed: bool,
}

/// A cut of the end of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Everything from there on goes.
    pub(crate) at: LogOffset,
    /// What was durable when it was decided. Frames that are cut may say so; one that says more was
    /// written after the cut was done. `None`: it was recorded before this was, and is not known.
    pub(crate) until: Option<LogOffset>,
}

impl Cut {
    /// Of what was never known to be durable.
    pub(crate) fn of_torn_tail(at: LogOffset) -> Self {
        Self { at, until: Some(at) }
    }

    /// Where the blocks of a segment begin that go; `None`: all of it stays.
    pub(crate) fn start_in(&self, segment: u64) -> Option<u64> {
        let from = match segment.cmp(&self.at.segment) {
            Ordering::Less => return None,
            Ordering::Equal => self.at.offset_bytes,
            Ordering::Greater => HEADER_BLOCK_BYTES,
        };
        Some(from.next_multiple_of(ALIGNMENT as u64))
    }
}

/// The content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeState {
    pub(crate) log_id: LogId,
    /// One more with each save.
    pub(crate) sequence: u64,
    pub(crate) node_id: u64,
    pub(crate) vote: Vote,
    /// A frame that is known to be committed; later ones may be too.
    pub(crate) committed: EntryId,
    /// Everything before this is durable; what follows may be too.
    pub(crate) durable_end: LogOffset,
    /// A cut that was begun: everything from there on is to be zeroed first.
    pub(crate) cut: Option<Cut>,
    /// Raft's floor: frames up to this one are no longer needed by any follower.
    pub(crate) raft_floor: EntryId,
}

impl NodeState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::default();
        out.bytes(&MAGIC).u32(VERSION).u32(0).bytes(self.log_id.as_bytes());
        out.u64(self.sequence).u64(self.node_id);
        out.u64(self.vote.term).u64(self.vote.voted_for.unwrap_or(0));
        out.u32(u32::from(self.vote.voted_for.is_some())).u32(u32::from(self.vote.committed));
        out.u64(self.committed.term).u64(self.committed.index);
        out.u64(self.durable_end.segment).u64(self.durable_end.offset_bytes);
        let cut = self.cut.unwrap_or_default();
        out.u64(u64::from(self.cut.is_some())).u64(cut.at.segment).u64(cut.at.offset_bytes);
        out.u64(self.raft_floor.term).u64(self.raft_floor.index);
        let until = cut.until.unwrap_or_default();
        out.u64(until.segment).u64(until.offset_bytes);
        out.sealed(SLOT_BYTES)
    }

    pub(crate) fn decode(slot: &[u8]) -> Result<Self, FieldError> {
        let mut fields = FieldReader::checked(slot)?;
        if fields.array::<8>()? != MAGIC || fields.u32()? != VERSION {
            return Err(FieldError::Malformed("version"));
        }
        fields.u32()?;
        let log_id = LogId::from_bytes(fields.array()?);
        let (sequence, node_id) = (fields.u64()?, fields.u64()?);
        let (term, voted_for) = (fields.u64()?, fields.u64()?);
        let voted_for = (fields.u32()? == 1).then_some(voted_for);
        let vote = Vote { term, voted_for, committed: fields.u32()? == 1 };
        let committed = EntryId { term: fields.u64()?, index: fields.u64()? };
        let durable_end = LogOffset { segment: fields.u64()?, offset_bytes: fields.u64()? };
        let has_cut = fields.u64()? == 1;
        let at = LogOffset { segment: fields.u64()?, offset_bytes: fields.u64()? };
        let raft_floor = EntryId { term: fields.u64()?, index: fields.u64()? };
        let until = LogOffset { segment: fields.u64()?, offset_bytes: fields.u64()? };
        // No segment has the number 0.
        let until = (until != LogOffset::default()).then_some(until);
        if has_cut && until.is_some_and(|until| until < at) {
            return Err(FieldError::Malformed("cut"));
        }
        let cut = has_cut.then_some(Cut { at, until });
        Ok(Self { log_id, sequence, node_id, vote, committed, durable_end, cut, raft_floor })
    }
}

/// The file, open, with the content it holds.
#[derive(Debug)]
pub(crate) struct NodeStateFile {
    /// `None`: it is missing, and the log is only read.
    file: Option<Arc<dyn DiskFile>>,
    state: NodeState,
    /// A slot that holds what was saved last, and is written last: the other may be torn, and a
    /// crash must find one that is whole.
    whole: usize,
    /// Whether the file may lack the state: a save failed, or it was only read.
    unsaved: bool,
    /// What was read of the slot `whole`, until it was written again: a sync that failed may have
    /// left it in the page cache alone, and the other slot would be the one that is durable.
    read: Option<NodeState>,
    /// Whether it was asked by name to go on without what it says.
    may_be_reset: bool,
}

impl NodeStateFile {
    /// Creates the file; the caller syncs its folder.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, state: NodeState) -> Result<Self, LogError> {
        let file = disk.open(&path(dir), OpenMode::Create, FileKind::Plain)?;
        let mut created = Self {
            file: Some(file),
            state,
            whole: 1,
            unsaved: true,
            read: None,
            may_be_reset: false,
        };
        created.save()?;
        Ok(created)
    }

    /// Opens the file. `rebuilt` stands in when both slots are bad: only given when asked by name.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        mode: OpenMode,
        log_id: LogId,
        rebuilt: Option<NodeState>,
    ) -> Result<Self, LogError> {
        let path = path(dir);
        let file = match disk.open(&path, mode, FileKind::Plain) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return match rebuilt {
                    Some(state) if mode == OpenMode::Read => Ok(Self {
                        file: None,
                        state,
                        whole: 1,
                        unsaved: true,
                        read: None,
                        may_be_reset: true,
                    }),
                    Some(state) => {
                        let created = Self::create(disk, dir, state)?;
                        disk.sync_dir(dir)?;
                        Ok(created)
                    }
                    None => Err(LogError::corrupt(&path, 0, CorruptionKind::Missing)),
                };
            }
            Err(error) => return Err(error.into()),
        };
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        match io::read_full_at(&*file, &mut bytes, 0) {
            Ok(got) => bytes.truncate(got),
            // For reading around damage a slot that cannot be read is as one that does not check.
            Err(_) if mode == OpenMode::Read && rebuilt.is_some() => {
                for (slot, at) in bytes.chunks_mut(SLOT_BYTES).zip([0, SLOT_BYTES as u64]) {
                    if io::read_full_at(&*file, slot, at).is_err() {
                        slot.fill(0);
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        let newer = bytes.chunks(SLOT_BYTES).find_map(|slot| newer_version(slot, &MAGIC, VERSION));
        if let Some(version) = newer {
            let what = format!("node-state of version {version}");
            return Err(LogError::NewerFormat { version, what });
        }
        let slots = bytes.chunks(SLOT_BYTES).map(|slot| NodeState::decode(slot).ok());
        let slots: Vec<Option<NodeState>> = slots.collect();
        let whole =
            (0_usize..).zip(&slots).filter_map(|(index, slot)| Some((*slot.as_ref()?, index)));
        let newest = whole.max_by_key(|(state, _)| state.sequence);
        let (read, may_be_reset) = (newest.map(|(state, _)| state), rebuilt.is_some());
        match newest.or(rebuilt.map(|state| (state, 1))) {
            // One slot that is older, bad, or not known to be durable is no protection: the next
            // update writes both anew.
            Some((state, whole)) if state.log_id == log_id => {
                Ok(Self { file: Some(file), state, whole, unsaved: true, read, may_be_reset })
            }
            Some(_) => {
                Err(LogError::corrupt(&path, 0, CorruptionKind::Foreign("another log".into())))
            }
            None => Err(LogError::corrupt(&path, 0, CorruptionKind::Checksum("node-state".into()))),
        }
    }

    /// What the file holds.
    pub(crate) fn state(&self) -> &NodeState {
        &self.state
    }

    /// Whether it was asked by name to go on without what it says.
    pub(crate) fn may_be_reset(&self) -> bool {
        self.may_be_reset
    }

    /// That what it says contradicts the log.
    pub(crate) fn contradicted(&self, what: &'static str) -> LogError {
        let path = self.file.as_deref().map_or(Path::new(NODE_STATE_FILE), DiskFile::path);
        LogError::corrupt(path, 0, CorruptionKind::Malformed(what.into()))
    }

    /// Changes the state, durably. After an error the file holds the old state or the new one.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut NodeState)) -> Result<(), LogError> {
        let before = self.state;
        change(&mut self.state);
        assert_eq!(self.state.log_id, before.log_id, "a log keeps its identity");
        assert_eq!(self.state.sequence, before.sequence, "only a save counts");
        assert!(self.state.vote.term >= before.vote.term, "a vote is never taken back");
        if self.state == before && !self.unsaved {
            return Ok(());
        }
        self.save()
    }

    fn save(&mut self) -> Result<(), LogError> {
        let file = self.file.as_deref().expect("a log that is only read saves nothing");
        self.unsaved = true;
        let Some(sequence) = self.state.sequence.checked_add(1) else {
            // Begun again at 0, the older slot would be taken for the newer.
            return Err(LogError::corrupt(
                file.path(),
                0,
                CorruptionKind::Malformed("sequence".into()),
            ));
        };
        self.state.sequence = sequence;
        let slot = self.state.encode();
        debug_assert_eq!(NodeState::decode(&slot), Ok(self.state), "a slot reads back");
        assert!(self.whole < 2, "there are two slots");
        if let Some(read) = self.read {
            assert!(read.sequence < sequence, "what was read is older than what is saved");
            io::write_all_at(file, &read.encode(), (self.whole * SLOT_BYTES) as u64)?;
            file.sync()?;
            self.read = None;
        }
        if crate::planted::is("torn-slot-written-last") {
            self.whole = 1;
        }
        for index in [1 - self.whole, self.whole] {
            io::write_all_at(file, &slot, (index * SLOT_BYTES) as u64)?;
            file.sync()?;
            self.whole = index;
        }
        self.unsaved = false;
        Ok(())
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NODE_STATE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> NodeState {
        NodeState {
            log_id: LogId::from_bytes([1; 16]),
            sequence: 3,
            node_id: 77,
            vote: Vote { term: 2, voted_for: Some(77), committed: true },
            committed: EntryId { term: 2, index: 5 },
            durable_end: LogOffset { segment: 2, offset_bytes: 8192 },
            cut: Some(Cut {
                at: LogOffset { segment: 1, offset_bytes: 4096 },
                until: Some(LogOffset { segment: 2, offset_bytes: 12288 }),
            }),
            raft_floor: EntryId::default(),
        }
    }

    #[test]
    fn a_slot_reads_back_and_every_flipped_bit_is_seen() {
        let slot = state().encode();
        assert_eq!(NodeState::decode(&slot), Ok(state()));
        for bit in 0..slot.len() * 8 {
            let mut damaged = slot.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(NodeState::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_a_cut_is_not_known_of_stays_unknown() {
        let at = LogOffset { segment: 1, offset_bytes: 4096 };
        let unknown = NodeState { cut: Some(Cut { at, until: None }), ..state() };
        let slot = unknown.encode();
        assert_eq!(slot[144..160], [0; 16]);
        assert_eq!(NodeState::decode(&slot), Ok(unknown));
        let before = LogOffset { segment: 1, offset_bytes: 0 };
        let impossible = NodeState { cut: Some(Cut { at, until: Some(before) }), ..state() };
        assert_eq!(NodeState::decode(&impossible.encode()), Err(FieldError::Malformed("cut")));
    }

    #[test]
    fn a_save_that_no_sequence_is_left_for_is_refused() {
        let (disk, dir) = (crate::io::MemoryDisk::new(), Path::new("/"));
        let last = NodeState { sequence: u64::MAX - 2, ..state() };
        let mut file = NodeStateFile::create(&disk, dir, last).unwrap();
        file.update(|state| state.node_id += 1).unwrap();
        assert!(file.update(|state| state.node_id += 1).is_err());
        let file = NodeStateFile::open(&disk, dir, OpenMode::Read, last.log_id, None).unwrap();
        assert_eq!((file.state().sequence, file.state().node_id), (u64::MAX, last.node_id + 1));
    }
}

//! The index file of a sealed segment: what the segment adds to the index, so that opening needs
//! not read the segment.
//!
//! Derived: written once after sealing, immutable, and made again from the segment when it is
//! missing or does not check. A hand-specified header says what it belongs to (log, segment,
//! positions, digests) and seals an rkyv archive, which is validated before it is used.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use nexus_protocol::limits::INDEX_FILE_BYTES_MAX;
use nexus_protocol::{LogId, RecordedEvent, StreamName, Timestamp};
use rkyv::rancor;
use rkyv::util::AlignedVec;

use super::Index;
use super::keys::{EventKeys, PostingKey, stream_key};
use super::stream::Effect;
use crate::error::LogError;
use crate::fields::{FieldError, FieldReader, FieldWriter};
use crate::frame::{self, ChainDigest};
use crate::io::{self, Disk};
use crate::manifest::{Sealed, SegmentEntry, SegmentLayout};
use crate::segment::{FrameSlot, FrameTable, HEADER_BLOCK_BYTES};

/// Folder of the index files in a namespace's folder.
pub(crate) const INDEX_DIR: &str = "index";
const MAGIC: [u8; 8] = *b"NXINDEX1";
/// Type of the archive, and its version.
const ARCHIVE_TYPE: u32 = 1;
const ARCHIVE_VERSION: u32 = 2;
const HEADER_BYTES: usize = 256;

/// What one segment adds to the index.
#[derive(Debug, Default, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct SegmentIndex {
    frames: Vec<FrameRun>,
    streams: Vec<StreamRun>,
    postings: Vec<PostingRun>,
    ids: Vec<(u64, u32)>,
    effects: Vec<EffectRun>,
    system_events: u64,
}

#[derive(Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct FrameRun {
    first_position: u64,
    offset_bytes: u64,
    recorded_at: i64,
    stored_bytes: u32,
    count: u32,
}

#[derive(Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct StreamRun {
    name: String,
    first_revision: u64,
    /// Positions less the segment's first.
    positions: Vec<u32>,
}

#[derive(Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct PostingRun {
    key: PostingKey,
    positions: Vec<u32>,
}

/// A system event that changes the index.
#[derive(Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct EffectRun {
    position: u32,
    revision: u64,
    stream: String,
    event_type: String,
    data: Vec<u8>,
    metadata: Vec<u8>,
}

/// Gathers what a segment adds, event by event.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    first_position: u64,
    index: SegmentIndex,
    streams: std::collections::HashMap<String, usize>,
    postings: std::collections::HashMap<PostingKey, usize>,
}

impl IndexBuilder {
    /// For a segment whose first event has this position.
    pub(crate) fn new(first_position: u64) -> Self {
        Self { first_position, ..Self::default() }
    }

    /// An event of the segment.
    pub(crate) fn add(&mut self, event: &RecordedEvent) {
        assert!(event.position().get() >= self.first_position, "an event of this segment");
        let delta = event.position().get() - self.first_position;
        let delta = u32::try_from(delta).expect("a segment has below 4 Gi events");
        let runs = &mut self.index.streams;
        let slot = *self.streams.entry(event.stream().to_owned()).or_insert_with(|| {
            runs.push(StreamRun {
                name: event.stream().to_owned(),
                first_revision: event.revision().get(),
                positions: Vec::new(),
            });
            runs.len() - 1
        });
        runs[slot].positions.push(delta);
        let keys = EventKeys::new(event.stream(), event.event_type(), event.tags(), event.id());
        for key in keys.postings() {
            let runs = &mut self.index.postings;
            let slot = *self.postings.entry(*key).or_insert_with(|| {
                runs.push(PostingRun { key: *key, positions: Vec::new() });
                runs.len() - 1
            });
            runs[slot].positions.push(delta);
        }
        self.index.ids.push((keys.id, delta));
        self.index.system_events += u64::from(event.is_system());
        if super::effect_of(event).is_some() {
            self.index.effects.push(EffectRun {
                position: delta,
                revision: event.revision().get(),
                stream: event.stream().to_owned(),
                event_type: event.event_type().to_owned(),
                data: event.data().to_vec(),
                metadata: event.metadata().to_vec(),
            });
        }
    }

    /// What was gathered, with the frames of the segment.
    pub(crate) fn finish(mut self, frames: &FrameTable) -> SegmentIndex {
        self.index.frames = frames
            .slots
            .iter()
            .map(|slot| FrameRun {
                first_position: slot.first_position,
                offset_bytes: slot.offset_bytes,
                recorded_at: slot.recorded_at.as_micros(),
                stored_bytes: slot.stored_bytes,
                count: slot.count,
            })
            .collect();
        let in_streams: usize = self.index.streams.iter().map(|run| run.positions.len()).sum();
        assert_eq!(in_streams, self.index.ids.len(), "an event has one stream and one id (I3)");
        self.index.postings.sort_unstable_by_key(|run| run.key);
        self.index
    }
}

/// The path of a segment's index file.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(INDEX_DIR).join(format!("{number:010}.idx"))
}

/// The number of the segment that an index file is named after.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".idx")?.parse().ok()
}

fn header(log_id: LogId, number: u64, sealed: &Sealed, length: u64, crc: u32) -> Vec<u8> {
    let mut out = FieldWriter::default();
    out.bytes(&MAGIC).u32(ARCHIVE_TYPE).u32(ARCHIVE_VERSION).bytes(log_id.as_bytes());
    out.u64(number).u64(sealed.first_position).u64(sealed.next_position);
    out.bytes(sealed.first_digest.as_bytes()).bytes(sealed.last_digest.as_bytes());
    out.u64(length).u32(crc);
    out.sealed(HEADER_BYTES)
}

/// Writes the index file of a sealed segment, durably.
pub(crate) fn save(
    disk: &dyn Disk,
    dir: &Path,
    log_id: LogId,
    entry: &SegmentEntry,
    index: &SegmentIndex,
) -> Result<(), LogError> {
    let sealed = entry.sealed.as_ref().expect("only sealed segments have an index file");
    let archive = rkyv::to_bytes::<rancor::Error>(index).expect("memory is all it needs");
    let crc = crc32fast::hash(&archive);
    let mut bytes = header(log_id, entry.number, sealed, archive.len() as u64, crc);
    bytes.extend_from_slice(&archive);
    io::replace_file(disk, &path(dir, entry.number), &bytes)?;
    Ok(())
}

/// Reads the index file of a sealed segment. `None`: it is missing or does not check, and is to be
/// made again.
pub(crate) fn load(
    disk: &dyn Disk,
    dir: &Path,
    log_id: LogId,
    entry: &SegmentEntry,
) -> Option<SegmentIndex> {
    let bytes = io::read_file(disk, &path(dir, entry.number), INDEX_FILE_BYTES_MAX).ok()?;
    decode(&bytes, log_id, entry)
}

/// What the bytes of an index file say, if it is that of this segment and checks.
pub(crate) fn decode(bytes: &[u8], log_id: LogId, entry: &SegmentEntry) -> Option<SegmentIndex> {
    let sealed = entry.sealed.as_ref()?;
    let (head, archive) = bytes.split_at_checked(HEADER_BYTES)?;
    check_header(head, log_id, entry.number, sealed, archive).ok()?;
    let mut aligned: AlignedVec = AlignedVec::with_capacity(archive.len());
    aligned.extend_from_slice(archive);
    let index = rkyv::from_bytes::<SegmentIndex, rancor::Error>(&aligned).ok()?;
    index.check(entry, sealed).then_some(index)
}

fn check_header(
    head: &[u8],
    log_id: LogId,
    number: u64,
    sealed: &Sealed,
    archive: &[u8],
) -> Result<(), FieldError> {
    let mut fields = FieldReader::checked(head)?;
    let other = Err(FieldError::Malformed("index file of another segment"));
    if fields.array()? != MAGIC || fields.u32()? != ARCHIVE_TYPE || fields.u32()? != ARCHIVE_VERSION
    {
        return Err(FieldError::Malformed("version"));
    }
    if LogId::from_bytes(fields.array()?) != log_id || fields.u64()? != number {
        return other;
    }
    if fields.u64()? != sealed.first_position || fields.u64()? != sealed.next_position {
        return other;
    }
    let digests = [sealed.first_digest, sealed.last_digest];
    if [ChainDigest::from_bytes(fields.array()?), ChainDigest::from_bytes(fields.array()?)]
        != digests
    {
        return other;
    }
    if fields.u64()? != archive.len() as u64 || fields.u32()? != crc32fast::hash(archive) {
        return Err(FieldError::Checksum);
    }
    Ok(())
}

impl SegmentIndex {
    /// Whether it can be the index of that segment: what is applied is asserted, not hoped for.
    fn check(&self, entry: &SegmentEntry, sealed: &Sealed) -> bool {
        let events = sealed.next_position - sealed.first_position;
        let ascending = |positions: &[u32]| {
            positions.is_sorted_by(|a, b| a < b)
                && positions.last().is_none_or(|last| u64::from(*last) < events)
        };
        let in_streams: u64 = self.streams.iter().map(|run| run.positions.len() as u64).sum();
        let mut names = HashSet::with_capacity(self.streams.len());
        in_streams == events
            && self.ids.len() as u64 == events
            && self.ids.iter().zip(0..).all(|((_, position), index)| *position == index)
            && self.streams.iter().all(|run| {
                // A name that came twice would be pushed to twice.
                names.insert(run.name.as_str()) && ascending(&run.positions)
            })
            && self.postings.is_sorted_by(|a, b| a.key < b.key)
            && self.postings.iter().all(|run| ascending(&run.positions))
            && self.effects.is_sorted_by(|a, b| a.position < b.position)
            && self.effects.iter().all(|effect| u64::from(effect.position) < events)
            && (entry.layout == SegmentLayout::Blocks || self.check_frames(sealed))
    }

    /// Whether its frames can stand in the file of that segment: readers take lengths from them.
    fn check_frames(&self, sealed: &Sealed) -> bool {
        let empty = sealed.first_position == sealed.next_position;
        self.frames.first().map_or(empty, |run| run.first_position == sealed.first_position)
            && self.frames.is_sorted_by(|a, b| {
                a.first_position < b.first_position && a.offset_bytes < b.offset_bytes
            })
            && self.frames.iter().all(|frame| {
                let next = frame.first_position.saturating_add(frame.count.into());
                let end = frame.offset_bytes.saturating_add(frame.stored_bytes.into());
                (sealed.first_position..next).contains(&frame.first_position)
                    && next <= sealed.next_position
                    && frame.offset_bytes >= HEADER_BLOCK_BYTES
                    && frame.stored_bytes as usize >= frame::HEADER_BYTES
                    && io::is_aligned(frame.offset_bytes)
                    && end <= sealed.end_bytes
            })
    }

    /// The frames of the segment.
    pub(crate) fn frame_table(&self, sealed: &Sealed) -> FrameTable {
        let slot = |run: &FrameRun| FrameSlot {
            first_position: run.first_position,
            offset_bytes: run.offset_bytes,
            stored_bytes: run.stored_bytes,
            count: run.count,
            recorded_at: Timestamp::from_micros(run.recorded_at),
        };
        FrameTable {
            slots: self.frames.iter().map(slot).collect(),
            end_bytes: sealed.end_bytes,
            next_position: sealed.next_position,
        }
    }

    /// Adds the segment to the index. Segments are added in order.
    ///
    /// # Errors
    /// When it does not join what is there: then it is to be made again.
    pub(crate) fn add_to(&self, index: &Index, sealed: &Sealed) -> Result<(), &'static str> {
        let at = |delta: &u32| sealed.first_position + u64::from(*delta);
        let mut names = Vec::with_capacity(self.streams.len());
        for run in &self.streams {
            let have = index.stream_named(&run.name).map_or(0, |e| e.positions.len() as u64);
            if have != run.first_revision {
                return Err("revisions do not join");
            }
            names.push(StreamName::new(&run.name).map_err(|_| "name of a stream")?);
        }
        for (run, name) in self.streams.iter().zip(names) {
            let entry = index.stream_or_new(&stream_key(name.as_str()), &name);
            run.positions.iter().for_each(|delta| entry.positions.push(at(delta)));
        }
        self.add_keys(index, sealed);
        Ok(())
    }

    /// Adds the segment where damage is read around: the streams that do not join are known by all but
    /// their own lists.
    pub(crate) fn add_around_damage(&self, index: &Index, sealed: &Sealed) {
        let at = |delta: &u32| sealed.first_position + u64::from(*delta);
        for run in &self.streams {
            let Ok(name) = StreamName::new(&run.name) else { continue };
            let entry = index.stream_or_new(&stream_key(name.as_str()), &name);
            let count = run.positions.len() as u64;
            if entry.positions.len() as u64 == run.first_revision {
                run.positions.iter().for_each(|delta| entry.positions.push(at(delta)));
            } else if let Some(last) = run.first_revision.saturating_add(count).checked_sub(1) {
                entry.note_revision(last);
            }
        }
        self.add_keys(index, sealed);
    }

    /// Adds what does not depend on the segments before.
    fn add_keys(&self, index: &Index, sealed: &Sealed) {
        let at = |delta: &u32| sealed.first_position + u64::from(*delta);
        for run in &self.postings {
            let list = index.postings_or_new(&run.key);
            let dropped = usize::from(crate::planted::is("index-loses-last-posting"));
            let kept = run.positions.len() - dropped.min(run.positions.len());
            run.positions[..kept].iter().for_each(|delta| list.push(at(delta)));
        }
        for (id, delta) in &self.ids {
            index.ids.insert(*id, at(delta));
        }
        for run in &self.effects {
            let effect = Effect::of(&run.stream, &run.event_type, &run.data, &run.metadata);
            if let (Some(effect), Some(entry)) = (effect, index.stream_named(&run.stream)) {
                index.apply_effect(&entry, at(&run.position), run.revision, &effect);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_protocol::Lineage;

    use super::*;
    use crate::frame::EntryId;

    fn entry() -> SegmentEntry {
        let sealed = Sealed {
            first_position: 10,
            next_position: 12,
            end_bytes: 20_480,
            first_digest: ChainDigest::START,
            last_digest: ChainDigest::from_bytes([4; 32]),
            last_entry: EntryId { term: 1, index: 8 },
            first_recorded_at: Timestamp::from_micros(5),
            last_recorded_at: Timestamp::from_micros(9),
        };
        SegmentEntry {
            number: 2,
            generation: 0,
            layout: SegmentLayout::Frames,
            lineage: Lineage::FIRST,
            capacity_bytes: 65_536,
            salt: 7,
            sealed: Some(sealed),
        }
    }

    /// Two events of two streams in two frames.
    fn index() -> SegmentIndex {
        let frame = |first_position, offset_bytes| FrameRun {
            first_position,
            offset_bytes,
            recorded_at: 5,
            stored_bytes: 400,
            count: 1,
        };
        let stream = |name: &str, position| StreamRun {
            name: name.to_owned(),
            first_revision: 0,
            positions: vec![position],
        };
        let posting = |key, position| PostingRun { key: [key; 16], positions: vec![position] };
        SegmentIndex {
            frames: vec![frame(10, 4096), frame(11, 8192)],
            streams: vec![stream("a", 0), stream("b", 1)],
            postings: vec![posting(1, 0), posting(2, 1)],
            ids: vec![(7, 0), (7, 1)],
            ..SegmentIndex::default()
        }
    }

    /// Whether an index file that was changed so is taken, with checksums that hold.
    fn taken(entry: &SegmentEntry, change: impl FnOnce(&mut SegmentIndex)) -> bool {
        let mut index = index();
        change(&mut index);
        let log_id = LogId::from_bytes([1; 16]);
        let archive = rkyv::to_bytes::<rancor::Error>(&index).unwrap();
        let sealed = entry.sealed.as_ref().unwrap();
        let crc = crc32fast::hash(&archive);
        let mut bytes = header(log_id, entry.number, sealed, archive.len() as u64, crc);
        bytes.extend_from_slice(&archive);
        let Some(decoded) = decode(&bytes, log_id, entry) else { return false };
        decoded.add_to(&Index::new(), sealed).is_ok()
    }

    #[test]
    fn an_index_file_whose_frames_cannot_stand_in_the_segment_is_made_again() {
        assert!(taken(&entry(), |_| ()));
        assert!(!taken(&entry(), |index| index.frames[1].offset_bytes = 20_480));
        assert!(!taken(&entry(), |index| index.frames[1].first_position = 12));
        assert!(!taken(&entry(), |index| index.frames[0].first_position = 9));
        assert!(!taken(&entry(), |index| index.frames.clear()));
        assert!(!taken(&entry(), |index| index.frames[1].count = 0));
        assert!(!taken(&entry(), |index| index.frames[1].count = 2));
        assert!(!taken(&entry(), |index| index.frames[1].stored_bytes = 12_289));
        assert!(!taken(&entry(), |index| index.frames[0].stored_bytes = 103));
        let rewritten = SegmentEntry { layout: SegmentLayout::Blocks, ..entry() };
        assert!(taken(&rewritten, |index| index.frames.clear()), "blocks need no frames");
    }

    #[test]
    fn an_index_file_that_names_something_twice_or_wrongly_is_made_again() {
        assert!(!taken(&entry(), |index| index.streams[1].name = "a".to_owned()));
        assert!(!taken(&entry(), |index| index.postings[1].key = [1; 16]));
        assert!(!taken(&entry(), |index| index.ids[1].1 = 2));
        assert!(!taken(&entry(), |index| index.ids[0].1 = 1));
        assert!(!taken(&entry(), |index| index.streams[1].name = "a\nb".to_owned()));
    }
}

//! A rewritten segment from front to back: its events in order of positions, and its chain.

use std::path::Path;

use nexus_protocol::{Corruption, CorruptionKind, RecordedEvent};

use super::directory::DirectoryReader;
use super::read::{gather, one};
use super::table::BlockTable;
use crate::error::LogError;
use crate::io::DiskFile;
use crate::manifest::{Sealed, SegmentEntry};
use crate::segment::{Chunk, SEGMENTS_DIR};

/// Bytes of records that are decoded at a time.
const WALK_BYTES: u64 = 512 * 1024;

/// The records of a segment, one after the other.
struct Records<'a> {
    file: &'a dyn DiskFile,
    table: &'a BlockTable,
    chunk: Option<Chunk>,
    /// Position of the next one.
    next: u64,
}

impl Records<'_> {
    /// The next record, checked; `None` at the end.
    fn next_record(&mut self) -> Result<Option<RecordedEvent>, Corruption> {
        if self.next == self.table.next_position {
            return Ok(None);
        }
        let found = self.chunk.as_ref().and_then(|chunk| chunk.find(self.next));
        let index = match found {
            Some(index) => index,
            None => {
                // Let go first, so that its memory can be used again.
                self.chunk = None;
                self.chunk = Some(gather(self.file, self.table, self.next, WALK_BYTES, true)?);
                0
            }
        };
        let chunk = self.chunk.as_ref().expect("just gathered");
        let record = chunk.record(index).map_err(|_| self.bad_record())?;
        self.next += 1;
        Ok(Some(record))
    }

    fn bad_record(&self) -> Corruption {
        let (offset, _) = self.table.place_of(self.next);
        crate::error::corruption(
            self.file.path(),
            offset,
            CorruptionKind::Checksum("record".into()),
        )
    }
}

/// All events in order of positions; every checksum and the chain are checked on the way.
pub(crate) fn for_each_event(
    file: &dyn DiskFile,
    dir: &Path,
    entry: &SegmentEntry,
    on_event: &mut dyn FnMut(&RecordedEvent),
) -> Result<(), LogError> {
    assert_eq!(file.path(), dir.join(SEGMENTS_DIR).join(entry.file_name()), "the entry's file");
    let sealed = entry.sealed.as_ref().expect("a rewritten segment stays sealed");
    let table = BlockTable::load(file, sealed)?;
    walk(file, &table, sealed, on_event).map_err(|corruption| LogError::Corrupt(corruption.into()))
}

/// As [`for_each_event`], with the table at hand.
pub(super) fn walk(
    file: &dyn DiskFile,
    table: &BlockTable,
    sealed: &Sealed,
    on_event: &mut dyn FnMut(&RecordedEvent),
) -> Result<(), Corruption> {
    let mut records = Records { file, table, chunk: None, next: table.first_position };
    let mut directory = DirectoryReader::new(file, table);
    let (mut chain, mut frames, mut last) = (sealed.first_digest, 0, None);
    while let Some(frame) = directory.next_frame()? {
        let header = &frame.header;
        if header.first_position != records.next || header.starts_segment != (frames == 0) {
            return Err(directory.damage(CorruptionKind::Malformed("position of a frame".into())));
        }
        let input = frame.chain_input(|input| {
            let record = records.next_record()?.ok_or_else(|| {
                directory.damage(CorruptionKind::Malformed("count of a frame".into()))
            })?;
            if record.recorded_at() != header.recorded_at {
                return Err(records.bad_record());
            }
            input.record(blake3::hash(record.content()).as_bytes(), record.revision());
            on_event(&record);
            Ok(())
        })?;
        chain = chain.extend(header, &input);
        frames += 1;
        last = Some((header.entry, header.recorded_at));
    }
    let whole = records.next == table.next_position
        && frames == table.frames
        && last == Some((sealed.last_entry, sealed.last_recorded_at));
    if !whole {
        return Err(
            directory.damage(CorruptionKind::Malformed("end of the frame directory".into()))
        );
    }
    if chain == sealed.last_digest { Ok(()) } else { Err(directory.damage(CorruptionKind::Chain)) }
}

/// All events that can be read, around what is damaged. Nothing is said of the chain.
pub(crate) fn for_each_readable(
    file: &dyn DiskFile,
    entry: &SegmentEntry,
    on_event: &mut dyn FnMut(&RecordedEvent),
) -> Result<(), LogError> {
    let sealed = entry.sealed.as_ref().expect("a rewritten segment stays sealed");
    let table = BlockTable::load(file, sealed)?;
    let mut next = table.first_position;
    while next < table.next_position {
        let chunk =
            gather(file, &table, next, WALK_BYTES, true).or_else(|_| one(file, &table, next));
        let Ok(chunk) = chunk else {
            let (_, after) = table.place_of(next);
            next = after.unwrap_or(table.next_position);
            continue;
        };
        // A block alone may leave out positions: only those without a hole are taken.
        let mut index = chunk.find(next).unwrap_or(chunk.len());
        while index < chunk.len() && chunk.position(index) == next {
            if let Ok(record) = chunk.record(index) {
                on_event(&record);
            }
            index += 1;
            next += 1;
        }
    }
    Ok(())
}

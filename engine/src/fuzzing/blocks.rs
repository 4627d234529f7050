//! Rewritten segments: footer, table, blocks, frame directory, and whatever reads them.
//!
//! An input is the file without its header block, and behind it 24 bytes of what the manifest says:
//! term, log index, and time of the last frame. The rest of that follows from the footer.

use std::path::Path;
use std::sync::Arc;

use nexus_protocol::{Lineage, Timestamp};

use super::{mend, put};
use crate::frame::{ChainDigest, EntryId};
use crate::io::{ALIGNMENT, Disk, DiskFile, MemoryDisk};
use crate::manifest::{Sealed, SegmentEntry, SegmentLayout};
use crate::segment::blocks::{BlockTable, for_each_event, for_each_readable, load, verify};
use crate::segment::frames::Want;
use crate::segment::{Chunk, Content, SEGMENTS_DIR, Segment, SegmentFiles};

const FOOTER_BYTES: usize = 256;
const BLOCK_ENTRY_BYTES: usize = 40;
const PIECE_ENTRY_BYTES: usize = 16;
const LAST_BYTES: usize = 24;
const PLAIN: u32 = 1 << 2;
/// Positions that are looked for, at most.
const LOOKED_FOR_MAX: u64 = 6;

/// A rewritten segment gives no more events than it has positions, each once and where it stands,
/// whoever asks.
pub fn blocks(bytes: &[u8]) {
    check(bytes);
    check(&mended(bytes));
}

fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let Some(end) = bytes.len().checked_sub(LAST_BYTES) else { return out };
    let Some(footer_at) = end.checked_sub(FOOTER_BYTES) else { return out };
    let footer = &bytes[footer_at..end];
    let (blocks, pieces) = (mend::u32_at(footer, 104), mend::u32_at(footer, 108));
    let entries = u64::from(blocks) * BLOCK_ENTRY_BYTES as u64;
    let table_bytes = entries + u64::from(pieces) * PIECE_ENTRY_BYTES as u64 + 4;
    let table_bytes = usize::try_from(table_bytes).unwrap_or(usize::MAX);
    let Some(table_at) = footer_at.checked_sub(table_bytes) else { return out };
    let (mut at, mut directory_at) = (0_usize, 0);
    for run in 0..(blocks + pieces) as usize {
        let block = run < blocks as usize;
        let entry = if block {
            table_at + run * BLOCK_ENTRY_BYTES
        } else {
            footer_at - 4 - (blocks as usize + pieces as usize - run) * PIECE_ENTRY_BYTES
        };
        if run == blocks as usize {
            directory_at = at;
        }
        let stored = entry + if block { 24 } else { 0 };
        let length = mend::u32_at(&out, stored + 4) as usize;
        let plain = mend::u32_at(&out, stored + 12) & PLAIN != 0;
        let count = mend::u32_at(&out, entry + 16) as usize;
        if let Some(run) = out.get_mut(at..at.saturating_add(length).min(table_at)) {
            if plain && block {
                mend::records(run, count);
            }
            let crc = crc32fast::hash(run);
            mend::put(&mut out, stored + 8, &crc.to_le_bytes());
        }
        at = at.saturating_add(length);
    }
    let table = mend::sealed(&out[table_at..footer_at], table_bytes);
    let mut footer = out[footer_at..end].to_vec();
    let place = |at: usize| (at.saturating_add(ALIGNMENT) as u64).to_le_bytes();
    mend::put(&mut footer, 112, &place(directory_at));
    mend::put(&mut footer, 120, &place(table_at));
    mend::put(&mut footer, 128, &table[table_bytes - 4..]);
    mend::put(&mut out, table_at, &table);
    mend::put(&mut out, footer_at, &mend::sealed(&footer, FOOTER_BYTES));
    out
}

/// The entry of a segment whose file these bytes may be.
fn entry_of(file: &[u8], last: &[u8]) -> Option<SegmentEntry> {
    let footer = file.last_chunk::<FOOTER_BYTES>()?;
    let (first_position, next_position) = (mend::u64_at(footer, 16), mend::u64_at(footer, 24));
    if first_position > next_position {
        return None;
    }
    let digest = |at: usize| footer[at..].first_chunk().map(|d| ChainDigest::from_bytes(*d));
    let recorded_at = Timestamp::from_micros(mend::u64_at(last, 16).cast_signed());
    let sealed = Sealed {
        first_position,
        next_position,
        end_bytes: file.len() as u64,
        first_digest: digest(32)?,
        last_digest: digest(64)?,
        last_entry: EntryId { term: mend::u64_at(last, 0), index: mend::u64_at(last, 8) },
        first_recorded_at: recorded_at,
        last_recorded_at: recorded_at,
    };
    Some(SegmentEntry {
        number: 1,
        generation: 1,
        layout: SegmentLayout::Blocks,
        lineage: Lineage::FIRST,
        capacity_bytes: 1 << 20,
        salt: 1,
        sealed: Some(sealed),
    })
}

fn check(bytes: &[u8]) {
    let Some((bytes, last)) = bytes.split_last_chunk::<LAST_BYTES>() else { return };
    let bytes = [&[0; ALIGNMENT], bytes].concat();
    let Some(entry) = entry_of(&bytes, last) else { return };
    let (disk, dir) = (MemoryDisk::new(), Path::new("/"));
    disk.create_dir(&dir.join(SEGMENTS_DIR)).expect("the disk is empty");
    let file = put(&disk, &dir.join(SEGMENTS_DIR).join(entry.file_name()), &bytes);
    let sealed = entry.sealed.as_ref().expect("made so above");
    let Ok(table) = BlockTable::load(&*file, sealed) else { return };
    let events = sealed.next_position - sealed.first_position;
    let mut damages = 0;
    let whole = verify(&*file, file.path(), &entry, &mut |_| damages += 1);
    let whole = whole.expect("its version is known");
    assert!(whole <= events, "no more events than the footer says");
    let mut next = sealed.first_position;
    let walked = for_each_event(&*file, dir, &entry, &mut |event| {
        assert_eq!(event.position().get(), next, "events come in order, each once");
        next += 1;
    });
    if walked.is_ok() {
        assert_eq!(next, sealed.next_position, "a chain that holds covers every event");
    }
    assert!(damages > 0 || (walked.is_ok() && whole == events), "what is whole verifies");
    let mut readable = sealed.first_position;
    for_each_readable(&*file, &entry, &mut |event| {
        assert!((readable..sealed.next_position).contains(&event.position().get()));
        readable = event.position().get() + 1;
    })
    .expect("the table was read before");
    check_loads(dir, entry, &file, table);
}

/// Readers ask for single positions and for what is around them.
fn check_loads(dir: &Path, entry: SegmentEntry, file: &Arc<dyn DiskFile>, table: BlockTable) {
    let sealed = entry.sealed.expect("made so above");
    let files = SegmentFiles::sealed(Arc::clone(file));
    let content = Content::Blocks(table);
    let segment = Segment::new(dir, entry, sealed.first_position, files, Arc::default(), content);
    let Content::Blocks(table) = &segment.content else { unreachable!("made so above") };
    let bytes = 8 * 1024;
    let wants = [
        Want::One,
        Want::Following { bytes, system: true },
        Want::Following { bytes, system: false },
        Want::Preceding { bytes, system: true },
        Want::Preceding { bytes, system: false },
    ];
    let step = (sealed.next_position - sealed.first_position).div_ceil(LOOKED_FOR_MAX).max(1);
    let mut position = sealed.first_position;
    while position < sealed.next_position {
        for want in wants {
            if let Ok(chunk) = load(&segment, table, position, want) {
                check_chunk(&chunk, &sealed);
            }
        }
        let (_, after) = table.place_of(position);
        assert!(after.is_none_or(|after| after > position && after < sealed.next_position));
        position = position.saturating_add(step);
    }
}

fn check_chunk(chunk: &Chunk, sealed: &Sealed) {
    for index in (0..chunk.len()).filter(|index| !chunk.leaves_out(*index)) {
        if let Ok(record) = chunk.record(index) {
            let position = record.position().get();
            assert_eq!(position, chunk.position(index), "a record stands where it says");
            assert!((sealed.first_position..sealed.next_position).contains(&position));
        }
    }
}

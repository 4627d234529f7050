//! Index files: header, archive, and what they add to the index.

use nexus_protocol::{Lineage, LogId, Timestamp};

use super::mend;
use crate::frame::{ChainDigest, EntryId};
use crate::index::Index;
use crate::index::file::decode;
use crate::manifest::{Sealed, SegmentEntry, SegmentLayout};

/// Bytes before the archive.
const HEADER_BYTES: usize = 256;
/// Where the frames of the segment end, as its manifest says: an input has no say in it.
const END_BYTES: u64 = 1 << 20;

/// An index file that checks is added without a panic, and adds just the events of its segment.
pub fn index_file(bytes: &[u8]) {
    check(bytes);
    check(&mended(bytes));
}

fn mended(bytes: &[u8]) -> Vec<u8> {
    let Some((head, archive)) = bytes.split_at_checked(HEADER_BYTES) else { return Vec::new() };
    let mut head = head.to_vec();
    mend::put(&mut head, 120, &(archive.len() as u64).to_le_bytes());
    mend::put(&mut head, 128, &crc32fast::hash(archive).to_le_bytes());
    [&mend::sealed(&head, HEADER_BYTES), archive].concat()
}

/// The entry of a segment whose index file this may be.
fn entry_of(bytes: &[u8]) -> Option<(LogId, SegmentEntry)> {
    let array = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<32>()).copied();
    let (first_position, next_position) = (mend::u64_at(bytes, 40), mend::u64_at(bytes, 48));
    if first_position > next_position {
        return None;
    }
    let sealed = Sealed {
        first_position,
        next_position,
        end_bytes: END_BYTES,
        first_digest: ChainDigest::from_bytes(array(56)?),
        last_digest: ChainDigest::from_bytes(array(88)?),
        last_entry: EntryId { term: 1, index: 1 },
        first_recorded_at: Timestamp::default(),
        last_recorded_at: Timestamp::default(),
    };
    let entry = SegmentEntry {
        number: mend::u64_at(bytes, 32),
        generation: 0,
        layout: SegmentLayout::Frames,
        lineage: Lineage::FIRST,
        capacity_bytes: END_BYTES,
        salt: 1,
        sealed: Some(sealed),
    };
    let log_id = bytes.get(16..)?.first_chunk::<16>()?;
    Some((LogId::from_bytes(*log_id), entry))
}

fn check(bytes: &[u8]) {
    let Some((log_id, entry)) = entry_of(bytes) else { return };
    let Some(loaded) = decode(bytes, log_id, &entry) else { return };
    let sealed = entry.sealed.as_ref().expect("made so above");
    let frames = loaded.frame_table(sealed);
    for (at, slot) in frames.slots.iter().enumerate() {
        assert!(frames.end_of(at) > slot.offset_bytes, "a frame ends behind its start");
        assert_eq!(frames.find(slot.first_position), Some(at));
    }
    let index = Index::new();
    if loaded.add_to(&index, sealed).is_err() {
        return;
    }
    let (mut events, bound) = (0, sealed.next_position);
    index.streams_from("", None, |stream| {
        let view = stream.view(bound);
        assert!(view.floor <= view.count, "no more is hidden than there is");
        events += view.count;
        true
    });
    assert_eq!(events, sealed.next_position - sealed.first_position, "every event is in a stream");
}

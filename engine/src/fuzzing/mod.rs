//! What fuzzing calls: each decoder of bytes from a disk, with what must hold of every answer.
//!
//! Not part of the engine: it is compiled for tests and with `--cfg fuzzing`, and is the one place
//! where decoders are opened to `fuzz/`. A check takes any bytes, and panics where something does
//! not hold.
//!
//! Bytes are decoded as they came, and once more with their checksums mended: a checksum stops
//! nearly every input, and who can write the files can make one.

mod blocks;
mod frames;
mod index;
mod mend;
#[cfg(test)]
mod seeds;

pub use blocks::blocks;
pub use frames::frame;
pub use index::index_file;

use std::path::Path;
use std::sync::Arc;

use nexus_protocol::LogId;

use crate::io::{ALIGNMENT, Disk, FileKind, MemoryDisk, OpenMode, write_all_at};
use crate::manifest::Manifest;
use crate::node_state::{NODE_STATE_FILE, NodeState, NodeStateFile};
use crate::segment::SegmentHeader;

/// A manifest that decodes says the same when it is written anew, and is no larger than its bytes.
pub fn manifest(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), mend::sealed(bytes, bytes.len())] {
        let Ok(manifest) = Manifest::decode(&bytes) else { continue };
        let again = manifest.encode();
        assert_eq!(again.len(), bytes.len(), "every part of it is accounted for");
        assert_eq!(Manifest::decode(&again).as_ref(), Ok(&manifest));
        assert!(manifest.segments.iter().all(|segment| segment.file_name().ends_with(".seg")));
        assert!(manifest.lineages.last().is_some_and(|(last, _)| *last == manifest.lineage()));
    }
}

/// A header block that decodes says the same when it is written anew.
pub fn segment_header(bytes: &[u8]) {
    for block in [bytes.to_vec(), mend::sealed(bytes, ALIGNMENT)] {
        if let Ok(header) = SegmentHeader::decode(&block) {
            assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        }
    }
}

/// Bytes of each slot that an input gives; the rest is zeros, or where a checksum stands.
const SLOT_BYTES: usize = 144;

/// Two slots of node-state: the newer one counts, and what is saved next is read back from either.
pub fn node_state(bytes: &[u8]) {
    node_state_file(bytes);
    let (first, second) = bytes.split_at(bytes.len().min(SLOT_BYTES));
    let mended = [mend::sealed(first, ALIGNMENT), mend::sealed(second, ALIGNMENT)];
    node_state_file(&mended.concat());
}

fn node_state_file(bytes: &[u8]) {
    let slots: Vec<_> = bytes.chunks(ALIGNMENT).take(2).map(NodeState::decode).collect();
    for state in slots.iter().flatten() {
        assert_eq!(NodeState::decode(&state.encode()).as_ref(), Ok(state));
    }
    let newest = slots.iter().flatten().max_by_key(|state| state.sequence);
    let log_id = newest.map_or(LogId::from_bytes([0; 16]), |state| state.log_id);
    let (disk, dir) = (MemoryDisk::new(), Path::new("/"));
    put(&disk, &dir.join(NODE_STATE_FILE), bytes);
    let open = || NodeStateFile::open(&disk, dir, OpenMode::ReadWrite, log_id, None);
    let Ok(mut file) = open() else { return };
    let newest = newest.expect("it opens by a slot that holds");
    assert_eq!(file.state().sequence, newest.sequence);
    let updated = file.update(|state| state.node_id = !state.node_id);
    assert_eq!(updated.is_ok(), newest.sequence < u64::MAX, "a disk in memory takes all");
    if updated.is_err() {
        return;
    }
    for lost in [0, ALIGNMENT] {
        let file = disk.open(&dir.join(NODE_STATE_FILE), OpenMode::ReadWrite, FileKind::Plain);
        let file = file.expect("it is there");
        let mut slot = vec![0; ALIGNMENT];
        crate::io::read_exact_at(&*file, &mut slot, lost as u64).expect("two slots are there");
        write_all_at(&*file, &[0; 8], lost as u64).expect("a disk in memory takes all");
        let state = *open().expect("one slot is enough").state();
        assert_eq!((state.sequence, state.log_id), (newest.sequence + 1, log_id));
        write_all_at(&*file, &slot, lost as u64).expect("a disk in memory takes all");
    }
}

/// A file of these bytes.
fn put(disk: &MemoryDisk, path: &Path, bytes: &[u8]) -> Arc<dyn crate::io::DiskFile> {
    let file = disk.open(path, OpenMode::Create, FileKind::Plain).expect("the folder is there");
    write_all_at(&*file, bytes, 0).expect("a disk in memory takes all");
    file
}

#[cfg(test)]
mod tests;

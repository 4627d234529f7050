//! What a newer Nexus wrote is refused as that, and nothing is changed: frames that hold and are not
//! understood are neither a torn tail nor damage.

use std::path::Path;
use std::sync::Arc;

use nexus_engine::io::{Disk, SimDisk};
use nexus_engine::{Engine, OpenError, verify_on};

use crate::history::Line;
use crate::stores::{SHAPE, Store, files, index_file, path_of, read_around, segment};
use crate::workload::DIR;

const FRAME: u64 = 4096;

/// Frame 0 and four frames of one event; what follows the third is vouched for by nothing.
fn store() -> (SimDisk, Line) {
    let mut store = Store::new();
    store.fill(2, 24);
    store.engine.maintain().unwrap();
    store.fill(2, 24);
    store.killed()
}

/// Changes a frame, and makes its checksums hold again.
fn change_frame(disk: &SimDisk, file: &str, at: u64, change: impl FnOnce(&mut [u8])) {
    let start = usize::try_from(at).unwrap();
    let mut frame = disk.read_back(file)[start..].to_vec();
    let body = usize::try_from(u32::from_le_bytes(frame[8..12].try_into().unwrap())).unwrap();
    change(&mut frame[..104 + body]);
    let crc = crc32fast::hash(&frame[104..104 + body]);
    frame[12..16].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&frame[..96]);
    frame[96..100].copy_from_slice(&crc.to_le_bytes());
    disk.corrupt(file, at, &frame[..104 + body]);
}

/// The type of the extension of a frame's first batch: the idempotency key's.
fn set_extension(frame: &mut [u8], kind: u16) {
    assert_eq!(frame[120..122], [1, 0]);
    frame[120..122].copy_from_slice(&kind.to_le_bytes());
}

fn open(disk: &SimDisk) -> Result<Engine, OpenError> {
    SHAPE.options(disk).open(DIR)
}

/// However it is opened it is refused as newer, and no byte is changed. Answers what was said.
fn check_newer(disk: &SimDisk, version: u32) -> String {
    let before = files(disk);
    let options = || SHAPE.options(disk);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let refusals = [
        open(disk).map(drop),
        options().read_only(true).open(DIR).map(drop),
        options().damaged(true).open(DIR).map(drop),
        options().reset_node_state(true).open(DIR).map(drop),
        verify_on(&shared, Path::new(DIR), |_| ()).map(drop),
    ];
    let mut said = String::new();
    for refusal in refusals {
        match refusal {
            Err(OpenError::NewerFormat { version: found, what, known: 1, .. }) => {
                assert_eq!(found, version, "{what}");
                said = what;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(files(disk) == before, "nothing was touched");
    said
}

#[test]
fn a_frame_that_holds_and_is_not_understood_is_no_torn_tail() {
    type Change = fn(&mut [u8]);
    let cases: [(Change, u32, &str); 5] = [
        (|frame| frame[4] = 2, 2, "frame of version 2"),
        (|frame| frame[4] = 7, 7, "frame of version 7"),
        (|frame| frame[5] = 9, 2, "frame of kind 9"),
        (|frame| frame[7] = 0x40, 2, "frame with flags 0x4000"),
        (|frame| set_extension(frame, 0x8042), 2, "batch with extension 0x8042"),
    ];
    for (change, version, what) in cases {
        // The last one; and one from which the log would have to go on.
        for block in [5, 4] {
            let (disk, _) = store();
            change_frame(&disk, &segment(1), FRAME * block, change);
            let said = check_newer(&disk, version);
            assert_eq!(said, format!("{what} at byte {} of {}", FRAME * block, segment(1)));
        }
        // Behind a frame that did not reach the disk.
        let (disk, _) = store();
        change_frame(&disk, &segment(1), FRAME * 5, change);
        change_frame(&disk, &segment(1), FRAME * 5, |frame| frame[72..88].fill(0));
        disk.corrupt(segment(1), FRAME * 4, &[0; 4096]);
        check_newer(&disk, version);
    }
}

#[test]
fn a_frame_of_an_earlier_use_of_the_blocks_is_a_torn_tail_whatever_its_version() {
    let (disk, line) = store();
    change_frame(&disk, &segment(1), FRAME * 5, |frame| {
        frame[4] = 2;
        frame[56] ^= 1;
    });
    let engine = open(&disk).unwrap();
    assert_eq!(read_around(&engine, &line.up_to(3)).unwrap(), []);
    assert_eq!(disk.read_back(segment(1))[4096 * 5..4096 * 6], [0; 4096]);
    // A checksum that does not hold says that nothing was meant.
    let (disk, line) = store();
    disk.corrupt(segment(1), FRAME * 5 + 4, &[2]);
    assert_eq!(read_around(&open(&disk).unwrap(), &line.up_to(3)).unwrap(), []);
}

#[test]
fn an_extension_that_may_be_passed_over_is() {
    let (disk, line) = store();
    change_frame(&disk, &segment(1), FRAME * 5, |frame| set_extension(frame, 0x42));
    let engine = open(&disk).unwrap();
    assert_eq!(read_around(&engine, &line).unwrap(), []);
}

#[test]
fn a_sealed_segment_that_must_be_read_is_refused_as_newer() {
    let mut store = Store::new();
    store.fill(20, 24);
    store.engine.maintain().unwrap();
    let (disk, _) = store.closed();
    change_frame(&disk, &segment(1), FRAME * 3, |frame| frame[4] = 2);
    disk.remove_file(index_file(1));
    let before = files(&disk);
    match open(&disk) {
        Err(OpenError::NewerFormat { version: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(files(&disk) == before, "nothing was touched");
}

#[test]
fn a_newer_footer_of_a_rewritten_segment_is_refused_as_newer() {
    let mut store = Store::new();
    store.fill(20, 24);
    store.engine.maintain().unwrap();
    let (disk, _) = store.closed();
    let engine = SHAPE.options(&disk).compress(true).frames_kept_bytes(0).open(DIR).unwrap();
    engine.maintain().unwrap();
    engine.close().unwrap();
    let file = path_of("segments/0000000001.g1.seg");
    let bytes = disk.read_back(&file);
    let mut footer = bytes[bytes.len() - 256..].to_vec();
    footer[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32fast::hash(&footer[..252]);
    footer[252..].copy_from_slice(&crc.to_le_bytes());
    disk.corrupt(&file, bytes.len() as u64 - 256, &footer);
    let said = check_newer(&disk, 2);
    assert!(said.starts_with("rewritten segment of version 2"), "{said}");
}

#[test]
fn a_newer_header_of_a_segment_or_node_state_is_refused_as_newer() {
    for (file, what) in [
        (segment(1), "segment header of version 2"),
        (segment(2), "segment header of version 2"),
        (path_of("node-state"), "node-state of version 2"),
    ] {
        let mut store = Store::new();
        store.fill(20, 24);
        store.engine.maintain().unwrap();
        let (disk, _) = store.closed();
        // One slot of node-state is enough: the other may hold an older vote.
        let mut block = disk.read_back(&file)[..4096].to_vec();
        block[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let crc = crc32fast::hash(&block[..4092]);
        block[4092..].copy_from_slice(&crc.to_le_bytes());
        disk.corrupt(&file, 0, &block);
        let said = check_newer(&disk, 2);
        assert!(said.starts_with(what), "{said}");
    }
}

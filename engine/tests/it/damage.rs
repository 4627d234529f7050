//! Bad input: files that are cut short, changed, swapped, or gone are seen and named, nothing is
//! changed, and what is undamaged can still be read.

use std::path::Path;
use std::sync::Arc;

use nexus_engine::io::sim::{CrashOptions, CrashPoints};
use nexus_engine::io::{Disk, FileKind, OpenMode, SimDisk};
use nexus_engine::{Engine, OpenError};
use nexus_protocol::{Append, AppendError, CorruptionKind, Unavailable};

use crate::history::{Line, numbered};
use crate::stores::{
    SHAPE, Store, corruption, files, index_file, path_of, read_around, segment, store_of_segments,
};
use crate::workload::DIR;

fn closed() -> (SimDisk, Line) {
    store_of_segments().closed()
}

fn open(disk: &SimDisk) -> Result<Engine, OpenError> {
    SHAPE.options(disk).open(DIR)
}

/// Opening names `file`, for writing and for reading, and changes nothing.
fn check_refused(disk: &SimDisk, file: &str) -> CorruptionKind {
    let before = files(disk);
    let read_only = SHAPE.options(disk).read_only(true).open(DIR).unwrap_err();
    let error = open(disk).unwrap_err();
    for error in [&read_only, &error] {
        assert_eq!(corruption(error).map(|it| it.file.as_str()), Some(file), "{error}");
    }
    assert!(files(disk) == before, "a refusal changes nothing");
    corruption(&error).unwrap().kind.clone()
}

/// A sealed segment that is damaged is fenced alone where its index file is whole, and refused where
/// that is gone too. Answers how it is damaged.
fn check_fenced(disk: &SimDisk, number: u64, line: &Line) -> CorruptionKind {
    let fenced = disk.image();
    for options in [SHAPE.options(&fenced).read_only(true), SHAPE.options(&fenced)] {
        let engine = options.open(DIR).unwrap();
        assert_eq!(read_around(&engine, line).unwrap(), [positions_of(number, line)]);
    }
    disk.remove_file(index_file(number));
    check_refused(disk, &segment(number))
}

/// What is left can be read, all but the positions in `holes`, and nothing is changed.
fn check_left(disk: &SimDisk, line: &Line, holes: &[std::ops::Range<u64>]) {
    let before = files(disk);
    let engine = SHAPE.options(disk).damaged(true).open(DIR).unwrap();
    assert_eq!(read_around(&engine, line).unwrap(), holes);
    let refused = engine.append(Append::to("s-1").event(numbered(1, 1))).wait();
    assert!(matches!(refused, Err(AppendError::Unavailable(Unavailable::ReadOnly))), "{refused:?}");
    drop(engine);
    assert!(files(disk) == before, "a reader changes nothing");
}

/// Positions of the events of a segment of `closed`: one frame of one event in each block after the
/// header, and frame 0, which has none, in the first.
fn positions_of(number: u64, line: &Line) -> std::ops::Range<u64> {
    let starts = [0, 0, 14, 29, 44, line.end()];
    let index = usize::try_from(number).unwrap();
    starts[index]..starts[index + 1]
}

#[test]
fn a_sealed_segment_that_is_gone_is_missed() {
    let (disk, line) = closed();
    disk.remove_file(segment(2));
    assert_eq!(check_fenced(&disk, 2, &line), CorruptionKind::Missing);
    check_left(&disk, &line, &[positions_of(2, &line)]);
}

#[test]
fn the_active_segment_that_is_gone_is_missed() {
    let (disk, line) = closed();
    disk.remove_file(segment(4));
    assert_eq!(check_refused(&disk, &segment(4)), CorruptionKind::Missing);
    let engine = SHAPE.options(&disk).damaged(true).open(DIR).unwrap();
    let left = line.up_to(positions_of(4, &line).start);
    assert_eq!(read_around(&engine, &left).unwrap(), []);
    let lost = engine.lost_end().unwrap();
    assert_eq!((lost.file, lost.kind), (segment(4), CorruptionKind::Missing));
}

#[test]
fn an_end_of_the_log_that_is_whole_is_not_called_lost() {
    let (disk, _) = closed();
    let damaged = |disk: &SimDisk| SHAPE.options(disk).damaged(true).open(DIR).unwrap();
    assert_eq!(damaged(&disk).lost_end(), None);
    // Damage elsewhere is for those who read there.
    disk.remove_file(segment(2));
    assert_eq!(damaged(&disk).lost_end(), None);
    // A torn tail was never acknowledged.
    let mut store = Store::new();
    store.fill(4, 24);
    let (disk, _) = store.killed();
    disk.flip_bit(segment(1), 4096 * 5 + 20, 1);
    assert_eq!(damaged(&disk).lost_end(), None);
}

#[test]
fn a_prepared_segment_that_is_gone_is_missed() {
    let (disk, line) = closed();
    disk.remove_file(segment(5));
    assert_eq!(check_refused(&disk, &segment(5)), CorruptionKind::Missing);
    check_left(&disk, &line, &[]);
}

#[test]
fn segments_that_are_cut_short_are_seen() {
    for (number, len_bytes) in [(1, 0), (1, 4096), (2, 4096 * 7), (3, 4096 * 16 - 1)] {
        let (disk, line) = closed();
        disk.truncate_file(segment(number), len_bytes);
        assert_eq!(check_fenced(&disk, number, &line), CorruptionKind::Truncated);
        check_left(&disk, &line, &[positions_of(number, &line)]);
    }
    // Frames of the active segment are behind what node-state says is durable.
    for frames in 0..8 {
        let (disk, line) = closed();
        disk.truncate_file(segment(4), 4096 * (1 + frames));
        let kind = check_refused(&disk, &segment(4));
        assert!(matches!(kind, CorruptionKind::Acknowledged { segment: 4, .. }), "{kind:?}");
        let engine = SHAPE.options(&disk).damaged(true).open(DIR).unwrap();
        let left = line.up_to(positions_of(4, &line).start + frames);
        assert_eq!(read_around(&engine, &left).unwrap(), []);
        let lost = engine.lost_end().unwrap();
        assert!(matches!(lost.kind, CorruptionKind::Acknowledged { segment: 4, .. }), "{lost}");
    }
}

#[test]
fn segments_that_were_swapped_are_told_apart() {
    for (one, other) in [(1, 2), (2, 4), (4, 5)] {
        let (disk, line) = closed();
        disk.swap_files(segment(one), segment(other));
        if other < 4 {
            let holes = read_around(&open(&disk.image()).unwrap(), &line).unwrap();
            assert_eq!(holes, [positions_of(one, &line), positions_of(other, &line)]);
            disk.remove_file(index_file(one));
        }
        let refused = if other == 4 { other } else { one };
        let kind = check_refused(&disk, &segment(refused));
        assert!(matches!(kind, CorruptionKind::Foreign(_)), "{kind:?}");
        SHAPE.options(&disk).damaged(true).open(DIR).unwrap();
    }
    // The same segment of another log.
    let (disk, line) = closed();
    let (other, _) = closed();
    disk.corrupt(segment(2), 0, &other.read_back(segment(2)));
    assert_eq!(check_fenced(&disk, 2, &line), CorruptionKind::Foreign("another log".into()));
    check_left(&disk, &line, &[positions_of(2, &line)]);
}

#[test]
fn a_damaged_frame_costs_its_events_and_no_others() {
    // In a sealed segment the frame table of the index file leads around it.
    for number in 1..=4_u64 {
        for block in [1, 2, 7, 8, 14] {
            let first = positions_of(number, &closed().1).start;
            // Frame 0 stands in the first block of the first segment.
            let position = if number == 1 { block.max(2) - 2 } else { first + block - 1 };
            if number == 1 && block == 1 || number == 4 && block > 8 {
                continue;
            }
            for offset_bytes in [0, 20, 200, 250] {
                let (disk, line) = closed();
                let hole = position..position + 1;
                let last = hole.end == line.end();
                disk.flip_bit(segment(number), 4096 * block + offset_bytes, 3);
                if number == 4 {
                    check_refused(&disk, &segment(4));
                }
                if !last {
                    check_left(&disk, &line, std::slice::from_ref(&hole));
                }
                // Without its index file a sealed segment is read whole, and all of it is checked.
                if number < 4 {
                    let engine = open(&disk).unwrap();
                    let holes = read_around(&engine, &line).unwrap();
                    assert!(holes == [hole.clone()], "{holes:?} {hole:?}");
                    drop(engine);
                    disk.remove_file(index_file(number));
                    check_refused(&disk, &segment(number));
                    check_left(&disk, &line, &[hole]);
                }
            }
        }
    }
}

#[test]
fn an_impossible_place_of_a_record_is_damage_and_not_left_out() {
    // The table behind the records says where each begins. No checksum of its own covers it when
    // events are read: an entry that leads nowhere must not pass for an event that nobody asked for.
    for entry in [[0xFF; 4], [0x97, 0xFF, 0xFF, 0xFF], [0x00, 0xFF, 0xFF, 0xFF], [0; 4]] {
        let (disk, line) = closed();
        let (block, position) = (7, 5);
        let frame = disk.read_back(segment(1))[4096 * block..].to_vec();
        let stored = u32::from_le_bytes(frame[64..68].try_into().unwrap());
        let entry_at = 4096 * block as u64 + u64::from(stored) - 4;
        let honest = &frame[stored as usize - 4..stored as usize];
        assert_eq!(honest, [16 + 16, 0, 0, 0], "behind the batch's header and its key");
        disk.corrupt(segment(1), entry_at, &entry);
        let engine = open(&disk).unwrap();
        assert_eq!(read_around(&engine, &line).unwrap(), [position..position + 1], "{entry:?}");
    }
}

#[test]
fn zeros_in_the_middle_of_the_active_segment_are_damage() {
    let (disk, line) = closed();
    disk.corrupt(segment(4), 4096 * 3, &[0; 4096]);
    check_refused(&disk, &segment(4));
    let first = positions_of(4, &line).start;
    check_left(&disk, &line, &[first + 2..first + 3]);
}

#[test]
fn damage_before_a_segment_that_is_not_sealed_yet_hides_nothing_behind_it() {
    // Never maintained: nothing is sealed, and every segment is followed frame by frame.
    let mut store = Store::new();
    store.fill(40, 300);
    assert_eq!(store.engine.stats().segments, 3);
    let (disk, line) = store.closed();
    let check = |block: u64, hole: std::ops::Range<u64>| {
        let disk = disk.image();
        disk.flip_bit(segment(1), 4096 * block + 200, 1);
        check_refused(&disk, &segment(1));
        check_left(&disk, &line, &[hole]);
    };
    check(15, 13..14);
    check(2, 0..1);
    let disk = disk.image();
    disk.remove_file(segment(2));
    check_refused(&disk, &segment(2));
    check_left(&disk, &line, &[14..29]);
}

#[test]
fn an_index_file_is_made_again() {
    let (disk, line) = closed();
    let original = disk.read_back(index_file(2));
    disk.corrupt(index_file(2), 300, &[0xAA; 40]);
    disk.remove_file(index_file(1));
    disk.swap_files(index_file(2), index_file(3));
    let engine = open(&disk).unwrap();
    assert_eq!(read_around(&engine, &line).unwrap(), []);
    assert_eq!(disk.read_back(index_file(2)), original);
    assert!(disk.metadata(Path::new(&index_file(1))).unwrap().is_some());
}

#[test]
fn a_manifest_that_is_gone_or_cut_is_never_rebuilt() {
    let (disk, _) = closed();
    let manifest = path_of("manifest");
    let cut = disk.image();
    cut.truncate_file(&manifest, 100);
    check_refused(&cut, &manifest);
    disk.remove_file(&manifest);
    assert_eq!(check_refused(&disk, &manifest), CorruptionKind::Missing);
    assert!(SHAPE.options(&disk).damaged(true).open(DIR).is_err(), "it says what the files are");
}

#[test]
fn an_older_manifest_is_not_taken_for_a_torn_tail() {
    let mut store = Store::new();
    store.fill(5, 300);
    store.engine.maintain().unwrap();
    let manifest = path_of("manifest");
    let older = store.disk.read_back(&manifest);
    store.fill(60, 300);
    store.engine.maintain().unwrap();
    let (disk, line) = store.closed();
    disk.truncate_file(&manifest, older.len() as u64);
    disk.corrupt(&manifest, 0, &older);
    let before = files(&disk);
    let error = open(&disk).unwrap_err();
    assert!(corruption(&error).is_some(), "{error}");
    assert!(files(&disk) == before, "{} events must not be cut", line.end());
}

#[test]
fn node_state_protects_against_one_bad_slot_and_refuses_two() {
    let (disk, line) = closed();
    let node_state = path_of("node-state");
    for slot in [0, 1] {
        let disk = disk.image();
        disk.corrupt(&node_state, slot * 4096 + 20, &[0xFF; 8]);
        assert_eq!(read_around(&open(&disk).unwrap(), &line).unwrap(), []);
        // And it is whole again.
        disk.corrupt(&node_state, (1 - slot) * 4096 + 20, &[0xFF; 8]);
        assert_eq!(read_around(&open(&disk).unwrap(), &line).unwrap(), []);
    }
    let bad: [&dyn Fn(&SimDisk); 3] = [
        &|disk| disk.corrupt(path_of("node-state"), 0, &[0; 8192]),
        &|disk| disk.truncate_file(path_of("node-state"), 0),
        &|disk| disk.remove_file(path_of("node-state")),
    ];
    for damage in bad {
        let disk = disk.image();
        damage(&disk);
        check_refused(&disk, &node_state);
        assert!(matches!(open(&disk), Err(OpenError::NodeState { .. })));
        check_left(&disk, &line, &[]);
        let engine = SHAPE.options(&disk).reset_node_state(true).open(DIR).unwrap();
        assert_eq!(read_around(&engine, &line).unwrap(), []);
        engine.append(Append::to("s-1").event(numbered(1_000, 10))).wait().unwrap();
        engine.close().unwrap();
        open(&disk).unwrap();
    }
    let (other, _) = closed();
    disk.swap_files(&node_state, path_of("manifest"));
    disk.swap_files(&node_state, path_of("manifest"));
    disk.corrupt(&node_state, 0, &other.read_back(&node_state));
    assert_eq!(check_refused(&disk, &node_state), CorruptionKind::Foreign("another log".into()));
}

#[test]
fn a_crash_while_a_torn_slot_is_mended_leaves_one_that_is_whole() {
    let (disk, line) = closed();
    for slot in [0, 1] {
        let disk = disk.image();
        disk.corrupt(path_of("node-state"), slot * 4096 + 20, &[0xFF; 8]);
        disk.start_trace();
        open(&disk).unwrap();
        let trace = disk.trace();
        let mut states = 0;
        for state in CrashPoints::new(&trace, CrashOptions::default()) {
            let engine = open(&state.disk());
            let engine = engine.unwrap_or_else(|error| panic!("{}: {error}", state.label()));
            assert_eq!(engine.head().position.unwrap().get() + 1, line.end(), "{}", state.label());
            states += 1;
        }
        assert!(states > 10, "{states}");
    }
}

#[test]
fn a_newer_format_is_refused_untouched() {
    let (disk, _) = closed();
    let manifest = path_of("manifest");
    let mut bytes = disk.read_back(&manifest);
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc_at = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..crc_at]);
    bytes[crc_at..].copy_from_slice(&crc.to_le_bytes());
    disk.corrupt(&manifest, 0, &bytes);
    let before = files(&disk);
    let options = || SHAPE.options(&disk);
    for options in [options(), options().read_only(true), options().damaged(true)] {
        match options.open(DIR) {
            Err(OpenError::NewerFormat { version: 2, known: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(files(&disk) == before, "nothing was touched");
}

#[test]
fn a_directory_that_is_a_file_is_refused() {
    let disk = SimDisk::default();
    disk.open(Path::new(DIR), OpenMode::Create, FileKind::Plain).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::NotADirectory { .. })));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, b"mine").unwrap();
    assert!(matches!(Engine::open(&path), Err(OpenError::NotADirectory { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_directory_is_open_once() {
    let (disk, line) = closed();
    let engine = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::Locked { .. })));
    assert!(matches!(
        SHAPE.options(&disk).read_only(true).open(DIR),
        Err(OpenError::Locked { .. })
    ));
    assert_eq!(read_around(&engine, &line).unwrap(), []);
    drop(engine);
    open(&disk).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path()).unwrap();
    assert!(matches!(Engine::open(dir.path()), Err(OpenError::Locked { .. })));
    drop(engine);
    Engine::open(dir.path()).unwrap();
}

#[test]
fn nothing_is_created_where_that_is_not_wanted() {
    let disk = SimDisk::default();
    let before = disk.fingerprint();
    let open = |options: nexus_engine::Options| options.disk(Arc::new(disk.clone())).open(DIR);
    for options in [Engine::options().read_only(true), Engine::options().create(false)] {
        assert!(matches!(open(options), Err(OpenError::NotFound { .. })));
    }
    assert_eq!(disk.fingerprint(), before);
}

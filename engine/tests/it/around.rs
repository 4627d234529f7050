//! Reading around damage: what a disk cannot read, or reads wrongly, costs the events in it, and no
//! others; and what was hidden stays hidden.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nexus_engine::io::{Disk, SimDisk};
use nexus_engine::{Engine, VerifyReport, verify_on};
use nexus_protocol::{
    Append, AsOf, CorruptionKind, ExpectedRevision, Position, Read, ReadError, RecordedEvent,
    Revision, StreamChange, Timestamp,
};

use crate::history::{Line, numbered};
use crate::stores::{SHAPE, Store, index_file, path_of, read_around, segment, store_of_segments};
use crate::workload::DIR;

const BLOCK: u64 = 4096;

fn damaged(disk: &SimDisk) -> Engine {
    SHAPE.options(disk).damaged(true).open(DIR).unwrap()
}

fn verified(disk: &SimDisk) -> VerifyReport {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    verify_on(&disk, Path::new(DIR), |_| ()).unwrap()
}

/// A read that is opened again behind each damage, as an export does: the events, and the holes.
fn around(engine: &Engine, read: &Read) -> (Vec<RecordedEvent>, Vec<Range<u64>>) {
    let (mut found, mut holes, mut next) = (Vec::new(), Vec::new(), Some(0));
    while let Some(from) = next.take() {
        for event in engine.read(read.clone().from_position(Position::new(from))) {
            match event {
                Ok(event) => found.push(event),
                Err(ReadError::Corruption { position, resume_at, .. }) => {
                    assert!(position.get() >= from, "{position} was passed at {from}");
                    next = resume_at.map(Position::get);
                    assert!(next.is_none_or(|next| next > position.get()), "it leads on");
                    holes.push(position.get()..next.unwrap_or(u64::MAX));
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(holes.len() < 100, "it goes on for ever: {holes:?}");
    }
    (found, holes)
}

fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position().get()).collect()
}

/// What is found is what a whole store shows, but for the holes.
fn check_left(engine: &Engine, visible: &[u64], lost: &[u64]) {
    let (found, holes) = around(engine, &Read::all());
    let in_hole = |position: &u64| holes.iter().any(|hole| hole.contains(position));
    let wanted: Vec<u64> = visible.iter().copied().filter(|p| !lost.contains(p)).collect();
    assert_eq!(positions(&found), wanted, "{holes:?}");
    assert!(lost.iter().all(in_hole), "{holes:?}");
}

#[test]
fn a_block_that_cannot_be_read_costs_its_frame_and_no_others() {
    for (number, position) in [(1, 3), (2, 18), (3, 33), (4, 48)] {
        let (disk, line) = store_of_segments().closed();
        let engine = SHAPE.open(&disk);
        disk.fail_reads(segment(number), BLOCK * 5..BLOCK * 6);
        assert_eq!(read_around(&engine, &line).unwrap(), [position..position + 1]);
    }
}

#[test]
fn a_block_that_cannot_be_read_costs_its_records_of_a_large_frame_and_no_others() {
    let store = Store::new();
    let event = |n| numbered(n, 700);
    let append = (0..40).fold(Append::to("s-1"), |append, n| append.event(event(n)));
    store.engine.append(append).wait().unwrap();
    let (disk, _) = store.closed();
    let engine = SHAPE.open(&disk);
    // Frame 0, then the frame, in the middle of which it is.
    disk.fail_reads(segment(1), BLOCK * 5..BLOCK * 6);
    let one = |at: u64| {
        let read = Read::all().from_position(Position::new(at)).limit(1);
        engine.read(read).into_iter().next().unwrap()
    };
    let lost: Vec<u64> = (0..40).filter(|at| one(*at).is_err()).collect();
    assert!((3..8).contains(&lost.len()), "{lost:?}");
    assert!(lost.is_sorted_by(|a, b| a + 1 == *b), "{lost:?}");
    // And so does a read of all.
    let (found, _) = around(&engine, &Read::all());
    let wanted: Vec<u64> = (0..40).filter(|at| !lost.contains(at)).collect();
    assert_eq!(positions(&found), wanted);
}

#[test]
fn a_block_of_an_offset_table_that_cannot_be_read_is_one_hole() {
    const EVENTS: u64 = 4000;
    let disk = SimDisk::default();
    let options = || SHAPE.options(&disk).segment_bytes(1 << 21, 1 << 21);
    let engine = options().open(DIR).unwrap();
    let append = (0..EVENTS).fold(Append::to("s-1"), |append, n| append.event(numbered(n, 10)));
    engine.append(append).wait().unwrap();
    engine.close().unwrap();
    // The table is the end of the frame, and of what was written; its last block but one is all table.
    let bytes = disk.read_back(segment(1));
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    let block = end / BLOCK - 1;
    for read_only in [false, true] {
        let engine = options().read_only(read_only).open(DIR).unwrap();
        disk.fail_reads(segment(1), block * BLOCK..(block + 1) * BLOCK);
        let (found, holes) = around(&engine, &Read::all());
        let lost: u64 = holes.iter().map(|hole| hole.end - hole.start).sum();
        assert_eq!(found.len() as u64 + lost, EVENTS);
        // The last record before needs the first entry of the block, to know where it ends.
        assert!((1024..1026).contains(&lost) && holes.len() <= 2, "{holes:?}");
        assert!(positions(&found).contains(&(EVENTS - 1)), "what is behind it is read");
        disk.clear_faults();
    }
}

#[test]
fn damage_in_many_places_is_passed_over_in_one_pass() {
    let disk = SimDisk::default();
    let options = || SHAPE.options(&disk).segment_bytes(1 << 23, 1 << 23);
    let engine = options().open(DIR).unwrap();
    for n in 0..1200 {
        engine.append(Append::to("s-1").event(numbered(n, 300))).wait().unwrap();
    }
    engine.close().unwrap();
    // The header, frame 0, and then a frame to each block: every fifteenth is damaged.
    let damaged_blocks: Vec<u64> = (2..1202).step_by(15).collect();
    damaged_blocks.iter().for_each(|block| disk.flip_bit(segment(1), block * BLOCK + 300, 1));
    let reads = |work: &dyn Fn()| {
        let before = disk.trace().read_count();
        work();
        disk.trace().read_count() - before
    };
    let lost = damaged_blocks.len() as u64;
    let opening = reads(&|| drop(options().damaged(true).open(DIR).unwrap()));
    let (found, _) = around(&options().damaged(true).open(DIR).unwrap(), &Read::all());
    assert_eq!(found.len() as u64, 1200 - lost);
    let verifying = reads(&|| assert_eq!(verified(&disk).errors.len() as u64, lost));
    // A window holds a mebibyte; there are five of them.
    assert!(opening < 60 && verifying < 60, "{opening} and {verifying} reads");
}

#[test]
fn a_disk_that_cannot_read_a_block_is_read_around_from_the_start() {
    // Sealed with and without its index file, and the one that is written.
    for (number, position, with_index) in [(2, 18, true), (2, 18, false), (4, 48, true)] {
        let (disk, line) = store_of_segments().closed();
        if !with_index {
            disk.remove_file(index_file(number));
        }
        disk.fail_reads(segment(number), BLOCK * 5..BLOCK * 6);
        assert_eq!(read_around(&damaged(&disk), &line).unwrap(), [position..position + 1]);
    }
    // A header, and nothing of the file.
    for (number, range) in [(2, 0..BLOCK), (2, 0..1 << 20), (3, 0..1 << 20)] {
        let (disk, line) = store_of_segments().closed();
        disk.fail_reads(segment(number), range);
        let hole = if number == 2 { 14..29 } else { 29..44 };
        assert_eq!(read_around(&damaged(&disk), &line).unwrap(), [hole]);
    }
    let (disk, line) = store_of_segments().closed();
    disk.fail_reads(segment(4), 0..1 << 20);
    let engine = damaged(&disk);
    assert_eq!(read_around(&engine, &line.up_to(44)).unwrap(), []);
    assert_eq!(engine.lost_end().unwrap().file, segment(4));
    // What this node promised is of no matter to who reads.
    let (disk, line) = store_of_segments().closed();
    disk.fail_reads(path_of("node-state"), 0..BLOCK);
    assert_eq!(read_around(&damaged(&disk), &line).unwrap(), []);
}

#[test]
fn an_end_that_cannot_be_read_is_called_lost() {
    // Killed: nothing else knows of the last frame.
    let mut store = Store::new();
    store.fill(10, 300);
    let (disk, line) = store.killed();
    disk.fail_reads(segment(1), BLOCK * 11..BLOCK * 12);
    let engine = damaged(&disk);
    assert_eq!(read_around(&engine, &line.up_to(9)).unwrap(), []);
    let lost = engine.lost_end().unwrap();
    assert_eq!((lost.file, lost.offset_bytes), (segment(1), BLOCK * 11));
    assert!(matches!(lost.kind, CorruptionKind::Unreadable(_)), "{:?}", lost.kind);
}

#[test]
fn verification_names_each_block_that_cannot_be_read_and_goes_on() {
    let (disk, line) = store_of_segments().closed();
    let blocks = [(1, 3), (2, 5), (2, 9), (4, 4)];
    for (number, block) in blocks {
        disk.fail_reads(segment(number), BLOCK * block..BLOCK * (block + 1));
    }
    let report = verified(&disk);
    let named: Vec<(String, u64)> =
        report.errors.iter().map(|it| (it.file.clone(), it.offset_bytes)).collect();
    let wanted = blocks.map(|(number, block)| (segment(number), BLOCK * block));
    assert_eq!(named, wanted);
    for error in &report.errors {
        assert!(matches!(error.kind, CorruptionKind::Unreadable(_)), "{error}");
    }
    assert_eq!((report.ok, report.segments), (false, 5));
    assert!(report.events >= line.end() - 15, "{} of {}", report.events, line.end());
    // A file of which nothing can be read does not hide what is behind it.
    disk.clear_faults();
    disk.fail_reads(segment(4), 0..1 << 20);
    disk.fail_reads(path_of("node-state"), 0..1 << 20);
    let files: Vec<String> = verified(&disk).errors.into_iter().map(|it| it.file).collect();
    assert_eq!(files, [path_of("node-state"), segment(4)]);
}

/// Events of different times, in segments of frames, or rewritten ones.
fn store_of_times(compress: bool) -> (SimDisk, Line, Vec<Timestamp>) {
    let mut store = Store::new();
    let mut times = Vec::new();
    for _ in 0..5 {
        for _ in 0..11 {
            store.disk.advance(Duration::from_secs(1));
            times.push(store.disk.now());
            store.fill(1, 3000);
        }
        store.engine.maintain().unwrap();
    }
    let (disk, line) = store.closed();
    if compress {
        let options = SHAPE.options(&disk).compress(true).frames_kept_bytes(0);
        let engine = options.open(DIR).unwrap();
        (0..6).for_each(|_| engine.maintain().unwrap());
        engine.close().unwrap();
    }
    (disk, line, times)
}

/// Each state of the past is found, less what is damaged.
fn check_past(engine: &Engine, times: &[Timestamp], hole: &Range<u64>) {
    for (time, last) in times.iter().zip(0_u64..) {
        let (found, holes) = around(engine, &Read::all().as_of(AsOf::Recorded(*time)));
        let wanted: Vec<u64> = (0..=last).filter(|p| !hole.contains(p)).collect();
        assert_eq!(positions(&found), wanted, "as of {last}");
        // What may have been there by then is named, and not left out in silence.
        let silent = holes.is_empty();
        assert!(silent == (last < hole.start) || last + 1 == hole.start, "as of {last}: {holes:?}");
        // The same where a read begins at a time.
        let first = engine.read(Read::all().from_time(*time)).into_iter().next().unwrap();
        match first {
            Ok(event) => assert!(event.position().get() == last && !hole.contains(&last)),
            Err(ReadError::Corruption { position, .. }) => {
                let at = position.get();
                assert!(
                    hole.contains(&at) && (hole.start..=hole.end).contains(&last),
                    "{at} {last}"
                );
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_past_state_is_found_around_damage() {
    // A frame of a sealed segment: times are known without it.
    let (disk, _, times) = store_of_times(false);
    disk.flip_bit(segment(2), BLOCK * 5 + 200, 1);
    check_past(&SHAPE.open(&disk), &times, &(18..19));
    // A whole segment.
    disk.flip_bit(segment(3), 40, 1);
    disk.flip_bit(segment(2), BLOCK * 5 + 200, 1);
    check_past(&SHAPE.open(&disk), &times, &(29..44));
    // A block of a rewritten one.
    let (disk, line, times) = store_of_times(true);
    let rewritten = path_of("segments/0000000002.g1.seg");
    disk.flip_bit(&rewritten, BLOCK + 100, 1);
    let engine = SHAPE.open(&disk);
    let holes = read_around(&engine, &line).unwrap();
    assert_eq!(holes.len(), 1, "{holes:?}");
    check_past(&engine, &times, &holes[0]);
}

#[test]
fn a_read_backwards_gives_what_stands_behind_damage() {
    let (disk, line) = store_of_segments().closed();
    disk.flip_bit(segment(2), BLOCK * 5 + 40, 1);
    disk.fail_reads(segment(3), BLOCK * 5..BLOCK * 6);
    let engine = SHAPE.open(&disk);
    let mut found = Vec::new();
    let mut next = Some(line.end() - 1);
    let mut holes = Vec::new();
    while let Some(from) = next.take() {
        for event in engine.read(Read::all().backwards().from_position(Position::new(from))) {
            match event {
                Ok(event) => found.push(event.position().get()),
                Err(ReadError::Corruption { position, .. }) => {
                    holes.push(position.get());
                    next = position.get().checked_sub(1);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert_eq!(holes, [33, 18]);
    let wanted: Vec<u64> = (0..line.end()).rev().filter(|p| !holes.contains(p)).collect();
    assert_eq!(found, wanted);
}

/// Hides a part of each stream, in frames behind those that are there.
fn hide(store: &Store) {
    let truncate =
        StreamChange { truncate_before: Some(Revision::new(4)), ..StreamChange::default() };
    let count = StreamChange { max_count: Some(Some(2)), ..StreamChange::default() };
    store.engine.set_stream("s-0", truncate).unwrap();
    store.engine.set_stream("s-1", count).unwrap();
    store.engine.delete_stream("s-2", ExpectedRevision::Any).unwrap();
    store.engine.append(Append::to("s-2").event(numbered(10_000, 9))).wait().unwrap();
}

fn visible(engine: &Engine) -> Vec<u64> {
    positions(&engine.read(Read::all()).into_iter().map(Result::unwrap).collect::<Vec<_>>())
}

#[test]
fn what_was_hidden_stays_hidden_around_damage_at_the_end() {
    for lost in [0, 1, 2, 3, 4, 5, 17] {
        let mut store = Store::new();
        store.fill(18, 300);
        hide(&store);
        let visible = visible(&store.engine);
        assert!(visible.len() < 12, "{visible:?}");
        let (disk, _) = store.closed();
        // Frame 0 has the first block, and the second segment begins at position 14.
        let (number, block) = if lost < 14 { (1, lost + 2) } else { (2, lost - 14 + 1) };
        disk.flip_bit(segment(number), BLOCK * block + 200, 1);
        check_left(&damaged(&disk), &visible, &[lost]);
    }
}

#[test]
fn what_was_hidden_stays_hidden_around_damaged_segments() {
    for (number, whole) in [(1, true), (2, true), (1, false), (2, false)] {
        let mut store = Store::new();
        for _ in 0..3 {
            store.fill(11, 300);
            store.engine.maintain().unwrap();
        }
        hide(&store);
        for n in 0..40 {
            store
                .engine
                .append(Append::to("other").event(numbered(20_000 + n, 300)))
                .wait()
                .unwrap();
            store.engine.maintain().unwrap();
        }
        assert!(store.engine.stats().segments > 4);
        let visible = visible(&store.engine);
        let (disk, _) = store.closed();
        disk.remove_file(index_file(number));
        let lost: Vec<u64> = if whole {
            disk.remove_file(segment(number));
            if number == 1 { (0..14).collect() } else { (14..29).collect() }
        } else {
            disk.flip_bit(segment(number), BLOCK * 5 + 200, 1);
            vec![if number == 1 { 3 } else { 18 }]
        };
        check_left(&damaged(&disk), &visible, &lost);
    }
}

//! A sealed segment that is damaged is fenced alone: the rest is read and written, what cannot be
//! known without it is never guessed, and it comes back when its file does.

use std::path::Path;
use std::sync::Arc;

use nexus_engine::io::{Disk, FileKind, OpenMode, SimDisk, write_all_at};
use nexus_engine::{Engine, OpenError, verify_on};
use nexus_protocol::{
    Append, AppendError, Clause, Corruption, Position, QueryItem, Read, ReadError, Revision,
};

use crate::history::{Line, TAG, id_of, numbered};
use crate::stores::{
    SHAPE, Store, corruption, files, index_file, path_of, read_around, segment, store_of_segments,
};
use crate::workload::DIR;

/// Positions of the second segment, which is damaged, and of one event in it whose stream and tag no
/// other segment has.
const HOLE: std::ops::Range<u64> = 14..29;
const ONLY: u64 = 20;
const ONLY_TAG: &str = "only:2";

/// Three sealed segments with index files, and an active one.
fn store() -> Store {
    let mut store = Store::new();
    store.fill(ONLY, 300);
    let append = only();
    let batch = store.line.submitted(&append, 0, false);
    let answer = store.engine.append(append).wait().unwrap();
    store.line.acknowledged(batch, &answer, 0);
    for _ in 0..3 {
        store.fill(11, 300);
        store.engine.maintain().unwrap();
    }
    assert_eq!(store.engine.stats().segments, 4);
    store
}

fn only() -> Append {
    Append::to("only-1").event(numbered(ONLY, 300).tag(ONLY_TAG))
}

type Damage = fn(&SimDisk);

/// Damage to the second segment, all of which makes it unreadable as a whole.
const DAMAGES: [Damage; 4] = [
    |disk| disk.flip_bit(segment(2), 40, 1),
    |disk| disk.truncate_file(segment(2), 4096 * 5),
    |disk| disk.remove_file(segment(2)),
    |disk| disk.corrupt(segment(2), 0, &[0; 8192]),
];

fn open(disk: &SimDisk) -> Engine {
    SHAPE.open(disk)
}

/// An append is refused because of what is damaged, and names the file.
fn check_unknown(answer: Result<nexus_protocol::Appended, AppendError>) {
    match answer {
        Err(AppendError::Corruption(it)) => assert_eq!(it.file, segment(2)),
        other => panic!("{other:?}"),
    }
}

/// All of the line is served but the segment, and reads of it say where to go on.
fn check_served(engine: &Engine, line: &Line) {
    assert_eq!(read_around(engine, line).unwrap(), [HOLE]);
    assert_eq!(engine.stats().fenced_segments, 1);
    for read in [Read::all().from_position(Position::new(17)), Read::stream("only-1")] {
        let from = if read.stream.is_some() { ONLY } else { 17 };
        match engine.read(read).into_iter().next() {
            Some(Err(ReadError::Corruption { position, resume_at, corruption, .. })) => {
                assert_eq!(position, Position::new(from));
                assert_eq!(resume_at, Some(Position::new(HOLE.end)));
                assert_eq!(corruption.file, segment(2));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(engine.event_by_id(id_of(ONLY)).is_err());
    assert_eq!(engine.event_by_id(id_of(3)).unwrap().unwrap().position().get(), 3);
}

fn append(engine: &Engine, line: &mut Line, append: Append) {
    let batch = line.submitted(&append, 0, false);
    let answer = engine.append(append).wait().unwrap();
    line.acknowledged(batch, &answer, 0);
}

/// A file as a copy of it that is put there.
fn put(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    if disk.metadata(path).unwrap().is_some() {
        disk.remove(path).unwrap();
    }
    let file = disk.open(path, OpenMode::Create, FileKind::Plain).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
}

#[test]
fn the_rest_of_a_store_with_a_damaged_sealed_segment_is_read_and_written() {
    for damage in DAMAGES {
        let (disk, mut line) = store().closed();
        let whole = disk.image();
        damage(&disk);
        let left = files(&disk).into_iter().find(|(path, _)| *path == segment(2));
        for round in 0..3 {
            let number = 1_000 + 10 * round;
            let engine = open(&disk);
            check_served(&engine, &line);
            // Revisions are known exactly, also of the streams that go through the segment.
            let head = |stream: &str| engine.stream_info(stream).unwrap().state.head();
            let next = Append::to("s-1").at(head("s-1").unwrap()).event(numbered(number, 9));
            append(&engine, &mut line, next);
            let next = Append::to("only-1").at(Revision::new(round)).event(numbered(number + 1, 9));
            append(&engine, &mut line, next);
            let new = Append::to(format!("new-{round}")).no_stream();
            append(&engine, &mut line, new.event(numbered(number + 2, 9)));
            // More than a segment, so that sealing and index files go on behind it.
            for n in 3..9 {
                let large = numbered(number + n, 9_000);
                append(&engine, &mut line, Append::to("large").event(large));
                engine.maintain().unwrap();
            }
            assert_eq!(engine.stats().fenced_segments, 1);
            engine.close().unwrap();
        }
        assert_eq!(files(&disk).into_iter().find(|(path, _)| *path == segment(2)), left);
        // The file comes back from a copy: nothing else is needed.
        put(&disk, &segment(2), &whole.read_back(segment(2)));
        let engine = open(&disk);
        assert_eq!(read_around(&engine, &line).unwrap(), []);
        assert_eq!(engine.stats().fenced_segments, 0);
    }
}

#[test]
fn what_cannot_be_known_without_the_segment_is_not_guessed() {
    let (disk, mut line) = store().closed();
    DAMAGES[0](&disk);
    let engine = open(&disk);
    let new = || Append::to("new-1").event(numbered(900, 9));
    let only_tag = || QueryItem::tags([ONLY_TAG]);
    // Whether one that matches is still seen, or is this append's own, stands in the record.
    check_unknown(engine.append(new().boundary(only_tag(), None)).wait());
    check_unknown(engine.append(new().absent(only_tag())).wait());
    check_unknown(engine.append(only()).wait());
    check_unknown(engine.append(only().no_stream()).wait());
    // What the index decides alone, or events that can be read, is decided.
    let after = Some(Position::new(ONLY));
    let conflict = engine.append(new().boundary(QueryItem::tags([TAG]), None)).wait();
    assert!(
        matches!(&conflict, Err(AppendError::Conflict(it)) if it.clause == Clause::Boundary
            && it.positions.iter().all(|position| !HOLE.contains(&position.get()))),
        "{conflict:?}"
    );
    let stale = engine.append(Append::to("only-1").at(Revision::new(7)).event(numbered(901, 9)));
    assert!(matches!(stale.wait(), Err(AppendError::Conflict(_))));
    append(&engine, &mut line, new().boundary(only_tag(), after));
    append(&engine, &mut line, Append::to("only-1").exists().event(numbered(902, 9)));
    assert_eq!(read_around(&engine, &line).unwrap(), [HOLE]);
}

#[test]
fn without_its_index_file_a_damaged_segment_is_refused() {
    for damage in DAMAGES {
        let (disk, _) = store().closed();
        damage(&disk);
        disk.flip_bit(index_file(2), 300, 1);
        let before = files(&disk);
        for options in [SHAPE.options(&disk), SHAPE.options(&disk).read_only(true)] {
            match options.open(DIR) {
                Err(error @ OpenError::Corrupt { .. }) => {
                    assert_eq!(corruption(&error).unwrap().file, segment(2));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(files(&disk) == before, "a refusal changes nothing");
    }
}

#[test]
fn a_fenced_segment_is_named_by_a_verification() {
    let named = |disk: &SimDisk| -> Vec<Corruption> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let report = verify_on(&disk, Path::new(DIR), |_| ()).unwrap();
        assert_eq!(report.ok, report.errors.is_empty());
        report.errors
    };
    for damage in DAMAGES {
        let (disk, _) = store().closed();
        assert_eq!(named(&disk), []);
        damage(&disk);
        for _ in 0..2 {
            let found = named(&disk);
            assert!(!found.is_empty() && found.iter().all(|it| it.file == segment(2)), "{found:?}");
            open(&disk).close().unwrap();
        }
    }
}

#[test]
fn damage_in_one_segment_does_not_keep_others_from_being_rewritten() {
    let (disk, mut line) = store_of_segments().closed();
    disk.flip_bit(segment(2), 4096 * 5 + 200, 1);
    let before = disk.read_back(segment(2));
    let hole = [18..19];
    for _ in 0..2 {
        let engine = SHAPE.options(&disk).compress(true).frames_kept_bytes(0).open(DIR).unwrap();
        // Found once, when it is its turn.
        let failures = (0..6).filter_map(|_| engine.maintain().err());
        let failures: Vec<String> = failures.map(|error| error.to_string()).collect();
        assert!(failures.len() == 1 && failures[0].contains(&segment(2)), "{failures:?}");
        assert_eq!(read_around(&engine, &line).unwrap(), hole);
        engine.close().unwrap();
    }
    let names = disk.list(Path::new(&path_of("segments"))).unwrap();
    let mut names: Vec<_> = names.into_iter().map(|entry| entry.name).collect();
    names.sort();
    let wanted = ["0000000001.g1.seg", "0000000002.seg", "0000000003.g1.seg"];
    assert_eq!(names[..3], wanted);
    assert!(disk.read_back(segment(2)) == before);
    // And a rewritten one whose table is damaged is fenced like any other.
    let rewritten = path_of("segments/0000000003.g1.seg");
    let last = disk.read_back(&rewritten).len() as u64 - 20;
    disk.flip_bit(&rewritten, last, 1);
    // What an interruption left of the generation before is kept, as long as it is.
    put(&disk, &segment(3), &[7; 4096]);
    let engine = open(&disk);
    assert_eq!(read_around(&engine, &line).unwrap(), [hole[0].clone(), 29..44]);
    append(&engine, &mut line, Append::to("s-1").event(numbered(1_000, 9)));
    engine.close().unwrap();
    assert_eq!(disk.read_back(segment(3)), [7; 4096]);
    disk.flip_bit(&rewritten, last, 1);
    assert_eq!(read_around(&open(&disk), &line).unwrap(), hole);
    assert!(disk.metadata(Path::new(&segment(3))).unwrap().is_none());
}

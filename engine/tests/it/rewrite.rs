//! Rewriting sealed segments into blocks changes no answer, loses nothing to a crash, and hides no
//! damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use nexus_engine::io::sim::{CrashOptions, CrashPoints, Fault};
use nexus_engine::io::{Disk, SimDisk};
use nexus_engine::{Engine, Options};
use nexus_protocol::{
    Append, AsOf, EventData, Filter, FoldIdentity, Position, Read, Revision, Snapshot, SnapshotAt,
    StreamChange, StreamName, Subscribe, SubscriptionItem, Timestamp,
};

const SEGMENTS: &str = "/data/namespaces/default/segments";

fn options(disk: &SimDisk, compress: bool) -> Options {
    let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
    options.segment_bytes(65536, 65536).compress(compress).frames_kept_bytes(0)
}

fn event(n: u64, bytes: usize) -> EventData {
    // Compressible in parts: half is text, half is noise.
    let mut data = format!("{{\"n\":{n},\"text\":\"{}\"", "order placed ".repeat(bytes / 26));
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while data.len() < bytes {
        state = state.wrapping_mul(0xd129_0251_6bb9_57d5).rotate_left(23);
        data.push(char::from(b' ' + (state % 90) as u8));
    }
    EventData::new(["Placed", "Paid", "Shipped"][n as usize % 3], "text/plain", data.into())
        .tag(format!("n:{}", n % 7))
        .metadata(Bytes::from_static(b"{}"))
}

fn snapshot(stream: &str, revision: u64, bytes: usize) -> Snapshot {
    Snapshot {
        stream: StreamName::new(stream).unwrap(),
        revision: Revision::new(revision),
        fold: FoldIdentity::default(),
        content_type: "x/y".to_owned(),
        state: vec![b's'; bytes].into(),
    }
}

/// Users' and system events, batches of several events and streams, and records larger than a block.
fn fill(engine: &Engine, disk: &SimDisk, appends: u64) {
    for n in 0..appends {
        disk.advance(std::time::Duration::from_millis(3));
        let small = (0..n % 9).map(|k| event(100 * n + k, 30 + 40 * k as usize));
        let append = Append::to(format!("order-{}", n % 5)).event(event(n, 200)).events(small);
        let append = if n % 4 == 0 {
            append.stream(format!("cart-{n}")).event(event(n, 3000))
        } else {
            append.idempotency_key(format!("key-{n}"))
        };
        engine.append(append).wait().unwrap();
        if n % 6 == 1 {
            engine.save_snapshot(snapshot("order-1", n / 5, 500 + n as usize)).unwrap();
        }
        if n % 50 == 30 {
            engine.append(Append::to("large-1").event(event(n, 150_000))).wait().unwrap();
            engine.save_snapshot(snapshot("order-2", n / 5, 90_000)).unwrap();
        }
        if n % 40 == 20 {
            let change = StreamChange { max_count: Some(Some(n)), ..StreamChange::default() };
            engine.set_stream("order-3", change).unwrap();
        }
        engine.maintain().unwrap();
    }
}

fn rewritten(disk: &SimDisk) -> Vec<PathBuf> {
    let names = disk.list(Path::new(SEGMENTS)).unwrap().into_iter().map(|entry| entry.name);
    let names = names.filter(|name| name.ends_with(".g1.seg"));
    names.map(|name| Path::new(SEGMENTS).join(name)).collect()
}

/// A log with rewritten segments, and one with the same events and none.
fn both(appends: u64) -> (SimDisk, SimDisk) {
    let disk = SimDisk::builder().seed(5).recording(false).build();
    let engine = options(&disk, false).open("/data").unwrap();
    fill(&engine, &disk, appends);
    engine.close().unwrap();
    let before = disk.image();
    let engine = options(&disk, true).open("/data").unwrap();
    let segments = engine.stats().segments;
    (0..segments).for_each(|_| engine.maintain().unwrap());
    engine.close().unwrap();
    assert!(rewritten(&disk).len() as u64 + 2 >= segments, "{:?}", rewritten(&disk));
    (before, disk)
}

fn collect(engine: &Engine, read: Read) -> Vec<Bytes> {
    engine.read(read).into_iter().map(|event| event.unwrap().as_bytes().clone()).collect()
}

fn reads(head: u64, times: &[Timestamp]) -> Vec<Read> {
    let mut reads = vec![
        Read::all(),
        Read::all().system(),
        Read::all().backwards(),
        Read::all().system().backwards(),
        Read::all().filter(Filter::tag("n:3")),
        Read::all().filter(Filter::category("order")).backwards(),
        Read::all().filter(Filter::event_type("Paid")).limit(20),
        Read::stream("large-1"),
        Read::stream("$snapshot-order-1"),
        Read::stream("$snapshot-order-2").backwards(),
        Read::stream("$meta-order-3"),
        Read::stream("order-2").as_of(AsOf::Revision(Revision::new(30))),
        Read::stream("order-2").as_of(AsOf::Position(Position::new(head / 2))),
    ];
    for n in 0..5 {
        reads.push(Read::stream(format!("order-{n}")));
        reads.push(Read::stream(format!("order-{n}")).backwards().limit(40));
    }
    for position in (0..head).step_by(61) {
        let at = Position::new(position);
        reads.push(Read::all().system().from_position(at).limit(9));
        reads.push(Read::all().from_position(at).backwards().limit(9));
        reads.push(Read::all().as_of(AsOf::Position(at)).backwards().limit(5));
    }
    for time in times {
        reads.push(Read::all().system().from_time(*time).limit(9));
        reads.push(Read::stream("order-1").as_of(AsOf::Recorded(*time)));
    }
    reads
}

fn subscribed(engine: &Engine, head: u64) -> Vec<Bytes> {
    let mut subscription = engine.subscribe(Subscribe { system: true, ..Subscribe::all() });
    let mut found = Vec::new();
    let mut last = 0;
    while last < head {
        match subscription.next_blocking(None).unwrap().unwrap() {
            SubscriptionItem::Event(event) => {
                last = event.position().get();
                found.push(event.as_bytes().clone());
            }
            SubscriptionItem::CaughtUp { .. } | SubscriptionItem::Checkpoint { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    found
}

#[test]
fn rewriting_changes_no_answer() {
    let (before, after) = both(240);
    let (old, new) = (
        options(&before, false).open("/data").unwrap(),
        options(&after, false).open("/data").unwrap(),
    );
    assert_eq!(old.head(), new.head());
    let head = old.head().position.unwrap().get();
    let all: Vec<_> = old.read(Read::all().system()).into_iter().map(Result::unwrap).collect();
    assert!(all.len() as u64 <= head, "some are hidden by a limit");
    let times: Vec<_> = all.iter().step_by(97).map(|event| event.recorded_at()).collect();
    for read in reads(head, &times) {
        assert_eq!(collect(&old, read.clone()), collect(&new, read.clone()), "{read:?}");
    }
    assert_eq!(subscribed(&old, head), subscribed(&new, head));
    for event in &all {
        assert_eq!(new.event_by_id(event.id()).unwrap().as_ref(), Some(event));
    }
    for at in [0, 3, 17, u64::MAX].map(Revision::new).map(SnapshotAt::Revision) {
        let load =
            |engine: &Engine| engine.load_snapshot("order-1", at, FoldIdentity::default()).unwrap();
        assert_eq!(load(&old), load(&new));
    }
    assert_eq!(old.list_snapshots("order-2").unwrap(), new.list_snapshots("order-2").unwrap());
    assert_eq!(old.stats().events, new.stats().events);
}

#[test]
fn an_index_is_made_again_from_blocks_and_the_chain_is_checked() {
    let (before, after) = both(120);
    let index = Path::new("/data/namespaces/default/index");
    for entry in after.list(index).unwrap() {
        after.remove_file(index.join(entry.name));
    }
    let old = options(&before, false).open("/data").unwrap();
    let new = options(&after, false).open("/data").unwrap();
    for read in reads(old.head().position.unwrap().get(), &[]) {
        assert_eq!(collect(&old, read.clone()), collect(&new, read.clone()), "{read:?}");
    }
    assert!(!after.list(index).unwrap().is_empty());
}

#[test]
fn an_append_after_rewriting_goes_on_and_readers_hold_on_to_the_old_file() {
    let disk = SimDisk::builder().seed(6).recording(false).build();
    let engine = options(&disk, false).open("/data").unwrap();
    fill(&engine, &disk, 100);
    engine.close().unwrap();
    let engine = options(&disk, true).open("/data").unwrap();
    let want = collect(&engine, Read::all().system());
    let head = engine.head().position.unwrap().get();
    let mut under_way = engine.read(Read::all().system()).into_iter();
    let mut found: Vec<Bytes> = Vec::new();
    for _ in 0..40 {
        found.extend(under_way.by_ref().take(7).map(|event| event.unwrap().as_bytes().clone()));
        engine.maintain().unwrap();
    }
    found.extend(under_way.map(|event| event.unwrap().as_bytes().clone()));
    assert_eq!(found, want);
    let answer = engine.append(Append::to("order-0").exists().event(event(1, 10))).wait().unwrap();
    assert_eq!(answer.first().unwrap().get(), head + 1);
    engine.close().unwrap();
    let engine = options(&disk, true).open("/data").unwrap();
    assert_eq!(engine.head().position.unwrap().get(), head + 1);
    assert_eq!(collect(&engine, Read::all().system()).len(), want.len() + 1);
}

#[test]
fn a_crash_while_a_segment_is_rewritten_leaves_the_old_one_or_the_new_one() {
    let disk = SimDisk::builder().seed(7).build();
    let engine = options(&disk, false).open("/data").unwrap();
    fill(&engine, &disk, 60);
    engine.close().unwrap();
    let disk = disk.image();
    let engine = options(&disk, true).open("/data").unwrap();
    let want = collect(&engine, Read::all().system());
    disk.start_trace();
    engine.maintain().unwrap();
    engine.maintain().unwrap();
    let trace = disk.trace();
    assert_eq!(rewritten(&disk).len(), 2, "{:?}", engine.stats());
    let crash = CrashOptions { tears_max: 24, ..CrashOptions::default() };
    let (mut seen, mut generations) = (std::collections::HashSet::new(), [0; 3]);
    for state in CrashPoints::new(&trace, crash) {
        if !seen.insert(state.fingerprint()) {
            continue;
        }
        let disk = state.disk();
        let engine = options(&disk, false).open("/data").unwrap_or_else(|error| {
            panic!("{}: {error}", state.label());
        });
        assert_eq!(collect(&engine, Read::all().system()), want, "{}", state.label());
        generations[rewritten(&disk).len()] += 1;
        drop(engine);
    }
    assert!(generations.iter().all(|count| *count > 0), "{generations:?}");
}

#[test]
fn a_manifest_that_was_not_saved_costs_no_segment() {
    let disk = SimDisk::builder().seed(9).build();
    let engine = options(&disk, false).open("/data").unwrap();
    fill(&engine, &disk, 60);
    engine.close().unwrap();
    let disk = disk.image();
    let engine = options(&disk, true).open("/data").unwrap();
    let want = collect(&engine, Read::all().system());
    // The manifest is in place, but nobody knows whether that will last: it may name either file.
    disk.schedule(Fault::sync_dir(1).at("/data/namespaces/default"));
    assert!(engine.maintain().is_err());
    assert_eq!(disk.faults_struck(), 1);
    disk.start_trace();
    engine.maintain().unwrap();
    let (trace, mut states) = (disk.trace(), 0);
    let crash = CrashOptions { tears_max: 8, ..CrashOptions::default() };
    for state in CrashPoints::new(&trace, crash) {
        let engine = options(&state.disk(), false).open("/data").unwrap_or_else(|error| {
            panic!("{}: {error}", state.label());
        });
        assert_eq!(collect(&engine, Read::all().system()), want, "{}", state.label());
        states += 1;
    }
    assert!(states > 20 && !rewritten(&disk).is_empty(), "{states}");
}

#[test]
fn the_newest_segments_stay_uncompressed() {
    let disk = SimDisk::builder().seed(10).recording(false).build();
    let engine = options(&disk, true).frames_kept_bytes(3 * 65536).open("/data").unwrap();
    fill(&engine, &disk, 60);
    for _ in 0..20 {
        engine.maintain().unwrap();
    }
    let stats = engine.stats();
    let kept = stats.segments - 1 - stats.compressed_segments;
    assert!((2..=5).contains(&kept) && stats.compressed_segments > 1, "{stats:?}");
}

#[test]
fn a_full_disk_puts_rewriting_off() {
    let disk = SimDisk::builder().seed(8).recording(false).build();
    let engine = options(&disk, false).open("/data").unwrap();
    fill(&engine, &disk, 60);
    engine.close().unwrap();
    let engine = options(&disk, true).open("/data").unwrap();
    let want = collect(&engine, Read::all().system());
    disk.set_capacity(Some(1));
    assert!(engine.maintain().is_err());
    disk.set_capacity(None);
    for _ in 0..100 {
        engine.maintain().unwrap();
    }
    assert!(rewritten(&disk).len() > 3);
    assert_eq!(collect(&engine, Read::all().system()), want);
}

/// What is read of a damaged store: every event is right, or is said to be damaged.
fn read_damaged(engine: &Engine, want: &BTreeMap<u64, Bytes>) -> usize {
    let (mut next, mut found) = (0, 0);
    let last = *want.keys().last().unwrap();
    while next <= last {
        let mut failed = None;
        for event in engine.read(Read::all().system().from_position(Position::new(next))) {
            match event {
                Ok(event) => {
                    let position = event.position().get();
                    assert_eq!(*event.as_bytes(), want[&position]);
                    next = position + 1;
                    found += 1;
                }
                Err(nexus_protocol::ReadError::Corruption { resume_at, .. }) => {
                    failed = Some(resume_at);
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        match failed {
            Some(Some(resume)) => {
                assert!(resume.get() > next, "reading goes on behind the damage");
                next = resume.get();
            }
            Some(None) => break,
            None => assert_eq!(next, last + 1, "the read ended too early"),
        }
    }
    found
}

#[test]
fn flipped_bits_are_found_or_harm_nothing_and_the_rest_is_read() {
    let (_, disk) = both(60);
    let engine = options(&disk, false).open("/data").unwrap();
    let want: BTreeMap<u64, Bytes> = engine
        .read(Read::all().system())
        .into_iter()
        .map(Result::unwrap)
        .map(|event| (event.position().get(), event.as_bytes().clone()))
        .collect();
    engine.close().unwrap();
    let path = rewritten(&disk)[1].clone();
    let length = disk.metadata(&path).unwrap().unwrap().len_bytes;
    let (mut fenced, mut seen, mut harmless) = (0, 0, 0);
    for offset in (0..length).step_by(53).chain(length - 256..length) {
        let damaged = disk.image();
        damaged.flip_bit(&path, offset, (offset % 8) as u32);
        let engine = options(&damaged, false).read_only(true).open("/data").unwrap();
        match read_damaged(&engine, &want) {
            found if engine.stats().fenced_segments > 0 => {
                assert!(found > want.len() / 2 && found < want.len());
                fenced += 1;
            }
            found if found < want.len() => seen += 1,
            _ => harmless += 1,
        }
    }
    // Only the frame directory and the padding of nothing are not looked at by reads.
    assert!(fenced > 256 && seen > 100, "{fenced} {seen} {harmless}");
    assert!(harmless < 40, "{fenced} {seen} {harmless}");
    // Without its index the segment is read as a whole, and nothing passes.
    let index = Path::new("/data/namespaces/default/index/0000000002.idx");
    for offset in (0..100).chain((4096..length).step_by(211)).chain(length - 64..length) {
        let damaged = disk.image();
        damaged.flip_bit(&path, offset, (offset % 8) as u32);
        let engine = options(&damaged, false).damaged(true).open("/data").unwrap();
        assert!(read_damaged(&engine, &want) > want.len() / 2);
        drop(engine);
        damaged.remove_file(index);
        let error = options(&damaged, false).read_only(true).open("/data").unwrap_err();
        assert!(error.to_string().contains("00002.g1.seg"), "{error}");
    }
}

//! The seams of replication: numbering, commitment, truncation, and frames that travel.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nexus_engine::io::SimDisk;
use nexus_engine::io::sim::{CrashOptions, CrashPoints};
use nexus_engine::{Engine, EntryId, ReplicatedFrame, Replicator};
use nexus_protocol::{Append, AppendError, EventData, ExpectedRevision, Read};

/// Commits only what it is told: a leader whose followers are slow.
#[derive(Debug)]
struct Slow;

impl Replicator for Slow {
    fn next_entry(&mut self, last: EntryId) -> EntryId {
        EntryId { term: last.term, index: last.index + 1 }
    }

    fn on_durable(&mut self, _: EntryId) -> Option<EntryId> {
        None
    }
}

fn open(disk: &SimDisk) -> Engine {
    let options = Engine::options().disk(Arc::new(disk.clone())).threads(false).compress(false);
    options.segment_bytes(65536, 65536).open("/data").unwrap()
}

fn event(n: u64) -> EventData {
    EventData::json("Tested", &serde_json::json!({ "n": n })).unwrap().tag(format!("n:{n}"))
}

fn count(engine: &Engine) -> usize {
    engine.read(Read::all()).into_iter().map(Result::unwrap).count()
}

/// Polls a future once, so that it is written, and gives it back.
fn submit(engine: &Engine, append: Append) -> std::pin::Pin<Box<nexus_engine::PendingAppend>> {
    let mut pending = Box::pin(engine.append(append));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(pending.as_mut().poll(&mut context).is_pending());
    pending
}

#[test]
fn what_is_durable_is_neither_read_nor_answered_before_it_is_committed() {
    let engine = open(&SimDisk::default());
    engine.append(Append::to("s-1").event(event(0))).wait().unwrap();
    engine.seams().set_replicator(Box::new(Slow));
    let mut first = submit(&engine, Append::to("s-1").event(event(1)));
    assert_eq!(count(&engine), 1);
    engine.seams().set_committed(engine.seams().last_entry());
    assert_eq!(count(&engine), 2);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_ready());
}

#[test]
fn a_cut_takes_frames_back_across_segments_and_leaves_no_trace_in_the_index() {
    let disk = SimDisk::default();
    let engine = open(&disk);
    for n in 0..5 {
        engine.append(Append::to(format!("s-{}", n % 2)).event(event(n))).wait().unwrap();
    }
    let (kept, chain) = (engine.seams().last_entry(), engine.seams().chain());
    engine.seams().set_replicator(Box::new(Slow));
    let pending: Vec<_> = (5..60)
        .map(|n| submit(&engine, Append::to(format!("s-{}", n % 3)).event(event(n))))
        .collect();
    assert!(engine.stats().segments > 3);
    engine.seams().truncate_tail(kept).unwrap();
    for mut pending in pending {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let answer = pending.as_mut().poll(&mut context);
        assert!(matches!(answer, std::task::Poll::Ready(Err(AppendError::Unknown))), "{answer:?}");
    }
    assert_eq!((engine.seams().last_entry(), engine.seams().chain()), (kept, chain));
    assert_eq!(engine.stats().events, 5);
    engine.seams().set_replicator(Box::new(nexus_engine::LocalReplicator));
    let append = Append::to("s-2").expected(ExpectedRevision::NoStream).event(event(5));
    let answer = engine.append(append).wait().unwrap();
    assert_eq!(answer.first().unwrap().get(), 5);
    assert_eq!(count(&engine), 6);
    for n in 6..80 {
        engine.append(Append::to("s-9").event(event(n))).wait().unwrap();
        engine.maintain().unwrap();
    }
    engine.close().unwrap();
    assert_eq!(count(&open(&disk)), 80);
}

#[test]
fn a_crash_during_a_cut_leaves_the_log_before_it_or_after_it() {
    let disk = SimDisk::default();
    let engine = open(&disk);
    for n in 0..3 {
        engine.append(Append::to("s-1").event(event(n))).wait().unwrap();
    }
    let kept = engine.seams().last_entry();
    engine.seams().set_replicator(Box::new(Slow));
    let pending: Vec<_> =
        (3..8).map(|n| submit(&engine, Append::to("s-1").event(event(n)))).collect();
    disk.start_trace();
    engine.seams().truncate_tail(kept).unwrap();
    let trace = disk.trace();
    let mut counts = BTreeSet::new();
    for state in CrashPoints::new(&trace, CrashOptions::default()) {
        let disk = state.disk();
        let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
        let engine = options.segment_bytes(65536, 65536).open("/data");
        let engine = engine.unwrap_or_else(|error| panic!("{}: {error}", state.label()));
        counts.insert(count(&engine));
        engine.append(Append::to("s-1").event(event(9))).wait().unwrap();
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [3, 8]);
    // Nothing of what was taken back is found behind what stands in its place.
    drop(pending);
    engine.seams().set_replicator(Box::new(nexus_engine::LocalReplicator));
    engine.append(Append::to("s-2").no_stream().event(event(3))).wait().unwrap();
    assert_eq!(count(&open(&disk.image())), 4);
}

#[test]
fn what_stays_before_a_cut_is_answered_when_it_is_committed() {
    let engine = open(&SimDisk::default());
    engine.append(Append::to("s-1").event(event(0))).wait().unwrap();
    engine.seams().set_replicator(Box::new(Slow));
    let mut stays = submit(&engine, Append::to("s-1").event(event(1)));
    let kept = engine.seams().last_entry();
    let mut goes = submit(&engine, Append::to("s-1").event(event(2)));
    engine.seams().truncate_tail(kept).unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(goes.as_mut().poll(&mut context).is_ready());
    assert!(stays.as_mut().poll(&mut context).is_pending());
    assert_eq!(count(&engine), 1);
    engine.seams().set_committed(kept);
    assert_eq!(count(&engine), 2);
    match stays.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(answer)) => assert_eq!(answer.first().unwrap().get(), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_copied_by_frames_is_the_same_log() {
    let leader = open(&SimDisk::default());
    for n in 0..40 {
        let events = (0..=n % 3).map(|m| event(n * 10 + m));
        leader.append(Append::to(format!("s-{}", n % 4)).events(events)).wait().unwrap();
    }
    let follower_disk = SimDisk::builder().seed(9).build();
    let follower = open(&follower_disk);
    let first = follower.seams().last_entry();
    let sent: Vec<_> = leader.seams().frames_after(first).unwrap();
    let sent: Vec<_> =
        sent.iter().map(|frame| ReplicatedFrame::decode(&frame.encode()).unwrap()).collect();
    let told = AtomicBool::new(false);
    follower.seams().set_replicator(Box::new(Slow));
    follower
        .seams()
        .append_frames(&sent, |entry| {
            assert_eq!(entry, leader.seams().last_entry());
            told.store(true, Ordering::Relaxed);
        })
        .unwrap();
    assert!(told.load(Ordering::Relaxed));
    assert_eq!(count(&follower), 0);
    follower.seams().set_committed(leader.seams().last_entry());
    let all = |engine: &Engine| -> Vec<_> {
        engine.read(Read::all()).into_iter().map(|e| e.unwrap().as_bytes().clone()).collect()
    };
    assert_eq!(all(&leader), all(&follower));
    follower.close().unwrap();
    assert_eq!(all(&open(&follower_disk)), all(&leader));
}

#[test]
fn a_damaged_frame_of_another_node_is_refused() {
    let leader = open(&SimDisk::default());
    leader.append(Append::to("s-1").event(event(0))).wait().unwrap();
    let frames = leader.seams().frames_after(EntryId { term: 1, index: 0 }).unwrap();
    let bytes = frames[0].encode();
    for bit in (0..bytes.len() * 8).step_by(7) {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(ReplicatedFrame::decode(&damaged.into()).is_err(), "bit {bit}");
    }
}

#[test]
fn nothing_shows_what_is_not_committed() {
    let disk = SimDisk::default();
    let engine = open(&disk);
    for n in 0..3 {
        engine.append(Append::to("s-1").event(event(n))).wait().unwrap();
    }
    engine.seams().set_replicator(Box::new(Slow));
    disk.advance(std::time::Duration::from_secs(1));
    // The frames that wait fill segments of their own.
    let _pending: Vec<_> =
        (3..60).map(|n| submit(&engine, Append::to("s-2").event(event(n)))).collect();
    let now = nexus_engine::io::Disk::now(&disk);
    let last = |read: Read| {
        let events = engine.read(read.system()).into_iter();
        events.map(|event| event.unwrap().position().get()).collect::<Vec<_>>()
    };
    for time in [now, nexus_protocol::Timestamp::from_micros(i64::MAX)] {
        let as_of = nexus_protocol::AsOf::Recorded(time);
        assert_eq!(last(Read::all().as_of(as_of)), [0, 1, 2]);
        assert_eq!(last(Read::all().as_of(as_of).backwards()), [2, 1, 0]);
        assert_eq!(last(Read::all().from_time(time).backwards()), [2, 1, 0]);
        assert!(last(Read::all().from_time(time)).is_empty());
        assert!(last(Read::stream("s-2").as_of(as_of)).is_empty());
    }
    assert_eq!((engine.stats().events, engine.stats().streams), (3, 1));
    let every = nexus_engine::StreamList { deleted: true, ..nexus_engine::StreamList::default() };
    let names: Vec<_> =
        engine.streams(&every).unwrap().into_iter().map(|it| it.stream.to_string()).collect();
    assert_eq!(names, ["s-1"]);
}

#[test]
fn a_time_that_many_frames_share_is_found_at_its_first_and_its_last() {
    let disk = SimDisk::default();
    let engine = open(&disk);
    let mut times = Vec::new();
    // Three times, each over several segments.
    for n in 0..120 {
        if n % 40 == 0 {
            disk.advance(std::time::Duration::from_micros(1));
        }
        engine.append(Append::to("s-1").event(event(n))).wait().unwrap();
        engine.maintain().unwrap();
        times.push(nexus_engine::io::Disk::now(&disk));
    }
    assert!(engine.stats().segments > 6);
    let edge = |read: Read| {
        let mut events = engine.read(read.limit(1)).into_iter();
        events.next().map(|event| event.unwrap().position().get())
    };
    for (part, time) in [0, 40, 80].map(|first| (first, times[usize::try_from(first).unwrap()])) {
        assert_eq!(edge(Read::all().from_time(time)), Some(part));
        assert_eq!(edge(Read::all().from_time(time).backwards()), Some(part + 39));
        assert_eq!(edge(Read::stream("s-1").from_time(time)), Some(part));
        let as_of = nexus_protocol::AsOf::Recorded(time);
        assert_eq!(edge(Read::all().as_of(as_of).backwards()), Some(part + 39));
    }
}

#[test]
fn frames_that_do_not_follow_are_refused_and_nothing_is_kept_of_them() {
    let leader = open(&SimDisk::default());
    leader.append(Append::to("s-1").event(event(0))).wait().unwrap();
    let start = leader.seams().last_entry();
    for n in 1..4 {
        leader.append(Append::to("s-1").event(event(n))).wait().unwrap();
    }
    let all = leader.seams().frames_after(EntryId { term: 1, index: 0 }).unwrap();
    let follower_disk = SimDisk::default();
    let follower = open(&follower_disk);
    let seams = follower.seams();
    let before = (seams.last_entry(), seams.chain());
    let mut gone = 0;
    for frames in [&all[1..], &all[2..3], &leader.seams().frames_after(start).unwrap()] {
        let refused = seams.append_frames(frames, |_| gone += 1).unwrap_err();
        assert!(refused.to_string().contains("does not follow"), "{refused}");
        assert_eq!((seams.last_entry(), seams.chain()), before);
    }
    // The first of these is good, and stays.
    let refused = seams.append_frames(&[all[0].clone(), all[0].clone()], |_| gone += 1);
    assert!(refused.is_err());
    seams.append_frames(&all[1..], |last| assert_eq!(last, all[3].entry())).unwrap();
    let end = (0, 4, leader.seams().last_entry());
    assert_eq!((gone, count(&follower), seams.last_entry()), end);
    // Nor does a poisoned log panic.
    follower_disk.schedule(nexus_engine::io::sim::Fault::sync(1));
    follower.append(Append::to("s-1").event(event(4))).wait().unwrap_err();
    leader.append(Append::to("s-1").event(event(4))).wait().unwrap();
    let next = leader.seams().frames_after(all[3].entry()).unwrap();
    for _ in 0..2 {
        seams.append_frames(&next, |_| gone += 1).unwrap_err();
    }
    assert_eq!(gone, 0);
}

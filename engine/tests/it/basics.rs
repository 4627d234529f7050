//! Append, read, close, open again: on a real disk, in memory, and on the simulated one.

use std::sync::Arc;

use nexus_engine::io::SimDisk;
use nexus_engine::{Engine, Stop};
use nexus_protocol::{
    Append, AppendError, EventData, ExpectedRevision, Filter, Position, QueryItem, Read, Revision,
    StreamState, Subscribe, SubscriptionItem,
};

fn event(n: u64) -> EventData {
    EventData::json("Tested", &serde_json::json!({ "n": n })).unwrap().tag(format!("n:{}", n % 3))
}

fn numbers(engine: &Engine, read: Read) -> Vec<u64> {
    engine.read(read).into_iter().map(|event| event.unwrap().position().get()).collect()
}

#[test]
fn what_was_appended_is_read_again_after_opening_anew() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path()).unwrap();
    for n in 0..10 {
        let answer =
            engine.append(Append::to(format!("s-{}", n % 2)).event(event(n))).wait().unwrap();
        assert_eq!(answer.first(), Some(Position::new(n)));
    }
    assert_eq!(numbers(&engine, Read::stream("s-1")), [1, 3, 5, 7, 9]);
    engine.close().unwrap();
    let engine = Engine::open(dir.path()).unwrap();
    assert_eq!(numbers(&engine, Read::all()), (0..10).collect::<Vec<_>>());
    assert_eq!(numbers(&engine, Read::all().backwards().limit(3)), [9, 8, 7]);
    assert_eq!(numbers(&engine, Read::stream("s-0").backwards()), [8, 6, 4, 2, 0]);
    assert_eq!(numbers(&engine, Read::all().filter(Filter::tag("n:1"))), [1, 4, 7]);
    assert!(matches!(Engine::open(dir.path()), Err(nexus_engine::OpenError::Locked { .. })));
}

#[test]
fn segments_roll_and_are_sealed_on_the_simulated_disk() {
    let disk = SimDisk::builder().seed(1).build();
    let options = || {
        Engine::options()
            .disk(Arc::new(disk.clone()))
            .segment_bytes(65536, 65536)
            .threads(false)
            .compress(false)
    };
    let engine = options().open("/data").unwrap();
    for n in 0..100 {
        engine.append(Append::to("s-1").event(event(n))).wait().unwrap();
        engine.maintain().unwrap();
    }
    assert!(engine.stats().segments > 5, "{:?}", engine.stats());
    assert_eq!(numbers(&engine, Read::all()).len(), 100);
    engine.close().unwrap();
    let engine = options().open("/data").unwrap();
    assert_eq!(numbers(&engine, Read::stream("s-1")).len(), 100);
    let found = engine.append(Append::to("s-1").at(Revision::new(3)).event(event(0))).wait();
    assert!(matches!(found, Err(AppendError::Conflict(_))), "{found:?}");
}

#[test]
fn an_event_is_looked_up_by_its_position_where_it_is_shown() {
    let engine = Engine::in_memory();
    for n in 0..4 {
        engine.append(Append::to(format!("s-{}", n % 2)).event(event(n))).wait().unwrap();
    }
    let log = engine.namespace("default").unwrap();
    let found = |at: u64| log.event_at(Position::new(at)).unwrap().map(|it| it.position().get());
    assert_eq!(
        [0, 1, 2, 3, 4, u64::MAX].map(found),
        [Some(0), Some(1), Some(2), Some(3), None, None]
    );
    engine.delete_stream("s-1", ExpectedRevision::Any).unwrap();
    assert_eq!([0, 1, 2, 3].map(found), [Some(0), None, Some(2), None], "never one behind it");
    let head = log.head().position.unwrap().get();
    assert_eq!(found(head), Some(head), "those of the system, too");
}

#[test]
fn a_list_is_as_long_as_was_asked() {
    let engine = Engine::in_memory();
    for n in 0..3 {
        engine.append(Append::to(format!("s-{n}")).event(event(n))).wait().unwrap();
    }
    for limit in 0..5 {
        let list = nexus_engine::StreamList { limit, ..nexus_engine::StreamList::default() };
        assert_eq!(engine.streams(&list).unwrap().len(), limit.min(3));
    }
}

#[test]
fn many_threads_append_and_a_subscription_sees_all() {
    let engine = Engine::in_memory();
    let mut subscription = engine.subscribe(Subscribe::all());
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let engine = engine.clone();
            scope.spawn(move || {
                for n in 0..200 {
                    engine
                        .append(Append::to(format!("w-{writer}")).event(event(n)))
                        .wait()
                        .unwrap();
                }
            });
        }
    });
    let mut seen = 0;
    while seen < 1600 {
        match subscription.next_blocking(None).unwrap().unwrap() {
            SubscriptionItem::Event(event) => {
                assert_eq!(event.position().get(), seen);
                seen += 1;
            }
            SubscriptionItem::Checkpoint { .. } | SubscriptionItem::CaughtUp { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    engine.delete_stream("w-1", nexus_protocol::ExpectedRevision::Any).unwrap();
    assert_eq!(engine.stream_info("w-1").unwrap().state, StreamState::Deleted(Revision::new(199)));
    assert!(numbers(&engine, Read::stream("w-1")).is_empty());
    assert_eq!(numbers(&engine, Read::all()).len(), 1400);
}

#[test]
fn whoever_waits_for_the_last_of_many_frames_writes_them_all() {
    let disk = SimDisk::builder().seed(2).recording(false).build();
    let options = Engine::options().disk(Arc::new(disk)).threads(false).frame_bytes(1);
    let engine = options.open("/data").unwrap();
    let append = |n| engine.append(Append::to("counter").event(event(n)));
    let pending: Vec<_> = (0..300).map(append).collect();
    let last = pending.into_iter().next_back().unwrap().wait().unwrap();
    assert_eq!(last.positions.unwrap().1.get(), 299);
}

#[test]
fn sizes_of_segments_are_rounded_up_to_whole_blocks() {
    let disk = nexus_engine::io::SimDisk::default();
    for (first, largest) in [(100_000, 200_001), (1, 65_537), (u64::MAX, 300_000)] {
        let disk = std::sync::Arc::new(disk.durable_image());
        let options = Engine::options().disk(disk).threads(false).segment_bytes(first, largest);
        let engine = options.open("/data").unwrap();
        for n in 0..20 {
            let event = EventData::json("Tested", &"x".repeat(40_000)).unwrap();
            engine.append(Append::to(format!("s-{n}")).event(event)).wait().unwrap();
            engine.maintain().unwrap();
        }
        assert!(engine.stats().segments > 2, "{first}, {largest}: {:?}", engine.stats());
    }
}

#[test]
fn a_condition_on_the_types_of_the_store_is_refused() {
    let engine = Engine::in_memory();
    let item = || QueryItem::types(["Tested", "$StreamDeleted"]);
    let appends = [
        Append::to("s-1").event(event(1)).absent(item()),
        Append::to("s-1").event(event(1)).boundary(item(), None),
    ];
    for append in appends {
        let refused = engine.append(append).wait().unwrap_err();
        assert!(matches!(refused, AppendError::Invalid(_)), "{refused:?}");
        assert!(refused.to_string().contains("\"$StreamDeleted\""), "{refused}");
    }
    assert_eq!(engine.stats().events, 0);
}

#[test]
fn a_replay_of_a_large_append_reads_runs_of_records() {
    const EVENTS: u64 = 4_000;
    let disk = SimDisk::default();
    let options = || {
        let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
        options.segment_bytes(1 << 21, 1 << 21)
    };
    let append = Append::to("s-1").events((0..EVENTS).map(event)).idempotency_key("import");
    let engine = options().open("/data").unwrap();
    let first = engine.append(append.clone()).wait().unwrap();
    engine.close().unwrap();
    let engine = options().open("/data").unwrap();
    let before = disk.trace().read_count();
    let again = engine.append(append).wait().unwrap();
    assert!(again.replayed && again.positions == first.positions, "{again:?}");
    let reads = disk.trace().read_count() - before;
    assert!(reads < EVENTS / 4, "{reads} reads");
}

#[test]
fn each_frame_counts_once_in_how_long_the_disk_took() {
    let engine = Engine::in_memory();
    let before = engine.sync_durations();
    for number in 0..3 {
        engine.append(Append::to("s").event(event(number))).wait().unwrap();
        let after = engine.sync_durations();
        assert_eq!(
            after.count(),
            before.count() + number + 1,
            "each is awaited, so each is a frame"
        );
    }
    // What is refused reaches no disk.
    let refused = engine.append(Append::to("s").no_stream().event(event(9))).wait();
    assert!(refused.is_err());
    assert_eq!(engine.sync_durations().count(), before.count() + 3);
}

#[test]
fn how_long_the_disk_took_stays_when_a_namespace_goes() {
    let engine = Engine::in_memory();
    let orders = engine.create_namespace("orders").unwrap();
    orders.append(Append::to("s").event(event(1))).wait().unwrap();
    let before = engine.sync_durations();
    assert!(before.count() > 0);
    engine.delete_namespace("orders").unwrap();
    let after = engine.sync_durations();
    assert!(after.count() >= before.count() && after.sum() >= before.sum(), "{after:?}");
}

#[test]
fn a_read_that_nobody_waits_for_ends() {
    let engine = Engine::in_memory();
    for number in 0..10 {
        let event = EventData::json("Counted", &number).unwrap();
        engine.append(Append::to("a").event(event)).wait().unwrap();
    }
    for read in [Read::all(), Read::all().backwards(), Read::stream("a")] {
        let stop = Stop::default();
        let mut events = engine.read(read).into_iter();
        events.end_at(&stop);
        let ends = stop.on_drop();
        assert_eq!(events.by_ref().take(3).filter(Result::is_ok).count(), 3);
        drop(ends);
        assert!(stop.is_stopped() && events.next().is_none());
    }
}

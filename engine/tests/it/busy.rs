//! Limits and deletes of streams that are appended to all the while.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nexus_engine::Engine;
use nexus_engine::io::{Backend, SimDisk};
use nexus_protocol::{Append, ExpectedRevision, Revision, StreamChange, StreamState};

use crate::history::numbered;
use crate::stores::Store;

fn counted(max_count: Option<u64>) -> StreamChange {
    StreamChange { max_count: Some(max_count), ..StreamChange::default() }
}

fn floor(engine: &Engine, stream: &str) -> u64 {
    engine.stream_info(stream).unwrap().floor.get()
}

fn one(n: u64) -> Append {
    Append::to("s-9").event(numbered(100 + n, 9))
}

#[test]
fn max_age_holds_on_a_stream_that_is_appended_to() {
    let store = Store::on(SimDisk::builder().depth(4).build());
    let engine = &store.engine;
    for n in 0..3 {
        engine.append(one(n)).wait().unwrap();
    }
    let change = StreamChange { max_age_s: Some(Some(10)), ..StreamChange::default() };
    engine.set_stream("s-9", change).unwrap();
    store.disk.advance(Duration::from_secs(60));
    // Placed before the floor is.
    let pending: Vec<_> = (3..6).map(|n| engine.append(one(n))).collect();
    engine.maintain().unwrap();
    pending.into_iter().for_each(|append| drop(append.wait().unwrap()));
    assert_eq!(floor(engine, "s-9"), 3);
    // And it is not taken further than is old.
    engine.maintain().unwrap();
    assert_eq!(floor(engine, "s-9"), 3);
}

#[test]
fn a_laxer_limit_brings_nothing_back_that_was_hidden_by_then() {
    let store = Store::on(SimDisk::builder().depth(4).build());
    let engine = &store.engine;
    for n in 0..10 {
        engine.append(one(n)).wait().unwrap();
    }
    engine.set_stream("s-9", counted(Some(3))).unwrap();
    assert_eq!(floor(engine, "s-9"), 7);
    // In flight when the limit is lifted: two more were hidden before it was.
    let pending = [engine.append(one(10)), engine.append(one(11))];
    engine.set_stream("s-9", counted(None)).unwrap();
    for append in pending {
        append.wait().unwrap();
    }
    assert_eq!(floor(engine, "s-9"), 9);
    // Opened anew, it is the same, from the events and from an index file.
    let (disk, _) = store.killed();
    let engine = crate::stores::SHAPE.open(&disk);
    assert_eq!(floor(&engine, "s-9"), 9);
    for n in 0..40 {
        engine.append(Append::to("large").event(numbered(n, 9_000))).wait().unwrap();
        engine.maintain().unwrap();
    }
    engine.close().unwrap();
    assert_eq!(floor(&crate::stores::SHAPE.open(&disk), "s-9"), 9);
}

#[test]
fn streams_under_a_deep_pipeline_can_be_changed_and_deleted() {
    // More is in flight than fits a frame: whatever is placed, other appends stand before it.
    let dir = tempfile::tempdir().unwrap();
    let options = Engine::options().backend(Backend::PortableBuffered).frame_bytes(8 * 1024);
    let engine = options.open(dir.path()).unwrap();
    engine.append(one(0)).wait().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| {
            let mut pending = VecDeque::new();
            let mut n = 1;
            while !done.load(Ordering::Acquire) {
                pending.push_back(engine.append(one(n)));
                n += 1;
                if pending.len() > 256 {
                    pending.pop_front().unwrap().wait().unwrap();
                }
            }
            pending.into_iter().for_each(|append| drop(append.wait().unwrap()));
        });
        let changes: Vec<String> = (0..20)
            .filter_map(|n| {
                let change = engine.set_stream("s-9", counted(Some(1000 + n))).err();
                let deleted = engine.delete_stream("s-9", ExpectedRevision::Any).err();
                // Until it is revived there is nothing to delete.
                while !matches!(engine.stream_info("s-9").unwrap().state, StreamState::At(_)) {
                    std::thread::yield_now();
                }
                change.or(deleted).map(|error| error.to_string())
            })
            .collect();
        done.store(true, Ordering::Release);
        appending.join().unwrap();
        assert_eq!(changes, [""; 0]);
    });
    let end = Revision::new(u64::MAX);
    assert!(engine.delete_stream("s-9", ExpectedRevision::Exact(end)).is_err());
    let head = engine.stream_info("s-9").unwrap().state.head().unwrap();
    engine.delete_stream("s-9", ExpectedRevision::Exact(head)).unwrap();
    assert_eq!(engine.stream_info("s-9").unwrap().state, StreamState::Deleted(head));
}

//! Readers see one commit each, while others are made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nexus_delivery::projection::{Commit, Kept, Sink, SinkError};
use nexus_protocol::Position;
use nexus_search::KvSink;

use crate::model::changed;

#[test]
fn a_reader_sees_one_commit() {
    let mut sink = KvSink::in_memory().unwrap();
    let keys: Vec<String> = (0..200).map(|key| format!("key {key:03}")).collect();
    let commits = if cfg!(debug_assertions) { 300 } else { 3_000 };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in 0..4 {
            let (documents, keys, is_over) = (sink.documents(), &keys, &is_over);
            scope.spawn(move || {
                let (mut last, mut number) = (Position::ZERO, reader);
                while !is_over.load(Ordering::Relaxed) {
                    number += 1;
                    let (kept, next) = documents.get(&keys[number % keys.len()]).unwrap();
                    assert!(next >= last, "a later read saw an earlier commit");
                    assert_eq!(
                        kept.map(|kept| kept.position.next()),
                        (next.get() > 0).then_some(next)
                    );
                    last = next;
                    // All documents change with each commit, so that a page of two commits would show.
                    let page = documents.page(None, 1_000).unwrap();
                    assert!(page.windows(2).all(|pair| pair[0].1 == pair[1].1));
                    assert!(page.len() == keys.len() || next == Position::ZERO);
                }
            });
        }
        for number in 1..=commits {
            let bytes = format!("commit {number}").into_bytes();
            let kept = Kept { position: Position::new(number), bytes };
            let changed: Vec<_> = keys.iter().map(|key| changed(key, Some(kept.clone()))).collect();
            let next = Position::new(number).next();
            let durable = number % 10 == 0;
            sink.commit(&Commit { next, checkpoint: b"", changed: &changed, durable }).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn documents_of_a_sink_that_is_closed_are_not_available() {
    let place = tempfile::tempdir().unwrap();
    let sink = KvSink::open(place.path()).unwrap();
    let documents = sink.documents();
    drop(sink);
    let answers = [documents.get("a").map(drop), documents.page(None, 1).map(drop)];
    for answer in answers {
        assert!(matches!(answer, Err(SinkError::Unavailable(_))), "{answer:?}");
    }
    KvSink::open(place.path()).unwrap();
}

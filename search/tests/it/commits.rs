//! Commits are seen whole and at once, and are there when the documents are opened again.

use nexus_delivery::projection::{Commit, Kept, Sink};
use nexus_protocol::Position;
use nexus_search::KvSink;

use crate::model::{Model, Shown, changed};
use crate::random::Random;

fn kept(position: u64, bytes: &str) -> Kept {
    Kept { position: Position::new(position), bytes: bytes.into() }
}

fn commit<'a>(next: u64, changed: &'a [nexus_delivery::projection::Changed]) -> Commit<'a> {
    Commit { next: Position::new(next), checkpoint: b"here", changed, durable: false }
}

#[test]
fn nothing_is_there_before_the_first_commit() {
    let sink = KvSink::in_memory().unwrap();
    assert_eq!(sink.checkpoint().unwrap(), None);
    assert_eq!(sink.get("a").unwrap(), None);
    let documents = sink.documents();
    assert_eq!(documents.get("a").unwrap(), (None, Position::ZERO));
    assert_eq!(documents.page(None, 10).unwrap(), []);
}

#[test]
fn a_commit_is_seen_at_once() {
    let mut sink = KvSink::in_memory().unwrap();
    let documents = sink.documents();
    let two = [changed("b", Some(kept(3, "of b"))), changed("a", Some(kept(7, "of a")))];
    sink.commit(&commit(8, &two)).unwrap();
    assert_eq!(sink.checkpoint().unwrap().as_deref(), Some(&b"here"[..]));
    assert_eq!(sink.get("a").unwrap(), Some(kept(7, "of a")));
    assert_eq!(documents.get("b").unwrap(), (Some(kept(3, "of b")), Position::new(8)));

    sink.commit(&commit(9, &[changed("b", None), changed("none", None)])).unwrap();
    assert_eq!(documents.get("b").unwrap(), (None, Position::new(9)));
    assert_eq!(sink.get("a").unwrap(), Some(kept(7, "of a")));
}

#[test]
fn pages_are_in_the_order_of_keys() {
    let mut sink = KvSink::in_memory().unwrap();
    let keys = ["", "a", "a\0", "aa", "b", "ä", "日本", "\u{10ffff}"];
    let all: Vec<_> = keys.iter().rev().map(|key| changed(key, Some(kept(1, key)))).collect();
    sink.commit(&commit(2, &all)).unwrap();
    let documents = sink.documents();
    let page = |after: Option<&str>, limit: usize| {
        let page = documents.page(after, limit).unwrap();
        page.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 100), keys);
    assert_eq!(page(None, 3), keys[..3]);
    assert_eq!(page(Some("a"), 2), keys[2..4]);
    assert_eq!(page(Some("a\0\0"), 2), keys[3..5], "after a key that is not there");
    assert_eq!(page(Some("\u{10ffff}"), 2), [""; 0]);
    assert_eq!(page(None, 0), [""; 0]);
}

#[test]
fn documents_may_be_large() {
    let mut sink = KvSink::in_memory().unwrap();
    let large = Kept { position: Position::new(1), bytes: vec![7; 9 * 1024 * 1024] };
    sink.commit(&commit(2, &[changed("a", Some(large.clone()))])).unwrap();
    assert_eq!(sink.get("a").unwrap(), Some(large));
}

#[test]
#[should_panic(expected = "do not go back to 4")]
fn a_commit_does_not_go_back() {
    let mut sink = KvSink::in_memory().unwrap();
    sink.commit(&commit(5, &[])).unwrap();
    sink.commit(&commit(5, &[])).unwrap();
    let _ = sink.commit(&commit(4, &[]));
}

#[test]
#[should_panic(expected = "a key is there twice")]
fn a_commit_has_each_key_once() {
    let mut sink = KvSink::in_memory().unwrap();
    let _ = sink.commit(&commit(5, &[changed("a", None), changed("b", None), changed("a", None)]));
}

/// Random commits beside a map, in a directory that is opened again at random.
#[test]
fn what_is_committed_is_what_is_found() {
    let seeds = if cfg!(debug_assertions) { 12 } else { 60 };
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("orders/3");
        let (mut model, mut sink) = (Model::new(), KvSink::open(&dir).unwrap());
        for step in 0..120 {
            if random.one_in(15) {
                drop(sink);
                sink = KvSink::open(&dir).unwrap();
                model.closed();
                model.found(&Shown::of(&sink, &mut random).unwrap(), "closed and opened");
            }
            let planned = model.plan(300, &mut random);
            planned.make(&mut sink).unwrap();
            let key = format!("key {}", random.below(300));
            let expected = planned.after.documents.get(&key).cloned();
            assert_eq!(sink.get(&key).unwrap(), expected, "seed {seed}, step {step}");
            if random.one_in(10) {
                assert_eq!(Shown::of(&sink, &mut random).unwrap(), planned.after, "seed {seed}");
            }
            model.made(planned);
        }
    }
}

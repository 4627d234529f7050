//! Projections of a node: documents come of the log and of nothing else, whatever is removed, damaged, or switched
//! meanwhile; and whoever looks sees what they may.

mod governed;
mod lifted;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nexus_node::{Access, Engine, Node, Principal, ProjectionRoom};
use nexus_protocol::group::{ParkedList, ParkedPick};
use nexus_protocol::projection::{Lookup, ProjectionChange, ProjectionInfo, ProjectionState};
use nexus_protocol::{Append, AppendError, EventData, Position, ReadError};
use serde_json::{Value, json};

use crate::metrics::samples;

pub(crate) fn local(node: &Node) -> Access {
    node.access(Principal::local(), "default").unwrap()
}

/// How much each order comes to, and how many lines it has.
fn orders(version: u32) -> Value {
    let mut fields = json!({
        "cents": { "type": "u64", "fold": "add", "from": "/data/cents" },
        "lines": { "type": "u64", "fold": "count" },
    });
    if version > 1 {
        fields["most"] = json!({ "type": "u64", "fold": "max", "from": "/data/cents" });
    }
    json!({ "name": "orders", "version": version, "sink": "kv", "key": "/data/order",
            "filter": { "types": ["LineAdded"] }, "fields": fields })
}

pub(crate) fn append(access: &Access, stream: &str, event: EventData) -> Position {
    let appended = access.append(Append::to(stream).event(event)).unwrap().wait().unwrap();
    appended.last().unwrap()
}

fn line(access: &Access, order: &str, cents: impl Into<Value>) -> Position {
    let data = json!({ "order": order, "cents": cents.into() });
    append(access, "orders", EventData::json("LineAdded", &data).unwrap())
}

/// A document as of a position, at least.
pub(crate) fn find(access: &Access, name: &str, key: &str, min: Position) -> Option<Value> {
    let lookup = Lookup { key: key.to_owned(), min_position: Some(min), timeout_ms: Some(60_000) };
    match access.lookup(name, &lookup) {
        Ok(found) => {
            assert!(
                found.as_of_position.unwrap() >= min
                    && found.position <= found.as_of_position.unwrap()
            );
            Some(Value::Object(found.document))
        }
        Err(ReadError::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// How it is, once that is as wanted.
fn once(access: &Access, name: &str, wanted: impl Fn(&ProjectionInfo) -> bool) -> ProjectionInfo {
    let begun = Instant::now();
    loop {
        let info = access.projection(name).unwrap();
        if wanted(&info) {
            return info;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{info:?}");
        std::thread::yield_now();
    }
}

fn is_settled(info: &ProjectionInfo) -> bool {
    info.lag_events == 0 && info.state == ProjectionState::Running
}

/// What tells two copies apart.
fn digests(info: &ProjectionInfo) -> (String, String, u64, u64) {
    let ProjectionInfo { events_digest, documents_digest, events, documents, .. } = info.clone();
    (events_digest, documents_digest, events, documents)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir.join("projections/default")).unwrap() {
        found.push(entry.unwrap().path());
    }
    found.sort();
    found
}

#[test]
fn documents_are_found_by_their_keys_as_soon_as_they_are_waited_for() {
    let node = Node::over(Engine::in_memory()).unwrap();
    let access = local(&node);
    line(&access, "a", 100);
    assert!(access.set_projection("orders", &orders(1)).unwrap());
    assert!(!access.set_projection("orders", &orders(1)).unwrap(), "it has this one");
    let last = line(&access, "a", 50);
    assert_eq!(find(&access, "orders", "a", last), Some(json!({ "cents": 150, "lines": 2 })));
    assert_eq!(find(&access, "orders", "b", last), None);
    // Also where nothing of it was taken.
    let last = append(&access, "others", EventData::json("Other", &1).unwrap());
    assert_eq!(find(&access, "orders", "a", last), Some(json!({ "cents": 150, "lines": 2 })));
    let ahead = Lookup {
        key: "a".to_owned(),
        min_position: Some(Position::new(1_000)),
        timeout_ms: Some(1),
    };
    let refused = access.lookup("orders", &ahead).unwrap_err();
    assert!(matches!(refused, ReadError::NotCaughtUp { waited_ms: 1, .. }), "{refused}");
    let info = once(&access, "orders", is_settled);
    assert_eq!((info.documents, info.events, info.parked, info.version), (1, 2, 0, 1));
    assert_eq!(access.projections().unwrap(), ["orders"]);
    let told = samples(&node);
    let of = |name: &str| told[&format!("{name}{{namespace=\"default\",projection=\"orders\"}}")];
    assert_eq!((of("nexus_projection_documents"), of("nexus_projection_events_total")), (1.0, 2.0));
    assert_eq!((of("nexus_projection_lag_events"), of("nexus_projection_failed")), (0.0, 0.0));
}

#[test]
fn what_is_no_projection_is_refused_and_says_why() {
    let node = Node::over(Engine::in_memory()).unwrap();
    let access = local(&node);
    let mut other = orders(1);
    other["fields"]["cents"]["fold"] = "max".into();
    access.set_projection("orders", &orders(1)).unwrap();
    for (name, definition, says) in [
        ("orders", other, "give it version 2"),
        ("others", orders(1), "it says \"orders\""),
        ("orders", json!({ "name": "orders" }), "fields"),
        ("orders", json!(7), "it is no object"),
    ] {
        let refused = access.set_projection(name, &definition).unwrap_err();
        assert!(matches!(refused, AppendError::Invalid(_)), "{refused}");
        assert!(refused.to_string().contains(says), "{refused}");
    }
    for change in [ProjectionChange::Pause, ProjectionChange::Delete { version: None }] {
        let refused = access.change_projection("none", change).unwrap_err();
        assert!(matches!(refused, AppendError::NotFound { .. }), "{refused}");
    }
    let missing = ProjectionChange::Switch { version: 7 };
    let refused = access.change_projection("orders", missing).unwrap_err();
    assert!(matches!(refused, AppendError::NotFound { .. }), "{refused}");
    let answering = ProjectionChange::Delete { version: Some(1) };
    let refused = access.change_projection("orders", answering).unwrap_err();
    assert!(refused.to_string().contains("switch to another one first"), "{refused}");
    assert_eq!(access.projection("orders").unwrap().builds.len(), 1);
}

#[test]
fn documents_outlive_the_node_and_are_folded_again_where_they_are_gone_or_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let node = Node::open(dir.path()).unwrap();
        let access = local(&node);
        access.set_projection("orders", &orders(1)).unwrap();
        let mut last = Position::ZERO;
        for n in 0..500 {
            last = line(&access, &format!("order-{}", n % 40), n);
        }
        find(&access, "orders", "order-1", last);
        let info = once(&access, "orders", is_settled);
        node.close().unwrap();
        info
    };
    let kept = files(dir.path());
    assert_eq!(kept.len(), 1, "{kept:?}");
    let reopen = |what: &str| {
        let node = Node::open(dir.path()).unwrap();
        let info = once(&local(&node), "orders", is_settled);
        assert_eq!(digests(&info), digests(&before), "{what}");
        node.close().unwrap();
        info.error
    };
    assert_eq!(reopen("as it was"), None);
    std::fs::remove_dir_all(&kept[0]).unwrap();
    assert_eq!(reopen("removed"), None);
    let file = std::fs::read_dir(&kept[0]).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, b"no documents").unwrap();
    assert!(reopen("overwritten").unwrap().contains("folded again"));
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    reopen("cut");
    // What belongs to nothing is removed.
    std::fs::create_dir(dir.path().join("projections/default/orders.9.9")).unwrap();
    reopen("with others beside it");
    assert_eq!(files(dir.path()), kept);
}

#[test]
fn versions_stand_beside_each_other_and_the_one_that_answers_is_switched_to_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).unwrap();
    let access = local(&node);
    access.set_projection("orders", &orders(1)).unwrap();
    line(&access, "a", 100);
    assert!(access.set_projection("orders", &orders(2)).unwrap());
    let last = line(&access, "a", 50);
    let first = json!({ "cents": 150, "lines": 2 });
    let second = json!({ "cents": 150, "lines": 2, "most": 100 });
    assert_eq!(find(&access, "orders", "a", last), Some(first.clone()));
    for (version, wanted) in [(2, &second), (1, &first), (2, &second)] {
        access.change_projection("orders", ProjectionChange::Switch { version }).unwrap();
        assert_eq!(find(&access, "orders", "a", last).as_ref(), Some(wanted));
        assert_eq!(access.projection("orders").unwrap().version, version);
    }
    access.change_projection("orders", ProjectionChange::Delete { version: Some(1) }).unwrap();
    assert_eq!(once(&access, "orders", is_settled).builds.len(), 1);
    access.change_projection("orders", ProjectionChange::Pause).unwrap();
    let after = line(&access, "a", 1);
    assert_eq!(find(&access, "orders", "a", last), Some(second), "it answers from what it has");
    assert_eq!(access.projection("orders").unwrap().state, ProjectionState::Paused);
    access.change_projection("orders", ProjectionChange::Resume).unwrap();
    let third = json!({ "cents": 151, "lines": 3, "most": 100 });
    assert_eq!(find(&access, "orders", "a", after), Some(third));
    access.change_projection("orders", ProjectionChange::Delete { version: None }).unwrap();
    assert!(access.projections().unwrap().is_empty());
    assert!(matches!(access.projection("orders"), Err(AppendError::NotFound { .. })));
    let gone = Lookup { key: "a".to_owned(), ..Lookup::default() };
    assert!(matches!(access.lookup("orders", &gone), Err(ReadError::NotFound { .. })));
    node.close().unwrap();
    let node = Node::open(dir.path()).unwrap();
    assert!(local(&node).projections().unwrap().is_empty());
    assert!(files(dir.path()).is_empty());
}

/// Every lookup knows of the last line that was written before it was asked, and none goes back. `NEXUS_REBUILDS` says how
/// often it is rebuilt.
#[test]
fn nobody_sees_a_wrong_document_while_it_is_rebuilt_under_heavy_writes() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).unwrap();
    let access = local(&node);
    access.set_projection("orders", &orders(1)).unwrap();
    for n in 0..2_000 {
        line(&access, &format!("order-{}", n % 100), 1);
    }
    let rebuilds = std::env::var("NEXUS_REBUILDS").map_or(3, |it| it.parse().expect("a number"));
    let stop = AtomicBool::new(false);
    let looked = std::thread::scope(|scope| {
        for writer in 0..2 {
            let (access, stop) = (&access, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    line(access, &format!("written-{writer}"), 1);
                }
            });
        }
        let reader = scope.spawn(|| {
            let (mut looked, mut as_of, mut cents) = (0_u64, Position::ZERO, 0);
            while !stop.load(Ordering::SeqCst) {
                cents += 1;
                let last = line(&access, "watched", 1);
                let lookup = Lookup {
                    key: "watched".to_owned(),
                    min_position: Some(last),
                    timeout_ms: Some(60_000),
                };
                let found = access.lookup("orders", &lookup).unwrap();
                assert_eq!(found.document["cents"], json!(cents));
                assert!(found.as_of_position.unwrap() >= as_of, "it goes back");
                as_of = found.as_of_position.unwrap();
                looked += 1;
            }
            looked
        });
        for _ in 0..rebuilds {
            let before = access.projection("orders").unwrap().builds[0].generation;
            access.change_projection("orders", ProjectionChange::Rebuild).unwrap();
            once(&access, "orders", |it| it.builds.len() == 1 && it.builds[0].generation > before);
        }
        stop.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });
    assert!(looked > 3, "{looked}");
    println!("count: rebuilds_under_writes {rebuilds}");
    println!("count: lookups_while_rebuilt {looked}");
    let info = once(&access, "orders", is_settled);
    let lines = access.stats().unwrap().events;
    assert_eq!((info.events, info.documents), (lines, 103));
    // The documents that were replaced are gone.
    node.close().unwrap();
    let node = Node::open(dir.path()).unwrap();
    assert_eq!(digests(&once(&local(&node), "orders", is_settled)), digests(&info));
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn a_poison_event_holds_up_its_key_alone_until_somebody_decides() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).unwrap();
    let access = local(&node);
    access.set_projection("orders", &orders(1)).unwrap();
    line(&access, "a", 1);
    let poison = line(&access, "a", "many");
    line(&access, "a", 2);
    let other = line(&access, "b", "none");
    let no_key = line(&access, "", 1);
    let last = line(&access, "c", 3);
    assert_eq!(find(&access, "orders", "a", last), Some(json!({ "cents": 1, "lines": 1 })));
    assert_eq!(find(&access, "orders", "c", last), Some(json!({ "cents": 3, "lines": 1 })));
    // Whoever looks is told that there is more to come.
    let look = |key: &str| {
        let min_position = Some(last);
        access.lookup("orders", &Lookup { key: key.to_owned(), min_position, timeout_ms: None })
    };
    assert!(look("a").unwrap().parked && !look("c").unwrap().parked);
    let (waits, never) = (look("b").unwrap_err().to_string(), look("d").unwrap_err().to_string());
    assert!(waits.contains("parked") && !never.contains("parked"), "{waits} {never}");
    let list = ParkedList { limit: 10, ..ParkedList::default() };
    let page = access.parked_of_projection("orders", &list).unwrap();
    let positions: Vec<_> = page.entries.iter().map(|it| it.position).collect();
    assert_eq!(positions, [poison, other, no_key]);
    let first = &page.entries[0];
    assert_eq!((first.attempts, first.waiting_behind, first.released), (1, 1, false));
    assert!(first.failure.as_ref().unwrap().message.contains("cents"), "{first:?}");
    assert_eq!(first.event.as_ref().unwrap().1, "LineAdded");
    assert_eq!(
        samples(&node)["nexus_parked{namespace=\"default\",source=\"projection:orders\"}"],
        3.0
    );
    // It fails again.
    let key = |key: &str| ParkedPick::Key(key.to_owned());
    assert_eq!(access.replay_parked_of_projection("orders", key("a")).unwrap(), 1);
    let edit = |position, data: Value| {
        access.edit_parked_of_projection("orders", position, Bytes::from(data.to_string()))
    };
    for (position, data, says) in [
        (poison, json!({ "order": "c", "cents": 7 }), "keep its key"),
        (last, json!({ "order": "c", "cents": 7 }), "no entry"),
        (no_key, json!({ "order": "d", "cents": 7 }), "keep its key"),
    ] {
        let refused = edit(position, data).unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    assert_eq!(edit(poison, json!({ "order": "a", "cents": 7 })).unwrap(), poison);
    let positions = ParkedPick::Positions(vec![other, no_key]);
    assert_eq!(access.skip_parked_of_projection("orders", positions).unwrap(), 2);
    let info = once(&access, "orders", |it| it.parked == 0);
    let last = line(&access, "b", 5);
    assert_eq!(find(&access, "orders", "a", last), Some(json!({ "cents": 10, "lines": 3 })));
    assert_eq!(find(&access, "orders", "b", last), Some(json!({ "cents": 5, "lines": 1 })));
    assert!(!look("a").unwrap().parked && !look("b").unwrap().parked);
    assert_eq!(info.events, 6, "what is skipped was taken all the same");
    // What was decided holds also where all is folded again.
    let before = once(&access, "orders", is_settled);
    let old = before.builds[0].generation;
    access.change_projection("orders", ProjectionChange::Rebuild).unwrap();
    let after = once(&access, "orders", |it| is_settled(it) && it.builds[0].generation > old);
    assert_eq!(digests(&after), digests(&before));
    node.close().unwrap();
    for kept in files(dir.path()) {
        std::fs::remove_dir_all(kept).unwrap();
    }
    let node = Node::open(dir.path()).unwrap();
    assert_eq!(digests(&once(&local(&node), "orders", is_settled)), digests(&before));
}

#[test]
fn a_thousand_projections_are_folded_by_a_few_threads() {
    let node = Node::over(Engine::in_memory()).unwrap();
    let access = local(&node);
    for n in 0..1_000 {
        let mut definition = orders(1);
        definition["name"] = format!("p{n}").into();
        access.set_projection(&format!("p{n}"), &definition).unwrap();
    }
    let one_more = access.set_projection("orders", &orders(1)).unwrap_err();
    assert!(one_more.to_string().contains("delete one first"), "{one_more}");
    let mut last = Position::ZERO;
    for n in 0..20 {
        last = line(&access, &format!("order-{}", n % 5), 1);
    }
    let mut seen = BTreeMap::<String, u64>::new();
    for n in 0..1_000 {
        let found = find(&access, &format!("p{n}"), "order-0", last).unwrap();
        *seen.entry(found.to_string()).or_default() += 1;
    }
    assert_eq!(seen, BTreeMap::from([(json!({ "cents": 4, "lines": 4 }).to_string(), 1_000)]));
}

#[test]
fn what_has_no_room_stands_still_and_events_are_appended_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let open = |room| Node::open(dir.path()).unwrap().projection_room(room);
    let none = ProjectionRoom { disk_free_bytes_min: 0, disk_bytes_max: 0 };
    let node = open(none);
    let access = local(&node);
    let last = line(&access, "a", 100);
    access.set_projection("orders", &orders(1)).unwrap();
    assert_eq!(find(&access, "orders", "a", last), Some(json!({ "cents": 100, "lines": 1 })));
    node.close().unwrap();
    for (room, says) in [
        (ProjectionRoom { disk_bytes_max: 1, ..none }, "projections.disk_bytes_max"),
        (
            ProjectionRoom { disk_free_bytes_min: 1 << 50, ..none },
            "projections.disk_free_bytes_min",
        ),
    ] {
        let node = open(room);
        let access = local(&node);
        line(&access, "a", 50);
        let info = once(&access, "orders", |it| it.error.is_some());
        assert!(info.error.clone().unwrap().contains(says), "{info:?}");
        assert_eq!(info.state, ProjectionState::Failed);
        // It answers from what it has.
        let found = find(&access, "orders", "a", Position::ZERO);
        assert_eq!(found, Some(json!({ "cents": 100, "lines": 1 })));
        node.close().unwrap();
    }
    let node = open(none);
    let access = local(&node);
    let last = line(&access, "a", 50);
    assert_eq!(find(&access, "orders", "a", last), Some(json!({ "cents": 250, "lines": 4 })));
}

//! Groups that routes lead to.

use nexus_delivery::coordinator::{Request, What, read_journal};
use nexus_engine::io::SimDisk;
use nexus_engine::{Engine, Namespace};
use nexus_protocol::group::{GroupConfig, GroupMode};
use nexus_protocol::route::{Branch, Condition, Operator};
use nexus_protocol::{Append, EventData, Filter, Revision, StreamChange};

use crate::coordinator::{GROUP, Run, block_on, tokens};

fn branch(name: &str, category: &str, at_least: u64) -> Branch {
    let least = Condition::new("/data", Operator::Ge, at_least.into()).unwrap();
    Branch { name: name.into(), filter: Filter::category(category), conditions: vec![least] }
}

fn store() -> (Engine, Namespace) {
    let disk = std::sync::Arc::new(SimDisk::builder().seed(1).build());
    let engine = Engine::options().disk(disk).threads(false).open("/data").unwrap();
    let store = engine.namespace("default").unwrap();
    (engine, store)
}

fn append(store: &Namespace, stream: &str, number: u64) {
    let event = EventData::json("Counted", &number).unwrap();
    store.append(Append::to(stream).event(event)).wait().unwrap();
}

fn numbers(run: &mut Run) -> Vec<u64> {
    let given = run.receive("a", 100);
    run.answer(tokens(&given), What::Ack);
    given.iter().map(|it| it.event.as_ref().unwrap().json().unwrap()).collect()
}

#[test]
fn routes_come_and_go_while_a_group_is_consumed() {
    let (_engine, store) = store();
    let append = |stream: &str, number: u64| append(&store, stream, number);
    let config =
        GroupConfig { mode: GroupMode::Unordered, only_routes: true, ..GroupConfig::default() };
    let mut run = Run::new(&store, &config);
    append("a-1", 1);
    append("a-1", 9);
    append("b-1", 8);
    assert!(numbers(&mut run).is_empty(), "no route leads to it");
    // It has stayed where it began.
    let set = |run: &mut Run, name: &str, branch| {
        run.ask((name.to_owned(), branch), Request::Branch).unwrap()
    };
    assert!(!set(&mut run, "large", Some(branch("large", "a", 5))));
    assert_eq!(numbers(&mut run), [9]);
    // Another sees what comes.
    assert!(!set(&mut run, "other", Some(branch("other", "b", 0))));
    append("a-1", 2);
    append("b-1", 3);
    append("a-1", 7);
    append("c-1", 100);
    assert_eq!(numbers(&mut run), [3, 7]);
    assert_eq!(run.look().stats.open, 0, "what fulfils no condition is not for the group");
    // Set anew, it takes others; deleted, none.
    assert!(set(&mut run, "large", Some(branch("large", "a", 0))));
    assert!(set(&mut run, "other", None));
    assert!(!set(&mut run, "other", None));
    append("a-1", 4);
    append("b-1", 5);
    assert_eq!(numbers(&mut run), [4]);
    // The rest of the configuration changes without them.
    let config = GroupConfig { max_attempts: 9, ..config };
    run.ask(config.clone(), Request::Configure).unwrap();
    let forged = GroupConfig { branches: vec![branch("x", "x", 0)], ..config };
    let refused = run.ask(forged, Request::Configure).unwrap_err().to_string();
    assert!(refused.contains("are set as routes"), "{refused}");
    run = Run::open(&store);
    append("a-1", 6);
    assert_eq!(numbers(&mut run), [6], "they are there when it is opened again");
    let journal = block_on(read_journal(&store.for_system(), GROUP)).unwrap().unwrap();
    assert_eq!(journal.config.branches, [branch("large", "a", 0)]);
    assert_eq!(journal.config.max_attempts, 9);
}

#[test]
fn a_group_gets_what_its_filter_takes_or_any_route_and_each_event_once() {
    let (_engine, store) = store();
    let config = GroupConfig { filter: Filter::category("a"), ..GroupConfig::default() };
    let mut run = Run::new(&store, &config);
    for name in ["one", "two"] {
        let ask = (name.to_owned(), Some(branch(name, "b", 5)));
        run.ask(ask, Request::Branch).unwrap();
    }
    for (stream, number) in [("a-1", 1), ("b-1", 2), ("b-1", 6), ("c-1", 7)] {
        append(&store, stream, number);
    }
    let mut all = numbers(&mut run);
    all.extend(numbers(&mut run));
    assert_eq!(all, [1, 6]);
}

#[test]
fn what_a_group_has_taken_stays_to_be_done_whatever_its_filter_becomes() {
    let (_engine, store) = store();
    let append = |stream: &str, number: u64| append(&store, stream, number);
    let config = GroupConfig { filter: Filter::category("a"), ..GroupConfig::default() };
    let mut run = Run::new(&store, &config);
    run.ask(("large".to_owned(), Some(branch("large", "b", 5))), Request::Branch).unwrap();
    for (stream, number) in [("a-1", 1), ("b-1", 2), ("b-1", 6), ("a-2", 3), ("c-1", 4)] {
        append(stream, number);
    }
    assert_eq!(run.receive("a", 100).len(), 3);
    // Nobody answers, and it takes other events from now on.
    assert!(run.ask(("large".to_owned(), None), Request::Branch).unwrap());
    let config = GroupConfig { filter: Filter::category("c"), ..config };
    run.ask(config, Request::Configure).unwrap();
    append("a-1", 7);
    append("c-1", 8);
    run = Run::open(&store);
    let mut all = numbers(&mut run);
    all.extend(numbers(&mut run));
    all.sort_unstable();
    // Not 4, which was looked at with the filter of before, nor 7.
    assert_eq!(all, [1, 3, 6, 8]);
    assert_eq!(run.look().stats.open, 0);
    run = Run::open(&store);
    append("c-1", 9);
    assert_eq!(numbers(&mut run), [9]);
}

/// What is read to find what another filter had taken ends where that ended, also where nothing is left there.
#[test]
fn what_no_filter_takes_is_delivered_by_none() {
    let (_engine, store) = store();
    let config = GroupConfig { filter: Filter::category("a"), ..GroupConfig::default() };
    let mut run = Run::new(&store, &config);
    append(&store, "a-1", 1);
    assert_eq!(run.receive("a", 100).len(), 1);
    // It is looked at last: behind the group's own records.
    append(&store, "a-2", 2);
    assert_eq!(run.receive("a", 100).len(), 1);
    let config = GroupConfig { filter: Filter::category("d"), ..config };
    run.ask(config, Request::Configure).unwrap();
    let truncate_before = Some(Revision::new(1));
    let change = StreamChange { truncate_before, ..StreamChange::default() };
    store.set_stream("a-2", change).unwrap();
    append(&store, "a-2", 3);
    append(&store, "d-1", 4);
    run = Run::open(&store);
    let mut all = numbers(&mut run);
    all.extend(numbers(&mut run));
    all.sort_unstable();
    assert_eq!(all, [1, 4]);
}

//! The runner of projections against an oracle that folds every key for itself: with kills at any point, commits that
//! fail, events that fail and panic, and what somebody decides about these. `NEXUS_RUNNER_SEEDS` says how many runs are held
//! to it, each with 60 steps.

mod sink;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use nexus_delivery::projection::{
    Amendment, Checkpoint, Ended, FoldFailed, NoDocument, Origin, Projection, Runner, SinkError,
};
use nexus_engine::{Engine, Namespace};
use nexus_protocol::group::{Failure, ParkedList, ParkedPick};
use nexus_protocol::limits::{FOLD_ATTEMPTS_MAX, PARKED_KEYS_MAX};
use nexus_protocol::{
    Append, EventData, Filter, FilterItem, Lineage, Looked, Position, Read, RecordedEvent,
    Timestamp,
};
use nexus_testing::Random;
use serde_json::{Map, Value, json};

use self::sink::MemorySink;

/// How often the fold of an event fails yet in a way that passes.
type Flaky = Arc<Mutex<BTreeMap<u64, u32>>>;

/// Lists the numbers of the events of each key.
struct Numbers {
    filter: Filter,
    flaky: Flaky,
}

impl Numbers {
    fn new(flaky: &Flaky) -> Self {
        let item = FilterItem { types: vec!["Counted".to_owned()], ..FilterItem::default() };
        Self { filter: Filter::any([item]), flaky: Arc::clone(flaky) }
    }
}

/// What an event says: a number, or that it fails.
fn number(event: &RecordedEvent) -> Result<i64, String> {
    let data: Value = event.json().unwrap();
    data["n"].as_i64().ok_or_else(|| data["n"].to_string())
}

fn failed(class: &str, passes: bool) -> FoldFailed {
    FoldFailed { failure: Failure { class: class.to_owned(), ..Failure::new("no") }, passes }
}

impl Projection for Numbers {
    type Document = Vec<i64>;

    fn filter(&self) -> &Filter {
        &self.filter
    }

    fn fingerprint(&self) -> [u8; 32] {
        [1; 32]
    }

    fn key(&self, event: &Looked<'_>) -> Result<Option<String>, FoldFailed> {
        let data: Value = event.event().json().unwrap();
        match data["key"].as_str() {
            Some("none") => Ok(None),
            Some("bad") => Err(failed("key", true)),
            key => Ok(key.map(str::to_owned)),
        }
    }

    fn fold(&self, document: &mut Option<Vec<i64>>, event: &Looked<'_>) -> Result<(), FoldFailed> {
        let list = document.get_or_insert_default();
        match number(event.event()) {
            Ok(-1) => *document = None,
            Ok(number) => list.push(number),
            Err(how) if how.contains("panic") => {
                list.push(i64::MIN);
                panic!("it does");
            }
            Err(how) => {
                if list.is_empty() {
                    *document = None;
                }
                let mut flaky = self.flaky.lock().unwrap();
                let left = flaky.entry(event.event().position().get()).or_insert(2);
                if how.contains("flaky") && *left == 0 {
                    return Ok(());
                }
                *left = left.saturating_sub(1);
                return Err(failed("bad", how.contains("flaky")));
            }
        }
        Ok(())
    }

    fn encode(&self, document: &Vec<i64>) -> Vec<u8> {
        document.iter().flat_map(|it| it.to_le_bytes()).collect()
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<i64>, NoDocument> {
        let words = bytes.chunks(8).map(|it| it.try_into().map(i64::from_le_bytes));
        words.collect::<Result<_, _>>().map_err(|_| NoDocument { at: 0 })
    }

    fn shown(&self, document: &Vec<i64>) -> Map<String, Value> {
        Map::from_iter([("numbers".to_owned(), json!(document))])
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A runner that is run by hand, and made again when it ends.
struct Run {
    store: Namespace,
    sink: MemorySink,
    amendments: BTreeMap<u64, Amendment>,
    runner: Option<Runner<Namespace, Numbers, MemorySink>>,
    now: Timestamp,
    flaky: Flaky,
}

impl Run {
    fn new(store: &Namespace, sink: MemorySink) -> Self {
        let now = Timestamp::from_micros(1_000_000);
        Self {
            store: store.for_system(),
            sink,
            amendments: BTreeMap::new(),
            runner: None,
            now,
            flaky: Arc::default(),
        }
    }

    fn origin(&self) -> Origin {
        let end = Position::new(self.store.head().position.map_or(0, |it| it.get() + 1));
        let (log_id, lineage) = (self.store.log_id(), Lineage::FIRST);
        Origin { log_id, lineage, fingerprint: [1; 32], end }
    }

    fn runner(&mut self) -> &mut Runner<Namespace, Numbers, MemorySink> {
        if self.runner.is_none() {
            let (store, sink) = (self.store.clone(), self.sink.clone());
            let amendments = self.amendments.clone();
            let made = Runner::new(
                store,
                Numbers::new(&self.flaky),
                sink,
                &self.origin(),
                amendments,
                1_000,
            );
            self.runner = Some(made.map_err(|why| why.to_string()).unwrap());
        }
        self.runner.as_mut().unwrap()
    }

    /// Polls it so often, where it wants to be. `Some`: it has ended.
    fn step(&mut self, polls: usize) -> Option<Ended> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        for _ in 0..polls {
            let now = self.now;
            let polled = self.runner().poll(&mut Context::from_waker(&waker), now);
            if let Poll::Ready(ended) = polled {
                self.runner = None;
                return Some(ended);
            }
            let woken = woken.0.swap(false, Ordering::SeqCst);
            let due = self.runner().next_tick();
            match due {
                _ if woken => {}
                // Time goes on when there is nothing else to do.
                Some(due) => self.now = self.now.max(due),
                None => return None,
            }
        }
        None
    }

    /// Until nothing is to be done any more.
    fn rest(&mut self) {
        for _ in 0..100 {
            assert_eq!(self.step(1_000), None);
        }
        assert!(self.runner().progress().is_at_end);
        let now = self.now;
        self.runner().finish(now).unwrap();
    }

    fn committed(&mut self) -> Checkpoint {
        self.runner().progress().committed
    }

    /// The positions of what is held.
    fn held(&mut self) -> Vec<u64> {
        let list = ParkedList { limit: usize::MAX, ..ParkedList::default() };
        let (entries, more) = self.runner().parked(&list);
        assert!(!more);
        entries.iter().filter(|it| !it.released).map(|it| it.position.get()).collect()
    }
}

fn counted(key: &str, n: impl Into<Value>) -> Append {
    let data = json!({ "key": key, "n": n.into() });
    Append::to("numbers").event(EventData::json("Counted", &data).unwrap())
}

fn in_memory() -> Namespace {
    Engine::in_memory().namespace("default").unwrap()
}

/// What each key has, and which events hold one up: as the events say, one after the other.
fn oracle(
    store: &Namespace,
    amendments: &BTreeMap<u64, Amendment>,
) -> (BTreeMap<String, Vec<i64>>, Vec<u64>) {
    let (mut documents, mut held) = (BTreeMap::<String, Vec<i64>>::new(), BTreeMap::new());
    let mut without_key = Vec::new();
    for event in store.read(Read::all()) {
        let event = event.unwrap();
        let position = event.position().get();
        let data: Value = match amendments.get(&position) {
            Some(Amendment::Skip) => continue,
            Some(Amendment::Edit(data)) => serde_json::from_slice(data).unwrap(),
            None => event.json().unwrap(),
        };
        let key = data["key"].as_str().unwrap();
        match (event.event_type(), key) {
            ("Counted", "bad") => without_key.push(position),
            ("Counted", key) if key != "none" && !held.contains_key(key) => {
                match (data["n"].as_i64(), data["n"].as_str()) {
                    (Some(-1), _) => drop(documents.remove(key)),
                    (Some(n), _) => documents.entry(key.to_owned()).or_default().push(n),
                    // It goes through in the end, and says nothing.
                    (None, Some("flaky")) => {}
                    _ => drop(held.insert(key.to_owned(), position)),
                }
            }
            _ => {}
        }
    }
    let mut held: Vec<_> = held.into_values().chain(without_key).collect();
    held.sort_unstable();
    (documents, held)
}

fn append_some(store: &Namespace, random: &mut Random) {
    for _ in 0..=random.below(40) {
        let key = ["a", "b", "c", "d", "none", "e"][random.below(6) as usize];
        let append = match random.below(60) {
            0 => counted(key, "bad"),
            1 => counted(key, "panic"),
            2 => counted("bad", 1),
            3 => counted(key, -1),
            4 => counted(key, "flaky"),
            5..9 => Append::to("others")
                .event(EventData::json("Other", &json!({ "key": key })).unwrap()),
            n => counted(key, n),
        };
        store.append(append).wait().unwrap();
    }
}

/// Somebody decides about some of what is held.
fn decide(run: &mut Run, random: &mut Random) {
    let held = run.held();
    let Some(position) = held.get(random.below(held.len().max(1) as u64) as usize).copied() else {
        return;
    };
    let event = run.store.event_at(Position::new(position)).unwrap().unwrap();
    let mut data: Value = event.json().unwrap();
    data["n"] = 1_000.into();
    let data = Bytes::from(data.to_string());
    let edits = random.below(2) == 0 && run.runner().takes_edit(&event, &data);
    let amendment = if edits { Amendment::Edit(data) } else { Amendment::Skip };
    // It is in the log before the runner is told, which it may not come to be.
    run.amendments.insert(position, amendment.clone());
    if random.below(4) == 0 {
        run.runner = None;
        run.sink.kill(random);
        return;
    }
    let now = run.now;
    if run.runner().amend([(position, amendment)], now).is_err() {
        run.runner = None;
    }
}

#[test]
fn what_is_killed_at_any_point_has_the_documents_of_a_fresh_rebuild() {
    let (mut kills, mut failures, mut decided, mut parked) = (0, 0, 0, 0);
    let seeds = std::env::var("NEXUS_RUNNER_SEEDS").map_or(60, |it| it.parse().expect("a number"));
    assert!(seeds >= 60, "fewer show too little");
    for seed in 0..seeds {
        let random = &mut Random::new(seed);
        let store = in_memory();
        let mut run = Run::new(&store, MemorySink::new(1 + random.below(30) as usize));
        for _ in 0..60 {
            match random.below(10) {
                0..3 => append_some(&store, random),
                3 => {
                    run.runner = None;
                    run.sink.kill(random);
                    kills += 1;
                }
                4 => {
                    run.sink.fail_soon(random.below(4));
                    failures += 1;
                }
                5 => {
                    decide(&mut run, random);
                    decided += 1;
                }
                _ => {
                    let ended = run.step(1 + random.below(20) as usize);
                    assert!(matches!(ended, None | Some(Ended::Sink(_))), "{ended:?}");
                }
            }
        }
        run.sink.fail_soon(u64::MAX);
        run.runner = None;
        run.rest();
        let (documents, held) = oracle(&store, &run.amendments);
        assert_eq!(run.held(), held, "seed {seed}");
        assert_eq!(run.sink.lists(), documents, "seed {seed}");
        parked += held.len();
        let mut fresh = Run::new(&store, MemorySink::new(1_000));
        fresh.amendments = run.amendments.clone();
        fresh.rest();
        let (of_run, of_fresh) = (run.committed(), fresh.committed());
        assert_eq!(of_run.events_digest, of_fresh.events_digest, "seed {seed}");
        assert_eq!(of_run.documents_digest, of_fresh.documents_digest, "seed {seed}");
        assert_eq!((of_run.events, of_run.documents), (of_fresh.events, of_fresh.documents));
        assert_eq!(of_run.documents, documents.len() as u64);
        assert_eq!(of_run.next.get(), store.head().position.unwrap().get() + 1);
        assert_eq!(of_run.parked(), held.len());
    }
    assert!(kills > 100 && failures > 100 && decided > 100 && parked > 60);
    println!("count: runners_rebuilt {seeds}");
    println!("count: runners_killed {kills}");
    println!("count: runner_decisions {decided}");
}

#[test]
fn what_may_pass_is_tried_again_and_keeps_the_order_of_its_key() {
    let store = in_memory();
    for n in [json!(1), json!("flaky"), json!(2)] {
        store.append(counted("a", n)).wait().unwrap();
    }
    store.append(counted("b", 7)).wait().unwrap();
    let mut run = Run::new(&store, MemorySink::new(100));
    assert_eq!(run.step(1), None);
    // The other key goes on meanwhile.
    assert_eq!(run.sink.lists(), BTreeMap::from([("a".into(), vec![1]), ("b".into(), vec![7])]));
    let list = ParkedList { limit: 10, ..ParkedList::default() };
    let (entries, _) = run.runner().parked(&list);
    assert!(entries.len() == 1 && entries[0].released && entries[0].waiting_behind == 1);
    run.rest();
    assert_eq!(run.sink.lists()["a"], [1, 2]);
    assert_eq!(run.committed().parked(), 0);
    // What never passes is parked, and nothing is lost: it is folded again where somebody says so.
    store.append(counted("a", "bad")).wait().unwrap();
    store.append(counted("a", 3)).wait().unwrap();
    run.rest();
    assert_eq!(run.held(), [4]);
    let now = run.now;
    assert_eq!(run.runner().replay(&ParkedPick::Key("b".to_owned()), now), Ok(0));
    assert_eq!(run.runner().replay(&ParkedPick::All, now), Ok(1));
    run.rest();
    assert_eq!(run.held(), [4]);
    let (entries, _) = run.runner().parked(&list);
    assert_eq!((entries[0].attempts, entries[0].waiting_behind), (2, 1));
    const { assert!(FOLD_ATTEMPTS_MAX > 2, "what may pass is tried more often than that") };
    assert_eq!(run.runner().amend([(4, Amendment::Skip)], now), Ok(1));
    run.rest();
    assert_eq!(run.sink.lists()["a"], [1, 2, 3]);
}

#[test]
fn a_long_tail_behind_a_key_is_folded_while_others_go_on() {
    let store = in_memory();
    store.append(counted("a", "bad")).wait().unwrap();
    let tail: Vec<_> = (0..5_000).map(|n| json!({ "key": "a", "n": n })).collect();
    let events = tail.iter().map(|data| EventData::json("Counted", data).unwrap());
    store.append(Append::to("numbers").events(events)).wait().unwrap();
    let mut run = Run::new(&store, MemorySink::new(100));
    run.rest();
    let list = ParkedList { limit: 10, ..ParkedList::default() };
    assert_eq!(run.runner().parked(&list).0[0].waiting_behind, 5_000);
    let now = run.now;
    run.runner().amend([(0, Amendment::Skip)], now).unwrap();
    run.amendments.insert(0, Amendment::Skip);
    // Half of it, and a kill.
    assert_eq!(run.step(2), None);
    store.append(counted("b", 1)).wait().unwrap();
    store.append(counted("a", 5_000)).wait().unwrap();
    assert_eq!(run.step(1), None);
    assert_eq!(run.sink.lists().get("b"), Some(&vec![1]));
    let now = run.now;
    run.runner().finish(now).unwrap();
    // What went through is not parked any more, and what is behind it is not folded yet.
    assert!(run.runner().parked(&list).0.is_empty());
    assert_eq!(run.committed().parked(), 1);
    let folded = run.sink.lists()["a"].len();
    assert!(0 < folded && folded < 5_000, "{folded}");
    run.runner = None;
    run.rest();
    assert_eq!(run.sink.lists()["a"], (0..=5_000).collect::<Vec<_>>());
}

#[test]
fn it_stops_where_too_many_keys_are_parked_and_goes_on_when_they_are_decided_about() {
    let store = in_memory();
    let all = (0..PARKED_KEYS_MAX + 10).map(|n| json!({ "key": n.to_string(), "n": "bad" }));
    let events = all.map(|data| EventData::json("Counted", &data).unwrap());
    store.append(Append::to("numbers").events(events)).wait().unwrap();
    let mut run = Run::new(&store, MemorySink::new(100));
    assert_eq!(run.step(1_000), Some(Ended::TooManyParked));
    let held = run.held();
    assert_eq!(held.len(), PARKED_KEYS_MAX);
    assert_eq!(run.committed().next.get(), PARKED_KEYS_MAX as u64);
    let now = run.now;
    let skipped = held.into_iter().map(|position| (position, Amendment::Skip));
    assert_eq!(run.runner().amend(skipped, now), Ok(PARKED_KEYS_MAX as u64));
    run.rest();
    assert_eq!(run.held().len(), 10);
}

#[test]
fn what_is_of_something_else_is_not_gone_on_with() {
    let store = in_memory();
    store.append(counted("a", 1)).wait().unwrap();
    let mut run = Run::new(&store, MemorySink::new(100));
    run.rest();
    let (other, sink) = (in_memory(), run.sink.clone());
    let origin = Origin { log_id: other.log_id(), ..run.origin() };
    let opened =
        Runner::new(other, Numbers::new(&run.flaky), sink.clone(), &origin, BTreeMap::new(), 0);
    assert!(opened.is_err());
    sink.damage("a");
    run.runner = None;
    store.append(counted("a", 2)).wait().unwrap();
    assert!(matches!(run.step(10), Some(Ended::Sink(SinkError::Damaged(_)))));
    assert_eq!(run.now.since(Timestamp::from_micros(1_000_000)), Duration::from_secs(1));
}

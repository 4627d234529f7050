//! Disks that are full, or fail, under an index: said, never shown, and gone on with by opening again.
//!
//! A few commits are made over files of which one operation fails, each in its turn, and over files that are full, whatever
//! the room. `NEXUS_SINK_FAULTS` has each place tried, and not one in some.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use nexus_delivery::projection::{
    Changed, Commit, Definition, DefinitionFile, Documents, Kept, Sink, SinkError,
};
use nexus_protocol::Position;
use nexus_protocol::search::SearchRequest;
use nexus_search::{SearchSink, Searching, Sight};
use nexus_testing::Random;
use serde_json::{Map, json};

use crate::files::{Fault, Files, Operation};

fn definition() -> Definition {
    let field = |kind: &str| json!({ "type": kind, "fold": "set", "from": "/data/any" });
    let fields =
        json!({ "title": field("text"), "state": field("keyword"), "count": field("u64") });
    let file = json!({ "name": "all", "key": "/stream", "fields": fields });
    Definition::new(DefinitionFile::from_json(file).unwrap()).unwrap()
}

/// Documents by key, with their states.
type State = BTreeMap<String, (String, Kept)>;

/// Commits, and what there is before and after each.
struct Plan {
    commits: Vec<Vec<Changed>>,
    states: Vec<State>,
}

impl Plan {
    fn new(seed: u64, commits: usize, keys: u64) -> Self {
        let random = &mut Random::new(seed);
        let mut plan = Self { commits: Vec::new(), states: vec![State::new()] };
        for number in 0..commits {
            let mut state = plan.states[number].clone();
            let mut changed = BTreeMap::new();
            for _ in 0..=random.below(keys / 2) {
                let key = format!("key-{}", random.below(keys));
                let is_kept = plan.states[number].contains_key(&key);
                changed.insert(key.clone(), change(&key, is_kept, random));
            }
            for (key, it) in &changed {
                match &it.document {
                    Some(kept) => {
                        let named = it.fields["state"].as_str().unwrap().to_owned();
                        drop(state.insert(key.clone(), (named, kept.clone())));
                    }
                    None => drop(state.remove(key)),
                }
            }
            plan.commits.push(changed.into_values().collect());
            plan.states.push(state);
        }
        plan
    }

    /// Makes a commit, of which the first is 1.
    fn commit(&self, sink: &mut SearchSink, number: usize) -> Result<(), SinkError> {
        let checkpoint = number.to_string();
        sink.commit(&Commit {
            next: Position::new(10 * number as u64),
            checkpoint: checkpoint.as_bytes(),
            changed: &self.commits[number - 1],
            durable: true,
        })
    }

    /// How many commits there are in what a sink has.
    fn found(sink: &SearchSink) -> usize {
        let checkpoint = sink.checkpoint().unwrap();
        checkpoint.map_or(0, |it| String::from_utf8(it).unwrap().parse().unwrap())
    }
}

fn change(key: &str, is_kept: bool, random: &mut Random) -> Changed {
    let (count, state) = (random.below(1_000), format!("s{}", random.below(3)));
    let fields = json!({ "title": format!("thing {count}"), "state": state, "count": count });
    let bytes = vec![7; 20 + random.below(200) as usize];
    let kept = Kept { position: Position::new(count), bytes };
    let document = (!is_kept || !random.one_in(4)).then_some(kept);
    let fields: Map<_, _> = fields.as_object().unwrap().clone();
    Changed { key: key.to_owned(), document, is_kept, fields, tags: Vec::new() }
}

/// What whoever looks sees, also while nothing can be written.
struct Readers {
    documents: std::sync::Arc<dyn Documents>,
    searching: Searching,
}

impl Readers {
    fn of(sink: &SearchSink) -> Self {
        Self { documents: sink.documents(), searching: sink.searching() }
    }

    /// They see what there is after so many commits, all of it.
    fn check(&self, plan: &Plan, commits: usize, what: &str) {
        let state = &plan.states[commits];
        let next = Position::new(10 * commits as u64);
        assert_eq!(self.documents.get("none"), Ok((None, next)), "{what}");
        let page = self.documents.page(None, 1_000).unwrap();
        let wanted: Vec<_> =
            state.iter().map(|(key, (_, kept))| (key.clone(), kept.clone())).collect();
        assert_eq!(page, wanted, "{what}, {commits} commits");
        for named in ["s0", "s1", "s2"] {
            let query = Some(json!({ "term": { "state": named } }));
            let asked = SearchRequest { query, limit: 1_000, ..SearchRequest::default() };
            let found = self.searching.search(&asked, &Sight::default(), &|| false).unwrap();
            let found: std::collections::BTreeSet<_> =
                found.hits.iter().map(|hit| hit.key.as_str()).collect();
            let wanted = state.iter().filter(|(_, (state, _))| state == named);
            assert!(found.into_iter().eq(wanted.map(|(key, _)| key.as_str())), "{what}: {named}");
        }
    }
}

fn open(files: &Files) -> Result<SearchSink, SinkError> {
    SearchSink::over(files.clone(), "documents".to_owned(), &definition())
}

/// It says what it is, and never that something is damaged: all would be folded again.
fn check_error(error: &SinkError, kind: ErrorKind, what: &str) {
    assert!(error.to_string().contains("it goes on by itself"), "{what}: {error}");
    match (kind, error) {
        (ErrorKind::StorageFull, SinkError::Full) => {}
        // Some of Tantivy's writers make a text of what the disk says: then a full disk is out of reach, and says why.
        (_, SinkError::Unavailable(said)) => {
            assert!(said.contains("the disk says no"), "{what}: {said}");
        }
        _ => panic!("{what}: {error:?}"),
    }
}

/// Commits until something fails; how many commits were made, and what failed.
fn live(files: &Files, plan: &Plan, kind: ErrorKind, what: &str) -> (usize, Option<SinkError>) {
    let mut sink = match open(files) {
        Ok(sink) => sink,
        Err(error) => {
            check_error(&error, kind, what);
            return (0, Some(error));
        }
    };
    let readers = Readers::of(&sink);
    for number in 1..=plan.commits.len() {
        if let Err(error) = plan.commit(&mut sink, number) {
            check_error(&error, kind, what);
            readers.check(plan, number - 1, what);
            drop(sink);
            readers.check(plan, number - 1, what);
            return (number - 1, Some(error));
        }
        readers.check(plan, number, what);
    }
    (plan.commits.len(), None)
}

/// What is found is the last commit, or the one that failed, whole; and all goes on from there.
fn go_on(files: &Files, plan: &Plan, made: usize, failed: bool, what: &str) {
    let mut sink = open(files).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = Plan::found(&sink);
    assert!(found == made || (failed && found == made + 1), "{what}: {found} of {made}");
    Readers::of(&sink).check(plan, found, what);
    for number in found + 1..=plan.commits.len() {
        plan.commit(&mut sink, number).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    Readers::of(&sink).check(plan, plan.commits.len(), what);
    drop(sink);
    let sink = open(files).unwrap();
    Readers::of(&sink).check(plan, plan.commits.len(), what);
}

/// One in so many places is tried, where not all are.
fn step(one_in: usize) -> usize {
    if std::env::var_os("NEXUS_SINK_FAULTS").is_some() { 1 } else { one_in }
}

/// Tries a fault; whether it came to it.
fn try_fault(plan: &Plan, fault: Fault) -> bool {
    let what = format!("{fault:?}");
    let files = Files::default();
    files.fail(fault);
    let (made, error) = live(&files, plan, fault.kind, &what);
    let came = files.heal();
    assert!(came || error.is_none(), "{what}: {error:?}");
    go_on(&files, plan, made, error.is_some(), &what);
    came
}

#[test]
fn whatever_fails_is_said_and_gone_on_with() {
    let plan = Plan::new(1, 3, 8);
    let mut tried = 0;
    for operation in Operation::ALL {
        let mut came = 0;
        for after in (0..).step_by(step(if operation == Operation::Write { 7 } else { 2 })) {
            let (kind, lasts) = match after % 3 {
                0 => (ErrorKind::Other, false),
                1 => (ErrorKind::Other, true),
                _ => (ErrorKind::StorageFull, true),
            };
            if !try_fault(&plan, Fault { operation, after, kind, lasts, file: None }) {
                break;
            }
            came += 1;
        }
        assert!(came > 0 || operation == Operation::Flush, "{operation:?} is never done");
        tried += came;
    }
    println!("count: sink_faults {tried}");
}

#[test]
fn a_full_disk_is_said_and_gone_on_with_whatever_the_room() {
    let plan = Plan::new(2, 4, 8);
    let whole = Files::default();
    assert_eq!(live(&whole, &plan, ErrorKind::StorageFull, "room for all").0, 4);
    // What is removed may be there yet when more is written.
    let most = 3 * whole.used();
    let (mut full, mut places) = (0, 0);
    for room in (0..most).step_by(step(211)) {
        let what = format!("room for {room} bytes");
        let files = Files::default();
        files.limit(room);
        let (made, error) = live(&files, &plan, ErrorKind::StorageFull, &what);
        assert!(files.used() <= room);
        // Still full: it opens all the same, or says so.
        match open(&files) {
            Ok(sink) => {
                let found = Plan::found(&sink);
                assert!(found == made || error.is_some() && found == made + 1, "{what}");
                Readers::of(&sink).check(&plan, found, &what);
            }
            Err(error) => check_error(&error, ErrorKind::StorageFull, &what),
        }
        files.heal();
        go_on(&files, &plan, made, error.is_some(), &what);
        full += usize::from(error.is_some());
        places += 1;
    }
    assert!(full > 20 && full < places, "{full} of {places} were full");
    println!("count: sink_faults {places}");
}

/// With enough commits segments are merged behind them, which may fail as well, and ends nothing.
#[test]
fn merges_that_fail_end_nothing() {
    let plan = Plan::new(3, 24, 30);
    let mut tried = 0;
    for operation in Operation::ALL {
        for after in (0..).step_by(step(if operation == Operation::Write { 293 } else { 61 })) {
            let (kind, lasts) = (ErrorKind::Other, after % 2 == 0);
            if !try_fault(&plan, Fault { operation, after, kind, lasts, file: None }) {
                break;
            }
            tried += 1;
        }
    }
    println!("count: sink_faults {tried}");
}

/// What failed is not there when a merge ends behind it, whose segments are those of both: a commit is its documents and its
/// checkpoint.
#[test]
fn a_merge_that_ends_behind_a_failed_commit_keeps_nothing_of_it() {
    for operation in [Operation::Sync, Operation::Replace] {
        let plan = Plan::new(4, 30, 30);
        let files = Files::default();
        let mut sink = open(&files).unwrap();
        files.hold_merges(true);
        let mut made = 0;
        while made < 12 {
            made += 1;
            plan.commit(&mut sink, made).unwrap();
        }
        files.merge_is_held();
        // The last that is done before a commit is there.
        let file = (operation == Operation::Replace).then_some("meta.json");
        files.fail(Fault { operation, after: 0, kind: ErrorKind::Other, lasts: false, file });
        let error = plan.commit(&mut sink, made + 1).unwrap_err();
        check_error(&error, ErrorKind::Other, "held");
        // The merge ends while the sink is there yet: it comes to what it would keep, or has let go of what it had.
        let (synced, holders) = (files.syncs(), files.holders());
        files.hold_merges(false);
        while files.syncs() == synced && files.holders() >= holders {
            std::thread::yield_now();
        }
        drop(sink);
        files.is_left();
        files.heal();
        go_on(&files, &plan, made, true, &format!("{operation:?}"));
    }
}

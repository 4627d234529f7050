//! Facets are counted by what stands right under a place, as a scan counts them.

use std::collections::{BTreeMap, BTreeSet};

use nexus_delivery::projection::{Changed, Commit, Definition, DefinitionFile, Kept, Sink as _};
use nexus_protocol::Position;
use nexus_protocol::limits::{FACET_BUCKETS_MAX, FACET_COUNTS_MAX};
use nexus_protocol::search::SearchRequest;
use nexus_search::{SearchError, SearchSink, Sight};
use nexus_testing::Random;
use serde_json::{Value, json};

/// Names that begin, end, and are as others are, or have what is written in another way.
const NAMES: [&str; 8] = ["a", "ab", "cb", "b", "a b", "x\\/y", "\\\\", "é"];

struct Rig {
    sink: SearchSink,
    /// The places of each document, and whether it is open.
    model: Vec<(BTreeSet<String>, bool)>,
}

fn rig(random: &mut Random, commits: u64) -> Rig {
    let field = |kind: &str| json!({ "type": kind, "fold": "set", "from": "/data/any" });
    let fields = json!({ "path": field("facet"), "more": field("facet"), "open": field("bool"),
                         "status": field("keyword") });
    let file = json!({ "name": "all", "key": "/stream", "access": "union", "fields": fields });
    let definition = Definition::new(DefinitionFile::from_json(file).unwrap()).unwrap();
    let mut rig = Rig { sink: SearchSink::in_memory(&definition).unwrap(), model: Vec::new() };
    for _ in 0..commits {
        let mut changed = Vec::new();
        for _ in 0..40 {
            let place = |random: &mut Random| {
                let names = (0..=random.below(3)).map(|_| *random.pick(&NAMES).unwrap());
                format!("/{}", names.collect::<Vec<_>>().join("/"))
            };
            let places: BTreeSet<_> = (0..random.below(4)).map(|_| place(random)).collect();
            let open = random.one_in(2);
            let number = rig.model.len();
            let fields = json!({ "path": places, "open": open, "status": "any" });
            let fields = fields.as_object().unwrap().clone();
            let bytes = Value::Object(fields.clone()).to_string().into_bytes();
            let kept = Kept { position: Position::new(number as u64), bytes };
            let tags = vec![format!("open:{open}")];
            let (key, document) = (format!("key-{number}"), Some(kept));
            changed.push(Changed { key, document, is_kept: false, fields, tags });
            rig.model.push((places, open));
        }
        let next = Position::new(rig.model.len() as u64);
        let commit = Commit { next, checkpoint: b"{}", changed: &changed, durable: true };
        rig.sink.commit(&commit).unwrap();
    }
    rig
}

/// A path without what signs are written with, by names.
fn names(path: &str) -> Vec<String> {
    let (mut names, mut signs) = (vec![String::new()], path.chars().skip(1));
    while let Some(sign) = signs.next() {
        let last = names.last_mut().unwrap();
        match sign {
            '/' => names.push(String::new()),
            '\\' => last.push(signs.next().unwrap()),
            sign => last.push(sign),
        }
    }
    names
}

fn counts(found: &Value) -> BTreeMap<Vec<String>, u64> {
    let buckets = found["buckets"].as_array().unwrap();
    let of = |it: &Value| (names(it["key"].as_str().unwrap()), it["doc_count"].as_u64().unwrap());
    buckets.iter().map(of).collect()
}

impl Rig {
    fn search(&self, asked: Value, sight: &Sight) -> Result<Value, SearchError> {
        let asked: SearchRequest = serde_json::from_value(asked).unwrap();
        self.sink.searching().search(&asked, sight, &|| false).map(|it| it.aggs.unwrap())
    }

    fn scanned(&self, under: &str, of: impl Fn(bool) -> bool) -> BTreeMap<Vec<String>, u64> {
        let under = if under == "/" { Vec::new() } else { names(under) };
        let mut all = BTreeMap::new();
        for (places, _) in self.model.iter().filter(|(_, open)| of(*open)) {
            let below = places.iter().map(|place| names(place));
            let below = below.filter(|it| it.len() > under.len() && it.starts_with(&under));
            let children = below.map(|it| it[..=under.len()].to_vec()).collect::<BTreeSet<_>>();
            children.into_iter().for_each(|child| *all.entry(child).or_insert(0) += 1);
        }
        all
    }
}

#[test]
fn facets_are_counted_as_a_scan_counts_them() {
    let rig = rig(&mut Random::new(11), 5);
    let unders = ["/", "/a", "/ab", "/a/a", "/x\\/y", "/\\\\", "/é/b", "/nothing", "/a/a/a/a"];
    for under in unders {
        let facet = json!({ "facet": { "field": "path", "under": under, "size": 1_000 } });
        let aggs = json!({ "n": facet, "statuses": { "terms": { "field": "status" } } });
        for (asked, tags, wanted) in [
            (json!({ "aggs": aggs }), None, None),
            (json!({ "aggs": aggs, "query": "open:true" }), None, Some(true)),
            (json!({ "aggs": aggs, "filter": "open:false", "limit": 0 }), None, Some(false)),
            // What somebody may not see is not counted.
            (json!({ "aggs": aggs }), Some("open:true".to_owned()), Some(true)),
        ] {
            let sight = Sight { tags_all: tags.into_iter().collect(), hidden: BTreeSet::new() };
            let found = rig.search(asked.clone(), &sight).unwrap();
            let scanned = rig.scanned(under, |open| wanted.is_none_or(|it| it == open));
            assert_eq!(counts(&found["n"]), scanned, "{asked}");
            // Others stand beside it.
            assert_eq!(found["statuses"]["buckets"].as_array().unwrap().len(), 1);
        }
    }
    assert!(rig.scanned("/", |_| true).len() == NAMES.len());
}

#[test]
fn those_come_first_that_most_documents_are_in() {
    let rig = rig(&mut Random::new(12), 2);
    let asked = |size: Option<usize>| {
        let facet = json!({ "field": "path", "size": size });
        let facet = match size {
            Some(_) => facet,
            None => json!({ "field": "path" }),
        };
        let found = rig.search(json!({ "aggs": { "n": { "facet": facet } } }), &Sight::default());
        found.unwrap()["n"]["buckets"].as_array().unwrap().clone()
    };
    let all = asked(None);
    assert_eq!(all.len(), NAMES.len());
    let order = |it: &Value| {
        (std::cmp::Reverse(it["doc_count"].as_u64()), it["key"].as_str().unwrap().to_owned())
    };
    assert!(all.is_sorted_by_key(order), "{all:?}");
    for size in 0..=NAMES.len() {
        assert_eq!(asked(Some(size)), all[..size]);
    }
    // A key is a place to ask for what is under it.
    for bucket in all {
        let facet = json!({ "field": "path", "under": bucket["key"], "size": 1_000 });
        let found = rig.search(json!({ "aggs": { "n": { "facet": facet } } }), &Sight::default());
        let scanned = rig.scanned(bucket["key"].as_str().unwrap(), |_| true);
        assert_eq!(counts(&found.unwrap()["n"]), scanned);
    }
}

#[test]
fn what_is_no_count_of_facets_is_refused_and_says_why() {
    let rig = rig(&mut Random::new(13), 1);
    let hidden = Sight { hidden: BTreeSet::from(["path".to_owned()]), ..Sight::default() };
    let count = json!({ "facet": { "field": "path" } });
    let many: serde_json::Map<_, _> =
        (0..=FACET_COUNTS_MAX).map(|it| (it.to_string(), count.clone())).collect();
    let all = Sight::default();
    for (aggs, sight, says) in [
        (json!({ "n": count }), &hidden, "there is no field \"path\""),
        (json!({ "n": { "facet": { "field": "nothing" } } }), &all, "there is no field"),
        (json!({ "n": { "facet": { "field": "_key" } } }), &all, "there is no field"),
        (json!({ "n": { "facet": { "field": "status" } } }), &all, "no facet"),
        (json!({ "n": { "facet": { "field": "path", "under": "a" } } }), &all, "`under` is a path"),
        (json!({ "n": { "facet": { "field": "path", "under": "" } } }), &all, "`under` is a path"),
        (json!({ "n": { "facet": { "field": "path", "deep": 1 } } }), &all, "deep"),
        (json!({ "n": { "facet": { "field": "path", "size": -1 } } }), &all, "-1"),
        (
            json!({ "n": { "facet": { "field": "path", "size": FACET_BUCKETS_MAX + 1 } } }),
            &all,
            "at most 1000",
        ),
        (json!({ "n": { "facet": ["path", "/", 10] } }), &all, "is an object"),
        (json!({ "n": { "facet": { "field": "path" }, "aggs": {} } }), &all, "nothing within it"),
        (
            json!({ "n": { "terms": { "field": "status" }, "aggs": { "inner": count } } }),
            &all,
            "facet",
        ),
        (json!({ "n": { "terms": { "field": "path" } } }), &all, "at the top"),
        (Value::Object(many), &all, "at most 16"),
    ] {
        let refused = rig.search(json!({ "aggs": aggs }), sight).unwrap_err();
        assert!(matches!(refused, SearchError::Invalid(_)), "{aggs}: {refused}");
        assert!(refused.to_string().contains(says), "{aggs}: {refused}");
    }
    // What was never there has no children.
    let more = json!({ "aggs": { "n": { "facet": { "field": "more" } } } });
    assert_eq!(rig.search(more, &all).unwrap(), json!({ "n": { "buckets": [] } }));
}

#[test]
fn there_are_no_more_children_than_buckets() {
    let random = &mut Random::new(14);
    let mut rig = rig(random, 1);
    let changed = |first: usize| -> Vec<_> {
        let of = |number: usize| {
            let places: Vec<_> =
                (0..10).map(|it| format!("/many/{}/x", number * 10 + it)).collect();
            let fields = json!({ "path": places }).as_object().unwrap().clone();
            let kept = Kept { position: Position::new(number as u64), bytes: b"{}".to_vec() };
            let (key, document) = (format!("many-{number}"), Some(kept));
            Changed { key, document, is_kept: false, fields, tags: Vec::new() }
        };
        (first..first + 600).map(of).collect()
    };
    let aggs = json!({ "aggs": { "n": { "facet": { "field": "path", "under": "/many" } } } });
    for (first, is_one_too_many) in [(0, false), (600, true)] {
        let changed = changed(first);
        let next = Position::new(10_000 + first as u64);
        let commit = Commit { next, checkpoint: b"{}", changed: &changed, durable: true };
        rig.sink.commit(&commit).unwrap();
        let found = rig.search(aggs.clone(), &Sight::default());
        match is_one_too_many {
            false => assert_eq!(found.unwrap()["n"]["buckets"].as_array().unwrap().len(), 10),
            true => {
                let refused = found.unwrap_err();
                assert!(matches!(refused, SearchError::Invalid(_)), "{refused}");
            }
        }
    }
}

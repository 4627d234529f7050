//! Anything may be asked: it is answered or refused, and breaks nothing. `NEXUS_QUERY_ROUNDS` says how much is asked.
//!
//! This is what a fuzz target would be, if building Tantivy for one did not take longer than all other targets together. Made
//! up are texts of the query language and trees, of pieces that mean something, spoilt here and there; and whatever
//! stands beside a query. A panic is told as damage by the sink, which is looked for.

use std::collections::BTreeSet;

use nexus_protocol::search::SearchRequest;
use nexus_search::{SearchError, SearchSink, Sight};
use nexus_testing::Random;
use serde_json::{Map, Value, json};

use crate::index::{Rig, definition};

/// Questions, unless it is said.
const ROUNDS: u64 = 3_000;
/// What texts are made of.
#[rustfmt::skip]
const PIECES: [&str; 46] = [
    "(", ")", "[", "]", "{", "}", "\"", "'", "*", "/", "\\", ":", "title:", "count:", "extra.n:", "status:", "AND", " OR ",
    "NOT", "-", "+", "^2", "~1", " TO ", "IN", "7", "-1", "1e9", "door", "élan", "\u{0}", "/a/b", "2026-01-01T00:00:00Z", ">=",
    "<", " ", "path:", "from:", "at:", "path:a//b", "path:/", "title:/d.*/", "a?*", "^1e308", "18446744073709551616", "10.0.0.1",
];
/// What members of objects are called.
#[rustfmt::skip]
const NAMES: [&str; 62] = [
    "bool", "must", "should", "must_not", "filter", "match", "match_phrase", "match_all", "term", "terms", "range", "prefix",
    "fuzzy", "regexp", "exists", "query_string", "query", "value", "operator", "slop", "fuzziness", "gt", "gte", "lt", "lte",
    "field", "fields", "title", "status", "count", "delta", "price", "open", "at", "from", "path", "extra", "extra.n", "labels",
    "_key", "_kept", "_tags", "_score", "aggs", "histogram", "date_histogram", "interval", "fixed_interval", "stats",
    "percentiles", "cardinality", "facet", "under", "size", "order", "missing", "min_doc_count", "offset", "ranges", "to", "",
    "nothing",
];

fn rounds() -> u64 {
    let said = std::env::var("NEXUS_QUERY_ROUNDS").ok();
    said.map_or(ROUNDS, |it| it.parse().expect("NEXUS_QUERY_ROUNDS is a number"))
}

fn text(random: &mut Random) -> String {
    (0..=random.below(12)).map(|_| *random.pick(&PIECES).unwrap()).collect()
}

/// Anything.
fn any(random: &mut Random, depth: u64) -> Value {
    match random.below(if depth > 6 { 6 } else { 12 }) {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 => json!(random.next()),
        3 => json!(random.below(20)),
        4 => json!(-(random.below(1 << 40) as f64) / 3.0),
        5 => json!(text(random)),
        6 => (0..random.below(4)).map(|_| any(random, depth + 1)).collect(),
        _ => {
            let members = (0..=random.below(2)).map(|_| {
                let name = random.pick(&NAMES).unwrap();
                ((*name).to_owned(), any(random, depth + 1))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// What may be right.
fn tree(random: &mut Random, depth: u64) -> Value {
    let field = *random
        .pick(&[
            "title", "status", "count", "delta", "price", "open", "at", "from", "path", "labels",
        ])
        .unwrap();
    let value = match random.below(8) {
        0 => json!(random.below(20)),
        1 => json!(random.below(100) as f64 / 8.0),
        2 => json!("door"),
        3 => json!("/a"),
        4 => json!("2026-01-07T00:00:00Z"),
        5 => json!("10.0.0.7"),
        6 => json!(random.one_in(2)),
        _ => any(random, 6),
    };
    match random.below(if depth > 9 { 8 } else { 11 }) {
        0 => json!({ "term": { field: value } }),
        1 => json!({ "terms": { field: [value, random.below(9)] } }),
        2 => json!({ "range": { field: { "gte": value, "lt": any(random, 6) } } }),
        3 => json!({ "match": { field: { "query": text(random), "operator": "and" } } }),
        4 => {
            json!({ "match_phrase": { field: { "query": text(random), "slop": random.below(90) } } })
        }
        5 => json!({ "fuzzy": { field: { "value": "dor", "fuzziness": random.below(5) } } }),
        6 => json!({ "regexp": { field: text(random) } }),
        7 => {
            json!({ *random.pick(&["prefix", "exists"]).unwrap(): { field: "do", "field": field } })
        }
        kind => {
            let occur = ["must", "should", "must_not", "filter"];
            let parts: Vec<_> = (0..=random.below(2)).map(|_| tree(random, depth + 1)).collect();
            let other = if kind == 8 { any(random, 5) } else { tree(random, depth + 1) };
            json!({ "bool": { *random.pick(&occur).unwrap(): parts, *random.pick(&occur).unwrap(): other } })
        }
    }
}

fn aggregations(random: &mut Random) -> Value {
    let field = *random
        .pick(&["status", "count", "price", "at", "from", "extra.n", "path", "title"])
        .unwrap();
    let inner = match random.below(9) {
        0 => json!({ "terms": { "field": field, "size": any(random, 7) } }),
        1 => json!({ "histogram": { "field": field, "interval": any(random, 7) } }),
        2 => json!({ "date_histogram": { "field": field, "fixed_interval": "1d" } }),
        3 => {
            json!({ "range": { "field": field, "ranges": [{ "to": any(random, 7) }, { "from": 3 }] } })
        }
        4 => json!({ "percentiles": { "field": field, "percents": [any(random, 7)] } }),
        5 => json!({ *random.pick(&["stats", "avg", "cardinality"]).unwrap(): { "field": field } }),
        6 => json!({ "facet": { "field": "path", "under": text(random) } }),
        7 => json!({ "facet": { "field": field, "under": "/a", "size": random.below(5) } }),
        _ => any(random, 3),
    };
    match random.one_in(3) {
        true => json!({ "a": { "terms": { "field": "status" }, "aggs": { "b": inner } } }),
        false => json!({ "a": inner }),
    }
}

fn question(random: &mut Random) -> SearchRequest {
    let query = match random.below(4) {
        0 => any(random, 0),
        1 | 2 => tree(random, 0),
        _ => json!(text(random)),
    };
    let mut asked = SearchRequest { query: Some(query), ..SearchRequest::default() };
    if random.one_in(4) {
        asked.filter = Some(json!(text(random)));
    }
    if random.one_in(4) {
        let sort = ["count", "status", "at", "open", "price", "_score", "title"];
        asked.sort = vec![json!({ *random.pick(&sort).unwrap(): "desc" })];
        if random.one_in(2) {
            asked.search_after = Some(vec![any(random, 6), any(random, 6)]);
        }
    }
    if random.one_in(4) {
        asked.aggs = Some(aggregations(random));
    }
    if random.one_in(4) {
        asked.highlight = vec!["title".to_owned()];
    }
    asked.limit = random.below(30) as usize;
    asked
}

#[test]
fn no_query_breaks_the_door() {
    let random = &mut Random::new(5);
    let mut rig = Rig::new(SearchSink::in_memory(&definition()).unwrap());
    (0..5).for_each(|_| rig.commit(random));
    let some = Sight {
        tags_all: BTreeSet::from(["group:1".to_owned()]),
        hidden: BTreeSet::from(["extra".to_owned()]),
    };
    let (mut answered, mut refused) = (0_u64, 0_u64);
    let rounds = rounds();
    for round in 0..rounds {
        let asked = question(random);
        let sight = if random.one_in(4) { &some } else { &Sight::default() };
        match rig.sink.searching().search(&asked, sight, &|| false) {
            Ok(found) => {
                assert!(found.hits.len() <= asked.limit && found.hits.len() as u64 <= found.total);
                answered += 1;
            }
            Err(SearchError::Invalid(_)) => refused += 1,
            Err(error) => panic!("round {round}: {asked:?}: {error}"),
        }
    }
    println!("count: queries {rounds}");
    assert!(answered > rounds / 20 && refused > rounds / 20, "{answered} {refused}");
}

//! What is asked to do harm is refused, and does none: neither to the process nor to the documents.

use nexus_delivery::projection::{Changed, Commit, Sink};
use nexus_protocol::Position;
use nexus_protocol::search::SearchRequest;
use nexus_search::{SearchError, SearchSink, Searched, Sight};
use nexus_testing::Random;
use serde_json::{Map, Value, json};

use crate::index::{Rig, definition, kept};

fn rig() -> Rig {
    let mut rig = Rig::new(SearchSink::in_memory(&definition()).unwrap());
    let random = &mut Random::new(11);
    (0..3).for_each(|_| rig.commit(random));
    rig
}

/// Keeps documents beside those that are there.
fn put(rig: &mut Rig, documents: impl IntoIterator<Item = (String, Value)>) {
    let changed: Vec<_> = documents
        .into_iter()
        .map(|(key, fields)| {
            let fields: Map<String, Value> = serde_json::from_value(fields).unwrap();
            let document = Some(kept(rig.next, &fields));
            Changed { key, document, is_kept: false, fields, tags: vec!["mine".to_owned()] }
        })
        .collect();
    rig.next += 1;
    let next = Position::new(rig.next);
    let commit = Commit { next, checkpoint: b"{}", changed: &changed, durable: true };
    rig.sink.commit(&commit).unwrap();
}

fn ask(rig: &Rig, asked: Value) -> Result<Searched, SearchError> {
    let asked: SearchRequest = serde_json::from_value(asked).unwrap();
    rig.sink.searching().search(&asked, &Sight::default(), &|| false)
}

fn keys(found: &Searched) -> Vec<&str> {
    found.hits.iter().map(|it| it.key.as_str()).collect()
}

#[test]
fn what_would_end_the_process_is_refused() {
    let rig = rig();
    let mut nested = json!({});
    for _ in 0..40 {
        nested = json!({ "a": { "terms": { "field": "count", "missing": "NA" }, "aggs": nested } });
    }
    let terms = |of: Value| json!({ "a": { "terms": of } });
    let histogram = |of: Value| json!({ "a": { "histogram": of } });
    let queries = [
        json!(format!("{}a", "NOT ".repeat(1_000))),
        json!("title:/(|a){140000}/"),
        json!("title:/(a?){200000}/"),
        json!({ "regexp": { "title": "(|a){140000}" } }),
        json!({ "fuzzy": { "status": { "value": "a".repeat(60_000), "fuzziness": 2 } } }),
        json!({ "bool": { "should": vec![json!({ "fuzzy": { "title": "broken" } }); 20] } }),
        json!(format!("\"{}\"", "a.".repeat(2_000))),
        json!("a\n".repeat(30_000)),
        json!(format!("broken^{}", "9".repeat(41))),
        json!("extra.n:[1 TO 2.5]"),
        json!("extra.n:[2026-01-01T00:00:00Z TO 5]"),
        json!("extra.a\u{0}b:1"),
        json!("at:[* TO *]"),
        json!({ "range": { "from": { "lt": "::" } } }),
    ];
    let aggs = [
        json!({ "a": { "range": { "field": "count", "ranges": [] } } }),
        json!({ "a": { "range": { "field": "count", "ranges": [{ "from": 2, "to": 1 }] } } }),
        histogram(json!({ "field": "count", "interval": 0 })),
        histogram(json!({ "field": "count", "interval": 1,
            "extended_bounds": { "min": 0, "max": 384_307_168_202_282_368_u64 } })),
        histogram(json!({ "field": "extra.n", "interval": 1 })),
        json!({ "a": { "date_histogram": { "field": "at", "fixed_interval": "0ms" } } }),
        json!({ "a": { "date_histogram": { "field": "at", "fixed_interval": "1ms" } } }),
        json!({ "a": { "date_histogram": { "field": "at", "fixed_interval": "9223372036854775807d" } } }),
        json!({ "a": { "composite": { "sources": [
            { "d": { "date_histogram": { "field": "at", "fixed_interval": "0ms" } } }] } } }),
        json!({ "a": { "multi_terms": { "terms": [{ "field": "status" }, { "field": "labels" }] } } }),
        json!({ "a": { "top_hits": { "size": 1, "sort": [{ "count": "desc" }] } } }),
        json!({ "a": { "percentiles": { "field": "count", "percents": [101] } } }),
        terms(json!({ "field": "status", "size": 1_000_000 })),
        terms(json!({ "field": "status", "include": "(a?){200000}" })),
        // It would show values of documents that do not match.
        terms(json!({ "field": "status", "min_doc_count": 0 })),
        terms(json!({ "field": "extra.a\u{0}b" })),
        nested,
    ];
    let all = queries.into_iter().map(|it| json!({ "query": it }));
    for asked in all.chain(aggs.into_iter().map(|it| json!({ "aggs": it }))) {
        let shown: String = asked.to_string().chars().take(100).collect();
        match ask(&rig, asked).map(|it| it.total) {
            Err(SearchError::Invalid(why)) => assert!(why.len() < 1_000, "{shown}: {why}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    rig.check();
}

#[test]
fn a_histogram_is_bounded_by_the_values_that_there_are() {
    let mut rig = rig();
    put(&mut rig, [("far".to_owned(), json!({ "count": 384_307_168_202_282_368_u64 }))]);
    let ask = |of: Value, sight: &Sight| {
        let aggs = Some(json!({ "a": { "histogram": of } }));
        let asked = SearchRequest { aggs, ..SearchRequest::default() };
        rig.sink.searching().search(&asked, sight, &|| false).map(drop)
    };
    let all = Sight::default();
    ask(json!({ "field": "count", "interval": 1 }), &all).unwrap_err();
    ask(json!({ "field": "count", "interval": 1e15 }), &all).unwrap();
    ask(json!({ "field": "count", "interval": 1, "min_doc_count": 1 }), &all).unwrap();
    let bounds = json!({ "min": 0, "max": 20 });
    let bounded = json!({ "field": "count", "interval": 1, "hard_bounds": bounds });
    ask(bounded.clone(), &all).unwrap();
    // How far the values of others reach is nothing to who may not see them.
    let some = Sight { tags_all: ["mine".to_owned()].into(), ..Sight::default() };
    let refused = ask(json!({ "field": "count", "interval": 1e15 }), &some).unwrap_err();
    assert!(refused.to_string().contains("hard_bounds"), "{refused}");
    ask(bounded, &some).unwrap();
}

#[test]
fn values_at_the_ends_are_found_and_in_order() {
    let mut rig = Rig::new(SearchSink::in_memory(&definition()).unwrap());
    let long = "k".repeat(70_000);
    put(
        &mut rig,
        [
            ("a", json!({ "at": "9999-12-31T23:59:59Z", "price": -0.0, "count": u64::MAX })),
            ("b", json!({ "at": "2026-01-01T00:00:05.5Z", "price": 0.0, "count": u64::MAX - 1 })),
            ("c", json!({ "at": "2026-01-01T00:00:05Z", "status": long, "extra": { "s": long } })),
            ("d", json!({ "title": "un Café noir", "path": "/a\u{0}b" })),
        ]
        .map(|(key, fields)| (key.to_owned(), fields)),
    );
    let found = |query: Value| {
        let found = ask(&rig, json!({ "query": query, "sort": [] })).unwrap();
        keys(&found).iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(json!({ "range": { "at": { "lt": "2200-01-01T00:00:00Z" } } })), ["b", "c"]);
    assert_eq!(found(json!({ "term": { "at": "2026-01-01T00:00:05.5Z" } })), ["b"]);
    assert_eq!(found(json!({ "term": { "at": "2026-01-01T00:00:05Z" } })), ["c"]);
    assert_eq!(found(json!({ "terms": { "at": ["2026-01-01T00:00:05Z"] } })), ["c"]);
    assert_eq!(found(json!({ "term": { "price": 0.0 } })), ["a", "b"]);
    assert_eq!(found(json!({ "term": { "price": -0.0 } })), ["a", "b"]);
    assert_eq!(found(json!({ "term": { "title": "Café" } })), ["d"]);
    assert_eq!(found(json!({ "term": { "path": "/a" } })), [""; 0]);
    let keywords = json!({ "aggs": { "a": { "terms": { "field": "status" } },
        "b": { "terms": { "field": "extra.s" } } } });
    ask(&rig, keywords).unwrap();
    // Page by page, as a program has it that knows floating numbers only.
    for field in ["count", "price", "at", "status"] {
        let (mut after, mut seen) = (None::<Vec<Value>>, Vec::new());
        loop {
            let asked = json!({ "sort": [{ field: "desc" }], "limit": 1, "search_after": after });
            let page = ask(&rig, asked).unwrap();
            seen.extend(keys(&page).into_iter().map(str::to_owned));
            let Some(next) = page.next_page else { break };
            after = Some(next.into_iter().map(as_floating).collect());
        }
        seen.sort();
        assert_eq!(seen, ["a", "b", "c", "d"], "{field}");
    }
}

fn as_floating(value: Value) -> Value {
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 => json!(number as i64),
        Some(number) => json!(number),
        None => value,
    }
}

#[test]
fn an_answer_is_bounded_and_the_rest_is_on_the_next_page() {
    let mut rig = Rig::new(SearchSink::in_memory(&definition()).unwrap());
    let text = "word ".repeat(200_000);
    put(&mut rig, (0..20).map(|n| (format!("{n:02}"), json!({ "title": text }))));
    let (mut after, mut pages, mut seen) = (None::<Vec<Value>>, 0, Vec::new());
    loop {
        let asked = json!({ "limit": 1_000, "search_after": after, "sort": [{ "count": "asc" }] });
        let page = ask(&rig, asked).unwrap();
        assert_eq!(page.total, 20);
        seen.extend(keys(&page).into_iter().map(str::to_owned));
        pages += 1;
        after = page.next_page;
        if after.is_none() {
            break;
        }
    }
    assert!(pages > 2, "{pages}");
    assert_eq!(seen, (0..20).map(|n| format!("{n:02}")).collect::<Vec<_>>());
    let many = json!({ "limit": 1, "highlight": vec!["title"; 8_000] });
    ask(&rig, many).unwrap();
}

//! A search ends when its time is over, whatever is made of what it finds, and however much there is in one segment.

use std::sync::atomic::{AtomicUsize, Ordering};

use nexus_delivery::projection::{Changed, Commit, Definition, DefinitionFile, Kept, Sink as _};
use nexus_protocol::Position;
use nexus_protocol::search::SearchRequest;
use nexus_search::{SearchError, SearchSink, Sight};
use serde_json::{Map, Value, json};

/// More than are gone through before anybody looks at the time.
const DOCUMENTS: u64 = 10_000;

fn changed(number: u64, is_kept: bool, fields: &Map<String, Value>) -> Changed {
    let bytes = Value::Object(fields.clone()).to_string().into_bytes();
    let kept = Kept { position: Position::new(number), bytes };
    let (key, fields) = (format!("key-{number}"), fields.clone());
    let document = (!is_kept).then_some(kept);
    Changed { key, document, is_kept, fields, tags: Vec::new() }
}

/// Documents of one segment, and of another one with a few; with some that are gone, or none.
fn sink(gone: u64) -> SearchSink {
    let fields = json!({ "count": { "type": "u64", "fold": "set", "from": "/data/count" },
                         "title": { "type": "text", "fold": "set", "from": "/data/title" } });
    let file = json!({ "name": "all", "key": "/stream", "fields": fields });
    let definition = Definition::new(DefinitionFile::from_json(file).unwrap()).unwrap();
    let mut sink = SearchSink::in_memory(&definition).unwrap();
    let of = |number: u64| {
        let fields = json!({ "count": number % 7, "title": "a door" });
        fields.as_object().unwrap().clone()
    };
    let first: Vec<_> = (0..DOCUMENTS).map(|it| changed(it, false, &of(it))).collect();
    let second = (DOCUMENTS..DOCUMENTS + 10).map(|it| changed(it, false, &of(it)));
    let second: Vec<_> = second.chain((0..gone).map(|it| changed(it, true, &of(it)))).collect();
    for (next, changed) in [(DOCUMENTS, first), (DOCUMENTS + 10, second)] {
        let next = Position::new(next);
        let commit = Commit { next, checkpoint: b"{}", changed: &changed, durable: true };
        sink.commit(&commit).unwrap();
    }
    sink
}

fn asked() -> Vec<SearchRequest> {
    [
        json!({ "limit": 3 }),
        json!({ "query": "title:door" }),
        json!({ "query": { "range": { "count": { "gte": 0 } } }, "sort": ["count"] }),
        json!({ "limit": 0, "aggs": { "by": { "terms": { "field": "count" } } } }),
        json!({ "query": "door", "aggs": { "by": { "stats": { "field": "count" } } } }),
    ]
    .map(|it| serde_json::from_value(it).unwrap())
    .into()
}

#[test]
fn a_search_whose_time_is_over_is_stopped_and_says_what_to_do() {
    for sink in [sink(0), sink(20)] {
        for asked in asked() {
            let looks = AtomicUsize::new(0);
            let count = || looks.fetch_add(1, Ordering::Relaxed);
            let is_over = || count() == usize::MAX;
            let found = sink.searching().search(&asked, &Sight::default(), &is_over).unwrap();
            assert!(found.total == DOCUMENTS + 10 || found.total == DOCUMENTS - 10);
            // It is looked at the time within a segment, too: there are two of them, or one by now, and the end.
            let looked = looks.into_inner();
            assert!(looked > 3, "{asked:?}: {looked}");
            for over_at in 0..looked {
                let looks = AtomicUsize::new(0);
                let is_over = || looks.fetch_add(1, Ordering::Relaxed) >= over_at;
                let stopped = sink.searching().search(&asked, &Sight::default(), &is_over);
                let stopped = stopped.map(|it| it.total).unwrap_err();
                assert_eq!(stopped, SearchError::TookTooLong, "{asked:?}");
                assert!(stopped.to_string().contains("narrow it"), "{stopped}");
                // Nothing more was done.
                assert_eq!(looks.into_inner(), over_at + 1, "{asked:?}");
            }
        }
    }
}

/// What goes through all words of a field takes as long as there are words, and nobody looks at the time meanwhile.
#[test]
fn few_parts_go_through_all_words() {
    let sink = sink(0);
    let search = |query: Value| {
        let asked = SearchRequest { query: Some(query), ..SearchRequest::default() };
        sink.searching().search(&asked, &Sight::default(), &|| false).map(|it| it.total)
    };
    // Of parts that are the same one is left.
    let pattern = |it: usize| format!("title:/d.*|x{it}/");
    let text = |parts: usize| json!((0..parts).map(pattern).collect::<Vec<_>>().join(" OR "));
    let tree = |parts: usize| {
        let fuzzy = json!({ "fuzzy": { "title": "dor" } });
        json!({ "bool": { "should": vec![fuzzy; parts] } })
    };
    for (few, many) in [(text(15), text(17)), (tree(15), tree(17))] {
        assert_eq!(search(few), Ok(DOCUMENTS + 10));
        let refused = search(many).unwrap_err().to_string();
        assert!(refused.contains("more than 256 parts"), "{refused}");
    }
}

/// A page may begin behind all that a segment has, whose keys take more than one block by now.
#[test]
fn nothing_is_behind_the_last_page() {
    let sink = sink(0);
    for (after, wanted) in [("zzz", 0), ("key-9999", 0), ("key-9998", 1), ("", 10)] {
        let search_after = Some(vec![json!(after)]);
        let asked = SearchRequest { search_after, ..SearchRequest::default() };
        let found = sink.searching().search(&asked, &Sight::default(), &|| false).unwrap();
        assert_eq!(found.hits.len(), wanted, "{after}");
    }
}

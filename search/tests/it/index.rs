//! The search sink: what is committed is found, by key and by what is in it, and nothing else is; and what is asked may be
//! anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nexus_delivery::projection::{
    Changed, Commit, Definition, DefinitionFile, Kept, Sink, SinkError,
};
use nexus_protocol::Position;
use nexus_protocol::search::SearchRequest;
use nexus_search::{SearchError, SearchSink, Sight};
use nexus_testing::Random;
use serde_json::{Map, Value, json};

pub(crate) fn definition() -> Definition {
    let field = |kind: &str| json!({ "type": kind, "fold": "set", "from": "/data/any" });
    let mut fields = Map::new();
    for (name, kind) in [
        ("title", "text"),
        ("status", "keyword"),
        ("count", "u64"),
        ("delta", "i64"),
        ("price", "f64"),
        ("open", "bool"),
        ("at", "date"),
        ("from", "ip"),
        ("path", "facet"),
        ("extra", "json"),
        ("labels", "keyword"),
    ] {
        fields.insert(name.to_owned(), field(kind));
    }
    let file = json!({ "name": "all", "key": "/stream", "fields": fields });
    Definition::new(DefinitionFile::from_json(file).unwrap()).unwrap()
}

const WORDS: [&str; 6] = ["broken", "Window", "élan", "door", "of", "glass"];
const STATES: [&str; 3] = ["open", "closed", "on hold"];

/// A document; some fields are not there.
fn document(random: &mut Random) -> Map<String, Value> {
    let path = ["/a", "/a/b", "/c"][random.below(3) as usize];
    let mut all = json!({
        "title": (0..=random.below(4)).map(|_| *random.pick(&WORDS).unwrap()).collect::<Vec<_>>().join(" "),
        "status": random.pick(&STATES).unwrap(),
        "count": random.below(20),
        "delta": i64::try_from(random.below(20)).unwrap() - 10,
        "price": random.below(100) as f64 / 8.0,
        "open": random.one_in(2),
        "at": format!("2026-01-{:02}T00:00:00Z", random.below(28) + 1),
        "from": format!("10.0.0.{}", random.below(20)),
        "path": path,
        "extra": { "n": random.below(5), "s": random.pick(&WORDS).unwrap() },
        "labels": (0..random.below(3)).map(|_| random.below(4).to_string()).collect::<Vec<_>>(),
    });
    let all = all.as_object_mut().unwrap();
    all.retain(|_, _| !random.one_in(8));
    std::mem::take(all)
}

/// What is committed, by key.
type Model = BTreeMap<String, (u64, Map<String, Value>)>;

pub(crate) struct Rig {
    pub(crate) sink: SearchSink,
    model: Model,
    pub(crate) next: u64,
}

pub(crate) fn kept(position: u64, fields: &Map<String, Value>) -> Kept {
    let bytes = Value::Object(fields.clone()).to_string().into_bytes();
    Kept { position: Position::new(position), bytes }
}

impl Rig {
    pub(crate) fn new(sink: SearchSink) -> Self {
        Self { sink, model: Model::new(), next: 0 }
    }

    pub(crate) fn commit(&mut self, random: &mut Random) {
        let mut changed = BTreeMap::new();
        for _ in 0..=random.below(20) {
            let key = format!("key-{}", random.below(60));
            let is_kept = self.model.contains_key(&key);
            let position = self.next;
            self.next += 1;
            let gone = is_kept && random.one_in(4);
            let fields = document(random);
            let tags = vec![format!("group:{}", random.below(3))];
            let document = (!gone).then(|| kept(position, &fields));
            let it = Changed { key: key.clone(), document, is_kept, fields, tags };
            changed.insert(key, (position, it));
        }
        let all: Vec<_> = changed.values().map(|(_, it)| it.clone()).collect();
        let checkpoint = format!("{{\"n\":{}}}", self.next);
        let next = Position::new(self.next);
        let commit =
            Commit { next, checkpoint: checkpoint.as_bytes(), changed: &all, durable: true };
        self.sink.commit(&commit).unwrap();
        for (key, (position, it)) in changed {
            match it.document {
                Some(_) => drop(self.model.insert(key, (position, it.fields))),
                None => drop(self.model.remove(&key)),
            }
        }
    }

    pub(crate) fn check(&self) {
        check(&self.sink, &self.model, self.next);
    }

    /// The keys of what is found, of all of it.
    pub(crate) fn found(&self, query: Value) -> BTreeSet<String> {
        let asked = SearchRequest { query: Some(query), limit: 1_000, ..SearchRequest::default() };
        let found = self.sink.searching().search(&asked, &Sight::default(), &|| false).unwrap();
        assert_eq!(found.total, found.hits.len() as u64);
        found.hits.into_iter().map(|hit| hit.key).collect()
    }
}

fn check(sink: &SearchSink, model: &Model, next: u64) {
    for number in 0..60 {
        let key = format!("key-{number}");
        let wanted = model.get(&key).map(|(position, fields)| kept(*position, fields));
        assert_eq!(sink.get(&key).unwrap(), wanted, "{key}");
    }
    let (documents, mut after, mut all) = (sink.documents(), None::<String>, Vec::new());
    assert_eq!(documents.get("none").unwrap(), (None, Position::new(next)));
    loop {
        let page = documents.page(after.as_deref(), 7).unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        all.extend(page);
    }
    let wanted = model.iter().map(|(key, (at, fields))| (key.clone(), kept(*at, fields)));
    assert_eq!(all, wanted.collect::<Vec<_>>());
}

fn words(document: &Map<String, Value>) -> Vec<String> {
    let title = document.get("title").and_then(Value::as_str).unwrap_or_default();
    title.split(' ').map(|it| it.to_lowercase().replace('é', "e")).collect()
}

fn is(document: &Map<String, Value>, field: &str, wanted: impl Into<Value>) -> bool {
    document.get(field) == Some(&wanted.into())
}

fn number(document: &Map<String, Value>, field: &str) -> Option<f64> {
    document.get(field).and_then(Value::as_f64)
}

fn has_word(word: &str) -> impl Fn(&Map<String, Value>) -> bool {
    move |it| words(it).iter().any(|it| it == word)
}

type Wanted = Box<dyn Fn(&Map<String, Value>) -> bool>;

/// What is asked, and what is to be found.
fn questions() -> Vec<(Value, Wanted)> {
    let at = |it: &Map<String, Value>| it.get("at").and_then(Value::as_str).map(str::to_owned);
    vec![
        (json!({ "match_all": {} }), Box::new(|_| true)),
        (json!("broken"), Box::new(|it| has_word("broken")(it))),
        (json!("title:WINDOW"), Box::new(|it| has_word("window")(it))),
        (json!({ "match": { "title": "Élan" } }), Box::new(|it| has_word("elan")(it))),
        (
            json!({ "match": { "title": "door glass" } }),
            Box::new(|it| has_word("door")(it) || has_word("glass")(it)),
        ),
        (
            json!({ "match": { "title": { "query": "door glass", "operator": "and" } } }),
            Box::new(|it| has_word("door")(it) && has_word("glass")(it)),
        ),
        (
            json!("title:\"broken window\""),
            Box::new(|it| words(it).windows(2).any(|it| it == ["broken", "window"])),
        ),
        (
            json!({ "match_phrase": { "title": "broken window" } }),
            Box::new(|it| words(it).windows(2).any(|it| it == ["broken", "window"])),
        ),
        (json!({ "prefix": { "title": "win" } }), Box::new(|it| has_word("window")(it))),
        (json!({ "fuzzy": { "title": "borken" } }), Box::new(|it| has_word("broken")(it))),
        (json!({ "regexp": { "title": "d.*r" } }), Box::new(|it| has_word("door")(it))),
        (json!({ "term": { "status": "on hold" } }), Box::new(|it| is(it, "status", "on hold"))),
        (json!("status:\"on hold\""), Box::new(|it| is(it, "status", "on hold"))),
        (
            json!({ "terms": { "status": ["open", "closed"] } }),
            Box::new(|it| is(it, "status", "open") || is(it, "status", "closed")),
        ),
        (
            json!({ "term": { "labels": "2" } }),
            Box::new(|it| {
                it.get("labels").is_some_and(|it| it.as_array().unwrap().contains(&json!("2")))
            }),
        ),
        (json!({ "term": { "count": 6 } }), Box::new(|it| is(it, "count", 6))),
        (
            json!({ "range": { "count": { "gte": 5, "lt": 9 } } }),
            Box::new(|it| number(it, "count").is_some_and(|it| (5.0..9.0).contains(&it))),
        ),
        (
            json!("count:[5 TO 9}"),
            Box::new(|it| number(it, "count").is_some_and(|it| (5.0..9.0).contains(&it))),
        ),
        (
            json!({ "range": { "delta": { "lt": 0 } } }),
            Box::new(|it| number(it, "delta").is_some_and(|it| it < 0.0)),
        ),
        (
            json!({ "range": { "price": { "gt": 3.5 } } }),
            Box::new(|it| number(it, "price").is_some_and(|it| it > 3.5)),
        ),
        (json!({ "term": { "open": true } }), Box::new(|it| is(it, "open", true))),
        (
            json!({ "range": { "at": { "gte": "2026-01-10T00:00:00Z" } } }),
            Box::new(move |it| at(it).is_some_and(|it| it.as_str() >= "2026-01-10T00:00:00Z")),
        ),
        (json!({ "term": { "from": "10.0.0.7" } }), Box::new(|it| is(it, "from", "10.0.0.7"))),
        (
            json!({ "term": { "path": "/a" } }),
            Box::new(|it| is(it, "path", "/a") || is(it, "path", "/a/b")),
        ),
        (json!("extra.n:3"), Box::new(|it| it.get("extra").is_some_and(|it| it["n"] == 3))),
        (json!("extra.s:door"), Box::new(|it| it.get("extra").is_some_and(|it| it["s"] == "door"))),
        (json!({ "exists": { "field": "price" } }), Box::new(|it| it.contains_key("price"))),
        (
            json!({ "bool": { "must_not": { "term": { "status": "open" } } } }),
            Box::new(|it| !is(it, "status", "open")),
        ),
        (
            json!({ "bool": { "must": ["title:broken"], "filter": [{ "term": { "open": true } }], "must_not": [{ "range": { "count": { "gt": 10 } } }] } }),
            Box::new(|it| {
                has_word("broken")(it)
                    && is(it, "open", true)
                    && number(it, "count").is_none_or(|it| it <= 10.0)
            }),
        ),
        (
            json!("(title:door OR title:glass) AND NOT status:open"),
            Box::new(|it| {
                (has_word("door")(it) || has_word("glass")(it)) && !is(it, "status", "open")
            }),
        ),
        (json!("NOT status:open"), Box::new(|it| !is(it, "status", "open"))),
        (
            json!("status:IN [open closed]"),
            Box::new(|it| is(it, "status", "open") || is(it, "status", "closed")),
        ),
    ]
}

#[test]
fn what_is_asked_is_found_as_a_scan_finds_it() {
    let random = &mut Random::new(1);
    let mut rig = Rig::new(SearchSink::in_memory(&definition()).unwrap());
    let mut matched = vec![0; questions().len()];
    for round in 0..25 {
        rig.commit(random);
        if round % 5 == 0 {
            rig.check();
            for (number, (query, wanted)) in questions().into_iter().enumerate() {
                let scan = rig.model.iter().filter(|(_, (_, fields))| wanted(fields));
                let scan: BTreeSet<_> = scan.map(|(key, _)| key.clone()).collect();
                assert_eq!(rig.found(query.clone()), scan, "{query}");
                matched[number] += scan.len();
            }
        }
    }
    assert!(matched.iter().all(|it| *it > 0), "each question finds something: {matched:?}");
}

#[test]
fn pages_join_in_every_order() {
    let random = &mut Random::new(2);
    let mut rig = Rig::new(SearchSink::in_memory(&definition()).unwrap());
    (0..20).for_each(|_| rig.commit(random));
    let text = |value: Option<&Value>| value.map(|it| it.as_str().unwrap().to_owned());
    let whole = |value: Option<&Value>| value.map(|it| (it.as_f64().unwrap() * 1_000.0) as i64);
    for (sort, descending) in [
        ("status", false),
        ("status", true),
        ("count", true),
        ("delta", false),
        ("price", true),
        ("at", false),
        ("open", true),
    ] {
        let mut wanted: Vec<_> = rig.model.iter().collect();
        wanted.sort_by(|(a_key, (_, a)), (b_key, (_, b))| {
            let (a, b) = (a.get(sort), b.get(sort));
            let order = match sort {
                "status" | "at" => text(a).cmp(&text(b)),
                "open" => a.map(|it| it.as_bool()).cmp(&b.map(|it| it.as_bool())),
                _ => whole(a).cmp(&whole(b)),
            };
            // What has none comes last.
            let order = match (a, b) {
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(_), None) => std::cmp::Ordering::Less,
                _ if descending => order.reverse(),
                _ => order,
            };
            order.then_with(|| a_key.cmp(b_key))
        });
        let wanted: Vec<_> = wanted.into_iter().map(|(key, _)| key.clone()).collect();
        let by = json!({ sort: if descending { "desc" } else { "asc" } });
        for limit in [1, 7, 50] {
            assert_eq!(
                pages(&rig, std::slice::from_ref(&by), None, limit),
                wanted,
                "{by} by {limit}"
            );
        }
    }
    let all: BTreeSet<_> = rig.model.keys().cloned().collect();
    for sort in [
        vec![],
        vec![json!("status"), json!({ "count": { "order": "desc" } })],
        vec![json!("_score"), json!("at")],
    ] {
        let found = pages(
            &rig,
            &sort,
            Some(json!({ "bool": { "should": ["title:door", { "match_all": {} }] } })),
            5,
        );
        assert_eq!(found.len(), all.len(), "{sort:?}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all);
    }
}

/// The keys of all pages.
fn pages(rig: &Rig, sort: &[Value], query: Option<Value>, limit: usize) -> Vec<String> {
    let (mut keys, mut search_after) = (Vec::new(), None);
    loop {
        let asked = SearchRequest {
            query: query.clone(),
            sort: sort.to_vec(),
            limit,
            search_after,
            ..SearchRequest::default()
        };
        let found = rig.sink.searching().search(&asked, &Sight::default(), &|| false).unwrap();
        assert_eq!(found.total, rig.model.len() as u64);
        keys.extend(found.hits.into_iter().map(|hit| hit.key));
        // As it comes back from whoever asked.
        search_after =
            found.next_page.map(|it| serde_json::from_str(&json!(it).to_string()).unwrap());
        if search_after.is_none() {
            return keys;
        }
    }
}

#[test]
fn what_is_counted_is_what_a_scan_counts() {
    let random = &mut Random::new(3);
    let mut rig = Rig::new(SearchSink::in_memory(&definition()).unwrap());
    (0..15).for_each(|_| rig.commit(random));
    let aggs = json!({
        "by_status": { "terms": { "field": "status" }, "aggs": { "sum": { "sum": { "field": "count" } } } },
        "counts": { "stats": { "field": "count" } },
        "by_price": { "histogram": { "field": "price", "interval": 5.0 } },
        "by_week": { "date_histogram": { "field": "at", "fixed_interval": "7d" } },
        "half": { "percentiles": { "field": "price", "percents": [50.0] } },
    });
    let asked = SearchRequest { limit: 0, aggs: Some(aggs), ..SearchRequest::default() };
    let found = rig.sink.searching().search(&asked, &Sight::default(), &|| false).unwrap();
    let aggs = found.aggs.unwrap();
    let mut by_status = BTreeMap::new();
    for (_, it) in rig.model.values() {
        if let Some(status) = it.get("status") {
            let (count, sum) = by_status.entry(status.as_str().unwrap()).or_insert((0_u64, 0.0));
            *count += 1;
            *sum += number(it, "count").unwrap_or(0.0);
        }
    }
    let buckets = aggs["by_status"]["buckets"].as_array().unwrap();
    let told: BTreeMap<_, _> = buckets
        .iter()
        .map(|it| {
            (
                it["key"].as_str().unwrap(),
                (it["doc_count"].as_u64().unwrap(), it["sum"]["value"].as_f64().unwrap()),
            )
        })
        .collect();
    assert_eq!(told, by_status);
    let counts: Vec<_> = rig.model.values().filter_map(|(_, it)| number(it, "count")).collect();
    assert_eq!(aggs["counts"]["count"], json!(counts.len()));
    assert_eq!(aggs["counts"]["sum"].as_f64(), Some(counts.iter().sum()));
    for name in ["by_price", "by_week"] {
        let buckets = aggs[name]["buckets"].as_array().unwrap();
        let field = if name == "by_price" { "price" } else { "at" };
        let sum: u64 = buckets.iter().map(|it| it["doc_count"].as_u64().unwrap()).sum();
        assert_eq!(sum, rig.model.values().filter(|(_, it)| it.contains_key(field)).count() as u64);
    }
    assert!(aggs["half"]["values"]["50.0"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_somebody_may_not_see_is_as_if_it_were_not_there() {
    let random = &mut Random::new(4);
    let mut rig = Rig::new(SearchSink::in_memory(&definition()).unwrap());
    (0..10).for_each(|_| rig.commit(random));
    let hidden = ["status", "title", "extra"].map(str::to_owned);
    let sight = Sight { hidden: BTreeSet::from(hidden), tags_all: BTreeSet::new() };
    let refused = |asked: Value| {
        let asked: SearchRequest = serde_json::from_value(asked).unwrap();
        let refused = rig.sink.searching().search(&asked, &sight, &|| false);
        let refused = refused.map(|it| it.total).unwrap_err().to_string();
        assert!(refused.contains("there is no field"), "{refused}");
    };
    for query in [
        json!("status:open"),
        json!("title:door AND count:3"),
        json!("(NOT (status:open))"),
        json!("status:[a TO z]"),
        json!("status:IN [open closed]"),
        json!("status:*"),
        json!("status:/o.*/"),
        json!("extra.n:3"),
        json!({ "term": { "status": "open" } }),
        json!({ "bool": { "must_not": [{ "match": { "title": "door" } }] } }),
        json!({ "exists": { "field": "status" } }),
    ] {
        refused(json!({ "query": query }));
        refused(json!({ "filter": query }));
    }
    refused(json!({ "sort": ["status"] }));
    refused(json!({ "highlight": ["title"] }));
    refused(json!({ "aggs": { "a": { "terms": { "field": "status" } } } }));
    refused(
        json!({ "aggs": { "a": { "terms": { "field": "count" }, "aggs": { "b": { "stats": { "field": "extra.n" } } } } } }),
    );
    let inner = json!({ "aggs": { "a": { "filter": "status:open" } } });
    let inner = serde_json::from_value(inner).unwrap();
    assert!(rig.sink.searching().search(&inner, &sight, &|| false).is_err());
    // Words are not looked for in what is hidden.
    let door = SearchRequest { query: Some(json!("door")), ..SearchRequest::default() };
    assert_eq!(rig.sink.searching().search(&door, &sight, &|| false).unwrap().total, 0);
    // And only documents that carry a tag are.
    let mut sum = 0;
    for group in 0..3 {
        let tags_all = BTreeSet::from([format!("group:{group}")]);
        let sight = Sight { tags_all, hidden: BTreeSet::new() };
        let all = SearchRequest::default();
        sum += rig.sink.searching().search(&all, &sight, &|| false).unwrap().total;
    }
    assert_eq!(sum, rig.model.len() as u64);
}

#[test]
fn what_matches_is_shown_where_it_does() {
    let mut sink = SearchSink::in_memory(&definition()).unwrap();
    let fields =
        json!({ "title": "a <broken> window, and a Broken door" }).as_object().unwrap().clone();
    let document = Some(kept(0, &fields));
    let changed =
        [Changed { key: "k".to_owned(), document, is_kept: false, fields, tags: Vec::new() }];
    let commit =
        Commit { next: Position::new(1), checkpoint: b"{}", changed: &changed, durable: true };
    sink.commit(&commit).unwrap();
    let asked = SearchRequest {
        query: Some(json!("title:broken")),
        highlight: vec!["title".to_owned()],
        ..SearchRequest::default()
    };
    let found = sink.searching().search(&asked, &Sight::default(), &|| false).unwrap();
    let shown = found.highlight("title", "a <broken> window, and a Broken door").unwrap();
    assert_eq!(shown, "a &lt;<b>broken</b>&gt; window, and a <b>Broken</b> door");
    assert_eq!(found.highlight("title", "nothing"), None);
    assert!(found.hits[0].score.unwrap() > 0.0);
}

#[test]
fn what_cannot_be_right_is_refused_and_says_why() {
    let rig = Rig::new(SearchSink::in_memory(&definition()).unwrap());
    let nested = |depth: usize| {
        (0..depth).fold(json!({ "match_all": {} }), |it, _| json!({ "bool": { "must": [it] } }))
    };
    for (asked, says) in [
        (json!({ "query": "nothing:1" }), "there is no field \"nothing\""),
        (json!({ "query": "_key:a" }), "there is no field"),
        (json!({ "query": "_tags:a" }), "there is no field"),
        (json!({ "query": "count:many" }), "a valid integer"),
        (json!({ "query": "(door" }), "is no query"),
        (json!({ "query": format!("{}a{}", "(".repeat(9), ")".repeat(9)) }), "nested deeper"),
        (
            json!({ "query": (0..300).map(|it| format!("w{it}")).collect::<Vec<_>>().join(" ") }),
            "more than 256 parts",
        ),
        (json!({ "query": "a".repeat(70_000) }), "at most 4096 bytes"),
        (json!({ "query": format!("title:/{}/", "a".repeat(300)) }), "regular expression"),
        (json!({ "query": { "regexp": { "title": "(" } } }), "\"(\""),
        (json!({ "query": nested(9) }), "nested deeper"),
        (
            json!({ "query": { "terms": { "count": (0..300).collect::<Vec<_>>() } } }),
            "more than 256 parts",
        ),
        (json!({ "query": { "term": { "count": "7" } } }), "is no u64"),
        (json!({ "query": { "range": { "title": { "gt": "a" } } } }), "not for text"),
        (json!({ "query": { "like": { "title": "a" } } }), "there is no `like`"),
        (json!({ "query": { "term": { "count": 1, "open": true } } }), "names one field"),
        (json!({ "query": 7 }), "a text, or an object"),
        (json!({ "sort": ["title"] }), "put in order by"),
        (json!({ "sort": [{ "count": "up" }] }), "\"asc\" or \"desc\""),
        (json!({ "sort": ["count", "at", "price", "open"] }), "at most 3"),
        (json!({ "limit": 1_001 }), "at most 1000"),
        (json!({ "search_after": ["a", "b"] }), "search_after"),
        (json!({ "sort": ["count"], "search_after": ["seven", "b"] }), "search_after"),
        (json!({ "highlight": ["status"] }), "no text"),
        (json!({ "aggs": { "a": { "terms": { "field": "title" } } } }), "keyword beside it"),
        (json!({ "aggs": { "a": { "median": { "field": "count" } } } }), "aggs"),
    ] {
        let request: SearchRequest = serde_json::from_value(asked.clone()).unwrap();
        let refused = rig.sink.searching().search(&request, &Sight::default(), &|| false);
        let Err(refused) = refused.map(|it| it.total) else { panic!("{asked} is answered") };
        assert!(matches!(refused, SearchError::Invalid(_)), "{asked}: {refused}");
        assert!(refused.to_string().contains(says), "{asked}: {refused}");
    }
    for unknown in [json!({ "querry": "a" }), json!({ "limit": -1 })] {
        assert!(serde_json::from_value::<SearchRequest>(unknown).is_err());
    }
}

/// A copy as a kill leaves it. Segments are merged meanwhile: it is one of a moment if what is committed is the same
/// before and after.
fn copy(from: &Path, to: &Path) {
    loop {
        std::fs::create_dir_all(to).unwrap();
        let committed = std::fs::read(from.join("meta.json")).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            // Whoever has it open has locked it, and is gone in the copy; what belongs to nothing may be gone, too.
            if path.extension().is_none_or(|it| it != "lock") {
                drop(std::fs::copy(&path, to.join(path.file_name().unwrap())));
            }
        }
        if std::fs::read(from.join("meta.json")).unwrap() == committed {
            return;
        }
        std::fs::remove_dir_all(to).unwrap();
    }
}

#[test]
fn what_was_committed_is_there_again_and_what_was_not_is_not() {
    let random = &mut Random::new(6);
    let dir = tempfile::tempdir().unwrap();
    let (kept_at, copied) = (dir.path().join("index"), dir.path().join("copy"));
    let mut rig = Rig::new(SearchSink::open(&kept_at, &definition()).unwrap());
    assert_eq!(rig.sink.checkpoint().unwrap(), None);
    for round in 0..12 {
        rig.commit(random);
        // As a kill leaves it: nothing is closed.
        copy(&kept_at, &copied);
        let sink = SearchSink::open(&copied, &definition()).unwrap();
        check(&sink, &rig.model, rig.next);
        let checkpoint = String::from_utf8(sink.checkpoint().unwrap().unwrap()).unwrap();
        assert_eq!(checkpoint, format!("{{\"n\":{}}}", rig.next));
        drop(sink);
        std::fs::remove_dir_all(&copied).unwrap();
        if round % 4 == 3 {
            let Rig { sink, model, next } = rig;
            drop(sink);
            let sink = SearchSink::open(&kept_at, &definition()).unwrap();
            rig = Rig { sink, model, next };
            rig.check();
        }
    }
    // Another definition is another index.
    let other = json!({ "name": "all", "key": "/stream", "fields": { "n": { "type": "u64", "fold": "count" } } });
    let other = Definition::new(DefinitionFile::from_json(other).unwrap()).unwrap();
    drop(rig);
    let refused = SearchSink::open(&kept_at, &other).err().unwrap();
    assert!(matches!(refused, SinkError::Damaged(_)), "{refused}");
}

#[test]
fn what_is_damaged_is_said_and_never_shown() {
    let random = &mut Random::new(7);
    let dir = tempfile::tempdir().unwrap();
    let (kept_at, copied) = (dir.path().join("index"), dir.path().join("copy"));
    let mut rig = Rig::new(SearchSink::open(&kept_at, &definition()).unwrap());
    (0..3).for_each(|_| rig.commit(random));
    let Rig { sink, model, next } = rig;
    drop(sink);
    copy(&kept_at, &copied);
    drop(SearchSink::open(&copied, &definition()).unwrap());
    let files: Vec<_> = std::fs::read_dir(&copied).unwrap().map(|it| it.unwrap().path()).collect();
    let (mut said, mut whole) = (0, 0);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        if bytes.is_empty() {
            // What is locked: nothing in it counts.
            continue;
        }
        let mut tries: Vec<Vec<u8>> = vec![Vec::new(), bytes[..bytes.len() / 2].to_vec()];
        // What says which files there are is small, and a bit in it can hide a whole file.
        let is_list = file.extension().is_some_and(|it| it == "json");
        for _ in 0..if is_list { 200 } else { 6 } {
            let mut flipped = bytes.clone();
            let at = random.below(bytes.len() as u64) as usize;
            flipped[at] ^= 1 << random.below(8);
            tries.push(flipped);
        }
        for damaged in tries {
            std::fs::write(&file, damaged).unwrap();
            match SearchSink::open(&copied, &definition()) {
                Err(SinkError::Damaged(_)) => said += 1,
                Err(error) => panic!("{}: {error}", file.display()),
                Ok(sink) => {
                    // What is not looked at, or was not there yet.
                    if sink.checkpoint().unwrap().is_some() {
                        check(&sink, &model, next);
                    }
                    whole += 1;
                }
            }
        }
        std::fs::write(&file, bytes).unwrap();
    }
    assert!(said > 20, "{said} said, {whole} whole");
}

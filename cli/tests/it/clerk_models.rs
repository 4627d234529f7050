//! The read models of the building permits, all of them, as a clerk finds them: the cases of one group and nothing else, over
//! HTTP and QUIC; held to a scan of what was imported.

use std::collections::{BTreeMap, BTreeSet};

use nexus_client::{Address, Client};
use nexus_protocol::projection::{FoundDocument, Lookup};
use nexus_protocol::search::{SearchAnswer, SearchRequest};
use nexus_protocol::{EventStore as _, Position, ReadError};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::clerk::{CASES, Office, SECOND};
use crate::nexus::lines;
use crate::policy_stores::comes_with;

/// The cases, as the guide has them.
const DEFINITION: &str = include_str!("../../../docs/guides/read-models/cases.json");
const ALL_CASES: usize = 1_434;
/// A clerk's rules, with values that no clerk sees.
const MASKED: &str = r#"package nexus.search

import data.permits

default decision := {"allow": false}

decision := {"allow": true, "obligations": {
	"tags_all": permits.tags,
	"mask": ["/case:channel", "/case:responsible"],
}} if permits.may_read
"#;

/// A case, as a scan finds it.
#[derive(Default)]
struct Case {
    channel: String,
    events: u64,
    is_second: bool,
}

/// All of them, by stream.
fn scan(office: &Office) -> BTreeMap<String, Case> {
    let mut cases = BTreeMap::<String, Case>::new();
    let all = office.ask(&office.chief, &["read", "--output", "ndjson"]).done();
    for event in lines(&all) {
        let case = cases.entry(event["stream"].as_str().unwrap().to_owned()).or_default();
        if case.events == 0 {
            case.channel = event["data"]["case:channel"].as_str().unwrap().to_owned();
        }
        case.events += 1;
        case.is_second |= event["tags"].as_array().unwrap().contains(&json!(SECOND));
    }
    cases
}

/// A refusal, as both doors say it.
type Refused = (u16, String);

fn refused_by(error: &ReadError) -> Refused {
    let status = match error {
        ReadError::Denied { .. } => 403,
        ReadError::Invalid(_) => 400,
        ReadError::NotFound { .. } => 404,
        other => panic!("{other}"),
    };
    (status, error.to_string())
}

/// Somebody who asks at both doors, which say the same.
struct Asking<'a> {
    office: &'a Office,
    token: &'a str,
    client: Client,
    runtime: Runtime,
    /// Answers know of all that is there.
    head: Position,
}

impl<'a> Asking<'a> {
    fn new(office: &'a Office, token: &'a str) -> Self {
        let runtime = Runtime::new().unwrap();
        let address: Address = office.serving.pinned().parse().unwrap();
        let client = runtime.block_on(Client::connect(address.token(token))).unwrap();
        let head = runtime.block_on(client.head()).unwrap().position.unwrap();
        Self { office, token, client, runtime, head }
    }

    fn search(&self, projection: &str, asked: &Value) -> Result<SearchAnswer, Refused> {
        let mut asked = asked.clone();
        (asked["min_position"], asked["timeout_ms"]) = (self.head.get().into(), 15_000.into());
        let path = format!("/v1/projections/{projection}/search");
        let (status, text) = self.office.post(self.token, &path, &asked);
        let request: SearchRequest = serde_json::from_value(asked.clone()).unwrap();
        let by_quic = self.runtime.block_on(self.client.search(projection, &request));
        match by_quic {
            Ok(answer) => {
                let mut by_http: SearchAnswer = serde_json::from_str(&text).expect(&text);
                // What is decided is on record, and so the log has grown meanwhile.
                by_http.as_of_position = answer.as_of_position;
                by_http.lag_events = answer.lag_events;
                assert_eq!((status, &by_http), (200, &answer), "{asked}");
                Ok(answer)
            }
            Err(error) => {
                let refused = refused_by(&error);
                assert_eq!(status, refused.0, "{asked}: {text}, {error}");
                Err((status, text + &refused.1))
            }
        }
    }

    fn look(&self, projection: &str, key: &str) -> Result<FoundDocument, Refused> {
        let path = format!("/v1/projections/{projection}/documents/{key}");
        let (status, text) = self.office.http(&path, "application/json");
        let lookup = Lookup { key: key.to_owned(), ..Lookup::default() };
        match self.runtime.block_on(self.client.lookup(projection, &lookup)) {
            Ok(found) => {
                let mut by_http: FoundDocument = serde_json::from_str(&text).expect(&text);
                by_http.as_of_position = found.as_of_position;
                by_http.lag_events = found.lag_events;
                assert_eq!((status, &by_http), (200, &found), "{key}");
                Ok(found)
            }
            Err(error) => {
                let refused = refused_by(&error);
                assert_eq!(status, refused.0, "{key}: {text}, {error}");
                Err(refused)
            }
        }
    }

    /// The keys of all pages.
    fn keys(&self, projection: &str, asked: &Value) -> BTreeSet<String> {
        let (mut asked, mut keys) = (asked.clone(), BTreeSet::new());
        asked["limit"] = 500.into();
        loop {
            let answer = self.search(projection, &asked).unwrap();
            keys.extend(answer.hits.into_iter().map(|hit| hit.key));
            match answer.next {
                Some(next) => asked["search_after"] = next.into(),
                None => return keys,
            }
        }
    }
}

/// Makes the projections of the cases: with the tags of their events and without, and by key alone.
fn make(office: &Office) {
    for (name, access, sink) in
        [("seen", "union", "search"), ("by_key", "union", "kv"), ("bare", "none", "search")]
    {
        let mut definition: Value = serde_json::from_str(DEFINITION).unwrap();
        (definition["name"], definition["access"]) = (name.into(), access.into());
        definition["sink"] = sink.into();
        let file = office.folder.file(name, definition.to_string());
        office.ask(&office.chief, &["projection", "create", &file, "--wait"]).done();
    }
}

/// The bundle that comes with Nexus, with another rule for searches.
fn masked(office: &Office) -> String {
    let (from, to) = (comes_with("permits"), office.folder.path("masked"));
    std::fs::create_dir_all(to.join("nexus")).unwrap();
    for place in [".", "nexus"] {
        for entry in std::fs::read_dir(format!("{from}/{place}")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, to.join(place).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    std::fs::remove_file(to.join("permits_test.rego")).unwrap();
    std::fs::write(to.join("nexus/search.rego"), MASKED).unwrap();
    to.to_str().unwrap().to_owned()
}

#[test]
fn a_clerk_finds_the_cases_of_one_group() {
    let Some(office) = Office::open() else { return };
    make(&office);
    let cases = scan(&office);
    assert_eq!(cases.len(), ALL_CASES);
    office.ask(&office.chief, &["policy", "activate", &comes_with("permits")]).done();
    let chief = Asking::new(&office, &office.chief);
    assert_eq!(chief.search("seen", &json!({})).unwrap().total, ALL_CASES as u64);
    assert_eq!(chief.search("bare", &json!({})).unwrap().total, ALL_CASES as u64);
    let clerk = Asking::new(&office, &office.clerk);
    finds(&clerk, &cases);
    counts(&clerk, &cases);
    looks_up(&clerk, &cases);
    sees_nothing_without_tags(&clerk);
    office.ask(&office.chief, &["policy", "activate", &masked(&office)]).done();
    sees_nothing_that_is_masked(&clerk);
}

/// Whether a case is one of those that were asked for.
type Wanted = fn(&Case) -> bool;

fn finds(clerk: &Asking<'_>, cases: &BTreeMap<String, Case>) {
    let wanted = |takes: &dyn Fn(&Case) -> bool| -> BTreeSet<String> {
        let some = cases.iter().filter(|(_, case)| case.is_second && takes(case));
        some.map(|(key, _)| key.clone()).collect()
    };
    let all = wanted(&|_| true);
    assert_eq!(all.len(), CASES);
    assert_eq!(clerk.keys("seen", &json!({})), all);
    assert_eq!(clerk.search("seen", &json!({ "limit": 1 })).unwrap().total, CASES as u64);
    let questions: [(Value, Wanted); 5] = [
        (json!("channel:Internet"), |case| case.channel == "Internet"),
        (json!({ "term": { "channel": "Desk" } }), |case| case.channel == "Desk"),
        (json!({ "range": { "events": { "gte": 8 } } }), |case| case.events >= 8),
        (json!("NOT channel:Internet"), |case| case.channel != "Internet"),
        (json!({ "bool": { "should": ["channel:Desk", "events:[8 TO *]"] } }), |case| {
            case.channel == "Desk" || case.events >= 8
        }),
    ];
    for (query, takes) in questions {
        let wanted = wanted(&takes);
        assert!(!wanted.is_empty() && wanted.len() < CASES, "{query}");
        assert_eq!(clerk.keys("seen", &json!({ "query": query })), wanted, "{query}");
        assert_eq!(clerk.keys("seen", &json!({ "filter": query, "sort": ["events"] })), wanted);
    }
}

fn counts(clerk: &Asking<'_>, cases: &BTreeMap<String, Case>) {
    let aggs = json!({ "channels": { "terms": { "field": "channel" } },
                       "events": { "stats": { "field": "events" } } });
    let answer = clerk.search("seen", &json!({ "limit": 0, "aggs": aggs })).unwrap();
    let told = answer.aggs.unwrap();
    let seen = || cases.values().filter(|case| case.is_second);
    let mut channels = BTreeMap::<&str, u64>::new();
    seen().for_each(|case| *channels.entry(&case.channel).or_default() += 1);
    let buckets = told["channels"]["buckets"].as_array().unwrap();
    let buckets = buckets.iter();
    let buckets =
        buckets.map(|it| (it["key"].as_str().unwrap(), it["doc_count"].as_u64().unwrap()));
    assert_eq!(buckets.collect::<BTreeMap<_, _>>(), channels);
    let events: u64 = seen().map(|case| case.events).sum();
    assert_eq!(told["events"]["sum"].as_f64(), Some(events as f64));
    assert_eq!(told["events"]["count"].as_u64(), Some(CASES as u64));
}

fn looks_up(clerk: &Asking<'_>, cases: &BTreeMap<String, Case>) {
    for projection in ["seen", "by_key"] {
        let (_, missing) = clerk.look(projection, "permit-none").unwrap_err();
        for (key, case) in cases {
            match clerk.look(projection, key) {
                Ok(found) => {
                    assert!(case.is_second, "{key}");
                    let wanted = (json!(case.channel), json!(case.events));
                    let found = found.document;
                    assert_eq!((found["channel"].clone(), found["events"].clone()), wanted);
                }
                // As one that is not there.
                Err((status, why)) => {
                    assert!(!case.is_second, "{key}: {why}");
                    assert_eq!((status, why.replace(key, "permit-none")), (404, missing.clone()));
                }
            }
        }
    }
}

/// Of documents without tags nobody knows whose they are.
fn sees_nothing_without_tags(clerk: &Asking<'_>) {
    for asked in [json!({}), json!({ "limit": 0 }), json!({ "query": "nothing:1" })] {
        let (status, why) = clerk.search("bare", &asked).unwrap_err();
        assert!(status == 403 && why.contains("has to say `access`"), "{status} {why}");
    }
    let mut said = BTreeSet::new();
    for key in ["permit-case-5141", "permit-none"] {
        said.insert(clerk.look("bare", key).unwrap_err());
    }
    assert_eq!(said.len(), 1, "whether it is there is not told: {said:?}");
    let (status, why) = said.pop_first().unwrap();
    assert!(status == 403 && why.contains("has to say `access`"), "{status} {why}");
    let status = clerk.office.ask(clerk.token, &["projection", "status", "seen"]);
    status.fails(4, &["administrators", "NX1003"]);
}

fn sees_nothing_that_is_masked(clerk: &Asking<'_>) {
    let answer = clerk.search("seen", &json!({ "limit": 1_000 })).unwrap();
    assert_eq!(answer.total, CASES as u64);
    let hides = |document: &serde_json::Map<String, Value>| {
        let hidden = ["channel", "responsible"].iter().any(|it| document.contains_key(*it));
        document.contains_key("status") && !hidden
    };
    assert!(answer.hits.iter().all(|hit| hides(&hit.document)));
    let key = &answer.hits[0].key;
    for projection in ["seen", "by_key"] {
        assert!(hides(&clerk.look(projection, key).unwrap().document), "{projection}");
    }
    for asked in [
        json!({ "query": "channel:Internet" }),
        json!({ "query": "events:1 OR NOT channel:Internet" }),
        json!({ "query": { "exists": { "field": "channel" } } }),
        json!({ "query": { "match": { "responsible": "resource21" } } }),
        json!({ "filter": { "bool": { "must_not": { "term": { "channel": "Desk" } } } } }),
        json!({ "sort": ["events", { "channel": "desc" }] }),
        json!({ "aggs": { "a": { "terms": { "field": "channel" } } } }),
        json!({ "aggs": { "a": { "terms": { "field": "events" }, "aggs": { "b": { "cardinality": { "field": "channel" } } } } } }),
        json!({ "query": "department:General", "highlight": ["responsible"] }),
        json!({ "fields": ["channel", "events"] }),
    ] {
        let (status, why) = clerk.search("seen", &asked).unwrap_err();
        assert!(status == 400 && why.contains("there is no field"), "{asked}: {status} {why}");
    }
    let word = clerk.search("seen", &json!({ "query": "resource21" })).unwrap();
    assert_eq!(word.total, 0, "words are not looked for in what is masked");
    let fields = json!({ "fields": ["events"], "limit": 1 });
    let shown = &clerk.search("seen", &fields).unwrap().hits[0].document;
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["events"]);
}

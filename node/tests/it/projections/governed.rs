//! Who sees which documents, and what of them, as policies say.

use std::collections::BTreeMap;

use nexus_node::{Access, Engine, Node, Principal, PrincipalKind, Role};
use nexus_protocol::projection::{FoundDocument, Lookup};
use nexus_protocol::search::SearchRequest;
use nexus_protocol::{EventData, ReadError};
use serde_json::{Value, json};

use super::{append, local};

/// A clerk sees one group, without names; another only some types of events; others see all.
const SEARCH: &str = r#"
package nexus.search
decision := {"allow": true, "obligations": {"tags_all": ["group:2"], "mask": ["/applicant/name"]}} if input.subject.id == "clerk"
decision := {"allow": true, "obligations": {"types_any": ["PermitFiled"]}} if input.subject.id == "typist"
decision := {"allow": true, "obligations": {"mask": ["/number"]}} if input.subject.id == "blind"
decision := {"allow": true} if input.subject.id == "chief"
"#;

fn permits(name: &str, access: &str) -> Value {
    json!({ "name": name, "sink": "kv", "key": "/data/number", "access": access, "fields": {
        "fee": { "type": "f64", "fold": "set", "from": "/data/fee" },
        "name": { "type": "keyword", "fold": "set", "from": "/data/applicant/name" },
        "greeting": { "type": "text", "compute": { "concat": [{ "value": "Dear " }, { "field": "name" }] } },
    } })
}

fn lookup(access: &Access, name: &str, key: u64) -> Result<FoundDocument, ReadError> {
    let head = access.head().unwrap().position;
    let lookup = Lookup { key: key.to_string(), min_position: head, timeout_ms: Some(60_000) };
    access.lookup(name, &lookup)
}

#[test]
fn obligations_hide_documents_and_fields() {
    let node = Node::over(Engine::in_memory()).unwrap();
    let here = local(&node);
    here.set_projection("tagged", &permits("tagged", "union")).unwrap();
    here.set_projection("bare", &permits("bare", "none")).unwrap();
    for number in 1..=4_u64 {
        let data = json!({ "number": number, "applicant": { "name": "Ada" }, "fee": 1.5 });
        let event = EventData::json("PermitFiled", &data).unwrap();
        append(&here, "permits", event.tag(format!("group:{}", number % 2 + 1)));
    }
    // The one of this number is parked, and has no document.
    let data = json!({ "number": 5, "fee": "many" });
    append(&here, "permits", EventData::json("PermitFiled", &data).unwrap().tag("group:2"));
    let files = BTreeMap::from([
        ("nexus/search.rego".to_owned(), SEARCH.to_owned()),
        (
            "nexus/read.rego".to_owned(),
            "package nexus.read\ndecision := {\"allow\": true}\n".to_owned(),
        ),
    ]);
    here.activate_policies(files, false).unwrap();
    let by = |id: &str| {
        let principal = Principal::new(id, PrincipalKind::Token, vec![Role::Admin]);
        node.access(principal, "default").unwrap()
    };
    let whole = json!({ "fee": 1.5, "name": "Ada", "greeting": "Dear Ada" });
    let chief = lookup(&by("chief"), "tagged", 1).unwrap();
    assert_eq!(Value::Object(chief.document), whole);
    // Group 2 is that of odd numbers; another's document is as one that is not there.
    let clerk = by("clerk");
    assert_eq!(Value::Object(lookup(&clerk, "tagged", 1).unwrap().document), json!({ "fee": 1.5 }));
    let (hidden, missing) = (lookup(&clerk, "tagged", 2), lookup(&clerk, "tagged", 99));
    let text = |refused: Result<FoundDocument, ReadError>| refused.unwrap_err().to_string();
    assert_eq!(text(hidden).replace('2', "99"), text(missing));
    // Nor is it told that something waits.
    assert!(text(lookup(&by("chief"), "tagged", 5)).contains("parked"));
    assert!(!text(lookup(&clerk, "tagged", 5)).contains("parked"));
    for (id, name, says) in [
        ("clerk", "bare", "`access`"),
        ("typist", "tagged", "types"),
        ("blind", "tagged", "masked"),
        ("stranger", "tagged", "not allowed"),
    ] {
        // Also where there is no such document.
        for key in [1, 99] {
            let refused = lookup(&by(id), name, key).unwrap_err();
            assert!(matches!(refused, ReadError::Denied { .. }), "{id}: {refused}");
            assert!(refused.to_string().contains(says), "{id}: {refused}");
        }
    }
    let refused = by("chief").set_projection("more", &permits("more", "none")).unwrap_err();
    assert!(refused.to_string().contains("not allowed"), "{refused}");
}

#[test]
fn obligations_hold_in_searches() {
    let node = Node::over(Engine::in_memory()).unwrap();
    let here = local(&node);
    let mut definition = permits("found", "union");
    definition["sink"] = "search".into();
    here.set_projection("found", &definition).unwrap();
    for number in 1..=9_u64 {
        let data = json!({ "number": number, "applicant": { "name": "Ada" }, "fee": 1.5 });
        let event = EventData::json("PermitFiled", &data).unwrap();
        append(&here, "permits", event.tag(format!("group:{}", number % 2 + 1)));
    }
    let files = BTreeMap::from([("nexus/search.rego".to_owned(), SEARCH.to_owned())]);
    here.activate_policies(files, false).unwrap();
    let search = |id: &str, asked: Value| {
        let principal = Principal::new(id, PrincipalKind::Token, vec![Role::Admin]);
        let access = node.access(principal, "default").unwrap();
        let asked: SearchRequest = serde_json::from_value(asked).unwrap();
        let min_position = here.head().unwrap().position;
        access.search("found", &SearchRequest { min_position, timeout_ms: Some(60_000), ..asked })
    };
    let all =
        search("chief", json!({ "highlight": ["greeting"], "query": "greeting:ada" })).unwrap();
    assert_eq!((all.total, all.hits.len(), all.lag_events), (9, 9, 0));
    assert_eq!(all.hits[0].highlight["greeting"], json!(["Dear <b>Ada</b>"]));
    // Group 2 is that of odd numbers, and a clerk sees no names.
    let seen = search("clerk", json!({ "query": { "match_all": {} }, "sort": ["fee"] })).unwrap();
    let keys: Vec<_> = seen.hits.iter().map(|hit| hit.key.as_str()).collect();
    assert_eq!((seen.total, keys), (5, vec!["1", "3", "5", "7", "9"]));
    assert!(seen.hits.iter().all(|hit| json!(hit.document) == json!({ "fee": 1.5 })));
    for asked in [
        json!({ "query": "name:Ada" }),
        json!({ "query": "greeting:ada" }),
        json!({ "sort": ["name"] }),
        json!({ "highlight": ["greeting"] }),
        json!({ "aggs": { "a": { "terms": { "field": "name" } } } }),
    ] {
        let refused = search("clerk", asked.clone()).unwrap_err();
        assert!(refused.to_string().contains("there is no field"), "{asked}: {refused}");
    }
    // All texts are hidden from a clerk: there is nothing to look for words in.
    assert!(search("clerk", json!({ "query": "ada" })).is_err());
    for id in ["typist", "blind", "stranger"] {
        let refused = search(id, json!({})).unwrap_err();
        assert!(matches!(refused, ReadError::Denied { .. }), "{id}: {refused}");
    }
}

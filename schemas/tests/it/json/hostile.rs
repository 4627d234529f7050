//! Schemas and payloads that are made to take all there is: each is refused, or done with, in no time.

#![expect(clippy::disallowed_methods, reason = "what is not bounded shows in the time it takes")]

use std::time::{Duration, Instant};

use nexus_schemas::SchemaError;
use nexus_schemas::json::JsonSchema;
use serde_json::{Map, Value, json};

/// Generous, since tests run without optimisation on machines that are not quiet: what is not bounded takes for ever.
const SOON: Duration = Duration::from_secs(10);

fn soon<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = run();
    let took = begun.elapsed();
    assert!(took < SOON, "{what} took {took:?}");
    result
}

/// Compiles, and if it is a schema checks a payload and compares it with itself.
fn survive(what: &str, text: &str, payload: &Value) -> Option<SchemaError> {
    soon(what, || match JsonSchema::compile(text, &[]) {
        Ok(it) => {
            let _ = it.validate("", payload.to_string().as_bytes());
            let _ = it.reads(payload);
            let _ = it.differences(&it);
            let other = JsonSchema::compile(r#"{"required":["no"]}"#, &[]).expect("a schema");
            let _ = it.differences(&other);
            let _ = other.differences(&it);
            None
        }
        Err(why) => Some(why),
    })
}

fn refused(what: &str, value: &Value) {
    let why = survive(what, &value.to_string(), &json!({}));
    let taken_so = matches!(why, Some(SchemaError::Refused { .. } | SchemaError::TooLarge(_)));
    assert!(taken_so, "{what}: {why:?}");
}

fn nested(levels: usize, leaf: &str, around: impl Fn(&str) -> String) -> String {
    (0..levels).fold(leaf.to_owned(), |inner, _| around(&inner))
}

#[test]
fn large_texts_are_refused_at_once() {
    let text = format!("{{\"title\": {:?}}}", "x".repeat(5 * 1024 * 1024));
    let begun = Instant::now();
    let why = JsonSchema::compile(&text, &[]).unwrap_err();
    assert!(matches!(why, SchemaError::TooLarge(_)));
    assert!(begun.elapsed() < Duration::from_millis(100));
}

#[test]
fn deep_texts_are_refused() {
    for (around, levels) in
        [(("{\"not\":", "}"), 65), (("[", "]"), 100_000), (("{\"a\":", "}"), 50_000)]
    {
        let text =
            nested(levels.min(3_000), "{}", |inner| format!("{}{inner}{}", around.0, around.1));
        let why = survive("deep", &text, &json!({}));
        assert!(matches!(why, Some(SchemaError::Refused { .. })), "{why:?}");
    }
    // Fewer, where each is asked about the same value.
    for (levels, is_taken) in [(47, true), (60, false)] {
        let text = nested(levels, "{}", |inner| format!("{{\"not\":{inner}}}"));
        let why = survive("deep on one value", &text, &json!({}));
        assert!(why.is_none() == is_taken, "{levels}: {why:?}");
    }
}

#[test]
fn loops_are_refused() {
    refused("itself", &json!({"$ref": "#"}));
    refused("itself in allOf", &json!({"allOf": [{"$ref": "#"}]}));
    refused("itself in not", &json!({"not": {"$ref": "#"}}));
    let two = json!({"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}});
    refused("each other", &json!({"$ref": "#/$defs/a", "$defs": two}));
    refused("each other, unused", &json!({"$defs": two}));
    refused("nothing", &json!({"items": {"$ref": ""}}));
    refused("dynamic", &json!({"$dynamicAnchor": "a", "allOf": [{"$dynamicRef": "#a"}]}));
    let draft = "https://json-schema.org/draft/2019-09/schema";
    let recursive =
        json!({"$schema": draft, "$recursiveAnchor": true, "not": {"$recursiveRef": "#"}});
    refused("recursive", &recursive);
    // Through parts it is a tree.
    let tree = json!({"properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}});
    let payload = (0..60).fold(json!({}), |inner, _| json!({"l": inner, "r": {}}));
    assert_eq!(survive("tree", &tree.to_string(), &payload), None);
}

/// `name(0)` applies `name(1)` twice, and so on.
fn doubling(levels: usize, twice: impl Fn(Value) -> Value) -> Value {
    let mut defs = Map::new();
    for level in 0..levels {
        let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
        defs.insert(level.to_string(), twice(next));
    }
    defs.insert(levels.to_string(), json!({"type": "string"}));
    json!({"$ref": "#/$defs/0", "$defs": defs})
}

#[test]
fn what_doubles_is_refused() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        refused(keyword, &doubling(30, |next| json!({keyword: [next, next]})));
    }
    let parts = doubling(
        60,
        |next| json!({"allOf": [{"properties": {"x": next}}, {"properties": {"x": next}}]}),
    );
    refused("doubling from level to level", &parts);
    let few = doubling(
        5,
        |next| json!({"anyOf": [{"properties": {"x": next}}, {"properties": {"x": next}}]}),
    );
    let payload = (0..100).fold(json!(1), |inner, _| json!({"x": inner}));
    assert_eq!(survive("a few", &few.to_string(), &payload), None);
}

#[test]
fn what_doubles_and_leads_back_is_bounded_by_the_payload() {
    let branch = |op: &str| json!({"properties": {"args": {"items": {"$ref": "#"}}, "op": {"const": op}}, "required": ["op"]});
    let schema = json!({"anyOf": [branch("and"), branch("or"), branch("xor"), {"type": "string"}]});
    let payload = (0..40).fold(json!(1), |inner, _| json!({"op": "xor", "args": [inner, "x"]}));
    assert_eq!(survive("wrong in the depth", &schema.to_string(), &payload), None);
    let payload = (0..40).fold(json!("y"), |inner, _| json!({"op": "xor", "args": [inner, "x"]}));
    assert_eq!(survive("right", &schema.to_string(), &payload), None);
}

#[test]
fn long_chains_are_refused_or_walked_without_stack() {
    let chain = |link: &dyn Fn(Value) -> Value, levels: usize| {
        let mut defs = Map::new();
        for level in 0..levels {
            let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
            defs.insert(level.to_string(), link(next));
        }
        defs.insert(levels.to_string(), json!({}));
        json!({"$ref": "#/$defs/0", "$defs": defs})
    };
    refused("references", &chain(&|next| next, 9_000));
    refused("allOf", &chain(&|next| json!({"allOf": [next]}), 8_000));
    let parts = chain(&|next| json!({"properties": {"a": next}}), 7_000);
    assert_eq!(survive("properties", &parts.to_string(), &json!({"a": {"a": {}}})), None);
    // As many in place as may be, on as many levels as a payload may have.
    let mut defs = Map::new();
    for level in 0..22 {
        defs.insert(
            level.to_string(),
            json!({"allOf": [{"$ref": format!("#/$defs/{}", level + 1)}]}),
        );
    }
    defs.insert("22".into(), json!({"items": {"$ref": "#/$defs/0"}}));
    let schema = json!({"$ref": "#/$defs/0", "$defs": defs});
    let payload = (0..120).fold(json!([]), |inner, _| json!([inner]));
    assert_eq!(survive("both", &schema.to_string(), &payload), None);
}

#[test]
fn patterns_are_bounded() {
    refused("bomb", &json!({"pattern": "((a{1000}){1000}){1000}"}));
    refused("unicode bomb", &json!({"pattern": "(\\p{L}{500}){500}"}));
    refused("long", &json!({"pattern": "a".repeat(100_000)}));
    let nested = format!("{}a{}", "(".repeat(2_000), ")".repeat(2_000));
    refused("nested", &json!({"pattern": nested}));
    let many: Map<_, _> = (0..20_000).map(|it| (format!("^{it}[a-z]{{500}}"), json!({}))).collect();
    refused("many", &json!({"patternProperties": many}));
    let slow = json!({"pattern": "(a+)+$"});
    let payload = json!(format!("{}b", "a".repeat(100_000)));
    assert_eq!(survive("going back", &slow.to_string(), &payload), None);
    let classes = json!({"pattern": "^(\\w+\\s?)*\\c[^\\]]*$"});
    let _ = survive("classes", &classes.to_string(), &payload);
}

#[test]
fn wide_schemas_are_bounded() {
    let long = "x".repeat(200_000);
    let inner: Map<_, _> = (0..30_000).map(|it| (it.to_string(), json!({}))).collect();
    refused("long pointers", &json!({"properties": {long: {"properties": inner}}}));
    refused("many", &json!({"allOf": vec![json!({}); 100_000]}));
    let many: Map<_, _> = (0..20_000).map(|it| (it.to_string(), json!({"type": "null"}))).collect();
    assert_eq!(survive("properties", &json!({"properties": many}).to_string(), &json!({})), None);
    let values: Vec<_> = (0..50_000).map(|it| json!(it)).collect();
    assert_eq!(survive("enum", &json!({"enum": values}).to_string(), &json!(49_999)), None);
    let long_id = format!("https://a.example/{}", "x".repeat(100_000));
    refused("long id", &json!({"$id": long_id}));
    let dynamic: Vec<_> = (0..3_000)
        .map(|_| json!({"$dynamicAnchor": "a", "items": {"$dynamicRef": "#a"}}))
        .collect();
    let _ = survive("dynamic", &json!({"allOf": dynamic}).to_string(), &json!([[[]]]));
}

#[test]
fn broken_texts_are_refused() {
    for text in
        ["", "{", "\"", "{\"a\":}", "nul", "{\"$ref\": 1}", "{\"$id\": \"::\"}", "\u{feff}{}"]
    {
        let why = survive("broken", text, &json!({}));
        assert!(why.is_some(), "{text}");
    }
    let _ = survive("ref", "{\"$ref\": \"%%\"}", &json!({}));
    let _ = survive("ref", "{\"$ref\": \"#/%ff\"}", &json!({}));
    let _ = survive("ref", "{\"$ref\": \"#/$defs/~\", \"$defs\": {\"~\": {}}}", &json!({}));
    assert_eq!(survive("twice", "{\"type\": \"null\", \"type\": \"object\"}", &json!({})), None);
}

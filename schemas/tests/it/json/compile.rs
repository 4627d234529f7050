//! What is a schema, and what it may refer to.

use nexus_schemas::SchemaError;
use nexus_schemas::json::JsonSchema;
use serde_json::{Value, json};

use super::{follows, refused, schema, schema_with};

fn malformed_at(value: &Value, expected: &str) {
    match refused(value) {
        SchemaError::Malformed { pointer, .. } => assert_eq!(pointer, expected, "{value}"),
        other => panic!("{value}: {other}"),
    }
}

fn refused_at(value: &Value, expected: &str) {
    match refused(value) {
        SchemaError::Refused { pointer, .. } => assert_eq!(pointer, expected, "{value}"),
        other => panic!("{value}: {other}"),
    }
}

#[test]
fn a_schema_is_an_object_or_a_boolean() {
    for value in [json!(1), json!("x"), json!([]), Value::Null] {
        malformed_at(&value, "");
    }
    for value in [json!(true), json!(false), json!({})] {
        schema(&value);
    }
    let why = JsonSchema::compile("{\n \"type\": }", &[]).unwrap_err();
    let expected = "schema is malformed at line 2, column 10: expected value";
    assert_eq!(why.to_string(), expected);
}

#[test]
fn a_schema_follows_its_draft() {
    malformed_at(&json!({"type": "strng"}), "/type");
    malformed_at(&json!({"properties": {"a": {"minLength": -1}}}), "/properties/a/minLength");
    let draft_4 = "http://json-schema.org/draft-04/schema#";
    malformed_at(&json!({"$schema": draft_4, "exclusiveMinimum": 3}), "/exclusiveMinimum");
    schema(&json!({"$schema": draft_4, "minimum": 3, "exclusiveMinimum": true}));
    let drafts = [
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ];
    for draft in drafts {
        schema(&json!({"$schema": draft, "exclusiveMinimum": 3}));
    }
    refused_at(&json!({"$schema": "https://example.com/own"}), "/$schema");
    refused_at(&json!({"$schema": "http://json-schema.org/draft-03/schema#"}), "/$schema");
    malformed_at(&json!({"$schema": 7}), "/$schema");
    let other_within = json!({"$defs": {"a": {"$schema": draft_4, "$id": "https://a.example/b"}}});
    refused_at(&other_within, "/$defs/a/$schema");
}

#[test]
fn a_pattern_is_matched_in_linear_time() {
    refused_at(&json!({"properties": {"a": {"pattern": "^(?=a)b"}}}), "/properties/a/pattern");
    refused_at(&json!({"pattern": "(a)\\1"}), "/pattern");
    refused_at(&json!({"pattern": "(?<!a)b"}), "/pattern");
    refused_at(&json!({"patternProperties": {"(a": {}}}), "/patternProperties");
    refused_at(&json!({"pattern": "[a"}), "/pattern");
    for pattern in ["[(?=]", "\\(?=a", "^[a-z]{1,64}$", "\\p{L}+", "^\\S{1,100}$", "(?:a|b)+"] {
        schema(&json!({"pattern": pattern}));
    }
}

#[test]
fn what_is_referred_to_is_handed_in() {
    let order = json!({"properties": {"to": {"$ref": "address.json"}}});
    let why = refused(&order);
    assert_eq!(why, SchemaError::NoReference { name: "address.json".into() });
    let remote = json!({"$ref": "https://example.com/a.json#/$defs/b"});
    let name = "https://example.com/a.json".to_owned();
    assert_eq!(refused(&remote), SchemaError::NoReference { name });
    malformed_at(&json!({"items": {"$ref": "#/$defs/none"}}), "/items/$ref");
    malformed_at(&json!({"items": {"$ref": "#none"}}), "/items/$ref");
    malformed_at(&json!({"title": 1}), "/title");

    let address = json!({"type": "object", "required": ["street"]});
    let told = [json!({"to": {"street": "x"}}), json!({"to": {}})];
    let check = |order: &Value, references: &[(&str, Value)]| {
        let it = schema_with(order, references).unwrap_or_else(|why| panic!("{order}: {why}"));
        assert_eq!(told.each_ref().map(|value| follows(&it, value)), [true, false], "{order}");
    };
    check(&order, &[("address.json", address.clone())]);
    // By its URI, by what it calls itself, and by what a schema elsewhere calls it.
    let uri = "https://shop.example/address.json";
    let with_id =
        json!({"$id": "https://shop.example/order.json", "properties": order["properties"]});
    check(&with_id, &[("address.json", address.clone())]);
    check(&with_id, &[(uri, address.clone())]);
    let mut called = address.clone();
    called["$id"] = json!(uri);
    check(&json!({"properties": {"to": {"$ref": uri}}}), &[("address", called)]);
    let far = json!({"$id": "https://far.example/a/b.json", "$ref": "street.json"});
    check(&order, &[("address.json", far), ("street.json", address)]);
}

#[test]
fn a_reference_leads_into_no_value() {
    let inner = || json!({"properties": {"x": {"type": "integer"}}});
    let values = [
        ("enum", json!([inner()]), "/0"),
        ("enum", json!([1, {"deep": [inner()]}]), "/1/deep/0"),
        ("enum", json!([inner()]), "/0/properties/x"),
        ("enum", json!([true]), "/0"),
        ("const", inner(), ""),
        ("default", inner(), ""),
        ("examples", json!([inner()]), "/0"),
    ];
    for (keyword, held, step) in values {
        let reference = format!("#/properties/a/{keyword}{step}");
        let text = json!({"properties": {"a": {keyword: held}, "b": {"$ref": reference}}});
        refused_at(&text, "/properties/b/$ref");
        let why = refused(&text).to_string();
        assert!(why.contains(keyword) && why.contains("$defs"), "{why}");
        // Also where what holds the value is found only later, by another reference.
        let reference = format!("#/held/{keyword}{step}");
        let text = json!({
            "held": {keyword: held},
            "properties": {"a": {"$ref": reference}, "b": {"$ref": "#/held"}},
        });
        refused_at(&text, "/properties/a/$ref");
        let reference = format!("other#/{keyword}{step}");
        let text = json!({"items": {"$ref": reference}});
        let why = schema_with(&text, &[("other", json!({keyword: held}))]).unwrap_err();
        assert!(
            matches!(&why, SchemaError::Refused { pointer, .. } if pointer == "/items/$ref"),
            "{why}"
        );
    }
    let old = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "default": inner(),
        "items": {"$ref": "#/default"},
    });
    assert!(refused(&old).to_string().contains("under definitions,"));
}

#[test]
fn a_property_may_be_called_like_a_keyword_that_holds_values() {
    for name in ["enum", "const", "default", "examples"] {
        let it = schema(&json!({
            "properties": {
                name: {"properties": {"x": {"type": "integer"}}},
                "b": {"$ref": format!("#/properties/{name}")},
            },
        }));
        assert!(follows(&it, &json!({"b": {"x": 1}})) && !follows(&it, &json!({"b": {"y": 1}})));
        let it = schema(&json!({
            "$defs": {name: {"type": "integer"}},
            "items": {"$ref": format!("#/$defs/{name}")},
        }));
        assert!(follows(&it, &json!([1])) && !follows(&it, &json!(["1"])));
    }
}

/// A value stays as it is written, whatever looks like a schema in it.
#[test]
fn closing_leaves_values_alone() {
    let value = json!({"properties": {"x": {"type": "integer"}}});
    let it = schema(&json!({"properties": {"a": {"enum": [value]}}}));
    assert!(follows(&it, &json!({"a": value})));
}

#[test]
fn a_reference_may_be_of_another_draft() {
    let order = json!({"properties": {"count": {"$ref": "count"}}});
    let count = json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "minimum": 1,
        "exclusiveMinimum": true,
    });
    let it = schema_with(&order, &[("count", count)]).unwrap();
    assert!(follows(&it, &json!({"count": 2})));
    assert!(!follows(&it, &json!({"count": 1})));
    let wrong = schema_with(&order, &[("count", json!({"minimum": "1"}))]).unwrap_err();
    assert!(matches!(wrong, SchemaError::Malformed { pointer, .. } if pointer == "count#/minimum"));
}

#[test]
fn the_meta_schema_of_the_draft_may_be_referred_to() {
    let drafts = [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ];
    for draft in drafts {
        let it = schema(&json!({"$schema": draft, "properties": {"schema": {"$ref": draft}}}));
        assert!(follows(&it, &json!({"schema": {"type": "string"}})), "{draft}");
        assert!(!follows(&it, &json!({"schema": {"type": "strng"}})), "{draft}");
    }
}

#[test]
fn the_canonical_form_is_the_same_however_it_is_spaced_and_ordered() {
    let a = JsonSchema::compile(r#"{"type":"object","properties":{"b":{},"a":{}}}"#, &[]).unwrap();
    let b = r#" { "properties" : { "a": {}, "b": {} }, "type": "object" } "#;
    let b = JsonSchema::compile(b, &[]).unwrap();
    assert_eq!(a.canonical(), b.canonical());
    let expected = r#"{"properties":{"a":{},"b":{}},"type":"object"}"#;
    assert_eq!(String::from_utf8_lossy(a.canonical()), expected);
}

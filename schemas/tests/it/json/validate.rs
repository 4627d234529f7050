//! What is wrong with payloads.

use nexus_protocol::limits::SCHEMA_PROBLEMS_MAX;
use nexus_schemas::json::JsonSchema;
use serde_json::{Value, json};

use super::{follows, schema, schema_with};

fn problems(schema: &JsonSchema, value: &Value) -> Vec<(String, String, String)> {
    let found = schema.validate("application/json", value.to_string().as_bytes());
    let found = found.expect_err("it does not follow");
    found.into_iter().map(|it| (it.pointer, it.rule.into_owned(), it.message)).collect()
}

fn check(schema: &JsonSchema, value: &Value, expected: &[(&str, &str, &str)]) {
    let found = problems(schema, value);
    let found: Vec<_> = found.iter().map(|(a, b, c)| (&**a, &**b, &**c)).collect();
    assert_eq!(found, expected, "{value}");
}

#[test]
fn a_problem_says_where_and_what() {
    let it = schema(&json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string"},
            "lines": {"type": "array", "items": {"properties": {"count": {"minimum": 1}}}},
            "state": {"enum": ["open", "paid"]},
            "none": false,
        },
    }));
    assert!(follows(&it, &json!({"id": "a", "lines": [{"count": 1}], "state": "open"})));
    check(&it, &json!({}), &[("", "required", "property \"id\" is missing")]);
    check(&it, &json!({"id": 1}), &[("/id", "type", "1 is not of type \"string\"")]);
    let lines = json!({"id": "a", "lines": [{"count": 1}, {"count": 0}]});
    let expected = ("/lines/1/count", "minimum", "0 is less than the minimum of 1");
    check(&it, &lines, &[expected]);
    let misspelt = json!({"id": "a", "lines": [{"cuont": 1}]});
    let expected = ("/lines/0", "additionalProperties", "\"cuont\" is not known to the schema");
    check(&it, &misspelt, &[expected]);
    let expected = ("/state", "enum", "\"no\" is not one of \"open\" or \"paid\"");
    check(&it, &json!({"id": "a", "state": "no"}), &[expected]);
    check(&it, &json!({"id": "a", "none": 1}), &[("/none", "none", "nothing may stand here")]);
    check(&it, &json!([]), &[("", "type", "an array of 0 is not of type \"object\"")]);
}

#[test]
fn problems_are_few_and_short() {
    let it = schema(&json!({"items": {"type": "integer"}}));
    let long = "ä".repeat(100_000);
    let many: Vec<_> = (0..1_000).map(|_| long.as_str()).collect();
    let found = problems(&it, &json!(many[..20]));
    assert_eq!(found.len(), SCHEMA_PROBLEMS_MAX);
    assert!(found.iter().all(|it| it.2.len() < 1_200 && it.2.contains('…')), "{:?}", found[0]);
    let named = schema(&json!({"additionalProperties": false}));
    let value: Value = (0..1_000).map(|it| (format!("{it}{long}"), json!(1))).take(50).collect();
    let found = problems(&named, &value);
    assert!(found[0].2.chars().count() <= 301, "{}", found[0].2.len());
    let deep = json!({long.clone(): {long: 1}});
    let it = schema(&json!({"additionalProperties": {"additionalProperties": {"type": "null"}}}));
    assert!(problems(&it, &deep)[0].0.len() < 2_048);
}

#[test]
fn payloads_are_json() {
    let it = schema(&json!({"type": "object"}));
    let taken = [
        "",
        " ",
        "application/json",
        "Application/JSON; charset=utf-8",
        "text/json",
        "application/vnd.shop.order+json",
        "application/cloudevents+JSON ; x=y",
    ];
    for content_type in taken {
        assert_eq!(it.validate(content_type, b"{}"), Ok(()), "{content_type:?}");
    }
    for content_type in
        ["application/octet-stream", "json", "text/plain", "+json", ";", "a/b+jsonx"]
    {
        let found = it.validate(content_type, b"{}").unwrap_err();
        assert_eq!((found.len(), &*found[0].rule), (1, "content_type"), "{content_type:?}");
    }
    let found = it.validate("", b"{\n \"a\": x}").unwrap_err();
    assert_eq!(
        (&*found[0].rule, &*found[0].message),
        ("json", "expected value at line 2, column 7")
    );
    let found = it.validate("", b"{\"a\": 1, \"a\": 2}").unwrap_err();
    assert_eq!(
        (&*found[0].rule, &*found[0].message),
        ("json", "the name \"a\" stands twice in an object at line 1, column 12")
    );
    let deep = "[".repeat(1_000);
    assert_eq!(it.validate("", deep.as_bytes()).unwrap_err()[0].rule, "json");
    assert_eq!(it.validate("", b"").unwrap_err()[0].rule, "json");
    assert_eq!(it.validate("", b"\xff").unwrap_err()[0].rule, "json");
}

#[test]
fn numbers_are_compared_by_value_and_formats_are_notes() {
    let it = schema(&json!({"type": "integer", "maximum": 18_446_744_073_709_551_615_u64}));
    for (text, expected) in [
        ("1", true),
        ("1.0", true),
        ("1e2", true),
        ("1.5", false),
        ("18446744073709551615", true),
        ("36893488147419103232", false),
    ] {
        assert_eq!(it.validate("", text.as_bytes()).is_ok(), expected, "{text}");
    }
    let draft_4 = "http://json-schema.org/draft-04/schema#";
    let it = schema(&json!({"$schema": draft_4, "type": "integer"}));
    assert!(it.validate("", b"1.0").is_err());
    for draft in ["http://json-schema.org/draft-07/schema#", draft_4] {
        let it = schema(&json!({"$schema": draft, "format": "date-time"}));
        assert!(follows(&it, &json!("yesterday")), "{draft}");
    }
    assert!(follows(&schema(&json!({"format": "email"})), &json!("nobody")));
}

#[test]
fn what_a_string_holds_is_a_note() {
    let drafts = [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ];
    let notes = json!({"contentEncoding": "base64", "contentMediaType": "application/json"});
    for draft in drafts {
        for keywords in [
            &["contentEncoding"][..],
            &["contentMediaType"],
            &["contentEncoding", "contentMediaType"],
        ] {
            let mut text = json!({"$schema": draft, "type": "string"});
            let plain = schema(&text);
            keywords.iter().for_each(|it| text[*it] = notes[*it].clone());
            let it = schema(&text);
            for value in [json!("eyJ4IjoxfQ=="), json!("{\"x\":1}"), json!("{")] {
                assert!(follows(&it, &value) && it.reads(&value), "{text} {value}");
            }
            assert!(!follows(&it, &json!(1)), "{text}");
            assert_eq!(it.differences(&plain), [], "{text}");
            assert_eq!(plain.differences(&it), [], "{text}");
        }
    }
    let wrong = json!({"$schema": drafts[2], "contentEncoding": 5});
    assert!(matches!(super::refused(&wrong), nexus_schemas::SchemaError::Malformed { .. }));
}

/// Draft 7 checks the two as one: the decoded text is JSON, and the text as it is written is none.
#[test]
fn what_a_string_holds_is_read_without_its_encoding() {
    let draft = "http://json-schema.org/draft-07/schema#";
    let reader =
        json!({"$schema": draft, "type": "string", "contentMediaType": "application/json"});
    let mut writer = reader.clone();
    writer["contentEncoding"] = json!("base64");
    let (writer, reader) = (schema(&writer), schema(&reader));
    let value = json!("eyJ4IjoxfQ==");
    assert!(follows(&writer, &value));
    assert!(reader.reads(&value) || !writer.differences(&reader).is_empty());
    assert_eq!(writer.differences(&reader), []);
}

#[test]
fn what_stands_plainly_is_closed() {
    let check = |schema_value: Value, taken: Value, refused: Value| {
        let it = schema(&schema_value);
        assert!(follows(&it, &taken), "{schema_value} {taken}");
        assert!(!follows(&it, &refused), "{schema_value} {refused}");
        assert!(it.reads(&refused), "{schema_value} {refused}");
    };
    let a = json!({"properties": {"a": {}}});
    check(a.clone(), json!({"a": 1}), json!({"a": 1, "b": 2}));
    check(json!({"items": a}), json!([{"a": 1}]), json!([{"b": 1}]));
    check(json!({"prefixItems": [a]}), json!([{"a": 1}, {"b": 1}]), json!([{"b": 1}]));
    check(json!({"additionalProperties": a}), json!({"x": {"a": 1}}), json!({"x": {"b": 1}}));
    check(json!({"anyOf": [a, {"type": "null"}]}), json!({"a": 1}), json!({"b": 1}));
    check(json!({"patternProperties": {"^x-": {}}}), json!({"x-a": 1}), json!({"y": 1}));
    let defined = json!({"properties": {"p": {"$ref": "#/$defs/a"}}, "$defs": {"a": a}});
    check(defined, json!({"p": {"a": 1}}), json!({"p": {"b": 1}}));
    let tree = json!({"properties": {"next": {"$ref": "#"}, "a": {}}});
    check(tree, json!({"next": {"a": 1}}), json!({"next": {"b": 1}}));
    let kind = |name: &str| json!({"type": "object", "properties": {"kind": {"const": name}}, "required": ["kind"]});
    let kinds = json!({"oneOf": [kind("a"), kind("b"), {"type": "null"}]});
    check(kinds, json!({"kind": "b"}), json!({"kind": "b", "x": 1}));
    // What else is said beside does not speak of the nested object.
    let beside =
        json!({"properties": {"p": a}, "oneOf": [{"required": ["p"]}, {"required": ["q"]}]});
    check(beside, json!({"p": {"a": 1}}), json!({"p": {"b": 1}}));
    let of_reference = schema_with(&json!({"items": {"$ref": "a"}}), &[("a", a)]).unwrap();
    assert!(
        follows(&of_reference, &json!([{"a": 1}])) && !follows(&of_reference, &json!([{"b": 1}]))
    );
}

#[test]
fn what_is_composed_is_left_open() {
    let check = |schema_value: Value, taken: Value| {
        assert!(follows(&schema(&schema_value), &taken), "{schema_value} {taken}");
    };
    let a = json!({"properties": {"a": {}}});
    check(json!({"properties": {"a": {}}, "additionalProperties": true}), json!({"b": 1}));
    check(json!({"allOf": [a, {"properties": {"b": {}}}]}), json!({"a": 1, "b": 2}));
    check(json!({"properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}]}), json!({"b": 2}));
    check(json!({"properties": {"a": {}}, "if": a, "then": a}), json!({"b": 2}));
    check(json!({"not": {"properties": {"a": {"type": "null"}}}}), json!({"a": 1, "b": 2}));
    check(json!({"contains": a}), json!([{"b": 1}]));
    check(json!({"properties": {"a": {}}, "dependentSchemas": {"a": {}}}), json!({"b": 1}));
    let twice = json!({
        "properties": {"p": a},
        "allOf": [{"properties": {"p": {"properties": {"b": {}}}}}],
    });
    check(twice, json!({"p": {"a": 1, "b": 2}}));
    let both = json!({
        "properties": {"p": {"$ref": "#/$defs/a"}, "q": {"allOf": [{"$ref": "#/$defs/a"}]}},
        "$defs": {"a": a},
    });
    check(both, json!({"p": {"b": 1}, "q": {"b": 1}}));
    let beside = json!({"$ref": "#/$defs/a", "properties": {"b": {}}, "$defs": {"a": a}});
    check(beside, json!({"b": 1}));
    let overlap =
        json!({"properties": {"a": a}, "patternProperties": {"^a": {"properties": {"b": {}}}}});
    check(overlap, json!({"a": {"a": 1, "b": 2}}));
}

#[test]
fn what_is_wrong_is_said_where_alternatives_are_many() {
    let events: Vec<_> = (0..40)
        .map(|it| {
            json!({
                "type": "object",
                "required": ["kind"],
                "properties": {"kind": {"const": it}, "a": {"properties": {"b": {"items": {"type": "string"}}}}},
            })
        })
        .collect();
    let it = schema(&json!({"properties": {"event": {"oneOf": events}, "id": {"type": "string"}}}));
    let value = json!({"event": {"kind": 39, "a": {"b": [1]}}, "id": 5});
    let found: Vec<_> = problems(&it, &value).into_iter().map(|it| (it.0, it.1)).collect();
    let expected =
        [("/event".to_owned(), "oneOf".to_owned()), ("/id".to_owned(), "type".to_owned())];
    assert_eq!(found, expected);
    let many: Vec<_> = (0..600_000).collect();
    let it = schema(&json!({"items": {"type": "string"}}));
    assert_eq!(problems(&it, &json!(many)).len(), 1);
}

//! What transforms are read from, and what is said of text that is none.

use super::{Transform, transform};
use crate::SchemaError;

fn why(text: &str) -> (String, String) {
    match Transform::parse(text) {
        Err(SchemaError::Malformed { pointer, why } | SchemaError::Refused { pointer, why }) => {
            (pointer, why)
        }
        other => panic!("{text}: {other:?}"),
    }
}

/// Each text is no transform: where, and a part of what is said.
fn check(table: &[(&str, &str, &str)]) {
    for (text, pointer, part) in table {
        let (at, said) = why(text);
        assert_eq!(at, *pointer, "{text}: {said}");
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn errors_name_the_place_and_what_would_be_right() {
    check(&[
        ("", "", "EOF"),
        ("{}", "", "array of operations"),
        ("[1]", "/0", "an operation has to be an object"),
        ("[{}]", "/0", "\"op\" is missing"),
        (r#"[{"op":1}]"#, "/0/op", "string"),
        (r#"[{"op":"drop","path":"/a"},{"op":"nope"}]"#, "/1/op", "rename, move"),
        (r#"[{"op":"drop"}]"#, "/0", "\"path\" is missing"),
        (r#"[{"op":"drop","path":""}]"#, "/0/path", "at least one step"),
        (r#"[{"op":"drop","path":"/a~"}]"#, "/0/path", "~0"),
        (r#"[{"op":"drop","path":"/\ud800"}]"#, "/0/path", "no text"),
        (
            r#"[{"op":"drop","path":"/a","to":1}]"#,
            "/0",
            "\"to\" is not known here: there is op, path",
        ),
        (r#"[{"op":"drop","op":"drop","path":"/a"}]"#, "/0", "twice"),
        (r#"[{"op":"drop","path":"/a","prune":1}]"#, "/0/prune", "true or false"),
        (r#"[{"op":"rename","path":"/a","to":"a"}]"#, "/0/to", "give another"),
        (r#"[{"op":"default","path":"/a","value":1e999}]"#, "/0/value", "out of range"),
        (r#"[{"op":"default","path":"/a","value":"\udc00"}]"#, "/0/value", "surrogate"),
        (r#"[{"op":"cast","path":"/a","to":"text"}]"#, "/0/to", "string, integer"),
        (r#"[{"op":"cast","path":"/a","to":"array","from":"array"}]"#, "/0/from", "same"),
        (r#"[{"op":"map","path":"/a","values":[[1]]}]"#, "/0/values/0", "[FROM, TO]"),
        (
            r#"[{"op":"map","path":"/a","values":[[1,2],[1.0,3]]}]"#,
            "/0/values/1/0",
            "mapped before",
        ),
        (r#"[{"op":"split","path":"/a","by":"","to":["/b"]}]"#, "/0/by", "separator"),
        (r#"[{"op":"split","path":"/a","by":"x","to":[]}]"#, "/0/to", "one path or more"),
        (r#"[{"op":"retype","from":"","to":"b"}]"#, "/0/from", "empty"),
        (r#"[{"op":"retype","from":"b","to":"b"}]"#, "/0", "same"),
        (r#"[{"op":"each","path":"/a","do":[{"op":"x"}]}]"#, "/0/do/0/op", "no operation"),
        (r#"[{"op":"drop","path":"/a","down":[{"op":"drop"}]}]"#, "/0/down/0", "missing"),
    ]);
    let shown = Transform::parse("[1]").unwrap_err().to_string();
    assert!(shown.contains("at /0"), "{shown}");
}

#[test]
fn paths_that_lead_to_each_other_are_refused() {
    check(&[
        (r#"[{"op":"move","from":"/a","to":"/a/b"}]"#, "/0", "neither path"),
        (r#"[{"op":"move","from":"/a/b","to":"/a"}]"#, "/0", "neither path"),
        (r#"[{"op":"split","path":"/a","by":"x","to":["/b","/a"]}]"#, "/0/to", "rename the whole"),
        (r#"[{"op":"split","path":"/a/b","by":"x","to":["/a"]}]"#, "/0/to", "rename the whole"),
        (r#"[{"op":"split","path":"/a","by":"x","to":["/b","/b/c"]}]"#, "/0/to/1", "leads"),
        (r#"[{"op":"join","from":["/a"],"by":"x","to":"/a/b"}]"#, "/0/to", "rename the part"),
        (r#"[{"op":"join","from":["/a","/a"],"by":"x","to":"/b"}]"#, "/0/from/1", "leads"),
        (r#"[{"op":"fan_out","path":"/a/b","as":"/a"}]"#, "/0/as", "around the array"),
    ]);
}

#[test]
fn what_is_about_the_whole_event_stands_at_the_top() {
    check(&[
        (
            r#"[{"op":"each","path":"/a","do":[{"op":"retype","from":"A","to":"B"}]}]"#,
            "/0/do/0",
            "whole event",
        ),
        (
            r#"[{"op":"each","path":"/a","do":[{"op":"fan_out","path":"/a","as":"/b"}]}]"#,
            "/0/do/0",
            "whole event",
        ),
        (
            r#"[{"op":"fan_out","path":"/a","as":"/b"},{"op":"drop","path":"/c"},{"op":"fan_out","path":"/d","as":"/e"}]"#,
            "/2",
            "next version",
        ),
        (r#"[{"op":"fan_out","path":"/a","as":"/b","down":[]}]"#, "/0/down", "together"),
        (
            r#"[{"op":"drop","path":"/a","down":[{"op":"fan_out","path":"/a","as":"/b"}]}]"#,
            "/0/down/0",
            "way back",
        ),
        (
            r#"[{"op":"drop","path":"/a","down":[{"op":"drop","path":"/b","down":[]}]}]"#,
            "/0/down/0/down",
            "has none",
        ),
        (
            r#"[{"op":"drop","path":"/a","down":[{"op":"each","path":"/b","do":[{"op":"drop","path":"/b","down":[]}]}]}]"#,
            "/0/down/0/do/0/down",
            "has none",
        ),
    ]);
}

#[test]
fn expressions_are_checked() {
    let check = |expression: &str, pointer: &str, part: &str| {
        let text = format!(r#"[{{"op":"compute","path":"/a","value":{expression}}}]"#);
        let (at, said) = why(&text);
        assert_eq!(at, format!("/0/value{pointer}"), "{text}: {said}");
        assert!(said.contains(part), "{text}: {said}");
    };
    check("5", "", "object");
    check("{}", "", "one member");
    check(r#"{"path":"/a","value":1}"#, "", "one member");
    check(r#"{"path":"a"}"#, "/path", "at least one step");
    check(r#"{"sum":[]}"#, "", "path, value, or add");
    check(r#"{"add":[]}"#, "/add", "one expression or more");
    check(r#"{"add":{"path":"/a"}}"#, "/add", "array of expressions");
    check(r#"{"divide":[{"value":1}]}"#, "/divide", "takes 2");
    check(r#"{"if":[{"value":1},{"x":1}]}"#, "/if/1", "no expression");
    check(r#"{"length":[{"value":1}]}"#, "/length", "object");
}

#[test]
fn what_is_shown_is_read_back() {
    let text = r#"[{"op":"rename","path":"/a","to":"b"},{"op":"move","from":"/a~1","to":"/c/d","prune":true},{"op":"default","path":"/a","value":{"z":1.50,"a":12345678901234567890123}},{"op":"drop","path":"/a","value":null,"prune":true},{"op":"cast","path":"/a","to":"string","from":"integer","or":"x"},{"op":"map","path":"/a","values":[[1,"x"],[null,[]]],"or":0},{"op":"split","path":"/a","by":"\n","to":["/b","/c"],"down":[{"op":"join","from":["/b"],"by":"","to":"/a","prune":true}]},{"op":"compute","path":"/a","value":{"if":[{"equal":[{"path":"/a"},{"value":1.0}]},{"lower":{"value":"X"}},{"add":[{"path":"/b"}]}]}},{"op":"retype","from":"A","to":"B","down":[]},{"op":"fan_out","path":"/i","as":"/j"},{"op":"each","path":"/l","do":[{"op":"drop","path":"/x"}]}]"#;
    let spaced = text.replace("\":", "\" : ").replace(",\"", " ,\n\"");
    let read = transform(&spaced);
    assert_eq!(read.to_string(), text);
    assert_eq!(transform(&read.to_string()), read);
    let value = read.to_json();
    assert_eq!(value[3]["value"], serde_json::Value::Null);
    assert_eq!(value.as_array().map(Vec::len), Some(11));
}

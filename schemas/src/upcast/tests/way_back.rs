//! What undoes operations.

use super::{applied, transform};

/// The way back of one operation, as it is shown.
fn back(operation: &str) -> Option<String> {
    transform(&format!("[{operation}]")).inverse().map(|it| it.to_string())
}

#[test]
fn ways_back_are_derived() {
    for (operation, expected) in [
        (
            r#"{"op":"rename","path":"/x/a~1b","to":"c/d"}"#,
            r#"[{"op":"rename","path":"/x/c~1d","to":"a/b"}]"#,
        ),
        (
            r#"{"op":"move","from":"/a","to":"/b/c"}"#,
            r#"[{"op":"move","from":"/b/c","to":"/a","prune":true}]"#,
        ),
        (
            r#"{"op":"default","path":"/a","value":1.50}"#,
            r#"[{"op":"drop","path":"/a","value":1.50,"prune":true}]"#,
        ),
        (r#"{"op":"drop","path":"/a"}"#, "[]"),
        (
            r#"{"op":"cast","path":"/a","to":"string","from":"integer"}"#,
            r#"[{"op":"cast","path":"/a","to":"integer","from":"string"}]"#,
        ),
        (
            r#"{"op":"map","path":"/a","values":[[1,"x"],[2,"y"]]}"#,
            r#"[{"op":"map","path":"/a","values":[["x",1],["y",2]]}]"#,
        ),
        (
            r#"{"op":"split","path":"/a","by":",","to":["/b","/c"]}"#,
            r#"[{"op":"join","from":["/b","/c"],"by":",","to":"/a","prune":true}]"#,
        ),
        (
            r#"{"op":"compute","path":"/a/b","value":{"value":1}}"#,
            r#"[{"op":"drop","path":"/a/b","prune":true}]"#,
        ),
        (r#"{"op":"retype","from":"A","to":"B"}"#, r#"[{"op":"retype","from":"B","to":"A"}]"#),
        (
            r#"{"op":"each","path":"/a","do":[{"op":"rename","path":"/x","to":"y"},{"op":"drop","path":"/z"},{"op":"rename","path":"/q","to":"r"}]}"#,
            r#"[{"op":"each","path":"/a","do":[{"op":"rename","path":"/r","to":"q"},{"op":"rename","path":"/y","to":"x"}]}]"#,
        ),
        (r#"{"op":"each","path":"/a","do":[{"op":"drop","path":"/z"}]}"#, "[]"),
        (
            r#"{"op":"join","from":["/b"],"by":",","to":"/a","down":[{"op":"drop","path":"/q"},{"op":"drop","path":"/r"}]}"#,
            r#"[{"op":"drop","path":"/q"},{"op":"drop","path":"/r"}]"#,
        ),
        (r#"{"op":"rename","path":"/a","to":"b","down":[]}"#, "[]"),
    ] {
        assert_eq!(back(operation).as_deref(), Some(expected), "{operation}");
        assert_eq!(transform(expected).to_string(), expected);
    }
}

#[test]
fn some_operations_have_none() {
    for operation in [
        r#"{"op":"cast","path":"/a","to":"string"}"#,
        r#"{"op":"cast","path":"/a","to":"string","from":"integer","or":""}"#,
        r#"{"op":"map","path":"/a","values":[[1,"x"],[2,"x"]]}"#,
        r#"{"op":"map","path":"/a","values":[[1,"x"]],"or":0}"#,
        r#"{"op":"join","from":["/b"],"by":",","to":"/a"}"#,
        r#"{"op":"fan_out","path":"/b","as":"/a"}"#,
        r#"{"op":"each","path":"/a","do":[{"op":"join","from":["/b"],"by":",","to":"/a"}]}"#,
    ] {
        assert_eq!(back(operation), None, "{operation}");
        let word = operation.split('"').nth(3).unwrap();
        let text = format!(r#"[{{"op":"drop","path":"/x"}},{operation}]"#);
        assert_eq!(transform(&text).no_way_back(), Some((1, word)));
    }
    assert_eq!(transform(r#"[{"op":"drop","path":"/x"}]"#).no_way_back(), None);
}

#[test]
fn there_and_back_invents_nothing() {
    let check = |operations: &str, given: &str, up: &str, down: &str| {
        let there = transform(operations);
        let lift = |transform: &super::Transform, data: &str| {
            let all = applied(transform, data).unwrap();
            assert_eq!(all.len(), 1);
            String::from_utf8(all.into_iter().next().unwrap().data).unwrap()
        };
        let lifted = lift(&there, given);
        assert_eq!(lifted, up, "{operations} on {given}");
        assert_eq!(lift(&there.inverse().unwrap(), &lifted), down, "{operations} on {given}");
    };
    let rename = r#"[{"op":"rename","path":"/a","to":"b"}]"#;
    check(rename, r#"{"a":1,"b":2,"c":3}"#, r#"{"b":1,"c":3}"#, r#"{"a":1,"c":3}"#);
    check(rename, r#"{"b":2}"#, "{}", "{}");
    let moved = r#"[{"op":"move","from":"/a/b","to":"/c/d"},{"op":"drop","path":"/c/d"}]"#;
    check(moved, r#"{"c":5,"a":{"b":1}}"#, r#"{"c":{},"a":{}}"#, r#"{"a":{}}"#);
    let parts =
        r#"[{"op":"default","path":"/p","value":{"k":1,"m":2}},{"op":"drop","path":"/p/m"}]"#;
    check(parts, "{}", r#"{"p":{"k":1}}"#, "{}");
    check(parts, r#"{"p":{"k":2}}"#, r#"{"p":{"k":2}}"#, r#"{"p":{"k":2}}"#);
    let split = r#"[{"op":"split","path":"/n","by":" ","to":["/n/a","/n/b","/n/c"]}]"#;
    check(split, r#"{"n":"x y"}"#, r#"{"n":{"a":"x","b":"y"}}"#, r#"{"n":"x y"}"#);
    check(split, r#"{"n":{"a":1,"z":2}}"#, r#"{"n":{"z":2}}"#, "{}");
    let computed = r#"[{"op":"compute","path":"/c/d","value":{"path":"/c"}}]"#;
    check(computed, r#"{"c":5}"#, r#"{"c":{"d":5}}"#, "{}");
}

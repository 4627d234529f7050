//! What is bounded, and what has no bound.

use std::sync::Arc;

use nexus_protocol::limits::{
    LIFTED_BYTES_MAX, PARTS_MAX, TRANSFORM_BYTES_MAX, TRANSFORM_EACH_DEPTH_MAX,
    TRANSFORM_EXPRESSION_DEPTH_MAX, TRANSFORM_EXPRESSION_NODES_MAX, TRANSFORM_OPERATIONS_MAX,
};
use serde_json::{Value, json};

use super::super::{SchemaRef, Upcaster};
use super::{Chain, Step, Transform, UpcastError, applied, chain, transform};
use crate::SchemaError;

fn list(operation: &str, count: usize) -> String {
    format!("[{}]", vec![operation; count].join(","))
}

#[test]
fn transforms_are_bounded() {
    let drop = r#"{"op":"drop","path":"/a"}"#;
    let too_large = |text: &str| matches!(Transform::parse(text), Err(SchemaError::TooLarge(_)));
    assert!(Transform::parse(&list(drop, TRANSFORM_OPERATIONS_MAX)).is_ok());
    assert!(too_large(&list(drop, TRANSFORM_OPERATIONS_MAX + 1)));
    // Those inside of others count.
    let inner = list(drop, TRANSFORM_OPERATIONS_MAX);
    assert!(too_large(&format!(r#"[{{"op":"each","path":"/a","do":{inner}}}]"#)));
    assert!(too_large(&format!(r#"[{{"op":"drop","path":"/a","down":{inner}}}]"#)));
    assert!(too_large(&format!("[{}]", " ".repeat(TRANSFORM_BYTES_MAX))));
    assert!(Transform::parse(&format!("[{}]", " ".repeat(TRANSFORM_BYTES_MAX - 2))).is_ok());
    // What is only deep is no reason to go deep.
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    assert!(Transform::parse(&deep).is_err());
    let value = format!(r#"[{{"op":"default","path":"/a","value":{deep}}}]"#);
    assert!(Transform::parse(&value).is_err());
}

#[test]
fn nesting_is_bounded() {
    let each = |levels: usize| {
        let open = r#"[{"op":"each","path":"/a","do":"#.repeat(levels);
        format!("{open}[]{}", "}]".repeat(levels))
    };
    assert!(Transform::parse(&each(TRANSFORM_EACH_DEPTH_MAX)).is_ok());
    assert!(Transform::parse(&each(TRANSFORM_EACH_DEPTH_MAX + 1)).is_err());
    let compute = |expression: &str| {
        Transform::parse(&format!(r#"[{{"op":"compute","path":"/a","value":{expression}}}]"#))
    };
    let deep = |levels: usize| {
        format!("{}{{\"value\":1}}{}", "{\"lower\":".repeat(levels - 1), "}".repeat(levels - 1))
    };
    assert!(compute(&deep(TRANSFORM_EXPRESSION_DEPTH_MAX)).is_ok());
    assert!(compute(&deep(TRANSFORM_EXPRESSION_DEPTH_MAX + 1)).is_err());
    let wide = |parts: usize| format!("{{\"add\":{}}}", list("{\"value\":1}", parts - 1));
    assert!(compute(&wide(TRANSFORM_EXPRESSION_NODES_MAX)).is_ok());
    assert!(compute(&wide(TRANSFORM_EXPRESSION_NODES_MAX + 1)).is_err());
}

#[test]
fn parts_are_bounded() {
    let fan = r#"[{"op":"fan_out","path":"/i","as":"/i"}]"#;
    let of = |count: usize| format!("{{\"i\":{}}}", list("1", count));
    assert_eq!(applied(&transform(fan), &of(PARTS_MAX)).unwrap().len(), PARTS_MAX);
    let parts = PARTS_MAX + 1;
    let expected = Err(UpcastError::TooManyParts { parts, max: PARTS_MAX });
    assert_eq!(applied(&transform(fan), &of(parts)), expected);
    // Those of several steps count together.
    let twice = chain(&[fan, fan]);
    let squared = |count| format!("{{\"i\":{}}}", list(&list("1", count), count));
    assert_eq!(twice.apply("A", squared(16).as_bytes()).unwrap().len(), 256);
    assert!(twice.apply("A", squared(17).as_bytes()).is_err());
}

#[test]
fn what_is_made_is_bounded() {
    let is_too_large = |operations: &str, data: &str| {
        matches!(applied(&transform(operations), data), Err(UpcastError::TooLarge { .. }))
    };
    // Ten times what was there.
    let path = r#"{"path":"/a"}"#;
    let concat =
        format!(r#"{{"op":"compute","path":"/a","value":{{"concat":{}}}}}"#, list(path, 10));
    assert!(!is_too_large(&list(&concat, 6), r#"{"a":"x"}"#));
    assert!(is_too_large(&list(&concat, 8), r#"{"a":"x"}"#));
    // Twice the whole, each time.
    let copy = |to| format!(r#"{{"op":"compute","path":"/a/{to}","value":{{"path":"/a"}}}}"#);
    let twice = format!("{},{}", copy("b"), copy("c"));
    assert!(!is_too_large(&list(&twice, 8), r#"{"a":{"d":1}}"#));
    assert!(is_too_large(&list(&twice, 50), r#"{"a":{"d":1}}"#));
    // The same text at many places.
    let copies: Vec<_> =
        (0..20).map(|at| format!(r#"{{"op":"compute","path":"/{at}","value":{path}}}"#)).collect();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(LIFTED_BYTES_MAX / 10));
    assert!(is_too_large(&format!("[{}]", copies.join(",")), &long));
    let fan = r#"[{"op":"fan_out","path":"/i","as":"/i"}]"#;
    let parts = long.replacen('{', &format!("{{\"i\":{},", list("1", 20)), 1);
    assert!(is_too_large(fan, &parts));
    // Elements are many.
    let each = r#"[{"op":"each","path":"/i","do":[{"op":"default","path":"/a","value":"0123456789012345678901234567890123456789012345678901234567890123456789"}]}]"#;
    assert!(is_too_large(each, &format!("{{\"i\":{}}}", list("{}", 800_000))));
    // What is compared is looked at each time.
    let equal = format!(r#"{{"op":"compute","path":"/b","value":{{"equal":[{path},{path}]}}}}"#);
    assert!(!is_too_large(&list(&equal, 10), &long));
    assert!(is_too_large(&list(&equal, 40), &long));
}

#[test]
fn depth_does_not_matter() {
    // Each takes the whole thirty levels down.
    let down = "/x".repeat(30);
    let mut operations = Vec::new();
    for at in 0..120 {
        let (a, b) = if at % 2 == 0 { ("a", "b") } else { ("b", "a") };
        operations.push(format!(r#"{{"op":"move","from":"/{a}","to":"/{b}{down}"}}"#));
    }
    let text = format!("[{}]", operations.join(","));
    let all: Vec<_> = std::iter::repeat_n(text.as_str(), 4).collect();
    let lifted = chain(&all).apply("A", br#"{"a":{"v":1}}"#).unwrap();
    let text = String::from_utf8(lifted.into_iter().next().unwrap().data).unwrap();
    assert_eq!(text.matches('{').count(), text.matches('}').count());
    assert!(text.matches('{').count() > 10_000);
    // And what came deep stays deep.
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let rename = transform(
        r#"[{"op":"rename","path":"/a","to":"b"},{"op":"map","path":"/b","values":[[1,2]]}]"#,
    );
    let lifted = applied(&rename, &deep).unwrap();
    assert_eq!(lifted[0].data, deep.replacen('a', "b", 1).into_bytes());
}

#[test]
fn only_json_is_lifted() {
    let rename = transform(r#"[{"op":"rename","path":"/a","to":"b"}]"#);
    for data in ["", "{", "{\"a\":1} x", "{a:1}", "nul", "[1,]"] {
        let why = applied(&rename, data).unwrap_err();
        assert!(matches!(why, UpcastError::NotJson { .. }), "{data}: {why}");
    }
    let bytes = Chain::new([Step::Transform(Arc::new(rename))]).apply("A", b"\"\xff\"");
    assert!(matches!(bytes, Err(UpcastError::NotJson { .. })));
    // Without steps it is nobody's business.
    let lifted = chain(&["[]"]).apply("A", b"\xff").unwrap();
    assert_eq!((lifted[0].event_type.as_str(), lifted[0].data.as_slice()), ("A", &b"\xff"[..]));
    assert!(chain(&["[]"]).is_empty() && Chain::new([]).is_empty());
}

struct Doubled;

impl Upcaster for Doubled {
    fn from(&self) -> SchemaRef {
        SchemaRef { subject: "order".to_owned(), version: 1 }
    }

    fn to(&self) -> SchemaRef {
        SchemaRef { subject: "order".to_owned(), version: 2 }
    }

    fn lift(&self, value: Value) -> Result<Vec<Value>, UpcastError> {
        match value.get("n").and_then(Value::as_u64) {
            Some(n) => Ok(vec![json!({"n": n}), json!({"n": 2 * n})]),
            None => Err(UpcastError::Failed("there is no n".to_owned())),
        }
    }
}

#[test]
fn upcasters_stand_between_transforms() {
    let step = |text| Step::Transform(Arc::new(transform(text)));
    let upcaster = || Step::Upcaster(Arc::new(Doubled));
    let chain = Chain::new([
        step(r#"[{"op":"rename","path":"/m","to":"n"}]"#),
        upcaster(),
        upcaster(),
        step(r#"[{"op":"retype","from":"A","to":"B"}]"#),
    ]);
    let lifted = chain.apply("A", br#"{"m":3,"x":1}"#).unwrap();
    let texts: Vec<_> = lifted.iter().map(|it| std::str::from_utf8(&it.data).unwrap()).collect();
    assert_eq!(texts, [r#"{"n":3}"#, r#"{"n":6}"#, r#"{"n":6}"#, r#"{"n":12}"#]);
    assert!(lifted.iter().all(|it| it.event_type == "B"));
    let failed = chain.apply("A", b"{}").unwrap_err();
    assert_eq!(failed.to_string(), "upcaster failed: there is no n");
    let many = Chain::new(std::iter::repeat_with(upcaster).take(9));
    assert!(matches!(many.apply("A", br#"{"n":0}"#), Err(UpcastError::TooManyParts { .. })));
    assert_eq!(format!("{:?}", upcaster()), "Upcaster(order v1 to order v2)");
}

#[test]
fn parts_that_are_opened_each_count() {
    let items = "0,".repeat(255) + "0";
    let rest: Vec<_> = (0..60_000).map(|it| format!("\"a{it}\":1")).collect();
    let data = format!("{{\"items\":[{items}],\"rest\":{{{}}}}}", rest.join(","));
    let up = r#"[{"op":"fan_out","path":"/items","as":"/item"},{"op":"default","path":"/rest/z","value":0}]"#;
    let up = Step::Transform(std::sync::Arc::new(Transform::parse(up).unwrap()));
    let lifted = Chain::new([up]).apply("T", data.as_bytes());
    assert!(matches!(lifted, Err(UpcastError::TooLarge { .. })));
}

#[test]
fn looking_costs_too() {
    let drop = r#"{"op":"drop","path":"/a"}"#;
    let up = format!(r#"[{{"op":"each","path":"/all","do":[{}]}}]"#, vec![drop; 200].join(","));
    let up = Step::Transform(std::sync::Arc::new(Transform::parse(&up).unwrap()));
    let data = format!("{{\"all\":[{}{{}}]}}", "{},".repeat(1_000_000));
    let lifted = Chain::new([up]).apply("T", data.as_bytes());
    assert!(matches!(lifted, Err(UpcastError::TooLarge { .. })));
}

#[test]
fn a_value_is_nested_no_deeper_than_can_be_shown() {
    let of = |levels: usize| {
        let value = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        Transform::parse(&format!(r#"[{{"op":"default","path":"/a","value":{value}}}]"#))
    };
    assert!(of(60).unwrap().to_json().is_array());
    assert!(of(64).is_err() && of(127).is_err());
}

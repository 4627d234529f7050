//! Conditions against an evaluator that renders the whole event and walks by hand.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::EventData;
use crate::ids::{EventId, Position, Revision};
use crate::json::EventJson;
use crate::limits::POINTER_BYTES_MAX;
use crate::record::{PreparedRecord, Recipe, place};
use crate::time::Timestamp;

fn recorded(data: &[u8], metadata: &str) -> RecordedEvent {
    let mut event = EventData::json("OrderPlaced", &0).unwrap().tag("order:1").tag("a:b");
    event.data = bytes::Bytes::copy_from_slice(data);
    event.metadata = bytes::Bytes::copy_from_slice(metadata.as_bytes());
    event.occurred_at = Some("2026-11-27T10:00:00Z".parse().unwrap());
    event.not_before = Some("2026-11-28T10:00:00Z".parse().unwrap());
    let tags = ["a:b", "order:1"];
    let recipe =
        Recipe { stream: "order-1", id: EventId::from_bytes([7; 16]), event: &event, tags: &tags };
    let mut out = Vec::new();
    let prepared = PreparedRecord::encode(&recipe, &mut out);
    place(&mut out, &prepared, Position::new(41), Revision::new(3), Timestamp::from_micros(5));
    RecordedEvent::decode(out.into()).unwrap()
}

/// The plain meaning: the whole event as JSON, a step at a time.
fn naive(condition: &Condition, event: &RecordedEvent) -> bool {
    let whole = serde_json::to_value(EventJson::from(event)).unwrap();
    let mut at = Some(&whole);
    let path = if condition.path() == "/schema" { "/schema/id" } else { condition.path() };
    for step in path[1..].split('/') {
        let step = step.replace("~1", "/").replace("~0", "~");
        at = match at {
            Some(Value::Object(map)) => map.get(&step),
            Some(Value::Array(list)) if step == "0" || !step.starts_with(['0', '+']) => {
                step.parse::<usize>().ok().and_then(|index| list.get(index))
            }
            _ => None,
        };
    }
    let equal = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    };
    let Some(found) = at else {
        return condition.op() == Operator::Exists && condition.value() == &json!(false);
    };
    let (value, op) = (condition.value(), condition.op());
    let less = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64(), a.as_str(), b.as_str()) {
        (Some(a), Some(b), ..) => a < b,
        (_, _, Some(a), Some(b)) => a < b,
        _ => false,
    };
    let alike =
        (found.is_number() && value.is_number()) || (found.is_string() && value.is_string());
    match op {
        Operator::Eq => equal(found, value),
        Operator::Ne => !equal(found, value),
        Operator::Lt => less(found, value),
        Operator::Gt => less(value, found),
        Operator::Le => alike && !less(value, found),
        Operator::Ge => alike && !less(found, value),
        Operator::In => value.as_array().unwrap().iter().any(|one| equal(found, one)),
        Operator::Exists => value == &json!(true),
        Operator::Prefix => {
            found.as_str().is_some_and(|it| it.starts_with(value.as_str().unwrap()))
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        (-3_i8..4).prop_map(|it| Value::from(f64::from(it) / 2.0)),
        prop::sample::select(vec!["", "a", "ab", "b", "order-1", "2026-11-27T10:00:00Z"])
            .prop_map(Value::from),
    ]
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/data",
        "/data/a",
        "/data/a~1b",
        "/data/m~0n",
        "/data/list/0",
        "/data/list/9",
        "/data/in/x",
        "/metadata/a",
        "/metadata",
        "/type",
        "/type/x",
        "/stream",
        "/tags",
        "/tags/1",
        "/tags/01",
        "/position",
        "/revision",
        "/occurred_at",
        "/not_before",
        "/recorded_at",
        "/causation_id",
        "/schema",
        "/schema/id",
        "/id",
        "/content_type",
    ])
}

fn condition() -> impl Strategy<Value = Condition> {
    (path(), prop::sample::select(OPERATORS.to_vec()), prop::collection::vec(value(), 1..4))
        .prop_filter_map("the operator takes other values", |(path, op, values)| {
            let value = match op {
                Operator::In => Value::Array(values),
                _ => values.into_iter().next()?,
            };
            Condition::new(path, op, value).ok()
        })
}

proptest! {
    #[test]
    fn conditions_mean_what_the_whole_event_says(
        condition in condition(),
        values in prop::collection::vec(value(), 6),
        metadata in prop::sample::select(vec!["", "{}", r#"{"a":1}"#, r#"{"a":"ab"}"#, "no json"]),
    ) {
        let data = json!({"a": values[0], "a/b": values[1], "m~n": values[2],
            "list": [values[3], values[4]], "in": {"x": values[5]}});
        let event = recorded(data.to_string().as_bytes(), metadata);
        prop_assert_eq!(all_hold(std::slice::from_ref(&condition), &event), naive(&condition, &event));
    }
}

fn holds(path: &str, op: Operator, value: Value, event: &RecordedEvent) -> bool {
    all_hold(&[Condition::new(path, op, value).unwrap()], event)
}

#[test]
fn data_that_are_not_json_fulfil_only_what_is_asked_of_other_fields() {
    for data in [&b"\xff\x00"[..], b"", b"{", &b"[".repeat(100_000)] {
        let event = recorded(data, "");
        assert!(!holds("/data/a", Operator::Ne, json!(1), &event));
        assert!(!holds("/data", Operator::Exists, json!(true), &event));
        assert!(holds("/data/a", Operator::Exists, json!(false), &event));
        assert!(holds("/type", Operator::Prefix, json!("Order"), &event));
    }
}

#[test]
fn large_whole_numbers_are_compared_exactly_and_floats_as_what_they_are() {
    let event = recorded(br#"{"n":9007199254740993,"u":18446744073709551615,"f":1.0}"#, "");
    assert!(holds("/data/n", Operator::Gt, json!(9_007_199_254_740_992_i64), &event));
    assert!(!holds("/data/n", Operator::Eq, json!(9_007_199_254_740_992_i64), &event));
    assert!(holds("/data/u", Operator::Gt, json!(-1), &event));
    assert!(holds("/data/f", Operator::Eq, json!(1), &event));
    assert!(holds("/data/f", Operator::In, json!([2, 1]), &event));
    assert!(!holds("/data/f", Operator::Lt, json!("a"), &event));
}

#[test]
fn all_conditions_have_to_hold() {
    let event = recorded(br#"{"a":1,"b":2}"#, "");
    let one = |path: &str, value: i32| Condition::new(path, Operator::Eq, json!(value)).unwrap();
    assert!(all_hold(&[], &event));
    assert!(all_hold(&[one("/data/a", 1), one("/data/b", 2)], &event));
    assert!(!all_hold(&[one("/data/a", 1), one("/data/b", 3)], &event));
}

#[test]
fn what_is_no_condition_is_refused_with_what_would_be() {
    let long = format!("/data/{}", "a".repeat(POINTER_BYTES_MAX));
    for (path, op, value, part) in [
        ("data/a", "eq", json!(1), "begin it with `/`"),
        ("", "eq", json!(1), "begin it with `/`"),
        ("/data/~2", "eq", json!(1), "write `~` as `~0`"),
        ("/data/~", "eq", json!(1), "write `~` as `~0`"),
        ("/dat/a", "eq", json!(1), "begins with no field"),
        (&long, "eq", json!(1), "has more than 1024 bytes"),
        ("/data/a", "lt", json!(null), "a number or a string"),
        ("/data/a", "in", json!(1), "a list"),
        ("/data/a", "exists", json!(1), "true or false"),
        ("/data/a", "prefix", json!(1), "a string"),
        ("/data/a", "eq", json!("x".repeat(CONDITION_VALUE_BYTES_MAX)), "more than 4096 bytes"),
        ("/data/a", "like", json!("x"), "is none of eq, ne"),
    ] {
        let made = op.parse().and_then(|op| Condition::new(path, op, value));
        let error = made.unwrap_err().to_string();
        assert!(error.contains(part), "{path} {op}: {error}");
    }
    let one = Condition::new("/type", Operator::Eq, json!("A")).unwrap();
    assert!(check_conditions(&vec![one.clone(); CONDITIONS_MAX]).is_ok());
    assert!(check_conditions(&vec![one; CONDITIONS_MAX + 1]).is_err());
}

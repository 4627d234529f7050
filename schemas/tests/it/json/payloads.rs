//! Made-up payloads that may follow made-up schemas.

use serde_json::{Map, Value, json};

use super::generator::{Dice, NAMES};

/// Values of every kind.
fn scalars() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(1.0),
        json!(2.5),
        json!(3),
        json!(4.0),
        json!(-1),
        json!(6),
        json!(""),
        json!("a"),
        json!("b"),
        json!("aa"),
        json!("x-1"),
        json!("new"),
        json!("abc"),
        json!([]),
        json!({}),
        json!([1, 2]),
        json!([1.0, 1]),
        json!({"a": 1}),
        json!({"a": 1.0}),
        json!(["a"]),
        json!({"kind": "a"}),
    ]
}

/// A value that may follow a schema.
pub(super) fn payload(dice: &mut Dice, root: &Value, schema: &Value, depth: usize) -> Value {
    let scalars = scalars();
    let Value::Object(map) = schema else { return dice.pick(&scalars).clone() };
    if depth == 0 || dice.one_in(14) {
        return dice.pick(&scalars).clone();
    }
    if let Some(Value::String(reference)) = map.get("$ref") {
        let to = root.pointer(reference.trim_start_matches('#')).unwrap();
        return payload(dice, root, to, depth - 1);
    }
    if let Some(Value::Array(values)) = map.get("enum") {
        return dice.pick(values).clone();
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(Value::Array(branches)) = map.get(keyword) {
            let branch = dice.pick(branches).clone();
            let mut value = payload(dice, root, &branch, depth - 1);
            if let (Value::Object(value), Some(_)) = (&mut value, map.get("properties")) {
                fill(dice, root, map, value, depth);
            }
            return value;
        }
    }
    if let Some(Value::Array(branches)) = map.get("allOf") {
        let mut merged = Map::new();
        let mut last = json!(null);
        for branch in branches {
            last = payload(dice, root, branch, depth - 1);
            if let Value::Object(it) = &last {
                merged.extend(it.clone());
            }
        }
        return if merged.is_empty() { last } else { Value::Object(merged) };
    }
    let kind = match map.get("type") {
        Some(Value::Array(kinds)) => dice.pick(kinds).as_str().unwrap().to_owned(),
        Some(Value::String(kind)) => kind.clone(),
        _ if map.contains_key("properties") => "object".to_owned(),
        _ => return dice.pick(&scalars).clone(),
    };
    let of_kind = |it: &Value| match kind.as_str() {
        "string" => it.is_string(),
        "integer" | "number" => it.is_number(),
        "boolean" => it.is_boolean(),
        "null" => it.is_null(),
        _ => false,
    };
    match kind.as_str() {
        "object" => {
            let mut value = Map::new();
            fill(dice, root, map, &mut value, depth);
            Value::Object(value)
        }
        "array" => items(dice, root, map, depth),
        _ => {
            let fitting: Vec<_> = scalars.iter().filter(|it| of_kind(it)).collect();
            (*dice.pick(&fitting)).clone()
        }
    }
}

fn fill(
    dice: &mut Dice,
    root: &Value,
    map: &Map<String, Value>,
    value: &mut Map<String, Value>,
    depth: usize,
) {
    let required = map.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(Value::Object(properties)) = map.get("properties") {
        for (name, inner) in properties {
            if required.contains(&json!(name)) || dice.one_in(2) {
                value.insert(name.clone(), payload(dice, root, inner, depth - 1));
            }
        }
    }
    for name in required.iter().filter_map(Value::as_str) {
        if !value.contains_key(name) {
            value.insert(name.to_owned(), payload(dice, root, &json!(true), 1));
        }
    }
    if dice.one_in(3) {
        let inner = map
            .get("patternProperties")
            .and_then(Value::as_object)
            .and_then(|it| it.values().next());
        let inner = inner.or(map.get("additionalProperties")).cloned().unwrap_or(json!(true));
        let name = *dice.pick(&NAMES);
        if !value.contains_key(name) {
            value.insert(name.to_owned(), payload(dice, root, &inner, depth - 1));
        }
    }
}

fn items(dice: &mut Dice, root: &Value, map: &Map<String, Value>, depth: usize) -> Value {
    let prefix = map.get("prefixItems").or(map.get("items")).and_then(Value::as_array);
    let rest = map.get("additionalItems").or(map.get("items")).filter(|it| !it.is_array());
    let count = dice.below(4);
    let any = json!(true);
    (0..count)
        .map(|index| {
            let item = prefix.and_then(|it| it.get(index)).or(rest).unwrap_or(&any);
            payload(dice, root, item, depth - 1)
        })
        .collect()
}

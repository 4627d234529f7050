//! Made-up schemas, and changes of them.

use serde_json::{Map, Value, json};

/// A source of numbers that look random, the same for the same seed (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

pub(super) const NAMES: [&str; 7] = ["a", "b", "c", "x-1", "x-2", "kind", "next"];
const PATTERNS: [&str; 4] = ["^x-", "^[ab]$", "1$", "^a+$"];
const DRAFTS: [&str; 4] = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

fn leaf(dice: &mut Dice) -> Value {
    let low = dice.below(4);
    let high = low + dice.below(4);
    match dice.below(22) {
        0 => json!({"type": "string"}),
        1 => json!({"type": "integer"}),
        2 => json!({"type": "number", "minimum": low}),
        3 => json!({"type": "integer", "minimum": low, "maximum": high}),
        4 => json!({"type": "boolean"}),
        5 => json!({"type": "null"}),
        6 => json!({"type": ["string", "null"]}),
        7 => json!({"enum": ["a", "b", "aa"]}),
        8 => json!({"enum": [1, "1", null, 2.5]}),
        9 => json!({"enum": [*dice.pick(&["a", "b"])]}),
        10 => json!({"type": "string", "minLength": low, "maxLength": high}),
        11 => json!({"type": "string", "pattern": *dice.pick(&PATTERNS)}),
        12 => json!({"type": "integer", "multipleOf": 1 + low}),
        13 => json!({"type": "array", "minItems": low, "maxItems": high}),
        14 => json!({"type": "object", "minProperties": low}),
        15 => json!({"type": ["integer", "boolean"], "maximum": high}),
        16 => json!({"type": "number", "multipleOf": 0.5}),
        17 => json!({"enum": [{"a": 1}, [1, 2], 1.0]}),
        18 => json!({"type": "array", "uniqueItems": true}),
        19 => json!({"not": {"type": "null"}}),
        20 => json!({"minimum": low, "maxLength": high}),
        _ => json!({}),
    }
}

fn made(dice: &mut Dice, depth: usize) -> Value {
    if depth == 0 || dice.one_in(3) {
        return leaf(dice);
    }
    match dice.below(16) {
        0..=6 => object(dice, depth),
        7 => json!({"type": "array", "items": made(dice, depth - 1)}),
        8 => {
            let listed = [made(dice, depth - 1), made(dice, depth - 1)];
            json!({"type": "array", "prefixItems": listed, "items": made(dice, depth - 1)})
        }
        9 => json!({"anyOf": [made(dice, depth - 1), {"type": "null"}]}),
        10 => json!({"anyOf": [made(dice, depth - 1), made(dice, depth - 1)]}),
        11 => json!({"oneOf": [made(dice, depth - 1), made(dice, depth - 1)]}),
        12 => {
            let kinds = ["a", "b", "c"].map(|kind| {
                let mut it = object(dice, depth - 1);
                it["properties"]["kind"] = json!({"enum": [kind]});
                it["required"] = json!(["kind"]);
                it
            });
            json!({"oneOf": kinds})
        }
        13 => json!({"allOf": [made(dice, depth - 1), made(dice, depth - 1)]}),
        14 => json!({"$ref": "#/definitions/d"}),
        _ => {
            json!({"type": "array", "contains": made(dice, depth - 1), "items": made(dice, depth - 1)})
        }
    }
}

fn object(dice: &mut Dice, depth: usize) -> Value {
    let mut properties = Map::new();
    for _ in 0..1 + dice.below(4) {
        let name = *dice.pick(&NAMES);
        let inner = if name == "next" && dice.one_in(2) {
            json!({"$ref": "#"})
        } else {
            made(dice, depth.saturating_sub(1))
        };
        properties.insert(name.to_owned(), inner);
    }
    let named: Vec<_> = properties.keys().cloned().collect();
    let mut it = json!({"type": "object", "properties": properties});
    if dice.one_in(2) {
        let required: Vec<_> =
            named.iter().filter(|name| *name != "next" && dice.one_in(2)).collect();
        if !required.is_empty() {
            it["required"] = json!(required);
        }
    }
    match dice.below(12) {
        0 => it["additionalProperties"] = json!(false),
        1 => it["additionalProperties"] = json!(true),
        2 => it["additionalProperties"] = leaf(dice),
        3 => it["patternProperties"] = json!({*dice.pick(&PATTERNS): leaf(dice)}),
        4 => it["propertyNames"] = json!({"maxLength": 1 + dice.below(3)}),
        5 => it["dependentRequired"] = json!({*dice.pick(&NAMES): [*dice.pick(&NAMES)]}),
        6 => it["maxProperties"] = json!(1 + dice.below(4)),
        7 => {
            let (a, b) = (*dice.pick(&NAMES), *dice.pick(&NAMES));
            it["if"] = json!({"required": [a]});
            it["then"] = json!({"required": [b]});
        }
        8 => it["dependentSchemas"] = json!({*dice.pick(&NAMES): leaf(dice)}),
        _ => {}
    }
    it
}

/// A schema.
pub(super) fn schema(dice: &mut Dice) -> Value {
    let mut it = if dice.one_in(4) { made(dice, 3) } else { object(dice, 3) };
    // What is defined is a leaf, so that nothing leads back to itself on one value.
    let defined = if dice.one_in(2) { leaf(dice) } else { object(dice, 1) };
    it["definitions"] = json!({"d": defined});
    it
}

/// A schema within one, to be changed.
fn place<'a>(dice: &mut Dice, schema: &'a mut Value) -> &'a mut Value {
    let inner: Vec<String> = pointers(schema);
    let pointer = dice.pick(&inner).clone();
    schema.pointer_mut(&pointer).unwrap()
}

fn pointers(schema: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let Value::Object(map) = schema else { return found };
    for (keyword, held) in map {
        let mut add = |step: String, inner: &Value| {
            found.extend(pointers(inner).into_iter().map(|it| format!("/{step}{it}")));
        };
        match (keyword.as_str(), held) {
            (
                "properties" | "patternProperties" | "definitions" | "dependentSchemas",
                Value::Object(map),
            ) => {
                map.iter().for_each(|(name, it)| add(format!("{keyword}/{name}"), it));
            }
            ("prefixItems" | "anyOf" | "oneOf" | "allOf", Value::Array(items)) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, it)| add(format!("{keyword}/{index}"), it));
            }
            ("items" | "additionalProperties" | "contains" | "not", it) => add(keyword.clone(), it),
            _ => {}
        }
    }
    found
}

/// Changes a schema as people do.
pub(super) fn change(dice: &mut Dice, schema: &mut Value) {
    let at = place(dice, schema);
    let Value::Object(map) = at else {
        *at = leaf(dice);
        return;
    };
    if dice.one_in(2) {
        change_what_is_said(dice, map);
    } else {
        change_what_is_combined(dice, at);
    }
}

/// One keyword says something else.
fn change_what_is_said(dice: &mut Dice, map: &mut Map<String, Value>) {
    match dice.below(9) {
        0 | 1 => {
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                properties.insert((*dice.pick(&NAMES)).to_owned(), leaf(dice));
            }
        }
        2 => {
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                let name = *dice.pick(&NAMES);
                properties.remove(name);
            }
        }
        3 => {
            if let Some(Value::Array(required)) = map.get_mut("required") {
                required.pop();
                if required.is_empty() {
                    map.remove("required");
                }
            }
        }
        4 => _ = map.insert("required".into(), json!([*dice.pick(&NAMES)])),
        5 => {
            let kinds = match map.get("type") {
                Some(Value::String(it)) if it == "integer" => json!("number"),
                Some(Value::String(it)) if it != "null" => json!([it, "null"]),
                _ => return,
            };
            map.insert("type".into(), kinds);
        }
        6 => {
            if let Some(Value::Array(values)) = map.get_mut("enum")
                && !values.contains(&json!("new"))
            {
                values.push(json!("new"));
            }
        }
        7 => {
            let bounds = [
                "minimum",
                "maximum",
                "minLength",
                "maxLength",
                "minItems",
                "maxItems",
                "minProperties",
                "maxProperties",
            ];
            let keyword = *dice.pick(&bounds);
            map.insert(keyword.into(), json!(dice.below(6)));
        }
        _ => {
            let names: Vec<_> = map.keys().filter(|it| *it != "definitions").cloned().collect();
            if !names.is_empty() {
                let name = dice.pick(&names).clone();
                map.remove(&name);
            }
        }
    }
}

/// Schemas are put together in another way.
fn change_what_is_combined(dice: &mut Dice, at: &mut Value) {
    let Value::Object(map) = at else { return };
    match 9 + dice.below(11) {
        9 => _ = map.insert("additionalProperties".into(), json!(dice.one_in(2))),
        10 => {
            for keyword in ["anyOf", "oneOf"] {
                if let Some(Value::Array(branches)) = map.get_mut(keyword) {
                    branches.push(leaf(dice));
                }
            }
        }
        11 => {
            let definitions = map.remove("definitions");
            let inner = std::mem::take(at);
            *at = json!({"anyOf": [inner, leaf(dice)]});
            if let Some(it) = definitions {
                at["definitions"] = it;
            }
        }
        12 => {
            for keyword in ["anyOf", "oneOf", "allOf"] {
                if let Some(Value::Array(branches)) = map.get_mut(keyword)
                    && branches.len() > 1
                {
                    branches.swap(0, 1);
                }
            }
        }
        13 => {
            if let Some(it) = map.remove("enum") {
                map.insert("oneOf".into(), json!([{"enum": it}, {"type": "array"}]));
            }
        }
        14 => _ = map.insert("title".into(), json!("noted")),
        15 => {
            if !map.contains_key("definitions") {
                *at = made(dice, 1);
            }
        }
        16 => _ = map.insert("multipleOf".into(), json!(1 + dice.below(3))),
        17 => {
            let (a, b) = (*dice.pick(&NAMES), *dice.pick(&NAMES));
            map.insert("dependentRequired".into(), json!({a: [b]}));
        }
        18 => {
            _ = map.insert("patternProperties".into(), json!({*dice.pick(&PATTERNS): leaf(dice)}))
        }
        _ => {
            if let Some(it) = map.remove("type") {
                map.insert("anyOf".into(), json!([{"type": it}, {"type": "null"}]));
            }
        }
    }
}

/// In another draft, as far as it goes: what it cannot say is left out.
pub(super) fn in_draft(dice: &mut Dice, schema: &mut Value) {
    let draft = *dice.pick(&DRAFTS);
    rewrite(schema, draft);
    schema["$schema"] = json!(draft);
}

fn rewrite(schema: &mut Value, draft: &str) {
    let Value::Object(map) = schema else { return };
    let is_newest = draft == DRAFTS[3];
    if !is_newest
        && let Some(listed) = map.remove("prefixItems")
        && let Some(rest) = map.insert("items".into(), listed)
    {
        map.insert("additionalItems".into(), rest);
    }
    if draft == DRAFTS[0] || draft == DRAFTS[1] {
        if let Some(needs) = map.remove("dependentRequired") {
            map.insert("dependencies".into(), needs);
        }
        map.remove("dependentSchemas");
    }
    for keyword in ["properties", "patternProperties", "definitions", "dependentSchemas"] {
        if let Some(Value::Object(held)) = map.get_mut(keyword) {
            held.values_mut().for_each(|it| rewrite(it, draft));
        }
    }
    for keyword in ["items", "prefixItems", "anyOf", "oneOf", "allOf"] {
        match map.get_mut(keyword) {
            Some(Value::Array(held)) => held.iter_mut().for_each(|it| rewrite(it, draft)),
            Some(held) => rewrite(held, draft),
            None => {}
        }
    }
    for keyword in [
        "additionalProperties",
        "additionalItems",
        "contains",
        "not",
        "propertyNames",
        "if",
        "then",
    ] {
        if let Some(held) = map.get_mut(keyword) {
            rewrite(held, draft);
        }
    }
    if draft == DRAFTS[0] {
        // Draft 4 knows no schema that is a boolean but in these two.
        for keyword in ["properties", "patternProperties", "definitions"] {
            if let Some(Value::Object(held)) = map.get_mut(keyword) {
                held.values_mut()
                    .filter(|it| it.is_boolean())
                    .for_each(|it| *it = json!({"not": {}}));
            }
        }
    }
}

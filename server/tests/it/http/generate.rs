//! Values made from JSON Schemas: most fit, some do not. One seed gives one run.

use serde_json::{Map, Value, json};

/// Chance, and what requests are made of.
#[derive(Debug)]
pub(crate) struct Random(nexus_testing::Random);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(nexus_testing::Random::new(seed))
    }

    /// A number below another.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(bound as u64)).unwrap()
    }

    /// Whether something happens that happens once in so many times.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// An id of 16 bytes.
    pub(crate) fn uuid(&mut self) -> String {
        uuid::Uuid::from_u64_pair(self.0.next(), self.0.next()).to_string()
    }
}

/// Texts that mean something somewhere, or nothing anywhere.
const TEXTS: [&str; 14] = [
    "order-1",
    "a",
    "größe-ß",
    "OrderPlaced",
    "colour:red",
    "application/json",
    "e30=",
    "reader",
    TRACEPARENT,
    "",
    "-a",
    "$meta-a",
    "a\nb",
    "\u{1f600}",
];
const TRACEPARENT: &str = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01";
const TIMES: [&str; 3] = ["2026-01-02T03:04:05.000006Z", "1969-12-31T23:59:59Z", "unix-us:-1"];
/// How long it is waited for what may never come.
pub(crate) const SOON_MS: u64 = 100;
const NUMBERS: [u64; 7] = [0, 0, 1, 2, 7, 4_294_967_296, u64::MAX];

/// A value of a schema, as far as it is understood; below some depth a small one.
pub(crate) fn value(random: &mut Random, document: &Value, schema: &Value, depth: usize) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = document.pointer(reference.trim_start_matches('#')).unwrap();
        return value(random, document, found, depth);
    }
    if let Some(options) = schema["enum"].as_array() {
        return options[random.below(options.len())].clone();
    }
    for name in ["anyOf", "oneOf"] {
        if let Some(options) = schema[name].as_array() {
            let option = &options[random.below(options.len())];
            return value(random, document, option, depth);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[random.below(kinds.len())].as_str().unwrap(),
        Value::String(kind) => kind,
        _ => return any(random, depth),
    };
    match kind {
        "null" => Value::Null,
        "boolean" => json!(random.one_in(2)),
        "integer" => {
            let max = schema["maximum"].as_u64().unwrap_or(u64::MAX);
            json!(NUMBERS[random.below(NUMBERS.len())].min(max))
        }
        "number" => json!(1.5),
        "string" => text(random, schema).into(),
        "array" => {
            let count = if depth > 4 { 0 } else { random.below(4) };
            (0..count).map(|_| value(random, document, &schema["items"], depth + 1)).collect()
        }
        "object" => object(random, document, schema, depth),
        other => panic!("no type of JSON: {other}"),
    }
}

fn text(random: &mut Random, schema: &Value) -> String {
    match (schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some("uuid"), _) => random.uuid(),
        (Some("date-time"), _) => random.pick(&TIMES).to_owned(),
        (_, Some(_)) => random.pick(&["0", "ff", "0123456789abcdef"]).to_owned(),
        _ => random.pick(&TEXTS).to_owned(),
    }
}

fn object(random: &mut Random, document: &Value, schema: &Value, depth: usize) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut made = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if required.contains(&json!(name)) || random.one_in(3) {
            let known = if random.one_in(6) { None } else { sensible(random, name) };
            let made_up = known.unwrap_or_else(|| value(random, document, property, depth + 1));
            made.insert(name.clone(), made_up);
        }
    }
    // Most positions that are made up are never reached: nobody waits for them as long as a server would.
    if made.contains_key("min_position") {
        made.entry("timeout_ms").or_insert(json!(SOON_MS));
    }
    // Two forms of one thing are too much of it.
    for name in ["data", "metadata", "state"] {
        if made.contains_key(name) && !random.one_in(10) {
            made.remove(&format!("{name}_base64"));
        }
    }
    made.into()
}

/// What a field of this name mostly is: few requests would be right otherwise.
fn sensible(random: &mut Random, name: &str) -> Option<Value> {
    Some(match name {
        "tags" => json!(["colour:red"]),
        "types" => json!(["OrderPlaced"]),
        "type" => json!("OrderPlaced"),
        "stream" => json!(format!("s-{}", random.below(40))),
        "data_base64" | "metadata_base64" | "state_base64" => json!("e30="),
        "traceparent" => json!(TRACEPARENT),
        "role" => json!("reader"),
        "fold_version" => json!(0),
        "upcaster_hash" => json!("0"),
        "source" => json!("group:kept"),
        "consumer" => json!("a"),
        // A projection's, as its path has it; for others any is as good.
        "name" => json!("p-1"),
        "version" => json!(1),
        "key" => json!("/stream"),
        "sink" => json!("kv"),
        "sort" | "highlight" => json!([]),
        "limit" => json!(10),
        "min_position" => json!(0),
        "timeout_ms" => json!(SOON_MS),
        "access" => json!("union"),
        "delete" => json!(["OrderErased"]),
        "fields" => json!({ "count": { "type": "u64", "fold": "count" } }),
        "tokens" => json!([]),
        "ids" => json!(["3"]),
        "all" => json!(false),
        "action" => json!("park"),
        "mode" => json!("ordered"),
        "to" => json!("stream:s-led"),
        "path" => json!("/data/a"),
        "op" => json!("eq"),
        // Of the group that is kept it has all there is.
        "lane" => json!(1),
        "lane_by" => json!("stream"),
        "class" => json!("timeout"),
        "then" => json!("leave"),
        "retry_after_ms" => json!([60_000]),
        "rate_per_s" | "parked_rate_per_s" => json!(5),
        "lanes" | "max" | "max_attempts" | "max_in_flight" | "max_in_flight_per_lane" => json!(8),
        "ack_deadline_ms" => json!(30_000),
        "initial_ms" | "max_ms" | "wait_ms" => json!(1),
        // Of a snapshot it may be anything.
        "state" => json!("active"),
        "up" => json!([]),
        "compatibility" => json!("NONE"),
        "validation" => json!("off"),
        "format" => json!("json"),
        // One that lets through whoever asks next.
        "files" => {
            let all =
                ["append", "read", "as_of", "subscribe", "group", "route", "timer", "snapshot"];
            let all = all.into_iter().chain(["schema", "policy", "admin", "erase"]);
            let all = all.chain(["projection", "search"]);
            let rule = |action| format!("package nexus.{action}\ndecision := {{\"allow\": true}}");
            all.map(|action| (format!("{action}.rego"), json!(rule(action)))).collect()
        }
        _ => return None,
    })
}

fn any(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth > 4 { 4 } else { 6 }) {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 => json!(-12.5),
        3 => random.pick(&TEXTS).into(),
        4 => json!([any(random, depth + 1)]),
        _ => json!({ "a": any(random, depth + 1) }),
    }
}

/// Spoils a value somewhere: a field too many or too few, another type, or what is no number here.
pub(crate) fn spoil(random: &mut Random, value: &mut Value) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !random.one_in(3) => {
            let at = random.below(fields.len());
            let name = fields.keys().nth(at).unwrap().clone();
            match random.below(4) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(format!("{name}x"), json!(1))),
                _ => spoil(random, &mut fields[&name]),
            }
        }
        Value::Array(items) if !items.is_empty() && !random.one_in(3) => {
            let at = random.below(items.len());
            spoil(random, &mut items[at]);
        }
        other => {
            let spoilt = [
                json!(null),
                json!(-1),
                json!(1.5),
                json!("x".repeat(600)),
                json!([[]]),
                json!({ "x": {} }),
                json!(true),
                json!(1e300),
                json!("\u{0}"),
            ];
            *other = spoilt[random.below(spoilt.len())].clone();
        }
    }
}

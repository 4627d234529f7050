//! [`Question`]: something that is asked of things, which can be said as a tree and in the query language, and looked for in a
//! document without an index.

use serde_json::{Map, Value, json};

use super::things::{PATHS, STATES, WORDS, address, day};
use crate::Random;

type Document = Map<String, Value>;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// Nothing: all of them.
    All,
    /// A word of the title.
    Word(&'static str),
    /// Two words of the title, side by side.
    Phrase(&'static str, &'static str),
    /// A field is this, or has it.
    Is(&'static str, Value),
    /// A field is one of these.
    OneOf(&'static str, Vec<Value>),
    /// A field is at least this, and less than that.
    Within(&'static str, Value, Value),
    /// A field has a value.
    Has(&'static str),
    /// The path is this, or in it.
    Under(&'static str),
    /// What is in `extra`, by its path, is this.
    Inside(&'static str, Value),
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
}

/// A word as it is compared: in lower case and without accents.
fn plain(word: &str) -> String {
    word.to_lowercase().replace('é', "e")
}

fn words(document: &Document) -> Vec<String> {
    let title = document.get("title").and_then(Value::as_str).unwrap_or_default();
    title.split(' ').map(plain).collect()
}

/// How two values of a field compare: numbers as numbers, all else as text.
pub(super) fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => match (a.as_bool(), b.as_bool()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_str().cmp(&b.as_str()),
        },
    }
}

fn equals(found: &Value, wanted: &Value) -> bool {
    match found {
        Value::Array(items) => items.iter().any(|item| equals(item, wanted)),
        found => compare(found, wanted).is_eq(),
    }
}

/// A value in the query language.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        value => value.to_string(),
    }
}

impl Question {
    /// Any, so deep.
    pub(super) fn random(random: &mut Random, depth: u32) -> Self {
        let some = |random: &mut Random| -> Vec<Self> {
            (0..2 + random.below(2)).map(|_| Self::random(random, depth - 1)).collect()
        };
        match random.below(6) {
            0 | 1 if depth > 0 => Self::And(some(random)),
            2 | 3 if depth > 0 => Self::Or(some(random)),
            4 if depth > 0 => Self::Not(Box::new(Self::random(random, depth - 1))),
            _ => Self::part(random),
        }
    }

    fn part(random: &mut Random) -> Self {
        let word = |random: &mut Random| *random.pick(&WORDS).unwrap();
        let state = |random: &mut Random| json!(random.pick(&STATES).unwrap());
        let (low, some) = (random.below(15), 1 + random.below(8));
        let delta = |it: u64| json!(i64::try_from(it).unwrap() - 10);
        let price = |it: u64| json!(f64::from(u32::try_from(it).unwrap()) / 2.0);
        match random.below(20) {
            0 | 1 => Self::Word(word(random)),
            2 => Self::Phrase(word(random), word(random)),
            3 => Self::Is("status", state(random)),
            4 => Self::Is("labels", json!(format!("l{}", random.below(5)))),
            5 => Self::Is("count", json!(random.below(20))),
            6 => Self::Is("delta", delta(random.below(20))),
            7 => Self::Is("open", json!(random.one_in(2))),
            8 => Self::Is("at", json!(day(random.below(28)))),
            9 => Self::Is("from", json!(address(random.below(20)))),
            10 => Self::OneOf("status", vec![state(random), state(random)]),
            11 => Self::OneOf("count", (0..4).map(|_| json!(random.below(20))).collect()),
            12 => Self::Within("count", json!(low), json!(low + some)),
            13 => Self::Within("delta", delta(low), delta(low + some)),
            14 => Self::Within("price", price(low), price(low + some)),
            15 => Self::Within("at", json!(day(low)), json!(day(low + some))),
            16 => {
                let fields = ["status", "count", "delta", "price", "open", "at", "from", "labels"];
                Self::Has(random.pick(&fields).unwrap())
            }
            17 => Self::Under(random.pick(&PATHS).unwrap()),
            18 if random.one_in(2) => Self::Inside("n", json!(random.below(5))),
            18 => Self::Inside("s", json!(word(random))),
            _ => Self::All,
        }
    }

    /// As a tree.
    pub(super) fn tree(&self) -> Value {
        let all = |parts: &[Self]| parts.iter().map(Self::tree).collect::<Vec<_>>();
        match self {
            Self::All => json!({ "match_all": {} }),
            Self::Word(word) => json!({ "match": { "title": word } }),
            Self::Phrase(a, b) => json!({ "match_phrase": { "title": format!("{a} {b}") } }),
            Self::Is(field, value) => json!({ "term": { *field: value } }),
            Self::OneOf(field, values) => json!({ "terms": { *field: values } }),
            Self::Within(field, low, high) => {
                json!({ "range": { *field: { "gte": low, "lt": high } } })
            }
            Self::Has(field) => json!({ "exists": { "field": field } }),
            Self::Under(path) => json!({ "term": { "path": path } }),
            // There is no other form of it.
            Self::Inside(..) => json!(self.text()),
            Self::And(parts) => {
                let mut parts = all(parts);
                let last = parts.pop();
                json!({ "bool": { "must": parts, "filter": last } })
            }
            Self::Or(parts) => json!({ "bool": { "should": all(parts) } }),
            Self::Not(part) => json!({ "bool": { "must_not": part.tree() } }),
        }
    }

    /// In the query language.
    pub(super) fn text(&self) -> String {
        let all = |parts: &[Self], with: &str| {
            let parts: Vec<_> = parts.iter().map(Self::text).collect();
            format!("({})", parts.join(with))
        };
        match self {
            Self::All => "*".to_owned(),
            Self::Word(word) => format!("title:{word}"),
            Self::Phrase(a, b) => format!("title:\"{a} {b}\""),
            Self::Is(field, value) => format!("{field}:{}", quoted(value)),
            Self::OneOf(field, values) => {
                let values: Vec<_> = values.iter().map(quoted).collect();
                format!("{field}:IN [{}]", values.join(" "))
            }
            Self::Within(field, low, high) => {
                let plain = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
                format!("{field}:[{} TO {}}}", plain(low), plain(high))
            }
            Self::Has(field) => format!("{field}:*"),
            Self::Under(path) => format!("path:\"{path}\""),
            Self::Inside(path, value) => format!("extra.{path}:{}", quoted(value)),
            Self::And(parts) => all(parts, " AND "),
            Self::Or(parts) => all(parts, " OR "),
            Self::Not(part) => format!("(NOT {})", part.text()),
        }
    }

    /// Whether a document is what is asked for.
    pub(super) fn takes(&self, document: &Document) -> bool {
        let of = |field: &str| document.get(field);
        match self {
            Self::All => true,
            Self::Word(word) => words(document).contains(&plain(word)),
            Self::Phrase(a, b) => {
                words(document).windows(2).any(|two| *two == [plain(a), plain(b)])
            }
            Self::Is(field, value) => of(field).is_some_and(|it| equals(it, value)),
            Self::OneOf(field, values) => {
                of(field).is_some_and(|it| values.iter().any(|value| equals(it, value)))
            }
            Self::Within(field, low, high) => {
                of(field).is_some_and(|it| compare(it, low).is_ge() && compare(it, high).is_lt())
            }
            Self::Has(field) => of(field).is_some(),
            Self::Under(path) => {
                let within = |it: &str| it == *path || it.starts_with(&format!("{path}/"));
                of("path").and_then(Value::as_str).is_some_and(within)
            }
            Self::Inside(path, value) => match (of("extra").and_then(|it| it.get(path)), value) {
                (Some(Value::String(found)), Value::String(wanted)) => {
                    plain(found) == plain(wanted)
                }
                (found, wanted) => found == Some(wanted),
            },
            Self::And(parts) => parts.iter().all(|part| part.takes(document)),
            Self::Or(parts) => parts.iter().any(|part| part.takes(document)),
            Self::Not(part) => !part.takes(document),
        }
    }
}

//! Expressions: what is computed from the fields of a document, or makes its key from an event.
//!
//! They are written as those of [transforms of schemas] are. An expression has a value or none, and never fails: it has none
//! where something that it needs is not there, is of another kind, or where a number would be out of bounds.
//!
//! [transforms of schemas]: https://example.invalid/nexus/docs/reference/transforms.md

use nexus_protocol::Timestamp;
use nexus_protocol::limits::{COMPUTE_DEPTH_MAX, COMPUTE_PARTS_MAX, DOCUMENT_TEXT_BYTES_MAX};
use serde_json::{Map, Value as Json};

use super::field::{FieldType, Value};

/// An expression over leaves of one kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression<L> {
    /// What is there.
    Leaf(L),
    /// This.
    Value(Datum),
    /// Something made of others.
    Call(Function, Vec<Self>),
}

/// A value that expressions work on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Datum {
    Whole(i128),
    /// Two whole numbers of which the first is no multiple of the second.
    Ratio(i128, i128),
    Float(f64),
    Text(String),
    Bool(bool),
    Date(Timestamp),
}

/// How a value is made of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Add,
    Subtract,
    Multiply,
    Divide,
    SecondsBetween,
    Concat,
    FirstOf,
}

impl Function {
    const ALL: [Self; 7] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::SecondsBetween,
        Self::Concat,
        Self::FirstOf,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::SecondsBetween => "seconds_between",
            Self::Concat => "concat",
            Self::FirstOf => "first_of",
        }
    }

    /// How many it takes, if that is fixed; otherwise one or more.
    fn takes(self) -> Option<usize> {
        match self {
            Self::Divide | Self::SecondsBetween => Some(2),
            _ => None,
        }
    }
}

impl<L> Expression<L> {
    /// Reads one; `leaf` reads what its leaves are, by the word that they are written with.
    ///
    /// # Errors
    /// Says what is wrong, and what to write.
    pub(super) fn read(
        json: &Json,
        word: &'static str,
        leaf: &mut impl FnMut(&str) -> Result<L, String>,
    ) -> Result<Self, String> {
        let mut parts = 0;
        Self::part(json, word, leaf, COMPUTE_DEPTH_MAX, &mut parts)
    }

    fn part(
        json: &Json,
        word: &'static str,
        leaf: &mut impl FnMut(&str) -> Result<L, String>,
        depth: usize,
        parts: &mut usize,
    ) -> Result<Self, String> {
        *parts += 1;
        if depth == 0 || *parts > COMPUTE_PARTS_MAX {
            return Err(format!(
                "an expression has at most {COMPUTE_PARTS_MAX} parts, {COMPUTE_DEPTH_MAX} deep"
            ));
        }
        let one = json.as_object().filter(|it| it.len() == 1).and_then(|it| it.iter().next());
        let Some((name, inner)) = one else {
            let words = Function::ALL.map(Function::word).join(", ");
            return Err(format!(
                "an expression is {{\"{word}\": …}}, {{\"value\": …}}, or one of {words} of a list"
            ));
        };
        if name == word {
            let text = inner.as_str().ok_or_else(|| format!("`{word}` takes a text"))?;
            return leaf(text).map(Self::Leaf);
        }
        if name == "value" {
            let datum = Datum::of_json(inner);
            return datum
                .map(Self::Value)
                .ok_or_else(|| "`value` takes a text, a number, true, or false".to_owned());
        }
        let function = Function::ALL.into_iter().find(|it| it.word() == name);
        let function = function.ok_or_else(|| {
            let words = Function::ALL.map(Function::word).join(", ");
            format!("there is no {name:?}: an expression is `{word}`, `value`, or one of {words}")
        })?;
        let list = inner.as_array().filter(|list| !list.is_empty());
        let list = list.filter(|list| function.takes().is_none_or(|it| it == list.len()));
        let Some(list) = list else {
            let many = match function.takes() {
                Some(count) => format!("{count} expressions"),
                None => "expressions".to_owned(),
            };
            return Err(format!("`{name}` takes a list of {many}"));
        };
        let arguments = list.iter().map(|it| Self::part(it, word, leaf, depth - 1, parts));
        Ok(Self::Call(function, arguments.collect::<Result<_, _>>()?))
    }

    /// Its value, where `leaf` says what its leaves are.
    pub(super) fn value(&self, leaf: &impl Fn(&L) -> Option<Datum>) -> Option<Datum> {
        let (function, arguments) = match self {
            Self::Leaf(it) => return leaf(it),
            Self::Value(datum) => return Some(datum.clone()),
            Self::Call(function, arguments) => (*function, arguments),
        };
        let mut values = arguments.iter().map(|it| it.value(leaf));
        match function {
            Function::FirstOf => values.flatten().next(),
            Function::Concat => {
                let mut text = String::new();
                for value in values {
                    text.push_str(&value?.to_text());
                    if text.len() > DOCUMENT_TEXT_BYTES_MAX {
                        return None;
                    }
                }
                Some(Datum::Text(text))
            }
            Function::SecondsBetween => match (values.next()??, values.next()??) {
                (Datum::Date(from), Datum::Date(to)) => {
                    let micros = i128::from(to.as_micros()) - i128::from(from.as_micros());
                    Some(Datum::ratio(micros, 1_000_000))
                }
                _ => None,
            },
            Function::Add | Function::Subtract | Function::Multiply | Function::Divide => {
                let first = values.next()??;
                values.try_fold(first, |sum, next| calculated(function, &sum, &next?))
            }
        }
    }

    /// Whether it is made by a function.
    pub(super) fn calls(&self, function: Function) -> bool {
        match self {
            Self::Leaf(_) | Self::Value(_) => false,
            Self::Call(called, arguments) => {
                *called == function || arguments.iter().any(|it| it.calls(function))
            }
        }
    }

    /// All leaves.
    pub(super) fn leaves<'e>(&'e self, out: &mut Vec<&'e L>) {
        match self {
            Self::Leaf(leaf) => out.push(leaf),
            Self::Value(_) => {}
            Self::Call(_, arguments) => arguments.iter().for_each(|it| it.leaves(out)),
        }
    }
}

/// Whole numbers exactly, with floats as floats.
fn calculated(function: Function, a: &Datum, b: &Datum) -> Option<Datum> {
    if let (Datum::Whole(a), Datum::Whole(b)) = (a, b) {
        let whole = match function {
            Function::Add => a.checked_add(*b),
            Function::Subtract => a.checked_sub(*b),
            Function::Multiply => a.checked_mul(*b),
            _ if *b == 0 => return None,
            _ => return Some(Datum::ratio(*a, *b)),
        };
        return whole.map(Datum::Whole);
    }
    let (a, b) = (a.float()?, b.float()?);
    let float = match function {
        Function::Add => a + b,
        Function::Subtract => a - b,
        Function::Multiply => a * b,
        _ => a / b,
    };
    float.is_finite().then_some(Datum::Float(float))
}

#[expect(clippy::cast_precision_loss, reason = "a float is what is nearest")]
pub(super) fn nearest(whole: i128) -> f64 {
    whole as f64
}

impl Datum {
    /// One whole number by another that is not 0: whole where that is exact.
    fn ratio(a: i128, b: i128) -> Self {
        match (a.checked_rem(b), a.checked_div(b)) {
            (Some(0), Some(whole)) => Self::Whole(whole),
            _ => Self::Ratio(a, b),
        }
    }

    /// What JSON says, of what expressions work on.
    pub(super) fn of_json(json: &Json) -> Option<Self> {
        Some(match json {
            Json::String(text) => Self::Text(text.clone()),
            Json::Bool(bool) => Self::Bool(*bool),
            Json::Number(number) => match number.as_i128() {
                Some(whole) => Self::Whole(whole),
                None => Self::Float(number.as_f64().filter(|it| it.is_finite())?),
            },
            _ => return None,
        })
    }

    pub(super) fn of_value(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Text(text) => Self::Text(text.clone()),
            Value::U64(number) => Self::Whole((*number).into()),
            Value::I64(number) => Self::Whole((*number).into()),
            Value::F64(number) => Self::Float(*number),
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Date(at) => Self::Date(*at),
            Value::Ip(address) => Self::Text(address.to_string()),
            Value::Json(json) => return Self::of_json(json),
        })
    }

    fn float(&self) -> Option<f64> {
        match self {
            Self::Whole(number) => Some(nearest(*number)),
            Self::Ratio(a, b) => Some(nearest(*a) / nearest(*b)),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Ratio(..) | Self::Float(_) => Json::from(self.float()).to_string(),
            Self::Text(text) => text.clone(),
            Self::Bool(bool) => bool.to_string(),
            Self::Date(at) => at.to_string(),
        }
    }

    fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Whole(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => return None,
            },
            Self::Ratio(..) | Self::Float(_) => self.float()?.into(),
            Self::Bool(bool) => Json::Bool(*bool),
            Self::Text(_) | Self::Date(_) => Json::String(self.to_text()),
        })
    }

    /// It as a value of a field: numbers are cut to whole ones where the field holds these.
    pub(super) fn to_value(&self, field_type: FieldType) -> Option<Value> {
        match (field_type, self) {
            (_, Self::Text(text)) if text.len() > DOCUMENT_TEXT_BYTES_MAX => None,
            (FieldType::Json, datum) => datum.to_json().map(Value::Json),
            (FieldType::U64 | FieldType::I64, Self::Ratio(a, b)) => {
                Self::Whole(a.checked_div(*b)?).to_value(field_type)
            }
            (FieldType::U64, Self::Whole(number)) => u64::try_from(*number).ok().map(Value::U64),
            (FieldType::I64, Self::Whole(number)) => i64::try_from(*number).ok().map(Value::I64),
            (FieldType::U64 | FieldType::I64, Self::Float(number)) => {
                Self::Whole(cut(*number)?).to_value(field_type)
            }
            (FieldType::F64, number) => number.float().and_then(Value::finite),
            (FieldType::Date, Self::Date(at)) => Some(Value::Date(*at)),
            (FieldType::Bool, Self::Bool(bool)) => Some(Value::Bool(*bool)),
            (FieldType::Text | FieldType::Keyword, datum) => Some(Value::Text(datum.to_text())),
            (_, Self::Text(text)) => field_type.value(&Json::String(text.clone())).ok().flatten(),
            _ => None,
        }
    }
}

/// The whole part of a number that 128 bits hold.
#[expect(clippy::cast_possible_truncation, reason = "it is whole, and within 100 bits")]
fn cut(number: f64) -> Option<i128> {
    let whole = number.trunc();
    (whole.abs() < 2_f64.powi(100)).then_some(whole as i128)
}

/// An expression that is written as a text alone, or as an object.
pub(super) fn or_leaf(json: &Json, word: &str) -> Json {
    match json {
        Json::String(text) => {
            Json::Object(Map::from_iter([(word.to_owned(), Json::String(text.clone()))]))
        }
        json => json.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(json: &Json) -> Option<Datum> {
        let mut leaf = |name: &str| Ok(name.to_owned());
        let expression = Expression::read(json, "field", &mut leaf).unwrap();
        expression.value(&|name: &String| match name.as_str() {
            "two" => Some(Datum::Whole(2)),
            "half" => Some(Datum::Float(0.5)),
            "word" => Some(Datum::Text("word".to_owned())),
            "day" => Some(Datum::Date(Timestamp::from_micros(86_400_000_000))),
            "late" => Some(Datum::Date(Timestamp::from_micros(86_401_500_000))),
            _ => None,
        })
    }

    #[test]
    fn expressions_have_the_value_that_they_say() {
        let field = |name: &str| json!({ "field": name });
        let of = |function: &str, names: &[&str]| {
            let list: Vec<_> = names.iter().map(|it| field(it)).collect();
            json!({ function: list })
        };
        for (json, wanted) in [
            (of("add", &["two", "two", "half"]), Some(Datum::Float(4.5))),
            (of("subtract", &["two", "two", "two"]), Some(Datum::Whole(-2))),
            (of("multiply", &["two", "two"]), Some(Datum::Whole(4))),
            (json!({ "divide": [{ "value": 7 }, field("two")] }), Some(Datum::Ratio(7, 2))),
            (json!({ "divide": [{ "value": 8 }, field("two")] }), Some(Datum::Whole(4))),
            (json!({ "divide": [{ "value": 8 }, { "value": 0 }] }), None),
            (json!({ "divide": [{ "value": 8.0 }, { "value": 0 }] }), None),
            (of("add", &["two", "word"]), None),
            (of("add", &["two", "none"]), None),
            (of("seconds_between", &["day", "late"]), Some(Datum::Ratio(1_500_000, 1_000_000))),
            (of("seconds_between", &["late", "late"]), Some(Datum::Whole(0))),
            (of("seconds_between", &["day", "two"]), None),
            (of("concat", &["word", "two", "half"]), Some(Datum::Text("word20.5".to_owned()))),
            (of("concat", &["word", "none"]), None),
            (of("first_of", &["none", "word", "two"]), Some(Datum::Text("word".to_owned()))),
            (of("first_of", &["none"]), None),
        ] {
            assert_eq!(value(&json), wanted, "{json}");
        }
    }

    #[test]
    fn what_is_computed_is_cut_to_what_a_field_holds() {
        for (datum, field_type, wanted) in [
            (Datum::Float(3.9), FieldType::I64, Some(Value::I64(3))),
            (Datum::Float(-3.9), FieldType::I64, Some(Value::I64(-3))),
            (Datum::Float(-3.9), FieldType::U64, None),
            (Datum::Float(1e300), FieldType::I64, None),
            (Datum::Whole(i128::from(u64::MAX) + 1), FieldType::U64, None),
            (Datum::Whole(3), FieldType::F64, Some(Value::F64(3.0))),
            (Datum::Whole(3), FieldType::Keyword, Some(Value::Text("3".to_owned()))),
            (Datum::Text("12".to_owned()), FieldType::U64, Some(Value::U64(12))),
            (Datum::Bool(true), FieldType::Date, None),
            (Datum::Ratio(i128::from(i64::MAX), 2), FieldType::I64, Some(Value::I64(i64::MAX / 2))),
            (Datum::Ratio(7, 2), FieldType::F64, Some(Value::F64(3.5))),
            (Datum::Ratio(7, 2), FieldType::Json, Some(Value::Json(json!(3.5)))),
            (Datum::Ratio(7, 2), FieldType::Keyword, Some(Value::Text("3.5".to_owned()))),
            (Datum::Text("x".repeat(DOCUMENT_TEXT_BYTES_MAX + 1)), FieldType::Text, None),
        ] {
            assert_eq!(datum.to_value(field_type), wanted, "{datum:?}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let read = |json: &Json| {
            let mut leaf = |name: &str| Ok(name.to_owned());
            Expression::<String>::read(json, "field", &mut leaf).unwrap_err()
        };
        assert!(read(&json!("a")).contains("{\"field\": …}"));
        assert!(read(&json!({ "plus": [] })).contains("there is no \"plus\""));
        assert!(read(&json!({ "add": [] })).contains("takes a list of expressions"));
        assert!(read(&json!({ "divide": [{ "value": 1 }] })).contains("2 expressions"));
        assert!(read(&json!({ "value": null })).contains("takes a text"));
        let mut deep = json!({ "value": 1 });
        for _ in 0..COMPUTE_DEPTH_MAX {
            deep = json!({ "add": [deep] });
        }
        assert!(read(&deep).contains("deep"));
        let wide: Vec<_> = (0..COMPUTE_PARTS_MAX).map(|_| json!({ "value": 1 })).collect();
        assert!(read(&json!({ "add": wide })).contains("parts"));
    }
}

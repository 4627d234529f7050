//! [`FieldType`]: what a field of a document may hold, and [`Value`]: what it holds.

use std::fmt;
use std::net::IpAddr;

use nexus_protocol::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Bytes of the path of a facet.
const FACET_BYTES_MAX: usize = 1_024;

/// What a field of a document may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// A text that is searched word by word.
    Text,
    /// A text that is compared as a whole.
    Keyword,
    /// A whole number from 0, of 64 bits.
    U64,
    /// A whole number of 64 bits.
    I64,
    /// A floating-point number of 64 bits that is finite.
    F64,
    /// True or false.
    Bool,
    /// A point in time, with microseconds.
    Date,
    /// An address of the internet protocol, version 4 or 6.
    Ip,
    /// A place in a hierarchy: `/books/crime`.
    Facet,
    /// Anything that JSON can say.
    Json,
}

impl FieldType {
    /// Its name in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Keyword => "keyword",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Ip => "ip",
            Self::Facet => "facet",
            Self::Json => "json",
        }
    }

    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Self::U64 | Self::I64 | Self::F64)
    }

    /// Whether its values are whole numbers.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::U64 | Self::I64)
    }

    /// Whether one of two values is the greater one.
    pub fn is_ordered(self) -> bool {
        !matches!(self, Self::Json | Self::Facet | Self::Bool)
    }

    /// The value of this type that JSON says exactly; `None`: nothing is there. Texts of numbers, times, and so on are
    /// read, so that what was imported from a table needs no other form; an empty one of them is nothing.
    pub(super) fn value(self, json: &Json) -> Result<Option<Value>, Mismatch> {
        let read = match (self, json) {
            (Self::Json, json) => return Ok(Some(Value::Json(json.clone()))),
            (_, Json::Null) => return Ok(None),
            (Self::Text | Self::Keyword, Json::String(text)) => Some(Value::Text(text.clone())),
            (Self::Text | Self::Keyword, Json::Number(_) | Json::Bool(_)) => {
                Some(Value::Text(json.to_string()))
            }
            (_, Json::String(text)) if text.is_empty() => return Ok(None),
            (Self::U64, Json::Number(number)) => number.as_u64().map(Value::U64),
            (Self::I64, Json::Number(number)) => number.as_i64().map(Value::I64),
            (Self::F64, Json::Number(number)) => number.as_f64().and_then(Value::finite),
            (Self::U64, Json::String(text)) => text.parse().ok().map(Value::U64),
            (Self::I64, Json::String(text)) => text.parse().ok().map(Value::I64),
            (Self::F64, Json::String(text)) => text.parse().ok().and_then(Value::finite),
            (Self::Bool, Json::Bool(bool)) => Some(Value::Bool(*bool)),
            (Self::Bool, Json::String(text)) => text.parse().ok().map(Value::Bool),
            (Self::Date, Json::String(text)) => text.parse().ok().map(Value::Date),
            (Self::Ip, Json::String(text)) => text.parse().ok().map(Value::Ip),
            (Self::Facet, Json::String(text)) => is_facet(text).then(|| Value::Text(text.clone())),
            _ => None,
        };
        read.map(Some).ok_or_else(|| Mismatch {
            found: json.to_string().chars().take(64).collect(),
            wanted: self,
        })
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_facet(text: &str) -> bool {
    let steps = text.strip_prefix('/');
    text.len() <= FACET_BYTES_MAX
        && steps.is_some_and(|steps| steps.split('/').all(|step| !step.is_empty()))
}

/// What is there is of another type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) found: String,
    pub(super) wanted: FieldType,
}

/// What a field of a document holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a text, a keyword, or a facet.
    Text(String),
    /// A whole number from 0.
    U64(u64),
    /// A whole number.
    I64(i64),
    /// A number that is finite.
    F64(f64),
    /// True or false.
    Bool(bool),
    /// A point in time.
    Date(Timestamp),
    /// An address.
    Ip(IpAddr),
    /// Anything that JSON can say.
    Json(Json),
}

impl Value {
    /// A number, if it is one that JSON can say.
    pub(super) fn finite(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self::F64(number))
    }

    /// Its JSON form.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => Json::String(text.clone()),
            Self::U64(number) => (*number).into(),
            Self::I64(number) => (*number).into(),
            Self::F64(number) => (*number).into(),
            Self::Bool(bool) => Json::Bool(*bool),
            Self::Date(at) => Json::String(at.to_string()),
            Self::Ip(address) => Json::String(address.to_string()),
            Self::Json(json) => json.clone(),
        }
    }

    /// How it compares with another of its type; `None`: these two do not.
    pub(super) fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::U64(a), Self::U64(b)) => Some(a.cmp(b)),
            (Self::I64(a), Self::I64(b)) => Some(a.cmp(b)),
            (Self::F64(a), Self::F64(b)) => a.partial_cmp(b),
            (Self::Date(a), Self::Date(b)) => Some(a.cmp(b)),
            (Self::Ip(a), Self::Ip(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// About how many bytes of memory it takes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => 32 + text.len(),
            Self::Json(json) => json_weight(json),
            _ => 32,
        }
    }
}

/// About how many bytes of memory JSON takes. The members of an object stand in nodes of eleven.
pub(super) fn json_weight(json: &Json) -> usize {
    32 + match json {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(json_weight).sum(),
        Json::Object(members) => {
            let inner = |(name, value): (&String, &Json)| name.len() + json_weight(value);
            640 * members.len().div_ceil(11) + members.iter().map(inner).sum::<usize>()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_where_they_say_exactly_that() {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        for (field_type, json, wanted) in [
            (FieldType::Text, json!("a b"), Some(Value::Text("a b".to_owned()))),
            (FieldType::Keyword, json!(""), Some(Value::Text(String::new()))),
            (FieldType::Keyword, json!(7), Some(Value::Text("7".to_owned()))),
            (FieldType::Keyword, json!(true), Some(Value::Text("true".to_owned()))),
            (FieldType::U64, json!(u64::MAX), Some(Value::U64(u64::MAX))),
            (FieldType::U64, json!("12"), Some(Value::U64(12))),
            (FieldType::U64, json!(""), None),
            (FieldType::I64, json!(-3), Some(Value::I64(-3))),
            (FieldType::F64, json!(1), Some(Value::F64(1.0))),
            (FieldType::F64, json!("1.5"), Some(Value::F64(1.5))),
            (FieldType::Bool, json!("false"), Some(Value::Bool(false))),
            (FieldType::Date, json!("2026-01-02T04:04:05+01:00"), Some(Value::Date(at))),
            (FieldType::Ip, json!("::1"), Some(Value::Ip("::1".parse().unwrap()))),
            (FieldType::Facet, json!("/a/b"), Some(Value::Text("/a/b".to_owned()))),
            (FieldType::Json, json!(null), Some(Value::Json(Json::Null))),
            (FieldType::Text, json!(null), None),
        ] {
            assert_eq!(field_type.value(&json), Ok(wanted), "{field_type} {json}");
        }
    }

    #[test]
    fn what_says_something_else_is_refused() {
        for (field_type, json) in [
            (FieldType::Text, json!(["a"])),
            (FieldType::U64, json!(-1)),
            (FieldType::U64, json!(1.5)),
            (FieldType::U64, json!("1e3")),
            (FieldType::I64, json!(u64::MAX)),
            (FieldType::F64, json!("NaN")),
            (FieldType::F64, json!("inf")),
            (FieldType::Bool, json!(1)),
            (FieldType::Date, json!(0)),
            (FieldType::Date, json!("yesterday")),
            (FieldType::Ip, json!("1.2.3")),
            (FieldType::Facet, json!("a/b")),
            (FieldType::Facet, json!("/a//b")),
        ] {
            let refused = field_type.value(&json).unwrap_err();
            assert_eq!(refused.wanted, field_type, "{json}");
        }
    }
}

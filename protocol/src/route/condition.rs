//! [`Condition`]: a comparison of one value of an event, as its JSON form has it, with another.
//!
//! A path is an [`EventPointer`]. Numbers are compared as numbers, strings as strings, byte by byte: so times in RFC 3339 of
//! one offset compare as times. A path that leads nowhere fulfils no condition but that it is not there; nor do data that
//! are not JSON.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde_json::{Number, Value};

use crate::error::Invalid;
use crate::limits::{CONDITION_VALUE_BYTES_MAX, CONDITIONS_MAX};
use crate::pointer::{EventPointer, Looked};
use crate::record::RecordedEvent;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// It is equal.
    Eq,
    /// It is there, and another.
    Ne,
    /// It is less.
    Lt,
    /// It is less, or equal.
    Le,
    /// It is greater.
    Gt,
    /// It is greater, or equal.
    Ge,
    /// It is one of a list.
    In,
    /// It is there; with the value `false`, it is not.
    Exists,
    /// It is a string that begins so.
    Prefix,
}

/// All operators.
const OPERATORS: [Operator; 9] = [
    Operator::Eq,
    Operator::Ne,
    Operator::Lt,
    Operator::Le,
    Operator::Gt,
    Operator::Ge,
    Operator::In,
    Operator::Exists,
    Operator::Prefix,
];

impl Operator {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::In => "in",
            Self::Exists => "exists",
            Self::Prefix => "prefix",
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Operator {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        OPERATORS.into_iter().find(|op| op.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = OPERATORS.iter().map(|op| op.as_str()).collect();
            let shown: String = text.chars().take(32).collect();
            invalid(format!("operator {shown:?} is none of {}", names.join(", ")))
        })
    }
}

fn invalid(why: String) -> Invalid {
    Invalid::Request(why)
}

/// A comparison of one value of an event with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    path: EventPointer,
    op: Operator,
    value: Value,
}

impl Condition {
    /// That what a path leads to compares so with a value.
    ///
    /// # Errors
    /// A path that is no pointer into an event, and a value that the operator cannot compare with.
    pub fn new(path: impl Into<String>, op: Operator, value: Value) -> Result<Self, Invalid> {
        let path = EventPointer::new(path)?;
        if value.to_string().len() > CONDITION_VALUE_BYTES_MAX {
            let why = format!(
                "the value that {:?} is compared with has more than {CONDITION_VALUE_BYTES_MAX} bytes",
                path.as_str()
            );
            return Err(invalid(why));
        }
        let takes = match op {
            Operator::Eq | Operator::Ne => None,
            Operator::Lt | Operator::Le | Operator::Gt | Operator::Ge => {
                (!value.is_number() && !value.is_string()).then_some("a number or a string")
            }
            Operator::In => (!value.is_array()).then_some("a list"),
            Operator::Exists => (!value.is_boolean()).then_some("true or false"),
            Operator::Prefix => (!value.is_string()).then_some("a string"),
        };
        if let Some(takes) = takes {
            return Err(invalid(format!(
                "`{op}` of {:?} takes {takes} as its value",
                path.as_str()
            )));
        }
        Ok(Self { path, op, value })
    }

    /// Where the value stands: a JSON pointer.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// How it is compared.
    pub fn op(&self) -> Operator {
        self.op
    }

    /// What with.
    pub fn value(&self) -> &Value {
        &self.value
    }

    fn holds(&self, event: &Looked<'_>) -> bool {
        let found = event.at(&self.path);
        let Some(found) = found.as_deref() else {
            return self.op == Operator::Exists && self.value == Value::Bool(false);
        };
        let compared = || compare(found, &self.value);
        match self.op {
            Operator::Eq => same(found, &self.value),
            Operator::Ne => !same(found, &self.value),
            Operator::Lt => compared().is_some_and(Ordering::is_lt),
            Operator::Le => compared().is_some_and(Ordering::is_le),
            Operator::Gt => compared().is_some_and(Ordering::is_gt),
            Operator::Ge => compared().is_some_and(Ordering::is_ge),
            Operator::In => {
                self.value.as_array().is_some_and(|list| list.iter().any(|one| same(found, one)))
            }
            Operator::Exists => self.value == Value::Bool(true),
            Operator::Prefix => {
                let both = found.as_str().zip(self.value.as_str());
                both.is_some_and(|(found, prefix)| found.starts_with(prefix))
            }
        }
    }
}

/// Refuses more conditions than are allowed.
///
/// # Errors
/// Too many.
pub fn check_conditions(conditions: &[Condition]) -> Result<(), Invalid> {
    if conditions.len() > CONDITIONS_MAX {
        let why = format!(
            "`where` has {} conditions: at most {CONDITIONS_MAX} are allowed",
            conditions.len()
        );
        return Err(invalid(why));
    }
    Ok(())
}

/// Whether an event fulfils all conditions.
pub fn all_hold(conditions: &[Condition], event: &RecordedEvent) -> bool {
    let looked = Looked::new(event);
    conditions.iter().all(|condition| condition.holds(&looked))
}

/// How two values compare: numbers as numbers, strings as strings; others do not.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        _ => None,
    }
}

/// Whole numbers exactly, since a float has no room for large ones; others as floats.
fn compare_numbers(a: &Number, b: &Number) -> Option<Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Whether two values are the same: `1` and `1.0` are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b) == Some(Ordering::Equal),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let in_b = |(name, value)| b.get(name).is_some_and(|other| same(value, other));
            a.len() == b.len() && a.iter().all(in_b)
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests;

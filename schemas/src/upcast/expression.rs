//! What `compute` sets: expressions over the document.
//!
//! An expression has a value or none. It has none where a path leads to nothing, where an argument is of another type, and
//! where a number would be out of bounds; what is made of no value has none either.

use std::borrow::Cow;

use super::UpcastError;
use super::datum::Datum;
use super::node::Node;
use super::path::Path;
use super::run::Work;
use super::scan::{self, Kind};
use super::transform::Literal;

/// An expression, as deep as was allowed when it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// What stands there.
    Path(Path),
    /// This.
    Value(Literal),
    /// Something made of others.
    Call(Function, Vec<Expression>),
}

/// How a value is made of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Add,
    Subtract,
    Multiply,
    Divide,
    Concat,
    Length,
    Lower,
    Upper,
    FirstOf,
    Equal,
    If,
}

impl Function {
    pub(super) const ALL: [Self; 11] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::Concat,
        Self::Length,
        Self::Lower,
        Self::Upper,
        Self::FirstOf,
        Self::Equal,
        Self::If,
    ];

    /// Its name in text.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::Concat => "concat",
            Self::Length => "length",
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::FirstOf => "first_of",
            Self::Equal => "equal",
            Self::If => "if",
        }
    }

    /// Whether it is written with one expression, and not with an array of them.
    pub(super) fn takes_one(self) -> bool {
        matches!(self, Self::Length | Self::Lower | Self::Upper)
    }

    /// How many it takes, if that is fixed; otherwise one or more.
    pub(super) fn takes(self) -> Option<usize> {
        match self {
            Self::Length | Self::Lower | Self::Upper => Some(1),
            Self::Divide | Self::Equal => Some(2),
            Self::If => Some(3),
            Self::Add | Self::Subtract | Self::Multiply | Self::Concat | Self::FirstOf => None,
        }
    }
}

impl Expression {
    /// Its value on a document.
    pub(super) fn value<'a>(
        &'a self,
        root: &mut Node<'a>,
        work: &mut Work,
    ) -> Result<Option<Node<'a>>, UpcastError> {
        let (function, arguments) = match self {
            Self::Path(path) => {
                let Some(found) = root.get(path) else { return Ok(None) };
                work.spend(found.weight())?;
                return Ok(Some(found.clone()));
            }
            Self::Value(literal) => return Ok(Some(Node::Raw(&literal.text))),
            Self::Call(function, arguments) => (*function, arguments.as_slice()),
        };
        match function {
            Function::FirstOf => {
                for argument in arguments {
                    if let Some(value) = argument.value(root, work)? {
                        return Ok(Some(value));
                    }
                }
                Ok(None)
            }
            Function::If => {
                let [condition, then, otherwise] = arguments else { return Ok(None) };
                let is_true =
                    condition.value(root, work)?.is_some_and(|it| it.text() == Some("true"));
                if is_true { then } else { otherwise }.value(root, work)
            }
            _ => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    let Some(value) = argument.value(root, work)? else { return Ok(None) };
                    values.push(value);
                }
                called(function, &values, work)
            }
        }
    }
}

/// The value of a function whose arguments all have one.
fn called<'a>(
    function: Function,
    values: &[Node<'a>],
    work: &mut Work,
) -> Result<Option<Node<'a>>, UpcastError> {
    // Each may be as long as the document, or a long literal that is looked at for each of many elements. What is made of
    // them counts as well.
    work.spend(values.iter().map(Node::size).sum())?;
    let text = match (function, values) {
        (Function::Concat, all) => {
            let parts: Option<Vec<_>> = all.iter().map(spelled).collect();
            parts.map(|it| scan::quoted(&it.concat()))
        }
        (Function::Lower, [text]) => text.string().map(|it| scan::quoted(&it.to_lowercase())),
        (Function::Upper, [text]) => text.string().map(|it| scan::quoted(&it.to_uppercase())),
        (Function::Length, [it]) => length(it).map(|it| it.to_string()),
        (Function::Equal, [a, b]) => {
            let data = (Datum::new(&a.to_text()), Datum::new(&b.to_text()));
            if let (Some(a), Some(b)) = data { Some((a == b).to_string()) } else { None }
        }
        (_, numbers) => calculated(function, numbers),
    };
    work.spend(text.as_ref().map_or(0, String::len))?;
    Ok(text.map(Node::Made))
}

/// What a string says, and how a number or a boolean is spelled.
pub(super) fn spelled<'n>(node: &'n Node<'_>) -> Option<Cow<'n, str>> {
    match node.kind() {
        Kind::String => node.string(),
        Kind::Number | Kind::Boolean => node.text().map(Into::into),
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

fn length(node: &Node<'_>) -> Option<usize> {
    match node {
        Node::Object(members) => Some(members.len()),
        Node::Array(elements) => Some(elements.len()),
        closed => match closed.kind() {
            Kind::String => closed.string().map(|it| it.chars().count()),
            Kind::Array => closed.text().map(|it| scan::elements(it).count()),
            Kind::Object => closed.clone().members().map(|it| it.len()),
            Kind::Null | Kind::Boolean | Kind::Number => None,
        },
    }
}

#[derive(Clone, Copy)]
enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    /// `None`: it is none, or out of bounds.
    fn new(node: &Node<'_>) -> Option<Self> {
        let text = node.text().filter(|it| scan::kind(it) == Kind::Number)?;
        if text.contains(['.', 'e', 'E']) {
            text.parse().ok().map(Self::Float)
        } else {
            text.parse().ok().map(Self::Integer)
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Integer(it) => it as f64,
            Self::Float(it) => it,
        }
    }

    fn with(self, function: Function, other: Self) -> Option<Self> {
        if let (Self::Integer(a), Self::Integer(b)) = (self, other) {
            let exact = match function {
                Function::Add => a.checked_add(b),
                Function::Subtract => a.checked_sub(b),
                Function::Multiply => a.checked_mul(b),
                // By zero and out of bounds there is no rest either.
                _ => match a.checked_rem(b)? {
                    0 => a.checked_div(b),
                    _ => return Some(Self::Float(a as f64 / b as f64)),
                },
            };
            return exact.map(Self::Integer);
        }
        let (a, b) = (self.float(), other.float());
        Some(Self::Float(match function {
            Function::Add => a + b,
            Function::Subtract => a - b,
            Function::Multiply => a * b,
            _ => a / b,
        }))
    }
}

/// All integers are calculated with exactly, and otherwise all are doubles, whichever comes first.
fn calculated(function: Function, values: &[Node<'_>]) -> Option<String> {
    let numbers: Option<Vec<_>> = values.iter().map(Number::new).collect();
    let mut numbers = numbers?;
    if numbers.iter().any(|it| matches!(it, Number::Float(_))) {
        numbers.iter_mut().for_each(|it| *it = Number::Float(it.float()));
    }
    let mut all = numbers.into_iter();
    let mut sum = all.next()?;
    for number in all {
        sum = sum.with(function, number)?;
    }
    match sum {
        Number::Integer(it) => Some(it.to_string()),
        Number::Float(it) => serde_json::Number::from_f64(it).map(|it| it.to_string()),
    }
}

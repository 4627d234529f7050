//! Values as another type, where nothing is lost by it.

use std::borrow::Cow;

use super::datum::Decimal;
use super::node::Node;
use super::scan::{self, Kind};

/// Zeros that an integer is given for its exponent, at most: as many as the largest double has digits.
const ZEROS_MAX: usize = 308;

/// A type that a value has or gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Integer,
    Number,
    Boolean,
    Array,
}

impl Type {
    pub(super) const ALL: [Self; 5] =
        [Self::String, Self::Integer, Self::Number, Self::Boolean, Self::Array];

    /// Its name in text.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
        }
    }

    /// Whether a value is of this type. A number without a fraction is an integer however it is spelled.
    fn is_of(self, node: &Node<'_>) -> bool {
        let is_integer = |text| Decimal::new(text).is_some_and(|it| it.is_integer());
        match (self, node.kind()) {
            (Self::String, Kind::String)
            | (Self::Number, Kind::Number)
            | (Self::Boolean, Kind::Boolean)
            | (Self::Array, Kind::Array) => true,
            (Self::Integer, Kind::Number) => node.text().is_some_and(is_integer),
            _ => false,
        }
    }
}

/// What becomes of a value.
pub(super) enum Cast {
    /// It is of that type already.
    Same,
    /// Text of the value that it becomes.
    To(String),
    /// It becomes the only element of an array.
    Wrapped,
    /// There is no such value.
    Impossible,
}

/// A value as another type. It has to be of the type `from`, where that is given, or of that other type.
pub(super) fn cast(node: &Node<'_>, from: Option<Type>, to: Type) -> Cast {
    let found = |text: Option<Cow<'_, str>>| match text {
        Some(text) => Cast::To(text.into_owned()),
        None => Cast::Impossible,
    };
    if to.is_of(node) {
        return match node.text().filter(|it| to == Type::Integer && !is_plain(it)) {
            Some(text) => scalar(text, to).map_or(Cast::Same, |it| Cast::To(it.into_owned())),
            None => Cast::Same,
        };
    }
    if from.is_some_and(|from| !from.is_of(node)) {
        return Cast::Impossible;
    }
    if to == Type::Array {
        return Cast::Wrapped;
    }
    let text = node.to_text();
    if scan::kind(&text) != Kind::Array {
        return found(scalar(&text, to));
    }
    let mut elements = scan::elements(&text);
    match (elements.next(), elements.next()) {
        (Some(one), None) => found(scalar(one, to)),
        _ => Cast::Impossible,
    }
}

/// Whether an integer is spelled with digits only.
fn is_plain(text: &str) -> bool {
    !text.contains(['.', 'e', 'E'])
}

/// A string, number, or boolean as one of these. Nothing else becomes one.
fn scalar(text: &str, to: Type) -> Option<Cow<'_, str>> {
    match (to, scan::kind(text)) {
        (Type::String, Kind::Number | Kind::Boolean) => Some(format!("\"{text}\"").into()),
        (Type::String, Kind::String)
        | (Type::Number, Kind::Number)
        | (Type::Boolean, Kind::Boolean) => Some(text.into()),
        (Type::Integer, Kind::Number) if is_plain(text) => Some(text.into()),
        (Type::Integer, Kind::Number) => integer(text),
        (Type::Integer, Kind::String) => integer(&scan::decoded(text)?),
        (Type::Number, Kind::String) => number(&scan::decoded(text)?),
        (Type::Boolean, Kind::String) => {
            let says = scan::decoded(text)?;
            ["true", "false"].into_iter().find(|it| *it == says).map(Cow::Borrowed)
        }
        _ => None,
    }
}

fn integer(text: &str) -> Option<Cow<'static, str>> {
    Decimal::new(text)?.integer(ZEROS_MAX).map(Cow::Owned)
}

/// A number with the digits that it is spelled with, without a plus and zeros that lead.
fn number(text: &str) -> Option<Cow<'static, str>> {
    Decimal::new(text)?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let kept = digits.trim_start_matches('0');
    let zero = if kept.starts_with(|it: char| it.is_ascii_digit()) { "" } else { "0" };
    Some([sign, zero, kept].concat().into())
}

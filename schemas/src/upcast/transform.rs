//! The operations of a transform.

use std::collections::HashMap;

use serde_json::Value;

use super::cast::Type;
use super::datum::Datum;
use super::expression::Expression;
use super::path::{Name, Path};
use super::{inverse, parse};
use crate::SchemaError;

/// Lifts a payload of one version to the next: operations, one after the other.
///
/// On any JSON document it gives an answer, in a time that is linear in the document. Only bounds stop it. A document
/// that is no object is left as it is. Two transforms are equal when they do the same by the same operations, however
/// their literals are spelled.
///
/// It is shown as the JSON that it is read from, exactly: literals keep their digits and the order of their members.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    pub(super) operations: Vec<Operation>,
}

impl Transform {
    /// Reads the JSON array of operations.
    ///
    /// # Errors
    /// Names the operation by a JSON pointer, and says what is wrong and what would be right. Members and operations that
    /// are not known are refused.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        parse::transform(text)
    }

    /// The way back, where it can be derived or is given by `down`.
    ///
    /// Of what a derived way back makes, everything stood in the old document at the same place: it may lack something,
    /// and it invents nothing. Three operations keep this only for documents that suit them: `cast` and `map` where the
    /// old value was one that they convert, and `split` as long as nothing after it takes away some of its parts and
    /// leaves others. Its text may be a little longer than the text of this, and so than what
    /// [`parse`](Self::parse) takes.
    pub fn inverse(&self) -> Option<Self> {
        inverse::of(&self.operations).map(|operations| Self { operations })
    }

    /// The first operation without a way back, by its place and its name. `None`: all have one.
    pub fn no_way_back(&self) -> Option<(usize, &'static str)> {
        let found = self.operations.iter().enumerate().find(|(_, it)| !inverse::exists(it));
        found.map(|(at, it)| (at, it.action.word()))
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The array that [`parse`](Self::parse) takes. Numbers of literals are doubles here where they are no integers of 64
    /// bits: the text of its `Display` is exact.
    pub fn to_json(&self) -> Value {
        serde_json::from_str(&self.to_string()).expect("a transform is shown as JSON")
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operation {
    pub(super) action: Action,
    /// The way back that was given instead of the derived one.
    pub(super) down: Option<Vec<Operation>>,
}

/// What an operation does. The guide of transforms says it at length.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Rename { path: Path, to: Name },
    Move { from: Path, to: Path, prune: bool },
    Default { path: Path, value: Literal },
    Drop { path: Path, value: Option<Literal>, prune: bool },
    Cast { path: Path, to: Type, from: Option<Type>, or: Option<Literal> },
    Map { path: Path, values: Values, or: Option<Literal> },
    Split { path: Path, by: String, to: Vec<Path> },
    Join { from: Vec<Path>, by: String, to: Path, prune: bool },
    Compute { path: Path, value: Expression },
    Retype { from: String, to: String },
    FanOut { path: Path, part: Path },
    Each { path: Path, operations: Vec<Operation> },
}

impl Action {
    /// Its name in text.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Rename { .. } => "rename",
            Self::Move { .. } => "move",
            Self::Default { .. } => "default",
            Self::Drop { .. } => "drop",
            Self::Cast { .. } => "cast",
            Self::Map { .. } => "map",
            Self::Split { .. } => "split",
            Self::Join { .. } => "join",
            Self::Compute { .. } => "compute",
            Self::Retype { .. } => "retype",
            Self::FanOut { .. } => "fan_out",
            Self::Each { .. } => "each",
        }
    }
}

/// A value that stands in a transform.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    /// As it is written: without space, otherwise as it was spelled.
    pub(super) text: String,
    pub(super) datum: Datum,
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.datum == other.datum
    }
}

/// What `map` maps, each value once.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) pairs: Vec<(Literal, Literal)>,
    /// Where the pair of a value stands.
    places: HashMap<Datum, usize>,
}

impl Values {
    /// Of pairs whose first values are different; otherwise the place of the first pair that repeats one.
    pub(super) fn new(pairs: Vec<(Literal, Literal)>) -> Result<Self, usize> {
        let mut places = HashMap::with_capacity(pairs.len());
        for (at, (from, _)) in pairs.iter().enumerate() {
            if places.insert(from.datum.clone(), at).is_some() {
                return Err(at);
            }
        }
        Ok(Self { pairs, places })
    }

    /// What a value is mapped to.
    pub(super) fn get(&self, value: &Datum) -> Option<&Literal> {
        self.places.get(value).and_then(|at| self.pairs.get(*at)).map(|(_, to)| to)
    }

    /// The same backwards, if no two values are mapped to one.
    pub(super) fn backwards(&self) -> Option<Self> {
        let pairs = self.pairs.iter().map(|(from, to)| (to.clone(), from.clone()));
        Self::new(pairs.collect()).ok()
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.pairs == other.pairs
    }
}

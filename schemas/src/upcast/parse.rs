//! Reading transforms.
//!
//! A text is an outsider's. It is found to be JSON first, however deep, and then read by functions that call themselves
//! for `each`, `down`, and expressions only, each of which has its bound.

use nexus_protocol::TooLarge;
use nexus_protocol::limits::{
    TRANSFORM_BYTES_MAX, TRANSFORM_EACH_DEPTH_MAX, TRANSFORM_EXPRESSION_DEPTH_MAX,
    TRANSFORM_EXPRESSION_NODES_MAX, TRANSFORM_OPERATIONS_MAX, TRANSFORM_PATHS_MAX,
};
use nexus_protocol::names::check_event_type;

use super::cast::Type;
use super::datum::Datum;
use super::expression::{Expression, Function};
use super::path::{Name, Path};
use super::scan::{self, Kind};
use super::transform::{Action, Literal, Operation, Transform, Values};
use crate::SchemaError;
use crate::words::quoted;

const OPERATIONS: &str =
    "rename, move, default, drop, cast, map, split, join, compute, retype, fan_out, or each";

/// Reads a whole transform.
pub(super) fn transform(text: &str) -> Result<Transform, SchemaError> {
    if text.len() > TRANSFORM_BYTES_MAX {
        let what = "text of a transform, in bytes".into();
        return Err(TooLarge { what, size: text.len(), max: TRANSFORM_BYTES_MAX }.into());
    }
    let text = scan::checked(text.as_bytes()).map_err(|it| malformed("", it.to_string()))?;
    let operations = Reader::default().operations("", text, Where::default())?;
    let mut fans = operations.iter().enumerate().filter(|(_, it)| is_fan_out(it)).skip(1);
    if let Some((at, _)) = fans.next() {
        let why = "a transform fans out once at most: leave the second to the next version";
        return Err(refused(&format!("/{at}"), why));
    }
    Ok(Transform { operations })
}

fn is_fan_out(operation: &Operation) -> bool {
    matches!(operation.action, Action::FanOut { .. })
}

fn malformed(pointer: &str, why: impl Into<String>) -> SchemaError {
    SchemaError::Malformed { pointer: pointer.to_owned(), why: why.into() }
}

fn refused(pointer: &str, why: impl Into<String>) -> SchemaError {
    SchemaError::Refused { pointer: pointer.to_owned(), why: why.into() }
}

/// What operations are read inside of.
#[derive(Clone, Copy, Default)]
struct Where {
    /// How many `each` are around them.
    depth: usize,
    in_down: bool,
}

#[derive(Default)]
struct Reader {
    /// Operations that were read.
    count: usize,
}

impl Reader {
    fn operations(
        &mut self,
        pointer: &str,
        text: &str,
        at: Where,
    ) -> Result<Vec<Operation>, SchemaError> {
        let all = elements(pointer, text, "operations")?;
        all.into_iter().map(|(pointer, text)| self.operation(&pointer, text, at)).collect()
    }

    fn operation(
        &mut self,
        pointer: &str,
        text: &str,
        at: Where,
    ) -> Result<Operation, SchemaError> {
        self.count += 1;
        if self.count > TRANSFORM_OPERATIONS_MAX {
            let what = "operations of a transform".into();
            let (size, max) = (self.count, TRANSFORM_OPERATIONS_MAX);
            return Err(TooLarge { what, size, max }.into());
        }
        let mut fields = Fields::new(pointer, text, "an operation")?;
        let word = fields.text("op")?;
        let action = match word.as_str() {
            "each" => self.each(&mut fields, at)?,
            "retype" | "fan_out" if at.depth > 0 => {
                let why = format!("{word:?} is about the whole event: take it out of \"each\"");
                return Err(refused(pointer, why));
            }
            "fan_out" if at.in_down => {
                return Err(refused(pointer, "nothing fans out on the way back"));
            }
            _ => action(&word, &mut fields)?,
        };
        let down = match fields.optional("down") {
            None => None,
            Some((pointer, _)) if at.in_down => {
                return Err(refused(&pointer, "what is itself a way back has none: leave it out"));
            }
            Some((pointer, _)) if word == "fan_out" => {
                return Err(refused(&pointer, "what fanned out does not come together again"));
            }
            Some((pointer, text)) => {
                Some(self.operations(&pointer, text, Where { in_down: true, ..at })?)
            }
        };
        fields.finish()?;
        Ok(Operation { action, down })
    }

    fn each(&mut self, fields: &mut Fields<'_>, at: Where) -> Result<Action, SchemaError> {
        if at.depth >= TRANSFORM_EACH_DEPTH_MAX {
            let why = format!("\"each\" is nested at most {TRANSFORM_EACH_DEPTH_MAX} deep");
            return Err(refused(&fields.pointer, why));
        }
        let path = fields.path("path")?;
        let (pointer, text) = fields.required("do")?;
        let inside = Where { depth: at.depth + 1, ..at };
        Ok(Action::Each { path, operations: self.operations(&pointer, text, inside)? })
    }
}

/// Any operation but `each`.
fn action(word: &str, fields: &mut Fields<'_>) -> Result<Action, SchemaError> {
    Ok(match word {
        "rename" => rename(fields)?,
        "move" => {
            let (from, to) = (fields.path("from")?, fields.path("to")?);
            if from.leads_to(&to) || to.leads_to(&from) {
                let why = "neither path may lead into the other: move by way of another member";
                return Err(refused(&fields.pointer, why));
            }
            Action::Move { from, to, prune: fields.flag("prune")? }
        }
        "default" => {
            Action::Default { path: fields.path("path")?, value: fields.literal("value")? }
        }
        "drop" => Action::Drop {
            path: fields.path("path")?,
            value: fields.optional_literal("value")?,
            prune: fields.flag("prune")?,
        },
        "cast" => cast(fields)?,
        "map" => Action::Map {
            path: fields.path("path")?,
            values: values(fields)?,
            or: fields.optional_literal("or")?,
        },
        "split" => split(fields)?,
        "join" => join(fields)?,
        "compute" => {
            let path = fields.path("path")?;
            let (pointer, text) = fields.required("value")?;
            let value = expression(&pointer, text, 1, &mut 0)?;
            Action::Compute { path, value }
        }
        "retype" => {
            let (from, to) = (fields.event_type("from")?, fields.event_type("to")?);
            if from == to {
                return Err(refused(&fields.pointer, "both types are the same: give another"));
            }
            Action::Retype { from, to }
        }
        "fan_out" => {
            let (path, part) = (fields.path("path")?, fields.path("as")?);
            if part != path && part.leads_to(&path) {
                let why = "the element would replace what is around the array: give another place";
                return Err(refused(&fields.at("as"), why));
            }
            Action::FanOut { path, part }
        }
        other => {
            let why = format!("{} is no operation: it is {OPERATIONS}", quoted(other));
            return Err(malformed(&fields.at("op"), why));
        }
    })
}

fn rename(fields: &mut Fields<'_>) -> Result<Action, SchemaError> {
    let path = fields.path("path")?;
    let to = Name::new(&fields.text("to")?);
    path.sibling(&to).map_err(|why| malformed(&fields.at("to"), why))?;
    if path.steps.last() == Some(&to) {
        return Err(refused(&fields.at("to"), "the member has this name: give another"));
    }
    Ok(Action::Rename { path, to })
}

fn cast(fields: &mut Fields<'_>) -> Result<Action, SchemaError> {
    let path = fields.path("path")?;
    let to = fields.text("to")?;
    let to = fields.of_type("to", &to)?;
    let from = match fields.optional_text("from")? {
        Some(word) => Some(fields.of_type("from", &word)?),
        None => None,
    };
    if from == Some(to) {
        return Err(refused(&fields.at("from"), "both types are the same: give another"));
    }
    Ok(Action::Cast { path, to, from, or: fields.optional_literal("or")? })
}

fn values(fields: &mut Fields<'_>) -> Result<Values, SchemaError> {
    let (pointer, text) = fields.required("values")?;
    let mut pairs = Vec::new();
    for (pointer, pair) in elements(&pointer, text, "pairs")? {
        let [(from_at, from), (to_at, to)] = elements(&pointer, pair, "two values")?
            .try_into()
            .map_err(|_| malformed(&pointer, "a pair is two values: [FROM, TO]"))?;
        pairs.push((literal(&from_at, from)?, literal(&to_at, to)?));
    }
    Values::new(pairs).map_err(|at| {
        refused(&format!("{pointer}/{at}/0"), "this value is mapped before: leave one of them out")
    })
}

fn split(fields: &mut Fields<'_>) -> Result<Action, SchemaError> {
    let path = fields.path("path")?;
    let by = fields.text("by")?;
    if by.is_empty() {
        return Err(refused(&fields.at("by"), "a text is not split by nothing: give a separator"));
    }
    let to = fields.paths("to")?;
    if to.iter().any(|it| it.leads_to(&path)) {
        let why =
            "a part cannot stand where the whole stood, or around it: rename the whole before";
        return Err(refused(&fields.at("to"), why));
    }
    Ok(Action::Split { path, by, to })
}

fn join(fields: &mut Fields<'_>) -> Result<Action, SchemaError> {
    let from = fields.paths("from")?;
    let (by, to) = (fields.text("by")?, fields.path("to")?);
    if from.iter().any(|it| it.leads_to(&to)) {
        let why =
            "the whole cannot stand where a part stood, or inside of it: rename the part before";
        return Err(refused(&fields.at("to"), why));
    }
    Ok(Action::Join { from, by, to, prune: fields.flag("prune")? })
}

/// An expression so deep, after so many others.
fn expression(
    pointer: &str,
    text: &str,
    depth: usize,
    count: &mut usize,
) -> Result<Expression, SchemaError> {
    *count += 1;
    if *count > TRANSFORM_EXPRESSION_NODES_MAX {
        let why = format!("an expression has at most {TRANSFORM_EXPRESSION_NODES_MAX} parts");
        return Err(refused(pointer, why));
    }
    if depth > TRANSFORM_EXPRESSION_DEPTH_MAX {
        let why = format!("an expression is nested at most {TRANSFORM_EXPRESSION_DEPTH_MAX} deep");
        return Err(refused(pointer, why));
    }
    let mut fields = Fields::new(pointer, text, "an expression")?;
    let Some((name, text)) = fields.members.pop().filter(|_| fields.members.is_empty()) else {
        return Err(malformed(pointer, "an expression has one member, as in {\"path\": \"/a\"}"));
    };
    let inside = format!("{pointer}/{name}");
    if name == "path" {
        let path = string(&inside, text)?;
        return Path::new(&path).map(Expression::Path).map_err(|why| malformed(&inside, why));
    }
    if name == "value" {
        return literal(&inside, text).map(Expression::Value);
    }
    let Some(function) = Function::ALL.into_iter().find(|it| it.word() == name) else {
        let known: Vec<_> = Function::ALL.iter().map(|it| it.word()).collect();
        let why = format!(
            "{} is no expression: it is path, value, or {}",
            quoted(&name),
            known.join(", ")
        );
        return Err(malformed(pointer, why));
    };
    if function.takes_one() {
        let argument = expression(&inside, text, depth + 1, count)?;
        return Ok(Expression::Call(function, vec![argument]));
    }
    let mut arguments = Vec::new();
    for (pointer, text) in elements(&inside, text, "expressions")? {
        arguments.push(expression(&pointer, text, depth + 1, count)?);
    }
    let why = match function.takes() {
        Some(takes) if takes != arguments.len() => format!("{name:?} takes {takes} expressions"),
        None if arguments.is_empty() => format!("{name:?} takes one expression or more"),
        _ => return Ok(Expression::Call(function, arguments)),
    };
    Err(malformed(&inside, why))
}

/// Levels that may stand around a literal: readers of JSON go no deeper than 127 in all.
const LITERAL_ROOM: usize = 64;

fn literal(pointer: &str, text: &str) -> Result<Literal, SchemaError> {
    // What no reader of JSON reads is no value that anything should be set to.
    if let Err(why) = serde_json::from_str::<serde_json::Value>(text) {
        return Err(malformed(pointer, format!("not a value that can be used: {why}")));
    }
    // Around it stand operations, and expressions: all of them together is read by such a reader, too.
    let around = |levels: usize| format!("{}{text}{}", "[".repeat(levels), "]".repeat(levels));
    if serde_json::from_str::<serde_json::Value>(&around(LITERAL_ROOM)).is_err() {
        return Err(malformed(pointer, "a value is nested no deeper than 63 levels"));
    }
    let text = scan::compact(text);
    let datum =
        Datum::new(&text).ok_or_else(|| malformed(pointer, "not a value that can be used"))?;
    Ok(Literal { text, datum })
}

fn string(pointer: &str, text: &str) -> Result<String, SchemaError> {
    if scan::kind(text) != Kind::String {
        return Err(malformed(pointer, "it has to be a string"));
    }
    let decoded = scan::decoded(text).ok_or_else(|| malformed(pointer, "the string is no text"))?;
    Ok(decoded.into_owned())
}

fn elements<'t>(
    pointer: &str,
    text: &'t str,
    what: &str,
) -> Result<Vec<(String, &'t str)>, SchemaError> {
    if scan::kind(text) != Kind::Array {
        return Err(malformed(pointer, format!("it has to be an array of {what}")));
    }
    let all = scan::elements(text).enumerate();
    Ok(all.map(|(at, it)| (format!("{pointer}/{at}"), it)).collect())
}

/// The members of an object that are not read yet.
struct Fields<'t> {
    pointer: String,
    members: Vec<(String, &'t str)>,
    /// The names of those that were asked for.
    known: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    fn new(pointer: &str, text: &'t str, what: &str) -> Result<Self, SchemaError> {
        if scan::kind(text) != Kind::Object {
            return Err(malformed(pointer, format!("{what} has to be an object")));
        }
        let mut members: Vec<(String, &str)> = Vec::new();
        for it in scan::members(text) {
            let name = string(pointer, it.key)?;
            // An operation has few members, so that who writes many does not get far.
            if members.len() > 8 || members.iter().any(|(other, _)| *other == name) {
                let why = format!("{} stands twice, or there are too many members", quoted(&name));
                return Err(malformed(pointer, why));
            }
            members.push((name, it.value));
        }
        Ok(Self { pointer: pointer.to_owned(), members, known: Vec::new() })
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.pointer)
    }

    fn optional(&mut self, name: &'static str) -> Option<(String, &'t str)> {
        self.known.push(name);
        let at = self.members.iter().position(|(other, _)| other == name)?;
        Some((self.at(name), self.members.remove(at).1))
    }

    fn required(&mut self, name: &'static str) -> Result<(String, &'t str), SchemaError> {
        let found = self.optional(name);
        found.ok_or_else(|| malformed(&self.pointer, format!("{name:?} is missing")))
    }

    fn text(&mut self, name: &'static str) -> Result<String, SchemaError> {
        let (pointer, text) = self.required(name)?;
        string(&pointer, text)
    }

    fn optional_text(&mut self, name: &'static str) -> Result<Option<String>, SchemaError> {
        self.optional(name).map(|(pointer, text)| string(&pointer, text)).transpose()
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, SchemaError> {
        match self.optional(name) {
            None | Some((_, "false")) => Ok(false),
            Some((_, "true")) => Ok(true),
            Some((pointer, _)) => Err(malformed(&pointer, "it has to be true or false")),
        }
    }

    fn literal(&mut self, name: &'static str) -> Result<Literal, SchemaError> {
        let (pointer, text) = self.required(name)?;
        literal(&pointer, text)
    }

    fn optional_literal(&mut self, name: &'static str) -> Result<Option<Literal>, SchemaError> {
        self.optional(name).map(|(pointer, text)| literal(&pointer, text)).transpose()
    }

    fn path(&mut self, name: &'static str) -> Result<Path, SchemaError> {
        let (pointer, text) = self.required(name)?;
        Path::new(&string(&pointer, text)?).map_err(|why| malformed(&pointer, why))
    }

    /// Paths of which none leads to another.
    fn paths(&mut self, name: &'static str) -> Result<Vec<Path>, SchemaError> {
        let (pointer, text) = self.required(name)?;
        let mut paths: Vec<Path> = Vec::new();
        for (pointer, text) in elements(&pointer, text, "paths")? {
            let path = string(&pointer, text)?;
            let path = Path::new(&path).map_err(|why| malformed(&pointer, why))?;
            if paths.iter().any(|it| it.leads_to(&path) || path.leads_to(it)) {
                let why = "it leads to another of these paths, or the other to it: give another";
                return Err(refused(&pointer, why));
            }
            if paths.len() == TRANSFORM_PATHS_MAX {
                let why = format!("there are at most {TRANSFORM_PATHS_MAX} paths");
                return Err(refused(&pointer, why));
            }
            paths.push(path);
        }
        if paths.is_empty() {
            return Err(malformed(&pointer, "it has to be one path or more"));
        }
        Ok(paths)
    }

    fn event_type(&mut self, name: &'static str) -> Result<String, SchemaError> {
        let text = self.text(name)?;
        check_event_type(&text).map_err(|it| malformed(&self.at(name), it.to_string()))?;
        Ok(text)
    }

    fn of_type(&self, name: &str, word: &str) -> Result<Type, SchemaError> {
        let found = Type::ALL.into_iter().find(|it| it.word() == word);
        found.ok_or_else(|| {
            let known = Type::ALL.map(Type::word).join(", ");
            malformed(&self.at(name), format!("{} is no type: it is one of {known}", quoted(word)))
        })
    }

    /// Nothing is left that was not asked for.
    fn finish(self) -> Result<(), SchemaError> {
        let Some((name, _)) = self.members.first() else { return Ok(()) };
        let why = format!("{} is not known here: there is {}", quoted(name), self.known.join(", "));
        Err(malformed(&self.pointer, why))
    }
}

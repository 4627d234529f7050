//! A transform as the JSON that it is read from.

use std::fmt;

use super::expression::Expression;
use super::path::Path;
use super::scan::quoted;
use super::transform::{Action, Literal, Operation, Transform};

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&operations(&self.operations))
    }
}

fn array<T>(all: &[T], show: impl Fn(&T) -> String) -> String {
    let all: Vec<_> = all.iter().map(show).collect();
    format!("[{}]", all.join(","))
}

fn operations(all: &[Operation]) -> String {
    array(all, operation)
}

fn operation(it: &Operation) -> String {
    let mut members = vec![("op", quoted(it.action.word()))];
    members.extend(action(&it.action));
    members.extend(it.down.as_ref().map(|down| ("down", operations(down))));
    let members: Vec<_> =
        members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// The members of an action but its name, those that are left out left out.
fn action(it: &Action) -> Vec<(&'static str, String)> {
    let pruned = |prune: bool| prune.then(|| ("prune", "true".to_owned()));
    let literal = |name, value: &Option<Literal>| value.as_ref().map(|it| (name, it.text.clone()));
    match it {
        Action::Rename { path, to } => vec![("path", pointer(path)), ("to", to.quoted.clone())],
        Action::Move { from, to, prune } => [("from", pointer(from)), ("to", pointer(to))]
            .into_iter()
            .chain(pruned(*prune))
            .collect(),
        Action::Default { path, value } => {
            vec![("path", pointer(path)), ("value", value.text.clone())]
        }
        Action::Drop { path, value, prune } => {
            let all = [Some(("path", pointer(path))), literal("value", value), pruned(*prune)];
            all.into_iter().flatten().collect()
        }
        Action::Cast { path, to, from, or } => {
            let from = from.map(|it| ("from", quoted(it.word())));
            let to = Some(("to", quoted(to.word())));
            let all = [Some(("path", pointer(path))), to, from, literal("or", or)];
            all.into_iter().flatten().collect()
        }
        Action::Map { path, values, or } => {
            let pairs = array(&values.pairs, |(from, to)| format!("[{},{}]", from.text, to.text));
            let all = [("path", pointer(path)), ("values", pairs)];
            all.into_iter().chain(literal("or", or)).collect()
        }
        Action::Split { path, by, to } => {
            vec![("path", pointer(path)), ("by", quoted(by)), ("to", array(to, pointer))]
        }
        Action::Join { from, by, to, prune } => {
            let all = [("from", array(from, pointer)), ("by", quoted(by)), ("to", pointer(to))];
            all.into_iter().chain(pruned(*prune)).collect()
        }
        Action::Compute { path, value } => {
            vec![("path", pointer(path)), ("value", expression(value))]
        }
        Action::Retype { from, to } => vec![("from", quoted(from)), ("to", quoted(to))],
        Action::FanOut { path, part } => vec![("path", pointer(path)), ("as", pointer(part))],
        Action::Each { path, operations: inner } => {
            vec![("path", pointer(path)), ("do", operations(inner))]
        }
    }
}

fn pointer(path: &Path) -> String {
    quoted(&path.text)
}

fn expression(it: &Expression) -> String {
    match it {
        Expression::Path(path) => format!("{{\"path\":{}}}", pointer(path)),
        Expression::Value(literal) => format!("{{\"value\":{}}}", literal.text),
        Expression::Call(function, arguments) => {
            let arguments = match arguments.as_slice() {
                [one] if function.takes_one() => expression(one),
                all => array(all, expression),
            };
            format!("{{\"{}\":{arguments}}}", function.word())
        }
    }
}

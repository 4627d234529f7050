//! Whether a value that a schema names follows another schema.
//!
//! What a node says without asking other schemas is left to the validator, so that both agree on numbers, patterns, and
//! equality.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Number, Value};

use super::graph::{Graph, Node};
use super::pattern::{self, Patterns};

/// Schemas that are asked of one value on the way down.
const DEPTH_MAX: u32 = 128;

/// Validators that were built once; `None`: it is no schema.
type Built<T> = RefCell<HashMap<T, Option<Rc<Validator>>>>;

/// What was built to ask the validator, and how much may still be asked.
pub(super) struct Evaluation {
    pub(super) patterns: Patterns,
    own: Built<(usize, usize)>,
    numbers: Built<String>,
    steps: RefCell<u32>,
}

impl Evaluation {
    /// One that takes so many steps.
    pub(super) fn new(steps: u32) -> Self {
        Self {
            patterns: Patterns::default(),
            own: RefCell::default(),
            numbers: RefCell::default(),
            steps: RefCell::new(steps),
        }
    }

    /// Takes steps; `false`: there are none left.
    pub(super) fn spend(&self, steps: u32) -> bool {
        let mut left = self.steps.borrow_mut();
        *left = left.saturating_sub(steps);
        *left > 0
    }

    /// Whether a value follows a node; `None`: that is not known.
    pub(super) fn follows(&self, graph: &Graph<'_>, node: usize, value: &Value) -> Option<bool> {
        self.ask(graph, node, value, 0)
    }

    /// Whether a number is in the bound that a keyword sets.
    pub(super) fn is_within(&self, keyword: &str, bound: &Value, number: &Value) -> bool {
        let key = format!("{keyword} {bound}");
        let known = self.numbers.borrow().get(&key).cloned();
        let validator = known.unwrap_or_else(|| {
            let schema = Map::from_iter([(keyword.to_owned(), bound.clone())]);
            let built = build(&schema, Draft::Draft202012);
            self.numbers.borrow_mut().insert(key, built.clone());
            built
        });
        validator.is_some_and(|it| it.is_valid(number))
    }

    fn own(&self, graph: &Graph<'_>, index: usize, node: &Node<'_>) -> Option<Rc<Validator>> {
        let key = (std::ptr::from_ref(graph).addr(), index);
        let known = self.own.borrow().get(&key).cloned();
        known.unwrap_or_else(|| {
            let draft = graph.places.all.get(index).map_or(Draft::Draft202012, |it| it.draft);
            let built = build(&node.own, draft);
            self.own.borrow_mut().insert(key, built.clone());
            built
        })
    }

    fn ask(&self, graph: &Graph<'_>, index: usize, value: &Value, depth: u32) -> Option<bool> {
        let node = graph.nodes.get(index)?;
        if node.is_never {
            return Some(false);
        }
        // A long list of values is walked.
        let listed = node.values.as_ref().map_or(0, |it| it.len() / 64);
        let steps = u32::try_from(1 + listed).unwrap_or(u32::MAX);
        if depth > DEPTH_MAX || !self.spend(steps) {
            return None;
        }
        let mut answer = Some(true);
        if !node.own.is_empty() {
            answer = and(answer, self.own(graph, index, node).map(|it| it.is_valid(value)));
        }
        let opaque = node.opaque.iter().any(|it| !node.own.contains_key(*it));
        if opaque {
            answer = and(answer, None);
        }
        if answer == Some(false) {
            return answer;
        }
        answer = and(answer, self.ask_combined(graph, node, value, depth));
        match value {
            Value::Array(items) => and(answer, self.ask_items(graph, node, items, depth)),
            Value::Object(map) => {
                let parts = self.ask_properties(graph, node, map, depth);
                and(and(answer, parts), self.ask_dependent(graph, node, value, depth))
            }
            _ => answer,
        }
    }

    fn ask_combined(
        &self,
        graph: &Graph<'_>,
        node: &Node<'_>,
        value: &Value,
        depth: u32,
    ) -> Option<bool> {
        let ask = |to: usize| self.ask(graph, to, value, depth + 1);
        let mut answer = Some(true);
        for to in &node.all_of {
            answer = and(answer, ask(*to));
        }
        let mut any = Some(node.any_of.is_empty());
        for to in &node.any_of {
            any = or(any, || ask(*to));
        }
        answer = and(answer, any);
        if !node.one_of.is_empty() {
            let answers: Option<Vec<bool>> = node.one_of.iter().map(|it| ask(*it)).collect();
            let one = answers.map(|it| it.into_iter().filter(|it| *it).count() == 1);
            answer = and(answer, one);
        }
        if let Some(not) = node.not {
            answer = and(answer, ask(not).map(|it| !it));
        }
        if let Some((condition, then, otherwise)) = node.condition {
            let held = match ask(condition) {
                Some(true) => then.map_or(Some(true), ask),
                Some(false) => otherwise.map_or(Some(true), ask),
                None => None,
            };
            answer = and(answer, held);
        }
        answer
    }

    fn ask_dependent(
        &self,
        graph: &Graph<'_>,
        node: &Node<'_>,
        value: &Value,
        depth: u32,
    ) -> Option<bool> {
        let has = |name: &str| value.get(name).is_some();
        let needs =
            |(name, names): (&&str, &Vec<&str>)| !has(name) || names.iter().all(|it| has(it));
        let mut answer = Some(node.dependent_required.iter().all(needs));
        for (_, to) in node.dependent.iter().filter(|it| has(it.0)) {
            answer = and(answer, self.ask(graph, *to, value, depth + 1));
        }
        answer
    }

    fn ask_items(
        &self,
        graph: &Graph<'_>,
        node: &Node<'_>,
        items: &[Value],
        depth: u32,
    ) -> Option<bool> {
        let mut answer = Some(true);
        for (index, item) in items.iter().enumerate() {
            if let Some(to) = node.prefix.get(index).copied().or(node.items) {
                answer = and(answer, self.ask(graph, to, item, depth + 1));
            }
        }
        if let Some(contains) = node.contains {
            let each = items.iter().map(|it| self.ask(graph, contains.node, it, depth + 1));
            let answers: Option<Vec<bool>> = each.collect();
            let counted = answers.map(|it| {
                let count = it.into_iter().filter(|it| *it).count();
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                count >= contains.min && contains.max.is_none_or(|max| count <= max)
            });
            answer = and(answer, counted);
        }
        answer
    }

    fn ask_properties(
        &self,
        graph: &Graph<'_>,
        node: &Node<'_>,
        map: &Map<String, Value>,
        depth: u32,
    ) -> Option<bool> {
        let mut answer = Some(true);
        for (name, value) in map {
            let mut is_named = false;
            if let Some(to) = node.properties.get(name.as_str()) {
                is_named = true;
                answer = and(answer, self.ask(graph, *to, value, depth + 1));
            }
            for (pattern, to) in &node.patterns {
                match self.patterns.matches(pattern, name) {
                    Some(true) => {
                        is_named = true;
                        answer = and(answer, self.ask(graph, *to, value, depth + 1));
                    }
                    Some(false) => {}
                    None => answer = and(answer, None),
                }
            }
            if let Some(to) = node.additional.filter(|_| !is_named) {
                answer = and(answer, self.ask(graph, to, value, depth + 1));
            }
            if let Some(to) = node.names {
                let name = Value::String(name.clone());
                answer = and(answer, self.ask(graph, to, &name, depth + 1));
            }
        }
        answer
    }
}

/// A value in all ways in which its number may be written: those are equal, and yet may be of different kinds.
pub(super) fn forms(value: &Value) -> Vec<Value> {
    let mut forms = vec![value.clone()];
    if let Value::Number(number) = value {
        let text = number.as_f64().map(|it| format!("{it:.0}")).unwrap_or_default();
        let other = if number.is_f64() {
            let whole = text.parse::<i64>().map(Number::from);
            whole.or_else(|_| text.parse::<u64>().map(Number::from)).ok()
        } else {
            // Only where no digit is lost.
            number.as_f64().filter(|_| text == number.to_string()).and_then(Number::from_f64)
        };
        let is_whole = number.as_f64().is_some_and(|it| it.fract() == 0.0);
        forms.extend(other.filter(|_| is_whole).map(Value::Number));
    }
    forms
}

/// Whether a value has numbers that are parts of it: how those are written is not tried.
pub(super) fn has_numbers_inside(value: &Value) -> bool {
    let is = |it: &Value| it.is_number() || has_numbers_inside(it);
    match value {
        Value::Array(items) => items.iter().any(is),
        Value::Object(map) => map.values().any(is),
        _ => false,
    }
}

fn build(schema: &Map<String, Value>, draft: Draft) -> Option<Rc<Validator>> {
    let schema = Value::Object(schema.clone());
    let options = jsonschema::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(false)
        .with_pattern_options(pattern::options());
    options.build(&schema).ok().map(Rc::new)
}

/// Both; what is not known may be false.
fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// One of them; what is not known may be true.
fn or(a: Option<bool>, b: impl FnOnce() -> Option<bool>) -> Option<bool> {
    match a {
        Some(true) => Some(true),
        Some(false) => b(),
        None => {
            if b() == Some(true) {
                Some(true)
            } else {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_forms_that_equal_it() {
        let check = |text: &str, expected: &[&str]| {
            let value: Value = serde_json::from_str(text).unwrap();
            let forms: Vec<_> = forms(&value).iter().map(Value::to_string).collect();
            assert_eq!(forms, expected, "{text}");
        };
        check("1", &["1", "1.0"]);
        check("-2.0", &["-2.0", "-2"]);
        check("1.5", &["1.5"]);
        check("9007199254740993", &["9007199254740993"]);
        check("1e300", &["1e+300"]);
        check("\"1\"", &["\"1\""]);
    }
}

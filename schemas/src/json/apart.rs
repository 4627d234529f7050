//! Whether no value follows both of two schemas, as far as can be seen: by its kind, by the values that they list, or by a
//! property that tells them apart.

use std::collections::BTreeSet;

use serde_json::Value;

use super::evaluate::{Evaluation, forms, has_numbers_inside};
use super::facts::Facts;
use super::graph::{Graph, Kinds};

/// Schemas that are followed into each other.
const DEPTH_MAX: u32 = 8;

/// Branches that are compared with each other.
const BRANCHES_MAX: usize = 128;

/// What is known, and in which graph.
type Known<'g, 'a> = (&'g Graph<'a>, &'g Facts);

/// Whether no value is as both say.
pub(super) fn are_apart(evaluation: &Evaluation, a: Known<'_, '_>, b: Known<'_, '_>) -> bool {
    apart(evaluation, a, b, 0)
}

/// Whether no value follows two branches of a node's `oneOf`.
pub(super) fn are_branches_apart(evaluation: &Evaluation, graph: &Graph<'_>, node: usize) -> bool {
    let Some(branches) = graph.nodes.get(node).map(|it| &it.one_of) else { return false };
    let facts: Vec<_> = branches.iter().map(|it| Facts::of(graph, [*it])).collect();
    let pair = |index: usize, a: &Facts| {
        facts.iter().skip(index + 1).all(|b| are_apart(evaluation, (graph, a), (graph, b)))
    };
    facts.len() <= BRANCHES_MAX && facts.iter().enumerate().all(|(index, a)| pair(index, a))
}

fn apart(evaluation: &Evaluation, a: Known<'_, '_>, b: Known<'_, '_>, depth: u32) -> bool {
    let kinds = a.1.kinds() & b.1.kinds();
    if a.1.is_never(a.0) || b.1.is_never(b.0) || kinds.is_empty() {
        return true;
    }
    if depth > DEPTH_MAX || !evaluation.spend(1) {
        return false;
    }
    if has_no_value(evaluation, a, b, kinds) || has_no_value(evaluation, b, a, kinds) {
        return true;
    }
    if kinds == Kinds::OBJECT && apart_by_property(evaluation, a, b, depth) {
        return true;
    }
    if let Some(choices) = a.1.choices(a.0) {
        return choices.iter().all(|it| apart(evaluation, (a.0, it), b, depth + 1));
    }
    if let Some(choices) = b.1.choices(b.0) {
        return choices.iter().all(|it| apart(evaluation, a, (b.0, it), depth + 1));
    }
    false
}

/// Whether one lists its values, and the other takes none of them.
fn has_no_value(evaluation: &Evaluation, a: Known<'_, '_>, b: Known<'_, '_>, kinds: Kinds) -> bool {
    let listed = a.1.nodes(a.0).filter_map(|it| it.values.as_ref()).min_by_key(|it| it.len());
    let is_exact = a.0.is_exact() || b.0.is_exact();
    let is_taken = |value: &Value| {
        (is_exact && has_numbers_inside(value))
            || forms(value).iter().any(|value| {
                kinds.has(Kinds::of(value))
                    && [a, b].iter().all(|(graph, facts)| {
                        facts.ids().all(|it| evaluation.follows(graph, it, value) != Some(false))
                    })
            })
    };
    listed.is_some_and(|it| !it.iter().any(|value| is_taken(value)))
}

/// Whether a property that has to be there would have to be two things.
fn apart_by_property(
    evaluation: &Evaluation,
    a: Known<'_, '_>,
    b: Known<'_, '_>,
    depth: u32,
) -> bool {
    let required = |it: Known<'_, '_>| -> BTreeSet<String> {
        it.1.nodes(it.0).flat_map(|it| &it.required).map(|it| (*it).to_owned()).collect()
    };
    let matches = |pattern: &str, name: &str| evaluation.patterns.matches(pattern, name);
    required(a).union(&required(b)).take(BRANCHES_MAX).any(|name| {
        let here = a.1.of_property(a.0, name, &matches);
        let there = b.1.of_property(b.0, name, &matches);
        apart(evaluation, (a.0, &here), (b.0, &there), depth + 1)
    })
}

//! Whether two schemas say the same, whatever their notes say.

use std::collections::HashSet;

use super::evaluate::Evaluation;
use super::graph::Graph;
use super::keywords::Meets;
use super::places::{Key, Way};

/// Whether they do. What is only resolved when a payload is met is never the same, unless it is a draft's own.
pub(super) fn is_same(
    evaluation: &Evaluation,
    graph: &Graph<'_>,
    node: usize,
    other_graph: &Graph<'_>,
    other: usize,
) -> bool {
    let (mut next, mut seen) = (vec![(node, other)], HashSet::new());
    while let Some((a, b)) = next.pop() {
        // Where they lead back to themselves they are the same if nothing else tells them apart.
        if !seen.insert((a, b)) {
            continue;
        }
        if !evaluation.spend(1) {
            return false;
        }
        let places = (graph.places.all.get(a), other_graph.places.all.get(b));
        let (Some(place), Some(other_place)) = places else { return false };
        let is_settled = !graph.is_dynamic && !other_graph.is_dynamic;
        if is_settled && place.well_known && std::ptr::eq(place.value, other_place.value) {
            continue;
        }
        let (Some(said), Some(other_said)) = (graph.nodes.get(a), other_graph.nodes.get(b)) else {
            return false;
        };
        let drafts = (place.draft, other_place.draft);
        if said.is_never != other_said.is_never
            || said.own != other_said.own
            || said.kinds != other_said.kinds
            || said.contains.map(|it| (it.min, it.max))
                != other_said.contains.map(|it| (it.min, it.max))
            || (drafts.0 != drafts.1 && !said.own.is_empty())
            || said.dependent_required != other_said.dependent_required
        {
            return false;
        }
        let (ways, others) = (ways_of(&place.ways), ways_of(&other_place.ways));
        if ways.len() != others.len() {
            return false;
        }
        for (way, other) in ways.into_iter().zip(others) {
            let is_late = ["$dynamicRef", "$recursiveRef"].contains(&way.keyword);
            if is_late || way.keyword != other.keyword || way.key != other.key {
                return false;
            }
            next.push((way.to, other.to));
        }
    }
    true
}

/// In an order that does not depend on how they are written.
fn ways_of<'w, 'a>(ways: &'w [Way<'a>]) -> Vec<&'w Way<'a>> {
    let mut ways: Vec<_> = ways.iter().filter(|it| it.meets != Meets::Nothing).collect();
    ways.sort_by_key(|it| match it.key {
        Key::None => (it.keyword, "", 0),
        Key::Name(name) => (it.keyword, name, 0),
        Key::Index(index) => (it.keyword, "", index),
    });
    ways
}

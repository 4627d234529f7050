//! What is known of a value: schemas that all hold of it.

use std::collections::BTreeSet;

use super::graph::{Graph, Kinds, Node};

/// Schemas of one graph that all hold of one value, and the kinds that the value may be of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    /// In order, each once, with all that they say holds as well.
    all: Vec<Fact>,
    kinds: Kinds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Fact {
    node: usize,
    /// Whether one of the branches of its `anyOf` is among the facts, and of its `oneOf`.
    any_chosen: bool,
    one_chosen: bool,
}

impl Facts {
    /// That schemas hold.
    pub(super) fn of(graph: &Graph<'_>, nodes: impl IntoIterator<Item = usize>) -> Self {
        let mut facts = Self { all: Vec::new(), kinds: Kinds::ALL };
        facts.add(graph, nodes);
        facts
    }

    fn add(&mut self, graph: &Graph<'_>, nodes: impl IntoIterator<Item = usize>) {
        let mut known: BTreeSet<usize> = self.all.iter().map(|it| it.node).collect();
        let mut next: Vec<usize> = nodes.into_iter().collect();
        while let Some(node) = next.pop() {
            if !known.insert(node) {
                continue;
            }
            let it = graph.nodes.get(node);
            // What only refers to another is that other: so the same is known however it is reached.
            if it.is_some_and(|it| !it.is_silent) {
                self.all.push(Fact { node, any_chosen: false, one_chosen: false });
            }
            if let Some(it) = it {
                next.extend(&it.all_of);
                self.kinds = self.kinds & it.kinds.unwrap_or(Kinds::ALL);
            }
        }
        self.all.sort_unstable();
    }

    /// The same of a value that is of one of these kinds.
    pub(super) fn limited(&self, kinds: Kinds) -> Self {
        Self { all: self.all.clone(), kinds: self.kinds & kinds }
    }

    /// The kinds that the value may be of.
    pub(super) fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// The schemas.
    pub(super) fn nodes<'g, 'a>(
        &'g self,
        graph: &'g Graph<'a>,
    ) -> impl Iterator<Item = &'g Node<'a>> {
        self.all.iter().filter_map(|it| graph.nodes.get(it.node))
    }

    /// The schemas, by their numbers.
    pub(super) fn ids(&self) -> impl Iterator<Item = usize> {
        self.all.iter().map(|it| it.node)
    }

    /// Whether no value is such.
    pub(super) fn is_never(&self, graph: &Graph<'_>) -> bool {
        self.kinds.is_empty() || self.nodes(graph).any(|it| it.is_never)
    }

    /// What else may be known: one of these holds. The first choice that was not made yet; `None`: there is none.
    pub(super) fn choices(&self, graph: &Graph<'_>) -> Option<Vec<Self>> {
        for (index, fact) in self.all.iter().enumerate() {
            let Some(node) = graph.nodes.get(fact.node) else { continue };
            let made = if !fact.any_chosen && !node.any_of.is_empty() {
                (&node.any_of, Fact { any_chosen: true, ..*fact })
            } else if !fact.one_chosen && !node.one_of.is_empty() {
                (&node.one_of, Fact { one_chosen: true, ..*fact })
            } else {
                continue;
            };
            let choose = |branch: &usize| {
                let mut chosen = self.clone();
                if let Some(it) = chosen.all.get_mut(index) {
                    *it = made.1;
                }
                chosen.add(graph, [*branch]);
                chosen
            };
            return Some(made.0.iter().map(choose).collect());
        }
        None
    }

    /// What is known of an item; `None`: of those after all that are told apart.
    pub(super) fn of_item(&self, graph: &Graph<'_>, index: Option<usize>) -> Self {
        let item = |it: &Node<'_>| match index {
            Some(index) => it.prefix.get(index).copied().or(it.items),
            None => it.items,
        };
        Self::of(graph, self.nodes(graph).filter_map(item).collect::<Vec<_>>())
    }

    /// What is known of a property. `matches` says whether a name has a pattern.
    pub(super) fn of_property(
        &self,
        graph: &Graph<'_>,
        name: &str,
        matches: &dyn Fn(&str, &str) -> Option<bool>,
    ) -> Self {
        let mut nodes = Vec::new();
        for node in self.nodes(graph) {
            let before = nodes.len();
            let mut is_sure = true;
            nodes.extend(node.properties.get(name));
            for (pattern, to) in &node.patterns {
                match matches(pattern, name) {
                    Some(true) => nodes.push(*to),
                    Some(false) => {}
                    None => is_sure = false,
                }
            }
            if nodes.len() == before && is_sure {
                nodes.extend(node.additional);
            }
        }
        Self::of(graph, nodes)
    }

    /// Whether an object has a property for certain.
    pub(super) fn requires(&self, graph: &Graph<'_>, name: &str) -> bool {
        self.nodes(graph).any(|it| it.required.contains(name))
    }
}

//! What a reader asks of objects.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Comparison;
use crate::json::facts::Facts;
use crate::json::graph::{Kinds, Node};

impl Comparison<'_, '_> {
    /// Sizes, names, and what stands under them.
    pub(super) fn objects(&mut self, facts: &Facts, reader: usize) -> bool {
        if !facts.kinds().has(Kinds::OBJECT) {
            return true;
        }
        self.required(facts, reader)
            & self.sizes(facts, reader)
            & self.names(facts, reader)
            & self.dependent(facts, reader)
            & self.properties(facts, reader)
    }

    fn required(&mut self, facts: &Facts, reader: usize) -> bool {
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        let mut all = true;
        for name in &node.required {
            if facts.requires(self.writer, name) {
                continue;
            }
            let listed = self.reader.said(reader, "required").and_then(Value::as_array);
            let index = listed.and_then(|it| it.iter().position(|it| it == name));
            let mut pointer = self.reader.places.pointer_to(reader, "required");
            if let Some(index) = index {
                pointer.push_str(&format!("/{index}"));
            }
            let writer = facts.ids().find_map(|it| self.writer.said(it, "required"));
            let name = Value::from(*name);
            all &= self.tell_at(pointer, "required", writer, Some(&name));
        }
        all
    }

    fn sizes(&mut self, facts: &Facts, reader: usize) -> bool {
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        let required: BTreeSet<_> = facts.nodes(self.writer).flat_map(|it| &it.required).collect();
        let said = facts.nodes(self.writer).map(|it| it.min_properties).max().unwrap_or_default();
        let least = said.max(u64::try_from(required.len()).unwrap_or(u64::MAX));
        let most = facts.nodes(self.writer).filter_map(|it| self.max_properties(it)).min();
        let mut all = true;
        if node.min_properties > least {
            all &= self.tell(facts, reader, "minProperties");
        }
        if node.max_properties.is_some_and(|asked| most.is_none_or(|most| most > asked)) {
            all &= self.tell(facts, reader, "maxProperties");
        }
        all
    }

    fn max_properties(&self, node: &Node<'_>) -> Option<u64> {
        let listed = self.is_listed(node).then(|| {
            let is_never = |it: &&usize| self.writer.nodes.get(**it).is_some_and(|it| it.is_never);
            let count = node.properties.values().filter(|it| !is_never(it)).count();
            u64::try_from(count).unwrap_or(u64::MAX)
        });
        node.max_properties.into_iter().chain(listed).min()
    }

    /// Whether a writer's object has the properties that it names and no others.
    fn is_listed(&self, node: &Node<'_>) -> bool {
        let additional = node.additional.and_then(|it| self.writer.nodes.get(it));
        node.patterns.is_empty() && additional.is_some_and(|it| it.is_never)
    }

    fn names(&mut self, facts: &Facts, reader: usize) -> bool {
        let Some(asked) = self.reader.nodes.get(reader).and_then(|it| it.names) else {
            return true;
        };
        let writer = self.writer;
        let held: Vec<_> = facts.nodes(writer).filter_map(|it| it.names).collect();
        let held = Facts::of(writer, held).limited(Kinds::STRING);
        if self.quietly(|it| it.follows(&held, asked)) {
            return true;
        }
        let listed = facts.nodes(writer).find(|it| self.is_listed(it));
        let taken = listed.is_some_and(|it| {
            it.properties.iter().all(|(name, to)| {
                let name = Value::from(*name);
                writer.nodes.get(*to).is_some_and(|it| it.is_never)
                    || self.evaluation.follows(self.reader, asked, &name) == Some(true)
            })
        });
        taken || self.tell(facts, reader, "propertyNames")
    }

    fn dependent(&mut self, facts: &Facts, reader: usize) -> bool {
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        let mut all = true;
        for (name, needs) in &node.dependent_required {
            if self.property(facts, name).is_never(self.writer) {
                continue;
            }
            let is_held = |need: &&str| {
                facts.requires(self.writer, need)
                    || facts.nodes(self.writer).any(|it| {
                        it.dependent_required.get(name).is_some_and(|it| it.contains(need))
                    })
            };
            if !needs.iter().all(is_held) {
                let old = self.reader.said(reader, "dependentRequired").is_none();
                let rule = if old { "dependencies" } else { "dependentRequired" };
                all &= self.tell(facts, reader, rule);
            }
        }
        for (name, asked) in &node.dependent {
            let held = facts.nodes(self.writer).flat_map(|it| &it.dependent);
            let held: Vec<_> = held.filter(|it| it.0 == *name).map(|it| it.1).collect();
            if self.property(facts, name).is_never(self.writer)
                || held.into_iter().any(|it| self.is_same(it, *asked))
            {
                continue;
            }
            all &= self.follows(facts, *asked);
        }
        all
    }

    fn property(&self, facts: &Facts, name: &str) -> Facts {
        let matches = |pattern: &str, name: &str| self.evaluation.patterns.matches(pattern, name);
        facts.of_property(self.writer, name, &matches)
    }

    fn properties(&mut self, facts: &Facts, reader: usize) -> bool {
        let told = self.found.len();
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        if node.properties.is_empty() && node.patterns.is_empty() && node.additional.is_none() {
            return true;
        }
        let named = facts.nodes(self.writer).flat_map(|it| it.properties.keys());
        let names: BTreeSet<&str> = named.chain(node.properties.keys()).copied().collect();
        let mut all = true;
        for name in names {
            self.is_exhausted |= !self.evaluation.spend(1);
            if self.is_exhausted || self.is_full(told) {
                return false;
            }
            let held = self.property(facts, name);
            if held.is_never(self.writer) {
                continue;
            }
            let mut asked: Vec<(&'static str, usize)> = Vec::new();
            asked.extend(node.properties.get(name).map(|it| ("properties", *it)));
            for (pattern, to) in &node.patterns {
                match self.evaluation.patterns.matches(pattern, name) {
                    Some(true) => asked.push(("patternProperties", *to)),
                    Some(false) => {}
                    None => all &= self.tell(facts, reader, "patternProperties"),
                }
            }
            if asked.is_empty() {
                asked.extend(node.additional.map(|it| ("additionalProperties", it)));
            }
            for (rule, to) in asked {
                if self.reader.nodes.get(to).is_some_and(|it| it.is_never) {
                    let pointer = self.reader.places.pointer(to);
                    let name = Value::from(name);
                    all &= self.tell_at(pointer, rule, Some(&name), Some(&Value::Bool(false)));
                } else {
                    all &= self.follows(&held, to);
                }
            }
        }
        all & self.unnamed(facts, reader)
    }

    /// Properties that neither names: those that have a pattern of the reader, and those that have none.
    fn unnamed(&mut self, facts: &Facts, reader: usize) -> bool {
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        let patterns: Vec<&str> = node.patterns.iter().map(|it| it.0).collect();
        let mut all = true;
        for (pattern, asked) in &node.patterns {
            let held =
                |it: &Node<'_>| it.patterns.iter().find(|it| it.0 == *pattern).map(|it| it.1);
            for facts in self.of_unnamed(facts, held, &[]) {
                all &= self.follows(&facts, *asked);
            }
        }
        if let Some(asked) = node.additional {
            for facts in self.of_unnamed(facts, |_| None, &patterns) {
                all &= self.follows(&facts, asked);
            }
        }
        all
    }

    /// What may be known of a property that the writer does not name; one of these holds. `held` says what a schema holds
    /// for certain; the property has none of the patterns of `without`.
    fn of_unnamed(
        &self,
        facts: &Facts,
        held: impl Fn(&Node<'_>) -> Option<usize>,
        without: &[&str],
    ) -> Vec<Facts> {
        let (mut sure, mut either) = (Vec::new(), Vec::new());
        for node in facts.nodes(self.writer) {
            if let Some(held) = held(node) {
                sure.push(held);
                continue;
            }
            let others = node.patterns.iter().filter(|it| !without.contains(&it.0));
            let others: Vec<_> = others.map(|it| Some(it.1)).collect();
            if others.is_empty() {
                sure.extend(node.additional);
            } else if either.is_empty() {
                either = others;
                either.push(node.additional);
            }
        }
        if either.is_empty() {
            either.push(None);
        }
        let with = |it: Option<usize>| Facts::of(self.writer, sure.iter().copied().chain(it));
        either.into_iter().map(with).collect()
    }
}

//! What a reader asks of arrays.

use super::Comparison;
use crate::json::facts::Facts;
use crate::json::graph::Kinds;

impl Comparison<'_, '_> {
    /// Sizes, items, and what is among them.
    pub(super) fn arrays(&mut self, facts: &Facts, reader: usize) -> bool {
        if !facts.kinds().has(Kinds::ARRAY) {
            return true;
        }
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        let least = facts.nodes(self.writer).map(|it| it.min_items).max().unwrap_or_default();
        let most = self.max_items(facts);
        let mut all = true;
        if node.min_items > least {
            all &= self.tell(facts, reader, "minItems");
        }
        if node.max_items.is_some_and(|asked| most.is_none_or(|most| most > asked)) {
            all &= self.tell(facts, reader, "maxItems");
        }
        let is_unique = facts.nodes(self.writer).any(|it| it.is_unique);
        if node.is_unique && !is_unique && most.is_none_or(|most| most > 1) {
            all &= self.tell(facts, reader, "uniqueItems");
        }
        all &= self.contains(facts, reader);
        all & self.items(facts, reader, most)
    }

    /// How many items there may be.
    fn max_items(&self, facts: &Facts) -> Option<u64> {
        let each = facts.nodes(self.writer).filter_map(|it| {
            let last = it.items.and_then(|items| self.writer.nodes.get(items));
            let listed = last.filter(|it| it.is_never).map(|_| it.prefix.len());
            let listed = listed.map(|it| u64::try_from(it).unwrap_or(u64::MAX));
            it.max_items.into_iter().chain(listed).min()
        });
        each.min()
    }

    fn contains(&mut self, facts: &Facts, reader: usize) -> bool {
        let Some(asked) = self.reader.nodes.get(reader).and_then(|it| it.contains) else {
            return true;
        };
        if asked.min == 0 && asked.max.is_none() {
            return true;
        }
        let writer = self.writer;
        for held in facts.nodes(writer).filter_map(|it| it.contains) {
            let enough = held.min >= asked.min;
            let few = asked.max.is_none_or(|asked| held.max.is_some_and(|held| held <= asked));
            if enough && few && self.is_same(held.node, asked.node) {
                return true;
            }
            let inner = Facts::of(writer, [held.node]);
            if enough && asked.max.is_none() && self.quietly(|it| it.follows(&inner, asked.node)) {
                return true;
            }
        }
        self.tell(facts, reader, "contains")
    }

    fn items(&mut self, facts: &Facts, reader: usize, most: Option<u64>) -> bool {
        let (writer, told) = (self.writer, self.found.len());
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        if node.prefix.is_empty() && node.items.is_none() {
            return true;
        }
        let listed = facts.nodes(writer).map(|it| it.prefix.len()).max().unwrap_or_default();
        let listed = listed.max(node.prefix.len());
        let is_there = |index: usize| {
            most.is_none_or(|most| u64::try_from(index).is_ok_and(|index| index < most))
        };
        let mut all = true;
        for index in (0..listed).take_while(|it| is_there(*it)) {
            if let Some(asked) = node.prefix.get(index).copied().or(node.items) {
                all &= self.follows(&facts.of_item(writer, Some(index)), asked);
            }
            if self.is_exhausted || self.is_full(told) {
                return false;
            }
        }
        match node.items {
            Some(asked) if is_there(listed) => {
                all & self.follows(&facts.of_item(writer, None), asked)
            }
            _ => all,
        }
    }
}

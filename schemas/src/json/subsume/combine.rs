//! What a reader asks by combining schemas, and what is only compared as a whole.

use serde_json::Value;

use super::Comparison;
use crate::json::apart;
use crate::json::evaluate::{forms, has_numbers_inside};
use crate::json::facts::Facts;
use crate::json::graph::Kinds;
use crate::json::same;

impl Comparison<'_, '_> {
    /// Whether a writer's schema and a reader's say the same.
    pub(super) fn is_same(&self, writer: usize, reader: usize) -> bool {
        same::is_same(&self.evaluation, self.writer, writer, self.reader, reader)
    }

    fn is_apart(&self, facts: &Facts, reader: usize) -> bool {
        let other = Facts::of(self.reader, [reader]);
        apart::are_apart(&self.evaluation, (self.writer, facts), (self.reader, &other))
    }

    /// Where the writer has few values each is tried; `None`: it has many, or it is not known of one.
    pub(super) fn values(&mut self, facts: &Facts, reader: usize) -> Option<bool> {
        let few = [Value::Null, Value::Bool(false), Value::Bool(true)];
        let named = facts.nodes(self.writer).filter_map(|it| it.values.as_ref());
        let named = named.min_by_key(|it| it.len());
        // What lists values takes each, if it says nothing else.
        let lists = |it: usize| {
            let node = self.writer.nodes.get(it);
            node.is_some_and(|it| {
                it.values.as_ref().is_some_and(|it| named.is_some_and(|own| std::ptr::eq(it, own)))
                    && it.own.len() == 1
            })
        };
        let plain: Vec<usize> = facts.ids().filter(|it| !lists(*it)).collect();
        let values: Vec<&Value> = match named {
            Some(values) => values.clone(),
            None if facts.kinds().is_within(Kinds::NULL | Kinds::BOOLEAN) => few.iter().collect(),
            None => return None,
        };
        let mut all = true;
        for value in values {
            if self.is_exact() && has_numbers_inside(value) {
                return None;
            }
            // A value is taken as well where its number is written in another way.
            for value in forms(value) {
                let evaluation = &self.evaluation;
                if !facts.kinds().has(Kinds::of(&value))
                    || plain
                        .iter()
                        .any(|it| evaluation.follows(self.writer, *it, &value) == Some(false))
                {
                    continue;
                }
                if evaluation.follows(self.reader, reader, &value)? {
                    continue;
                }
                let (at, rule) = self.culprit(reader, &value, 0);
                let says = self.reader.said(at, rule);
                let pointer = match says {
                    Some(_) => self.reader.places.pointer_to(at, rule),
                    None => self.reader.places.pointer(at),
                };
                all &= self.tell_at(pointer, rule, Some(&value), says);
            }
        }
        Some(all)
    }

    /// Whether `1` and `1.0` are not the same to one of them.
    fn is_exact(&self) -> bool {
        self.writer.is_exact() || self.reader.is_exact()
    }

    /// Where a reader refuses a value.
    fn culprit(&self, reader: usize, value: &Value, depth: usize) -> (usize, &'static str) {
        let Some(node) = self.reader.nodes.get(reader) else { return (reader, "schema") };
        if node.kinds.is_some_and(|it| !it.has(Kinds::of(value))) {
            return (reader, "type");
        }
        if node.values.is_some() {
            let is_one = self.reader.said(reader, "enum").is_none();
            return (reader, if is_one { "const" } else { "enum" });
        }
        let refuses =
            |it: &&usize| self.evaluation.follows(self.reader, **it, value) == Some(false);
        match node.all_of.iter().find(refuses) {
            Some(inner) if depth < 32 => self.culprit(*inner, value, depth + 1),
            _ if !node.any_of.is_empty() => (reader, "anyOf"),
            _ if !node.one_of.is_empty() => (reader, "oneOf"),
            _ => (reader, "schema"),
        }
    }

    /// Values that the reader lists, and what it combines.
    pub(super) fn combined(&mut self, facts: &Facts, reader: usize) -> bool {
        let told = self.found.len();
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        let mut all = true;
        if node.values.is_some() {
            let is_one = self.reader.said(reader, "enum").is_none();
            all &= self.tell(facts, reader, if is_one { "const" } else { "enum" });
        }
        for inner in &node.all_of {
            all &= self.follows(facts, *inner);
            if self.is_exhausted || self.is_full(told) {
                return false;
            }
        }
        if !node.any_of.is_empty() {
            all &= self.alternatives(facts, reader, &node.any_of, "anyOf");
        }
        if !node.one_of.is_empty() {
            let same = |it: &Vec<usize>| {
                it.len() == node.one_of.len()
                    && it.iter().zip(&node.one_of).all(|(held, asked)| self.is_same(*held, *asked))
            };
            let is_same = facts.nodes(self.writer).any(|it| same(&it.one_of));
            all &= is_same || self.alternatives(facts, reader, &node.one_of, "oneOf");
        }
        all
    }

    /// One of the branches is proven, or for each kind of value one.
    fn alternatives(
        &mut self,
        facts: &Facts,
        reader: usize,
        branches: &[usize],
        rule: &'static str,
    ) -> bool {
        if self.is_one_of(facts, branches, rule) {
            return true;
        }
        let kinds: Vec<_> = facts.kinds().each().map(|it| facts.limited(it)).collect();
        let mut all = true;
        for limited in kinds {
            if self.is_exhausted {
                return false;
            }
            if limited.is_never(self.writer) || self.is_one_of(&limited, branches, rule) {
                continue;
            }
            all = false;
            // Where one branch alone may be meant, what it asks says more than that none is followed.
            let meant = |it: &&usize| {
                let it = Facts::of(self.reader, [**it]);
                it.kinds().has(limited.kinds()) && !it.is_never(self.reader)
            };
            let meant: Vec<_> = branches.iter().filter(meant).collect();
            let told = self.found.len();
            if let [branch] = meant.as_slice()
                && !self.follows(&limited, **branch)
                && self.found.len() > told
            {
                continue;
            }
            self.found.truncate(told);
            self.tell(&limited, reader, rule);
        }
        all
    }

    fn is_one_of(&mut self, facts: &Facts, branches: &[usize], rule: &'static str) -> bool {
        for (index, branch) in branches.iter().enumerate() {
            let others = branches.iter().enumerate().filter(|it| it.0 != index).map(|it| *it.1);
            let others: Vec<usize> = if rule == "oneOf" { others.collect() } else { Vec::new() };
            if self.quietly(|it| it.follows(facts, *branch))
                && others.into_iter().all(|it| self.is_apart(facts, it))
            {
                return true;
            }
            if self.is_exhausted {
                return false;
            }
        }
        false
    }

    /// What is denied, conditional, or compared only as a whole.
    pub(super) fn whole(&mut self, facts: &Facts, reader: usize) -> bool {
        let writer = self.writer;
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        let mut all = true;
        if let Some(asked) = node.not {
            let mut held = facts.nodes(writer).filter_map(|it| it.not);
            if !held.any(|it| self.is_same(it, asked)) && !self.is_apart(facts, asked) {
                all &= self.tell(facts, reader, "not");
            }
        }
        if let Some((condition, then, otherwise)) = node.condition {
            let both = |held: Option<usize>, asked: Option<usize>| match (held, asked) {
                (Some(held), Some(asked)) => self.is_same(held, asked),
                (held, asked) => held.is_none() && asked.is_none(),
            };
            let same = facts.nodes(writer).filter_map(|it| it.condition).any(|it| {
                self.is_same(it.0, condition) && both(it.1, then) && both(it.2, otherwise)
            });
            let is_held = same
                || ((self.is_apart(facts, condition) || self.is_held(facts, then))
                    && self.is_held(facts, otherwise));
            if !is_held {
                all &= self.tell(facts, reader, "if");
            }
        }
        for keyword in &node.opaque {
            if !facts.ids().any(|it| self.is_same(it, reader)) {
                all &= self.tell(facts, reader, keyword);
            }
        }
        all
    }

    fn is_held(&mut self, facts: &Facts, asked: Option<usize>) -> bool {
        asked.is_none_or(|asked| self.quietly(|it| it.follows(facts, asked)))
    }
}

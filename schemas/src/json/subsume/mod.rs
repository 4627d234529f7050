//! Whether all that follows one schema follows another.
//!
//! What is known of a writer's value ([`Facts`]) is led along the reader's schema, and each thing that the reader asks has
//! to be proven from it. What is proven holds; what is not may hold still, and is told as a difference. Schemas that lead
//! back to themselves are proven as such proofs go: while a pair is looked at it is taken for proven, and what rests on
//! that is forgotten if it was not.

mod array;
mod combine;
mod object;
mod scalar;

use std::borrow::Cow;
use std::collections::HashMap;

use nexus_protocol::limits::SCHEMA_PROBLEMS_MAX;
use serde_json::Value;

use super::evaluate::Evaluation;
use super::facts::Facts;
use super::graph::Graph;
use crate::Difference;
use crate::words::cut;

/// What a comparison may take; beyond, it is not known.
const STEPS_MAX: u32 = 200_000;

/// How deep schemas are followed: each level takes stack.
const DEPTH_MAX: usize = 96;

/// Bytes of a value in a difference.
const VALUE_BYTES_MAX: usize = 1_024;

/// A writer's schema that is compared with a reader's.
pub(super) struct Comparison<'g, 'a> {
    pub(super) writer: &'g Graph<'a>,
    pub(super) reader: &'g Graph<'a>,
    pub(super) evaluation: Evaluation,
    known: HashMap<Pair, Known>,
    /// What was found while something above it was taken for proven.
    resting: Vec<Pair>,
    open: HashMap<Pair, usize>,
    depth: usize,
    /// How far up the highest pair is that was taken for proven since the one that is looked at.
    rests_on: usize,
    found: Vec<Difference>,
    is_exhausted: bool,
}

type Pair = (Facts, usize);

enum Known {
    /// It is proven, if that which is so far up is; [`PROVEN`]: it is.
    Follows(usize),
    /// It is not, and one reason.
    Fails(Box<Difference>),
}

const PROVEN: usize = usize::MAX;

/// Why a reader does not read all that follows a writer's schema, as far as can be seen.
pub(super) fn differences(writer: &Graph<'_>, reader: &Graph<'_>) -> Vec<Difference> {
    let mut comparison = Comparison {
        writer,
        reader,
        evaluation: Evaluation::new(STEPS_MAX),
        known: HashMap::new(),
        resting: Vec::new(),
        open: HashMap::new(),
        depth: 0,
        rests_on: PROVEN,
        found: Vec::new(),
        is_exhausted: false,
    };
    let follows = comparison.follows(&Facts::of(writer, [0]), 0);
    let (mut found, is_exhausted) = (comparison.found, comparison.is_exhausted);
    if is_exhausted {
        found.clear();
    } else if follows {
        return Vec::new();
    }
    if found.is_empty() {
        let rule = if is_exhausted { "too_complex" } else { "schema" };
        found.push(Difference::of_the_whole(rule));
    }
    let mut told: Vec<Difference> = Vec::new();
    for difference in found {
        if told.len() < SCHEMA_PROBLEMS_MAX && !told.contains(&difference) {
            told.push(difference);
        }
    }
    told
}

impl Comparison<'_, '_> {
    /// Whether all that is known to be so follows a reader's node; if not, what stands in the way is told.
    pub(super) fn follows(&mut self, facts: &Facts, reader: usize) -> bool {
        if facts.is_never(self.writer) {
            return true;
        }
        let size = u32::try_from(facts.ids().count()).unwrap_or(u32::MAX);
        if self.is_exhausted || self.depth > DEPTH_MAX || !self.evaluation.spend(1 + size / 4) {
            self.is_exhausted = true;
            return false;
        }
        let pair = (facts.clone(), reader);
        match self.known.get(&pair) {
            Some(Known::Follows(rests_on)) => {
                self.rests_on = self.rests_on.min(*rests_on);
                return true;
            }
            Some(Known::Fails(why)) => {
                let why = (**why).clone();
                self.found.push(why);
                return false;
            }
            None => {}
        }
        if let Some(at) = self.open.get(&pair) {
            self.rests_on = self.rests_on.min(*at);
            return true;
        }
        self.open.insert(pair.clone(), self.depth);
        let above = std::mem::replace(&mut self.rests_on, PROVEN);
        let (told, resting) = (self.found.len(), self.resting.len());
        self.depth += 1;
        let follows = self.prove(facts, reader);
        self.depth -= 1;
        self.open.remove(&pair);
        let rests_on = self.rests_on;
        if follows {
            self.rests_on = above.min(self.keep(pair, rests_on, resting));
        } else {
            // What was found since may rest on this.
            for forgotten in self.resting.drain(resting..) {
                self.known.remove(&forgotten);
            }
            self.rests_on = above.min(if rests_on < self.depth { rests_on } else { PROVEN });
            if !self.is_exhausted {
                let why = self.found.get(told).cloned();
                let why = why.unwrap_or_else(|| self.difference(facts, reader, "schema", None));
                self.known.insert(pair, Known::Fails(Box::new(why)));
            }
        }
        follows
    }

    /// Remembers what was proven. Says what it rests on, outside of itself.
    fn keep(&mut self, pair: Pair, rests_on: usize, resting: usize) -> usize {
        let rests_on = if rests_on < self.depth { rests_on } else { PROVEN };
        for below in self.resting.get(resting..).unwrap_or_default() {
            if let Some(Known::Follows(on)) = self.known.get_mut(below)
                && *on >= self.depth
            {
                *on = rests_on;
            }
        }
        if rests_on == PROVEN {
            self.resting.truncate(resting);
        } else {
            self.resting.push(pair.clone());
        }
        self.known.insert(pair, Known::Follows(rests_on));
        rests_on
    }

    /// As it is known, or else for each of the writer's alternatives.
    fn prove(&mut self, facts: &Facts, reader: usize) -> bool {
        let told = self.found.len();
        if self.prove_at_once(facts, reader) {
            self.found.truncate(told);
            return true;
        }
        if self.is_exhausted {
            return false;
        }
        let Some(choices) = facts.choices(self.writer) else { return false };
        self.found.truncate(told);
        let mut all = true;
        for chosen in choices {
            all &= self.follows(&chosen, reader);
            if self.is_exhausted || self.is_full(told) {
                break;
            }
        }
        all
    }

    fn prove_at_once(&mut self, facts: &Facts, reader: usize) -> bool {
        if let Some(follows) = self.values(facts, reader) {
            return follows;
        }
        let told = self.found.len();
        let parts: [fn(&mut Self, &Facts, usize) -> bool; 7] = [
            Self::kinds,
            Self::numbers,
            Self::strings,
            Self::arrays,
            Self::objects,
            Self::combined,
            Self::whole,
        ];
        let mut all = true;
        for part in parts {
            all &= part(self, facts, reader);
            if self.is_exhausted || self.is_full(told) {
                break;
            }
        }
        all
    }

    /// Whether enough was told since.
    pub(super) fn is_full(&self, told: usize) -> bool {
        self.found.len() >= told + SCHEMA_PROBLEMS_MAX
    }

    /// Tries without telling anything.
    pub(super) fn quietly(&mut self, run: impl FnOnce(&mut Self) -> bool) -> bool {
        let told = self.found.len();
        let result = run(self);
        self.found.truncate(told);
        result
    }

    /// Tells that a rule of the reader stands in the way.
    pub(super) fn tell(&mut self, facts: &Facts, reader: usize, rule: &'static str) -> bool {
        let difference = self.difference(facts, reader, rule, None);
        self.found.push(difference);
        false
    }

    /// Tells of it, with what the reader says.
    pub(super) fn tell_at(
        &mut self,
        pointer: String,
        rule: impl Into<Cow<'static, str>>,
        writer: Option<&Value>,
        reader: Option<&Value>,
    ) -> bool {
        let (writer, reader) = (writer.map(bounded), reader.map(bounded));
        self.found.push(Difference { pointer, rule: rule.into(), writer, reader });
        false
    }

    fn difference(
        &self,
        facts: &Facts,
        reader: usize,
        rule: &'static str,
        says: Option<&Value>,
    ) -> Difference {
        let writer = facts.ids().find_map(|it| self.writer.said(it, rule));
        let at = self.reader.said(reader, rule);
        let pointer = match at {
            Some(_) => self.reader.places.pointer_to(reader, rule),
            None => self.reader.places.pointer(reader),
        };
        let reader = says.or(at).map(bounded);
        Difference { pointer, rule: rule.into(), writer: writer.map(bounded), reader }
    }
}

/// A value, or its beginning if it is long.
pub(super) fn bounded(value: &Value) -> Value {
    let text = value.to_string();
    if text.len() <= VALUE_BYTES_MAX {
        return value.clone();
    }
    Value::String(cut(&text, VALUE_BYTES_MAX / 4))
}

//! What a reader asks of a value's kind, of numbers, and of strings.

use serde_json::{Number, Value};

use super::Comparison;
use crate::json::facts::Facts;
use crate::json::graph::{Bound, Kinds};

/// Up to here a validator tells whole numbers apart when it divides by them.
const DIVISOR_MAX: u64 = 1 << 53;

impl Comparison<'_, '_> {
    /// The kinds that are taken.
    pub(super) fn kinds(&mut self, facts: &Facts, reader: usize) -> bool {
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        if node.is_never {
            return self.tell_never(facts, reader);
        }
        match node.kinds {
            Some(kinds) if !facts.kinds().is_within(kinds) => self.tell(facts, reader, "type"),
            _ => true,
        }
    }

    /// Nothing follows it, and something would have to.
    fn tell_never(&mut self, facts: &Facts, reader: usize) -> bool {
        let pointer = self.reader.places.pointer(reader);
        let keyword = pointer.rsplit('/').find(|it| it.parse::<usize>().is_err());
        let rule = keyword.unwrap_or("false").to_owned();
        let writer = facts.ids().find_map(|it| self.writer.places.all.get(it));
        let writer = writer.map(|it| it.value);
        self.tell_at(pointer, rule, writer, Some(&Value::Bool(false)))
    }

    /// Bounds and divisors.
    pub(super) fn numbers(&mut self, facts: &Facts, reader: usize) -> bool {
        if !facts.kinds().has(Kinds::NUMBER) {
            return true;
        }
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        let is_whole = !facts.kinds().has(Kinds::FRACTION);
        let mut all = true;
        for (bounds, side) in [(&node.minimum, Side::Least), (&node.maximum, Side::Greatest)] {
            for asked in bounds {
                let held = facts.nodes(self.writer).flat_map(|it| match side {
                    Side::Least => &it.minimum,
                    Side::Greatest => &it.maximum,
                });
                let mut held = held.copied();
                if !held.any(|it| self.is_as_tight(side, it, *asked, is_whole)) {
                    all &= self.tell(facts, reader, asked.keyword);
                }
            }
        }
        if let Some(asked) = node.multiple_of {
            let one = asked.as_f64() == Some(1.0) && is_whole;
            let mut held = facts.nodes(self.writer).filter_map(|it| it.multiple_of);
            if !one && !held.any(|it| divides(asked, it)) {
                all &= self.tell(facts, reader, "multipleOf");
            }
        }
        all
    }

    /// Whether all within one bound is within another.
    fn is_as_tight(&self, side: Side, held: Bound<'_>, asked: Bound<'_>, is_whole: bool) -> bool {
        if held.number == asked.number && (held.is_exclusive || !asked.is_exclusive) {
            return true;
        }
        let beyond = match side {
            Side::Least => "exclusiveMinimum",
            Side::Greatest => "exclusiveMaximum",
        };
        let value = |it: &Number| Value::Number(it.clone());
        if self.evaluation.is_within(beyond, &value(asked.number), &value(held.number)) {
            return true;
        }
        // Of whole numbers the next one is the first that an exclusive bound lets in.
        let first = |it: Bound<'_>| {
            let step = i128::from(it.is_exclusive);
            let number = it.number.as_i64().map(i128::from)?;
            Some(if side == Side::Least { number + step } else { number - step })
        };
        match (first(held), first(asked)) {
            (Some(held), Some(asked)) if is_whole => match side {
                Side::Least => held >= asked,
                Side::Greatest => held <= asked,
            },
            _ => false,
        }
    }

    /// Lengths and patterns.
    pub(super) fn strings(&mut self, facts: &Facts, reader: usize) -> bool {
        if !facts.kinds().has(Kinds::STRING) {
            return true;
        }
        let Some(node) = self.reader.nodes.get(reader) else { return false };
        let mut all = true;
        let least = facts.nodes(self.writer).map(|it| it.min_length).max().unwrap_or_default();
        if node.min_length > least {
            all &= self.tell(facts, reader, "minLength");
        }
        let most = facts.nodes(self.writer).filter_map(|it| it.max_length).min();
        if node.max_length.is_some_and(|asked| most.is_none_or(|most| most > asked)) {
            all &= self.tell(facts, reader, "maxLength");
        }
        if let Some(asked) = node.pattern
            && !facts.nodes(self.writer).any(|it| it.pattern == Some(asked))
        {
            all &= self.tell(facts, reader, "pattern");
        }
        all
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Least,
    Greatest,
}

/// Whether what is a multiple of `held` is one of `asked`, as a validator counts.
fn divides(asked: &Number, held: &Number) -> bool {
    if asked == held {
        return true;
    }
    match (asked.as_u64(), held.as_u64()) {
        (Some(asked), Some(held)) => {
            asked > 0 && asked <= DIVISOR_MAX && held <= DIVISOR_MAX && held % asked == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisors_are_compared_where_they_are_exact() {
        let number = |text: &str| serde_json::from_str::<Number>(text).unwrap();
        let check = |asked: &str, held: &str, expected: bool| {
            assert_eq!(divides(&number(asked), &number(held)), expected, "{asked} {held}");
        };
        check("5", "10", true);
        check("10", "5", false);
        check("0.1", "0.1", true);
        check("0.1", "0.2", false);
        check("1", "9007199254740993", false);
    }
}

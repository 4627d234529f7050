//! What is looked at in a query before it is taken apart, or run.

use nexus_protocol::Timestamp;
use nexus_protocol::limits::{SEARCH_DEPTH_MAX, SEARCH_REGEX_BYTES_MAX, SEARCH_REGEX_PARTS_MAX};
use regex_syntax::hir::{Class, Hir, HirKind};
use tantivy::columnar::NumericalValue;
use tantivy::query_grammar::UserInputBound;

/// How deep a text in the query language is nested: before it is taken apart, which goes as deep as it is.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > SEARCH_DEPTH_MAX {
        return Err(format!("it is nested deeper than {SEARCH_DEPTH_MAX}"));
    }
    let mut nots = 0;
    for word in text.split_whitespace() {
        nots = if word == "NOT" { nots + 1 } else { 0 };
        if nots > SEARCH_DEPTH_MAX {
            return Err("say NOT once".to_owned());
        }
    }
    Ok(())
}

/// Words that a text is of, at most.
pub(super) fn words_of(text: &str) -> usize {
    text.split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty()).count()
}

/// Whether a regular expression is one, and bounded: what it is made into is as large as it is with all that is repeated
/// in it written out.
pub(super) fn check_regex(pattern: &str) -> Result<(), String> {
    if pattern.len() > SEARCH_REGEX_BYTES_MAX {
        return Err(format!("a regular expression has at most {SEARCH_REGEX_BYTES_MAX} bytes"));
    }
    let parsed = regex_syntax::parse(pattern).map_err(|why| format!("{pattern:?}: {why}"))?;
    match parts_of(&parsed) > SEARCH_REGEX_PARTS_MAX {
        true => Err(format!(
            "the regular expression {pattern:?} is of more than {SEARCH_REGEX_PARTS_MAX} parts, repeated ones as often as \
             they are"
        )),
        false => Ok(()),
    }
}

fn parts_of(expression: &Hir) -> usize {
    let all = |them: &[Hir]| them.iter().map(parts_of).fold(0, usize::saturating_add);
    let inner = match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Unicode(class)) => class.ranges().len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1));
            parts_of(&repetition.sub).saturating_mul(usize::try_from(times).unwrap_or(usize::MAX))
        }
        HirKind::Capture(capture) => parts_of(&capture.sub),
        HirKind::Concat(them) | HirKind::Alternation(them) => all(them),
    };
    inner.saturating_add(1)
}

/// Whether a range has an end, and both of one kind where its field is JSON: Tantivy panics where one is a whole number and the
/// other is none.
pub(super) fn check_range(
    lower: &UserInputBound,
    upper: &UserInputBound,
    is_json: bool,
) -> Result<(), String> {
    match (said(lower), said(upper)) {
        (None, None) => Err("a range from * to * is what field:* says".to_owned()),
        (Some(lower), Some(upper)) if is_json && kind_of(lower) != kind_of(upper) => Err(format!(
            "both ends of a range are of one kind, as two whole numbers, and not {lower:?} and {upper:?}"
        )),
        _ => Ok(()),
    }
}

fn said(bound: &UserInputBound) -> Option<&str> {
    match bound {
        UserInputBound::Inclusive(text) | UserInputBound::Exclusive(text) => Some(text),
        UserInputBound::Unbounded => None,
    }
}

/// What Tantivy takes a value in a JSON field for.
#[derive(PartialEq)]
enum Kind {
    Date,
    Whole,
    Large,
    Broken,
    Bool,
    Text,
}

fn kind_of(text: &str) -> Kind {
    if text.parse::<Timestamp>().is_ok() {
        return Kind::Date;
    }
    match text.parse::<NumericalValue>().map(NumericalValue::normalize) {
        Ok(NumericalValue::I64(_)) => Kind::Whole,
        Ok(NumericalValue::U64(_)) => Kind::Large,
        Ok(NumericalValue::F64(_)) => Kind::Broken,
        Err(_) if text.parse::<bool>().is_ok() => Kind::Bool,
        Err(_) => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_as_large_as_what_they_repeat() {
        for fine in ["", "bro.*", "[0-9]{4}-[0-9]{2}-[0-9]{2}", "(red|blue)+", r"\w+ \w+"] {
            check_regex(fine).unwrap();
        }
        for large in [
            "(|a){140000}",
            "(a?){200000}",
            "((((a{9}){9}){9}){9}){9}",
            "a{5000}",
            "(a",
            &"a".repeat(257),
        ] {
            check_regex(large).unwrap_err();
        }
    }

    #[test]
    fn what_goes_deep_is_refused() {
        check_text("NOT a AND NOT (NOT b)").unwrap();
        check_text(&format!("{}a", "NOT ".repeat(1_000))).unwrap_err();
        check_text(&format!("{}a{}", "(".repeat(9), ")".repeat(9))).unwrap_err();
    }

    #[test]
    fn words_are_counted_as_they_are_taken_apart() {
        for (text, words) in [("", 0), ("a", 1), ("a.a-a a", 4), ("Élan vital", 2)] {
            assert_eq!(words_of(text), words, "{text}");
        }
    }

    #[test]
    fn both_ends_are_of_one_kind() {
        let check = |lower: &str, upper: &str, is_json| {
            let bound = |text: &str| match text {
                "*" => UserInputBound::Unbounded,
                text => UserInputBound::Inclusive(text.to_owned()),
            };
            check_range(&bound(lower), &bound(upper), is_json).is_ok()
        };
        assert!(check("1", "2.5", false), "its field says of what kind they are");
        assert!(!check("*", "*", false));
        for (lower, upper, fine) in [
            ("1", "2", true),
            ("*", "2", true),
            ("1.5", "2.5", true),
            ("a", "b", true),
            ("1", "2.5", false),
            ("1.0", "2.5", false),
            ("1", "18446744073709551615", false),
            ("1", "abc", false),
            ("2026-01-01T00:00:00Z", "5", false),
        ] {
            assert_eq!(check(lower, upper, true), fine, "{lower} to {upper}");
        }
    }
}

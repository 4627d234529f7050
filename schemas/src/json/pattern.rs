//! Regular expressions: matched in linear time, of bounded size, and by the same engine wherever they are met.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::places::Places;
use crate::SchemaError;

/// Bytes of one pattern.
const PATTERN_BYTES_MAX: usize = 4_096;

/// Different patterns in a schema and what it refers to.
const PATTERNS_MAX: usize = 512;

/// Bytes that one compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 512 * 1024;

/// How patterns are compiled.
pub(super) fn options() -> PatternOptions<jsonschema::Regex> {
    PatternOptions::regex().size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX)
}

/// One regular expression, which is searched for anywhere in a text.
pub(super) struct Pattern(Validator);

impl Pattern {
    /// Compiles it; `None`: it is not taken.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let schema = Value::Object(Map::from_iter([("pattern".to_owned(), pattern.into())]));
        let validator = jsonschema::options().with_pattern_options(options()).offline();
        validator.build(&schema).ok().map(Self)
    }

    /// Whether a text has it.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_valid(&Value::String(text.to_owned()))
    }
}

/// Patterns that were compiled once, since schemas say the same again and again.
#[derive(Default)]
pub(super) struct Patterns(RefCell<HashMap<String, Option<Rc<Pattern>>>>);

impl Patterns {
    /// Whether a text has a pattern; `None`: the pattern is not taken.
    pub(super) fn matches(&self, pattern: &str, text: &str) -> Option<bool> {
        let known = self.0.borrow().get(pattern).cloned();
        let compiled = known.unwrap_or_else(|| {
            let compiled = Pattern::new(pattern).map(Rc::new);
            self.0.borrow_mut().insert(pattern.to_owned(), compiled.clone());
            compiled
        });
        compiled.map(|it| it.matches(text))
    }
}

/// Checks every pattern of a schema.
pub(super) fn check(places: &Places<'_>) -> Result<(), SchemaError> {
    let mut seen = BTreeSet::new();
    for (index, place) in places.all.iter().enumerate().filter(|(_, it)| !it.well_known) {
        let Value::Object(map) = place.value else { continue };
        let named = map.get("patternProperties").and_then(Value::as_object);
        let names = named.into_iter().flat_map(Map::keys).map(|it| ("patternProperties", &**it));
        let one = map.get("pattern").and_then(Value::as_str).map(|it| ("pattern", it));
        for (keyword, pattern) in one.into_iter().chain(names) {
            if !seen.insert(pattern) {
                continue;
            }
            let wrong = if seen.len() > PATTERNS_MAX {
                Some(format!("it has over {PATTERNS_MAX} different patterns"))
            } else {
                wrong_with(pattern)
            };
            if let Some(why) = wrong {
                return Err(SchemaError::Refused {
                    pointer: places.pointer_to(index, keyword),
                    why,
                });
            }
        }
    }
    Ok(())
}

fn wrong_with(pattern: &str) -> Option<String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Some(format!("a pattern takes {PATTERN_BYTES_MAX} bytes at most"));
    }
    if let Some(what) = beyond_linear(pattern) {
        return Some(format!("{pattern:?} has {what}, which is not matched in linear time"));
    }
    let too_much = || format!("{pattern:?} is no regular expression, or too large once compiled");
    Pattern::new(pattern).is_none().then(too_much)
}

/// What cannot be matched without going back.
fn beyond_linear(pattern: &str) -> Option<&'static str> {
    let (mut in_class, mut rest) = (false, pattern);
    while let Some(next) = rest.chars().next() {
        let after = rest.get(next.len_utf8()..).unwrap_or_default();
        rest = after;
        match next {
            '\\' => {
                let escaped = after.chars().next();
                let refers =
                    escaped.is_some_and(|it| matches!(it, '1'..='9')) || after.starts_with("k<");
                if refers && !in_class {
                    return Some("a back-reference");
                }
                rest = after.get(escaped.map_or(0, char::len_utf8)..).unwrap_or_default();
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => {
                let around = ["?=", "?!", "?<=", "?<!"];
                if around.iter().any(|it| after.starts_with(it)) {
                    return Some("look-around");
                }
            }
            _ => {}
        }
    }
    None
}

//! Closing: what a schema does not speak of is not taken from writers.
//!
//! A reader of events has to cope with properties that it does not know, and a schema says so by saying nothing. But
//! payloads are checked when they are written. There, a property that the schema does not name is a misspelling, or
//! belongs to a newer version; were it taken, no later version could name it and be sure what it holds. So an object that
//! names its properties and says nothing of others takes no others.
//!
//! A schema is closed where it stands *plainly*: at the root, as the value of a property or an item of such a schema, as
//! the target of a reference that stands alone, or as a branch of an `anyOf` or `oneOf` that stands alone. It is left as
//! written where it is composed, since another part may name more properties of the same object: within `allOf`, `not`,
//! `if`, `contains`, and the like, beside them, and where a definition is referred to both plainly and in such a place.
//! Branches of a `oneOf` are closed where it is seen that no value follows two of them: otherwise what two take, and
//! `oneOf` therefore refuses, would be taken once one of them is closed. So what follows the closed schema follows the
//! schema as written.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::documents::Documents;
use super::keywords::{self, Meets};
use super::pattern::Patterns;
use super::places::{Key, Place, Places, Way};

/// Keywords that speak of the properties that an object may have besides, or of the same object once more.
const SPEAKS_OF_OTHERS: &[&str] = &[
    "additionalProperties",
    "unevaluatedProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "dependentSchemas",
    "dependencies",
];

/// Keywords that a `$ref` may stand beside and yet stand alone.
const SAYS_NOTHING: &[&str] = &[
    "$ref",
    "$id",
    "$schema",
    "$anchor",
    "$dynamicAnchor",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
];

/// Keywords that branches may stand beside and yet be what speaks of the object's properties.
const BESIDE_BRANCHES: &[&str] = &["type", "required", "minProperties", "maxProperties"];

/// Matches of names with patterns that are tried in one schema; where there are more, its properties are left open.
const MATCHES_MAX: usize = 65_536;

/// The texts with all closed that is to be. `parts` says of each place whether it speaks of parts of a value; `apart` of one
/// with `oneOf`, whether no value follows two branches.
pub(super) fn close(
    documents: &Documents,
    places: &Places<'_>,
    parts: &[bool],
    apart: impl Fn(usize) -> bool,
) -> Documents {
    let plain = reached(places, parts, apart);
    let closing: HashSet<*const Value> = places
        .all
        .iter()
        .zip(plain)
        .filter(|(place, plain)| *plain && !place.well_known && is_to_close(place))
        .map(|(place, _)| std::ptr::from_ref(place.value))
        .collect();
    documents.with(documents.all.iter().map(|it| with_closed(&it.value, &closing)).collect())
}

fn with_closed(value: &Value, closing: &HashSet<*const Value>) -> Value {
    match value {
        Value::Object(map) => {
            let inner = map.iter().map(|(name, it)| (name.clone(), with_closed(it, closing)));
            let mut map: Map<String, Value> = inner.collect();
            if closing.contains(&std::ptr::from_ref(value)) {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            Value::Object(map)
        }
        Value::Array(items) => items.iter().map(|it| with_closed(it, closing)).collect(),
        other => other.clone(),
    }
}

fn is_to_close(place: &Place<'_>) -> bool {
    place.value.as_object().is_some_and(|map| {
        (map.contains_key("properties") || map.contains_key("patternProperties"))
            && !SPEAKS_OF_OTHERS.iter().any(|it| map.contains_key(*it))
    })
}

/// Which places are reached plainly and in no other way.
fn reached(places: &Places<'_>, parts: &[bool], apart: impl Fn(usize) -> bool) -> Vec<bool> {
    let patterns = Patterns::default();
    let mut plain = vec![false; places.all.len()];
    let mut composed = vec![false; places.all.len()];
    let mut next = vec![(0, true)];
    while let Some((place, plainly)) = next.pop() {
        let seen = if plainly { &mut plain } else { &mut composed };
        match seen.get_mut(place) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        let Some(here) = places.all.get(place) else { continue };
        let standing = plainly.then(|| Standing::of(here, parts, || apart(place)));
        for way in here.ways.iter().filter(|it| it.meets != Meets::Nothing) {
            next.push((way.to, standing.as_ref().is_some_and(|it| it.is_plain(way, &patterns))));
        }
    }
    plain.iter().zip(composed).map(|(plain, composed)| *plain && !composed).collect()
}

/// How the schemas stand that one is made of, if it stands plainly itself.
struct Standing<'a> {
    /// Whether nothing else speaks of the parts of the same value.
    parts: bool,
    /// The patterns among its properties.
    patterns: Vec<&'a str>,
    /// Its properties.
    names: Vec<&'a str>,
    /// Whether its reference stands alone.
    reference: bool,
    /// Whether its branches do.
    branches: bool,
}

impl<'a> Standing<'a> {
    fn of(place: &Place<'a>, parts: &[bool], apart: impl Fn() -> bool) -> Self {
        let map = place.value.as_object();
        let is_among = |keywords: &[&str]| {
            map.is_some_and(|map| map.keys().all(|it| keywords.contains(&it.as_str())))
        };
        let named = |keyword: &'static str| {
            place.ways.iter().filter(move |it| it.keyword == keyword).filter_map(|it| {
                match it.key {
                    Key::Name(name) => Some(name),
                    _ => None,
                }
            })
        };
        let has_parts = |it: &Way<'a>| parts.get(it.to).copied().unwrap_or(true);
        let alternatives = ["anyOf", "oneOf"];
        let branches = map.is_some_and(|map| {
            let own = |it: &&String| alternatives.contains(&it.as_str());
            let beside = [SAYS_NOTHING, BESIDE_BRANCHES].concat();
            map.keys().filter(own).count() == 1
                && !map.contains_key("$ref")
                && map.keys().filter(|it| !own(it)).all(|it| beside.contains(&it.as_str()))
                && (!map.contains_key("oneOf") || apart())
        });
        Self {
            parts: !place.ways.iter().any(|it| it.meets == Meets::Same && has_parts(it)),
            patterns: named("patternProperties").collect(),
            names: named("properties").collect(),
            reference: keywords::ref_stands_alone(place.draft) || is_among(SAYS_NOTHING),
            branches,
        }
    }

    fn is_plain(&self, way: &Way<'a>, patterns: &Patterns) -> bool {
        let matches = |pattern: &str, name: &str| patterns.matches(pattern, name) != Some(false);
        let few = self.patterns.len().saturating_mul(self.names.len()) <= MATCHES_MAX;
        match (way.keyword, way.key) {
            ("properties", Key::Name(name)) => {
                self.parts && few && !self.patterns.iter().any(|it| matches(it, name))
            }
            ("patternProperties", Key::Name(of)) => {
                self.parts
                    && few
                    && self.patterns.len() == 1
                    && !self.names.iter().any(|it| matches(of, it))
            }
            ("additionalProperties" | "items" | "prefixItems" | "additionalItems", _) => self.parts,
            ("$ref", _) => self.reference,
            ("anyOf" | "oneOf", _) => self.branches,
            _ => false,
        }
    }
}

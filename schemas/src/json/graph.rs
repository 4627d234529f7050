//! A schema as it is reasoned about: the same form for every draft, one node for each place.
//!
//! What drafts write differently is written once here: items and what comes after them, bounds that are exclusive, what is
//! required beside a property, and references, which are schemas that hold as well.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{BitAnd, BitOr, Not};

use jsonschema::{Draft, Registry};
use serde_json::{Map, Number, Value};

use super::documents::Documents;
use super::keywords::{self, Meets};
use super::places::{Key, Place, Places};
use crate::SchemaError;

/// Every place of a schema, read.
pub(super) struct Graph<'a> {
    /// Where each node is written.
    pub(super) places: Places<'a>,
    /// In the order of the places; the first is the schema itself.
    pub(super) nodes: Vec<Node<'a>>,
    /// Whether something is only resolved when a payload is met.
    pub(super) is_dynamic: bool,
}

/// Kinds of values. Numbers are three kinds, since drafts differ in which of them are integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOLEAN: Self = Self(1 << 1);
    pub(super) const STRING: Self = Self(1 << 2);
    pub(super) const ARRAY: Self = Self(1 << 3);
    pub(super) const OBJECT: Self = Self(1 << 4);
    /// `1`.
    pub(super) const WHOLE: Self = Self(1 << 5);
    /// `1.0`.
    pub(super) const WHOLE_FLOAT: Self = Self(1 << 6);
    /// `1.5`.
    pub(super) const FRACTION: Self = Self(1 << 7);
    pub(super) const ALL: Self = Self(u8::MAX);
    /// Of any kind.
    pub(super) const NUMBER: Self = Self(7 << 5);

    /// The kind of a value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
            Value::Number(it) if it.is_i64() || it.is_u64() => Self::WHOLE,
            Value::Number(it) if it.as_f64().is_some_and(|it| it.fract() == 0.0) => {
                Self::WHOLE_FLOAT
            }
            Value::Number(_) => Self::FRACTION,
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    pub(super) fn has(self, other: Self) -> bool {
        !(self & other).is_empty()
    }

    pub(super) fn is_within(self, other: Self) -> bool {
        (self & !other).is_empty()
    }

    /// Each of them.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        (0..8).map(|bit| Self(1 << bit)).filter(move |it| self.has(*it))
    }

    fn named(name: &str, draft: Draft) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            "number" => Self::NUMBER,
            "integer" if draft == Draft::Draft4 => Self::WHOLE,
            "integer" => Self::WHOLE | Self::WHOLE_FLOAT,
            _ => Self::NONE,
        }
    }
}

impl BitAnd for Kinds {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Kinds {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Not for Kinds {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// A least or greatest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound<'a> {
    pub(super) number: &'a Number,
    pub(super) is_exclusive: bool,
    pub(super) keyword: &'static str,
}

/// How many items follow a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contains {
    pub(super) node: usize,
    pub(super) min: u64,
    pub(super) max: Option<u64>,
}

/// One schema. What it says nothing of may be anything.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    /// Nothing follows it.
    pub(super) is_never: bool,
    pub(super) kinds: Option<Kinds>,
    /// The values that it takes.
    pub(super) values: Option<Vec<&'a Value>>,
    pub(super) minimum: Vec<Bound<'a>>,
    pub(super) maximum: Vec<Bound<'a>>,
    pub(super) multiple_of: Option<&'a Number>,
    pub(super) min_length: u64,
    pub(super) max_length: Option<u64>,
    pub(super) pattern: Option<&'a str>,
    /// The first items.
    pub(super) prefix: Vec<usize>,
    /// The other items.
    pub(super) items: Option<usize>,
    pub(super) min_items: u64,
    pub(super) max_items: Option<u64>,
    pub(super) is_unique: bool,
    pub(super) contains: Option<Contains>,
    pub(super) properties: BTreeMap<&'a str, usize>,
    pub(super) patterns: Vec<(&'a str, usize)>,
    pub(super) additional: Option<usize>,
    pub(super) names: Option<usize>,
    pub(super) required: BTreeSet<&'a str>,
    pub(super) min_properties: u64,
    pub(super) max_properties: Option<u64>,
    pub(super) dependent_required: BTreeMap<&'a str, Vec<&'a str>>,
    /// What is said where a property is there.
    pub(super) dependent: Vec<(&'a str, usize)>,
    /// What holds as well: references, too.
    pub(super) all_of: Vec<usize>,
    pub(super) any_of: Vec<usize>,
    pub(super) one_of: Vec<usize>,
    pub(super) not: Option<usize>,
    /// `if`, `then`, and `else`.
    pub(super) condition: Option<(usize, Option<usize>, Option<usize>)>,
    /// Keywords that are only compared as a whole.
    pub(super) opaque: Vec<&'static str>,
    /// What it says of a value without asking other schemas.
    pub(super) own: Map<String, Value>,
    /// It says nothing but that others hold.
    pub(super) is_silent: bool,
}

/// Keywords that ask no other schema.
const OWN: &[&str] = &[
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "required",
    "dependentRequired",
];

impl<'a> Graph<'a> {
    /// Reads texts that were found to be a schema.
    pub(super) fn read(
        documents: &'a Documents,
        registry: &'a Registry<'a>,
    ) -> Result<Self, SchemaError> {
        Ok(Self::of(Places::find(documents, registry)?))
    }

    /// Reads places.
    pub(super) fn of(places: Places<'a>) -> Self {
        let nodes = places.all.iter().map(read).collect();
        let dynamic = ["$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef"];
        let is_dynamic = |it: &Place<'_>| {
            !it.well_known && dynamic.iter().any(|keyword| it.value.get(*keyword).is_some())
        };
        let is_dynamic = places.all.iter().any(is_dynamic);
        Self { places, nodes, is_dynamic }
    }

    /// Whether it is of a draft in which `1.0` is no integer, though it equals `1`.
    pub(super) fn is_exact(&self) -> bool {
        self.places.all.iter().any(|it| it.draft == Draft::Draft4)
    }

    /// What is written at a node under a keyword.
    pub(super) fn said(&self, node: usize, keyword: &str) -> Option<&'a Value> {
        self.places.all.get(node).and_then(|it| it.value.get(keyword))
    }
}

fn read<'a>(place: &Place<'a>) -> Node<'a> {
    let mut node = Node::default();
    let Value::Object(map) = place.value else {
        node.is_never = place.value == &Value::Bool(false);
        node.is_silent = !node.is_never;
        return node;
    };
    if !(keywords::ref_stands_alone(place.draft) && map.contains_key("$ref")) {
        read_own(&mut node, map, place.draft);
    }
    read_ways(&mut node, place, map);
    node
}

fn read_own<'a>(node: &mut Node<'a>, map: &'a Map<String, Value>, draft: Draft) {
    let size = |keyword: &str| map.get(keyword).and_then(size_of);
    let number = |keyword: &str| match map.get(keyword) {
        Some(Value::Number(number)) => Some(number),
        _ => None,
    };
    node.kinds = map.get("type").map(|it| match it {
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .fold(Kinds::NONE, |sum, name| sum | Kinds::named(name, draft)),
        other => Kinds::named(other.as_str().unwrap_or_default(), draft),
    });
    let one = map.get("const").filter(|_| draft >= Draft::Draft6);
    let many = map.get("enum").and_then(Value::as_array);
    node.values = match (many, one) {
        (Some(many), None) => Some(many.iter().collect()),
        // Where both are said, `own` says of each value whether it is taken.
        (_, Some(one)) => Some(vec![one]),
        (None, None) => None,
    };
    let sides = [
        ("minimum", "exclusiveMinimum", &mut node.minimum),
        ("maximum", "exclusiveMaximum", &mut node.maximum),
    ];
    for (keyword, exclusive, bounds) in sides {
        let is_exclusive = map.get(exclusive) == Some(&Value::Bool(true));
        let of = |number, is_exclusive, keyword| Bound { number, is_exclusive, keyword };
        bounds.extend(number(keyword).map(|it| of(it, is_exclusive, keyword)));
        bounds.extend(number(exclusive).map(|it| of(it, true, exclusive)));
    }
    node.multiple_of = number("multipleOf");
    node.min_length = size("minLength").unwrap_or_default();
    node.max_length = size("maxLength");
    node.pattern = map.get("pattern").and_then(Value::as_str);
    node.min_items = size("minItems").unwrap_or_default();
    node.max_items = size("maxItems");
    node.is_unique = map.get("uniqueItems") == Some(&Value::Bool(true));
    node.min_properties = size("minProperties").unwrap_or_default();
    node.max_properties = size("maxProperties");
    node.required = strings(map.get("required")).collect();
    let dependent = map.get("dependentRequired").filter(|_| draft >= Draft::Draft201909);
    for held in [dependent, map.get("dependencies")].into_iter().flatten() {
        for (name, names) in held.as_object().into_iter().flatten() {
            if names.is_array() {
                node.dependent_required.entry(name).or_default().extend(strings(Some(names)));
            }
        }
    }
    let own = map.iter().filter(|(keyword, _)| OWN.contains(&keyword.as_str()));
    node.own = own.map(|(keyword, it)| (keyword.clone(), it.clone())).collect();
}

fn read_ways<'a>(node: &mut Node<'a>, place: &Place<'a>, map: &'a Map<String, Value>) {
    let (mut then, mut otherwise, mut condition) = (None, None, None);
    let is_list = map.get("items").is_some_and(Value::is_array);
    for way in place.ways.iter().filter(|it| it.meets != Meets::Nothing) {
        let to = way.to;
        match (way.keyword, way.key) {
            ("properties", Key::Name(name)) => _ = node.properties.insert(name, to),
            ("patternProperties", Key::Name(pattern)) => node.patterns.push((pattern, to)),
            ("additionalProperties", _) => node.additional = Some(to),
            ("propertyNames", _) => node.names = Some(to),
            ("items", Key::Index(_)) | ("prefixItems", _) => node.prefix.push(to),
            ("items", _) => node.items = Some(to),
            ("additionalItems", _) if is_list => node.items = Some(to),
            ("additionalItems", _) => {}
            ("contains", _) => {
                let counted = place.draft >= Draft::Draft201909;
                let size = |keyword| map.get(keyword).filter(|_| counted).and_then(size_of);
                let min = size("minContains").unwrap_or(1);
                node.contains = Some(Contains { node: to, min, max: size("maxContains") });
            }
            ("allOf" | "$ref", _) => node.all_of.push(to),
            ("anyOf", _) => node.any_of.push(to),
            ("oneOf", _) => node.one_of.push(to),
            ("not", _) => node.not = Some(to),
            ("if", _) => condition = Some(to),
            ("then", _) => then = Some(to),
            ("else", _) => otherwise = Some(to),
            ("dependentSchemas" | "dependencies", Key::Name(name)) => {
                node.dependent.push((name, to));
            }
            (keyword, _) if !node.opaque.contains(&keyword) => node.opaque.push(keyword),
            _ => {}
        }
    }
    node.condition = condition.map(|it| (it, then, otherwise));
    let ways = place.ways.iter().filter(|it| it.meets != Meets::Nothing).count();
    node.is_silent = ways == node.all_of.len()
        && node.own.is_empty()
        && node.dependent_required.is_empty()
        && node.opaque.is_empty();
}

fn strings(held: Option<&Value>) -> impl Iterator<Item = &str> {
    held.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// A size, which may be written with a point.
fn size_of(value: &Value) -> Option<u64> {
    match value.as_u64() {
        Some(size) => Some(size),
        None => {
            let size = value.as_f64().filter(|it| *it >= 0.0)?;
            Some(format!("{size:.0}").parse().unwrap_or(u64::MAX))
        }
    }
}

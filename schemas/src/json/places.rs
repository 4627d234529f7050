//! Every schema within a schema and within what it refers to: where it stands, and which others it leads to.
//!
//! A place is known by the address of its value, so one that is reached in two ways is one place. What a name leads to is
//! asked of the same registry that the validator asks, so both read a schema alike.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use jsonschema::{Draft, Registry, Uri};
use nexus_protocol::TooLarge;
use serde_json::{Map, Value};

use super::documents::Documents;
use super::keywords::{self, Holds, Meets};
use crate::SchemaError;
use nexus_protocol::schema::pointer_step;

/// Schemas within one schema and what it refers to.
pub(super) const PLACES_MAX: usize = 32_768;

/// Bytes of the pointers to all of them: a validator keeps each.
const POINTERS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Ways that dynamic references add.
const DYNAMIC_WAYS_MAX: usize = 65_536;

/// Keywords that hold values, in which no schema stands.
const VALUES: &[&str] = &["enum", "const", "default", "examples"];

/// Places, found from the texts' beginnings.
pub(super) struct Places<'a> {
    /// In the order in which they were found; the schema itself is the first.
    pub(super) all: Vec<Place<'a>>,
    known: HashMap<*const Value, usize>,
    pointers_bytes: usize,
    documents: &'a Documents,
}

/// One schema.
pub(super) struct Place<'a> {
    /// What it says.
    pub(super) value: &'a Value,
    /// In which draft.
    pub(super) draft: Draft,
    /// Which others it leads to.
    pub(super) ways: Vec<Way<'a>>,
    /// Whether it is one of the drafts' own.
    pub(super) well_known: bool,
    from: From<'a>,
    pointer_bytes: usize,
    base: Arc<Uri<String>>,
}

/// From one schema to another.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    /// Under which keyword.
    pub(super) keyword: &'static str,
    /// Under which name or number there.
    pub(super) key: Key<'a>,
    /// How the other meets a payload.
    pub(super) meets: Meets,
    /// Which one.
    pub(super) to: usize,
}

/// What stands between a keyword and a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// Nothing.
    None,
    /// A name.
    Name(&'a str),
    /// A number, from 0.
    Index(usize),
}

/// How a place was found first.
#[derive(Clone, Copy)]
enum From<'a> {
    /// It is a whole text.
    Document(usize),
    /// It is referred to, and stands where no keyword tells of schemas.
    Reference(usize, &'a str),
    /// It is written in another.
    Inside(usize, &'static str, Key<'a>),
}

impl<'a> Places<'a> {
    /// Finds them.
    pub(super) fn find(
        documents: &'a Documents,
        registry: &'a Registry<'a>,
    ) -> Result<Self, SchemaError> {
        let (all, known) = (Vec::new(), HashMap::new());
        let mut places = Self { all, known, pointers_bytes: 0, documents };
        for (index, document) in documents.all.iter().enumerate() {
            let base = Arc::new(document.base().clone());
            places.add(&document.value, document.draft, base, From::Document(index))?;
        }
        // First what is written inside each other, so that what is referred to is known by where it stands.
        let mut next = 0;
        places.walk(&mut next, registry)?;
        let mut referring = 0;
        while referring < places.all.len() {
            places.follow(referring, registry)?;
            places.walk(&mut next, registry)?;
            referring += 1;
        }
        places.check_values()?;
        places.follow_dynamic()?;
        Ok(places)
    }

    /// No schema stands in a value that another speaks of: closing it would change that value.
    fn check_values(&self) -> Result<(), SchemaError> {
        for (holder, place) in self.all.iter().enumerate().filter(|(_, it)| !it.well_known) {
            for keyword in VALUES {
                let held = place.value.get(*keyword);
                let Some(inner) = held.and_then(|it| self.schema_in(it)) else { continue };
                // Either the one is referred to, or the other is.
                let by = self.reference_to(inner).or_else(|| self.reference_to(holder));
                let pointer = by.unwrap_or_else(|| self.pointer(inner));
                let definitions =
                    if place.draft < Draft::Draft201909 { "definitions" } else { "$defs" };
                let why = format!(
                    "what stands under {keyword} is a value and no schema: write the schema under {definitions}, and \
                     refer to it there"
                );
                return Err(SchemaError::Refused { pointer, why });
            }
        }
        Ok(())
    }

    /// A schema that is this value or stands in it.
    fn schema_in(&self, value: &Value) -> Option<usize> {
        self.of(value).or_else(|| match value {
            Value::Array(items) => items.iter().find_map(|it| self.schema_in(it)),
            Value::Object(map) => map.values().find_map(|it| self.schema_in(it)),
            _ => None,
        })
    }

    /// Where the reference stands by which a place was found, or one that it is written in.
    fn reference_to(&self, place: usize) -> Option<String> {
        let mut at = self.all.get(place)?;
        loop {
            match at.from {
                From::Document(_) => return None,
                From::Inside(parent, ..) => at = self.all.get(parent)?,
                From::Reference(by, reference) => {
                    let from = self.all.get(by)?;
                    let says = |it: &&&str| {
                        from.value.get(**it).and_then(Value::as_str) == Some(reference)
                    };
                    let keyword = references_of(from.draft).iter().find(says)?;
                    return Some(self.pointer_to(by, keyword));
                }
            }
        }
    }

    /// Where a place stands: a JSON pointer, after the name of the text unless that is the schema itself.
    pub(super) fn pointer(&self, place: usize) -> String {
        let mut steps = Vec::new();
        let mut at = place;
        let start = loop {
            let Some(found) = self.all.get(at) else { break String::new() };
            match found.from {
                From::Inside(parent, keyword, key) => {
                    steps.push((keyword, key));
                    at = parent;
                }
                From::Document(index) => break self.name_of(index),
                From::Reference(_, reference) => {
                    let own = reference.strip_prefix('#');
                    break own.unwrap_or(reference).to_owned();
                }
            }
        };
        let mut pointer = start;
        for (keyword, key) in steps.into_iter().rev() {
            push(&mut pointer, keyword);
            match key {
                Key::None => {}
                Key::Name(name) => push(&mut pointer, name),
                Key::Index(index) => push(&mut pointer, &index.to_string()),
            }
        }
        pointer
    }

    /// The same, on to one of its keywords.
    pub(super) fn pointer_to(&self, place: usize, keyword: &str) -> String {
        let mut pointer = self.pointer(place);
        push(&mut pointer, keyword);
        pointer
    }

    /// The ways from a place.
    pub(super) fn ways(&self, place: usize) -> &[Way<'a>] {
        self.all.get(place).map_or(&[], |it| &it.ways)
    }

    /// The place of a value.
    pub(super) fn of(&self, value: &Value) -> Option<usize> {
        self.known.get(&std::ptr::from_ref(value)).copied()
    }

    fn name_of(&self, document: usize) -> String {
        match self.documents.all.get(document) {
            Some(it) if !it.name.is_empty() => format!("{}#", it.name),
            _ => String::new(),
        }
    }

    fn add(
        &mut self,
        value: &'a Value,
        draft: Draft,
        base: Arc<Uri<String>>,
        from: From<'a>,
    ) -> Result<usize, SchemaError> {
        if let Some(known) = self.of(value) {
            return Ok(known);
        }
        let pointer_bytes = match from {
            From::Document(_) => 0,
            From::Reference(_, reference) => reference.len(),
            From::Inside(parent, keyword, key) => {
                let before = self.all.get(parent).map_or(0, |it| it.pointer_bytes);
                let key = if let Key::Name(name) = key { name.len() + 1 } else { 0 };
                before + keyword.len() + 1 + key
            }
        };
        self.pointers_bytes += pointer_bytes;
        let index = self.all.len();
        let sizes = [
            ("schemas within a schema", index + 1, PLACES_MAX),
            ("pointers into a schema, in bytes", self.pointers_bytes, POINTERS_BYTES_MAX),
        ];
        for (what, size, max) in sizes {
            if size > max {
                return Err(TooLarge { what: what.into(), size, max }.into());
            }
        }
        self.known.insert(std::ptr::from_ref(value), index);
        let well_known = match from {
            From::Document(_) => false,
            From::Reference(place, reference) => {
                self.all.get(place).is_some_and(|it| is_well_known(&it.base, reference, value))
            }
            From::Inside(parent, ..) => self.all.get(parent).is_some_and(|it| it.well_known),
        };
        self.all.push(Place {
            value,
            draft,
            ways: Vec::new(),
            well_known,
            from,
            pointer_bytes,
            base,
        });
        let whole = matches!(from, From::Document(_));
        if let (false, Some(said)) = (whole, value.get("$schema").and_then(Value::as_str))
            && Draft::from_schema_uri(said) != draft
        {
            let why = "a text is written in one draft, which its beginning names".to_owned();
            return Err(SchemaError::Refused { pointer: self.pointer_to(index, "$schema"), why });
        }
        Ok(index)
    }

    /// Adds what is written inside the places from `next` on.
    fn walk(&mut self, next: &mut usize, registry: &Registry<'_>) -> Result<(), SchemaError> {
        while let Some(place) = self.all.get(*next) {
            let (value, draft, base) = (place.value, place.draft, Arc::clone(&place.base));
            if let Value::Object(map) = value
                && !(keywords::ref_stands_alone(draft) && map.contains_key("$ref"))
            {
                self.walk_into(*next, map, draft, &base, registry)?;
            }
            *next += 1;
        }
        Ok(())
    }

    fn walk_into(
        &mut self,
        place: usize,
        map: &'a Map<String, Value>,
        draft: Draft,
        base: &Arc<Uri<String>>,
        registry: &Registry<'_>,
    ) -> Result<(), SchemaError> {
        let mut ways = Vec::new();
        for (keyword, held) in map {
            let Some((keyword, holds, meets)) = keywords::schemas_in(draft, keyword) else {
                continue;
            };
            for (key, value) in held_in(holds, held) {
                let resource = draft.create_resource_ref(value);
                let base = if resource.id().is_some() {
                    let outer = registry.resolver(base.as_ref().clone());
                    let inner = outer.in_subresource(resource);
                    let pointer = || self.pointer_to(place, keyword);
                    inner.map_err(|why| self.documents.not_resolved(&why, pointer()))?.base_uri()
                } else {
                    Arc::clone(base)
                };
                let to = self.add(value, draft, base, From::Inside(place, keyword, key))?;
                ways.push(Way { keyword, key, meets, to });
            }
        }
        if let Some(place) = self.all.get_mut(place) {
            place.ways = ways;
        }
        Ok(())
    }

    /// Adds what a place refers to.
    fn follow(&mut self, place: usize, registry: &'a Registry<'a>) -> Result<(), SchemaError> {
        let Some(Place { value: Value::Object(map), draft, base, .. }) = self.all.get(place) else {
            return Ok(());
        };
        let (draft, base) = (*draft, Arc::clone(base));
        for keyword in references_of(draft) {
            let Some(reference) = map.get(*keyword).and_then(Value::as_str) else { continue };
            if reference.is_empty() {
                let pointer = self.pointer_to(place, keyword);
                let why = "it refers to nothing: \"#\" is the whole schema".to_owned();
                return Err(SchemaError::Refused { pointer, why });
            }
            let resolver = registry.resolver(base.as_ref().clone());
            let found = resolver.lookup(reference).map_err(|why| {
                self.documents.not_resolved(&why, self.pointer_to(place, keyword))
            })?;
            let base = found.resolver().base_uri();
            let (value, _, draft) = found.into_inner();
            if !value.is_object() && !value.is_boolean() {
                let pointer = self.pointer_to(place, keyword);
                let why = "it refers to something that is no schema".to_owned();
                return Err(SchemaError::Malformed { pointer, why });
            }
            let to = self.add(value, draft, base, From::Reference(place, reference))?;
            let way = Way { keyword, key: Key::None, meets: Meets::Same, to };
            if let Some(place) = self.all.get_mut(place) {
                place.ways.push(way);
            }
        }
        Ok(())
    }

    /// Adds every place that a reference may lead to which is only resolved when a payload is met.
    fn follow_dynamic(&mut self) -> Result<(), SchemaError> {
        let mut anchors: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut recursive = Vec::new();
        for (index, place) in self.all.iter().enumerate() {
            if let Some(name) = place.value.get("$dynamicAnchor").and_then(Value::as_str) {
                anchors.entry(name).or_default().push(index);
            }
            if place.value.get("$recursiveAnchor") == Some(&Value::Bool(true)) {
                recursive.push(index);
            }
        }
        let mut added = 0;
        for place in &mut self.all {
            let (draft, value) = (place.draft, place.value);
            let (keyword, targets) = match draft {
                Draft::Draft202012 => {
                    let said = value.get("$dynamicRef").and_then(Value::as_str);
                    let name = said.and_then(|it| it.rsplit_once('#')).map(|(_, name)| name);
                    ("$dynamicRef", name.and_then(|it| anchors.get(it)))
                }
                Draft::Draft201909 if value.get("$recursiveRef").is_some() => {
                    ("$recursiveRef", Some(&recursive))
                }
                _ => continue,
            };
            let known = place.ways.iter().find(|it| it.keyword == keyword).map(|it| it.to);
            for to in targets.into_iter().flatten().filter(|it| known != Some(**it)) {
                let way = Way { keyword, key: Key::None, meets: Meets::Same, to: *to };
                place.ways.push(way);
                added += 1;
            }
            if added > DYNAMIC_WAYS_MAX {
                let what = "schemas that dynamic references may lead to".into();
                return Err(TooLarge { what, size: added, max: DYNAMIC_WAYS_MAX }.into());
            }
        }
        Ok(())
    }
}

/// Whether a reference leads to the same where no text was handed in.
fn is_well_known(base: &Uri<String>, reference: &str, value: &Value) -> bool {
    static WELL_KNOWN: LazyLock<Option<Registry<'static>>> = LazyLock::new(|| {
        // A registry has all of them as soon as a text is written in a part of one.
        let part = "https://json-schema.org/draft/2020-12/meta/core";
        let text = serde_json::json!({"$schema": part});
        Registry::new().add("json-schema:///", text).ok()?.prepare().ok()
    });
    let found = WELL_KNOWN.as_ref().map(|it| it.resolver(base.clone()).lookup(reference));
    matches!(found, Some(Ok(found)) if std::ptr::eq(found.contents(), value))
}

/// The keywords of a draft that refer to a schema.
fn references_of(draft: Draft) -> &'static [&'static str] {
    match draft {
        Draft::Draft4 | Draft::Draft6 | Draft::Draft7 => &["$ref"],
        Draft::Draft201909 => &["$ref", "$recursiveRef"],
        _ => &["$ref", "$dynamicRef"],
    }
}

fn held_in(holds: Holds, held: &Value) -> Vec<(Key<'_>, &Value)> {
    match (holds, held) {
        (Holds::One, _) => vec![(Key::None, held)],
        (Holds::Many | Holds::OneOrMany, Value::Array(items)) => {
            items.iter().enumerate().map(|(index, it)| (Key::Index(index), it)).collect()
        }
        (Holds::OneOrMany, _) => vec![(Key::None, held)],
        (Holds::Named | Holds::NamedOrNames, Value::Object(map)) => map
            .iter()
            .filter(|(_, it)| holds == Holds::Named || !it.is_array())
            .map(|(name, it)| (Key::Name(name), it))
            .collect(),
        _ => Vec::new(),
    }
}

fn push(pointer: &mut String, step: &str) {
    pointer.push('/');
    pointer.push_str(&pointer_step(step));
}

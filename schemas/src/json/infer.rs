//! A schema that samples follow: where to begin when payloads were written before there was a schema.
//!
//! It says no more than the samples show: which kinds there are, which properties are always there, and what stands under
//! them. It guesses no values, lengths, or patterns. An object with very many different names is taken for a map. What is
//! kept is bounded by the different shapes that there are, and not by how many samples there are.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Names that an object may have before it is taken for a map.
const NAMES_MAX: usize = 1_000;

/// Places that are told apart; what is beyond them may be anything.
const SHAPES_MAX: usize = 8_000;

/// How deep values are told apart: each level of an object is two of its schema, which may be nested just so deep.
const DEPTH_MAX: usize = 28;

const _: () = assert!(DEPTH_MAX * 2 + 4 <= nexus_protocol::limits::SCHEMA_DEPTH_MAX);

/// Bytes of a name that is told apart: a schema has to stay small.
const NAME_BYTES_MAX: usize = 512;

/// Learns a schema from samples.
#[derive(Clone, Debug, Default)]
pub struct Inference {
    root: Shape,
    shapes: usize,
}

/// What was seen in one place.
#[derive(Clone, Debug, Default)]
struct Shape {
    null: bool,
    boolean: bool,
    integer: bool,
    number: bool,
    string: bool,
    /// Strings that are no times, if there were strings.
    is_no_time: bool,
    array: Option<Box<Shape>>,
    object: Option<Object>,
    /// Anything was seen, more than is told apart.
    any: bool,
}

#[derive(Clone, Debug, Default)]
struct Object {
    seen: u64,
    properties: BTreeMap<String, (u64, Shape)>,
    /// What stands under any name, once there are too many.
    map: Option<Box<Shape>>,
}

impl<'a> FromIterator<&'a Value> for Inference {
    fn from_iter<I: IntoIterator<Item = &'a Value>>(samples: I) -> Self {
        let mut inference = Self::new();
        samples.into_iter().for_each(|sample| inference.add(sample));
        inference
    }
}

impl Inference {
    /// One that has seen nothing: everything follows its schema.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a sample into account.
    pub fn add(&mut self, sample: &Value) {
        self.root.add(sample, 0, &mut self.shapes);
    }

    /// The schema that all samples follow.
    pub fn finish(self) -> Value {
        let mut schema = self.root.schema();
        if let Value::Object(map) = &mut schema {
            let draft = "https://json-schema.org/draft/2020-12/schema";
            map.insert("$schema".to_owned(), draft.into());
        }
        schema
    }
}

impl Shape {
    fn add(&mut self, sample: &Value, depth: usize, shapes: &mut usize) {
        if self.any {
            return;
        }
        match sample {
            Value::Null => self.null = true,
            Value::Bool(_) => self.boolean = true,
            Value::Number(it) if it.is_i64() || it.is_u64() => self.integer = true,
            Value::Number(_) => self.number = true,
            Value::String(text) => {
                self.string = true;
                self.is_no_time |= !is_time(text);
            }
            _ if depth >= DEPTH_MAX || *shapes >= SHAPES_MAX => *self = Self::anything(),
            Value::Array(items) => {
                let shape = self.array.get_or_insert_with(|| {
                    *shapes += 1;
                    Box::default()
                });
                for item in items {
                    shape.add(item, depth + 1, shapes);
                }
            }
            Value::Object(map) => {
                self.object.get_or_insert_with(Object::default).add(map, depth, shapes);
            }
        }
    }

    fn anything() -> Self {
        Self { any: true, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        let plain = self.null || self.boolean || self.integer || self.number || self.string;
        !plain && self.array.is_none() && self.object.is_none() && !self.any
    }

    /// What follows either.
    fn merge(&mut self, other: Self) {
        if self.any || other.any {
            *self = Self::anything();
            return;
        }
        self.null |= other.null;
        self.boolean |= other.boolean;
        self.integer |= other.integer;
        self.number |= other.number;
        self.string |= other.string;
        self.is_no_time |= other.is_no_time;
        match (&mut self.array, other.array) {
            (Some(mine), Some(other)) => mine.merge(*other),
            (mine, other) => *mine = mine.take().or(other),
        }
        match (&mut self.object, other.object) {
            (Some(mine), Some(other)) => mine.merge(other),
            (mine, other) => *mine = mine.take().or(other),
        }
    }

    fn schema(self) -> Value {
        if self.any || self.is_empty() {
            return json!({});
        }
        let kinds = [
            ("null", self.null),
            ("boolean", self.boolean),
            ("integer", self.integer && !self.number),
            ("number", self.number),
            ("string", self.string),
            ("array", self.array.is_some()),
            ("object", self.object.is_some()),
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|it| it.1).map(|it| it.0).collect();
        let mut schema = Map::new();
        match kinds.as_slice() {
            [kind] => schema.insert("type".to_owned(), json!(kind)),
            kinds => schema.insert("type".to_owned(), json!(kinds)),
        };
        if self.string && !self.is_no_time {
            schema.insert("format".to_owned(), json!("date-time"));
        }
        if let Some(items) = self.array.filter(|it| !it.is_empty()) {
            schema.insert("items".to_owned(), items.schema());
        }
        if let Some(object) = self.object {
            object.tell(&mut schema);
        }
        Value::Object(schema)
    }
}

impl Object {
    fn add(&mut self, map: &Map<String, Value>, depth: usize, shapes: &mut usize) {
        self.seen += 1;
        for (name, value) in map {
            if self.map.is_none() {
                let is_new = !self.properties.contains_key(name);
                let is_too_much = self.properties.len() >= NAMES_MAX || *shapes >= SHAPES_MAX;
                if is_new && (is_too_much || name.len() > NAME_BYTES_MAX) {
                    self.become_map();
                } else {
                    *shapes += usize::from(is_new);
                }
            }
            let shape = if let Some(map) = &mut self.map {
                map.as_mut()
            } else {
                let (seen, shape) = self.properties.entry(name.clone()).or_default();
                *seen += 1;
                shape
            };
            shape.add(value, depth + 1, shapes);
        }
    }

    fn become_map(&mut self) {
        let mut merged = Shape::default();
        for (_, shape) in std::mem::take(&mut self.properties).into_values() {
            merged.merge(shape);
        }
        self.map = Some(Box::new(merged));
    }

    fn merge(&mut self, mut other: Self) {
        self.seen += other.seen;
        if self.map.is_some() || other.map.is_some() {
            for object in [&mut *self, &mut other] {
                if object.map.is_none() {
                    object.become_map();
                }
            }
            if let (Some(mine), Some(other)) = (&mut self.map, other.map) {
                mine.merge(*other);
            }
            return;
        }
        for (name, (seen, shape)) in other.properties {
            let (mine, merged) = self.properties.entry(name).or_default();
            *mine += seen;
            merged.merge(shape);
        }
        if self.properties.len() > NAMES_MAX {
            self.become_map();
        }
    }

    fn tell(self, schema: &mut Map<String, Value>) {
        if let Some(map) = self.map {
            schema.insert("additionalProperties".to_owned(), map.schema());
            return;
        }
        let mut required = Vec::new();
        let mut properties = Map::new();
        for (name, (seen, shape)) in self.properties {
            if seen == self.seen {
                required.push(name.clone());
            }
            properties.insert(name, shape.schema());
        }
        schema.insert("properties".to_owned(), Value::Object(properties));
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
    }
}

/// Whether a text is a time in the form of RFC 3339, as far as its form goes: it is only noted.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let bytes = text.as_bytes();
    let has_form = bytes.len() > FORM.len()
        && FORM.iter().zip(bytes).all(|(form, byte)| match form {
            b'0' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't' | b' '),
            form => byte == form,
        });
    let rest = text.get(FORM.len()..).unwrap_or_default();
    let rest = match rest.strip_prefix('.') {
        Some(fraction) if fraction.starts_with(|it: char| it.is_ascii_digit()) => {
            fraction.trim_start_matches(|it: char| it.is_ascii_digit())
        }
        Some(_) => return false,
        None => rest,
    };
    let is_offset = |it: &str| {
        let it = it.as_bytes();
        it.len() == 6
            && matches!(it.first(), Some(b'+' | b'-'))
            && it.iter().skip(1).zip(b"00:00").all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                form => byte == form,
            })
    };
    has_form && (rest.eq_ignore_ascii_case("z") || is_offset(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples: &[Value], expected: Value) {
        let mut schema = samples.iter().collect::<Inference>().finish();
        schema.as_object_mut().unwrap().remove("$schema");
        assert_eq!(schema, expected);
    }

    #[test]
    fn kinds_are_merged() {
        check(&[], json!({}));
        check(&[json!(1), json!(2)], json!({"type": "integer"}));
        check(&[json!(1), json!(2.5)], json!({"type": "number"}));
        check(&[json!("a"), json!(null)], json!({"type": ["null", "string"]}));
        check(&[json!([]), json!([])], json!({"type": "array"}));
        check(
            &[json!([1]), json!(["a"])],
            json!({"type": "array", "items": {"type": ["integer", "string"]}}),
        );
    }

    #[test]
    fn what_is_always_there_is_required() {
        let samples = [json!({"id": "a", "n": 1}), json!({"id": "b", "x": {"y": true}})];
        let expected = json!({
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "n": {"type": "integer"},
                "x": {"type": "object", "properties": {"y": {"type": "boolean"}}, "required": ["y"]},
            },
            "required": ["id"],
        });
        check(&samples, expected);
    }

    #[test]
    fn many_names_are_a_map() {
        let sample: Value = (0..1_500).map(|it| (format!("user-{it}"), json!({"n": it}))).collect();
        let inner =
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        check(&[sample], json!({"type": "object", "additionalProperties": inner}));
    }

    #[test]
    fn times_are_noted() {
        let noted = json!({"type": "string", "format": "date-time"});
        check(&[json!("2026-01-02T03:04:05Z"), json!("2026-01-02t03:04:05.678+01:00")], noted);
        for text in ["2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05.Z", "x", ""] {
            check(&[json!(text)], json!({"type": "string"}));
        }
    }
}

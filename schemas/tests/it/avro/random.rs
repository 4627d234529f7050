//! Random schemas and values, held against the library that readers use.

use std::collections::HashMap;
use std::io::Read;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{Name, ResolvedSchema, UuidSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema, Uuid};
use nexus_schemas::avro::AvroSchema;
use serde_json::{Map, Value as Json, json};

use super::compile;
use crate::seeded::Seeded;

const SYMBOLS: [&str; 5] = ["A", "B", "C", "D", "E"];
/// Lets a count or length that lies cost little.
const ALLOCATION_BYTES_MAX: usize = 8 << 20;

/// Writes random schemas.
struct Texts<'a> {
    random: &'a mut Seeded,
    /// Names of types that are declared, or being so: those may only be used where a value need not go on.
    named: Vec<String>,
    count: usize,
    with_decimals: bool,
}

impl Texts<'_> {
    fn schema(&mut self, depth: usize) -> Json {
        match self.random.below(if depth == 0 { 10 } else { 16 }) {
            0..8 => self.primitive(),
            8 if !self.named.is_empty() => {
                json!(["null", self.random.pick(&self.named).clone()])
            }
            8 | 9 => self.enumeration(),
            10 => json!({ "type": "array", "items": self.schema(depth - 1) }),
            11 => json!({ "type": "map", "values": self.schema(depth - 1) }),
            12 => {
                let name = self.name();
                let size = self.random.below(5);
                json!({ "type": "fixed", "name": name, "size": size })
            }
            13 => self.union(depth - 1),
            _ => self.record(depth - 1),
        }
    }

    fn primitive(&mut self) -> Json {
        match self.random.below(14) {
            0 => json!("null"),
            1 => json!("boolean"),
            2 | 3 => json!("int"),
            4 => json!("long"),
            5 => json!("float"),
            6 => json!("double"),
            7 => json!("bytes"),
            8 | 9 => json!("string"),
            10 => json!({ "type": "int", "logicalType": "date" }),
            11 => json!({ "type": "long", "logicalType": "timestamp-millis" }),
            12 if self.with_decimals => {
                json!({ "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 })
            }
            _ => json!({ "type": "string", "logicalType": "uuid" }),
        }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("space.N{}", self.count)
    }

    fn enumeration(&mut self) -> Json {
        let mut it = json!({ "type": "enum", "name": self.name() });
        it["symbols"] = json!(&SYMBOLS[..=self.random.below(4)]);
        if self.random.one_in(3) {
            it["default"] = json!("A");
        }
        it
    }

    fn union(&mut self, depth: usize) -> Json {
        let mut branches = Vec::new();
        let outer = self.named.clone();
        for _ in 0..=self.random.below(4) {
            let branch = self.schema(depth);
            if !branch.is_array() {
                branches.push(branch);
            }
        }
        // One of each kind.
        let mut kinds = std::collections::HashSet::new();
        branches.retain(|it| {
            let kind = it.get("type").unwrap_or(it).as_str().unwrap().to_owned();
            let named = it.get("name").map_or(kind, |name| name.to_string());
            kinds.insert(named)
        });
        // What was left out is declared nowhere, and others may speak of it.
        let text = json!(branches).to_string();
        let inner = self.named.get(outer.len()..).unwrap_or_default();
        if inner.iter().any(|it| !text.contains(&format!("\"name\":\"{it}\""))) {
            self.named = outer;
            return json!(["null", "int"]);
        }
        if branches.is_empty() { json!(["null", "int"]) } else { json!(branches) }
    }

    fn record(&mut self, depth: usize) -> Json {
        let name = self.name();
        self.named.push(name.clone());
        let mut fields = Vec::new();
        for index in 0..self.random.below(5) {
            let field = self.field(depth, index);
            fields.push(field);
        }
        json!({ "type": "record", "name": name, "fields": fields })
    }

    fn field(&mut self, depth: usize, index: usize) -> Json {
        let schema = self.schema(depth);
        let mut field = json!({ "name": format!("f{index}"), "type": schema });
        if self.random.one_in(2)
            && let Some(default) = default_of(&schema)
        {
            field["default"] = default;
        }
        field
    }

    /// A schema that is another with something changed, or the same.
    fn changed(&mut self, schema: &Json) -> Json {
        if self.random.one_in(12) {
            return match schema {
                Json::String(_) => self.primitive(),
                Json::Array(branches) if self.random.one_in(2) => branches[0].clone(),
                Json::Array(branches) => {
                    json!(branches.iter().rev().cloned().collect::<Vec<_>>())
                }
                _ => json!(["null", schema]),
            };
        }
        match schema {
            Json::String(word) if self.random.one_in(4) => match word.as_str() {
                "int" => json!(self.random.pick(&["long", "float", "double"])),
                "long" => json!(self.random.pick(&["float", "double", "int"])),
                "float" => json!("double"),
                "string" => json!("bytes"),
                _ => schema.clone(),
            },
            Json::Array(branches) => {
                let mut branches: Vec<_> = branches.iter().map(|it| self.changed(it)).collect();
                branches.retain(|it| !it.is_array());
                if branches.is_empty() || self.random.one_in(4) {
                    branches.push(json!("boolean"));
                }
                json!(branches)
            }
            Json::Object(object) => self.changed_object(object),
            _ => schema.clone(),
        }
    }

    fn changed_object(&mut self, object: &Map<String, Json>) -> Json {
        let mut changed = object.clone();
        for key in ["items", "values"] {
            if let Some(inner) = object.get(key) {
                changed.insert(key.to_owned(), self.changed(inner));
            }
        }
        if object.contains_key("symbols") && self.random.one_in(3) {
            changed.insert("symbols".into(), json!(&SYMBOLS[..=self.random.below(4)]));
        }
        if object.contains_key("size") && self.random.one_in(8) {
            changed.insert("size".into(), json!(self.random.below(5)));
        }
        if let Some(Json::Array(fields)) = object.get("fields") {
            let mut new = Vec::new();
            for field in fields {
                if self.random.one_in(6) {
                    continue;
                }
                let mut field = field.clone();
                field["type"] = self.changed(&field["type"].clone());
                if self.random.one_in(12) {
                    field["aliases"] = json!([field["name"]]);
                    field["name"] = json!(format!("{}x", field["name"].as_str().unwrap()));
                }
                let default = default_of(&field["type"]);
                match (field.as_object_mut().unwrap(), default) {
                    (field, Some(default)) if field.contains_key("default") => {
                        field.insert("default".into(), default);
                    }
                    (field, _) => drop(field.remove("default")),
                }
                new.push(field);
            }
            if self.random.one_in(3) {
                let added = self.field(1, 7);
                new.push(added);
            }
            let at = self.random.below(new.len() + 1);
            new.rotate_left(at);
            changed.insert("fields".into(), json!(new));
        }
        json!(changed)
    }
}

fn default_of(schema: &Json) -> Option<Json> {
    Some(match schema {
        Json::Array(branches) => return default_of(&branches[0]),
        Json::Object(it) => match (it["type"].as_str().unwrap(), it.get("logicalType")) {
            ("array", _) => json!([]),
            ("map", _) => json!({}),
            ("enum", _) => it["symbols"][0].clone(),
            ("int" | "long", _) => json!(4),
            _ => return None,
        },
        Json::String(word) => match word.as_str() {
            "null" => Json::Null,
            "boolean" => json!(true),
            "int" | "long" => json!(-5),
            "float" | "double" => json!(0.5),
            "string" | "bytes" => json!("ä"),
            _ => return None,
        },
        _ => return None,
    })
}

type Named<'a> = HashMap<Name, &'a Schema>;

fn value(random: &mut Seeded, schema: &Schema, named: &Named<'_>, depth: usize) -> Value {
    let many = |random: &mut Seeded| if depth > 5 { 0 } else { random.below(4) };
    let text = |random: &mut Seeded| {
        let count = random.below(6);
        (0..count).map(|_| *random.pick(&['a', 'ß', '\u{1f980}', '\0'])).collect::<String>()
    };
    match schema {
        Schema::Null => Value::Null,
        Schema::Boolean => Value::Boolean(random.one_in(2)),
        Schema::Int => Value::Int(random.number() as i32),
        Schema::Date => Value::Date(random.number() as i32),
        Schema::Long => Value::Long(random.number()),
        Schema::TimestampMillis => Value::TimestampMillis(random.number()),
        Schema::Float => Value::Float(random.number() as f32),
        Schema::Double => Value::Double(random.number() as f64),
        Schema::Bytes => Value::Bytes((0..many(random)).map(|_| random.bits() as u8).collect()),
        Schema::String => Value::String(text(random)),
        Schema::Uuid(UuidSchema::String) => {
            let (high, low) = (random.bits(), random.bits());
            Value::Uuid(Uuid::from_u64_pair(high, low))
        }
        Schema::Decimal(_) => Value::Decimal(Decimal::from([1_u8, 2, 3, 4, 5])),
        Schema::Fixed(fixed) => Value::Fixed(fixed.size, vec![7; fixed.size]),
        Schema::Enum(it) => {
            let index = random.below(it.symbols.len());
            Value::Enum(index as u32, it.symbols[index].clone())
        }
        Schema::Array(it) => {
            let count = many(random);
            Value::Array((0..count).map(|_| value(random, &it.items, named, depth + 1)).collect())
        }
        Schema::Map(it) => {
            let count = many(random);
            let pairs = (0..count).map(|_| {
                let key = text(random);
                (key, value(random, &it.types, named, depth + 1))
            });
            Value::Map(pairs.collect())
        }
        Schema::Union(it) => {
            let branches = it.variants();
            let index = if depth > 5 { 0 } else { random.below(branches.len()) };
            let inner = value(random, &branches[index], named, depth + 1);
            Value::Union(index as u32, Box::new(inner))
        }
        Schema::Record(it) => {
            let fields = it
                .fields
                .iter()
                .map(|field| (field.name.clone(), value(random, &field.schema, named, depth + 1)));
            Value::Record(fields.collect())
        }
        Schema::Ref { name } => value(random, named[name], named, depth + 1),
        other => panic!("no value of {other:?}"),
    }
}

/// Tells when it was asked for more than it has: the library takes the end of the data for a null, or nothing.
struct Rest<'a> {
    data: &'a [u8],
    is_over: bool,
}

impl Read for Rest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.is_over |= buffer.len() > self.data.len();
        self.data.read(buffer)
    }
}

fn encode(schema: &Schema, value: Value) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
}

#[test]
fn payloads_are_taken_as_the_library_takes_them() {
    apache_avro::util::max_allocation_bytes(ALLOCATION_BYTES_MAX);
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..10_000 {
        let mut random = Seeded::new(seed);
        let mut texts =
            Texts { random: &mut random, named: Vec::new(), count: 0, with_decimals: true };
        let text = texts.schema(4).to_string();
        let (own, schema) = (compile(&text), Schema::parse_str(&text).unwrap());
        let resolved = ResolvedSchema::new(&schema).unwrap();
        for _ in 0..8 {
            let datum = value(&mut random, &schema, resolved.get_names(), 0);
            let data = encode(&schema, datum);
            let found = own.validate("application/avro", &data);
            assert_eq!(found, Ok(()), "{seed}: {text} {data:?}");
            for _ in 0..8 {
                let mut spoilt = data.clone();
                random.spoil(&mut spoilt);
                let mut rest = Rest { data: &spoilt, is_over: false };
                let reader = GenericDatumReader::builder(&schema).build().unwrap();
                let read = reader.read_value(&mut rest);
                let is_right = read.is_ok() && rest.data.is_empty() && !rest.is_over;
                match own.validate("avro/binary", &spoilt) {
                    Ok(()) => {
                        assert!(is_right, "{seed}: {text} {spoilt:?} {read:?}");
                        taken += 1;
                    }
                    Err(problems) => {
                        let why = &problems[0].message;
                        assert!(!is_right || is_stricter(why), "{seed}: {text} {spoilt:?} {why}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(taken > 5_000 && refused > 5_000, "{taken} {refused}");
}

#[test]
fn a_text_that_is_taken_is_taken_by_the_library() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..6_000 {
        let mut random = Seeded::new(seed);
        let mut texts =
            Texts { random: &mut random, named: Vec::new(), count: 0, with_decimals: true };
        let words = [
            "\"f0\"",
            "\"int\"",
            "\"space.N1\"",
            "\"N2\"",
            "null",
            "[]",
            "{}",
            "\"\"",
            "-1",
            "\"A\"",
        ];
        let text = texts.schema(4).to_string();
        for _ in 0..5 {
            // One string becomes another, or something else.
            let quotes: Vec<_> = text.match_indices('"').map(|(at, _)| at).collect();
            let first = 2 * random.below(quotes.len() / 2);
            let (start, end) = (quotes[first], quotes[first + 1] + 1);
            let spoilt = format!("{}{}{}", &text[..start], random.pick(&words), &text[end..]);
            if AvroSchema::compile(&spoilt, &[]).is_err() {
                refused += 1;
                continue;
            }
            taken += 1;
            let read =
                Schema::parse_str(&spoilt).unwrap_or_else(|why| panic!("{seed}: {spoilt} {why}"));
            let resolved = ResolvedSchema::new(&read);
            assert!(resolved.is_ok(), "{seed}: {spoilt} {resolved:?}");
        }
    }
    assert!(taken > 1_000 && refused > 1_000, "{taken} {refused}");
}

/// What is asked for here, and not by the library: that a block is as long as it says, that a number has no more bits than
/// are kept of it, and that a UUID is written in one way.
fn is_stricter(why: &str) -> bool {
    ["a block takes", "is no length", "more than 64 bits", "no UUID"]
        .iter()
        .any(|it| why.contains(it))
}

#[test]
fn what_is_compatible_is_read_by_the_library() {
    let (mut same, mut compatible, mut different, mut careful) = (0, 0, 0, 0);
    for seed in 0..40_000 {
        let mut random = Seeded::new(seed);
        let mut texts =
            Texts { random: &mut random, named: Vec::new(), count: 0, with_decimals: false };
        let writer = texts.schema(4);
        let reader = texts.changed(&writer).to_string();
        let writer = writer.to_string();
        // A change may use a name that is gone, or make a union of two that are the same.
        let Ok(own_reader) = AvroSchema::compile(&reader, &[]) else {
            continue;
        };
        let to = Schema::parse_str(&reader).unwrap();
        let (own_writer, from) = (compile(&writer), Schema::parse_str(&writer).unwrap());
        let found = own_writer.differences(&own_reader);
        let resolved = ResolvedSchema::new(&from).unwrap();
        let mut all_read = true;
        for _ in 0..10 {
            let datum = value(&mut random, &from, resolved.get_names(), 0);
            let data = encode(&from, datum);
            let codec = GenericDatumReader::builder(&from).reader_schema(&to).build().unwrap();
            let read = codec.read_value(&mut &*data);
            all_read &= read.is_ok();
            assert!(read.is_ok() || !found.is_empty(), "{seed}: {writer} as {reader}: {read:?}");
        }
        match (found.is_empty(), all_read) {
            (true, _) if writer == reader => same += 1,
            (true, _) => compatible += 1,
            (false, false) => different += 1,
            (false, true) => careful += 1,
        }
    }
    assert!(compatible > 1_500 && different > 500, "{same} {compatible} {different} {careful}");
}

//! Random schemas and messages, held against the library that reads them by their descriptors.

use std::fmt::Write;

use nexus_schemas::protobuf::ProtobufSchema;
use prost_reflect::prost::Message;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey,
    MessageDescriptor, ReflectMessage, Syntax, Value,
};
use protox::file::File;

use crate::seeded::Seeded;

const SCALARS: [&str; 15] = [
    "bool", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64",
    "sfixed32", "sfixed64", "float", "double", "string", "bytes",
];
const KEYS: [&str; 4] = ["string", "int32", "bool", "sint64"];
const MESSAGES: usize = 3;
const ENUMS: usize = 2;

#[derive(Clone)]
struct Model {
    is_proto2: bool,
    messages: Vec<Vec<Field>>,
    /// Numbers of each enum beside 0.
    enums: Vec<Vec<usize>>,
}

#[derive(Clone)]
struct Field {
    number: usize,
    label: &'static str,
    kind: String,
    is_in_oneof: bool,
}

impl Model {
    fn new(random: &mut Seeded) -> Self {
        let is_proto2 = random.one_in(2);
        let enums = (0..ENUMS).map(|_| (1..=random.below(4)).collect()).collect();
        let mut model = Self { is_proto2, messages: Vec::new(), enums };
        for index in 0..MESSAGES {
            let count = random.below(6);
            let fields = (1..=count).map(|number| model.field(random, index, number)).collect();
            model.messages.push(fields);
        }
        model
    }

    fn field(&self, random: &mut Seeded, message: usize, number: usize) -> Field {
        let kind = match random.below(10) {
            0 => format!("E{}", random.below(ENUMS)),
            1..4 => format!("M{}", random.below(MESSAGES)),
            4 => {
                let key = random.pick(&KEYS);
                let value = match random.below(3) {
                    0 => format!("M{}", random.below(MESSAGES)),
                    1 => format!("E{}", random.below(ENUMS)),
                    _ => (*random.pick(&SCALARS)).to_owned(),
                };
                format!("map<{key}, {value}>")
            }
            _ => (*random.pick(&SCALARS)).to_owned(),
        };
        let label = self.label(random, message, &kind);
        let is_in_oneof = label == "optional" && random.one_in(4);
        Field { number, label, kind, is_in_oneof }
    }

    fn label(&self, random: &mut Seeded, message: usize, kind: &str) -> &'static str {
        if kind.starts_with("map") {
            return "";
        }
        // A message that has to be in itself is in nothing.
        let is_finite =
            kind.strip_prefix('M').is_none_or(|it| it.parse::<usize>().unwrap() > message);
        match (self.is_proto2, random.below(4)) {
            (_, 0) => "repeated",
            (true, 1) if is_finite => "required",
            (true, _) | (false, 1) => "optional",
            (false, _) => "",
        }
    }

    fn changed(&self, random: &mut Seeded) -> Self {
        let mut changed = self.clone();
        if random.one_in(10) {
            changed.is_proto2 = !changed.is_proto2;
        }
        for numbers in &mut changed.enums {
            if random.one_in(4) {
                *numbers = (1..=random.below(5)).collect();
            }
        }
        for index in 0..MESSAGES {
            let mut fields = self.messages[index].clone();
            fields.retain(|_| !random.one_in(8));
            for field in &mut fields {
                if random.one_in(6) {
                    field.kind = match field.kind.as_str() {
                        "bool" | "int32" | "uint32" | "int64" | "uint64" => {
                            (*random.pick(&["int32", "int64", "uint32", "uint64", "bool"])).into()
                        }
                        "sint32" => "sint64".into(),
                        "string" => "bytes".into(),
                        kind if kind.starts_with('E') => {
                            (*random.pick(&["int32", "int64", "E0", "E1"])).into()
                        }
                        kind if kind.starts_with('M') => format!("M{}", random.below(MESSAGES)),
                        _ => self.field(random, index, field.number).kind,
                    };
                }
                if random.one_in(8) || field.kind.starts_with("map") {
                    field.label = changed.label(random, index, &field.kind);
                    field.is_in_oneof &= field.label == "optional";
                } else if field.label.is_empty() || changed.is_proto2 != self.is_proto2 {
                    field.label = match field.label {
                        "repeated" => "repeated",
                        _ => "optional",
                    };
                }
                if random.one_in(12) && field.label == "optional" {
                    field.is_in_oneof = !field.is_in_oneof;
                }
            }
            if random.one_in(3) {
                fields.push(changed.field(random, index, 9));
            }
            changed.messages[index] = fields;
        }
        changed
    }

    fn text(&self) -> String {
        let mut text = format!("syntax = \"proto{}\";\n", if self.is_proto2 { 2 } else { 3 });
        for (index, fields) in self.messages.iter().enumerate() {
            writeln!(text, "message M{index} {{").unwrap();
            for field in fields.iter().filter(|it| !it.is_in_oneof) {
                writeln!(
                    text,
                    "  {} {} f{} = {};",
                    field.label, field.kind, field.number, field.number
                )
                .unwrap();
            }
            if fields.iter().any(|it| it.is_in_oneof) {
                text.push_str("  oneof o {\n");
                for field in fields.iter().filter(|it| it.is_in_oneof) {
                    writeln!(text, "    {} f{} = {};", field.kind, field.number, field.number)
                        .unwrap();
                }
                text.push_str("  }\n");
            }
            text.push_str("}\n");
        }
        for (index, numbers) in self.enums.iter().enumerate() {
            write!(text, "enum E{index} {{ E{index}_0 = 0; ").unwrap();
            for number in numbers {
                write!(text, "E{index}_{number} = {number}; ").unwrap();
            }
            text.push_str("}\n");
        }
        text
    }
}

fn descriptor(text: &str) -> Option<MessageDescriptor> {
    let file = File::from_source("a.proto", text).ok()?;
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file.file_descriptor_proto().clone()).ok()?;
    pool.get_message_by_name("M0")
}

fn message(random: &mut Seeded, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut made = DynamicMessage::new(of.clone());
    for field in of.fields() {
        let must = field.cardinality() == Cardinality::Required;
        let is_deep = depth > 3 && matches!(field.kind(), Kind::Message(_));
        if !must && (is_deep || random.one_in(3)) {
            continue;
        }
        let value = if field.is_map() {
            let entry = field.kind().as_message().unwrap().clone();
            let pairs = (0..random.below(3)).map(|_| {
                let key = match value(random, &entry.map_entry_key_field(), depth) {
                    Value::String(key) => MapKey::String(key),
                    Value::I32(key) => MapKey::I32(key),
                    Value::I64(key) => MapKey::I64(key),
                    Value::Bool(key) => MapKey::Bool(key),
                    other => panic!("{other:?} is no key"),
                };
                (key, value(random, &entry.map_entry_value_field(), depth))
            });
            Value::Map(pairs.collect())
        } else if field.is_list() {
            Value::List((0..random.below(4)).map(|_| value(random, &field, depth)).collect())
        } else {
            value(random, &field, depth)
        };
        made.set_field(&field, value);
    }
    made
}

fn value(random: &mut Seeded, field: &FieldDescriptor, depth: usize) -> Value {
    let number = random.number();
    match field.kind() {
        Kind::Bool => Value::Bool(number & 1 == 1),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number as u64),
        Kind::Float => Value::F32(number as f32),
        Kind::Double => Value::F64(number as f64),
        Kind::String => Value::String("aß".repeat(random.below(3))),
        Kind::Bytes => Value::Bytes(vec![0xff; random.below(4)].into()),
        Kind::Message(of) => Value::Message(message(random, &of, depth + 1)),
        Kind::Enum(of) if is_open(&of) && random.one_in(3) => Value::EnumNumber(number as i32),
        Kind::Enum(of) => {
            let numbers: Vec<_> = of.values().map(|it| it.number()).collect();
            Value::EnumNumber(*random.pick(&numbers))
        }
    }
}

fn is_open(of: &EnumDescriptor) -> bool {
    of.parent_file().syntax() == Syntax::Proto3
}

/// What a value is, whatever it is called.
#[derive(Debug, PartialEq)]
enum Plain {
    Number(i128),
    Float(u64),
    Bytes(Vec<u8>),
    Message(DynamicMessage),
    List(Vec<Plain>),
    Map(Vec<(Plain, Plain)>),
}

fn plain(value: &Value) -> Plain {
    match value {
        Value::Bool(it) => Plain::Number(i128::from(*it)),
        Value::I32(it) | Value::EnumNumber(it) => Plain::Number(i128::from(*it)),
        Value::I64(it) => Plain::Number(i128::from(*it)),
        Value::U32(it) => Plain::Number(i128::from(*it)),
        Value::U64(it) => Plain::Number(i128::from(*it)),
        Value::F32(it) => Plain::Float(u64::from(it.to_bits())),
        Value::F64(it) => Plain::Float(it.to_bits()),
        Value::String(it) => Plain::Bytes(it.as_bytes().to_vec()),
        Value::Bytes(it) => Plain::Bytes(it.to_vec()),
        Value::Message(it) => Plain::Message(it.clone()),
        Value::List(all) => Plain::List(all.iter().map(plain).collect()),
        Value::Map(all) => {
            let mut all: Vec<_> = all.iter().collect();
            all.sort_by_key(|(key, _)| (*key).clone());
            let pairs = all.into_iter();
            let pairs = pairs.map(|(key, value)| (plain(&Value::from(key.clone())), plain(value)));
            Plain::Map(pairs.collect())
        }
    }
}

/// Whether two say the same; of messages, in the fields that both have.
fn same(written: &Plain, read: &Plain) -> bool {
    match (written, read) {
        (Plain::Message(written), Plain::Message(read)) => agree(written, read),
        (Plain::List(written), Plain::List(read)) => {
            written.len() == read.len() && written.iter().zip(read).all(|(a, b)| same(a, b))
        }
        (Plain::Map(written), Plain::Map(read)) => {
            let both = |((key, value), (as_key, as_value)): (&(Plain, Plain), &(Plain, Plain))| {
                same(key, as_key) && same(value, as_value)
            };
            written.len() == read.len() && written.iter().zip(read).all(both)
        }
        // Entries as messages, or the other way: of two with the same key a map keeps the second.
        (Plain::Map(_), Plain::List(_)) | (Plain::List(_) | Plain::Message(_), Plain::Map(_)) => {
            true
        }
        (one, Plain::List(read)) => read.len() == 1 && same(one, &read[0]),
        (written, read) => written == read,
    }
}

fn agree(written: &DynamicMessage, read: &DynamicMessage) -> bool {
    read.descriptor().fields().all(|field| {
        if field.cardinality() == Cardinality::Required && !read.has_field(&field) {
            return false;
        }
        let Some(from) = written.descriptor().get_field(field.number()) else {
            return !read.has_field(&field);
        };
        if !written.has_field(&from) {
            return !read.has_field(&field);
        }
        let value = read.get_field(&field);
        if let (Kind::Enum(of), &Value::EnumNumber(number)) = (field.kind(), &*value)
            && !is_open(&of)
            && of.get_value(number).is_none()
        {
            return false;
        }
        same(&plain(&written.get_field(&from)), &plain(&value))
    })
}

#[test]
fn payloads_are_taken_as_the_library_takes_them() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..4_000 {
        let mut random = Seeded::new(seed);
        let text = Model::new(&mut random).text();
        let of = descriptor(&text).unwrap_or_else(|| panic!("{seed}: {text}"));
        let own = super::compile(&text);
        for _ in 0..6 {
            let data = message(&mut random, &of, 0).encode_to_vec();
            let found = own.validate("application/protobuf", &data);
            assert_eq!(found, Ok(()), "{seed}: {text} {data:?}");
            for _ in 0..8 {
                let mut spoilt = data.clone();
                random.spoil(&mut spoilt);
                let read = DynamicMessage::decode(of.clone(), &*spoilt);
                match own.validate("application/x-protobuf", &spoilt) {
                    Ok(()) => {
                        let read =
                            read.unwrap_or_else(|why| panic!("{seed}: {why}: {text} {spoilt:?}"));
                        assert_eq!(read.unknown_fields().count(), 0, "{seed}: {text} {spoilt:?}");
                        taken += 1;
                    }
                    Err(problems) => {
                        // What is asked for here, and not by the library.
                        let rule = &*problems[0].rule;
                        let is_stricter =
                            matches!(rule, "unknown_field" | "enum" | "required" | "type");
                        // It does not look at what a map's tag says of what follows.
                        let is_of_map =
                            rule == "wire_type" || problems[0].message.contains("was not begun");
                        let is_stricter = is_stricter || is_of_map && text.contains("map<");
                        assert!(
                            is_stricter || read.is_err(),
                            "{seed}: {text} {spoilt:?} {problems:?}"
                        );
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(taken > 5_000 && refused > 5_000, "{taken} {refused}");
}

#[test]
fn what_is_compatible_is_read_the_same() {
    let (mut same, mut compatible, mut different, mut careful) = (0, 0, 0, 0);
    for seed in 0..8_000 {
        let mut random = Seeded::new(seed);
        let model = Model::new(&mut random);
        let (writer, reader) = (model.text(), model.changed(&mut random).text());
        let (Some(from), Some(to)) = (descriptor(&writer), descriptor(&reader)) else { continue };
        let Ok(own_reader) = ProtobufSchema::compile(&reader, &[]) else { continue };
        let found = super::compile(&writer).differences(&own_reader);
        let mut all_agree = true;
        for _ in 0..10 {
            let written = message(&mut random, &from, 0);
            let read = DynamicMessage::decode(to.clone(), &*written.encode_to_vec());
            let is_right = read.as_ref().is_ok_and(|read| agree(&written, read));
            all_agree &= is_right;
            let data = written.encode_to_vec();
            assert!(is_right || !found.is_empty(), "{seed}: {writer}\nas\n{reader}\n{data:?}");
        }
        match (found.is_empty(), all_agree) {
            (true, _) if writer == reader => same += 1,
            (true, _) => compatible += 1,
            (false, false) => different += 1,
            (false, true) => careful += 1,
        }
    }
    assert!(compatible > 2_000 && different > 1_000, "{same} {compatible} {different} {careful}");
}

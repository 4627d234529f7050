//! [`Shape`]: messages as they look on the wire.

use std::collections::HashMap;
use std::ops::Range;

use prost_reflect::{Cardinality, EnumDescriptor, Kind, MessageDescriptor, Syntax, Value};
use serde_json::json;

use super::wire::WireType;

/// The messages that a payload may be made of. The first is the payload.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<Enum>,
}

/// The number of a message in its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MessageId(pub(super) usize);

/// The number of an enum in its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EnumId(pub(super) usize);

#[derive(Debug)]
pub(super) struct Message {
    /// With its package.
    pub(super) name: String,
    /// Sorted by their numbers; extensions are among them.
    pub(super) fields: Vec<Field>,
    /// Sorted numbers of those that have to be there.
    pub(super) required: Vec<u32>,
    /// Numbers that no field may have, in order, and none of them twice.
    pub(super) reserved: Vec<Range<u32>>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) kind: FieldKind,
    pub(super) is_repeated: bool,
    /// Whether it is a map: of entries with the same key it keeps the last.
    pub(super) is_map: bool,
    /// What is read where it is missing, written alike for kinds that are read as each other; messages and repeated fields
    /// have none.
    pub(super) default: Option<serde_json::Value>,
    pub(super) is_required: bool,
    /// Which of the message's oneofs it is in. One of a single optional field is none.
    pub(super) oneof: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    String,
    Bytes,
    Enum(EnumId),
    Message(MessageId),
    Group(MessageId),
}

#[derive(Debug)]
pub(super) struct Enum {
    pub(super) name: String,
    /// Sorted.
    pub(super) numbers: Vec<i32>,
    /// Whether there are other numbers than these. In proto2 there are not.
    pub(super) is_open: bool,
}

impl FieldKind {
    pub(super) fn wire_type(self) -> WireType {
        use FieldKind as It;
        match self {
            It::Bool | It::Int32 | It::Int64 | It::Uint32 | It::Uint64 => WireType::Varint,
            It::Sint32 | It::Sint64 | It::Enum(_) => WireType::Varint,
            It::Fixed32 | It::Sfixed32 | It::Float => WireType::Four,
            It::Fixed64 | It::Sfixed64 | It::Double => WireType::Eight,
            It::String | It::Bytes | It::Message(_) => WireType::Length,
            It::Group(_) => WireType::GroupStart,
        }
    }

    /// Whether many of them may stand behind one tag.
    pub(super) fn is_packable(self) -> bool {
        !matches!(self.wire_type(), WireType::Length | WireType::GroupStart)
    }
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        let index = self.fields.binary_search_by_key(&number, |it| it.number).ok()?;
        self.fields.get(index)
    }

    pub(super) fn is_reserved(&self, number: u32) -> bool {
        let index = self.reserved.partition_point(|it| it.end <= number);
        self.reserved.get(index).is_some_and(|it| it.contains(&number))
    }
}

impl Shape {
    /// The shape of a message, and of all that it leads to.
    pub(super) fn new(root: MessageDescriptor) -> Self {
        let mut builder = Builder::default();
        builder.message(root);
        let mut messages = Vec::new();
        // Those that a message leads to are appended while it is looked at.
        while let Some(message) = builder.found.get(messages.len()).cloned() {
            let built = builder.build(&message);
            messages.push(built);
        }
        Self { messages, enums: builder.enums }
    }

    pub(super) fn message(&self, id: MessageId) -> &Message {
        self.messages.get(id.0).expect("a message's number is of its own shape")
    }

    pub(super) fn enumeration(&self, id: EnumId) -> &Enum {
        self.enums.get(id.0).expect("an enum's number is of its own shape")
    }
}

#[derive(Default)]
struct Builder {
    found: Vec<MessageDescriptor>,
    by_name: HashMap<String, MessageId>,
    enums: Vec<Enum>,
    enums_by_name: HashMap<String, EnumId>,
}

impl Builder {
    fn message(&mut self, message: MessageDescriptor) -> MessageId {
        let next = MessageId(self.found.len());
        let id = *self.by_name.entry(message.full_name().to_owned()).or_insert(next);
        if id == next {
            self.found.push(message);
        }
        id
    }

    fn enumeration(&mut self, of: &EnumDescriptor) -> EnumId {
        let next = EnumId(self.enums.len());
        let id = *self.enums_by_name.entry(of.full_name().to_owned()).or_insert(next);
        if id == next {
            let mut numbers: Vec<_> = of.values().map(|it| it.number()).collect();
            numbers.sort_unstable();
            numbers.dedup();
            let is_open = of.parent_file().syntax() != Syntax::Proto2;
            self.enums.push(Enum { name: of.full_name().to_owned(), numbers, is_open });
        }
        id
    }

    fn build(&mut self, message: &MessageDescriptor) -> Message {
        let mut fields: Vec<_> = message
            .fields()
            .map(|field| Field {
                number: field.number(),
                name: field.name().to_owned(),
                kind: self.kind(field.kind(), field.is_group()),
                is_repeated: field.cardinality() == Cardinality::Repeated,
                is_map: field.is_map(),
                default: default_of(&field.kind(), field.cardinality(), || field.default_value()),
                is_required: field.cardinality() == Cardinality::Required,
                oneof: field
                    .containing_oneof()
                    .filter(|it| !it.is_synthetic())
                    .and_then(|_| field.field_descriptor_proto().oneof_index),
            })
            .collect();
        fields.extend(message.extensions().map(|field| Field {
            number: field.number(),
            name: format!("[{}]", field.full_name()),
            kind: self.kind(field.kind(), field.is_group()),
            is_repeated: field.cardinality() == Cardinality::Repeated,
            is_map: false,
            default: default_of(&field.kind(), field.cardinality(), || field.default_value()),
            is_required: false,
            oneof: None,
        }));
        fields.sort_by_key(|it| it.number);
        let required = fields.iter().filter(|it| it.is_required).map(|it| it.number).collect();
        let reserved = merged(message.reserved_ranges().collect());
        Message { name: message.full_name().to_owned(), fields, required, reserved }
    }

    fn kind(&mut self, kind: Kind, is_group: bool) -> FieldKind {
        match kind {
            Kind::Bool => FieldKind::Bool,
            Kind::Int32 => FieldKind::Int32,
            Kind::Int64 => FieldKind::Int64,
            Kind::Uint32 => FieldKind::Uint32,
            Kind::Uint64 => FieldKind::Uint64,
            Kind::Sint32 => FieldKind::Sint32,
            Kind::Sint64 => FieldKind::Sint64,
            Kind::Fixed32 => FieldKind::Fixed32,
            Kind::Fixed64 => FieldKind::Fixed64,
            Kind::Sfixed32 => FieldKind::Sfixed32,
            Kind::Sfixed64 => FieldKind::Sfixed64,
            Kind::Float => FieldKind::Float,
            Kind::Double => FieldKind::Double,
            Kind::String => FieldKind::String,
            Kind::Bytes => FieldKind::Bytes,
            Kind::Enum(of) => FieldKind::Enum(self.enumeration(&of)),
            Kind::Message(of) if is_group => FieldKind::Group(self.message(of)),
            Kind::Message(of) => FieldKind::Message(self.message(of)),
        }
    }
}

fn default_of(
    kind: &Kind,
    cardinality: Cardinality,
    default: impl FnOnce() -> Value,
) -> Option<serde_json::Value> {
    if cardinality == Cardinality::Repeated || matches!(kind, Kind::Message(_)) {
        return None;
    }
    let float = |is_zero: bool, text: String| if is_zero { json!(0) } else { json!(text) };
    match default() {
        Value::Bool(it) => Some(json!(u8::from(it))),
        Value::I32(it) | Value::EnumNumber(it) => Some(json!(it)),
        Value::I64(it) => Some(json!(it)),
        Value::U32(it) => Some(json!(it)),
        Value::U64(it) => Some(json!(it)),
        Value::F32(it) => Some(float(it.to_bits() == 0, it.to_string())),
        Value::F64(it) => Some(float(it.to_bits() == 0, it.to_string())),
        Value::String(it) => Some(json!(it.as_bytes().escape_ascii().to_string())),
        Value::Bytes(it) => Some(json!(it.escape_ascii().to_string())),
        Value::Message(_) | Value::List(_) | Value::Map(_) => None,
    }
}

fn merged(mut ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
    ranges.sort_by_key(|it| it.start);
    let mut merged: Vec<Range<u32>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

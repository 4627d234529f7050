//! Whether a reader's schema reads what follows a writer's.
//!
//! What counts is what is on the wire: numbers, and what stands behind them. Names do not, of whatever. A type may change
//! into one that reads the same bytes as the same value, for each value; a field that the reader does not have is skipped.
//! What is missing reads as its default, which is therefore the same as well.
//!
//! Pairs of messages are looked at once each, from a list, so that messages that hold themselves need no more stack.

use std::collections::{HashMap, HashSet};

use nexus_protocol::limits::SCHEMA_PROBLEMS_MAX;
use serde_json::{Value, json};

use super::shape::{EnumId, Field, FieldKind, Message, MessageId, Shape};
use crate::Difference;

/// Fields that are looked at. Two circles of coprime lengths make as many pairs as their product.
const WORK_MAX: usize = 2_000_000;

/// See [`Compiled::differences`](crate::Compiled::differences).
pub(super) fn differences(writer: &Shape, reader: &Shape) -> Vec<Difference> {
    let root = (MessageId(0), MessageId(0));
    let mut compare = Compare {
        writer,
        reader,
        seen: HashSet::from([root]),
        next: vec![root],
        enums: HashMap::new(),
        found: Vec::new(),
    };
    let mut work = 0_usize;
    while let Some((from, to)) = compare.next.pop() {
        let (from, to) = (writer.message(from), reader.message(to));
        work += 1 + from.fields.len() + to.fields.len();
        if work > WORK_MAX {
            compare.found.push(Difference::of_the_whole("too_complex"));
            break;
        }
        compare.messages(from, to);
        if compare.found.len() >= SCHEMA_PROBLEMS_MAX {
            break;
        }
    }
    compare.found.truncate(SCHEMA_PROBLEMS_MAX);
    compare.found
}

struct Compare<'a> {
    writer: &'a Shape,
    reader: &'a Shape,
    seen: HashSet<(MessageId, MessageId)>,
    next: Vec<(MessageId, MessageId)>,
    /// Enums that were looked at, and whether the one is read as the other.
    enums: HashMap<(EnumId, EnumId), bool>,
    found: Vec<Difference>,
}

impl<'a> Compare<'a> {
    fn messages(&mut self, from: &'a Message, to: &'a Message) {
        for field in &to.fields {
            let differ = |rule: &'static str, writer, reader| Difference {
                pointer: format!("{}.{} = {}", to.name, field.name, field.number),
                rule: rule.into(),
                writer,
                reader: Some(reader),
            };
            match from.field(field.number) {
                None => {
                    if from.is_reserved(field.number) {
                        let why = differ("reserved", Some(json!("reserved")), json!(field.name));
                        self.found.push(why);
                    }
                    if field.is_required {
                        self.found.push(differ("required", None, json!("required")));
                    }
                }
                Some(written) => {
                    if field.is_required && !written.is_required {
                        let was = if written.is_repeated { "repeated" } else { "optional" };
                        self.found.push(differ("required", Some(json!(was)), json!("required")));
                    }
                    if written.is_repeated && !field.is_repeated {
                        let (was, is) = (json!("repeated"), json!("singular"));
                        self.found.push(differ("repeated", Some(was), is));
                    }
                    if written.is_repeated && !written.is_map && field.is_map {
                        self.found.push(differ("map", Some(json!("repeated")), json!("map")));
                    }
                    if let Err(rule) = self.kinds(written.kind, field.kind) {
                        let was = describe(self.writer, written.kind);
                        let is = describe(self.reader, field.kind);
                        self.found.push(differ(rule, Some(was), is));
                    } else if let Some((was, is)) = defaults_apart(written, field) {
                        self.found.push(differ("default", Some(was), is));
                    }
                }
            }
        }
        self.oneofs(from, to);
    }

    /// Of fields in one oneof the last is kept. So those that could be there together may not be put into one.
    fn oneofs(&mut self, from: &Message, to: &Message) {
        let mut members: HashMap<i32, Vec<(&Field, Option<i32>)>> = HashMap::new();
        for field in &to.fields {
            if let (Some(oneof), Some(written)) = (field.oneof, from.field(field.number)) {
                members.entry(oneof).or_default().push((field, written.oneof));
            }
        }
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_by_key(|(oneof, _)| *oneof);
        for (_, members) in members {
            let Some(((_, first), others)) = members.split_first() else { continue };
            if others.is_empty() {
                continue;
            }
            let apart = members.iter().find(|(_, oneof)| oneof.is_none() || oneof != first);
            if let Some((field, _)) = apart {
                self.found.push(Difference {
                    pointer: format!("{}.{} = {}", to.name, field.name, field.number),
                    rule: "oneof".into(),
                    writer: None,
                    reader: Some(json!(
                        members.iter().take(16).map(|(it, _)| &it.name).collect::<Vec<_>>()
                    )),
                });
            }
        }
    }

    /// Whether what is written as one kind is read as another, or else which rule is in the way.
    fn kinds(&mut self, from: FieldKind, to: FieldKind) -> Result<(), &'static str> {
        use FieldKind as It;
        match (from, to) {
            (It::Message(from), It::Message(to)) | (It::Group(from), It::Group(to)) => {
                if self.seen.insert((from, to)) {
                    self.next.push((from, to));
                }
                Ok(())
            }
            (It::Enum(from), It::Enum(to)) => {
                let (writer, reader) = (self.writer, self.reader);
                let is_read = self.enums.entry((from, to)).or_insert_with(|| {
                    let (from, to) = (writer.enumeration(from), reader.enumeration(to));
                    let knows = |number: &i32| to.numbers.binary_search(number).is_ok();
                    to.is_open || (!from.is_open && from.numbers.iter().all(knows))
                });
                if *is_read { Ok(()) } else { Err("enum") }
            }
            (It::Int32, It::Enum(to)) if self.reader.enumeration(to).is_open => Ok(()),
            (It::Enum(_), It::Int32 | It::Int64)
            | (It::Bool, It::Int32 | It::Int64 | It::Uint32 | It::Uint64)
            | (It::Int32, It::Int64)
            | (It::Uint32, It::Uint64 | It::Int64)
            | (It::Sint32, It::Sint64)
            | (It::String, It::Bytes) => Ok(()),
            _ if from == to => Ok(()),
            _ => Err("type"),
        }
    }
}

/// What a field is read as where it is missing, if that is not what it was written as.
fn defaults_apart(written: &Field, read: &Field) -> Option<(Value, Value)> {
    let was = written.default.as_ref().filter(|_| !written.is_required)?;
    let is_apart = match &read.default {
        Some(is) => was != is,
        // Nothing becomes a list of nothing, but what stood for something does not.
        None => read.is_repeated && *was != json!(0) && *was != json!(""),
    };
    let short = |it: &Value| match it.as_str() {
        Some(text) => json!(text.chars().take(64).collect::<String>()),
        None => it.clone(),
    };
    is_apart.then(|| (short(was), read.default.as_ref().map_or_else(|| json!([]), short)))
}

fn describe(shape: &Shape, kind: FieldKind) -> Value {
    use FieldKind as It;
    json!(match kind {
        It::Bool => "bool",
        It::Int32 => "int32",
        It::Int64 => "int64",
        It::Uint32 => "uint32",
        It::Uint64 => "uint64",
        It::Sint32 => "sint32",
        It::Sint64 => "sint64",
        It::Fixed32 => "fixed32",
        It::Fixed64 => "fixed64",
        It::Sfixed32 => "sfixed32",
        It::Sfixed64 => "sfixed64",
        It::Float => "float",
        It::Double => "double",
        It::String => "string",
        It::Bytes => "bytes",
        It::Enum(id) => &shape.enumeration(id).name,
        It::Message(id) | It::Group(id) => &shape.message(id).name,
    })
}

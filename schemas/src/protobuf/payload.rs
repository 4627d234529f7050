//! What is wrong with a payload in Protobuf's binary form.
//!
//! It is walked without a message being built. Each step uses up a byte, and messages lie in each other only so deep.
//! Numbers have to fit what they are written as: a reader whose type is wider reads them as they are, and would see another
//! number where a library that builds the message cuts off bits.

use nexus_protocol::schema::DataProblem;

use super::shape::{Field, FieldKind, MessageId, Shape};
use super::wire::{self, Broken, WireType};

/// How deep messages may lie in each other: libraries read no deeper.
const DEPTH_MAX: usize = 100;

/// Checks a payload.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn check(shape: &Shape, data: &[u8]) -> Result<(), DataProblem> {
    let mut rest = data;
    message(shape, MessageId(0), &mut rest, None, 1).map_err(|wrong| {
        let mut pointer = String::new();
        for step in wrong.path.iter().rev() {
            pointer.push('/');
            pointer.extend(step.chars().take(256));
        }
        DataProblem { pointer, rule: wrong.rule.into(), message: wrong.message }
    })
}

struct Wrong {
    rule: &'static str,
    message: String,
    /// Steps from here up to the payload.
    path: Vec<String>,
}

impl Wrong {
    fn new(rule: &'static str, message: impl Into<String>) -> Self {
        Self { rule, message: message.into(), path: Vec::new() }
    }

    fn at(mut self, step: impl Into<String>) -> Self {
        self.path.push(step.into());
        self
    }
}

impl From<Broken> for Wrong {
    fn from(Broken(why): Broken) -> Self {
        Self::new("protobuf", why)
    }
}

/// Takes a message: all that there is, or up to the end of its group.
fn message(
    shape: &Shape,
    id: MessageId,
    rest: &mut &[u8],
    group: Option<u32>,
    depth: usize,
) -> Result<(), Wrong> {
    if depth > DEPTH_MAX {
        let why = format!("messages lie in each other deeper than {DEPTH_MAX} levels");
        return Err(Wrong::new("depth", why));
    }
    let of = shape.message(id);
    let all = *rest;
    // Numbers of required fields that are there.
    let mut seen = Vec::new();
    loop {
        if rest.is_empty() {
            if group.is_some() {
                return Err(Wrong::new("protobuf", "a group has no end"));
            }
            break;
        }
        let before = all.len() - rest.len();
        let (number, wire_type) = wire::tag(rest)?;
        if wire_type == WireType::GroupEnd {
            if group == Some(number) {
                break;
            }
            return Err(Wrong::new("protobuf", format!("group {number} ends, and was not begun")));
        }
        let Some(field) = of.field(number) else {
            let why = format!("{} has no field {number}, and the schema is closed", of.name);
            return Err(Wrong::new("unknown_field", why));
        };
        if field.is_required {
            seen.push(number);
        }
        field_value(shape, field, wire_type, rest, depth).map_err(|wrong| {
            if field.is_repeated {
                let earlier = all.get(..before).unwrap_or_default();
                let packed = wrong.path.last().and_then(|it| it.strip_prefix('+'));
                let packed = packed.and_then(|it| it.parse::<usize>().ok());
                let mut wrong = wrong;
                if packed.is_some() {
                    wrong.path.pop();
                }
                let index = count(earlier, field) + packed.unwrap_or(0);
                return wrong.at(index.to_string()).at(&*field.name);
            }
            wrong.at(&*field.name)
        })?;
    }
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < of.required.len() {
        let missing = of.required.iter().find(|it| seen.binary_search(it).is_err());
        let name = missing.and_then(|it| of.field(*it)).map_or("", |it| it.name.as_str());
        return Err(Wrong::new("required", format!("{} has to have {name}", of.name)));
    }
    Ok(())
}

/// Takes what follows the tag of a field.
fn field_value(
    shape: &Shape,
    field: &Field,
    wire_type: WireType,
    rest: &mut &[u8],
    depth: usize,
) -> Result<(), Wrong> {
    let asked = field.kind.wire_type();
    if wire_type == asked {
        return value(shape, field, rest, depth);
    }
    if !(field.is_repeated && field.kind.is_packable() && wire_type == WireType::Length) {
        let why = format!("wire type {wire_type:?} is not {asked:?}, as the field's is");
        return Err(Wrong::new("wire_type", why));
    }
    let mut packed = wire::prefixed(rest)?;
    let mut index = 0_usize;
    while !packed.is_empty() {
        // Who knows how many came before makes an index of it.
        value(shape, field, &mut packed, depth).map_err(|wrong| wrong.at(format!("+{index}")))?;
        index += 1;
    }
    Ok(())
}

fn value(shape: &Shape, field: &Field, rest: &mut &[u8], depth: usize) -> Result<(), Wrong> {
    let fits = match field.kind {
        FieldKind::Bool => wire::varint(rest)? <= 1,
        FieldKind::Int32 => is_i32(wire::varint(rest)?),
        FieldKind::Uint32 | FieldKind::Sint32 => u32::try_from(wire::varint(rest)?).is_ok(),
        FieldKind::Int64 | FieldKind::Uint64 | FieldKind::Sint64 => {
            wire::varint(rest)?;
            true
        }
        FieldKind::Fixed32 | FieldKind::Sfixed32 | FieldKind::Float => {
            wire::take(rest, 4)?;
            true
        }
        FieldKind::Fixed64 | FieldKind::Sfixed64 | FieldKind::Double => {
            wire::take(rest, 8)?;
            true
        }
        FieldKind::String => {
            let text = std::str::from_utf8(wire::prefixed(rest)?);
            text.map_err(|why| Wrong::new("utf8", format!("string: {why}")))?;
            true
        }
        FieldKind::Bytes => {
            wire::prefixed(rest)?;
            true
        }
        FieldKind::Enum(id) => {
            let bits = wire::varint(rest)?;
            let number = i32::try_from(bits.cast_signed()).ok();
            let of = shape.enumeration(id);
            if let Some(number) = number
                && !of.is_open
                && of.numbers.binary_search(&number).is_err()
            {
                let why = format!("{number} is none of the numbers of {}", of.name);
                return Err(Wrong::new("enum", why));
            }
            number.is_some()
        }
        FieldKind::Message(id) => {
            let mut inner = wire::prefixed(rest)?;
            message(shape, id, &mut inner, None, depth + 1)?;
            true
        }
        FieldKind::Group(id) => {
            message(shape, id, rest, Some(field.number), depth + 1)?;
            true
        }
    };
    if fits {
        Ok(())
    } else {
        Err(Wrong::new("type", format!("the number does not fit {:?}", field.kind)))
    }
}

fn is_i32(bits: u64) -> bool {
    i32::try_from(bits.cast_signed()).is_ok()
}

/// How many values of a repeated field are in these bytes, which were found to be right.
fn count(mut earlier: &[u8], field: &Field) -> usize {
    let mut values = 0_usize;
    while let Ok((number, wire_type)) = wire::tag(&mut earlier) {
        let before = earlier;
        if wire::skip(&mut earlier, number, wire_type).is_err() {
            break;
        }
        if number != field.number {
            continue;
        }
        if wire_type == field.kind.wire_type() {
            values += 1;
            continue;
        }
        let mut packed = before;
        let packed = wire::prefixed(&mut packed).unwrap_or_default();
        values += match field.kind.wire_type() {
            WireType::Four => packed.len() / 4,
            WireType::Eight => packed.len() / 8,
            // Each number ends with its only byte whose highest bit is clear.
            _ => packed.iter().filter(|byte| **byte < 0x80).count(),
        };
    }
    values
}

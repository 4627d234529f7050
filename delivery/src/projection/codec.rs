//! The bytes that a document is kept as: what its fields hold, and what is needed to go on folding.
//!
//! One document has one encoding, so that digests of it agree. All numbers are little-endian.
//!
//! ```text
//! document := version u8 = 1 ‖ events u64 ‖ count u16 ‖ tags ‖ count u16 ‖ slots
//! tag      := length u16 ‖ bytes
//! slot     := 0 ‖                                empty
//!             1 ‖ value
//!             2 ‖ value ‖ rank                   first or last by a rank
//!             3 ‖ count u32 ‖ values             a list
//!             4 ‖ count u32 ‖ digests u64        different values, ascending
//! value    := 0 ‖ length u32 ‖ text      1 ‖ u64      2 ‖ i64      3 ‖ f64      4 ‖ bool u8
//!             5 ‖ microseconds i64       6 ‖ IPv4, 4 bytes         7 ‖ IPv6, 16 bytes
//!             8 ‖ json
//! json     := 0 null   1 false   2 true   3 ‖ i64   4 ‖ u64, beyond i64   5 ‖ f64   6 ‖ length u32 ‖ text
//!             7 ‖ count u32 ‖ json …     8 ‖ count u32 ‖ members, ascending: length u32 ‖ name ‖ json
//! rank     := 0 ‖ i128      1 ‖ f64      2 ‖ microseconds i64      3 ‖ length u32 ‖ text
//! ```
//!
//! JSON is not kept as text: a float that is written and read again need not be the same, and a document that was kept would
//! not be the one that was folded.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nexus_protocol::Timestamp;
use nexus_protocol::limits::DOCUMENT_TAGS_MAX;
use serde_json::{Map, Number, Value as Json};

use super::definition::Document;
use super::field::Value;
use super::fold::{Rank, Slot};

const VERSION: u8 = 1;
/// JSON that was read is 128 deep at most, and so is what is folded of it.
const JSON_DEPTH_MAX: usize = 130;

/// Bytes that are no document: of a later version, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes of a document are none at {at}")]
pub struct NoDocument {
    /// Where, in bytes from their beginning.
    pub at: usize,
}

/// Writes a document, the rank of each field included.
pub(super) fn encode(document: &Document) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + document.bytes);
    out.push(VERSION);
    out.extend_from_slice(&document.events.to_le_bytes());
    let short = |length: usize| u16::try_from(length).expect("it is bounded").to_le_bytes();
    out.extend_from_slice(&short(document.tags.len()));
    for tag in &document.tags {
        out.extend_from_slice(&short(tag.len()));
        out.extend_from_slice(tag.as_bytes());
    }
    out.extend_from_slice(&short(document.slots.len()));
    document.slots.iter().for_each(|slot| put_slot(slot, &mut out));
    out
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).expect("a document is bounded");
    out.extend_from_slice(&length.to_le_bytes());
}

fn put_text(kind: u8, text: &str, out: &mut Vec<u8>) {
    out.push(kind);
    put_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn put(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(bytes);
}

fn put_slot(slot: &Slot, out: &mut Vec<u8>) {
    match slot {
        Slot::Empty => out.push(0),
        Slot::One(value) => {
            out.push(1);
            put_value(value, out);
        }
        Slot::By(value, rank) => {
            out.push(2);
            put_value(value, out);
            match rank {
                Rank::Whole(number) => put(0, &number.to_le_bytes(), out),
                Rank::Float(number) => put(1, &number.to_le_bytes(), out),
                Rank::Time(at) => put(2, &at.as_micros().to_le_bytes(), out),
                Rank::Text(text) => put_text(3, text, out),
            }
        }
        Slot::Many(values) => {
            out.push(3);
            put_length(values.len(), out);
            values.iter().for_each(|value| put_value(value, out));
        }
        Slot::Distinct(known) => {
            out.push(4);
            put_length(known.len(), out);
            known.iter().for_each(|digest| out.extend_from_slice(&digest.to_le_bytes()));
        }
    }
}

fn put_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => put_text(0, text, out),
        Value::U64(number) => put(1, &number.to_le_bytes(), out),
        Value::I64(number) => put(2, &number.to_le_bytes(), out),
        Value::F64(number) => put(3, &number.to_le_bytes(), out),
        Value::Bool(bool) => put(4, &[u8::from(*bool)], out),
        Value::Date(at) => put(5, &at.as_micros().to_le_bytes(), out),
        Value::Ip(IpAddr::V4(address)) => put(6, &address.octets(), out),
        Value::Ip(IpAddr::V6(address)) => put(7, &address.octets(), out),
        Value::Json(json) => {
            out.push(8);
            put_json(json, out);
        }
    }
}

fn put_json(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Null => out.push(0),
        Json::Bool(bool) => out.push(1 + u8::from(*bool)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => put(3, &number.to_le_bytes(), out),
            (None, Some(number)) => put(4, &number.to_le_bytes(), out),
            (None, None) => {
                let number = number.as_f64().expect("what is no whole number is a float");
                put(5, &number.to_le_bytes(), out);
            }
        },
        Json::String(text) => put_text(6, text, out),
        Json::Array(items) => {
            out.push(7);
            put_length(items.len(), out);
            items.iter().for_each(|item| put_json(item, out));
        }
        Json::Object(members) => {
            out.push(8);
            put_length(members.len(), out);
            // In one order, whatever map this process has for objects.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                put_length(name.len(), out);
                out.extend_from_slice(name.as_bytes());
                put_json(value, out);
            }
        }
    }
}

/// Reads a document of so many fields.
///
/// # Errors
/// Says where the bytes are none. They are not trusted: nothing is made that is larger than what is there.
pub(super) fn decode(bytes: &[u8], slots: usize) -> Result<Document, NoDocument> {
    let mut input = Input { bytes, at: 0 };
    let read = input.document(slots).filter(|_| input.at == bytes.len());
    read.ok_or(NoDocument { at: input.at })
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn short(&mut self) -> Option<usize> {
        self.array().map(|it| usize::from(u16::from_le_bytes(it)))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        str::from_utf8(self.take(length)?).ok()
    }

    fn long_text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        self.text(length)
    }

    fn document(&mut self, slots: usize) -> Option<Document> {
        let [version] = self.array()?;
        if version != VERSION {
            return None;
        }
        let events = u64::from_le_bytes(self.array()?);
        let count = self.short().filter(|count| *count <= DOCUMENT_TAGS_MAX)?;
        let mut tags = BTreeSet::new();
        for _ in 0..count {
            let length = self.short()?;
            let tag = self.text(length)?;
            // Ascending, so that there is one encoding.
            if tags.last().is_some_and(|last: &String| last.as_str() >= tag) {
                return None;
            }
            tags.insert(tag.to_owned());
        }
        self.short().filter(|count| *count == slots)?;
        let slots: Vec<Slot> = (0..slots).map(|_| self.slot()).collect::<Option<_>>()?;
        let bytes = slots.iter().map(Slot::weight).sum();
        Some(Document { slots, tags, events, bytes })
    }

    fn slot(&mut self) -> Option<Slot> {
        let [kind] = self.array()?;
        Some(match kind {
            0 => Slot::Empty,
            1 => Slot::One(self.value()?),
            2 => {
                let value = self.value()?;
                Slot::By(value, self.rank()?)
            }
            3 => {
                let count = self.length()?;
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value()?);
                }
                Slot::Many(values)
            }
            4 => {
                let count = self.length()?;
                let mut known = BTreeSet::new();
                for _ in 0..count {
                    let digest = u64::from_le_bytes(self.array()?);
                    if known.last().is_some_and(|last| *last >= digest) {
                        return None;
                    }
                    known.insert(digest);
                }
                Slot::Distinct(known)
            }
            _ => return None,
        })
    }

    fn rank(&mut self) -> Option<Rank> {
        let [kind] = self.array()?;
        Some(match kind {
            0 => Rank::Whole(i128::from_le_bytes(self.array()?)),
            1 => Rank::Float(finite(self.array()?)?),
            2 => Rank::Time(Timestamp::from_micros(i64::from_le_bytes(self.array()?))),
            3 => Rank::Text(self.long_text()?.to_owned()),
            _ => return None,
        })
    }

    fn value(&mut self) -> Option<Value> {
        let [kind] = self.array()?;
        Some(match kind {
            0 => Value::Text(self.long_text()?.to_owned()),
            1 => Value::U64(u64::from_le_bytes(self.array()?)),
            2 => Value::I64(i64::from_le_bytes(self.array()?)),
            3 => Value::F64(finite(self.array()?)?),
            4 => match self.array()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [_] => return None,
            },
            5 => Value::Date(Timestamp::from_micros(i64::from_le_bytes(self.array()?))),
            6 => Value::Ip(IpAddr::from(self.array::<4>()?)),
            7 => Value::Ip(IpAddr::from(self.array::<16>()?)),
            8 => Value::Json(self.json(JSON_DEPTH_MAX)?),
            _ => return None,
        })
    }

    fn json(&mut self, depth: usize) -> Option<Json> {
        let deeper = depth.checked_sub(1)?;
        let [kind] = self.array()?;
        Some(match kind {
            0 => Json::Null,
            1 => Json::Bool(false),
            2 => Json::Bool(true),
            3 => i64::from_le_bytes(self.array()?).into(),
            // Any other has its one encoding.
            4 => {
                let number = u64::from_le_bytes(self.array()?);
                i64::try_from(number).err().map(|_| number.into())?
            }
            5 => Number::from_f64(finite(self.array()?)?).map(Json::Number)?,
            6 => Json::String(self.long_text()?.to_owned()),
            7 => {
                let count = self.length()?;
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.json(deeper)?);
                }
                Json::Array(items)
            }
            8 => {
                let count = self.length()?;
                let (mut members, mut last) = (Map::new(), None);
                for _ in 0..count {
                    let name = self.long_text()?;
                    if last.replace(name).is_some_and(|last| last >= name) {
                        return None;
                    }
                    members.insert(name.to_owned(), self.json(deeper)?);
                }
                Json::Object(members)
            }
            _ => return None,
        })
    }
}

fn finite(bytes: [u8; 8]) -> Option<f64> {
    Some(f64::from_le_bytes(bytes)).filter(|it| it.is_finite())
}

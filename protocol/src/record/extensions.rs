//! Typed extensions: what a record or a batch says besides its fields, `type u16 ‖ length u16 ‖ bytes` each.
//!
//! A reader passes over a type that it does not know, unless the type says that it must not. Records have one:
//! the time before which consumer groups do not deliver them. A record without any pays nothing for them.

use super::RecordError;
use crate::event::EventData;
use crate::time::Timestamp;

/// In the type of an extension: a reader that does not know it must refuse the record or batch.
pub const REFUSE_IF_UNKNOWN: u16 = 1 << 15;

/// Extension of a record: when it may be delivered, in microseconds. Without the refuse bit: who does not know it
/// reads the event all the same, and merely delivers it at once.
const NOT_BEFORE: u16 = 1;
/// Bytes before the value of an extension.
const HEAD_BYTES: usize = 4;
/// Bytes of the extension of type [`NOT_BEFORE`].
const NOT_BEFORE_BYTES: usize = HEAD_BYTES + 8;

/// A run of extensions, one after the other; it ends with the first thing that is wrong with it.
struct Extensions<'a>(&'a [u8]);

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<(u16, &'a [u8]), RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.0);
        if bytes.is_empty() {
            return None;
        }
        let Some((&[t0, t1, l0, l1], rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Some(Err(RecordError::Malformed("extension header")));
        };
        let Some((value, rest)) = rest.split_at_checked(u16::from_le_bytes([l0, l1]).into()) else {
            return Some(Err(RecordError::Malformed("extension length")));
        };
        self.0 = rest;
        Some(Ok((u16::from_le_bytes([t0, t1]), value)))
    }
}

/// Checks a run of extensions against the types that a reader knows.
///
/// # Errors
/// A length that does not fit, or an unknown type whose refuse bit is set.
pub fn check_extensions(bytes: &[u8], known: &[u16]) -> Result<(), RecordError> {
    for extension in Extensions(bytes) {
        let (kind, _) = extension?;
        if kind & REFUSE_IF_UNKNOWN != 0 && !known.contains(&(kind & !REFUSE_IF_UNKNOWN)) {
            return Err(RecordError::UnknownExtension(kind));
        }
    }
    Ok(())
}

/// Checks the extensions of a record: also that those which are known say what they can say, once.
pub(super) fn check_of_record(bytes: &[u8]) -> Result<(), RecordError> {
    check_extensions(bytes, &[NOT_BEFORE])?;
    let mut times = Extensions(bytes).flatten().filter(is_not_before);
    match times.next() {
        Some((_, value)) if value.len() != 8 || times.next().is_some() => {
            Err(RecordError::Malformed("time to deliver it at"))
        }
        _ => Ok(()),
    }
}

/// The time that the extensions of a record name; they were checked.
pub(super) fn not_before(bytes: &[u8]) -> Option<Timestamp> {
    let (_, value) = Extensions(bytes).flatten().find(is_not_before)?;
    Some(Timestamp::from_micros(i64::from_le_bytes(value.try_into().ok()?)))
}

fn is_not_before((kind, _): &(u16, &[u8])) -> bool {
    kind & !REFUSE_IF_UNKNOWN == NOT_BEFORE
}

/// Bytes of the extensions that the record of an event has.
pub(super) fn bytes_of(event: &EventData) -> usize {
    event.not_before.map_or(0, |_| NOT_BEFORE_BYTES)
}

/// Writes these.
pub(super) fn put(event: &EventData, out: &mut Vec<u8>) {
    if let Some(at) = event.not_before {
        out.extend_from_slice(&NOT_BEFORE.to_le_bytes());
        out.extend_from_slice(&8_u16.to_le_bytes());
        out.extend_from_slice(&at.as_micros().to_le_bytes());
    }
}

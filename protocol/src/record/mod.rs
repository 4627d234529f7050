//! One event's bytes: the canonical form, which is what stands on disk, what travels, and what a
//! client verifies. `docs/format.md` ("Record") specifies it; this module is its only codec.
//!
//! Names are spelled out and nothing in it depends on the node or the file, so that a record can be
//! checked alone, wherever it is found. What the log decides (position, revision, recorded time)
//! stands at the end: everything before it is made, hashed, and checksummed in the appender's
//! thread, and the sequencer adds 24 bytes.
//!
//! Decoding trusts nothing: every length is checked before it is used, and no byte is handed out
//! before the checksum held (I5).

mod altered;
mod encode;
mod extensions;
mod view;

pub use altered::Instead;
pub use encode::{ContentDigest, PreparedRecord, Recipe, encode_draft, place};
pub use extensions::{REFUSE_IF_UNKNOWN, check_extensions};
pub use view::{RecordError, RecordedEvent, Tags, record_length};

/// Bytes before the optional fields: length, checksum, id, flags, sizes.
const FIXED_BYTES: usize = 48;
/// Bytes after the content: position, revision, recorded time.
pub const PLACEMENT_BYTES: usize = 24;
/// The smallest record.
pub const RECORD_BYTES_MIN: usize = FIXED_BYTES + PLACEMENT_BYTES;
/// Version of this form, in each record.
const VERSION: u8 = 1;

const OCCURRED_AT: u16 = 1;
const CORRELATION_ID: u16 = 1 << 1;
const CAUSATION_ID: u16 = 1 << 2;
const TRACE: u16 = 1 << 3;
const FLAGS_KNOWN: u16 = OCCURRED_AT | CORRELATION_ID | CAUSATION_ID | TRACE;
const TRACE_BYTES: usize = 32;

#[cfg(test)]
mod tests;

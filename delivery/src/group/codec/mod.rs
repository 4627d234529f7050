//! The bytes of a [`Record`] and of a [`State`], as they stand in the log.
//!
//! They are cut into parts, since an event of the log is bounded: each begins with the version and whether it is the
//! last, and together, without these, they are one text of bytes, cut anywhere. In it numbers are LEB128 (7 bits a
//! byte, lowest first). A position is the difference to the one before, a time (µs since 1970) likewise, both as a
//! zigzag number: neighbours are a byte or two, and so are times that are close. Texts are a length and UTF-8, keys 8
//! bytes. Lists of positions are runs: the gap to the run before, and how many follow each other. So an acknowledged
//! stretch of the log is a few bytes, however long it is.
//!
//! # How large a record is
//!
//! Below 29 MiB, which is 30.4 MB, if one is taken in time. What it is made of is bounded, and however much was done, each
//! position is named once in each of these ([`Pending`]):
//! - what was opened, or came behind what is parked: at most [`OPEN_MAX`](super::OPEN_MAX) together, in runs of 2 to
//!   4 bytes, however few match: 6 MB, and 10 bytes more for each key that something came behind;
//! - what failed and is parked: at most [`PARKED_MAX`](crate::parked::PARKED_MAX), with 30 bytes each, and
//!   [`ALL_TEXT_BYTES_MAX`](crate::parked::ALL_TEXT_BYTES_MAX) of text: 21 MB where all of it is new;
//! - what was closed: 2 to 4 bytes each; what was parked and is no longer: up to 5;
//! - what was tried and goes on: 10 to 14 bytes each.
//!
//! The last two are what was answered since the record before. Whoever runs a group takes one after 250,000 answers at
//! the latest: then all that may be parked, 2 M new events, and the rest tried come to 29 MB. With 900,000 done in place
//! of those it is 29.5 MB, which `tests.rs` makes up, and 19 MB where a million was tried and nothing parked. A million
//! answers without a record, of which 100,000 park all that may be and all others are tries, could be 38 MB.
//!
//! [`Pending`]: super::pending::Pending

mod read;
mod write;

use self::read::Reader;
use self::write::Writer;
use super::state::{Record, State};

/// The version of the bytes, which comes first.
const VERSION: u8 = 1;
/// Bytes of a part before its share.
const HEADER_BYTES: usize = 2;
/// The least that a part may be bounded to, in bytes.
pub const PART_BYTES_MIN: usize = 1024;
/// Positions that one list of runs may come to, somewhat more than a group leaves open: a run of a few bytes could name
/// more than there is memory for.
pub const POSITIONS_MAX: u64 = 2_500_000;
/// The same of a record or a state, and changes of a record: what was opened, what was closed, what came behind, and
/// what was tried or parked.
const NAMED_MAX: u64 = 3 * POSITIONS_MAX;

/// Why bytes are no record, or no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are of another version.
    #[error("a record of version {0}, and this program knows {VERSION}: a newer one wrote it")]
    Version(u8),
    /// They end within a value, or go on behind the last; or a part is missing.
    #[error("a record of a group ends in the wrong place")]
    End,
    /// A value that cannot be.
    #[error("a record of a group has no such {0}")]
    Value(&'static str),
}

impl Record {
    /// Its bytes, in parts of at most so many bytes, one at least.
    ///
    /// # Panics
    /// When parts are to be smaller than [`PART_BYTES_MIN`].
    pub fn encode(&self, max_part_bytes: usize) -> Vec<Vec<u8>> {
        let mut writer = Writer::default();
        self.changes.iter().for_each(|change| writer.change(change));
        into_parts(&writer.out, max_part_bytes)
    }

    /// Reads it from its parts, which may be anything.
    ///
    /// # Errors
    /// When they are no record.
    pub fn decode(parts: &[impl AsRef<[u8]>]) -> Result<Self, DecodeError> {
        let bytes = from_parts(parts)?;
        let mut reader = Reader::new(&bytes);
        let mut changes = Vec::new();
        while !reader.is_at_end() {
            changes.push(reader.change()?);
        }
        Ok(Self { changes })
    }
}

impl State {
    /// Its bytes, in parts of at most so many bytes, one at least.
    ///
    /// # Panics
    /// When parts are to be smaller than [`PART_BYTES_MIN`].
    pub fn encode(&self, max_part_bytes: usize) -> Vec<Vec<u8>> {
        let mut writer = Writer::default();
        writer.state(self);
        into_parts(&writer.out, max_part_bytes)
    }

    /// Reads it from its parts, which may be anything.
    ///
    /// # Errors
    /// When they are no state.
    pub fn decode(parts: &[impl AsRef<[u8]>]) -> Result<Self, DecodeError> {
        let bytes = from_parts(parts)?;
        let mut reader = Reader::new(&bytes);
        let state = reader.state()?;
        if reader.is_at_end() { Ok(state) } else { Err(DecodeError::End) }
    }
}

fn into_parts(bytes: &[u8], max_part_bytes: usize) -> Vec<Vec<u8>> {
    assert!(
        max_part_bytes >= PART_BYTES_MIN,
        "a part has room for {PART_BYTES_MIN} bytes at least"
    );
    let room = max_part_bytes - HEADER_BYTES;
    let count = bytes.len().div_ceil(room).max(1);
    let part = |index: usize| {
        let share = &bytes[index * room..bytes.len().min((index + 1) * room)];
        let is_last = index + 1 == count;
        let mut part = Vec::with_capacity(HEADER_BYTES + share.len());
        part.extend([VERSION, u8::from(is_last)]);
        part.extend_from_slice(share);
        part
    };
    (0..count).map(part).collect()
}

/// Whether a part says that none follows.
pub(super) fn is_last_part(part: &[u8]) -> bool {
    part.get(1) == Some(&1)
}

fn from_parts(parts: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::new();
    let mut is_over = false;
    for part in parts {
        let (version, rest) = part.as_ref().split_first().ok_or(DecodeError::End)?;
        if *version != VERSION {
            return Err(DecodeError::Version(*version));
        }
        let (is_last, rest) = rest.split_first().ok_or(DecodeError::End)?;
        if is_over {
            return Err(DecodeError::End);
        }
        is_over = match is_last {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Value("part")),
        };
        bytes.extend_from_slice(rest);
    }
    if is_over { Ok(bytes) } else { Err(DecodeError::End) }
}

#[cfg(test)]
mod tests;

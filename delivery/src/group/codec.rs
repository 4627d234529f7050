//! The bytes of a [`Record`] and of a [`State`], as they stand in the log.
//!
//! Numbers are LEB128 (7 bits a byte, lowest first), times 8 bytes (µs since 1970, little-endian), texts a length and
//! UTF-8. Positions are runs: the gap to the run before, and how many follow each other. So an acknowledged stretch of
//! the log is a few bytes, however long it is.

use std::collections::BTreeMap;

use nexus_protocol::Timestamp;

use super::ledger::{Ledger, Progress};
use super::state::{Change, Record, State};
use crate::parked::{self, Entry, Failure, Parked, Standing};

/// The version of the bytes, which comes first.
const VERSION: u8 = 1;
/// Positions that one list of runs may come to, somewhat more than a group leaves open: a run of a few bytes could name
/// more than there is memory for.
pub const POSITIONS_MAX: u64 = 2_500_000;
/// The same of a record or a state: what was opened, and what was closed.
const POSITIONS_OF_ALL_MAX: u64 = 2 * POSITIONS_MAX;

/// Why bytes are no record, or no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are of another version.
    #[error("a record of version {0}, and this program knows {VERSION}: a newer one wrote it")]
    Version(u8),
    /// They end within a value, or go on behind the last.
    #[error("a record of a group ends in the wrong place")]
    End,
    /// A value that cannot be.
    #[error("a record of a group has no such {0}")]
    Value(&'static str),
}

impl Record {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.changes.iter().for_each(|change| put_change(&mut out, change));
        out
    }

    /// Reads it from its bytes, which may be anything.
    ///
    /// # Errors
    /// When they are no record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes)?;
        let mut changes = Vec::new();
        while !reader.rest.is_empty() {
            changes.push(reader.change()?);
        }
        Ok(Self { changes })
    }
}

impl State {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.paused)];
        put(&mut out, self.ledger.next());
        put_runs(&mut out, self.ledger.open_within(0..u64::MAX));
        put(&mut out, self.attempts.len() as u64);
        for (position, attempts) in &self.attempts {
            put(&mut out, *position);
            put(&mut out, (*attempts).into());
        }
        put(&mut out, self.parked.len() as u64);
        for (position, entry) in self.parked.iter() {
            put(&mut out, position);
            put_entry(&mut out, entry);
        }
        out
    }

    /// Reads it from its bytes, which may be anything.
    ///
    /// # Errors
    /// When they are no state.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes)?;
        let paused = reader.flag()?;
        let next = reader.number()?;
        let opened = reader.runs()?;
        if opened.last().is_some_and(|last| *last >= next) {
            return Err(DecodeError::Value("open position"));
        }
        let mut ledger = Ledger::starting_at(0);
        ledger.apply(&Progress { next, opened, closed: Vec::new() });
        let mut attempts = BTreeMap::new();
        for _ in 0..reader.number()? {
            attempts.insert(reader.number()?, reader.small()?);
        }
        let mut parked = Parked::default();
        for _ in 0..reader.number()? {
            let (position, entry) = (reader.number()?, reader.entry()?);
            parked.apply(&parked::Change::Set(position, entry));
        }
        if !reader.rest.is_empty() {
            return Err(DecodeError::End);
        }
        Ok(Self { ledger, attempts, parked, paused })
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.as_micros().to_le_bytes());
}

/// Positions in ascending order.
fn put_runs(out: &mut Vec<u8>, positions: impl IntoIterator<Item = u64>) {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for position in positions {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == position => *count += 1,
            _ => runs.push((position, 1)),
        }
    }
    put(out, runs.len() as u64);
    let mut behind = 0;
    for (first, count) in runs {
        put(out, first - behind);
        put(out, count);
        behind = first + count;
    }
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend_from_slice(&entry.key.to_le_bytes());
    out.push(match entry.standing {
        Standing::Failed => 0,
        Standing::Released => 1,
        Standing::Behind => 2,
    });
    put(out, entry.attempts.into());
    put(out, entry.tried_before.into());
    put_time(out, entry.first_failed);
    put_time(out, entry.last_failed);
    out.push(u8::from(entry.not_before.is_some()));
    entry.not_before.iter().for_each(|time| put_time(out, *time));
    out.push(u8::from(entry.failure.is_some()));
    if let Some(Failure { message, chain }) = &entry.failure {
        put_text(out, message);
        put(out, chain.len() as u64);
        chain.iter().for_each(|cause| put_text(out, cause));
    }
}

fn put_change(out: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Sought(next) => {
            out.push(1);
            put(out, *next);
        }
        Change::Paused(paused) => out.extend([2, u8::from(*paused)]),
        Change::Attempted(position, attempts) => {
            out.push(3);
            put(out, *position);
            put(out, (*attempts).into());
        }
        Change::Parked(parked::Change::Set(position, entry)) => {
            out.push(4);
            put(out, *position);
            put_entry(out, entry);
        }
        Change::Parked(parked::Change::Removed(position)) => {
            out.push(5);
            put(out, *position);
        }
        Change::Progress(Progress { next, opened, closed }) => {
            out.push(6);
            put(out, *next);
            put_runs(out, opened.iter().copied());
            let mut closed = closed.clone();
            closed.sort_unstable();
            closed.dedup();
            put_runs(out, closed);
        }
    }
}

/// Reads values, and how many positions they may still name.
struct Reader<'a> {
    rest: &'a [u8],
    positions_left: u64,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Self { rest: bytes, positions_left: POSITIONS_OF_ALL_MAX };
        match reader.byte()? {
            VERSION => Ok(reader),
            other => Err(DecodeError::Version(other)),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::End)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value("flag")),
        }
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if (bits << shift) >> shift != bits {
                return Err(DecodeError::Value("number"));
            }
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Value("number"))
    }

    fn small(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.number()?).map_err(|_| DecodeError::Value("number of attempts"))
    }

    fn eight(&mut self) -> Result<[u8; 8], DecodeError> {
        self.take(8)?.try_into().map_err(|_| DecodeError::End)
    }

    fn time(&mut self) -> Result<Timestamp, DecodeError> {
        Ok(Timestamp::from_micros(i64::from_le_bytes(self.eight()?)))
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let bytes = usize::try_from(self.number()?).map_err(|_| DecodeError::End)?;
        let text = std::str::from_utf8(self.take(bytes)?);
        text.map(str::to_owned).map_err(|_| DecodeError::Value("text"))
    }

    /// Positions, ascending.
    fn runs(&mut self) -> Result<Vec<u64>, DecodeError> {
        let mut positions = Vec::new();
        let mut behind = 0_u64;
        let mut left = POSITIONS_MAX;
        for _ in 0..self.number()? {
            let (gap, count) = (self.number()?, self.number()?);
            let wrong = DecodeError::Value("run of positions");
            let first = behind.checked_add(gap).ok_or(wrong)?;
            behind = first.checked_add(count).ok_or(wrong)?;
            left = left.checked_sub(count).ok_or(wrong)?;
            self.positions_left = self.positions_left.checked_sub(count).ok_or(wrong)?;
            positions.extend(first..behind);
        }
        Ok(positions)
    }

    fn entry(&mut self) -> Result<Entry, DecodeError> {
        let key = u64::from_le_bytes(self.eight()?);
        let standing = match self.byte()? {
            0 => Standing::Failed,
            1 => Standing::Released,
            2 => Standing::Behind,
            _ => return Err(DecodeError::Value("standing")),
        };
        let (attempts, tried_before) = (self.small()?, self.small()?);
        let (first_failed, last_failed) = (self.time()?, self.time()?);
        let not_before = if self.flag()? { Some(self.time()?) } else { None };
        let failure = if self.flag()? { Some(self.failure()?) } else { None };
        Ok(Entry {
            key,
            standing,
            attempts,
            tried_before,
            not_before,
            failure,
            first_failed,
            last_failed,
        })
    }

    fn failure(&mut self) -> Result<Failure, DecodeError> {
        let message = self.text()?;
        let mut chain = Vec::new();
        for _ in 0..self.number()? {
            chain.push(self.text()?);
        }
        Ok(Failure { message, chain })
    }

    fn change(&mut self) -> Result<Change, DecodeError> {
        Ok(match self.byte()? {
            1 => Change::Sought(self.number()?),
            2 => Change::Paused(self.flag()?),
            3 => Change::Attempted(self.number()?, self.small()?),
            4 => {
                let (position, entry) = (self.number()?, self.entry()?);
                Change::Parked(parked::Change::Set(position, entry))
            }
            5 => Change::Parked(parked::Change::Removed(self.number()?)),
            6 => {
                let (next, opened, closed) = (self.number()?, self.runs()?, self.runs()?);
                if opened.last().is_some_and(|last| *last >= next) {
                    return Err(DecodeError::Value("open position"));
                }
                Change::Progress(Progress { next, opened, closed })
            }
            _ => return Err(DecodeError::Value("change")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(standing: Standing, failure: Option<Failure>) -> Entry {
        Entry {
            key: u64::MAX,
            standing,
            attempts: 300,
            tried_before: 2,
            not_before: failure.is_none().then(|| Timestamp::from_micros(-7)),
            failure,
            first_failed: Timestamp::from_micros(i64::MIN),
            last_failed: Timestamp::from_micros(i64::MAX),
        }
    }

    fn changes() -> Vec<Change> {
        let chain = vec!["größer".to_owned(), String::new()];
        let failure = Failure { message: "it is poison".to_owned(), chain };
        vec![
            Change::Sought(u64::MAX),
            Change::Paused(true),
            Change::Attempted(128, 1),
            Change::Parked(parked::Change::Set(3, entry(Standing::Failed, Some(failure)))),
            Change::Parked(parked::Change::Set(4, entry(Standing::Behind, None))),
            Change::Parked(parked::Change::Set(5, entry(Standing::Released, None))),
            Change::Parked(parked::Change::Removed(0)),
            Change::Progress(Progress {
                next: 200_000,
                opened: (5..100_000).chain([150_000, 150_002]).collect(),
                closed: vec![1, 2, 3, 9],
            }),
        ]
    }

    #[test]
    fn records_and_states_are_read_as_they_were_written() {
        let record = Record { changes: changes() };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record));
        let mut state = State::default();
        for change in changes().iter().skip(1) {
            state.change(change);
        }
        let bytes_of_state = state.encode();
        assert_eq!(State::decode(&bytes_of_state), Ok(state));
        let stretch = Progress { next: 1 << 40, opened: vec![], closed: (7..2_000_000).collect() };
        let stretch = Record { changes: vec![Change::Progress(stretch)] };
        assert!(stretch.encode().len() < 16, "a stretch is a few bytes");
        // Cut anywhere it is no state, and a record only where one of its changes ends.
        let ends = (1..bytes.len()).filter(|end| Record::decode(&bytes[..*end]).is_ok());
        assert_eq!(ends.count(), changes().len());
        assert!(
            (0..bytes_of_state.len()).all(|end| State::decode(&bytes_of_state[..end]).is_err())
        );
    }

    #[test]
    fn what_is_no_record_is_refused_and_takes_no_memory() {
        for (bytes, why) in [
            (&[][..], DecodeError::End),
            (&[2], DecodeError::Version(2)),
            (&[1, 9], DecodeError::Value("change")),
            (&[1, 2, 2], DecodeError::Value("flag")),
            (&[1, 3, 1], DecodeError::End),
            (
                &[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
                DecodeError::Value("number"),
            ),
            // A run of 2^63 positions.
            (
                &[1, 6, 0, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1],
                DecodeError::Value("run of positions"),
            ),
            // A run of 4,000,000.
            (&[1, 6, 0, 1, 0, 0x80, 0x92, 0xf4, 1], DecodeError::Value("run of positions")),
            // Open, and not looked at.
            (&[1, 6, 1, 1, 1, 1, 0], DecodeError::Value("open position")),
        ] {
            assert_eq!(Record::decode(bytes), Err(why), "{bytes:?}");
        }
    }
}

//! How values are read.

use std::collections::BTreeMap;

use nexus_protocol::group::{Failure, PauseInfo};
use nexus_protocol::{Position, Timestamp};

use super::super::ledger::{Ledger, Progress};
use super::super::state::{Change, State, Tried};
use super::{DecodeError, NAMED_MAX, POSITIONS_MAX};
use crate::parked::{self, Entry, Parked};

/// Reads values, each against the one of its kind before, and how many positions they may still name.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    named_left: u64,
    position: u64,
    time: i64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, named_left: NAMED_MAX, position: 0, time: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
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

    fn difference(&mut self) -> Result<i64, DecodeError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn position(&mut self) -> Result<u64, DecodeError> {
        self.position = self.position.wrapping_add(self.difference()?.cast_unsigned());
        Ok(self.position)
    }

    fn time(&mut self) -> Result<Timestamp, DecodeError> {
        self.time = self.time.wrapping_add(self.difference()?);
        Ok(Timestamp::from_micros(self.time))
    }

    fn small(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.number()?).map_err(|_| DecodeError::Value("number of attempts"))
    }

    fn key(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(8)?.try_into().map_err(|_| DecodeError::End)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn text(&mut self) -> Result<String, DecodeError> {
        let bytes = usize::try_from(self.number()?).map_err(|_| DecodeError::End)?;
        let text = std::str::from_utf8(self.take(bytes)?);
        text.map(str::to_owned).map_err(|_| DecodeError::Value("text"))
    }

    fn maybe<T>(
        &mut self,
        get: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.flag()? { get(self).map(Some) } else { Ok(None) }
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
            self.named_left = self.named_left.checked_sub(count).ok_or(wrong)?;
            positions.extend(first..behind);
        }
        Ok(positions)
    }

    /// Positions that are open: all of them were looked at.
    fn open(&mut self, next: u64) -> Result<Vec<u64>, DecodeError> {
        let opened = self.runs()?;
        match opened.last().is_some_and(|last| *last >= next) {
            true => Err(DecodeError::Value("open position")),
            false => Ok(opened),
        }
    }

    fn entry(&mut self) -> Result<Entry, DecodeError> {
        Ok(Entry {
            key: self.key()?,
            released: self.flag()?,
            attempts: self.small()?,
            tried_before: self.small()?,
            first_failed: self.time()?,
            last_failed: self.time()?,
            not_before: self.maybe(Self::time)?,
            failure: self.failure()?,
            edited: self.maybe(Self::position)?,
            rounds: self.small()?,
        })
    }

    fn failure(&mut self) -> Result<Failure, DecodeError> {
        let (class, message) = (self.text()?, self.text()?);
        let mut chain = Vec::new();
        for _ in 0..self.number()? {
            chain.push(self.text()?);
        }
        Ok(Failure { class, message, chain })
    }

    fn tried(&mut self) -> Result<Tried, DecodeError> {
        Ok(Tried {
            attempts: self.small()?,
            first_failed: self.time()?,
            until: self.maybe(Self::time)?,
        })
    }

    fn pause(&mut self) -> Result<PauseInfo, DecodeError> {
        let (by, reason) = (self.text()?, self.text()?);
        let position = self.maybe(Self::position)?.map(Position::new);
        Ok(PauseInfo { by, reason, position, at: self.time()? })
    }

    pub(super) fn change(&mut self) -> Result<Change, DecodeError> {
        // One of two bytes takes many times that in memory.
        let left = self.named_left.checked_sub(1);
        self.named_left = left.ok_or(DecodeError::Value("number of changes"))?;
        Ok(match self.byte()? {
            1 => Change::Sought(self.position()?),
            2 => Change::Paused(self.maybe(Self::pause)?),
            3 => Change::Attempted(self.position()?, self.tried()?),
            4 => {
                let (position, entry) = (self.position()?, self.entry()?);
                Change::Parked(parked::Change::Set(position, Box::new(entry)))
            }
            5 => Change::Parked(parked::Change::Removed(self.position()?)),
            6 => {
                let next = self.position()?;
                let (opened, closed) = (self.open(next)?, self.runs()?);
                Change::Progress(Progress { next, opened, closed })
            }
            7 => Change::Opened(self.number()?),
            8 => Change::Behind { key: self.key()?, positions: self.runs()? },
            9 => Change::Refiltered(self.position()?),
            _ => return Err(DecodeError::Value("change")),
        })
    }

    pub(super) fn state(&mut self) -> Result<State, DecodeError> {
        let generation = self.number()?;
        let pause = self.maybe(Self::pause)?;
        let next = self.position()?;
        let refiltered = self.position()?;
        let opened = self.open(next)?;
        let mut ledger = Ledger::starting_at(0);
        ledger.apply(&Progress { next, opened, closed: Vec::new() });
        let mut tried = BTreeMap::new();
        for _ in 0..self.number()? {
            tried.insert(self.position()?, self.tried()?);
        }
        let mut parked = Parked::default();
        for _ in 0..self.number()? {
            let (position, entry) = (self.position()?, self.entry()?);
            parked.set(position, entry);
        }
        for _ in 0..self.number()? {
            let key = self.key()?;
            for position in self.runs()? {
                parked.put_behind(position, key);
            }
        }
        Ok(State { ledger, tried, parked, pause, generation, refiltered })
    }
}

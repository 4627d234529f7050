//! [`Parked`]: the one store of what could not be processed, which queues call dead letters.
//!
//! An entry is a reference to an event, never a copy of it, with what was tried. Entries of one key form a chain, in
//! the order of the log: what failed holds up what came behind it, and what is replayed goes first. Where order does
//! not matter each event is a key of its own, and no chain is longer than one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use nexus_protocol::Timestamp;

/// The longest text that is kept of an error, in bytes.
pub const ERROR_BYTES_MAX: usize = 4096;
/// The most causes that are kept of an error.
pub const CAUSES_MAX: usize = 16;

/// Why an event could not be processed, as its consumer said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub message: String,
    /// The causes of that, outermost first.
    pub chain: Vec<String>,
}

/// Whether an entry waits for somebody, for another, or for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It failed, and stays until it is released, skipped, or purged.
    Failed,
    /// It was released, and is delivered once nothing of its key is before it.
    Released,
    /// It is not held itself: it came behind one that is, and is delivered once nothing of its key is before it.
    Behind,
}

/// An event that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key whose order it keeps.
    pub key: u64,
    /// What it waits for.
    pub standing: Standing,
    /// How often it was tried, ever.
    pub attempts: u32,
    /// How often it had been tried when it was parked or released last: a release gives it as many tries as it
    /// had at first.
    pub tried_before: u32,
    /// It is not to be delivered before.
    pub not_before: Option<Timestamp>,
    /// Why it failed last; `None`: it did not.
    pub failure: Option<Failure>,
    /// When it was parked first, and last; of one that came behind, when it came.
    pub first_failed: Timestamp,
    /// See `first_failed`.
    pub last_failed: Timestamp,
}

/// What became of an entry, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stands there now, or does so differently.
    Set(u64, Entry),
    /// It is no longer there.
    Removed(u64),
}

/// Entries by their positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parked {
    entries: BTreeMap<u64, Entry>,
    chains: HashMap<u64, Chain>,
}

/// The positions of one key's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Chain {
    all: BTreeSet<u64>,
    /// Those that hold up what is behind them.
    failed: BTreeSet<u64>,
}

impl Failure {
    /// The same, within the bounds of what is kept.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.chain.truncate(CAUSES_MAX);
        for text in std::iter::once(&mut self.message).chain(&mut self.chain) {
            let end = text.floor_char_boundary(ERROR_BYTES_MAX);
            text.truncate(end);
        }
        self
    }
}

impl Parked {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry at a position.
    pub fn get(&self, position: u64) -> Option<&Entry> {
        self.entries.get(&position)
    }

    /// The entries, by position.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|(position, entry)| (*position, entry))
    }

    /// The entries at positions within a range.
    pub(crate) fn within(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.range(range).map(|(position, entry)| (*position, entry))
    }

    /// Whether a key has entries.
    pub fn holds_key(&self, key: u64) -> bool {
        self.chains.contains_key(&key)
    }

    /// The first entry of a key.
    pub fn first_of(&self, key: u64) -> Option<(u64, &Entry)> {
        let first = *self.chains.get(&key)?.all.first()?;
        Some((first, self.entries.get(&first)?))
    }

    /// Those that are to be released so that this one is delivered: all of its key that failed, up to it. None
    /// where it is not there, or nothing failed.
    pub fn held_up_to(&self, position: u64) -> Vec<u64> {
        let Some(entry) = self.entries.get(&position) else { return Vec::new() };
        let chain = self.chains.get(&entry.key);
        chain.into_iter().flat_map(|chain| chain.failed.range(..=position)).copied().collect()
    }

    /// Takes over what was written down.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Set(position, entry) => {
                self.remove(*position);
                let chain = self.chains.entry(entry.key).or_default();
                chain.all.insert(*position);
                if entry.standing == Standing::Failed {
                    chain.failed.insert(*position);
                }
                self.entries.insert(*position, entry.clone());
            }
            Change::Removed(position) => self.remove(*position),
        }
    }

    fn remove(&mut self, position: u64) {
        let Some(entry) = self.entries.remove(&position) else { return };
        let Some(chain) = self.chains.get_mut(&entry.key) else { return };
        chain.failed.remove(&position);
        chain.all.remove(&position);
        if chain.all.is_empty() {
            self.chains.remove(&entry.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u64, standing: Standing) -> Entry {
        let at = Timestamp::from_micros(1);
        Entry {
            key,
            standing,
            attempts: 0,
            tried_before: 0,
            not_before: None,
            failure: None,
            first_failed: at,
            last_failed: at,
        }
    }

    #[test]
    fn a_chain_is_released_from_its_beginning() {
        let mut parked = Parked::default();
        for (position, key, standing) in [
            (4, 1, Standing::Behind),
            (2, 1, Standing::Failed),
            (3, 2, Standing::Failed),
            (7, 1, Standing::Failed),
            (9, 1, Standing::Behind),
        ] {
            parked.apply(&Change::Set(position, entry(key, standing)));
        }
        assert_eq!(parked.first_of(1).unwrap().0, 2);
        assert_eq!(parked.held_up_to(9), [2, 7]);
        assert_eq!(parked.held_up_to(4), [2]);
        assert_eq!(parked.held_up_to(5), [] as [u64; 0]);
        parked.apply(&Change::Removed(2));
        parked.apply(&Change::Removed(2));
        assert_eq!(parked.first_of(1).unwrap().0, 4);
        parked.apply(&Change::Removed(3));
        assert!(!parked.holds_key(2) && parked.holds_key(1));
        // Bytes from outside may say that an entry is another key's now.
        parked.apply(&Change::Set(4, entry(2, Standing::Failed)));
        assert_eq!((parked.first_of(2).unwrap().0, parked.first_of(1).unwrap().0), (4, 7));
        assert_eq!(parked.held_up_to(4), [4]);
        assert_eq!(parked.len(), 3);
    }

    #[test]
    fn what_is_kept_of_an_error_is_bounded() {
        let text = "ß".repeat(ERROR_BYTES_MAX);
        let failure = Failure { message: format!("a{text}"), chain: vec![text; 100] }.bounded();
        assert_eq!(failure.message.len(), ERROR_BYTES_MAX - 1, "no character is cut");
        assert_eq!(failure.chain.len(), CAUSES_MAX);
        assert!(failure.chain.iter().all(|cause| cause.len() == ERROR_BYTES_MAX));
    }
}

//! [`Parked`]: the one store of what could not be processed, which queues call dead letters.
//!
//! An entry is a reference to an event, never a copy of it, with what was tried. What is parked under one key is a
//! chain, in the order of the log: what failed holds up what came behind it, and what is replayed goes first. Where
//! order does not matter each event is a key of its own, and no chain is longer than one.
//!
//! Of what merely came behind nothing is kept but position and key, some 50 bytes: there may be a million of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, RangeBounds};

use nexus_protocol::Timestamp;
use nexus_protocol::group::Failure;
pub use nexus_protocol::limits::PARKED_MAX;

/// Texts of failures that are kept whole, of one group, in bytes. Of a failure beyond, the class is kept, and the first
/// [`MESSAGE_BYTES_MAX`] of its message.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Texts of failures that are kept at all, of one group, in bytes. Of a failure beyond nothing is kept.
pub const ALL_TEXT_BYTES_MAX: usize = 17 << 20;
/// See [`TEXT_BYTES_MAX`].
pub const MESSAGE_BYTES_MAX: usize = 256;

/// Whether something waits for somebody, for another, or for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It failed, and stays until it is released or discarded.
    Failed,
    /// It failed, and is delivered once nothing of its key is before it: it was released, or came behind another, and
    /// has tries left.
    Released,
    /// It never failed: it came behind one that did, and is delivered once nothing of its key is before it.
    Behind,
}

/// An event that failed and is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key whose order it keeps.
    pub key: u64,
    /// Whether it was released, or has tries left. Otherwise it is held.
    pub released: bool,
    /// How often it was tried, ever.
    pub attempts: u32,
    /// How often it had been tried when it was parked or released last: a release gives it as many tries as it
    /// had at first.
    pub tried_before: u32,
    /// It is not to be delivered before.
    pub not_before: Option<Timestamp>,
    /// Why it failed last.
    pub failure: Failure,
    /// When it failed first.
    pub first_failed: Timestamp,
    /// When it failed last.
    pub last_failed: Timestamp,
    /// The position of an event that is delivered in its place.
    pub edited: Option<u64>,
    /// How many tries again a rule has given it since somebody released it last.
    pub rounds: u32,
}

/// What is set aside at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside<'a> {
    /// What failed.
    Failed(&'a Entry),
    /// What came behind such a one.
    Behind {
        /// The key whose order it keeps.
        key: u64,
    },
}

/// What became of an entry, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stands there now, or does so differently.
    Set(u64, Box<Entry>),
    /// Nothing is parked there any more.
    Removed(u64),
}

/// What is set aside, by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parked {
    entries: BTreeMap<u64, Entry>,
    /// The keys of what came behind.
    behind: BTreeMap<u64, u64>,
    chains: HashMap<u64, Chain>,
    /// Of all failures.
    text_bytes: usize,
}

/// The positions of what is parked under one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Chain {
    all: BTreeSet<u64>,
    /// Those of them that failed.
    failed: BTreeSet<u64>,
}

impl Aside<'_> {
    /// The key whose order it keeps.
    pub fn key(&self) -> u64 {
        match self {
            Self::Failed(entry) => entry.key,
            Self::Behind { key } => *key,
        }
    }

    /// What it waits for.
    pub fn standing(&self) -> Standing {
        match self {
            Self::Failed(entry) if entry.released => Standing::Released,
            Self::Failed(_) => Standing::Failed,
            Self::Behind { .. } => Standing::Behind,
        }
    }
}

impl<'a> Aside<'a> {
    /// What is known of its failures; `None`: it had none.
    pub fn entry(self) -> Option<&'a Entry> {
        match self {
            Self::Failed(entry) => Some(entry),
            Self::Behind { .. } => None,
        }
    }
}

impl Parked {
    /// How many events are set aside.
    pub fn len(&self) -> usize {
        self.failed() + self.waiting()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them failed, and are held or released.
    pub fn failed(&self) -> usize {
        self.entries.len()
    }

    /// How many of them never failed, and came behind such ones.
    pub fn waiting(&self) -> usize {
        self.behind.len()
    }

    /// What is set aside at a position.
    pub fn get(&self, position: u64) -> Option<Aside<'_>> {
        let behind = || self.behind.get(&position).map(|key| Aside::Behind { key: *key });
        self.entry(position).map(Aside::Failed).or_else(behind)
    }

    /// What failed at a position.
    pub fn entry(&self, position: u64) -> Option<&Entry> {
        self.entries.get(&position)
    }

    /// All of it, by position.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Aside<'_>)> {
        self.within(..)
    }

    /// All at positions after one, by position.
    pub fn after(&self, position: Option<u64>) -> impl Iterator<Item = (u64, Aside<'_>)> {
        let from = position.map_or(Bound::Unbounded, Bound::Excluded);
        self.within((from, Bound::Unbounded))
    }

    /// How many of its key come behind a position: 0 where nothing is parked there. Takes a time by their number,
    /// but where it is the first of its key.
    pub fn waiting_behind(&self, position: u64) -> u64 {
        let chain = self.get(position).and_then(|aside| self.chains.get(&aside.key()));
        chain.map_or(0, |chain| match chain.all.first() == Some(&position) {
            true => chain.all.len() as u64 - 1,
            false => chain.all.range(position..).count() as u64 - 1,
        })
    }

    /// All at positions within a range, by position.
    pub(crate) fn within<R>(&self, range: R) -> impl Iterator<Item = (u64, Aside<'_>)>
    where
        R: RangeBounds<u64> + Clone,
    {
        let mut failed = self.entries.range(range.clone()).peekable();
        let mut behind = self.behind.range(range).peekable();
        std::iter::from_fn(move || {
            let next = behind.peek().map(|(position, _)| **position);
            match failed.next_if(|(position, _)| next.is_none_or(|next| **position < next)) {
                Some((position, entry)) => Some((*position, Aside::Failed(entry))),
                None => {
                    behind.next().map(|(position, key)| (*position, Aside::Behind { key: *key }))
                }
            }
        })
    }

    /// What failed, by position.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|(position, entry)| (*position, entry))
    }

    /// What came behind, for each key, by position.
    pub(crate) fn behind(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (position, key) in &self.behind {
            keys.entry(*key).or_default().push(*position);
        }
        keys
    }

    /// The position of the last that failed.
    pub(crate) fn last_failed(&self) -> Option<u64> {
        self.entries.last_key_value().map(|(position, _)| *position)
    }

    pub(crate) fn is_behind(&self, position: u64) -> bool {
        self.behind.contains_key(&position)
    }

    /// The keys that something is parked under: how many of each, and the first of them.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u64, usize, u64)> {
        let of = |(key, chain): (&u64, &Chain)| Some((*key, chain.all.len(), *chain.all.first()?));
        self.chains.iter().filter_map(of)
    }

    /// Whether something is parked under a key.
    pub fn holds_key(&self, key: u64) -> bool {
        self.chains.contains_key(&key)
    }

    /// The first that is parked under a key.
    pub(crate) fn first_of(&self, key: u64) -> Option<(u64, Aside<'_>)> {
        let first = *self.chains.get(&key)?.all.first()?;
        Some((first, self.get(first)?))
    }

    /// Those that are to be released so that this one is delivered: all of its key, up to it, that are held, or wait
    /// for a time that has not come. None where it is not there.
    pub(crate) fn waiting_up_to(&self, position: u64, now: Timestamp) -> Vec<u64> {
        let Some(aside) = self.get(position) else { return Vec::new() };
        let chain = self.chains.get(&aside.key());
        let up_to = chain.into_iter().flat_map(|chain| chain.failed.range(..=position)).copied();
        let waits =
            |entry: &Entry| !entry.released || entry.not_before.is_some_and(|until| until > now);
        up_to.filter(|at| self.entry(*at).is_some_and(waits)).collect()
    }

    /// A failure, as much of it as is kept of one more.
    pub(crate) fn fit(&self, failure: Failure) -> Failure {
        let mut failure = failure.bounded();
        if self.text_bytes >= ALL_TEXT_BYTES_MAX {
            return Failure::default();
        }
        if self.text_bytes >= TEXT_BYTES_MAX {
            let end = failure.message.floor_char_boundary(MESSAGE_BYTES_MAX);
            failure.message.truncate(end);
            failure.message.shrink_to_fit();
            failure.chain = Vec::new();
        }
        failure
    }

    pub(crate) fn set(&mut self, position: u64, entry: Entry) {
        self.remove(position);
        let chain = self.chains.entry(entry.key).or_default();
        chain.all.insert(position);
        chain.failed.insert(position);
        self.text_bytes += text_bytes(&entry.failure);
        self.entries.insert(position, entry);
    }

    pub(crate) fn put_behind(&mut self, position: u64, key: u64) {
        self.remove(position);
        self.chains.entry(key).or_default().all.insert(position);
        self.behind.insert(position, key);
    }

    pub(crate) fn remove(&mut self, position: u64) {
        let key = match self.entries.remove(&position) {
            Some(entry) => {
                self.text_bytes -= text_bytes(&entry.failure);
                entry.key
            }
            None => match self.behind.remove(&position) {
                Some(key) => key,
                None => return,
            },
        };
        let Some(chain) = self.chains.get_mut(&key) else { return };
        chain.failed.remove(&position);
        chain.all.remove(&position);
        if chain.all.is_empty() {
            self.chains.remove(&key);
        }
    }

    /// Forgets what came behind, from a position on.
    pub(crate) fn forget_behind(&mut self, from: u64) {
        let gone: Vec<_> = self.behind.range(from..).map(|(position, _)| *position).collect();
        gone.into_iter().for_each(|position| self.remove(position));
    }
}

fn text_bytes(failure: &Failure) -> usize {
    let chain: usize = failure.chain.iter().map(String::len).sum();
    failure.class.len() + failure.message.len() + chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u64, message: &str) -> Entry {
        let at = Timestamp::from_micros(1);
        Entry {
            key,
            released: false,
            attempts: 0,
            tried_before: 0,
            not_before: None,
            failure: Failure::new(message),
            first_failed: at,
            last_failed: at,
            edited: None,
            rounds: 0,
        }
    }

    #[test]
    fn a_chain_is_released_from_its_beginning() {
        let mut parked = Parked::default();
        parked.put_behind(4, 1);
        for (position, key) in [(2, 1), (3, 2), (7, 1)] {
            parked.set(position, entry(key, ""));
        }
        parked.put_behind(9, 1);
        assert_eq!(parked.first_of(1).unwrap().0, 2);
        let now = Timestamp::from_micros(10);
        assert_eq!(parked.waiting_up_to(9, now), [2, 7]);
        assert_eq!(parked.waiting_up_to(4, now), [2]);
        assert_eq!(parked.waiting_up_to(5, now), [] as [u64; 0]);
        let until = |micros| Some(Timestamp::from_micros(micros));
        parked.set(7, Entry { released: true, not_before: until(10), ..entry(1, "") });
        assert_eq!(parked.waiting_up_to(9, now), [2], "its time has come");
        parked.set(7, Entry { released: true, not_before: until(11), ..entry(1, "") });
        assert_eq!(parked.waiting_up_to(9, now), [2, 7]);
        assert_eq!((parked.len(), parked.failed(), parked.waiting()), (5, 3, 2));
        let behind = [2, 3, 4, 5, 7, 9].map(|position| parked.waiting_behind(position));
        assert_eq!(behind, [3, 0, 2, 0, 1, 0]);
        let all: Vec<_> = parked.iter().map(|(at, aside)| (at, aside.key())).collect();
        assert_eq!(all, [(2, 1), (3, 2), (4, 1), (7, 1), (9, 1)]);
        parked.remove(2);
        parked.remove(2);
        assert_eq!(parked.first_of(1).unwrap(), (4, Aside::Behind { key: 1 }));
        parked.remove(3);
        assert!(!parked.holds_key(2) && parked.holds_key(1));
        // Bytes from outside may say that an entry is another key's now.
        parked.set(4, entry(2, ""));
        assert_eq!((parked.first_of(2).unwrap().0, parked.first_of(1).unwrap().0), (4, 7));
        assert_eq!(parked.waiting_up_to(4, now), [4]);
        parked.put_behind(7, 3);
        assert_eq!((parked.len(), parked.failed(), parked.waiting()), (3, 1, 2));
        parked.forget_behind(8);
        assert_eq!(parked.iter().map(|(at, _)| at).collect::<Vec<_>>(), [4, 7]);
    }

    #[test]
    fn texts_are_bounded_all_together() {
        let mut parked = Parked::default();
        let long = Failure {
            class: "timeout".to_owned(),
            message: format!("a{}", "ß".repeat(1_000)),
            chain: vec!["x".repeat(2_000)],
        };
        assert_eq!(parked.fit(long.clone()), long);
        let mut position = 0;
        while parked.text_bytes < TEXT_BYTES_MAX {
            parked
                .set(position, Entry { failure: parked.fit(long.clone()), ..entry(position, "") });
            position += 1;
        }
        let cut = parked.fit(long.clone());
        assert_eq!((cut.class.as_str(), cut.message.len(), cut.chain.len()), ("timeout", 255, 0));
        while parked.text_bytes < ALL_TEXT_BYTES_MAX {
            parked
                .set(position, Entry { failure: parked.fit(long.clone()), ..entry(position, "") });
            position += 1;
        }
        assert_eq!(parked.fit(long.clone()), Failure::default());
        // What is gone makes room.
        (0..position).for_each(|position| parked.remove(position));
        assert_eq!((parked.text_bytes, parked.fit(long.clone())), (0, long));
    }
}

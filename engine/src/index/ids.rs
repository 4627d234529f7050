//! Event ids → positions, by fingerprint: two ids may share one, so the caller verifies a hit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::RwLock;

use foldhash::fast::FixedState;

use super::keys::IdFingerprint;

const SHARDS: usize = 64;

const _: () = assert!(SHARDS == 1 << 6, "six bits of a fingerprint name its shard");

#[derive(Debug)]
struct Shard {
    /// The newest position of each fingerprint.
    newest: HashMap<IdFingerprint, u64, FixedState>,
    /// Earlier positions of the few fingerprints that have several, ascending.
    earlier: HashMap<IdFingerprint, Vec<u64>, FixedState>,
}

/// All ids of a log.
#[derive(Debug)]
pub(crate) struct Ids {
    shards: Vec<RwLock<Shard>>,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let hasher = || FixedState::with_seed(0);
        let shard = |_| {
            RwLock::new(Shard {
                newest: HashMap::with_hasher(hasher()),
                earlier: HashMap::with_hasher(hasher()),
            })
        };
        Self { shards: (0..SHARDS).map(shard).collect() }
    }

    fn shard(&self, id: IdFingerprint) -> &RwLock<Shard> {
        let top = usize::try_from(id >> 58).expect("six bits");
        &self.shards[top % SHARDS]
    }

    /// An event with this id was placed; positions only grow.
    pub(crate) fn insert(&self, id: IdFingerprint, position: u64) {
        let mut shard = self.shard(id).write().expect("no panic while an id is added");
        let before = match shard.newest.entry(id) {
            Entry::Vacant(vacant) => {
                vacant.insert(position);
                return;
            }
            Entry::Occupied(mut occupied) => occupied.insert(position),
        };
        assert!(before < position, "positions only grow");
        shard.earlier.entry(id).or_default().push(before);
    }

    /// Positions of events that may have this id, the newest first.
    pub(crate) fn positions(&self, id: IdFingerprint) -> Vec<u64> {
        let shard = self.shard(id).read().expect("no panic while an id is added");
        let Some(newest) = shard.newest.get(&id) else { return Vec::new() };
        let earlier = shard.earlier.get(&id).map(Vec::as_slice).unwrap_or_default();
        assert!(earlier.last().is_none_or(|last| last < newest), "the newest is the newest");
        std::iter::once(*newest).chain(earlier.iter().rev().copied()).collect()
    }

    /// The event with this id at this position is taken back; the newest go first.
    pub(crate) fn remove(&self, id: IdFingerprint, position: u64) {
        let mut shard = self.shard(id).write().expect("no panic while an id is removed");
        if shard.newest.get(&id) == Some(&position) {
            match shard.earlier.get_mut(&id).and_then(Vec::pop) {
                Some(before) => shard.newest.insert(id, before),
                None => shard.newest.remove(&id),
            };
        } else if let Some(earlier) = shard.earlier.get_mut(&id) {
            earlier.retain(|p| *p != position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_share_a_fingerprint_are_all_found_and_taken_back() {
        let ids = Ids::new();
        for position in [3, 5, 9] {
            ids.insert(7, position);
        }
        ids.insert(8, 10);
        assert_eq!(ids.positions(7), [9, 5, 3]);
        ids.remove(7, 9);
        assert_eq!(ids.positions(7), [5, 3]);
        ids.remove(7, 5);
        ids.remove(7, 3);
        assert!(ids.positions(7).is_empty());
        assert_eq!(ids.positions(8), [10]);
    }
}

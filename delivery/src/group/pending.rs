//! [`Pending`]: what of a state has changed and is not written down yet, but for the ledger.
//!
//! It is kept as positions, and what is written of each is how it is by then: what came and went between two records
//! is in neither, and a record is never larger than a state, however much was done.

use std::collections::BTreeMap;

use super::state::{Change, State};
use crate::parked;

/// What has changed.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The group was opened.
    opened: bool,
    /// It was sent there, one after the other.
    sought: Vec<u64>,
    /// It was paused, or resumed.
    pub(crate) paused: bool,
    /// It takes other events from now on.
    pub(crate) refiltered: bool,
    /// Positions of what was parked, or is no longer.
    parked: Vec<u64>,
    /// Positions of what was tried.
    tried: Vec<u64>,
}

impl Pending {
    /// That the group was opened.
    pub(crate) fn opening() -> Self {
        Self { opened: true, ..Self::default() }
    }

    pub(crate) fn sought(&mut self, to: u64) {
        // Whoever goes back gives up all that was given up by going back less far.
        while self.sought.pop_if(|before| *before >= to).is_some() {}
        self.sought.push(to);
    }

    pub(crate) fn parked(&mut self, position: u64) {
        self.parked.push(position);
    }

    pub(crate) fn tried(&mut self, position: u64) {
        self.tried.push(position);
    }

    /// The changes that lead to a state. Each says how something is, so that of their order only this is needed: what
    /// was sought comes first.
    pub(crate) fn take(&mut self, state: &State) -> Vec<Change> {
        let Self { opened, sought, paused, refiltered, mut parked, mut tried } =
            std::mem::take(self);
        let mut changes = Vec::new();
        changes.extend(opened.then_some(Change::Opened(state.generation)));
        changes.extend(sought.into_iter().map(Change::Sought));
        changes.extend(paused.then(|| Change::Paused(state.pause.clone())));
        changes.extend(refiltered.then_some(Change::Refiltered(state.refiltered)));
        for positions in [&mut parked, &mut tried] {
            positions.sort_unstable();
            positions.dedup();
        }
        let mut behind: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for position in parked {
            let change = match state.parked.get(position) {
                Some(parked::Aside::Failed(entry)) => {
                    parked::Change::Set(position, Box::new(entry.clone()))
                }
                Some(parked::Aside::Behind { key }) => {
                    behind.entry(key).or_default().push(position);
                    continue;
                }
                None => parked::Change::Removed(position),
            };
            changes.push(Change::Parked(change));
        }
        let behind = behind.into_iter();
        changes.extend(behind.map(|(key, positions)| Change::Behind { key, positions }));
        // What was tried and is done since is closed, which says enough.
        let tried = tried.into_iter().filter_map(|position| {
            state.tried.get(&position).map(|tried| Change::Attempted(position, *tried))
        });
        changes.extend(tried);
        changes
    }
}

//! From a filter to positions: which lists to walk, and which to ask.
//!
//! Each alternative of a filter is a conjunction of groups (its streams, its categories, its types,
//! each of its tags); the smallest group drives, the others are asked. The alternatives are merged.
//! What the index cannot say (a prefix of stream names) is left to the filter itself, which every
//! record is held against anyway.

use std::sync::Arc;

use nexus_protocol::{Direction, Filter, FilterItem};

use super::Index;
use super::keys::KeyKind;
use super::postings::PostingList;
use super::stream::StreamEntry;

/// A list of positions: a posting list, or the events of a stream.
#[derive(Clone, Debug)]
enum Source {
    Postings(Arc<PostingList>),
    Stream(Arc<StreamEntry>),
}

impl Source {
    fn list(&self) -> &PostingList {
        match self {
            Self::Postings(list) => list,
            Self::Stream(entry) => &entry.positions,
        }
    }
}

/// One conjunction.
#[derive(Clone, Debug)]
struct ItemPlan {
    /// The group that drives: the union of its lists.
    driver: Vec<Source>,
    /// Each of these groups must have the position too.
    asked: Vec<Vec<Source>>,
}

/// How to find the events of a filter.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// Look at every event.
    Scan,
    /// Walk these lists.
    Walk(Walk),
}

/// Walks positions in one direction.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    items: Vec<ItemPlan>,
    /// Posting entries that were looked at.
    pub(crate) looked_at: u64,
}

impl Plan {
    /// The plan for a filter; lists that appear later are not in it.
    pub(crate) fn new(index: &Index, filter: &Filter) -> Self {
        if filter.is_all() {
            return Self::Scan;
        }
        let mut items = Vec::new();
        for alternative in filter.alternatives() {
            match item_plan(index, alternative) {
                None => return Self::Scan,
                Some(item) => items.extend(item),
            }
        }
        Self::Walk(Walk { items, looked_at: 0 })
    }
}

/// `None`: the index cannot help. An empty option inside: nothing can match.
fn item_plan(index: &Index, item: &FilterItem) -> Option<Option<ItemPlan>> {
    let postings = |kind, names: &[String]| -> Vec<Source> {
        let found = names.iter().filter_map(|name| index.postings_named(kind, name));
        found.map(Source::Postings).collect()
    };
    let mut groups = Vec::new();
    if !item.streams.is_empty() {
        let found = item.streams.iter().filter_map(|name| index.stream_named(name));
        groups.push(found.map(Source::Stream).collect());
    }
    if !item.categories.is_empty() {
        groups.push(postings(KeyKind::Category, &item.categories));
    }
    if !item.types.is_empty() {
        groups.push(postings(KeyKind::Type, &item.types));
    }
    for tag in &item.tags {
        groups.push(postings(KeyKind::Tag, std::slice::from_ref(tag)));
    }
    let size = |group: &Vec<Source>| group.iter().map(|source| source.list().len()).sum::<usize>();
    let smallest = (0..groups.len()).min_by_key(|i| size(&groups[*i]))?;
    let driver = groups.swap_remove(smallest);
    if driver.is_empty() {
        return Some(None);
    }
    Some(Some(ItemPlan { driver, asked: groups }))
}

impl Walk {
    /// The next position at or after `from` (forwards: below `bound`), or at or before it.
    pub(crate) fn next(&mut self, from: u64, bound: u64, direction: Direction) -> Option<u64> {
        let mut best = None;
        for item in &self.items {
            let found = item.next(from, bound, direction, &mut self.looked_at);
            best = match (best, found, direction) {
                (None, found, _) => found,
                (best, None, _) => best,
                (Some(a), Some(b), Direction::Forwards) => Some(u64::min(a, b)),
                (Some(a), Some(b), Direction::Backwards) => Some(u64::max(a, b)),
            };
        }
        best
    }
}

impl ItemPlan {
    fn next(
        &self,
        mut from: u64,
        bound: u64,
        direction: Direction,
        looked_at: &mut u64,
    ) -> Option<u64> {
        loop {
            let candidate = next_of(&self.driver, from, bound, direction, looked_at)?;
            let leads_on = match direction {
                Direction::Forwards => from <= candidate && candidate < bound,
                Direction::Backwards => candidate <= from && candidate < bound,
            };
            assert!(leads_on, "a walk stays in its range, and never turns round");
            // Each asked group says where it could go on; the furthest leads.
            let mut furthest = candidate;
            for group in &self.asked {
                let answer = next_of(group, candidate, bound, direction, looked_at)?;
                furthest = match direction {
                    Direction::Forwards => furthest.max(answer),
                    Direction::Backwards => furthest.min(answer),
                };
            }
            if furthest == candidate {
                return Some(candidate);
            }
            from = furthest;
        }
    }
}

/// The nearest position of a union of lists.
fn next_of(
    group: &[Source],
    from: u64,
    bound: u64,
    direction: Direction,
    looked_at: &mut u64,
) -> Option<u64> {
    let mut best: Option<u64> = None;
    for source in group {
        let list = source.list();
        let found = match direction {
            Direction::Forwards => {
                let index = from.checked_sub(1).map_or(0, |p| list.partition_point_above(p));
                list.get(index).filter(|position| *position < bound)
            }
            Direction::Backwards => {
                let from = from.min(bound.checked_sub(1)?);
                list.last_at_or_below(from).map(|(_, position)| position)
            }
        };
        // The end of a list is no entry of it.
        *looked_at += u64::from(found.is_some());
        best = match (best, found) {
            (None, found) => found,
            (best, None) => best,
            (Some(a), Some(b)) if direction == Direction::Forwards => Some(a.min(b)),
            (Some(a), Some(b)) => Some(a.max(b)),
        };
    }
    best
}

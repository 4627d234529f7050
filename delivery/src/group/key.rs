//! [`Key`]: the events of one key that wait for their turn, of which only the first is ever delivered.

use std::collections::VecDeque;

use nexus_protocol::Timestamp;

use super::members::MemberId;

/// How the first event of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// It can be delivered, and its key stands in its lane.
    Ready,
    /// It waits for its time.
    Waiting { until: Timestamp },
    /// It is with a consumer.
    InFlight { member: MemberId, delivery: u64, deadline: Timestamp },
}

/// The events of one key. Small, since there may be a million of them.
#[derive(Debug)]
pub(crate) struct Key {
    first: u64,
    /// What comes behind, if anything ever did.
    #[expect(
        clippy::box_collection,
        reason = "most keys have none, and there may be a million of them"
    )]
    rest: Option<Box<VecDeque<u64>>>,
    pub(crate) head: Head,
    pub(crate) lane: u32,
    /// Whether the first is one that was parked; it has none behind it here.
    pub(crate) parked: bool,
}

impl Key {
    /// With one event.
    pub(crate) fn new(first: u64, lane: u32, parked: bool) -> Self {
        Self { first, rest: None, head: Head::Ready, lane, parked }
    }

    /// The event that is delivered next, or is.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// One more comes behind.
    pub(crate) fn push(&mut self, position: u64) {
        self.rest.get_or_insert_default().push_back(position);
    }

    /// The first is done with; `false`: there is none behind it.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(first) = self.rest.as_mut().and_then(|rest| rest.pop_front()) else {
            return false;
        };
        (self.first, self.head) = (first, Head::Ready);
        true
    }

    /// All of it, in order.
    pub(crate) fn into_positions(self) -> impl Iterator<Item = u64> {
        std::iter::once(self.first).chain(self.rest.into_iter().flat_map(|rest| *rest))
    }

    /// When something happens to it by itself.
    pub(crate) fn timer(&self) -> Option<Timestamp> {
        match self.head {
            Head::Ready => None,
            Head::Waiting { until } => Some(until),
            Head::InFlight { deadline, .. } => Some(deadline),
        }
    }
}

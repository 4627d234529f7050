//! How a group is, for whoever looks at it.

use std::collections::BTreeMap;

use nexus_protocol::{Position, Timestamp};

use super::key::Head;
use super::{Group, MemberId, State};

/// How it is, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// All below is done, or parked.
    pub floor: Position,
    /// All below was looked at.
    pub next: Position,
    /// Events that were looked at and are not done.
    pub open: usize,
    /// Keys with an event that could be delivered now.
    pub ready: usize,
    /// Deliveries that are not answered, or whose answer is not settled, of consumers that are there.
    pub in_flight: usize,
    /// Events that are parked, with those that merely came behind such ones.
    pub parked: usize,
    /// Whether it delivers nothing.
    pub paused: bool,
}

/// A lane that has something to do, or parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView<'a> {
    /// Its number.
    pub lane: u32,
    /// Whose it is; `None`: nobody's, as where events are unordered.
    pub owner: Option<&'a str>,
    /// Events of it that were offered and are neither done nor parked.
    pub open: u64,
    /// Deliveries that are not answered.
    pub in_flight: u64,
    /// The first event of it that is open; where none is, the first that is parked.
    pub first: Position,
    /// Events of it that are parked, with those that merely came behind such ones.
    pub parked: u64,
}

impl Group {
    /// How it is, in numbers.
    pub fn stats(&self) -> Stats {
        Stats {
            floor: self.state.floor(),
            next: Position::new(self.state.ledger.next()),
            open: self.state.ledger.open(),
            ready: self.ready,
            in_flight: self.in_flight,
            parked: self.state.parked.len(),
            paused: self.state.pause.is_some(),
        }
    }

    /// What is written down, once all records are.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// When the oldest delivery that is not answered was made; `None`: all are. Takes a time by the number of keys.
    pub fn oldest_in_flight(&self) -> Option<Timestamp> {
        let heads = self.keys.values().map(super::Key::head);
        heads
            .filter_map(|head| match head {
                Head::InFlight(lease) => Some(lease.since),
                Head::Held(lease) if lease.member != MemberId::NOBODY => Some(lease.since),
                _ => None,
            })
            .min()
    }

    /// The lanes that have something, by number. After a crash, what was not offered again yet is in none. Takes a time
    /// by the number of keys.
    pub fn lanes(&self) -> Vec<LaneView<'_>> {
        let mut lanes = BTreeMap::new();
        for (key, of_key) in &self.keys {
            if !of_key.parked {
                let view = self.lane_view(&mut lanes, *key);
                view.open += of_key.len() as u64;
                view.first = view.first.min(Position::new(of_key.first()));
            }
        }
        let mut first_parked = BTreeMap::new();
        for (key, count, first) in self.state.parked.keys() {
            let view = self.lane_view(&mut lanes, key);
            view.parked += count as u64;
            let before = first_parked.entry(view.lane).or_insert(first);
            *before = first.min(*before);
        }
        let mut lanes: Vec<_> = lanes.into_values().collect();
        for view in lanes.iter_mut().filter(|view| view.open == 0) {
            view.first = Position::new(first_parked.get(&view.lane).copied().unwrap_or_default());
        }
        lanes
    }

    /// The lane of a key among others, which comes to them if it is not there.
    fn lane_view<'a, 'b>(
        &'a self,
        lanes: &'b mut BTreeMap<u32, LaneView<'a>>,
        key: u64,
    ) -> &'b mut LaneView<'a> {
        let lane = self.lane_of(key);
        lanes.entry(lane).or_insert_with(|| {
            let (owner, in_flight) = self.members.of_lane(lane);
            let (first, in_flight) = (Position::new(u64::MAX), in_flight.into());
            LaneView { lane, owner, open: 0, in_flight, first, parked: 0 }
        })
    }
}

//! [`Members`]: who consumes, and which lanes are whose.
//!
//! Lanes are spread evenly and stay where they are as long as they can. One that is to move is drained first:
//! nothing of it is delivered any more until what was delivered is answered or its time is over.

use std::collections::{BTreeMap, VecDeque};

use nexus_protocol::Timestamp;
use nexus_protocol::limits::MEMBERS_MAX;

/// A consumer, as long as it is a member: the number is given again to another once it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(u32);

/// A consumer.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// When it has to have said something again.
    pub(crate) expires: Timestamp,
    /// Deliveries it has not answered.
    pub(crate) in_flight: u32,
    /// How many lanes are its own.
    lanes: u32,
    /// Lanes that may have something for it: looked at in turn.
    pub(crate) ready: VecDeque<u32>,
}

/// A lane.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Whose it is.
    owner: Option<MemberId>,
    /// Whose it will be, once it is drained.
    next_owner: Option<MemberId>,
    /// Deliveries that are not answered.
    pub(crate) in_flight: u32,
    /// Keys that have something to deliver.
    pub(crate) ready: VecDeque<u64>,
    /// Whether it stands in the `ready` of its owner.
    listed: bool,
}

/// Who consumes, and which lanes are whose.
#[derive(Debug)]
pub(crate) struct Members {
    members: BTreeMap<MemberId, Member>,
    by_name: BTreeMap<String, MemberId>,
    lanes: Vec<Lane>,
    /// Whether lanes have owners.
    owned: bool,
}

impl MemberId {
    /// No consumer has this one: there are far fewer.
    pub(crate) const NOBODY: Self = Self(u32::MAX);
}

impl Lane {
    /// Who may be given something of it.
    fn giver(&self) -> Option<MemberId> {
        if self.next_owner.is_some() { None } else { self.owner }
    }

    /// Whose it is, or will be.
    fn heir(&self) -> Option<MemberId> {
        self.next_owner.or(self.owner)
    }
}

impl Members {
    /// With so many lanes, which have owners or not.
    pub(crate) fn new(lanes: u32, owned: bool) -> Self {
        let lanes = (0..lanes).map(|_| Lane::default()).collect();
        Self { members: BTreeMap::new(), by_name: BTreeMap::new(), lanes, owned }
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<MemberId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn name_of(&self, id: MemberId) -> Option<&str> {
        self.members.get(&id).map(|member| &*member.name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    fn lane_mut(&mut self, lane: u32) -> &mut Lane {
        &mut self.lanes[lane as usize]
    }

    /// How many lanes are each one's, or will be.
    pub(crate) fn shares(&self) -> BTreeMap<MemberId, u32> {
        let mut shares: BTreeMap<_, u32> = self.members.keys().map(|id| (*id, 0)).collect();
        for lane in &self.lanes {
            if let Some(share) = lane.heir().and_then(|id| shares.get_mut(&id)) {
                *share += 1;
            }
        }
        shares
    }

    /// Hears from a consumer.
    pub(crate) fn heard(&mut self, name: &str, expires: Timestamp) -> Option<MemberId> {
        let id = self.by_name(name)?;
        self.members.get_mut(&id)?.expires = expires;
        Some(id)
    }

    /// Takes in a consumer, or hears from one again; `None`: there are too many.
    pub(crate) fn join(&mut self, name: &str, expires: Timestamp) -> Option<MemberId> {
        if let Some(id) = self.heard(name, expires) {
            return Some(id);
        }
        if self.members.len() >= MEMBERS_MAX {
            return None;
        }
        let free = (0..).map(MemberId).find(|id| !self.members.contains_key(id));
        let id = free.expect("there are fewer consumers than numbers");
        let name = name.to_owned();
        self.by_name.insert(name.clone(), id);
        let member = Member { name, expires, in_flight: 0, lanes: 0, ready: VecDeque::new() };
        self.members.insert(id, member);
        self.share_out();
        Some(id)
    }

    /// How many of all deliveries may be unanswered by one consumer: its share, so that one that is slow leaves some
    /// to the others.
    pub(crate) fn share_of(&self, in_flight_max: u32) -> u32 {
        let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX).max(1);
        in_flight_max.div_ceil(count)
    }

    /// Whose a lane is, and how many deliveries of it are not answered.
    pub(crate) fn of_lane(&self, lane: u32) -> (Option<&str>, u32) {
        let Some(lane) = self.lanes.get(lane as usize) else { return (None, 0) };
        let owner = lane.owner.and_then(|id| self.members.get(&id));
        (owner.map(|member| &*member.name), lane.in_flight)
    }

    /// How many deliveries a consumer has not answered.
    pub(crate) fn in_flight_of(&self, id: MemberId) -> u32 {
        self.members.get(&id).map_or(0, |member| member.in_flight)
    }

    /// Whether a lane of this consumer has fewer than so many deliveries.
    pub(crate) fn has_room(&self, id: MemberId, lane_max: u32) -> bool {
        if !self.owned {
            return true;
        }
        let Some(member) = self.members.get(&id) else { return false };
        // Mostly that is enough. Where it is not, one may have more than it should: the bound was another one.
        u64::from(member.in_flight) < u64::from(member.lanes) * u64::from(lane_max)
            || self.lanes.iter().any(|it| it.giver() == Some(id) && it.in_flight < lane_max)
    }

    /// A lane has another owner, or none.
    fn own(&mut self, index: usize, owner: Option<MemberId>) {
        let before = std::mem::replace(&mut self.lanes[index].owner, owner);
        if let Some(member) = before.and_then(|id| self.members.get_mut(&id)) {
            member.lanes -= 1;
        }
        if let Some(member) = owner.and_then(|id| self.members.get_mut(&id)) {
            member.lanes += 1;
        }
    }

    /// Lets a consumer go: nothing of it may be in flight any more.
    pub(crate) fn leave(&mut self, id: MemberId) {
        let Some(member) = self.members.remove(&id) else { return };
        self.by_name.remove(&member.name);
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            lane.next_owner.take_if(|next| *next == id);
            if lane.owner == Some(id) {
                lane.listed = false;
                let heir = lane.next_owner.take();
                self.own(index, heir);
            }
        }
        self.share_out();
        self.list_all();
    }

    /// Spreads the lanes: those of nobody first, then from who has more than a share to who has less.
    fn share_out(&mut self) {
        let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        if !self.owned || count == 0 {
            return;
        }
        let lanes = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let mut shares: Vec<_> = self.shares().into_iter().map(|(id, has)| (has, id)).collect();
        // Who has most keeps the lane that cannot be divided.
        shares.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut surplus: BTreeMap<_, i64> = BTreeMap::new();
        for (place, (has, id)) in (0..).zip(shares) {
            let share = lanes / count + u32::from(place < lanes % count);
            surplus.insert(id, i64::from(has) - i64::from(share));
        }
        let mut poor: Vec<_> =
            surplus.iter().filter(|(_, over)| **over < 0).map(|(id, over)| (*id, -over)).collect();
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            let gives = match lane.heir() {
                None => true,
                Some(heir) => match surplus.get_mut(&heir) {
                    Some(over) if *over > 0 => {
                        *over -= 1;
                        true
                    }
                    _ => false,
                },
            };
            if !gives {
                continue;
            }
            let Some((to, missing)) = poor.last_mut() else { break };
            lane.next_owner = Some(*to);
            *missing -= 1;
            if *missing == 0 {
                poor.pop();
            }
            self.settle(u32::try_from(index).unwrap_or(u32::MAX));
        }
    }

    /// Moves a lane whose time has come.
    fn settle(&mut self, index: u32) {
        let lane = self.lane_mut(index);
        let stays = lane.next_owner == lane.owner;
        if lane.in_flight > 0 && lane.owner.is_some() && !stays {
            return;
        }
        if let Some(owner) = lane.next_owner.take() {
            lane.listed = false;
            self.own(index as usize, Some(owner));
            self.list(index);
        }
    }

    /// Makes a lane known to whoever may be given something of it.
    fn list(&mut self, index: u32) {
        let owned = self.owned;
        let lane = self.lane_mut(index);
        if !owned || lane.listed || lane.ready.is_empty() {
            return;
        }
        if let Some(id) = lane.giver() {
            lane.listed = true;
            if let Some(member) = self.members.get_mut(&id) {
                member.ready.push_back(index);
            }
        }
    }

    /// Makes all lanes known to whoever may be given something of them.
    pub(crate) fn list_all(&mut self) {
        for index in 0..u32::try_from(self.lanes.len()).unwrap_or(u32::MAX) {
            self.list(index);
        }
    }

    /// A key has something to deliver.
    pub(crate) fn ready(&mut self, lane: u32, key: u64) {
        self.lane_mut(lane).ready.push_back(key);
        self.list(lane);
    }

    /// Takes the next key that has something for this consumer, of a lane with fewer than so many deliveries.
    /// Keys that no longer have anything are in it too.
    pub(crate) fn next_for(&mut self, id: MemberId, lane_max: u32) -> Option<u64> {
        if !self.owned {
            return self.lanes.first_mut()?.ready.pop_front();
        }
        loop {
            let member = self.members.get_mut(&id)?;
            let index = member.ready.pop_front()?;
            let lane = &mut self.lanes[index as usize];
            if lane.giver() != Some(id) {
                // It moves, or has moved: its new owner is told when it has it.
                if lane.owner == Some(id) {
                    lane.listed = false;
                }
                continue;
            }
            if lane.in_flight >= lane_max {
                // It is listed again once something of it is answered.
                lane.listed = false;
                continue;
            }
            let key = lane.ready.pop_front();
            if lane.ready.is_empty() {
                lane.listed = false;
            } else {
                member.ready.push_back(index);
            }
            match key {
                Some(key) => return Some(key),
                None => continue,
            }
        }
    }

    /// Something of a lane is given to a consumer.
    pub(crate) fn given(&mut self, lane: u32, id: MemberId) {
        self.lane_mut(lane).in_flight += 1;
        if let Some(member) = self.members.get_mut(&id) {
            member.in_flight += 1;
        }
    }

    /// It is no longer with the consumer.
    pub(crate) fn returned(&mut self, lane: u32, id: MemberId) {
        let of_lane = self.lane_mut(lane);
        of_lane.in_flight = of_lane.in_flight.saturating_sub(1);
        if let Some(member) = self.members.get_mut(&id) {
            member.in_flight = member.in_flight.saturating_sub(1);
        }
        self.settle(lane);
        self.list(lane);
    }

    /// Nothing is ready, and nothing in flight.
    pub(crate) fn clear(&mut self) {
        for index in 0..self.lanes.len() {
            let lane = &mut self.lanes[index];
            (lane.in_flight, lane.listed) = (0, false);
            lane.ready.clear();
            if let Some(owner) = lane.next_owner.take() {
                self.own(index, Some(owner));
            }
        }
        for member in self.members.values_mut() {
            member.in_flight = 0;
            member.ready.clear();
        }
    }
}

//! Who consumes.

use std::time::Duration;

use nexus_protocol::Timestamp;
use nexus_protocol::group::Failure;

use super::key::{Head, Lease};
use super::members::MemberId;
use super::{Group, HEARTBEAT_MAX, TooManyConsumers, later};

/// The class of a failure, and its message, of what was with a consumer that was lost.
const LOST: &str = "lost";
const GONE: &str = "its consumer was not heard of any more";

impl Group {
    /// Takes in a consumer, or hears from one again. It stays a member while it is heard of every [`HEARTBEAT_MAX`], or
    /// has something to answer.
    ///
    /// # Errors
    /// When there are [`MEMBERS_MAX`](super::MEMBERS_MAX) already.
    pub fn join(&mut self, consumer: &str, now: Timestamp) -> Result<(), TooManyConsumers> {
        let joined = self.members.join(consumer, later(now, HEARTBEAT_MAX));
        joined.map(|_| ()).ok_or(TooManyConsumers)
    }

    pub(super) fn heard(&mut self, consumer: &str, now: Timestamp) {
        self.members.heard(consumer, later(now, HEARTBEAT_MAX));
    }

    /// Lets a consumer go that says good-bye. What it has not answered is delivered again, and does not count as tried.
    pub fn leave(&mut self, consumer: &str, now: Timestamp) {
        if let Some(id) = self.members.by_name(consumer) {
            self.part_with(id, None, now);
        }
    }

    /// Lets a consumer go whose connection is lost. What it has not answered counts as tried: it may be what has
    /// ended the consumer. At most so many at a time, of which a record has room for some: gives how many those were, and
    /// where that is as many as may be, the consumer is still there, and is to be lost again.
    pub fn lose(&mut self, consumer: &str, max: usize, now: Timestamp) -> usize {
        self.members.by_name(consumer).map_or(0, |id| self.part_with(id, Some(max), now))
    }

    /// The consumers, with how many lanes each has, and how many deliveries it has not answered.
    pub fn consumers(&self) -> Vec<(&str, u32, u32)> {
        let shares = self.members.shares();
        let of = |id| shares.get(&id).copied().unwrap_or(0);
        self.members.iter().map(|(id, it)| (&*it.name, of(id), it.in_flight)).collect()
    }

    /// Lets a member go. Its unanswered deliveries count as tried, so many at a time, or do not. What it has answered in
    /// two steps counts as it comes out, and is delivered again if it does not.
    fn part_with(&mut self, id: MemberId, counted: Option<usize>, now: Timestamp) -> usize {
        let its = |key: &u64| {
            let head = self.keys.get(key).map(super::Key::head);
            matches!(head, Some(Head::InFlight(lease)) if lease.member == id)
        };
        let its = self.timers.iter().map(|(_, key)| *key).filter(its);
        let its: Vec<_> = its.take(counted.unwrap_or(usize::MAX)).collect();
        let count = if counted.is_some() { its.len() } else { 0 };
        for key in its {
            if counted.is_some() {
                let gone = Failure { class: LOST.to_owned(), ..Failure::new(GONE) };
                self.failed(key, gone, Some(Duration::ZERO), now);
            } else {
                self.take_back(key);
                self.make_ready(key);
            }
        }
        if counted == Some(count) {
            return count;
        }
        let held: Vec<_> = self.held.values().map(|(_, key)| *key).collect();
        for key in held {
            let lane = self.lane_of(key);
            if let Some(of_key) = self.keys.get_mut(&key)
                && let Head::Held(lease) = of_key.head()
                && lease.member == id
            {
                of_key.set_head(Head::Held(Lease { member: MemberId::NOBODY, ..lease }));
                self.returned(lane, id);
            }
        }
        self.members.leave(id);
        count
    }
}

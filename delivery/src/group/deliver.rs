//! Who gets what, and what happens by itself.

use std::time::Duration;

use nexus_protocol::group::{DeliveryToken, Failure};
use nexus_protocol::{Position, Timestamp};

use super::key::{Head, Lease};
use super::members::Member;
use super::{Delivery, Group, HEARTBEAT_MAX, TooManyConsumers, later};

/// The class of a failure, and its message, of what was not answered in time.
const TIMEOUT: &str = "timeout";
const LATE: &str = "no answer came in time";
/// Deliveries that are late at one look, and events whose time has come, at most.
pub(crate) const LATE_MAX: usize = 10_000;

impl Group {
    /// Gives a consumer what there is for it, at most so much. That it asks tells that it is there.
    ///
    /// # Errors
    /// When it is none, and there are [`MEMBERS_MAX`](super::MEMBERS_MAX) already.
    pub fn receive(
        &mut self,
        consumer: &str,
        max: usize,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, TooManyConsumers> {
        let joined = self.members.join(consumer, later(now, HEARTBEAT_MAX));
        let id = joined.ok_or(TooManyConsumers)?;
        let mut out = Vec::new();
        let deadline = later(now, self.config.ack_deadline);
        let share = self.members.share_of(self.config.max_in_flight);
        while self.state.pause.is_none()
            && out.len() < max
            && self.in_flight < self.config.max_in_flight as usize
            && self.members.in_flight_of(id) < share
        {
            let Some(key) = self.members.next_for(id, self.config.max_in_flight_per_lane) else {
                self.ask_for_more(id, max - out.len(), now);
                break;
            };
            let lane = self.lane_of(key);
            let Some(of_key) = self.keys.get_mut(&key).filter(|it| it.head() == Head::Ready) else {
                continue;
            };
            self.deliveries += 1;
            let delivery = self.deliveries;
            of_key.set_head(Head::InFlight(Lease { member: id, delivery, since: now, deadline }));
            let position = of_key.first();
            self.timers.insert((deadline, key));
            self.ready -= 1;
            self.in_flight += 1;
            self.members.given(lane, id);
            let generation = self.state.generation;
            let token =
                DeliveryToken { position: Position::new(position), key, generation, delivery };
            let attempt = self.attempts(position).saturating_add(1);
            let edited = self.state.parked.entry(position).and_then(|entry| entry.edited);
            let event = Position::new(edited.unwrap_or(position));
            out.push(Delivery { token, event, attempt, lane, deadline });
        }
        Ok(out)
    }

    /// When something happens by itself next: [`Self::tick`] is to be called then.
    pub fn next_tick(&self) -> Option<Timestamp> {
        let idle = self.members.iter().filter(|(_, member)| member.in_flight == 0);
        let expires = idle.map(|(_, member)| member.expires);
        let timer = self.timers.first().map(|(at, _)| *at);
        expires.chain(timer).chain(self.ahead.next_tick()).min()
    }

    /// Learns the time: deliveries that are late are made again, and who was not heard of is let go. Gives how many
    /// were late. Where it is so many that more may be, [`Self::next_tick`] names a time that is over: a record has room
    /// for some of them.
    pub fn tick(&mut self, now: Timestamp) -> usize {
        self.ahead.tick(now);
        let mut count = 0;
        for _ in 0..LATE_MAX {
            let Some((_, key)) = self.timers.first().copied().filter(|(at, _)| *at <= now) else {
                break;
            };
            match self.keys.get(&key).map(super::Key::head) {
                Some(Head::InFlight(_)) => {
                    count += 1;
                    let late = Failure { class: TIMEOUT.to_owned(), ..Failure::new(LATE) };
                    self.failed(key, late, Some(Duration::ZERO), now);
                }
                _ => {
                    self.timers.pop_first();
                    self.make_ready(key);
                }
            }
        }
        // Whoever has something to answer is there as long as it may: its deliveries have ends of their own.
        let is_gone = |member: &Member| member.expires <= now && member.in_flight == 0;
        let gone = self.members.iter().filter(|(_, member)| is_gone(member));
        let gone: Vec<_> = gone.map(|(id, _)| id).collect();
        gone.into_iter().for_each(|id| self.members.leave(id));
        count
    }
}

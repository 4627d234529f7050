//! What comes in from the log.

use nexus_protocol::group::GroupMode;
use nexus_protocol::{Position, Timestamp};

use super::ahead::Ahead;
use super::key::Head;
use super::{Group, Key, OPEN_MAX, Offered, READ_AHEAD};
use crate::parked::PARKED_MAX;

impl Group {
    /// Where the log is to be read from: the next event to offer stands here or behind.
    pub fn reads_from(&self) -> Position {
        Position::new(self.fed)
    }

    /// Takes other events from now on than before. What was looked at so far is not looked at again, and what was
    /// taken of it stays to be done. After a crash that is what is on record: what had been taken and tried, and was still
    /// to be written down, is looked at anew.
    pub fn refilter(&mut self) {
        self.state.refiltered = self.state.ledger.next();
        self.ahead = Ahead::nothing();
        self.pending.refiltered = true;
        self.unwritten.all();
    }

    /// Where the log is read now, and up to where, with a filter that is not that of today: whatever stands there is
    /// to be read, and what [is open](super::State::is_open) is to be offered. `None`: today's filter holds.
    pub fn refiltered(&self) -> Option<Position> {
        (self.fed < self.state.refiltered).then(|| Position::new(self.state.refiltered))
    }

    /// Whether more events are wanted now. None are while the group is paused, nor where [`OPEN_MAX`] of them are not
    /// done or came behind what is parked, nor where [`PARKED_MAX`] are parked.
    pub fn wants_more(&self) -> bool {
        let (ledger, parked) = (&self.state.ledger, &self.state.parked);
        let open = ledger.open();
        // What is read again after a crash is in memory already, and is not bounded a second time: nothing of it
        // would ever be done.
        let is_read_again = self.fed < ledger.next();
        // What was parked before the group was sent back is delivered once all before it was read.
        let is_parked_ahead = parked.last_failed().is_some_and(|last| last >= self.fed);
        let is_full = open + parked.waiting() >= OPEN_MAX
            || parked.failed() >= PARKED_MAX && !is_parked_ahead;
        let is_little = self.ready < READ_AHEAD && open < READ_AHEAD + self.in_flight;
        let is_wanted = is_little || self.ahead.is_asked_for();
        self.state.pause.is_none() && (is_read_again || (is_wanted && !is_full))
    }

    /// Takes in the next event of the log that matches. One that is done already is passed over. All before it that was
    /// not offered is passed, as by [`Self::pass`].
    pub fn offer(&mut self, offered: Offered, now: Timestamp) {
        let position = offered.position.get();
        if position < self.fed {
            return;
        }
        self.pass(offered.position);
        self.ahead.offered();
        let key = match self.config.mode {
            GroupMode::Ordered | GroupMode::Broadcast => offered.key,
            GroupMode::Unordered => position,
        };
        if position < self.state.ledger.next() {
            if !self.state.ledger.is_open(position) {
                return self.looked_at(position + 1);
            }
        } else if self.state.parked.get(position).is_some() {
            // It was parked before the group was sent back.
            return self.looked_at(position + 1);
        } else {
            self.state.ledger.add(position);
        }
        self.looked_at(position + 1);
        // It failed before a crash, and was to wait.
        let retried = self.state.tried.get(&position).and_then(|tried| tried.until);
        if let Some(until) = offered.not_before.max(retried).filter(|until| *until > now) {
            self.not_before.insert(position, until);
        }
        if self.state.parked.holds_key(key) {
            self.park_behind(position, key, now);
            // It may stand before all others, where the group was sent back.
            return self.load_chain(key);
        }
        if let Some(before) = self.keys.get_mut(&key) {
            return before.push(position);
        }
        self.keys.insert(key, Key::new(position, false));
        self.arm(key, now);
        if self.keys.get(&key).is_some_and(|it| it.head() == Head::Ready) {
            self.ahead.found();
        }
    }

    /// Learns that no event below this position is still to be offered. What was to be done there and was not
    /// offered is gone from the log.
    pub fn pass(&mut self, next: Position) {
        let next = next.get();
        if next <= self.fed {
            return;
        }
        let gone: Vec<_> = self.state.ledger.open_within(self.fed..next).collect();
        gone.into_iter().for_each(|position| self.close(position));
        // Tried before a crash that forgot that they were looked at.
        let tried = self.state.tried.range(self.fed..next).map(|(position, _)| *position);
        for position in tried.collect::<Vec<_>>() {
            self.state.forget_tries(position);
        }
        self.looked_at(next);
    }

    /// All below is looked at: what is parked there has all before it in its chain.
    fn looked_at(&mut self, next: u64) {
        let from = std::mem::replace(&mut self.fed, next);
        self.state.ledger.pass(next);
        self.load_chains_within(from..next);
    }
}

//! How far the log is read ahead, beyond what is read in any case.
//!
//! Consumers that have nothing, while what was read belongs to keys that others hold or that are stuck, have more read
//! for them until something is found. Where a consumer has much to do already, what may come of it is little: a group of few
//! keys would read all of the log into memory. So reading for it pauses, longer each time that it finds nothing.

use std::time::Duration;

use nexus_protocol::Timestamp;
use nexus_protocol::group::GroupMode;

use super::members::MemberId;
use super::{Group, later};

/// So many events more are read each time.
const READ_MORE: u32 = 4_096;
/// Between two times for a consumer that has much to do; twice as long where the last one found nothing,
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// and no longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What is still to be read.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Events that are still to be offered.
    asked_for: u32,
    /// Whether one of them could be delivered at once.
    found: bool,
    pause: Duration,
    /// Nothing is read before for who has much to do.
    next: Timestamp,
    /// Somebody waits for that time.
    waits: bool,
}

impl Ahead {
    pub(super) fn nothing() -> Self {
        let next = Timestamp::MIN;
        Self { asked_for: 0, found: true, pause: PAUSE_MIN, next, waits: false }
    }

    /// Whether more is to be read.
    pub(super) fn is_asked_for(&self) -> bool {
        self.asked_for > 0
    }

    /// An event is offered.
    pub(super) fn offered(&mut self) {
        self.asked_for = self.asked_for.saturating_sub(1);
    }

    /// It can be delivered: more of them may come.
    pub(super) fn found(&mut self) {
        (self.found, self.next) = (true, Timestamp::MIN);
    }

    /// When more may be read.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        self.waits.then_some(self.next)
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        self.waits &= self.next > now;
    }

    fn ask(&mut self, is_busy: bool, now: Timestamp) {
        if !is_busy {
            self.asked_for = READ_MORE;
        } else if self.is_asked_for() {
            // What came of it is not known yet.
        } else if now < self.next {
            self.waits = true;
        } else {
            self.asked_for = READ_MORE;
            let longer = self.pause.saturating_mul(2).min(PAUSE_MAX);
            self.pause = if self.found { PAUSE_MIN } else { longer };
            self.found = false;
            self.next = later(now, self.pause);
        }
    }
}

impl Group {
    /// A consumer asks for so many more deliveries than there are for it.
    pub(super) fn ask_for_more(&mut self, id: MemberId, wanted: usize, now: Timestamp) {
        // Where its lanes have as many deliveries as they may have, nothing that is read is for it.
        if self.members.has_room(id, self.config.max_in_flight_per_lane) {
            // Where there are no keys, what is read can be delivered.
            let is_busy = self.config.mode != GroupMode::Unordered
                && self.members.in_flight_of(id) as usize > wanted;
            self.ahead.ask(is_busy, now);
        }
    }
}

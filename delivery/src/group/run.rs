//! What whoever runs a group needs besides.

use nexus_protocol::Timestamp;
use nexus_protocol::group::DeliveryToken;

use super::codec::is_last_part;
use super::key::Head;
use super::ledger::Unwritten;
use super::{Group, Record, State};

impl Group {
    /// How many consumers there are.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// With whom a delivery is, if it stands: for answers that do not say whose they are.
    pub fn holder(&self, token: DeliveryToken) -> Option<&str> {
        let of_key = self.keys.get(&token.key).filter(|it| it.first() == token.position.get())?;
        let Head::InFlight(lease) = of_key.head() else { return None };
        let stands = lease.delivery == token.delivery && token.generation == self.state.generation;
        if stands { self.members.name_of(lease.member) } else { None }
    }

    /// A delivery did not reach its consumer: it is made again at once, and does not count as tried. Nothing happens
    /// where it does not stand any more.
    pub fn undelivered(&mut self, consumer: &str, token: DeliveryToken, now: Timestamp) {
        if self.check(consumer, token).is_ok() {
            self.heard(consumer, now);
            self.take_back(token.key);
            self.make_ready(token.key);
        }
    }

    /// The state, to be written down in place of all records before it: to be called when the last of these is taken.
    pub fn whole(&mut self) -> &State {
        self.unwritten = Unwritten::nothing_of(&self.state.ledger);
        &self.state
    }
}

impl Record {
    /// Whether a part of a record is its last.
    pub fn is_last(part: &[u8]) -> bool {
        is_last_part(part)
    }
}

impl State {
    /// The same of a group that was opened so often before, or may have been.
    #[must_use]
    pub fn opened_before(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    /// Whether a part of a state is its last.
    pub fn is_last(part: &[u8]) -> bool {
        is_last_part(part)
    }
}

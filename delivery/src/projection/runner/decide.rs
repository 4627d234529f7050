//! What is parked, and what somebody decides about it.

use bytes::Bytes;
use nexus_protocol::group::{ParkedEntry, ParkedList, ParkedPick};
use nexus_protocol::{EventStore, Looked, RecordedEvent, Timestamp};

use super::super::lanes::LaneKey;
use super::{Amendment, Projection, Runner, Sink, SinkError, with_data};

impl<S: EventStore, P: Projection, K: Sink> Runner<S, P, K> {
    /// What is parked, by position, and whether there is more.
    pub fn parked(&self, list: &ParkedList) -> (Vec<ParkedEntry>, bool) {
        self.at.lanes.list(list)
    }

    /// The positions of what failed, of those that are picked, ascending.
    pub fn picked(&self, pick: &ParkedPick) -> Vec<u64> {
        self.at.lanes.picked(pick, true)
    }

    /// Has those folded again that are picked, but for what has no key. Gives how many that are; it is durable.
    ///
    /// # Errors
    /// As the sink's: it has ended with that.
    pub fn replay(&mut self, pick: &ParkedPick, now: Timestamp) -> Result<u64, SinkError> {
        let positions = self.at.lanes.picked(pick, false);
        let count = self.at.lanes.release(&positions);
        self.commit(true, now)?;
        Ok(count)
    }

    /// Whether an event can be folded with other data: it failed, and has the key that it had.
    pub fn takes_edit(&self, event: &RecordedEvent, data: &Bytes) -> bool {
        let position = event.position().get();
        let Some(edited) = with_data(event, data) else { return false };
        let key = self.key(&Looked::new(&edited)).ok().flatten();
        key.is_some_and(|key| self.at.lanes.holds(position, Some(&key)))
    }

    /// What was decided about events, which is in the log: those that failed are folded again, or skipped. How many of them
    /// there are; it is durable.
    ///
    /// # Errors
    /// As the sink's: it has ended with that. `Damaged` also where one of them is folded already in another way.
    pub fn amend(
        &mut self,
        amendments: impl IntoIterator<Item = (u64, Amendment)>,
        now: Timestamp,
    ) -> Result<u64, SinkError> {
        let mut positions = Vec::new();
        for (position, amendment) in amendments {
            let is_known = self.amendments.get(&position) == Some(&amendment);
            let is_folded = position < self.at.next.get() && !self.at.lanes.holds(position, None);
            if is_folded && !is_known {
                let why =
                    format!("what was decided about position {position} came behind its fold");
                return Err(SinkError::Damaged(why));
            }
            if amendment == Amendment::Skip {
                self.at.lanes.remove(&LaneKey::Event(position));
            }
            self.amendments.insert(position, amendment);
            positions.push(position);
        }
        positions.sort_unstable();
        self.at.lanes.release(&positions);
        self.commit(true, now)?;
        Ok(positions.len() as u64)
    }
}

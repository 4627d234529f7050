//! [`Cache`]: events that were read and are not delivered yet.

use std::collections::BTreeMap;

use bytes::Bytes;
use nexus_protocol::{Position, RecordedEvent};

/// Events that were read and are not delivered yet, up to a bound; what is beyond is read again by whoever gets it.
///
/// What was read first is mostly delivered first, so that what is there stays, and what comes while it is full does not.
/// But what is still there after many were delivered that came later belongs to a key that is stuck: that makes room, or a
/// lane that is stuck would leave the others none.
#[derive(Debug)]
pub(super) struct Cache {
    /// By position, with how many had been asked for before.
    events: BTreeMap<u64, (u64, RecordedEvent)>,
    bytes: usize,
    bytes_max: usize,
    /// Events that were ever asked for, also those that were not there.
    asked: u64,
    /// What is there after so many more were asked for makes room.
    patience: u64,
}

impl Cache {
    /// Of so many bytes of events at most, that make room after so many others were asked for: more than are read ahead.
    pub(super) fn new(bytes_max: usize, patience: u64) -> Self {
        Self { events: BTreeMap::new(), bytes: 0, bytes_max, asked: 0, patience }
    }

    /// Takes out the event at a position.
    pub(super) fn take(&mut self, position: Position) -> Option<RecordedEvent> {
        self.asked += 1;
        let (_, event) = self.events.remove(&position.get())?;
        self.bytes -= event.as_bytes().len();
        Some(event)
    }

    /// Keeps an event, where there is room. A copy: what was read may be a small part of a large buffer, which it would
    /// hold.
    pub(super) fn keep(&mut self, event: &RecordedEvent) {
        let bytes = event.as_bytes();
        if bytes.len() > self.bytes_max {
            return;
        }
        while self.bytes + bytes.len() > self.bytes_max {
            let Some(oldest) = self.events.first_entry() else { return };
            if self.asked - oldest.get().0 <= self.patience {
                return;
            }
            self.bytes -= oldest.remove().1.as_bytes().len();
        }
        if let Ok(copy) = RecordedEvent::decode_covered(Bytes::copy_from_slice(bytes)) {
            self.bytes += bytes.len();
            // What was read before may be read again.
            if let Some((_, twice)) = self.events.insert(event.position().get(), (self.asked, copy))
            {
                self.bytes -= twice.as_bytes().len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_protocol::record::{PreparedRecord, Recipe, place};
    use nexus_protocol::{EventData, EventId, Revision, Timestamp};

    use super::*;

    fn event(position: u64) -> RecordedEvent {
        let data = EventData::json("A", &1).unwrap();
        let id = EventId::from_bytes([1; 16]);
        let recipe = Recipe { stream: "a", id, event: &data, tags: &[] };
        let mut bytes = Vec::new();
        let prepared = PreparedRecord::encode(&recipe, &mut bytes);
        let at = Position::new(position);
        place(&mut bytes, &prepared, at, Revision::ZERO, Timestamp::from_micros(1));
        RecordedEvent::decode(bytes.into()).unwrap()
    }

    fn of_events(count: usize) -> Cache {
        Cache::new(count * event(0).as_bytes().len(), 10)
    }

    fn has(cache: &mut Cache, position: u64) -> bool {
        cache.take(Position::new(position)).is_some()
    }

    #[test]
    fn what_was_read_first_stays_where_it_is_delivered_in_turn() {
        let mut cache = of_events(4);
        (0..6).for_each(|position| cache.keep(&event(position)));
        assert_eq!(cache.events.len(), 4, "it is full");
        let found = (0..1_000).filter(|position| {
            let found = has(&mut cache, *position);
            cache.keep(&event(position + 6));
            found
        });
        // As much of six as it holds.
        let found = found.count();
        assert!((660..=670).contains(&found), "{found}");
        assert!(cache.bytes <= cache.bytes_max);
    }

    #[test]
    fn what_is_stuck_leaves_room_for_what_goes_on() {
        let mut cache = of_events(16);
        // Every second one is of a key that is stuck.
        let missed = (0..1_000).filter(|position| {
            cache.keep(&event(*position));
            assert!(cache.bytes <= cache.bytes_max);
            position % 2 == 0 && !has(&mut cache, *position)
        });
        let missed = missed.count();
        assert!(missed <= 10, "{missed} until it is known to be stuck");
        assert!(!has(&mut cache, 1), "it is read again when its key goes on");
        assert!(has(&mut cache, 999));
    }

    #[test]
    fn an_event_that_is_larger_than_all_of_it_is_not_kept() {
        let mut cache = of_events(1);
        let none = Cache::new(event(0).as_bytes().len() - 1, 10);
        for cache in [&mut cache, &mut { none }] {
            cache.keep(&event(0));
            cache.keep(&event(1));
            assert!(cache.bytes <= cache.bytes_max && !has(cache, 1));
        }
        cache.keep(&event(0));
        assert!(has(&mut cache, 0) && cache.bytes == 0, "twice is once");
    }
}

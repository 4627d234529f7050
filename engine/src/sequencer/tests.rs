//! Decisions over a log that a test lays out by itself, and counts the looks at.

use std::cell::Cell;

use nexus_protocol::limits::{ID_WINDOW_EVENTS, ID_WINDOW_US};
use nexus_protocol::{Append, EventData, QueryItem, Timestamp};
use uuid::Uuid;

use super::*;

/// A log of the events of one append, and so many positions of which nothing is known.
struct Stored {
    index: Index,
    events: Vec<RecordedEvent>,
    bound: u64,
    asked: Cell<usize>,
}

impl View for Stored {
    fn index(&self) -> &Index {
        &self.index
    }

    fn positions_of_id(&self, id: IdFingerprint) -> Vec<u64> {
        self.index.ids.positions(id)
    }

    fn next_position(&self) -> u64 {
        self.bound
    }

    fn event(&self, position: u64, _: Want) -> Result<RecordedEvent, AppendError> {
        self.asked.set(self.asked.get() + 1);
        Ok(self.events[usize::try_from(position).unwrap()].clone())
    }

    fn floor(&self) -> u64 {
        0
    }
}

fn stored(append: &PreparedAppend, at: Timestamp) -> Stored {
    let index = Index::new();
    let mut events = Vec::new();
    for (record, number) in append.records.iter().zip(0_u64..) {
        let mut bytes = append.buffer[record.start..record.start + record.length].to_vec();
        let (position, revision) = (Position::new(number), Revision::new(number));
        nexus_protocol::record::place(&mut bytes, record, position, revision, at);
        let event = RecordedEvent::decode(bytes.into()).unwrap();
        index.apply_event(&event).unwrap();
        events.push(event);
    }
    let bound = events.len() as u64;
    Stored { index, events, bound, asked: Cell::new(0) }
}

/// Of thousands of events each is looked up, and none is compared with all others: a test that takes
/// many seconds has found that it is.
#[test]
fn a_large_append_that_is_old_is_known_by_its_condition() {
    const EVENTS: u64 = 30_000;
    let event = |_: u64| EventData::new("Tested", "text/plain", "x".into()).tag("k:v");
    let append = Append::to("s-1").events((0..EVENTS).map(event)).absent(QueryItem::tags(["k:v"]));
    let id = |n: u64| EventId::from_uuid(Uuid::from_u64_pair(0x0197_0000_0000_7000, (2 << 62) | n));
    let context = Context {
        data_bytes_max: 1 << 20,
        make_id: &id,
        is_only_repeat: false,
        policy_revision: None,
    };
    let append = PreparedAppend::new(&append, &context).unwrap();
    let mut view = stored(&append, Timestamp::from_micros(0));
    view.bound += ID_WINDOW_EVENTS + 1;
    match decide(&append, ID_WINDOW_US + 1, &view) {
        Decision::Answer(Ok(answer)) => {
            assert!(answer.replayed);
            let positions = answer.positions.unwrap();
            assert_eq!(positions, (Position::ZERO, Position::new(EVENTS - 1)));
        }
        other => panic!("{other:?}"),
    }
    // In the window, by the condition, and in the whole log.
    assert_eq!(view.asked.get() as u64, 3 * EVENTS);
}

#[test]
fn a_batch_says_which_bundle_admitted_it_where_one_did() {
    let extensions = |policy_revision| {
        let append = Append::to("s-1").event(EventData::new("Tested", "text/plain", "x".into()));
        let id =
            |n: u64| EventId::from_uuid(Uuid::from_u64_pair(0x0197_0000_0000_7000, (2 << 62) | n));
        let context = Context {
            data_bytes_max: 1 << 20,
            make_id: &id,
            is_only_repeat: false,
            policy_revision,
        };
        PreparedAppend::new(&append, &context).unwrap().extensions
    };
    assert_eq!(extensions(None), [0_u8; 0]);
    // Its kind, its length, and the revision.
    let wanted = [3, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(extensions(Some(nexus_protocol::Revision::new(7))), wanted);
}

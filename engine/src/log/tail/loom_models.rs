//! Models of the writer, who pushes frames, publishes, and cuts, and of readers who load the
//! watermark and then look only below it. Every model is explored whole.
//!
//! The writer is the first thread, and does what `log::writer` and `commit` do, in that order. The
//! models were seen to fail with bugs planted by hand: a frame that is published before it is
//! pushed, a cut that leaves frames, frames let go before they are durable.

use bytes::Bytes;
use loom::model;
use nexus_protocol::record::{PreparedRecord, Recipe};
use nexus_protocol::{EventData, EventId, Revision, Timestamp};

use super::Tail;
use crate::frame::{BatchParts, FrameBuilder, FrameHeader, HEADER_BYTES, LocalHeader, LogOffset};
use crate::sync::{Arc, thread};
use crate::watermark::Watermark;

/// A frame with one event that holds `what`, at `position`; two of these are within the bound of a
/// tail, three are not.
fn frame(position: u64, what: u8) -> Bytes {
    let event = EventData::new("Tested", "", vec![what; 100].into());
    let (mut buffer, id) = (Vec::new(), EventId::from_bytes([what; 16]));
    let recipe = Recipe { stream: "s", id, event: &event, tags: &[] };
    let records = [PreparedRecord::encode(&recipe, &mut buffer)];
    let parts = BatchParts { buffer: &buffer, records: &records, extensions: &[] };
    let mut builder = FrameBuilder::new(1000, position, Timestamp::from_micros(5));
    builder.add(parts, |_| Revision::new(position));
    let proposal = builder.finish(false);
    let stored_length = proposal.header.raw_length + 104;
    let local = LocalHeader {
        salt: 3,
        stored_length,
        durable_end: LogOffset::default(),
        previous_digest: 9,
    };
    let header = FrameHeader { replicated: proposal.header, local }.encode();
    let end = stored_length as usize;
    Bytes::from([&header, &proposal.buffer.as_slice()[HEADER_BYTES..end]].concat())
}

/// What the event at `position` holds, if its frame is in the tail.
fn look(tail: &Tail, position: u64) -> Option<u8> {
    let chunk = tail.chunk(position)?;
    let index = chunk.find(position).expect("the frame of a position holds it");
    let record = chunk.record(index).expect("frames are whole");
    assert_eq!(record.position().get(), position);
    record.data().first().copied()
}

/// Runs `reader` beside the writer, who is handed a tail that the watermark has caught up with.
fn explore(
    start: fn(&Tail) -> u64,
    write: impl Fn(&Tail, &Watermark) + Send + Sync + 'static,
    read: impl Fn(&Tail, u64) + Copy + Send + Sync + 'static,
) {
    model(move || {
        let tail = Arc::new(Tail::default());
        let watermark = Arc::new(Watermark::new(start(&tail)));
        let reader = {
            let (tail, watermark) = (Arc::clone(&tail), Arc::clone(&watermark));
            thread::spawn(move || read(&tail, watermark.get()))
        };
        write(&tail, &watermark);
        reader.join().expect("the reader ends well");
        read(&tail, watermark.get());
    });
}

#[test]
fn loom_what_is_below_the_watermark_is_in_the_tail() {
    let (first, second) = (frame(0, 1), frame(1, 2));
    explore(
        |_| 0,
        move |tail, watermark| {
            tail.push(0, 1, first.clone(), 0);
            watermark.publish(1);
            tail.push(1, 2, second.clone(), 0);
            watermark.publish(2);
        },
        |tail, bound| {
            for position in 0..bound {
                let what = u8::try_from(position + 1).expect("two events");
                assert_eq!(look(tail, position), Some(what), "what is published is there");
            }
        },
    );
}

#[test]
fn loom_truncated_frames_are_never_seen_below_the_watermark() {
    let (second, third) = (frame(1, 3), frame(2, 4));
    explore(
        |tail| {
            tail.push(0, 1, frame(0, 1), 0);
            // In flight, and taken back.
            tail.push(1, 2, frame(1, 9), 0);
            1
        },
        move |tail, watermark| {
            tail.truncate(1);
            tail.push(1, 2, second.clone(), 1);
            watermark.publish(2);
            tail.push(2, 3, third.clone(), 2);
            watermark.publish(3);
        },
        |tail, bound| {
            for (position, expected) in (0..bound).zip([1, 3, 4]) {
                // The oldest may have been let go since: it is durable.
                let found = look(tail, position);
                assert!(found == Some(expected) || (position == 0 && found.is_none()), "{found:?}");
            }
        },
    );
}

#[test]
fn loom_frames_are_let_go_only_when_they_are_durable() {
    let frames = [frame(1, 2), frame(2, 3), frame(3, 4)];
    explore(
        |tail| {
            tail.push(0, 1, frame(0, 1), 0);
            1
        },
        move |tail, watermark| {
            for (position, frame) in (1..).zip(&frames) {
                // One frame is durable, and no other.
                tail.push(position, position + 1, frame.clone(), 1);
            }
            watermark.publish(4);
        },
        |tail, bound| {
            for position in 1..bound {
                let what = u8::try_from(position + 1).expect("four events");
                assert_eq!(look(tail, position), Some(what), "what is in flight stays");
            }
        },
    );
}

//! A read: events in packets, each made while the one before it is sent.

use nexus_node::EventsIter;
use nexus_protocol::wire::{EndHead, ItemsBuilder, PacketKind, ReadHead, encode_packet};
use nexus_protocol::{Read, ReadError};

use super::session::{self, Accessed, Request};

/// The first packet is small and made at once: short reads are complete with it.
const FIRST_BYTES: usize = 64 * 1024;
/// Later packets are made on a thread that may block.
const BYTES: usize = 256 * 1024;

/// A stretch of a read.
struct Batch {
    events: EventsIter,
    items: ItemsBuilder,
    /// How it ended, if it did.
    end: Option<Result<(), ReadError>>,
}

/// Serves a read to its end.
pub(crate) async fn run(access: Accessed, head: ReadHead, request: Request) {
    let Request { reader, mut send } = request;
    drop(reader);
    let opened = access.map_err(|refused| refused.0.into());
    let events = match opened.and_then(|access| access.read(Read::from(head))) {
        Ok(events) => events.into_iter(),
        Err(error) => return session::fail_read(&mut send, &error).await,
    };
    let _ = send.set_priority(session::PRIORITY_CATCH_UP);
    let mut batch = gather(events, ItemsBuilder::default(), FIRST_BYTES);
    loop {
        let Batch { events, mut items, end } = batch;
        let packet = (!items.is_empty()).then(|| items.take());
        if let Some(end) = end {
            if let Some(packet) = packet
                && send.write_chunk(packet).await.is_err()
            {
                return;
            }
            return match end {
                Ok(()) => {
                    let explain = EndHead::from(&events.explain());
                    let end = encode_packet(PacketKind::End, &explain, &[]);
                    let _ = send.write_chunk(end).await;
                    let _ = send.finish();
                }
                Err(error) => session::fail_read(&mut send, &error).await,
            };
        }
        let next = tokio::task::spawn_blocking(move || gather(events, items, BYTES));
        if let Some(packet) = packet
            && send.write_chunk(packet).await.is_err()
        {
            return;
        }
        batch = next.await.expect("reading does not panic");
    }
}

/// Gathers events until there are so many bytes of them.
fn gather(mut events: EventsIter, mut items: ItemsBuilder, bytes: usize) -> Batch {
    while items.bytes() < bytes {
        match events.next() {
            Some(Ok(event)) => items.event(&event),
            Some(Err(error)) => return Batch { events, items, end: Some(Err(error)) },
            None => return Batch { events, items, end: Some(Ok(())) },
        }
    }
    Batch { events, items, end: None }
}

//! A read: events in packets, each made while the one before it is sent.

use nexus_node::{EventsIter, Stop};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::wire::{EndHead, ItemsBuilder, PacketKind, encode_packet};
use nexus_protocol::{Read, ReadError};

use super::session::{self, Accessed, Request, Session};

/// The first packet is small and made at once: short reads are complete with it.
const FIRST_BYTES: usize = 64 * 1024;
/// Later packets are made on a thread that may block.
const BYTES: usize = 256 * 1024;

/// A stretch of a read.
struct Batch {
    events: EventsIter,
    items: ItemsBuilder,
    /// Whether blocks may be sent as they are stored.
    blocks: bool,
    /// Whether further parts of the last event come: they are not torn apart.
    in_parts: bool,
    /// How it ended, if it did.
    end: Option<Result<(), ReadError>>,
}

/// Serves a read to its end.
pub(crate) async fn run(session: &Session, access: Accessed, read: Read, request: Request) {
    let Request { asked, reader, mut send } = request;
    drop(reader);
    let access = access.map_err(|refused| session.no_access::<ReadError>(&asked, refused));
    let blocks = session.takes_blocks();
    // The events of a stream are found at once. Anything else may look at much and find nothing.
    let is_short = read.stream.is_some()
        && read.filter.is_all()
        && read.as_of.is_none()
        && read.as_schema == AsSchema::Raw;
    // Whatever ends this, a thread that still looks for events ends with it.
    let stop = Stop::default();
    let _ends = stop.on_drop();
    let mut gone = std::pin::pin!(send.stopped());
    let open = move || -> Result<Batch, ReadError> {
        let mut events = access?.read(read)?.into_iter();
        events.end_at(&stop);
        let items = ItemsBuilder::default();
        let nothing = Batch { events, items, blocks, in_parts: false, end: None };
        Ok(nothing.gather(FIRST_BYTES))
    };
    let opened = if is_short {
        open()
    } else {
        tokio::select! {
            opened = tokio::task::spawn_blocking(open) => opened.expect("reading does not panic"),
            _ = &mut gone => return,
        }
    };
    let mut batch = match opened {
        Ok(batch) => batch,
        Err(error) => return session::fail_read(session, send, &error).await,
    };
    let _ = send.set_priority(session::PRIORITY_CATCH_UP);
    loop {
        let packet = (!batch.items.is_empty()).then(|| batch.items.take());
        let next = match batch.end.take() {
            None => Next::More(tokio::task::spawn_blocking(move || batch.gather(BYTES))),
            Some(Ok(())) => Next::End(EndHead::from(&batch.events.explain())),
            Some(Err(error)) => Next::Failed(error),
        };
        if let Some(packet) = packet
            && !session::send_in_time(&mut send, packet).await
        {
            return;
        }
        batch = match next {
            Next::More(batch) => tokio::select! {
                batch = batch => batch.expect("reading does not panic"),
                _ = &mut gone => return,
            },
            Next::End(explain) => {
                let end = encode_packet(PacketKind::End, &explain, &[]);
                return session::end_with(send, end).await;
            }
            Next::Failed(error) => return session::fail_read(session, send, &error).await,
        };
    }
}

/// What follows a packet of events.
enum Next {
    More(tokio::task::JoinHandle<Batch>),
    End(EndHead),
    Failed(ReadError),
}

impl Batch {
    /// Gathers events until there are so many bytes of them.
    fn gather(mut self, bytes: usize) -> Self {
        while self.in_parts || self.items.bytes() < bytes {
            if self.blocks
                && let Some(block) = self.events.next_block()
            {
                self.items.block(&block);
                continue;
            }
            match self.events.next() {
                Some(Ok(event)) => {
                    self.in_parts = event.has_more_parts();
                    self.items.event(&event);
                }
                Some(Err(error)) => return Self { end: Some(Err(error)), ..self },
                None => return Self { end: Some(Ok(())), ..self },
            }
        }
        self
    }
}

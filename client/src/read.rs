//! A read: it goes on behind the last event that it delivered when the connection breaks.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_core::Stream;
use nexus_protocol::schema::AsSchema;
use nexus_protocol::wire::{EndHead, Failure, Operation, PacketKind, decode_items};
use nexus_protocol::{
    Direction, Explain, From as ReadFrom, Position, Read, ReadError, RecordedEvent, Revision,
    SubscriptionItem,
};
use tokio::sync::mpsc;
use tracing::{Instrument, Span};

use crate::ask::{lost, open_stream, protocol};
use crate::batches::{Batch, Batches};
use crate::connection::{Deadline, Pool, Scope, Seat};
use crate::packets::Broken;
use crate::retry::Backoff;
use crate::trace::Delivering;

/// Batches that are read ahead.
const AHEAD: usize = 4;

/// Events of a read. Nothing is asked for before it is polled.
#[derive(Debug)]
pub struct Events {
    state: State,
    explain: Explained,
    delivering: Delivering,
}

/// What the store looked at, once that is known.
pub(crate) type Explained = Arc<Mutex<Option<Explain>>>;

#[derive(Debug)]
enum State {
    New {
        pool: Arc<Pool>,
        scope: Scope,
        read: Box<Read>,
    },
    Open(Batches<RecordedEvent>),
    #[cfg(feature = "embedded")]
    Embedded(crate::embedded::Reading),
}

impl Events {
    /// Of a server.
    pub(crate) fn of_server(pool: Arc<Pool>, scope: Scope, read: Read, span: Span) -> Self {
        let state = State::New { pool, scope, read: Box::new(read) };
        Self { state, explain: Arc::default(), delivering: Delivering::new(span) }
    }

    /// Of the engine of this process.
    #[cfg(feature = "embedded")]
    pub(crate) fn of_engine(
        reading: impl FnOnce(Explained) -> crate::embedded::Reading,
        span: Span,
    ) -> Self {
        let explain = Explained::default();
        let state = State::Embedded(reading(Arc::clone(&explain)));
        Self { state, explain, delivering: Delivering::new(span) }
    }

    /// What the store looked at; known when all events were delivered.
    pub fn explain(&self) -> Option<Explain> {
        self.explain.lock().expect("no panic while it is kept").clone()
    }
}

impl Stream for Events {
    type Item = Result<RecordedEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { state, explain, delivering } = &mut *self;
        let span = delivering.span.clone();
        let _entered = span.enter();
        if let State::New { pool, scope, read } = state {
            let (sender, batches) = mpsc::channel(AHEAD);
            let (seat, read) = (pool.seat_for_long(scope), (**read).clone());
            let reading = run(seat, read, sender, Arc::clone(explain));
            pool.runtime().spawn(reading.instrument(span.clone()));
            *state = State::Open(Batches::of(batches));
        }
        let next = std::task::ready!(match state {
            State::Open(batches) => batches.poll_next(context),
            #[cfg(feature = "embedded")]
            State::Embedded(reading) => reading.poll_next(context),
            State::New { .. } => unreachable!("it was just opened"),
        });
        match &next {
            Some(Ok(_)) => delivering.event(),
            Some(Err(error)) => delivering.failed(error),
            None => {}
        }
        Poll::Ready(next)
    }
}

/// How a try ended.
enum End {
    /// All is delivered, or nobody wants more.
    Done,
    /// It can go on where it was.
    Again(ReadError),
}

async fn run(
    seat: Seat,
    read: Read,
    sender: mpsc::Sender<Batch<RecordedEvent>>,
    explain: Explained,
) {
    let first_asked = read.clone();
    let mut progress = Progress { read, more: true };
    let mut backoff = Backoff::default();
    let mut until = Deadline::after(seat.timeout());
    loop {
        let before = progress.read.clone();
        let ended =
            attempt(&seat, (until, backoff.attempt()), &mut progress, &sender, &explain).await;
        let error = match ended {
            Ok(End::Done) => return,
            Ok(End::Again(error)) => error,
            Err(error) => {
                // Nobody may listen any more.
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        let has_begun = progress.read != first_asked;
        if has_begun && progress.read.limit.is_some() && progress.read.as_schema != AsSchema::Raw {
            // Of what is stored and not shown nobody here knows how much counts.
            let _ = sender.send(Err(error)).await;
            return;
        }
        if progress.read != before {
            (backoff, until) = (Backoff::default(), Deadline::after(seat.timeout()));
        }
        if until.is_over() {
            let _ = sender.send(Err(error)).await;
            return;
        }
        tracing::debug!(%error, "a read goes on with a new connection");
        tokio::select! {
            () = backoff.wait() => {}
            () = sender.closed() => return,
        }
    }
}

/// One try, which has until then, and its number.
async fn attempt(
    seat: &Seat,
    (until, number): (Deadline, u32),
    progress: &mut Progress,
    sender: &mpsc::Sender<Batch<RecordedEvent>>,
    explain: &Mutex<Option<Explain>>,
) -> Result<End, ReadError> {
    let operation = Operation::read(&progress.read);
    let connecting = until.limit(seat.connection_since(operation.since())).await;
    let connection = match connecting.unwrap_or_else(|| Err(seat.no_connection())) {
        Ok(connection) => connection,
        Err(error) if error.may_pass() => return Ok(End::Again(error.for_read())),
        Err(error) => return Err(error.for_read()),
    };
    let packet = seat.open(operation, &[], false, number)?;
    let (mut send, mut reader) = match open_stream(&connection, packet, until).await {
        Ok(opened) => opened,
        Err(broken) => return Ok(End::Again(lost(&broken))),
    };
    let _ = send.finish();
    loop {
        let packet = match reader.next().await {
            Ok(packet) => packet,
            Err(Broken::Wire(why)) => return Err(protocol(&why.to_string())),
            Err(_) if !progress.more => return Ok(End::Done),
            Err(broken) => return Ok(End::Again(lost(&broken))),
        };
        match packet.kind {
            PacketKind::Items => {
                let items =
                    decode_items(&packet.payload).map_err(|why| protocol(&why.to_string()))?;
                let events: Vec<_> =
                    items.into_iter().filter_map(SubscriptionItem::event).collect();
                let last = events.last().cloned();
                // A server tears no event apart: the parts of one count once.
                let count = events.iter().filter(|event| !event.has_more_parts()).count();
                if sender.send(Ok(events)).await.is_err() {
                    return Ok(End::Done);
                }
                if let Some(last) = last {
                    progress.pass(&last, count);
                }
            }
            PacketKind::End => {
                let end = packet.message::<EndHead>().map_err(|why| protocol(&why.to_string()))?;
                *explain.lock().expect("no panic while it is kept") = Some(end.into());
                return Ok(End::Done);
            }
            PacketKind::Failure => {
                let failure = packet.message().map_err(|why| protocol(&why.to_string()))?;
                return match failure {
                    Failure::Read(failure) => match ReadError::from(failure) {
                        // The server goes, and may come back.
                        ReadError::Closed => Ok(End::Again(ReadError::Closed)),
                        error => Err(error),
                    },
                    _ => Err(protocol("the failure of something else")),
                };
            }
            other => return Err(protocol(&format!("a packet of kind {other:?}"))),
        }
    }
}

/// How far a read has come.
struct Progress {
    /// What is still to be read.
    read: Read,
    /// Whether anything is: without, only what the server looked at is still to come.
    more: bool,
}

impl Progress {
    /// Makes the read begin behind the last event of a batch.
    fn pass(&mut self, last: &RecordedEvent, events: usize) {
        let read = &mut self.read;
        let of_stream = read.stream.is_some();
        let at = if of_stream { last.revision().get() } else { last.position().get() };
        let next = match read.direction {
            Direction::Forwards => at.checked_add(1),
            Direction::Backwards => at.checked_sub(1),
        };
        if let Some(limit) = &mut read.limit {
            *limit = limit.saturating_sub(events as u64);
        }
        match next {
            Some(next) if of_stream => read.from = ReadFrom::Revision(Revision::new(next)),
            Some(next) => read.from = ReadFrom::Position(Position::new(next)),
            None => self.more = false,
        }
        self.more &= read.limit != Some(0);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nexus_protocol::record::{PreparedRecord, Recipe, place};
    use nexus_protocol::{EventData, EventId, Timestamp};

    use super::*;

    fn event(revision: u64, position: u64) -> RecordedEvent {
        let event = EventData::json("A", &1).unwrap();
        let recipe =
            Recipe { stream: "a", id: EventId::from_bytes([1; 16]), event: &event, tags: &[] };
        let mut bytes = Vec::new();
        let prepared = PreparedRecord::encode(&recipe, &mut bytes);
        let time = Timestamp::from_micros(1);
        place(&mut bytes, &prepared, Position::new(position), Revision::new(revision), time);
        RecordedEvent::decode(Bytes::from(bytes)).unwrap()
    }

    #[test]
    fn a_read_goes_on_behind_the_last_event() {
        for (read, from, limit, more) in [
            (Read::all(), ReadFrom::Position(Position::new(8)), None, true),
            (Read::all().backwards(), ReadFrom::Position(Position::new(6)), None, true),
            (Read::stream("a").limit(5), ReadFrom::Revision(Revision::new(1)), Some(3), true),
            (Read::stream("a").limit(2), ReadFrom::Revision(Revision::new(1)), Some(0), false),
            (Read::stream("a").backwards(), ReadFrom::Start, None, false),
        ] {
            let mut progress = Progress { read, more: true };
            progress.pass(&event(0, 7), 2);
            assert_eq!(progress.read.from, from);
            assert_eq!((progress.read.limit, progress.more), (limit, more));
        }
    }
}

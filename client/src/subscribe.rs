//! A subscription: it goes on behind the last item it delivered when the connection breaks, with no
//! gap and no duplicate.
//!
//! Events that were received and not yet taken are bounded by credit, which the server gets back as
//! they are taken: a reader that stops to read stops the server, and nobody else.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use nexus_protocol::wire::{Failure, Operation, PacketKind, decode_items, encode_packet};
use nexus_protocol::{Position, ReadError, Start, Subscribe, SubscriptionItem};
use quinn::SendStream;
use tokio::sync::{Notify, mpsc};
use tracing::{Instrument, Span};

use crate::ask::{lost, open_stream, protocol};
use crate::batches::{Batch, Batches};
use crate::connection::{Deadline, Pool, Scope, Seat};
use crate::packets::{Broken, PacketReader};
use crate::retry::Backoff;
use crate::trace::Delivering;

/// Events that may be received and not yet taken.
const CREDIT: u64 = 4096;
/// Credit is given back in portions of at least so many.
const PORTION: u64 = CREDIT / 4;

/// Batches that may wait for the reader: markers cost no credit, and are bounded by this.
const AHEAD: usize = 64;

/// A subscription. It ends with an error that trying again does not mend, or when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    state: State,
    taken: Arc<Taken>,
    delivering: Delivering,
}

#[derive(Debug)]
enum State {
    New {
        pool: Arc<Pool>,
        scope: Scope,
        subscribe: Box<Subscribe>,
    },
    Open(Batches<SubscriptionItem>),
    #[cfg(feature = "embedded")]
    Embedded(crate::embedded::Watching),
}

/// Events that were taken, and who wants to know.
#[derive(Debug, Default)]
struct Taken {
    events: AtomicU64,
    portion: Notify,
}

impl Taken {
    fn event(&self) {
        let events = self.events.fetch_add(1, Ordering::Relaxed) + 1;
        if events.is_multiple_of(PORTION) {
            self.portion.notify_one();
        }
    }
}

impl Subscription {
    /// Of a server.
    pub(crate) fn of_server(
        pool: Arc<Pool>,
        scope: Scope,
        subscribe: Subscribe,
        span: Span,
    ) -> Self {
        let state = State::New { pool, scope, subscribe: Box::new(subscribe) };
        Self { state, taken: Arc::default(), delivering: Delivering::new(span) }
    }

    /// Of the engine of this process.
    #[cfg(feature = "embedded")]
    pub(crate) fn of_engine(watching: crate::embedded::Watching, span: Span) -> Self {
        let state = State::Embedded(watching);
        Self { state, taken: Arc::default(), delivering: Delivering::new(span) }
    }
}

impl Stream for Subscription {
    type Item = Result<SubscriptionItem, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { state, taken, delivering } = &mut *self;
        let span = delivering.span.clone();
        let _entered = span.enter();
        if let State::New { pool, scope, subscribe } = state {
            let (sender, batches) = mpsc::channel(AHEAD);
            let delivered = run(Task {
                seat: pool.seat_for_long(scope),
                place: Place { subscribe: (**subscribe).clone(), live: false, known: false },
                sender,
                taken: Arc::clone(taken),
                received: 0,
            });
            pool.runtime().spawn(delivered.instrument(span.clone()));
            *state = State::Open(Batches::of(batches));
        }
        let next = std::task::ready!(match state {
            State::Open(batches) => batches.poll_next(context),
            #[cfg(feature = "embedded")]
            State::Embedded(watching) => watching.poll_next(context),
            State::New { .. } => unreachable!("it was just opened"),
        });
        match &next {
            Some(Ok(item @ SubscriptionItem::Event(_))) => {
                if item.ends_event() {
                    taken.event();
                }
                delivering.event();
            }
            Some(Err(error)) => delivering.failed(error),
            _ => {}
        }
        Poll::Ready(next)
    }
}

/// How far a subscription has come.
#[derive(Clone, Debug)]
struct Place {
    /// What would go on from here.
    subscribe: Subscribe,
    /// Whether its reader was told that it had caught up.
    live: bool,
    /// Whether the server has answered once.
    known: bool,
}

impl Place {
    fn pass(&mut self, item: &SubscriptionItem) {
        let position = match item {
            SubscriptionItem::Event(event) => Some(event.position()),
            SubscriptionItem::Checkpoint { position } => Some(*position),
            SubscriptionItem::CaughtUp { position } => {
                self.live = true;
                // An empty log: what comes is all there is.
                if position.is_none() && self.subscribe.start == Start::End {
                    self.subscribe.start = Start::Beginning;
                }
                *position
            }
            SubscriptionItem::FellBehind { position } => {
                self.live = false;
                *position
            }
        };
        // Whoever waits for what is far ahead has caught up with a log that ends before.
        let leads_on = position.filter(|position| match self.subscribe.start {
            Start::Beginning | Start::End => true,
            Start::After(seen) => *position > seen,
            Start::At(next) => *position >= next,
        });
        if let Some(position) = leads_on {
            self.subscribe.start = Start::After(position);
        }
        self.known = true;
    }

    /// What the reader is told when the subscription goes on with a new connection.
    fn interrupted(&mut self) -> Option<SubscriptionItem> {
        let was_live = std::mem::replace(&mut self.live, false);
        let position = match self.subscribe.start {
            Start::After(position) => Some(position),
            Start::At(position) => position.get().checked_sub(1).map(Position::new),
            Start::Beginning | Start::End => None,
        };
        was_live.then_some(SubscriptionItem::FellBehind { position })
    }
}

struct Task {
    seat: Seat,
    place: Place,
    sender: mpsc::Sender<Batch<SubscriptionItem>>,
    taken: Arc<Taken>,
    /// Events that were ever received.
    received: u64,
}

async fn run(mut task: Task) {
    let mut backoff = Backoff::default();
    let first = Deadline::after(task.seat.timeout());
    loop {
        let received = task.received;
        let error = match task.attempt(first, backoff.attempt()).await {
            Ok(error) => error,
            Err(error) => {
                let _ = task.sender.send(Err(error)).await;
                return;
            }
        };
        if task.sender.is_closed() {
            return;
        }
        // A subscription that once stood goes on whenever the server comes back.
        if !task.place.known && first.is_over() {
            let _ = task.sender.send(Err(error)).await;
            return;
        }
        if task.received > received {
            backoff = Backoff::default();
        }
        if let Some(item) = task.place.interrupted() {
            let _ = task.sender.send(Ok(vec![item])).await;
        }
        tracing::debug!(%error, "a subscription goes on with a new connection");
        tokio::select! {
            () = backoff.wait() => {}
            () = task.sender.closed() => return,
        }
    }
}

impl Task {
    /// Events that were received and not yet taken.
    fn held(&self) -> u64 {
        self.received - self.taken.events.load(Ordering::Relaxed)
    }

    /// Delivers until the connection breaks: what to say if it does not come back. An error is final. One
    /// that never stood has its stream by `first`, or is told so. `number` is that of the try.
    async fn attempt(&mut self, first: Deadline, number: u32) -> Result<ReadError, ReadError> {
        let credit = CREDIT - self.held();
        let first_credit = u32::try_from(credit).expect("credit is small");
        let operation = Operation::subscribe(&self.place.subscribe, first_credit);
        let connecting = self.seat.connection_since(operation.since());
        let connection = if self.place.known {
            connecting.await
        } else {
            let connected = first.limit(connecting).await;
            connected.unwrap_or_else(|| Err(self.seat.no_connection()))
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) if error.may_pass() => return Ok(error.for_read()),
            Err(error) => return Err(error.for_read()),
        };
        let packet = self.seat.open(operation, &[], false, number)?;
        // One that once stood waits on, but looks now and then whether anybody still listens.
        let until = if self.place.known { Deadline::after(self.seat.timeout()) } else { first };
        match open_stream(&connection, packet, until).await {
            Ok((send, reader)) => self.deliver(send, reader, credit).await,
            Err(broken) => Ok(lost(&broken)),
        }
    }

    async fn deliver(
        &mut self,
        mut send: SendStream,
        mut reader: PacketReader,
        credit: u64,
    ) -> Result<ReadError, ReadError> {
        // What the server was given on this stream, in events since the beginning of the task.
        let mut granted = self.received + credit;
        let taken = Arc::clone(&self.taken);
        loop {
            let packet = tokio::select! {
                packet = reader.next() => packet,
                () = taken.portion.notified() => {
                    let may = self.taken.events.load(Ordering::Relaxed) + CREDIT;
                    let more = may.saturating_sub(granted);
                    if more >= PORTION {
                        let more_events = u32::try_from(more).expect("credit is small");
                        let packet = encode_packet(PacketKind::Credit, &more_events, &[]);
                        if let Err(why) = send.write_chunk(packet).await {
                            return Ok(lost(&why.into()));
                        }
                        granted += more;
                    }
                    continue;
                }
                () = self.sender.closed() => return Ok(ReadError::Closed),
            };
            let packet = match packet {
                Ok(packet) => packet,
                Err(Broken::Wire(why)) => return Err(protocol(&why.to_string())),
                Err(broken) => return Ok(lost(&broken)),
            };
            match packet.kind {
                PacketKind::Items => {
                    let items = decode_items(&packet.payload);
                    let items = items.map_err(|why| protocol(&why.to_string()))?;
                    for item in &items {
                        self.place.pass(item);
                        self.received += u64::from(item.ends_event());
                    }
                    if self.received > granted {
                        return Err(protocol("more events than there was credit for"));
                    }
                    if self.sender.send(Ok(items)).await.is_err() {
                        return Ok(ReadError::Closed);
                    }
                }
                PacketKind::Failure => {
                    let failure = packet.message().map_err(|why| protocol(&why.to_string()))?;
                    return match failure {
                        Failure::Read(failure) => match ReadError::from(failure) {
                            ReadError::Closed => Ok(ReadError::Closed),
                            error => Err(error),
                        },
                        _ => Err(protocol("the failure of something else")),
                    };
                }
                other => return Err(protocol(&format!("a packet of kind {other:?}"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_moves_with_what_is_delivered() {
        let mut place =
            Place { subscribe: Subscribe::all().start(Start::End), live: false, known: false };
        assert_eq!(place.interrupted(), None);
        assert_eq!(place.subscribe.start, Start::End);
        place.pass(&SubscriptionItem::CaughtUp { position: None });
        assert_eq!(place.subscribe.start, Start::Beginning, "all that comes is new");
        let three = Position::new(3);
        place.pass(&SubscriptionItem::Checkpoint { position: three });
        assert_eq!(place.subscribe.start, Start::After(three));
        let position = Some(three);
        assert_eq!(place.interrupted(), Some(SubscriptionItem::FellBehind { position }));
        assert_eq!(place.interrupted(), None, "it is told once");
    }

    #[test]
    fn a_place_never_goes_back() {
        let at = Position::new;
        for (start, passed, left) in [
            (Start::After(at(100)), Some(10), Start::After(at(100))),
            (Start::After(at(100)), None, Start::After(at(100))),
            (Start::After(at(100)), Some(101), Start::After(at(101))),
            (Start::At(at(100)), Some(99), Start::At(at(100))),
            (Start::At(at(100)), None, Start::At(at(100))),
            (Start::At(at(100)), Some(100), Start::After(at(100))),
            (Start::Beginning, None, Start::Beginning),
            (Start::Beginning, Some(0), Start::After(at(0))),
            (Start::End, Some(7), Start::After(at(7))),
        ] {
            let subscribe = Subscribe::all().start(start);
            let mut place = Place { subscribe, live: false, known: false };
            place.pass(&SubscriptionItem::CaughtUp { position: passed.map(at) });
            assert_eq!(place.subscribe.start, left, "{start:?} passes {passed:?}");
        }
    }
}

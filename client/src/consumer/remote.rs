//! [`RemoteConsumer`]: the session of a consumer with a server.
//!
//! A task has the stream. It puts what is delivered where it is taken, sends answers as they come, and hands out what
//! became of them, by their numbers. When the connection breaks it begins a new session: deliveries that nobody took yet
//! are forgotten, since their group makes them again, and answers that wait are sent again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use nexus_protocol::group::{Answered, Delivery, DeliveryToken};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::wire::ConsumeHead;
use nexus_protocol::wire::{
    Failure, Operation, Packet, PacketKind, Said, decode_answered, decode_deliveries,
    encode_ack_with, encode_answers, encode_packet,
};
use nexus_protocol::{Append, AppendError, Appended, TraceContext, Unavailable};
use quinn::SendStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::append::give_ids;
use crate::ask::{of_read, open_stream};
use crate::connection::{Deadline, Seat};
use crate::packets::{Broken, PacketReader};
use crate::retry::Backoff;

/// Answers that may be under way; whoever has more to say waits (I8).
const UNDER_WAY_MAX: usize = 256;

type Outcome = Result<(Answered, Option<Appended>), AppendError>;

/// Answers on their way.
#[derive(Debug)]
struct Job {
    seq: u64,
    packet: Bytes,
    answer: oneshot::Sender<Outcome>,
    _place: OwnedSemaphorePermit,
    /// In how many sessions it was sent, or begun to be.
    sent: u32,
}

/// What was delivered and not taken yet, and why nothing more comes.
#[derive(Debug, Default)]
struct Arrived {
    deliveries: VecDeque<Delivery>,
    ended: Option<AppendError>,
}

/// What a consumer and its task share.
#[derive(Debug, Default)]
struct Shared {
    arrived: Mutex<Arrived>,
    /// Told when there is something.
    something: Notify,
    /// Told when something was taken, or is wanted.
    taken: Notify,
    /// Whether it was asked for deliveries: who only answers gets none.
    is_wanted: AtomicBool,
}

impl Shared {
    /// So many may be fetched and not taken, of so many that may be at most.
    fn ahead(&self, prefetch: u32) -> u32 {
        if self.is_wanted.load(Ordering::Relaxed) { prefetch } else { 0 }
    }

    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer of a group behind a server.
#[derive(Debug)]
pub(crate) struct RemoteConsumer {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Job>,
    places: Arc<Semaphore>,
    seq: AtomicU64,
    trace: Option<TraceContext>,
    timeout: Duration,
    runtime: Handle,
    /// Answered when the task has ended.
    ended: oneshot::Receiver<()>,
}

fn closed() -> AppendError {
    AppendError::Unavailable(Unavailable::Closed)
}

impl RemoteConsumer {
    /// Starts the session's task; it leaves the group when the consumer is dropped.
    pub(crate) fn start(
        seat: Seat,
        trace: Option<TraceContext>,
        consume: ConsumeHead,
        as_schema: AsSchema,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let (jobs, received) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel();
        let (timeout, runtime) = (seat.timeout(), seat.runtime().clone());
        let task = Task {
            seat,
            shared: Arc::clone(&shared),
            jobs: received,
            consume,
            as_schema,
            waiting: BTreeMap::new(),
            stood: false,
        };
        runtime.spawn(async move {
            task.run().await;
            let _ = ending.send(());
        });
        let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        Self { shared, jobs, places, seq: 0.into(), trace, timeout, runtime, ended }
    }

    pub(crate) async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, AppendError> {
        if !self.shared.is_wanted.swap(true, Ordering::Relaxed) {
            self.shared.taken.notify_one();
        }
        let until = Deadline::after(wait);
        loop {
            let something = self.shared.something.notified();
            if let Some(taken) = self.take(max) {
                return taken;
            }
            if until.limit_on(&self.runtime, something).await.is_none() {
                return self.take(max).unwrap_or_else(|| Ok(Vec::new()));
            }
        }
    }

    /// What there is; `None`: nothing yet.
    fn take(&self, max: usize) -> Option<Result<Vec<Delivery>, AppendError>> {
        let mut arrived = self.shared.arrived();
        if arrived.deliveries.is_empty() {
            return arrived.ended.clone().map(Err);
        }
        let count = max.min(arrived.deliveries.len());
        let taken = arrived.deliveries.drain(..count).collect();
        let is_more = !arrived.deliveries.is_empty();
        drop(arrived);
        self.shared.taken.notify_one();
        if is_more {
            self.shared.something.notify_one();
        }
        Some(Ok(taken))
    }

    /// Whether nothing more comes, whatever is asked.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.arrived().ended.is_some()
    }

    pub(crate) fn not_taken(&self) -> Vec<DeliveryToken> {
        self.shared.arrived().deliveries.iter().map(|delivery| delivery.token).collect()
    }

    pub(crate) async fn answer(
        &self,
        tokens: &[DeliveryToken],
        said: &Said,
    ) -> Result<Answered, AppendError> {
        let outcome = self.submit(|seq| encode_answers(seq, tokens, said)).await?;
        Ok(outcome.0)
    }

    pub(crate) async fn ack_with(
        &self,
        tokens: &[DeliveryToken],
        mut append: Append,
    ) -> Result<(Answered, Option<Appended>), AppendError> {
        give_ids(&mut append);
        if self.trace.is_some() {
            let events = append.streams.iter_mut().flat_map(|stream| &mut stream.events);
            events.for_each(|event| event.trace = event.trace.or(self.trace));
        }
        self.submit(|seq| encode_ack_with(seq, tokens, &append)).await
    }

    async fn submit(&self, encode: impl FnOnce(u64) -> Result<Bytes, AppendError>) -> Outcome {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let packet = encode(seq)?;
        let until = Deadline::after(self.timeout);
        let place = Arc::clone(&self.places).acquire_owned();
        let Some(place) = until.limit_on(&self.runtime, place).await else {
            let waited_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
            let retry_after = Duration::from_millis(100);
            return Err(AppendError::Overloaded { waited_ms, retry_after });
        };
        let place = place.expect("the semaphore is never closed");
        let (answer, answered) = oneshot::channel();
        let ended = || self.shared.arrived().ended.clone().unwrap_or_else(closed);
        self.jobs.send(Job { seq, packet, answer, _place: place, sent: 0 }).map_err(|_| ended())?;
        match until.limit_on(&self.runtime, answered).await {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(ended()),
            // A server may have got it.
            None => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn leave(self) -> Result<(), AppendError> {
        let Self { jobs, ended, timeout, runtime, .. } = self;
        drop(jobs);
        match Deadline::after(timeout).limit_on(&runtime, ended).await {
            Some(_) => Ok(()),
            None => Err(AppendError::Unknown),
        }
    }
}

/// Why a session is over.
enum Over {
    /// The consumer has left.
    Left,
    /// It may go on with a new connection.
    Broken(AppendError),
    /// It may not.
    Final(AppendError),
}

impl From<Broken> for Over {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Wire(why) => Self::Final(off_protocol(&why)),
            broken => Self::Broken(AppendError::Unavailable(Unavailable::NotReachable(
                broken.to_string(),
            ))),
        }
    }
}

fn off_protocol(why: &dyn std::fmt::Display) -> AppendError {
    let why = format!("it does not keep to the protocol: {why}");
    AppendError::Unavailable(Unavailable::NotReachable(why))
}

struct Task {
    seat: Seat,
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedReceiver<Job>,
    /// Who consumes what; its credit is how much is fetched ahead.
    consume: ConsumeHead,
    as_schema: AsSchema,
    /// What is not answered.
    waiting: BTreeMap<u64, Job>,
    /// Whether there was a session once.
    stood: bool,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let first = Deadline::after(self.seat.timeout());
        let error = loop {
            let over = self.session(first, &mut backoff).await;
            // The group makes again what nobody took.
            self.shared.arrived().deliveries.clear();
            let error = match over {
                Over::Left => break closed(),
                Over::Final(error) => break error,
                Over::Broken(error) if !self.stood && first.is_over() => break error,
                Over::Broken(error) => error,
            };
            if self.is_left() {
                break closed();
            }
            tracing::debug!(%error, "a consumer goes on with a new connection");
            backoff.wait().await;
        };
        self.jobs.close();
        self.shared.arrived().ended = Some(error.clone());
        while let Ok(job) = self.jobs.try_recv() {
            self.waiting.insert(job.seq, job);
        }
        for (_, job) in self.waiting {
            // Of what was sent nobody can say whether it counted.
            let error = if job.sent > 0 { AppendError::Unknown } else { error.clone() };
            let _ = job.answer.send(Err(error));
        }
        self.shared.something.notify_waiters();
        self.shared.something.notify_one();
    }

    /// Whether nobody asks for anything any more; takes in what was said meanwhile.
    fn is_left(&mut self) -> bool {
        loop {
            match self.jobs.try_recv() {
                Ok(job) => drop(self.waiting.insert(job.seq, job)),
                Err(mpsc::error::TryRecvError::Empty) => return false,
                Err(mpsc::error::TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// One session, up to its end.
    async fn session(&mut self, first: Deadline, backoff: &mut Backoff) -> Over {
        let credit = self.shared.ahead(self.consume.credit);
        let consume = ConsumeHead { credit, ..self.consume.clone() };
        let operation = Operation::consume(consume, self.as_schema);
        let connecting = self.seat.connection_since(operation.since());
        let connection = match self.stood {
            true => connecting.await,
            false => {
                let connected = first.limit(connecting).await;
                connected.unwrap_or_else(|| Err(self.seat.no_connection()))
            }
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) if error.may_pass() => return Over::Broken(error.for_append()),
            Err(error) => return Over::Final(error.for_append()),
        };
        let packet = match self.seat.open(operation, &[], false, backoff.attempt()) {
            Ok(packet) => packet,
            Err(invalid) => return Over::Final(invalid.into()),
        };
        let until = if self.stood { Deadline::after(self.seat.timeout()) } else { first };
        let (send, reader) = match open_stream(&connection, packet, until).await {
            Ok(opened) => opened,
            Err(broken) => return broken.into(),
        };
        let over = self.serve(send, reader, credit.into(), backoff).await;
        if let Over::Broken(_) = over {
            self.stood = true;
        }
        over
    }

    async fn serve(
        &mut self,
        mut send: SendStream,
        mut reader: PacketReader,
        mut granted: u64,
        backoff: &mut Backoff,
    ) -> Over {
        // Whoever does not wait any more needs no answer.
        self.waiting.retain(|_, job| !job.answer.is_closed());
        self.waiting.values_mut().for_each(|job| job.sent += 1);
        let again: Vec<_> = self.waiting.values().map(|job| job.packet.clone()).collect();
        for packet in again {
            if let Err(why) = send.write_chunk(packet).await {
                return self.why(reader, why.into()).await;
            }
        }
        let mut received = 0_u64;
        let mut is_leaving = false;
        let shared = Arc::clone(&self.shared);
        loop {
            let packet = tokio::select! {
                packet = reader.next() => packet,
                job = self.jobs.recv(), if !is_leaving => {
                    let Some(mut job) = job else {
                        // All was said: the server answers it, and then ends the stream.
                        let _ = send.finish();
                        is_leaving = true;
                        continue;
                    };
                    let packet = job.packet.clone();
                    job.sent += 1;
                    self.waiting.insert(job.seq, job);
                    if let Err(why) = send.write_chunk(packet).await {
                        return self.why(reader, why.into()).await;
                    }
                    continue;
                }
                () = shared.taken.notified(), if !is_leaving => {
                    let held = shared.arrived().deliveries.len() as u64;
                    let prefetch = u64::from(shared.ahead(self.consume.credit));
                    let more = (received + prefetch).saturating_sub(held + granted);
                    if more > 0 && more >= prefetch.div_ceil(4) {
                        let portion = u32::try_from(more).expect("credit is small");
                        let packet = encode_packet(PacketKind::Credit, &portion, &[]);
                        if let Err(why) = send.write_chunk(packet).await {
                            return self.why(reader, why.into()).await;
                        }
                        granted += more;
                    }
                    continue;
                }
            };
            let packet = match packet {
                Ok(packet) => packet,
                Err(Broken::Cut) if is_leaving => return Over::Left,
                Err(broken) => return broken.into(),
            };
            match self.take_in(&packet) {
                Ok(count) => received += count,
                Err(over) => return over,
            }
            if received > granted {
                return Over::Final(off_protocol(&"more deliveries than there was credit for"));
            }
            self.stood = true;
            *backoff = Backoff::default();
        }
    }

    /// Why the server takes nothing any more: what it says of that goes before what the stream says.
    async fn why(&mut self, mut reader: PacketReader, broken: Broken) -> Over {
        loop {
            match reader.next().await {
                Ok(packet) => {
                    if let Err(over) = self.take_in(&packet) {
                        return over;
                    }
                }
                Err(_) => return broken.into(),
            }
        }
    }

    /// Takes in a packet; gives how many deliveries were in it.
    fn take_in(&mut self, packet: &Packet) -> Result<u64, Over> {
        let wrong = |why: &dyn std::fmt::Display| Over::Final(off_protocol(why));
        match packet.kind {
            PacketKind::Deliveries => {
                let deliveries = decode_deliveries(&packet.head, &packet.payload);
                let deliveries = deliveries.map_err(|why| wrong(&why))?;
                let count = deliveries.len() as u64;
                self.shared.arrived().deliveries.extend(deliveries);
                self.shared.something.notify_one();
                Ok(count)
            }
            PacketKind::Answered => {
                for (seq, outcome) in decode_answered(&packet.head).map_err(|why| wrong(&why))? {
                    let job = self.waiting.remove(&seq);
                    let job = job.ok_or_else(|| wrong(&"an answer to nothing"))?;
                    // What is refused before anybody has looked at its tokens says nothing of the first time.
                    let outcome = match outcome {
                        Err(_) if job.sent > 1 => Err(AppendError::Unknown),
                        outcome => outcome,
                    };
                    let _ = job.answer.send(outcome);
                }
                Ok(0)
            }
            PacketKind::Failure => {
                let failure = packet.message().map_err(|why| wrong(&why))?;
                Err(ended_by(failure))
            }
            other => Err(wrong(&format!("a packet of kind {other:?}"))),
        }
    }
}

/// What it means that a server ends a session.
fn ended_by(failure: Failure) -> Over {
    let error = match failure {
        Failure::Append(failure) => failure.into(),
        Failure::Read(failure) => of_read(failure.into()),
        Failure::Version { .. } => AppendError::Unknown,
    };
    match error {
        AppendError::Unavailable(_)
        | AppendError::Overloaded { .. }
        | AppendError::RateLimited { .. }
        | AppendError::Unknown
        | AppendError::Conflict(_)
        | AppendError::Poisoned { .. } => Over::Broken(error),
        error => Over::Final(error),
    }
}

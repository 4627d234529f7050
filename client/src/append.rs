//! Appends: one session, in order, many in flight.
//!
//! What was sent and not answered when the connection breaks is sent again, in its order and with the
//! same event ids: the server stores it once, and answers a repeat with what it answered, or would
//! have. What was answered before any server got it is never sent: its caller may append it anew, with
//! other ids.

mod waiting;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use nexus_protocol::wire::{
    AppendAnswer, Failure, Operation, PacketKind, append_since, encode_append,
};
use nexus_protocol::{Append, AppendError, Appended, EventId, Unavailable};
use quinn::SendStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::Span;

use self::waiting::{Job, Waiting};
use crate::ask::{of_read, open_stream};
use crate::connection::{Deadline, Seat};
use crate::packets::{Broken, PacketReader};
use crate::retry::Backoff;
use crate::trace;

/// KiB of appends that are not answered; whoever comes after waits.
const WAITING_KIB_MAX: u32 = 64 * 1024;
/// Packets that are handed to the connection at once.
const TOGETHER: usize = 64;
/// How often it is looked whether somebody's time is up.
const TICK: std::time::Duration = std::time::Duration::from_millis(250);

type Answer = Result<Appended, AppendError>;

/// Where appends are handed in.
#[derive(Clone, Debug)]
pub(crate) struct Appender {
    jobs: mpsc::UnboundedSender<Job>,
    places: Arc<Semaphore>,
    timeout: std::time::Duration,
    runtime: Handle,
}

/// An append under way. It was submitted when it was made: dropping it does not cancel it. Only where
/// too much is under way already is it submitted when it is awaited.
#[must_use = "the append is under way, but its answer says whether it happened"]
pub struct PendingAppend {
    answer: Answering,
    span: Span,
}

/// Who answers.
#[cfg_attr(
    feature = "embedded",
    expect(clippy::large_enum_variant, reason = "nothing is put on the heap for an append")
)]
enum Answering {
    /// A session with a server, or whoever refused it.
    Session(Pin<Box<dyn Future<Output = Answer> + Send>>),
    /// The engine of this process.
    #[cfg(feature = "embedded")]
    Engine(nexus_node::PendingAppend),
}

impl PendingAppend {
    /// One that a session answers.
    fn session(answer: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self { answer: Answering::Session(Box::pin(answer)), span: Span::none() }
    }

    /// One that is answered already.
    pub(crate) fn refused(error: AppendError) -> Self {
        Self::session(std::future::ready(Err(error)))
    }

    /// One that the engine answers.
    #[cfg(feature = "embedded")]
    pub(crate) fn engine(pending: nexus_node::PendingAppend) -> Self {
        Self { answer: Answering::Engine(pending), span: Span::none() }
    }

    /// Within this span, which learns of the answer.
    pub(crate) fn within(self, span: Span) -> Self {
        Self { span, ..self }
    }
}

impl std::fmt::Debug for PendingAppend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingAppend").finish_non_exhaustive()
    }
}

impl Future for PendingAppend {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let Self { answer, span } = &mut *self;
        let _entered = span.enter();
        let answer = std::task::ready!(match answer {
            Answering::Session(answer) => answer.as_mut().poll(context),
            #[cfg(feature = "embedded")]
            Answering::Engine(pending) => Pin::new(pending).poll(context),
        });
        trace::appended(span, &answer);
        Poll::Ready(answer)
    }
}

impl Appender {
    /// Starts the session's task; it ends when all appenders are gone and all is answered.
    pub(crate) fn start(seat: Seat) -> Self {
        let (jobs, received) = mpsc::unbounded_channel();
        let timeout = seat.timeout();
        let runtime = seat.runtime().clone();
        runtime.spawn(run(seat, received));
        let places = Arc::new(Semaphore::new(WAITING_KIB_MAX as usize));
        Self { jobs, places, timeout, runtime }
    }

    pub(crate) fn append(&self, mut append: Append) -> PendingAppend {
        give_ids(&mut append);
        let packet = match encode_append(&append) {
            Ok(packet) => packet,
            Err(error) => return PendingAppend::refused(error),
        };
        let kib = u32::try_from(packet.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let kib = kib.clamp(1, WAITING_KIB_MAX);
        let until = Deadline::after(self.timeout);
        let since = append_since(&append);
        match Arc::clone(&self.places).try_acquire_many_owned(kib) {
            Ok(place) => {
                let answered = self.submit(packet, since, until, place);
                PendingAppend::session(async move { answered?.await.unwrap_or(Err(closed())) })
            }
            Err(_) => {
                let this = self.clone();
                PendingAppend::session(async move {
                    let place = Arc::clone(&this.places).acquire_many_owned(kib);
                    let Some(place) = until.limit_on(&this.runtime, place).await else {
                        let waited_ms = u64::try_from(this.timeout.as_millis()).unwrap_or(u64::MAX);
                        let retry_after = std::time::Duration::from_millis(100);
                        return Err(AppendError::Overloaded { waited_ms, retry_after });
                    };
                    let place = place.expect("the semaphore is never closed");
                    this.submit(packet, since, until, place)?.await.unwrap_or(Err(closed()))
                })
            }
        }
    }

    fn submit(
        &self,
        packet: Bytes,
        since: u16,
        until: Deadline,
        place: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Answer>, AppendError> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            packet,
            answer: Some(answer),
            until,
            since,
            sent: false,
            sent_before: false,
            _place: place,
        };
        self.jobs.send(job).map_err(|_| closed())?;
        Ok(answered)
    }
}

fn closed() -> AppendError {
    AppendError::Unavailable(Unavailable::Closed)
}

/// Gives ids to events that have none, so that sending them twice stores them once. Those of an append
/// with an idempotency key are the server's to make: from the key.
pub(crate) fn give_ids(append: &mut Append) {
    if append.idempotency_key.is_none() {
        let events = append.streams.iter_mut().flat_map(|stream| &mut stream.events);
        for event in events.filter(|event| event.id.is_none()) {
            event.id = Some(EventId::from_uuid(uuid::Uuid::now_v7()));
        }
    }
}

async fn run(seat: Seat, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let waiting = Waiting::default();
    let mut backoff = Backoff::default();
    loop {
        if waiting.lock().is_empty() {
            match jobs.recv().await {
                Some(job) => waiting.lock().push_back(job),
                None => return,
            }
        }
        let late = not_reachable(&"it does not answer yet");
        let connecting = seat.connection();
        let connection = telling_late(connecting, &waiting, &mut jobs, &late).await;
        let unsent = match connection {
            Ok(connection) => {
                let packet = seat.open(Operation::Append, &[], false, backoff.attempt());
                let packet = packet.expect("a namespace's name fits");
                let until = Deadline::after(seat.timeout());
                let opening = open_stream(&connection, packet, until);
                let late = not_reachable(&Broken::NoStream);
                match telling_late(opening, &waiting, &mut jobs, &late).await {
                    Ok((send, reader)) => {
                        let ended =
                            session(&waiting, &mut jobs, seat.version(), send, reader).await;
                        match ended {
                            Ended::Idle => return,
                            Ended::Refused(error) => {
                                waiting.answer_all(|job| job.refused(&error));
                                continue;
                            }
                            Ended::Broken { answered } => {
                                if answered {
                                    backoff = Backoff::default();
                                }
                                AppendError::Unknown
                            }
                        }
                    }
                    Err(broken) => not_reachable(&broken),
                }
            }
            Err(error) if error.may_pass() => error.for_append(),
            Err(error) => {
                let error = error.for_append();
                waiting.answer_all(
                    |job| {
                        if job.sent { AppendError::Unknown } else { error.clone() }
                    },
                );
                continue;
            }
        };
        waiting.take_in(&mut jobs);
        waiting.tell_late(&unsent);
        if waiting.lock().iter().all(|job| job.answer.is_none()) {
            waiting.lock().clear();
        }
        backoff.wait().await;
    }
}

/// Waits for what comes before sending. Meanwhile those whose time is up are told.
async fn telling_late<F: Future>(
    awaited: F,
    waiting: &Waiting,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
    late: &AppendError,
) -> F::Output {
    let mut awaited = std::pin::pin!(awaited);
    loop {
        tokio::select! {
            ready = &mut awaited => return ready,
            () = tokio::time::sleep(TICK) => {
                waiting.take_in(jobs);
                waiting.tell_late(late);
            }
        }
    }
}

fn not_reachable(why: &dyn std::fmt::Display) -> AppendError {
    AppendError::Unavailable(Unavailable::NotReachable(why.to_string()))
}

/// How a session ended.
enum Ended {
    /// Nobody appends any more, and all is answered.
    Idle,
    /// The server does not take appends of this client.
    Refused(AppendError),
    /// The connection broke.
    Broken {
        /// Whether anything was answered before.
        answered: bool,
    },
}

async fn session(
    waiting: &Waiting,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
    version: u16,
    send: SendStream,
    reader: PacketReader,
) -> Ended {
    let mut answered = false;
    // Marked before anything of the session is looked at: a refusal says what it says of all of them.
    let packets = waiting.to_send(version);
    tokio::select! {
        sent = submit(waiting, jobs, version, packets, send) => match sent {
            Ok(()) => Ended::Idle,
            Err(_) => Ended::Broken { answered },
        },
        refused = take_answers(waiting, reader, &mut answered) => match refused {
            Some(error) => Ended::Refused(error),
            None => Ended::Broken { answered },
        },
        () = tell_late(waiting) => unreachable!("it goes on"),
    }
}

/// Of a session: what waits is sent.
async fn tell_late(waiting: &Waiting) {
    loop {
        tokio::time::sleep(TICK).await;
        waiting.tell_late(&AppendError::Unknown);
    }
}

/// Sends what waits, then what comes; ends when nobody appends any more and all is answered.
async fn submit(
    waiting: &Waiting,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
    version: u16,
    mut packets: Vec<Bytes>,
    mut send: SendStream,
) -> Result<(), Broken> {
    let mut received = Vec::with_capacity(TOGETHER);
    loop {
        for together in packets.chunks_mut(TOGETHER) {
            send.write_all_chunks(together).await?;
        }
        packets.clear();
        if jobs.recv_many(&mut received, TOGETHER).await == 0 {
            break;
        }
        let mut waiting = waiting.lock();
        for mut job in received.drain(..) {
            if job.is_beyond(version) {
                continue;
            }
            job.sent = true;
            packets.push(job.packet.clone());
            waiting.push_back(job);
        }
    }
    let _ = send.finish();
    while !waiting.lock().is_empty() {
        waiting.empty.notified().await;
    }
    Ok(())
}

/// Hands out answers; ends when the server refuses the session (with why), or the connection breaks.
async fn take_answers(
    waiting: &Waiting,
    mut reader: PacketReader,
    answered: &mut bool,
) -> Option<AppendError> {
    loop {
        let packet = match reader.next().await {
            Ok(packet) => packet,
            Err(Broken::Wire(why)) => return Some(off_protocol(&why)),
            Err(_) => return None,
        };
        match packet.kind {
            PacketKind::Appended => {
                let answers: Vec<AppendAnswer> = match packet.message() {
                    Ok(answers) => answers,
                    Err(why) => return Some(off_protocol(&why)),
                };
                let empty = &waiting.empty;
                let mut waiting = waiting.lock();
                for answer in answers {
                    let Some(mut job) = waiting.pop_front() else {
                        return Some(off_protocol(&"an answer to nothing"));
                    };
                    let answer: Answer = match answer.try_into() {
                        Ok(Err(error)) => Err(job.refused(&error)),
                        Ok(Ok(appended)) => Ok(appended),
                        Err(why) => Err(off_protocol(&why)),
                    };
                    if let Some(asked) = job.answer.take() {
                        let _ = asked.send(answer);
                    }
                }
                if waiting.is_empty() {
                    empty.notify_one();
                }
                *answered = true;
            }
            PacketKind::Failure => {
                return match packet.message::<Failure>() {
                    Ok(Failure::Append(failure)) => Some(failure.into()),
                    Ok(Failure::Read(failure)) => Some(of_read(failure.into())),
                    Ok(Failure::Version { .. }) => Some(off_protocol(&"another version")),
                    Err(why) => Some(off_protocol(&why)),
                };
            }
            other => return Some(off_protocol(&format!("a packet of kind {other:?}"))),
        }
    }
}

fn off_protocol(why: &dyn std::fmt::Display) -> AppendError {
    tracing::warn!(%why, "the server does not keep to the protocol");
    AppendError::Unknown
}

#[cfg(test)]
mod tests;

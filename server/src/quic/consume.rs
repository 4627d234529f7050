//! A session of a consumer: deliveries as long as there is credit, and answers to them, many of which may be under way.
//!
//! Three things go on beside each other: deliveries are taken from the group and sent, what the client says is
//! received, and what became of that is answered. However the session ends, what was received before is decided, and
//! then the consumer goes: the others have at once what it did not answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nexus_node::{Access, DELIVERIES_MAX};
use nexus_protocol::group::{Answered, check_consumer, check_group, own_group_parts};
use nexus_protocol::wire::{
    AckWith, AnsweredHead, Answers, DeliveriesBuilder, PacketKind, Said, decode_ack_with,
    decode_answers, encode_packet,
};
use nexus_protocol::{AppendError, Appended, Invalid, Unavailable, limits};
use quinn::SendStream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::packets::{Broken, PacketReader, Received};
use super::session::{self, Accessed, Request, Session};
use crate::consumers::Seated;
use crate::door::{Held, Memory};

const _: () = assert!(DELIVERIES_MAX == limits::DELIVERIES_MAX, "what a group gives fits a packet");

/// Packets of answers of one session that may be under way (I8).
const ANSWERS_MAX: u32 = 256;
/// What those that are told together may come to: one that names a thousand streams has some hundred KB.
const ANSWERED_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of events in a packet, unless one alone has more.
const DELIVERIES_BYTES: usize = 256 * 1024;
/// So long a group is asked at a time.
const ASK_TIME: Duration = Duration::from_secs(30);
/// So long what was received is decided before the consumer goes all the same.
const LAST_ANSWERS_TIME: Duration = Duration::from_secs(5);

/// What became of answers.
type Outcome = Result<(Answered, Option<Appended>), AppendError>;

/// Who consumes what.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) group: String,
    pub(crate) consumer: String,
    pub(crate) credit: u32,
    pub(crate) max: u32,
}

/// A consumer that has begun.
#[derive(Debug)]
struct Consuming {
    access: Access,
    group: String,
    consumer: String,
    max: u64,
    memory: Memory,
    send: Mutex<SendStream>,
    /// One for each packet of answers that may be under way.
    places: Arc<Semaphore>,
}

/// How a session ends.
#[derive(Debug)]
enum Ended {
    /// The client has said all.
    Left,
    /// The client is gone, or takes nothing.
    Lost,
    /// The client does not keep to the protocol.
    Broken(Broken),
    /// It may not go on, or the server closes.
    Told(AppendError),
    /// Another session has the name.
    Superseded,
}

/// Why a packet was not sent.
#[derive(Clone, Copy, Debug)]
enum Unsent {
    /// The client is gone, or does not take it.
    Gone,
    /// There was no memory for it.
    NoMemory,
}

/// Why a session ends that the client may begin again.
fn away(why: &dyn std::fmt::Display) -> AppendError {
    AppendError::Unavailable(Unavailable::NotReachable(why.to_string()))
}

fn no_memory() -> AppendError {
    away(&"all memory for answers is in use: it goes on in a moment")
}

/// Serves a consumer until it leaves.
pub(crate) async fn run(session: &Session, access: Accessed, wanted: Wanted, request: Request) {
    let Request { asked, reader, send } = request;
    let opened = access.map_err(|refused| session.no_access(&asked, refused));
    let access = match opened.and_then(|access| checked(&access, &wanted).map(|()| access)) {
        Ok(access) => access,
        Err(error) => return session::fail_append(send, &error).await,
    };
    let _ = send.set_priority(session::PRIORITY_LIVE);
    let Wanted { group, consumer, credit, max } = wanted;
    // By whichever name its group is called, it is one consumer.
    let shared = own_group_parts(&group).map_or(&*group, |(shared, _)| shared);
    let seated = session.door.consumers.take(access.namespace(), shared, &consumer).await;
    let Some(mut seated) = seated else {
        return session::fail_append(send, &superseded(&consumer)).await;
    };
    let consuming = Arc::new(Consuming {
        access,
        group,
        consumer,
        max: u64::from(max).clamp(1, DELIVERIES_MAX as u64),
        memory: session.door.memory.clone(),
        send: Mutex::new(send),
        places: Arc::new(Semaphore::new(ANSWERS_MAX as usize)),
    });
    let ended = consuming.serve(reader, credit, &mut seated, session.door.closing()).await;
    let lost = matches!(ended, Ended::Lost | Ended::Broken(_) | Ended::Superseded);
    consuming.access.session_ended(&consuming.group, &consuming.consumer, lost).await;
    drop(seated);
    let consumer = consuming.consumer.clone();
    let Some(consuming) = Arc::into_inner(consuming) else { return };
    let send = consuming.send.into_inner();
    match ended {
        Ended::Left => session::finish(send).await,
        Ended::Lost => {}
        Ended::Broken(broken) => session::refuse(session, &asked, send, &broken).await,
        Ended::Told(error) => session::fail_append(send, &error).await,
        Ended::Superseded => session::fail_append(send, &superseded(&consumer)).await,
    }
}

fn checked(access: &Access, wanted: &Wanted) -> Result<(), AppendError> {
    check_group(&wanted.group)?;
    check_consumer(&wanted.consumer)?;
    access.may_consume()
}

fn superseded(consumer: &str) -> AppendError {
    let why = format!(
        "another session of consumer {consumer:?} has begun: give each consumer a name of its own"
    );
    Invalid::Request(why).into()
}

fn closing() -> AppendError {
    AppendError::Unavailable(Unavailable::Closed)
}

impl Consuming {
    async fn serve(
        self: &Arc<Self>,
        reader: PacketReader,
        credit: u32,
        seated: &mut Seated,
        closing_server: impl Future<Output = ()>,
    ) -> Ended {
        let (granted, credits) = watch::channel(u64::from(credit));
        let (decided, outcomes) = mpsc::channel(ANSWERS_MAX as usize);
        let mut telling = Box::pin(self.tell(outcomes));
        let going_on = async {
            tokio::select! {
                ended = self.deliver(credits) => ended,
                ended = self.listen(reader, &granted, decided.clone()) => ended,
                () = seated.superseded() => Ended::Superseded,
                () = closing_server => Ended::Told(closing()),
            }
        };
        let ended = tokio::select! {
            ended = going_on => ended,
            () = &mut telling => Ended::Lost,
        };
        drop(decided);
        // What was received is decided, and told to who still listens.
        match &ended {
            Ended::Left | Ended::Told(_) => {
                let _ = tokio::time::timeout(LAST_ANSWERS_TIME, telling).await;
                ended
            }
            _ => {
                drop(telling);
                self.settled(ended).await
            }
        }
    }

    /// Waits until what was received is decided.
    async fn settled(&self, ended: Ended) -> Ended {
        let all = self.places.acquire_many(ANSWERS_MAX);
        let _ = tokio::time::timeout(LAST_ANSWERS_TIME, all).await;
        ended
    }

    /// Delivers as long as there is credit. `credits` is all that was ever given.
    async fn deliver(&self, mut credits: watch::Receiver<u64>) -> Ended {
        match self.delivered(&mut credits).await {
            Ok(()) => Ended::Lost,
            Err(error) => Ended::Told(error),
        }
    }

    /// `Ok`: the client takes nothing any more.
    async fn delivered(&self, credits: &mut watch::Receiver<u64>) -> Result<(), AppendError> {
        let mut used = 0;
        // A session is one request: what it asks a group after counts no more.
        let mut access = self.access.clone();
        loop {
            let Some(credit) = self.credit_left(credits, used).await? else {
                return std::future::pending().await;
            };
            let max = usize::try_from(credit.min(self.max)).unwrap_or(DELIVERIES_MAX);
            let wait = access.time_left().map_or(ASK_TIME, |left| left.min(ASK_TIME));
            let mut received = access.receive(&self.group, &self.consumer, max, wait).await?;
            access = access.admitted();
            access.may_consume()?;
            while !received.is_empty() {
                let deliveries = if received.is_in_memory() {
                    received.next(DELIVERIES_BYTES)?
                } else {
                    let read = move || {
                        let deliveries = received.next(DELIVERIES_BYTES);
                        deliveries.map(|deliveries| (received, deliveries))
                    };
                    let read = tokio::task::spawn_blocking(read).await;
                    let (rest, deliveries) = read.expect("reading does not panic")?;
                    received = rest;
                    deliveries
                };
                if deliveries.is_empty() {
                    continue;
                }
                let mut builder = DeliveriesBuilder::default();
                deliveries.iter().for_each(|delivery| builder.push(delivery));
                used += builder.len() as u64;
                match self.send(builder.take()).await {
                    Ok(()) => {}
                    Err(Unsent::Gone) => return Ok(()),
                    // It is not the consumer's fault, and nothing of it counts as tried.
                    Err(Unsent::NoMemory) => return Err(no_memory()),
                }
            }
        }
    }

    /// Waits until there is more credit than was used, and gives what is left of it; `None`: no more will come. A
    /// consumer that gives none is told all the same when its time is over.
    async fn credit_left(
        &self,
        credits: &mut watch::Receiver<u64>,
        used: u64,
    ) -> Result<Option<u64>, AppendError> {
        loop {
            let over = async {
                match self.access.time_left() {
                    Some(time) => tokio::time::sleep(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                total = credits.wait_for(|total| *total > used) => {
                    return Ok(total.ok().map(|total| *total - used));
                }
                () = over => self.access.may_consume()?,
            }
        }
    }

    /// Sends a packet, in its turn.
    async fn send(&self, packet: Bytes) -> Result<(), Unsent> {
        let mut counted = None;
        if packet.len() > 2 * DELIVERIES_BYTES {
            counted = self.memory.take_in_time(packet.len()).await;
            if counted.is_none() {
                return Err(Unsent::NoMemory);
            }
        }
        let sent = session::send_in_time(&mut *self.send.lock().await, packet).await;
        drop(counted);
        if sent { Ok(()) } else { Err(Unsent::Gone) }
    }

    /// Takes what the client says, until it has said all.
    async fn listen(
        self: &Arc<Self>,
        mut reader: PacketReader,
        granted: &watch::Sender<u64>,
        decided: mpsc::Sender<Decided>,
    ) -> Ended {
        let kinds = [PacketKind::Credit, PacketKind::Answers, PacketKind::AckWith];
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let received = match reader.next_of(&kinds, "credit or answers of a consumer").await {
                Ok(Some(received)) => received,
                Ok(None) => return Ended::Left,
                Err(Broken::Lost(_) | Broken::Cut) => return Ended::Lost,
                Err(Broken::Slow) => return Ended::Told(away(&Broken::Slow)),
                Err(broken) => return Ended::Broken(broken),
            };
            match said_in(received) {
                Ok(Heard::Credit(more)) => {
                    granted.send_modify(|total| *total = total.saturating_add(more.into()));
                }
                Ok(Heard::Answers(seq, answers, memory)) => {
                    let (this, decided) = (Arc::clone(self), decided.clone());
                    // In a task of its own: it is decided also where the session ends meanwhile.
                    tokio::spawn(async move {
                        let outcome = this.decide(answers).await;
                        drop((this, memory));
                        let _ = decided.send(Decided { seq, outcome, place }).await;
                    });
                }
                Err(broken) => return Ended::Broken(broken),
            }
        }
    }

    async fn decide(&self, answers: Answering) -> Outcome {
        let access = self.access.anew();
        let access = access.as_ref().unwrap_or(&self.access);
        let (group, consumer) = (&*self.group, Some(&*self.consumer));
        match answers {
            Answering::With(AckWith { tokens, append, .. }) => {
                access.ack_with(group, consumer, tokens, append).await
            }
            Answering::Plain(Answers { tokens, said, .. }) => {
                let answered = match said {
                    Said::Ack => access.ack(group, consumer, tokens).await,
                    Said::Nack(nack) => access.nack(group, consumer, tokens, nack).await,
                    Said::Extend(by) => access.extend(group, consumer, tokens, by).await,
                };
                answered.map(|answered| (answered, None))
            }
        }
    }

    /// Tells what was decided, much of it together; ends when there will be no more, or the client takes it no more.
    async fn tell(&self, mut outcomes: mpsc::Receiver<Decided>) {
        while let Some(first) = outcomes.recv().await {
            let mut bytes = bytes_of(&first.outcome);
            let mut told = vec![AnsweredHead::new(first.seq, &first.outcome)];
            let mut places = vec![first.place];
            while bytes < ANSWERED_BYTES_MAX
                && let Ok(next) = outcomes.try_recv()
            {
                bytes += bytes_of(&next.outcome);
                told.push(AnsweredHead::new(next.seq, &next.outcome));
                places.push(next.place);
            }
            if self.send(encode_packet(PacketKind::Answered, &told, &[])).await.is_err() {
                return;
            }
        }
    }
}

/// About how many bytes an outcome has in a packet.
fn bytes_of(outcome: &Outcome) -> usize {
    match outcome {
        Ok((answered, appended)) => {
            let streams = appended.iter().flat_map(|appended| &appended.streams);
            let streams: usize = streams.map(|it| it.stream.as_str().len() + 64).sum();
            streams + 64 + 40 * answered.refused.len()
        }
        Err(_) => 2048,
    }
}

/// Answers that are decided.
#[derive(Debug)]
struct Decided {
    seq: u64,
    outcome: Outcome,
    place: OwnedSemaphorePermit,
}

/// What a client says.
#[derive(Debug)]
enum Heard {
    Credit(u32),
    Answers(u64, Answering, Option<Held>),
}

#[derive(Debug)]
enum Answering {
    Plain(Answers),
    With(AckWith),
}

fn said_in(received: Received) -> Result<Heard, Broken> {
    let Received { packet, memory } = received;
    Ok(match packet.kind {
        PacketKind::Credit => Heard::Credit(packet.message()?),
        PacketKind::Answers => {
            let answers = decode_answers(&packet.head)?;
            Heard::Answers(answers.seq, Answering::Plain(answers), memory)
        }
        _ => {
            let with = decode_ack_with(&packet.head, &packet.payload)?;
            Heard::Answers(with.seq, Answering::With(with), memory)
        }
    })
}

//! A session of a consumer: deliveries as long as there is credit, and answers to them, many of which may be under way.
//!
//! Three things go on beside each other: deliveries are taken from the group and sent, what the client says is
//! received, and what became of that is answered. However the session ends, what was received before is decided, and
//! then the consumer goes: the others have at once what it did not answer.

use std::sync::Arc;

use bytes::Bytes;
use nexus_node::DELIVERIES_MAX;
use nexus_protocol::group::Delivery;
use nexus_protocol::schema::AsSchema;
use nexus_protocol::wire::ConsumeHead;
use nexus_protocol::wire::{
    AckWith, AnsweredHead, Answers, DeliveriesBuilder, PacketKind, decode_ack_with, decode_answers,
    encode_packet,
};
use nexus_protocol::{AppendError, limits};
use quinn::SendStream;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::packets::{Broken, PacketReader, Received};
use super::session::{self, Accessed, Request, Session};
use crate::consumers::{
    Answering, Consuming, DELIVERIES_BYTES, LAST_ANSWERS_TIME, Outcome, Seated, Taker, Unsent,
    away, closing,
};
use crate::door::{Held, Memory};

const _: () = assert!(DELIVERIES_MAX == limits::DELIVERIES_MAX, "what a group gives fits a packet");

/// Packets of answers of one session that may be under way (I8).
const ANSWERS_MAX: u32 = 256;
/// What those that are told together may come to: one that names a thousand streams has some hundred KB.
const ANSWERED_BYTES_MAX: usize = 1024 * 1024;
/// A session of a consumer that has begun.
#[derive(Debug)]
struct Conversation {
    consuming: Consuming,
    session: Session,
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

/// Serves a consumer until it leaves.
pub(crate) async fn run(
    session: &Session,
    access: Accessed,
    (wanted, as_schema): (ConsumeHead, AsSchema),
    request: Request,
) {
    let Request { asked, reader, send } = request;
    let opened = access.map_err(|refused| session.no_access(&asked, refused));
    let ConsumeHead { group, consumer, credit, max } = wanted;
    let consuming = match opened.and_then(|access| Consuming::new(access, group, consumer)) {
        Ok(consuming) => consuming.showing(as_schema),
        Err(error) => return session::fail_append(session, send, &error).await,
    };
    let _ = send.set_priority(session::PRIORITY_LIVE);
    let mut seated = match consuming.seat(&session.door.consumers).await {
        Ok(seated) => seated,
        Err(error) => return session::fail_append(session, send, &error).await,
    };
    let conversation = Arc::new(Conversation {
        consuming,
        session: session.clone(),
        memory: session.door.memory.clone(),
        send: Mutex::new(send),
        places: Arc::new(Semaphore::new(ANSWERS_MAX as usize)),
    });
    let wanted = (credit.into(), u64::from(max).clamp(1, DELIVERIES_MAX as u64));
    let ended = conversation.serve(reader, wanted, &mut seated, session.door.closing()).await;
    let lost = matches!(ended, Ended::Lost | Ended::Broken(_) | Ended::Superseded);
    conversation.consuming.end(lost).await;
    drop(seated);
    let Some(Conversation { consuming, send, .. }) = Arc::into_inner(conversation) else { return };
    let send = send.into_inner();
    match ended {
        Ended::Left => session::finish(send).await,
        Ended::Lost => {}
        Ended::Broken(broken) => session::refuse(session, &asked, send, &broken).await,
        Ended::Told(error) => session::fail_append(session, send, &error).await,
        Ended::Superseded => session::fail_append(session, send, &consuming.superseded()).await,
    }
}

impl Taker for Conversation {
    async fn take(&self, deliveries: &[Delivery]) -> Result<(), Unsent> {
        let mut builder = DeliveriesBuilder::default();
        deliveries.iter().for_each(|delivery| builder.push(delivery));
        self.send(builder.take()).await
    }
}

impl Conversation {
    async fn serve(
        self: &Arc<Self>,
        reader: PacketReader,
        (credit, max): (u64, u64),
        seated: &mut Seated,
        closing_server: impl Future<Output = ()>,
    ) -> Ended {
        let (granted, mut credits) = watch::channel(credit);
        let (decided, outcomes) = mpsc::channel(ANSWERS_MAX as usize);
        let mut telling = Box::pin(self.tell(outcomes));
        let going_on = async {
            tokio::select! {
                ended = self.deliver(&mut credits, max) => ended,
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

    /// Delivers as long as there is credit.
    async fn deliver(&self, credits: &mut watch::Receiver<u64>, max: u64) -> Ended {
        match self.consuming.deliver(credits, max, self).await {
            Ok(()) => Ended::Lost,
            Err(error) => Ended::Told(error),
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
                        let outcome = this.consuming.decide(answers).await;
                        drop((this, memory));
                        let _ = decided.send(Decided { seq, outcome, place }).await;
                    });
                }
                Err(broken) => return Ended::Broken(broken),
            }
        }
    }

    /// Tells what was decided, much of it together; ends when there will be no more, or the client takes it no more.
    async fn tell(&self, mut outcomes: mpsc::Receiver<Decided>) {
        while let Some(first) = outcomes.recv().await {
            let mut bytes = bytes_of(&first.outcome);
            let told_of =
                |it: Decided| (AnsweredHead::new(it.seq, &self.session.told(it.outcome)), it.place);
            let (head, place) = told_of(first);
            let mut told = vec![head];
            let mut places = vec![place];
            while bytes < ANSWERED_BYTES_MAX
                && let Ok(next) = outcomes.try_recv()
            {
                bytes += bytes_of(&next.outcome);
                let (head, place) = told_of(next);
                told.push(head);
                places.push(place);
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
        Err(error) => crate::in_flight::bytes_of(error),
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

fn said_in(received: Received) -> Result<Heard, Broken> {
    let Received { packet, memory } = received;
    Ok(match packet.kind {
        PacketKind::Credit => Heard::Credit(packet.message()?),
        PacketKind::Answers => {
            let Answers { seq, tokens, said } = decode_answers(&packet.head)?;
            Heard::Answers(seq, Answering::Plain(tokens, said), memory)
        }
        _ => {
            let AckWith { seq, tokens, append } = decode_ack_with(&packet.head, &packet.payload)?;
            Heard::Answers(seq, Answering::With(tokens, append), memory)
        }
    })
}

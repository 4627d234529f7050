//! A session of appends: submitted as they arrive, answered in their order, many answers at a time.

use std::pin::Pin;
use std::task::Poll;

use nexus_node::Access;
use nexus_node::PendingAppend;
use nexus_protocol::wire::{AppendAnswer, PacketKind, decode_append, encode_packet};
use nexus_protocol::{AppendError, Appended, Invalid};
use quinn::SendStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::packets::{PacketReader, Received};
use super::session::{self, Accessed, Request, Session};

/// Answers in one packet at most.
const ANSWERS_MAX: usize = 256;

type Answer = Result<Appended, AppendError>;

/// An append that is not answered yet, and the memory that is counted for it.
struct InFlight {
    state: State,
    _memory: OwnedSemaphorePermit,
}

enum State {
    Ready(Box<Answer>),
    Pending(PendingAppend),
}

/// Serves a session of appends until the client ends it.
pub(crate) async fn run(session: &Session, access: Accessed, request: Request) {
    let Request { reader, mut send } = request;
    let access = match access {
        Ok(access) => access,
        Err(refused) => return session::fail_append(&mut send, &refused.0.into()).await,
    };
    let _ = send.set_priority(session::PRIORITY_ANSWERS);
    let (submitted, answered) = mpsc::channel(session.door.appends_in_flight_max.max(1) as usize);
    let closing = session.door.closing.subscribe();
    tokio::join!(submit(access, reader, submitted, closing), answer(answered, send));
}

/// Submits appends as they arrive; stops at the first that is not one, and when the server closes.
async fn submit(
    access: Access,
    mut reader: PacketReader,
    submitted: mpsc::Sender<InFlight>,
    mut closing: tokio::sync::watch::Receiver<bool>,
) {
    loop {
        let received = tokio::select! {
            received = reader.next() => received,
            _ = closing.wait_for(|closing| *closing) => return,
            () = submitted.closed() => return,
        };
        let Received { packet, memory } = match received {
            Ok(Some(received)) => received,
            // What was submitted is answered all the same.
            Ok(None) | Err(_) => return,
        };
        let packet = packet.of(PacketKind::Append, "an append of a session");
        let decoded = packet.and_then(|packet| decode_append(&packet.head, &packet.payload));
        let (state, ends) = match decoded {
            Ok(append) => match access.append(append) {
                Ok(pending) => (placed(pending).await, false),
                Err(error) => (State::Ready(Box::new(Err(error))), false),
            },
            Err(why) => {
                (State::Ready(Box::new(Err(Invalid::Request(why.to_string()).into()))), true)
            }
        };
        if submitted.send(InFlight { state, _memory: memory }).await.is_err() || ends {
            return;
        }
    }
}

/// Waits until an append has its place in the queue: the next one must not overtake it.
async fn placed(mut pending: PendingAppend) -> State {
    let answer = std::future::poll_fn(|context| match Pin::new(&mut pending).poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if pending.is_placed() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    match answer.await {
        Some(answer) => State::Ready(Box::new(answer)),
        None => State::Pending(pending),
    }
}

/// Answers appends in their order: what is answered already goes out in one packet.
async fn answer(mut answered: mpsc::Receiver<InFlight>, mut send: SendStream) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(first) => first,
            None => match answered.recv().await {
                Some(first) => first,
                None => break,
            },
        };
        let mut answers = vec![AppendAnswer::from(&settled(first.state).await)];
        while answers.len() < ANSWERS_MAX
            && let Ok(mut next) = answered.try_recv()
        {
            match settled_now(&mut next.state).await {
                Some(answer) => answers.push((&answer).into()),
                None => {
                    held = Some(next);
                    break;
                }
            }
        }
        let packet = encode_packet(PacketKind::Appended, &answers, &[]);
        if send.write_chunk(packet).await.is_err() {
            // The client is gone. What it submitted happens all the same.
            return;
        }
    }
    let _ = send.finish();
}

async fn settled(state: State) -> Answer {
    match state {
        State::Ready(answer) => *answer,
        State::Pending(pending) => pending.await,
    }
}

/// The answer, if it is there.
async fn settled_now(state: &mut State) -> Option<Answer> {
    let pending = match state {
        State::Ready(answer) => return Some((**answer).clone()),
        State::Pending(pending) => pending,
    };
    std::future::poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *pending).poll(context) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        })
    })
    .await
}

//! A session of appends: submitted as they arrive, answered in their order, many answers at a time.

use std::pin::Pin;
use std::task::Poll;

use nexus_node::Access;
use nexus_node::PendingAppend;
use nexus_protocol::wire::{AppendAnswer, PacketKind, WireError, decode_append, encode_packet};
use nexus_protocol::{AppendError, Appended, Invalid};
use quinn::SendStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::packets::{Broken, PacketReader, Received};
use super::session::{self, Accessed, Request, Session};

/// Answers in one packet at most, and what they may come to: one that names a thousand streams has some
/// hundred KB.
const ANSWERS_MAX: usize = 256;
const ANSWERS_BYTES_MAX: usize = 1024 * 1024;

type Answer = Result<Appended, AppendError>;

/// An append that is not answered yet, and the memory that is counted for it.
struct InFlight {
    state: State,
    memory: Option<OwnedSemaphorePermit>,
}

enum State {
    Ready(Box<Answer>),
    Pending(PendingAppend),
}

/// Serves a session of appends until the client ends it.
pub(crate) async fn run(session: &Session, access: Accessed, request: Request) {
    let Request { reader, send } = request;
    let opened = access.map_err(|refused| refused.0.into());
    // Asked before anything of an append is looked at, and again for each.
    let access = match opened.and_then(|access| access.may_append().map(|()| access)) {
        Ok(access) => access,
        Err(error) => return session::fail_append(send, &error).await,
    };
    let _ = send.set_priority(session::PRIORITY_ANSWERS);
    let (submitted, answered) = mpsc::channel(session.door.appends_in_flight_max.max(1) as usize);
    let closing = session.door.closing.subscribe();
    tokio::join!(submit(access, reader, submitted, closing), answer(answered, send));
}

/// Submits appends as they arrive; stops at the first that is not one, and when the server closes.
async fn submit(
    mut access: Access,
    mut reader: PacketReader,
    submitted: mpsc::Sender<InFlight>,
    mut closing: tokio::sync::watch::Receiver<bool>,
) {
    loop {
        let received = tokio::select! {
            received = reader.next(PacketKind::Append, "an append of a session") => received,
            _ = closing.wait_for(|closing| *closing) => return,
            () = submitted.closed() => return,
        };
        let decoded = match received {
            Ok(Some(Received { packet, memory })) => {
                decode_append(&packet.head, &packet.payload).map(|append| (append, memory))
            }
            // What was submitted is answered all the same.
            Ok(None) | Err(Broken::Lost(_)) => return,
            Err(Broken::Wire(why)) => Err(why),
            Err(broken) => Err(WireError::Malformed(broken.to_string())),
        };
        if let Some(anew) = access.anew() {
            access = anew;
        }
        let (state, memory, ends) = match decoded {
            Ok((append, memory)) => match access.append(append) {
                Ok(pending) => (placed(pending).await, memory, false),
                Err(error) => (State::Ready(Box::new(Err(error))), memory, false),
            },
            Err(why) => {
                let error = Invalid::Request(why.to_string()).into();
                (State::Ready(Box::new(Err(error))), None, true)
            }
        };
        if submitted.send(InFlight { state, memory }).await.is_err() || ends {
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
        let InFlight { state, memory } = first;
        let answer = settled(state).await;
        drop(memory);
        let mut bytes = bytes_of(&answer);
        let mut answers = vec![AppendAnswer::from(&answer)];
        while answers.len() < ANSWERS_MAX
            && bytes < ANSWERS_BYTES_MAX
            && let Ok(mut next) = answered.try_recv()
        {
            match settled_now(&mut next.state).await {
                Some(answer) => {
                    bytes += bytes_of(&answer);
                    answers.push((&answer).into());
                }
                None => {
                    held = Some(next);
                    break;
                }
            }
        }
        let packet = encode_packet(PacketKind::Appended, &answers, &[]);
        let written =
            tokio::time::timeout(session::ANSWER_TIME_MAX, send.write_chunk(packet)).await;
        if !matches!(written, Ok(Ok(()))) {
            // The client is gone, or takes no answers. What it submitted happens all the same.
            return;
        }
    }
    session::finish(send).await;
}

/// About how many bytes an answer has in a packet.
fn bytes_of(answer: &Answer) -> usize {
    match answer {
        Ok(appended) => appended.streams.iter().map(|it| it.stream.as_str().len() + 64).sum(),
        Err(_) => 2048,
    }
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

//! A session of appends: submitted as they arrive, answered in their order, many answers at a time.

use std::fmt::Display;

use nexus_node::Access;
use nexus_protocol::wire::{AppendAnswer, PacketKind, decode_append, encode_packet};
use nexus_protocol::{AppendError, Invalid, Unavailable};
use quinn::SendStream;
use tokio::sync::mpsc;

use super::packets::{Broken, PacketReader, Received};
use super::session::{self, Accessed, Request, Session};
use crate::in_flight::{Answer, InFlight};

/// Answers in one packet at most, and what they may come to: one that names a thousand streams has some
/// hundred KB.
const ANSWERS_MAX: usize = 256;
const ANSWERS_BYTES_MAX: usize = 1024 * 1024;

/// Serves a session of appends until the client ends it.
pub(crate) async fn run(session: &Session, access: Accessed, request: Request) {
    let Request { asked, reader, send } = request;
    let opened = access.map_err(|refused| session.no_access(&asked, refused));
    // Asked before anything of an append is looked at, and again for each.
    let access = match opened.and_then(|access| access.may_append().map(|()| access)) {
        Ok(access) => access,
        Err(error) => return session::fail_append(session, send, &error).await,
    };
    let _ = send.set_priority(session::PRIORITY_ANSWERS);
    let (submitted, answered) = mpsc::channel(session.door.appends_in_flight_max.max(1) as usize);
    let closing = session.door.closing.subscribe();
    let not_one = |error: &AppendError| session.log(&asked, error);
    tokio::join!(
        submit(access, reader, submitted, closing, not_one),
        answer(session, answered, send)
    );
}

/// Submits appends as they arrive; stops at the first that is not one, which `not_one` is told, and when
/// the server closes.
async fn submit(
    mut access: Access,
    mut reader: PacketReader,
    submitted: mpsc::Sender<InFlight>,
    mut closing: tokio::sync::watch::Receiver<bool>,
    not_one: impl Fn(&AppendError),
) {
    loop {
        let received = tokio::select! {
            received = reader.next(PacketKind::Append, "an append of a session") => received,
            _ = closing.wait_for(|closing| *closing) => return,
            () = submitted.closed() => return,
        };
        let decoded = match received {
            Ok(Some(Received { packet, memory })) => {
                let decoded = decode_append(&packet.head, &packet.payload);
                decoded.map(|append| (append, memory)).map_err(not_right)
            }
            // What was submitted is answered all the same.
            Ok(None) | Err(Broken::Lost(_)) => return,
            Err(Broken::Wire(why)) => Err(not_right(why)),
            // It was not wrong, and may come again.
            Err(slow @ Broken::Slow) => {
                Err(AppendError::Unavailable(Unavailable::NotReachable(slow.to_string())))
            }
            Err(broken) => Err(not_right(broken)),
        };
        if let Some(anew) = access.anew() {
            access = anew;
        }
        let (in_flight, ends) = match decoded {
            Ok((append, memory)) => {
                (InFlight::submit(&access, append, memory.into_iter().collect()).await, false)
            }
            Err(error) => {
                not_one(&error);
                (InFlight::refused(error), true)
            }
        };
        if submitted.send(in_flight).await.is_err() || ends {
            return;
        }
    }
}

fn not_right(why: impl Display) -> AppendError {
    Invalid::Request(why.to_string()).into()
}

/// Answers appends in their order: what is answered already goes out in one packet.
async fn answer(session: &Session, mut answered: mpsc::Receiver<InFlight>, mut send: SendStream) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(first) => first,
            None => match answered.recv().await {
                Some(first) => first,
                None => break,
            },
        };
        let answer = session.told(first.settled().await);
        let mut bytes = bytes_of(&answer);
        let mut answers = vec![AppendAnswer::from(&answer)];
        while answers.len() < ANSWERS_MAX
            && bytes < ANSWERS_BYTES_MAX
            && let Ok(mut next) = answered.try_recv()
        {
            match next.settled_now().await {
                Some(answer) => {
                    let answer = session.told(answer);
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
        if !session::send_in_time(&mut send, packet).await {
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
        Err(error) => crate::in_flight::bytes_of(error),
    }
}

//! One WebSocket for everything that comes by itself: `/v1/ws`, subprotocol `nexus.v1`, JSON frames.
//!
//! A client opens channels, each under an id of its own, and gives each credit for events; the server
//! sends frames with that id. Each frame has a token: a channel that is opened again with the last one
//! in `resume` goes on after it without a gap or a repeat. A channel without credit waits at its place
//! in the log and holds no event in memory. A channel of a group is a consumer of it: there the token is
//! what a delivery is answered with, and the group knows where it is.
//!
//! Is not: a door to append by itself. That is done by requests, or together with an acknowledgement.

mod delivery;
mod group;
mod said;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use nexus_node::telemetry::{Context, Operation};
use nexus_node::{Access, Principal};
use nexus_protocol::json::nack_of;
use nexus_protocol::wire::Said as Decision;
use nexus_protocol::{ErrorCode, NamespaceName, ReadError, Subscribe};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, Id as TaskId, JoinError, JoinSet};

use self::delivery::Delivery;
use self::group::Heard;
use self::said::{Channel, Id, Opened, Said, about};
use super::call::{Call, UnderWay};
use super::events::resumed;
use super::groups::tokens;
use super::listener::Place;
use super::problem::Problem;
use super::{Http, principal};
use crate::consumers::{Answering, Consuming, LAST_ANSWERS_TIME};
use crate::feed::Feed;

/// The subprotocol, which names this version of the frames.
pub(crate) const SUBPROTOCOL: &str = "nexus.v1";
/// Channels of one socket.
const CHANNELS_MAX: usize = 256;
/// Longest frame of a client, in bytes.
const FRAME_BYTES_MAX: usize = 128 * 1024;
/// One that is longer, and not longer than this, is received and refused; beyond, it ends the socket.
const FRAME_BYTES_REFUSED: usize = 1024 * 1024;
/// Longest id of a channel, in bytes.
const ID_BYTES_MAX: usize = 64;
/// Answers of one socket that may be under way (I8).
const ANSWERS_MAX: usize = 32;
/// Credit of a channel that is opened without any.
const CREDIT_DEFAULT: u64 = 256;
/// Who has not said who they are after so long is let go.
const AUTH_TIME_MAX: Duration = Duration::from_secs(5);
/// When the server goes, its consumers have so much longer than for their last answers.
const GO_TIME: Duration = Duration::from_secs(5);
/// A socket is asked so often whether it is there, and what is watched whether it still may be read.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that says nothing, not even that it got a ping, after so many is gone.
const PINGS_UNANSWERED_MAX: u32 = 3;
/// A client that takes nothing for so long is gone.
const TAKE_TIME_MAX: Duration = Duration::from_secs(60);

/// Codes that a socket is closed with (RFC 6455, 7.4).
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

/// `GET /v1/ws`
pub(crate) async fn upgrade(mut call: Call) -> Result<Response, Problem> {
    let says_who = call.parts.headers.contains_key(header::AUTHORIZATION);
    let Parts { uri, headers, extensions, .. } = &call.parts;
    let principal = match principal(&call.http, uri, headers, extensions) {
        Ok(principal) => Some(Arc::new(principal)),
        Err(problem) if says_who => return Err(problem),
        // The first frame says it.
        Err(_) => None,
    };
    let namespace = call.namespace().to_owned();
    NamespaceName::new(&namespace)?;
    let http = Arc::clone(&call.http);
    let upgrade = WebSocketUpgrade::from_request_parts(&mut call.parts, &()).await;
    let upgrade = upgrade.map_err(|why| {
        Problem::invalid(format!("this path takes WebSockets only, over HTTP/1.1: {why}"))
    })?;
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .max_frame_size(FRAME_BYTES_REFUSED)
        .max_message_size(FRAME_BYTES_REFUSED);
    if upgrade.selected_protocol().is_none() {
        return Err(Problem::invalid(format!(
            "header `Sec-WebSocket-Protocol`: ask for {SUBPROTOCOL}"
        )));
    }
    // The connection ends for its listener when the socket begins: its place is held on.
    let place = call.parts.extensions.get::<Place>().cloned();
    let under_way = Arc::clone(&call.under_way);
    Ok(upgrade.on_upgrade(async move |socket| {
        let _held = place;
        Session::run(socket, http, (namespace, principal), under_way).await;
    }))
}

/// What is sent to a client: a frame, or the end.
type Out = mpsc::Sender<Utf8Bytes>;

/// A channel that is open.
#[derive(Debug)]
struct Open {
    /// All credit that was ever given.
    credit: watch::Sender<u64>,
    task: AbortHandle,
    kind: Kind,
}

/// What a channel is.
#[derive(Debug)]
enum Kind {
    Feed,
    /// A consumer, and what it is told. When this goes without a word, so is the client.
    Consumer(mpsc::UnboundedSender<Heard>),
    /// A consumer that says good-bye: its channel is there until it has.
    Closing,
}

/// The last frame of a channel.
type Last = Option<Utf8Bytes>;

/// One socket.
#[derive(Debug)]
struct Session {
    http: Arc<Http>,
    namespace: String,
    principal: Arc<Principal>,
    channels: HashMap<Id, Open>,
    /// The tasks of channels.
    tasks: JoinSet<Last>,
    out: Out,
    /// Places of answers that may be under way: without one, nothing is received.
    answers: Arc<Semaphore>,
    /// The next answer's.
    place: Option<OwnedSemaphorePermit>,
    under_way: UnderWay,
}

impl Session {
    async fn run(
        mut socket: WebSocket,
        http: Arc<Http>,
        (namespace, principal): (String, Option<Arc<Principal>>),
        under_way: UnderWay,
    ) {
        let principal = match principal {
            Some(principal) => principal,
            None => match tokio::time::timeout(AUTH_TIME_MAX, auth(&mut socket, &http)).await {
                Ok(Ok(principal)) => Arc::new(principal),
                Ok(Err(why)) => return close(socket, POLICY, &why).await,
                Err(_) => return close(socket, POLICY, "the first frame did not come").await,
            },
        };
        // One, so that who has ended has left no more than that.
        let (out, frames) = mpsc::channel(1);
        let session = Self {
            http,
            namespace,
            principal,
            channels: HashMap::new(),
            tasks: JoinSet::new(),
            out,
            answers: Arc::new(Semaphore::new(ANSWERS_MAX)),
            place: None,
            under_way,
        };
        session.serve(socket, frames).await;
    }

    /// Serves the socket until the client goes, or the server does.
    async fn serve(mut self, mut socket: WebSocket, mut frames: mpsc::Receiver<Utf8Bytes>) {
        let mut closing = std::pin::pin!(self.http.door.closing());
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut pings_unanswered = 0;
        loop {
            self.place = self.place.or_else(|| Arc::clone(&self.answers).try_acquire_owned().ok());
            let frame = tokio::select! {
                message = socket.recv(), if self.place.is_some() => {
                    pings_unanswered = 0;
                    match message {
                        Some(Ok(Message::Text(text))) => self.hear(&text).map(Message::Text),
                        Some(Ok(Message::Binary(_))) => {
                            self.say_to_consumers(|| Heard::Close);
                            return close(socket, POLICY, "frames are text").await;
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => None,
                        Some(Ok(Message::Close(_))) => return self.say_to_consumers(|| Heard::Close),
                        Some(Err(_)) | None => return,
                    }
                }
                place = Arc::clone(&self.answers).acquire_owned(), if self.place.is_none() => {
                    self.place = place.ok();
                    None
                }
                Some(frame) = frames.recv() => Some(Message::Text(frame)),
                Some(ended) = self.tasks.join_next_with_id() => {
                    // What it said before comes before its end. It is one frame at most, or another channel's.
                    if let Ok(before) = frames.try_recv()
                        && !sent(&mut socket, Message::Text(before)).await
                    {
                        return;
                    }
                    self.ended(ended).map(Message::Text)
                }
                _ = ping.tick() => {
                    if pings_unanswered == PINGS_UNANSWERED_MAX {
                        return tracing::debug!("a socket is silent, and was let go");
                    }
                    // What is not received cannot be missed.
                    pings_unanswered += u32::from(self.place.is_some());
                    Some(Message::Ping(bytes::Bytes::new()))
                }
                () = &mut closing => return self.go_away(socket, frames).await,
            };
            if let Some(frame) = frame
                && !sent(&mut socket, frame).await
            {
                return;
            }
        }
    }

    /// The channel of a task that has ended is so, too, and its id is free: then its last frame may go. One that was told
    /// to end has no place any more.
    fn ended(&mut self, ended: Result<(TaskId, Last), JoinError>) -> Last {
        let (task, last) = ended.unwrap_or_else(|failed| (failed.id(), None));
        let mut channels = self.channels.iter();
        let id = channels.find_map(|(id, open)| (open.task.id() == task).then(|| id.clone()))?;
        self.channels.remove(&id);
        last
    }

    fn say_to_consumers(&self, heard: impl Fn() -> Heard) {
        for open in self.channels.values() {
            if let Kind::Consumer(consumer) = &open.kind {
                let _ = consumer.send(heard());
            }
        }
    }

    /// The server goes: who consumes is told what became of the last answers.
    async fn go_away(mut self, mut socket: WebSocket, mut frames: mpsc::Receiver<Utf8Bytes>) {
        self.say_to_consumers(|| Heard::Closing);
        let feeds = self.channels.values().filter(|open| matches!(open.kind, Kind::Feed));
        feeds.for_each(|open| open.task.abort());
        let last = async {
            loop {
                let frame = tokio::select! {
                    biased;
                    Some(frame) = frames.recv() => Some(frame),
                    ended = self.tasks.join_next_with_id() => match ended {
                        Some(ended) => self.ended(ended),
                        None => return,
                    },
                };
                if let Some(frame) = frame
                    && !sent(&mut socket, Message::Text(frame)).await
                {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(LAST_ANSWERS_TIME + GO_TIME, last).await;
        close(socket, GOING_AWAY, "the server is shutting down").await;
    }

    /// Does what a client says; answers with a frame where that says something at once.
    fn hear(&mut self, text: &str) -> Option<Utf8Bytes> {
        let said = match text.len() {
            0..=FRAME_BYTES_MAX => Said::read(text),
            _ => Err(Problem::new(
                ErrorCode::TOO_LARGE,
                format!(
                    "a frame has at most {FRAME_BYTES_MAX} bytes: what is longer goes by request"
                ),
            )),
        };
        match said.and_then(|said| self.obey(said)) {
            Ok(frame) => frame,
            Err(problem) => {
                let context =
                    Context::new(Operation::Subscribe, &self.namespace, &self.principal.id);
                let problem = problem.logged(self.http.door.node.telemetry(), &context);
                // What it is about is told even where the rest is not understood. With a `seq`, if only null, it is not the
                // end of a channel.
                let (id, seq) = about(text);
                let problem = problem.json();
                let refused = json!({"id": id, "frame": "error", "seq": seq, "problem": problem});
                Some(frame(&refused))
            }
        }
    }

    fn obey(&mut self, said: Said<'_>) -> Result<Option<Utf8Bytes>, Problem> {
        match said {
            Said::Auth { .. } => return Err(Problem::invalid("it is known already who speaks")),
            Said::Open { id, channel, resume, credit } => {
                self.open(id, channel, resume.as_deref(), credit)?;
            }
            Said::Credit { id, events } => {
                let open = self.channels.get(&id).ok_or_else(not_open)?;
                open.credit.send_modify(|total| *total = total.saturating_add(events));
            }
            Said::Close { id } => {
                let open = self.channels.get_mut(&id).ok_or_else(not_open)?;
                match std::mem::replace(&mut open.kind, Kind::Closing) {
                    // It says itself that it is closed, after all else.
                    Kind::Consumer(consumer) => drop(consumer.send(Heard::Close)),
                    Kind::Closing => return Err(not_open()),
                    Kind::Feed => {
                        open.task.abort();
                        self.channels.remove(&id);
                        return Ok(Some(frame(&json!({"id": id, "frame": "closed"}))));
                    }
                }
            }
            Said::Ack(said::Ack { id, seq, tokens: texts, append, .. }) => {
                let tokens = tokens(&texts)?;
                let answering = match append {
                    None => Answering::Plain(tokens, Decision::Ack),
                    Some(append) => Answering::With(tokens, append.into_append()?),
                };
                self.answer(&id, seq, answering)?;
            }
            Said::Nack { id, seq, tokens: texts, action, delay_ms, error } => {
                let nack = Decision::Nack(nack_of(&action, delay_ms, error)?);
                self.answer(&id, seq, Answering::Plain(tokens(&texts)?, nack))?;
            }
            Said::Extend { id, seq, tokens: texts, by_ms } => {
                let extend = Decision::Extend(Duration::from_millis(by_ms));
                self.answer(&id, seq, Answering::Plain(tokens(&texts)?, extend))?;
            }
        }
        Ok(None)
    }

    /// Hands answers to the channel that they are of.
    fn answer(&mut self, id: &Id, seq: Option<u64>, answering: Answering) -> Result<(), Problem> {
        let open = self.channels.get(id).ok_or_else(not_open)?;
        let consumer = match &open.kind {
            Kind::Consumer(consumer) => consumer,
            Kind::Closing => return Err(not_open()),
            Kind::Feed => {
                let why = "the channel is none of a group: nothing is answered";
                return Err(Problem::invalid(why));
            }
        };
        let place = self.place.take().expect("a frame is received where there is a place");
        consumer.send(Heard::Answers(seq, answering, place)).map_err(|_| not_open())
    }

    fn open(
        &mut self,
        id: Id,
        channel: Channel,
        resume: Option<&str>,
        credit: Option<u64>,
    ) -> Result<(), Problem> {
        if matches!(&id, Id::Text(text) if text.len() > ID_BYTES_MAX) {
            return Err(Problem::invalid(format!("an id has at most {ID_BYTES_MAX} bytes")));
        }
        if self.channels.contains_key(&id) {
            return Err(Problem::invalid(
                "a channel of this id is open: close it and wait for `closed`, or take another",
            ));
        }
        if self.channels.len() >= CHANNELS_MAX {
            return Err(Problem::new(
                ErrorCode::TOO_LARGE,
                format!("{CHANNELS_MAX} channels are open, the most of a socket: close one"),
            ));
        }
        let access = self.http.door.node.access(Arc::clone(&self.principal), &self.namespace)?;
        let (credit, credits) = watch::channel(credit.unwrap_or(CREDIT_DEFAULT));
        let (task, kind) = match channel.opened()? {
            Opened::Feed(subscribe) => {
                let task = self.open_feed(&id, access, subscribe, resume, credits)?;
                (task, Kind::Feed)
            }
            Opened::Consumer { .. } if resume.is_some() => {
                let why = "a group knows itself where it goes on: leave `resume` out";
                return Err(Problem::invalid(why));
            }
            Opened::Consumer { group, consumer, as_schema } => {
                let consuming = Consuming::new(access, group, consumer)?.showing(as_schema);
                let (task, consumer) = self.open_consumer(&id, consuming, credits);
                (task, Kind::Consumer(consumer))
            }
        };
        self.channels.insert(id, Open { credit, task, kind });
        Ok(())
    }

    fn open_feed(
        &mut self,
        id: &Id,
        access: Access,
        mut subscribe: Subscribe,
        resume: Option<&str>,
        credits: watch::Receiver<u64>,
    ) -> Result<AbortHandle, Problem> {
        let lineage = access.head()?.lineage;
        let access = access.admitted();
        if let Some(resume) = resume {
            subscribe.start = resumed("`resume`", resume, lineage)?;
        }
        let feed = Feed::open(access.clone(), subscribe)?;
        let channel = Delivery { id: id.clone(), access, lineage, out: self.out.clone() };
        Ok(self.tasks.spawn(channel.run(feed, credits)))
    }

    fn open_consumer(
        &mut self,
        id: &Id,
        consuming: Consuming,
        credits: watch::Receiver<u64>,
    ) -> (AbortHandle, mpsc::UnboundedSender<Heard>) {
        // As many as there are places for answers, and an end.
        let (say, heard) = mpsc::unbounded_channel();
        let channel = group::Channel { id: id.clone(), consuming, out: self.out.clone() };
        let (http, under_way) = (Arc::clone(&self.http), Arc::clone(&self.under_way));
        // It outlives its socket: what was said is decided, and the consumer says good-bye.
        let channel =
            tokio::spawn(async move { channel.run(&http.door, credits, heard, under_way).await });
        let task = self.tasks.spawn(async move { channel.await.ok().flatten() });
        (task, say)
    }
}

fn not_open() -> Problem {
    Problem::new(ErrorCode::NOT_FOUND, "no channel of this id is open")
}

fn frame(json: &Value) -> Utf8Bytes {
    json.to_string().into()
}

/// The first frame of a socket whose request did not say who asks.
async fn auth(socket: &mut WebSocket, http: &Http) -> Result<Principal, String> {
    let not_auth = || "the first frame is not {\"op\":\"auth\",\"token\":…}".to_owned();
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) if text.len() <= FRAME_BYTES_MAX => {
                return match Said::read(&text) {
                    Ok(Said::Auth { token }) => {
                        http.door.identify(Some(&token), None).map_err(|refused| {
                            let error = ReadError::Unauthenticated { reason: refused.why };
                            let context = Context::new(Operation::Connect, "", "");
                            http.door.node.telemetry().log_error(&context, &error);
                            refused.answer.to_owned()
                        })
                    }
                    _ => Err(not_auth()),
                };
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return Err(not_auth()),
        }
    }
}

/// Sends a frame; `false`: the client is gone, or does not take it.
async fn sent(socket: &mut WebSocket, frame: Message) -> bool {
    let sent = tokio::time::timeout(TAKE_TIME_MAX, socket.send(frame)).await;
    matches!(sent, Ok(Ok(())))
}

async fn close(mut socket: WebSocket, code: u16, reason: &str) {
    // A reason is part of a control frame, which is short.
    let reason: String = reason.chars().take(100).collect();
    let message = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = tokio::time::timeout(AUTH_TIME_MAX, socket.send(message)).await;
}

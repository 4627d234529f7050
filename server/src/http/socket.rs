//! One WebSocket for everything that comes by itself: `/v1/ws`, subprotocol `nexus.v1`, JSON frames.
//!
//! A client opens channels, each under an id of its own, and gives each credit for events; the server
//! sends frames with that id. Each frame has a token: a channel that is opened again with the last one
//! in `resume` goes on after it without a gap or a repeat. A channel without credit waits at its place
//! in the log and holds no event in memory.
//!
//! Is not: a door to change anything. Events are appended by requests.

mod delivery;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use nexus_node::Principal;
use nexus_node::telemetry::{Context, Operation};
use nexus_protocol::{ErrorCode, Filter, NamespaceName, ReadError, Start, Subscribe};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use self::delivery::Delivery;
use super::body::read_json;
use super::call::Call;
use super::events::resumed;
use super::listener::Place;
use super::problem::Problem;
use super::{Http, principal};
use crate::feed::Feed;

/// The subprotocol, which names this version of the frames.
pub(crate) const SUBPROTOCOL: &str = "nexus.v1";
/// Channels of one socket.
const CHANNELS_MAX: usize = 256;
/// Longest frame of a client, in bytes.
const FRAME_BYTES_MAX: usize = 128 * 1024;
/// Longest id of a channel, in bytes.
const ID_BYTES_MAX: usize = 64;
/// Credit of a channel that is opened without any.
const CREDIT_DEFAULT: u64 = 256;
/// Who has not said who they are after so long is let go.
const AUTH_TIME_MAX: Duration = Duration::from_secs(5);
/// A socket is asked so often whether it is there, and channels whether they still may be read.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that says nothing, not even that it got a ping, after so many is gone.
const PINGS_UNANSWERED_MAX: u32 = 3;
/// A client that takes nothing for so long is gone.
const TAKE_TIME_MAX: Duration = Duration::from_secs(60);

/// Codes that a socket is closed with (RFC 6455, 7.4).
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    /// Who it is, where no header said so.
    Auth { token: String },
    /// It wants to see something as it comes.
    Open {
        id: Id,
        channel: Channel,
        #[serde(default)]
        resume: Option<String>,
        #[serde(default)]
        credit: Option<u64>,
    },
    /// It takes so many more events.
    Credit { id: Id, events: u64 },
    /// It wants no more of a channel.
    Close { id: Id },
}

/// A client's name of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

/// What is watched.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Channel {
    Stream {
        stream: String,
        #[serde(default)]
        start: At,
    },
    Category {
        category: String,
        #[serde(default)]
        start: At,
    },
    Filter {
        #[serde(default)]
        filter: Filter,
        #[serde(default)]
        system: bool,
        #[serde(default)]
        start: At,
    },
}

/// Where a channel begins that is not resumed.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    #[default]
    Beginning,
    End,
}

impl Channel {
    fn subscribe(self) -> Result<Subscribe, Problem> {
        let (subscribe, start) = match self {
            Self::Stream { stream, start } => (Subscribe::stream(stream), start),
            Self::Category { category, start } => {
                (Subscribe::all().filter(Filter::category(category)), start)
            }
            Self::Filter { filter, system, start } => {
                filter.check()?;
                (Subscribe { system, ..Subscribe::all().filter(filter) }, start)
            }
        };
        Ok(subscribe.start(match start {
            At::Beginning => Start::Beginning,
            At::End => Start::End,
        }))
    }
}

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
        .max_frame_size(FRAME_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX);
    if upgrade.selected_protocol().is_none() {
        return Err(Problem::invalid(format!(
            "header `Sec-WebSocket-Protocol`: ask for {SUBPROTOCOL}"
        )));
    }
    // The connection ends for its listener when the socket begins: its place is held on.
    let place = call.parts.extensions.get::<Place>().cloned();
    let under_way = Arc::clone(&call.under_way);
    Ok(upgrade.on_upgrade(async move |socket| {
        let _held = (place, under_way);
        Session::run(socket, http, namespace, principal).await;
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
}

/// One socket.
#[derive(Debug)]
struct Session {
    http: Arc<Http>,
    namespace: String,
    principal: Arc<Principal>,
    channels: HashMap<Id, Open>,
    /// The tasks of channels: each ends with the channel's id.
    tasks: JoinSet<Id>,
    out: Out,
}

impl Session {
    async fn run(
        mut socket: WebSocket,
        http: Arc<Http>,
        namespace: String,
        principal: Option<Arc<Principal>>,
    ) {
        let principal = match principal {
            Some(principal) => principal,
            None => match tokio::time::timeout(AUTH_TIME_MAX, auth(&mut socket, &http)).await {
                Ok(Ok(principal)) => Arc::new(principal),
                Ok(Err(why)) => return close(socket, POLICY, &why).await,
                Err(_) => return close(socket, POLICY, "the first frame did not come").await,
            },
        };
        let (out, frames) = mpsc::channel(1);
        let session = Self {
            http,
            namespace,
            principal,
            channels: HashMap::new(),
            tasks: JoinSet::new(),
            out,
        };
        session.serve(socket, frames).await;
    }

    /// Serves the socket until the client goes, or the server does.
    async fn serve(mut self, mut socket: WebSocket, mut frames: mpsc::Receiver<Utf8Bytes>) {
        let mut closing = std::pin::pin!(self.http.door.closing());
        let mut ping = tokio::time::interval(PING_EVERY);
        let mut pings_unanswered = 0;
        loop {
            let frame = tokio::select! {
                message = socket.recv() => {
                    pings_unanswered = 0;
                    match message {
                        Some(Ok(Message::Text(text))) => self.hear(&text).map(Message::Text),
                        Some(Ok(Message::Binary(_))) => {
                            return close(socket, POLICY, "frames are text").await;
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => None,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    }
                }
                Some(frame) = frames.recv() => Some(Message::Text(frame)),
                Some(ended) = self.tasks.join_next() => {
                    // One that was told to end has no place any more, or another has it.
                    if let Ok(id) = ended
                        && self.channels.get(&id).is_some_and(|it| it.task.is_finished())
                    {
                        self.channels.remove(&id);
                    }
                    None
                }
                _ = ping.tick() => {
                    if pings_unanswered == PINGS_UNANSWERED_MAX {
                        return tracing::debug!("a socket is silent, and was let go");
                    }
                    pings_unanswered += 1;
                    Some(Message::Ping(bytes::Bytes::new()))
                }
                () = &mut closing => {
                    return close(socket, GOING_AWAY, "the server is shutting down").await;
                }
            };
            if let Some(frame) = frame {
                let sent = tokio::time::timeout(TAKE_TIME_MAX, socket.send(frame)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }

    /// Does what a client says; answers with a frame where that says something at once.
    fn hear(&mut self, text: &str) -> Option<Utf8Bytes> {
        // What it is about is told even where the rest is not understood.
        let id = |text: &str| {
            let said: Option<Value> = serde_json::from_str(text).ok();
            let id = said.and_then(|said| said.get("id").cloned());
            id.filter(|id| id.is_u64() || id.as_str().is_some_and(|it| it.len() <= ID_BYTES_MAX))
        };
        let done = match read_json(text.as_bytes(), "the frame is not understood") {
            Ok(said) => self.obey(said),
            Err(problem) => Err(problem),
        };
        match done {
            Ok(frame) => frame,
            Err(problem) => {
                let context =
                    Context::new(Operation::Subscribe, &self.namespace, &self.principal.id);
                let problem = problem.logged(self.http.door.node.telemetry(), &context);
                Some(frame(&json!({
                    "id": id(text), "frame": "error", "problem": problem.json(),
                })))
            }
        }
    }

    fn obey(&mut self, said: Said) -> Result<Option<Utf8Bytes>, Problem> {
        match said {
            Said::Auth { .. } => Err(Problem::invalid("it is known already who speaks")),
            Said::Open { id, channel, resume, credit } => {
                self.open(id, channel, resume.as_deref(), credit)?;
                Ok(None)
            }
            Said::Credit { id, events } => {
                let open = self.channels.get(&id).ok_or_else(not_open)?;
                open.credit.send_modify(|total| *total = total.saturating_add(events));
                Ok(None)
            }
            Said::Close { id } => {
                self.channels.remove(&id).ok_or_else(not_open)?.task.abort();
                Ok(Some(frame(&json!({"id": id, "frame": "closed"}))))
            }
        }
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
                "a channel of this id is open: close it, or take another",
            ));
        }
        if self.channels.len() >= CHANNELS_MAX {
            return Err(Problem::new(
                ErrorCode::TOO_LARGE,
                format!("{CHANNELS_MAX} channels are open, the most of a socket: close one"),
            ));
        }
        let access = self.http.door.node.access(Arc::clone(&self.principal), &self.namespace)?;
        let lineage = access.head()?.lineage;
        let access = access.admitted();
        let mut subscribe = channel.subscribe()?;
        if let Some(resume) = resume {
            subscribe.start = resumed("`resume`", resume, lineage)?;
        }
        let feed = Feed::open(access.clone(), subscribe)?;
        let (credit, credits) = watch::channel(credit.unwrap_or(CREDIT_DEFAULT));
        let channel = Delivery { id: id.clone(), access, lineage, out: self.out.clone() };
        let task = self.tasks.spawn(channel.run(feed, credits));
        self.channels.insert(id, Open { credit, task });
        Ok(())
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
            Some(Ok(Message::Text(text))) => {
                return match serde_json::from_str(&text) {
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

async fn close(mut socket: WebSocket, code: u16, reason: &str) {
    // A reason is part of a control frame, which is short.
    let reason: String = reason.chars().take(100).collect();
    let message = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = tokio::time::timeout(AUTH_TIME_MAX, socket.send(message)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_client_are_understood_or_refused() {
        let good = [
            r#"{"op":"auth","token":"t"}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"stream","stream":"a"},"credit":5}"#,
            r#"{"op":"open","id":"x","channel":{"kind":"category","category":"a","start":"end"}}"#,
            r#"{"op":"open","id":"x","channel":{"kind":"filter","filter":{"types":["T"]}}}"#,
            r#"{"op":"open","id":"x","channel":{"kind":"filter"},"resume":"1-7"}"#,
            r#"{"op":"credit","id":1,"events":10}"#,
            r#"{"op":"close","id":1}"#,
        ];
        for text in good {
            assert!(serde_json::from_str::<Said>(text).is_ok(), "{text}");
        }
        let bad = [
            r#"{"op":"ack","id":1}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"saga"}}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"stream","stream":"a","x":1}}"#,
            r#"{"op":"credit","id":-1,"events":10}"#,
            r#"{"op":"close"}"#,
        ];
        for text in bad {
            assert!(serde_json::from_str::<Said>(text).is_err(), "{text}");
        }
    }
}

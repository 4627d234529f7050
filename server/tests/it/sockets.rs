//! The WebSocket: channels with credit, resumed by tokens.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nexus_client::Client;
use nexus_node::Engine;
use nexus_protocol::{Append, EventData};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::stores::Running;

/// More than anything here takes, where it does not fail.
const LIMIT: Duration = Duration::from_secs(20);

/// What a socket runs over: TCP, or TLS over it.
trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}

impl<P: AsyncRead + AsyncWrite + Send + Unpin> Pipe for P {}

pub(crate) struct Socket(WebSocketStream<Box<dyn Pipe>>);

impl Socket {
    pub(crate) async fn try_open(
        running: &Running,
        headers: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let address = running.http_address();
        let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
        for (name, value) in headers {
            let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let pipe: Box<dyn Pipe> = match running.is_dev() {
            true => Box::new(stream),
            false => {
                let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
                let tls = tokio_rustls::TlsConnector::from(running.tls());
                Box::new(tls.connect(name, stream).await.unwrap())
            }
        };
        let (socket, _) = tokio_tungstenite::client_async(request, pipe).await?;
        Ok(Self(socket))
    }

    pub(crate) async fn open(running: &Running) -> Self {
        Self::try_open(running, &[("sec-websocket-protocol", "nexus.v1")]).await.unwrap()
    }

    pub(crate) async fn say(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Says what no frame is.
    pub(crate) async fn say_binary(&mut self) {
        self.0.send(Message::binary(vec![1])).await.unwrap();
    }

    /// Says good-bye as it should be said, and waits for the server's.
    pub(crate) async fn close(mut self) {
        self.0.close(None).await.unwrap();
        while self.hear().await.is_some() {}
    }

    /// The next frame; `None`: the server closed.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        let heard = async {
            loop {
                match self.0.next().await? {
                    Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                    Ok(Message::Ping(_) | Message::Pong(_)) => {}
                    Ok(_) | Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(LIMIT, heard).await.expect("in time")
    }

    /// The next frame of this kind; markers before it are passed over.
    pub(crate) async fn hear_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.hear().await.expect("the socket is open");
            if frame["frame"] == kind {
                return frame;
            }
            assert_ne!(frame["frame"], "error", "{frame}");
        }
    }
}

async fn append(client: &Client, stream: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let event = EventData::json("Counted", &number).unwrap();
        client.append(Append::to(stream).event(event)).await.unwrap();
    }
}

#[test]
fn channels_deliver_within_their_credit_and_go_on_after_their_token() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        append(&client, "a-1", 0..5).await;
        append(&client, "b-1", 5..6).await;
        let mut socket = Socket::open(&running).await;
        let channel = json!({"kind": "category", "category": "a"});
        socket.say(json!({"op": "open", "id": 7, "channel": channel, "credit": 2})).await;
        for number in 0..2 {
            let frame = socket.hear_of("event").await;
            assert_eq!((&frame["id"], &frame["event"]["data"]), (&json!(7), &json!(number)));
        }
        // Another channel is not held up by the one that has no credit.
        let other = json!({"kind": "stream", "stream": "b-1"});
        socket.say(json!({"op": "open", "id": "other", "channel": other})).await;
        let frame = socket.hear_of("event").await;
        assert_eq!((&frame["id"], &frame["event"]["data"]), (&json!("other"), &json!(5)));
        assert_eq!(socket.hear_of("caught_up").await["id"], "other");
        socket.say(json!({"op": "credit", "id": 7, "events": 2})).await;
        for number in 2..4 {
            let frame = socket.hear_of("event").await;
            assert_eq!(frame["event"]["data"], number);
            assert_eq!(frame["token"], format!("1-{number}"));
        }
        drop(socket);
        let mut socket = Socket::open(&running).await;
        socket.say(json!({"op": "open", "id": 1, "channel": channel, "resume": "1-3"})).await;
        assert_eq!(socket.hear_of("event").await["event"]["data"], 4);
        socket.hear_of("caught_up").await;
        append(&client, "a-2", 6..7).await;
        assert_eq!(socket.hear_of("event").await["event"]["data"], 6);
    });
}

#[test]
fn what_cannot_be_done_is_said_and_the_socket_goes_on() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let mut socket = Socket::open(&running).await;
        let stream = json!({"kind": "stream", "stream": "a"});
        socket.say(json!({"op": "open", "id": 1, "channel": stream, "credit": 0})).await;
        let wrong = [
            (json!({"op": "open", "id": 1, "channel": stream}), "is open"),
            (json!({"op": "open", "id": 2, "channel": {"kind": "saga"}}), "unknown variant"),
            (json!({"op": "open", "id": 2, "channel": stream, "resume": "2-1"}), "lineage"),
            (json!({"op": "open", "id": 2, "channel": stream, "resume": "x"}), "not a position"),
            (json!({"op": "credit", "id": 2, "events": 1}), "no channel of this id"),
            (json!({"op": "close", "id": 2}), "no channel of this id"),
            (json!({"op": "shout", "id": 2}), "unknown variant"),
            (json!({"op": "ack", "id": 2}), "missing field `tokens`"),
            (json!({"op": "ack", "id": 2, "tokens": []}), "no channel of this id"),
            (json!({"op": "ack", "id": 1, "tokens": []}), "none of a group"),
            (json!({"op": "auth", "token": "t"}), "known already"),
        ];
        for (frame, why) in wrong {
            let id = frame.get("id").cloned().unwrap_or(Value::Null);
            socket.say(frame).await;
            let said = socket.hear().await.unwrap();
            assert_eq!((&said["frame"], &said["id"]), (&json!("error"), &id));
            let detail = said["problem"]["detail"].as_str().unwrap();
            assert!(detail.contains(why), "{detail}");
        }
        socket.say(json!({"op": "close", "id": 1})).await;
        assert_eq!(socket.hear().await.unwrap(), json!({"frame": "closed", "id": 1}));
        for id in 0..256 {
            socket.say(json!({"op": "open", "id": id, "channel": stream, "credit": 0})).await;
        }
        socket.say(json!({"op": "open", "id": 256, "channel": stream, "credit": 0})).await;
        assert_eq!(socket.hear().await.unwrap()["problem"]["name"], "too_large");
        socket.say_binary().await;
        assert_eq!(socket.hear().await, None, "frames are text");
    });
}

#[test]
fn a_channel_ends_when_the_jwt_does_that_opened_it() {
    let (issuer, running) = crate::jwt::running();
    running.runtime.block_on(async {
        let token = crate::jwt::token(&issuer, "reader", -52);
        let mut socket = Socket::open(&running).await;
        socket.say(json!({"op": "auth", "token": token})).await;
        let all = json!({"kind": "filter"});
        socket.say(json!({"op": "open", "id": 1, "channel": all})).await;
        socket.hear_of("caught_up").await;
        let last = socket.hear().await.unwrap();
        assert_eq!((&last["frame"], &last["id"]), (&json!("revoked"), &json!(1)));
        assert_eq!(last["problem"]["name"], "unauthenticated");
        socket.say(json!({"op": "open", "id": 2, "channel": all})).await;
        let refused = socket.hear().await.unwrap();
        assert_eq!(refused["problem"]["name"], "unauthenticated");
    });
}

#[test]
fn who_asks_is_known_by_the_first_frame_and_until_the_token_ends() {
    let running = Running::guarded(Engine::in_memory());
    let local = nexus_node::Principal::local;
    let node = running.node();
    let token = node.create_token(&local(), "watcher", nexus_node::Role::Reader, None).unwrap();
    running.runtime.block_on(async {
        let mut socket = Socket::open(&running).await;
        socket.say(json!({"op": "auth", "token": "not one"})).await;
        assert_eq!(socket.hear().await, None);
        let mut socket = Socket::open(&running).await;
        socket.say(json!({"op": "credit", "id": 1, "events": 1})).await;
        assert_eq!(socket.hear().await, None, "nothing is done before");
        let mut silent = Socket::open(&running).await;

        let mut socket = Socket::open(&running).await;
        socket.say(json!({"op": "auth", "token": token.token})).await;
        let all = json!({"kind": "filter"});
        socket.say(json!({"op": "open", "id": 1, "channel": all})).await;
        socket.hear_of("caught_up").await;
        node.revoke_token(&local(), &token.info.id).unwrap();
        let access = node.access(local(), "default").unwrap();
        let event = EventData::json("Counted", &1).unwrap();
        access.append(Append::to("a").event(event)).unwrap().await.unwrap();
        let last = socket.hear().await.unwrap();
        assert_eq!((&last["frame"], &last["id"]), (&json!("revoked"), &json!(1)));
        assert_eq!(last["problem"]["name"], "unauthenticated");
        assert_eq!(silent.hear().await, None, "who says nothing is let go");
    });
}

#[test]
fn what_is_no_web_socket_of_ours_is_refused() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let refused =
            async |headers: &[(&str, &str)]| match Socket::try_open(&running, headers).await {
                Err(Error::Http(response)) => {
                    let body = response.body().clone().unwrap_or_default();
                    (response.status().as_u16(), String::from_utf8(body).unwrap())
                }
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("it was let in"),
            };
        let (status, body) = refused(&[]).await;
        assert!(status == 400 && body.contains("ask for nexus.v1"), "{status} {body}");
        let other = refused(&[("sec-websocket-protocol", "nexus.v2")]).await;
        assert_eq!(other.0, 400);
        let page = [("origin", "http://evil.example"), ("sec-websocket-protocol", "nexus.v1")];
        assert_eq!(refused(&page).await.0, 403, "a page from elsewhere");
        let bearer = [("authorization", "Bearer x"), ("sec-websocket-protocol", "nexus.v1")];
        assert_eq!(refused(&bearer).await.0, 401);
    });
}

#[test]
fn a_socket_keeps_its_place_among_all_connections() {
    let running = Running::with(Engine::in_memory(), |options| {
        let mut options = options.dev(true);
        options.connections_max = 1;
        options
    });
    running.runtime.block_on(async {
        let mut socket = Socket::open(&running).await;
        socket.say(json!({"op": "open", "id": 1, "channel": {"kind": "filter"}})).await;
        socket.hear_of("caught_up").await;
        let other = TcpStream::connect(running.http_address()).await.unwrap();
        let mut byte = [0];
        tokio::time::timeout(LIMIT, other.readable()).await.expect("in time").unwrap();
        assert!(
            matches!(other.try_read(&mut byte), Ok(0) | Err(_)),
            "the server takes no second connection"
        );
        drop(socket);
        // Its place is free once the server knows.
        let mut again = loop {
            let asked = [("sec-websocket-protocol", "nexus.v1")];
            match Socket::try_open(&running, &asked).await {
                Ok(socket) => break socket,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        again.say(json!({"op": "open", "id": 1, "channel": {"kind": "filter"}})).await;
        again.hear_of("caught_up").await;
    });
}

#[test]
fn a_channel_that_saw_an_empty_log_goes_on_where_it_was() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        let mut socket = Socket::open(&running).await;
        let channel = json!({"kind": "filter", "start": "end"});
        socket.say(json!({"op": "open", "id": 1, "channel": channel})).await;
        let token = socket.hear_of("caught_up").await["token"].clone();
        assert_eq!(token, "1-none");
        drop(socket);
        append(&client, "a", 0..3).await;
        let mut socket = Socket::open(&running).await;
        socket.say(json!({"op": "open", "id": 1, "channel": channel, "resume": token})).await;
        for number in 0..3 {
            assert_eq!(socket.hear_of("event").await["event"]["data"], number);
        }
    });
}

#[test]
fn a_frame_that_is_too_long_ends_the_socket_before_it_is_received() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let mut socket = Socket::open(&running).await;
        let long = "x".repeat(2 * 1024 * 1024);
        // The server may have had enough before all was sent.
        let _ = socket.0.send(Message::text(long)).await;
        assert_eq!(socket.hear().await, None);
    });
}

//! Appends over HTTP/1.1, by a client that does nothing more than it must: one request at a time on a
//! connection that stays open. A complete client would be measured more than the server is.

use std::fmt::Write as _;
use std::net::SocketAddr;

use nexus_protocol::{Append, ExpectedRevision};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::Rounds;
use super::super::workload::Writer;
use super::appends::{Embedded, filled};
use super::drive::{Worker, drive};
use super::subject::Subject;
use crate::exit::Failure;

/// Connections of the scenario.
const CONNECTIONS: usize = 64;
/// A longer head of an answer is none of this server's.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Why a server that runs already is not measured.
pub(super) const NO_HTTP: &str = "the server speaks no plain HTTP on the port that has the number of \
                                  its QUIC port: only one in dev mode does";

/// A connection that asks one thing after the other.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    async fn open(server: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(server).await.map_err(|error| broken(&error))?;
        // Requests are short, and are waited for.
        let _ = stream.set_nodelay(true);
        Ok(Self { stream, received: Vec::with_capacity(4096) })
    }

    /// Sends a request, takes its answer whole, and gives its status and body.
    async fn ask(&mut self, request: &[u8]) -> Result<(u16, &[u8]), Failure> {
        self.stream.write_all(request).await.map_err(|error| broken(&error))?;
        self.received.clear();
        loop {
            let read = self.stream.read_buf(&mut self.received).await;
            if read.map_err(|error| broken(&error))? == 0 {
                return Err(broken(&"the server closed it"));
            }
            let Some(head_bytes) = end_of_head(&self.received) else {
                if self.received.len() > HEAD_BYTES_MAX {
                    return Err(broken(&"an answer without an end of its head"));
                }
                continue;
            };
            let (head, body) = self.received.split_at(head_bytes);
            let (status, body_bytes) =
                status_and_length(head).ok_or_else(|| broken(&"an answer of another kind"))?;
            if body.len() >= body_bytes {
                let whole = head_bytes + body_bytes;
                return Ok((status, &self.received[head_bytes..whole]));
            }
        }
    }
}

fn broken(why: &dyn std::fmt::Display) -> Failure {
    Failure::not_reachable(format!("a connection over HTTP broke: {why}"))
}

/// Bytes of the head, the blank line included.
fn end_of_head(received: &[u8]) -> Option<usize> {
    received.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn status_and_length(head: &[u8]) -> Option<(u16, usize)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some((status, length?))
}

/// Whether a server speaks plain HTTP there.
pub(super) async fn speaks_http(server: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::open(server).await else { return false };
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {server}\r\n\r\n");
    matches!(connection.ask(request.as_bytes()).await, Ok((200, _)))
}

/// A connection that appends, and waits for the answer before it appends again.
pub(super) struct HttpWriter {
    connection: Connection,
    writer: Writer,
    /// What stands in every request: host and namespace.
    host: String,
    request: Vec<u8>,
}

impl HttpWriter {
    /// A connection for each of these writers; `None`: the server speaks no plain HTTP.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(super) fn several(
        subject: &Subject,
        writers: Vec<Writer>,
    ) -> Result<Option<Vec<Self>>, Failure> {
        let Some(server) = subject.http else { return Ok(None) };
        let connect = |writer: Writer| {
            let connection = subject.runtime.block_on(Connection::open(server))?;
            Ok(Self { connection, writer, host: server.to_string(), request: Vec::new() })
        };
        writers.into_iter().map(connect).collect::<Result<_, _>>().map(Some)
    }
}

impl Worker for HttpWriter {
    fn prepare(&mut self) {
        if self.request.is_empty() {
            self.request = request_of(&self.writer.next(1), &self.host);
        }
    }

    async fn work(&mut self) -> Result<u64, Failure> {
        let request = std::mem::take(&mut self.request);
        match self.connection.ask(&request).await? {
            (201, _) => Ok(1),
            (status, body) => {
                let body = String::from_utf8_lossy(body).into_owned();
                Err(Failure::failed(format!("an append was answered with {status}: {body}")))
            }
        }
    }
}

/// An append to one stream, as a request.
fn request_of(append: &Append, host: &str) -> Vec<u8> {
    let to = append.streams.first().expect("writers append to one stream");
    let mut body = b"[".to_vec();
    for (index, event) in to.events.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        body.extend_from_slice(comma.as_bytes());
        body.extend_from_slice(b"{\"type\":\"");
        body.extend_from_slice(event.event_type.as_bytes());
        body.extend_from_slice(b"\",\"data\":");
        body.extend_from_slice(&event.data);
        body.push(b'}');
    }
    body.push(b']');
    let mut head = format!(
        "POST /v1/streams/{}/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n",
        to.stream,
        body.len()
    );
    match to.expected {
        ExpectedRevision::Exact(revision) => write!(head, "If-Match: \"{revision}\"\r\n"),
        ExpectedRevision::Exists => write!(head, "If-Match: *\r\n"),
        ExpectedRevision::NoStream => write!(head, "If-None-Match: *\r\n"),
        ExpectedRevision::Any => Ok(()),
    }
    .expect("a String takes all");
    head.push_str("\r\n");
    let mut request = head.into_bytes();
    request.extend_from_slice(&body);
    request
}

impl Bench {
    /// Sixty-four connections, batch 1, beside as many writers embedded.
    pub(super) fn http_appends(&mut self) -> Result<Vec<Scenario>, Failure> {
        const NAME: &str = "http-append";
        let goal = Scenario::new(NAME, "appends/s", Better::Higher, 15_000.0);
        self.with_server(NAME, |subject| {
            let name = subject.named(NAME);
            let writers = Writer::several(&self.orders, &name, CONNECTIONS);
            let Some(mut writers) = HttpWriter::several(subject, writers)? else {
                return Ok(vec![goal.note(NO_HTTP)]);
            };
            let runtime = &subject.runtime;
            let rounds = self.with_engine("http-embedded", self.backend, |engine| {
                let mut embedded = Embedded::new(self, engine, CONNECTIONS, 1);
                embedded.turn(self.effort.turn / 2)?;
                drive(runtime, &mut writers, self.effort.turn / 2)?;
                Rounds::run(
                    self.effort.rounds,
                    &mut [&mut || embedded.turn(self.effort.ceiling)],
                    || drive(runtime, &mut writers, self.effort.turn),
                )
            })?;
            Ok(vec![filled(goal, &rounds).note(format!(
                "POST /v1/streams/STREAM/events with an array of one event and If-Match, plain HTTP/1.1, \
                 {CONNECTIONS} connections that stay open; ceiling: as many writers embedded"
            ))])
        })
    }
}

#[cfg(test)]
mod tests {
    use nexus_protocol::{EventData, Revision};

    use super::*;

    #[test]
    fn answers_are_cut_where_they_end() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        let head = end_of_head(answer).unwrap();
        assert_eq!(&answer[head..], b"{}");
        assert_eq!(status_and_length(&answer[..head]), Some((201, 2)));
        assert_eq!(end_of_head(&answer[..head - 1]), None);
        assert_eq!(status_and_length(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(status_and_length(b"HTTP/1.1 200 OK\r\n\r\n"), None, "no length is said");
    }

    #[test]
    fn an_append_becomes_a_request() {
        let event = EventData::json("A", &1).unwrap();
        let append = Append::to("s-1").at(Revision::new(4)).event(event.clone()).event(event);
        let request = String::from_utf8(request_of(&append, "h:1")).unwrap();
        assert!(request.starts_with("POST /v1/streams/s-1/events HTTP/1.1\r\nHost: h:1\r\n"));
        assert!(request.contains("\r\nIf-Match: \"4\"\r\n"), "{request}");
        let body = "[{\"type\":\"A\",\"data\":1},{\"type\":\"A\",\"data\":1}]";
        assert!(request.contains(&format!("Content-Length: {}\r\n", body.len())), "{request}");
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
    }
}

//! A request's body, received within bounds of size, memory, and time.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use nexus_protocol::ErrorCode;
use serde::Deserialize;

use super::problem::Problem;
use crate::door::{Door, Held, Memory, PAUSE_MAX};
use crate::options::HttpOptions;

/// Characters of what a parser says that an answer repeats: it quotes what it does not understand.
const REASON_MAX: usize = 256;
/// A body whose length is not said takes memory in such steps.
const STEP_BYTES: usize = 64 * 1024;

/// A body, and the memory that is counted for it until it is dropped.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    memory: Vec<Held>,
}

impl Received {
    /// Bytes, and the memory that is counted for them.
    pub(crate) fn counted(bytes: Bytes, memory: Held) -> Self {
        Self { bytes, memory: vec![memory] }
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The memory, to be held longer than the bytes.
    pub(crate) fn into_memory(self) -> Vec<Held> {
        self.memory
    }

    /// Reads it as JSON.
    pub(crate) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        read_json(&self.bytes, "the body is not what is taken here")
    }
}

/// Reads JSON of a client. What it is not is said to the client, and only where in the log: the reason
/// quotes what stands there.
pub(crate) fn read_json<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|why| {
        let reason: String = why.to_string().chars().take(REASON_MAX).collect();
        let place = format!("{what}, at line {} column {}", why.line(), why.column());
        Problem::invalid(format!("{what}: {reason}")).logged_as(place)
    })
}

fn too_slow(limit: Duration) -> Problem {
    Problem::new(
        ErrorCode::TOO_SLOW,
        format!("the body was not complete after {limit:?}: send it faster, or split it"),
    )
}

/// Receives a body whole.
pub(crate) async fn receive(
    body: Body,
    headers: &HeaderMap,
    limits: &HttpOptions,
    door: &Door,
) -> Result<Received, Problem> {
    let (bytes_max, time_max) = (limits.body_bytes_max, limits.body_time);
    let said = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if said.is_some_and(|said: usize| said > bytes_max) {
        return Err(Problem::too_large(bytes_max));
    }
    let mut received = Received { bytes: Bytes::new(), memory: Vec::new() };
    let mut counted = said.unwrap_or(0);
    if counted > 0 {
        let memory = door.memory.take_in_time(counted).await;
        received.memory.push(memory.ok_or_else(Problem::no_memory)?);
    }
    let pause_max = PAUSE_MAX.min(time_max);
    let all = async {
        let mut body = body;
        // Most bodies are one piece, and are not copied.
        let Some(first) = next_within(pause_max, &mut body).await? else { return Ok(()) };
        let mut so_far = first.len();
        let mut whole = BytesMut::new();
        loop {
            if so_far > bytes_max {
                return Err(Problem::too_large(bytes_max));
            }
            if so_far > counted {
                // As much again as there is, so that a long body asks seldom, and no more than it may have.
                let step = so_far.max(STEP_BYTES).min(bytes_max.saturating_sub(counted));
                let step = step.max(so_far - counted);
                counted += step;
                let memory = door.memory.try_take(step);
                received.memory.push(memory.ok_or_else(Problem::no_memory)?);
            }
            let Some(piece) = next_within(pause_max, &mut body).await? else { break };
            if whole.is_empty() {
                whole.reserve(said.unwrap_or(0).max(first.len() + piece.len()));
                whole.extend_from_slice(&first);
            }
            so_far += piece.len();
            whole.extend_from_slice(&piece);
        }
        received.bytes = if whole.is_empty() { first } else { whole.freeze() };
        Ok(())
    };
    tokio::time::timeout(time_max, all).await.map_err(|_| too_slow(time_max))??;
    Ok(received)
}

/// The next piece of a body, which comes within this time.
async fn next_within(time: Duration, body: &mut Body) -> Result<Option<Bytes>, Problem> {
    tokio::time::timeout(time, next(body)).await.unwrap_or_else(|_| Err(too_slow(time)))
}

/// The next piece of a body; `None` at its end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(why)) => {
                return Err(Problem::invalid(format!("the body broke off: {why}")));
            }
        }
    }
}

/// Lines of a body without end, as they come. One that is longer than the limit ends it.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Body,
    begun: BytesMut,
    /// Bytes of `begun` that were looked at and have no line end.
    looked_at: usize,
    bytes_max: usize,
    /// Each piece comes within so long.
    time_max: Duration,
    ended: bool,
    /// Lines that were given, blank ones too.
    lines: u64,
    memory: Memory,
    /// What is counted for `begun`, where that is long.
    counted: Option<(usize, Held)>,
}

impl Lines {
    pub(crate) fn new(body: Body, limits: &HttpOptions, memory: Memory) -> Self {
        Self {
            body,
            begun: BytesMut::new(),
            looked_at: 0,
            bytes_max: limits.body_bytes_max,
            time_max: limits.body_time,
            ended: false,
            lines: 0,
            memory,
            counted: None,
        }
    }

    /// Counts the memory of a long line. It holds none while it waits for more, and what it waits for may
    /// be held by lines before, which are answered meanwhile.
    async fn count(&mut self) -> Result<(), Problem> {
        let bytes = self.begun.len();
        if bytes <= STEP_BYTES {
            self.counted = None;
        } else if self.counted.as_ref().is_none_or(|(counted, _)| *counted < bytes) {
            self.counted = None;
            let memory = self.memory.take_in_time(2 * bytes).await;
            let memory = memory.ok_or_else(Problem::no_memory)?;
            self.counted = Some((2 * bytes, memory));
        }
        Ok(())
    }

    /// The number of the line that was given last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.lines
    }

    /// The next line that is not blank; `None` at the end of the body. What is counted for it is
    /// counted no more: who keeps it counts it.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if let Some(line) = self.whole_line() {
                self.lines += 1;
                // What is left is less than a piece, and counts with the next one.
                self.counted = None;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            if self.begun.len() > self.bytes_max {
                return Err(Problem::too_large(self.bytes_max));
            }
            match next_within(self.time_max, &mut self.body).await? {
                Some(piece) => {
                    self.begun.extend_from_slice(&piece);
                    self.count().await?;
                }
                None => self.ended = true,
            }
        }
    }

    fn whole_line(&mut self) -> Option<Bytes> {
        let new = self.begun.get(self.looked_at..)?;
        if let Some(at) = new.iter().position(|byte| *byte == b'\n') {
            let line = self.begun.split_to(self.looked_at + at + 1).freeze();
            self.looked_at = 0;
            return Some(line);
        }
        self.looked_at = self.begun.len();
        if self.ended && !self.begun.is_empty() {
            self.looked_at = 0;
            return Some(self.begun.split().freeze());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static str, bytes_max: usize) -> (Vec<Bytes>, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let limits = HttpOptions { body_bytes_max: bytes_max, ..HttpOptions::default() };
            let mut lines = Lines::new(
                Body::from(text),
                &limits,
                Memory::new(
                    1 << 20,
                    nexus_node::Node::over(nexus_node::Engine::in_memory()).unwrap().telemetry(),
                ),
            );
            let mut found = Vec::new();
            loop {
                match lines.next().await {
                    Ok(Some(line)) => found.push(line),
                    Ok(None) => return (found, true),
                    Err(_) => return (found, false),
                }
            }
        })
    }

    #[test]
    fn lines_end_with_the_body_and_blank_ones_are_none() {
        let (found, ended) = lines("{\"a\":1}\r\n\n  \n{\"b\":2}", 100);
        assert_eq!(found, [Bytes::from("{\"a\":1}\r\n"), Bytes::from("{\"b\":2}")]);
        assert!(ended);
        assert_eq!(lines("", 100), (vec![], true));
        assert_eq!(lines("{\"a\":1}", 3), (vec![], false));
    }
}

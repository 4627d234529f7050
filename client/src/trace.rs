//! Spans of what a client is asked for: names, counts, places, and codes of errors; never an event's
//! data or metadata, a snapshot's state, or a token.
//!
//! | span | fields known at its beginning | recorded later |
//! |---|---|---|
//! | `connect` | `server`, or `store` of one in this process | |
//! | `append` | `namespace`, `stream` (of the first), `streams`, `events` | `position` (the last), `replayed`, `error` |
//! | `read` | `namespace`, `stream`, `direction`, `limit` | `events`, `error` |
//! | `subscribe` | `namespace`, `stream`, `start` | `events`, `error` |
//! | `ask` | `namespace`, `operation` | `error` |
//!
//! They are of the level DEBUG, and cost next to nothing where nobody collects them. What a connection
//! does for a read or a subscription, such as going on with a new one, is an event within its span.

use nexus_protocol::{Append, AppendError, Appended, Read, ReadError, Subscribe};
use tracing::Span;
use tracing::field::{Empty, display};

pub(crate) fn append(namespace: &str, append: &Append) -> Span {
    tracing::debug_span!(
        "append",
        namespace,
        stream = append.streams.first().map(|stream| stream.stream.as_str()),
        streams = append.streams.len(),
        events = append.event_count(),
        position = Empty,
        replayed = Empty,
        error = Empty,
    )
}

pub(crate) fn read(namespace: &str, read: &Read) -> Span {
    tracing::debug_span!(
        "read",
        namespace,
        stream = read.stream.as_deref(),
        direction = ?read.direction,
        limit = read.limit,
        events = Empty,
        error = Empty,
    )
}

pub(crate) fn subscribe(namespace: &str, subscribe: &Subscribe) -> Span {
    tracing::debug_span!(
        "subscribe",
        namespace,
        stream = subscribe.stream.as_deref(),
        start = ?subscribe.start,
        events = Empty,
        error = Empty,
    )
}

pub(crate) fn ask(namespace: &str, operation: &'static str) -> Span {
    tracing::debug_span!("ask", namespace, operation, error = Empty)
}

/// How an append ended.
pub(crate) fn appended(span: &Span, answer: &Result<Appended, AppendError>) {
    match answer {
        Ok(appended) => {
            if let Some(last) = appended.last() {
                span.record("position", last.get());
            }
            span.record("replayed", appended.replayed);
        }
        Err(error) => failed(span, error),
    }
}

/// That something failed, and why.
pub(crate) fn failed(span: &Span, error: &impl Coded) {
    span.record("error", display(error.code()));
}

/// An error that has a stable code.
pub(crate) trait Coded {
    fn code(&self) -> nexus_protocol::ErrorCode;
}

impl Coded for AppendError {
    fn code(&self) -> nexus_protocol::ErrorCode {
        AppendError::code(self)
    }
}

impl Coded for ReadError {
    fn code(&self) -> nexus_protocol::ErrorCode {
        ReadError::code(self)
    }
}

/// The span of something that delivers events, and how many it has delivered.
#[derive(Debug)]
pub(crate) struct Delivering {
    pub(crate) span: Span,
    events: u64,
}

impl Delivering {
    pub(crate) fn new(span: Span) -> Self {
        Self { span, events: 0 }
    }

    pub(crate) fn event(&mut self) {
        self.events += 1;
    }

    pub(crate) fn failed(&self, error: &ReadError) {
        failed(&self.span, error);
    }
}

impl Drop for Delivering {
    /// Also whoever looks no further has had so many.
    fn drop(&mut self) {
        self.span.record("events", self.events);
    }
}

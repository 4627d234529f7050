//! Errors are logged here, once, where they are handled: by the handler that answers with one, or by the
//! door that had no handler to ask. With what it takes to find out more, and never with a payload or a
//! token.

use std::borrow::Cow;
use std::fmt::Write;

use nexus_protocol::{
    AppendError, Clause, CorrelationId, ErrorCode, Position, ReadError, TraceContext, Unavailable,
};
use tracing::Level;

use super::operation::Operation;
use super::throttle::Admission;
use super::{Telemetry, relaxed};

/// What an error happened to.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What was asked for.
    pub operation: Operation,
    /// In which namespace; empty: of the whole node.
    pub namespace: &'a str,
    /// Who asked; empty: nobody knows.
    pub principal: &'a str,
    /// The stream, or the first of several; the error's own goes before it.
    pub stream: Option<&'a str>,
    /// What the request belongs to.
    pub correlation_id: Option<CorrelationId>,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// Which try of the same request it was, from 1, where the caller said so.
    pub attempt: Option<u32>,
}

/// What a request says of where it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// Which try of the same request it is, from 1, where the caller said so.
    pub attempt: Option<u32>,
}

impl<'a> Context<'a> {
    /// The same, of a request that says this.
    #[must_use]
    pub fn from_origin(self, origin: Origin) -> Self {
        let Origin { trace, attempt } = origin;
        Self { trace, attempt, ..self }
    }

    /// Of an operation that somebody asked for, and nothing more.
    pub fn new(operation: Operation, namespace: &'a str, principal: &'a str) -> Self {
        Self {
            operation,
            namespace,
            principal,
            stream: None,
            correlation_id: None,
            trace: None,
            attempt: None,
        }
    }
}

/// An error that has a stable code.
pub trait Coded: std::error::Error {
    /// The code.
    fn error_code(&self) -> ErrorCode;

    /// The position it names, if it names one.
    fn position(&self) -> Option<Position>;

    /// The stream it names, if it names one.
    fn stream(&self) -> Option<&str>;

    /// Whether the store was closed, or opened for reading only, and says so: no fault of anybody.
    fn is_closed(&self) -> bool;

    /// Whether a disk is behind it, which wakes somebody whatever the code.
    fn is_of_the_disk(&self) -> bool {
        false
    }
}

impl Coded for AppendError {
    fn error_code(&self) -> ErrorCode {
        self.code()
    }

    fn position(&self) -> Option<Position> {
        match self {
            Self::Conflict(conflict) => conflict.positions.first().copied(),
            Self::IdReused { position, .. } => Some(*position),
            Self::Poisoned { at } => *at,
            _ => None,
        }
    }

    fn stream(&self) -> Option<&str> {
        match self {
            Self::Deleted { stream } => Some(stream),
            Self::Conflict(conflict) => match &conflict.clause {
                Clause::Stream { stream, .. } => Some(stream),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::Unavailable(Unavailable::Closed | Unavailable::ReadOnly))
    }
}

impl Coded for ReadError {
    fn error_code(&self) -> ErrorCode {
        self.code()
    }

    fn position(&self) -> Option<Position> {
        match self {
            Self::Corruption { position, .. } => Some(*position),
            Self::Poisoned { at } => *at,
            _ => None,
        }
    }

    fn stream(&self) -> Option<&str> {
        match self {
            Self::Deleted { stream } => Some(stream),
            _ => None,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// How loudly an error is logged. What is the node's own fault wakes somebody; what may be an attack is
/// seen; what a caller got wrong is the caller's to see.
fn level(error: &dyn Coded) -> Level {
    match error.error_code() {
        _ if error.is_closed() => Level::INFO,
        _ if error.is_of_the_disk() => Level::ERROR,
        ErrorCode::POISONED | ErrorCode::CORRUPTION | ErrorCode::UNAVAILABLE => Level::ERROR,
        ErrorCode::OVERLOADED | ErrorCode::OUTCOME_UNKNOWN => Level::WARN,
        ErrorCode::DENIED | ErrorCode::UNAUTHENTICATED | ErrorCode::RATE_LIMITED => Level::INFO,
        _ => Level::DEBUG,
    }
}

/// What is behind an error, the nearest cause first; empty where there is nothing.
fn causes(error: &dyn Coded) -> String {
    let (mut text, mut cause) = (String::new(), error.source());
    while let Some(error) = cause {
        let separator = if text.is_empty() { "" } else { ": " };
        write!(text, "{separator}{error}").expect("a string takes it");
        cause = error.source();
    }
    text
}

/// Longest text that is logged, in bytes, of an error, of what is behind it, and of a name: somebody may
/// have made them up.
const TEXT_BYTES_MAX: usize = 1024;

fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().find(|(at, _)| *at >= TEXT_BYTES_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()).into(),
        None => text.into(),
    }
}

macro_rules! event {
    ($level:expr, $($fields:tt)*) => {
        match $level {
            Level::ERROR => tracing::error!($($fields)*),
            Level::WARN => tracing::warn!($($fields)*),
            Level::INFO => tracing::info!($($fields)*),
            Level::DEBUG => tracing::debug!($($fields)*),
            Level::TRACE => tracing::trace!($($fields)*),
        }
    };
}

/// Whether anybody takes lines of this level.
fn is_listened_to(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(Level::ERROR),
        Level::WARN => tracing::enabled!(Level::WARN),
        Level::INFO => tracing::enabled!(Level::INFO),
        Level::DEBUG => tracing::enabled!(Level::DEBUG),
        Level::TRACE => tracing::enabled!(Level::TRACE),
    }
}

impl Telemetry {
    /// Counts an error and logs it, unless too many were logged in this second: then it is only counted.
    /// Handlers do so by themselves; a door does where it answers without one.
    pub fn log_error(&self, context: &Context<'_>, error: &dyn Coded) {
        let code = error.error_code();
        if let Some(index) = ErrorCode::ALL.iter().position(|known| *known == code) {
            relaxed::add(&self.metrics.errors[index], 1);
        }
        let level = level(error);
        if !is_listened_to(level) {
            return;
        }
        // What callers get wrong may never hide what the node does.
        let own = level <= Level::WARN;
        let throttle = if own { &self.own_faults } else { &self.callers_faults };
        match throttle.admit(self.uptime_s()) {
            Admission::Write { held_back: 0 } => {}
            Admission::Write { held_back } => {
                event!(level, held_back, "errors were not logged one by one: there were too many");
            }
            Admission::HoldBack => return relaxed::add(&self.metrics.errors_suppressed, 1),
        }
        let causes = causes(error);
        let causes = (!causes.is_empty()).then(|| cut(&causes));
        let stream = error.stream().or(context.stream).map(cut);
        event!(
            level,
            code = %code,
            name = code.name,
            operation = context.operation.as_str(),
            namespace = context.namespace,
            stream = stream.as_deref(),
            position = error.position().map(Position::get),
            principal = context.principal,
            correlation_id = context.correlation_id.map(tracing::field::display),
            trace_id = context.trace.map(|trace| tracing::field::display(trace.trace_id_text())),
            attempt = context.attempt,
            causes = causes.as_deref(),
            "{}",
            cut(&error.to_string())
        );
    }
}

#[cfg(test)]
mod tests;

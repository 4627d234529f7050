//! To append.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use nexus_engine::{Namespace, OnBehalfOf};
use nexus_protocol::timer::{TIMER_ARMED, TIMER_PREFIX, Timer};
use nexus_protocol::{Append, AppendError, Appended, CorrelationId, SNAPSHOT_PREFIX};
use tracing::Span;

use super::Access;
use super::observe::Scope;
use crate::guard::{About, Permit};
use crate::quota::Use;
use crate::telemetry::{self, Operation, Origin, relaxed};

impl Access {
    /// Submits an append; its answer may be awaited or waited for. Durable when it is answered. Events
    /// that name no trace become part of that of the request, if it has one.
    ///
    /// # Errors
    /// When the principal may not append, or has appended all it may in that time; when an event does not follow the schema
    /// that it is bound to.
    pub fn append(&self, mut append: Append) -> Result<PendingAppend, AppendError> {
        let started = Instant::now();
        let telling = Telling::of(&append, self.origin);
        let (namespace, permit) = self.may_append_this(&append, telling.origin)?;
        let asked = Use::Append { events: telling.events, bytes: telling.bytes };
        self.admit::<AppendError>(Operation::Append, asked, telling.origin)?;
        let timers = self.node.running_timers().admit(namespace, &append);
        let checked = timers.and_then(|()| self.node.schemas().check(namespace, &mut append));
        let refused = match checked {
            // It may have happened while it was allowed: what is stored already is a repeat, whatever schemas are by now.
            Err(refused @ AppendError::SchemaInvalid(_)) if has_ids(&append) => Some(refused),
            checked => {
                checked.inspect_err(|error| self.log_append(&telling, error))?;
                None
            }
        };
        if let Some(trace) = self.origin.trace {
            let events = append.streams.iter_mut().flat_map(|stream| &mut stream.events);
            events.for_each(|event| event.trace = event.trace.or(Some(trace)));
        }
        let scope = Arc::clone(&self.scope);
        let span = scope.telemetry.span(Operation::Append, &scope.namespace, telling.origin.trace);
        relaxed::add(&scope.telemetry.metrics().appends_in_flight, 1);
        let principal = self.scope.principal.keys();
        let policy_revision = permit.policy_revision;
        let by = OnBehalfOf { principal: &principal, policy_revision };
        let inner = span.in_scope(|| match refused {
            Some(_) => namespace.repeat_on_behalf_of(by, append),
            None => namespace.append_on_behalf_of(by, append),
        });
        Ok(PendingAppend { inner, refused, under_way: UnderWay { scope, started, telling, span } })
    }

    /// Whether the principal may append this. What is done by an append to a stream of the system's is asked for besides, and so
    /// is what a timer appends when it fires.
    pub(super) fn may_append_this(
        &self,
        append: &Append,
        origin: Origin,
    ) -> Result<(&Namespace, Permit), AppendError> {
        for stream in &append.streams {
            let name = stream.stream.as_str();
            if let Some(of) = name.strip_prefix(SNAPSHOT_PREFIX) {
                let about = About::stream(of);
                self.guard::<AppendError>(Operation::SaveSnapshot, about, origin)?;
            }
            let Some(id) = name.strip_prefix(TIMER_PREFIX) else { continue };
            for event in &stream.events {
                let arms = event.event_type == TIMER_ARMED;
                let operation = if arms { Operation::SetTimer } else { Operation::DisarmTimer };
                self.guard::<AppendError>(operation, About::name(id), origin)?;
                // What arms nothing is refused for that.
                let Some(timer) = Timer::from_armed(&event.data).ok().filter(|_| arms) else {
                    continue;
                };
                let due = Append::to(timer.stream).event(timer.event);
                let about = About { append: Some(&due), ..About::default() };
                self.guard::<AppendError>(Operation::Append, about, origin)?;
            }
        }
        let about = About { append: Some(append), ..About::default() };
        self.guard::<AppendError>(Operation::Append, about, origin)
    }

    fn log_append(&self, telling: &Telling, error: &AppendError) {
        let context = self.scope.context(Operation::Append).from_origin(telling.origin);
        self.scope.telemetry.log_error(&context, error);
    }

    /// Whether the principal may append: asked before anything of an append is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_append(&self) -> Result<(), AppendError> {
        self.guard(Operation::Append, About::beforehand(), self.origin).map(|_| ())
    }
}

/// An append under way. It was submitted when it was made: dropping it does not cancel it. Only where
/// the queue was full is it given up when it is dropped before it got a place: await it then.
#[must_use = "the append is under way, but its answer says whether it happened"]
#[derive(Debug)]
pub struct PendingAppend {
    inner: nexus_engine::PendingAppend,
    /// What it is answered with where it did not happen before: it must not be written.
    refused: Option<AppendError>,
    under_way: UnderWay,
}

impl PendingAppend {
    /// Whether it has its place among all other appends: only while the queue is full it has none, and
    /// what is submitted later may overtake it.
    pub fn is_placed(&self) -> bool {
        self.inner.is_placed()
    }

    /// Blocks until the append is answered; writes and syncs in this thread when nobody else does.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub fn wait(self) -> Result<Appended, AppendError> {
        let Self { inner, refused, under_way } = self;
        let answer = told(inner.wait(), refused);
        under_way.answered(&answer);
        answer
    }
}

impl Future for PendingAppend {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.inner).poll(context);
        let answer = answer.map(|answer| told(answer, self.refused.take()));
        if let Poll::Ready(answer) = &answer {
            self.under_way.answered(answer);
        }
        answer
    }
}

/// Whether a repeat of an append can be known for one.
fn has_ids(append: &Append) -> bool {
    let mut events = append.streams.iter().flat_map(|stream| &stream.events);
    append.idempotency_key.is_some() || events.all(|event| event.id.is_some())
}

/// The answer to an append that was `refused` unless it is a repeat.
fn told(
    answer: Result<Appended, AppendError>,
    refused: Option<AppendError>,
) -> Result<Appended, AppendError> {
    match (answer, refused) {
        (Err(error), Some(refused)) if says_no_repeat(&error) => Err(refused),
        (answer, _) => answer,
    }
}

/// Whether an error says that an append did not happen before.
fn says_no_repeat(error: &AppendError) -> bool {
    matches!(
        error,
        AppendError::Conflict(_)
            | AppendError::IdReused { .. }
            | AppendError::Deleted { .. }
            | AppendError::BelowRetention { .. }
    )
}

/// An append that is counted as under way.
#[derive(Debug)]
struct UnderWay {
    scope: Arc<Scope>,
    started: Instant,
    telling: Telling,
    span: Span,
}

impl UnderWay {
    fn answered(&self, answer: &Result<Appended, AppendError>) {
        let (telling, telemetry) = (&self.telling, &self.scope.telemetry);
        let metrics = telemetry.metrics();
        metrics.appends.record(self.started.elapsed());
        match answer {
            Ok(appended) if appended.replayed => {}
            Ok(_) => {
                relaxed::add(&metrics.appended_events, telling.events);
                relaxed::add(&metrics.appended_bytes, telling.bytes);
            }
            Err(error) => {
                let context = telemetry::Context {
                    stream: telling.stream.as_str(),
                    correlation_id: telling.correlation_id,
                    ..self.scope.context(Operation::Append).from_origin(telling.origin)
                };
                self.span.in_scope(|| telemetry.log_error(&context, error));
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        relaxed::take(&self.scope.telemetry.metrics().appends_in_flight, 1);
    }
}

/// What is kept of an append for telling how it ended. Nothing is put on the heap: the names of most
/// streams fit here, and a longer one is cut in the log.
#[derive(Clone, Copy, Debug)]
struct Telling {
    stream: ShortName,
    correlation_id: Option<CorrelationId>,
    origin: Origin,
    events: u64,
    /// Of data and metadata.
    bytes: u64,
}

impl Telling {
    fn of(append: &Append, origin: Origin) -> Self {
        let mut events = append.streams.iter().flat_map(|stream| &stream.events);
        let first = events.next();
        let size = |bytes: u64, event: &nexus_protocol::EventData| {
            bytes + event.data.len() as u64 + event.metadata.len() as u64
        };
        let trace = origin.trace.or(first.and_then(|event| event.trace));
        Self {
            stream: ShortName::of(append.streams.first().map_or("", |stream| &stream.stream)),
            correlation_id: first.and_then(|event| event.correlation_id),
            origin: Origin { trace, ..origin },
            events: append.event_count() as u64,
            bytes: first.into_iter().chain(events).fold(0, size),
        }
    }
}

/// The beginning of a name.
#[derive(Clone, Copy, Debug)]
struct ShortName {
    bytes: [u8; 63],
    length: u8,
}

impl ShortName {
    fn of(name: &str) -> Self {
        let mut bytes = [0; 63];
        let end = name.floor_char_boundary(bytes.len());
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        Self { bytes, length: u8::try_from(end).expect("63 at most") }
    }

    /// The name; `None`: there was none.
    fn as_str(&self) -> Option<&str> {
        let name =
            str::from_utf8(&self.bytes[..self.length.into()]).expect("cut between characters");
        Some(name).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        for (name, kept) in [
            ("", None),
            ("order-1", Some("order-1".to_owned())),
            (&*"ä".repeat(40), Some("ä".repeat(31))),
            (&*"x".repeat(64), Some("x".repeat(63))),
        ] {
            assert_eq!(ShortName::of(name).as_str(), kept.as_deref());
        }
    }
}

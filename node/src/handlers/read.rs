//! To read, once or as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use nexus_engine::Stop;
use nexus_protocol::{
    Block, Explain, Filter, FilterItem, Read, ReadError, RecordedEvent, Subscribe, SubscriptionItem,
};
use tracing::Span;

use super::Access;
use super::observe::Scope;
use super::show::Showing;
use crate::guard::{About, Permit};
use crate::principal::PrincipalKind;
use crate::quota::Use;
use crate::telemetry::{self, Operation, Origin, relaxed};

impl Access {
    /// Reads events. Sees everything that was acknowledged before.
    ///
    /// # Errors
    /// When the principal may not read.
    pub fn read(&self, read: Read) -> Result<Events, ReadError> {
        let started = Instant::now();
        let as_of = read.as_of.as_ref().map(ToString::to_string);
        let about = About {
            stream: read.stream.as_deref(),
            as_of: as_of.as_deref(),
            system: asks_for_system(read.system, &read.filter),
            ..About::default()
        };
        let (namespace, permit) = self.guard::<ReadError>(Operation::Read, about, self.origin)?;
        self.admit::<ReadError>(Operation::Read, Use::Read, self.origin)?;
        let reading = self.reading(Operation::Read, read.stream.clone());
        let span =
            self.scope.telemetry.span(Operation::Read, &self.scope.namespace, self.origin.trace);
        let showing = Showing::new(self, &permit, read.as_schema);
        let Read { filter, .. } = read;
        let filter = narrowed(&permit, filter);
        let read = Read { filter, ..read };
        let inner = span.in_scope(|| namespace.read(read).into_iter());
        Ok(Events { inner, reading, showing, started, _span: span })
    }

    /// Delivers what is there and what comes.
    ///
    /// # Errors
    /// When the principal may not read.
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, ReadError> {
        // Before it is asked: a change that comes in between is seen later.
        let changes = self.node.policing().changes();
        let about = Guarded::about(&subscribe);
        let (namespace, permit) =
            self.guard::<ReadError>(Operation::Subscribe, about, self.origin)?;
        self.admit::<ReadError>(Operation::Subscribe, Use::Read, self.origin)?;
        let reading = self.reading(Operation::Subscribe, subscribe.stream.clone());
        let span = self.scope.telemetry.span(
            Operation::Subscribe,
            &self.scope.namespace,
            self.origin.trace,
        );
        relaxed::add(&self.scope.telemetry.metrics().subscriptions, 1);
        let showing = Showing::new(self, &permit, subscribe.as_schema);
        let filter = narrowed(&permit, subscribe.filter);
        let subscribe = Subscribe { filter, ..subscribe };
        let guarded = Guarded::new(self, &subscribe, changes, permit);
        let inner = span.in_scope(|| namespace.subscribe(subscribe));
        Ok(Subscription { inner, reading, showing, guarded })
    }

    /// Whether who uses it is still let in: asked again and again by what goes on for long.
    ///
    /// # Errors
    /// When its token is revoked or has ended, or it may not read any more.
    pub fn may_still_read(&self) -> Result<(), ReadError> {
        self.guard(Operation::Subscribe, About::beforehand(), self.origin).map(|_| ())
    }

    fn reading(&self, operation: Operation, stream: Option<String>) -> Reading {
        let (scope, origin) = (Arc::clone(&self.scope), self.origin);
        Reading { scope, operation, stream, origin, events: 0, bytes: 0 }
    }
}

/// A reader that waits looks so often whether policies have changed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// So many events are counted at a time.
const COUNTED_TOGETHER: u64 = 256;

/// What is told about a reader.
#[derive(Debug)]
struct Reading {
    scope: Arc<Scope>,
    operation: Operation,
    stream: Option<String>,
    origin: Origin,
    /// Given to the reader, and not counted yet.
    events: u64,
    bytes: u64,
}

impl Reading {
    fn took(&mut self, item: &Result<RecordedEvent, ReadError>) {
        match item {
            Ok(event) => self.took_event(event),
            Err(error) => self.failed(error),
        }
    }

    fn took_event(&mut self, event: &RecordedEvent) {
        self.events += 1;
        self.bytes += (event.data().len() + event.metadata().len()) as u64;
        if self.events >= COUNTED_TOGETHER {
            self.count();
        }
    }

    /// What is in a block is not looked into: its records are counted as they are.
    fn took_block(&mut self, block: &Block) {
        self.events += u64::from(block.count());
        self.bytes += block.raw_bytes() as u64;
        relaxed::add(&self.scope.telemetry.metrics().read_blocks, 1);
        self.count();
    }

    fn failed(&self, error: &ReadError) {
        let stream = self.stream.as_deref();
        let context = self.scope.context(self.operation).from_origin(self.origin);
        let context = telemetry::Context { stream, ..context };
        self.scope.telemetry.log_error(&context, error);
    }

    fn count(&mut self) {
        if self.events > 0 {
            let metrics = self.scope.telemetry.metrics();
            relaxed::add(&metrics.read_events, std::mem::take(&mut self.events));
            relaxed::add(&metrics.read_bytes, std::mem::take(&mut self.bytes));
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.count();
    }
}

/// The events of a read. A stream, which is always ready; or iterate over it.
#[derive(Debug)]
pub struct Events {
    inner: nexus_engine::EventsIter,
    reading: Reading,
    /// `None`: they are shown as they are stored.
    showing: Option<Showing>,
    started: Instant,
    /// Ends with the read.
    _span: Span,
}

impl Events {
    /// What was looked at so far.
    pub fn explain(&self) -> Explain {
        self.inner.explain()
    }

    fn next_event(&mut self) -> Option<Result<RecordedEvent, ReadError>> {
        loop {
            if let Some(part) = self.showing.as_mut().and_then(Showing::next) {
                return Some(Ok(part));
            }
            let item = self.inner.next()?;
            self.reading.took(&item);
            let (Some(showing), Ok(event)) = (&mut self.showing, &item) else { return Some(item) };
            if let Err(error) = showing.take(event.clone()) {
                self.reading.failed(&error);
                return Some(Err(error));
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.reading.scope.telemetry.metrics().ended(Operation::Read, self.started.elapsed());
    }
}

impl Stream for Events {
    type Item = Result<RecordedEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.next_event())
    }
}

impl IntoIterator for Events {
    type Item = Result<RecordedEvent, ReadError>;
    type IntoIter = EventsIter;

    fn into_iter(self) -> EventsIter {
        EventsIter(self)
    }
}

/// The events of a read, one after the other.
#[derive(Debug)]
pub struct EventsIter(Events);

impl EventsIter {
    /// Ends once `stop` is told to, also in the middle of a look for the next event: for doors, at which
    /// nobody may wait any more.
    pub fn end_at(&mut self, stop: &Stop) {
        self.0.inner.end_at(stop);
    }

    /// The next events as a block of the log, as it is stored: for doors that hand it on as it is. Only
    /// where the principal may see every event of it, and the read asks for all of them. `None`: ask for the
    /// next event.
    pub fn next_block(&mut self) -> Option<Block> {
        if self.0.showing.is_some() {
            return None;
        }
        let block = self.0.inner.next_block()?;
        self.0.reading.took_block(&block);
        Some(block)
    }

    /// What was looked at so far.
    pub fn explain(&self) -> Explain {
        self.0.explain()
    }
}

impl Iterator for EventsIter {
    type Item = Result<RecordedEvent, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_event()
    }
}

/// Whether events of the system's streams are asked for.
fn asks_for_system(system: bool, filter: &Filter) -> bool {
    system || filter.names_system()
}

/// A filter that lets through what may be seen alone.
fn narrowed(permit: &Permit, filter: Filter) -> Filter {
    let Some(obligations) = permit.obligations().filter(|it| !it.is_every_event()) else {
        return filter;
    };
    let all = [FilterItem::default()];
    let items = if filter.is_all() { &all[..] } else { filter.alternatives() };
    let left: Vec<_> = items.iter().filter_map(|it| obligations.narrow(it.clone())).collect();
    match left.is_empty() {
        // No type has a control character: it selects nothing.
        true => Filter::event_type("\0"),
        false => Filter::any(left),
    }
}

/// What a subscription may see, which is asked again when policies change.
#[derive(Debug)]
struct Guarded {
    access: Access,
    stream: Option<String>,
    system: bool,
    /// How often policies had changed when it was asked.
    changes: u64,
    permit: Permit,
    /// Why it has ended.
    ended: Option<ReadError>,
}

impl Guarded {
    fn new(access: &Access, subscribe: &Subscribe, changes: u64, permit: Permit) -> Self {
        let (access, stream) = (access.clone(), subscribe.stream.clone());
        let system = asks_for_system(subscribe.system, &subscribe.filter);
        Self { access, stream, system, changes, permit, ended: None }
    }

    fn about(subscribe: &Subscribe) -> About<'_> {
        let system = asks_for_system(subscribe.system, &subscribe.filter);
        About { stream: subscribe.stream.as_deref(), system, ..About::default() }
    }

    /// Whether policies are asked about it at all.
    fn is_asked(&self) -> bool {
        self.access.principal().kind != PrincipalKind::Local
    }

    /// Whether it goes on.
    fn check(&mut self) -> Result<(), ReadError> {
        let changes = self.access.node.policing().changes();
        if changes != self.changes && self.ended.is_none() {
            self.changes = changes;
            self.ended = self.asked_again().err();
        }
        self.ended.clone().map_or(Ok(()), Err)
    }

    fn asked_again(&self) -> Result<(), ReadError> {
        let about =
            About { stream: self.stream.as_deref(), system: self.system, ..About::default() };
        let origin = self.access.origin;
        let asked = self.access.guard::<ReadError>(Operation::Subscribe, about, origin);
        let (_, permit) = asked?;
        if permit.demands_as(&self.permit) {
            return Ok(());
        }
        let why = "policies have changed, and with them what may be seen: subscribe again, from where you are";
        Err(ReadError::Unavailable { reason: why.to_owned() })
    }
}

/// Events as they come, and the markers between them. It never ends by itself.
#[derive(Debug)]
pub struct Subscription {
    inner: nexus_engine::Subscription,
    reading: Reading,
    /// `None`: events are shown as they are stored.
    showing: Option<Showing>,
    guarded: Guarded,
}

impl Subscription {
    /// The next events as a block of the log, at most so many of them; as [`EventsIter::next_block`] has it.
    pub fn next_block(&mut self, events_max: u64) -> Option<Block> {
        // Why it has ended is told with the next event.
        if self.showing.is_some() || self.guarded.check().is_err() {
            return None;
        }
        let block = self.inner.next_block(events_max)?;
        self.reading.took_block(&block);
        Some(block)
    }

    /// The next item if there is one now.
    pub fn try_next(&mut self) -> Option<Result<SubscriptionItem, ReadError>> {
        loop {
            if let Some(part) = self.next_part() {
                return Some(part);
            }
            if let Err(error) = self.guarded.check() {
                return Some(Err(error));
            }
            let item = self.inner.try_next();
            if let Some(shown) = self.shown(item) {
                return shown;
            }
        }
    }

    /// The next item, waiting for it at most for `timeout`; `None` when the time is up. What is there
    /// already is looked at in any case.
    pub fn next_blocking(
        &mut self,
        timeout: Option<Duration>,
    ) -> Option<Result<SubscriptionItem, ReadError>> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(part) = self.next_part() {
                return Some(part);
            }
            if let Err(error) = self.guarded.check() {
                return Some(Err(error));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // A change of policies ends it, and nothing comes with that where nothing of it may be seen.
            let some = match self.guarded.is_asked() {
                true => Some(left.map_or(LOOK_AGAIN_AFTER, |left| left.min(LOOK_AGAIN_AFTER))),
                false => left,
            };
            let item = self.inner.next_blocking(some);
            if item.is_none() && some != left {
                continue;
            }
            if let Some(shown) = self.shown(item) {
                return shown;
            }
        }
    }

    /// The next part of the event before.
    fn next_part(&mut self) -> Option<Result<SubscriptionItem, ReadError>> {
        let part = self.showing.as_mut().and_then(Showing::next)?;
        Some(Ok(SubscriptionItem::Event(part)))
    }

    /// What came, as it is shown; `None`: its parts are.
    #[expect(clippy::option_option, reason = "whether it is shown, and whether it came")]
    fn shown(
        &mut self,
        item: Option<Result<SubscriptionItem, ReadError>>,
    ) -> Option<Option<Result<SubscriptionItem, ReadError>>> {
        self.took(item.as_ref());
        let (Some(showing), Some(Ok(SubscriptionItem::Event(event)))) = (&mut self.showing, &item)
        else {
            return Some(item);
        };
        match showing.take(event.clone()) {
            Ok(()) => None,
            Err(error) => {
                self.reading.failed(&error);
                Some(Some(Err(error)))
            }
        }
    }

    fn took(&mut self, item: Option<&Result<SubscriptionItem, ReadError>>) {
        match item {
            Some(Ok(SubscriptionItem::Event(event))) => self.reading.took_event(event),
            Some(Err(error)) => self.reading.failed(error),
            // Nothing more for now, or a marker: whoever looks at the counts sees all that was given.
            Some(Ok(_)) | None => self.reading.count(),
        }
    }
}

impl Stream for Subscription {
    type Item = Result<SubscriptionItem, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(part) = self.next_part() {
                return Poll::Ready(Some(part));
            }
            let polled = Pin::new(&mut self.inner).poll_next(context);
            // Behind that, so that it is woken by the change that it has not seen.
            if let Err(error) = self.guarded.check() {
                return Poll::Ready(Some(Err(error)));
            }
            let Poll::Ready(item) = polled else {
                self.reading.count();
                return Poll::Pending;
            };
            if let Some(shown) = self.shown(item) {
                return Poll::Ready(shown);
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        relaxed::take(&self.reading.scope.telemetry.metrics().subscriptions, 1);
    }
}

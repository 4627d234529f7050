//! [`Upcasting`]: a store whose events are lifted here, where they are read.
//!
//! What a server does for whoever asks for a version, this does in the reader's process, by the same schemas, which it reads
//! from the same stream, and by lifts in Rust, which no server has.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use nexus_protocol::schema::{AsSchema, SCHEMAS_STREAM};
use nexus_protocol::{
    Append, AppendError, Appended, EventId, EventStore, ExpectedRevision, FoldIdentity, Head,
    Position, Read, ReadError, RecordedEvent, Revision, SchemaId, Snapshot, SnapshotAt,
    SnapshotInfo, StreamChange, StreamInfo, Subscribe, SubscriptionItem,
};

use super::Upcasters;
use crate::Registry;

/// A store whose events are lifted here, where they are read, with lifts in Rust besides the transforms of their schemas.
///
/// It reads the schemas when the first event is asked for in a version, and again where an event follows one that it does not
/// know yet: whoever uses it may read `$schemas`. Clones share them.
#[derive(Clone, Debug)]
pub struct Upcasting<S> {
    store: S,
    registry: Arc<Mutex<Arc<Registry>>>,
    /// What was registered before the end that the log had then is known.
    known_to: Arc<Mutex<Option<Position>>>,
}

impl<S: EventStore> Upcasting<S> {
    /// Over a store, with these lifts.
    pub fn over(store: S, upcasters: Upcasters) -> Self {
        let registry = Registry::new().with_upcasters(Arc::new(upcasters));
        let registry = Arc::new(Mutex::new(Arc::new(registry)));
        Self { store, registry, known_to: Arc::default() }
    }

    /// The store itself.
    pub fn store(&self) -> &S {
        &self.store
    }

    fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether all is known that it takes to show an event.
    fn knows(&self, event: &RecordedEvent) -> bool {
        let known_to = *self.known_to.lock().unwrap_or_else(PoisonError::into_inner);
        match event.schema() {
            // Whether it is older than all schemas is known once they were read.
            SchemaId::NONE => known_to.is_some(),
            id => self.registry().by_id(id).is_some() || Some(event.position()) <= known_to,
        }
    }

    /// Reads what was registered since.
    ///
    /// # Errors
    /// As the store says; `NotConverted` where the schemas cannot be understood.
    pub async fn refresh(&self) -> Result<(), ReadError> {
        let next = |registry: &Registry| registry.revision().map_or(Revision::ZERO, Revision::next);
        let from = next(&self.registry());
        // Who may not ask for it reads them again for each id that is not known.
        let head = self.store.head().await.ok().and_then(|head| head.position);
        let mut events = self.store.read(Read::stream(SCHEMAS_STREAM).from_revision(from));
        while let Some(event) = poll_fn(|context| Pin::new(&mut events).poll_next(context)).await {
            let event = event?;
            let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have come further meanwhile.
            if event.revision() == next(&registry) {
                let position = event.position();
                let applied = Arc::make_mut(&mut registry).apply(&event);
                applied
                    .map_err(|why| ReadError::NotConverted { position, why: why.to_string() })?;
            }
        }
        let mut known_to = self.known_to.lock().unwrap_or_else(PoisonError::into_inner);
        *known_to = (*known_to).max(head).or(Some(Position::ZERO));
        Ok(())
    }

    /// An event as it is in a version of its schema: mostly one, and its parts where there are several or none.
    ///
    /// # Errors
    /// As [`Registry::show`], and as the store says of the schemas.
    pub async fn shown(
        &self,
        event: RecordedEvent,
        as_schema: AsSchema,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        if as_schema != AsSchema::Raw && !self.knows(&event) {
            self.refresh().await?;
        }
        self.registry().show(event, as_schema)
    }

    /// What [`Registry::upcaster_hash`] says, by the schemas as they are now: for snapshots of what is folded from events of
    /// these subjects.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub async fn upcaster_hash(
        &self,
        as_schema: AsSchema,
        subjects: &[&str],
    ) -> Result<u64, ReadError> {
        self.refresh().await?;
        Ok(self.registry().upcaster_hash(as_schema, subjects.iter().copied()))
    }
}

/// What a stream of a store consists of: events, and what stands between them.
pub trait Item: Sized {
    /// The event, if it is one.
    ///
    /// # Errors
    /// Itself, if it is none.
    fn into_event(self) -> Result<RecordedEvent, Self>;

    /// Of an event.
    fn of(event: RecordedEvent) -> Self;
}

impl Item for RecordedEvent {
    fn into_event(self) -> Result<RecordedEvent, Self> {
        Ok(self)
    }

    fn of(event: RecordedEvent) -> Self {
        event
    }
}

impl Item for SubscriptionItem {
    fn into_event(self) -> Result<RecordedEvent, Self> {
        match self {
            Self::Event(event) => Ok(event),
            marker => Err(marker),
        }
    }

    fn of(event: RecordedEvent) -> Self {
        Self::Event(event)
    }
}

type Refreshing = Pin<Box<dyn Future<Output = Result<(), ReadError>> + Send>>;

/// A read, or a subscription, whose events are shown in a version of their schemas.
pub struct Shown<S, I> {
    inner: I,
    store: Upcasting<S>,
    as_schema: AsSchema,
    parts: VecDeque<RecordedEvent>,
    /// What waits for the schemas to be read, and their reading.
    waiting: Option<(RecordedEvent, Refreshing)>,
    /// Whether they were read since this has begun: which version is the latest may have changed.
    is_fresh: bool,
    /// Nothing comes behind an error, as of any store.
    has_ended: bool,
}

/// Nothing in it is pinned by it.
impl<S, I: Unpin> Unpin for Shown<S, I> {}

impl<S: fmt::Debug, I: fmt::Debug> fmt::Debug for Shown<S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Shown");
        shown.field("inner", &self.inner).field("as_schema", &self.as_schema);
        shown.finish_non_exhaustive()
    }
}

impl<S: EventStore, I> Shown<S, I> {
    fn new(inner: I, store: Upcasting<S>, as_schema: AsSchema) -> Self {
        let is_fresh = as_schema == AsSchema::Raw;
        let parts = VecDeque::new();
        Self { inner, store, as_schema, parts, waiting: None, is_fresh, has_ended: false }
    }

    /// The store's own stream.
    pub fn inner(&self) -> &I {
        &self.inner
    }

    fn show(&mut self, event: RecordedEvent) -> Result<(), ReadError> {
        self.parts = self.store.registry().show(event, self.as_schema)?.into();
        Ok(())
    }
}

impl<S, I, T> Stream for Shown<S, I>
where
    S: EventStore,
    I: Stream<Item = Result<T, ReadError>> + Unpin,
    T: Item,
{
    type Item = Result<T, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        let polled = this.poll_shown(context);
        this.has_ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}

impl<S, I> Shown<S, I> {
    fn poll_shown<T>(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ReadError>>>
    where
        S: EventStore,
        I: Stream<Item = Result<T, ReadError>> + Unpin,
        T: Item,
    {
        let this = self;
        loop {
            if let Some(part) = this.parts.pop_front() {
                return Poll::Ready(Some(Ok(T::of(part))));
            }
            if let Some((_, refreshing)) = &mut this.waiting {
                let refreshed = ready!(refreshing.as_mut().poll(context));
                this.is_fresh = true;
                let waited = this.waiting.take();
                let shown = refreshed.and_then(|()| match waited {
                    Some((event, _)) => this.show(event),
                    None => Ok(()),
                });
                if let Err(error) = shown {
                    return Poll::Ready(Some(Err(error)));
                }
                continue;
            }
            let item = match ready!(Pin::new(&mut this.inner).poll_next(context)) {
                Some(Ok(item)) => item,
                other => return Poll::Ready(other),
            };
            let event = match item.into_event() {
                Ok(event) => event,
                Err(marker) => return Poll::Ready(Some(Ok(marker))),
            };
            if this.as_schema == AsSchema::Raw {
                return Poll::Ready(Some(Ok(T::of(event))));
            }
            if !this.is_fresh || !this.store.knows(&event) {
                let store = this.store.clone();
                let refreshing = Box::pin(async move { store.refresh().await });
                this.waiting = Some((event, refreshing));
                continue;
            }
            if let Err(error) = this.show(event) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl<S: EventStore> EventStore for Upcasting<S> {
    type ReadStream = Shown<S, S::ReadStream>;
    type Subscription = Shown<S, S::Subscription>;

    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        self.store.append(append)
    }

    fn read(&self, read: Read) -> Self::ReadStream {
        let as_schema = read.as_schema;
        Shown::new(self.store.read(read.as_schema(AsSchema::Raw)), self.clone(), as_schema)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Self::Subscription {
        let as_schema = subscribe.as_schema;
        let subscribed = self.store.subscribe(subscribe.as_schema(AsSchema::Raw));
        Shown::new(subscribed, self.clone(), as_schema)
    }

    fn event_by_id(
        &self,
        id: EventId,
    ) -> impl Future<Output = Result<Option<RecordedEvent>, ReadError>> + Send {
        self.store.event_by_id(id)
    }

    fn head(&self) -> impl Future<Output = Result<Head, ReadError>> + Send {
        self.store.head()
    }

    fn stream_info(
        &self,
        stream: &str,
    ) -> impl Future<Output = Result<StreamInfo, ReadError>> + Send {
        self.store.stream_info(stream)
    }

    fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> impl Future<Output = Result<StreamInfo, AppendError>> + Send {
        self.store.set_stream(stream, change)
    }

    fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        self.store.delete_stream(stream, expected)
    }

    fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        self.store.tombstone_stream(stream, expected)
    }

    fn save_snapshot(
        &self,
        snapshot: Snapshot,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        self.store.save_snapshot(snapshot)
    }

    fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> impl Future<Output = Result<Option<Snapshot>, ReadError>> + Send {
        self.store.load_snapshot(stream, at, fold)
    }

    fn list_snapshots(
        &self,
        stream: &str,
    ) -> impl Future<Output = Result<Vec<SnapshotInfo>, ReadError>> + Send {
        self.store.list_snapshots(stream)
    }
}

//! An [`Access`] as an [`EventStore`]: embedded users call the handlers that doors call.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use nexus_protocol::{
    Append, AppendError, Appended, EventId, EventStore, ExpectedRevision, FoldIdentity, Head, Read,
    ReadError, RecordedEvent, Snapshot, SnapshotAt, SnapshotInfo, StreamChange, StreamInfo,
    Subscribe, SubscriptionItem,
};

use super::{Access, Events, Subscription};

/// A stream, or why there is none.
#[derive(Debug)]
enum Guarded<S> {
    Open(Box<S>),
    Refused(Option<ReadError>),
}

impl<S> Guarded<S> {
    fn of(opened: Result<S, ReadError>) -> Self {
        match opened {
            Ok(stream) => Self::Open(Box::new(stream)),
            Err(error) => Self::Refused(Some(error)),
        }
    }
}

impl<T, S: Stream<Item = Result<T, ReadError>> + Unpin> Guarded<S> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ReadError>>> {
        match self {
            Self::Open(stream) => Pin::new(&mut **stream).poll_next(context),
            Self::Refused(error) => Poll::Ready(error.take().map(Err)),
        }
    }
}

/// What a guarded read yields.
#[derive(Debug)]
pub struct Reads(Guarded<Events>);

impl Stream for Reads {
    type Item = Result<RecordedEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(context)
    }
}

/// What a guarded subscription yields.
#[derive(Debug)]
pub struct Watch(Guarded<Subscription>);

impl Stream for Watch {
    type Item = Result<SubscriptionItem, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(context)
    }
}

impl EventStore for Access {
    type ReadStream = Reads;
    type Subscription = Watch;

    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        // Submitted now, answered when it is awaited.
        let pending = Access::append(self, append);
        async move { pending?.await }
    }

    fn read(&self, read: Read) -> Reads {
        Reads(Guarded::of(Access::read(self, read)))
    }

    fn subscribe(&self, subscribe: Subscribe) -> Watch {
        Watch(Guarded::of(Access::subscribe(self, subscribe)))
    }

    async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        Access::event_by_id(self, id)
    }

    async fn head(&self) -> Result<Head, ReadError> {
        Access::head(self)
    }

    async fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        Access::stream_info(self, stream)
    }

    async fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        Access::set_stream(self, stream, change)
    }

    async fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        Access::delete_stream(self, stream, expected)
    }

    async fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        Access::tombstone_stream(self, stream, expected)
    }

    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        Access::save_snapshot(self, snapshot)
    }

    async fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        Access::load_snapshot(self, stream, at, fold)
    }

    async fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        Access::list_snapshots(self, stream)
    }
}

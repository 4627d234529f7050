//! [`DynEventStore`]: an event store behind a pointer, for those who choose it at run time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;

use crate::append::{Append, Appended, ExpectedRevision};
use crate::error::{AppendError, ReadError};
use crate::ids::EventId;
use crate::read::{Read, Subscribe, SubscriptionItem};
use crate::record::RecordedEvent;
use crate::snapshot::{FoldIdentity, Snapshot, SnapshotAt, SnapshotInfo};
use crate::store::EventStore;
use crate::stream::{Head, StreamChange, StreamInfo};

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A boxed stream of results.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, ReadError>> + Send>>;

/// The object-safe form of [`EventStore`], which every one of them has.
pub trait ErasedStore: Send + Sync + 'static {
    /// See [`EventStore::append`].
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>>;
    /// See [`EventStore::read`].
    fn read(&self, read: Read) -> BoxStream<RecordedEvent>;
    /// See [`EventStore::subscribe`].
    fn subscribe(&self, subscribe: Subscribe) -> BoxStream<SubscriptionItem>;
    /// See [`EventStore::event_by_id`].
    fn event_by_id(&self, id: EventId) -> BoxFuture<'_, Result<Option<RecordedEvent>, ReadError>>;
    /// See [`EventStore::head`].
    fn head(&self) -> BoxFuture<'_, Result<Head, ReadError>>;
    /// See [`EventStore::stream_info`].
    fn stream_info<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<StreamInfo, ReadError>>;
    /// See [`EventStore::set_stream`].
    fn set_stream<'a>(
        &'a self,
        stream: &'a str,
        change: StreamChange,
    ) -> BoxFuture<'a, Result<StreamInfo, AppendError>>;
    /// See [`EventStore::delete_stream`].
    fn delete_stream<'a>(
        &'a self,
        stream: &'a str,
        expected: ExpectedRevision,
    ) -> BoxFuture<'a, Result<Appended, AppendError>>;
    /// See [`EventStore::tombstone_stream`].
    fn tombstone_stream<'a>(
        &'a self,
        stream: &'a str,
        expected: ExpectedRevision,
    ) -> BoxFuture<'a, Result<Appended, AppendError>>;
    /// See [`EventStore::save_snapshot`].
    fn save_snapshot(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<Appended, AppendError>>;
    /// See [`EventStore::load_snapshot`].
    fn load_snapshot<'a>(
        &'a self,
        stream: &'a str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> BoxFuture<'a, Result<Option<Snapshot>, ReadError>>;
    /// See [`EventStore::list_snapshots`].
    fn list_snapshots<'a>(
        &'a self,
        stream: &'a str,
    ) -> BoxFuture<'a, Result<Vec<SnapshotInfo>, ReadError>>;
}

impl<S: EventStore> ErasedStore for S {
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(EventStore::append(self, append))
    }

    fn read(&self, read: Read) -> BoxStream<RecordedEvent> {
        Box::pin(EventStore::read(self, read))
    }

    fn subscribe(&self, subscribe: Subscribe) -> BoxStream<SubscriptionItem> {
        Box::pin(EventStore::subscribe(self, subscribe))
    }

    fn event_by_id(&self, id: EventId) -> BoxFuture<'_, Result<Option<RecordedEvent>, ReadError>> {
        Box::pin(EventStore::event_by_id(self, id))
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, ReadError>> {
        Box::pin(EventStore::head(self))
    }

    fn stream_info<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<StreamInfo, ReadError>> {
        Box::pin(EventStore::stream_info(self, stream))
    }

    fn set_stream<'a>(
        &'a self,
        stream: &'a str,
        change: StreamChange,
    ) -> BoxFuture<'a, Result<StreamInfo, AppendError>> {
        Box::pin(EventStore::set_stream(self, stream, change))
    }

    fn delete_stream<'a>(
        &'a self,
        stream: &'a str,
        expected: ExpectedRevision,
    ) -> BoxFuture<'a, Result<Appended, AppendError>> {
        Box::pin(EventStore::delete_stream(self, stream, expected))
    }

    fn tombstone_stream<'a>(
        &'a self,
        stream: &'a str,
        expected: ExpectedRevision,
    ) -> BoxFuture<'a, Result<Appended, AppendError>> {
        Box::pin(EventStore::tombstone_stream(self, stream, expected))
    }

    fn save_snapshot(&self, snapshot: Snapshot) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(EventStore::save_snapshot(self, snapshot))
    }

    fn load_snapshot<'a>(
        &'a self,
        stream: &'a str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> BoxFuture<'a, Result<Option<Snapshot>, ReadError>> {
        Box::pin(EventStore::load_snapshot(self, stream, at, fold))
    }

    fn list_snapshots<'a>(
        &'a self,
        stream: &'a str,
    ) -> BoxFuture<'a, Result<Vec<SnapshotInfo>, ReadError>> {
        Box::pin(EventStore::list_snapshots(self, stream))
    }
}

/// An event store behind a pointer. Cheap to clone.
pub type DynEventStore = Arc<dyn ErasedStore>;

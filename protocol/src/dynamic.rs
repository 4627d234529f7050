//! [`DynEventStore`]: an event store behind a pointer, for those who choose it at run time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;

use crate::append::{Append, Appended};
use crate::error::{AppendError, ReadError};
use crate::ids::EventId;
use crate::read::{Read, Subscribe, SubscriptionItem};
use crate::record::RecordedEvent;
use crate::store::EventStore;
use crate::stream::{Head, StreamInfo};

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
}

/// An event store behind a pointer. Cheap to clone.
pub type DynEventStore = Arc<dyn ErasedStore>;

//! The one trait of a store: embedded, replicated, and remote stores are the same to their users.

use std::future::Future;

use futures_core::Stream;

use crate::append::ExpectedRevision;
use crate::append::{Append, Appended};
use crate::error::{AppendError, ReadError};
use crate::ids::EventId;
use crate::read::{Read, Subscribe, SubscriptionItem};
use crate::record::RecordedEvent;
use crate::snapshot::{FoldIdentity, Snapshot, SnapshotAt, SnapshotInfo};
use crate::stream::{Head, StreamChange, StreamInfo};

/// A totally ordered log of events, bound to a namespace and a principal.
///
/// # Contract
/// - An append whose answer is `Ok` is durable as promised, applied whole, and visible to every
///   read opened after the answer (I1).
/// - Positions and revisions are dense; a reader never sees a gap that later fills (I2, I3).
/// - Dropping the future of an append does not cancel it.
pub trait EventStore: Clone + Send + Sync + 'static {
    /// What [`EventStore::read`] yields.
    type ReadStream: Stream<Item = Result<RecordedEvent, ReadError>> + Send + Unpin + 'static;
    /// What [`EventStore::subscribe`] yields. It never ends by itself.
    type Subscription: Stream<Item = Result<SubscriptionItem, ReadError>> + Send + Unpin + 'static;

    /// Appends events, if the conditions hold. Submitted when called.
    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send;

    /// Reads events; lazy.
    fn read(&self, read: Read) -> Self::ReadStream;

    /// Delivers what is there and what comes; lazy.
    fn subscribe(&self, subscribe: Subscribe) -> Self::Subscription;

    /// The event with this id: the newest, where ids were used again outside the window.
    fn event_by_id(
        &self,
        id: EventId,
    ) -> impl Future<Output = Result<Option<RecordedEvent>, ReadError>> + Send;

    /// The end of the log.
    fn head(&self) -> impl Future<Output = Result<Head, ReadError>> + Send;

    /// What is known of a stream; of one that never was, that it is missing.
    fn stream_info(
        &self,
        stream: &str,
    ) -> impl Future<Output = Result<StreamInfo, ReadError>> + Send;

    /// Changes a stream's limits.
    fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> impl Future<Output = Result<StreamInfo, AppendError>> + Send;

    /// Hides all events of a stream; a later append revives it, and revisions go on.
    fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send;

    /// Deletes a stream for good: its name can never be used again.
    fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send;

    /// Keeps a snapshot.
    fn save_snapshot(
        &self,
        snapshot: Snapshot,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send;

    /// Loads a snapshot that this fold made.
    fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> impl Future<Output = Result<Option<Snapshot>, ReadError>> + Send;

    /// The snapshots that are kept of a stream, by ascending revision.
    fn list_snapshots(
        &self,
        stream: &str,
    ) -> impl Future<Output = Result<Vec<SnapshotInfo>, ReadError>> + Send;
}

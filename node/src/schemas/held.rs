//! [`Held`]: a namespace whose appends are held to its schemas, for what a node appends on its own.

use std::sync::Arc;

use nexus_engine::{Events, Namespace, Subscription};
use nexus_protocol::{
    Append, AppendError, Appended, EventId, EventStore, ExpectedRevision, FoldIdentity, Head, Read,
    ReadError, RecordedEvent, Snapshot, SnapshotAt, SnapshotInfo, StreamChange, StreamInfo,
    Subscribe,
};

use super::Schemas;

/// A namespace, and the schemas that appends to it are held to.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) namespace: Namespace,
    pub(crate) schemas: Arc<Schemas>,
}

impl EventStore for Held {
    type ReadStream = Events;
    type Subscription = Subscription;

    fn append(
        &self,
        mut append: Append,
    ) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        let checked = self.schemas.check(&self.namespace, &mut append);
        let submitted = checked.map(|()| self.namespace.append(append));
        async move { submitted?.await }
    }

    fn read(&self, read: Read) -> Events {
        self.namespace.read(read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.namespace.subscribe(subscribe)
    }

    async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.namespace.event_by_id(id)
    }

    async fn head(&self) -> Result<Head, ReadError> {
        EventStore::head(&self.namespace).await
    }

    async fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        self.namespace.stream_info(stream)
    }

    async fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        self.namespace.set_stream(stream, change)
    }

    async fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.namespace.delete_stream(stream, expected)
    }

    async fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.namespace.tombstone_stream(stream, expected)
    }

    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        self.namespace.save_snapshot(snapshot)
    }

    async fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        self.namespace.load_snapshot(stream, at, fold)
    }

    async fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        self.namespace.list_snapshots(stream)
    }
}

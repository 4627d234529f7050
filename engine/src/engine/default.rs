//! What can be called on an [`Engine`] itself: its namespace `default`.
//!
//! The methods that [`EventStore`](nexus_protocol::EventStore) has too stand here by name, so that
//! they are found first, whichever traits are in scope: `engine.append(…).wait()` must not need a
//! rule about imports. All others are reached through `Deref`.

use nexus_protocol::{
    Append, AppendError, Appended, EventId, ExpectedRevision, FoldIdentity, Head, Read, ReadError,
    RecordedEvent, Snapshot, SnapshotAt, SnapshotInfo, StreamChange, StreamInfo, Subscribe,
};

use super::Engine;
use crate::commit::PendingAppend;
use crate::namespace::Namespace;
use crate::read::Events;
use crate::subscribe::Subscription;

impl std::ops::Deref for Engine {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.default
    }
}

impl Engine {
    /// See [`Namespace::append`].
    pub fn append(&self, append: Append) -> PendingAppend {
        self.default.append(append)
    }

    /// See [`Namespace::read`].
    pub fn read(&self, read: Read) -> Events {
        self.default.read(read)
    }

    /// See [`Namespace::subscribe`].
    pub fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.default.subscribe(subscribe)
    }

    /// See [`Namespace::event_by_id`].
    ///
    /// # Errors
    /// As there.
    pub fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.default.event_by_id(id)
    }

    /// See [`Namespace::head`].
    pub fn head(&self) -> Head {
        self.default.head()
    }

    /// See [`Namespace::stream_info`].
    ///
    /// # Errors
    /// As there.
    pub fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        self.default.stream_info(stream)
    }

    /// See [`Namespace::set_stream`].
    ///
    /// # Errors
    /// As there.
    pub fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        self.default.set_stream(stream, change)
    }

    /// See [`Namespace::delete_stream`].
    ///
    /// # Errors
    /// As there.
    pub fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.default.delete_stream(stream, expected)
    }

    /// See [`Namespace::tombstone_stream`].
    ///
    /// # Errors
    /// As there.
    pub fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.default.tombstone_stream(stream, expected)
    }

    /// See [`Namespace::save_snapshot`].
    ///
    /// # Errors
    /// As there.
    pub fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        self.default.save_snapshot(snapshot)
    }

    /// See [`Namespace::load_snapshot`].
    ///
    /// # Errors
    /// As there.
    pub fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        self.default.load_snapshot(stream, at, fold)
    }

    /// See [`Namespace::list_snapshots`].
    ///
    /// # Errors
    /// As there.
    pub fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        self.default.list_snapshots(stream)
    }
}

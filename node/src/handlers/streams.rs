//! To see and change streams.

use nexus_engine::Namespace;
use nexus_protocol::{
    AppendError, Appended, ExpectedRevision, ReadError, StreamChange, StreamInfo, StreamList,
};
use serde_json::json;

use super::Access;
use crate::audit::Audited;
use crate::guard::About;
use crate::quota::Use;
use crate::telemetry::{Coded, Operation};

impl Access {
    /// What is known of a stream; of one that never was, that it is missing.
    ///
    /// # Errors
    /// When the principal may not inspect, or it is not a stream's name.
    pub fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        self.observe(Operation::Stream, About::stream(stream), |namespace| {
            namespace.stream_info(stream)
        })
    }

    /// Streams by name.
    ///
    /// # Errors
    /// When the principal may not inspect.
    pub fn streams(&self, list: &StreamList) -> Result<Vec<StreamInfo>, ReadError> {
        self.observe(Operation::Streams, About::default(), |namespace| namespace.streams(list))
    }

    /// Whether the principal may change streams: asked before anything of a change is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_manage_streams(&self) -> Result<(), AppendError> {
        self.guard(Operation::SetStream, About::beforehand(), self.origin).map(|_| ())
    }

    /// Changes a stream's limits. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage streams, or has appended all it may in that time; as an append's.
    pub fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        let audited = Audited::new(Operation::SetStream, self.principal()).with(limits(&change));
        self.manage(Operation::SetStream, stream, audited, |namespace| {
            namespace.set_stream(stream, change)
        })
    }

    /// Hides all events of a stream; a later append revives it, and revisions go on. Blocks until that
    /// is durable.
    ///
    /// # Errors
    /// When the principal may not manage streams, or has appended all it may in that time; as an append's.
    pub fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        let audited = Audited::new(Operation::DeleteStream, self.principal());
        self.manage(Operation::DeleteStream, stream, audited, |namespace| {
            namespace.delete_stream(stream, expected)
        })
    }

    /// Deletes a stream for good: its name can never be used again. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage streams, or has appended all it may in that time; as an append's.
    pub fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        let audited = Audited::new(Operation::TombstoneStream, self.principal());
        self.manage(Operation::TombstoneStream, stream, audited, |namespace| {
            namespace.tombstone_stream(stream, expected)
        })
    }

    /// Changes a stream for somebody who may, and puts on record what became of it.
    fn manage<T>(
        &self,
        operation: Operation,
        stream: &str,
        audited: Audited,
        work: impl FnOnce(&Namespace) -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        let audited = audited.in_namespace(self.namespace()).about(stream);
        self.observe(operation, About::stream(stream), |namespace| {
            // Every change of a stream is one event of a system stream. Who is over the quota is not on
            // record, like those who may not: they cannot push out what matters.
            self.within_quota(Use::Append { events: 1, bytes: 0 })?;
            let done = work(namespace);
            let failed = done.as_ref().err().map(|error| error as &dyn Coded);
            self.node.put_on_record(self.principal(), audited, failed);
            done
        })
    }
}

/// What a change says: a limit that it lifts is null.
fn limits(change: &StreamChange) -> serde_json::Value {
    let mut said = serde_json::Map::new();
    for (name, limit) in [("max_count", change.max_count), ("max_age_s", change.max_age_s)] {
        if let Some(limit) = limit {
            said.insert(name.to_owned(), json!(limit));
        }
    }
    if let Some(revision) = change.truncate_before {
        said.insert("truncate_before".to_owned(), json!(revision.get()));
    }
    said.into()
}

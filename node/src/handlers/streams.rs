//! To see and change streams.

use nexus_protocol::{
    AppendError, Appended, ExpectedRevision, ReadError, StreamChange, StreamInfo, StreamList,
};

use super::Access;
use crate::guard::Action;
use crate::telemetry::Operation;

impl Access {
    /// What is known of a stream; of one that never was, that it is missing.
    ///
    /// # Errors
    /// When the principal may not inspect, or it is not a stream's name.
    pub fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        self.observe(Operation::Stream, Action::Inspect, Some(stream), |namespace| {
            namespace.stream_info(stream)
        })
    }

    /// Streams by name.
    ///
    /// # Errors
    /// When the principal may not inspect.
    pub fn streams(&self, list: &StreamList) -> Result<Vec<StreamInfo>, ReadError> {
        self.observe(Operation::Streams, Action::Inspect, None, |namespace| namespace.streams(list))
    }

    /// Whether the principal may change streams: asked before anything of a change is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_manage_streams(&self) -> Result<(), AppendError> {
        self.guard(Operation::SetStream, Action::ManageStreams, self.trace).map(|_| ())
    }

    /// Changes a stream's limits. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage streams; as an append's.
    pub fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        self.observe(Operation::SetStream, Action::ManageStreams, Some(stream), |namespace| {
            namespace.set_stream(stream, change)
        })
    }

    /// Hides all events of a stream; a later append revives it, and revisions go on. Blocks until that
    /// is durable.
    ///
    /// # Errors
    /// When the principal may not manage streams; as an append's.
    pub fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.observe(Operation::DeleteStream, Action::ManageStreams, Some(stream), |namespace| {
            namespace.delete_stream(stream, expected)
        })
    }

    /// Deletes a stream for good: its name can never be used again. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage streams; as an append's.
    pub fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.observe(Operation::TombstoneStream, Action::ManageStreams, Some(stream), |namespace| {
            namespace.tombstone_stream(stream, expected)
        })
    }
}

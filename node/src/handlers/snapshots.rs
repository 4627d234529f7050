//! To keep and load snapshots of aggregates.

use nexus_engine::OnBehalfOf;
use nexus_protocol::{
    AppendError, Appended, AsOf, FoldIdentity, ReadError, Snapshot, SnapshotAt, SnapshotInfo,
};

use super::Access;
use crate::guard::About;
use crate::quota::Use;
use crate::telemetry::Operation;

impl Access {
    /// Keeps a snapshot. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not append, or has appended all it may in that time; as an append's.
    pub fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        let stream = snapshot.stream.clone();
        let asked = Use::Append { events: 1, bytes: snapshot.state.len() as u64 };
        let about = About::stream(stream.as_str());
        self.observe_events(Operation::SaveSnapshot, about, |namespace, permit| {
            self.within_quota(asked)?;
            let policy_revision = permit.policy_revision;
            let by = OnBehalfOf { policy_revision, ..OnBehalfOf::default() };
            namespace.save_snapshot_on_behalf_of(by, snapshot)
        })
    }

    /// Loads a snapshot that this fold made; one that another fold made is a miss. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not read; when it is damaged, or the name is not one.
    pub fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        let past = match at {
            SnapshotAt::Latest => None,
            SnapshotAt::Position(position) => Some(AsOf::Position(position).to_string()),
            SnapshotAt::Revision(revision) => Some(AsOf::Revision(revision).to_string()),
        };
        let about = About { as_of: past.as_deref(), ..About::stream(stream) };
        self.observe(Operation::LoadSnapshot, about, |namespace| {
            namespace.load_snapshot(stream, at, fold)
        })
    }

    /// The snapshots that are kept of a stream, by ascending revision. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not inspect, or it is not a stream's name.
    pub fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        self.observe(Operation::Snapshots, About::stream(stream), |namespace| {
            namespace.list_snapshots(stream)
        })
    }
}

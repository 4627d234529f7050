//! To keep and load snapshots of aggregates.

use nexus_protocol::{
    AppendError, Appended, FoldIdentity, ReadError, Snapshot, SnapshotAt, SnapshotInfo,
};

use super::Access;
use crate::guard::Action;

impl Access {
    /// Keeps a snapshot. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not append; as an append's.
    pub fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        self.guard(Action::Append)?.save_snapshot(snapshot)
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
        self.guard(Action::Read)?.load_snapshot(stream, at, fold)
    }

    /// The snapshots that are kept of a stream, by ascending revision. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not inspect, or it is not a stream's name.
    pub fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        self.guard(Action::Inspect)?.list_snapshots(stream)
    }
}

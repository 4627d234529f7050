//! Snapshots on the wire, but for their states, which are payloads.

use rkyv::{Archive, Deserialize, Serialize};

use crate::ids::{Position, Revision};
use crate::snapshot::{FoldIdentity, Snapshot, SnapshotAt, SnapshotInfo};

/// A snapshot but for its state.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SnapshotHead {
    /// The stream it is of.
    pub stream: String,
    /// The state is that after the event of this revision.
    pub revision: u64,
    /// Where it stands in the log; 0 when it is saved.
    pub position: u64,
    /// See [`FoldIdentity::fold_version`].
    pub fold_version: u32,
    /// See [`FoldIdentity::upcaster_hash`].
    pub upcaster_hash: u64,
    /// Media type of the state.
    pub content_type: String,
}

impl From<&Snapshot> for SnapshotHead {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            stream: snapshot.stream.as_str().to_owned(),
            revision: snapshot.revision.get(),
            position: 0,
            fold_version: snapshot.fold.fold_version,
            upcaster_hash: snapshot.fold.upcaster_hash,
            content_type: snapshot.content_type.clone(),
        }
    }
}

impl SnapshotHead {
    /// Of a listed snapshot.
    pub fn of(stream: &str, info: &SnapshotInfo) -> Self {
        Self {
            stream: stream.to_owned(),
            revision: info.revision.get(),
            position: info.position.get(),
            fold_version: info.fold.fold_version,
            upcaster_hash: info.fold.upcaster_hash,
            content_type: String::new(),
        }
    }

    /// Which fold made it.
    pub fn fold(&self) -> FoldIdentity {
        FoldIdentity { fold_version: self.fold_version, upcaster_hash: self.upcaster_hash }
    }

    /// As a listed snapshot.
    pub fn info(&self) -> SnapshotInfo {
        SnapshotInfo {
            revision: Revision::new(self.revision),
            position: Position::new(self.position),
            fold: self.fold(),
        }
    }
}

/// Which snapshot a request means. A revision goes before a position.
pub(super) fn snapshot_at(revision: Option<u64>, position: Option<u64>) -> SnapshotAt {
    match (revision, position) {
        (Some(revision), _) => SnapshotAt::Revision(Revision::new(revision)),
        (None, Some(position)) => SnapshotAt::Position(Position::new(position)),
        (None, None) => SnapshotAt::Latest,
    }
}

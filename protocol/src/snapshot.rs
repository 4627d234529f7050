//! Snapshots of aggregate state: events of type [`SNAPSHOT_TAKEN`] in the stream `$snapshot-NAME`.
//!
//! A snapshot is a cache of a fold. It says which fold made it; another one never uses it. A ladder
//! of older ones is kept, so that a past state loads fast too.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{Position, Revision};
use crate::limits::SNAPSHOTS_NEWEST;
use crate::names::StreamName;

/// Prefix of the stream that holds a stream's snapshots.
pub const SNAPSHOT_PREFIX: &str = "$snapshot-";
/// Type of the event that is a snapshot.
pub const SNAPSHOT_TAKEN: &str = "$SnapshotTaken";

/// Which fold made a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FoldIdentity {
    /// Number that the author of the fold raises with each change of it.
    pub fold_version: u32,
    /// Hash over the upcasters the events went through.
    pub upcaster_hash: u64,
}

/// Metadata of a snapshot event, as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMetadata {
    /// The state is that after the event of this revision.
    pub revision: Revision,
    /// Which fold made it.
    #[serde(flatten)]
    pub fold: FoldIdentity,
}

/// State of an aggregate at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The stream it is of.
    pub stream: StreamName,
    /// The state is that after the event of this revision.
    pub revision: Revision,
    /// Which fold made it.
    pub fold: FoldIdentity,
    /// Media type of `state`.
    pub content_type: String,
    /// The state.
    pub state: Bytes,
}

/// A snapshot without its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The state is that after the event of this revision.
    pub revision: Revision,
    /// Where the snapshot stands in the log.
    pub position: Position,
    /// Which fold made it.
    pub fold: FoldIdentity,
}

/// Which snapshot to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotAt {
    /// The one of the highest revision.
    #[default]
    Latest,
    /// The one of the highest revision at or before this one.
    Revision(Revision),
    /// The one of the highest revision whose event stands at or before this position of the log.
    Position(Position),
}

/// Which of a stream's snapshots are kept, given their revisions in ascending order: the newest
/// four, and of the older ones the first of each doubling of revisions (0, 1, 2–3, 4–7, …).
///
/// Once out, a snapshot never comes back when more are taken at higher revisions, so hiding and
/// removing it are the same to a reader.
pub fn ladder(revisions: &[Revision]) -> Vec<Revision> {
    let newest = revisions.len().saturating_sub(SNAPSHOTS_NEWEST);
    let rung = |revision: Revision| u64::BITS - revision.get().leading_zeros();
    let mut kept = Vec::new();
    let mut last_rung = None;
    for (index, &revision) in revisions.iter().enumerate() {
        let first_of_rung = last_rung != Some(rung(revision));
        last_rung = Some(rung(revision));
        if first_of_rung || index >= newest {
            kept.push(revision);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(revisions: &[u64]) -> Vec<u64> {
        let revisions: Vec<_> = revisions.iter().copied().map(Revision::new).collect();
        ladder(&revisions).into_iter().map(Revision::get).collect()
    }

    #[test]
    fn the_newest_four_and_one_per_doubling_are_kept() {
        assert!(numbers(&[]).is_empty());
        assert_eq!(numbers(&[5, 6, 7]), [5, 6, 7]);
        let all: Vec<u64> = (0..100).collect();
        assert_eq!(numbers(&all), [0, 1, 2, 4, 8, 16, 32, 64, 96, 97, 98, 99]);
    }

    #[test]
    fn what_is_out_stays_out() {
        let mut kept_before: Vec<u64> = Vec::new();
        let mut out = std::collections::BTreeSet::new();
        let mut taken = Vec::new();
        for revision in (3..4000).step_by(37) {
            taken.push(revision);
            let kept = numbers(&taken);
            out.extend(kept_before.iter().filter(|r| !kept.contains(r)).copied());
            assert!(kept.iter().all(|r| !out.contains(r)));
            kept_before = kept;
        }
        assert!(!out.is_empty());
    }
}

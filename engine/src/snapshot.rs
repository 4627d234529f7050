//! Snapshots of aggregate state: events in `$snapshot-` streams, with a ladder of older ones.
//!
//! The index knows revision and fold of each, so that finding one reads nothing but itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nexus_protocol::limits::SYSTEM_STREAM_NAME_BYTES_MAX;
use nexus_protocol::{
    Append, AppendError, Appended, EventData, FoldIdentity, Invalid, ReadError, Revision,
    SNAPSHOT_PREFIX, SNAPSHOT_TAKEN, Snapshot, SnapshotAt, SnapshotInfo, SnapshotMetadata,
    StreamName, ladder,
};

use crate::index::keys::stream_key;
use crate::namespace::{Namespace, OnBehalfOf};
use crate::read::Cursor;
use crate::segment::frames::Want;

pub(crate) fn save(
    namespace: &Namespace,
    by: OnBehalfOf<'_>,
    snapshot: Snapshot,
) -> Result<Appended, AppendError> {
    if snapshot.stream.is_system() {
        let why = format!("stream {:?} is the system's: it has no snapshots", snapshot.stream);
        return Err(Invalid::Request(why).into());
    }
    let metadata = SnapshotMetadata { revision: snapshot.revision, fold: snapshot.fold };
    let metadata = serde_json::to_vec(&metadata).expect("metadata has a JSON form");
    let event = EventData::new(SNAPSHOT_TAKEN, snapshot.content_type, snapshot.state);
    let stream = format!("{SNAPSHOT_PREFIX}{}", snapshot.stream);
    assert!(stream.len() <= SYSTEM_STREAM_NAME_BYTES_MAX, "a prefix fits before any name");
    let append = Append::to(stream).event(event.metadata(metadata));
    namespace.append_on_behalf_of(by, append).wait()
}

pub(crate) fn list(namespace: &Namespace, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
    StreamName::new(stream)?;
    let committer = &namespace.committer;
    let Some(entry) = committer.index.stream_named(&format!("{SNAPSHOT_PREFIX}{stream}")) else {
        return Ok(Vec::new());
    };
    // Of several of one fold at one revision the newest counts. Each fold has a ladder of its own: its
    // snapshots are no use to another, and must not push those out either.
    let mut by_fold: HashMap<FoldIdentity, BTreeMap<Revision, SnapshotInfo>> = HashMap::new();
    for info in entry.snapshots_below(committer.log.committed.get()) {
        by_fold.entry(info.fold).or_default().insert(info.revision, info);
    }
    let mut kept: Vec<SnapshotInfo> = by_fold.values().flat_map(kept_of).collect();
    kept.sort_unstable_by_key(|info| (info.revision, info.position));
    // A state made of deleted events is as hidden as they are. The ladder counts it all the same, so
    // that a delete brings none back that was out.
    let view = committer.index.view(&stream_key(stream), committer.log.committed.get());
    assert!(kept.is_sorted_by_key(|info| info.revision), "by ascending revision");
    kept.retain(|info| view.shows_snapshot(info.revision));
    Ok(kept)
}

/// Those of one fold that are on its ladder.
fn kept_of(all: &BTreeMap<Revision, SnapshotInfo>) -> Vec<SnapshotInfo> {
    let revisions: Vec<Revision> = all.keys().copied().collect();
    let kept = ladder(&revisions);
    assert!(kept.is_sorted_by(|a, b| a < b), "by ascending revision");
    assert!(kept.last() == revisions.last(), "the newest is always kept");
    kept.iter().map(|at| all[at]).collect()
}

pub(crate) fn load(
    namespace: &Namespace,
    stream: &str,
    at: SnapshotAt,
    fold: FoldIdentity,
) -> Result<Option<Snapshot>, ReadError> {
    let committer = &namespace.committer;
    let kept = list(namespace, stream)?;
    let entry = committer.index.stream_named(stream);
    let in_range = |info: &SnapshotInfo| match at {
        SnapshotAt::Latest => true,
        SnapshotAt::Revision(revision) => info.revision <= revision,
        SnapshotAt::Position(position) => entry
            .as_ref()
            .and_then(|entry| entry.positions.get(usize::try_from(info.revision.get()).ok()?))
            .is_some_and(|of_event| of_event <= position.get()),
    };
    let best = kept.iter().rev().find(|info| info.fold == fold && in_range(info));
    let Some(info) = best else { return Ok(None) };
    let mut cursor = Cursor::new(Arc::clone(&committer.log));
    let event = cursor.event(info.position.get(), Want::One)?;
    Ok(Some(Snapshot {
        stream: StreamName::new(stream)?,
        revision: info.revision,
        fold: info.fold,
        content_type: event.content_type().to_owned(),
        state: event.data_bytes(),
    }))
}

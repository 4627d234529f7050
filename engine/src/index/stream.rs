//! What the index knows of one stream, and what of it can be seen up to a position.

use std::sync::RwLock;

use nexus_protocol::{
    META_AGED, META_DELETED, META_PREFIX, META_SET, META_TOMBSTONED, MetaData, Position, Revision,
    SNAPSHOT_PREFIX, SNAPSHOT_TAKEN, SnapshotInfo, SnapshotMetadata, StreamLimits, StreamName,
    StreamState,
};

use super::postings::PostingList;

/// A stream.
#[derive(Debug)]
pub(crate) struct StreamEntry {
    pub(crate) name: StreamName,
    /// Position of each event; the index is the revision.
    pub(crate) positions: PostingList,
    /// What few streams have.
    extra: RwLock<Option<Box<Extra>>>,
}

#[derive(Debug, Default)]
struct Extra {
    /// The state after each event of the stream's `$meta-` stream, in order.
    meta: Vec<MetaState>,
    /// The snapshots, if this is a `$snapshot-` stream, in order of their positions.
    snapshots: Vec<SnapshotInfo>,
    /// Where damage is read around: events there must have been, as those that were read say.
    count_known: u64,
}

/// State after an event of the `$meta-` stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetaState {
    /// Position of that event.
    pub(crate) position: u64,
    /// Its revision in the `$meta-` stream.
    pub(crate) revision: u64,
    /// First visible revision when it was written.
    pub(crate) floor: u64,
    /// Position of the newest soft delete; later events revived the stream.
    pub(crate) deleted_at: Option<u64>,
    /// First revision after the newest soft delete; 0 for none.
    pub(crate) first_of_life: u64,
    pub(crate) tombstoned: bool,
    pub(crate) limits: StreamLimits,
}

/// What can be seen of a stream below a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamView {
    pub(crate) state: StreamState,
    /// Events it has, hidden ones included.
    pub(crate) count: u64,
    /// First visible revision; where nothing is visible, the next one.
    pub(crate) floor: u64,
    /// Every revision below it is hidden. Beyond `floor` where limits run ahead, or where damage is
    /// read around and the index lacks events.
    hidden_below: u64,
    /// Position of the newest soft delete: what stands before it is hidden.
    deleted_at: Option<u64>,
    /// First revision after the newest soft delete; 0 for none.
    pub(crate) first_of_life: u64,
    pub(crate) limits: StreamLimits,
    pub(crate) meta_revision: Option<u64>,
}

impl StreamView {
    /// What is seen of a stream that never was.
    pub(crate) const MISSING: Self = Self {
        state: StreamState::Missing,
        count: 0,
        floor: 0,
        hidden_below: 0,
        deleted_at: None,
        first_of_life: 0,
        limits: StreamLimits { max_count: None, max_age_s: None, truncate_before: None },
        meta_revision: None,
    };

    /// Whether an event of this revision is visible.
    pub(crate) fn shows(&self, revision: u64) -> bool {
        revision >= self.hidden_below || crate::planted::is("hidden-events-shown")
    }

    /// Whether a snapshot of the stream at this revision is visible: not where the events it was made of
    /// are deleted. What is only truncated is still in the state.
    pub(crate) fn shows_snapshot(&self, at: Revision) -> bool {
        self.state != StreamState::Tombstoned && at.get() >= self.first_of_life
    }

    /// Whether an event of this revision at this position is visible: the same, and right where the
    /// index lacks events as well.
    pub(crate) fn shows_at(&self, revision: u64, position: u64) -> bool {
        let deleted = self.deleted_at.is_some_and(|deleted| position < deleted);
        self.shows(revision) && (!deleted || crate::planted::is("hidden-events-shown"))
    }
}

/// What a system event does to the index.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Changes what is visible of this stream.
    Meta { target: StreamName, kind: MetaKind, data: MetaData },
    /// Is a snapshot.
    Snapshot(SnapshotMetadata),
}

/// Which event of a `$meta-` stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaKind {
    Set,
    Deleted,
    Tombstoned,
    Aged,
}

impl Effect {
    /// Of an event with these fields; `None` for most.
    pub(crate) fn of(stream: &str, event_type: &str, data: &[u8], metadata: &[u8]) -> Option<Self> {
        if let Some(target) = stream.strip_prefix(META_PREFIX) {
            let kind = match event_type {
                META_SET => MetaKind::Set,
                META_DELETED => MetaKind::Deleted,
                META_TOMBSTONED => MetaKind::Tombstoned,
                META_AGED => MetaKind::Aged,
                _ => return None,
            };
            let target = StreamName::new(target).ok()?;
            let data = serde_json::from_slice(data).ok()?;
            return Some(Self::Meta { target, kind, data });
        }
        if stream.starts_with(SNAPSHOT_PREFIX) && event_type == SNAPSHOT_TAKEN {
            return serde_json::from_slice(metadata).ok().map(Self::Snapshot);
        }
        None
    }
}

impl StreamEntry {
    pub(crate) fn new(name: StreamName) -> Self {
        Self { name, positions: PostingList::new(), extra: RwLock::new(None) }
    }

    /// What can be seen below position `bound`.
    pub(crate) fn view(&self, bound: u64) -> StreamView {
        let count = match bound.checked_sub(1) {
            Some(last) => self.positions.partition_point_above(last) as u64,
            None => 0,
        };
        let meta = self.meta_below(bound);
        let Some(head) = count.checked_sub(1) else {
            let Some(meta) = meta else { return StreamView::MISSING };
            let state =
                if meta.tombstoned { StreamState::Tombstoned } else { StreamState::Missing };
            return self.view_of(state, 0, meta);
        };
        let head = Revision::new(head);
        let Some(meta) = meta else {
            return StreamView { state: StreamState::At(head), count, ..StreamView::MISSING };
        };
        let last = self.positions.get(usize::try_from(head.get()).unwrap_or(usize::MAX));
        let state = if meta.tombstoned {
            StreamState::Tombstoned
        } else if meta.deleted_at.is_some_and(|deleted| last.is_none_or(|last| last < deleted)) {
            StreamState::Deleted(head)
        } else {
            StreamState::At(head)
        };
        self.view_of(state, count, meta)
    }

    /// Whether an event of it between these positions, both included, may be hidden from who sees what is
    /// below `bound`. Revisions are hidden from the lowest on, so the first that stands there tells.
    pub(crate) fn may_hide_between(&self, first: u64, last: u64, bound: u64) -> bool {
        assert!(first <= last, "there is a position between them");
        if self.count_known() > 0 {
            // Its list lacks events: nothing follows from it.
            return true;
        }
        let revision = first.checked_sub(1).map_or(0, |p| self.positions.partition_point_above(p));
        let stands = self.positions.get(revision).filter(|position| *position <= last);
        stands.is_some_and(|position| !self.view(bound).shows_at(revision as u64, position))
    }

    fn view_of(&self, state: StreamState, count: u64, meta: MetaState) -> StreamView {
        let known = count.max(self.count_known());
        let by_count = meta.limits.max_count.map_or(0, |max| known.saturating_sub(max));
        let truncated = meta.limits.truncate_before.map_or(0, Revision::get);
        let by_limits = meta.floor.max(by_count).max(truncated);
        let (floor, hidden_below) = match state {
            StreamState::Tombstoned => (count, u64::MAX),
            StreamState::Deleted(_) => (count, by_limits),
            _ => (by_limits.min(count), by_limits),
        };
        assert!(floor <= count, "what is hidden is of what is there");
        assert!(floor == count || floor == hidden_below, "what is not hidden is shown");
        assert!(meta.first_of_life <= count, "a life begins behind what was deleted");
        StreamView {
            state,
            count,
            floor,
            hidden_below,
            deleted_at: meta.deleted_at,
            first_of_life: meta.first_of_life,
            limits: meta.limits,
            meta_revision: Some(meta.revision),
        }
    }

    fn meta_below(&self, bound: u64) -> Option<MetaState> {
        let extra = self.extra.read().expect("no panic while settings are changed");
        let meta = &extra.as_ref()?.meta;
        meta.iter().rev().find(|state| state.position < bound).copied()
    }

    /// An event of this revision was read, and does not follow those that are known: damage lies
    /// between.
    pub(crate) fn note_revision(&self, revision: u64) {
        let mut extra = self.extra.write().expect("no panic while settings are changed");
        let known = &mut extra.get_or_insert_default().count_known;
        *known = (*known).max(revision.saturating_add(1));
    }

    fn count_known(&self) -> u64 {
        let extra = self.extra.read().expect("no panic while settings are changed");
        extra.as_ref().map_or(0, |extra| extra.count_known)
    }

    /// An event of its `$meta-` stream was written.
    pub(crate) fn apply_meta(&self, position: u64, revision: u64, kind: MetaKind, data: &MetaData) {
        // Events of the stream before this one: an index file applies its events first.
        let count =
            position.checked_sub(1).map_or(0, |p| self.positions.partition_point_above(p)) as u64;
        let mut extra = self.extra.write().expect("no panic while settings are changed");
        let meta = &mut extra.get_or_insert_default().meta;
        let before = meta.last().copied();
        assert!(before.is_none_or(|it| it.position < position), "changes come in order");
        let mut next = before.unwrap_or(MetaState {
            position,
            revision,
            floor: 0,
            deleted_at: None,
            first_of_life: 0,
            tombstoned: false,
            limits: StreamLimits::default(),
        });
        next.position = position;
        next.revision = revision;
        // What the limits before hid by now stays hidden. The floor in the event was right when it was
        // computed, and further events may stand between: then this is the higher one.
        let by_count = next.limits.max_count.map_or(0, |max| count.saturating_sub(max));
        let truncated = next.limits.truncate_before.map_or(0, Revision::get).min(count);
        next.floor = next.floor.max(data.floor.get()).max(by_count).max(truncated);
        match kind {
            MetaKind::Set => next.limits = data.limits,
            MetaKind::Deleted => {
                next.deleted_at = Some(position);
                next.first_of_life = count;
                next.floor = next.floor.max(count);
            }
            MetaKind::Tombstoned => next.tombstoned = true,
            MetaKind::Aged => {}
        }
        assert!(before.is_none_or(|it| it.floor <= next.floor), "what is hidden stays hidden");
        assert!(before.is_none_or(|it| !it.tombstoned || next.tombstoned), "for good is for good");
        meta.push(next);
    }

    /// A snapshot event of this `$snapshot-` stream was written.
    pub(crate) fn apply_snapshot(&self, position: u64, metadata: &SnapshotMetadata) {
        let mut extra = self.extra.write().expect("no panic while settings are changed");
        let snapshots = &mut extra.get_or_insert_default().snapshots;
        assert!(snapshots.last().is_none_or(|last| last.position.get() < position));
        snapshots.push(SnapshotInfo {
            revision: metadata.revision,
            position: Position::new(position),
            fold: metadata.fold,
        });
    }

    /// The snapshots of this `$snapshot-` stream below position `bound`, in order of positions.
    pub(crate) fn snapshots_below(&self, bound: u64) -> Vec<SnapshotInfo> {
        let extra = self.extra.read().expect("no panic while settings are changed");
        let all = extra.as_ref().map(|extra| extra.snapshots.as_slice()).unwrap_or_default();
        all.iter().filter(|info| info.position.get() < bound).copied().collect()
    }

    /// Events from position `bound` on were cut.
    pub(crate) fn truncate(&self, bound: u64) {
        let kept =
            bound.checked_sub(1).map_or(0, |last| self.positions.partition_point_above(last));
        self.positions.truncate(kept);
        self.truncate_extra(bound);
    }

    /// Events of its `$meta-` stream, or snapshots, from position `bound` on were cut.
    pub(crate) fn truncate_extra(&self, bound: u64) {
        let mut extra = self.extra.write().expect("no panic while settings are changed");
        if let Some(extra) = extra.as_mut() {
            extra.meta.retain(|state| state.position < bound);
            extra.snapshots.retain(|info| info.position.get() < bound);
        }
    }
}

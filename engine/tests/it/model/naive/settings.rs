//! What was decided about streams, and snapshots.

use nexus_protocol::{
    Append, AppendError, Appended, Clause, EventData, ExpectedRevision, FoldIdentity, Invalid,
    Position, SNAPSHOT_TAKEN, SnapshotAt, StreamChange, StreamState,
};

use super::{Answer, Naive, conflict, place};

impl Naive {
    /// Writes an event of a stream's settings.
    fn write_meta(&mut self, stream: &str, event_type: &str) -> Appended {
        let floor = self.now(stream).floor;
        let settings = self.settings.entry(stream.to_owned()).or_default();
        settings.floor = settings.floor.max(floor);
        let meta = format!("$meta-{stream}");
        let revision = self.positions(&meta).len() as u64;
        let (at, time) = (Position::new(self.next()), self.time());
        let event = EventData { event_type: event_type.to_owned(), ..EventData::default() };
        self.push(&meta, event, false, time);
        Appended {
            positions: Some((at, at)),
            streams: vec![place(&meta, revision, 1)],
            replayed: false,
        }
    }

    pub(crate) fn set(&mut self, stream: &str, change: StreamChange) -> Result<(), AppendError> {
        if change.max_count == Some(Some(0)) {
            return Err(Invalid::Request(String::new()).into());
        }
        if self.now(stream).state == StreamState::Tombstoned {
            return Err(AppendError::Deleted { stream: stream.to_owned() });
        }
        if change.truncate_before.is_some_and(|before| before.get() > self.now(stream).count) {
            return Err(Invalid::Request(String::new()).into());
        }
        self.write_meta(stream, "$StreamMetadataSet");
        let limits = &mut self.settings.get_mut(stream).unwrap().limits;
        limits.max_count = change.max_count.unwrap_or(limits.max_count);
        limits.max_age_s = change.max_age_s.unwrap_or(limits.max_age_s);
        // It can only rise.
        limits.truncate_before = limits.truncate_before.max(change.truncate_before);
        Ok(())
    }

    pub(crate) fn delete(
        &mut self,
        stream: &str,
        expected: ExpectedRevision,
        for_good: bool,
    ) -> Answer {
        let now = self.now(stream);
        if now.state == StreamState::Tombstoned {
            return Err(AppendError::Deleted { stream: stream.to_owned() });
        }
        let there = for_good || matches!(now.state, StreamState::At(_));
        if !there || !now.state.meets(expected) {
            // Without one it is asked for something to delete.
            let expected = if there { expected } else { ExpectedRevision::Exists };
            let last = self.last_position(stream).into_iter().map(|p| p.get() as usize);
            let clause = Clause::Stream { stream: stream.to_owned(), expected, found: now.state };
            return Err(conflict(clause, last.collect()));
        }
        let kind = if for_good { "$StreamTombstoned" } else { "$StreamDeleted" };
        let appended = self.write_meta(stream, kind);
        let settings = self.settings.get_mut(stream).unwrap();
        if for_good {
            settings.tombstoned = true;
        } else {
            settings.deleted = Some(now.count);
        }
        Ok(appended)
    }

    /// Hides what is older than the streams' limits allow.
    pub(crate) fn age_out(&mut self) {
        for stream in self.settings.keys().cloned().collect::<Vec<_>>() {
            let Some(max_age_s) = self.limits(&stream).max_age_s else { continue };
            let now = self.now(&stream);
            let oldest = self.clock.saturating_sub_unsigned(max_age_s.saturating_mul(1_000_000));
            let positions = self.positions(&stream);
            let young = positions.iter().position(|p| self.log[*p].recorded_at >= oldest);
            let floor = young.unwrap_or(positions.len()) as u64;
            if floor > now.floor && now.state.head().is_some() {
                self.write_meta(&stream, "$StreamAged");
                self.settings.get_mut(&stream).unwrap().floor = floor;
            }
        }
    }

    pub(crate) fn save_snapshot(&mut self, stream: &str, event: EventData) -> Appended {
        let name = format!("$snapshot-{stream}");
        self.write(&Append::to(name).event(event))
    }

    /// Revision, position, and fold of each snapshot that is kept, by revision and position.
    pub(crate) fn snapshots(&self, stream: &str) -> Vec<(u64, usize, FoldIdentity)> {
        let mut all: Vec<(u64, usize, FoldIdentity)> = Vec::new();
        for position in self.positions(&format!("$snapshot-{stream}")) {
            let event = &self.log[*position].event;
            assert_eq!(event.event_type, SNAPSHOT_TAKEN);
            let about: nexus_protocol::SnapshotMetadata =
                serde_json::from_slice(&event.metadata).unwrap();
            all.retain(|it| (it.0, it.2) != (about.revision.get(), about.fold));
            all.push((about.revision.get(), *position, about.fold));
        }
        all.sort_unstable_by_key(|it| (it.0, it.1));
        let doubling = |revision: u64| if revision == 0 { 0 } else { revision.ilog2() + 1 };
        let now = self.now(stream);
        let hidden = now.state == StreamState::Tombstoned;
        let kept = |it: &&(u64, usize, FoldIdentity)| {
            let of_fold = || all.iter().filter(|other| other.2 == it.2);
            let newer = of_fold().filter(|other| other.0 > it.0).count();
            let mut older = of_fold().filter(|other| other.0 < it.0);
            let first = older.all(|other| doubling(other.0) < doubling(it.0));
            (newer < 4 || first) && !hidden && it.0 >= now.life
        };
        all.iter().filter(kept).copied().collect()
    }

    pub(crate) fn snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Option<usize> {
        let in_time = |revision: u64| match at {
            SnapshotAt::Latest => true,
            SnapshotAt::Revision(at) => revision <= at.get(),
            SnapshotAt::Position(at) => usize::try_from(revision)
                .ok()
                .and_then(|revision| self.positions(stream).get(revision))
                .is_some_and(|position| *position as u64 <= at.get()),
        };
        let all = self.snapshots(stream).into_iter().rev();
        all.filter(|(revision, _, made_by)| *made_by == fold && in_time(*revision))
            .map(|(_, position, _)| position)
            .next()
    }

    /// Every stream that was ever written, and every one that has settings.
    pub(crate) fn streams(&self) -> Vec<String> {
        let mut names: Vec<String> = self.of.keys().chain(self.settings.keys()).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

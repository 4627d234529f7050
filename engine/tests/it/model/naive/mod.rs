//! The store as the design describes it, in the plainest way: one list of events, looked through from
//! end to end. Written from the text, not from the engine.

use std::collections::{BTreeMap, HashMap};

use nexus_protocol::{
    Append, AppendError, Appended, AsOf, Clause, Conflict, Direction, EventData, EventId,
    ExpectedRevision, Filter, FilterItem, FoldIdentity, From, Invalid, LogId, Position, Query, Read,
    ReadError, RecordedEvent, Revision, SNAPSHOT_TAKEN, SnapshotAt, StreamAppended, StreamChange,
    StreamLimits, StreamName, StreamState, Timestamp,
};

/// An event of the log. Its place in the list is its position.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) stream: String,
    pub(crate) revision: u64,
    pub(crate) recorded_at: i64,
    /// With sorted tags. The id is `None` until it is read, where the store makes it; the data is
    /// `None` where the store writes it.
    pub(crate) event: EventData,
    pub(crate) data_known: bool,
}

impl Stored {
    fn is_system(&self) -> bool {
        self.stream.starts_with('$')
    }

    /// Whether `found` is this event; learns an id that the store made.
    pub(crate) fn check(&mut self, position: u64, found: &RecordedEvent) {
        let event = &mut self.event;
        let id = *event.id.get_or_insert_with(|| {
            assert_eq!(found.id().as_uuid().get_version_num(), 7, "ids made by the store");
            found.id()
        });
        assert_eq!(found.position().get(), position);
        assert_eq!(found.stream(), self.stream);
        assert_eq!(found.revision().get(), self.revision);
        assert_eq!(found.recorded_at().as_micros(), self.recorded_at);
        assert_eq!(found.id(), id);
        assert_eq!(found.event_type(), event.event_type);
        if self.data_known {
            assert_eq!(found.content_type(), event.content_type);
            assert_eq!(found.data(), event.data);
            assert_eq!(found.metadata(), event.metadata);
        }
        assert!(found.tags().eq(event.tags.iter().map(String::as_str)));
        assert_eq!(found.schema(), event.schema);
        assert_eq!(found.occurred_at(), event.occurred_at);
        assert_eq!(found.correlation_id(), event.correlation_id);
        assert_eq!(found.causation_id(), event.causation_id);
        assert_eq!(found.trace(), event.trace);
    }
}

/// What was decided about a stream.
#[derive(Clone, Debug, Default)]
struct Settings {
    limits: StreamLimits,
    /// What was once hidden stays hidden.
    floor: u64,
    /// How many events it had at the last soft delete.
    deleted: Option<u64>,
    tombstoned: bool,
}

/// What a stream is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) state: StreamState,
    pub(crate) count: u64,
    pub(crate) floor: u64,
    /// First revision after the last soft delete.
    pub(crate) life: u64,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Naive {
    pub(crate) log: Vec<Stored>,
    /// Positions of each stream, by revision: a look through the log for each would take hours.
    of: HashMap<String, Vec<usize>>,
    settings: BTreeMap<String, Settings>,
    log_id: LogId,
    /// The wall clock.
    pub(crate) clock: i64,
}

type Answer = Result<Appended, AppendError>;

fn conflict(clause: Clause, mut positions: Vec<usize>) -> AppendError {
    positions.sort_unstable_by(|a, b| b.cmp(a));
    positions.truncate(16);
    let positions = positions.into_iter().map(|p| Position::new(p as u64)).collect();
    AppendError::Conflict(Box::new(Conflict { clause, positions }))
}

/// What an id stands for.
fn same_content(one: &EventData, other: &EventData) -> bool {
    one.event_type == other.event_type
        && one.content_type == other.content_type
        && one.tags == other.tags
        && one.schema == other.schema
        && one.occurred_at == other.occurred_at
        && one.metadata == other.metadata
        && one.data == other.data
}

impl Naive {
    pub(crate) fn new(log_id: LogId, clock: i64) -> Self {
        let (of, settings) = (HashMap::new(), BTreeMap::new());
        Self { log: Vec::new(), of, settings, log_id, clock }
    }

    pub(crate) fn next(&self) -> u64 {
        self.log.len() as u64
    }

    fn positions(&self, stream: &str) -> &[usize] {
        self.of.get(stream).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn now(&self, stream: &str) -> Now {
        let count = self.positions(stream).len() as u64;
        let Some(settings) = self.settings.get(stream) else {
            let state = match count.checked_sub(1) {
                Some(head) => StreamState::At(Revision::new(head)),
                None => StreamState::Missing,
            };
            return Now { state, count, floor: 0, life: 0 };
        };
        let state = match count.checked_sub(1).map(Revision::new) {
            _ if settings.tombstoned => StreamState::Tombstoned,
            None => StreamState::Missing,
            Some(head) if settings.deleted == Some(count) => StreamState::Deleted(head),
            Some(head) => StreamState::At(head),
        };
        let by_count = settings.limits.max_count.map_or(0, |max| count.saturating_sub(max));
        let before = settings.limits.truncate_before.map_or(0, Revision::get);
        let life = settings.deleted.unwrap_or(0);
        let floor = match state {
            StreamState::Tombstoned => count,
            _ => settings.floor.max(by_count).max(before).max(life).min(count),
        };
        Now { state, count, floor, life }
    }

    pub(crate) fn limits(&self, stream: &str) -> StreamLimits {
        self.settings.get(stream).map_or_else(StreamLimits::default, |settings| settings.limits)
    }

    /// Position of the newest event, if it is visible.
    pub(crate) fn last_position(&self, stream: &str) -> Option<Position> {
        let now = self.now(stream);
        let visible = now.floor < now.count;
        let last = self.positions(stream).last().filter(|_| visible);
        last.map(|p| Position::new(*p as u64))
    }

    pub(crate) fn meta_revision(&self, stream: &str) -> Option<Revision> {
        let count = self.positions(&format!("$meta-{stream}")).len() as u64;
        count.checked_sub(1).map(Revision::new)
    }

    pub(crate) fn visible(&self, position: usize) -> bool {
        let event = &self.log[position];
        event.revision >= self.now(&event.stream).floor
    }

    /// The recorded time of what is written now.
    fn time(&self) -> i64 {
        self.log.last().map_or(i64::MIN, |last| last.recorded_at).max(self.clock)
    }

    fn push(&mut self, stream: &str, mut event: EventData, data_known: bool, recorded_at: i64) {
        event.tags.sort_unstable();
        event.tags.dedup();
        let positions = self.of.entry(stream.to_owned()).or_default();
        let revision = positions.len() as u64;
        positions.push(self.log.len());
        let stream = stream.to_owned();
        self.log.push(Stored { stream, revision, recorded_at, event, data_known });
    }

    /// An append, decided and, where it may be, done.
    pub(crate) fn append(&mut self, append: &Append) -> Answer {
        let append = &self.with_ids(append);
        let conditional = append.boundary.is_some()
            || append.absence.is_some()
            || append.streams.iter().any(|s| s.expected != ExpectedRevision::Any);
        if append.event_count() == 0 && !conditional {
            return Err(Invalid::NothingToDo.into());
        }
        for stream in &append.streams {
            if self.now(&stream.stream).state == StreamState::Tombstoned {
                return Err(AppendError::Deleted { stream: stream.stream.clone() });
            }
        }
        if let Some(original) = self.replay(append)? {
            return Ok(original);
        }
        for stream in &append.streams {
            let now = self.now(&stream.stream);
            let holds = match (stream.expected, now.state) {
                (ExpectedRevision::Any, _) => true,
                (ExpectedRevision::NoStream, state) => {
                    matches!(state, StreamState::Missing | StreamState::Deleted(_))
                }
                (ExpectedRevision::Exists, state) => matches!(state, StreamState::At(_)),
                (ExpectedRevision::Exact(at), StreamState::At(head) | StreamState::Deleted(head)) => {
                    at == head
                }
                (ExpectedRevision::Exact(_), _) => false,
            };
            if !holds {
                let clause = Clause::Stream {
                    stream: stream.stream.clone(),
                    expected: stream.expected,
                    found: now.state,
                };
                let last = self.positions(&stream.stream).last().copied();
                return Err(conflict(clause, last.into_iter().collect()));
            }
        }
        if let Some(boundary) = &append.boundary {
            let from = boundary.after.map_or(0, |after| after.get().saturating_add(1));
            if let Some(original) = self.clear(append, &boundary.query, from, Clause::Boundary)? {
                return Ok(original);
            }
        }
        if let Some(absence) = &append.absence
            && let Some(original) = self.clear(append, &absence.query, 0, Clause::Absent)?
        {
            return Ok(original);
        }
        Ok(self.write(append))
    }

    fn with_ids(&self, append: &Append) -> Append {
        let mut append = append.clone();
        let key = append.idempotency_key.clone();
        let events = append.streams.iter_mut().flat_map(|stream| &mut stream.events);
        for (event, ordinal) in events.zip(0..) {
            event.tags.sort_unstable();
            event.tags.dedup();
            if let (None, Some(key)) = (event.id, &key) {
                event.id = Some(self.log_id.keyed_event_id("", key, ordinal));
            }
        }
        append
    }

    fn write(&mut self, append: &Append) -> Appended {
        let (first, time) = (self.next(), self.time());
        let mut streams = Vec::new();
        for stream in &append.streams {
            let first_revision = self.positions(&stream.stream).len() as u64;
            for event in &stream.events {
                self.push(&stream.stream, event.clone(), true, time);
            }
            let count = stream.events.len() as u64;
            if count > 0 {
                streams.push(place(&stream.stream, first_revision, count));
            }
        }
        let last = self.next().checked_sub(1).filter(|last| *last >= first || !streams.is_empty());
        let positions = last.filter(|_| !streams.is_empty());
        let positions = positions.map(|last| (Position::new(first), Position::new(last)));
        Appended { positions, streams, replayed: false }
    }

    /// Positions of visible events with this id, the newest first.
    fn with_id(&self, id: EventId) -> impl Iterator<Item = usize> {
        let all = (0..self.log.len()).rev();
        all.filter(move |p| self.log[*p].event.id == Some(id) && self.visible(*p))
    }

    pub(crate) fn by_id(&self, id: EventId) -> Option<usize> {
        self.with_id(id).next()
    }

    /// The original answer, if this append happened before.
    fn replay(&self, append: &Append) -> Result<Option<Appended>, AppendError> {
        let mut found = Vec::new();
        for stream in &append.streams {
            let now = self.now(&stream.stream);
            let first = match stream.expected {
                ExpectedRevision::Exact(at) => Some(at.get().saturating_add(1)),
                ExpectedRevision::NoStream => Some(now.life),
                ExpectedRevision::Any | ExpectedRevision::Exists => None,
            };
            if let Some(first) = first
                && !stream.events.is_empty()
                && (first..now.count).contains(&first)
                && first < now.floor
            {
                return Err(AppendError::BelowRetention { what: String::new() });
            }
            for (event, offset) in stream.events.iter().zip(0..) {
                let at = match first {
                    Some(first) => usize::try_from(first.saturating_add(offset))
                        .ok()
                        .and_then(|revision| self.positions(&stream.stream).get(revision))
                        .copied()
                        .filter(|p| event.id.is_some() && self.log[*p].event.id == event.id),
                    // Fewer than a million events: all of them are in the window.
                    None => event.id.and_then(|id| self.with_id(id).next()),
                };
                found.push(self.checked(at, &stream.stream, event)?);
            }
        }
        self.original(append, &found)
    }

    /// An id may come again only with what it came with.
    fn checked(
        &self,
        at: Option<usize>,
        stream: &str,
        event: &EventData,
    ) -> Result<Option<usize>, AppendError> {
        let Some(at) = at else { return Ok(None) };
        let stored = &self.log[at];
        if stored.stream == stream && same_content(&stored.event, event) {
            return Ok(Some(at));
        }
        let id = event.id.expect("it was found by its id");
        Err(AppendError::IdReused { id, position: Position::new(at as u64) })
    }

    fn original(
        &self,
        append: &Append,
        found: &[Option<usize>],
    ) -> Result<Option<Appended>, AppendError> {
        let stored: Vec<usize> = found.iter().copied().flatten().collect();
        let Some(first) = stored.first().copied() else { return Ok(None) };
        let one_append = stored.iter().copied().eq(first..first + stored.len());
        if stored.len() < found.len() || !one_append {
            let clause = Clause::Ids { stored: stored.len(), given: found.len() };
            return Err(conflict(clause, stored));
        }
        let mut streams = Vec::new();
        let mut at = first;
        for stream in append.streams.iter().filter(|stream| !stream.events.is_empty()) {
            let count = stream.events.len();
            streams.push(place(&stream.stream, self.log[at].revision, count as u64));
            at += count;
        }
        let positions = (Position::new(first as u64), Position::new(at as u64 - 1));
        Ok(Some(Appended { positions: Some(positions), streams, replayed: true }))
    }

    /// Nothing visible that matches may stand from `from` on, but what is this append's own.
    fn clear(
        &self,
        append: &Append,
        query: &Query,
        from: u64,
        clause: Clause,
    ) -> Result<Option<Appended>, AppendError> {
        let in_the_way: Vec<usize> = (0..self.log.len())
            .filter(|p| *p as u64 >= from && !self.log[*p].is_system())
            .filter(|p| query_matches(query, &self.log[*p]) && self.visible(*p))
            .collect();
        if in_the_way.is_empty() {
            return Ok(None);
        }
        let events = || append.streams.iter().flat_map(|s| s.events.iter().map(move |e| (s, e)));
        let is_own = |p: &usize| events().any(|(_, own)| self.log[*p].event.id == own.id);
        if append.event_count() > 0 && in_the_way.iter().all(is_own) {
            let mut found = Vec::new();
            for (stream, event) in events() {
                let at = event.id.and_then(|id| self.with_id(id).next());
                found.push(self.checked(at, &stream.stream, event)?);
            }
            if found.iter().all(Option::is_some) {
                return self.original(append, &found);
            }
        }
        Err(conflict(clause, in_the_way))
    }

    /// What a read yields.
    pub(crate) fn read(&self, read: &Read) -> Result<Vec<usize>, ReadError> {
        let revisions =
            matches!(read.from, From::Revision(_)) || matches!(read.as_of, Some(AsOf::Revision(_)));
        let forwards = read.direction == Direction::Forwards;
        match &read.stream {
            None if revisions => return Err(Invalid::Request(String::new()).into()),
            Some(stream) if self.now(stream).state == StreamState::Tombstoned => {
                return Err(ReadError::Deleted { stream: stream.clone() });
            }
            _ => {}
        }
        let within = |asked: u64, is: u64| if forwards { is >= asked } else { is <= asked };
        let system = read.system || read.stream.is_some() || names_system(&read.filter);
        let wanted = |position: &usize| {
            let event = &self.log[*position];
            let position = *position as u64;
            let begun = match read.from {
                From::Start => true,
                From::Revision(at) => within(at.get(), event.revision),
                From::Position(at) => within(at.get(), position),
                From::Time(at) if forwards => event.recorded_at >= at.as_micros(),
                From::Time(at) => event.recorded_at <= at.as_micros(),
            };
            let known = match read.as_of {
                None => true,
                Some(AsOf::Position(at)) => position <= at.get(),
                Some(AsOf::Revision(at)) => event.revision <= at.get(),
                Some(AsOf::Recorded(at)) => event.recorded_at <= at.as_micros(),
            };
            begun && known && (system || !event.is_system()) && matches(&read.filter, event)
        };
        let all: Vec<usize> = match &read.stream {
            Some(stream) => self.positions(stream).to_vec(),
            None => (0..self.log.len()).collect(),
        };
        let mut found: Vec<usize> =
            all.into_iter().filter(wanted).filter(|p| self.visible(*p)).collect();
        if !forwards {
            found.reverse();
        }
        found.truncate(read.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap()));
        Ok(found)
    }

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
            let stream = stream.to_owned();
            let clause = Clause::Stream { stream, expected, found: now.state };
            return Err(conflict(clause, Vec::new()));
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

    /// Revision, position, and fold of each snapshot that is kept.
    pub(crate) fn snapshots(&self, stream: &str) -> Vec<(u64, usize, FoldIdentity)> {
        let mut all = BTreeMap::new();
        for position in self.positions(&format!("$snapshot-{stream}")) {
            let event = &self.log[*position].event;
            assert_eq!(event.event_type, SNAPSHOT_TAKEN);
            let about: nexus_protocol::SnapshotMetadata =
                serde_json::from_slice(&event.metadata).unwrap();
            all.insert(about.revision.get(), (*position, about.fold));
        }
        let revisions: Vec<u64> = all.keys().copied().collect();
        let older = revisions.len().saturating_sub(4);
        let doubling = |revision: u64| if revision == 0 { 0 } else { revision.ilog2() + 1 };
        let kept = revisions.iter().enumerate().filter(|(index, revision)| {
            let first = index
                .checked_sub(1)
                .is_none_or(|before| doubling(revisions[before]) < doubling(**revision));
            *index >= older || first
        });
        let now = self.now(stream);
        let hidden = now.state == StreamState::Tombstoned;
        kept.filter(|(_, revision)| !hidden && **revision >= now.life)
            .map(|(_, revision)| (*revision, all[revision].0, all[revision].1))
            .collect()
    }

    pub(crate) fn snapshot(&self, stream: &str, at: SnapshotAt, fold: FoldIdentity) -> Option<usize> {
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

    pub(crate) fn set_clock(&mut self, clock: Timestamp) {
        self.clock = clock.as_micros();
    }
}

fn place(stream: &str, first: u64, count: u64) -> StreamAppended {
    StreamAppended {
        stream: StreamName::new(stream).unwrap(),
        first_revision: Revision::new(first),
        last_revision: Revision::new(first + count - 1),
    }
}

fn query_matches(query: &Query, event: &Stored) -> bool {
    query.items.iter().any(|item| {
        let of_type = item.types.is_empty() || item.types.contains(&event.event.event_type);
        of_type && item.tags.iter().all(|tag| event.event.tags.contains(tag))
    })
}

fn category(stream: &str) -> &str {
    stream.split('-').next().unwrap_or(stream)
}

fn item_matches(item: &FilterItem, event: &Stored) -> bool {
    let one_of = |list: &[String], is: &dyn Fn(&String) -> bool| list.is_empty() || list.iter().any(is);
    one_of(&item.streams, &|name| *name == event.stream)
        && one_of(&item.stream_prefix, &|prefix| event.stream.starts_with(prefix.as_str()))
        && one_of(&item.categories, &|name| name == category(&event.stream))
        && one_of(&item.types, &|name| *name == event.event.event_type)
        && item.tags.iter().all(|tag| event.event.tags.contains(tag))
}

pub(crate) fn matches(filter: &Filter, event: &Stored) -> bool {
    filter.is_all() || filter.alternatives().iter().any(|item| item_matches(item, event))
}

pub(crate) fn names_system(filter: &Filter) -> bool {
    filter.alternatives().iter().any(|item| {
        let names = item.streams.iter().chain(&item.stream_prefix).chain(&item.categories);
        names.into_iter().any(|name| name.starts_with('$'))
    })
}

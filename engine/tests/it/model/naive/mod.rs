//! The store as the design describes it, in the plainest way: one list of events, looked through from
//! end to end. Written from the text, not from the engine.
//!
//! What is decided about an append stands here, whether it happened before in `replay`, what is seen
//! of the list in `read`, and what settings and snapshots do in `settings`. Two maps beside the list
//! say where a stream's events and an id's stand: to look through the list for each would take hours.

mod read;
mod replay;
mod settings;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use nexus_protocol::{
    Append, AppendError, Appended, Clause, Conflict, EventData, EventId, ExpectedRevision, Invalid,
    LogId, Position, RecordedEvent, Revision, SchemaId, SnapshotMetadata, StreamAppended,
    StreamLimits, StreamName, StreamState, Timestamp,
};

pub(crate) use read::selects;

/// An event of the log. Its place in the list is its position.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) stream: String,
    pub(crate) revision: u64,
    pub(crate) recorded_at: i64,
    /// With sorted tags. The id is `None` until it is read, where the store makes it.
    pub(crate) event: EventData,
    /// Whether a client gave the data; the store writes that of its own events.
    pub(crate) data_known: bool,
}

impl Stored {
    fn is_system(&self) -> bool {
        self.stream.starts_with('$')
    }

    /// Whether `found` is this event; learns an id that the store made.
    fn check(&mut self, position: u64, found: &RecordedEvent) {
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
        assert_eq!(found.not_before(), event.not_before);
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
#[derive(Clone, Debug)]
pub(crate) struct Naive {
    pub(crate) log: Vec<Stored>,
    /// Positions of each stream, by revision.
    of: HashMap<String, Vec<usize>>,
    ids: HashMap<EventId, Vec<usize>>,
    settings: BTreeMap<String, Settings>,
    log_id: LogId,
    /// When the log was made.
    born: i64,
    /// The wall clock.
    pub(crate) clock: i64,
    /// How often only the append's own events stood in its way.
    pub(crate) own_replays: Cell<u64>,
}

pub(crate) type Answer = Result<Appended, AppendError>;

fn conflict(clause: Clause, mut positions: Vec<usize>) -> AppendError {
    positions.sort_unstable_by(|a, b| b.cmp(a));
    positions.truncate(16);
    let positions = positions.into_iter().map(|p| Position::new(p as u64)).collect();
    AppendError::Conflict(Box::new(Conflict { clause, positions }))
}

/// Whether an event of an append is what an id stands for already. A schema counts where the append names one.
fn same_content(given: &EventData, stored: &EventData) -> bool {
    given.event_type == stored.event_type
        && given.content_type == stored.content_type
        && given.tags == stored.tags
        && (given.schema == SchemaId::NONE || given.schema == stored.schema)
        && given.occurred_at == stored.occurred_at
        && given.not_before == stored.not_before
        && given.metadata == stored.metadata
        && given.data == stored.data
}

impl Naive {
    pub(crate) fn new(log_id: LogId, clock: i64) -> Self {
        let (of, ids, settings) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        Self {
            log: Vec::new(),
            of,
            ids,
            settings,
            log_id,
            born: clock,
            clock,
            own_replays: Cell::new(0),
        }
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

    /// Whether an event of the log is this one; learns the id that the store made.
    pub(crate) fn check(&mut self, position: usize, found: &RecordedEvent) {
        let stored = &mut self.log[position];
        let learned = stored.event.id.is_none();
        stored.check(position as u64, found);
        if learned {
            self.ids.entry(found.id()).or_default().push(position);
        }
    }

    /// Only the first `count` events were there after a crash; none of the others was a setting.
    pub(crate) fn truncate(&mut self, count: u64) {
        for position in (usize::try_from(count).unwrap()..self.log.len()).rev() {
            let lost = self.log.pop().expect("one for each position");
            assert!(!lost.stream.starts_with("$meta-"), "what was answered is lost");
            let of = self.of.get_mut(&lost.stream).expect("it has an event");
            assert_eq!(of.pop(), Some(position));
            if of.is_empty() {
                self.of.remove(&lost.stream);
            }
            if let Some(id) = lost.event.id {
                self.ids.get_mut(&id).expect("it was put there").retain(|at| *at != position);
            }
        }
    }

    pub(crate) fn visible(&self, position: usize) -> bool {
        let event = &self.log[position];
        event.revision >= self.now(&event.stream).floor && !self.of_the_deleted(event)
    }

    /// Whether it is a snapshot of what was deleted.
    fn of_the_deleted(&self, event: &Stored) -> bool {
        let Some(target) = event.stream.strip_prefix("$snapshot-") else { return false };
        let about: SnapshotMetadata = serde_json::from_slice(&event.event.metadata).unwrap();
        let now = self.now(target);
        now.state == StreamState::Tombstoned || about.revision.get() < now.life
    }

    /// The recorded time of what is written now.
    fn time(&self) -> i64 {
        self.log.last().map_or(self.born, |last| last.recorded_at).max(self.clock)
    }

    fn push(&mut self, stream: &str, mut event: EventData, data_known: bool, recorded_at: i64) {
        event.tags.sort_unstable();
        event.tags.dedup();
        let positions = self.of.entry(stream.to_owned()).or_default();
        let revision = positions.len() as u64;
        positions.push(self.log.len());
        let stream = stream.to_owned();
        if let Some(id) = event.id {
            self.ids.entry(id).or_default().push(self.log.len());
        }
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
                (
                    ExpectedRevision::Exact(at),
                    StreamState::At(head) | StreamState::Deleted(head),
                ) => at == head,
                (ExpectedRevision::Exact(_), _) => false,
            };
            if !holds {
                let clause = Clause::Stream {
                    stream: stream.stream.clone(),
                    expected: stream.expected,
                    found: now.state,
                };
                // What is hidden stands in nobody's way.
                let last = self.last_position(&stream.stream);
                let last = last.map(|at| usize::try_from(at.get()).unwrap());
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

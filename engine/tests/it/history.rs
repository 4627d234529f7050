//! What was asked of a store, and when it said yes: against this a store that comes back is held.
//!
//! A store that comes back must hold a prefix of what was submitted, in order and of whole batches,
//! with all that was acknowledged: positions and revisions dense, contents as they were given, and
//! hidden what was hidden by then. The model of what is hidden is written from the design, not from
//! the engine. Where frames were taken back there is more than one [`Line`], and a crash in between
//! leaves one or the other, whole.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use nexus_engine::Engine;
use nexus_protocol::{
    Append, Appended, EventData, EventId, Filter, META_DELETED, META_PREFIX, META_SET,
    META_TOMBSTONED, MetaData, Position, Read, ReadError, RecordedEvent, Revision, StreamState,
};
use uuid::Uuid;

/// An event as it must be found.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) stream: String,
    pub(crate) revision: u64,
    /// What the client gave; `None`: an event that the store made.
    pub(crate) given: Option<EventData>,
    /// Its bytes, once they were read.
    pub(crate) raw: Option<Bytes>,
}

/// An append that was submitted.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// Positions of its events.
    pub(crate) positions: Range<u64>,
    /// How many operations the disk had done when it was submitted, and when it was acknowledged.
    pub(crate) submitted: usize,
    pub(crate) acknowledged: Option<usize>,
    /// What was asked, where it can be asked again and is answered as a replay.
    pub(crate) again: Option<Append>,
}

/// A course of the log, and while how many operations it can be what the disk holds.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) events: Vec<Expected>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) operations: Range<usize>,
    views: HashMap<u64, Rc<View>>,
}

/// What readers see of a line that has so many events.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) visible: Vec<u64>,
    streams: BTreeMap<String, Stream>,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    positions: Vec<u64>,
    floor: u64,
    max_count: Option<u64>,
    deleted: bool,
    tombstoned: bool,
}

impl Stream {
    fn first_visible(&self) -> usize {
        let count = self.positions.len() as u64;
        let hidden = match self.max_count {
            _ if self.deleted || self.tombstoned => count,
            Some(max) => self.floor.max(count.saturating_sub(max)),
            None => self.floor,
        };
        usize::try_from(hidden.min(count)).unwrap()
    }

    fn state(&self) -> StreamState {
        let head = (self.positions.len() as u64).checked_sub(1).map(Revision::new);
        match head {
            _ if self.tombstoned => StreamState::Tombstoned,
            None => StreamState::Missing,
            Some(head) if self.deleted => StreamState::Deleted(head),
            Some(head) => StreamState::At(head),
        }
    }
}

impl View {
    fn of(events: &[Expected]) -> Self {
        let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
        for (position, event) in (0_u64..).zip(events) {
            let stream = streams.entry(event.stream.clone()).or_default();
            assert_eq!(stream.positions.len() as u64, event.revision, "the model is wrong");
            stream.positions.push(position);
            stream.deleted = false;
            let (Some(target), Some(raw)) = (event.stream.strip_prefix(META_PREFIX), &event.raw)
            else {
                continue;
            };
            let change = RecordedEvent::decode(raw.clone()).unwrap();
            let data: MetaData = serde_json::from_slice(change.data()).unwrap();
            let target = streams.entry(target.to_owned()).or_default();
            target.floor = target.floor.max(data.floor.get());
            match change.event_type() {
                META_SET => {
                    target.max_count = data.limits.max_count;
                    let truncated = data.limits.truncate_before.map_or(0, Revision::get);
                    target.floor = target.floor.max(truncated);
                }
                META_DELETED => {
                    target.deleted = true;
                    target.floor = target.positions.len() as u64;
                }
                META_TOMBSTONED => target.tombstoned = true,
                other => panic!("the workload makes no {other}"),
            }
        }
        let shown = streams.values().flat_map(|it| &it.positions[it.first_visible()..]);
        let mut visible: Vec<u64> = shown.copied().collect();
        visible.sort_unstable();
        Self { visible, streams }
    }
}

/// Gives up with the reason as text, so that the caller can say which state it was.
macro_rules! demand {
    ($holds:expr, $($reason:tt)+) => {
        if !$holds {
            return Err(format!($($reason)+));
        }
    };
}

impl Line {
    pub(crate) fn new() -> Self {
        Self {
            events: Vec::new(),
            batches: Vec::new(),
            operations: 0..usize::MAX,
            views: HashMap::new(),
        }
    }

    /// The line up to position `end`, all of it acknowledged before operation 0.
    pub(crate) fn settled(&self, end: u64) -> Self {
        let mut line = self.up_to(end);
        let positions = 0..end;
        line.batches = vec![Batch { positions, submitted: 0, acknowledged: Some(0), again: None }];
        line.operations = 0..usize::MAX;
        line
    }

    /// The line up to position `end`.
    pub(crate) fn up_to(&self, end: u64) -> Self {
        let mut line = self.clone();
        line.events.truncate(usize::try_from(end).unwrap());
        line.batches.retain(|batch| batch.positions.end <= end);
        line.views.retain(|events, _| *events <= end);
        line
    }

    pub(crate) fn end(&self) -> u64 {
        self.events.len() as u64
    }

    /// The revision that the next event of a stream gets.
    fn next_revision(&self, stream: &str) -> u64 {
        let last = self.events.iter().rev().find(|event| event.stream == stream);
        last.map_or(0, |event| event.revision + 1)
    }

    /// An append that must be written was submitted: where its events must go.
    pub(crate) fn submitted(&mut self, append: &Append, operations: usize, again: bool) -> usize {
        let first = self.end();
        for stream in &append.streams {
            for event in &stream.events {
                let revision = self.next_revision(&stream.stream);
                let (stream, given) = (stream.stream.clone(), Some(event.clone()));
                self.events.push(Expected { stream, revision, given, raw: None });
            }
        }
        self.batches.push(Batch {
            positions: first..self.end(),
            submitted: operations,
            acknowledged: None,
            again: again.then(|| append.clone()),
        });
        self.batches.len() - 1
    }

    /// The append was answered: as it must be?
    pub(crate) fn acknowledged(&mut self, batch: usize, answer: &Appended, operations: usize) {
        let batch = &mut self.batches[batch];
        let (first, last) = answer.positions.unwrap();
        assert_eq!(first.get()..last.get() + 1, batch.positions, "positions are dense");
        assert!(!answer.replayed, "it was new");
        batch.acknowledged = Some(operations);
        for stream in &answer.streams {
            let range = batch.positions.clone();
            let ours = (range.start..range.end).filter_map(|position| {
                let event = &self.events[usize::try_from(position).unwrap()];
                (event.stream == stream.stream.as_str()).then_some(event.revision)
            });
            let ours: Vec<u64> = ours.collect();
            let given = stream.first_revision.get()..=stream.last_revision.get();
            assert!(ours.iter().copied().eq(given), "{ours:?} {stream:?}");
        }
    }

    /// The store was asked for a change that it appends itself; it did, between `submitted` and
    /// `acknowledged` operations. Reads what it appended.
    pub(crate) fn changed(&mut self, engine: &Engine, submitted: usize, acknowledged: usize) {
        let first = self.end();
        for event in engine.read(Read::all().system().from_position(Position::new(first))) {
            let event = event.unwrap();
            assert_eq!(event.position().get(), self.end());
            assert!(event.is_system(), "only the store's own events are new");
            assert_eq!(event.revision().get(), self.next_revision(event.stream()));
            self.events.push(Expected {
                stream: event.stream().to_owned(),
                revision: event.revision().get(),
                given: None,
                raw: Some(event.as_bytes().clone()),
            });
        }
        assert!(self.end() > first, "a change is an event");
        let positions = first..self.end();
        let acknowledged = Some(acknowledged);
        self.batches.push(Batch { positions, submitted, acknowledged, again: None });
    }

    /// Reads what a batch left, while it can be seen.
    pub(crate) fn capture(&mut self, engine: &Engine, batch: usize) {
        let positions = self.batches[batch].positions.clone();
        let read = Read::all().system().from_position(Position::new(positions.start));
        let mut found = engine.read(read).into_iter();
        for position in positions {
            let event = found.next().expect("it was just acknowledged").unwrap();
            let expected = &mut self.events[usize::try_from(position).unwrap()];
            check_event(&event, position, expected).unwrap();
            expected.raw = Some(event.as_bytes().clone());
        }
    }

    /// What readers see of the first `count` events.
    pub(crate) fn view(&mut self, count: u64) -> Rc<View> {
        let events = &self.events[..usize::try_from(count).unwrap()];
        Rc::clone(self.views.entry(count).or_insert_with(|| Rc::new(View::of(events))))
    }

    /// Whether a store may hold exactly `count` events after so many operations.
    pub(crate) fn allows(&self, count: u64, operations: usize) -> Result<(), String> {
        demand!(self.operations.contains(&operations), "the line is not of this time");
        let until = |batches: &mut dyn Iterator<Item = &Batch>| {
            batches.map(|batch| batch.positions.end).max().unwrap_or(0)
        };
        let acknowledged = |batch: &&Batch| {
            batch.acknowledged.is_some_and(|acknowledged| acknowledged <= operations)
        };
        let least = until(&mut self.batches.iter().filter(acknowledged));
        let most = until(&mut self.batches.iter().filter(|batch| batch.submitted <= operations));
        demand!(count >= least, "acknowledged events are lost: {count} of {least} are there");
        demand!(count <= most, "{count} events, but {most} were submitted");
        let whole = count == 0 || self.batches.iter().any(|batch| batch.positions.end == count);
        demand!(whole, "a batch is torn: {count} events");
        Ok(())
    }

    /// Whether the store holds exactly the first `count` events.
    pub(crate) fn check_content(&mut self, engine: &Engine, count: u64) -> Result<(), String> {
        demand!(count <= self.end(), "{count} events, but {} were submitted", self.end());
        let view = self.view(count);
        self.check_read(engine, Read::all().system(), &view.visible)?;
        for (name, stream) in &view.streams {
            let info = engine.stream_info(name).map_err(|error| error.to_string())?;
            demand!(info.state == stream.state(), "{name}: {:?}: {stream:?}", info.state);
            if stream.tombstoned {
                let first = engine.read(Read::stream(name)).into_iter().next();
                let deleted = matches!(first, Some(Err(ReadError::Deleted { .. })));
                demand!(deleted, "{name} is deleted for good, and read as {first:?}");
            } else {
                let visible = &stream.positions[stream.first_visible()..];
                self.check_read(engine, Read::stream(name), visible)?;
            }
        }
        let tagged = |position: &&u64| {
            let event = &self.events[usize::try_from(**position).unwrap()];
            event.given.as_ref().is_some_and(|given| given.tags.iter().any(|tag| tag == TAG))
        };
        let tagged: Vec<u64> = view.visible.iter().filter(tagged).copied().collect();
        self.check_read(engine, Read::all().filter(Filter::tag(TAG)), &tagged)?;
        self.check_ids(engine, &view)
    }

    fn check_ids(&self, engine: &Engine, view: &View) -> Result<(), String> {
        let step = (view.visible.len() / 4).max(1);
        for position in view.visible.iter().rev().step_by(step) {
            let event = &self.events[usize::try_from(*position).unwrap()];
            let Some(id) = event.given.as_ref().and_then(|given| given.id) else { continue };
            let found = engine.event_by_id(id).map_err(|error| error.to_string())?;
            let at = found.map(|event| event.position().get());
            demand!(at == Some(*position), "event {id} of position {position} is at {at:?}");
        }
        Ok(())
    }

    /// Whether a read gives these positions, and at each the event that was submitted.
    fn check_read(&self, engine: &Engine, read: Read, positions: &[u64]) -> Result<(), String> {
        let what = format!("{:?} {:?}", read.stream, read.filter);
        let mut wanted = positions.iter();
        for event in engine.read(read) {
            let event = event.map_err(|error| format!("{what}: {error}"))?;
            let Some(position) = wanted.next() else {
                return Err(format!("{what}: position {} is shown", event.position()));
            };
            check_event(&event, *position, &self.events[usize::try_from(*position).unwrap()])?;
        }
        demand!(wanted.as_slice().is_empty(), "{what}: {wanted:?} are missing");
        Ok(())
    }
}

/// A tag that some events of the workload carry.
pub(crate) const TAG: &str = "color:red";

/// Whether an event is the one that was submitted.
pub(crate) fn check_event(
    event: &RecordedEvent,
    position: u64,
    expected: &Expected,
) -> Result<(), String> {
    let found = event.position().get();
    demand!(found == position, "position {found} instead of {position}");
    let revision = event.revision().get();
    demand!(revision == expected.revision, "position {position} has revision {revision}");
    if let Some(raw) = &expected.raw {
        demand!(event.as_bytes() == raw, "position {position} is not what it was");
        return Ok(());
    }
    demand!(event.stream() == expected.stream, "position {position} is of {}", event.stream());
    let given = expected.given.as_ref().expect("an event was given or read");
    let same = given.id == Some(event.id())
        && given.event_type == event.event_type()
        && given.content_type == event.content_type()
        && given.data == event.data()
        && given.metadata == event.metadata()
        && event.tags().eq(given.tags.iter().map(String::as_str));
    demand!(same, "position {position} is not what was submitted");
    Ok(())
}

/// An event that is known by its number: equal numbers, equal events.
pub(crate) fn numbered(number: u64, data_bytes: usize) -> EventData {
    let mut data = number.to_le_bytes().repeat(data_bytes / 8 + 1);
    data.truncate(data_bytes);
    let event = EventData::new("Numbered", "application/octet-stream", data.into());
    let event = event.id(id_of(number)).metadata(number.to_string().into_bytes());
    if number.is_multiple_of(3) { event.tag(TAG) } else { event }
}

pub(crate) fn id_of(number: u64) -> EventId {
    EventId::from_uuid(Uuid::from_u64_pair(0x0197_0000_0000_7000, 0x8000_0000_0000_0000 | number))
}

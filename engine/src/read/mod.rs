//! Bounded reads: of a stream, of the whole log, forwards and backwards, as it was.
//!
//! A read sees the log up to the committed watermark at the moment it was opened, and hides what
//! settings hide at that moment, also in reads of the past: what is hidden may be scavenged, and no
//! answer may depend on whether it was.

mod cursor;
mod stop;
mod whole;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use nexus_protocol::{
    AsOf, Block, Direction, Explain, Filter, From, Invalid, Read, ReadError, RecordedEvent,
    StreamState, Timestamp, names,
};

pub(crate) use cursor::Cursor;
pub use stop::{Stop, StopOnDrop};
use whole::WholeBlocks;
pub(crate) use whole::Within;

use crate::index::Index;
use crate::index::plan::{Plan, Walk};
use crate::index::stream::{StreamEntry, StreamView};
use crate::log::{Log, TimePlace};
use crate::segment::frames::Want;

/// Bytes that a scan reads ahead.
const SCAN_BYTES: u64 = 64 * 1024;
/// Events of a stream that are read at once, on either side.
const RUN_MAX: u64 = 64;
/// A scan for so few events does not read ahead before it has to.
const AT_ONCE: u64 = 64;

/// Events of a read: an iterator that blocks on the disk, and a stream that never waits for
/// anything else.
#[derive(Debug)]
pub struct Events {
    state: State,
}

#[derive(Debug)]
enum State {
    Open(Box<Reader>),
    Failed(Box<ReadError>),
    Done,
}

/// What a look for the next event came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// It is this one.
    Event(RecordedEvent),
    /// There is none below this position, where the caller wanted to be asked.
    Paused(u64),
    /// There is none.
    End,
}

/// Where positions come from.
#[derive(Debug)]
enum Source {
    /// The events of one stream, by revision.
    Stream { entry: Arc<StreamEntry>, view: StreamView },
    /// Every position.
    Scan,
    /// The posting lists of a filter.
    Walk(Walk),
}

/// One read under way.
#[derive(Debug)]
pub(crate) struct Reader {
    cursor: Cursor,
    index: Arc<Index>,
    source: Source,
    filter: Filter,
    /// Whether all system events are wanted.
    system: bool,
    direction: Direction,
    /// The next position or revision to look at; `None`: there is none.
    next: Option<u64>,
    /// One after the last position or revision to look at.
    end: u64,
    /// What readers may see: settings are looked at up to here.
    bound: u64,
    left: u64,
    whole: WholeBlocks,
    /// Ends it before its end.
    stop: Option<Stop>,
    /// Entries of the stream's own list that were looked at.
    looked_at: u64,
}

/// Opens a read.
pub(crate) fn open(log: &Arc<Log>, index: &Arc<Index>, read: Read) -> Events {
    let bound = log.committed.get();
    let opened = log.refuse_ended().and_then(|()| Reader::open(log, index, read, bound));
    let state = match opened {
        Ok(Some(reader)) => State::Open(Box::new(reader)),
        Ok(None) => State::Done,
        Err(error) => State::Failed(Box::new(error)),
    };
    Events { state }
}

impl Events {
    /// What was looked at so far.
    pub fn explain(&self) -> Explain {
        match &self.state {
            State::Open(reader) => reader.explain(),
            _ => Explain { index: "none".into(), segments_read: 0, postings_read: 0 },
        }
    }

    fn next_event(&mut self) -> Option<Result<RecordedEvent, ReadError>> {
        match &mut self.state {
            State::Open(reader) => match reader.next() {
                Some(Err(error)) => {
                    self.state = State::Done;
                    Some(Err(error))
                }
                other => other,
            },
            State::Failed(_) => match std::mem::replace(&mut self.state, State::Done) {
                State::Failed(error) => Some(Err(*error)),
                _ => None,
            },
            State::Done => None,
        }
    }
}

impl IntoIterator for Events {
    type Item = Result<RecordedEvent, ReadError>;
    type IntoIter = EventsIter;

    fn into_iter(self) -> EventsIter {
        EventsIter(self)
    }
}

/// The events of a read, one after the other.
#[derive(Debug)]
pub struct EventsIter(Events);

impl EventsIter {
    /// Ends once `stop` is told to, also in the middle of a look for the next event.
    pub fn end_at(&mut self, stop: &Stop) {
        if let State::Open(reader) = &mut self.0.state {
            reader.stop = Some(stop.clone());
        }
    }

    /// The next events as a block, as it is stored, for whoever hands it on without looking into it: where
    /// the read is one of the whole log, forwards and without a filter, and no event of the block is hidden
    /// or one too many. `None`: ask for the next event.
    pub fn next_block(&mut self) -> Option<Block> {
        match &mut self.0.state {
            State::Open(reader) => reader.next_block(Within::ANYTHING),
            State::Failed(_) | State::Done => None,
        }
    }

    /// What was looked at so far.
    pub fn explain(&self) -> Explain {
        self.0.explain()
    }
}

impl Iterator for EventsIter {
    type Item = Result<RecordedEvent, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_event()
    }
}

impl Stream for Events {
    type Item = Result<RecordedEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.next_event())
    }
}

impl Reader {
    fn open(
        log: &Arc<Log>,
        index: &Arc<Index>,
        read: Read,
        bound: u64,
    ) -> Result<Option<Self>, ReadError> {
        read.filter.check()?;
        match &read.stream {
            Some(name) => {
                names::check_stream_name(name)?;
                Self::of_stream(log, index, &read, name, bound)
            }
            None => Self::of_log(log, index, &read, bound),
        }
    }

    fn of_stream(
        log: &Arc<Log>,
        index: &Arc<Index>,
        read: &Read,
        name: &str,
        bound: u64,
    ) -> Result<Option<Self>, ReadError> {
        let Some(entry) = index.stream_named(name) else { return Ok(None) };
        let view = entry.view(bound);
        if view.state == StreamState::Tombstoned {
            return Err(ReadError::Deleted { stream: name.to_owned() });
        }
        let revisions_below = |position: u64| {
            position.checked_sub(1).map_or(0, |p| entry.positions.partition_point_above(p) as u64)
        };
        let mut end = view.count;
        match read.as_of {
            Some(AsOf::Revision(revision)) => end = end.min(revision.get().saturating_add(1)),
            Some(as_of) => end = end.min(revisions_below(end_of(log, as_of, bound))),
            None => {}
        }
        assert!(end <= view.count, "the past is a part of what is there");
        let start = match (read.from, read.direction) {
            (From::Start, Direction::Forwards) => view.floor,
            (From::Start, Direction::Backwards) => u64::MAX,
            (From::Revision(revision), _) => revision.get(),
            (from, Direction::Forwards) => revisions_below(first_position(log, from, bound)),
            (from, Direction::Backwards) => {
                let last = last_position(log, from, bound);
                let count = last.map_or(0, |last| revisions_below(last.saturating_add(1)));
                let Some(start) = count.checked_sub(1) else { return Ok(None) };
                start
            }
        };
        let source = Source::Stream { entry, view };
        Ok(Self::new(log, index, read, source, start, end, bound))
    }

    fn of_log(
        log: &Arc<Log>,
        index: &Arc<Index>,
        read: &Read,
        bound: u64,
    ) -> Result<Option<Self>, ReadError> {
        let by_revision =
            matches!(read.from, From::Revision(_)) || matches!(read.as_of, Some(AsOf::Revision(_)));
        if by_revision {
            let why = "a revision is a place in one stream: name the stream, or use a position";
            return Err(Invalid::Request(why.to_owned()).into());
        }
        let end = match read.as_of {
            Some(as_of) => end_of(log, as_of, bound),
            None => bound,
        };
        assert!(end <= bound, "the past is a part of what is there");
        let start = match (read.from, read.direction) {
            (From::Start, Direction::Forwards) => 0,
            (From::Start, Direction::Backwards) => u64::MAX,
            (from, Direction::Forwards) => first_position(log, from, bound),
            (from, Direction::Backwards) => match last_position(log, from, bound) {
                Some(last) => last,
                None => return Ok(None),
            },
        };
        let source = match Plan::new(index, &read.filter) {
            Plan::Scan => Source::Scan,
            Plan::Walk(walk) => Source::Walk(walk),
        };
        Ok(Self::new(log, index, read, source, start, end, bound))
    }

    fn new(
        log: &Arc<Log>,
        index: &Arc<Index>,
        read: &Read,
        source: Source,
        start: u64,
        end: u64,
        bound: u64,
    ) -> Option<Self> {
        let next = match read.direction {
            Direction::Forwards => start,
            Direction::Backwards => start.min(end.checked_sub(1)?),
        };
        Some(Self {
            cursor: Cursor::new(Arc::clone(log)),
            index: Arc::clone(index),
            source,
            filter: read.filter.clone(),
            system: read.system,
            direction: read.direction,
            next: Some(next),
            end,
            bound,
            left: read.limit.unwrap_or(u64::MAX),
            whole: WholeBlocks::new(),
            stop: None,
            looked_at: 0,
        })
    }

    /// A read of positions `from..bound` of the whole log: what a subscription catches up with.
    pub(crate) fn catch_up(
        log: &Arc<Log>,
        index: &Arc<Index>,
        filter: &Filter,
        system: bool,
        from: u64,
        bound: u64,
    ) -> Self {
        assert!(from < bound, "who has caught up waits, and reads nothing");
        // A few new events are looked at one by one; a plan pays for long stretches.
        let source = match Plan::new(index, filter) {
            Plan::Walk(walk) if bound - from > 256 => Source::Walk(walk),
            _ => Source::Scan,
        };
        Self {
            cursor: Cursor::new(Arc::clone(log)),
            index: Arc::clone(index),
            source,
            filter: filter.clone(),
            system,
            direction: Direction::Forwards,
            next: Some(from),
            end: bound,
            bound,
            left: u64::MAX,
            whole: WholeBlocks::new(),
            stop: None,
            looked_at: 0,
        }
    }

    fn explain(&self) -> Explain {
        let (index, postings_read) = match &self.source {
            Source::Stream { .. } => ("stream", self.looked_at),
            Source::Scan => ("scan", 0),
            Source::Walk(walk) => ("postings", walk.looked_at),
        };
        Explain { index: index.into(), segments_read: self.cursor.segments_read, postings_read }
    }

    /// The next event that is asked for and visible.
    fn next(&mut self) -> Option<Result<RecordedEvent, ReadError>> {
        match self.next_before(u64::MAX) {
            Ok(Step::Event(event)) => Some(Ok(event)),
            Ok(Step::End) => None,
            Ok(Step::Paused(_)) => unreachable!("no position is so far"),
            Err(error) => Some(Err(error)),
        }
    }

    /// The next event that is asked for and visible. Before it reads one at `pause` or later it
    /// stops, once all below was passed; the next call goes on there, and reads nothing twice.
    /// `pause` belongs to reads forwards that are not of one stream; others pass the maximum.
    pub(crate) fn next_before(&mut self, pause: u64) -> Result<Step, ReadError> {
        if self.left == 0 {
            return Ok(Step::End);
        }
        loop {
            if self.stop.as_ref().is_some_and(Stop::is_stopped) {
                return Ok(Step::End);
            }
            let Some(position) = self.next_position() else { return Ok(Step::End) };
            if position >= pause {
                assert!(self.direction == Direction::Forwards, "who pauses looks ahead");
                self.next = Some(position);
                return Ok(Step::Paused(position));
            }
            assert!(position < self.bound, "nothing is read that is not committed (I2)");
            let Some(event) = self.cursor.scan(position, self.want(position))? else { continue };
            if self.lets_through(&event) {
                self.left -= 1;
                return Ok(Step::Event(event));
            }
        }
    }

    /// What to read besides a position: a scan that is not satisfied at once reads ahead, a read of a
    /// stream takes its events that stand together.
    fn want(&self, position: u64) -> Want {
        let at_once = self.cursor.chunks_read == 0 && self.left <= AT_ONCE;
        let (bytes, system) = (SCAN_BYTES, self.system || self.filter.names_system());
        match (&self.source, self.direction) {
            (Source::Scan, _) if at_once => Want::One,
            (Source::Scan, Direction::Forwards) => Want::Following { bytes, system },
            (Source::Scan, Direction::Backwards) => Want::Preceding { bytes, system },
            (Source::Stream { entry, .. }, direction) if !self.cursor.holds(position) => {
                run_at(entry, position, direction, self.left.min(RUN_MAX))
            }
            _ => Want::One,
        }
    }

    fn lets_through(&self, event: &RecordedEvent) -> bool {
        match &self.source {
            // The floor was taken into account; a filter may be given all the same, and a snapshot is
            // hidden by what became of another stream.
            Source::Stream { .. } => {
                self.filter.matches(event)
                    && (!event.is_system() || self.index.shows(event, self.bound))
            }
            _ => self.filter.selects(event, self.system) && self.index.shows(event, self.bound),
        }
    }

    /// Steps to the next position to look at.
    fn next_position(&mut self) -> Option<u64> {
        let at = self.next?;
        let in_range = at < self.end;
        let step = |at: u64| match self.direction {
            Direction::Forwards => at.checked_add(1),
            Direction::Backwards => at.checked_sub(1),
        };
        match &mut self.source {
            Source::Stream { entry, view } => {
                let at =
                    if self.direction == Direction::Forwards { at.max(view.floor) } else { at };
                if at >= self.end || !view.shows(at) {
                    self.next = None;
                    return None;
                }
                self.next = step(at);
                self.looked_at += 1;
                entry.positions.get(usize::try_from(at).ok()?)
            }
            Source::Scan => {
                self.next = if in_range { step(at) } else { None };
                in_range.then_some(at)
            }
            Source::Walk(walk) => {
                let found = walk.next(at, self.end, self.direction);
                self.next = found.and_then(step);
                found
            }
        }
    }
}

/// The events of a stream that stand together with the one at `position` and are read next.
fn run_at(entry: &StreamEntry, position: u64, direction: Direction, most: u64) -> Want {
    let revision = entry.positions.partition_point_above(position);
    let revision = revision.checked_sub(1).expect("the position was found in the list");
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let stands_with = |n: &u32| {
        let (steps, places) = (*n as usize, u64::from(*n));
        match direction {
            Direction::Forwards => entry.positions.get(revision + steps) == Some(position + places),
            Direction::Backwards => {
                let at = revision.checked_sub(steps).and_then(|at| entry.positions.get(at));
                at.is_some_and(|at| at + places == position)
            }
        }
    };
    let along = (1..most).take_while(stands_with).last().unwrap_or(0);
    match direction {
        Direction::Forwards => Want::Run { before: 0, after: along },
        Direction::Backwards => Want::Run { before: along, after: 0 },
    }
}

/// One after the last position of a past state. What is damaged and may be of it belongs to it.
fn end_of(log: &Log, as_of: AsOf, bound: u64) -> u64 {
    match as_of {
        AsOf::Position(position) => bound.min(position.get().saturating_add(1)),
        AsOf::Recorded(time) => first_after(log, time, bound).latest,
        AsOf::Revision(_) => unreachable!("revisions belong to streams"),
    }
}

/// The first position recorded after a time.
fn first_after(log: &Log, time: Timestamp, bound: u64) -> TimePlace {
    let after = Timestamp::from_micros(time.as_micros().saturating_add(1));
    log.position_at_time(after, bound)
}

/// The position that a read forwards begins at.
fn first_position(log: &Log, from: From, bound: u64) -> u64 {
    match from {
        From::Position(position) => position.get(),
        From::Time(time) => log.position_at_time(time, bound).earliest,
        From::Start | From::Revision(_) => unreachable!("handled by the caller"),
    }
}

/// The position that a read backwards begins at; `None`: nothing is that old.
fn last_position(log: &Log, from: From, bound: u64) -> Option<u64> {
    match from {
        From::Position(position) => Some(position.get()),
        From::Time(time) => first_after(log, time, bound).latest.checked_sub(1),
        From::Start | From::Revision(_) => unreachable!("handled by the caller"),
    }
}

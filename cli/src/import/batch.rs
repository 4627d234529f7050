//! Rows into the log, once each: look up, append what is new, a few batches deep.
//!
//! Each batch is looked up in the whole id index before it is appended, so that an import that was
//! killed, or a file that has grown, goes on where the log ends. Appends keep the order of the rows:
//! an append names a stream once, so it ends where a stream comes up again after another one.
//! Everything in flight is bounded, and answers are taken in order (I8).

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use nexus_protocol::limits::{APPEND_BYTES_MAX, APPEND_STREAMS_MAX, RECORD_BYTES_MAX};
use nexus_protocol::{
    Append, AppendError, Appended, EventData, EventId, Position, ReadError, RecordedEvent, Retry,
    SchemaId,
};
use nexus_rows::Row;

/// Most rows that are looked up and appended together.
const BATCH_ROWS_MAX: usize = 512;
/// A batch is closed when its rows have so many bytes.
const BATCH_BYTES_TARGET: usize = 4 * 1024 * 1024;
/// Most rows that are appended and not answered.
const IN_FLIGHT_ROWS_MAX: usize = 4 * BATCH_ROWS_MAX;
/// Bytes of them, unless one batch alone has more.
const IN_FLIGHT_BYTES_MAX: usize = 2 * BATCH_BYTES_TARGET;
/// Bytes of a record besides its names, tags, metadata, and data, at most.
const RECORD_BYTES_FIXED: usize = 256;
/// How often an append that the store is too busy for is tried again.
const BUSY_TRIES_MAX: u32 = 20;

const _: () = assert!(BATCH_ROWS_MAX <= APPEND_STREAMS_MAX);
const _: () = assert!(BATCH_BYTES_TARGET + RECORD_BYTES_MAX <= APPEND_BYTES_MAX);

/// What rows are appended to.
pub(crate) trait Target {
    /// An append on its way.
    type Pending;

    /// What stands under the row's id, anywhere in the log.
    fn look_up(&self, row: &Row) -> Result<Standing, ReadError>;

    /// Hands in an append; it takes its place in the order now.
    fn submit(&self, append: Append) -> Self::Pending;

    /// Waits until it is durable.
    fn wait(&self, pending: Self::Pending) -> Result<Appended, AppendError>;

    /// Lets time pass.
    fn pause(&self, time: Duration);
}

/// What stands in the log under the id of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    New,
    /// The event that the row makes.
    Same,
    /// Another event, at this position.
    Other(Position),
}

impl Standing {
    /// Compares a row with the event that has its id. What belongs to the transport of an event
    /// (correlation, causation, trace) may differ, as it may when an append is repeated; so may the schema of a row that
    /// names none, which the store has found.
    pub(crate) fn of(row: &Row, stored: Option<&RecordedEvent>) -> Self {
        let Some(stored) = stored else { return Self::New };
        let event = &row.event;
        let mut tags: Vec<&str> = event.tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
        let same = row.stream == stored.stream()
            && event.event_type == stored.event_type()
            && event.content_type == stored.content_type()
            && stored.tags().eq(tags)
            && (event.schema == SchemaId::NONE || event.schema == stored.schema())
            && event.occurred_at == stored.occurred_at()
            && event.not_before == stored.not_before()
            && event.metadata == stored.metadata()
            && event.data == stored.data();
        if same { Self::Same } else { Self::Other(stored.position()) }
    }
}

/// Why rows could not be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The ids could not be looked up.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An append was refused.
    #[error("{places}: {error}")]
    Append {
        /// The lines it was made of.
        places: Places,
        /// Why.
        error: AppendError,
    },
}

/// The lines an append was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    first: u64,
    last: u64,
}

impl std::fmt::Display for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(f, "line {}", self.first),
            false => write!(f, "lines {} to {}", self.first, self.last),
        }
    }
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Events appended, and durable.
    pub(crate) appended: u64,
    /// Rows whose event was there before.
    pub(crate) already_there: u64,
}

/// Stores rows.
pub(crate) struct Loader<'t, T: Target> {
    target: &'t T,
    batch: Vec<Row>,
    batch_bytes: usize,
    in_flight: VecDeque<InFlight<T::Pending>>,
    in_flight_rows: usize,
    in_flight_bytes: usize,
    in_flight_ids: HashSet<EventId>,
    loaded: Loaded,
}

struct InFlight<P> {
    pending: P,
    append: Append,
    places: Places,
    bytes: usize,
}

impl<'t, T: Target> Loader<'t, T> {
    /// Into this store.
    pub(crate) fn new(target: &'t T) -> Self {
        Self {
            target,
            batch: Vec::new(),
            batch_bytes: 0,
            in_flight: VecDeque::new(),
            in_flight_rows: 0,
            in_flight_bytes: 0,
            in_flight_ids: HashSet::new(),
            loaded: Loaded::default(),
        }
    }

    /// What was done so far.
    pub(crate) fn loaded(&self) -> Loaded {
        self.loaded
    }

    /// Takes one more row.
    ///
    /// # Errors
    /// When a batch could not be stored; those before it are.
    pub(crate) fn push(&mut self, row: Row) -> Result<(), LoadError> {
        self.batch_bytes += bytes_of(&row.stream, &row.event);
        self.batch.push(row);
        if self.batch.len() >= BATCH_ROWS_MAX || self.batch_bytes >= BATCH_BYTES_TARGET {
            self.flush()?;
        }
        Ok(())
    }

    /// Stores what is left, and waits until all is durable.
    ///
    /// # Errors
    /// As [`Loader::push`].
    pub(crate) fn finish(&mut self) -> Result<Loaded, LoadError> {
        self.flush()?;
        self.settle(0, 0)?;
        Ok(self.loaded)
    }

    /// After an error: waits for what is on its way, so that all that stands is counted.
    pub(crate) fn settle_rest(&mut self) {
        while !self.in_flight.is_empty() {
            // One error is being reported already; those that follow from it add nothing.
            let _ = self.settle(0, 0);
        }
    }

    /// Appends the rows of the batch that are not there yet. Those before a row that cannot be stored
    /// are appended all the same.
    fn flush(&mut self) -> Result<(), LoadError> {
        let mut open: Option<Open> = None;
        let rows = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        for row in rows {
            match self.is_new(&row, &mut open) {
                Ok(true) => {}
                Ok(false) => {
                    self.loaded.already_there += 1;
                    continue;
                }
                Err(error) => {
                    self.submit_open(&mut open)?;
                    return Err(error);
                }
            }
            self.in_flight_ids.insert(row.id);
            match &mut open {
                Some(append) if append.takes(&row.stream) => append.add(row),
                _ => {
                    self.submit_open(&mut open)?;
                    open = Some(Open::new(row));
                }
            }
        }
        self.submit_open(&mut open)
    }

    /// Whether nothing stands under the id of a row.
    fn is_new(&mut self, row: &Row, open: &mut Option<Open>) -> Result<bool, LoadError> {
        if self.in_flight_ids.contains(&row.id) {
            // An id that comes twice in one input: compared once the first one stands, which is rare
            // enough to wait for.
            self.submit_open(open)?;
            self.settle(0, 0)?;
        }
        match self.target.look_up(row)? {
            Standing::New => Ok(true),
            Standing::Same => Ok(false),
            Standing::Other(position) => Err(LoadError::Append {
                places: Places { first: row.line, last: row.line },
                error: AppendError::IdReused { id: row.id, position },
            }),
        }
    }

    fn submit_open(&mut self, open: &mut Option<Open>) -> Result<(), LoadError> {
        open.take().map_or(Ok(()), |append| self.submit(append))
    }

    fn submit(&mut self, open: Open) -> Result<(), LoadError> {
        let Open { append, places, bytes, .. } = open;
        self.settle(
            IN_FLIGHT_ROWS_MAX.saturating_sub(append.event_count()),
            IN_FLIGHT_BYTES_MAX.saturating_sub(bytes),
        )?;
        self.in_flight_rows += append.event_count();
        self.in_flight_bytes += bytes;
        let pending = self.target.submit(append.clone());
        self.in_flight.push_back(InFlight { pending, append, places, bytes });
        Ok(())
    }

    /// Waits until at most so many rows and bytes are in flight.
    fn settle(&mut self, rows_max: usize, bytes_max: usize) -> Result<(), LoadError> {
        while self.in_flight_rows > rows_max || self.in_flight_bytes > bytes_max {
            let oldest = self.in_flight.pop_front().expect("rows in flight have an append");
            self.in_flight_rows -= oldest.append.event_count();
            self.in_flight_bytes -= oldest.bytes;
            let answer = self.target.wait(oldest.pending);
            self.take_answer(answer, &oldest.append, oldest.places)?;
        }
        Ok(())
    }

    /// Counts what an answer says; an append that the store was too busy for is handed in again,
    /// with the same ids. Later ones may have overtaken it then.
    fn take_answer(
        &mut self,
        mut answer: Result<Appended, AppendError>,
        append: &Append,
        places: Places,
    ) -> Result<(), LoadError> {
        for _ in 0..BUSY_TRIES_MAX {
            let Err(AppendError::Overloaded { .. }) = &answer else { break };
            if let Err(Retry::After(time)) = answer.as_ref().map_err(AppendError::retry) {
                self.target.pause(time);
            }
            answer = self.target.wait(self.target.submit(append.clone()));
        }
        let appended = answer.map_err(|error| LoadError::Append { places, error })?;
        let events = append.event_count() as u64;
        match appended.replayed {
            true => self.loaded.already_there += events,
            false => self.loaded.appended += events,
        }
        for event in append.streams.iter().flat_map(|stream| &stream.events) {
            self.in_flight_ids.remove(&event.id.expect("rows have ids"));
        }
        Ok(())
    }
}

/// An append that is being put together.
struct Open {
    append: Append,
    named: HashSet<String>,
    places: Places,
    bytes: usize,
}

impl Open {
    fn new(row: Row) -> Self {
        let places = Places { first: row.line, last: row.line };
        let mut open = Self { append: Append::new(), named: HashSet::new(), places, bytes: 0 };
        open.add(row);
        open
    }

    /// Whether an event of this stream can follow without changing the order of the rows.
    fn takes(&self, stream: &str) -> bool {
        self.current() == Some(stream) || !self.named.contains(stream)
    }

    fn current(&self) -> Option<&str> {
        self.append.streams.last().map(|last| last.stream.as_str())
    }

    fn add(&mut self, row: Row) {
        self.bytes += bytes_of(&row.stream, &row.event);
        self.places.last = row.line;
        let mut append = std::mem::take(&mut self.append);
        if append.streams.last().is_none_or(|last| last.stream != row.stream) {
            append = append.stream(row.stream.clone());
            self.named.insert(row.stream);
        }
        self.append = append.event(row.event);
    }
}

/// What an event takes in an append, at most.
fn bytes_of(stream: &str, event: &EventData) -> usize {
    let tags: usize = event.tags.iter().map(|tag| tag.len() + 2).sum();
    let names = stream.len() + event.event_type.len() + event.content_type.len();
    RECORD_BYTES_FIXED + names + tags + event.metadata.len() + event.data.len()
}

#[cfg(test)]
mod tests;

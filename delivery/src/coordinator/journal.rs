//! The stream of a group: what it is, what it has done.
//!
//! Events of five types, in any order, of which the newest configuration and the newest whole state count, and each
//! record after that state:
//! - `$GroupConfigured`: what kind of group it is, as JSON;
//! - `$GroupChanged`: a part of a record ([`Record`]);
//! - `$GroupState`: a part of a state ([`State`]), which stands for all records before it;
//! - `$GroupStalled`: for a minute nothing was done, although there was work for consumers that were there; for those
//!   who watch;
//! - `$GroupDeleted`: there is no group any more; all before it is over.
//!
//! What rules have done with events that would be parked is `$ParkedRuled` of the stream `$parked-NAME`, in the same append as
//! the record: a whole state does away with what stands before it here, and that is to stay.

use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;
use nexus_protocol::group::{GROUP_PREFIX, GroupConfig, PARKED_PREFIX};
use nexus_protocol::json::GroupConfigJson;
use nexus_protocol::{
    Append, AppendError, Corruption, CorruptionKind, EventData, EventStore, ExpectedRevision,
    Position, Read, RecordedEvent, Revision, StreamState,
};

use super::unread;
use crate::group::{Record, Ruled, RuledEvents, State, Stats};

const CONFIGURED: &str = "$GroupConfigured";
const CHANGED: &str = "$GroupChanged";
const STATE: &str = "$GroupState";
const STALLED: &str = "$GroupStalled";
const RULED: &str = "$ParkedRuled";
const DELETED: &str = "$GroupDeleted";
/// The media type of records and states.
const MEDIA_TYPE: &str = "application/vnd.nexus.group";
/// Bytes of a part of a record or a state, at most.
const PART_BYTES_MAX: usize = 256 * 1024;
/// Positions that one event names, at most: some 20 bytes each.
const RULED_MAX: usize = 10_000;

/// What the stream of a group says.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// What kind of group it is.
    pub config: GroupConfig,
    /// What it has done.
    pub state: State,
    /// The newest revision of the stream.
    pub revision: Revision,
    /// Bytes of records since the newest whole state, and of that.
    pub(super) bytes: (u64, u64),
}

/// The stream of what rules have done with what a group would park.
pub(super) fn parked_stream_of(name: &str) -> String {
    format!("{PARKED_PREFIX}{name}")
}

/// The stream of a group.
pub(super) fn stream_of(name: &str) -> String {
    format!("{GROUP_PREFIX}{name}")
}

/// The newest revision that a stream ever had.
async fn head_of<S: EventStore>(store: &S, stream: &str) -> Result<Option<Revision>, AppendError> {
    let info = store.stream_info(stream).await.map_err(unread)?;
    match info.state {
        StreamState::Tombstoned => Err(AppendError::Deleted { stream: stream.to_owned() }),
        state => Ok(state.head()),
    }
}

fn expected(head: Option<Revision>) -> ExpectedRevision {
    head.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact)
}

/// Makes a new group that begins at a position. `false`: there is one of this name already, and nothing was done.
///
/// # Errors
/// As an append's: `Conflict` where another was made at the same time.
pub async fn create<S: EventStore>(
    store: &S,
    name: &str,
    config: &GroupConfig,
    begins: Position,
) -> Result<bool, AppendError> {
    if is_there(store, name).await? {
        return Ok(false);
    }
    let stream = stream_of(name);
    let head = head_of(store, &stream).await?;
    // Each opening writes an event: no token of a group that had this name before is one of this group's.
    let before = head.map_or(0, |head| head.get() + 1);
    let state = State::starting_at(begins).opened_before(before);
    let events = std::iter::once(configured(config)).chain(states(&state));
    let append = Append::to(stream).expected(expected(head)).events(events);
    store.append(append).await.map(|_| true)
}

/// Whether there is a group of this name: its stream may say that it was deleted.
///
/// # Errors
/// When the stream cannot be read.
pub async fn is_there<S: EventStore>(store: &S, name: &str) -> Result<bool, AppendError> {
    let mut newest = store.read(Read::stream(stream_of(name)).backwards().limit(1));
    match next(&mut newest).await {
        Some(event) => Ok(event.map_err(unread)?.event_type() != DELETED),
        None => Ok(false),
    }
}

/// Reads the stream of a group; `None`: there is none of this name.
///
/// # Errors
/// When it cannot be read, or says what no group does.
pub async fn read_journal<S: EventStore>(
    store: &S,
    name: &str,
) -> Result<Option<Journal>, AppendError> {
    let stream = stream_of(name);
    let mut events = store.read(Read::stream(&*stream));
    let mut reading = Reading::default();
    while let Some(event) = next(&mut events).await {
        let event = event.map_err(unread)?;
        reading.take(&event).map_err(|what| damaged(&event, what))?;
    }
    let Reading { config, state, revision, bytes, .. } = reading;
    let found = config.zip(state).zip(revision);
    Ok(found.map(|((config, state), revision)| Journal { config, state, revision, bytes }))
}

/// The next item of a stream.
async fn next<T: Stream + Unpin>(stream: &mut T) -> Option<T::Item> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    config: Option<GroupConfig>,
    state: Option<State>,
    /// Parts of one record, or of one state, that go on.
    record: Vec<Bytes>,
    whole: Vec<Bytes>,
    revision: Option<Revision>,
    bytes: (u64, u64),
}

impl Reading {
    fn take(&mut self, event: &RecordedEvent) -> Result<(), String> {
        self.revision = Some(event.revision());
        if event.event_type() != STATE {
            // A state that was broken off: whoever opened the group again went on without it.
            self.whole.clear();
        }
        match event.event_type() {
            CONFIGURED => {
                let json = event.json::<GroupConfigJson>().map_err(|why| why.to_string())?;
                self.config = Some(GroupConfig::try_from(json).map_err(|why| why.to_string())?);
            }
            CHANGED => {
                self.bytes.0 += event.as_bytes().len() as u64;
                self.record.push(event.data_bytes());
                if Record::is_last(event.data()) {
                    let parts = std::mem::take(&mut self.record);
                    let record = Record::decode(&parts).map_err(|why| why.to_string())?;
                    let state = self.state.as_mut().ok_or("a record without a state before it")?;
                    state.apply(&record);
                }
            }
            STATE => {
                self.whole.push(event.data_bytes());
                if State::is_last(event.data()) {
                    let parts = std::mem::take(&mut self.whole);
                    self.bytes = (0, parts.iter().map(|part| part.len() as u64).sum());
                    self.state = Some(State::decode(&parts).map_err(|why| why.to_string())?);
                }
            }
            STALLED => {}
            DELETED => *self = Self { revision: self.revision, ..Self::default() },
            other => return Err(format!("an event of type {other:?}: a newer Nexus wrote it")),
        }
        Ok(())
    }
}

fn damaged(event: &RecordedEvent, what: String) -> AppendError {
    let file = format!("stream {:?}, revision {}", event.stream(), event.revision());
    let kind = CorruptionKind::Malformed(what.into());
    AppendError::Corruption(Box::new(Corruption { file, offset_bytes: 0, kind }))
}

/// The event that says what kind of group it is.
pub(super) fn configured(config: &GroupConfig) -> EventData {
    let json = GroupConfigJson::from(config);
    EventData::json(CONFIGURED, &json).expect("a configuration has a JSON form")
}

/// The event that says that nothing is done.
pub(super) fn stalled(stats: &Stats) -> EventData {
    let json = serde_json::json!({
        "floor_position": stats.floor.get(),
        "ready": stats.ready,
        "in_flight": stats.in_flight,
    });
    EventData::json(STALLED, &json).expect("numbers have a JSON form")
}

/// The events that say what rules have done.
pub(super) fn ruled(all: &[RuledEvents]) -> impl Iterator<Item = EventData> + use<'_> {
    all.iter().flat_map(|RuledEvents { rule, what, positions }| {
        positions.chunks(RULED_MAX).map(move |positions| {
            let round = match what {
                Ruled::Retry(round) => Some(round),
                Ruled::Skip | Ruled::Alert => None,
            };
            let positions: Vec<_> = positions.iter().map(|position| position.get()).collect();
            let json = serde_json::json!({
                "rule": rule, "action": what.name(), "round": round, "positions": positions,
            });
            EventData::json(RULED, &json).expect("numbers and texts have a JSON form")
        })
    })
}

/// The event that ends a group.
pub(super) fn deleted() -> EventData {
    EventData::new(DELETED, "", Bytes::new())
}

fn part(event_type: &str) -> impl Fn(Vec<u8>) -> EventData {
    move |bytes| EventData::new(event_type, MEDIA_TYPE, bytes.into())
}

/// The events of a record.
pub(super) fn changes(record: &Record) -> impl Iterator<Item = EventData> + use<> {
    record.encode(PART_BYTES_MAX).into_iter().map(part(CHANGED))
}

/// The events of a state.
pub(super) fn states(state: &State) -> impl Iterator<Item = EventData> + use<> {
    state.encode(PART_BYTES_MAX).into_iter().map(part(STATE))
}

#[cfg(test)]
mod tests {
    use nexus_protocol::limits::DELIVERIES_MAX;

    use super::*;

    /// A record is below 29 MiB (`group/codec/tests.rs`), an append has at most 32 MiB.
    #[test]
    fn what_rules_have_done_has_room_beside_the_largest_record() {
        let most = super::super::ANSWERS_MAX + crate::group::LATE_MAX + DELIVERIES_MAX;
        let positions = |n: usize| (0..n as u64).map(|at| Position::new((1 << 35) + at * 100));
        let all = [Ruled::Skip, Ruled::Alert].map(|what| RuledEvents {
            rule: "r".repeat(1_000),
            what,
            positions: positions(most / 2).collect(),
        });
        let bytes: usize = ruled(&all).map(|event| event.data.len()).sum();
        println!("{most} events: {bytes} bytes");
        assert!(bytes < 5 << 19, "{bytes}");
        assert!(ruled(&all).all(|event| event.data.len() < 256 * 1024));
    }
}

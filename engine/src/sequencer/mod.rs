//! The sequencer: decides whether an append happens, and is the only one who does.
//!
//! Pure: the append, the time, and a view of the log come in; a decision comes out. It sees what is
//! in flight as well as what is durable, so that pipelined appends to one stream succeed; its caller
//! holds back every answer until what it was computed from is durable.
//!
//! Order of the rules (design §2): deleted streams, then replays, then the streams' expectations,
//! then the boundary, then absence.

mod prepare;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use nexus_protocol::limits::CONFLICT_POSITIONS_MAX;
use nexus_protocol::{
    AppendError, Appended, Clause, Conflict, Direction, EventId, Filter, Position, RecordedEvent,
    Revision, StreamAppended, StreamState,
};

pub(crate) use prepare::{Context, PreparedAppend, PreparedStream};

use crate::index::Index;
use crate::index::keys::IdFingerprint;
use crate::index::plan::Plan;
use crate::index::stream::StreamView;
use crate::segment::frames::Want;

/// How the events before one that was found are read.
const OTHERS_BEFORE: Want = Want::Run { before: 255, after: 0 };

/// The log as the sequencer sees it: everything placed so far.
pub(crate) trait View {
    /// The index, what is in flight included; for ids ask [`View::positions_of_id`].
    fn index(&self) -> &Index;
    /// Where events that may have this id stand, the newest first.
    fn positions_of_id(&self, id: IdFingerprint) -> Vec<u64>;
    /// The position after the last event that was placed.
    fn next_position(&self) -> u64;
    /// An event that was placed. Its neighbours, which `want` may take along, cost little next.
    fn event(&self, position: u64, want: Want) -> Result<RecordedEvent, AppendError>;
    /// Events below this are not kept any more.
    fn floor(&self) -> u64;
}

/// What is to be done with an append.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It is written: each stream with events gets these revisions from here on.
    Write(Vec<StreamPlace>),
    /// It is answered without being written.
    Answer(Result<Appended, AppendError>),
}

/// Where the events of one stream of an append go.
#[derive(Clone, Debug)]
pub(crate) struct StreamPlace {
    /// Revision of its first event.
    pub(crate) first: Revision,
}

/// Decides an append.
pub(crate) fn decide(append: &PreparedAppend, now_us: i64, view: &dyn View) -> Decision {
    match decided(append, now_us, view) {
        Ok(decision) => decision,
        Err(error) => Decision::Answer(Err(error)),
    }
}

fn decided(append: &PreparedAppend, now_us: i64, view: &dyn View) -> Result<Decision, AppendError> {
    let bound = view.next_position();
    let streams: Vec<StreamView> =
        append.streams.iter().map(|stream| view.index().view(&stream.key, bound)).collect();
    for (stream, seen) in append.streams.iter().zip(&streams) {
        if seen.state == StreamState::Tombstoned {
            return Err(AppendError::Deleted { stream: stream.name.as_str().to_owned() });
        }
    }
    if let Some(original) = replay::find(append, &streams, now_us, view)? {
        return Ok(Decision::Answer(Ok(original)));
    }
    for (stream, seen) in append.streams.iter().zip(&streams) {
        check_stream(stream, seen, view)?;
    }
    if let Some((query, after)) = &append.boundary {
        let from = after.map_or(0, |after| after.get().saturating_add(1));
        let from = if crate::planted::is("boundary-off-by-one") { from + 1 } else { from };
        if from < view.floor() {
            let what =
                format!("the boundary starts after {after:?}, below position {}", view.floor());
            return Err(AppendError::BelowRetention { what });
        }
        if let Some(answer) = check_absent(append, query, from, Clause::Boundary, view)? {
            return Ok(answer);
        }
    }
    if let Some(query) = &append.absence
        && let Some(answer) = check_absent(append, query, view.floor(), Clause::Absent, view)?
    {
        return Ok(answer);
    }
    if append.events.is_empty() {
        let appended = Appended { positions: None, streams: Vec::new(), replayed: false };
        return Ok(Decision::Answer(Ok(appended)));
    }
    if append.is_only_repeat {
        let clause = Clause::Ids { stored: 0, given: append.events.len() };
        let positions = Vec::new();
        return Err(AppendError::Conflict(Box::new(Conflict { clause, positions })));
    }
    let reset = crate::planted::is("revival-resets-revision");
    let place = |seen: &StreamView| StreamPlace {
        first: match seen.state {
            StreamState::Deleted(_) if reset => Revision::ZERO,
            _ => Revision::new(seen.count),
        },
    };
    Ok(Decision::Write(streams.iter().map(place).collect()))
}

/// A stream must be what was expected.
fn check_stream(
    stream: &PreparedStream,
    seen: &StreamView,
    view: &dyn View,
) -> Result<(), AppendError> {
    if seen.state.meets(stream.expected) {
        return Ok(());
    }
    // What is hidden is named nowhere: it may be scavenged, and no answer may tell.
    let entry = view.index().stream(&stream.key).filter(|_| seen.floor < seen.count);
    let newest = entry.and_then(|entry| entry.positions.last());
    Err(AppendError::Conflict(Box::new(Conflict {
        clause: Clause::Stream {
            stream: stream.name.as_str().to_owned(),
            expected: stream.expected,
            found: seen.state,
        },
        positions: newest.map(Position::new).into_iter().collect(),
    })))
}

/// No visible event from `from` on may match. Where all that do are this append's own, and all its
/// ids stand, it is a replay, however old. System events stand in no way: a query cannot name their
/// streams, so a read of it does not show them either, and a writer could never get past them.
fn check_absent(
    append: &PreparedAppend,
    query: &Filter,
    from: u64,
    clause: Clause,
    view: &dyn View,
) -> Result<Option<Decision>, AppendError> {
    let bound = view.next_position();
    let Plan::Walk(mut walk) = Plan::new(view.index(), query) else {
        unreachable!("a query item names a type or a tag, and both are indexed");
    };
    let mut positions = Vec::new();
    let mut all_own = !append.events.is_empty();
    // Made once something is found, of which most appends know nothing.
    let mut own: Option<HashSet<EventId>> = None;
    let mut cursor = bound.checked_sub(1);
    while let Some(at) = cursor {
        let Some(position) = walk.next(at, bound, Direction::Backwards).filter(|p| *p >= from)
        else {
            break;
        };
        assert!(position < bound, "nothing stands behind the end");
        cursor = position.checked_sub(1);
        // Where one is found the others of its append may follow, up to thousands.
        let want = if positions.is_empty() { Want::One } else { OTHERS_BEFORE };
        let event = match view.event(position, want) {
            Ok(event) => event,
            // What was found stands in the way already, whatever this one is.
            Err(_) if !positions.is_empty() && !all_own => break,
            Err(error) => return Err(error),
        };
        if event.is_system() || !query.matches(&event) || !view.index().shows(&event, bound) {
            continue;
        }
        all_own = all_own
            && own
                .get_or_insert_with(|| append.events.iter().map(|event| event.id).collect())
                .contains(&event.id());
        if positions.len() < CONFLICT_POSITIONS_MAX {
            positions.push(Position::new(position));
        } else if !all_own {
            break;
        }
    }
    if positions.is_empty() {
        return Ok(None);
    }
    assert!(positions.len() <= CONFLICT_POSITIONS_MAX, "an answer is bounded (I8)");
    assert!(positions.is_sorted_by(|a, b| a > b), "the newest first");
    if all_own && let Some(original) = replay::anywhere(append, view)? {
        return Ok(Some(Decision::Answer(Ok(original))));
    }
    Err(AppendError::Conflict(Box::new(Conflict { clause, positions })))
}

/// The answer to an append whose first event stands at `first`.
pub(crate) fn appended(
    append: &PreparedAppend,
    first: u64,
    places: &[StreamPlace],
    replayed: bool,
) -> Appended {
    assert!(!append.events.is_empty(), "what has no events has no positions");
    assert_eq!(places.len(), append.streams.len(), "each stream has its place");
    let last = first + append.events.len() as u64 - 1;
    let streams = append
        .streams
        .iter()
        .zip(places)
        .filter(|(stream, _)| !stream.events.is_empty())
        .map(|(stream, place)| StreamAppended {
            stream: stream.name.clone(),
            first_revision: place.first,
            last_revision: Revision::new(place.first.get() + stream.events.len() as u64 - 1),
        })
        .collect();
    Appended { positions: Some((Position::new(first), Position::new(last))), streams, replayed }
}

/// A view's index entry of a stream, for placing its events.
pub(crate) fn entry_of(
    index: &Index,
    stream: &PreparedStream,
) -> Arc<crate::index::stream::StreamEntry> {
    index.stream_or_new(&stream.key, &stream.name)
}

//! Whether an append happened before (design §2, "Idempotency, stated exactly").
//!
//! Streams with a revision (`Exact`, `NoStream`) are compared at the revisions that follow it,
//! anywhere in the stream; streams without one look each id up in a window of recorded time. All
//! must agree. An id that stands with other content is refused.

use nexus_protocol::limits::{ID_WINDOW_EVENTS, ID_WINDOW_US};
use nexus_protocol::{
    AppendError, Appended, Clause, Conflict, ExpectedRevision, Position, RecordedEvent, Revision,
};

use super::prepare::{PreparedAppend, PreparedStream};
use super::{StreamPlace, View, appended};
use crate::index::stream::StreamView;
use crate::segment::frames::Want;

/// What was found of one event: where it stands already.
type Found = Option<RecordedEvent>;

/// The original answer, if the append happened before.
///
/// # Errors
/// `Conflict` where some of it stands and some does not, `IdReused` where content differs,
/// `BelowRetention` where the revisions to compare are hidden.
pub(super) fn find(
    append: &PreparedAppend,
    streams: &[StreamView],
    now_us: i64,
    view: &dyn View,
) -> Result<Option<Appended>, AppendError> {
    if append.events.is_empty() {
        return Ok(None);
    }
    let mut found: Vec<Found> = Vec::with_capacity(append.events.len());
    for (stream, seen) in append.streams.iter().zip(streams) {
        let first = match stream.expected {
            ExpectedRevision::Exact(revision) => Some(revision.get().saturating_add(1)),
            ExpectedRevision::NoStream => Some(seen.first_of_life),
            ExpectedRevision::Any | ExpectedRevision::Exists => None,
        };
        match first {
            Some(first) => by_revision(append, stream, seen, first, view, &mut found)?,
            None => by_id(append, stream, Some(now_us), view, &mut found)?,
        }
    }
    answer(append, &found)
}

/// The original answer, if all ids stand anywhere in the log.
pub(super) fn anywhere(
    append: &PreparedAppend,
    view: &dyn View,
) -> Result<Option<Appended>, AppendError> {
    let mut found = Vec::with_capacity(append.events.len());
    for stream in &append.streams {
        by_id(append, stream, None, view, &mut found)?;
    }
    if found.iter().any(Option::is_none) {
        return Ok(None);
    }
    answer(append, &found)
}

/// Compares the ids at the revisions from `first` on.
fn by_revision(
    append: &PreparedAppend,
    stream: &PreparedStream,
    seen: &StreamView,
    first: u64,
    view: &dyn View,
    found: &mut Vec<Found>,
) -> Result<(), AppendError> {
    assert_eq!(found.len(), stream.events.start, "streams are looked at in order");
    if stream.events.is_empty() || first >= seen.count {
        found.extend(stream.events.clone().map(|_| None));
        return Ok(());
    }
    if first < seen.floor {
        let what = format!(
            "revision {first} of stream {:?} is below revision {}, the first that is kept",
            stream.name.as_str(),
            seen.floor
        );
        return Err(AppendError::BelowRetention { what });
    }
    let entry = view.index().stream(&stream.key);
    for (offset, index) in stream.events.clone().enumerate() {
        let revision = first + offset as u64;
        let position = entry
            .as_ref()
            .filter(|_| revision < seen.count)
            .and_then(|entry| entry.positions.get(usize::try_from(revision).ok()?));
        let Some(position) = position else {
            found.push(None);
            continue;
        };
        let event = view.event(position, Want::One)?;
        if event.id() == append.events[index].id {
            same_content(append, index, &event)?;
            found.push(Some(event));
        } else {
            found.push(None);
        }
    }
    Ok(())
}

/// Looks the ids up; with `now_us` only in the window.
fn by_id(
    append: &PreparedAppend,
    stream: &PreparedStream,
    now_us: Option<i64>,
    view: &dyn View,
    found: &mut Vec<Found>,
) -> Result<(), AppendError> {
    assert_eq!(found.len(), stream.events.start, "streams are looked at in order");
    let bound = view.next_position();
    for index in stream.events.clone() {
        let wanted = &append.events[index];
        let mut hit = None;
        for position in view.positions_of_id(wanted.keys.id) {
            let event = view.event(position, Want::One)?;
            if now_us.is_some_and(|now_us| !in_window(&event, now_us, bound)) {
                break;
            }
            if event.id() == wanted.id && view.index().shows(&event, bound) {
                same_content(append, index, &event)?;
                hit = Some(event);
                break;
            }
        }
        found.push(hit);
    }
    Ok(())
}

/// Whether an event is recent enough for the window.
fn in_window(event: &RecordedEvent, now_us: i64, bound: u64) -> bool {
    assert!(event.position().get() < bound, "an event stands before the end");
    bound - event.position().get() <= ID_WINDOW_EVENTS
        || event.recorded_at().as_micros() >= now_us.saturating_sub(ID_WINDOW_US)
}

/// An id may come again only with what it first came with. What belongs to the transport of the
/// request (correlation, causation, trace) may differ. A schema counts where the client names one: what the store found the
/// first time is no part of what the client says.
fn same_content(
    append: &PreparedAppend,
    index: usize,
    stored: &RecordedEvent,
) -> Result<(), AppendError> {
    if crate::planted::is("replay-ignores-content") {
        return Ok(());
    }
    let prepared = &append.records[index];
    let mut bytes = append.buffer[prepared.start..prepared.start + prepared.length].to_vec();
    nexus_protocol::record::place(
        &mut bytes,
        prepared,
        stored.position(),
        stored.revision(),
        stored.recorded_at(),
    );
    let given = RecordedEvent::decode(bytes.into()).expect("just encoded");
    assert_eq!(given.id(), stored.id(), "events of one id are compared");
    let same = given.stream() == stored.stream()
        && given.event_type() == stored.event_type()
        && given.content_type() == stored.content_type()
        && given.tags().eq(stored.tags())
        && (!append.events[index].names_schema || given.schema() == stored.schema())
        && given.occurred_at() == stored.occurred_at()
        && given.not_before() == stored.not_before()
        && given.metadata() == stored.metadata()
        && given.data() == stored.data();
    if same {
        Ok(())
    } else {
        Err(AppendError::IdReused { id: stored.id(), position: stored.position() })
    }
}

/// All found, in the order of one append: the original answer. None: it is new. Otherwise a
/// conflict.
fn answer(append: &PreparedAppend, found: &[Found]) -> Result<Option<Appended>, AppendError> {
    assert_eq!(found.len(), append.events.len(), "each event was looked for");
    let stored: Vec<&RecordedEvent> = found.iter().flatten().collect();
    let Some(first) = stored.first() else { return Ok(None) };
    let start = first.position().get();
    let in_order = stored.iter().zip(start..).all(|(event, at)| event.position().get() == at);
    if stored.len() < found.len() || !in_order {
        let clause = Clause::Ids { stored: stored.len(), given: found.len() };
        let mut positions: Vec<Position> = stored.iter().map(|event| event.position()).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        positions.truncate(nexus_protocol::limits::CONFLICT_POSITIONS_MAX);
        return Err(AppendError::Conflict(Box::new(Conflict { clause, positions })));
    }
    let places: Vec<StreamPlace> = append
        .streams
        .iter()
        .map(|stream| StreamPlace {
            first: stored.get(stream.events.start).map_or(Revision::ZERO, |event| event.revision()),
        })
        .collect();
    Ok(Some(appended(append, start, &places, true)))
}

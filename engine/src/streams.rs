//! What is known of streams, and changing it: limits, soft delete, tombstone.
//!
//! A change is an event in the stream's `$meta-` stream, appended on the condition that no other change
//! came between. Of the stream itself it demands what the caller does and no more: events may be
//! appended all the while, and what the change hides of them follows from its place in the log.

use nexus_protocol::{
    Append, AppendError, Appended, EventData, ExpectedRevision, Invalid, JSON, META_DELETED,
    META_PREFIX, META_SET, META_TOMBSTONED, MetaData, Position, ReadError, Retry, Revision,
    StreamChange, StreamInfo, StreamLimits, StreamList, StreamName, StreamState, Unavailable,
    names,
};

use crate::commit::Committer;
use crate::index::stream::{StreamEntry, StreamView};
use crate::namespace::Namespace;

/// How often a change is tried when others change the stream meanwhile.
const TRIES: usize = 64;

pub(crate) fn info(committer: &Committer, stream: &str) -> Result<StreamInfo, ReadError> {
    let name = StreamName::new(stream)?;
    let bound = committer.log.committed.get();
    Ok(match committer.index.stream_named(stream) {
        Some(entry) => of_entry(&entry, bound),
        None => of_view(name, &StreamView::MISSING, None),
    })
}

fn of_entry(entry: &StreamEntry, bound: u64) -> StreamInfo {
    let view = entry.view(bound);
    let last = match view.state {
        StreamState::At(head) if view.shows(head.get()) => usize::try_from(head.get()).ok(),
        _ => None,
    };
    of_view(entry.name.clone(), &view, last.and_then(|index| entry.positions.get(index)))
}

fn of_view(stream: StreamName, view: &StreamView, last: Option<u64>) -> StreamInfo {
    StreamInfo {
        stream,
        state: view.state,
        floor: Revision::new(view.floor),
        last_position: last.map(Position::new),
        limits: view.limits,
        meta_revision: view.meta_revision.map(Revision::new),
    }
}

pub(crate) fn list(committer: &Committer, list: &StreamList) -> Vec<StreamInfo> {
    if list.limit == 0 {
        return Vec::new();
    }
    let bound = committer.log.committed.get();
    let prefix = match &list.category {
        Some(category) if category.starts_with(&list.prefix) => category.as_str(),
        _ => list.prefix.as_str(),
    };
    let mut found = Vec::new();
    committer.index.streams_from(prefix, list.after.as_deref(), |entry| {
        let name = entry.name.as_str();
        let wanted = (list.system || !names::is_system(name))
            && name.starts_with(&list.prefix)
            && list.category.as_ref().is_none_or(|category| names::category(name) == category);
        if wanted {
            let info = of_entry(entry, bound);
            // Of a stream that is in flight there is nothing to be seen yet.
            let there = info.state != StreamState::Missing || info.meta_revision.is_some();
            if there && (list.deleted || matches!(info.state, StreamState::At(_))) {
                found.push(info);
            }
        }
        found.len() < list.limit
    });
    assert!(found.len() <= list.limit, "a list is as long as was asked");
    debug_assert!(found.is_sorted_by(|a, b| a.stream < b.stream), "and in order of names");
    found
}

/// How much there is of users or of the system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Events, hidden ones included.
    pub(crate) events: u64,
    /// Streams that have a visible event.
    pub(crate) streams: u64,
}

/// How much of users and of the system is committed. Not what is in flight: it may never be.
pub(crate) fn count(committer: &Committer, bound: u64) -> (Counts, Counts) {
    let (mut users, mut system) = (Counts::default(), Counts::default());
    committer.index.streams_from("", None, |entry| {
        let view = entry.view(bound);
        let counts = if entry.name.is_system() { &mut system } else { &mut users };
        counts.events += view.count;
        counts.streams += u64::from(view.floor < view.count);
        true
    });
    (users, system)
}

pub(crate) fn set(
    namespace: &Namespace,
    stream: &str,
    change: StreamChange,
) -> Result<StreamInfo, AppendError> {
    let zero = "max_count must be at least 1: to hide everything, delete the stream";
    if change.max_count == Some(Some(0)) {
        return Err(Invalid::Request(zero.to_owned()).into());
    }
    if !namespace.is_system() {
        checked_user_stream(stream)?;
    }
    change_stream(namespace, stream, META_SET, |info| {
        check_truncation(change.truncate_before, info)?;
        let limits = StreamLimits {
            max_count: change.max_count.unwrap_or(info.limits.max_count),
            max_age_s: change.max_age_s.unwrap_or(info.limits.max_age_s),
            truncate_before: change.truncate_before.max(info.limits.truncate_before),
        };
        Ok((ExpectedRevision::Any, MetaData { floor: info.floor, limits }))
    })?;
    info(&namespace.committer, stream).map_err(|_| AppendError::Unknown)
}

/// Truncating beyond what is there would hide events that are yet to come, and cannot be taken back.
fn check_truncation(before: Option<Revision>, info: &StreamInfo) -> Result<(), AppendError> {
    let next = info.state.head().map_or(Revision::ZERO, Revision::next);
    // Of a tombstone the append says what it is.
    let Some(before) = before.filter(|it| *it > next && info.state != StreamState::Tombstoned)
    else {
        return Ok(());
    };
    let why = format!(
        "truncating stream {:?} before revision {before} would hide events that are yet to come, for \
         good: name at most {next}, which hides all there are",
        info.stream.as_str(),
    );
    Err(Invalid::Request(why).into())
}

pub(crate) fn delete(
    namespace: &Namespace,
    stream: &str,
    expected: ExpectedRevision,
    for_good: bool,
) -> Result<Appended, AppendError> {
    checked_user_stream(stream)?;
    let event_type = if for_good { META_TOMBSTONED } else { META_DELETED };
    change_stream(namespace, stream, event_type, |info| {
        let missing = !for_good && !matches!(info.state, StreamState::At(_));
        let holds = info.state.meets(expected) && !missing;
        if !holds && info.state != StreamState::Tombstoned {
            let wanted = if missing { ExpectedRevision::Exists } else { expected };
            return Err(conflict(stream, wanted, info));
        }
        let floor = info.state.head().map_or(Revision::ZERO, Revision::next);
        Ok((expected, MetaData { floor, limits: info.limits }))
    })
}

fn conflict(stream: &str, expected: ExpectedRevision, info: &StreamInfo) -> AppendError {
    AppendError::Conflict(Box::new(nexus_protocol::Conflict {
        clause: nexus_protocol::Clause::Stream {
            stream: stream.to_owned(),
            expected,
            found: info.state,
        },
        positions: info.last_position.into_iter().collect(),
    }))
}

fn checked_user_stream(stream: &str) -> Result<(), AppendError> {
    let name = StreamName::new(stream)?;
    if name.is_system() {
        return Err(AppendError::Denied {
            reason: format!("stream {stream:?} is the system's: its settings are its own"),
            denial: None,
        });
    }
    Ok(())
}

/// Appends a change computed from what the stream is; anew when its settings have changed meanwhile.
fn change_stream(
    namespace: &Namespace,
    stream: &str,
    event_type: &str,
    compute: impl Fn(&StreamInfo) -> Result<(ExpectedRevision, MetaData), AppendError>,
) -> Result<Appended, AppendError> {
    let mut last = AppendError::Unknown;
    if namespace.committer.log.is_ended() {
        return Err(AppendError::Unavailable(Unavailable::Closed));
    }
    for _ in 0..TRIES {
        let seen = info(&namespace.committer, stream).map_err(|_| AppendError::Unknown)?;
        let (expected, data) = compute(&seen)?;
        let meta_expected = match seen.meta_revision {
            Some(revision) => ExpectedRevision::Exact(revision),
            None => ExpectedRevision::NoStream,
        };
        let data = serde_json::to_vec(&data).expect("settings have a JSON form");
        let event = EventData::new(event_type, JSON, data.into());
        let append = Append::to(format!("{META_PREFIX}{stream}"))
            .expected(meta_expected)
            .event(event)
            .stream(stream)
            .expected(expected);
        match namespace.append_unchecked(append).wait() {
            Err(error) if error.retry() == Retry::AfterReload => last = error,
            answer => return answer,
        }
    }
    Err(last)
}

//! The stream of a route to a stream: what it takes, and how far it has come.
//!
//! Events of four types, of which the newest count:
//! - `$RouteSet`: the route, where it goes on, and how many links it has written: all before it is over;
//! - `$RouteMoved`: it has led on all before a position, and has written so many links;
//! - `$RouteRefused`: its target takes nothing, and why;
//! - `$RouteDeleted`: there is no route any more.

use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;
use nexus_protocol::json::RouteConfigJson;
use nexus_protocol::route::{ROUTE_PREFIX, RouteConfig};
use nexus_protocol::{
    Append, AppendError, Corruption, CorruptionKind, EventData, EventStore, ExpectedRevision,
    Position, Read, RecordedEvent, Revision, StreamState,
};
use serde::{Deserialize, Serialize};

use crate::coordinator::unread;

const SET: &str = "$RouteSet";
const MOVED: &str = "$RouteMoved";
const REFUSED: &str = "$RouteRefused";
const DELETED: &str = "$RouteDeleted";

/// What the stream of a route says.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// Which events, and where to.
    pub config: RouteConfig,
    /// The first position that it has not led on.
    pub next: Position,
    /// Links that it has written since it was made.
    pub links: u64,
    /// Why its target takes nothing.
    pub refused: Option<String>,
    /// The newest revision of the stream.
    pub revision: Revision,
    /// Events since all that is to be known was written.
    pub(super) moves: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetJson {
    route: RouteConfigJson,
    next: Position,
    links: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MovedJson {
    next: Position,
    links: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedJson {
    error: String,
}

pub(super) fn stream_of(name: &str) -> String {
    format!("{ROUTE_PREFIX}{name}")
}

/// The next item of a stream.
async fn next<T: Stream + Unpin>(stream: &mut T) -> Option<T::Item> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// Reads the stream of a route; `None`: there is none of this name.
///
/// # Errors
/// When it cannot be read, or says what no route does.
pub async fn read_journal<S: EventStore>(
    store: &S,
    name: &str,
) -> Result<Option<Journal>, AppendError> {
    let mut events = store.read(Read::stream(stream_of(name)).backwards());
    let (mut newest, mut moved, mut refused, mut moves) = (None, None::<MovedJson>, None, 0);
    while let Some(event) = next(&mut events).await {
        let event = event.map_err(unread)?;
        let revision = *newest.get_or_insert(event.revision());
        let no_json = |why: serde_json::Error| damaged(&event, why.to_string());
        match event.event_type() {
            SET => {
                let SetJson { route, next, links } = event.json().map_err(no_json)?;
                let config = route.try_into();
                let config = config
                    .map_err(|why: nexus_protocol::Invalid| damaged(&event, why.to_string()))?;
                let MovedJson { next, links } = moved.unwrap_or(MovedJson { next, links });
                return Ok(Some(Journal { config, next, links, refused, revision, moves }));
            }
            MOVED => {
                let found = event.json().map_err(no_json)?;
                moved.get_or_insert(found);
            }
            REFUSED => {
                let RefusedJson { error } = event.json().map_err(no_json)?;
                refused.get_or_insert(error);
            }
            DELETED => return Ok(None),
            other => {
                let what = format!("an event of type {other:?}: a newer Nexus wrote it");
                return Err(damaged(&event, what));
            }
        }
        moves += 1;
    }
    Ok(None)
}

fn damaged(event: &RecordedEvent, what: String) -> AppendError {
    let file = format!("stream {:?}, revision {}", event.stream(), event.revision());
    let kind = CorruptionKind::Malformed(what.into());
    AppendError::Corruption(Box::new(Corruption { file, offset_bytes: 0, kind }))
}

/// Makes a route that begins at a position, or lets one that is there take other events from where it is. `true`: it
/// was made.
///
/// # Errors
/// As an append's: `Conflict` where it has moved, or was set by somebody else, at the same time: then it is to be tried
/// again.
pub async fn set<S: EventStore>(
    store: &S,
    name: &str,
    config: &RouteConfig,
    begins: Position,
) -> Result<bool, AppendError> {
    let stream = stream_of(name);
    let before = read_journal(store, name).await?;
    let made = before.is_none();
    let (expected, next, links) = match before {
        Some(Journal { next, links, revision, .. }) => {
            (ExpectedRevision::Exact(revision), next, links)
        }
        None => {
            let info = store.stream_info(&stream).await.map_err(unread)?;
            let expected = match info.state {
                StreamState::Tombstoned => return Err(AppendError::Deleted { stream }),
                state => state.head().map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact),
            };
            (expected, begins, 0)
        }
    };
    let event = set_with(config, next, links);
    store.append(Append::to(stream).expected(expected).event(event)).await.map(|_| made)
}

/// Ends a route; `false`: there is none of this name. What it has linked stays.
///
/// # Errors
/// As an append's: `Conflict` where it has moved at the same time: then it is to be tried again.
pub async fn delete<S: EventStore>(store: &S, name: &str) -> Result<bool, AppendError> {
    let Some(journal) = read_journal(store, name).await? else { return Ok(false) };
    let event = EventData::new(DELETED, "", Bytes::new());
    let expected = ExpectedRevision::Exact(journal.revision);
    store.append(Append::to(stream_of(name)).expected(expected).event(event)).await.map(|_| true)
}

fn set_with(config: &RouteConfig, next: Position, links: u64) -> EventData {
    let json = SetJson { route: config.into(), next, links };
    EventData::json(SET, &json).expect("a route has a JSON form")
}

/// The event that says all that is to be known.
pub(super) fn set_event(journal: &Journal) -> EventData {
    set_with(&journal.config, journal.next, journal.links)
}

/// The event that says how far it has come.
pub(super) fn moved(journal: &Journal) -> EventData {
    let json = MovedJson { next: journal.next, links: journal.links };
    EventData::json(MOVED, &json).expect("numbers have a JSON form")
}

/// The event that says why its target takes nothing.
pub(super) fn refused(why: &str) -> EventData {
    let json = RefusedJson { error: why.to_owned() };
    EventData::json(REFUSED, &json).expect("a text has a JSON form")
}

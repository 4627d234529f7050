//! To read events: of one stream, or of the whole log; once, as a page or line by line, or as they
//! come.

mod lines;
mod page;
mod shown;

use std::time::Duration;

use axum::http::header;
use axum::response::Response;
use nexus_node::Access;
use nexus_protocol::{
    Direction, EventId, EventJson, From, Lineage, Position, Read, ReadError, Revision, Start,
    StreamInfo, StreamName, StreamState, Subscribe, SubscriptionItem, Timestamp,
};
use serde::Serialize;

use self::lines::lines;
pub(crate) use self::page::{AS_OF, AS_SCHEMA, RESOLVE_LINKS};
use self::page::{Wanted, made};
pub(crate) use self::shown::named;
use super::append::etag;
use super::call::{Call, EVENT_STREAM, JSON, NDJSON, blocking, bytes_of};
use super::chunks;
use super::problem::Problem;
use super::routes::FOLLOW;
use super::sse;
use crate::feed::{Feed, Items};

/// Events of a page unless it is said, and at most.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;
/// A request waits for events so long at most.
const WAIT_MS_MAX: u64 = 60_000;

/// A page of events.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "StreamPage")]
pub(crate) struct StreamPage<'a> {
    /// The events.
    events: Vec<EventJson<'a>>,
    /// Where the next page begins, for `from`; null: there is no more.
    next: Option<u64>,
    /// The stream's newest revision; null where it never had an event.
    head_revision: Option<u64>,
}

/// A page of the log.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "LogPage")]
pub(crate) struct LogPage<'a> {
    /// The events.
    events: Vec<EventJson<'a>>,
    /// Where the next page begins, for `from_position`; null: there is no more. With `wait_ms` it is
    /// never null.
    next: Option<String>,
}

/// `GET /v1/streams/{stream}/events`
pub(crate) async fn of_stream(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let stream = StreamName::new(call.path("stream"))?.as_str().to_owned();
    let mut read = Read::stream(&stream).filter(call.filter()?);
    read.direction = direction(&call)?;
    read.as_of = call.parsed("as_of")?;
    read.as_schema = call.parsed("as_schema")?.unwrap_or_default();
    let lineage = access.head()?.lineage;
    let access = access.admitted();
    read.from = from(&call, lineage)?;
    let resolve_links = call.flag("resolve_links")?;
    if call.wants(EVENT_STREAM) {
        if resolve_links {
            let detail = "server-sent events give links as they are: leave out `resolve_links`";
            return Err(Problem::invalid(detail));
        }
        return follow_stream(&call, access, read, lineage).await;
    }
    only_followed(&call)?;
    if call.wants(NDJSON) {
        let asked = access.clone();
        check_there(&blocking(move || asked.stream_info(&stream)).await?)?;
        return lines(&call, access, read, resolve_links).await;
    }
    let wanted = Wanted { limit: call.limit(PAGE_DEFAULT, PAGE_MAX)?, resolve_links };
    let (bytes, head_revision) = made(&call, &access.clone(), read, wanted, move |page| {
        let info = access.stream_info(&stream)?;
        check_there(&info)?;
        let head_revision = info.state.head().map(Revision::get);
        let next = page.next;
        let names = access.schema_names();
        let events = page.events.iter().map(|event| named(&names, event)).collect();
        Ok((bytes_of(&StreamPage { events, next, head_revision }), head_revision))
    })
    .await?;
    let mut response = chunks::whole(JSON, &call, bytes)?;
    if let Some(revision) = head_revision {
        response.headers_mut().insert(header::ETAG, etag(revision));
    }
    Ok(response)
}

/// Refuses what never had an event.
fn check_there(info: &StreamInfo) -> Result<(), ReadError> {
    if info.state == StreamState::Missing {
        let stream = info.stream.as_str();
        return Err(ReadError::NotFound { what: format!("stream {stream:?}") });
    }
    Ok(())
}

/// `GET /v1/events`
pub(crate) async fn of_log(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let mut read = Read::all().filter(call.filter()?);
    read.direction = direction(&call)?;
    read.as_of = call.parsed("as_of")?;
    read.as_schema = call.parsed("as_schema")?.unwrap_or_default();
    read.system = call.flag("system")?;
    let lineage = access.head()?.lineage;
    let access = access.admitted();
    read.from = from(&call, lineage)?;
    if call.wants(EVENT_STREAM) {
        return follow_log(&call, access, &read, lineage);
    }
    only_followed(&call)?;
    if call.wants(NDJSON) {
        return lines(&call, access, read, false).await;
    }
    let limit = call.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let wait = match call.parsed("wait_ms")? {
        None => None,
        Some(wait @ 0..=WAIT_MS_MAX) => Some(Duration::from_millis(wait)),
        Some(_) => {
            let detail = format!("query parameter `wait_ms` is not from 0 to {WAIT_MS_MAX}");
            return Err(Problem::invalid(detail));
        }
    };
    let wait = wait.map(|wait| wait.min(call.http.limits.request_time / 2));
    let bytes = match wait {
        None => log_page(&call, access, read, limit, (lineage, None)).await?.0,
        Some(_) if read.direction == Direction::Backwards || read.as_of.is_some() => {
            return Err(Problem::invalid("only what is to come can be waited for"));
        }
        Some(_) if matches!(read.from, From::Time(_)) => {
            let detail =
                "`from_time` and `wait_ms`: read to find the position, then wait behind it";
            return Err(Problem::invalid(detail));
        }
        Some(wait) => waited(&call, access, read, (limit, lineage), wait).await?,
    };
    chunks::whole(JSON, &call, bytes)
}

/// Reads a page of the log, and writes it down; says also whether it is empty. `at_end` is where the next
/// one begins where there is no more, if that is to be said.
async fn log_page(
    call: &Call,
    access: Access,
    read: Read,
    limit: usize,
    (lineage, at_end): (Lineage, Option<Position>),
) -> Result<(Vec<u8>, bool), Problem> {
    let wanted = Wanted { limit, resolve_links: false };
    made(call, &access.clone(), read, wanted, move |page| {
        let names = access.schema_names();
        let end = page.events.last().map(|event| event.position().next());
        let next = match page.next {
            Some(position) => Some(Position::new(position)),
            None => at_end.map(|at| end.map_or(at, |end| at.max(end))),
        };
        let next = next.map(|position| token(lineage, position));
        let events = page.events.iter().map(|event| named(&names, event)).collect();
        Ok((bytes_of(&LogPage { events, next }), page.events.is_empty()))
    })
    .await
}

/// A page; where it would be empty, the first events that come within a time. It always says where the
/// next one begins.
async fn waited(
    call: &Call,
    access: Access,
    read: Read,
    (limit, lineage): (usize, Lineage),
    wait: Duration,
) -> Result<Vec<u8>, Problem> {
    // All up to the head is looked at.
    let head = access.head()?.position.map_or(Position::ZERO, Position::next);
    let begin = match read.from {
        From::Position(from) => from,
        _ => Position::ZERO,
    };
    let mut next = begin.max(head);
    let (filter, system, as_schema) = (read.filter.clone(), read.system, read.as_schema);
    let (bytes, is_empty) =
        log_page(call, access.clone(), read, limit, (lineage, Some(next))).await?;
    if !is_empty {
        return Ok(bytes);
    }
    let start = Start::At(next);
    let subscribe = Subscribe { start, filter, system, as_schema, ..Subscribe::default() };
    let mut feed = Feed::open(access.clone(), subscribe)?;
    let came = async {
        loop {
            let items: Items = feed.next(limit as u64).await?;
            let passed = items.items.iter().filter_map(place).max();
            next = next.max(passed.map_or(next, Position::next));
            let items = items.items.into_iter();
            let events: Vec<_> = items.filter_map(SubscriptionItem::event).collect();
            if !events.is_empty() {
                return Ok::<_, ReadError>(events);
            }
        }
    };
    let events = tokio::time::timeout(wait, came).await.unwrap_or_else(|_| Ok(Vec::new()))?;
    let next = Some(token(lineage, next));
    let place = call.http.place(&call.http.pages).await;
    Ok(blocking(move || {
        let _place = place;
        let names = access.schema_names();
        let events = events.iter().map(|event| named(&names, event)).collect();
        bytes_of(&LogPage { events, next })
    })
    .await)
}

/// The last position that an item stands for.
fn place(item: &SubscriptionItem) -> Option<Position> {
    match item {
        SubscriptionItem::Event(event) => Some(event.position()),
        SubscriptionItem::CaughtUp { position } | SubscriptionItem::FellBehind { position } => {
            *position
        }
        SubscriptionItem::Checkpoint { position } => Some(*position),
    }
}

/// `GET /v1/events/{id}`
pub(crate) async fn by_id(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let id: EventId = call.parsed_path("id")?;
    let place = call.http.place(&call.http.pages).await;
    let found = blocking(move || -> Result<_, ReadError> {
        let _place = place;
        let found = access.event_by_id(id)?;
        let names = access.schema_names();
        Ok(found.map(|event| bytes_of(&named(&names, &event))))
    });
    match found.await? {
        Some(bytes) => chunks::whole(JSON, &call, bytes),
        None => Err(ReadError::NotFound { what: format!("event {id}") }.into()),
    }
}

fn direction(call: &Call) -> Result<Direction, Problem> {
    match call.text("direction") {
        None | Some("forwards") => Ok(Direction::Forwards),
        Some("backwards") => Ok(Direction::Backwards),
        Some(_) => {
            Err(Problem::invalid("query parameter `direction` is not forwards or backwards"))
        }
    }
}

/// Where a read begins.
fn from(call: &Call, lineage: Lineage) -> Result<From, Problem> {
    let revision = call.parsed("from")?.map(From::Revision);
    let at = call.text("from_position");
    let at =
        at.map(|text| position("query parameter `from_position`", text, lineage)).transpose()?;
    let time = call.parsed::<Timestamp>("from_time")?.map(From::Time);
    let mut given = [revision, at.map(From::Position), time].into_iter().flatten();
    let from = given.next().unwrap_or_default();
    if given.next().is_some() {
        let detail = "`from`, `from_position`, and `from_time`: leave all but one out";
        return Err(Problem::invalid(detail));
    }
    Ok(from)
}

/// Refuses what only a stream of server-sent events has.
fn only_followed(call: &Call) -> Result<(), Problem> {
    match FOLLOW.iter().find(|parameter| call.text(parameter.name).is_some()) {
        None => Ok(()),
        Some(parameter) => Err(Problem::invalid(format!(
            "query parameter `{}` goes with `Accept: {EVENT_STREAM}`: leave one out, or send both",
            parameter.name
        ))),
    }
}

/// A place in the log, as `next` and the ids of server-sent events name it.
pub(crate) fn token(lineage: Lineage, position: Position) -> String {
    format!("{lineage}-{position}")
}

/// The same of a reader's last item, before which there may have been nothing.
pub(crate) fn token_or_none(lineage: Lineage, position: Option<Position>) -> String {
    position.map_or_else(|| format!("{lineage}-none"), |position| token(lineage, position))
}

/// Reads a place in the log: LINEAGE-POSITION, or a position of the lineage of today.
pub(crate) fn position(what: &str, text: &str, current: Lineage) -> Result<Position, Problem> {
    let bad = || Problem::invalid(format!("{what} is not a position, as in 17 or 1-17"));
    let (lineage, position) = match text.split_once('-') {
        Some((lineage, position)) => {
            (lineage.parse().map(Lineage::new).map_err(|_| bad())?, position)
        }
        None => (current, text),
    };
    let position = position.parse().map_err(|_| bad())?;
    if lineage != current {
        return Err(ReadError::LineageChanged { given: lineage, current }.into());
    }
    Ok(position)
}

/// Where a client goes on that was here before.
fn last_event_id(call: &Call, lineage: Lineage) -> Result<Option<Start>, Problem> {
    let name = axum::http::HeaderName::from_static("last-event-id");
    let id = call.header(&name)?;
    id.map(|id| resumed("header `Last-Event-ID`", id, lineage)).transpose()
}

/// Where a reader goes on whose last item had this token.
pub(crate) fn resumed(what: &str, text: &str, lineage: Lineage) -> Result<Start, Problem> {
    if text == token_or_none(lineage, None) {
        // It has seen that there was nothing.
        return Ok(Start::Beginning);
    }
    Ok(Start::After(position(what, text, lineage)?))
}

/// Where a stream of server-sent events begins, and what else is asked of it.
fn followed(call: &Call, read: &Read, lineage: Lineage) -> Result<Subscribe, Problem> {
    check_follow(call, read)?;
    let from_end = match call.text("start") {
        None | Some("beginning") => false,
        Some("end") => true,
        Some(_) => {
            return Err(Problem::invalid("query parameter `start` is not beginning or end"));
        }
    };
    if call.text("start").is_some() && read.from != From::Start {
        return Err(Problem::invalid("`start` and another place to begin: leave one out"));
    }
    let start = match (last_event_id(call, lineage)?, read.from) {
        (Some(start), _) => start,
        (None, From::Position(position)) => Start::At(position),
        (None, _) if from_end => Start::End,
        (None, _) => Start::Beginning,
    };
    let checkpoint_every = call.parsed("checkpoint_every")?.unwrap_or_default();
    Ok(Subscribe {
        stream: read.stream.clone(),
        start,
        filter: read.filter.clone(),
        system: read.system,
        checkpoint_every,
        as_schema: read.as_schema,
    })
}

/// What cannot be asked of a read that goes on.
fn check_follow(call: &Call, read: &Read) -> Result<(), Problem> {
    if read.direction == Direction::Backwards || read.as_of.is_some() {
        let detail = "what is to come has no past: leave out `direction` and `as_of`";
        return Err(Problem::invalid(detail));
    }
    if let From::Time(_) = read.from {
        let detail = "`from_time` and what is to come: read to find the position, then follow";
        return Err(Problem::invalid(detail));
    }
    if call.text("limit").is_some() || call.text("wait_ms").is_some() {
        return Err(Problem::invalid(
            "a stream of events has no end: leave out `limit`, `wait_ms`",
        ));
    }
    Ok(())
}

async fn follow_stream(
    call: &Call,
    access: Access,
    read: Read,
    lineage: Lineage,
) -> Result<Response, Problem> {
    let mut subscribe = followed(call, &read, lineage)?;
    let mut from = None;
    if let From::Revision(revision) = read.from {
        // Who comes back before that revision was there still waits for it.
        from = Some(revision);
        if subscribe.start == Start::Beginning {
            let (access, read) = (access.clone(), read.limit(1));
            let first = blocking(move || access.read(read)?.into_iter().next().transpose()).await?;
            let first = first.map(|event| Start::At(event.position()));
            subscribe.start = first.unwrap_or(Start::Beginning);
        }
    }
    let feed = Feed::open(access, subscribe)?;
    Ok(sse::answer(call, feed, lineage, from))
}

fn follow_log(
    call: &Call,
    access: Access,
    read: &Read,
    lineage: Lineage,
) -> Result<Response, Problem> {
    let subscribe = followed(call, read, lineage)?;
    Ok(sse::answer(call, Feed::open(access, subscribe)?, lineage, None))
}

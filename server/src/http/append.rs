//! To append: to one stream, or to many under conditions.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use nexus_protocol::json::{AppendJson, AppendedJson, NewEventJson};
use nexus_protocol::{Append, AppendError, Appended, EventData, ExpectedRevision, Revision};
use serde::Serialize;

use super::body::{Lines, Received, read_json};
use super::call::{Call, JSON, NDJSON, blocking, json};
use super::problem::Problem;

/// The header that makes an append repeatable whose events have no ids.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Bodies above this are parsed on a thread where that holds up nobody.
const PARSED_AT_ONCE_BYTES: usize = 64 * 1024;

/// What an append to one stream did. Revisions and positions are null for one without events.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "AppendedToStream")]
pub(crate) struct AppendedToStream<'a> {
    /// The stream.
    stream: &'a str,
    /// Revision of its first new event.
    first_revision: Option<u64>,
    /// Revision of its last new event.
    last_revision: Option<u64>,
    /// Position of its first new event.
    first_position: Option<u64>,
    /// Position of its last new event.
    last_position: Option<u64>,
    /// Whether it had happened before, and this is its first answer again.
    replayed: bool,
}

/// `POST /v1/streams/{stream}/events`
pub(crate) async fn to_stream(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_append()?;
    let expected = expected(&call)?;
    let key = call.header(&IDEMPOTENCY_KEY)?.map(str::to_owned);
    let kind = call.content_type(&[JSON, NDJSON])?;
    let stream = call.path("stream").to_owned();
    let received = call.receive().await?;
    let (events, received) = parsed(received, kind, events).await?;
    let mut append = Append::to(&stream).expected(expected).events(events);
    append.idempotency_key = key;
    let appended = access.append(append)?.await?;
    drop(received);
    let to = appended.streams.first();
    let last_revision = to.map(|to| to.last_revision.get());
    let answer = AppendedToStream {
        stream: &stream,
        first_revision: to.map(|to| to.first_revision.get()),
        last_revision,
        first_position: appended.first().map(|position| position.get()),
        last_position: appended.last().map(|position| position.get()),
        replayed: appended.replayed,
    };
    let mut response = json(status(&appended), &answer);
    if let Some(revision) = last_revision {
        response.headers_mut().insert(header::ETAG, etag(revision));
    }
    Ok(response)
}

/// `POST /v1/append`
pub(crate) async fn to_streams(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_append()?;
    let key = call.header(&IDEMPOTENCY_KEY)?.map(str::to_owned);
    if call.content_type(&[JSON, NDJSON])? == NDJSON {
        if key.is_some() {
            let detail = "header `Idempotency-Key` is of one append: of many, each line has its own \
                          `idempotency_key`";
            return Err(Problem::invalid(detail));
        }
        return super::bulk::run(call, access);
    }
    let received = call.receive().await?;
    let (mut append, received) = parsed(received, JSON, |received, _| append(received)).await?;
    if let Some(key) = key {
        append.idempotency_key = Some(key);
    }
    let appended = access.append(append)?.await?;
    drop(received);
    Ok(json(status(&appended), &AppendedJson::from(&appended)))
}

/// Created, unless nothing was: it had happened before, or was only checked.
fn status(appended: &Appended) -> StatusCode {
    match appended.replayed || appended.positions.is_none() {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    }
}

/// A stream's entity tag: its newest revision, as `If-Match` takes it.
pub(crate) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("digits in quotes are a header's value")
}

/// Reads an append.
pub(crate) fn append(received: &Received) -> Result<Append, Problem> {
    Ok(received.json::<AppendJson<'_>>()?.into_append()?)
}

/// Reads events: an array, or one a line.
fn events(received: &Received, kind: &'static str) -> Result<Vec<EventData>, Problem> {
    if kind == JSON {
        let events: Vec<NewEventJson<'_>> = received.json()?;
        let events = events.into_iter().map(|event| Ok(event.into_event_data()?));
        return events.collect();
    }
    let lines = received.bytes.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .map(|(index, line)| {
            let event: NewEventJson<'_> = read_json(line, &format!("line {}", index + 1))?;
            Ok(event.into_event_data()?)
        })
        .collect()
}

/// Parses a body; a long one where that holds up nobody.
pub(crate) async fn parsed<T: Send + 'static>(
    received: Received,
    kind: &'static str,
    parse: fn(&Received, &'static str) -> Result<T, Problem>,
) -> Result<(T, Received), Problem> {
    if received.bytes.len() <= PARSED_AT_ONCE_BYTES {
        return Ok((parse(&received, kind)?, received));
    }
    blocking(move || Ok((parse(&received, kind)?, received))).await
}

/// What the stream must be: `If-Match` and `If-None-Match` say so.
pub(crate) fn expected(call: &Call) -> Result<ExpectedRevision, Problem> {
    let matches = call.header(&header::IF_MATCH)?;
    let none_matches = call.header(&header::IF_NONE_MATCH)?;
    match (matches, none_matches) {
        (None, None) => Ok(ExpectedRevision::Any),
        (None, Some("*")) => Ok(ExpectedRevision::NoStream),
        (Some("*"), None) => Ok(ExpectedRevision::Exists),
        (Some(tag), None) => {
            let digits = tag.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            let revision = digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
                Problem::invalid("header `If-Match` is not a revision in quotes, as in \"7\", or *")
            })?;
            Ok(ExpectedRevision::Exact(Revision::new(revision)))
        }
        (None, Some(_)) => Err(Problem::invalid("header `If-None-Match` is not *")),
        (Some(_), Some(_)) => {
            Err(Problem::invalid("headers `If-Match` and `If-None-Match` contradict each other"))
        }
    }
}

/// The appends of a request, one a line.
pub(crate) fn lines(call: &mut Call) -> Lines {
    let memory = call.http.door.memory.clone();
    Lines::new(call.take_body(), &call.http.limits, memory)
}

/// How one of many appends is answered.
pub(crate) fn answer_line(answer: &Result<Appended, AppendError>) -> Vec<u8> {
    let mut line = match answer {
        Ok(appended) => serde_json::to_vec(&AppendedJson::from(appended)),
        Err(error) => serde_json::to_vec(&Problem::from(error.clone()).json()),
    }
    .expect("answers have no map with other keys than text");
    line.push(b'\n');
    line
}

//! To see and change streams.

use axum::http::{StatusCode, header};
use axum::response::Response;
use nexus_protocol::json::{StreamChangeJson, StreamInfoJson};
use nexus_protocol::limits::STREAMS_PAGE_MAX;
use nexus_protocol::{ReadError, StreamInfo, StreamList, StreamState};
use serde::Serialize;

use super::append::{etag, expected};
use super::call::{Call, JSON, blocking, json};
use super::problem::Problem;

/// Streams of a page, unless it is said.
const PAGE_DEFAULT: usize = 100;

/// A page of streams.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Streams")]
pub(crate) struct Streams<'a> {
    /// The streams, by name.
    streams: Vec<StreamInfoJson<'a>>,
    /// What the next page comes after, for `after`; null: there is no more.
    next: Option<&'a str>,
}

/// What a delete did.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "StreamDeleted")]
pub(crate) struct StreamDeleted<'a> {
    /// The stream.
    stream: &'a str,
    /// Where the delete stands in the log.
    position: Option<u64>,
    /// Whether it is for good.
    tombstoned: bool,
}

/// `GET /v1/streams`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let limit = call.limit(PAGE_DEFAULT, STREAMS_PAGE_MAX)?;
    let list = StreamList {
        prefix: call.text("prefix").unwrap_or_default().to_owned(),
        category: call.text("category").map(str::to_owned),
        after: call.text("after").map(str::to_owned),
        // One more tells whether there is more.
        limit: limit + 1,
        system: call.flag("system")?,
        deleted: call.flag("deleted")?,
    };
    let mut streams = blocking(move || access.streams(&list)).await?;
    let more = streams.len() > limit;
    streams.truncate(limit);
    let next = streams.last().filter(|_| more).map(|info| info.stream.as_str());
    Ok(json(StatusCode::OK, &Streams { streams: streams.iter().map(Into::into).collect(), next }))
}

/// `GET /v1/streams/{stream}`
pub(crate) async fn show(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let stream = call.path("stream").to_owned();
    let info = blocking(move || access.stream_info(&stream)).await?;
    if info.state == StreamState::Missing && info.meta_revision.is_none() {
        let stream = info.stream.as_str();
        return Err(ReadError::NotFound { what: format!("stream {stream:?}") }.into());
    }
    Ok(answer(&info))
}

fn answer(info: &StreamInfo) -> Response {
    let mut response = json(StatusCode::OK, &StreamInfoJson::from(info));
    if let Some(head) = info.state.head() {
        response.headers_mut().insert(header::ETAG, etag(head.get()));
    }
    response
}

/// `PATCH /v1/streams/{stream}`
pub(crate) async fn change(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_manage_streams()?;
    call.content_type(&[JSON])?;
    let stream = call.path("stream").to_owned();
    let received = call.receive().await?;
    let change: StreamChangeJson = received.json()?;
    let info = blocking(move || access.set_stream(&stream, change.into())).await?;
    Ok(answer(&info))
}

/// `DELETE /v1/streams/{stream}`
pub(crate) async fn delete(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let stream = call.path("stream").to_owned();
    let expected = expected(&call)?;
    let tombstoned = call.flag("tombstone")?;
    let name = stream.clone();
    let appended = blocking(move || match tombstoned {
        true => access.tombstone_stream(&name, expected),
        false => access.delete_stream(&name, expected),
    })
    .await?;
    let position = appended.last().map(|position| position.get());
    Ok(json(StatusCode::OK, &StreamDeleted { stream: &stream, position, tombstoned }))
}

//! To keep and load snapshots of aggregates.

use axum::http::StatusCode;
use axum::response::Response;
use nexus_node::telemetry::Operation;
use nexus_protocol::json::{NewSnapshotJson, SnapshotInfoJson, SnapshotJson, UpcasterHashJson};
use nexus_protocol::{AsOf, FoldIdentity, ReadError, Revision, SnapshotAt, StreamName};
use serde::Serialize;

use super::call::{Call, JSON, blocking, bytes_of, json, parse};
use super::chunks;
use super::problem::Problem;

/// The snapshots that are kept of a stream: a few for each doubling of revisions.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Snapshots")]
pub(crate) struct Snapshots {
    /// By ascending revision.
    snapshots: Vec<SnapshotInfoJson>,
    /// Always null: they are few.
    next: Option<u64>,
}

/// `GET /v1/streams/{stream}/snapshots`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let stream = call.path("stream").to_owned();
    let kept = blocking(move || access.list_snapshots(&stream)).await?;
    let snapshots = kept.iter().map(SnapshotInfoJson::from).collect();
    Ok(json(StatusCode::OK, &Snapshots { snapshots, next: None }))
}

/// `GET /v1/streams/{stream}/snapshots/{revision}`
pub(crate) async fn load(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let stream = call.path("stream").to_owned();
    let at = match call.path("revision") {
        "latest" => SnapshotAt::Latest,
        revision => SnapshotAt::Revision(parse("revision in the path", revision)?),
    };
    let at = match (at, call.parsed("as_of")?) {
        (at, None) => at,
        (SnapshotAt::Latest, Some(AsOf::Position(position))) => SnapshotAt::Position(position),
        (SnapshotAt::Latest, Some(AsOf::Revision(revision))) => SnapshotAt::Revision(revision),
        _ => {
            let detail = "query parameter `as_of` goes with `latest`, as position:N or revision:N";
            return Err(Problem::invalid(detail));
        }
    };
    let upcaster_hash: UpcasterHashJson = call.parsed("upcaster_hash")?.unwrap_or_default();
    let fold = FoldIdentity {
        fold_version: call.parsed("fold_version")?.unwrap_or_default(),
        upcaster_hash: upcaster_hash.0,
    };
    let name = stream.clone();
    let place = call.http.place(&call.http.pages).await;
    let found = blocking(move || -> Result<_, ReadError> {
        let _place = place;
        let found = access.load_snapshot(&name, at, fold)?;
        Ok(found.map(|snapshot| bytes_of(&SnapshotJson::from(&snapshot))))
    });
    match found.await? {
        Some(bytes) => chunks::whole(JSON, &call, bytes),
        None => {
            let what = format!("snapshot of stream {stream:?} by that fold at or before there");
            Err(ReadError::NotFound { what }.into())
        }
    }
}

/// `PUT /v1/streams/{stream}/snapshots/{revision}`
pub(crate) async fn save(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_do(Operation::SaveSnapshot)?;
    call.content_type(&[JSON])?;
    let stream = StreamName::new(call.path("stream"))?;
    let revision: Revision = call.parsed_path("revision")?;
    let received = call.receive().await?;
    // A state may be long: it is read where that holds up nobody.
    let (appended, fold) = blocking(move || -> Result<_, Problem> {
        let new: NewSnapshotJson<'_> = received.json()?;
        let snapshot = new.into_snapshot(stream, revision)?;
        let fold = snapshot.fold;
        Ok((access.save_snapshot(snapshot)?, fold))
    })
    .await?;
    let position = appended.last().expect("a snapshot is an event");
    Ok(json(StatusCode::CREATED, &SnapshotInfoJson::from((revision, position, fold))))
}

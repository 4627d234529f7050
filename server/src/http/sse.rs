//! Server-sent events: what is there, then what comes, until the client goes.
//!
//! An event is a message without a name, so that a page's `onmessage` gets it; markers have names. Every
//! id is LINEAGE-POSITION: a client that comes back sends the last in `Last-Event-ID`, and goes on
//! after it without a gap or a repeat.

use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use nexus_node::SchemaNames;
use nexus_protocol::{Lineage, ReadError, Revision, SubscriptionItem};
use serde_json::json;

use super::call::{Call, EVENT_STREAM};
use super::chunks::{self, Chunks};
use super::events::{named, token, token_or_none};
use super::problem::Problem;
use crate::feed::{Feed, Items};

/// How long a client waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 1000;
/// Why a stream ends is said for so long: a client that does not read holds up no server that goes.
const LAST_WORD_TIME: Duration = Duration::from_millis(500);
/// Events that are looked for at a time.
const EVENTS_MAX: u64 = 1024;

/// Answers with what a feed gives; of the first events of a stream, those from a revision on.
pub(crate) fn answer(
    call: &Call,
    feed: Feed,
    lineage: Lineage,
    from: Option<Revision>,
) -> Response {
    let (closing, keep_alive) = (call.http.door.closing(), call.http.limits.keep_alive);
    chunks::answer(EVENT_STREAM, &call.under_way, async move |chunks| {
        if !chunks.send(Bytes::from(format!("retry: {RETRY_MS}\n\n"))).await {
            return;
        }
        let ended = tokio::select! {
            ended = deliver(feed, &chunks, keep_alive, (lineage, from)) => ended,
            () = closing => Some(ReadError::Closed),
            () = chunks.closed() => None,
        };
        if let Some(error) = ended {
            let problem = Problem::from(error).json();
            let last = chunks.send(Bytes::from(format!("event: error\ndata: {problem}\n\n")));
            let _ = tokio::time::timeout(LAST_WORD_TIME, last).await;
        }
    })
}

/// Delivers until nobody reads (`None`), or it cannot go on.
async fn deliver(
    mut feed: Feed,
    chunks: &Chunks,
    keep_alive: Duration,
    (lineage, from): (Lineage, Option<Revision>),
) -> Option<ReadError> {
    let access = feed.access().clone();
    loop {
        let items = {
            let mut next = std::pin::pin!(feed.next::<Items>(EVENTS_MAX));
            loop {
                tokio::select! {
                    items = &mut next => break items,
                    () = tokio::time::sleep(keep_alive) => {
                        if let Err(error) = access.may_still_read() {
                            return Some(error);
                        }
                        if !chunks.send(Bytes::from_static(b": still here\n\n")).await {
                            return None;
                        }
                    }
                }
            }
        };
        let items = match items {
            Ok(items) => items.items,
            Err(error) => return Some(error),
        };
        let mut out = Vec::new();
        let names = access.schema_names();
        items.iter().for_each(|item| write(item, &names, (lineage, from), &mut out));
        if !out.is_empty() && !chunks.send(Bytes::from(out)).await {
            return None;
        }
    }
}

fn write(
    item: &SubscriptionItem,
    names: &SchemaNames,
    (lineage, from): (Lineage, Option<Revision>),
    out: &mut Vec<u8>,
) {
    let (name, position) = match item {
        SubscriptionItem::Event(event) => {
            if from.is_some_and(|from| event.revision() < from) {
                return;
            }
            // Whoever comes back in the middle of its parts gets them all again.
            if !event.has_more_parts() {
                let id = token(lineage, event.position());
                out.extend_from_slice(format!("id: {id}\n").as_bytes());
            }
            out.extend_from_slice(b"data: ");
            let written = serde_json::to_writer(&mut *out, &named(names, event));
            written.expect("an event has a JSON form");
            out.extend_from_slice(b"\n\n");
            return;
        }
        SubscriptionItem::CaughtUp { position } => ("caught_up", *position),
        SubscriptionItem::FellBehind { position } => ("fell_behind", *position),
        SubscriptionItem::Checkpoint { position } => ("checkpoint", Some(*position)),
    };
    let data = json!({ "position": position });
    let id = token_or_none(lineage, position);
    out.extend_from_slice(format!("id: {id}\nevent: {name}\ndata: {data}\n\n").as_bytes());
}

//! Events one a line.

use axum::response::Response;
use bytes::Bytes;
use nexus_node::{Access, EventsIter, SchemaNames, Stop};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::{Read, ReadError, RecordedEvent};

use super::super::call::{Call, NDJSON, blocking};
use super::super::chunks;
use super::super::problem::Problem;
use super::shown::{followed_link, named};

/// Lines are sent in pieces of about so many bytes.
const LINES_BYTES: usize = 128 * 1024;

/// All events of a read, one a line, with no more of them in memory than are being sent.
pub(super) async fn lines(
    call: &Call,
    access: Access,
    mut read: Read,
    resolve_links: bool,
) -> Result<Response, Problem> {
    read.limit = call.parsed("limit")?;
    let stop = Stop::default();
    let ends = stop.on_drop();
    let first = blocking(move || -> Result<_, ReadError> {
        let (names, as_schema) = (access.schema_names(), read.as_schema);
        let mut events = access.read(read)?.into_iter();
        events.end_at(&stop);
        let links = resolve_links.then_some(access);
        Ok(gather(Lines { events, links, as_schema, parts: Vec::new().into_iter(), names }))
    })
    .await?;
    // What is wrong from the beginning has a status of its own.
    let first = match first {
        (_, out, Some(Err(error))) if out.is_empty() => return Err(error.into()),
        first => first,
    };
    Ok(chunks::answer(NDJSON, &call.under_way, async move |chunks| {
        let _ends = ends;
        let (mut events, mut out, mut end) = first;
        loop {
            if !out.is_empty() && !chunks.send(Bytes::from(out)).await {
                return;
            }
            match end {
                None => {
                    (events, out, end) = tokio::select! {
                        gathered = blocking(move || gather(events)) => gathered,
                        () = chunks.closed() => return,
                    };
                }
                Some(Ok(())) => return,
                Some(Err(error)) => {
                    let mut line = Problem::from(error).json().to_string();
                    line.push('\n');
                    chunks.send(Bytes::from(line)).await;
                    return;
                }
            }
        }
    }))
}

/// Events that become lines.
struct Lines {
    events: EventsIter,
    /// Whose links are followed.
    links: Option<Access>,
    as_schema: AsSchema,
    /// The parts of what a link led to.
    parts: std::vec::IntoIter<RecordedEvent>,
    names: SchemaNames,
}

impl Lines {
    fn next(&mut self) -> Option<Result<RecordedEvent, ReadError>> {
        loop {
            if let Some(part) = self.parts.next() {
                return Some(Ok(part));
            }
            let event = self.events.next()?;
            let (Some(access), Ok(link)) = (&self.links, &event) else { return Some(event) };
            match followed_link(access, link.clone(), self.as_schema) {
                Ok(parts) => self.parts = parts.into_iter(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

type Gathered = (Lines, Vec<u8>, Option<Result<(), ReadError>>);

/// Writes events as lines until there are enough bytes of them.
fn gather(mut events: Lines) -> Gathered {
    let mut out = Vec::new();
    while out.len() < LINES_BYTES {
        match events.next() {
            Some(Ok(event)) => {
                let written = serde_json::to_writer(&mut out, &named(&events.names, &event));
                written.expect("an event has a JSON form");
                out.push(b'\n');
            }
            Some(Err(error)) => return (events, out, Some(Err(error))),
            None => return (events, out, Some(Ok(()))),
        }
    }
    (events, out, None)
}

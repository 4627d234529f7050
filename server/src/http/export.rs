//! All that a search finds, page by page: a document a line, or a table.
//!
//! Each page is a search of its own, behind the last document of the one before, and is made when there is room for it: no
//! more than one is in memory, and none is made for a client that is gone. Documents are as they are when their page is
//! made. What goes wrong later than the head of the answer is its last line, as of other answers of lines; a table has no
//! line for that, and is broken off.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use nexus_node::Access;
use nexus_protocol::limits::SEARCH_LIMIT_MAX;
use nexus_protocol::search::{CsvWriter, OtherFields, SearchRequest};
use nexus_protocol::{Position, ReadError};

use super::call::{CSV, Call, NDJSON, blocking};
use super::chunks;
use super::problem::Problem;
use crate::door::{Door, Held};

/// Documents of the first page. Each further one has twice as many, as long as they are small.
const DOCUMENTS_FIRST: usize = 100;
/// A page that has more bytes is followed by one of half as many documents.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// In which form documents are sent.
#[derive(Debug)]
pub(super) enum Form {
    /// A document a line.
    Lines,
    /// A row each.
    Table(CsvWriter),
}

/// A page that is made.
struct Page {
    bytes: Vec<u8>,
    /// The memory that is counted for it.
    memory: Option<Held>,
    /// Where the next one begins; `None`: it is the last one.
    export: Option<Export>,
}

/// What is sent still.
struct Export {
    name: String,
    request: SearchRequest,
    form: Form,
}

/// Answers with all documents that a search finds.
///
/// # Errors
/// What is wrong from the beginning has a status of its own.
pub(super) async fn all(
    call: &Call,
    access: Access,
    (name, mut request): (String, SearchRequest),
    form: Form,
) -> Result<Response, Problem> {
    if request.aggs.is_some() {
        let detail =
            "aggregations are no documents: leave `aggs` out, or ask for `application/json`";
        return Err(Problem::invalid(detail));
    }
    if matches!(form, Form::Table(_)) && !request.highlight.is_empty() {
        return Err(Problem::invalid("a table shows documents alone: leave `highlight` out"));
    }
    request.limit = DOCUMENTS_FIRST;
    let media_type = match form {
        Form::Lines => NDJSON,
        Form::Table(_) => CSV,
    };
    let door = Arc::clone(&call.http.door);
    let export = Export { name, request, form };
    let mut made: Result<_, Problem> = Ok(export.next_page(&door, access.clone()).await?);
    // A request counts once, however many pages there are.
    let access = access.admitted();
    Ok(chunks::answer(media_type, &call.under_way, async move |chunks| {
        loop {
            let export = match made {
                Ok(Page { bytes, memory, export }) => {
                    if !bytes.is_empty() && !chunks.send(Bytes::from(bytes)).await {
                        return;
                    }
                    drop(memory);
                    export
                }
                Err(problem) if media_type == NDJSON => {
                    let line = format!("{}\n", problem.json());
                    chunks.send(Bytes::from(line)).await;
                    return;
                }
                Err(_) => return chunks.break_off(),
            };
            let Some(export) = export else { return };
            made = tokio::select! {
                made = export.next_page(&door, access.clone()) => made,
                () = chunks.closed() => return,
            };
        }
    }))
}

impl Export {
    /// Makes a page, once there is room for it.
    async fn next_page(self, door: &Door, access: Access) -> Result<Page, Problem> {
        let place = door.place_to_wait().await;
        let made = blocking(move || {
            let page = self.page(&access);
            drop(place);
            page
        });
        let mut page = made.await?;
        let memory = door.memory.take_in_time(page.bytes.len()).await;
        page.memory = Some(memory.ok_or_else(Problem::no_memory)?);
        Ok(page)
    }

    /// Makes a page. Blocks.
    fn page(mut self, access: &Access) -> Result<Page, Problem> {
        let found = access.search(&self.name, &self.request)?;
        let mut bytes = Vec::new();
        match &mut self.form {
            Form::Lines => {
                for hit in &found.hits {
                    serde_json::to_writer(&mut bytes, hit).expect("a document has a JSON form");
                    bytes.push(b'\n');
                }
            }
            Form::Table(table) => {
                let rows = table.page(&found);
                let unavailable =
                    |why: OtherFields| ReadError::Unavailable { reason: why.to_string() };
                bytes = rows.map_err(unavailable)?.into_bytes();
            }
        }
        let limit = self.request.limit;
        self.request.limit = match bytes.len() > PAGE_BYTES {
            true => (limit / 2).max(1),
            false => (limit * 2).min(SEARCH_LIMIT_MAX),
        };
        // No page knows less than the one before.
        let known: Option<Position> = found.as_of_position;
        self.request.min_position = self.request.min_position.max(known);
        self.request.search_after = found.next;
        let export = self.request.search_after.is_some().then_some(self);
        Ok(Page { bytes, memory: None, export })
    }
}

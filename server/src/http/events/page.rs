//! A page: read within bounds of what may be made at a time, and not for anybody who went away.

use std::sync::Arc;

use nexus_node::{Access, EventsIter, Stop};
use nexus_protocol::{Read, ReadError, RecordedEvent};

use super::super::call::{Call, blocking};
use super::super::problem::Problem;

/// A page has no more than about so many bytes of events, and at least one.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Events that were read.
pub(super) struct Page {
    pub(super) events: Vec<RecordedEvent>,
    /// The first that had no place any more.
    pub(super) next: Option<RecordedEvent>,
}

/// Reads a page, and makes of it what `write` does, on a thread that may block. Its place is kept until that
/// thread is through; whoever goes away before ends it.
pub(super) async fn made<T: Send + 'static>(
    call: &Call,
    access: &Access,
    read: Read,
    limit: usize,
    write: impl FnOnce(Page) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Problem> {
    let is_short = read.filter.is_all() && read.as_of.is_none();
    let places = if is_short { &call.http.pages } else { &call.http.searches };
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    let access = access.clone();
    let stop = Stop::default();
    let _ends = stop.on_drop();
    let written = blocking(move || -> Result<_, ReadError> {
        let _place = place;
        let mut events = access.read(read)?.into_iter();
        events.end_at(&stop);
        write(page(events, limit)?)
    });
    Ok(written.await?)
}

/// Reads a page, and the event after it: then it is known that there is more.
fn page(events: EventsIter, limit: usize) -> Result<Page, ReadError> {
    let mut page = Page { events: Vec::new(), next: None };
    let mut bytes = 0;
    for event in events {
        let event = event?;
        if page.events.len() == limit || bytes > PAGE_BYTES_MAX {
            page.next = Some(event);
            break;
        }
        bytes += event.data().len() + event.metadata().len();
        page.events.push(event);
    }
    Ok(page)
}

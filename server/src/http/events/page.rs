//! A page: read within bounds of what may be made at a time, and not for anybody who went away.

use std::sync::Arc;
use std::time::Duration;

use nexus_node::{Access, EventsIter, Stop};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::{Direction, Read, ReadError, RecordedEvent};
use tokio::sync::Notify;

use super::super::call::{Call, blocking};
use super::super::problem::Problem;
use super::super::route::Kind::{Flag, Text};
use super::super::route::Parameter;
use super::shown::followed_link;

/// A page has no more than about so many bytes of events, and at least one.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A page that is full waits so long for where the next one begins: where hardly anything matches, the rest of
/// the log may have nothing more. Far longer than a look at the next event takes on a busy machine, since a page
/// that gives up says that there may be more.
const LOOK_AHEAD_MAX: Duration = Duration::from_secs(1);

/// Which past state is read.
pub(crate) const AS_OF: Parameter = Parameter::new(
    "as_of",
    Text,
    "A past state: `position:N`, `revision:N` (of one stream), or `recorded:TIME`.",
);

/// In which version of their schemas events are shown.
pub(crate) const AS_SCHEMA: Parameter = Parameter::new(
    "as_schema",
    Text,
    "The version of its schema that each event is shown in: `raw` as it is stored, which is so by default, `latest`, or a \
     number.",
);

/// What asks for it that links are followed.
pub(crate) const RESOLVE_LINKS: Parameter = Parameter::new(
    "resolve_links",
    Flag,
    "Links of routes give the events that they lead to, or themselves where the log has those no more; `next` goes on \
     behind the links.",
);

/// Events that were read.
pub(super) struct Page {
    pub(super) events: Vec<RecordedEvent>,
    /// Where the next page begins, a revision of a stream or a position of the log: at the first event that had
    /// no place any more, or behind the last that had, where the look for another was given up. `None`: there is
    /// no more.
    pub(super) next: Option<u64>,
}

/// What a page is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Events, at most.
    pub(super) limit: usize,
    /// What links lead to, in their place.
    pub(super) resolve_links: bool,
}

/// Reads a page, and makes of it what `write` does, on a thread that may block. Its place is kept until that
/// thread is through; whoever goes away before ends it.
pub(super) async fn made<T: Send + 'static>(
    call: &Call,
    access: &Access,
    read: Read,
    Wanted { limit, resolve_links }: Wanted,
    write: impl FnOnce(Page) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Problem> {
    let is_raw = read.as_schema == AsSchema::Raw;
    let is_short = read.filter.is_all() && read.as_of.is_none() && is_raw;
    let places = if is_short { &call.http.pages } else { &call.http.searches };
    let place = call.http.place(places).await;
    let access = access.clone();
    let stop = Stop::default();
    let _ends = stop.on_drop();
    let full = Arc::new(Notify::new());
    let making = Making {
        limit,
        of_stream: read.stream.is_some(),
        direction: read.direction,
        resolve_links: resolve_links.then(|| access.clone()),
        as_schema: read.as_schema,
        stop: stop.clone(),
        full: Arc::clone(&full),
    };
    let written = blocking(move || -> Result<_, ReadError> {
        let _place = place;
        let mut events = access.read(read)?.into_iter();
        events.end_at(&making.stop);
        write(making.page(events)?)
    });
    let mut written = std::pin::pin!(written);
    let looked_ahead = async {
        full.notified().await;
        tokio::time::sleep(LOOK_AHEAD_MAX).await;
    };
    let written = tokio::select! {
        written = &mut written => written,
        () = looked_ahead => {
            stop.stop();
            written.await
        }
    };
    Ok(written?)
}

/// How a page is made.
struct Making {
    limit: usize,
    of_stream: bool,
    direction: Direction,
    /// Whose links are followed.
    resolve_links: Option<Access>,
    as_schema: AsSchema,
    stop: Stop,
    /// Told when it has all its events.
    full: Arc<Notify>,
}

impl Making {
    /// Reads a page, and looks for the event after it: then it is known that there is more.
    fn page(&self, events: EventsIter) -> Result<Page, ReadError> {
        let mut page = Page { events: Vec::new(), next: None };
        let (mut bytes, mut count, mut is_full, mut last) = (0, 0, false, None);
        for event in events {
            let event = match event {
                // What cannot be shown is on the next page.
                Err(ReadError::NotConverted { .. }) if is_full => {
                    page.next = last.and_then(|last| self.behind(last));
                    return Ok(page);
                }
                event => event?,
            };
            // The next page goes on in what is read, wherever its links lead to.
            let place = self.place(&event);
            if is_full {
                page.next = Some(place);
                return Ok(page);
            }
            last = Some(place);
            // A stored event is on one page, with all its parts, and counts once.
            let has_more_parts = event.has_more_parts();
            count += usize::from(!has_more_parts);
            let shown = match &self.resolve_links {
                Some(access) => followed_link(access, event, self.as_schema)?,
                None => vec![event],
            };
            bytes += shown.iter().map(|it| it.data().len() + it.metadata().len()).sum::<usize>();
            page.events.extend(shown);
            is_full = !has_more_parts && (count == self.limit || bytes > PAGE_BYTES_MAX);
            if is_full {
                self.full.notify_one();
            }
        }
        if is_full && self.stop.is_stopped() {
            page.next = last.and_then(|last| self.behind(last));
        }
        Ok(page)
    }

    fn place(&self, event: &RecordedEvent) -> u64 {
        if self.of_stream { event.revision().get() } else { event.position().get() }
    }

    /// The place behind another, if there is one.
    fn behind(&self, place: u64) -> Option<u64> {
        match self.direction {
            Direction::Forwards => place.checked_add(1),
            Direction::Backwards => place.checked_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_node::{Engine, Node, Principal};
    use nexus_protocol::{Append, EventData};

    use super::*;

    #[test]
    fn a_page_whose_look_ahead_is_given_up_goes_on_behind_its_last_event() {
        let engine = Engine::in_memory();
        for stream in ["b", "a", "a", "a"] {
            let event = EventData::json("Counted", &1).unwrap();
            engine.append(Append::to(stream).event(event)).wait().unwrap();
        }
        let node = Node::over(engine).unwrap();
        let access = node.access(Principal::local(), "default").unwrap();
        for (read, given_up, wanted) in [
            (Read::all().limit(2), true, Some(2)),
            (Read::all().limit(2), false, None),
            (Read::all().backwards().limit(2), true, Some(1)),
            (Read::all().backwards().limit(4), true, None),
            (Read::stream("a").limit(2), true, Some(2)),
            (Read::stream("a").backwards().limit(2), true, Some(0)),
            (Read::stream("a").backwards().limit(3), true, None),
            (Read::all(), true, None),
        ] {
            let making = Making {
                limit: read.limit.map_or(1000, |limit| usize::try_from(limit).unwrap()),
                of_stream: read.stream.is_some(),
                direction: read.direction,
                resolve_links: None,
                as_schema: AsSchema::Raw,
                stop: Stop::default(),
                full: Arc::default(),
            };
            if given_up {
                making.stop.stop();
            }
            let shown = format!("{read:?}");
            // The read ends where the page does, as one that is told to.
            let page = making.page(access.read(read).unwrap().into_iter()).unwrap();
            assert_eq!(page.next, wanted, "{shown}, given up: {given_up}");
        }
    }
}

//! [`Reading`]: the events of a read, gathered on threads that may block, a stretch ahead of the reader.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nexus_node::{Access, EventsIter};
use nexus_protocol::{Explain, Read, ReadError, RecordedEvent};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::panic_or;
use crate::read::Explained;

/// The first stretch of a stream's events is small and gathered at once: short reads are complete with
/// it, and need no other thread.
const FIRST_BYTES: usize = 64 * 1024;
/// Later ones are gathered while the one before is delivered (I8: two at a time).
const BYTES: usize = 256 * 1024;

/// A read of the engine of this process. Nothing is looked at before it is polled.
#[derive(Debug)]
pub(crate) struct Reading {
    state: State,
    events: std::vec::IntoIter<RecordedEvent>,
    explain: Explained,
    runtime: Handle,
}

#[derive(Debug)]
enum State {
    New(Box<(Access, Read)>),
    Gathering(JoinHandle<Stretch>),
    Ended(Option<ReadError>),
}

/// Events, and what comes after them.
#[derive(Debug)]
struct Stretch {
    events: Vec<RecordedEvent>,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    More(Box<EventsIter>),
    End(Explain),
    Failed(ReadError),
}

impl Reading {
    pub(crate) fn new(
        access: Result<Access, ReadError>,
        read: Read,
        explain: Explained,
        runtime: Handle,
    ) -> Self {
        let state = match access {
            Ok(access) => State::New(Box::new((access, read))),
            Err(error) => State::Ended(Some(error)),
        };
        Self { state, events: Vec::new().into_iter(), explain, runtime }
    }

    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<RecordedEvent, ReadError>>> {
        loop {
            if let Some(event) = self.events.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            let stretch = match &mut self.state {
                State::New(wanted) => {
                    let (access, read) = (**wanted).clone();
                    // The events of a stream are found at once. Anything else may look at much and
                    // find nothing.
                    let is_short =
                        read.stream.is_some() && read.filter.is_all() && read.as_of.is_none();
                    if !is_short {
                        let gathered = move || begin(&access, read, BYTES);
                        self.state = State::Gathering(self.runtime.spawn_blocking(gathered));
                        continue;
                    }
                    begin(&access, read, FIRST_BYTES)
                }
                State::Gathering(gathering) => {
                    let closed = || Stretch::failed(ReadError::Closed);
                    ready!(Pin::new(gathering).poll(context))
                        .unwrap_or_else(|why| panic_or(why, closed()))
                }
                State::Ended(error) => return Poll::Ready(error.take().map(Err)),
            };
            self.take(stretch);
        }
    }

    /// Delivers a stretch from now on, and has the next one gathered.
    fn take(&mut self, stretch: Stretch) {
        self.events = stretch.events.into_iter();
        self.state = match stretch.rest {
            Rest::More(events) => {
                let gathered = move || gather(events, BYTES);
                State::Gathering(self.runtime.spawn_blocking(gathered))
            }
            Rest::End(explain) => {
                *self.explain.lock().expect("no panic while it is kept") = Some(explain);
                State::Ended(None)
            }
            Rest::Failed(error) => State::Ended(Some(error)),
        };
    }
}

impl Stretch {
    fn failed(error: ReadError) -> Self {
        Self { events: Vec::new(), rest: Rest::Failed(error) }
    }
}

fn begin(access: &Access, read: Read, bytes_max: usize) -> Stretch {
    match access.read(read) {
        Ok(events) => gather(Box::new(events.into_iter()), bytes_max),
        Err(error) => Stretch::failed(error),
    }
}

/// Gathers events until there are so many bytes of them.
fn gather(mut events: Box<EventsIter>, bytes_max: usize) -> Stretch {
    let (mut gathered, mut bytes) = (Vec::new(), 0);
    let rest = loop {
        if bytes >= bytes_max {
            break Rest::More(events);
        }
        match events.next() {
            Some(Ok(event)) => {
                bytes += event.as_bytes().len();
                gathered.push(event);
            }
            Some(Err(error)) => break Rest::Failed(error),
            None => break Rest::End(events.explain()),
        }
    };
    Stretch { events: gathered, rest }
}

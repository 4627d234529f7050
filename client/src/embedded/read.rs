//! [`Reading`]: the events of a read, gathered on threads that may block, a stretch ahead of the reader.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nexus_node::{Access, EventsIter};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::{Explain, Read, ReadError, RecordedEvent};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::panic_or;
use crate::read::Explained;

/// The first stretch of a stream's events is small and gathered at once: short reads are complete with
/// it, and need no other thread. It is bounded by events too, since each may be elsewhere on the disk.
const FIRST: Bounds = Bounds { bytes: 64 * 1024, events: 64 };
/// Later ones are gathered while the one before is delivered (I8: two at a time).
const LATER: Bounds = Bounds { bytes: 256 * 1024, events: usize::MAX };

/// A stretch ends where it has reached one of these.
#[derive(Clone, Copy)]
struct Bounds {
    bytes: usize,
    events: usize,
}

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
                    let is_short = read.stream.is_some()
                        && read.filter.is_all()
                        && read.as_of.is_none()
                        && read.as_schema == AsSchema::Raw;
                    if !is_short {
                        let gathered = move || begin(&access, read, LATER);
                        self.state = State::Gathering(self.runtime.spawn_blocking(gathered));
                        continue;
                    }
                    begin(&access, read, FIRST)
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
                let gathered = move || gather(events, LATER);
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

fn begin(access: &Access, read: Read, bounds: Bounds) -> Stretch {
    match access.read(read) {
        Ok(events) => gather(Box::new(events.into_iter()), bounds),
        Err(error) => Stretch::failed(error),
    }
}

/// Gathers events until there are so many of them.
fn gather(mut events: Box<EventsIter>, bounds: Bounds) -> Stretch {
    let (mut gathered, mut bytes) = (Vec::new(), 0);
    let rest = loop {
        if bytes >= bounds.bytes || gathered.len() >= bounds.events {
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use nexus_node::{Engine, Node, Principal};
    use nexus_protocol::{Append, EventData};

    use super::*;

    #[test]
    fn a_poll_gathers_few_events_however_small() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let node = Node::over(Engine::in_memory()).unwrap();
        let access = node.access(Principal::local(), "default").unwrap();
        let events = (0..1000).map(|number: u64| EventData::json("A", &number).unwrap());
        access.append(Append::to("a").events(events)).unwrap().wait().unwrap();
        for (read, at_once) in [
            (Read::stream("a").limit(3), 3),
            (Read::stream("a"), FIRST.events),
            (Read::stream("a").backwards(), FIRST.events),
        ] {
            let handle = runtime.handle().clone();
            let mut reading = Reading::new(Ok(access.clone()), read, Explained::default(), handle);
            let first = reading.poll_next(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(first, Poll::Ready(Some(Ok(_)))));
            assert_eq!(reading.events.len() + 1, at_once);
        }
    }
}

//! [`Watching`]: a subscription that catches up on threads that may block, and is live on the caller's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use nexus_node::{Access, Subscription};
use nexus_protocol::{ReadError, Subscribe, SubscriptionItem};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::panic_or;

/// So much is gathered at a time while it catches up (I8).
const BYTES: usize = 256 * 1024;
/// Where hardly anything matches, it is delivered after so many markers: each may stand for a thousand
/// positions that were looked at.
const MARKERS_MAX: usize = 16;

type Item = Result<SubscriptionItem, ReadError>;

/// A subscription to the engine of this process. Nothing is looked at before it is polled.
#[derive(Debug)]
pub(crate) struct Watching {
    state: State,
    items: std::vec::IntoIter<Item>,
    /// Whether its reader was told that it had caught up: what comes then is in memory.
    live: bool,
    runtime: Handle,
}

#[derive(Debug)]
enum State {
    New(Box<(Access, Subscribe)>),
    /// Nothing is being gathered.
    Idle(Box<Subscription>),
    Gathering(JoinHandle<(Box<Subscription>, Vec<Item>)>),
    Ended(Option<ReadError>),
}

impl Watching {
    pub(crate) fn new(
        access: Result<Access, ReadError>,
        subscribe: Subscribe,
        runtime: Handle,
    ) -> Self {
        let state = match access {
            Ok(access) => State::New(Box::new((access, subscribe))),
            Err(error) => State::Ended(Some(error)),
        };
        Self { state, items: Vec::new().into_iter(), live: false, runtime }
    }

    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        let next = ready!(self.poll_item(context));
        match &next {
            Some(Ok(SubscriptionItem::CaughtUp { .. })) => self.live = true,
            Some(Ok(SubscriptionItem::FellBehind { .. })) => self.live = false,
            Some(Err(_)) | None => self.state = State::Ended(None),
            Some(Ok(SubscriptionItem::Event(_) | SubscriptionItem::Checkpoint { .. })) => {}
        }
        Poll::Ready(next)
    }

    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        loop {
            if let Some(item) = self.items.next() {
                return Poll::Ready(Some(item));
            }
            match std::mem::replace(&mut self.state, State::Ended(None)) {
                State::New(wanted) => {
                    let (access, subscribe) = *wanted;
                    self.state = match access.subscribe(subscribe) {
                        Ok(subscription) => State::Idle(Box::new(subscription)),
                        Err(error) => State::Ended(Some(error)),
                    };
                }
                State::Idle(mut subscription) if self.live => {
                    let next = Pin::new(&mut *subscription).poll_next(context);
                    self.state = State::Idle(subscription);
                    return next;
                }
                State::Idle(subscription) => {
                    let gathered = move || gather(subscription);
                    self.state = State::Gathering(self.runtime.spawn_blocking(gathered));
                }
                State::Gathering(mut gathering) => match Pin::new(&mut gathering).poll(context) {
                    Poll::Pending => {
                        self.state = State::Gathering(gathering);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok((subscription, items))) => {
                        // Where nothing is there now it is waited for.
                        self.live |= items.is_empty();
                        self.items = items.into_iter();
                        self.state = State::Idle(subscription);
                    }
                    Poll::Ready(Err(why)) => {
                        return Poll::Ready(panic_or(why, Some(Err(ReadError::Closed))));
                    }
                },
                State::Ended(error) => return Poll::Ready(error.map(Err)),
            }
        }
    }
}

/// Gathers what is there now, up to so many bytes.
fn gather(mut subscription: Box<Subscription>) -> (Box<Subscription>, Vec<Item>) {
    let (mut items, mut bytes, mut markers) = (Vec::new(), 0, 0);
    while bytes < BYTES
        && markers < MARKERS_MAX
        && let Some(item) = subscription.try_next()
    {
        match &item {
            Ok(SubscriptionItem::Event(event)) => bytes += event.as_bytes().len(),
            _ => markers += 1,
        }
        let is_last = matches!(item, Err(_) | Ok(SubscriptionItem::CaughtUp { .. }));
        items.push(item);
        if is_last {
            break;
        }
    }
    (subscription, items)
}

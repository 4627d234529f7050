//! Reading the log for the group.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use nexus_protocol::group::GroupMode;
use nexus_protocol::{
    AppendError, EventStore, Position, ReadError, RecordedEvent, Start, Subscribe,
    SubscriptionItem, Timestamp, Unavailable,
};

use super::{Coordinator, Ended, unread};
use crate::group::{Offered, key_of};

/// Events that a group without consumers reads ahead, and no more: it may stay without for ever.
const READ_FOR_NOBODY: usize = 256;
/// Events that one step looks at, at most: answers wait meanwhile.
const EVENTS_A_STEP: usize = 1024;
/// Bytes of events that are kept until they are delivered; what is beyond is read again.
const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where the log is read.
pub(super) struct Feed<S: EventStore> {
    subscription: Option<S::Subscription>,
    /// It reads whatever there is, for what another filter took.
    reads_all: bool,
    cache: HashMap<u64, RecordedEvent>,
    bytes: usize,
    /// Whether all there is was looked at, when it was last tried.
    is_at_end: bool,
    /// Why the log cannot be read on: what was read before is delivered all the same.
    broken: Option<AppendError>,
}

impl<S: EventStore> Default for Feed<S> {
    fn default() -> Self {
        Self {
            subscription: None,
            reads_all: false,
            cache: HashMap::new(),
            bytes: 0,
            is_at_end: false,
            broken: None,
        }
    }
}

impl<S: EventStore> Feed<S> {
    /// The log is to be read from another place, or for other events.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    pub(super) fn broken(&self) -> Option<&AppendError> {
        self.broken.as_ref()
    }

    /// Reads on where it could not.
    pub(super) fn retry(&mut self) {
        if self.broken.take().is_some() {
            self.subscription = None;
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Takes out the event at a position.
    pub(super) fn take(&mut self, position: Position) -> Option<RecordedEvent> {
        let event = self.cache.remove(&position.get())?;
        self.bytes -= event.as_bytes().len();
        Some(event)
    }

    /// Gives up what it keeps: it is read again.
    pub(super) fn forget(&mut self) {
        (self.cache, self.bytes) = (HashMap::new(), 0);
    }

    /// Keeps an event until it is delivered. A copy: what was read may be a small part of a large buffer, which it would
    /// hold.
    fn keep(&mut self, event: &RecordedEvent) {
        let bytes = event.as_bytes();
        if self.bytes + bytes.len() > CACHE_BYTES_MAX {
            return;
        }
        if let Ok(copy) = RecordedEvent::decode_covered(Bytes::copy_from_slice(bytes)) {
            self.bytes += bytes.len();
            self.cache.insert(event.position().get(), copy);
        }
    }
}

impl<S: EventStore> Coordinator<S> {
    /// Reads on, where more is wanted.
    pub(super) fn feed(&mut self, context: &mut Context<'_>, now: Timestamp) -> Result<(), Ended> {
        for _ in 0..EVENTS_A_STEP {
            if !self.wants_more() || self.feed.broken.is_some() {
                self.feed.is_at_end = self.feed.broken.is_some();
                return Ok(());
            }
            let Some(subscription) = self.subscription() else {
                self.feed.is_at_end = true;
                return Ok(());
            };
            match subscription.poll_next(context) {
                Poll::Pending => {
                    self.feed.is_at_end = true;
                    return Ok(());
                }
                Poll::Ready(Some(Ok(item))) => self.fed(item, now),
                // Nothing stands behind it in memory that this one could not go on without.
                Poll::Ready(Some(Err(error @ ReadError::Corruption { .. }))) => {
                    self.feed.broken = Some(unread(error));
                }
                Poll::Ready(Some(Err(error))) => return Err(Ended::Failed(unread(error))),
                Poll::Ready(None) => {
                    let closed = AppendError::Unavailable(Unavailable::Closed);
                    return Err(Ended::Failed(closed));
                }
            }
        }
        self.feed.is_at_end = false;
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Whether more is to be read.
    pub(super) fn wants_more(&self) -> bool {
        let is_for_nobody =
            self.group.member_count() == 0 && self.group.stats().open >= READ_FOR_NOBODY;
        self.group.wants_more() && !is_for_nobody
    }

    /// Where the log is read; `None`: it gets nothing. Where no route leads to it yet, it stays where it is until one
    /// does.
    fn subscription(&mut self) -> Option<Pin<&mut S::Subscription>> {
        // Its consumers have groups of their own, which read.
        if self.config.mode == GroupMode::Broadcast {
            return None;
        }
        let reads_all = self.group.refiltered().is_some();
        if self.feed.subscription.is_none() || self.feed.reads_all != reads_all {
            let subscribe = match reads_all {
                true => Subscribe::all().system(),
                false => Subscribe::all().filter(self.config.reads()?),
            };
            let subscribe = subscribe.start(Start::At(self.group.reads_from()));
            self.feed.subscription = Some(self.store.subscribe(subscribe));
            self.feed.reads_all = reads_all;
        }
        self.feed.subscription.as_mut().map(Pin::new)
    }

    /// Whether an event that was read is for the group.
    fn is_for_group(&self, event: &RecordedEvent) -> bool {
        match self.group.refiltered() {
            // By what was decided then.
            Some(_) => self.group.state().is_open(event.position()),
            // Also what is read for a route may not fulfil its conditions.
            None => self.config.branches.is_empty() || self.config.takes(event),
        }
    }

    fn fed(&mut self, item: SubscriptionItem, now: Timestamp) {
        // What was read with everything else stands before; what comes from there on is read anew, with today's filter.
        let until = self.group.refiltered();
        let bound = |position: Position| {
            let next = Position::new(position.get() + 1);
            until.map_or(next, |until| next.min(until))
        };
        match item {
            SubscriptionItem::Event(event)
                if until.is_some_and(|until| event.position() >= until) =>
            {
                self.group.pass(bound(event.position()));
            }
            SubscriptionItem::Event(event) if !self.is_for_group(&event) => {
                self.group.pass(bound(event.position()));
            }
            SubscriptionItem::Event(event) => {
                let key = match self.config.mode {
                    GroupMode::Unordered => 0,
                    GroupMode::Ordered | GroupMode::Broadcast => {
                        key_of(&self.config.lane_by, &event)
                    }
                };
                let not_before = event.not_before();
                self.group.offer(Offered { position: event.position(), key, not_before }, now);
                // What waits for its time would take the room of what does not: it is read again when it has come.
                let waits = not_before.is_some_and(|at| at > now);
                if self.group.member_count() > 0 && !waits {
                    self.feed.keep(&event);
                }
            }
            SubscriptionItem::CaughtUp { position: None } => {}
            SubscriptionItem::Checkpoint { position }
            | SubscriptionItem::CaughtUp { position: Some(position) } => {
                self.group.pass(bound(position));
            }
            SubscriptionItem::FellBehind { .. } => {}
        }
    }
}

//! Subscriptions: one loop of reading up to the watermark and waiting for the watermark.
//!
//! There is no hand-off between catching up and live, so there is no gap and no duplicate. A slow
//! reader is parked on its position and reads the log again: nothing is buffered for it, and it is
//! never cut off.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use nexus_protocol::{
    Block, Filter, FilterItem, Position, ReadError, RecordedEvent, Start, Subscribe,
    SubscriptionEvents, SubscriptionItem, SubscriptionStream, names,
};

use crate::index::Index;
use crate::log::Log;
use crate::read::{Reader, Step, Within};
use crate::watermark::{Wait, WaiterSlot, Watermark};

/// Positions between two checkpoints, at most, unless asked otherwise.
const CHECKPOINT_EVERY: u64 = 1024;
/// A live reader that is so many positions behind is told.
const FELL_BEHIND: u64 = 4096;
/// Positions that one poll looks at without finding anything, at most: others run on the same thread.
const POLL_POSITIONS: u64 = 1024;

/// A subscription. It ends with an error, such as that the store was closed, or when it is dropped.
pub struct Subscription {
    log: Arc<Log>,
    index: Arc<Index>,
    filter: Filter,
    system: bool,
    checkpoint_every: u64,
    /// The next position to look at.
    next: u64,
    /// The first position after the last checkpoint.
    checkpointed: u64,
    reader: Option<(Box<Reader>, u64)>,
    live: bool,
    ready: VecDeque<Result<SubscriptionItem, ReadError>>,
    failed: bool,
    waiter: WaiterSlot<Arc<Watermark>>,
}

/// How long a wait goes on, markers and what does not match included.
struct Until {
    /// On the clock from boot; `None`: for ever.
    deadline: Option<Duration>,
    /// What was committed when it began is looked at, however late it gets.
    there: u64,
}

/// Opens a subscription.
pub(crate) fn open(log: &Arc<Log>, index: &Arc<Index>, subscribe: Subscribe) -> Subscription {
    let next = match subscribe.start {
        Start::Beginning => 0,
        Start::After(position) => position.get().saturating_add(1),
        Start::At(position) => position.get(),
        Start::End => log.committed.get(),
    };
    let mut ready = VecDeque::new();
    let mut filter = subscribe.filter;
    if let Err(invalid) = filter.check() {
        ready.push_back(Err(invalid.into()));
    }
    if let Some(stream) = subscribe.stream {
        if let Err(name) = names::check_stream_name(&stream) {
            ready.push_back(Err(name.into()));
        }
        filter = of_stream(&filter, &stream);
    }
    Subscription {
        failed: !ready.is_empty(),
        waiter: WaiterSlot::new(Arc::clone(&log.committed)),
        log: Arc::clone(log),
        index: Arc::clone(index),
        filter,
        system: subscribe.system,
        checkpoint_every: match subscribe.checkpoint_every {
            0 => CHECKPOINT_EVERY,
            every => every,
        },
        next,
        checkpointed: next,
        reader: None,
        live: false,
        ready,
    }
}

/// The filter, of one stream only.
fn of_stream(filter: &Filter, stream: &str) -> Filter {
    let one = |item: &FilterItem| {
        let named = item.streams.is_empty() || item.streams.iter().any(|name| name == stream);
        named.then(|| FilterItem { streams: vec![stream.to_owned()], ..item.clone() })
    };
    if filter.is_all() {
        return Filter::any(one(&FilterItem::default()));
    }
    let alternatives: Vec<_> = filter.alternatives().iter().filter_map(one).collect();
    if alternatives.is_empty() {
        // Another stream was named: nothing can match. A name that cannot be given matches nothing.
        return Filter::any([FilterItem { streams: vec![String::new()], ..FilterItem::default() }]);
    }
    Filter::any(alternatives)
}

impl Subscription {
    /// The events, without the markers between them.
    pub fn events(self) -> LiveEvents {
        LiveEvents(SubscriptionStream::events(self))
    }

    /// The next item, waiting for it at most for `timeout`; `None` when the time is up. What is there
    /// already is looked at in any case.
    pub fn next_blocking(
        &mut self,
        timeout: Option<Duration>,
    ) -> Option<Result<SubscriptionItem, ReadError>> {
        let until = self.until(timeout);
        self.next_until(&until)
    }

    fn next_until(&mut self, until: &Until) -> Option<Result<SubscriptionItem, ReadError>> {
        loop {
            if let Some(item) = self.next_there(until, None) {
                return Some(item);
            }
            if self.failed {
                return None;
            }
            let now = self.log.disk.boot_time();
            let left = until.deadline.map(|deadline| deadline.saturating_sub(now));
            match self.log.committed.wait_beyond(self.next, left) {
                // What keeps coming need not be what is waited for.
                Wait::Reached(_) if self.is_over(until) => return None,
                Wait::Reached(_) => {}
                Wait::TimedOut => return None,
                Wait::Closed => {
                    let end = self.log.end_of_waiting();
                    return Some(self.fail(end));
                }
            }
        }
    }

    fn until(&self, timeout: Option<Duration>) -> Until {
        let now = self.log.disk.boot_time();
        let deadline = timeout.map(|timeout| now.saturating_add(timeout));
        Until { deadline, there: self.log.committed.get() }
    }

    fn is_over(&self, until: &Until) -> bool {
        let in_time = |deadline| self.log.disk.boot_time() < deadline;
        self.next >= until.there && !until.deadline.is_none_or(in_time)
    }

    /// The next item if there is one now.
    pub fn try_next(&mut self) -> Option<Result<SubscriptionItem, ReadError>> {
        self.next_there(&Until { deadline: None, there: 0 }, None)
    }

    /// The next events as a block, as it is stored, for whoever hands it on without looking into it: at most
    /// `events_max`, of a subscription to the whole log without a filter, and none of them hidden. A
    /// checkpoint that is due within it comes behind it. `None`: ask for the next item.
    pub fn next_block(&mut self, events_max: u64) -> Option<Block> {
        if self.failed || !self.ready.is_empty() {
            return None;
        }
        if self.reader.is_none() {
            self.log.refuse_ended().ok()?;
            if let Some(item) = self.open_reader() {
                self.ready.push_back(Ok(item));
                return None;
            }
        }
        let checkpoint_at = self.checkpointed.saturating_add(self.checkpoint_every);
        let (reader, bound) = self.reader.as_mut()?;
        // Markers come half as often as asked, at worst.
        let ends_before = checkpoint_at.saturating_add(self.checkpoint_every);
        let block =
            reader.next_block(Within { begins_before: checkpoint_at, ends_before, events_max })?;
        let position = block.last().get();
        assert!(u64::from(block.count()) <= events_max, "as many as were asked for, or fewer");
        assert!(self.next <= position && position < *bound, "in order, and no repeat");
        self.next = position + 1;
        if self.next - self.checkpointed >= self.checkpoint_every {
            let checkpoint = self.checkpoint();
            self.ready.push_back(Ok(checkpoint));
        }
        Some(block)
    }

    /// The next item of what is committed; gives up where nothing was found and the time is up, or all
    /// below `stop_at` was looked at.
    fn next_there(
        &mut self,
        until: &Until,
        stop_at: Option<u64>,
    ) -> Option<Result<SubscriptionItem, ReadError>> {
        if let Some(item) = self.ready.pop_front() {
            return Some(item);
        }
        if self.failed {
            return None;
        }
        loop {
            let checkpoint_at = self.checkpointed.saturating_add(self.checkpoint_every);
            if self.has_reached(stop_at) {
                return None;
            }
            let Some((reader, bound)) = &mut self.reader else {
                if let Err(closed) = self.log.refuse_ended() {
                    return Some(self.fail(closed));
                }
                if let Some(item) = self.open_reader() {
                    return Some(Ok(item));
                }
                self.reader.as_ref()?;
                continue;
            };
            match reader.next_before(checkpoint_at.min(stop_at.unwrap_or(u64::MAX))) {
                Ok(Step::Event(event)) => {
                    let position = event.position().get();
                    assert!(self.next <= position && position < *bound, "in order, and no repeat");
                    self.next = event.position().get() + 1;
                    if self.next - self.checkpointed >= self.checkpoint_every {
                        let checkpoint = self.checkpoint();
                        self.ready.push_back(Ok(checkpoint));
                    }
                    return Some(Ok(SubscriptionItem::Event(event)));
                }
                // Where nothing matches there is a place to start after all the same.
                Ok(Step::Paused(position)) => {
                    assert!(position > self.checkpointed, "a pause leads on");
                    assert!(self.next <= position, "and passes nothing twice");
                    self.next = position;
                    if position >= checkpoint_at {
                        return Some(Ok(self.checkpoint()));
                    }
                }
                Ok(Step::End) => {
                    let bound = *bound;
                    assert!(self.next <= bound, "a stretch ends where it was said to");
                    let silent = bound > self.next;
                    self.next = bound;
                    self.reader = None;
                    if silent && self.next - self.checkpointed >= self.checkpoint_every {
                        return Some(Ok(self.checkpoint()));
                    }
                    // That all was delivered is said first, where it was.
                    let behind = self.next < self.log.committed.get();
                    if self.is_over(until) && (self.live || behind) {
                        return None;
                    }
                }
                Err(error) => return Some(self.fail(error)),
            }
        }
    }

    fn has_reached(&self, stop_at: Option<u64>) -> bool {
        stop_at.is_some_and(|stop_at| self.next >= stop_at)
    }

    /// Opens the next stretch, if there is one; otherwise says, once, that all was delivered.
    fn open_reader(&mut self) -> Option<SubscriptionItem> {
        let bound = self.log.committed.get();
        if self.next >= bound {
            if self.live {
                return None;
            }
            self.live = true;
            let position = self.next.min(bound).checked_sub(1).map(Position::new);
            return Some(SubscriptionItem::CaughtUp { position });
        }
        if self.live && bound - self.next > FELL_BEHIND {
            self.live = false;
            let position = self.next.checked_sub(1).map(Position::new);
            return Some(SubscriptionItem::FellBehind { position });
        }
        let reader =
            Reader::catch_up(&self.log, &self.index, &self.filter, self.system, self.next, bound);
        self.reader = Some((Box::new(reader), bound));
        None
    }

    fn checkpoint(&mut self) -> SubscriptionItem {
        assert!(self.checkpointed < self.next, "a checkpoint leads on");
        self.checkpointed = self.next;
        SubscriptionItem::Checkpoint { position: Position::new(self.next - 1) }
    }

    fn fail(&mut self, error: ReadError) -> Result<SubscriptionItem, ReadError> {
        assert!(!self.failed, "an end is told once");
        self.failed = true;
        self.reader = None;
        Err(error)
    }
}

impl Stream for Subscription {
    type Item = Result<SubscriptionItem, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Who waits for what is that far away finds nothing to look at.
        let stop_at = self.next.checked_add(POLL_POSITIONS);
        let for_ever = Until { deadline: None, there: 0 };
        loop {
            if let Some(item) = self.next_there(&for_ever, stop_at) {
                return Poll::Ready(Some(item));
            }
            if self.failed {
                return Poll::Ready(None);
            }
            if self.has_reached(stop_at) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let this = &mut *self;
            match this.waiter.poll_beyond(this.next, context.waker()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => {
                    let end = this.log.end_of_waiting();
                    return Poll::Ready(Some(this.fail(end)));
                }
            }
        }
    }
}

/// The events of a subscription, without its markers: a stream, or an iterator that waits for them.
#[derive(Debug)]
pub struct LiveEvents(SubscriptionEvents<Subscription>);

impl LiveEvents {
    /// The next event, waiting for it at most for `timeout`; `None` when the time is up.
    pub fn next_blocking(
        &mut self,
        timeout: Option<Duration>,
    ) -> Option<Result<RecordedEvent, ReadError>> {
        let subscription = self.0.get_mut();
        let until = subscription.until(timeout);
        loop {
            match subscription.next_until(&until)? {
                Ok(item) => {
                    if let Some(event) = item.event() {
                        return Some(Ok(event));
                    }
                    // A marker is not what is waited for.
                    if subscription.is_over(&until) {
                        return None;
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Stream for LiveEvents {
    type Item = Result<RecordedEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context)
    }
}

impl IntoIterator for LiveEvents {
    type Item = Result<RecordedEvent, ReadError>;
    type IntoIter = LiveEventsIter;

    fn into_iter(self) -> LiveEventsIter {
        LiveEventsIter(self)
    }
}

/// The events of a subscription, one after the other. It waits for what comes, and ends only with an
/// error.
#[derive(Debug)]
pub struct LiveEventsIter(LiveEvents);

impl Iterator for LiveEventsIter {
    type Item = Result<RecordedEvent, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_blocking(None)
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("next", &self.next)
            .field("live", &self.live)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

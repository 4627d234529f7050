//! A subscription, and what the model says that it must deliver.
//!
//! It looks at the log in stretches: what is visible is decided when a stretch is begun, which is
//! when the one before is delivered and the log has gone on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_core::Stream;
use nexus_engine::{Engine, Subscription};
use nexus_protocol::{Position, ReadError, Start, Subscribe, SubscriptionItem};

use super::naive::{Naive, selects};

/// How often a checkpoint comes unless asked otherwise.
const CHECKPOINT_EVERY: u64 = 1024;
/// A live reader that is so many positions behind is told.
const FELL_BEHIND: u64 = 4096;

/// What came of a look at a subscription.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) events: u64,
    pub(crate) live_events: u64,
    pub(crate) checkpoints: u64,
    /// Checkpoints behind which the next item was no event of theirs: nothing had matched.
    pub(crate) silent: u64,
    pub(crate) caught_up: u64,
    pub(crate) fell_behind: u64,
}

/// Whether somebody woke the task.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) struct Watch {
    subscription: Subscription,
    request: Subscribe,
    every: u64,
    /// The first position that was not looked at in stretches before this one.
    next: u64,
    /// The first position that nothing has been heard of.
    heard: u64,
    /// Where this stretch ends, and what it has still to deliver.
    stretch: Option<(u64, VecDeque<usize>)>,
    live: bool,
    checkpointed: u64,
    last_checkpoint: Option<Position>,
    pub(crate) delivered: Delivered,
}

impl Watch {
    pub(crate) fn new(engine: &Engine, naive: &Naive, request: Subscribe) -> Self {
        let next = match request.start {
            Start::Beginning => 0,
            Start::After(position) => position.get().saturating_add(1),
            Start::At(position) => position.get(),
            Start::End => naive.next(),
        };
        Self {
            subscription: engine.subscribe(request.clone()),
            every: if request.checkpoint_every == 0 {
                CHECKPOINT_EVERY
            } else {
                request.checkpoint_every
            },
            request,
            next,
            heard: next,
            stretch: None,
            live: false,
            checkpointed: next,
            last_checkpoint: None,
            delivered: Delivered::default(),
        }
    }

    /// The same subscription after a restart: it goes on after its last checkpoint, or after what it
    /// has heard of.
    pub(crate) fn resumed(&self, engine: &Engine, naive: &Naive, from_checkpoint: bool) -> Self {
        let mut request = self.request.clone();
        request.start = match self.last_checkpoint {
            Some(position) if from_checkpoint => Start::After(position),
            _ => Start::At(Position::new(self.heard)),
        };
        let delivered = self.delivered;
        Self { delivered, ..Self::new(engine, naive, request) }
    }

    /// Takes up to `count` items; answers whether there was none left.
    pub(crate) fn take(&mut self, naive: &mut Naive, count: u64, how: u64) -> bool {
        for _ in 0..count {
            let item = match how % 3 {
                0 => self.subscription.try_next(),
                1 => self.subscription.next_blocking(Some(Duration::ZERO)),
                _ => self.poll(),
            };
            match item {
                Some(Ok(item)) => self.check(naive, item),
                Some(Err(error)) => panic!("{:?}: {error}", self.request),
                None => {
                    self.check_end(naive);
                    return true;
                }
            }
        }
        false
    }

    fn poll(&mut self) -> Option<Result<SubscriptionItem, ReadError>> {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self.subscription).poll_next(&mut context) {
                // It only lets others run.
                Poll::Pending if woken.0.swap(false, Ordering::SeqCst) => {}
                Poll::Pending => return None,
                Poll::Ready(item) => return Some(item.expect("a subscription has no end")),
            }
        }
    }

    /// After a failed sync: what is committed is delivered, and then it says why there is no more.
    pub(crate) fn poisoned(&mut self, naive: &mut Naive, blocking: bool) {
        loop {
            let item = if blocking { self.subscription.next_blocking(None) } else { self.poll() };
            match item {
                Some(Ok(item)) => self.check(naive, item),
                Some(Err(ReadError::Poisoned { at })) => {
                    self.check_end(naive);
                    assert_eq!(at.map_or(0, |at| at.get() + 1), naive.next());
                    return;
                }
                other => panic!("{:?}: {other:?}", self.request),
            }
        }
    }

    /// Goes on to the next stretch if this one is delivered.
    fn settle(&mut self, naive: &Naive) {
        if let Some((end, left)) = &self.stretch
            && left.is_empty()
        {
            self.next = *end;
            self.stretch = None;
        }
        let end = naive.next();
        if self.stretch.is_none() && self.next < end && !self.is_behind(naive) {
            let wanted = |position: &usize| self.wants(naive, *position);
            let (from, to) = (usize::try_from(self.next).unwrap(), usize::try_from(end).unwrap());
            self.stretch = Some((end, (from..to).filter(wanted).collect()));
        }
    }

    fn is_behind(&self, naive: &Naive) -> bool {
        self.live && naive.next().saturating_sub(self.next) > FELL_BEHIND
    }

    fn wants(&self, naive: &Naive, position: usize) -> bool {
        let event = &naive.log[position];
        let request = &self.request;
        let system =
            request.system || request.stream.as_ref().is_some_and(|stream| stream.starts_with('$'));
        request.stream.as_ref().is_none_or(|stream| *stream == event.stream)
            && selects(&request.filter, event, system)
            && naive.visible(position)
    }

    fn check(&mut self, naive: &mut Naive, item: SubscriptionItem) {
        match item {
            SubscriptionItem::Event(event) => {
                self.settle(naive);
                let (_, left) = self.stretch.as_mut().expect("there is nothing to deliver");
                let position = left.pop_front().expect("nothing more matches in this stretch");
                naive.check(position, &event);
                let position = position as u64;
                assert!(position - self.checkpointed < self.every, "a checkpoint is overdue");
                self.heard = position + 1;
                self.delivered.events += 1;
                self.delivered.live_events += u64::from(self.live);
            }
            SubscriptionItem::Checkpoint { position } => {
                let next = position.get() + 1;
                // What was heard of, or belongs to this stretch, does not begin the next one.
                let inside = self.stretch.as_ref().is_some_and(|(end, _)| next <= *end);
                if next > self.heard && !inside {
                    self.settle(naive);
                }
                assert!(next >= self.heard && next > self.checkpointed && next <= naive.next());
                if let Some((_, left)) = &self.stretch
                    && let Some(missed) = left.front()
                {
                    assert!(*missed as u64 >= next, "{missed} is left out");
                }
                self.delivered.checkpoints += 1;
                self.delivered.silent += u64::from(next > self.heard);
                (self.heard, self.checkpointed) = (next, next);
                self.last_checkpoint = Some(position);
            }
            SubscriptionItem::CaughtUp { position } => {
                self.settle(naive);
                assert!(!self.live, "it was told before");
                self.check_delivered(naive);
                let last = self.next.min(naive.next()).checked_sub(1);
                assert_eq!(position.map(Position::get), last);
                self.heard = self.next;
                self.live = true;
                self.delivered.caught_up += 1;
            }
            SubscriptionItem::FellBehind { position } => {
                self.settle(naive);
                assert!(self.stretch.is_none() && self.is_behind(naive));
                assert_eq!(position.map(Position::get), self.next.checked_sub(1));
                self.live = false;
                self.delivered.fell_behind += 1;
            }
        }
    }

    fn check_end(&mut self, naive: &Naive) {
        self.settle(naive);
        self.check_delivered(naive);
        assert!(self.live, "it has to say that it caught up");
        self.heard = self.next;
        let silent = self.next.saturating_sub(self.checkpointed);
        assert!(silent < self.every, "a checkpoint is overdue: {silent} positions");
    }

    fn check_delivered(&mut self, naive: &Naive) {
        if let Some((end, left)) = &self.stretch {
            assert!(left.is_empty(), "{:?}: {left:?} are not delivered", self.request);
            self.next = *end;
            self.stretch = None;
        }
        assert!(self.next >= naive.next(), "{} of {} were looked at", self.next, naive.next());
    }
}

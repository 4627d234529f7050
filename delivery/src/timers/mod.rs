//! [`Scheduler`]: fires the timers of a namespace over a store, one step at a time.
//!
//! It follows the events of the streams `$timer-…`, and holds for each timer that is armed where the event stands that
//! armed it. When the time has come, the timer's event and `$TimerFired` are one append, on the condition that nothing
//! stands behind the event that armed it: whether it was disarmed, armed anew, or fired before, by whomever, the append
//! conflicts, and that arming is over. A second scheduler does no harm.
//!
//! It has neither a thread nor a clock: whoever runs it calls [`Scheduler::poll`] when it is woken, or when the time has
//! come that [`Scheduler::next_tick`] names. When it ends, nothing is lost: it is opened again from what is durable.

mod checkpoint;
mod fire;
mod machine;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use nexus_protocol::group::Failure;
use nexus_protocol::limits::TIMER_ATTEMPTS_MAX;
use nexus_protocol::timer::{
    TIMER_ARMED, TIMER_CATEGORY, TIMER_DISARMED, TIMER_FAILED, TIMER_FIRED, TIMER_PREFIX, Timer,
    TimerFailure, TimerList,
};
use nexus_protocol::{
    Append, AppendError, EventStore, Filter, Position, ReadError, RecordedEvent, Start, Subscribe,
    SubscriptionItem, Timestamp, Unavailable,
};
use tokio::sync::mpsc;

use self::fire::Outcome;
pub use self::machine::{Due, Timers};
use crate::coordinator::{Ask, unread};

/// Questions that may wait for a scheduler.
pub const LISTS_MAX: usize = 64;
/// Events that one step looks at, at most.
const EVENTS_A_STEP: usize = 1024;
/// Timers that are fired at a time, at most: their appends share the store's syncs.
const FIRING_MAX: usize = 64;
/// After so many events of timers it is noted where a start has to read from.
const CHECKPOINT_EVENTS: u64 = 1_000;
/// The pause after the first try that failed; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The ids of timers that were asked for, and whether there are more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The ids, sorted.
    pub ids: Vec<Arc<str>>,
    /// Whether there are more.
    pub more: bool,
}

/// Why a scheduler has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nobody can ask it anything any more.
    Unused,
    /// The store cannot be read, or takes no more.
    Failed(AppendError),
}

/// How the timers are, and what happened since the scheduler was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Timers that are armed.
    pub armed: u64,
    /// Timers that failed, and wait for a decision.
    pub failed: u64,
    /// Timers fired.
    pub fired: u64,
    /// How late they were, all together, in microseconds.
    pub late_us: u64,
    /// Tries that failed.
    pub failures: u64,
    /// When the next one is due: since when it was, if that is past.
    pub next_due: Option<Timestamp>,
}

/// A timer that is being fired, or given up.
struct Firing {
    due: Due,
    outcome: Boxed<Outcome>,
}

/// Whether the events of a timer may be appended, asked right before they are: what is noted in them meanwhile is stored.
pub type Admit = Arc<dyn Fn(&mut Append) -> Result<(), AppendError> + Send + Sync>;

/// Fires the timers of a namespace. See the [module](self).
pub struct Scheduler<S: EventStore> {
    store: S,
    admit: Admit,
    timers: Timers,
    inbox: mpsc::Receiver<Ask<TimerList, Listed>>,
    /// Reading where to begin.
    opening: Option<Boxed<Result<Position, AppendError>>>,
    subscription: Option<S::Subscription>,
    /// All before it was looked at.
    read_to: Position,
    /// Whether all there was when it was opened has been looked at.
    is_at_end: bool,
    firing: Vec<Firing>,
    saving: Option<Boxed<()>>,
    /// What was noted last, and how many events of timers came since.
    noted: Option<Position>,
    since_noted: u64,
    gauges: Gauges,
}

/// The next item of a stream.
async fn next<T: Stream + Unpin>(stream: &mut T) -> Option<T::Item> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

impl<S: EventStore> Scheduler<S> {
    /// Over a store that may append to streams of the system. What it is asked comes by `inbox`.
    pub fn new(store: S, admit: Admit, inbox: mpsc::Receiver<Ask<TimerList, Listed>>) -> Self {
        Self {
            opening: Some(Box::pin(checkpoint::load(store.clone()))),
            store,
            admit,
            timers: Timers::new(),
            inbox,
            subscription: None,
            read_to: Position::ZERO,
            is_at_end: false,
            firing: Vec::new(),
            saving: None,
            noted: None,
            since_noted: 0,
            gauges: Gauges::default(),
        }
    }

    /// Does what there is to do. `Pending`: it is to be called when `context` is woken, or when the time comes that
    /// [`Scheduler::next_tick`] names. `Ready`: it has ended.
    pub fn poll(&mut self, context: &mut Context<'_>, now: Timestamp) -> Poll<Ended> {
        match self.step(context, now) {
            Ok(()) => Poll::Pending,
            Err(ended) => {
                let error = match &ended {
                    Ended::Failed(error) => error.clone(),
                    Ended::Unused => AppendError::Unavailable(Unavailable::Closed),
                };
                self.inbox.close();
                while let Ok(Ask { reply, .. }) = self.inbox.try_recv() {
                    drop(reply.send(Err(error.clone())));
                }
                Poll::Ready(ended)
            }
        }
    }

    fn step(&mut self, context: &mut Context<'_>, now: Timestamp) -> Result<(), Ended> {
        // Also in the midst of reading: whoever closes does not wait for all of it.
        if self.inbox.is_closed() && self.inbox.is_empty() {
            return Err(Ended::Unused);
        }
        if let Some(opening) = &mut self.opening {
            let Poll::Ready(from) = opening.as_mut().poll(context) else { return Ok(()) };
            self.opening = None;
            self.read_to = from.map_err(Ended::Failed)?;
        }
        self.read(context)?;
        self.answer(context)?;
        self.hear(context, now)?;
        self.fire(context, now)?;
        self.note(context);
        Ok(())
    }

    /// When it is to be called next, if nothing wakes it before.
    pub fn next_tick(&self) -> Option<Timestamp> {
        // Whoever is being fired wakes it, and so does what is still to be read.
        let is_ready = self.is_at_end && self.firing.len() < FIRING_MAX;
        self.timers.next_due().filter(|_| is_ready)
    }

    /// How the timers are.
    pub fn gauges(&self) -> Gauges {
        let firing = self.firing.iter().map(|it| it.due.due_at).min();
        Gauges {
            armed: self.timers.armed() as u64,
            failed: self.timers.failed() as u64,
            next_due: [firing, self.timers.next_due()].into_iter().flatten().min(),
            ..self.gauges
        }
    }

    /// Reads what is said of timers.
    fn read(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        for _ in 0..EVENTS_A_STEP {
            let (store, from) = (&self.store, self.read_to);
            let subscription = self.subscription.get_or_insert_with(|| {
                // Their category is posted in the index: nothing else is read.
                let filter = Filter::category(TIMER_CATEGORY);
                store.subscribe(Subscribe::all().start(Start::At(from)).filter(filter))
            });
            match Pin::new(subscription).poll_next(context) {
                // Also in the midst of much that is not for it: only a marker says that all there was has come.
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(SubscriptionItem::Event(event)))) => {
                    self.read_to = event.position().next();
                    self.since_noted += 1;
                    self.take(&event);
                }
                Poll::Ready(Some(Ok(SubscriptionItem::Checkpoint { position }))) => {
                    self.read_to = self.read_to.max(position.next());
                }
                Poll::Ready(Some(Ok(SubscriptionItem::CaughtUp { position }))) => {
                    let next = position.map_or(Position::ZERO, Position::next);
                    self.read_to = self.read_to.max(next);
                    self.is_at_end = true;
                }
                Poll::Ready(Some(Ok(SubscriptionItem::FellBehind { .. }))) => {
                    self.is_at_end = false;
                }
                // What is behind it is right all the same: the condition of an append decides what fires.
                Poll::Ready(Some(Err(ReadError::Corruption { resume_at: Some(at), .. }))) => {
                    self.gauges.failures += 1;
                    self.read_to = self.read_to.max(at);
                    self.subscription = None;
                }
                Poll::Ready(Some(Err(error))) => return Err(Ended::Failed(unread(error))),
                Poll::Ready(None) => {
                    return Err(Ended::Failed(AppendError::Unavailable(Unavailable::Closed)));
                }
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    fn take(&mut self, event: &RecordedEvent) {
        let Some(id) = event.stream().strip_prefix(TIMER_PREFIX) else { return };
        let (revision, position) = (event.revision(), event.position());
        match event.event_type() {
            TIMER_ARMED => {
                // One that says nothing of use is due at once: it fails then, and is seen.
                let timer = Timer::from_armed(event.data());
                let due_at = timer.map_or(event.recorded_at(), |timer| timer.due_at);
                self.timers.arm(id, due_at, revision, position);
            }
            TIMER_FAILED => self.timers.fail(id, revision, position),
            TIMER_DISARMED | TIMER_FIRED => self.timers.end(id),
            // A later version may say more.
            _ => {}
        }
    }

    /// Answers what is asked, from all that was durable when it was.
    fn answer(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        if !self.is_at_end {
            return Ok(());
        }
        for _ in 0..LISTS_MAX {
            let Poll::Ready(asked) = self.inbox.poll_recv(context) else { return Ok(()) };
            // What is being fired may be stored all the same.
            let Some(Ask { what, reply }) = asked else { return Err(Ended::Unused) };
            let after = what.after.as_deref();
            let ids = self.timers.ids(what.state, after).take(what.limit.saturating_add(1));
            let mut ids: Vec<_> = ids.cloned().collect();
            let more = ids.len() > what.limit;
            ids.truncate(what.limit);
            drop(reply.send(Ok(Listed { ids, more })));
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Hears what became of those that are being fired.
    fn hear(&mut self, context: &mut Context<'_>, now: Timestamp) -> Result<(), Ended> {
        let mut at = 0;
        while let Some(firing) = self.firing.get_mut(at) {
            match firing.outcome.as_mut().poll(context) {
                Poll::Pending => at += 1,
                Poll::Ready(outcome) => {
                    let Firing { due, .. } = self.firing.remove(at);
                    self.settle(&due, outcome, now)?;
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self, due: &Due, outcome: Outcome, now: Timestamp) -> Result<(), Ended> {
        match outcome {
            Outcome::Fired => {
                self.gauges.fired += 1;
                let late = now.since(due.due_at).as_micros();
                let late = u64::try_from(late).unwrap_or(u64::MAX);
                self.gauges.late_us = self.gauges.late_us.saturating_add(late);
                self.timers.done(due.position);
            }
            // That it has failed is read like all else.
            Outcome::Over | Outcome::GivenUp => self.timers.done(due.position),
            Outcome::Later(pause) => {
                self.timers.again(due.position, now.saturating_add(pause), None);
            }
            Outcome::Failed(error) => {
                self.gauges.failures += 1;
                let failure = failed_again(due, error, now);
                let pause = BACKOFF * 2_u32.saturating_pow(failure.attempts.saturating_sub(1));
                let is_last = failure.attempts >= TIMER_ATTEMPTS_MAX;
                let pause = if is_last { Duration::ZERO } else { pause };
                let at = now.saturating_add(pause);
                self.timers.again(due.position, at, Some(failure));
            }
            Outcome::Ended(error) => return Err(Ended::Failed(error)),
        }
        Ok(())
    }

    /// Fires what is due.
    fn fire(&mut self, context: &mut Context<'_>, now: Timestamp) -> Result<(), Ended> {
        // Before that it may be known already that a timer has fired, or is disarmed.
        if !self.is_at_end {
            return Ok(());
        }
        for _ in 0..EVENTS_A_STEP {
            if self.firing.len() >= FIRING_MAX {
                return Ok(());
            }
            let Some(due) = self.timers.take_due(now) else { return Ok(()) };
            let store = self.store.clone();
            let given_up = due.tried.clone().filter(|it| it.attempts >= TIMER_ATTEMPTS_MAX);
            let mut outcome: Boxed<Outcome> = match given_up {
                Some(failure) => Box::pin(fire::give_up(store, due.clone(), failure)),
                None => Box::pin(fire::fire(store, Arc::clone(&self.admit), due.clone())),
            };
            // Submitted when it is polled first.
            match outcome.as_mut().poll(context) {
                Poll::Ready(outcome) => self.settle(&due, outcome, now)?,
                Poll::Pending => self.firing.push(Firing { due, outcome }),
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Notes now and then where a start has to read from.
    fn note(&mut self, context: &mut Context<'_>) {
        if let Some(saving) = &mut self.saving {
            if saving.as_mut().poll(context).is_pending() {
                return;
            }
            self.saving = None;
        }
        if self.since_noted < CHECKPOINT_EVENTS || !self.is_at_end {
            return;
        }
        self.since_noted = 0;
        let from = self.timers.first_position().map_or(self.read_to, |it| it.min(self.read_to));
        if self.noted.is_some_and(|noted| from <= noted) {
            return;
        }
        let is_first = self.noted.replace(from).is_none();
        let mut saving: Boxed<()> = Box::pin(checkpoint::save(self.store.clone(), from, is_first));
        if saving.as_mut().poll(context).is_pending() {
            self.saving = Some(saving);
        }
    }
}

/// How a timer stands that has failed once more.
fn failed_again(due: &Due, error: Failure, now: Timestamp) -> TimerFailure {
    let first_failed = due.tried.as_ref().map_or(now, |tried| tried.first_failed);
    let attempts = due.tried.as_ref().map_or(0, |tried| tried.attempts).saturating_add(1);
    TimerFailure { error, attempts, first_failed, last_failed: now }
}

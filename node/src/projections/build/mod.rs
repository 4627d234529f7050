//! [`Build`]: the documents of one version of a projection, folded in turns, and looked up meanwhile.
//!
//! What goes wrong in it stays in it. Documents that cannot be read, or are of something else, are removed and folded
//! again, which whoever looks is told. Where they cannot be written, as on a full disk, they are opened again after a while,
//! and not looked up until then. Where the log cannot be read, or too much is parked, it stops until somebody resumes it,
//! and answers from what it has.

mod look;
mod open;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use nexus_delivery::projection::{
    BuildId, Definition, Documents, Ended, Lifting, Progress, Runner, Sink, SinkError,
};
use nexus_engine::Namespace;
use nexus_protocol::{AppendError, Timestamp, Unavailable};
use nexus_search::Searching;

pub(super) use self::look::{Fresh, NotFresh};
use super::lifts::Lifts;
use super::pool::Turns;
use super::space::Space;
use crate::clock::wall_clock;

/// After a failure that may pass it is tried again after this time, and each further time after twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest of these is so many times the first.
const PAUSES_MAX: u32 = 32;
pub(super) type Folding = Runner<Namespace, Lifting<Lifts>, Box<dyn Sink>>;

/// It has no turn, and is to have none.
const IDLE: u8 = 0;
/// It is to have a turn.
const QUEUED: u8 = 1;
/// It has a turn.
const RUNNING: u8 = 2;
/// It has a turn, and is to have another one.
const WOKEN: u8 = 3;

/// Whether it goes on.
const OPEN: u8 = 0;
/// It ends, and its documents stay.
const CLOSED: u8 = 1;
/// It ends, and its documents go.
const REMOVED: u8 = 2;

/// One set of documents.
pub(super) struct Build {
    pub(super) name: String,
    pub(super) id: BuildId,
    pub(super) definition: Definition,
    pub(super) namespace: Namespace,
    /// Whom it belongs to.
    pub(super) space: Weak<Space>,
    /// Where its documents are kept; `None`: in memory.
    pub(super) directory: Option<PathBuf>,
    pub(super) turns: Arc<Turns>,
    slot: Mutex<Slot>,
    view: Mutex<View>,
    seen: Condvar,
    turn: AtomicU8,
    is_paused: AtomicBool,
    /// It takes the place of the documents that answer, once it has come as far.
    takes_over: AtomicBool,
    ending: AtomicU8,
}

/// What runs. Held for a turn.
#[derive(Default)]
pub(super) struct Slot {
    runner: Option<Folding>,
    /// When it is opened again.
    retry_at: Option<Timestamp>,
    /// How often it failed in a row.
    failures: u32,
    /// It goes on when somebody resumes it.
    is_stopped: bool,
    /// It was closed, and does not begin again.
    is_closed: bool,
    /// When it has a turn without being woken.
    tick: Option<Instant>,
}

/// What whoever looks sees. Never held for long.
#[derive(Clone, Default)]
struct View {
    progress: Option<Progress>,
    documents: Option<Arc<dyn Documents>>,
    /// The same documents, where they can be searched.
    searching: Option<Searching>,
    /// Why it folds nothing now.
    error: Option<String>,
    /// Why its documents were folded again.
    again: Option<String>,
}

impl std::fmt::Debug for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Build").field("name", &self.name).field("id", &self.id).finish()
    }
}

impl Wake for Build {
    fn wake(self: Arc<Self>) {
        if self.is_to_be_queued() {
            let turns = Arc::clone(&self.turns);
            turns.push(self);
        }
    }
}

impl Build {
    pub(super) fn new(
        space: &Arc<Space>,
        (name, id): (&str, BuildId),
        definition: Definition,
        directory: Option<PathBuf>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            id,
            definition,
            namespace: space.namespace.clone(),
            space: Arc::downgrade(space),
            directory,
            turns: Arc::clone(&space.turns),
            slot: Mutex::default(),
            view: Mutex::default(),
            seen: Condvar::new(),
            turn: AtomicU8::new(IDLE),
            is_paused: AtomicBool::new(false),
            takes_over: AtomicBool::new(false),
            ending: AtomicU8::new(OPEN),
        }
    }

    /// Wakes it: whether it is to be put in line, where it does not stand yet.
    pub(super) fn is_to_be_queued(&self) -> bool {
        let next = |turn| match turn {
            IDLE => Some(QUEUED),
            RUNNING => Some(WOKEN),
            _ => None,
        };
        self.turn.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(IDLE)
    }

    pub(super) fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is to be from now on.
    pub(super) fn set(self: &Arc<Self>, is_paused: bool, takes_over: bool) {
        let was = self.is_paused.swap(is_paused, Ordering::SeqCst);
        let took = self.takes_over.swap(takes_over, Ordering::SeqCst);
        if was != is_paused || took != takes_over {
            Arc::clone(self).wake();
        }
    }

    /// Lets it go on where it has stopped.
    pub(super) fn resume(self: &Arc<Self>) {
        {
            let mut slot = self.slot();
            (slot.is_stopped, slot.retry_at, slot.failures) = (false, None, 0);
        }
        Arc::clone(self).wake();
    }

    /// Ends it, and removes its documents, or leaves them.
    pub(super) fn end(self: &Arc<Self>, removes: bool) {
        self.ending.fetch_max(if removes { REMOVED } else { CLOSED }, Ordering::SeqCst);
        Arc::clone(self).wake();
        // Whoever is about to wait has looked before, or sees it.
        drop(self.view());
        self.seen.notify_all();
    }

    /// Whether its documents are there no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ending.load(Ordering::SeqCst) != OPEN
    }

    /// One turn.
    pub(super) fn turn(self: Arc<Self>) {
        self.turn.store(RUNNING, Ordering::SeqCst);
        let now = wall_clock();
        let mut slot = self.slot();
        let done = catch_unwind(AssertUnwindSafe(|| match self.ending.load(Ordering::SeqCst) {
            OPEN => self.step(&mut slot, now),
            ending => {
                self.close(&mut slot, ending == REMOVED, now);
                None
            }
        }));
        let tick = done.unwrap_or_else(|_| {
            self.panicked(&mut slot);
            None
        });
        if let Some(tick) = tick {
            let at = Instant::now() + tick.since(now);
            if slot.tick.is_none_or(|there| at < there || there <= Instant::now()) {
                slot.tick = Some(at);
                self.turns.push_at(at, Arc::clone(&self));
            }
        }
        drop(slot);
        let ended = self.turn.compare_exchange(RUNNING, IDLE, Ordering::SeqCst, Ordering::SeqCst);
        if ended.is_err() {
            // It was woken meanwhile.
            self.turn.store(QUEUED, Ordering::SeqCst);
            let turns = Arc::clone(&self.turns);
            turns.push(self);
        }
    }

    fn panicked(&self, slot: &mut Slot) {
        (slot.runner, slot.is_stopped) = (None, true);
        self.hide("it panicked where that cannot be told from an event".to_owned());
    }

    /// Lets go of all that is open, durable.
    pub(super) fn close(&self, slot: &mut Slot, removes: bool, now: Timestamp) {
        if std::mem::replace(&mut slot.is_closed, true) {
            return;
        }
        if let Some(mut runner) = slot.runner.take()
            && !removes
        {
            // What is not durable is folded again.
            drop(runner.finish(now));
        }
        let view = std::mem::take(&mut *self.view());
        drop(view);
        if removes && let Some(directory) = &self.directory {
            // What is left is removed when the namespace is opened next.
            drop(nexus_search::remove(directory));
        }
    }

    /// Does what there is to do: when it has a turn again without being woken.
    fn step(self: &Arc<Self>, slot: &mut Slot, now: Timestamp) -> Option<Timestamp> {
        let is_paused = self.is_paused.load(Ordering::SeqCst);
        if slot.is_stopped || slot.is_closed {
            return None;
        }
        if let Some(at) = slot.retry_at.filter(|at| now < *at) {
            return Some(at);
        }
        if slot.runner.is_none()
            && let Err(ended) = self.open(slot)
        {
            return self.ended(slot, ended, now);
        }
        let runner = slot.runner.as_mut()?;
        if let Some(why) = self.space.upgrade().and_then(|space| space.room.refusal()) {
            // It answers from what it has.
            self.publish(runner.progress(), Some(why));
            return Some(now.saturating_add(PAUSE));
        }
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        let polled = match is_paused {
            true => match runner.finish(now) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(error.into()),
            },
            false => runner.poll(&mut context, now),
        };
        if let Poll::Ready(ended) = polled {
            return self.ended(slot, ended, now);
        }
        slot.failures = 0;
        let progress = runner.progress();
        let (is_at_end, tick) = (progress.is_at_end, runner.next_tick());
        self.publish(progress, None);
        if is_at_end && !is_paused && self.takes_over.load(Ordering::SeqCst) {
            return self.take_over(slot, now);
        }
        tick.filter(|_| !is_paused)
    }

    /// What becomes of it.
    fn ended(&self, slot: &mut Slot, ended: Ended, now: Timestamp) -> Option<Timestamp> {
        let text = ended.to_string();
        match ended {
            Ended::Log(AppendError::Unavailable(Unavailable::Closed)) => {
                slot.is_stopped = true;
                self.failed(text);
                return None;
            }
            Ended::Log(AppendError::Poisoned { .. } | AppendError::Corruption(_))
            | Ended::TooManyParked => {
                // Nothing of that passes by itself.
                slot.is_stopped = true;
                if let Some(runner) = &slot.runner {
                    let progress = runner.progress();
                    self.publish(progress, Some(text));
                }
                return None;
            }
            Ended::Sink(SinkError::Damaged(why)) => {
                slot.runner = None;
                self.hide(text);
                drop(self.remove_documents(why));
            }
            _ => {
                slot.runner = None;
                self.hide(text);
            }
        }
        let pauses = 1_u32.checked_shl(slot.failures).map_or(PAUSES_MAX, |it| it.min(PAUSES_MAX));
        slot.failures = slot.failures.saturating_add(1);
        let soon = now.saturating_add(PAUSE * pauses);
        slot.retry_at = Some(soon);
        Some(soon)
    }

    fn failed(&self, why: String) {
        self.view().error = Some(why);
        self.seen.notify_all();
    }

    /// Its documents are not looked up until they are open again.
    fn hide(&self, why: String) {
        let mut view = self.view();
        (view.documents, view.searching, view.error) = (None, None, Some(why));
        drop(view);
        self.seen.notify_all();
    }

    fn publish(&self, progress: Progress, error: Option<String>) {
        let mut view = self.view();
        view.progress = Some(progress);
        view.error = error;
        drop(view);
        self.seen.notify_all();
    }

    /// Puts its documents in the place of those that answer, at a moment when they know as much.
    fn take_over(self: &Arc<Self>, slot: &mut Slot, now: Timestamp) -> Option<Timestamp> {
        let soon = Some(now.saturating_add(Duration::from_millis(20)));
        let space = self.space.upgrade()?;
        let before = space.answering(&self.name).filter(|it| it.id != self.id)?;
        // They stand still meanwhile.
        let held = before.slot();
        let wanted = before.next();
        let runner = slot.runner.as_mut()?;
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..16 {
            if runner.progress().next >= wanted {
                break;
            }
            if let Poll::Ready(ended) = runner.poll(&mut context, now) {
                drop(held);
                return self.ended(slot, ended, now);
            }
        }
        let progress = runner.progress();
        let is_as_far = progress.next >= wanted;
        self.publish(progress, None);
        if !is_as_far || !space.rebuilt(&self.name, self.id) {
            return soon;
        }
        drop(held);
        // It was polled without anybody to wake.
        Arc::clone(self).wake();
        None
    }

    /// These documents cannot be looked up: they are opened again, unless others are open by now; `false`: they are.
    pub(super) fn cannot_be_read(
        self: &Arc<Self>,
        documents: &Arc<dyn Documents>,
        error: &SinkError,
    ) -> bool {
        let mut slot = self.slot();
        let is_it = self.view().documents.as_ref().is_some_and(|it| Arc::ptr_eq(it, documents));
        if is_it {
            self.ended(&mut slot, Ended::Sink(error.clone()), wall_clock());
        }
        drop(slot);
        Arc::clone(self).wake();
        is_it
    }

    /// Does something with what folds, between two turns. `None`: nothing folds now.
    pub(super) fn with_runner<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Folding, Timestamp) -> Result<T, SinkError>,
    ) -> Option<Result<T, SinkError>> {
        let now = wall_clock();
        let mut slot = self.slot();
        let runner = slot.runner.as_mut()?;
        let done = catch_unwind(AssertUnwindSafe(|| work(runner, now)));
        let done = match done {
            Err(_) => {
                self.panicked(&mut slot);
                None
            }
            Ok(Err(error)) => {
                self.ended(&mut slot, Ended::Sink(error.clone()), now);
                Some(Err(error))
            }
            Ok(Ok(done)) => {
                let error = self.view().error.clone();
                self.publish(runner.progress(), error);
                Some(Ok(done))
            }
        };
        drop(slot);
        Arc::clone(self).wake();
        done
    }
}

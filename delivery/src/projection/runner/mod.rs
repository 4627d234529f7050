//! [`Runner`]: folds what a projection takes into its documents, from where they are to the end of the log, and what comes.
//!
//! It reads on from its checkpoint, folds, and has the sink make documents and checkpoint visible in one commit. A range
//! of positions that was committed joins the next exactly. What was not committed when the process ended is folded again.
//!
//! An event that fails holds up its key, and no other: see [`Lanes`](super::lanes). One that panics has left its document in
//! nobody knows what state: all that was not committed is folded again, and the event fails without being asked.
//!
//! It has neither a thread nor a clock: whoever runs it calls [`Runner::poll`] when it is woken, and when
//! [`Runner::next_tick`] has come. When it ends by its sink it is made again, from what that has.

mod cache;
mod decide;
mod retry;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use nexus_protocol::group::Failure;
use nexus_protocol::limits::PARKED_KEYS_MAX;
use nexus_protocol::record::Instead;
use nexus_protocol::{
    AppendError, EventStore, Looked, Position, RecordedEvent, Start, Subscribe, SubscriptionItem,
    Timestamp, Unavailable,
};
use serde_json::Map;

use self::cache::{Cache, Cached};
use self::retry::Retrying;
use super::checkpoint::{Checkpoint, NotMine, Origin};
use super::digest::Term;
use super::lanes::{Lane, LaneKey};
use super::model::{FoldFailed, Projection};
use super::sink::{Changed, Commit, Kept, Pace, Sink, SinkError};
use crate::coordinator::unread;

/// Events and markers that one step looks at, at most: others run on the same thread.
const ITEMS_A_STEP: usize = 2_048;
/// Bytes of documents and events that are worked on before they are committed, about.
const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Where nothing was taken, how far it has come is written once so many positions were looked at.
const IDLE_POSITIONS: u64 = 100_000;

/// What was decided about an event that could not be folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amendment {
    /// It is not folded.
    Skip,
    /// It is folded with these data.
    Edit(Bytes),
}

/// Why a runner has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(AppendError),
    /// The sink does not do what it is asked for.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// So many keys are parked that something else must be wrong.
    #[error(
        "{PARKED_KEYS_MAX} keys are parked: mend what is wrong in a new version, or skip or replay them, and resume it"
    )]
    TooManyParked,
}

/// Why documents cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// They are of something else.
    #[error(transparent)]
    NotMine(#[from] NotMine),
    /// They cannot be read.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// How far it has come, as whoever looks up documents sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The first position that the documents know nothing of.
    pub next: Position,
    /// Whether there was nothing more to fold.
    pub is_at_end: bool,
    /// The last commit.
    pub committed: Checkpoint,
}

/// Folds events into documents, from where a sink has them to the end of the log, and what comes.
pub struct Runner<S: EventStore, P: Projection, K: Sink> {
    store: S,
    projection: P,
    sink: K,
    pace: Pace,
    /// As the sink has it.
    committed: Checkpoint,
    /// With what is not committed yet.
    at: Checkpoint,
    amendments: BTreeMap<u64, Amendment>,
    subscription: Option<S::Subscription>,
    cache: Cache<P::Document>,
    retrying: Option<Retrying<S>>,
    /// Events that have panicked, and not been committed as failed.
    panicked: BTreeMap<u64, FoldFailed>,
    is_at_end: bool,
    /// Since when something is not visible.
    unseen_since: Option<Timestamp>,
    /// Since when something is visible that is not durable.
    unsynced_since: Option<Timestamp>,
}

/// Whether so much time is over, or the clock was set back since.
fn is_over(since: Timestamp, ms: u64, now: Timestamp) -> bool {
    now < since || now.since(since) >= Duration::from_millis(ms)
}

impl<S: EventStore, P: Projection, K: Sink> Runner<S, P, K> {
    /// Goes on from what a sink has, which holds about so many bytes of documents in memory.
    ///
    /// # Errors
    /// Where that is of something else, or cannot be read: the sink is to be emptied.
    pub fn new(
        store: S,
        projection: P,
        sink: K,
        origin: &Origin,
        amendments: BTreeMap<u64, Amendment>,
        cache_bytes: usize,
    ) -> Result<Self, Unusable> {
        let mut committed = match sink.checkpoint()? {
            Some(bytes) => Checkpoint::decode(&bytes, origin)?,
            None => Checkpoint::new(origin),
        };
        // What was decided may not have come to pass.
        let decided: Vec<_> = amendments.keys().copied().collect();
        committed.lanes.release(&decided);
        let skipped = amendments.iter().filter(|(_, it)| **it == Amendment::Skip);
        skipped.for_each(|(position, _)| committed.lanes.remove(&LaneKey::Event(*position)));
        let at = committed.clone();
        Ok(Self {
            store,
            pace: sink.pace(),
            projection,
            sink,
            committed,
            at,
            amendments,
            subscription: None,
            cache: Cache::new(cache_bytes),
            retrying: None,
            panicked: BTreeMap::new(),
            is_at_end: false,
            unseen_since: None,
            unsynced_since: None,
        })
    }

    /// Does what there is to do. `Pending`: it is to be called when `context` is woken, or its
    /// [next tick](Self::next_tick) has come. `Ready`: it has ended.
    pub fn poll(&mut self, context: &mut Context<'_>, now: Timestamp) -> Poll<Ended> {
        match self.step(context, now) {
            Ok(()) => Poll::Pending,
            Err(ended) => Poll::Ready(ended),
        }
    }

    fn step(&mut self, context: &mut Context<'_>, now: Timestamp) -> Result<(), Ended> {
        if self.retry(context, now)?.is_ready() {
            self.read(context, now)?;
        }
        if self.is_due(now) {
            let is_late = |since| is_over(since, self.pace.durable_ms, now);
            self.commit(self.unsynced_since.is_some_and(is_late), now)?;
            self.pace = self.sink.pace();
        }
        Ok(())
    }

    /// When it is to be polled without being woken.
    pub fn next_tick(&self) -> Option<Timestamp> {
        let after = |since: Timestamp, ms| since.saturating_add(Duration::from_millis(ms));
        let seen = self.unseen_since.map(|since| after(since, self.pace.visible_ms));
        let synced = self.unsynced_since.map(|since| after(since, self.pace.durable_ms));
        let due = self.at.lanes.next_due();
        [seen, synced, due].into_iter().flatten().min()
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let next = if self.unseen_since.is_none() { self.at.next } else { self.committed.next };
        Progress {
            next,
            is_at_end: self.is_at_end && self.unseen_since.is_none(),
            committed: self.committed.clone(),
        }
    }

    /// What keeps the documents.
    pub fn sink(&self) -> &K {
        &self.sink
    }

    /// Has all be durable that it has done.
    ///
    /// # Errors
    /// As the sink's.
    pub fn finish(&mut self, now: Timestamp) -> Result<(), SinkError> {
        let has_moved = self.at != self.committed;
        if has_moved || self.unsynced_since.is_some() {
            self.commit(true, now)?;
        }
        Ok(())
    }

    /// Reads on, until there is enough for a commit, or no more.
    fn read(&mut self, context: &mut Context<'_>, now: Timestamp) -> Result<(), Ended> {
        for _ in 0..ITEMS_A_STEP {
            if self.is_full() {
                context.waker().wake_by_ref();
                return Ok(());
            }
            if self.at.lanes.len() >= PARKED_KEYS_MAX {
                return self.wait_for_room(context, now);
            }
            let (store, filter) = (&self.store, self.projection.filter());
            let from = Start::At(self.at.next);
            let subscription = self.subscription.get_or_insert_with(|| {
                let subscribe = Subscribe::all().start(from).filter(filter.clone());
                // Whoever waits for a position waits also where nothing of it was taken.
                store.subscribe(Subscribe { checkpoint_every: 1, ..subscribe })
            });
            match Pin::new(subscription).poll_next(context) {
                Poll::Pending => {
                    self.is_at_end = true;
                    return Ok(());
                }
                Poll::Ready(Some(Ok(SubscriptionItem::Event(event)))) => self.take(&event, now)?,
                Poll::Ready(Some(Ok(item))) => self.pass(&item),
                // It is over: whoever goes on begins another one.
                Poll::Ready(Some(Err(error))) => {
                    self.subscription = None;
                    return Err(Ended::Log(unread(error)));
                }
                Poll::Ready(None) => {
                    self.subscription = None;
                    return Err(Ended::Log(AppendError::Unavailable(Unavailable::Closed)));
                }
            }
        }
        self.is_at_end = false;
        context.waker().wake_by_ref();
        Ok(())
    }

    /// There are as many lanes as there may be: nothing is read before one of them is over.
    fn wait_for_room(&mut self, context: &mut Context<'_>, now: Timestamp) -> Result<(), Ended> {
        self.is_at_end = false;
        match self.at.lanes.next_due() {
            None => {
                self.finish(now)?;
                Err(Ended::TooManyParked)
            }
            Some(due) if due <= now => {
                context.waker().wake_by_ref();
                Ok(())
            }
            // Until then what was done is seen.
            Some(_) => Ok(self.finish(now)?),
        }
    }

    fn pass(&mut self, item: &SubscriptionItem) {
        if let SubscriptionItem::Checkpoint { position }
        | SubscriptionItem::CaughtUp { position: Some(position) } = item
        {
            self.at.next = self.at.next.max(position.next());
        }
    }

    /// Folds an event, or puts it behind what holds up its key.
    fn take(&mut self, event: &RecordedEvent, now: Timestamp) -> Result<(), Ended> {
        assert!(event.position() >= self.at.next, "what was committed is not folded twice");
        self.at.next = event.position().next();
        self.at.events += 1;
        self.at.events_digest = self.at.events_digest.with(event);
        self.unseen_since.get_or_insert(now);
        let position = event.position().get();
        let Some(amended) = self.amended(event) else { return Ok(()) };
        let looked = Looked::new(amended.as_ref().unwrap_or(event));
        let key = match self.key(&looked) {
            Ok(None) => return Ok(()),
            Ok(Some(key)) => key,
            Err(failed) => {
                let failed = FoldFailed { passes: false, ..failed };
                self.at.lanes.insert(LaneKey::Event(position), Lane::new(position, &failed, now));
                return Ok(());
            }
        };
        if let Some(lane) = self.at.lanes.of_key(&key) {
            lane.behind += 1;
            return Ok(());
        }
        if let Folded::Failed(failed) = self.fold(&key, &looked)? {
            self.at.lanes.insert(LaneKey::Key(key), Lane::new(position, &failed, now));
        }
        Ok(())
    }

    /// The event with what was decided about it: `None`: it is skipped; `Some(None)`: nothing was.
    fn amended(&self, event: &RecordedEvent) -> Option<Option<RecordedEvent>> {
        match self.amendments.get(&event.position().get()) {
            None => Some(None),
            Some(Amendment::Skip) => None,
            Some(Amendment::Edit(data)) => Some(with_data(event, data)),
        }
    }

    /// The key of an event; what panics fails.
    fn key(&self, event: &Looked<'_>) -> Result<Option<String>, FoldFailed> {
        let key = catch_unwind(AssertUnwindSafe(|| self.projection.key(event)));
        key.unwrap_or_else(|panic| Err(of_panic(&*panic)))
    }

    /// Folds an event into the document of a key.
    fn fold(&mut self, key: &str, event: &Looked<'_>) -> Result<Folded, Ended> {
        let position = event.event().position().get();
        if let Some(failed) = self.panicked.get(&position) {
            return Ok(Folded::Failed(failed.clone()));
        }
        if self.cache.get_mut(key).is_none() {
            let cached = self.load(key)?;
            self.cache.insert(key, cached);
        }
        let cached = self.cache.get_mut(key).expect("it was loaded");
        let projection = &self.projection;
        let folded =
            catch_unwind(AssertUnwindSafe(|| projection.fold(&mut cached.document, event)));
        match folded {
            Ok(Ok(())) => {
                self.cache.changed(key, position, event.event().data().len());
                Ok(Folded::Done)
            }
            Ok(Err(failed)) => Ok(Folded::Failed(failed)),
            Err(panic) => {
                self.panicked.insert(position, of_panic(&*panic));
                self.roll_back();
                Ok(Folded::RolledBack)
            }
        }
    }

    fn load(&self, key: &str) -> Result<Cached<P::Document>, SinkError> {
        let Some(Kept { position, bytes }) = self.sink.get(key)? else {
            return Ok(Cached::new(None, None, 0, 0));
        };
        let decoded = self.projection.decode(&bytes);
        let document = decoded.map_err(|why| SinkError::Damaged(why.to_string()))?;
        let term = Term::of(key, &bytes);
        Ok(Cached::new(Some(document), Some(term), position.get(), bytes.len()))
    }

    /// Forgets all that was not committed.
    fn roll_back(&mut self) {
        self.at = self.committed.clone();
        self.cache.clear();
        self.subscription = None;
        self.retrying = None;
        self.unseen_since = None;
        self.is_at_end = false;
    }

    fn is_full(&self) -> bool {
        self.cache.changed_len() >= self.pace.documents_max || self.cache.bytes() >= BATCH_BYTES_MAX
    }

    /// Whether something is to be made visible, or durable, now.
    fn is_due(&self, now: Timestamp) -> bool {
        let idle = self.at.next.get() - self.committed.next.get();
        let is_late = |since| is_over(since, self.pace.durable_ms, now);
        if self.is_full() || idle >= IDLE_POSITIONS || self.unsynced_since.is_some_and(is_late) {
            return true;
        }
        let is_ready = self.pace.visible_ms > 0 || self.is_at_end;
        let is_seen_late = |since| is_over(since, self.pace.visible_ms, now);
        is_ready && self.unseen_since.is_some_and(is_seen_late)
    }

    /// Makes all visible that was done.
    fn commit(&mut self, durable: bool, now: Timestamp) -> Result<(), SinkError> {
        let durable = durable || self.pace.durable_ms == 0;
        let (projection, at) = (&self.projection, &mut self.at);
        let (mut changed, mut kept) = (Vec::with_capacity(self.cache.changed_len()), Vec::new());
        let wants_fields = self.pace.wants_fields;
        self.cache.each_changed(|key, cached| {
            let bytes = cached.document.as_ref().map(|document| projection.encode(document));
            let term = bytes.as_ref().map(|bytes| Term::of(key, bytes));
            kept.push((term, bytes.as_ref().map_or(0, Vec::len)));
            if let Some(term) = cached.kept {
                at.documents_digest.take_term(term);
                at.documents -= 1;
            }
            if let Some(term) = term {
                at.documents_digest.put_term(term);
                at.documents += 1;
            }
            if term.is_none() && cached.kept.is_none() {
                return;
            }
            let (fields, tags) = match &cached.document {
                Some(document) if wants_fields => {
                    (projection.shown(document), projection.tags(document))
                }
                _ => (Map::new(), Vec::new()),
            };
            let position = Position::new(cached.position);
            let document = bytes.map(|bytes| Kept { position, bytes });
            let is_kept = cached.kept.is_some();
            changed.push(Changed { key: key.to_owned(), document, is_kept, fields, tags });
        });
        assert!(at.next >= self.committed.next, "ranges of positions join");
        let (next, checkpoint) = (at.next, at.encode());
        self.sink.commit(&Commit { next, checkpoint: &checkpoint, changed: &changed, durable })?;
        self.cache.committed(kept);
        self.committed = self.at.clone();
        self.unseen_since = None;
        self.unsynced_since = if durable { None } else { self.unsynced_since.or(Some(now)) };
        let lanes = &self.committed.lanes;
        self.panicked.retain(|position, _| !lanes.holds(*position, None));
        Ok(())
    }
}

/// What became of an event.
enum Folded {
    Done,
    Failed(FoldFailed),
    /// It panicked: all that was not committed is to be folded again.
    RolledBack,
}

fn with_data(event: &RecordedEvent, data: &Bytes) -> Option<RecordedEvent> {
    let made = event.with(Instead {
        event_type: event.event_type(),
        content_type: event.content_type(),
        data: data.clone(),
        schema: event.schema(),
    });
    made.ok()
}

fn of_panic(panic: &(dyn std::any::Any + Send)) -> FoldFailed {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("the fold panicked: {}", text.unwrap_or("it does not say why"));
    let failure = Failure { class: "panic".to_owned(), ..Failure::new(message) };
    FoldFailed { failure, passes: false }
}

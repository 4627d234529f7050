//! [`Coordinator`]: runs the machine of one group over a store, one step at a time.
//!
//! It reads the log for the group, takes what consumers ask and say, and writes the group's records into its stream,
//! each on the condition that nobody else wrote one: a second coordinator of the same group fails at its first record,
//! and is fenced without a clock. Nobody is told of anything before it is durable. One record is under way at a time;
//! what comes meanwhile goes into the next one, so that the busier a group is the fewer records it writes for the same
//! work.
//!
//! It has neither a thread nor a clock: whoever runs it calls [`Coordinator::poll`] when it is woken, or when the time
//! has come that the last call named. When it ends, for whatever reason, nothing is lost: it is opened again from what
//! is durable.

mod feed;
mod journal;
mod request;
mod serve;
mod writes;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nexus_protocol::group::{GroupConfig, GroupMode};
use nexus_protocol::{AppendError, EventStore, ReadError, Revision, Timestamp, Unavailable};
use tokio::sync::mpsc;

use self::feed::Feed;
pub use self::journal::{Journal, create, is_there, read_journal};
use self::request::Waiting;
pub use self::request::{
    Answers, Ask, Handed, Listed, MAX_DELIVERIES, PickDone, Reply, Request, Snapshot, What,
};
use self::writes::Writing;
use crate::group::{Group, Ruled, RuledEvents};

/// Requests that may wait for a coordinator; whoever asks more has to wait itself.
pub const REQUESTS_MAX: usize = 1024;
/// Answers and late deliveries that one record has, about, at most: a record has to be taken before it becomes larger
/// than an append.
const ANSWERS_MAX: usize = 200_000;
/// A group that has work for consumers that are there, and of which nothing was done for so long, is stalled.
pub const STALL_AFTER: Duration = Duration::from_secs(60);

/// Why a coordinator has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The group was deleted.
    Deleted,
    /// Nobody can ask it anything any more.
    Unused,
    /// A record was not written. Whether another coordinator did, or the store takes no more, the answer says; the group
    /// goes on where it is opened again.
    Failed(AppendError),
}

/// Runs the machine of one group. See the [module](self).
pub struct Coordinator<S: EventStore> {
    store: S,
    stream: String,
    /// Where it is on record what rules have done.
    parked_stream: String,
    config: GroupConfig,
    group: Group,
    inbox: mpsc::Receiver<Request>,
    feed: Feed<S>,
    waiting: VecDeque<Waiting>,
    writing: Writing,
    counts: Counts,
    /// When something of it was done last, or there was nothing to do.
    progressed: Timestamp,
    /// Whoever waits for deliveries counts as heard of again at this time.
    heard_at: Timestamp,
    /// Whether it was told that nothing of it is done.
    is_stalled: bool,
    /// It is to be deleted, and who is told, until that is under way.
    deleting: Option<Option<Reply<()>>>,
    /// A consumer that is lost and had more than one record has room for: nothing is taken in before it is gone.
    losing: Option<String>,
    /// Answers and late deliveries since the last record.
    answers: usize,
}

/// What happened since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries.
    pub delivered: u64,
    /// Those that were not the first of their event.
    pub redelivered: u64,
    /// Answers that said that an event is done.
    pub acked: u64,
    /// Records written.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
    /// What rules did with events that would be parked.
    pub ruled: RuledCounts,
}

/// What rules did with events that would be parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuledCounts {
    /// They are tried again later.
    pub retried: u64,
    /// They are done with.
    pub skipped: u64,
    /// Somebody is to be told.
    pub alerted: u64,
}

impl RuledCounts {
    fn add(&mut self, ruled: &RuledEvents) {
        let count = match ruled.what {
            Ruled::Retry(_) => &mut self.retried,
            Ruled::Skip => &mut self.skipped,
            Ruled::Alert => &mut self.alerted,
        };
        *count += ruled.positions.len() as u64;
    }
}

/// How a group is at one moment, for whoever watches it all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// The first position that was not looked at; `None`: all there is was.
    pub behind_from: Option<u64>,
    /// Events that were looked at and are not done.
    pub open: u64,
    /// Deliveries that are not answered.
    pub in_flight: u64,
    /// Events that are parked.
    pub parked: u64,
    /// Consumers.
    pub consumers: u64,
    /// Whether it makes no progress.
    pub stalled: bool,
    /// What happened since it was opened.
    pub counts: Counts,
}

impl<S: EventStore> Coordinator<S> {
    /// Goes on with a group from what its journal says. What it is asked comes by `inbox`.
    ///
    /// # Errors
    /// When the configuration in the journal is none.
    pub fn new(
        store: S,
        name: &str,
        journal: Journal,
        inbox: mpsc::Receiver<Request>,
        now: Timestamp,
    ) -> Result<Self, AppendError> {
        let Journal { config, state, revision, bytes } = journal;
        let group = Group::restore(config.clone(), state)
            .map_err(|why| AppendError::from(nexus_protocol::Invalid::from(why)))?;
        Ok(Self {
            stream: journal::stream_of(name),
            parked_stream: journal::parked_stream_of(name),
            feed: Feed::default(),
            waiting: VecDeque::new(),
            writing: Writing::after(revision, bytes),
            counts: Counts::default(),
            progressed: now,
            heard_at: now,
            is_stalled: false,
            deleting: None,
            losing: None,
            answers: 0,
            store,
            config,
            group,
            inbox,
        })
    }

    /// Does what there is to do. `Pending`: it is to be called when `context` is woken, or when the time comes that it
    /// names. `Ready`: it has ended.
    pub fn poll(&mut self, context: &mut Context<'_>, now: Timestamp) -> Poll<Ended> {
        match self.step(context, now) {
            Ok(()) => Poll::Pending,
            Err(ended) => {
                self.end(&ended);
                Poll::Ready(ended)
            }
        }
    }

    fn step(&mut self, context: &mut Context<'_>, now: Timestamp) -> Result<(), Ended> {
        self.written(context, now)?;
        // Before its generation is durable nobody gets anything: another coordinator may have the group.
        if self.writing.is_first() {
            self.write(context);
            return Ok(());
        }
        if !self.is_full() {
            self.answers += self.group.tick(now);
        }
        self.take_requests(context, now)?;
        self.feed(context, now)?;
        self.hear_those_who_wait(now);
        self.deliver(now);
        // Somebody asked for more than there was for it, and there may be more to read.
        if self.wants_more() && !self.feed.is_at_end() {
            context.waker().wake_by_ref();
        }
        if self.group.member_count() == 0 {
            self.feed.forget();
        }
        self.watch_progress(now);
        self.write(context);
        Ok(())
    }

    /// When it is to be called next, if nothing wakes it before.
    pub fn next_tick(&self) -> Option<Timestamp> {
        if self.writing.is_first() {
            return None;
        }
        let waiting = self.waiting.iter().map(|it| it.until).min();
        let heard = (!self.waiting.is_empty()).then_some(self.heard_at);
        let stalls = (self.has_work() && !self.is_stalled).then(|| self.stalls_at());
        // Of one that is full the record that is written next wakes it.
        let of_group = self.group.next_tick().filter(|_| !self.is_full());
        [of_group, waiting, heard, stalls].into_iter().flatten().min()
    }

    /// How it is.
    pub fn gauges(&self) -> Gauges {
        let stats = self.group.stats();
        Gauges {
            behind_from: (!self.feed.is_at_end() || self.feed.broken().is_some())
                .then_some(stats.next.get())
                // It is behind in nothing: its consumers' own groups are.
                .filter(|_| self.config.mode != GroupMode::Broadcast),
            open: stats.open as u64,
            in_flight: stats.in_flight as u64,
            parked: stats.parked as u64,
            consumers: self.group.member_count() as u64,
            stalled: self.is_stalled,
            counts: self.counts,
        }
    }

    /// Takes in what is asked.
    fn take_requests(&mut self, context: &mut Context<'_>, now: Timestamp) -> Result<(), Ended> {
        // While an append with answers is under way, nothing else may be written, and nothing is taken in.
        for _ in 0..REQUESTS_MAX {
            if self.writing.is_held() || self.is_full() || self.deleting.is_some() {
                return Ok(());
            }
            self.lose(now);
            if self.losing.is_some() {
                return Ok(());
            }
            match self.inbox.poll_recv(context) {
                Poll::Ready(Some(request)) => self.serve(request, context, now)?,
                Poll::Ready(None) if self.writing.is_idle() => return Err(Ended::Unused),
                Poll::Ready(None) | Poll::Pending => return Ok(()),
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Whether the next record would become too large with more answers, or deliveries that are late.
    fn is_full(&self) -> bool {
        self.answers >= ANSWERS_MAX
    }

    /// Whether there is work for consumers that are there.
    fn has_work(&self) -> bool {
        let stats = self.group.stats();
        stats.ready + stats.in_flight > 0 && !stats.paused && self.group.member_count() > 0
    }

    fn stalls_at(&self) -> Timestamp {
        self.progressed.saturating_add(STALL_AFTER)
    }

    /// Tells, once, when for a while nothing was done although there is work for consumers that are there.
    fn watch_progress(&mut self, now: Timestamp) {
        if !self.has_work() {
            self.progressed = now;
        }
        let is_stalled = now >= self.stalls_at();
        if is_stalled && !self.is_stalled {
            self.writing.event(journal::stalled(&self.group.stats()));
        }
        self.is_stalled = is_stalled;
    }

    /// Tells everybody that waits why nothing more comes.
    fn end(&mut self, ended: &Ended) {
        let error = match ended {
            Ended::Failed(error) => error.clone(),
            Ended::Deleted => {
                AppendError::NotFound { what: "group of this name: it was deleted".to_owned() }
            }
            Ended::Unused => AppendError::Unavailable(Unavailable::Closed),
        };
        for waiting in self.waiting.drain(..) {
            let _ = waiting.reply.send(Err(error.clone()));
        }
        self.writing.fail(&error);
        if let Some(reply) = self.deleting.take().flatten() {
            let _ = reply.send(Err(error.clone()));
        }
        refuse_all(&mut self.inbox, &error);
    }
}

/// Answers all that is asked of a group that cannot be opened.
pub fn refuse_all(inbox: &mut mpsc::Receiver<Request>, error: &AppendError) {
    inbox.close();
    while let Ok(request) = inbox.try_recv() {
        request.refuse(error.clone());
    }
}

/// What a failed read means to whoever waits for something that is written.
pub fn unread(error: ReadError) -> AppendError {
    match error {
        ReadError::Corruption { corruption, .. } => AppendError::Corruption(corruption),
        ReadError::Poisoned { at } => AppendError::Poisoned { at },
        ReadError::Closed => AppendError::Unavailable(Unavailable::Closed),
        ReadError::NotFound { what } => AppendError::NotFound { what },
        ReadError::Denied { reason, denial } => AppendError::Denied { reason, denial },
        ReadError::Unauthenticated { reason } => AppendError::Unauthenticated { reason },
        ReadError::RateLimited { retry_after } => AppendError::RateLimited { retry_after },
        ReadError::Invalid(invalid) => AppendError::Invalid(invalid),
        error @ ReadError::NotConverted { .. } => {
            nexus_protocol::Invalid::Request(error.to_string()).into()
        }
        other => AppendError::Unavailable(Unavailable::NotReachable(other.to_string())),
    }
}

/// Polls something that is pinned in a box.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The revision after this one.
fn next_revision(last: Revision, by: usize) -> Revision {
    Revision::new(last.get() + by as u64)
}

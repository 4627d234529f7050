//! [`Carrier`]: leads the events that a route takes to a stream, as links, one step at a time.
//!
//! It reads the log from where the route stands, and writes what it has found in one append: the links into the target,
//! and where it goes on into the route's own stream, on the condition that nobody else wrote that. So a link is there
//! exactly when the route has gone on behind it: a crash repeats none and loses none, and of two carriers of one route
//! the second fails at its first append, without having written anything. What is appended by somebody else into
//! the target goes between the links, which keep their order.
//!
//! Where nothing matches nothing is written, but now and then where it goes on, so that it need not read all of it
//! again. It has neither a thread nor a clock: whoever runs it calls [`Carrier::poll`] when it is woken. When it ends,
//! for whatever reason, it is made again from what is durable. Routes that lead to groups need none of this.

mod journal;

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use nexus_protocol::route::{Link, RouteTarget};
use nexus_protocol::{
    Append, AppendError, Appended, Clause, EventData, EventStore, ExpectedRevision, Position,
    Revision, Start, StreamChange, Subscribe, SubscriptionItem, Unavailable,
};

pub use self::journal::{Journal, delete, read_journal, set};
use crate::coordinator::unread;

/// Links of one append, at most.
const LINKS_MAX: usize = 1_000;
/// Bytes of what one append carries, about, beyond which no more is read for it.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events and markers that one step looks at, at most.
const ITEMS_A_STEP: usize = 4_096;
/// Where nothing matched, where it goes on is written once so many positions were looked at.
const IDLE_POSITIONS: u64 = 10_000;
/// So often where it goes on is written with all that is to be known of the route, and what is before is hidden.
const MOVES_A_STATE: u64 = 1_000;

/// Why a carrier has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The route was deleted, set anew, or is carried by another: that one goes on.
    Fenced,
    /// The target takes nothing any more. The route's stream says so, and it goes on when it is set anew.
    Refused(String),
    /// The log could not be read, or written. It goes on where it is made again.
    Failed(AppendError),
}

/// How a route is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// The first position that it has not led on.
    pub next: u64,
    /// Whether it had looked at all there was.
    pub is_at_end: bool,
    /// Links that the route has written since it was made.
    pub links: u64,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is written.
struct UnderWay {
    append: Boxed<Result<Appended, AppendError>>,
    links: u64,
    next: Position,
    /// It stands for all before it.
    is_state: bool,
    /// Why the route ends with it.
    refused: Option<String>,
}

/// Leads events on. See the [module](self).
pub struct Carrier<S: EventStore> {
    store: S,
    name: String,
    stream: String,
    target: String,
    journal: Journal,
    subscription: Option<S::Subscription>,
    /// Found, and not written yet.
    links: Vec<EventData>,
    bytes: usize,
    /// The first position that was not looked at.
    next: Position,
    is_at_end: bool,
    under_way: Option<UnderWay>,
    hiding: Option<Boxed<()>>,
}

impl<S: EventStore> Carrier<S> {
    /// Goes on with a route from what its journal says; `None`: it leads to a group, or its target takes nothing.
    pub fn new(store: S, name: &str, journal: Journal) -> Option<Self> {
        let RouteTarget::Stream(target) = &journal.config.to else { return None };
        if journal.refused.is_some() {
            return None;
        }
        Some(Self {
            stream: journal::stream_of(name),
            name: name.to_owned(),
            target: target.clone(),
            next: journal.next,
            subscription: None,
            links: Vec::new(),
            bytes: 0,
            is_at_end: false,
            under_way: None,
            hiding: None,
            store,
            journal,
        })
    }

    /// Does what there is to do. `Pending`: it is to be called when `context` is woken. `Ready`: it has ended.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        match self.step(context) {
            Ok(()) => Poll::Pending,
            Err(ended) => Poll::Ready(ended),
        }
    }

    /// How it is.
    pub fn gauges(&self) -> Gauges {
        let has_found = !self.links.is_empty() || self.under_way.is_some();
        let next = if has_found { self.journal.next } else { self.next };
        Gauges {
            next: next.get(),
            is_at_end: self.is_at_end && !has_found,
            links: self.journal.links,
        }
    }

    fn step(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        self.written(context)?;
        if let Some(hiding) = &mut self.hiding
            && hiding.as_mut().poll(context).is_ready()
        {
            self.hiding = None;
        }
        if self.under_way.is_some() {
            return Ok(());
        }
        self.read(context)?;
        let idle = self.next.get().saturating_sub(self.journal.next.get());
        if !self.links.is_empty() || idle >= IDLE_POSITIONS {
            self.write(context);
        }
        Ok(())
    }

    /// Reads on, until there is enough for an append, or no more.
    fn read(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        for _ in 0..ITEMS_A_STEP {
            if self.links.len() >= LINKS_MAX || self.bytes >= BATCH_BYTES_MAX {
                return Ok(());
            }
            let (store, config) = (&self.store, &self.journal.config);
            let from = Start::At(self.next);
            let subscription = self.subscription.get_or_insert_with(|| {
                store.subscribe(Subscribe::all().start(from).filter(config.filter.clone()))
            });
            match Pin::new(subscription).poll_next(context) {
                Poll::Pending => {
                    self.is_at_end = true;
                    return Ok(());
                }
                Poll::Ready(Some(Ok(item))) => self.take(&item),
                Poll::Ready(Some(Err(error))) => return Err(Ended::Failed(unread(error))),
                Poll::Ready(None) => {
                    return Err(Ended::Failed(AppendError::Unavailable(Unavailable::Closed)));
                }
            }
        }
        self.is_at_end = false;
        context.waker().wake_by_ref();
        Ok(())
    }

    fn take(&mut self, item: &SubscriptionItem) {
        match item {
            SubscriptionItem::Event(event) => {
                self.next = Position::new(event.position().get() + 1);
                if !self.journal.config.takes(event) {
                    return;
                }
                if let Some(link) = Link::by_route(&self.name, event) {
                    let tags: usize = link.tags.iter().map(String::len).sum();
                    self.bytes += link.data.len() + link.metadata.len() + tags;
                    self.links.push(link);
                }
            }
            SubscriptionItem::Checkpoint { position }
            | SubscriptionItem::CaughtUp { position: Some(position) } => {
                self.next = self.next.max(Position::new(position.get() + 1));
            }
            SubscriptionItem::CaughtUp { position: None } | SubscriptionItem::FellBehind { .. } => {
            }
        }
    }

    /// Writes what was found, and where it goes on.
    fn write(&mut self, context: &mut Context<'_>) {
        let links = std::mem::take(&mut self.links);
        self.bytes = 0;
        let count = links.len() as u64;
        let is_state = self.journal.moves + 1 >= MOVES_A_STATE;
        let after =
            Journal { next: self.next, links: self.journal.links + count, ..self.journal.clone() };
        let event = if is_state { journal::set_event(&after) } else { journal::moved(&after) };
        let mut append = Append::new();
        if count > 0 {
            append = append.stream(&*self.target).expected(ExpectedRevision::Any).events(links);
        }
        self.submit(append, event, (count, is_state, None), context);
    }

    fn submit(
        &mut self,
        append: Append,
        event: EventData,
        (links, is_state, refused): (u64, bool, Option<String>),
        context: &mut Context<'_>,
    ) {
        let expected = ExpectedRevision::Exact(self.journal.revision);
        let append = append.stream(&*self.stream).expected(expected).event(event);
        let store = self.store.clone();
        let append: Boxed<_> = Box::pin(async move { store.append(append).await });
        self.under_way = Some(UnderWay { append, links, next: self.next, is_state, refused });
        // It is submitted when it is polled first, which the next step does.
        context.waker().wake_by_ref();
    }

    /// Looks what became of the append that is under way.
    fn written(&mut self, context: &mut Context<'_>) -> Result<(), Ended> {
        let Some(under_way) = &mut self.under_way else { return Ok(()) };
        let Poll::Ready(answer) = under_way.append.as_mut().poll(context) else { return Ok(()) };
        let Some(UnderWay { links, next, is_state, refused, .. }) = self.under_way.take() else {
            return Ok(());
        };
        match (answer, refused) {
            (Ok(_), Some(why)) => Err(Ended::Refused(why)),
            (Ok(_), None) => {
                let revision = Revision::new(self.journal.revision.get() + 1);
                self.journal.revision = revision;
                self.journal.next = next;
                self.journal.links += links;
                self.journal.moves = if is_state { 0 } else { self.journal.moves + 1 };
                if is_state {
                    self.hide_before(revision);
                }
                Ok(())
            }
            (Err(error), _) if self.is_fenced(&error) => Err(Ended::Fenced),
            (Err(error), None) if is_of_target(&error, &self.target) => {
                // Nothing of it was written, and the links are found again when the route is set anew.
                let why = error.to_string();
                let event = journal::refused(&why);
                self.submit(Append::new(), event, (0, false, Some(why)), context);
                Ok(())
            }
            (Err(error), _) => Err(Ended::Failed(error)),
        }
    }

    /// What stands before a state is of no use any more.
    fn hide_before(&mut self, revision: Revision) {
        let (store, stream) = (self.store.clone(), self.stream.clone());
        self.hiding = Some(Box::pin(async move {
            let change =
                StreamChange { truncate_before: Some(revision), ..StreamChange::default() };
            // Where it does not work, more is kept until the next time.
            drop(store.set_stream(&stream, change).await);
        }));
    }

    /// Whether somebody else wrote into the route's stream.
    fn is_fenced(&self, error: &AppendError) -> bool {
        match error {
            AppendError::Conflict(conflict) => {
                matches!(&conflict.clause, Clause::Stream { stream, .. } if *stream == self.stream)
            }
            AppendError::Deleted { stream } => *stream == self.stream,
            _ => false,
        }
    }
}

/// Whether an append fails again however often it is tried: its target takes nothing, or not this.
fn is_of_target(error: &AppendError, target: &str) -> bool {
    match error {
        AppendError::Deleted { stream } => stream == target,
        AppendError::Invalid(_) | AppendError::TooLarge(_) | AppendError::Denied { .. } => true,
        _ => false,
    }
}

//! [`Feed`]: a subscription as doors want it: many items at a time, made where they hold up nobody.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use nexus_node::{Access, Subscription};
use nexus_protocol::limits::BLOCK_BYTES_MAX;
use nexus_protocol::record::RECORD_BYTES_MIN;
use nexus_protocol::wire::ItemsBuilder;
use nexus_protocol::{Block, Invalid, ReadError, Subscribe, SubscriptionItem};
use tokio::sync::watch;

/// A live reader gets little at a time, at once.
const LIVE_BYTES: usize = 64 * 1024;
/// One that catches up gets much, made on a thread that may block.
const CATCH_UP_BYTES: usize = 256 * 1024;
/// Where hardly anything matches, so many markers are enough: each may stand for a thousand positions
/// that were looked at.
const MARKERS_MAX: u32 = 16;
/// A block has no more events than this.
const BLOCK_EVENTS_MAX: u64 = (BLOCK_BYTES_MAX / RECORD_BYTES_MIN) as u64;

/// What items are gathered in, in the form that a door sends.
pub(crate) trait Basket: Default + Send + 'static {
    /// Adds one more.
    fn push(&mut self, item: SubscriptionItem);
    /// How many events it has.
    fn events(&self) -> u64;
    /// About how many bytes it has.
    fn bytes(&self) -> usize;
    /// Whether nothing is in it.
    fn is_empty(&self) -> bool;
}

impl Basket for ItemsBuilder {
    fn push(&mut self, item: SubscriptionItem) {
        Self::push(self, &item);
    }

    fn events(&self) -> u64 {
        Self::events(self).into()
    }

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }

    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }
}

/// Items as they are.
#[derive(Debug, Default)]
pub(crate) struct Items {
    pub(crate) items: Vec<SubscriptionItem>,
    events: u64,
    bytes: usize,
}

/// What an event has besides its data and metadata, about.
const EVENT_BYTES: usize = 256;

impl Basket for Items {
    fn push(&mut self, item: SubscriptionItem) {
        if let SubscriptionItem::Event(event) = &item {
            self.events += u64::from(!event.has_more_parts());
            self.bytes += event.data().len() + event.metadata().len() + EVENT_BYTES;
        }
        self.items.push(item);
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// How a basket takes a block as it is stored; `None`: the door, or who it speaks with, knows none.
pub(crate) type TakeBlock<B> = Option<fn(&mut B, &Block)>;

/// A subscription of one principal.
#[derive(Debug)]
pub(crate) struct Feed {
    access: Access,
    /// `None`: a look for more was dropped half-way, and nothing more comes.
    subscription: Option<Box<Subscription>>,
    live: bool,
    /// Why it ends, once what came before is handed on.
    error: Option<ReadError>,
}

/// What a look for more came to.
struct Gathered<B> {
    subscription: Box<Subscription>,
    basket: B,
    live: bool,
    /// Whether further parts of the last event come: they are not torn apart.
    in_parts: bool,
    error: Option<ReadError>,
}

impl Feed {
    /// Subscribes.
    pub(crate) fn open(access: Access, subscribe: Subscribe) -> Result<Self, ReadError> {
        let subscription = Some(Box::new(access.subscribe(subscribe)?));
        Ok(Self { access, subscription, live: false, error: None })
    }

    /// Whose it is.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// Whether what was there has been delivered, and what comes follows.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Waits for items, and gathers those that are there: at most so many events. Dropped half-way, it
    /// gives nothing more.
    pub(crate) async fn next<B: Basket>(&mut self, events_max: u64) -> Result<B, ReadError> {
        self.next_or_blocks(events_max, None).await
    }

    /// The same, with blocks where it catches up and they fit: a block is never more events than asked for.
    pub(crate) async fn next_or_blocks<B: Basket>(
        &mut self,
        events_max: u64,
        take_block: TakeBlock<B>,
    ) -> Result<B, ReadError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let subscription = self.subscription.take().ok_or(ReadError::Closed)?;
        let live = self.live;
        let basket = B::default();
        let mut gathered = Gathered { subscription, basket, live, in_parts: false, error: None };
        if live {
            let subscription = &mut gathered.subscription;
            let mut next =
                std::future::poll_fn(|context| Pin::new(&mut **subscription).poll_next(context));
            // Who waits for what does not come is told all the same when their time is over.
            let first = loop {
                tokio::select! {
                    first = &mut next => break first,
                    () = after(self.access.time_left()) => self.access.may_still_read()?,
                }
            };
            gathered.take(first);
        }
        // What is live is in memory; the first item may have said that it no longer is.
        let gathered = match gathered.live {
            true => gathered.gather(events_max, LIVE_BYTES, None),
            false => {
                let gather = move || gathered.gather(events_max, CATCH_UP_BYTES, take_block);
                tokio::task::spawn_blocking(gather).await.expect("reading does not panic")
            }
        };
        self.subscription = Some(gathered.subscription);
        self.live = gathered.live;
        self.access.may_still_read()?;
        match gathered.error {
            Some(error) if gathered.basket.is_empty() => Err(error),
            error => {
                self.error = error;
                Ok(gathered.basket)
            }
        }
    }
}

/// Waits until there is more credit than was used, and gives what is left of it; `None`: no more will come. A
/// reader that gives none is told all the same when its time is over.
pub(crate) async fn credit_left(
    access: &Access,
    credits: &mut watch::Receiver<u64>,
    used: u64,
) -> Result<Option<u64>, ReadError> {
    loop {
        tokio::select! {
            total = credits.wait_for(|total| *total > used) => return Ok(total.ok().map(|total| *total - used)),
            () = after(access.time_left()) => access.may_still_read()?,
        }
    }
}

/// Waits so long; without a time, for ever.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

impl<B: Basket> Gathered<B> {
    /// Adds an item, or keeps why there is none.
    fn take(&mut self, item: Option<Result<SubscriptionItem, ReadError>>) {
        match item {
            Some(Ok(item)) => {
                match &item {
                    SubscriptionItem::CaughtUp { .. } => self.live = true,
                    SubscriptionItem::FellBehind { .. } => self.live = false,
                    SubscriptionItem::Event(event) => self.in_parts = event.has_more_parts(),
                    SubscriptionItem::Checkpoint { .. } => {}
                }
                self.basket.push(item);
            }
            Some(Err(error)) => self.error = Some(error),
            None => {
                let why = "the subscription has ended".to_owned();
                self.error = Some(Invalid::Request(why).into());
            }
        }
    }

    /// Gathers what is there now.
    fn gather(mut self, events_max: u64, bytes: usize, take_block: TakeBlock<B>) -> Self {
        let (mut markers, mut in_blocks) = (0, false);
        while self.error.is_none()
            && (self.in_parts
                || self.basket.events() < events_max
                    && self.basket.bytes() < bytes
                    && markers < MARKERS_MAX)
        {
            let left = events_max.saturating_sub(self.basket.events());
            if let Some(take_block) = take_block
                && !self.in_parts
            {
                if let Some(block) = self.subscription.next_block(left) {
                    take_block(&mut self.basket, &block);
                    in_blocks = true;
                    continue;
                }
                // More credit may come while these are sent: no block is broken up for want of it before.
                if in_blocks && left < BLOCK_EVENTS_MAX {
                    break;
                }
            }
            let Some(item) = self.subscription.try_next() else { break };
            markers += u32::from(!matches!(item, Ok(SubscriptionItem::Event(_))));
            self.take(Some(item));
        }
        self
    }
}

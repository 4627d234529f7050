//! [`Feed`]: a subscription as doors want it: many items at a time, made where they hold up nobody.

use std::pin::Pin;

use futures_core::Stream;
use nexus_node::{Access, Subscription};
use nexus_protocol::{Invalid, ReadError, Subscribe, SubscriptionItem};

/// Items are gathered up to about so many bytes of events.
const BYTES: usize = 64 * 1024;
/// Where hardly anything matches, so many markers are enough: each may stand for a thousand positions
/// that were looked at.
const MARKERS_MAX: usize = 16;

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

    /// Waits for items, and gives those that are there: at most so many events. Dropped half-way, it
    /// gives nothing more.
    pub(crate) async fn next(
        &mut self,
        events_max: u64,
    ) -> Result<Vec<SubscriptionItem>, ReadError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut subscription = self.subscription.take().ok_or(ReadError::Closed)?;
        let mut first = None;
        if self.live {
            let next =
                std::future::poll_fn(|context| Pin::new(&mut *subscription).poll_next(context));
            first = Some(next.await.unwrap_or_else(|| Err(ended())));
        }
        let gather = move || gather(subscription, first, events_max);
        let gathered = match self.live {
            // What is live is in memory.
            true => gather(),
            false => tokio::task::spawn_blocking(gather).await.expect("reading does not panic"),
        };
        let (subscription, items, error) = gathered;
        self.subscription = Some(subscription);
        for item in &items {
            match item {
                SubscriptionItem::CaughtUp { .. } => self.live = true,
                SubscriptionItem::FellBehind { .. } => self.live = false,
                SubscriptionItem::Event(_) | SubscriptionItem::Checkpoint { .. } => {}
            }
        }
        self.access.may_still_read()?;
        match error {
            Some(error) if items.is_empty() => Err(error),
            error => {
                self.error = error;
                Ok(items)
            }
        }
    }
}

fn ended() -> ReadError {
    Invalid::Request("the subscription has ended".to_owned()).into()
}

type Gathered = (Box<Subscription>, Vec<SubscriptionItem>, Option<ReadError>);

/// Gathers what is there now.
fn gather(
    mut subscription: Box<Subscription>,
    first: Option<Result<SubscriptionItem, ReadError>>,
    events_max: u64,
) -> Gathered {
    let (mut items, mut events, mut bytes) = (Vec::new(), 0, 0);
    let mut next = first.or_else(|| subscription.try_next());
    while let Some(item) = next {
        match item {
            Ok(item) => {
                if let SubscriptionItem::Event(event) = &item {
                    events += 1;
                    bytes += event.data().len() + event.metadata().len() + 256;
                }
                items.push(item);
            }
            Err(error) => return (subscription, items, Some(error)),
        }
        let markers = items.len() as u64 - events;
        if events >= events_max || bytes >= BYTES || markers >= MARKERS_MAX as u64 {
            break;
        }
        next = subscription.try_next();
    }
    (subscription, items, None)
}

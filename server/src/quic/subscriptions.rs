//! A subscription: as many events as there is credit for, and the markers between them.

use std::pin::Pin;

use futures_core::Stream;
use nexus_node::{Access, Subscription};
use nexus_protocol::wire::{ItemsBuilder, PacketKind, SubscribeHead};
use nexus_protocol::{Invalid, ReadError, Subscribe, SubscriptionItem};
use quinn::SendStream;
use tokio::sync::watch;

use super::packets::{Broken, PacketReader};
use super::session::{self, Accessed, Request, Session};

/// A live reader gets small packets, at once.
const LIVE_BYTES: usize = 64 * 1024;
/// One that catches up gets large ones, made on a thread that may block.
const CATCH_UP_BYTES: usize = 256 * 1024;

/// Where hardly anything matches, a packet goes out after so many markers: each may stand for a thousand
/// positions that were looked at.
const MARKERS_MAX: u32 = 16;

/// What a look for more came to.
struct Batch {
    subscription: Box<Subscription>,
    items: ItemsBuilder,
    live: bool,
    error: Option<ReadError>,
}

/// Serves a subscription until the client ends it.
pub(crate) async fn run(
    session: &Session,
    access: Accessed,
    head: SubscribeHead,
    request: Request,
) {
    let Request { asked, reader, mut send } = request;
    let credit = u64::from(head.credit);
    let opened = access.map_err(|refused| session.no_access(&asked, refused));
    let subscribed = opened.and_then(|access| {
        let subscription = access.subscribe(Subscribe::from(head))?;
        Ok((access, Box::new(subscription)))
    });
    let (access, subscription) = match subscribed {
        Ok(subscribed) => subscribed,
        Err(error) => return session::fail_read(send, &error).await,
    };
    let _ = send.set_priority(session::PRIORITY_CATCH_UP);
    let (granted, credits) = watch::channel(credit);
    let closing = session.door.closing.subscribe();
    let ended = tokio::select! {
        ended = deliver(&access, subscription, &mut send, credits, closing) => ended.map_err(Ended::Read),
        broken = take_credit(reader, granted) => broken.map_or(Ok(()), |why| Err(Ended::Broken(why))),
    };
    match ended {
        Ok(()) => {}
        Err(Ended::Read(error)) => session::fail_read(send, &error).await,
        Err(Ended::Broken(broken)) => session::refuse(session, &asked, send, &broken).await,
    }
}

/// Why a subscription ends before its client does.
enum Ended {
    Read(ReadError),
    Broken(Broken),
}

/// Adds up the credit that the client gives; ends when the client does.
async fn take_credit(mut reader: PacketReader, granted: watch::Sender<u64>) -> Option<Broken> {
    loop {
        let received = match reader.next(PacketKind::Credit, "credit of a subscription").await {
            Ok(Some(received)) => received,
            Ok(None) => return None,
            Err(broken) => return Some(broken),
        };
        match received.packet.message::<u32>() {
            Ok(more) => granted.send_modify(|total| *total = total.saturating_add(more.into())),
            Err(why) => return Some(why.into()),
        }
    }
}

/// Delivers as long as there is credit. `credits` is all that was ever given.
async fn deliver(
    access: &Access,
    mut subscription: Box<Subscription>,
    send: &mut SendStream,
    mut credits: watch::Receiver<u64>,
    mut closing: watch::Receiver<bool>,
) -> Result<(), ReadError> {
    let mut items = ItemsBuilder::default();
    let mut delivered = 0_u64;
    let mut live = false;
    loop {
        let credit = tokio::select! {
            credit = credits.wait_for(|total| *total > delivered) => match credit {
                Ok(total) => *total - delivered,
                Err(_) => return Ok(()),
            },
            _ = closing.wait_for(|closing| *closing) => return Err(ReadError::Closed),
        };
        let mut error = None;
        if live {
            tokio::select! {
                item = next(&mut subscription) => error = take(item, &mut items, &mut live),
                _ = closing.wait_for(|closing| *closing) => return Err(ReadError::Closed),
            }
        }
        let batch = if error.is_some() {
            Batch { subscription, items, live, error }
        } else if live {
            gather(subscription, items, live, credit, LIVE_BYTES)
        } else {
            let gathered = move || gather(subscription, items, live, credit, CATCH_UP_BYTES);
            tokio::task::spawn_blocking(gathered).await.expect("reading does not panic")
        };
        if batch.live != live {
            live = batch.live;
            let priority = if live { session::PRIORITY_LIVE } else { session::PRIORITY_CATCH_UP };
            let _ = send.set_priority(priority);
        }
        (subscription, items) = (batch.subscription, batch.items);
        delivered += u64::from(items.events());
        access.may_still_read()?;
        if !items.is_empty() && send.write_chunk(items.take()).await.is_err() {
            return Ok(());
        }
        if let Some(error) = batch.error {
            return Err(error);
        }
    }
}

async fn next(subscription: &mut Subscription) -> Option<Result<SubscriptionItem, ReadError>> {
    std::future::poll_fn(|context| Pin::new(&mut *subscription).poll_next(context)).await
}

/// Adds an item; answers with the error that the subscription ends with.
fn take(
    item: Option<Result<SubscriptionItem, ReadError>>,
    items: &mut ItemsBuilder,
    live: &mut bool,
) -> Option<ReadError> {
    match item {
        Some(Ok(item)) => {
            match item {
                SubscriptionItem::CaughtUp { .. } => *live = true,
                SubscriptionItem::FellBehind { .. } => *live = false,
                SubscriptionItem::Event(_) | SubscriptionItem::Checkpoint { .. } => {}
            }
            items.push(&item);
            None
        }
        Some(Err(error)) => Some(error),
        None => Some(Invalid::Request("the subscription has ended".to_owned()).into()),
    }
}

/// Gathers what is there now, within the credit and so many bytes.
fn gather(
    mut subscription: Box<Subscription>,
    mut items: ItemsBuilder,
    mut live: bool,
    credit: u64,
    bytes: usize,
) -> Batch {
    let (mut error, mut markers) = (None, 0);
    while u64::from(items.events()) < credit
        && items.bytes() < bytes
        && markers < MARKERS_MAX
        && error.is_none()
        && let Some(item) = subscription.try_next()
    {
        markers += u32::from(!matches!(item, Ok(SubscriptionItem::Event(_))));
        error = take(Some(item), &mut items, &mut live);
    }
    Batch { subscription, items, live, error }
}

//! A subscription: as many events as there is credit for, and the markers between them.

use nexus_protocol::schema::AsSchema;
use nexus_protocol::wire::{ItemsBuilder, PacketKind, SubscribeHead};
use nexus_protocol::{ReadError, Subscribe};
use quinn::SendStream;
use tokio::sync::watch;

use super::packets::{Broken, PacketReader};
use super::session::{self, Accessed, Request, Session};
use crate::feed::{Feed, TakeBlock, credit_left};

/// Serves a subscription until the client ends it.
pub(crate) async fn run(
    session: &Session,
    access: Accessed,
    (subscribe, credit): (Subscribe, u32),
    request: Request,
) {
    let Request { asked, reader, mut send } = request;
    let opened = access.map_err(|refused| session.no_access(&asked, refused));
    let feed = match opened.and_then(|access| Feed::open(access, subscribe)) {
        Ok(feed) => feed,
        Err(error) => return session::fail_read(session, send, &error).await,
    };
    let _ = send.set_priority(session::PRIORITY_CATCH_UP);
    let take_block: TakeBlock<ItemsBuilder> = session.takes_blocks().then_some(ItemsBuilder::block);
    let (granted, credits) = watch::channel(u64::from(credit));
    let ended = tokio::select! {
        ended = deliver(feed, take_block, &mut send, credits, session.door.closing()) => ended.map_err(Ended::Read),
        broken = take_credit(reader, granted) => broken.map_or(Ok(()), |why| Err(Ended::Broken(why))),
    };
    match ended {
        Ok(()) => {}
        Err(Ended::Read(error)) => session::fail_read(session, send, &error).await,
        Err(Ended::Broken(broken)) => session::refuse(session, &asked, send, &broken).await,
    }
}

/// What a subscription is to, and its first credit.
pub(crate) fn wanted(head: SubscribeHead, as_schema: AsSchema) -> (Subscribe, u32) {
    let credit = head.credit;
    (Subscribe::from(head).as_schema(as_schema), credit)
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
    mut feed: Feed,
    take_block: TakeBlock<ItemsBuilder>,
    send: &mut SendStream,
    mut credits: watch::Receiver<u64>,
    closing: impl Future<Output = ()>,
) -> Result<(), ReadError> {
    let mut delivered = 0_u64;
    let mut live = false;
    let mut closing = std::pin::pin!(closing);
    loop {
        // A packet is never broken off: the server's end is looked at between them.
        let more = async {
            let Some(credit) = credit_left(feed.access(), &mut credits, delivered).await? else {
                return Ok(None);
            };
            feed.next_or_blocks(credit, take_block).await.map(Some)
        };
        let more = tokio::select! {
            more = more => more?,
            () = &mut closing => return Err(ReadError::Closed),
        };
        let Some(mut items) = more else { return Ok(()) };
        if feed.is_live() != live {
            live = feed.is_live();
            let priority = if live { session::PRIORITY_LIVE } else { session::PRIORITY_CATCH_UP };
            let _ = send.set_priority(priority);
        }
        delivered += u64::from(items.events());
        if !items.is_empty() && !session::send_in_time(send, items.take()).await {
            return Ok(());
        }
    }
}

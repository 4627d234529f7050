//! [`SubscriptionStream`]: a subscription as a stream of its events alone.
//!
//! For readers that keep their place by the positions of events. Whoever keeps checkpoints, or wants to
//! know when all that was there has been delivered, takes the items themselves.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::error::ReadError;
use crate::read::SubscriptionItem;
use crate::record::RecordedEvent;

/// Markers that one poll passes over, at most: each may stand for a long stretch in which nothing
/// matches, and others run on the same thread.
const MARKERS_A_POLL: usize = 4;

/// What every subscription can do, whichever store it is of.
pub trait SubscriptionStream:
    Stream<Item = Result<SubscriptionItem, ReadError>> + Unpin + Sized
{
    /// The events, without the markers between them.
    fn events(self) -> SubscriptionEvents<Self> {
        SubscriptionEvents(self)
    }
}

impl<S> SubscriptionStream for S where
    S: Stream<Item = Result<SubscriptionItem, ReadError>> + Unpin + Sized
{
}

/// The events of a subscription; errors end it as they end the subscription.
#[derive(Debug)]
pub struct SubscriptionEvents<S>(S);

impl<S> SubscriptionEvents<S> {
    /// The subscription itself, for a store with ways of its own to wait for it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.0
    }
}

impl<S: SubscriptionStream> Stream for SubscriptionEvents<S> {
    type Item = Result<RecordedEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        for _ in 0..MARKERS_A_POLL {
            match ready!(Pin::new(&mut self.0).poll_next(context)) {
                Some(Ok(item)) => {
                    if let Some(event) = item.event() {
                        return Poll::Ready(Some(Ok(event)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;
    use crate::ids::Position;

    struct Items(VecDeque<Result<SubscriptionItem, ReadError>>);

    impl Stream for Items {
        type Item = Result<SubscriptionItem, ReadError>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    #[test]
    fn markers_are_dropped_and_errors_are_not() {
        let position = Position::new(7);
        let items = Items(VecDeque::from([
            Ok(SubscriptionItem::CaughtUp { position: None }),
            Ok(SubscriptionItem::Checkpoint { position }),
            Ok(SubscriptionItem::FellBehind { position: Some(position) }),
            Err(ReadError::Closed),
        ]));
        let mut events = items.events();
        let mut context = Context::from_waker(Waker::noop());
        let first = Pin::new(&mut events).poll_next(&mut context);
        assert_eq!(first, Poll::Ready(Some(Err(ReadError::Closed))));
        assert_eq!(Pin::new(&mut events).poll_next(&mut context), Poll::Ready(None));
    }
}

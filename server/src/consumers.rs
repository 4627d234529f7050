//! [`Consumers`]: which consumers have a session, so that a name stands for one at a time.
//!
//! A client that lost its connection is back before its server knows that the old one is gone. Then the new session ends
//! the old one, and begins once that one's deliveries were given back: nothing of the old is mistaken for the new.

mod consuming;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, watch};

pub(crate) use self::consuming::{
    Answering, Consuming, DELIVERIES_BYTES, LAST_ANSWERS_TIME, Outcome, Taker, Unsent, away,
    closing,
};

/// Namespace, group, and consumer.
type Name = (String, String, String);

/// The sessions of consumers that a server has: as many as it has requests over QUIC, and channels of sockets (I8).
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumers {
    seats: Arc<Mutex<HashMap<Name, Arc<Seat>>>>,
}

/// What the sessions of one name share.
#[derive(Debug, Default)]
struct Seat {
    /// The number of the newest session.
    newest: watch::Sender<u64>,
    /// Held by the session that is the consumer.
    taken: Arc<tokio::sync::Mutex<()>>,
}

/// A session that is the consumer of its name, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seated {
    consumers: Consumers,
    name: Name,
    number: u64,
    newest: watch::Receiver<u64>,
    place: Option<OwnedMutexGuard<()>>,
}

impl Consumers {
    /// Sessions that are, or wait to be.
    fn seats(&self) -> MutexGuard<'_, HashMap<Name, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the session that has this name, and waits until it is gone. `None`: a newer one came meanwhile.
    pub(crate) async fn take(
        &self,
        namespace: &str,
        group: &str,
        consumer: &str,
    ) -> Option<Seated> {
        let name = (namespace.to_owned(), group.to_owned(), consumer.to_owned());
        let (mut seated, taken) = {
            let mut seats = self.seats();
            let seat = seats.entry(name.clone()).or_default();
            let mut number = 0;
            seat.newest.send_modify(|newest| {
                *newest += 1;
                number = *newest;
            });
            let newest = seat.newest.subscribe();
            let consumers = self.clone();
            (Seated { consumers, name, number, newest, place: None }, Arc::clone(&seat.taken))
        };
        let place = tokio::select! {
            place = taken.lock_owned() => place,
            () = seated.superseded() => return None,
        };
        seated.place = Some(place);
        Some(seated)
    }
}

impl Seated {
    /// Waits until another session has this name. May be dropped and called again.
    pub(crate) async fn superseded(&mut self) {
        let number = self.number;
        // The sender is kept as long as there is one of its sessions.
        let _ = self.newest.wait_for(|newest| *newest != number).await;
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        drop(self.place.take());
        let mut seats = self.consumers.seats();
        // The newest is the last: those before it have gone, or are going, and look at nothing any more.
        if seats.get(&self.name).is_some_and(|seat| *seat.newest.borrow() == self.number) {
            seats.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_stands_for_its_newest_session() {
        let consumers = Consumers::default();
        let take = || consumers.take("default", "mail", "a");
        let mut first = take().await.unwrap();
        let other = consumers.take("default", "mail", "b").await.unwrap();
        let (second, third) = (
            tokio::spawn({
                let consumers = consumers.clone();
                async move { consumers.take("default", "mail", "a").await.map(drop) }
            }),
            async {
                first.superseded().await;
                take().await
            },
        );
        // The second waits for the first, and ends where the third comes.
        let mut third = std::pin::pin!(third);
        tokio::select! {
            _ = &mut third => panic!("the first has its place still"),
            second = second => assert!(second.unwrap().is_none()),
        }
        drop(other);
        assert_eq!(consumers.seats().len(), 1);
    }

    #[tokio::test]
    async fn a_session_that_is_gone_leaves_its_name() {
        let consumers = Consumers::default();
        for _ in 0..3 {
            let seated = consumers.take("default", "mail", "a").await.unwrap();
            drop(seated);
            assert!(consumers.seats().is_empty());
        }
    }
}

//! A server does what it is asked, and its answer is lost: what may be sent again is sent again, and
//! happens once.

use nexus_client::Client;
use nexus_protocol::{
    Append, AppendError, EventData, EventStore, ExpectedRevision, Retry, StreamChange, Subscribe,
};
use nexus_testing::executor::next;

use crate::relay::Relay;
use crate::stores::Running;

/// A client that hears the server through a relay, and one that always does.
fn both(running: &Running) -> (Relay, Client, Client) {
    let relay = Relay::before(running.address(), &running.runtime);
    let url = running.url().replace(&running.address().to_string(), &relay.address().to_string());
    let relayed = running.runtime.block_on(nexus_client::connect(&url)).unwrap();
    (relay, relayed, running.client())
}

#[test]
fn an_append_whose_answer_is_lost_is_sent_again_and_stored_once() {
    let running = Running::in_memory();
    let (relay, client, direct) = both(&running);
    running.runtime.block_on(async {
        let counted = |number: u64| EventData::json("Counted", &number).unwrap();
        client.append(Append::to("a").no_stream().event(counted(0))).await.unwrap();
        let mut stored = direct.subscribe(Subscribe::all());
        let made = client.connections_made();
        relay.deafen(true);
        let pending: Vec<_> =
            (1..4).map(|n| client.append(Append::to("a").event(counted(n)))).collect();
        // The server has all of them, and nobody has heard of it.
        let mut seen = 0;
        while seen < 4 {
            seen += usize::from(next(&mut stored).await.unwrap().unwrap().event().is_some());
        }
        client.reconnect().await;
        relay.deafen(false);
        for (number, pending) in (1..4).zip(pending) {
            let appended = pending.await.unwrap();
            assert!(appended.replayed, "the server knows it from the first time");
            assert_eq!(appended.first().map(|at| at.get()), Some(number), "in their order");
        }
        assert_eq!(client.connections_made(), made + 1);
        assert_eq!(direct.stats().await.unwrap().events, 4, "each is stored once");
    });
}

#[test]
fn an_append_may_be_stored_though_its_stream_is_gone_when_it_is_sent_again() {
    let running = Running::in_memory();
    let (relay, client, direct) = both(&running);
    running.runtime.block_on(async {
        let append = |id| Append::to("a").event(EventData::json("Counted", &id).unwrap());
        let mut stored = direct.subscribe(Subscribe::all());
        relay.deafen(true);
        let pending = client.append(append(1));
        while next(&mut stored).await.unwrap().unwrap().event().is_none() {}
        direct.tombstone_stream("a", ExpectedRevision::Any).await.unwrap();
        client.reconnect().await;
        relay.deafen(false);
        let error = pending.await.unwrap_err();
        assert_eq!((&error, error.retry()), (&AppendError::Unknown, Retry::SameIds));
        let error = client.append(append(2)).await.unwrap_err();
        assert!(matches!(error, AppendError::Deleted { .. }), "sent once it is certain: {error}");
    });
}

#[test]
fn a_change_whose_answer_is_lost_is_not_sent_again() {
    let running = Running::in_memory();
    let (relay, client, direct) = both(&running);
    running.runtime.block_on(async {
        let change = StreamChange { max_count: Some(Some(7)), ..StreamChange::default() };
        relay.deafen(true);
        let changing = tokio::spawn({
            let client = client.clone();
            async move { client.set_stream("a", change).await }
        });
        let mut changes = direct.subscribe(Subscribe::all().system());
        while next(&mut changes).await.unwrap().unwrap().event().is_none() {}
        client.reconnect().await;
        let error = changing.await.unwrap().unwrap_err();
        assert_eq!((&error, error.retry()), (&AppendError::Unknown, Retry::SameIds));
        relay.deafen(false);
        let info = client.stream_info("a").await.unwrap();
        assert_eq!(info.limits.max_count, Some(7));
        assert_eq!(info.meta_revision.map(|at| at.get()), Some(0), "it was changed once");
    });
}

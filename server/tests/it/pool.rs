//! Several connections of one client: what is long does not hold up what is short, and a session keeps
//! its order.

use std::time::Duration;

use bytes::Bytes;
use nexus_client::Client;
use nexus_protocol::{
    Append, AppendError, EventData, EventStore, Read, ReadError, Revision, Subscribe, Unavailable,
};
use nexus_testing::executor::next;

use crate::stores::Running;

fn counted(number: u64) -> EventData {
    EventData::json("Counted", &number).unwrap()
}

fn client_with(running: &Running, connections: usize) -> Client {
    let url = format!("{}&connections={connections}", running.url());
    running.runtime.block_on(nexus_client::connect(&url)).unwrap()
}

/// Even where they share a connection with all else.
#[test]
fn readers_that_stop_hold_up_neither_appends_nor_each_other() {
    let running = Running::in_memory();
    let client = client_with(&running, 1);
    running.runtime.block_on(async {
        let data = Bytes::from(vec![7_u8; 256 * 1024]);
        for _ in 0..32 {
            let filled = EventData::new("Filled", "application/octet-stream", data.clone());
            client.append(Append::to("a").event(filled)).await.unwrap();
        }
        // Each holds what one stream may send ahead, together some hundred MB.
        let mut stopped = Vec::new();
        for _ in 0..24 {
            let mut events = client.read(Read::stream("a"));
            next(&mut events).await.unwrap().unwrap();
            stopped.push(events);
        }
        for number in 0..200 {
            let append = client.append(Append::to("b").event(counted(number)));
            let answer = tokio::time::timeout(Duration::from_secs(20), append).await;
            answer.expect("an append waits for no reader").unwrap();
        }
        for mut events in stopped {
            let mut left = 0;
            let limit = Duration::from_secs(20);
            let rest = async {
                while let Some(event) = next(&mut events).await {
                    event.unwrap();
                    left += 1;
                }
            };
            let rest = tokio::time::timeout(limit, rest).await;
            rest.expect("it waits for no other that stopped");
            assert_eq!(left, 31, "who stopped goes on");
        }
        assert_eq!(client.connections_made(), 1);
    });
}

#[test]
fn each_session_keeps_its_order_on_a_connection_of_its_own() {
    let running = Running::in_memory();
    let client = client_with(&running, 4);
    let sessions = [client.clone(), client.session(), client.session(), client.session()];
    running.runtime.block_on(async {
        // Submitted without waiting: each is right only behind the one before.
        let mut pending = Vec::new();
        for number in 0..500_u64 {
            for (stream, session) in sessions.iter().enumerate() {
                let append = Append::to(format!("s-{stream}"));
                let append = match number.checked_sub(1) {
                    None => append.no_stream(),
                    Some(before) => append.at(Revision::new(before)),
                };
                pending.push(session.append(append.event(counted(number))));
            }
            if number == 250 {
                client.reconnect().await;
            }
        }
        for pending in pending {
            pending.await.unwrap();
        }
        assert_eq!(client.stats().await.unwrap().events, 2000);
        // Two for appends, made twice; no read was asked for.
        assert_eq!(client.connections_made(), 4);
    });
}

#[test]
fn a_closed_client_asks_for_nothing_more() {
    let running = Running::in_memory();
    let client = client_with(&running, 2);
    running.runtime.block_on(async {
        client.append(Append::to("a").event(counted(0))).await.unwrap();
        let mut subscription = client.subscribe(Subscribe::all());
        assert!(next(&mut subscription).await.unwrap().unwrap().event().is_some());
        let session = client.session();
        client.close().await.unwrap();
        client.close().await.unwrap();
        let error = session.append(Append::to("a").event(counted(1))).await.unwrap_err();
        assert_eq!(error, AppendError::Unavailable(Unavailable::Closed));
        let error = next(&mut client.read(Read::all())).await.unwrap().unwrap_err();
        assert_eq!(error, ReadError::Closed);
        assert_eq!(client.head().await.unwrap_err(), ReadError::Closed);
        let ended = loop {
            if let Err(error) = next(&mut subscription).await.unwrap() {
                break error;
            }
        };
        assert_eq!(ended, ReadError::Closed);
        assert!(next(&mut subscription).await.is_none());
        assert_eq!(client.connections_made(), 2);
    });
}

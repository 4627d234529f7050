//! A server that goes and comes back: what was acknowledged is there, what was sent again is there
//! once, and a subscription sees each event once, in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nexus_client::Client;
use nexus_node::Engine;
use nexus_protocol::{Append, EventData, EventId, Read, Subscribe, SubscriptionItem};
use nexus_testing::executor::next;

use crate::stores::Running;

const WRITERS: u64 = 4;
const RESTARTS: usize = 4;

fn event(writer: u64, number: u64) -> EventData {
    EventData::json("Counted", &serde_json::json!({ "writer": writer, "number": number })).unwrap()
}

/// Appends one by one until told to stop; answers with the ids of what was acknowledged.
async fn write(client: Client, writer: u64, stop: Arc<AtomicBool>) -> Vec<EventId> {
    let mut acknowledged = Vec::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::Acquire) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(writer + 1).to_be_bytes());
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        let id = EventId::from_bytes(bytes);
        let append = Append::to(format!("writer-{writer}")).event(event(writer, number).id(id));
        client.append(append).await.expect("the server comes back within the client's time");
        acknowledged.push(id);
        number += 1;
    }
    acknowledged
}

/// Follows the log until it has seen so many events.
async fn follow(
    client: Client,
    mut until: tokio::sync::watch::Receiver<Option<u64>>,
) -> Vec<EventId> {
    let mut subscription = client.subscribe(Subscribe::all());
    let mut seen = Vec::new();
    let mut last = None;
    let (mut behind, mut caught_up) = (0, 0);
    loop {
        tokio::select! {
            item = next(&mut subscription) => match item.unwrap().unwrap() {
                SubscriptionItem::Event(event) => {
                    assert!(last < Some(event.position()), "in order, and each once");
                    last = Some(event.position());
                    seen.push(event.id());
                }
                SubscriptionItem::FellBehind { .. } => {
                    behind += 1;
                    assert_eq!(caught_up, behind, "who falls behind had caught up");
                }
                SubscriptionItem::CaughtUp { .. } => {
                    caught_up += 1;
                    assert_eq!(caught_up, behind + 1, "it is told once");
                }
                SubscriptionItem::Checkpoint { .. } => {}
            },
            _ = until.changed() => {}
        }
        if until.borrow().is_some_and(|count| seen.len() as u64 >= count) {
            return seen;
        }
    }
}

#[test]
fn a_server_that_restarts_loses_nothing_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Engine::options().segment_bytes(64 * 1024, 256 * 1024).open(dir.path()).unwrap();
    let mut running = Running::over(open());
    let url = running.url();
    let clients = tokio::runtime::Runtime::new().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (count, until) = tokio::sync::watch::channel(None);
    let connect = || clients.block_on(nexus_client::connect(&url)).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| clients.spawn(write(connect(), writer, Arc::clone(&stop))))
        .collect();
    let followers: Vec<_> =
        (0..3).map(|_| clients.spawn(follow(connect(), until.clone()))).collect();
    for _ in 0..RESTARTS {
        // Until something new was acknowledged, so that every restart interrupts writers at work.
        let probe = connect();
        let before = clients.block_on(probe.stats()).unwrap().events;
        while clients.block_on(probe.stats()).unwrap().events < before + 20 {}
        running = running.restart(&open);
    }
    stop.store(true, Ordering::Release);
    let acknowledged: Vec<_> =
        writers.into_iter().flat_map(|writer| clients.block_on(writer).unwrap()).collect();
    let unique: BTreeSet<_> = acknowledged.iter().copied().collect();
    assert_eq!(unique.len(), acknowledged.len());
    count.send_replace(Some(unique.len() as u64));
    for follower in followers {
        let follow = async { tokio::time::timeout(Duration::from_secs(60), follower).await };
        let seen = clients.block_on(follow).expect("it sees the last event").unwrap();
        assert_eq!(seen.len(), unique.len());
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), unique);
    }
    let client = connect();
    let mut stored = client.read(Read::all());
    let mut ids = Vec::new();
    clients.block_on(async {
        while let Some(event) = next(&mut stored).await {
            ids.push(event.unwrap().id());
        }
    });
    assert_eq!(ids.len(), unique.len(), "what was sent again is there once");
    println!("count: resume_restarts {RESTARTS}");
    println!("count: resume_acknowledged {}", unique.len());
    drop(running);
}

#[test]
fn a_long_read_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Engine::open(dir.path()).unwrap();
    let running = Running::over(open());
    let url = running.url();
    let clients = tokio::runtime::Runtime::new().unwrap();
    let client = clients.block_on(nexus_client::connect(&url)).unwrap();
    // More than what is read ahead: the read is under way when the server goes.
    let data = bytes::Bytes::from(vec![7_u8; 64 * 1024]);
    for _ in 0..8 {
        let events =
            (0..32).map(|_| EventData::new("Filled", "application/octet-stream", data.clone()));
        clients.block_on(client.append(Append::to("a").events(events))).unwrap();
    }
    for read in [Read::all(), Read::all().backwards(), Read::stream("a").limit(250)] {
        let expected = read.limit.unwrap_or(256);
        let mut events = client.read(read);
        let mut revisions = vec![clients.block_on(next(&mut events)).unwrap().unwrap().revision()];
        clients.block_on(client.close());
        while let Some(event) = clients.block_on(next(&mut events)) {
            revisions.push(event.unwrap().revision());
        }
        assert_eq!(revisions.len() as u64, expected);
        let steps = revisions.windows(2).all(|pair| pair[0].get().abs_diff(pair[1].get()) == 1);
        assert!(steps, "no gap and no repeat");
    }
}

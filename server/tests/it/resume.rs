//! A server that goes and comes back: what was acknowledged is there, what was sent again is there
//! once, and a subscription sees each event once, in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nexus_client::Client;
use nexus_node::Engine;
use nexus_protocol::{
    Append, EventData, EventId, Position, Read, Start, Subscribe, SubscriptionItem,
};
use nexus_testing::executor::next;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

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

/// A reader that follows the log.
struct Follower {
    client: Client,
    /// How many events it has seen.
    seen: watch::Receiver<u64>,
    task: JoinHandle<Vec<EventId>>,
}

impl Follower {
    fn start(client: Client, until: watch::Receiver<Option<u64>>, runtime: &Runtime) -> Self {
        let (progress, seen) = watch::channel(0);
        let task = runtime.spawn(follow(client.clone(), until, progress));
        Self { client, seen, task }
    }

    /// Waits until it has seen so many events.
    async fn has_seen(&mut self, count: u64) {
        let seen = self.seen.wait_for(|seen| *seen >= count);
        let seen = tokio::time::timeout(Duration::from_secs(60), seen).await;
        seen.expect("it goes on within a minute").unwrap();
    }
}

/// Follows the log until it has seen so many events.
async fn follow(
    client: Client,
    mut until: watch::Receiver<Option<u64>>,
    progress: watch::Sender<u64>,
) -> Vec<EventId> {
    let mut subscription = client.subscribe(Subscribe::all());
    let mut seen = Vec::new();
    let mut last = None;
    let (mut behind, mut caught_up) = (0, 0);
    loop {
        tokio::select! {
            item = next(&mut subscription) => match item.unwrap().unwrap() {
                SubscriptionItem::Event(event) => {
                    assert_eq!(event.position().get(), seen.len() as u64, "no replay and no gap");
                    assert!(last < Some(event.position()), "in order");
                    last = Some(event.position());
                    seen.push(event.id());
                    progress.send_replace(seen.len() as u64);
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
    let clients = Runtime::new().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (count, until) = watch::channel(None);
    let connect = || clients.block_on(nexus_client::connect(&url)).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| clients.spawn(write(connect(), writer, Arc::clone(&stop))))
        .collect();
    let mut followers: Vec<_> =
        (0..3).map(|_| Follower::start(connect(), until.clone(), &clients)).collect();
    for _ in 0..RESTARTS {
        // Until everybody has seen something new, so that every restart interrupts writers at work, and
        // readers that would have something to repeat.
        let events = clients.block_on(connect().stats()).unwrap().events;
        for follower in &mut followers {
            clients.block_on(follower.has_seen(events + 20));
        }
        running = running.restart(&open);
    }
    stop.store(true, Ordering::Release);
    let acknowledged: Vec<_> =
        writers.into_iter().flat_map(|writer| clients.block_on(writer).unwrap()).collect();
    let unique: BTreeSet<_> = acknowledged.iter().copied().collect();
    assert_eq!(unique.len(), acknowledged.len());
    count.send_replace(Some(unique.len() as u64));
    for follower in followers {
        let Follower { client, task, .. } = follower;
        let follow = async { tokio::time::timeout(Duration::from_secs(60), task).await };
        let seen = clients.block_on(follow).expect("it sees the last event").unwrap();
        // One when the client was connected, one to subscribe, and a new one after each restart.
        assert!(client.connections_made() >= 2 + RESTARTS as u64, "{}", client.connections_made());
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
    let clients = Runtime::new().unwrap();
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
        let made = client.connections_made();
        clients.block_on(client.reconnect());
        while let Some(event) = clients.block_on(next(&mut events)) {
            revisions.push(event.unwrap().revision());
        }
        assert_eq!(client.connections_made(), made + 1, "the rest came over a new connection");
        assert_eq!(revisions.len() as u64, expected);
        let steps = revisions.windows(2).all(|pair| pair[0].get().abs_diff(pair[1].get()) == 1);
        assert!(steps, "no gap and no repeat");
    }
}

#[test]
fn a_subscription_goes_on_where_it_was() {
    let running = Running::in_memory();
    let client = running.client();
    // More than a server sends ahead of a reader: the rest is still to come when the connection breaks.
    let total = 6_000;
    let append = |numbers: std::ops::Range<u64>| {
        let events = numbers.map(|number| event(0, number));
        running.runtime.block_on(client.append(Append::to("a").events(events))).unwrap();
    };
    (0..6).for_each(|part| append(part * 1000..(part + 1) * 1000));
    let mut subscription = client.subscribe(Subscribe::all());
    let mut item = || running.runtime.block_on(next(&mut subscription)).unwrap().unwrap();
    let position = |item: SubscriptionItem| item.event().map(|event| event.position().get());
    assert_eq!(position(item()), Some(0));
    let made = client.connections_made();
    running.runtime.block_on(client.reconnect());
    let mut expected = 1;
    let caught_up = loop {
        match item() {
            SubscriptionItem::CaughtUp { position } => break position,
            SubscriptionItem::FellBehind { .. } => panic!("it had not caught up"),
            SubscriptionItem::Checkpoint { position } => assert!(position.get() < expected),
            SubscriptionItem::Event(event) => {
                assert_eq!(event.position().get(), expected, "no replay and no gap");
                expected += 1;
            }
        }
    };
    assert_eq!((expected, caught_up.map(|last| last.get())), (total, Some(total - 1)));
    assert_eq!(client.connections_made(), made + 1, "the rest came over a new connection");
    // A live one is told that it fell behind, and sees each event that comes once.
    running.runtime.block_on(client.reconnect());
    append(6000..6002);
    let behind = SubscriptionItem::FellBehind { position: caught_up };
    assert_eq!(item(), behind);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(position(item()));
    }
    assert_eq!(seen, [total, total + 1], "no replay and no gap");
}

#[test]
fn a_subscription_to_what_is_far_ahead_does_not_go_back() {
    let running = Running::in_memory();
    let client = running.client();
    let append = |numbers: std::ops::Range<u64>| {
        let events = numbers.map(|number| event(0, number));
        running.runtime.block_on(client.append(Append::to("a").events(events))).unwrap();
    };
    append(0..11);
    let ahead = Subscribe::all().start(Start::After(Position::new(100)));
    let mut subscription = client.subscribe(ahead);
    let mut item = || running.runtime.block_on(next(&mut subscription)).unwrap().unwrap();
    let head = Some(Position::new(10));
    assert_eq!(item(), SubscriptionItem::CaughtUp { position: head });
    running.runtime.block_on(client.reconnect());
    append(11..131);
    let first = std::iter::repeat_with(item).find_map(|item| item.event()).unwrap();
    assert_eq!(first.position().get(), 101, "what was not asked for is not delivered");
}

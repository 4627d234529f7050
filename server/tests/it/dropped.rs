//! What outlives its client goes on as if it was there: only closing a client ends it.

use nexus_client::Client;
use nexus_node::Engine;
use nexus_protocol::{Append, EventData, EventStore, Read, Subscribe, SubscriptionItem};
use nexus_testing::executor::next;
use tokio::runtime::{Builder, Runtime};

use crate::stores::Running;

fn append() -> Append {
    Append::to("a").event(EventData::json("Counted", &1).unwrap())
}

/// A runtime of one thread: nothing goes on between two calls, so that nothing is early by chance.
fn clients() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn connect(running: &Running, clients: &Runtime) -> Client {
    clients.block_on(nexus_client::connect(&running.url())).unwrap()
}

#[test]
fn a_read_may_begin_when_its_client_is_gone() {
    let (running, clients) = (Running::in_memory(), clients());
    let client = connect(&running, &clients);
    clients.block_on(async {
        client.append(append()).await.unwrap();
        let (mut read, mut subscription) =
            (client.read(Read::all()), client.subscribe(Subscribe::all()));
        drop(client);
        assert_eq!(next(&mut read).await.unwrap().unwrap().stream(), "a");
        assert!(next(&mut read).await.is_none());
        assert!(next(&mut subscription).await.unwrap().unwrap().event().is_some());
    });
}

#[test]
fn an_append_is_answered_when_its_client_is_gone() {
    let (running, clients) = (Running::in_memory(), clients());
    let client = connect(&running, &clients);
    let last = clients.block_on(async {
        let (first, second) = (client.append(append()), client.append(append()));
        drop(client);
        first.await.unwrap();
        second.await.unwrap().last()
    });
    let direct = running.client();
    assert_eq!(running.runtime.block_on(direct.head()).unwrap().position, last);
}

#[test]
fn a_subscription_goes_on_with_a_new_connection_when_its_client_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Engine::open(dir.path()).unwrap();
    let (mut running, clients) = (Running::over(open()), clients());
    let client = connect(&running, &clients);
    clients.block_on(client.append(append())).unwrap();
    let mut subscription = client.subscribe(Subscribe::all());
    drop(client);
    let mut item = || clients.block_on(next(&mut subscription)).unwrap().unwrap();
    assert!(item().event().is_some());
    while !matches!(item(), SubscriptionItem::CaughtUp { .. }) {}
    running = running.restart(&open);
    assert!(matches!(item(), SubscriptionItem::FellBehind { .. }));
    let direct = running.client();
    running.runtime.block_on(direct.append(append())).unwrap();
    let event = std::iter::repeat_with(item).find_map(|item| item.event()).unwrap();
    assert_eq!(event.position().get(), 1, "no repeat and no gap");
}

//! Groups and their consumers, the same over a store in memory and behind a server, and what only a server has: its
//! connections break, and it restarts.

mod answers;
mod bounds;
mod broadcast;
mod delayed;
mod effects;
mod keys;
mod parked;
mod routes;
mod run;
mod sessions;
mod starts;

use std::path::Path;
use std::time::Duration;

use nexus_client::{Client, Consumer, connect};
use nexus_node::config::Certificate;
use nexus_node::{Engine, Node};
use nexus_protocol::group::{Backoff, Delivery, GroupConfig, GroupInfo};
use nexus_protocol::{Append, EventData, Position};
use nexus_server::{Options, Server};

/// Longer than anything takes that is waited for.
const SOON: Duration = Duration::from_secs(30);

/// A server.
pub(crate) struct Running(Server);

impl Running {
    fn over(engine: Engine, change: impl FnOnce(Options) -> Options) -> Self {
        let options = Options::new(Certificate::temporary().unwrap()).dev(true);
        let options = options.listen(nexus_testing::address_to_keep());
        Self(Server::start(Node::over(engine).unwrap(), change(options)).unwrap())
    }

    fn in_memory() -> Self {
        Self::over(Engine::in_memory(), |options| options)
    }

    pub(crate) fn in_directory(dir: &Path) -> Self {
        Self::over(Engine::open(dir).unwrap(), |options| options)
    }

    /// Goes, and comes back at the same address.
    pub(crate) async fn restart(self, dir: &Path) -> Self {
        let address = self.0.quic_address();
        self.end().await;
        let node = Node::over(Engine::open(dir).unwrap()).unwrap();
        let options = Options::new(Certificate::temporary().unwrap()).dev(true).listen(address);
        Self(Server::start(node, options).unwrap())
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&format!("nexus://{}", self.0.quic_address())).await.unwrap()
    }

    pub(crate) async fn end(self) {
        self.0.shut_down(Duration::from_secs(5)).await.unwrap();
    }
}

/// The same of a store in memory, and of one behind a server.
pub(crate) async fn of_each(test: impl AsyncFn(Client)) {
    let client = connect("memory:").await.unwrap();
    test(client.clone()).await;
    client.close().await.unwrap();
    let running = Running::in_memory();
    let client = running.client().await;
    test(client.clone()).await;
    client.close().await.unwrap();
    running.end().await;
}

/// A group whose events come back at once.
fn config() -> GroupConfig {
    let short = Duration::from_millis(1);
    GroupConfig {
        backoff: Backoff { initial: short, max: short },
        max_attempts: 3,
        ..GroupConfig::default()
    }
}

/// Appends so many events, each to a stream of its own; gives the position of the last.
async fn append(client: &Client, numbers: std::ops::Range<u64>) -> Position {
    let mut last = None;
    for number in numbers {
        let event = EventData::json("Counted", &number).unwrap();
        let appended = client.append(Append::to(format!("count-{number}")).event(event)).await;
        last = appended.unwrap().last();
    }
    last.unwrap()
}

/// Whether all up to there is done, or parked.
fn is_done(info: &GroupInfo, last: Position) -> bool {
    info.floor_position > last && info.in_flight == 0
}

fn number_of(delivery: &Delivery) -> u64 {
    delivery.event.json().unwrap()
}

/// So many deliveries.
async fn take(consumer: &Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let more = consumer.receive(count - taken.len(), SOON).await.unwrap();
        assert!(!more.is_empty(), "it comes soon");
        taken.extend(more);
    }
    taken
}

/// One delivery.
pub(crate) async fn take_one(consumer: &Consumer) -> Delivery {
    take(consumer, 1).await.remove(0)
}

/// Asks how a group is until it is as is wanted.
async fn until(client: &Client, group: &str, wanted: impl Fn(&GroupInfo) -> bool) -> GroupInfo {
    let asking = async {
        loop {
            let info = client.group(group).await.unwrap();
            if wanted(&info) {
                return info;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, asking).await.expect("it is so soon")
}

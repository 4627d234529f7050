//! What scenarios of groups share: backlogs, groups, and consumers that take and acknowledge.

use std::sync::Arc;
use std::time::Duration;

use nexus_client::{Client, Consumer};
use nexus_protocol::group::{Delivery, GroupConfig, GroupMode};
use nexus_protocol::{Append, Filter};

use super::super::Bench;
use super::super::server::appends::fill;
use super::super::server::drive::Worker;
use super::super::server::subject::Subject;
use crate::exit::Failure;

/// Consumers of a group, each on a connection of its own.
pub const CONSUMERS: usize = 8;
/// Deliveries that are taken and acknowledged together.
pub const BATCH: usize = 10;
/// Such batches of one consumer that are under way at a time.
pub const BATCHES_AHEAD: usize = 8;
/// Events of an append that fills a log.
const FILL_EVENTS: u64 = 1_000;
/// Streams of an append that fills a log.
const FILL_STREAMS: u64 = 100;
/// Such appends at a time.
const FILLS_UNDER_WAY: usize = 16;
/// Longer than anything takes that is waited for.
const WAIT: Duration = Duration::from_secs(10);

/// A group over the streams of a category.
pub(super) fn group_of(mode: GroupMode, category: &str) -> GroupConfig {
    GroupConfig {
        mode,
        filter: Filter::category(category),
        max_in_flight: 100_000,
        ack_deadline: Duration::from_secs(3_600),
        ..GroupConfig::default()
    }
}

impl Bench {
    /// Appends so many events to so many streams of a category, in turns.
    pub(super) fn backlog(
        &self,
        subject: &Subject,
        category: &str,
        streams: u64,
        events: u64,
    ) -> Result<(), Failure> {
        let client = subject.clients(1)?.pop().expect("one was asked for");
        let (together, name) = (streams.min(FILL_STREAMS), |of: u64| format!("{category}-{of}"));
        let appends = (0..events.div_ceil(FILL_EVENTS)).map(|number| {
            let first = number * together % streams;
            (0..together).fold(Append::new(), |append, of| {
                let orders =
                    (0..FILL_EVENTS / together).map(|it| number * FILL_EVENTS + it * together + of);
                let events = orders.map(|order| self.orders.event(order));
                append.stream(name((first + of) % streams)).events(events)
            })
        });
        fill(&subject.runtime, &client, appends, FILLS_UNDER_WAY)?;
        subject.close(vec![client]);
        Ok(())
    }
}

/// Takes a batch, and acknowledges it; several of these share a consumer.
pub(super) struct Takes {
    consumer: Arc<Consumer>,
}

impl Takes {
    /// Of a consumer on each of these clients.
    pub(super) fn several(clients: &[Client], group: &str) -> Vec<Self> {
        let consumer = |(number, client): (usize, &Client)| {
            let ahead = u32::try_from(2 * BATCH * BATCHES_AHEAD).unwrap_or(u32::MAX);
            Arc::new(client.consumer(group, &format!("consumer-{number}")).prefetch(ahead))
        };
        let consumers: Vec<_> = clients.iter().enumerate().map(consumer).collect();
        let all = consumers.iter().cycle().take(consumers.len() * BATCHES_AHEAD);
        all.map(|consumer| Self { consumer: Arc::clone(consumer) }).collect()
    }

    /// Takes what there is within a while, which may be nothing.
    pub(super) async fn take(&self, wait: Duration) -> Result<Vec<Delivery>, Failure> {
        Ok(self.consumer.receive(BATCH, wait).await?)
    }

    /// Acknowledges them; gives how many count.
    pub(super) async fn ack(&self, taken: &[Delivery]) -> Result<u64, Failure> {
        let tokens: Vec<_> = taken.iter().map(|delivery| delivery.token).collect();
        Ok(self.consumer.ack(&tokens).await?.done)
    }
}

impl Worker for Takes {
    async fn work(&mut self) -> Result<u64, Failure> {
        let taken = self.take(WAIT).await?;
        if taken.is_empty() {
            return Err(Failure::failed("the group has nothing left to deliver"));
        }
        self.ack(&taken).await
    }
}

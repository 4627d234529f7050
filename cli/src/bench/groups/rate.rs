//! How many events a second are delivered and acknowledged.

use std::hint::black_box;

use nexus_client::Client;
use nexus_protocol::Read;
use nexus_protocol::group::GroupMode;

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::Rounds;
use super::super::server::appends::filled;
use super::super::server::drive::{Worker, drive};
use super::super::server::reads::next;
use super::consume::{BATCH, CONSUMERS, Takes, group_of};
use crate::exit::Failure;

/// Events that wait for the consumers: more than they take in all rounds.
const BACKLOG: u64 = 1_500_000;
const BACKLOG_QUICK: u64 = 150_000;
/// Events of one plain read.
const READ_EVENTS: u64 = 10_000;

/// Reads what consumers are given, without a group.
struct Reads {
    client: Client,
    read: Read,
}

impl Worker for Reads {
    async fn work(&mut self) -> Result<u64, Failure> {
        let mut events = self.client.read(self.read.clone());
        for _ in 0..READ_EVENTS {
            black_box(next(&mut events).await?.data());
        }
        Ok(READ_EVENTS)
    }
}

impl Bench {
    /// Eight consumers compete.
    pub(super) fn unordered(&mut self) -> Result<Vec<Scenario>, Failure> {
        self.rate("groups-unordered", GroupMode::Unordered, 100_000.0)
    }

    /// Eight consumers share the keys.
    pub(super) fn ordered(&mut self) -> Result<Vec<Scenario>, Failure> {
        self.rate("groups-ordered", GroupMode::Ordered, 80_000.0)
    }

    fn rate(&self, name: &str, mode: GroupMode, target: f64) -> Result<Vec<Scenario>, Failure> {
        let backlog = if self.effort.quick { BACKLOG_QUICK } else { BACKLOG };
        self.with_server(name, |subject| {
            let category = subject.named(name).replace('-', "");
            self.backlog(subject, &category, 1_000, backlog)?;
            let config = group_of(mode, &category);
            let clients = subject.clients(CONSUMERS)?;
            subject.runtime.block_on(clients[0].set_group(&category, &config))?;
            let mut takes = Takes::several(&clients, &category);
            let readers = subject.clients(CONSUMERS)?.into_iter();
            let read = Read::all().filter(config.filter.clone()).limit(READ_EVENTS);
            let mut reads: Vec<_> =
                readers.map(|client| Reads { client, read: read.clone() }).collect();
            drive(&subject.runtime, &mut takes, self.effort.turn / 2)?;
            let rounds = Rounds::run(
                self.effort.rounds,
                &mut [&mut || drive(&subject.runtime, &mut reads, self.effort.ceiling)],
                || drive(&subject.runtime, &mut takes, self.effort.turn),
            )?;
            let scenario = filled(Scenario::new(name, "events/s", Better::Higher, target), &rounds);
            Ok(vec![scenario.note(format!(
                "{CONSUMERS} consumers on as many connections, batches of {BATCH}, 1,000 streams; latencies from \
                 asking for a batch to its answered acknowledgement; ceiling: the same events by plain reads of as \
                 many clients, which acknowledge nothing"
            ))])
        })
    }
}

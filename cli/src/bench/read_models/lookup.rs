//! A lookup by key behind the position of one's own append: what whoever has changed something sees of it.

use std::time::{Duration, Instant};

use nexus_client::Client;
use nexus_protocol::Append;
use nexus_protocol::projection::{Lookup, ProjectionChange};

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::Latencies;
use super::fresh::append;
use super::purchases::{Purchase, by_stream};
use super::{failed, name_of};
use crate::exit::Failure;

/// Documents that are changed in turns.
const DOCUMENTS: u64 = 100;

/// One client that appends and looks up, in turns.
struct Own {
    client: Client,
    name: String,
    number: u64,
}

impl Own {
    /// Appends, and looks up what came of it, for so long: how long lookups took, and appends and lookups.
    async fn run(&mut self, duration: Duration) -> Result<(Latencies, Latencies), Failure> {
        let (mut lookups, mut both) = (Latencies::default(), Latencies::default());
        let since = Instant::now();
        while lookups.count() == 0 || since.elapsed() < duration {
            let key = format!("{}-{}", self.name, self.number % DOCUMENTS);
            let event = Purchase::numbered(self.number).event();
            self.number += 1;
            let begun = Instant::now();
            let position = append(&self.client, Append::to(key.clone()).event(event)).await?;
            let appended = Instant::now();
            let lookup = Lookup { key, min_position: Some(position), timeout_ms: None };
            let found = self.client.lookup(&self.name, &lookup).await?;
            lookups.add(appended.elapsed());
            both.add(begun.elapsed());
            let purchases = (self.number - 1) / DOCUMENTS + 1;
            if found.position != position || found.document["purchases"] != purchases {
                return Err(failed("a document does not know of the append before its lookup"));
            }
        }
        Ok((lookups, both))
    }
}

impl Bench {
    /// With documents that are kept by key.
    pub(super) fn lookup_own(&mut self) -> Result<Vec<Scenario>, Failure> {
        let rounds = u32::try_from(self.effort.rounds).unwrap_or(1);
        self.with_server("lookup-own", |subject| {
            let name = name_of(subject, "own");
            let client = subject.clients(1)?.pop().ok_or_else(|| failed("no client"))?;
            let definition = by_stream(&name, &name, "kv");
            subject.runtime.block_on(client.set_projection(&name, &definition))?;
            let mut own = Own { client, name, number: 0 };
            let (lookups, both) = subject.runtime.block_on(async {
                own.run(self.effort.turn).await?;
                own.run(self.effort.turn * rounds).await
            })?;
            let gone = ProjectionChange::Delete { version: None };
            subject.runtime.block_on(own.client.change_projection(&own.name, gone))?;
            subject.close(vec![own.client]);
            let goal = Scenario::new("lookup-own", "us p50", Better::Lower, 5_000.0);
            let scenario = goal.measured(lookups.us(0.5)).latencies(&lookups);
            Ok(vec![scenario.note(format!(
                "1 client over QUIC appends an event, and asks for its document behind the position of the answer, {} \
                 times; from the call of the lookup to its answer; append and lookup together p50 {:.0} us; sink `kv`",
                lookups.count(),
                both.us(0.5)
            ))])
        })
    }
}

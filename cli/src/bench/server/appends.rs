//! Appends over QUIC, beside raw QUIC, the raw disk, and the same log embedded.

use std::time::Duration;

use nexus_client::{Client, PendingAppend};
use nexus_engine::Engine;
use nexus_engine::io::raw::{RawOptions, write_sync_loop};
use nexus_protocol::Append;
use tokio::runtime::Runtime;

use super::super::report::{Better, Scenario};
use super::super::rounds::{Latencies, Rounds, Turn};
use super::super::workload::{Writer, append_for};
use super::super::{Bench, disk_failure};
use super::drive::{Worker, drive};
use super::subject::Subject;
use crate::exit::Failure;

/// Writers of the scenarios that ask for many.
pub(super) const MANY: usize = 32;

/// A client that appends, and waits for the answer before it appends again.
pub(super) struct QuicWriter {
    client: Client,
    writer: Writer,
    batch: u64,
    next: Option<Append>,
}

impl QuicWriter {
    /// A writer for each of `writers`, on these clients in turn.
    pub(super) fn several(clients: &[Client], writers: Vec<Writer>, batch: u64) -> Vec<Self> {
        let clients = clients.iter().cycle().cloned();
        let pairs = clients.zip(writers);
        pairs.map(|(client, writer)| Self { client, writer, batch, next: None }).collect()
    }
}

impl Worker for QuicWriter {
    fn prepare(&mut self) {
        if self.next.is_none() {
            self.next = Some(self.writer.next(self.batch));
        }
    }

    async fn work(&mut self) -> Result<u64, Failure> {
        let append = self.next.take().expect("it was made ready");
        let pending: PendingAppend = self.client.append(append);
        pending.await?;
        Ok(self.batch)
    }
}

/// Who appends how much at once.
#[derive(Clone, Copy, Debug)]
struct Load {
    name: &'static str,
    connections: usize,
    writers: usize,
    batch: u64,
}

impl Bench {
    /// One client, batch 1: what the server adds to a durable write and a round trip.
    pub(super) fn quic_one(&mut self) -> Result<Vec<Scenario>, Failure> {
        let load = Load { name: "append-1x1", connections: 1, writers: 1, batch: 1 };
        self.with_server(load.name, |subject| {
            let mut writers = self.quic_writers(subject, &load)?;
            let mut echoes = subject.raw.echoes(&subject.runtime, 1)?;
            drive(&subject.runtime, &mut writers, self.effort.turn / 2)?;
            let rounds = Rounds::run(
                self.effort.rounds,
                &mut [&mut || self.raw_sync(), &mut || {
                    drive(&subject.runtime, &mut echoes, self.effort.ceiling)
                }],
                || drive(&subject.runtime, &mut writers, self.effort.turn),
            )?;
            let (sync_us, echo_us) = (rounds.ceiling_p50_us(0), rounds.ceiling_p50_us(1));
            let goal =
                Scenario::new(load.name, "us p50", Better::Lower, sync_us + 1.5 * echo_us);
            let mut scenario = goal.latencies(&rounds.latencies).ratios(rounds.p50_ratios());
            scenario.events_per_s = Some(rounds.per_s());
            scenario.ceiling_p50_us = Some(sync_us + echo_us);
            Ok(vec![scenario.measured(rounds.p50_us()).note(format!(
                "target: p50 of a raw 4-KiB write-and-sync, {sync_us:.0} us, and 1.5 x that of a raw QUIC \
                 round trip of 256 B, {echo_us:.0} us; ratio: to the sum of both, each once"
            ))])
        })
    }

    /// Thirty-two clients, batch 1, each on a connection of its own, and all on one.
    pub(super) fn quic_many(&mut self) -> Result<Vec<Scenario>, Failure> {
        let apart = Load { name: "append-32x1", connections: MANY, writers: MANY, batch: 1 };
        let shared = Load { name: "append-32x1/one-connection", connections: 1, ..apart };
        [apart, shared].iter().map(|load| self.quic_many_on(load)).collect()
    }

    fn quic_many_on(&self, load: &Load) -> Result<Scenario, Failure> {
        self.with_server(&load.name.replace('/', "-"), |subject| {
            let runtime = &subject.runtime;
            let mut writers = self.quic_writers(subject, load)?;
            let mut echoes = subject.raw.echoes(runtime, MANY)?;
            let rounds = self.with_embedded(load, |embedded| {
                drive(runtime, &mut writers, self.effort.turn / 2)?;
                Rounds::run(
                    self.effort.rounds,
                    &mut [&mut || drive(runtime, &mut echoes, self.effort.ceiling), embedded],
                    || drive(runtime, &mut writers, self.effort.turn),
                )
            })?;
            let (echo, embedded) = (rounds.ceiling_per_s(0), rounds.ceiling_per_s(1));
            let target = f64::min(60_000.0, f64::min(0.7 * echo, 0.6 * embedded));
            let goal = Scenario::new(load.name, "events/s", Better::Higher, target);
            Ok(filled(goal, &rounds).note(format!(
                "target: 60,000, 70 % of raw QUIC echoes of 256 B at {MANY} connections, {echo:.0}/s, or \
                 60 % of the same writers embedded, {embedded:.0}/s, the lowest; ratio: to the echoes"
            )))
        })
    }

    /// Eight clients, batch 100.
    pub(super) fn quic_batches(&mut self) -> Result<Vec<Scenario>, Failure> {
        let load = Load { name: "append-8x100", connections: 8, writers: 8, batch: 100 };
        Ok(vec![self.quic_batches_of(&load, |_| 800_000.0)?])
    }

    /// Four clients, batch 1,000.
    pub(super) fn quic_large_batches(&mut self) -> Result<Vec<Scenario>, Failure> {
        let load = Load { name: "append-4x1000", connections: 4, writers: 4, batch: 1000 };
        Ok(vec![self.quic_batches_of(&load, |bulk| f64::min(1_000_000.0, 0.6 * bulk))?])
    }

    fn quic_batches_of(
        &self,
        load: &Load,
        target: impl Fn(f64) -> f64,
    ) -> Result<Scenario, Failure> {
        self.with_server(load.name, |subject| {
            let runtime = &subject.runtime;
            let mut writers = self.quic_writers(subject, load)?;
            let mut sends = subject.raw.sends(runtime, load.connections, self.record_bytes)?;
            let rounds = self.with_embedded(load, |embedded| {
                drive(runtime, &mut writers, self.effort.turn / 2)?;
                Rounds::run(
                    self.effort.rounds,
                    &mut [&mut || drive(runtime, &mut sends, self.effort.ceiling), embedded],
                    || drive(runtime, &mut writers, self.effort.turn),
                )
            })?;
            let (bulk, embedded) = (rounds.ceiling_per_s(0), rounds.ceiling_per_s(1));
            let goal = Scenario::new(load.name, "events/s", Better::Higher, target(bulk));
            Ok(filled(goal, &rounds).note(format!(
                "ceiling: raw QUIC, {} connections sending in bulk, as records of {} B; the same writers \
                 embedded: {embedded:.0} events/s",
                load.connections, self.record_bytes
            )))
        })
    }

    fn quic_writers(&self, subject: &Subject, load: &Load) -> Result<Vec<QuicWriter>, Failure> {
        let clients = subject.clients(load.connections)?;
        let name = subject.named(&load.name.replace('/', "-"));
        let writers = Writer::several(&self.orders, &name, load.writers);
        Ok(QuicWriter::several(&clients, writers, load.batch))
    }

    /// With the same load on a log in this process, as a ceiling.
    fn with_embedded<T>(
        &self,
        load: &Load,
        work: impl FnOnce(&mut dyn FnMut() -> Result<Turn, Failure>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let name = format!("{}-embedded", load.name.replace('/', "-"));
        self.with_engine(&name, self.backend, |engine| {
            let mut embedded = Embedded::new(self, engine, load.writers, load.batch);
            embedded.turn(self.effort.turn / 2)?;
            work(&mut || embedded.turn(self.effort.ceiling))
        })
    }

    /// The disk alone: 4 KiB at a time, durably.
    fn raw_sync(&self) -> Result<Turn, Failure> {
        let mut options = RawOptions::new(self.backend);
        options.depth = 1;
        options.file_bytes = 1 << 20;
        options.elapsed_max = self.effort.ceiling;
        let report = write_sync_loop(&self.dir, &options).map_err(|error| disk_failure(&error))?;
        Ok(Turn {
            events: report.writes,
            elapsed: report.elapsed,
            latencies: Latencies::of_ns(&report.latencies_ns),
        })
    }
}

/// Writers over a log in this process.
pub(super) struct Embedded<'e> {
    engine: &'e Engine,
    writers: Vec<Writer>,
    batch: u64,
}

impl<'e> Embedded<'e> {
    pub(super) fn new(bench: &Bench, engine: &'e Engine, writers: usize, batch: u64) -> Self {
        let writers = Writer::several(&bench.orders, "embedded", writers);
        Self { engine, writers, batch }
    }

    pub(super) fn turn(&mut self, duration: Duration) -> Result<Turn, Failure> {
        append_for(self.engine, &mut self.writers, self.batch, duration)
    }
}

/// A scenario whose value is its rate.
pub(in crate::bench) fn filled(goal: Scenario, rounds: &Rounds) -> Scenario {
    let mut scenario = goal.latencies(&rounds.latencies).ratios(rounds.rate_ratios());
    scenario.events_per_s = Some(rounds.per_s());
    scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
    scenario.measured(rounds.per_s())
}

/// Appends to streams, many at a time, and waits for all.
///
/// # Errors
/// The first append that was not acknowledged.
pub(in crate::bench) fn fill(
    runtime: &Runtime,
    client: &Client,
    appends: impl Iterator<Item = Append>,
    under_way: usize,
) -> Result<(), Failure> {
    runtime.block_on(async {
        let mut pending = std::collections::VecDeque::with_capacity(under_way);
        for append in appends {
            pending.push_back(client.append(append));
            if pending.len() == under_way
                && let Some(oldest) = pending.pop_front()
            {
                oldest.await?;
            }
        }
        for append in pending {
            append.await?;
        }
        Ok(())
    })
}

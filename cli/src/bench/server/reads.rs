//! Reads over QUIC: a subscriber that catches up with everything, and single streams at random.

use std::hint::black_box;
use std::path::Path;
use std::pin::Pin;

use futures_core::Stream;
use nexus_client::Client;
use nexus_engine::Engine;
use nexus_protocol::{EventStore, Read, ReadError, Start, Subscribe, SubscriptionItem};

use super::super::Bench;
use super::super::log::compress;
use super::super::report::{Better, Scenario};
use super::super::rounds::Rounds;
use super::super::workload::{STREAM_EVENTS, Seeded, UNDER_WAY, fillings};
use super::appends::{fill, filled};
use super::drive::{Worker, drive};
use super::raw::Piece;
use super::subject::Subject;
use crate::exit::Failure;

/// Events of a stream that are appended together: it stands in ten places of the log.
const ROUND_EVENTS: u64 = 10;

/// The log that is read.
struct Log {
    /// What the names of its streams begin with.
    name: String,
    streams: u64,
    /// Behind what was there before.
    start: Start,
}

impl Log {
    fn events(&self) -> u64 {
        self.streams * STREAM_EVENTS
    }
}

/// The next of a stream that does not end.
pub(in crate::bench) async fn next<T, S>(stream: &mut S) -> Result<T, Failure>
where
    S: Stream<Item = Result<T, ReadError>> + Unpin,
{
    let item = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await;
    Ok(item.ok_or_else(|| Failure::failed("events end before all have come"))??)
}

/// A subscriber that comes, takes everything, and goes.
struct CatchUp {
    client: Client,
    start: Start,
    events: u64,
}

impl Worker for CatchUp {
    async fn work(&mut self) -> Result<u64, Failure> {
        let mut subscription = self.client.subscribe(Subscribe::all().start(self.start));
        let mut taken = 0;
        while taken < self.events {
            if let SubscriptionItem::Event(event) = next(&mut subscription).await? {
                black_box(event.data());
                taken += 1;
            }
        }
        Ok(taken)
    }
}

/// A reader of one stream after the other, at random.
struct StreamReader {
    client: Client,
    name: String,
    streams: u64,
    order: Seeded,
}

impl Worker for StreamReader {
    async fn work(&mut self) -> Result<u64, Failure> {
        let number = self.order.below(self.streams);
        let mut events = self.client.read(Read::stream(format!("{}-{number}", self.name)));
        for _ in 0..STREAM_EVENTS {
            black_box(next(&mut events).await?.data());
        }
        Ok(STREAM_EVENTS)
    }
}

impl Bench {
    /// Everything, and single streams, over one log; then everything once it is compressed.
    pub(super) fn server_reads(&mut self) -> Result<Vec<Scenario>, Failure> {
        let dir = self.dir.join("server-reads");
        let subject = self.serve(&dir)?;
        let log = self.filled_log(&subject)?;
        let bulk = |limit, bulk| f64::min(limit, 0.6 * bulk);
        let caught_up = self.catch_up(&subject, &log, "catch-up", |it| bulk(1.5e6, it))?;
        let one = self.streams(&subject, &log, "stream-100", 1, 10_000.0)?;
        let eight = self.streams(&subject, &log, "stream-100/8-readers", 8, 25_000.0)?;
        let sealed = "catch-up/sealed";
        if self.server.is_some() {
            let goal = Scenario::new(sealed, "events/s", Better::Higher, 3e6);
            let unknown = goal.note("a server that runs already seals and compresses when it will");
            return Ok(vec![caught_up, unknown, one, eight]);
        }
        subject.stop()?;
        let smaller = self.compressed(&dir)?;
        let subject = self.serve(&dir)?;
        let compressed = self.catch_up(&subject, &log, sealed, |_| 3e6)?;
        self.end(subject, &dir)?;
        let compressed = compressed.more(&format!("segments compressed, {smaller:.1} x smaller"));
        Ok(vec![caught_up, compressed, one, eight])
    }

    /// Writes the log over the protocol.
    fn filled_log(&self, subject: &Subject) -> Result<Log, Failure> {
        let clients = subject.clients(1)?;
        let client = clients.first().expect("one was asked for");
        let before = subject.runtime.block_on(client.head())?;
        let start = before.position.map_or(Start::Beginning, Start::After);
        let log = Log { name: subject.named("reads"), streams: self.effort.streams, start };
        let name = |number| format!("{}-{number}", log.name);
        let appends = fillings(&self.orders, log.streams, ROUND_EVENTS, name);
        fill(&subject.runtime, client, appends, UNDER_WAY)?;
        subject.close(clients);
        Ok(log)
    }

    /// Compresses what a server has left; how much smaller it is then.
    fn compressed(&self, dir: &Path) -> Result<f64, Failure> {
        let options = Engine::options().backend(self.backend).frames_kept_bytes(0);
        let engine = options.open(dir)?;
        let smaller = compress(&engine)?;
        engine.close().map_err(|error| Failure::failed(error.to_string()))?;
        Ok(smaller)
    }

    fn catch_up(
        &self,
        subject: &Subject,
        log: &Log,
        name: &str,
        target: impl Fn(f64) -> f64,
    ) -> Result<Scenario, Failure> {
        let runtime = &subject.runtime;
        let clients = subject.clients(1)?;
        let (start, events) = (log.start, log.events());
        let catch_up = |client| CatchUp { client, start, events };
        let mut readers: Vec<_> = clients.into_iter().map(catch_up).collect();
        let piece = Piece::bulk(self.record_bytes);
        let mut fetches = subject.raw.fetches(runtime, 1, piece)?;
        // Warm: what was written past the page cache is read into it.
        drive(runtime, &mut readers, self.effort.ceiling)?;
        let rounds = Rounds::run(
            self.effort.rounds,
            &mut [&mut || drive(runtime, &mut fetches, self.effort.ceiling)],
            || drive(runtime, &mut readers, self.effort.turn),
        )?;
        let target = target(rounds.ceiling_per_s(0));
        let goal = Scenario::new(name, "events/s", Better::Higher, target);
        let mut scenario = filled(goal, &rounds);
        // A turn is one event after the other, and no operation that is waited for.
        (scenario.p50_us, scenario.p99_us, scenario.latencies) = (None, None, None);
        Ok(scenario.note(format!(
            "{events} events, 1 subscriber, page cache warm; ceiling: raw QUIC, 1 connection fetching in \
             bulk, as records of {} B",
            self.record_bytes
        )))
    }

    fn streams(
        &self,
        subject: &Subject,
        log: &Log,
        name: &str,
        count: usize,
        target: f64,
    ) -> Result<Scenario, Failure> {
        let runtime = &subject.runtime;
        let clients = subject.clients(count)?;
        let reader = |(number, client)| StreamReader {
            client,
            name: log.name.clone(),
            streams: log.streams,
            order: Seeded::new(number),
        };
        let mut readers: Vec<_> = (1..).zip(clients).map(reader).collect();
        let piece = Piece { bytes: STREAM_EVENTS * self.record_bytes, events: STREAM_EVENTS };
        let mut fetches = subject.raw.fetches(runtime, count, piece)?;
        drive(runtime, &mut readers, self.effort.ceiling)?;
        let rounds = Rounds::run(
            self.effort.rounds,
            &mut [&mut || drive(runtime, &mut fetches, self.effort.ceiling)],
            || drive(runtime, &mut readers, self.effort.turn),
        )?;
        let goal = Scenario::new(name, "reads/s", Better::Higher, target);
        let reads_per_s = rounds.per_s() / STREAM_EVENTS as f64;
        let scenario = filled(goal, &rounds).measured(reads_per_s);
        Ok(scenario.note(format!(
            "{STREAM_EVENTS} events, one of {} streams at a time, each written in {} rounds, {count} \
             connections, page cache warm; ceiling (in events): raw QUIC, as many connections fetching {} \
             B at a time",
            log.streams,
            STREAM_EVENTS / ROUND_EVENTS,
            piece.bytes
        )))
    }
}

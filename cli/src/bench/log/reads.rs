//! Scenarios that read: everything, and one stream that stands all over the log.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use nexus_engine::Engine;
use nexus_engine::io::raw::read_loop;
use nexus_engine::io::{Disk, DiskFile, FileKind, OpenMode, PortableDisk};
use nexus_protocol::Read;

use super::super::conditions::mean_record_bytes;
use super::super::report::{Better, Scenario};
use super::super::rounds::{Latencies, Rounds, Turn};
use super::super::workload::{STREAM_EVENTS, Seeded, fill, repeat_for, stream_name};
use super::super::{Bench, disk_failure};
use crate::exit::Failure;

/// Events of a stream that are appended together.
const ROUND_EVENTS: u64 = 10;
/// Pieces of the log that a stream is found in.
const PIECES: u64 = STREAM_EVENTS / ROUND_EVENTS;
/// Bytes of the file that the raw reads go to.
const CEILING_FILE_BYTES: u64 = 64 << 20;

impl Bench {
    /// Everything, and single streams: over the same log, first as it was written, then compressed.
    pub(super) fn reads(&mut self) -> Result<Vec<Scenario>, Failure> {
        let streams = self.effort.streams;
        let dir = self.dir.join("reads");
        let options = || Engine::options().backend(self.backend);
        let engine = options().compress(false).open(&dir)?;
        fill(&engine, &self.orders, streams, ROUND_EVENTS)?;
        let record_bytes = mean_record_bytes(&engine)?;
        let log = LogRead { streams, record_bytes, compressed: None };
        // Warm: what was written past the page cache is read into it.
        scan(&engine)?;
        let mut scenarios = vec![self.scan(&engine, "scan", 5_000_000.0, &log)?];
        let stream = self.one_stream(&engine, "read-stream-100", &log)?;
        close(engine)?;
        let engine = options().frames_kept_bytes(0).open(&dir)?;
        let log = LogRead { compressed: Some(compress(&engine)?), ..log };
        scan(&engine)?;
        scenarios.push(self.scan(&engine, "scan-compressed", 2_500_000.0, &log)?);
        scenarios.push(stream);
        scenarios.push(self.one_stream(&engine, "read-stream-100/compressed", &log)?);
        close(engine)?;
        std::fs::remove_dir_all(&dir)
            .map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
        Ok(scenarios)
    }

    fn scan(
        &self,
        engine: &Engine,
        name: &str,
        target: f64,
        log: &LogRead,
    ) -> Result<Scenario, Failure> {
        let rounds = Rounds::run(
            self.effort.rounds,
            &mut [&mut || {
                let read = read_loop(&self.dir, 16 << 20, self.effort.ceiling)
                    .map_err(|error| disk_failure(&error))?;
                let (events, elapsed) = (read.bytes / log.record_bytes, read.elapsed);
                Ok(Turn { events, elapsed, latencies: Latencies::default() })
            }],
            || {
                let mut turn = repeat_for(self.effort.turn, || scan(engine))?;
                turn.latencies = Latencies::default();
                Ok(turn)
            },
        )?;
        let goal = Scenario::new(name, "events/s", Better::Higher, target);
        let mut scenario = goal.ratios(rounds.rate_ratios()).measured(rounds.per_s());
        scenario.events_per_s = Some(rounds.per_s());
        scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
        Ok(scenario.note(format!(
            "{} events, one thread, page cache warm, {log}; ceiling: preads of 1 MiB of a warm file, as \
             records of {} B",
            log.streams * STREAM_EVENTS,
            log.record_bytes
        )))
    }

    fn one_stream(&self, engine: &Engine, name: &str, log: &LogRead) -> Result<Scenario, Failure> {
        let (streams, record_bytes) = (log.streams, log.record_bytes);
        let piece_bytes = (ROUND_EVENTS * record_bytes).next_multiple_of(512);
        let raw = RawPieces::prepare(&self.dir, piece_bytes)?;
        let (mut order, mut places) = (Seeded::new(1), Seeded::new(2));
        let rounds = Rounds::run(
            self.effort.rounds,
            &mut [&mut || repeat_for(self.effort.ceiling, || raw.read(&mut places))],
            || repeat_for(self.effort.turn, || read_stream(engine, order.below(streams))),
        )?;
        let goal = Scenario::new(name, "us p50", Better::Lower, 45.0);
        let mut scenario = goal.ratios(rounds.p50_ratios()).latencies(&rounds.latencies);
        scenario.events_per_s = Some(rounds.per_s());
        scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
        scenario.ceiling_p50_us = Some(rounds.ceiling_p50_us(0));
        Ok(scenario.measured(rounds.p50_us()).note(format!(
            "{STREAM_EVENTS} events, one of {streams} streams at a time, each written in {PIECES} \
             rounds of {ROUND_EVENTS}, page cache warm, {log}; ceiling: {PIECES} preads of {piece_bytes} \
             B at random places of a warm file"
        )))
    }
}

/// The log that is read.
#[derive(Clone, Copy, Debug)]
struct LogRead {
    streams: u64,
    record_bytes: u64,
    /// Bytes of its segments before, over those after they were compressed.
    compressed: Option<f64>,
}

impl std::fmt::Display for LogRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.compressed {
            None => write!(f, "not compressed"),
            Some(times) => write!(f, "sealed segments compressed, {times:.1} x smaller in all"),
        }
    }
}

fn close(engine: Engine) -> Result<(), Failure> {
    engine.close().map_err(|error| Failure::failed(error.to_string()))
}

/// Compresses all sealed segments; answers how much smaller the log has become.
pub(in super::super) fn compress(engine: &Engine) -> Result<f64, Failure> {
    let before = engine.stats().bytes;
    loop {
        let done = engine.stats().compressed_segments;
        engine.maintain().map_err(|error| Failure::failed(error.to_string()))?;
        let stats = engine.stats();
        if stats.compressed_segments == done {
            return Ok(before as f64 / stats.bytes.max(1) as f64);
        }
    }
}

/// Reads everything, and says how many events that was.
fn scan(engine: &Engine) -> Result<u64, Failure> {
    let mut count = 0;
    for event in engine.read(Read::all()) {
        black_box(event?.data());
        count += 1;
    }
    Ok(count)
}

fn read_stream(engine: &Engine, number: u64) -> Result<u64, Failure> {
    let mut count = 0;
    for event in engine.read(Read::stream(stream_name(number))) {
        black_box(event?.data());
        count += 1;
    }
    match count {
        STREAM_EVENTS => Ok(count),
        other => Err(Failure::failed(format!("a stream has {other} events, not {STREAM_EVENTS}"))),
    }
}

/// What a read of a stream cannot do without: its pieces, from a warm file.
#[derive(Debug)]
struct RawPieces {
    file: Arc<dyn DiskFile>,
    piece_bytes: u64,
}

impl RawPieces {
    fn prepare(dir: &Path, piece_bytes: u64) -> Result<Self, Failure> {
        let path = dir.join("pieces.tmp");
        let failed = |error| disk_failure(&error);
        let disk = PortableDisk::buffered();
        let file = disk.open(&path, OpenMode::Create, FileKind::Plain).map_err(failed)?;
        disk.remove(&path).map_err(failed)?;
        let stride = vec![7_u8; 1 << 20];
        for offset in (0..CEILING_FILE_BYTES).step_by(stride.len()) {
            nexus_engine::io::write_all_at(&*file, &stride, offset).map_err(failed)?;
        }
        Ok(Self { file, piece_bytes })
    }

    fn read(&self, places: &mut Seeded) -> Result<u64, Failure> {
        let mut buffer = vec![0; usize::try_from(self.piece_bytes).unwrap_or(0)];
        for _ in 0..PIECES {
            let offset = places.below((CEILING_FILE_BYTES - self.piece_bytes) / 512) * 512;
            nexus_engine::io::read_exact_at(&*self.file, &mut buffer, offset)
                .map_err(|error| disk_failure(&error))?;
            black_box(&buffer);
        }
        Ok(STREAM_EVENTS)
    }
}

//! Scenarios that append: one writer, eight, thirty-two, and batches.

use std::time::Duration;

use nexus_engine::io::Backend;
use nexus_engine::io::raw::{RawOptions, write_sync_loop};

use super::super::conditions::{kib_of, mean_record_bytes};
use super::super::report::{Better, Scenario};
use super::super::rounds::{Latencies, Rounds, Turn};
use super::super::workload::{Writer, append_for};
use super::super::{Bench, disk_failure};
use crate::exit::Failure;

/// The backends of which one writer is measured: depth does not matter to it.
const BACKENDS: [Backend; 4] = [
    Backend::PortableBuffered,
    Backend::PortableDirect,
    Backend::UringLinked,
    Backend::UringDirect { depth: Backend::DEPTH_DEFAULT },
];
/// Events that are appended in batches while memory is measured: more would measure the index.
const MEMORY_EVENTS: u64 = 100_000;

/// Who appends how much at once, and what the raw loop beside it writes.
#[derive(Clone, Copy, Debug)]
struct Load {
    name: &'static str,
    backend: Backend,
    writers: usize,
    batch: u64,
    block_bytes: usize,
    /// Writes that the raw loop has in flight.
    depth: usize,
}

impl Bench {
    /// One writer, batch 1: p50 against that of the raw loop, for the chosen backend and for all.
    pub(super) fn one_writer(&mut self) -> Result<Vec<Scenario>, Failure> {
        const NAME: &str = "append-1-writer";
        let mut scenarios = vec![self.one_writer_on(NAME.to_owned(), self.backend)?];
        for backend in BACKENDS {
            let name = format!("{NAME}/{backend}");
            // Whether a backend works is known only once a log file is opened with it.
            scenarios.push(match self.one_writer_on(name.clone(), backend) {
                Ok(scenario) => scenario,
                Err(failure) => {
                    one_writer_goal(name).note(format!("does not work here: {failure:?}"))
                }
            });
        }
        Ok(scenarios)
    }

    fn one_writer_on(&self, name: String, backend: Backend) -> Result<Scenario, Failure> {
        let load = Load { name: "1x1", backend, writers: 1, batch: 1, block_bytes: 4096, depth: 1 };
        let (rounds, _) = self.append_rounds(&load)?;
        let ratios = rounds.p50_ratios();
        let scenario = filled(one_writer_goal(name), &rounds).ratios(ratios);
        let ratio = scenario.ratio.unwrap_or(f64::INFINITY);
        Ok(scenario.measured(ratio))
    }

    /// Eight writers, batch 1, against the rate of the raw loop.
    pub(super) fn eight_writers(&mut self) -> Result<Vec<Scenario>, Failure> {
        self.rate_of("append-8-writers", 8, 4.0)
    }

    /// Thirty-two writers, batch 1, against the rate of the raw loop.
    pub(super) fn many_writers(&mut self) -> Result<Vec<Scenario>, Failure> {
        self.rate_of("append-32-writers", 32, 12.0)
    }

    fn rate_of(
        &self,
        name: &'static str,
        writers: usize,
        target: f64,
    ) -> Result<Vec<Scenario>, Failure> {
        let backend = self.backend;
        let load = Load { name, backend, writers, batch: 1, block_bytes: 4096, depth: 1 };
        let (rounds, _) = self.append_rounds(&load)?;
        let goal = Scenario::new(name, "x raw 4-KiB rate", Better::Higher, target);
        let scenario = filled(goal, &rounds).ratios(rounds.rate_ratios());
        let ratio = scenario.ratio.unwrap_or(0.0);
        Ok(vec![scenario.measured(ratio)])
    }

    /// Eight writers, batch 100: events a second against a million, or against what the disk takes.
    pub(super) fn batches(&mut self) -> Result<Vec<Scenario>, Failure> {
        const NAME: &str = "append-8-writers-batch-100";
        let load = Load {
            name: NAME,
            backend: self.backend,
            writers: 8,
            batch: 100,
            block_bytes: 64 * 1024,
            depth: self.backend.depth(),
        };
        let (rounds, record_bytes) = self.append_rounds(&load)?;
        // Bytes of records only: what frames add is the engine's own affair.
        let per_block = load.block_bytes as f64 / record_bytes as f64;
        let ceiling_per_s = rounds.ceiling_per_s(0) * per_block;
        let target = f64::min(1_000_000.0, 0.7 * ceiling_per_s);
        let goal = Scenario::new(NAME, "events/s", Better::Higher, target);
        let ratios = rounds.rate_ratios().iter().map(|ratio| ratio / per_block).collect();
        let mut scenario = filled(goal, &rounds).ratios(ratios).measured(rounds.per_s());
        scenario.ceiling_per_s = Some(ceiling_per_s);
        Ok(vec![scenario.note(format!(
            "target: 1,000,000 events/s or 70 % of the bytes of a raw 64-KiB write-and-sync loop \
             with {} in flight, the lower; ceiling: as many records of {record_bytes} B as fit it",
            load.depth
        ))])
    }

    /// Rounds of a load, each between two of the raw loop; and the mean size of its records.
    fn append_rounds(&self, load: &Load) -> Result<(Rounds, u64), Failure> {
        let name = load.name.replace('/', "-");
        self.with_engine(&name, load.backend, |engine| {
            let mut writers = Writer::several(&self.orders, load.name, load.writers);
            append_for(engine, &mut writers, load.batch, self.effort.turn / 2)?;
            let rounds =
                Rounds::run(self.effort.rounds, &mut [&mut || self.raw_writes(load)], || {
                    append_for(engine, &mut writers, load.batch, self.effort.turn)
                })?;
            Ok((rounds, mean_record_bytes(engine)?))
        })
    }

    fn raw_writes(&self, load: &Load) -> Result<Turn, Failure> {
        let mut options = RawOptions::new(load.backend);
        options.block_bytes = load.block_bytes;
        options.depth = load.depth;
        options.file_bytes = 256 * load.block_bytes as u64;
        options.elapsed_max = self.effort.ceiling;
        let report = write_sync_loop(&self.dir, &options).map_err(|error| disk_failure(&error))?;
        Ok(Turn {
            events: report.writes,
            elapsed: report.elapsed,
            latencies: Latencies::of_ns(&report.latencies_ns),
        })
    }

    /// Memory that 32 writers need: how far the peak of the process rises.
    pub(super) fn memory(&mut self) -> Result<Vec<Scenario>, Failure> {
        const NAME: &str = "memory-32-writers";
        let goal = Scenario::new(NAME, "MiB", Better::Lower, 64.0);
        // Resets the peak; where that is forbidden the peak so far counts, which only makes it more.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = kib_of("/proc/self/status", "VmRSS");
        let (turn, batched) = self.with_engine(NAME, self.backend, |engine| {
            let mut writers = Writer::several(&self.orders, NAME, 32);
            let single = append_for(engine, &mut writers, 1, self.effort.turn * 4)?;
            let (mut batched, slice) = (0, Duration::from_millis(20));
            while batched < MEMORY_EVENTS {
                batched += append_for(engine, &mut writers, 100, slice)?.events;
            }
            Ok((single, batched))
        })?;
        let after = kib_of("/proc/self/status", "VmHWM");
        let (Some(before), Some(after)) = (before, after) else {
            return Ok(vec![goal.note("this kernel does not say how much memory a process has")]);
        };
        let grown = after.saturating_sub(before) as f64 / 1024.0;
        let mut scenario = goal.measured(grown).latencies(&turn.latencies);
        scenario.events_per_s = Some(turn.per_s());
        Ok(vec![scenario.note(format!(
            "VmHWM of this process, from a log that is opened to the end of {} appends of 1 event and \
             {batched} events in appends of 100, less VmRSS before: queue, frames, recent frames for \
             readers, index of these events, and the writers themselves; events/s and latencies are \
             those of the appends of 1",
            turn.events
        ))])
    }
}

fn one_writer_goal(name: String) -> Scenario {
    Scenario::new(name, "x raw 4-KiB p50", Better::Lower, 1.25)
}

fn filled(goal: Scenario, rounds: &Rounds) -> Scenario {
    let mut scenario = goal.latencies(&rounds.latencies);
    scenario.events_per_s = Some(rounds.per_s());
    scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
    scenario.ceiling_p50_us = Some(rounds.ceiling_p50_us(0));
    scenario
}

//! Ceilings: what the machine does without an engine, beside which the engine's figures are read.
//!
//! - [`write_sync_loop`]: durable writes over a file, by the same backend that the engine uses, and
//!   nothing else. No append can be acknowledged sooner than its p50, nor more frames a second
//!   written than it does.
//! - [`read_loop`]: sequential preads of a warm file: what a scan of the log cannot exceed.
//! - [`copy_loop`]: copies of memory: what anything that touches its bytes once cannot exceed.
//!
//! Their files have no name from the moment they are open, so nothing is left behind, however a
//! loop ends.

use std::collections::VecDeque;
use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    AlignedBuffer, Backend, Disk, DiskFile, DiskResult, FileKind, LogWrite, LogWriter, OpenMode,
    PortableDisk, is_aligned, open_disk, read_exact_at, write_all_at,
};

/// The most latencies that a report keeps. Beyond it every second one is dropped, as often as
/// needed, so that those kept are spread evenly over the loop.
pub const LATENCIES_MAX: usize = 1 << 16;

/// Bytes of one write while a file is filled, and of one read.
const STRIDE_BYTES: usize = 1 << 20;

/// What [`write_sync_loop`] is to do. It ends at the first of its limits.
#[derive(Clone, Debug)]
pub struct RawOptions {
    /// What writes.
    pub backend: Backend,
    /// Bytes of one write: a multiple of [`ALIGNMENT`](super::ALIGNMENT), at most `file_bytes`.
    pub block_bytes: usize,
    /// Writes kept in flight: 1 to the backend's depth.
    pub depth: usize,
    /// Length of the file in bytes, a multiple of [`ALIGNMENT`](super::ALIGNMENT); a loop over a
    /// pre-written one starts over at its end.
    pub file_bytes: u64,
    /// Whether the file is filled with zeros and synced before. If not it grows with every write,
    /// and the loop ends when it is full.
    pub prewritten: bool,
    /// The most writes.
    pub writes_max: u64,
    /// No write starts later than this after the first one.
    pub elapsed_max: Duration,
}

impl RawOptions {
    /// Blocks of 4 KiB, as deep as the backend goes, for a second, over 16 MiB written before.
    pub const fn new(backend: Backend) -> Self {
        Self {
            backend,
            block_bytes: 4096,
            depth: backend.depth(),
            file_bytes: 16 << 20,
            prewritten: true,
            writes_max: u64::MAX,
            elapsed_max: Duration::from_secs(1),
        }
    }
}

/// What [`write_sync_loop`] measured.
#[derive(Clone, Debug, Default)]
pub struct RawReport {
    /// Durable writes done.
    pub writes: u64,
    /// From the first submission to the last completion.
    pub elapsed: Duration,
    /// Nanoseconds from submission to completion of a write, evenly spread over the loop, at most
    /// [`LATENCIES_MAX`].
    pub latencies_ns: Vec<u64>,
}

impl RawReport {
    /// The latency in nanoseconds that `per_mille` of 1,000 writes did not exceed (500: the
    /// median); 0 where nothing was written.
    ///
    /// # Panics
    /// When `per_mille` is above 1,000.
    pub fn latency_ns(&self, per_mille: usize) -> u64 {
        assert!(per_mille <= 1000, "a part of 1,000");
        let mut sorted = self.latencies_ns.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
        sorted.get(rank - 1).copied().unwrap_or(0)
    }

    /// Durable writes a second.
    pub fn writes_per_s(&self) -> f64 {
        per_second(self.writes, self.elapsed)
    }
}

/// What a loop over memory or a warm file measured.
#[derive(Clone, Copy, Debug)]
pub struct ThroughputReport {
    /// Bytes read or copied.
    pub bytes: u64,
    /// For how long.
    pub elapsed: Duration,
}

impl ThroughputReport {
    /// MiB a second.
    pub fn mib_per_s(&self) -> f64 {
        per_second(self.bytes, self.elapsed) / f64::from(1 << 20)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people, from counts far below 2^53")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}

/// Writes durably over a file in `dir`, again and again, as `options` say.
///
/// # Errors
/// `Setup` or `Unsupported` where the backend does not work there; else as the disk's.
///
/// # Panics
/// When an option is outside the bounds documented with it.
pub fn write_sync_loop(dir: &Path, options: &RawOptions) -> DiskResult<RawReport> {
    let mut report = Samples::default();
    RawLoop::prepare(dir, options)?.run(options.elapsed_max, &mut report)?;
    Ok(report.into_report())
}

/// A file made ready for a loop that may be run in several parts, so that backends which are
/// compared can take turns.
pub(super) struct RawLoop {
    options: RawOptions,
    file: Arc<dyn DiskFile>,
    writer: Box<dyn LogWriter>,
    block: Bytes,
    offset_bytes: u64,
    written: u64,
}

impl fmt::Debug for RawLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawLoop").field("options", &self.options).finish_non_exhaustive()
    }
}

impl RawLoop {
    pub(super) fn prepare(dir: &Path, options: &RawOptions) -> DiskResult<Self> {
        let block_bytes = options.block_bytes as u64;
        assert!(block_bytes > 0 && is_aligned(block_bytes), "a block is of whole pages");
        assert!(is_aligned(options.file_bytes), "a file is of whole pages");
        assert!(block_bytes <= options.file_bytes, "a block fits the file");
        assert!((1..=options.backend.depth()).contains(&options.depth), "within the depth");
        let disk = open_disk(options.backend)?;
        let file = unnamed_file(&*disk, dir, FileKind::Log)?;
        if options.prewritten {
            fill(&*file, options.file_bytes)?;
        }
        let mut block = AlignedBuffer::zeroed(options.block_bytes);
        // Not zeros: some devices take those without writing them.
        for (index, byte) in block.as_mut_slice().iter_mut().enumerate() {
            *byte = u8::try_from(index % 251).expect("below 256");
        }
        let writer = disk.log_writer()?;
        Ok(Self {
            options: options.clone(),
            file,
            writer,
            block: block.into_bytes(),
            offset_bytes: 0,
            written: 0,
        })
    }

    /// Runs until `elapsed_max` from now or a limit of the options, and adds what it measured.
    pub(super) fn run(&mut self, elapsed_max: Duration, samples: &mut Samples) -> DiskResult<()> {
        let begun = Instant::now();
        let mut in_flight = VecDeque::with_capacity(self.options.depth);
        loop {
            while in_flight.len() < self.options.depth
                && begun.elapsed() < elapsed_max
                && self.written < self.options.writes_max
                && self.next_offset()
            {
                in_flight.push_back(Instant::now());
                self.writer.submit(LogWrite {
                    file: Arc::clone(&self.file),
                    offset_bytes: self.offset_bytes,
                    bytes: self.block.clone(),
                });
                self.offset_bytes += self.block.len() as u64;
                self.written += 1;
            }
            let Some(submitted) = in_flight.pop_front() else { break };
            self.writer.complete()?;
            samples.add(submitted.elapsed());
        }
        samples.elapsed += begun.elapsed();
        Ok(())
    }

    /// Makes `offset_bytes` that of the next write; whether there is one.
    fn next_offset(&mut self) -> bool {
        let fits = self.offset_bytes + self.block.len() as u64 <= self.options.file_bytes;
        if !fits && self.options.prewritten {
            self.offset_bytes = 0;
        }
        fits || self.options.prewritten
    }
}

/// Latencies as they come, thinned out evenly above [`LATENCIES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Samples {
    writes: u64,
    elapsed: Duration,
    latencies_ns: Vec<u64>,
    /// Every 2^`thinned`th latency is kept.
    thinned: u32,
}

impl Samples {
    fn add(&mut self, latency: Duration) {
        if self.writes.is_multiple_of(1 << self.thinned) {
            if self.latencies_ns.len() == LATENCIES_MAX {
                let mut keep = false;
                self.latencies_ns.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.thinned += 1;
            }
            if self.writes.is_multiple_of(1 << self.thinned) {
                self.latencies_ns.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
            }
        }
        self.writes += 1;
    }

    pub(super) fn into_report(self) -> RawReport {
        let Self { writes, elapsed, latencies_ns, .. } = self;
        RawReport { writes, elapsed, latencies_ns }
    }
}

/// Reads a file of `file_bytes` in `dir` from its start to its end with preads of 1 MiB, again and
/// again for `elapsed_max`, after one turn that warms the page cache and is not counted.
///
/// # Errors
/// As the disk's.
///
/// # Panics
/// When `file_bytes` is not a positive multiple of 1 MiB.
pub fn read_loop(
    dir: &Path,
    file_bytes: u64,
    elapsed_max: Duration,
) -> DiskResult<ThroughputReport> {
    let stride_bytes = STRIDE_BYTES as u64;
    assert!(file_bytes > 0 && file_bytes.is_multiple_of(stride_bytes), "whole strides");
    let file = unnamed_file(&PortableDisk::buffered(), dir, FileKind::Plain)?;
    fill(&*file, file_bytes)?;
    let mut buffer = AlignedBuffer::zeroed(STRIDE_BYTES);
    let mut turn = || -> DiskResult<()> {
        for offset_bytes in (0..file_bytes).step_by(STRIDE_BYTES) {
            read_exact_at(&*file, buffer.as_mut_slice(), offset_bytes)?;
            black_box(buffer.as_slice());
        }
        Ok(())
    };
    turn()?;
    let begun = Instant::now();
    let mut bytes = 0;
    while begun.elapsed() < elapsed_max {
        turn()?;
        bytes += file_bytes;
    }
    Ok(ThroughputReport { bytes, elapsed: begun.elapsed() })
}

/// Copies `copy_bytes` from one place of memory to another, again and again for `elapsed_max`.
///
/// # Panics
/// When `copy_bytes` is 0.
pub fn copy_loop(copy_bytes: usize, elapsed_max: Duration) -> ThroughputReport {
    assert!(copy_bytes > 0, "something is copied");
    let mut from = AlignedBuffer::zeroed(copy_bytes);
    // Written to, or every page of it would be the same page of zeros.
    from.as_mut_slice().fill(1);
    let mut to = AlignedBuffer::zeroed(copy_bytes);
    to.as_mut_slice().fill(2);
    let begun = Instant::now();
    let mut bytes = 0;
    while begun.elapsed() < elapsed_max {
        to.as_mut_slice().copy_from_slice(black_box(from.as_slice()));
        black_box(to.as_slice());
        bytes += copy_bytes as u64;
    }
    ThroughputReport { bytes, elapsed: begun.elapsed() }
}

/// A new file in `dir` that has lost its name again: it goes when it is closed, even by a crash.
fn unnamed_file(disk: &dyn Disk, dir: &Path, kind: FileKind) -> DiskResult<Arc<dyn DiskFile>> {
    static CREATED: AtomicU64 = AtomicU64::new(0);
    // Another thread or process may be measuring in the same folder.
    let number = CREATED.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("measure-{}-{number}.tmp", std::process::id()));
    let file = disk.open(&path, OpenMode::Create, kind)?;
    disk.remove(&path)?;
    Ok(file)
}

fn fill(file: &dyn DiskFile, file_bytes: u64) -> DiskResult<()> {
    let zeros = AlignedBuffer::zeroed(STRIDE_BYTES);
    let mut offset_bytes = 0;
    while offset_bytes < file_bytes {
        let rest_bytes = usize::try_from(file_bytes - offset_bytes).unwrap_or(STRIDE_BYTES);
        let stride = &zeros.as_slice()[..rest_bytes.min(STRIDE_BYTES)];
        write_all_at(file, stride, offset_bytes)?;
        offset_bytes += stride.len() as u64;
    }
    file.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loop_of(backend: Backend, prewritten: bool) -> DiskResult<RawReport> {
        let dir = tempfile::TempDir::with_prefix("nexus-raw-").unwrap();
        let mut options = RawOptions::new(backend);
        options.file_bytes = 40 << 10;
        options.prewritten = prewritten;
        options.writes_max = 25;
        let report = write_sync_loop(dir.path(), &options);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
        report
    }

    #[test]
    fn write_loops_end_at_their_limits() {
        for name in ["portable-buffered", "portable-direct", "uring-linked", "uring-direct:4"] {
            let backend = name.parse().unwrap();
            match loop_of(backend, true) {
                Err(error) => println!("skipped {name}: {error}: {}", error.source),
                Ok(report) => {
                    assert_eq!((report.writes, report.latencies_ns.len()), (25, 25));
                    assert!(report.latency_ns(500) <= report.latency_ns(1000));
                    assert_eq!(loop_of(backend, false).unwrap().writes, 10, "the file is full");
                }
            }
        }
    }

    #[test]
    fn latencies_are_thinned_evenly() {
        let mut samples = Samples::default();
        let writes = 5 * LATENCIES_MAX as u64 + 3;
        for number in 0..writes {
            samples.add(Duration::from_nanos(number));
        }
        let report = samples.into_report();
        assert_eq!(report.writes, writes);
        assert!(report.latencies_ns.len() > LATENCIES_MAX / 2);
        assert!(report.latencies_ns.len() <= LATENCIES_MAX);
        for (index, latency) in report.latencies_ns.iter().enumerate() {
            assert_eq!(*latency, 8 * index as u64, "every eighth is kept");
        }
        assert_eq!(RawReport::default().latency_ns(500), 0);
    }

    #[test]
    fn ceilings_of_reading_and_copying_are_measured() {
        let dir = tempfile::TempDir::with_prefix("nexus-raw-").unwrap();
        let read = read_loop(dir.path(), 2 << 20, Duration::from_millis(5)).unwrap();
        assert!(read.bytes.is_multiple_of(2 << 20) && read.mib_per_s() > 0.0);
        assert!(copy_loop(4096, Duration::from_millis(5)).mib_per_s() > 0.0);
    }
}

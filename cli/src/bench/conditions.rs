//! Under which conditions figures were measured: without them a figure says nothing. No name of a
//! machine or a user is among them.

use std::path::Path;
use std::sync::Arc;

use nexus_engine::Engine;
use nexus_engine::io::Backend;
use nexus_engine::io::raw::{RawOptions, write_sync_loop};
use nexus_protocol::Read;
use serde::{Deserialize, Serialize};

use super::Effort;
use super::workload::{DATA_BYTES, Orders, STREAM_EVENTS, Writer, append_for};
use crate::exit::Failure;
use crate::output::Facts;

/// Another store that was measured in the same run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// What it is called.
    pub name: String,
    /// What its program says that it is.
    pub version: String,
    /// When what it has acknowledged is on disk.
    pub sync: String,
    /// How its clients spoke to it.
    pub clients: String,
}

/// What read models are measured with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadModels {
    /// Of the index that is searched; as many events are folded again.
    pub documents: u64,
    /// That a turn of indexing makes.
    pub turn_documents: u64,
    /// Threads that make segments of documents, of the sink and of raw Tantivy.
    pub writer_threads: u64,
    /// Memory that each of them has.
    pub writer_mib: u64,
    /// When documents are committed.
    pub commits: String,
}

impl ReadModels {
    fn to_text(&self) -> String {
        format!(
            "{} documents, {} a turn of indexing; writer of {} threads with {} MiB each; commits: {}",
            self.documents, self.turn_documents, self.writer_threads, self.writer_mib, self.commits
        )
    }
}

/// What is said beside the figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Of Nexus.
    pub version: String,
    /// `release`, or `debug`: then the figures say nothing.
    pub profile: String,
    /// What the system calls it.
    pub processor: String,
    /// Threads it runs at a time.
    pub cores: u64,
    /// Of the machine.
    pub memory_mib: u64,
    /// Its version.
    pub kernel: String,
    /// Below the folder of the run.
    pub filesystem: String,
    /// How the disk is written.
    pub backend: String,
    /// Why that backend.
    pub backend_reason: String,
    /// What is waited for before an answer.
    pub sync: String,
    /// Median latency of a durable write of 4 KiB, in µs.
    pub sync_p50_us: f64,
    /// What 99 of 100 did not exceed.
    pub sync_p99_us: f64,
    /// Of the data of an event.
    pub data_bytes: u64,
    /// Of an event in the log.
    pub record_bytes: u64,
    /// How well the data compresses.
    pub zstd_ratio: f64,
    /// Of an event.
    pub tags: u64,
    /// Who appends and reads, and how.
    pub clients: String,
    /// Of the set `server`: which server, and how it is spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// How the server is spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// After which a writer goes on with a new stream.
    pub stream_events: u64,
    /// How often everything was measured.
    pub rounds: u64,
    /// How long a turn takes.
    pub turn_ms: u64,
    /// Small logs and rough figures.
    pub quick: bool,
    /// Processes that ran or waited to run on average over the last minute, before the run.
    pub load_1min: f64,
    /// Of the set `read-models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_models: Option<ReadModels>,
    /// What else was measured beside Nexus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
}

impl Conditions {
    /// Looks at the machine, the disk below `dir`, and the events.
    ///
    /// # Errors
    /// When the disk refuses what the engine needs of it.
    pub(super) fn find(
        dir: &Path,
        backend: Backend,
        reason: &str,
        orders: &Arc<Orders>,
        effort: &Effort,
    ) -> Result<Self, Failure> {
        let mut options = RawOptions::new(backend);
        options.depth = 1;
        options.elapsed_max = effort.ceiling;
        let sync = write_sync_loop(dir, &options).map_err(|error| super::disk_failure(&error))?;
        let uname = rustix::system::uname();
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: profile().to_owned(),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, |cores| cores.get() as u64),
            memory_mib: kib_of("/proc/meminfo", "MemTotal").unwrap_or(0) / 1024,
            kernel: uname.release().to_string_lossy().into_owned(),
            filesystem: filesystem(dir),
            backend: backend.to_string(),
            backend_reason: reason.to_owned(),
            sync: sync_mode(backend).to_owned(),
            sync_p50_us: us(sync.latency_ns(500)),
            sync_p99_us: us(sync.latency_ns(990)),
            data_bytes: DATA_BYTES as u64,
            record_bytes: record_bytes(orders)?,
            zstd_ratio: orders.zstd_ratio()?,
            tags: 0,
            clients: "threads in this process; each waits for its answer before the next append, \
                and every append has an expected revision"
                .to_owned(),
            server: None,
            protocol: None,
            stream_events: STREAM_EVENTS,
            rounds: effort.rounds as u64,
            turn_ms: u64::try_from(effort.turn.as_millis()).unwrap_or(u64::MAX),
            quick: effort.quick,
            load_1min: load(),
            read_models: None,
            peers: Vec::new(),
        })
    }

    /// As lines for people.
    pub(super) fn facts(&self) -> Facts {
        let around = if self.peers.is_empty() { "its ceiling" } else { "each peer" };
        let facts = Facts::new()
            .with("version", format!("{} ({})", self.version, self.profile))
            .with(
                "machine",
                format!(
                    "{}, {} cores, {} MiB, load {:.1}",
                    self.processor, self.cores, self.memory_mib, self.load_1min
                ),
            )
            .with("system", format!("kernel {}, {}", self.kernel, self.filesystem))
            .with("backend", format!("{}, {}", self.backend, self.sync))
            .with("chosen because", &self.backend_reason)
            .with(
                "disk sync",
                format!("4 KiB: p50 {:.0} µs, p99 {:.0} µs", self.sync_p50_us, self.sync_p99_us),
            )
            .with(
                "events",
                format!(
                    "{} B of JSON (zstd {:.1} x), {} B as a record, {} tags, streams of {}",
                    self.data_bytes,
                    self.zstd_ratio,
                    self.record_bytes,
                    self.tags,
                    self.stream_events
                ),
            )
            .with("clients", &self.clients)
            .with(
                "rounds",
                format!(
                    "{} of {} ms, each between two of {around}{}",
                    self.rounds,
                    self.turn_ms,
                    if self.quick { "; quick: small logs, rough figures" } else { "" }
                ),
            )
            .with_some("server", self.server.as_ref())
            .with_some("protocol", self.protocol.as_ref())
            .with_some("read models", self.read_models.as_ref().map(ReadModels::to_text));
        self.peers.iter().fold(facts, |facts, peer| {
            let Peer { name, version, sync, clients } = peer;
            facts.with("peer", format!("{name} {version}; {sync}; {clients}"))
        })
    }
}

/// How this binary was built, as far as it matters for figures.
pub(super) fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

fn sync_mode(backend: Backend) -> &'static str {
    if backend.is_direct() {
        "every frame durable before its answer: O_DIRECT writes with RWF_DSYNC"
    } else {
        "every frame durable before its answer: a write, then fdatasync"
    }
}

/// Bytes of an event in the log.
fn record_bytes(orders: &Arc<Orders>) -> Result<u64, Failure> {
    let engine = Engine::in_memory();
    let mut writers = Writer::several(orders, "8x100", 1);
    append_for(&engine, &mut writers, STREAM_EVENTS, std::time::Duration::from_millis(1))?;
    mean_record_bytes(&engine)
}

/// Mean size of the first records of a log, in bytes.
///
/// # Errors
/// When the log cannot be read.
pub(super) fn mean_record_bytes(engine: &Engine) -> Result<u64, Failure> {
    let (mut bytes, mut count) = (0, 0);
    for event in engine.read(Read::all().limit(1000)) {
        bytes += event?.as_bytes().len() as u64;
        count += 1;
    }
    Ok(bytes / u64::max(count, 1))
}

fn filesystem(dir: &Path) -> String {
    let Ok(found) = rustix::fs::statfs(dir) else { return "unknown".to_owned() };
    match u32::try_from(found.f_type).unwrap_or(0) {
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        0x0102_1994 => "tmpfs: nothing on it is durable, figures of appends say nothing".to_owned(),
        other => format!("file system {other:#x}"),
    }
}

/// A field of a file of the kernel's, `NAME : VALUE` a line.
pub(super) fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The same in KiB.
pub(super) fn kib_of(path: &str, name: &str) -> Option<u64> {
    field(path, name)?.split_whitespace().next()?.parse().ok()
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

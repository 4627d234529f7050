//! `nexus doctor`: whether this machine and this directory are fit, and what the disk does.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use nexus_engine::io::{self, Backend, Choice, Effort, Measurement};
use nexus_engine::{Engine, OpenError};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Format, Output, Table, number, text};
use crate::store::Place;

/// Less free space than this is worth a warning.
const FREE_BYTES_WANTED: u64 = 1 << 30;
/// Less free space than this is too little for the segments a log prepares.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// A durable write that takes longer is worth a warning, in µs.
const SYNC_US_WANTED: f64 = 5_000.0;

/// Checks the machine and the data directory, and measures the disk
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus --data ./data doctor
  nexus --data ./data doctor --output json

Measuring takes a few seconds; the best way to write to this disk is kept in the directory and used
from then on. Exit code 1: something has to be mended first.")]
pub(crate) struct Args {}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    found: String,
    wanted: &'static str,
    remedy: &'static str,
}

/// What one way to write did.
#[derive(Debug, Serialize)]
struct MeasurementJson {
    backend: String,
    block_bytes: usize,
    p50_us: f64,
    p99_us: f64,
    writes_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<&Measurement> for MeasurementJson {
    fn from(m: &Measurement) -> Self {
        Self {
            backend: m.backend.to_string(),
            block_bytes: m.block_bytes,
            p50_us: m.p50_us,
            p99_us: m.p99_us,
            writes_per_s: m.writes_per_s,
            error: m.error.clone(),
        }
    }
}

/// What was chosen.
#[derive(Debug, Serialize)]
struct Chosen {
    backend: String,
    reason: String,
    /// Whether the data directory keeps it.
    kept: bool,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
    chosen: Option<Chosen>,
    measurements: Vec<MeasurementJson>,
}

/// Runs the command.
///
/// # Errors
/// When a check fails.
pub(crate) fn run(_: &Args, place: &Place, output: &mut Output) -> Result<(), Failure> {
    place.check_namespace()?;
    let dir = place.dir()?;
    if std::io::stderr().is_terminal() {
        crate::output::notice(format_args!("measuring the disk: this takes a few seconds"));
    }
    let report = examine(dir);
    print(&report, output)?;
    let failed = report.checks.iter().filter(|check| check.status == Status::Fail).count();
    match failed {
        0 => Ok(()),
        1 => Err(Failure::failed("1 check failed: its remedy says what to do")),
        failed => Err(Failure::failed(format!("{failed} checks failed: see their remedies"))),
    }
}

fn examine(dir: &Path) -> Report {
    let directory = directory(dir);
    if directory.status == Status::Fail {
        return Report { checks: vec![directory], chosen: None, measurements: Vec::new() };
    }
    let (data, usable) = data(dir);
    let mut checks = vec![directory, data];
    let Some(existing) = existing(dir) else {
        return Report { checks, chosen: None, measurements: Vec::new() };
    };
    checks.push(free_space(&existing));
    checks.push(uring());
    // A directory that is in use keeps what it has; one that is not there keeps nothing.
    let keep = usable && existing == dir;
    let (chosen, measurements) = match keep.then(|| io::remeasure(&existing, Effort::Long)) {
        Some(Ok(Choice { backend, reason, measurements })) => {
            (Some((backend, reason, true)), measurements)
        }
        Some(Err(_)) | None => {
            let measurements = io::measure(&existing, Effort::Long);
            let chosen = io::choose(&measurements);
            (chosen.map(|(backend, reason)| (backend, reason, false)), measurements)
        }
    };
    checks.push(direct(&measurements));
    checks.push(disk(chosen.as_ref().map(|(backend, ..)| *backend), &measurements));
    Report {
        checks,
        chosen: chosen.map(|(backend, reason, kept)| Chosen {
            backend: backend.to_string(),
            reason,
            kept,
        }),
        measurements: measurements.iter().map(MeasurementJson::from).collect(),
    }
}

/// The directory, or the nearest above it that is there.
fn existing(dir: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(dir).ok()?;
    let found = absolute.ancestors().find(|dir| dir.exists()).filter(|dir| dir.is_dir())?;
    Some(if found == absolute { dir.to_owned() } else { found.to_owned() })
}

fn directory(dir: &Path) -> Check {
    let (status, found) = match std::fs::metadata(dir) {
        Ok(found) if found.is_dir() => (Status::Ok, format!("{} is a directory", dir.display())),
        Ok(_) => (Status::Fail, format!("{} is a file", dir.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            (Status::Warn, format!("{} is not there yet: the first append makes it", dir.display()))
        }
        Err(error) => (Status::Fail, format!("{} cannot be looked at: {error}", dir.display())),
    };
    let wanted = "a directory that Nexus may write";
    Check { name: "directory", status, found, wanted, remedy: "name a directory with --data" }
}

/// Whether what is there can be opened, and by us alone.
fn data(dir: &Path) -> (Check, bool) {
    let opened = Engine::options().create(false).read_only(true).open(dir);
    let (status, found, usable) = match opened {
        Ok(engine) => {
            let events = engine.stats().events;
            let closed = engine.close();
            let status = if closed.is_ok() { Status::Ok } else { Status::Warn };
            (status, format!("opens; {events} events in namespace default"), true)
        }
        // What the engine would refuse to make a data directory is no place to measure in either.
        Err(error @ OpenError::NotFound { .. }) => match nexus_engine::foreign_entry(dir) {
            Ok(Some(holds)) => {
                let error = OpenError::NotEmpty { dir: dir.to_owned(), holds };
                (Status::Fail, error.to_string(), false)
            }
            Ok(None) => (Status::Ok, error.to_string(), true),
            Err(OpenError::Disk(why)) if why.kind() == std::io::ErrorKind::NotFound => {
                (Status::Ok, error.to_string(), true)
            }
            Err(error) => (Status::Fail, error.to_string(), false),
        },
        Err(error @ OpenError::Locked { .. }) => (Status::Warn, error.to_string(), false),
        Err(error) => (Status::Fail, error.to_string(), false),
    };
    let wanted = "a log that opens, or an empty directory";
    let remedy = "do as found says; `nexus verify` names all damage";
    (Check { name: "data", status, found, wanted, remedy }, usable)
}

fn free_space(dir: &Path) -> Check {
    let free = io::open_disk(Backend::PortableBuffered).and_then(|disk| disk.free_bytes(dir));
    let (status, found) = match free {
        Ok(bytes) => {
            let status = match bytes {
                FREE_BYTES_WANTED.. => Status::Ok,
                FREE_BYTES_MIN.. => Status::Warn,
                _ => Status::Fail,
            };
            (status, format!("{} MiB", bytes >> 20))
        }
        Err(error) => (Status::Fail, error.to_string()),
    };
    let remedy = "free some space, or name a directory on another disk";
    Check { name: "free space", status, found, wanted: "1024 MiB or more", remedy }
}

fn uring() -> Check {
    let (status, found) = match io::open_disk(Backend::UringDirect { depth: 1 }) {
        Ok(_) => (Status::Ok, "works".to_owned()),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            (Status::Warn, format!("{error}: {}", cause.unwrap_or_default()))
        }
    };
    let remedy = "allow io_uring to this process (kernel.io_uring_disabled, seccomp profile); \
                  without it Nexus writes another way";
    Check { name: "io_uring", status, found, wanted: "works", remedy }
}

fn direct(measurements: &[Measurement]) -> Check {
    let works = measurements.iter().any(|m| m.backend.is_direct() && m.error.is_none());
    let why = measurements.iter().filter(|m| m.backend.is_direct()).find_map(|m| m.error.clone());
    let (status, found) = match (works, why) {
        (true, _) => (Status::Ok, "work".to_owned()),
        (false, why) => (Status::Warn, why.unwrap_or_else(|| "do not work".to_owned())),
    };
    let remedy = "use a file system with O_DIRECT (ext4, xfs); without it syncs take longer";
    Check { name: "direct writes", status, found, wanted: "work", remedy }
}

fn disk(chosen: Option<Backend>, measurements: &[Measurement]) -> Check {
    let measured = chosen.and_then(|chosen| of_backend(chosen, measurements));
    let (status, found) = match measured {
        Some(m) if m.p50_us <= SYNC_US_WANTED => (Status::Ok, latency(m)),
        Some(m) => (Status::Warn, latency(m)),
        None => {
            let why = measurements.iter().find_map(|m| m.error.clone());
            (Status::Fail, why.unwrap_or_else(|| "nothing could be measured".to_owned()))
        }
    };
    let remedy = "use a local disk with a write cache that survives a power cut";
    Check { name: "durable writes", status, found, wanted: "p50 of 5 ms or less", remedy }
}

/// What a backend did with the smallest blocks.
pub(crate) fn of_backend(chosen: Backend, measurements: &[Measurement]) -> Option<&Measurement> {
    let of_it = measurements.iter().filter(|m| m.backend == chosen && m.error.is_none());
    of_it.min_by_key(|m| m.block_bytes)
}

fn latency(m: &Measurement) -> String {
    format!(
        "{} of {} bytes: p50 {:.0} µs, p99 {:.0} µs",
        m.backend, m.block_bytes, m.p50_us, m.p99_us
    )
}

fn print(report: &Report, output: &mut Output) -> Result<(), Failure> {
    if output.format() != Format::Table {
        output.json_line(report)?;
        return output.flush();
    }
    let mut checks = Table::new(&[text("CHECK"), text("STATUS"), text("FOUND")]);
    for check in &report.checks {
        let status = match check.status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        checks.push(vec![check.name.to_owned(), status.to_owned(), check.found.clone()]);
    }
    output.text(&checks.take())?;
    for check in report.checks.iter().filter(|check| check.status != Status::Ok) {
        output.text(&format!("{}: wanted {}; {}\n", check.name, check.wanted, check.remedy))?;
    }
    let mut table = Table::new(&[
        text("BACKEND"),
        number("BLOCK BYTES"),
        number("P50 µs"),
        number("P99 µs"),
        number("WRITES/s"),
        text("ERROR"),
    ]);
    for m in &report.measurements {
        table.push(vec![
            m.backend.clone(),
            m.block_bytes.to_string(),
            format!("{:.0}", m.p50_us),
            format!("{:.0}", m.p99_us),
            format!("{:.0}", m.writes_per_s),
            m.error.clone().unwrap_or_default(),
        ]);
    }
    output.text(&format!("\n{}", table.take()))?;
    if let Some(chosen) = &report.chosen {
        let kept = if chosen.kept { ", kept in the directory" } else { "" };
        output.text(&format!("\nchosen: {}{kept}: {}\n", chosen.backend, chosen.reason))?;
    }
    output.flush()
}

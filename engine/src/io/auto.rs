//! The disk `auto`: the best one here, measured once and kept in the data directory.
//!
//! The answer is kept in `disk.json` with what it depends on: device, file system, and kernel. When
//! one of these is another, or the file cannot be understood, or the disk it names cannot be set up
//! any more (a sandbox that now forbids io_uring), it is measured anew. The file is derived: it may
//! be removed at any time, and must not travel in a backup.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::raw::{RawOptions, write_sync_loop};
use super::{
    Backend, Choice, Disk, DiskError, DiskOperation, DiskResult, Effort, Measurement, PortableDisk,
    choose, measure, open_disk, read_file, replace_file,
};

/// The name of the file in the data directory that keeps the choice.
pub const DISK_FILE: &str = "disk.json";

/// The version of the form below; a file of another one is measured anew.
const VERSION: u32 = 1;

/// A longer file is not ours.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What a choice depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Conditions {
    /// Major and minor number of the device.
    device: String,
    /// The kernel's magic number of the file system, in hexadecimal.
    file_system: String,
    /// The kernel's release.
    kernel: String,
}

impl Conditions {
    fn of(dir: &Path) -> DiskResult<Self> {
        let failed = |errno: rustix::io::Errno| {
            advise(DiskError::new(DiskOperation::Inspect, dir, errno.into()), dir)
        };
        let device = rustix::fs::stat(dir).map_err(failed)?.st_dev;
        let file_system = rustix::fs::statfs(dir).map_err(failed)?.f_type;
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Ok(Self {
            device: format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)),
            file_system: format!("{file_system:x}"),
            kernel,
        })
    }
}

/// `disk.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    #[serde(flatten)]
    conditions: Conditions,
    backend: String,
    reason: String,
    measurements: Vec<KeptMeasurement>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptMeasurement {
    backend: String,
    block_bytes: usize,
    p50_us: f64,
    p99_us: f64,
    writes_per_s: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Kept {
    fn new(conditions: Conditions, choice: &Choice) -> Self {
        let measurements = choice.measurements.iter().map(|found| KeptMeasurement {
            backend: found.backend.to_string(),
            block_bytes: found.block_bytes,
            p50_us: found.p50_us,
            p99_us: found.p99_us,
            writes_per_s: found.writes_per_s,
            error: found.error.clone(),
        });
        Self {
            version: VERSION,
            conditions,
            backend: choice.backend.to_string(),
            reason: choice.reason.clone(),
            measurements: measurements.collect(),
        }
    }

    /// The choice; `None` where a name in it is not a disk's.
    fn into_choice(self) -> Option<Choice> {
        let measurements = self.measurements.into_iter().map(|found| {
            Some(Measurement {
                backend: found.backend.parse().ok()?,
                block_bytes: found.block_bytes,
                p50_us: found.p50_us,
                p99_us: found.p99_us,
                writes_per_s: found.writes_per_s,
                error: found.error,
            })
        });
        Some(Choice {
            backend: self.backend.parse().ok()?,
            measurements: measurements.collect::<Option<_>>()?,
            reason: self.reason,
        })
    }
}

/// The best disk for the data directory `data_dir`, which must exist: the one kept there, or else
/// the one that a short measurement ([`Effort::Short`]) finds, which is then kept.
///
/// Says so in one line of warning when no direct disk works here, or no io_uring.
///
/// # Errors
/// When the folder cannot be written to, or the disk is full; the message says what to do. Naming
/// a backend instead of `auto` ([`open_disk`]) writes nothing.
pub fn auto_disk(data_dir: &Path) -> DiskResult<(Arc<dyn Disk>, Choice)> {
    let (disk, choice) = match kept(data_dir, &Conditions::of(data_dir)?) {
        Some(kept) => kept,
        None => {
            let choice = remeasure(data_dir, Effort::Short)?;
            (open_disk(choice.backend)?, choice)
        }
    };
    if let Some(warning) = warning(&choice) {
        tracing::warn!(disk = %choice.backend, data_dir = %data_dir.display(), "{warning}");
    }
    Ok((disk, choice))
}

/// Measures in the data directory `data_dir`, which must exist, and keeps the choice there in the
/// place of the one before: what [`auto_disk`] opens from then on.
///
/// # Errors
/// As of [`auto_disk`].
pub fn remeasure(data_dir: &Path, effort: Effort) -> DiskResult<Choice> {
    let conditions = Conditions::of(data_dir)?;
    let choice = choose_anew(data_dir, effort)?;
    keep(data_dir, conditions, &choice)?;
    Ok(choice)
}

/// The kept choice, where it was made under the same conditions and can still be set up. Every way
/// in which it cannot be had is a reason to measure, none an error: measuring will say it better.
fn kept(data_dir: &Path, conditions: &Conditions) -> Option<(Arc<dyn Disk>, Choice)> {
    let path = data_dir.join(DISK_FILE);
    let bytes = read_file(&PortableDisk::buffered(), &path, FILE_BYTES_MAX).ok()?;
    let kept: Kept = serde_json::from_slice(&bytes).ok()?;
    if kept.version != VERSION || kept.conditions != *conditions {
        return None;
    }
    let choice = kept.into_choice()?;
    Some((open_disk(choice.backend).ok()?, choice))
}

fn keep(data_dir: &Path, conditions: Conditions, choice: &Choice) -> DiskResult<()> {
    let kept = Kept::new(conditions, choice);
    let mut text = serde_json::to_vec_pretty(&kept).expect("plain fields are always JSON");
    text.push(b'\n');
    match replace_file(&PortableDisk::buffered(), &data_dir.join(DISK_FILE), &text) {
        // The data directory is not locked yet: another process is keeping its own answer.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) =>
        {
            Ok(())
        }
        other => other.map_err(|error| advise(error, data_dir)),
    }
}

fn choose_anew(data_dir: &Path, effort: Effort) -> DiskResult<Choice> {
    let measurements = measure(data_dir, effort);
    if let Some((backend, reason)) = choose(&measurements) {
        return Ok(Choice { backend, reason, measurements });
    }
    // Nothing works, so the fault is the folder's: one plain write finds out which.
    let mut options = RawOptions::new(Backend::PortableBuffered);
    options.file_bytes = options.block_bytes as u64;
    options.writes_max = 1;
    options.elapsed_max = Duration::from_secs(60);
    write_sync_loop(data_dir, &options).map_err(|error| advise(error, data_dir))?;
    let reason = "no backend could be measured, and this one works everywhere".to_owned();
    Ok(Choice { backend: Backend::PortableBuffered, reason, measurements })
}

/// Adds to an error in the data directory what can be done about it; operation and kind stay.
fn advise(error: DiskError, data_dir: &Path) -> DiskError {
    let advice = match error.kind() {
        _ if error.is_full() => "free some space there; naming a disk instead of auto needs none",
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it for writing, or choose another data directory"
        }
        io::ErrorKind::PermissionDenied => {
            "give the data directory to the user that runs nexus, or choose another one"
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "create the data directory, or name one that exists"
        }
        _ => return error,
    };
    let source = io::Error::new(error.kind(), format!("{}: {advice}", error.source));
    DiskError::new(error.operation, data_dir, source)
}

/// What whoever runs this should know about the choice: at most one line.
fn warning(choice: &Choice) -> Option<String> {
    let failures = |of: fn(Backend) -> bool| {
        let mut concerned = choice.measurements.iter().filter(|found| of(found.backend)).peekable();
        // Only when none works: otherwise there is nothing to fall back from.
        concerned.peek()?;
        concerned.map(|found| found.error.as_deref()).collect::<Option<Vec<_>>>()
    };
    let chosen = choice.backend;
    if let Some(errors) = failures(Backend::is_direct) {
        let error = errors.first().copied().unwrap_or_default();
        return Some(format!("no direct disk works here, so {chosen} is used: {error}"));
    }
    let errors = failures(Backend::is_uring)?;
    let error = errors.first().copied().unwrap_or_default();
    Some(format!("io_uring does not work here, so {chosen} is used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::choose::in_words;
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::TempDir::with_prefix("nexus-auto-").unwrap()
    }

    /// The kept choice with a field put to `value`, so that one that was read is recognised.
    fn put(dir: &Path, field: &str, value: &str) {
        let path = dir.join(DISK_FILE);
        let mut kept: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        kept[field] = value.into();
        std::fs::write(&path, kept.to_string()).unwrap();
    }

    #[test]
    fn choice_is_kept_and_measured_anew_when_conditions_change() {
        let dir = folder();
        let dir = dir.path();
        let (disk, first) = auto_disk(dir).unwrap();
        assert_eq!(disk.name(), first.backend.to_string());
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), 1, "only {DISK_FILE}");
        let (_, again) = auto_disk(dir).unwrap();
        assert_eq!(again, first);
        put(dir, "reason", "kept");
        put(dir, "backend", "portable-buffered");
        let (disk, again) = auto_disk(dir).unwrap();
        assert_eq!((disk.name(), again.reason.as_str()), ("portable-buffered", "kept"));
        for (field, value) in [
            ("device", "0:0"),
            ("file_system", "0"),
            ("kernel", "2.6.32"),
            ("backend", "punched-cards"),
        ] {
            put(dir, "reason", "kept");
            assert_eq!(auto_disk(dir).unwrap().1.reason, "kept");
            put(dir, field, value);
            assert_ne!(auto_disk(dir).unwrap().1.reason, "kept", "{field}");
        }
    }

    #[test]
    fn files_that_do_not_parse_are_measured_anew() {
        let dir = folder();
        let path = dir.path().join(DISK_FILE);
        let long = "x".repeat(70_000);
        for text in ["", "{", "[1]", "{\"version\":2}", "\u{0}\u{1}", &long] {
            std::fs::write(&path, text).unwrap();
            let (_, choice) = auto_disk(dir.path()).unwrap();
            let kept: Kept = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(kept.into_choice(), Some(choice));
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let dir = folder();
        let missing = dir.path().join("missing");
        let error = auto_disk(&missing).unwrap_err();
        assert_eq!((error.kind(), error.path.as_path()), (io::ErrorKind::NotFound, &*missing));
        assert!(in_words(&error).contains("create the data directory"), "{}", in_words(&error));
        for (kind, advice) in [
            (io::ErrorKind::StorageFull, "free some space"),
            (io::ErrorKind::ReadOnlyFilesystem, "mount it for writing"),
            (io::ErrorKind::PermissionDenied, "give the data directory"),
        ] {
            let file = dir.path().join("measure-1-1.tmp");
            let error = DiskError::new(DiskOperation::Open, &file, kind.into());
            let advised = advise(error, dir.path());
            assert_eq!((advised.operation, advised.kind()), (DiskOperation::Open, kind));
            assert_eq!(advised.is_full(), kind == io::ErrorKind::StorageFull);
            assert!(in_words(&advised).contains(advice));
        }
    }

    #[test]
    fn warning_is_one_line_and_only_when_something_is_missing() {
        let check = |failing: fn(Backend) -> bool, expected: Option<&str>| {
            let all = ["portable-buffered", "portable-direct", "uring-linked", "uring-direct:4"];
            let measurements = all.map(|name| {
                let backend: Backend = name.parse().unwrap();
                let error = failing(backend).then(|| format!("{name} fails"));
                let (p50_us, p99_us, writes_per_s) = (1.0, 1.0, 1.0);
                Measurement { backend, block_bytes: 4096, p50_us, p99_us, writes_per_s, error }
            });
            let (backend, reason) = choose(&measurements).unwrap();
            let choice = Choice { backend, reason, measurements: measurements.to_vec() };
            let warning = warning(&choice);
            assert_eq!(warning.as_deref().map(|text| text.lines().count()), expected.map(|_| 1));
            let text = warning.unwrap_or_default();
            assert!(text.contains(expected.unwrap_or_default()), "{text}");
        };
        check(|_| false, None);
        check(|backend| backend == Backend::PortableDirect, None);
        check(Backend::is_uring, Some("io_uring does not work here"));
        check(Backend::is_direct, Some("no direct disk works here"));
        check(|backend| backend != Backend::PortableBuffered, Some("portable-direct fails"));
    }
}

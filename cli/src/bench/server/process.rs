//! [`Process`]: a child of this one that serves, so that what it uses is told apart from what its
//! clients use.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nexus_engine::io::{Backend, DISK_FILE, Effort, remeasure};
use serde::de::DeserializeOwned;

use super::super::conditions::kib_of;
use super::super::disk_failure;
use crate::exit::Failure;
use crate::interrupt;

/// A running child. It is killed where it is dropped: what it wrote is removed anyway.
#[derive(Debug)]
pub(in crate::bench) struct Process {
    child: Child,
}

impl Process {
    /// Starts this program with these words, and gives the line of JSON that it says when it is ready.
    ///
    /// # Errors
    /// When it does not start, or says something else.
    pub(super) fn start<T: DeserializeOwned>(
        words: &[&str],
        dir: Option<&Path>,
    ) -> Result<(Self, T), Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            Failure::failed(format!("`nexus {}` did not start: {why}", words.join(" ")))
        };
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = Command::new(program);
        // Nothing of the environment decides how it serves.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("NEXUS_") {
                command.env_remove(name);
            }
        }
        command.args(["--output", "json"]).args(words);
        if let Some(dir) = dir {
            command.arg("--data").arg(dir);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        interrupt::ends(child.id());
        let said = child.stdout.take().expect("its output is piped");
        let this = Self { child };
        let mut line = String::new();
        let read = BufReader::new(said).read_line(&mut line);
        read.map_err(|error| failed(&error))?;
        let ready = serde_json::from_str(&line).map_err(|_| failed(&"it said why above"))?;
        Ok((this, ready))
    }

    /// Processor time that it has used so far, in all its threads, as `getrusage` counts it.
    pub(in crate::bench) fn cpu(&self) -> Option<Duration> {
        cpu_of(&self.child.id().to_string())
    }

    /// Memory that it holds, in KiB.
    pub(in crate::bench) fn resident_kib(&self) -> Option<u64> {
        kib_of(&format!("/proc/{}/status", self.child.id()), "VmRSS")
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it ends in another way.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        let failed = |why: String| Failure::failed(format!("the server did not end: {why}"));
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .map_err(|error| failed(error.to_string()))?;
        let status = self.child.wait().map_err(|error| failed(error.to_string()))?;
        match status.success() {
            true => Ok(()),
            false => Err(failed(status.to_string())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
        interrupt::forgets(self.child.id());
    }
}

/// Processor time of this process.
pub(super) fn cpu_of_this() -> Option<Duration> {
    cpu_of("self")
}

/// From `/proc/ID/stat`: time in the program and in the kernel, fields 14 and 15.
fn cpu_of(id: &str) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is a name in brackets, and may hold blanks.
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let ticks = times.next()?? + times.next()??;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_secs_f64(ticks as f64 / per_second.max(1) as f64))
}

/// Puts beside the log of a server how its disk is to be written: it would measure that itself, and
/// might find another way than this run did.
///
/// # Errors
/// When it cannot be written.
pub(super) fn choose_backend(from: &Path, dir: &Path, backend: Backend) -> Result<(), Failure> {
    let failed = |path: &Path, why: &dyn std::fmt::Display| {
        Failure::failed(format!("{}: {why}", path.display()))
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
    if !from.join(DISK_FILE).exists() {
        remeasure(from, Effort::Short).map_err(|error| disk_failure(&error))?;
    }
    let (from, to) = (from.join(DISK_FILE), dir.join(DISK_FILE));
    let text = std::fs::read(&from).map_err(|error| failed(&from, &error))?;
    let mut kept: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| failed(&from, &error))?;
    kept["backend"] = backend.to_string().into();
    std::fs::write(&to, kept.to_string()).map_err(|error| failed(&to, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_counted() {
        let before = cpu_of_this().unwrap();
        let mut number = 1_u64;
        while cpu_of_this().unwrap() < before + Duration::from_millis(20) {
            number = std::hint::black_box(number.wrapping_mul(7));
        }
        assert_eq!(cpu_of("no process"), None);
    }
}

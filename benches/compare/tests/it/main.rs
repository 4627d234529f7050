//! The program as it is run, with so little to do that nothing is said about speed: that each store delivers and
//! acknowledges every event once, and that what is printed is the JSON of `nexus bench`.
//!
//! Where a program is not installed there is nothing to test of it, and the test says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The program that is tested.
const COMPARE: &str = env!("CARGO_BIN_EXE_nexus-benches-compare");
const FIELDS: [&str; 9] = [
    "value",
    "unit",
    "target",
    "met",
    "events_per_s",
    "p50_us",
    "p99_us",
    "ceiling_per_s",
    "ratio",
];
const SCENARIOS: [&str; 4] = ["deliveries", "append-8", "append-32", "latency"];
const SEARCHES: [&str; 7] = [
    "search-load",
    "search-term",
    "search-phrase",
    "search-range",
    "search-bool",
    "search-sorted",
    "search-size",
];

/// `nexus` is another package's program: it is there where that was built too.
fn nexus() -> Option<PathBuf> {
    let beside = Path::new(COMPARE).with_file_name("nexus");
    let found = beside.is_file().then_some(beside);
    if found.is_none() {
        eprintln!(
            "skipped: `cargo build -p nexus-cli` puts `nexus` beside the program that is tested"
        );
    }
    found
}

/// A folder that also other users can reach: PostgreSQL runs as one of them where tests are run by the administrator.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

fn compare(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(COMPARE);
    command.arg("--dir").arg(dir).args(["--tiny", "--output", "json"]).args(words);
    command.output().unwrap()
}

fn json(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {error}"))
}

/// Stores that were measured: those whose programs are there.
fn measured(report: &Value, error: &str) -> Vec<&'static str> {
    let mut stores = vec!["nexus"];
    for (store, program, name) in
        [("redis", "redis-server", "Redis Streams"), ("nats", "nats-server", "NATS JetStream")]
    {
        let peers = report["conditions"]["peers"].as_array().into_iter().flatten();
        let peer = peers.clone().find(|peer| peer["name"] == name);
        match peer {
            Some(peer) => {
                assert!(peer["version"].as_str().unwrap().contains('.'), "{peer}");
                stores.push(store);
            }
            None => {
                assert!(error.contains(&format!("{program} is not installed")), "{error}");
                eprintln!("skipped: {program} is not installed");
            }
        }
    }
    stores
}

/// A store that counts other than one delivery and one acknowledgement an event makes the run fail.
#[test]
fn every_store_delivers_and_acknowledges_each_event_once() {
    if nexus().is_none() {
        return;
    }
    let dir = folder();
    let saved = dir.path().join("saved.json");
    let output = compare(dir.path(), &["--save", saved.to_str().unwrap()]);
    let report = json(&output);
    let error = String::from_utf8_lossy(&output.stderr);
    let stores = measured(&report, &error);
    let scenarios = report["scenarios"].as_array().unwrap();
    let mut expected = Vec::new();
    for scenario in SCENARIOS {
        expected.extend(stores.iter().map(|store| format!("{scenario}/{store}")));
    }
    let mut searched = vec!["nexus"];
    let peers = report["conditions"]["peers"].as_array().into_iter().flatten();
    if peers.clone().any(|peer| peer["name"] == "PostgreSQL") {
        searched.push("postgres");
    } else {
        assert!(error.contains("postgres is not installed"), "{error}");
        eprintln!("skipped: postgres is not installed");
    }
    for scenario in SEARCHES {
        expected.extend(searched.iter().map(|store| format!("{scenario}/{store}")));
    }
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario["name"].clone()).collect();
    assert_eq!(names, expected);
    for scenario in scenarios {
        for field in FIELDS {
            assert!(scenario.get(field).is_some(), "{field}: {scenario}");
        }
        assert!(scenario["value"].as_f64().unwrap() > 0.0, "{scenario}");
        let of_nexus = scenario["name"].as_str().unwrap().ends_with("/nexus");
        let is_latency = scenario["name"].as_str().unwrap().starts_with("latency/");
        let has_ratio = !scenario["ratio"].is_null();
        // Latencies have one only where both kept the same pace, which this is too short for.
        assert!(has_ratio != of_nexus || is_latency && !has_ratio, "{scenario}");
        assert!(scenario["target"].is_null(), "nothing was asked: {scenario}");
    }
    let kept: Value = serde_json::from_slice(&std::fs::read(saved).unwrap()).unwrap();
    assert_eq!(kept, report);
    let left = std::fs::read_dir(dir.path()).unwrap();
    let folders = left.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(folders, 0, "nothing that was measured is left");
}

/// A peer whose program is elsewhere, or nowhere.
#[test]
fn only_what_is_asked_for_is_measured() {
    if nexus().is_none() {
        return;
    }
    let dir = folder();
    let only = ["--only", "append-8"];
    // No folder with programs: only what every user's programs are beside may still be found.
    let mut command = Command::new(COMPARE);
    command.env("PATH", dir.path()).arg("--dir").arg(dir.path());
    let output = command.args(["--tiny", "--output", "json"]).args(only).output().unwrap();
    let report = json(&output);
    for scenario in report["scenarios"].as_array().unwrap() {
        assert!(scenario["name"].as_str().unwrap().starts_with("append-8/"), "{scenario}");
    }
    let error = String::from_utf8_lossy(&output.stderr);
    let is_left_out = !measured(&report, &error).contains(&"redis");
    assert_eq!(error.contains("apt-get install redis-server"), is_left_out, "{error}");
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let dir = folder();
    let check = |words: &[&str], said: &str| {
        let output = compare(dir.path(), words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{words:?}: {error}");
    };
    check(&["--only", "everything"], "deliveries");
    check(&["--nexus", "no-such-program"], "no-such-program is no program");
    let help = Command::new(COMPARE).arg("--help").output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("Examples:"));
}

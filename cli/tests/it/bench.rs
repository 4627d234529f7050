//! `bench`: that it measures, judges, keeps, compares, and draws. Not that it is fast: this is no
//! release build, and others share the machine.

use serde_json::Value;

use crate::nexus::{bare, finish};

const FIELDS: [&str; 10] = [
    "name",
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

fn json(args: &[&str]) -> Value {
    let ran = finish(bare().args(args).args(["--output", "json"]), b"");
    serde_json::from_str(&ran.done()).unwrap()
}

#[test]
fn scenarios_are_measured_kept_compared_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (place, saved, drawn) = (path("."), path("saved.json"), path("plot.svg"));
    let bench = |more: &[&str]| {
        let mut arguments = vec!["bench", "--quick", "--dir", &place, "--backend"];
        arguments.extend(["portable-buffered", "--only", "append-8-writers"]);
        arguments.extend(more);
        json(&arguments)
    };
    let report = bench(&["--save", &saved, "--plot", &drawn]);
    let scenarios = report["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 1);
    for field in FIELDS {
        assert!(!scenarios[0][field].is_null(), "{field}: {}", scenarios[0]);
    }
    assert_eq!(scenarios[0]["target"], 4.0);
    let met = scenarios[0]["value"].as_f64().unwrap() >= 4.0;
    assert_eq!(scenarios[0]["met"], met, "a missed target is no failure, and is not hidden");
    for field in ["cores", "kernel", "filesystem", "backend", "sync", "record_bytes", "zstd_ratio"]
    {
        assert!(!report["conditions"][field].is_null(), "{field}: {}", report["conditions"]);
    }
    assert!(std::fs::read_to_string(&drawn).unwrap().contains("append-8-writers"));
    let compared = bench(&["--compare", &saved]);
    assert_eq!(compared["scenarios"][0]["old_value"], scenarios[0]["value"]);
    assert!(compared["scenarios"][0]["new_over_old"].is_number());
    let left = std::fs::read_dir(dir.path()).unwrap();
    let left = left.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(left, 0, "no log is left behind");
}

#[test]
fn scenarios_are_listed_with_their_targets_and_unknown_ones_refused() {
    let list = json(&["bench", "--list"]);
    let names: Vec<_> =
        list["scenarios"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect();
    for name in ["append-1-writer", "append-8-writers-batch-100", "scan", "read-stream-100"] {
        assert!(names.contains(&name.into()), "{name}");
    }
    assert!(finish(bare().args(["bench", "--list"]), b"").done().contains("1.25"));
    let refused = finish(bare().args(["bench", "--only", "everything"]), b"");
    refused.fails(2, &["append-8-writers"]);
}

#[test]
fn a_data_directory_is_no_place_to_measure_in() {
    let args = ["--data", "d", "bench", "--list"];
    finish(bare().args(args), b"").fails(2, &["bench takes no --data", "--dir"]);
    let args = ["--namespace", "nope", "bench", "--list"];
    finish(bare().args(args), b"").fails(2, &["no --namespace"]);
    // The environment is for other commands.
    finish(bare().args(["bench", "--list"]).env("NEXUS_DATA", "d"), b"").done();
}

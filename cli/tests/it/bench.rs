//! `bench`: that it measures, judges, keeps, compares, and draws. Not that it is fast: this is no
//! release build, and others share the machine.

use serde_json::Value;

use crate::nexus::{Folder, bare, finish};
use crate::serve::Serving;

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

/// Measures scenarios of a server in tiny sizes; they must have been measured, whatever came out.
fn measured(more: &[&str], names: &[&str]) -> Value {
    measured_of("server", more, names)
}

fn measured_of(set: &str, more: &[&str], names: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let mut arguments = vec!["bench", "--set", set, "--quick", "--dir", place];
    arguments.extend(["--backend", "portable-buffered"]);
    arguments.extend(more);
    let report = json(&arguments);
    let scenarios = report["scenarios"].as_array().unwrap();
    let found: Vec<_> = scenarios.iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(found, names);
    for scenario in scenarios {
        assert!(scenario["value"].as_f64().unwrap() >= 0.0, "{scenario}");
        assert_eq!(scenario["met"].is_null(), scenario["target"].is_null(), "{scenario}");
    }
    for field in ["server", "protocol", "clients", "sync_p50_us", "backend", "data_bytes"] {
        assert!(!report["conditions"][field].is_null(), "{field}: {}", report["conditions"]);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no log is left behind");
    report
}

#[test]
fn appends_over_quic_are_measured_beside_raw_quic_and_the_disk() {
    let report = measured(&["--only", "append-1x1"], &["append-1x1"]);
    let one = &report["scenarios"][0];
    let ceiling_us = one["ceiling_p50_us"].as_f64().unwrap();
    let target_us = one["target"].as_f64().unwrap();
    assert!((ceiling_us..1.5 * ceiling_us).contains(&target_us), "{one}");
    let names = ["append-32x1", "append-32x1/one-connection"];
    let report = measured(&["--only", "append-32x1"], &names);
    assert!(report["scenarios"][0]["target"].as_f64().unwrap() <= 60_000.0);
    let names = ["append-8x100", "append-4x1000"];
    let report = measured(&["--only", "append-8x100", "append-4x1000"], &names);
    assert_eq!(report["scenarios"][0]["target"], 800_000.0);
}

#[test]
fn reads_over_quic_are_measured() {
    let names = ["catch-up", "catch-up/sealed", "stream-100", "stream-100/8-readers"];
    let report = measured(&["--only", "catch-up", "stream-100"], &names);
    assert!(report["scenarios"][2]["ceiling_per_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn live_delivery_is_measured_with_the_memory_that_it_takes() {
    let names = ["live", "live/1000", "live/1000-rate", "live/1000-memory"];
    let report = measured(&["--only", "live"], &names);
    assert_eq!(report["scenarios"][1]["target"], 15_000.0);
}

#[test]
fn http_is_measured_and_what_each_door_costs() {
    let names = ["http-append", "cpu-quic", "cpu-http", "cpu-embedded"];
    let report =
        measured(&["--only", "http-append", "cpu-quic", "cpu-http", "cpu-embedded"], &names);
    // More than nothing in this build, whose turns take many ticks of the clock of processes.
    assert!(report["scenarios"][2]["value"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn groups_are_measured() {
    let names = ["groups-unordered", "groups-ordered", "groups-latency", "groups-critical"];
    let report = measured_of("groups", &[&["--only"], &names[..]].concat(), &names);
    let targets: Vec<_> =
        report["scenarios"].as_array().unwrap().iter().map(|it| &it["target"]).collect();
    assert_eq!(targets, [100_000.0, 80_000.0, 3_000.0, 2.0]);
    let memory = ["groups-memory/in-flight", "groups-memory/lanes", "groups-memory/stuck"];
    measured_of("groups", &["--only", "groups-memory"], &memory);
}

#[test]
fn read_models_are_measured_beside_raw_tantivy() {
    let names = ["index", "index/folded"];
    let report = measured_of("read-models", &["--only", "index"], &names);
    let scenarios = &report["scenarios"];
    assert_eq!(scenarios[0]["target"], 0.7);
    assert!(scenarios[0]["ceiling_per_s"].as_f64().unwrap() > 0.0, "{report}");
    assert!(scenarios[1]["target"].is_null(), "nothing was asked: {report}");
    let conditions = &report["conditions"]["read_models"];
    for field in ["documents", "turn_documents", "writer_threads", "writer_mib"] {
        assert!(conditions[field].as_u64().unwrap() > 0, "{field}: {conditions}");
    }
    let kinds = ["query/term", "query/phrase", "query/range", "query/bool", "query/sorted"];
    let names = [&["query"], &kinds[..]].concat();
    let report = measured_of("read-models", &["--only", "query"], &names);
    for scenario in report["scenarios"].as_array().unwrap() {
        assert_eq!(scenario["target"], 1.2, "{scenario}");
        assert!(scenario["ceiling_p50_us"].as_f64().unwrap() > 0.0, "{scenario}");
    }
}

#[test]
fn read_models_of_a_server_are_measured() {
    let names = ["searchable", "searchable/p99", "lookup-own", "rebuild", "rebuild/cores"];
    let only = ["--only", "searchable", "lookup-own", "rebuild"];
    let report = measured_of("read-models", &only, &names);
    let targets: Vec<_> =
        report["scenarios"].as_array().unwrap().iter().map(|it| &it["target"]).collect();
    assert_eq!(
        targets,
        [&500_000.0.into(), &1_200_000.0.into(), &5_000.0.into(), &Value::Null, &1.5.into()]
    );
}

#[test]
fn a_server_that_runs_is_measured_and_keeps_what_it_had() {
    let folder = Folder::new();
    let server = Serving::dev(&folder);
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let url = server.url();
    let bench = |more: &[&str]| {
        let mut arguments = vec!["--server", &url, "bench", "--quick", "--dir", place];
        arguments.extend(more);
        json(&arguments)
    };
    let report = bench(&["--only", "append-1x1", "live/1000-memory"]);
    assert!(report["scenarios"][0]["value"].as_f64().unwrap() > 0.0);
    let memory = &report["scenarios"][1];
    assert!(memory["value"].is_null() && memory["met"] == false, "{memory}");
    let listed = bench(&["--list"]);
    assert_eq!(listed["scenarios"][0]["name"], "append-1x1");
    assert!(listed["scenarios"][0]["target"].as_str().unwrap().contains("1.5"));
    let refused = ["--server", &url, "bench", "--set", "log"];
    finish(bare().args(refused), b"").fails(2, &["leave --server out"]);
}

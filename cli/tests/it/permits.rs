//! The permit log: known answers, imported once, twice, and by a process that is killed.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::run::{import_permits, json, nexus, ok, permits};

fn count(dir: &std::path::Path, filter: &[&str]) -> usize {
    let mut arguments = vec!["read", "--output", "ndjson"];
    arguments.extend(filter);
    ok(dir, &arguments).lines().count()
}

#[test]
fn the_permit_log_gives_its_known_answers_and_is_imported_once() {
    let Some(path) = permits() else { return };
    let dir = tempfile::tempdir().unwrap();
    let imported = json(dir.path(), &import_permits(&path));
    assert_eq!(imported["appended"], 8577);
    assert_eq!(imported["streams"], 1434);
    let again = json(dir.path(), &import_permits(&path));
    assert_eq!(
        (again["appended"].as_u64(), again["already_there"].as_u64()),
        (Some(0), Some(8577))
    );
    let stats = json(dir.path(), &["stats"]);
    assert_eq!(stats["events"], 8577);
    assert_eq!(stats["streams"], 1434);
    assert_eq!(count(dir.path(), &["--type", "Confirmation of receipt"]), 1434);
    for (channel, events) in
        [("Internet", 7478), ("Desk", 657), ("Post", 308), ("e-mail", 128), ("Intern", 6)]
    {
        assert_eq!(
            count(dir.path(), &["--tag", &format!("channel:{channel}")]),
            events,
            "{channel}"
        );
    }
    assert_eq!(count(dir.path(), &["--tag", "group:Group 2"]), 1228);
    assert_eq!(count(dir.path(), &["--tag", "group:EMPTY"]), 1936);
    assert_eq!(count(dir.path(), &["permit-case-5141"]), 12);
    let verified = json(dir.path(), &["verify"]);
    assert_eq!((verified["ok"].as_bool(), verified["events"].as_u64()), (Some(true), Some(8577)));
}

#[test]
fn export_and_import_restore_the_events_as_they_were() {
    let Some(path) = permits() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a"), dir.path().join("b"));
    ok(&first, &import_permits(&path));
    let file = dir.path().join("events.ndjson");
    ok(&first, &["export", "--out", file.to_str().unwrap()]);
    let restored = json(&second, &["import", file.to_str().unwrap()]);
    assert_eq!(restored["appended"], 8577);
    let lines = |dir: &std::path::Path| -> Vec<serde_json::Value> {
        let text = ok(dir, &["export"]);
        text.lines()
            .map(|line| {
                let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
                event.as_object_mut().unwrap().remove("recorded_at");
                event
            })
            .collect()
    };
    assert_eq!(lines(&first), lines(&second));
}

#[test]
fn an_import_that_is_killed_and_run_again_loses_and_doubles_nothing() {
    let Some(path) = permits() else { return };
    for lines_before in [1, 3, 6] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = nexus(dir.path())
            .args(import_permits(&path))
            .args(["--progress", "lines"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        assert_eq!(stderr.lines().take(lines_before).count(), lines_before);
        child.kill().unwrap();
        child.wait().unwrap();
        let killed_at = json(dir.path(), &["stats"])["events"].as_u64().unwrap();
        assert!(killed_at > 0 && killed_at <= 8577, "{killed_at}");
        let imported = json(dir.path(), &import_permits(&path));
        assert_eq!(imported["already_there"].as_u64(), Some(killed_at));
        assert_eq!(json(dir.path(), &["stats"])["events"], 8577);
        assert_eq!(json(dir.path(), &["verify"])["ok"], true);
    }
}

#[test]
fn verify_names_file_and_offset_after_one_flipped_byte() {
    let Some(path) = permits() else { return };
    let dir = tempfile::tempdir().unwrap();
    ok(dir.path(), &import_permits(&path));
    let segment = dir.path().join("namespaces/default/segments/0000000002.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[50_000] ^= 0x10;
    std::fs::write(&segment, bytes).unwrap();
    let output = crate::run::run(dir.path(), &["verify", "--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert!(report["errors"][0]["file"].as_str().unwrap().ends_with("0000000002.seg"));
    assert!(report["errors"][0]["offset_bytes"].as_u64().unwrap() <= 50_000);
    // What is whole can still be saved, and what is lost is named.
    let exported = crate::run::run(dir.path(), &["export"]);
    assert_eq!(exported.status.code(), Some(1));
    // At most the one frame is lost: 512 rows went into an append.
    let whole = exported.stdout.iter().filter(|b| **b == b'\n').count();
    assert!((8577 - 512 * 4..8577).contains(&whole), "{whole}");
    assert!(String::from_utf8_lossy(&exported.stderr).contains("are lost"));
}

//! Commands on a small log: what they print, and their exit codes.

use crate::run::{fails, json, ok};

#[test]
fn append_read_and_stream_commands_work_together() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for n in 0..5 {
        let data = format!("{{\"n\": {n}}}");
        let arguments =
            ["append", "order-1", "--type", "OrderPlaced", "--tag", "customer:7", "--data", &data];
        let answer = json(dir, &arguments);
        assert_eq!(answer["last_revision"], n);
    }
    let read = json(dir, &["read", "order-1", "--backwards", "--limit", "2"]);
    let numbers: Vec<_> =
        read["events"].as_array().unwrap().iter().map(|e| &e["data"]["n"]).collect();
    assert_eq!(numbers, [4, 3]);
    let error = fails(
        dir,
        &["append", "order-1", "--type", "T", "--expected", "no_stream", "--data", "1"],
        3,
    );
    assert!(error.contains("expected no stream, found revision 4"), "{error}");
    assert_eq!(
        json(dir, &["read", "order-1", "--as-of", "revision:1"])["events"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    ok(dir, &["stream", "truncate", "order-1", "--before", "3"]);
    assert_eq!(json(dir, &["stream", "show", "order-1"])["events"], 2);
    assert_eq!(ok(dir, &["tail", "--output", "ndjson"]).lines().count(), 2);
    ok(dir, &["stream", "delete", "order-1"]);
    assert!(json(dir, &["streams"])["streams"].as_array().unwrap().is_empty());
    ok(dir, &["stream", "tombstone", "order-1"]);
    fails(dir, &["append", "order-1", "--type", "T", "--data", "1"], 3);
    let explain = ok(dir, &["read", "--tag", "customer:7", "--explain"]);
    assert!(explain.contains("postings"), "{explain}");
}

#[test]
fn tail_prints_what_a_pipe_still_wants() {
    let dir = tempfile::tempdir().unwrap();
    ok(dir.path(), &["append", "a", "--type", "T", "--data", "1"]);
    assert_eq!(ok(dir.path(), &["tail", "--limit", "1"]).lines().count(), 2);
}

#[test]
fn the_demo_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let demo = json(dir.path(), &["demo", "--seconds", "1", "--writers", "2"]);
    assert_eq!(demo["verified_ok"], true);
    assert_eq!(demo["events"], demo["subscription_events"]);
}

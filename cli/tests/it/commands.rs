//! Each command once, as the help shows it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::nexus::{Folder, bare, finish, lines};

fn three_orders() -> Folder {
    let folder = Folder::new();
    for (stream, event_type, tag) in [
        ("order-1", "OrderPlaced", "customer:7"),
        ("order-2", "OrderPlaced", "customer:8"),
        ("order-1", "OrderPaid", "customer:7"),
    ] {
        folder.done(&["append", stream, "--type", event_type, "--tag", tag, "--data", "{}"]);
    }
    folder
}

#[test]
fn an_append_answers_where_the_event_stands_and_repeats_are_recognised() {
    let folder = Folder::new();
    let id = "0192d1f0-0000-7000-8000-000000000001";
    let append = ["append", "order-1", "--type", "OrderPlaced", "--data", "{}", "--id", id];
    let answer = json!({
        "stream": "order-1", "first_revision": 0, "last_revision": 0, "first_position": 0,
        "last_position": 0, "replayed": false, "id": id,
    });
    assert_eq!(folder.json(&append), answer);
    assert_eq!(folder.json(&append)["replayed"], true);
    let other = ["append", "order-1", "--type", "OrderPaid", "--data", "{}", "--id", id];
    folder
        .run(&other)
        .fails(3, &["stands at position 0 with other content: make a new id [NX2002]"]);
}

#[test]
fn expectations_are_kept_and_conflicts_have_their_exit_code() {
    let folder = three_orders();
    let append = |expected: &str| {
        let args = ["append", "order-1", "--type", "T", "--data", "1", "--expected", expected];
        folder.run(&args)
    };
    append("no_stream").fails(3, &["stream \"order-1\": expected no stream, found revision 1"]);
    append("0").fails(3, &["expected revision 0, found revision 1"]);
    append("1").done();
    append("exists").done();
    let denied = ["append", "$meta-order-1", "--type", "T", "--data", "1"];
    folder.run(&denied).fails(4, &["is the system's"]);
}

#[test]
fn the_last_day_of_the_calendar_is_a_time() {
    let folder = Folder::new();
    let append =
        |at: &str| folder.run(&["append", "a", "--type", "T", "--data", "1", "--occurred-at", at]);
    append("9999-12-31T23:59:59Z").done();
    let read = folder.json(&["read", "a"]);
    assert_eq!(read["events"][0]["occurred_at"], "9999-12-31T23:59:59.000000Z");
    append("+010000-01-01T00:00:00Z").fails(2, &["a year up to 9999"]);
}

#[test]
fn reads_select_page_and_look_back() {
    let folder = three_orders();
    let read = |args: &[&str]| folder.json(&[&["read"], args].concat());
    let places = |args: &[&str]| -> Vec<u64> {
        let list = read(args);
        let events = list["events"].as_array().unwrap().clone();
        events.iter().map(|event| event["position"].as_u64().unwrap()).collect()
    };
    assert_eq!(places(&["order-1"]), [0, 2]);
    assert_eq!(places(&["order-1", "--backwards"]), [2, 0]);
    assert_eq!(places(&["--type", "OrderPlaced"]), [0, 1]);
    assert_eq!(places(&["--tag", "customer:7", "--type", "OrderPaid"]), [2]);
    assert_eq!(places(&["--category", "order", "--from", "1"]), [1, 2]);
    assert_eq!(places(&["--stream-prefix", "order-2"]), [1]);
    assert_eq!(places(&["--as-of", "position:1"]), [0, 1]);
    assert_eq!(places(&["order-1", "--as-of", "revision:0"]), [0]);
    folder.run(&["read", "nothing"]).fails(1, &["there is no stream \"nothing\""]);
    assert!(places(&["--category", "nothing"]).is_empty());
    let first = read(&["--limit", "2"]);
    assert_eq!(first["next"], 2);
    assert_eq!(read(&["--limit", "2", "--from", "2"])["next"], json!(null));
    let explained = read(&["--tag", "customer:7", "--explain"]);
    let looked = json!({"index": "postings", "segments_read": 1, "postings_read": 2, "events": 2});
    assert_eq!(explained, looked);
    let explained = read(&["order-1", "--explain"]);
    let looked = json!({"index": "stream", "segments_read": 1, "postings_read": 2, "events": 2});
    assert_eq!(explained, looked);
    let explained = read(&["--explain"]);
    assert_eq!((&explained["index"], &explained["segments_read"]), (&json!("scan"), &json!(1)));
    let table = folder.done(&["read", "order-1"]);
    assert!(table.starts_with("POSITION  REVISION  STREAM   TYPE"), "{table}");
}

#[test]
fn the_tail_is_the_newest_events_and_follows() {
    let folder = three_orders();
    let tail = lines(&folder.done(&["--output", "ndjson", "tail", "--limit", "2"]));
    assert_eq!(tail.iter().map(|e| e["position"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    let mut command = folder.command();
    command.args(["--output", "ndjson", "tail", "--follow", "--category", "order"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    for position in 0..3 {
        let line: serde_json::Value = serde_json::from_str(&out.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["position"], position, "it goes on waiting with all of it printed");
    }
    // It has the directory open, and says so: nobody else appends meanwhile.
    let append = ["append", "order-3", "--type", "T", "--data", "1"];
    folder.run(&append).fails(5, &[&format!("(process {})", child.id()), "stop that one"]);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("this process has the directory open"), "{said}");
    folder.done(&append);
    folder.run(&["tail", "nothing"]).fails(1, &["there is no stream \"nothing\""]);
}

#[test]
fn a_tail_that_nobody_reads_any_more_ends() {
    let folder = three_orders();
    let mut command = folder.command();
    command.args(["--output", "ndjson", "tail", "--follow"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..3 {
        out.read_line(&mut String::new()).unwrap();
    }
    // It has printed all there is, and waits.
    drop(out);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_list_of_nothing_says_so() {
    let folder = three_orders();
    for (args, what) in [
        (&["read", "--category", "nothing"][..], "no events"),
        (&["tail", "--type", "Nothing"], "no events"),
        (&["stream", "list", "--prefix", "x"], "no streams"),
        (&["snapshot", "list", "order-1"], "no snapshots"),
    ] {
        let ran = folder.run(args);
        assert!(ran.stderr.contains(what), "{ran:?}");
        assert_eq!(ran.done(), "");
    }
}

#[test]
fn the_data_directory_is_named_in_three_ways() {
    let folder = three_orders();
    let data = folder.path("data");
    let path = data.to_str().unwrap();
    for args in [
        &["--data", path, "stats"][..],
        &["stats", "--data", path],
        &["stream", "list", "--data", path],
        &["stream", "--data", path, "list"],
    ] {
        finish(bare().args(args), b"").done();
    }
    let append = ["append", "order-1", "--type", "T", "--data", "1"];
    finish(bare().args(append).env("NEXUS_DATA", &data), b"").done();
    // What is named comes before what the environment says.
    let ran = finish(bare().args(["stats", "--data", path]).env("NEXUS_DATA", "/nowhere"), b"");
    let shown = ran.done();
    let is_count = |line: &str| line.split_whitespace().eq(["users'", "events", "4"]);
    assert!(shown.lines().any(is_count), "{shown}");
}

#[test]
fn namespaces_are_created_and_listed() {
    let folder = three_orders();
    let created = folder.json(&["namespace", "create", "audit"]);
    assert_eq!(created, json!({"namespace": "audit", "created": true}));
    assert_eq!(folder.json(&["namespace", "create", "audit"])["created"], false);
    folder.done(&["--namespace", "audit", "append", "a-1", "--type", "T", "--data", "1"]);
    let list = folder.json(&["namespace", "list"]);
    let expected = json!([
        {"namespace": "audit", "events": 1, "streams": 1},
        {"namespace": "default", "events": 3, "streams": 2},
    ]);
    assert_eq!(list["namespaces"], expected);
}

#[test]
fn a_namespace_is_deleted_for_good_when_that_is_said() {
    let folder = three_orders();
    folder.done(&["namespace", "create", "audit"]);
    folder.done(&["--namespace", "audit", "append", "a-1", "--type", "T", "--data", "1"]);
    let delete = ["namespace", "delete", "audit"];
    // Whatever stands on standard input: nobody has read the question.
    finish(folder.command().args(delete), b"audit\n")
        .fails(2, &["delete namespace \"audit\" for good", "pass --yes"]);
    assert_eq!(folder.json(&["--namespace", "audit", "stats"])["events"], 1);
    let deleted = folder.json(&["namespace", "delete", "audit", "--yes"]);
    assert_eq!(deleted, json!({"namespace": "audit", "deleted": true}));
    let left = std::fs::read_dir(folder.path("data/namespaces")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["default"]);
    let yes = |name| ["namespace", "delete", name, "--yes"];
    folder.refused(1, &yes("audit"), &["no namespace \"audit\"", "namespace list"]);
    folder.refused(2, &yes("default"), &["there must be"]);
    folder.refused(2, &yes("$system"), &["$system"]);
    folder.json(&["namespace", "create", "audit"]);
    assert_eq!(folder.json(&["--namespace", "audit", "stats"])["events"], 0);
    finish(folder.command_in("nowhere").args(yes("audit")), b"").fails(1, &["no Nexus data"]);
    assert!(!folder.path("nowhere").exists(), "nothing is made to delete something in it");
}

#[test]
fn streams_are_listed_limited_and_deleted() {
    let folder = three_orders();
    let names = |args: &[&str]| -> Vec<String> {
        let list = folder.json(args);
        let streams = list["streams"].as_array().unwrap().clone();
        streams.iter().map(|stream| stream["stream"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["streams"]), ["order-1", "order-2"]);
    assert_eq!(names(&["stream", "list", "--after", "order-1"]), ["order-2"]);
    assert_eq!(folder.json(&["stream", "list", "--limit", "1"])["next"], "order-1");
    let set = folder.json(&["stream", "set", "order-1", "--max-count", "1", "--max-age", "30d"]);
    assert_eq!((&set["max_count"], &set["max_age_s"]), (&json!(1), &json!(2_592_000)));
    assert_eq!((&set["events"], &set["first_revision"]), (&json!(1), &json!(1)));
    let lifted = folder.json(&["stream", "set", "order-1", "--max-age", "none"]);
    assert_eq!((&lifted["max_count"], &lifted["max_age_s"]), (&json!(1), &json!(null)));
    folder.run(&["stream", "set", "order-1"]).fails(2, &["--max-count"]);
    let truncated = folder.json(&["stream", "truncate", "order-2", "--before", "1"]);
    assert_eq!(truncated["events"], 0);
    folder.run(&["stream", "delete", "order-1", "--expected", "0"]).fails(3, &["revision 1"]);
    folder.done(&["stream", "delete", "order-1", "--expected", "1"]);
    assert_eq!(folder.json(&["stream", "show", "order-1"])["state"], "deleted");
    folder.done(&["append", "order-1", "--type", "T", "--data", "1"]);
    assert_eq!(folder.json(&["stream", "show", "order-1"])["head_revision"], 2);
    folder.done(&["stream", "tombstone", "order-1"]);
    let again = ["append", "order-1", "--type", "T", "--data", "1"];
    folder.run(&again).fails(3, &["deleted for good: use another name"]);
    folder.run(&["stream", "show", "nothing"]).fails(1, &["there is no stream"]);
}

#[test]
fn a_stream_that_only_has_limits_is_shown() {
    let folder = three_orders();
    folder.done(&["stream", "set", "order-9", "--max-count", "3"]);
    let shown = folder.json(&["stream", "show", "order-9"]);
    let facts = ["state", "events", "head_revision", "max_count"].map(|name| &shown[name]);
    assert_eq!(facts, [&json!("missing"), &json!(0), &json!(null), &json!(3)]);
    let ran = folder.run(&["read", "order-9"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "nexus: no events\n"));
}

#[test]
fn a_truncation_never_hides_what_is_yet_to_come() {
    let folder = three_orders();
    let parts = ["stream \"order-1\"", "yet to come", "name at most 2"];
    folder.refused(2, &["stream", "truncate", "order-1", "--before", "3"], &parts);
    folder.refused(2, &["stream", "set", "order-1", "--truncate-before", "9"], &parts);
    let parts = ["stream \"new\"", "name at most 0"];
    folder.refused(2, &["stream", "truncate", "new", "--before", "1"], &parts);
    folder.done(&["stream", "truncate", "order-1", "--before", "2"]);
    folder.done(&["append", "order-1", "--type", "T", "--data", "1"]);
    assert_eq!(folder.json(&["stream", "show", "order-1"])["events"], 1);
}

#[test]
fn stats_count_users_events_and_the_systems_beside_them() {
    let folder = three_orders();
    folder.done(&["stream", "set", "order-1", "--max-count", "9"]);
    let stats = folder.json(&["stats"]);
    let counts = ["events", "streams", "system_events", "head_position"].map(|name| &stats[name]);
    assert_eq!(counts, [&json!(3), &json!(2), &json!(1), &json!(3)]);
    assert_eq!(folder.json(&["verify"])["events"], 4);
    let all = folder.json(&["stats", "--system"]);
    let counts = ["events", "streams", "system_events", "head_position"].map(|name| &all[name]);
    assert_eq!(counts, [&json!(4), &json!(3), &json!(1), &json!(3)]);
    // For people both say whose events they count.
    assert!(folder.done(&["stats"]).contains("users' events"));
    assert!(folder.done(&["stats", "--system"]).contains("events, the system's too"));
    assert!(folder.done(&["verify"]).contains("events, the system's too  4"));
}

#[test]
fn snapshots_are_listed_and_shown() {
    use nexus_protocol::{FoldIdentity, Revision, Snapshot, StreamName};
    let folder = three_orders();
    let engine = nexus_engine::Engine::open(folder.path("data")).unwrap();
    for revision in 0..2 {
        let snapshot = Snapshot {
            stream: StreamName::new("order-1").unwrap(),
            revision: Revision::new(revision),
            fold: FoldIdentity { fold_version: 3, upcaster_hash: 4 },
            content_type: "application/json".to_owned(),
            state: format!("{{\"revision\":{revision}}}").into(),
        };
        engine.save_snapshot(snapshot).unwrap();
    }
    engine.close().unwrap();
    let list = folder.json(&["snapshot", "list", "order-1"]);
    assert_eq!(list["snapshots"].as_array().unwrap().len(), 2);
    let newest = folder.json(&["snapshot", "show", "order-1"]);
    assert_eq!((&newest["revision"], &newest["fold_version"]), (&json!(1), &json!(3)));
    let older = folder.json(&["snapshot", "show", "order-1", "--revision", "0"]);
    assert_eq!(older["state"], json!({"revision": 0}));
    folder.run(&["snapshot", "show", "order-2"]).fails(1, &["has no snapshots"]);
}

#[test]
fn a_directory_in_use_is_not_reachable() {
    let folder = three_orders();
    let engine = nexus_engine::Engine::open(folder.path("data")).unwrap();
    folder.run(&["stats"]).fails(5, &["is open in another process", "stop that one"]);
    engine.close().unwrap();
    folder.done(&["stats"]);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let folder = Folder::new();
    folder.done(&["load", "--writers", "1", "--appends", "2000"]);
    for args in [&["export"][..], &["--output", "ndjson", "read"], &["read"]] {
        let mut command = folder.command();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn the_doctor_measures_and_keeps_what_is_best() {
    let folder = three_orders();
    let report = folder.json(&["doctor"]);
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["status"] != "fail"), "{report}");
    assert_eq!(report["chosen"]["kept"], true);
    assert!(!report["measurements"].as_array().unwrap().is_empty());
    assert_eq!(folder.json(&["stats"])["events"], 3);
    // Nothing is made for a directory that is not there.
    let ran = finish(folder.command_in("other").args(["--output", "json", "doctor"]), b"");
    let report: serde_json::Value = serde_json::from_str(&ran.done()).unwrap();
    assert_eq!(report["chosen"]["kept"], false);
    assert!(!folder.path("other").exists());
}

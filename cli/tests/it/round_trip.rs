//! Export and import: events come back as they were.

use serde_json::{Value, json};

use crate::nexus::{Folder, finish, lines};

/// What an event is, but for where and when the log took it in.
fn without_place(mut event: Value) -> Value {
    let fields = event.as_object_mut().unwrap();
    fields.remove("recorded_at");
    fields.remove("position");
    event
}

fn exported(folder: &Folder, data: &str) -> String {
    finish(folder.command_in(data).arg("export"), b"").done()
}

#[test]
fn what_is_no_file_is_written_to_and_not_replaced() {
    let folder = Folder::new();
    folder.done(&["append", "order-1", "--type", "T", "--data", "1"]);
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe).unwrap()
    });
    folder.done(&["export", "--out", pipe.to_str().unwrap()]);
    assert_eq!(lines(&reader.join().unwrap()).len(), 1);
    assert!(!std::fs::metadata(&pipe).unwrap().is_file(), "it is a pipe still");
}

#[test]
fn exported_events_come_back_as_they_were() {
    let folder = Folder::new();
    let append = |args: &[&str]| folder.done(&[&["append"], args].concat());
    append(&["order-1", "--type", "OrderPlaced", "--data", r#"{"a":  1.50, "ü": "\u0000"}"#]);
    append(&["cart-1", "--type", "T", "--data", "null", "--tag", "b:2", "--tag", "a:1"]);
    append(&[
        "order-1",
        "--type",
        "Über \"alles\"",
        "--data",
        "[1,2]",
        "--occurred-at",
        "1969-12-31T23:59:59.999999Z",
        "--not-before",
        "2071-12-31T23:59:59.999999Z",
        "--correlation-id",
        "0192d1f0-0000-7000-8000-000000000001",
        "--causation-id",
        "0192d1f0-0000-7000-8000-000000000002",
        "--metadata",
        r#"{"user":"anna"}"#,
    ]);
    let mut command = folder.command();
    command.args(["append", "photo-1", "--type", "PhotoTaken", "--content-type", "image/png"]);
    finish(command.args(["--data", "-"]), b"\x89PNG\r\n\x00\xff").done();
    append(&["cart-1", "--type", "T", "--data", "1", "--content-type", ""]);
    append(&["gone-1", "--type", "T", "--data", "1"]);
    folder.done(&["stream", "delete", "gone-1"]);
    let first = exported(&folder, "data");
    assert_eq!(lines(&first).len(), 5, "what is hidden is not exported");
    let file = folder.file("events.ndjson", &first);
    finish(folder.command_in("copy").args(["import", &file]), b"").done();
    let before: Vec<_> = lines(&first).into_iter().map(without_place).collect();
    let after: Vec<_> = lines(&exported(&folder, "copy")).into_iter().map(without_place).collect();
    assert_eq!(before, after);
    assert_eq!(after.iter().filter(|it| it["not_before"].is_string()).count(), 1);
    // Byte for byte, not only value for value.
    assert!(exported(&folder, "copy").contains(r#""data":{"a":  1.50, "ü": "\u0000"}"#));
    let again = finish(
        folder.command_in("copy").args(["--output", "json", "import", "-"]),
        first.as_bytes(),
    );
    let counts: Value = serde_json::from_str(&again.done()).unwrap();
    assert_eq!(counts, json!({"read": 5, "appended": 0, "already_there": 5, "streams": 3}));
}

#[test]
fn system_events_are_exported_when_asked_for_and_left_out_by_import() {
    let folder = Folder::new();
    folder.done(&["append", "a-1", "--type", "T", "--data", "1"]);
    folder.done(&["stream", "set", "a-1", "--max-count", "5"]);
    assert_eq!(lines(&folder.done(&["export"])).len(), 1);
    let all = folder.done(&["export", "--system"]);
    assert_eq!(lines(&all).len(), 2);
    let ran = finish(folder.command_in("copy").args(["import", "-"]), all.as_bytes());
    assert!(ran.stderr.contains("1 events of system streams were left out"), "{}", ran.stderr);
    ran.done();
    assert_eq!(lines(&exported(&folder, "copy")).len(), 1);
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = Folder::new();
    folder.done(&["append", "a-1", "--type", "T", "--data", "1"]);
    let ran = folder.run(&["export"]);
    assert_eq!(ran.stderr, "nexus: 1 events were exported\n");
    let out = folder.file("out.ndjson", "what was there before");
    let exported = folder.json(&["export", "--out", &out]);
    assert_eq!(exported["events"], 1);
    assert_eq!(lines(&std::fs::read_to_string(&out).unwrap()).len(), 1);
    let nowhere = folder.path("missing").join("out.ndjson");
    folder
        .run(&["export", "--out", nowhere.to_str().unwrap()])
        .fails(1, &["out.ndjson cannot be written"]);
    let names: Vec<_> = std::fs::read_dir(folder.path("")).unwrap().collect();
    assert_eq!(names.len(), 2, "nothing is left beside it: {names:?}");
}

#[test]
fn an_id_that_another_event_has_is_a_conflict_and_nothing_is_dropped() {
    let folder = Folder::new();
    let id = "0192d1f0-0000-7000-8000-000000000001";
    let line = |stream: &str, data: u8| {
        format!("{{\"stream\":\"{stream}\",\"type\":\"T\",\"id\":\"{id}\",\"data\":{data}}}\n")
    };
    let new = "{\"stream\":\"b-1\",\"type\":\"T\",\"data\":3}\n";
    let import = |input: &str| {
        finish(folder.command().args(["--output", "json", "import", "-"]), input.as_bytes())
    };
    import(&line("a-1", 1)).done();
    let again: Value = serde_json::from_str(&import(&line("a-1", 1)).done()).unwrap();
    assert_eq!((&again["appended"], &again["already_there"]), (&json!(0), &json!(1)));
    let parts = ["standard input, line 2", id, "position 0 with other content", "NX2002"];
    import(&format!("{new}{}", line("a-1", 2))).fails(3, &parts);
    assert_eq!(lines(&folder.done(&["export"])).len(), 2, "what is before it is appended");
    import(&line("a-2", 1)).fails(3, &["standard input, line 1", id]);
    // Twice in one input.
    let twice = finish(
        folder.command_in("other").args(["import", "-"]),
        format!("{}{}", line("a-1", 1), line("a-1", 2)).as_bytes(),
    );
    twice.fails(3, &["standard input, line 2", id, "1 events before it are stored"]);
}

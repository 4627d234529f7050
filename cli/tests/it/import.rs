//! Import of real events: the known answers, and the same log however often and however it ran.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::nexus::{Folder, PERMITS, Ran, finish, lines, permits};

fn import(folder: &Folder, file: &Path) -> Ran {
    let mut command = folder.command();
    command.args(["--output", "json", "import"]).arg(file).args(PERMITS);
    finish(&mut command, b"")
}

fn events(folder: &Folder, filter: &[&str]) -> Vec<serde_json::Value> {
    lines(&folder.done(&[&["--output", "ndjson", "read"], filter].concat()))
}

#[test]
fn permits_have_their_known_answers() {
    let Some(file) = permits() else { return };
    let folder = Folder::new();
    let imported: serde_json::Value = serde_json::from_str(&import(&folder, &file).done()).unwrap();
    let expected = json!({"read": 8577, "appended": 8577, "already_there": 0, "streams": 1434});
    assert_eq!(imported, expected);
    let stats = folder.json(&["stats"]);
    assert_eq!((&stats["events"], &stats["streams"]), (&json!(8577), &json!(1434)));
    assert_eq!(stats["head_position"], 8576);
    let count = |filter: &[&str]| events(&folder, filter).len();
    assert_eq!(count(&["--type", "Confirmation of receipt"]), 1434);
    for (channel, expected) in
        [("Internet", 7478), ("Desk", 657), ("Post", 308), ("e-mail", 128), ("Intern", 6)]
    {
        assert_eq!(count(&["--tag", &format!("channel:{channel}")]), expected, "{channel}");
    }
    let group_2 = events(&folder, &["--tag", "group:Group 2"]);
    let cases: HashSet<_> = group_2.iter().map(|event| event["stream"].to_string()).collect();
    assert_eq!((group_2.len(), cases.len()), (1228, 1188));
    assert_eq!(count(&["--tag", "group:EMPTY"]), 1936);
    let with_case_group = events(&folder, &["--category", "permit"])
        .iter()
        .filter(|event| event["tags"].to_string().contains("\"case-group:"))
        .count();
    assert_eq!(with_case_group, 8577 - 4961, "an empty value leaves the tag out");
    let case = events(&folder, &["permit-case-5141"]);
    let early = case.iter().filter(|e| e["occurred_at"].as_str() < Some("2011-03-01T00:00:00Z"));
    assert_eq!((case.len(), early.count()), (12, 4));
    // Made with another implementation of UUIDv5, as docs/format.md says.
    let all = lines(&folder.done(&["export"]));
    assert_eq!(all[0]["id"], "839ced32-0875-523c-9769-630227aaf35b");
    assert_eq!(all[8576]["id"], "9ea689c9-1006-5971-8127-dc93dc545e91");
    let first = &case[0];
    assert_eq!(first["data"]["time:timestamp"], "2011-01-19 15:05:04.530000+01:00");
    assert_eq!(first["occurred_at"], "2011-01-19T14:05:04.530000Z");
}

#[test]
fn a_second_import_appends_nothing_and_added_rows_are_appended() {
    let Some(file) = permits() else { return };
    let folder = Folder::new();
    let text = std::fs::read_to_string(&file).unwrap();
    let cut = text.match_indices('\n').nth(5000).unwrap().0 + 1;
    let part = folder.file("part.csv", &text[..cut]);
    let counts = |ran: Ran| {
        let counts: serde_json::Value = serde_json::from_str(&ran.done()).unwrap();
        (counts["appended"].as_u64().unwrap(), counts["already_there"].as_u64().unwrap())
    };
    assert_eq!(counts(import(&folder, Path::new(&part))), (5000, 0));
    assert_eq!(counts(import(&folder, &file)), (3577, 5000));
    assert_eq!(counts(import(&folder, &file)), (0, 8577));
    // From standard input the rows are the same rows.
    let mut command = folder.command();
    command.args(["--output", "json", "import", "-"]).args(PERMITS);
    assert_eq!(counts(finish(&mut command, text.as_bytes())), (0, 8577));
    assert_eq!(folder.json(&["stats"])["events"], 8577);
}

#[test]
fn an_import_that_is_killed_and_run_again_is_complete() {
    let Some(file) = permits() else { return };
    let folder = Folder::new();
    let text = std::fs::read(&file).unwrap();
    // The process never sees the end of its input, so it is killed in the middle of its work, once
    // it has said that rows are stored.
    for (round, part) in [text.len() / 3, text.len() / 2, text.len() - 10].into_iter().enumerate() {
        let mut command = folder.command();
        command.args(["import", "-", "--progress", "lines"]).args(PERMITS);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = text[..part].to_vec();
        let writer = std::thread::spawn(move || {
            // It is killed while it reads.
            let _ = stdin.write_all(&bytes);
            stdin
        });
        let mut progress = BufReader::new(child.stderr.take().unwrap()).lines();
        for _ in 0..=round {
            let line = progress.next().expect("progress is printed").unwrap();
            assert!(line.contains("appended"), "{line}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(writer.join().unwrap());
        let events = folder.json(&["stats"])["events"].as_u64().unwrap();
        assert!(events > 0 && events < 8577, "killed in the middle: {events}");
    }
    import(&folder, &file).done();
    let stats = folder.json(&["stats"]);
    assert_eq!((&stats["events"], &stats["streams"]), (&json!(8577), &json!(1434)));
    assert_eq!(folder.json(&["verify"])["ok"], true);
    // What was killed and what was not make the same log: the same events in the same order.
    let whole = Folder::new();
    import(&whole, &file).done();
    let ids = |folder: &Folder| -> Vec<String> {
        lines(&folder.done(&["export"])).iter().map(|event| event["id"].to_string()).collect()
    };
    assert_eq!(ids(&folder), ids(&whole));
}

#[test]
fn objects_are_imported_by_their_fields() {
    let folder = Folder::new();
    let input = b"{\"user\":{\"id\":7},\"kind\":\"Seen\",\"at\":\"2026-01-02T03:04:05Z\"}\n\
                  {\"user\":{\"id\":8},\"kind\":\"Left\",\"at\":\"2026-01-02T03:04:06Z\"}\n";
    let mut command = folder.command();
    command.args(["import", "-", "--stream", "user-{user.id}", "--type", "{kind}"]);
    command.args(["--occurred-at", "{at}", "--tag", "user:{user.id}"]);
    let printed = finish(&mut command, input).done();
    assert!(printed.contains("appended       2\n"), "{printed}");
    let events = events(&folder, &["user-7"]);
    assert_eq!(events[0]["data"]["user"]["id"], 7);
    assert_eq!(events[0]["tags"], json!(["user:7"]));
}

#[test]
fn large_numbers_name_streams_of_their_own() {
    let folder = Folder::new();
    let input = b"{\"id\":12345678901234567890123}\n{\"id\":12345678901234567890124}\n";
    let mut command = folder.command();
    command.args(["import", "-", "--stream", "user-{id}", "--type", "Seen"]);
    finish(&mut command, input).done();
    let streams = folder.done(&["--output", "ndjson", "stream", "list"]);
    let names: Vec<_> = lines(&streams).iter().map(|it| it["stream"].clone()).collect();
    assert_eq!(names, ["user-12345678901234567890123", "user-12345678901234567890124"]);
}

#[test]
fn cells_keep_the_order_of_their_columns() {
    let folder = Folder::new();
    let file = folder.file("a.csv", "z,id,a,b\n1,7,\"x, \"\"y\"\"\",\n");
    folder.done(&["import", &file, "--stream", "s-{id}", "--type", "T"]);
    let exported = folder.done(&["export"]);
    let data = r#""data":{"z":"1","id":"7","a":"x, \"y\"","b":""}"#;
    assert!(exported.contains(data), "{exported}");
}

#[test]
fn foreign_lines_converge_and_the_first_bad_one_stops_them() {
    let folder = Folder::new();
    let line = |n: u64| format!("{{\"z\":{n}, \"user\":{{\"id\":{}}},\"kind\":\"Seen\"}}\n", n % 2);
    let import = |input: &str| {
        let mut command = folder.command();
        command.args(["--output", "json", "import", "-", "--format", "ndjson"]);
        command.args(["--stream", "user-{user.id}", "--type", "{kind}", "--tag", "at:{place}"]);
        finish(&mut command, input.as_bytes())
    };
    let counts = |ran: Ran| -> serde_json::Value { serde_json::from_str(&ran.done()).unwrap() };
    let some: String = (0..5).map(line).collect();
    let expected = json!({"read": 5, "appended": 5, "already_there": 0, "streams": 2});
    assert_eq!(counts(import(&some)), expected);
    assert_eq!(counts(import(&some))["appended"], 0);
    let bad = format!("{some}{}{{\"z\":6,\"kind\":\"Seen\"}}\n{}", line(5), line(7));
    let parts =
        ["standard input, line 7, field \"user.id\"", "there are: kind, z", "6 events before"];
    import(&bad).fails(1, &parts);
    assert_eq!(folder.json(&["stats"])["events"], 6, "what is before it stays");
    let more: String = (0..8).map(line).collect();
    assert_eq!(counts(import(&more))["appended"], 2);
    // The line is the data, byte for byte.
    assert!(folder.done(&["export"]).contains(r#""data":{"z":3, "user":{"id":1},"kind":"Seen"}"#));
    import("{\"kind\":[1],\"user\":{\"id\":1}}\n").fails(1, &["line 1, field \"kind\"", "a list"]);
    import("[1]\n").fails(1, &["line 1", "write one JSON object a line", "nothing was appended"]);
}

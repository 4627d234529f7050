//! Bad input: each error says what is wrong, where, and what to do.

use std::os::unix::fs::PermissionsExt;

use crate::nexus::{Folder, bare, finish};

const FLAGS: &[&str] = &["--stream", "s-{id}", "--type", "{kind}", "--occurred-at", "{at}"];
const AT: &str = "2011-10-11 13:45:40.276000+02:00";

/// Imports a CSV whose third row is bad: the two before it must stay, in a log that goes on.
#[track_caller]
fn bad_row(header: &str, bad: &[u8], parts: &[&str]) {
    let folder = Folder::new();
    let good = format!("{header}\n1,Placed,{AT},a\n2,Placed,{AT},b\n");
    let csv = [good.as_bytes(), bad, b"\n3,Placed,never read,c\n"].concat();
    let file = folder.file("bad.csv", csv);
    let ran = folder.run(&[&["import", &file], FLAGS].concat());
    ran.fails(1, &[&["bad.csv, line 4", "2 events before it are stored"], parts].concat());
    assert_eq!(folder.json(&["stats"])["events"], 2, "what came before stays");
    let mended = folder.file("bad.csv", format!("{good}3,Paid,{AT},c\n"));
    folder.done(&[&["import", &mended], FLAGS].concat());
    assert_eq!(folder.json(&["stats"])["events"], 3, "the mended file adds what is missing");
}

#[test]
fn rows_that_are_no_events() {
    let header = "id,kind,at,x";
    bad_row(header, b"3,Placed", &["2 cells, the header has 4"]);
    bad_row(header, b"3,Placed,yesterday,c", &["column 3 (\"at\")", "\"yesterday\" is not a time"]);
    bad_row(header, b"3,Placed,2011-10-11,c", &["column 3 (\"at\")", "with an offset"]);
    let broken = [b"3,Placed,", AT.as_bytes(), b",ab\xc3("].concat();
    bad_row(
        header,
        &broken,
        &["column 4 (\"x\")", "byte 3 is not UTF-8", "write the file as UTF-8"],
    );
    let large = format!("3,Placed,{AT},{}", "x".repeat(10 << 20));
    bad_row(header, large.as_bytes(), &["column 4 (\"x\")", "10485760 bytes", "1048576"]);
    bad_row(
        header,
        format!("3,,{AT},c").as_bytes(),
        &["event type \"\" is empty", "--type '{kind}'"],
    );
    let long = format!("{},Placed,{AT},c", "x".repeat(600));
    bad_row(header, long.as_bytes(), &["has 602 bytes: at most 512", "--stream 's-{id}'"]);
    let control = format!("\"3\u{1}\",Placed,{AT},c");
    bad_row(header, control.as_bytes(), &["control character at byte 3: take it out"]);
}

#[test]
fn headers_that_lack_columns() {
    let folder = Folder::new();
    let check = |csv: &str, flags: &[&str], parts: &[&str]| {
        let file = folder.file("a.csv", csv);
        folder.run(&[&["import", &file], flags].concat()).fails(1, parts);
    };
    check("", FLAGS, &["a.csv, line 1", "its first line must name the columns"]);
    check(
        "id,kind\n1,A\n",
        FLAGS,
        &["--occurred-at \"{at}\" names column \"at\"", "there are: id, kind"],
    );
    check("id,kind,at,id\n", FLAGS, &["line 1, column 4 (\"id\")", "twice"]);
}

#[test]
fn flags_that_cannot_be() {
    let folder = Folder::new();
    let file = folder.file("a.csv", "id,kind,at\n");
    let check = |args: &[&str], parts: &[&str]| folder.run(args).fails(2, parts);
    check(&["import", &file], &["a CSV needs --stream and --type"]);
    check(&["import", &file, "--stream", "a"], &["--stream needs --type"]);
    check(&["import", &file, "--stream", "a{", "--type", "b"], &["character 2 is never closed"]);
    check(&["import", &file, "--stream", "a", "--type", "b", "--tag", "{id}"], &["'key:value'"]);
    check(&["append", "", "--type", "T", "--data", "{}"], &["stream name \"\" is empty"]);
    check(&["append", "-x", "--type", "T", "--data", "{}"], &["unexpected argument"]);
    check(&["append", "--type", "T", "--data", "{}", "--", "-x"], &["starts with `-`"]);
    check(&["append", "a\u{7}", "--type", "T", "--data", "{}"], &["control character at byte 1"]);
    check(&["append", &"x".repeat(513), "--type", "T", "--data", "{}"], &["513 bytes", "512"]);
    check(&["append", "a", "--type", "", "--data", "{}"], &["event type \"\" is empty"]);
    check(&["append", "a", "--type", "T", "--tag", "k", "--data", "{}"], &["`key:value`"]);
    check(&["append", "a", "--type", "T", "--data", "{a}"], &["--data is not JSON", "quote it"]);
    check(&["append", "a", "--type", "T", "--data", "1", "--occurred-at", "now"], &["RFC 3339"]);
    check(&["append", "a", "--type", "T", "--data", "1", "--expected", "x"], &["no_stream"]);
    check(&["read", "a", "--as-of", "then"], &["write position:N, revision:N, or recorded:TIME"]);
    check(&["--namespace", "A", "stats"], &["is not made of a-z, 0-9"]);
    check(&["--namespace", "other", "append", "a", "--type", "T", "--data", "1"], &["\"other\""]);
    check(&["read", "--as-of", "revision:1"], &["a revision is a place in one stream"]);
    check(&["read", "--as-of", "occurred:2026-01-01T00:00:00Z"], &["business time"]);
}

#[test]
fn no_data_directory() {
    finish(bare().arg("stats"), b"").fails(2, &["nexus --data DIR", "NEXUS_DATA"]);
    let folder = Folder::new();
    folder.run(&["stats"]).fails(1, &["holds no Nexus data: check the path"]);
    assert!(!folder.path("data").exists(), "reading makes nothing");
}

#[test]
fn a_directory_that_is_a_file() {
    let folder = Folder::new();
    folder.file("data", "not a directory");
    for args in [&["stats"][..], &["append", "a", "--type", "T", "--data", "1"], &["verify"]] {
        folder.run(args).fails(2, &["is a file: name a directory"]);
    }
    folder.run(&["doctor"]).fails(1, &["1 check failed"]);
}

#[test]
fn inputs_that_cannot_be_read() {
    let folder = Folder::new();
    let missing = folder.path("missing.csv");
    let missing = missing.to_str().unwrap();
    folder.run(&[&["import", missing], FLAGS].concat()).fails(1, &["missing.csv cannot be read"]);
    let dir = folder.path("");
    let dir = dir.to_str().unwrap();
    folder.run(&[&["import", dir], FLAGS].concat()).fails(1, &["is a folder: name a file in it"]);
    assert!(!folder.path("data").exists(), "nothing is made for an input that is not there");
}

#[test]
fn a_directory_that_cannot_be_written() {
    let folder = Folder::new();
    folder.done(&["append", "a", "--type", "T", "--data", "1"]);
    let parent = folder.path("locked");
    std::fs::create_dir(&parent).unwrap();
    std::fs::set_permissions(&parent, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(parent.join("probe"), b"").is_ok() {
        // This user may write to every directory of a disk; this one is no disk's.
        let mut command = bare();
        command.args(["--data", "/sys/nexus", "append", "a", "--type", "T", "--data", "1"]);
        let ran = finish(&mut command, b"");
        ran.fails(1, &["cannot create folder /sys/nexus"]);
        assert!(
            ran.stderr.contains("owner and mode") || ran.stderr.contains("mount it"),
            "{ran:?}"
        );
        return;
    }
    let mut command = folder.command_in("locked/data");
    command.args(["append", "a", "--type", "T", "--data", "1"]);
    finish(&mut command, b"").fails(1, &["check the owner and mode of the directory"]);
    // What is there can be read all the same.
    let data = folder.path("data");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(folder.json(&["stats"])["events"], 1);
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn lines_that_are_no_exported_events() {
    let folder = Folder::new();
    let check = |lines: &str, parts: &[&str]| {
        let file = folder.file("a.ndjson", lines);
        folder.run(&["import", &file]).fails(1, parts);
    };
    check("{\"id\":7}\n", &["a.ndjson, line 1", "not an event as `nexus export`", "--stream"]);
    check("\n{\"stream\":\n", &["a.ndjson, line 2, column"]);
    check("{\"stream\":\"\",\"type\":\"T\"}\n", &["field \"stream\"", "is empty"]);
}

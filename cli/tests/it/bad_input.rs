//! Bad input: each error says what is wrong, where, and what to do.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nexus_engine::Engine;

use crate::nexus::{Folder, Ran, bare, finish};

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
    let long = format!("3,{},{AT},c", "x".repeat(257));
    bad_row(header, long.as_bytes(), &["has 257 bytes: at most 256", "--type '{kind}'"]);
    let control = format!("3,\"Pla\nced\",{AT},c");
    bad_row(header, control.as_bytes(), &["event type", "control character at byte 3"]);
    let system = format!("3,$Placed,{AT},c");
    bad_row(header, system.as_bytes(), &["event type \"$Placed\" starts with `$`"]);
    bad_row(header, b"3,\"Placed", &["a quoted cell is never closed"]);
    let many = format!("3,Placed,{AT},{}", "c,".repeat(33));
    bad_row(header, many.as_bytes(), &["the row has 37 cells, the header has 4"]);
}

#[test]
fn rows_with_tags_that_are_none() {
    let folder = Folder::new();
    let check = |cell: &str, flags: &[&str], parts: &[&str]| {
        let file = folder.file("tags.csv", format!("id,kind,x\n1,A,ok\n2,A,{cell}\n"));
        let args = [&["import", &file, "--stream", "s-{id}", "--type", "{kind}"], flags].concat();
        folder.run(&args).fails(1, &[&["tags.csv, line 3", "1 events before it"], parts].concat());
        assert_eq!(folder.json(&["stats"])["events"], 1);
    };
    let tag = &["--tag", "x:{x}"][..];
    check(&"y".repeat(300), tag, &["has 302 bytes: at most 256", "--tag 'x:{x}'"]);
    check("\"a\u{7}\"", tag, &["control character at byte 3"]);
    let many: Vec<String> = (0..33).map(|n| format!("t{n}:{{x}}")).collect();
    let many: Vec<&str> = many.iter().flat_map(|tag| ["--tag", tag]).collect();
    let file = folder.file("many.csv", "id,kind,x\n7,A,y\n");
    let args = [&["import", &file, "--stream", "s-{id}", "--type", "{kind}"], &many[..]].concat();
    folder.run(&args).fails(1, &["many.csv, line 2", "33 is over the limit of 32", "nothing was"]);
    assert_eq!(folder.json(&["stats"])["events"], 1);
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
    let delayed = ["append", "a", "--type", "T", "--data", "1", "--not-before"];
    check(&[&delayed[..], &["now"]].concat(), &["RFC 3339", "as in +10m"]);
    check(&[&delayed[..], &["+10"]].concat(), &["ms, s, m, or h"]);
    check(&["append", "a", "--type", "T", "--data", "1", "--expected", "x"], &["no_stream"]);
    check(&["read", "a", "--as-of", "then"], &["write position:N, revision:N, or recorded:TIME"]);
    check(&["--namespace", "A", "stats"], &["is not made of a-z, 0-9"]);
    let other = ["--namespace", "other", "append", "a", "--type", "T", "--data", "1"];
    check(&other, &["no namespace \"other\"", "(default)", "nexus namespace create other"]);
    check(&["read", "--as-of", "revision:1"], &["a revision is a place in one stream"]);
    check(&["read", "--as-of", "occurred:2026-01-01T00:00:00Z"], &["business time"]);
}

#[test]
fn flags_that_would_be_ignored() {
    let (folder, _) = one_event();
    for command in [&["verify"][..], &["doctor"], &["namespace", "list"], &["node-state", "reset"]]
    {
        let args = [&["--namespace", "nope"], command].concat();
        folder
            .run(&args)
            .fails(2, &["no namespace \"nope\"", "(default)", "namespace create nope"]);
    }
    let parts = ["NDJSON", "--out"];
    finish(folder.command().args(["--output", "json", "export"]), b"").fails(2, &parts);
    finish(folder.command().args(["--output", "ndjson", "export"]), b"").done();
    let file = folder.file("a.ndjson", "{\"stream\":\"a\",\"type\":\"T\"}\n");
    for bytes in ["0", "16777217"] {
        let append = ["append", "a", "--type", "T", "--data", "1", "--data-bytes-max", bytes];
        folder.refused(2, &append, &["from 1 to 16777216"]);
        let import = ["import", &file, "--data-bytes-max", bytes];
        folder.refused(2, &import, &["from 1 to 16777216"]);
    }
}

#[test]
fn what_is_wrong_is_said_of_what_was_asked() {
    let (folder, _) = one_event();
    for args in [
        &["read", "order-1", "--limit", "-1"][..],
        &["read", "--from", "-1"],
        &["tail", "--limit", "x"],
        &["export", "--from", "-1"],
        &["stream", "list", "--limit", "-1"],
        &["stream", "truncate", "order-1", "--before", "x"],
        &["snapshot", "show", "order-1", "--revision", "-1"],
    ] {
        folder.refused(2, args, &["write a number"]);
    }
    let append = ["append", "order-1", "--type", "T", "--data", "1", "--expected", "-1"];
    folder.refused(2, &append, &["write any, no_stream, exists, or a number"]);
    folder.refused(2, &["stream", "list", "--category", ""], &["is empty"]);
    for verb in ["delete", "tombstone"] {
        let ran = folder.run(&["stream", verb, "order-1", "--expected", "7"]);
        ran.fails(3, &["expected revision 7, found revision 0", "nothing was changed", "show"]);
        assert!(!ran.stderr.contains("append"), "{}", ran.stderr);
    }
    let system = ["append", "$meta-order-1", "--type", "T", "--data", "1"];
    folder.refused(4, &system, &["name a stream and a type of your own"]);
    let mut command = folder.command();
    let ran = finish(command.args(["append", "a", "--type", "T", "--data", "-"]), b"{");
    ran.fails(2, &["standard input is not JSON", "--content-type"]);
    finish(bare().args(["demo", "--seconds", "9999"]), b"").fails(2, &["1..=3600"]);
    let nowhere = folder.path("nowhere");
    let bench = ["bench", "--quick", "--only", "scan", "--dir"];
    let ran = finish(bare().args(bench).arg(&nowhere), b"");
    ran.fails(1, &["cannot be made", "--dir names a folder that is there"]);
    assert!(!nowhere.exists());
}

/// A log with one event, and that event's id.
fn one_event() -> (Folder, String) {
    let folder = Folder::new();
    let answer = folder.json(&["append", "order-1", "--type", "T", "--tag", "k:v", "--data", "1"]);
    (folder, answer["id"].as_str().unwrap().to_owned())
}

#[test]
fn names_that_are_empty_too_long_or_hold_control_characters() {
    let (folder, _) = one_event();
    let long = |bytes: usize| "x".repeat(bytes);
    let check = |what: &str, name: &str, part: &str| {
        let mut args = vec!["append", "a", "--type", "T", "--data", "1"];
        match what {
            "stream name" => args[1] = name,
            "event type" => args[3] = name,
            "tag" => args.extend(["--tag", name]),
            "content type" => args.extend(["--content-type", name]),
            "namespace" => args.extend(["--namespace", name]),
            other => panic!("{other} is no kind of name"),
        }
        folder.refused(2, &args, &[what, part]);
    };
    for what in ["stream name", "event type", "tag", "namespace"] {
        check(what, "", "is empty: give it at least one character");
        check(what, "k:a\u{1b}b", "has a control character at byte 3: take it out");
        check(what, "k:a\u{85}b", "has a control character at byte 3: take it out");
    }
    check("content type", "k:a\nb", "has a control character at byte 3");
    for (what, bytes_max) in
        [("stream name", 512), ("event type", 256), ("tag", 256), ("content type", 256)]
    {
        let (bytes, allowed) = (bytes_max + 1, format!("at most {bytes_max} are allowed"));
        check(
            what,
            &format!("k:{}", long(bytes_max - 1)),
            &format!("has {bytes} bytes: {allowed}"),
        );
        // Bytes, not characters.
        check(what, &format!("k:{}", "ü".repeat(bytes_max / 2)), &allowed);
    }
    check("namespace", &long(64), "has 64 bytes: at most 63 are allowed");
    // What is at the limit is taken.
    let (stream, event_type, tag) = (long(512), long(256), format!("k:{}", long(254)));
    folder.done(&["append", &stream, "--type", &event_type, "--tag", &tag, "--data", "1"]);
    // The same names where they are looked for.
    folder.refused(2, &["read", &long(513)], &["stream name", "513 bytes"]);
    folder.refused(2, &["read", "--tag", "k"], &["tag \"k\" is not `key:value`"]);
    folder.refused(2, &["stream", "show", ""], &["stream name \"\" is empty"]);
    folder.refused(2, &["namespace", "create", "A"], &["namespace \"A\" is not made of a-z"]);
}

#[test]
fn events_that_are_too_large() {
    let (folder, _) = one_event();
    let tags: Vec<String> = (0..33).map(|n| format!("--tag=k:{n}")).collect();
    let append = ["append", "a", "--type", "T", "--data", "1"].map(str::to_owned);
    let args = [&append[..], &tags].concat();
    folder.refused(2, &args, &["tags of one event: 33 is over the limit of 32", "NX1002"]);
    folder.done(&args[..args.len() - 1]);
    let metadata = format!("--metadata=\"{}\"", "x".repeat(65535));
    let args = [&append[..], &[metadata]].concat();
    folder.refused(2, &args, &["metadata of one event, in bytes: 65537", "limit of 65536"]);

    let before = folder.done(&["export"]);
    let from_stdin = |bytes: usize, more: &[&str]| {
        let mut command = folder.command();
        command.args(["append", "a", "--type", "T", "--data", "-"]).args(more);
        finish(&mut command, format!("\"{}\"", "x".repeat(bytes - 2)).as_bytes())
    };
    let parts = ["data of one event, in bytes: 1048577", "1048576", "--data-bytes-max"];
    from_stdin((1 << 20) + 1, &[]).fails(2, &parts);
    from_stdin((16 << 20) + 1, &[]).fails(2, &["more than 16777216 bytes", "keep it elsewhere"]);
    assert_eq!(folder.done(&["export"]), before, "a refusal changes nothing");
    from_stdin((1 << 20) + 1, &["--data-bytes-max", "2000000"]).done();
}

#[test]
fn ids_that_are_used_already_and_revisions_that_are_not_there_yet() {
    let (folder, id) = one_event();
    let append = ["append", "order-1", "--type", "T", "--tag", "k:v", "--data"];
    let args = [&append[..], &["2", "--id", &id]].concat();
    folder.refused(3, &args, &[&id, "position 0 with other content: make a new id", "NX2002"]);
    let args = [&append[..], &["1", "--id", &id, "--occurred-at", "2026-01-01T00:00:00Z"]].concat();
    folder.refused(3, &args, &["with other content"]);
    let args = [&append[..], &["1", "--id", &id, "--not-before", "2026-01-01T00:00:00Z"]].concat();
    folder.refused(3, &args, &["with other content"]);
    let args = [&append[..], &["1", "--expected", "7"]].concat();
    let parts = ["\"order-1\": expected revision 7, found revision 0", "decide again", "NX2001"];
    folder.refused(3, &args, &parts);
    let args = ["append", "new", "--type", "T", "--data", "1", "--expected", "0"];
    folder.refused(3, &args, &["\"new\": expected revision 0, found no stream"]);
    let args = ["append", "a", "--type", "T", "--data", "1", "--id", "7"];
    folder.refused(2, &args, &["write a UUID, as in"]);
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
    assert_eq!(std::fs::read(folder.path("data")).unwrap(), b"not a directory");
    let mut command = folder.command_in("data/below");
    finish(command.args(["append", "a", "--type", "T", "--data", "1"]), b"")
        .fails(1, &["a part of the path is a file: name a directory"]);
}

#[test]
fn a_folder_of_other_things_is_not_made_a_data_directory() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("data")).unwrap();
    folder.file("data/letter.txt", "mine");
    let append = ["append", "a", "--type", "T", "--data", "1"];
    let file = folder.file("a.ndjson", "{\"stream\":\"a\",\"type\":\"T\"}\n");
    for args in [&append[..], &["import", &file], &["namespace", "create", "audit"]] {
        let parts = ["holds no Nexus data, but other things", "letter.txt", "not there yet"];
        folder.run(args).fails(2, &parts);
    }
    folder.run(&["doctor"]).fails(1, &["1 check failed"]);
    folder.run(&["demo", "--events", "1"]).fails(2, &["is there already"]);
    let left = std::fs::read_dir(folder.path("data")).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["letter.txt"], "nothing was made in it");
    // A file system of its own, and what an interruption left, are no other things.
    std::fs::remove_file(folder.path("data/letter.txt")).unwrap();
    std::fs::create_dir(folder.path("data/lost+found")).unwrap();
    folder.file("data/lock", "");
    // Nor is what a first start left that was killed; but a folder of somebody's by that name is one.
    std::fs::create_dir_all(folder.path("data/namespaces/.default.new/segments")).unwrap();
    folder.done(&["doctor"]);
    folder.file("data/namespaces/notes.txt", "mine");
    folder.run(&["doctor"]).fails(1, &["1 check failed"]);
    folder.run(&append).fails(2, &["but other things", "namespaces/notes.txt"]);
    std::fs::remove_file(folder.path("data/namespaces/notes.txt")).unwrap();
    folder.done(&append);
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

/// Runs a command on a directory that is mounted for reading only, which binds even those that may
/// write everywhere; `None` where nothing may be mounted.
fn on_read_only_mount(folder: &Folder, args: &[&str]) -> Option<Ran> {
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" || exit 99; \
                 exec \"$1\" --data \"$0\" \"${@:2}\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", mount]).arg(folder.path("data"));
    command.arg(bare().get_program()).args(args).env_remove("NEXUS_DATA");
    if Command::new("unshare")
        .args(["--mount", "true"])
        .output()
        .is_ok_and(|it| it.status.success())
    {
        let ran = finish(&mut command, b"");
        return (ran.code != 99).then_some(ran);
    }
    None
}

#[test]
fn a_directory_that_is_mounted_read_only() {
    let (folder, _) = one_event();
    let append = ["append", "a", "--type", "T", "--data", "1"];
    let before = folder.files("data");
    let Some(ran) = on_read_only_mount(&folder, &append) else {
        println!("skipped: this user may not mount; the engine's tests have a disk that refuses");
        return;
    };
    ran.fails(1, &["Read-only file system", "mount it for writing"]);
    let set = ["stream", "set", "order-1", "--max-count", "1"];
    on_read_only_mount(&folder, &set).unwrap().fails(1, &["mount it for writing"]);
    // What is there can be read all the same.
    for args in [&["read", "order-1"][..], &["stats"], &["verify"], &["export"]] {
        on_read_only_mount(&folder, args).unwrap().done();
    }
    assert!(folder.files("data") == before, "nothing was changed");
}

#[test]
fn a_directory_of_someone_else() {
    let folder = Folder::new();
    folder.done(&["append", "a", "--type", "T", "--data", "1"]);
    let parent = folder.path("locked");
    std::fs::create_dir(&parent).unwrap();
    std::fs::set_permissions(&parent, Permissions::from_mode(0o555)).unwrap();
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
    std::fs::set_permissions(&data, Permissions::from_mode(0o555)).unwrap();
    assert_eq!(folder.json(&["stats"])["events"], 1);
    std::fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn messages_are_short_and_hold_no_control_characters() {
    let folder = Folder::new();
    let long = "\u{1b}]0;x\u{7}\u{202e}".repeat(100_000);
    let json = serde_json::to_string(&long).unwrap();
    let csv = format!("id,kind,\"{long}\"\n1,T\n");
    let bad_time = format!("id,at\n1,\"{long}\"\n");
    let unknown = format!("{{\"stream\":\"a\",\"type\":\"T\",{json}:1}}\n");
    let fields = format!("{{{json}:1,\"b\":2}}\n");
    let tag = format!("{{\"a\":{json}}}\n");
    let rows = ["--stream", "s-{id}", "--type", "T"];
    let at = [&rows[..], &["--occurred-at", "{at}"]].concat();
    let tags = ["--stream", "s", "--type", "T", "--tag", "k:{a}"];
    for (name, bytes, flags) in [
        ("a.csv", &csv, &rows[..]),
        ("b.csv", &csv, &["--stream", "{nr}", "--type", "T"]),
        ("c.csv", &bad_time, &at),
        ("d.ndjson", &unknown, &[]),
        ("e.ndjson", &fields, &rows),
        ("f.ndjson", &tag, &tags),
    ] {
        let file = folder.file(name, bytes);
        let ran = folder.run(&[&["import", &file], flags].concat());
        ran.fails(1, &[name, "line "]);
        assert!(ran.stderr.len() < 6000, "{name}: {} bytes", ran.stderr.len());
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ran.stderr.contains(obeyed), "{name}: {:?}", ran.stderr);
    }
}

/// A command of a user who owns nothing here; `None` where this user cannot become another.
fn as_nobody(folder: &Folder, args: &[&str]) -> Option<Ran> {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    let may = Command::new("true").uid(NOBODY).status().is_ok();
    let mut command = folder.command();
    may.then(|| finish(command.args(args).uid(NOBODY).gid(NOBODY), b""))
}

#[test]
fn readers_of_other_users_wait_for_the_owner_like_all_others() {
    let (folder, _) = one_event();
    for name in ["", "data"] {
        std::fs::set_permissions(folder.path(name), Permissions::from_mode(0o755)).unwrap();
    }
    let Some(ran) = as_nobody(&folder, &["stats"]) else {
        println!("skipped: this user cannot become another");
        return;
    };
    ran.done();
    let engine = Engine::open(folder.path("data")).unwrap();
    for args in [&["stats"][..], &["export"], &["verify"]] {
        let owner = format!("(process {})", std::process::id());
        as_nobody(&folder, args).unwrap().fails(5, &["is open in another process", &owner]);
    }
    engine.close().unwrap();
    // Who may not even see whether it is in use does not read.
    let lock = folder.path("data/lock");
    std::fs::set_permissions(&lock, Permissions::from_mode(0o600)).unwrap();
    as_nobody(&folder, &["stats"]).unwrap().fails(1, &["lock", "owner and mode"]);
}

#[test]
fn commands_that_read_write_nothing_and_run_side_by_side() {
    let (folder, _) = one_event();
    let lock = folder.path("data/lock");
    let before = std::fs::read(&lock).unwrap();
    for args in [&["read", "order-1"][..], &["stats"], &["verify"], &["export"], &["streams"]] {
        folder.done(args);
        assert_eq!(std::fs::read(&lock).unwrap(), before, "{args:?}");
    }
    std::fs::remove_file(&lock).unwrap();
    let reader = Engine::options().read_only(true).open(folder.path("data")).unwrap();
    folder.done(&["stats"]);
    assert!(!lock.exists(), "a reader makes no lock");
    reader.close().unwrap();
    let empty = folder.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let stats = finish(folder.command_in("empty").arg("stats"), b"");
    stats.fails(1, &["holds no Nexus data: check the path"]);
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
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

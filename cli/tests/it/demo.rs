//! The demo ends by itself, leaves what it promises, and touches nothing else.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::nexus::{Folder, bare, finish};

#[test]
fn the_demo_ends_by_itself_and_shows_figures() {
    let folder = Folder::new();
    let mut command = bare();
    command.args(["demo", "--events", "2000", "--writers", "4"]).env("TMPDIR", folder.path(""));
    let printed = finish(&mut command, b"").done();
    for part in ["append", "read everything", "live", "verify", "EVENTS/s", "disk: ", "Try next:"] {
        assert!(printed.contains(part), "{part:?} is not in {printed}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path("")).unwrap().collect();
    assert!(left.is_empty(), "the temporary directory is gone: {left:?}");
}

#[test]
fn the_demo_keeps_a_directory_that_was_named_and_takes_no_other() {
    let folder = Folder::new();
    let demo = ["demo", "--events", "500", "--writers", "2"];
    let report = folder.json(&demo);
    assert_eq!(report["verified"], true);
    assert_eq!(report["steps"].as_array().unwrap().len(), 7);
    assert!(folder.json(&["stats"])["events"].as_u64().unwrap() >= 500);
    folder.refused(2, &demo, &["is there already", "name one that is empty or not there yet"]);
}

#[test]
fn the_demo_leaves_the_directory_of_the_environment_alone() {
    let folder = Folder::new();
    folder.done(&["append", "order-1", "--type", "T", "--data", "1"]);
    let before = folder.files("data");
    std::fs::create_dir(folder.path("tmp")).unwrap();
    let mut command = bare();
    command.args(["demo", "--events", "100", "--writers", "2"]);
    command.env("NEXUS_DATA", folder.path("data")).env("TMPDIR", folder.path("tmp"));
    finish(&mut command, b"").done();
    assert!(folder.files("data") == before);
}

#[test]
fn an_interrupted_demo_removes_its_directory() {
    let folder = Folder::new();
    let mut command = bare();
    command.args(["demo", "--seconds", "600"]).env("TMPDIR", folder.path(""));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("the demo works in"), "{line}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2), "{status}");
    let left: Vec<_> = std::fs::read_dir(folder.path("")).unwrap().collect();
    assert!(left.is_empty(), "the temporary directory is gone: {left:?}");
}

#[test]
fn the_demo_can_be_looked_at_while_it_goes_on() {
    let folder = Folder::new();
    let mut command = bare();
    command.args(["demo", "--events", "200", "--writers", "2", "--for", "600"]);
    command.env("TMPDIR", folder.path(""));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = said
        .find_map(|line| {
            let line = line.unwrap();
            let address = line.split_once("look at http://")?.1.split_once('/')?.0;
            Some(address.to_owned())
        })
        .expect("it says where to look");
    let page = get(&address, "/");
    assert!(page.contains("200 OK") && page.contains("<title>Nexus</title>"), "{page}");
    // Orders go on coming: the count of events passes what the writers were asked for.
    loop {
        let stats = get(&address, "/v1/stats");
        let body = stats.split_once("\r\n\r\n").unwrap().1;
        let stats: serde_json::Value = serde_json::from_str(body).unwrap();
        if stats["events"].as_u64().unwrap() > 600 {
            break;
        }
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    child.wait().unwrap();
}

/// What a server answers.
fn get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

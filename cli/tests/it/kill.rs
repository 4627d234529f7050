//! A process under load is killed, again and again: what it acknowledged is there.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::run::{json, nexus, ok};

#[test]
fn kill_9_under_load_loses_no_acknowledged_event() {
    let rounds: u64 =
        std::env::var("NEXUS_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: HashSet<String> = HashSet::new();
    for round in 0..rounds {
        let mut child = nexus(dir.path())
            .args(["load", "--writers", "4", "--batch", "3"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The moment of the kill is a number of acknowledgements, which differs from round to round.
        let lines = 1 + (round * 7919) % 3000;
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        for _ in 0..lines {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "it appends until it is killed");
            acknowledged.insert(line.trim_end().to_owned());
        }
        child.kill().unwrap();
        // What it printed before it died counts too.
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap() == 0 {
                break;
            }
            if line.ends_with('\n') {
                acknowledged.insert(line.trim_end().to_owned());
            }
        }
        child.wait().unwrap();
    }
    let stored: HashSet<String> = ok(dir.path(), &["export"])
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} lost, as {:?}", lost.len(), lost.first());
    assert_eq!(json(dir.path(), &["verify"])["ok"], true);
    println!("count: kill_rounds {rounds}");
    println!("count: kill_acknowledged {}", acknowledged.len());
}

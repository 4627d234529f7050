//! Killing the process under load: what was acknowledged is there, and the log verifies.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::nexus::{Folder, lines};

/// Rounds that share a data directory, so that a log is killed many times over.
const ROUNDS_TOGETHER: u64 = 10;

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let rounds = std::env::var("NEXUS_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let mut acknowledged_in_all = 0;
    let mut folder = Folder::new();
    let mut acknowledged: HashSet<String> = HashSet::new();
    let mut chance = u64::from(std::process::id());
    for round in 0..rounds {
        if round % ROUNDS_TOGETHER == 0 {
            folder = Folder::new();
            acknowledged.clear();
        }
        chance =
            chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let ids = load_and_kill(&folder, 1 + (chance >> 33) % 2000);
        acknowledged_in_all += ids.len();
        acknowledged.extend(ids);
        check(&folder, &acknowledged, round);
    }
    println!("count: kill_rounds {rounds}");
    println!("count: kill_acknowledged {acknowledged_in_all}");
}

/// Runs the load until so many events are acknowledged, and kills it wherever it is then. All that it
/// had acknowledged, also meanwhile.
fn load_and_kill(folder: &Folder, events: u64) -> Vec<String> {
    let mut command = folder.command();
    command.args(["load", "--writers", "6"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut ids = Vec::new();
    let mut killed = false;
    loop {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        // The last line may be cut off; then it was not said.
        let Some(id) = line.strip_suffix('\n') else { break };
        ids.push(id.to_owned());
        if !killed && ids.len() as u64 >= events {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the load goes on until it is killed");
    ids
}

fn check(folder: &Folder, acknowledged: &HashSet<String>, round: u64) {
    let verified = folder.json(&["verify"]);
    assert_eq!(verified["ok"], true, "round {round}: {verified}");
    let events = lines(&folder.done(&["export"]));
    let mut ids = HashSet::new();
    let mut next = std::collections::HashMap::new();
    for (position, event) in events.iter().enumerate() {
        assert_eq!(event["position"], position, "round {round}: positions have no gap");
        let revision = next.entry(event["stream"].as_str().unwrap()).or_insert(0);
        assert_eq!(event["revision"], *revision, "round {round}: revisions have no gap");
        *revision += 1;
        assert!(ids.insert(event["id"].as_str().unwrap()), "round {round}: an id stands twice");
    }
    let lost: Vec<_> = acknowledged.iter().filter(|id| !ids.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "round {round}: lost {lost:?} of {}", acknowledged.len());
}

//! A damaged directory: verify names the damage, export saves the rest.

use std::collections::HashSet;

use serde_json::Value;

use crate::nexus::{Folder, finish, lines};

/// A log of a few segments, the first of which has a flipped byte in its middle. The exported events
/// from before.
fn damaged() -> (Folder, Vec<Value>) {
    let folder = Folder::new();
    folder.done(&["load", "--writers", "2", "--appends", "2000"]);
    let before = lines(&folder.done(&["export"]));
    let segments = folder.path("data/namespaces/default/segments");
    let mut files: Vec<_> =
        std::fs::read_dir(segments).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    let mut bytes = std::fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&files[0], bytes).unwrap();
    (folder, before)
}

#[test]
fn verify_names_the_damage() {
    let (folder, _) = damaged();
    let ran = finish(folder.command().args(["--output", "json", "verify"]), b"");
    ran.fails(1, &["damaged", "`nexus export`"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let errors = report["errors"].as_array().unwrap();
    assert!(!errors.is_empty());
    for error in errors {
        assert!(error["file"].as_str().unwrap().contains("segments"), "{error}");
        assert!(error["offset_bytes"].is_u64() && error["kind"].is_string(), "{error}");
    }
}

#[test]
fn export_saves_what_is_undamaged_and_names_the_holes() {
    let (folder, before) = damaged();
    let out = folder.path("saved.ndjson");
    let ran = finish(folder.command().args(["--output", "json", "export", "--out"]).arg(&out), b"");
    ran.fails(1, &["is damaged at byte", "are lost", "ranges are damaged and were left out"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let holes = report["holes"].as_array().unwrap();
    assert!(!holes.is_empty());
    let in_hole = |position: u64| {
        holes.iter().any(|hole| {
            hole["from_position"].as_u64().unwrap() <= position
                && hole["to_position"].as_u64().is_none_or(|to| position < to)
        })
    };
    let saved = lines(&std::fs::read_to_string(&out).unwrap());
    let positions: HashSet<u64> = saved.iter().map(|e| e["position"].as_u64().unwrap()).collect();
    for event in &before {
        let position = event["position"].as_u64().unwrap();
        assert_ne!(positions.contains(&position), in_hole(position), "position {position}");
    }
    assert!(saved.len() * 2 > before.len(), "most is saved: {} of {}", saved.len(), before.len());
    let file = out.to_str().unwrap();
    finish(folder.command_in("copy").args(["import", file]), b"").done();
}

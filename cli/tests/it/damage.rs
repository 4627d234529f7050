//! A damaged directory: verify names the damage, export saves the rest.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::nexus::{Folder, finish, lines};

/// A log of a few segments, their files, and the exported events.
fn store_of_segments() -> (Folder, Vec<PathBuf>, Vec<Value>) {
    let folder = Folder::new();
    folder.done(&["load", "--writers", "2", "--appends", "2000"]);
    let before = lines(&folder.done(&["export"]));
    let segments = folder.path("data/namespaces/default/segments");
    let mut files: Vec<_> =
        std::fs::read_dir(segments).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    (folder, files, before)
}

/// The same, and the first segment has a flipped byte in its middle.
fn damaged() -> (Folder, Vec<Value>) {
    let (folder, files, before) = store_of_segments();
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

#[test]
fn damage_without_a_gap_is_one_hole() {
    let (folder, files, before) = store_of_segments();
    let mut bytes = std::fs::read(&files[0]).unwrap();
    // From the beginning of a frame on, no record of these blocks is whole. Of a frame before them, which
    // would lose the table at its end, records would be lost here and there.
    let middle = bytes.len() / 2 / 4096 * 4096;
    let start = (middle..bytes.len()).step_by(4096).find(|at| bytes[*at..].starts_with(b"NXFR"));
    let start = start.expect("frames are shorter than half of a segment");
    (start..start + 8 * 4096).step_by(40).for_each(|at| bytes[at] ^= 0x10);
    std::fs::write(&files[0], bytes).unwrap();
    let out = folder.path("saved.ndjson");
    let ran = finish(folder.command().args(["--output", "json", "export", "--out"]).arg(&out), b"");
    ran.fails(1, &["1 ranges are damaged"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let holes = report["holes"].as_array().unwrap();
    assert_eq!(holes.len(), 1, "{holes:?}");
    let place = |name: &str| holes[0][name].as_u64().unwrap();
    let (from, to) = (place("from_position"), place("to_position"));
    assert!(to - from > 8, "{holes:?}");
    let said = format!("the events at positions {from} to {} are lost", to - 1);
    assert!(holes[0]["message"].as_str().unwrap().ends_with(&said), "{holes:?}");
    assert_eq!(ran.stderr.matches("are lost").count(), 1, "{}", ran.stderr);
    let saved = lines(&std::fs::read_to_string(&out).unwrap());
    let in_hole = |it: &&Value| (from..to).contains(&it["position"].as_u64().unwrap());
    assert_eq!(saved.len() + before.iter().filter(in_hole).count(), before.len());
    assert!(!saved.iter().any(|event| in_hole(&event)));
}

#[test]
fn an_export_of_a_past_state_ends_on_a_damaged_log() {
    let (folder, before) = damaged();
    let whole = folder.run(&["export"]);
    // In the middle of what is damaged, and around it.
    for event in before.iter().step_by(before.len() / 12) {
        let time = event["recorded_at"].as_str().unwrap();
        let ran = folder.run(&["export", "--as-of", &format!("recorded:{time}")]);
        let saved = lines(&ran.stdout);
        let position = |event: &Value| event["position"].as_u64().unwrap();
        let wanted = lines(&whole.stdout);
        let wanted = wanted.iter().filter(|it| it["recorded_at"].as_str().unwrap() <= time);
        let wanted: Vec<u64> = wanted.map(position).collect();
        assert_eq!(saved.iter().map(position).collect::<Vec<u64>>(), wanted, "as of {time}");
        assert!(ran.stderr.lines().count() < 50, "{}", ran.stderr);
    }
}

/// A damaged log: verify names `file` and the kind of damage and exits with 1, everything that is
/// asked of it says what to do, and no command changes a byte of a segment.
fn check_named(folder: &Folder, file: &Path, kinds: &[&str]) {
    let segments = || folder.files("data/namespaces/default/segments");
    let before = segments();
    let ran = finish(folder.command().args(["--output", "json", "verify"]), b"");
    ran.fails(1, &["are damaged: put the files back from a copy"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let named = report["errors"].as_array().unwrap().iter().any(|error| {
        assert!(error["offset_bytes"].is_u64(), "{error}");
        Path::new(error["file"].as_str().unwrap()) == file
            && kinds.contains(&error["kind"].as_str().unwrap())
    });
    assert!(named, "{} is not named as {kinds:?}: {report}", file.display());
    let name = file.file_name().unwrap().to_str().unwrap();
    folder.run(&["export"]).fails(1, &[name, "are lost"]);
    let read = folder.run(&["read", "--output", "ndjson"]);
    read.fails(1, &["segments/", "`nexus export`", "NX4001"]);
    assert!(segments() == before, "nobody changes a byte of a damaged segment");
}

#[test]
fn segments_that_are_cut_changed_swapped_or_gone() {
    let (folder, files, before) = store_of_segments();
    let (first, second) = (&files[0], &files[1]);
    let whole = [std::fs::read(first).unwrap(), std::fs::read(second).unwrap()];
    let put = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
    // Behind its last frame a segment that was not compressed yet has zeros that nobody misses.
    let end = whole[0].iter().rposition(|byte| *byte != 0).unwrap();
    for len_bytes in [0, 10, 4096, end / 2, end] {
        put(first, &whole[0][..len_bytes]);
        check_named(&folder, first, &["truncated", "malformed", "checksum"]);
    }
    // In the data of an event: what is between records is checked, and not served.
    let in_data = whole[0][end / 2..].windows(6).position(|found| found == b"filler").unwrap();
    // The frame behind frame 0, which holds no events.
    for at in [5, 2 * 4096 + 20, end / 2 + in_data] {
        let mut bytes = whole[0].clone();
        bytes[at] ^= 0x40;
        put(first, &bytes);
        check_named(&folder, first, &["checksum", "malformed", "foreign"]);
    }
    put(first, &whole[1]);
    put(second, &whole[0]);
    check_named(&folder, first, &["foreign"]);
    check_named(&folder, second, &["foreign"]);
    put(second, &whole[1]);
    std::fs::remove_file(first).unwrap();
    check_named(&folder, first, &["missing"]);
    // Put back, all is as it was.
    put(first, &whole[0]);
    assert_eq!(folder.json(&["verify"])["ok"], true);
    assert_eq!(lines(&folder.done(&["export"])), before);
}

#[test]
fn a_newest_segment_that_is_gone_is_no_end_of_the_log() {
    let (folder, files, _) = store_of_segments();
    let in_use = |path: &&PathBuf| std::fs::read(path).unwrap()[4096..].iter().any(|b| *b != 0);
    let newest = files.iter().rfind(in_use).unwrap();
    std::fs::remove_file(newest).unwrap();
    check_named(&folder, newest, &["missing"]);
    folder
        .run(&["append", "a", "--type", "T", "--data", "1"])
        .fails(1, &["the file is missing; nothing was changed: put the file", "`nexus export`"]);
}

#[test]
fn a_manifest_that_is_damaged_is_never_guessed() {
    let (folder, _, _) = store_of_segments();
    let manifest = folder.path("data/namespaces/default/manifest");
    let whole = std::fs::read(&manifest).unwrap();
    for bytes in [&whole[..whole.len() - 3], b""] {
        std::fs::write(&manifest, bytes).unwrap();
        let before = folder.files("data");
        for args in [&["stats"][..], &["export"], &["append", "a", "--type", "T", "--data", "1"]] {
            let parts =
                ["manifest is damaged", "nothing was changed", "directory back from a copy"];
            folder.run(args).fails(1, &parts);
        }
        folder.run(&["verify"]).fails(1, &["1 places are damaged"]);
        assert!(folder.files("data") == before);
    }
}

#[test]
fn a_node_state_that_is_lost_is_reset_by_name_only() {
    let (folder, _, before) = store_of_segments();
    assert_eq!(folder.json(&["node-state", "reset"]), serde_json::json!({"reset": false}));
    let file = folder.path("data/namespaces/default/node-state");
    for bytes in [Some(vec![0x55; 8192]), None] {
        match bytes {
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let append = ["append", "a", "--type", "T", "--data", "1"];
        for args in [&["stats"][..], &append] {
            folder.run(args).fails(1, &["node-state", "`nexus node-state reset`", "NX4001"]);
        }
        let reset = folder.json(&["node-state", "reset"]);
        assert_eq!(reset["reset"], true);
        assert!(reset["damage"].as_str().unwrap().contains("node-state"), "{reset}");
        assert_eq!(lines(&folder.done(&["export"])), before);
        assert_eq!(folder.json(&["verify"])["ok"], true);
    }
    folder.done(&["append", "a", "--type", "T", "--data", "1"]);
    // Other damage is none of its business.
    std::fs::write(folder.path("data/namespaces/default/manifest"), b"").unwrap();
    folder.run(&["node-state", "reset"]).fails(1, &["manifest is damaged"]);
}

/// CRC-32 (IEEE), as the format has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    })
}

#[test]
fn what_a_newer_nexus_wrote_is_refused_and_left_alone() {
    let (folder, files, _) = store_of_segments();
    let check = |path: &Path, part: &str, bytes: &[u8]| {
        let whole = std::fs::read(path).unwrap();
        std::fs::write(path, bytes).unwrap();
        let before = folder.files("data");
        let append = ["append", "a", "--type", "T", "--data", "1"];
        for args in [&["stats"][..], &append, &["verify"], &["export"], &["stream", "list"]] {
            let parts = ["was written by a newer Nexus", part, "use that version, nothing was"];
            folder.run(args).fails(1, &parts);
        }
        assert!(folder.files("data") == before, "nothing was changed");
        std::fs::write(path, whole).unwrap();
    };
    // The manifest: its version, and the checksum at its end.
    let manifest = folder.path("data/namespaces/default/manifest");
    let mut bytes = std::fs::read(&manifest).unwrap();
    bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
    let end = bytes.len() - 4;
    let crc = crc32(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    check(&manifest, "format 7; this one reads up to format 1", &bytes);
    // The header of a segment.
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
    check(&files[0], "segment header of version 2", &bytes);
    assert_eq!(folder.json(&["verify"])["ok"], true);
}

//! The demo ends by itself and leaves what it promises.

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
fn the_demo_keeps_a_directory_that_was_named_and_runs_again_in_it() {
    let folder = Folder::new();
    let demo = ["demo", "--events", "500", "--writers", "2"];
    let report = folder.json(&demo);
    assert_eq!(report["verified"], true);
    assert_eq!(report["steps"].as_array().unwrap().len(), 7);
    let events = folder.json(&["stats"])["events"].as_u64().unwrap();
    assert!(events >= 500);
    folder.json(&demo);
    assert!(folder.json(&["stats"])["events"].as_u64().unwrap() >= 2 * events - 100);
}

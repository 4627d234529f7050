//! What the guide on policies says to type does what it says.

use std::path::Path;
use std::process::Command;

use crate::nexus::{Folder, finish};

const GUIDE: &str = include_str!("../../../docs/guides/policies.md");

/// The commands of a guide that are about a store of one's own, in their order.
fn commands() -> String {
    let blocks = GUIDE.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    // That one is about the repository of whoever copies it.
    blocks.filter(|block| !block.contains("deploy/ci")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_commands_of_the_guide_on_policies_run_as_they_stand() {
    let folder = Folder::new();
    let bin = Path::new(env!("CARGO_BIN_EXE_nexus")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let commands = commands();
    for word in ["check", "test", "eval", "activate", "show", "--shadow", "replay", "rollback"] {
        assert!(commands.contains(&format!("policy {word}")) || commands.contains(word), "{word}");
    }
    let script = folder.file("guide.sh", format!("set -e\n{commands}"));
    let work = folder.path("work");
    std::fs::create_dir_all(&work).unwrap();
    let mut command = Command::new("sh");
    command.arg(script).current_dir(&work).env("PATH", path).env_remove("NEXUS_DATA");
    command.env_remove("NEXUS_SERVER");
    let ran = finish(&mut command, b"");
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("over_limit"), "{}", ran.stdout);
}

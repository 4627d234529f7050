//! What the guides say to type does what they say.

use std::path::Path;
use std::process::Command;

use crate::nexus::{Folder, Ran, finish};

const POLICIES: &str = include_str!("../../../docs/guides/policies.md");
const SCHEMAS: &str = include_str!("../../../docs/guides/schemas.md");
const READ_MODELS: &str = include_str!("../../../docs/guides/read-models.md");

/// What is typed, block by block, as one script that ends where something does otherwise than the guide says: a block that is
/// marked `refused` fails, and any other does not.
fn script(guide: &str) -> String {
    let mut script = "set -e\n".to_owned();
    for rest in guide.split("```sh").skip(1) {
        let (mark, rest) = rest.split_once('\n').unwrap();
        let block = rest.split("```").next().unwrap();
        // That one is about the repository of whoever copies it.
        if block.contains("deploy/ci") {
            continue;
        }
        match mark.trim() {
            "" => script.push_str(block),
            "refused" => {
                script.push_str("if (\n");
                script.push_str(block);
                script.push_str(") then echo 'this is not refused'; exit 1; fi\n");
            }
            other => panic!("no mark of a block: {other}"),
        }
    }
    script
}

/// Runs a guide in an empty folder.
fn run(guide: &str) -> Ran {
    let folder = Folder::new();
    let bin = Path::new(env!("CARGO_BIN_EXE_nexus")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = folder.file("guide.sh", script(guide));
    let work = folder.path("work");
    std::fs::create_dir_all(&work).unwrap();
    let mut command = Command::new("sh");
    command.arg(script).current_dir(&work).env("PATH", path).env_remove("NEXUS_DATA");
    command.env_remove("NEXUS_SERVER");
    let ran = finish(&mut command, b"");
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn the_commands_of_the_guide_on_policies_run_as_they_stand() {
    let commands = script(POLICIES);
    for word in ["check", "test", "eval", "activate", "show", "replay", "rollback"] {
        assert!(commands.contains(&format!("policy {word}")), "{word}");
    }
    assert!(commands.contains("--shadow"));
    let ran = run(POLICIES);
    assert!(ran.stdout.contains("over_limit"), "{}", ran.stdout);
}

#[test]
fn the_commands_of_the_guide_on_schemas_run_as_they_stand() {
    let commands = script(SCHEMAS);
    for word in ["infer", "check", "register", "set", "migrate"] {
        assert!(commands.contains(&format!("schema {word}")), "{word}");
    }
    let ran = run(SCHEMAS);
    assert!(
        ran.stderr.contains("NX1009"),
        "what does not follow its schema is refused: {}",
        ran.stderr
    );
    // The same event as it is stored, in the newest version, and in the first.
    assert!(ran.stdout.contains("\"total_cents\": 250"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\"amount\":{\"cents\":250}"), "{}", ran.stdout);
}

#[test]
fn the_commands_of_the_guide_on_read_models_run_as_they_stand() {
    let ran = run(READ_MODELS);
    assert!(ran.stdout.contains("2 documents of 4 events"), "{}", ran.stdout);
}

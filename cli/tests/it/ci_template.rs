//! The script that pipelines call: it lets a change pass, and blocks one that must not be merged.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::nexus::{Folder, Ran, finish};

fn governance(args: &[&str]) -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/ci/governance.sh");
    let mut command = Command::new("sh");
    command.arg(script).args(args).env("NEXUS", env!("CARGO_BIN_EXE_nexus"));
    finish(&mut command, b"")
}

/// A directory with the schema of an order, in which these are required.
fn schemas(folder: &Folder, name: &str, required: &[&str]) -> String {
    let dir = folder.path(name);
    std::fs::create_dir_all(&dir).unwrap();
    let total = json!({ "type": "integer" });
    let properties = json!({ "total_cents": total, "coupon": { "type": "string" } });
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    std::fs::write(dir.join("OrderPlaced.json"), schema.to_string()).unwrap();
    dir.to_str().unwrap().to_owned()
}

fn starter() -> String {
    format!("{}/../policies/rego/starter", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_change_that_is_right_passes() {
    let folder = Folder::new();
    let base = schemas(&folder, "base", &["total_cents"]);
    let head = schemas(&folder, "head", &[]);
    let all = ["--schemas", &head, "--base", &base, "--policies", &starter()];
    let ran = governance(&all);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_planted_violation_blocks() {
    let folder = Folder::new();
    let base = schemas(&folder, "base", &["total_cents"]);
    let harsh = schemas(&folder, "harsh", &["total_cents", "coupon"]);
    let ran = governance(&["--schemas", &harsh, "--base", &base]);
    assert_eq!(ran.code, 1, "what is there has no coupon: {}{}", ran.stdout, ran.stderr);
    // A rule of the starter is turned round.
    let planted = folder.path("planted");
    copy(Path::new(&starter()), &planted);
    let appends = planted.join("appends.rego");
    let text = std::fs::read_to_string(&appends).unwrap();
    assert!(text.contains("event.data.total_cents <= limit"));
    let turned = text.replace("event.data.total_cents <= limit", "event.data.total_cents >= limit");
    std::fs::write(&appends, turned).unwrap();
    let ran = governance(&["--policies", planted.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "its tests fail: {}{}", ran.stdout, ran.stderr);
    // And one that decides about nothing.
    let nothing = folder.path("nothing");
    std::fs::create_dir_all(&nothing).unwrap();
    std::fs::write(nothing.join("a.rego"), "package other\nx := 1\n").unwrap();
    assert_eq!(governance(&["--policies", nothing.to_str().unwrap()]).code, 1);
    assert_eq!(governance(&["--dance", "x"]).code, 2);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

//! Starting the binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary with a data directory.
pub(crate) fn nexus(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
    command.arg("--data").arg(dir).env_remove("NEXUS_DATA");
    command
}

/// Runs it to its end.
pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Output {
    nexus(dir).args(arguments).output().unwrap()
}

/// Runs it, demands success, and gives what it printed.
pub(crate) fn ok(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it, demands this exit code, and gives what it said on standard error.
pub(crate) fn fails(dir: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(dir, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    error
}

/// Runs it, demands success, and reads what it printed as JSON.
pub(crate) fn json(dir: &Path, arguments: &[&str]) -> serde_json::Value {
    let mut all = arguments.to_vec();
    all.extend(["--output", "json"]);
    serde_json::from_str(&ok(dir, &all)).unwrap()
}

/// The permit log, if it lies beside the workspace.
pub(crate) fn permits() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/permit-receipt.csv");
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// The arguments that import it.
pub(crate) fn import_permits(path: &Path) -> Vec<&str> {
    vec![
        "import",
        path.to_str().unwrap(),
        "--stream",
        "permit-{case:concept:name}",
        "--type",
        "{concept:name}",
        "--occurred-at",
        "{time:timestamp}",
        "--tag",
        "group:{org:group}",
        "--tag",
        "channel:{case:channel}",
    ]
}

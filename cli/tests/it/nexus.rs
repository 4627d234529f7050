//! Running the binary in a directory of its own.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder that is gone with the test; the data directory is `data` in it.
pub(crate) struct Folder(TempDir);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and gives its path as text.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The binary, with the data directory `data` of this folder.
    pub(crate) fn command(&self) -> Command {
        self.command_in("data")
    }

    /// The binary, with another data directory of this folder.
    pub(crate) fn command_in(&self, data: &str) -> Command {
        let mut command = bare();
        command.arg("--data").arg(self.path(data));
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Ran {
        finish(self.command().args(args), b"")
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(crate) fn done<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        self.run(args).done()
    }

    /// Runs a command that must be refused, and must leave what is stored as it was.
    #[track_caller]
    pub(crate) fn refused<A: AsRef<OsStr>>(&self, code: i32, args: &[A], parts: &[&str]) {
        let before = self.done(&["export", "--system"]);
        self.run(args).fails(code, parts);
        assert_eq!(self.done(&["export", "--system"]), before, "a refusal changes nothing");
    }

    /// Every file below `name` with its bytes, but the lock.
    pub(crate) fn files(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut found, mut folders) = (Vec::new(), vec![self.path(name)]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name() != Some(OsStr::new("lock")) {
                    let bytes = std::fs::read(&path).unwrap();
                    found.push((path, bytes));
                }
            }
        }
        found.sort();
        found
    }

    /// Runs a command that must succeed with `--output json`, and gives that.
    pub(crate) fn json<A: AsRef<OsStr>>(&self, args: &[A]) -> Value {
        let mut command = self.command();
        command.args(["--output", "json"]).args(args);
        serde_json::from_str(&finish(&mut command, b"").done()).unwrap()
    }
}

impl Ran {
    /// What it printed; it must have succeeded.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// It must have failed so, and have said all of this.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// The binary, without a data directory.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NEXUS_") {
            command.env_remove(name);
        }
    }
    // No context of whoever runs the tests.
    command.env("XDG_CONFIG_HOME", "/dev/null/nowhere");
    command
}

/// Runs a command to its end, with this on its standard input.
pub(crate) fn finish(command: &mut Command, stdin: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // It may end before it has read all of it.
    let writer = std::thread::spawn(move || drop(input.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The file of real events, where it is there.
pub(crate) fn permits() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/permit-receipt.csv");
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// How the permits become events.
pub(crate) const PERMITS: &[&str] = &[
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
    "--tag",
    "case-group:{case:group}",
];

/// The lines of NDJSON.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

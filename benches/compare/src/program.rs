//! [`Program`]: a program of a store, where it is and which; and [`Server`]: one that runs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nexus_cli::measuring::{Failure, ends, forgets, notice};

/// Longer than any server needs to start over an empty folder.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// Where servers are that are not among the programs of every user.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A program that is there.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// Whom it runs as; `None`: as this program.
    user: Option<User>,
}

/// A user of the system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The first of these that there is.
    pub(crate) fn first_of(names: &[&str]) -> Option<Self> {
        let text = std::fs::read_to_string("/etc/passwd").ok()?;
        names.iter().find_map(|name| Self::of(&text, name))
    }

    /// From lines of `name:password:uid:gid:…`.
    fn of(text: &str, name: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut fields = line.split(':').skip(1);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

impl Program {
    /// The one at this path.
    fn new(path: PathBuf) -> Self {
        Self { path, user: None }
    }

    /// The same, run as somebody else, who only the system's administrator may be.
    pub(crate) fn run_as(&self, user: Option<User>) -> Self {
        Self { path: self.path.clone(), user }
    }

    /// Another one in its folder, wherever a link to it stands.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn beside(&self, name: &str) -> Result<Self, Failure> {
        let path = self.path.canonicalize().map_err(|error| self.failed(&error))?;
        Ok(Self { user: self.user, ..Self::at(&path.with_file_name(name))? })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be run, or fails; then with what it said.
    pub(crate) fn run(&self, words: &[&OsStr], dir: &Path) -> Result<(), Failure> {
        let ran = self.command().args(words).current_dir(dir).stdin(Stdio::null()).output();
        let ran = ran.map_err(|error| self.failed(&error))?;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        match ran.status.success() {
            true => Ok(()),
            false => {
                Err(self.failed(&format_args!("it said: {}", said.trim().replace('\n', " / "))))
            }
        }
    }

    /// The one at this path.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn at(path: &Path) -> Result<Self, Failure> {
        match path.is_file() {
            // A path without a folder would be looked for among all programs.
            true => path.canonicalize().map(Self::new).map_err(|error| {
                Failure::failed(format!("{} cannot be used: {error}", path.display()))
            }),
            false => Err(Failure::failed(format!("{} is no program", path.display()))),
        }
    }

    /// The one in the folder of this program.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn beside_this(name: &str) -> Result<Self, Failure> {
        let this = std::env::current_exe();
        let this = this.map_err(|error| Failure::failed(format!("no folder: {error}")))?;
        Self::at(&this.with_file_name(name)).map_err(|_| {
            Failure::failed(format!(
                "`{name}` is not beside this program: `cargo build --release -p nexus-cli` puts it there, or --{name} \
                 says where it is"
            ))
        })
    }

    /// The one that was given, or the one of this name; where that is not installed, says how to do so.
    ///
    /// # Errors
    /// When the one that was given is not there.
    pub(crate) fn find(
        name: &str,
        given: Option<&Path>,
        install: &str,
    ) -> Result<Option<Self>, Failure> {
        if let Some(path) = given {
            return Self::at(path).map(Some);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
        let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
        if found.is_none() {
            notice(format_args!(
                "{name} is not installed, so its scenarios are left out: `{install}` installs it"
            ));
        }
        Ok(found.map(Self::new))
    }

    /// What it says that it is: the first word that looks like a version.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn version(&self) -> Result<String, Failure> {
        let said = Command::new(&self.path).arg("--version").output();
        let said = said.map_err(|error| self.failed(&error))?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = version_of(&text).ok_or_else(|| self.failed(&"it names no version"))?;
        Ok(version.to_owned())
    }

    /// Starts it, and waits until it has said a line from which `ready` takes something.
    ///
    /// # Errors
    /// When it does not start, ends, or says no such line.
    pub(crate) fn start<T>(
        &self,
        words: &[&OsStr],
        on: Says,
        ready: impl Fn(&str) -> Option<T>,
    ) -> Result<(Server, T), Failure> {
        let mut command = self.command();
        // Nothing of the environment decides how Nexus serves.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("NEXUS_") {
                command.env_remove(name);
            }
        }
        command.args(words).stdin(Stdio::null());
        match on {
            Says::Out => command.stdout(Stdio::piped()),
            Says::Error => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command.spawn().map_err(|error| self.failed(&error))?;
        ends(child.id());
        let (out, error) = (child.stdout.take(), child.stderr.take());
        let server = Server(child);
        let lines = match (out, error) {
            (Some(out), _) => lines_of(out),
            (None, Some(error)) => lines_of(error),
            (None, None) => return Err(self.failed(&"it has no output")),
        };
        let (until, mut said) = (Instant::now() + START_TIME_MAX, Vec::new());
        loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => match ready(&line) {
                    Some(ready) => return Ok((server, ready)),
                    None => said.push(line),
                },
                Err(RecvTimeoutError::Timeout) => return Err(self.failed(&"it takes too long")),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failed(&format_args!("it said: {}", said.join(" / "))));
                }
            }
        }
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::failed(format!("{} did not start: {why}", self.path.display()))
    }
}

/// Where a server says that it is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    /// On standard output.
    Out,
    /// On standard error.
    Error,
}

/// A running server. It is killed where it is dropped: what it wrote is removed anyway.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
        forgets(self.0.id());
    }
}

/// Lines as they are said. They are read to the end, also when nobody listens: a server whose output is full stands
/// still.
fn lines_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (said, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = said.send(line);
        }
    });
    lines
}

fn version_of(text: &str) -> Option<&str> {
    let words = text.split_whitespace();
    let mut bare = words.map(|word| word.trim_start_matches(['v', '=', ':']));
    bare.find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let check = |text, expected| assert_eq!(version_of(text), expected);
        check("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", Some("7.0.15"));
        check("nats-server: v2.9.10\n", Some("2.9.10"));
        check("nexus 0.3.0\n", Some("0.3.0"));
        check("nothing", None);
    }

    #[test]
    fn users_are_found_by_their_whole_name() {
        let text = "root:x:0:0:root:/:/bin/sh\nnobody2:x:7:8::/:/bin/sh\nnobody:x:65534:65533::/:/bin/sh\n";
        let found = User::of(text, "nobody").unwrap();
        assert_eq!((found.uid, found.gid), (65_534, 65_533));
        assert!(User::of(text, "nob").is_none());
    }

    #[test]
    fn a_program_that_ends_is_told_from_one_that_serves() {
        let shell = Program::at(Path::new("/bin/sh")).unwrap();
        let start = |text: &str| {
            let words = [OsStr::new("-c"), OsStr::new(text)];
            shell.start(&words, Says::Out, |line| line.strip_prefix("at ").map(str::to_owned))
        };
        let (server, port) = start("echo first; echo at 7; read line").unwrap();
        assert_eq!(port, "7");
        drop(server);
        let failed = format!("{:?}", start("echo no place left").unwrap_err());
        assert!(failed.contains("no place left"), "{failed}");
        assert!(Program::find("no-such-program", None, "nothing").unwrap().is_none());
    }
}

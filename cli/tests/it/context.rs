//! Contexts: servers by name.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::nexus::{Folder, Ran, bare, finish};
use crate::serve::Serving;

/// Somebody with contexts of their own.
struct Somebody(Folder);

impl Somebody {
    fn command(&self) -> Command {
        let mut command = bare();
        command.env("XDG_CONFIG_HOME", self.0.path("config"));
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        finish(self.command().args(args), b"")
    }

    fn with(&self, name: &str, value: &str, args: &[&str]) -> Ran {
        finish(self.command().env(name, value).args(args), b"")
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[args, &["--output", "json"]].concat()).done()).unwrap()
    }

    fn events(&self, args: &[&str]) -> u64 {
        self.json(&[args, &["stats"]].concat())["events"].as_u64().unwrap()
    }
}

#[test]
fn the_current_context_says_where_and_who_unless_something_else_does() {
    let (folder, other) = (Folder::new(), Folder::new());
    let guarded = Serving::start(&folder, &["--listen", "127.0.0.1:0"]);
    let open = Serving::dev(&other);
    let (guarded_url, open_url) = (guarded.pinned(), open.url());
    let token = folder.path("data").join("admin-token");
    let token = token.to_str().unwrap();
    let secret = std::fs::read_to_string(token).unwrap();
    let secret = secret.trim();
    let me = Somebody(Folder::new());
    me.run(&["stats"]).fails(2, &["no data directory and no server", "nexus ctx use"]);
    me.run(&["ctx", "add", "prod", "--server", &guarded_url, "--token-file", token]).done();
    let piped =
        ["ctx", "add", "dev", "--server", &open_url, "--namespace", "audit", "--token-stdin"];
    finish(me.command().args(piped), format!("{secret}\nmore\n").as_bytes()).done();
    // What is added is not used yet.
    me.run(&["stats"]).fails(2, &["no data directory and no server"]);
    me.run(&["ctx", "show"]).fails(2, &["no context is current"]);
    me.run(&["ctx", "use", "prod"]).done();
    me.run(&["append", "a", "--type", "A", "--data", "1"]).done();
    assert_eq!(me.events(&[]), 1);
    // Flags and the environment go before it.
    assert_eq!(me.events(&["--server", &open_url]), 0);
    assert_eq!(me.with("NEXUS_SERVER", &open_url, &["read"]).done(), "");
    me.with("NEXUS_TOKEN", "nx_00_00", &["stats"]).fails(4, &["server of context prod"]);
    me.with("NEXUS_TOKEN", "nx_00_00", &["--context", "prod", "stats"]).done();
    me.run(&["--namespace", "none", "stats"]).fails(1, &["none"]);
    let local = me.0.path("local");
    let local = local.to_str().unwrap();
    me.run(&["--data", local, "append", "b", "--type", "B", "--data", "1"]).done();
    assert_eq!(me.events(&["--data", local]), 1);
    let here = me.with("NEXUS_DATA", local, &["read", "--output", "ndjson"]).done();
    assert!(here.contains("\"b\"") && here.lines().count() == 1, "{here}");
    me.run(&["verify", "--data", local]).done();
    // Another context by flag and by variable, with its namespace.
    me.run(&["--context", "dev", "namespace", "create", "audit"]).done();
    me.run(&["--context", "dev", "append", "c", "--type", "C", "--data", "1"]).done();
    assert_eq!(me.events(&["--server", &open_url, "--namespace", "audit"]), 1);
    let dev = me.with("NEXUS_CONTEXT", "dev", &["read", "--output", "ndjson"]).done();
    assert!(dev.contains("\"c\""), "{dev}");
    // A token of a context goes to no other server.
    me.run(&["--server", &guarded_url, "stats"]).fails(4, &["set NEXUS_TOKEN"]);
    me.with("NEXUS_SERVER", &guarded_url, &["stats"]).fails(4, &["set NEXUS_TOKEN"]);
}

#[test]
fn contexts_are_listed_shown_and_forgotten_without_their_tokens() {
    let me = Somebody(Folder::new());
    let token = me.0.file("token", "nx_0123_secret\n");
    let url = "nexus://127.0.0.1:1?timeout_ms=100";
    assert_eq!(me.json(&["ctx", "list"])["contexts"].as_array().unwrap().len(), 0);
    me.run(&["ctx", "add", "b", "--server", url, "--token-file", &token]).done();
    me.run(&["ctx", "add", "a", "--server", url]).done();
    me.run(&["ctx", "use", "b"]).done();
    let list = me.json(&["ctx", "list"]);
    assert_eq!(list["contexts"][1]["name"], "b");
    assert_eq!(list["contexts"][1]["current"], true);
    assert_eq!(list["contexts"][1]["has_token"], true);
    assert_eq!(list["contexts"][0]["has_token"], false);
    assert_eq!(me.json(&["ctx", "show"])["name"], "b");
    assert_eq!(me.json(&["ctx", "show", "a"])["server"], url);
    assert_eq!(me.json(&["--context", "a", "ctx", "show"])["name"], "a");
    let table = me.run(&["ctx", "list"]).done();
    assert!(table.lines().any(|line| line.starts_with("*  b")), "{table}");
    for args in [&["ctx", "list"][..], &["ctx", "show"], &["stats"], &["--context", "x", "stats"]] {
        let ran = me.run(args);
        assert!(!ran.stdout.contains("secret") && !ran.stderr.contains("secret"), "{ran:?}");
    }
    let file = me.0.path("config").join("nexus/contexts.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&file).unwrap().contains("nx_0123_secret"));
    me.run(&["ctx", "remove", "b"]).done();
    assert!(!std::fs::read_to_string(&file).unwrap().contains("nx_0123_secret"));
    me.run(&["ctx", "show"]).fails(2, &["no context is current"]);
}

#[test]
fn current_is_where_commands_go() {
    let me = Somebody(Folder::new());
    let url = "nexus://127.0.0.1:1?timeout_ms=100";
    me.run(&["ctx", "add", "a", "--server", url]).done();
    me.run(&["ctx", "add", "b", "--server", url]).done();
    me.run(&["ctx", "use", "a"]).done();
    let listed = |name: &str, value: &str, more: &[&str]| {
        let args = [more, &["ctx", "list", "--output", "json"]].concat();
        let list: Value = serde_json::from_str(&me.with(name, value, &args).done()).unwrap();
        let all = list["contexts"].as_array().unwrap().clone();
        let current = all.iter().find(|context| context["current"] == true);
        current.map(|context| context["name"].as_str().unwrap().to_owned())
    };
    assert_eq!(listed("NEXUS_SERVER", "", &[]).as_deref(), Some("a"));
    assert_eq!(listed("NEXUS_CONTEXT", "b", &[]).as_deref(), Some("b"));
    for (name, value) in [("NEXUS_SERVER", url), ("NEXUS_DATA", "data")] {
        assert_eq!(listed(name, value, &[]), None, "{name} goes before the context in use");
        assert_eq!(listed(name, value, &["--context", "b"]).as_deref(), Some("b"));
        me.with(name, value, &["ctx", "show"]).fails(2, &["no context is current", name]);
        me.with(name, value, &["ctx", "show", "a"]).done();
        let used = me.with(name, value, &["ctx", "use", "a"]);
        assert!(used.stderr.contains(name), "{used:?}");
    }
    assert_eq!(listed("NEXUS_CONTEXT", "", &["--server", url]), None);
}

#[test]
fn a_wrong_server_of_the_environment_stands_in_nobodys_way_who_goes_to_none() {
    let me = Somebody(Folder::new());
    let with = |args: &[&str]| me.with("NEXUS_SERVER", "http://a", args);
    with(&["stats"]).fails(2, &["write nexus://"]);
    with(&["completions", "bash"]).done();
    with(&["ctx", "list"]).done();
    with(&["config", "show"]).done();
    me.run(&["--server", "http://a", "ctx", "list"]).fails(2, &["write nexus://"]);
}

#[test]
fn of_many_changes_at_once_none_is_lost() {
    let me = Somebody(Folder::new());
    let url = "nexus://127.0.0.1:1?timeout_ms=100";
    let mut adding: Vec<_> = (0..16)
        .map(|number| {
            let mut command = me.command();
            command.args(["ctx", "add", &format!("c{number}"), "--server", url]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    assert!(adding.iter_mut().all(|it| it.wait().unwrap().success()));
    assert_eq!(me.json(&["ctx", "list"])["contexts"].as_array().unwrap().len(), 16);
}

#[test]
fn what_is_wrong_with_a_context_is_said() {
    let me = Somebody(Folder::new());
    let url = "nexus://127.0.0.1:1?timeout_ms=100";
    me.run(&["ctx", "use", "prod"])
        .fails(2, &["no context \"prod\"", "there is none yet", "ctx add"]);
    me.run(&["ctx", "add", "prod"]).fails(2, &["no server is named", "--server"]);
    me.run(&["ctx", "add", "a b", "--server", url]).fails(2, &["no name of a context", "letters"]);
    me.run(&["ctx", "add", "prod", "--server", "http://a"]).fails(2, &["write nexus://"]);
    let relative = "nexus://a:1?ca=ca.pem";
    me.run(&["ctx", "add", "prod", "--server", relative]).fails(2, &["from the root"]);
    let empty = me.0.file("empty", "\n");
    let add = ["ctx", "add", "prod", "--server", url];
    me.run(&[&add[..], &["--token-file", &empty]].concat())
        .fails(2, &["there is no token in", "empty"]);
    me.run(&[&add[..], &["--token-file", "/not/there"]].concat())
        .fails(1, &["cannot read the token"]);
    me.run(&add).done();
    me.run(&add).fails(2, &["a context \"prod\" already", "ctx remove prod"]);
    me.run(&["ctx", "remove", "pord"]).fails(2, &["no context \"pord\"", "(prod)"]);
    me.with("NEXUS_CONTEXT", "pord", &["stats"]).fails(2, &["no context \"pord\"", "(prod)"]);
    me.run(&["--context", "prod", "stats"]).fails(5, &["server of context prod"]);
    me.run(&["--context", "prod", "verify"]).fails(2, &["works on a data directory"]);
    let both = ["--context", "prod", "--server", url, "stats"];
    me.run(&both).fails(2, &["--server and --context are both given"]);
    let both = ["--context", "prod", "--data", "d", "stats"];
    me.run(&both).fails(2, &["--data and --context are both given"]);
    // A file that is broken stands in nobody's way who does not need it.
    let file = me.0.path("config").join("nexus/contexts.toml");
    std::fs::write(&file, "[contexts.prod]\nserver = 1\ntoken = 'nx_secret'\n").unwrap();
    let broken = me.run(&["stats"]);
    broken.fails(2, &["contexts.toml is not a file of contexts, at line 2", "`server`"]);
    assert!(!broken.stderr.contains("secret"), "{}", broken.stderr);
    me.run(&["--server", url, "stats"]).fails(5, &["cannot reach"]);
    me.run(&["config", "show"]).done();
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = finish(bare().args(["completions", shell]), b"").done();
        for word in ["append", "completions", "ctx", "tombstone", "grace-s"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        let hidden = ["as soon as it is acknowledged", "__load"];
        assert!(!hidden.iter().any(|of_load| script.contains(of_load)), "{shell}");
    }
    finish(bare().args(["completions", "ed"]), b"").fails(2, &["bash", "zsh", "fish"]);
    let bash = finish(bare().args(["completions", "bash"]), b"").done();
    let checked = finish(Command::new("bash").args(["-n", "/dev/stdin"]), bash.as_bytes());
    assert_eq!(checked.code, 0, "{}", checked.stderr);
}

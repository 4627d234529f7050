//! The building permits, all of them, under the bundle that comes with Nexus: what a clerk sees by commands and over HTTP,
//! and that it ends when the rules change.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nexus_testing::Issuer;
use serde_json::{Value, json};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::nexus::{Folder, PERMITS, Ran, bare, finish, lines, permits};
use crate::policy_stores::{bundle, comes_with};
use crate::serve::Serving;

/// What a clerk may see.
pub(crate) const SECOND: &str = "group:Group 2";
/// So many events of the file have that tag, of so many cases.
const SEEN: usize = 1_228;
pub(crate) const CASES: usize = 1_188;
const EVENTS: usize = 8_577;
/// A position in the middle of them.
const BEFORE: u64 = 4_000;

/// A server with all permits that lets in whom a token says, and two who have one.
pub(crate) struct Office {
    pub(crate) folder: Folder,
    pub(crate) serving: Serving,
    agent: ureq::Agent,
    pub(crate) chief: String,
    pub(crate) clerk: String,
}

impl Office {
    pub(crate) fn open() -> Option<Self> {
        let file = permits()?;
        let folder = Folder::new();
        folder.done(&[&["import", file.to_str().unwrap()], PERMITS].concat());
        let issuer = Issuer::ed("city");
        folder.file("jwks.json", issuer.jwks());
        let settings =
            "listen = \"127.0.0.1:0\"\n[auth]\njwks = \"jwks.json\"\naudience = \"nexus\"\n";
        let settings = folder.file("nexus.toml", settings);
        let serving = Serving::start(&folder, &["--config", &settings]);
        let chief = std::fs::read_to_string(folder.path("data/admin-token")).unwrap();
        let exp = Issuer::seconds_from_now(600);
        let clerk = issuer.token(&json!({ "sub": "ada", "aud": "nexus", "exp": exp,
                                          "nexus_role": "reader", "role": "clerk" }));
        let agent = agent(&folder);
        Some(Self { folder, serving, agent, chief: chief.trim().to_owned(), clerk })
    }

    fn command(&self, token: &str, args: &[&str]) -> Command {
        let mut command = bare();
        command.env("NEXUS_TOKEN", token).args(["--server", &self.serving.pinned()]).args(args);
        command
    }

    pub(crate) fn ask(&self, token: &str, args: &[&str]) -> Ran {
        finish(&mut self.command(token, args), b"")
    }

    /// The events that the clerk is shown by a command.
    fn shown(&self, args: &[&str]) -> Vec<Value> {
        lines(&self.ask(&self.clerk, &[args, &["--output", "ndjson"]].concat()).done())
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.serving.ready["http"].as_str().unwrap())
    }

    /// What the clerk gets over HTTP, as one text.
    pub(crate) fn http(&self, path: &str, accept: &str) -> (u16, String) {
        let ask = self.agent.get(self.url(path)).header("accept", accept);
        let answer = ask.header("authorization", format!("Bearer {}", self.clerk)).call();
        said(answer.unwrap())
    }

    /// What somebody gets who asks for something by JSON.
    pub(crate) fn post(&self, token: &str, path: &str, asked: &Value) -> (u16, String) {
        let ask = self.agent.post(self.url(path)).content_type("application/json");
        let ask = ask.header("authorization", format!("Bearer {token}"));
        said(ask.send(asked.to_string()).unwrap())
    }
}

fn said(mut answer: ureq::http::Response<ureq::Body>) -> (u16, String) {
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// Who asks over HTTP, and trusts the server of a folder.
fn agent(folder: &Folder) -> ureq::Agent {
    let pem = std::fs::read(folder.path("data/tls/certificate.pem")).unwrap();
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item.unwrap() {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let config = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls).build();
    config.into()
}

/// They are what a clerk may see, each of them once.
#[track_caller]
fn check(events: &[Value], wanted: usize) {
    let tagged = |it: &Value| it["tags"].as_array().unwrap().contains(&json!(SECOND));
    assert!(events.iter().all(tagged), "a clerk sees what has the tag, and nothing else");
    let positions: BTreeSet<u64> =
        events.iter().map(|it| it["position"].as_u64().unwrap()).collect();
    assert_eq!((events.len(), positions.len()), (wanted, wanted));
}

#[test]
fn a_clerk_sees_one_group_of_all_permits() {
    let Some(office) = Office::open() else { return };
    let ask = |args: &[&str]| office.ask(&office.chief, args).done();
    ask(&["group", "create", "all"]);
    ask(&["group", "create", "second", "--tag", SECOND]);
    // Without rules, roles decide: a reader sees all.
    assert_eq!(office.shown(&["read"]).len(), EVENTS);
    ask(&["policy", "activate", &comes_with("permits")]);
    let all = office.shown(&["read"]);
    check(&all, SEEN);
    let cases: BTreeSet<&str> = all.iter().map(|it| it["stream"].as_str().unwrap()).collect();
    assert_eq!(cases.len(), CASES);
    check(&office.shown(&["tail", "--limit", "7"]), 7);
    let before = all.iter().filter(|it| it["position"].as_u64().unwrap() <= BEFORE).count();
    check(&office.shown(&["read", "--as-of", &format!("position:{BEFORE}")]), before);
    let consume = ["group", "consume", "second", "--consumer", "ada", "--limit", "50"];
    let came = office.shown(&consume);
    assert_eq!(came.len(), 50);
    let consume = ["group", "consume", "all", "--consumer", "ada", "--limit", "1"];
    office.ask(&office.clerk, &consume).fails(4, &["may not see"]);
    let append = ["append", "permit-1", "--type", "Filed", "--data", "1"];
    office.ask(&office.clerk, &append).fails(4, &["by no clerk", "NX1003"]);
    // Over HTTP it is the same.
    let (status, text) = office.http("/v1/events", "application/x-ndjson");
    assert_eq!(status, 200, "{text}");
    let over_http: Vec<Value> =
        lines(&text).into_iter().filter(|it| it["type"].is_string()).collect();
    check(&over_http, SEEN);
    let (status, text) = office.http("/v1/streams", "application/json");
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("decision_id"), "{text}");
    ends_when_rules_change(&office);
}

/// Who looks on is told that it ends, and why.
fn ends_when_rules_change(office: &Office) {
    let mut follow =
        office.command(&office.clerk, &["tail", "--follow", "--limit", "1", "--output", "ndjson"]);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let out = follow.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
    check(&lines(&line), 1);
    let rule = "package nexus.policy\ndecision := {\"allow\": \"admin\" in input.subject.roles}";
    let closed = bundle(&office.folder, "closed", &[rule]);
    office.ask(&office.chief, &["policy", "activate", &closed]).done();
    let ended = follow.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(4), "{said}");
    assert!(said.contains("NX1003"), "{said}");
    office.ask(&office.clerk, &["read", "--limit", "1"]).fails(4, &["NX1003"]);
    office.ask(&office.chief, &["policy", "rollback"]).done();
    check(&office.shown(&["read"]), SEEN);
}

//! `nexus serve`, and every command against it.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nexus_client::Client;
use nexus_protocol::{Append, EventData, EventId, Subscribe, SubscriptionItem};
use nexus_testing::executor::next;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::nexus::{Folder, bare, finish, lines};

/// A server that is killed with the test.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) ready: Value,
}

impl Serving {
    pub(crate) fn start(folder: &Folder, args: &[&str]) -> Self {
        Self::start_with(folder, args, &[])
    }

    /// With these variables in its environment.
    pub(crate) fn start_with(folder: &Folder, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = folder.command();
        command.envs(variables.iter().copied());
        Self::spawn(command, args)
    }

    /// With its log in this file.
    pub(crate) fn start_logging(folder: &Folder, args: &[&str], log: std::fs::File) -> Self {
        let mut command = folder.command();
        command.stderr(log);
        Self::spawn(command, args)
    }

    pub(crate) fn spawn(mut command: Command, args: &[&str]) -> Self {
        command.args(["serve", "--output", "json"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).expect("the first line says where it is");
        Self { child, ready }
    }

    pub(crate) fn dev(folder: &Folder) -> Self {
        Self::start(folder, &["--dev", "--listen", "127.0.0.1:0"])
    }

    pub(crate) fn url(&self) -> String {
        format!("nexus://{}", self.ready["quic"].as_str().unwrap())
    }

    pub(crate) fn pinned(&self) -> String {
        format!("{}?fingerprint={}", self.url(), self.ready["fingerprint"].as_str().unwrap())
    }

    /// The binary, as a client of it.
    pub(crate) fn command(&self) -> Command {
        let mut command = bare();
        command.arg("--server").arg(self.url());
        command
    }

    fn done(&self, args: &[&str]) -> String {
        finish(self.command().args(args), b"").done()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[args, &["--output", "json"]].concat())).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        assert!(kill.args(["-s", name, &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Serving {
    /// Its exit code, once it has ended.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn commands_do_the_same_over_a_server() {
    let folder = Folder::new();
    let serving = Serving::dev(&folder);
    let append = |stream: &str, id: &str, more: &[&str]| {
        let args = ["append", stream, "--type", "Placed", "--data", "{\"n\": 1}", "--id", id];
        finish(serving.command().args(args).args(more), b"")
    };
    let id = |n: u8| format!("00000000-0000-4000-8000-0000000000{n:02x}");
    append("order-1", &id(1), &["--expected", "no_stream"]).done();
    append("order-1", &id(2), &["--expected", "0", "--tag", "a:b"]).done();
    append("order-2", &id(3), &[]).done();
    let conflict = append("order-1", &id(4), &["--expected", "no_stream"]);
    assert_eq!(conflict.code, 3, "{}", conflict.stderr);
    let read = lines(&serving.done(&["read", "order-1", "--output", "ndjson"]));
    assert_eq!(read.len(), 2);
    assert_eq!(read[1]["tags"][0], "a:b");
    let tail = lines(&serving.done(&["tail", "--limit", "2", "--output", "ndjson"]));
    assert_eq!(tail.iter().map(|e| e["position"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(serving.json(&["stats"])["events"], 3);
    assert_eq!(serving.json(&["read", "order-1", "--explain"])["index"], "stream");
    assert_eq!(serving.json(&["streams"])["streams"].as_array().unwrap().len(), 2);
    serving.done(&["stream", "set", "order-1", "--max-count", "1"]);
    assert_eq!(serving.json(&["stream", "show", "order-1"])["max_count"], 1);
    serving.done(&["stream", "delete", "order-2"]);
    assert_eq!(serving.json(&["namespace", "create", "audit"])["created"], true);
    assert_eq!(serving.json(&["namespace", "list"])["namespaces"].as_array().unwrap().len(), 2);
    assert_eq!(serving.json(&["--namespace", "audit", "stats"])["events"], 0);
    let delete = ["namespace", "delete", "audit"];
    finish(serving.command().args(delete), b"audit\n").fails(2, &["for good", "pass --yes"]);
    let deleted = serving.json(&["namespace", "delete", "audit", "--yes"]);
    assert_eq!((&deleted["namespace"], &deleted["deleted"]), (&"audit".into(), &true.into()));
    finish(serving.command().args(delete).arg("--yes"), b"").fails(1, &["no namespace \"audit\""]);
    let default = ["namespace", "delete", "default", "--yes"];
    finish(serving.command().args(default), b"").fails(2, &["there must be"]);
    assert_eq!(serving.json(&["namespace", "list"])["namespaces"].as_array().unwrap().len(), 1);
    let exported = serving.done(&["export"]);
    assert_eq!(lines(&exported).len(), 1);
    let again = Folder::new();
    let file = again.file("events.ndjson", &exported);
    let other = Serving::dev(&again);
    assert_eq!(other.json(&["import", &file])["appended"], 1);
    assert_eq!(other.json(&["import", &file])["appended"], 0);
    // What needs the directory says so, and what is not there is not reachable.
    let verify = finish(serving.command().arg("verify"), b"");
    assert_eq!(verify.code, 2);
    assert!(verify.stderr.contains("works on a data directory"), "{}", verify.stderr);
    let nobody = "nexus://127.0.0.1:1?timeout_ms=100";
    let nobody = finish(bare().args(["--server", nobody, "stats"]), b"");
    assert_eq!(nobody.code, 5, "{}", nobody.stderr);
    let embedded = finish(bare().args(["--server", "file:///data", "stats"]), b"");
    assert_eq!(embedded.code, 2, "{}", embedded.stderr);
    assert!(embedded.stderr.contains("directory as in --data DIR"), "{}", embedded.stderr);
    let locked = folder.run(&["stats"]);
    assert_eq!(locked.code, 5, "{}", locked.stderr);
}

#[test]
fn a_tail_shows_each_event_as_it_comes() {
    let folder = Folder::new();
    let serving = Serving::dev(&folder);
    for format in ["ndjson", "table"] {
        let before = serving.json(&["stats"])["events"].as_u64().unwrap();
        let mut command = serving.command();
        command.args(["tail", "--follow", "--limit", "0", "--output", format]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(said.next().unwrap().unwrap().contains("following"));
        let mut shown = BufReader::new(child.stdout.take().unwrap()).lines();
        for n in 0..3 {
            let stream = format!("{format}-{n}");
            serving.done(&["append", &stream, "--type", "Placed", "--data", "1"]);
            // Nothing comes after it: a line that waited for more would be waited for without end.
            let line = shown.by_ref().map(Result::unwrap).find(|line| line.contains(&stream));
            assert!(line.unwrap().contains(&(before + n).to_string()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn who_has_no_token_is_not_let_in() {
    let folder = Folder::new();
    let serving = Serving::start(&folder, &["--listen", "127.0.0.1:0"]);
    let path = folder.path("data").join("admin-token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let admin = std::fs::read_to_string(&path).unwrap();
    let run = |token: Option<&str>, server: &str, args: &[&str]| {
        let mut command = bare();
        command.env_remove("NEXUS_TOKEN").args(["--server", server]).args(args);
        token.map(|token| command.env("NEXUS_TOKEN", token));
        finish(&mut command, b"")
    };
    let refused = run(None, &serving.pinned(), &["stats"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("set NEXUS_TOKEN"), "{}", refused.stderr);
    // Over a connection that proves nothing, no token is sent.
    assert_eq!(run(Some(&admin), &serving.url(), &["stats"]).code, 4);
    run(Some(&admin), &serving.pinned(), &["stats"]).done();
    let create = ["token", "create", "--name", "ci", "--role", "reader", "--output", "json"];
    let made = run(Some(&admin), &serving.pinned(), &create).done();
    let made: Value = serde_json::from_str(&made).unwrap();
    let (id, reader) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    run(Some(reader), &serving.pinned(), &["stats"]).done();
    let append = ["append", "a", "--type", "A", "--data", "1"];
    run(Some(reader), &serving.pinned(), &append).fails(4, &["needs one of the roles"]);
    let listed = run(Some(&admin), &serving.pinned(), &["token", "list"]).done();
    assert!(listed.contains("ci") && !listed.contains(reader), "{listed}");
    run(Some(&admin), &serving.pinned(), &["token", "revoke", id]).done();
    assert_eq!(run(Some(reader), &serving.pinned(), &["stats"]).code, 4);
    // Another server's certificate is not taken for this one's, and no other start makes a token.
    let wrong = format!("{}?fingerprint=sha256:{}", serving.url(), "ab".repeat(32));
    let wrong = run(Some(&admin), &wrong, &["stats"]);
    assert!(wrong.code == 4 && wrong.stderr.contains("fingerprint"), "{}", wrong.stderr);
    drop(serving);
    let serving = Serving::start(&folder, &["--listen", "127.0.0.1:0"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), admin);
    run(Some(&admin), &serving.pinned(), &["stats"]).done();
}

#[test]
fn what_administrators_ask_for_is_on_record() {
    let folder = Folder::new();
    let mut serving = Serving::dev(&folder);
    serving.done(&["append", "order-1", "--type", "A", "--data", "1"]);
    serving.done(&["namespace", "create", "orders"]);
    serving.done(&["stream", "set", "order-1", "--max-count", "5"]);
    serving.done(&["token", "create", "--name", "ci", "--role", "reader"]);
    serving.signal("TERM");
    assert_eq!(serving.wait(), Some(0));
    folder.done(&["token", "create", "--name", "root", "--role", "admin"]);
    let listed = folder.json(&["audit", "list"]);
    let entries = listed["audit"].as_array().unwrap();
    let said: Vec<_> = entries
        .iter()
        .map(|it| ["operation", "by", "door", "outcome"].map(|key| it[key].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        said,
        [
            ["create_namespace", "anonymous", "quic", "done"],
            ["set_stream", "anonymous", "quic", "done"],
            ["create_token", "anonymous", "quic", "done"],
            ["create_token", "local", "", "done"],
        ]
    );
    assert_eq!(entries[1]["details"], serde_json::json!({"max_count": 5}));
    assert_eq!(
        (&entries[1]["namespace"], &entries[1]["what"]),
        (&"default".into(), &"order-1".into())
    );
    assert_eq!(listed["next"], Value::Null);
    let page = folder.json(&["audit", "list", "--after", "0", "--limit", "2"]);
    assert_eq!(page["audit"].as_array().unwrap().len(), 2);
    assert_eq!(page["next"], 2);
    assert!(folder.done(&["audit", "list"]).contains("set_stream"));
}

#[test]
fn a_hang_up_reads_the_certificate_again() {
    let folder = Folder::new();
    let make = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        folder.file(&format!("{name}.pem"), made.cert.pem());
        folder.file(&format!("{name}-key.pem"), made.signing_key.serialize_pem());
    };
    let put = |name: &str, file: &str| {
        std::fs::copy(folder.path(&format!("{name}.pem")), folder.path(file)).unwrap();
    };
    make("old");
    make("new");
    put("old", "server.pem");
    put("old-key", "server-key.pem");
    let settings = "listen = \"127.0.0.1:0\"\ndev = true\n[tls]\ncertificate = \"server.pem\"\n\
                    key = \"server-key.pem\"";
    let settings = folder.file("nexus.toml", settings);
    let mut command = folder.command();
    command.stderr(Stdio::piped());
    let mut serving = Serving::spawn(command, &["--config", &settings]);
    let mut said = BufReader::new(serving.child.stderr.take().unwrap()).lines();
    let stats = |url: &str| finish(bare().args(["--server", url, "stats"]), b"");
    let old = serving.pinned();
    stats(&old).done();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connected = runtime.block_on(nexus_client::connect(&old)).unwrap();
    // Half of a new certificate is none: the old one stays, and the server says why.
    put("new", "server.pem");
    serving.signal("HUP");
    let line = said.next().unwrap().unwrap();
    assert!(line.contains("stays the one it was") && line.contains("both files"), "{line}");
    stats(&old).done();
    std::fs::remove_file(folder.path("server-key.pem")).unwrap();
    serving.signal("HUP");
    let line = said.next().unwrap().unwrap();
    assert!(line.contains("cannot read") && line.contains("server-key.pem"), "{line}");
    put("new-key", "server-key.pem");
    serving.signal("HUP");
    let line = said.next().unwrap().unwrap();
    let fingerprint = line.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
    let new = format!("{}?fingerprint={fingerprint}", serving.url());
    assert_ne!(new, old);
    stats(&new).done();
    stats(&old).fails(4, &["is not trusted", "compare the fingerprint"]);
    let event = EventData::json("Counted", &1).unwrap();
    runtime.block_on(connected.append(Append::to("a").event(event))).unwrap();
    serving.signal("TERM");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    let record = folder.json(&["audit", "list"]);
    let entry = &record["audit"][0];
    assert_eq!(
        (&entry["operation"], &entry["what"]),
        (&"reload_certificate".into(), &fingerprint.into())
    );
}

#[test]
fn an_interruption_ends_it_in_order() {
    let folder = Folder::new();
    let mut serving = Serving::dev(&folder);
    serving.done(&["append", "a", "--type", "A", "--data", "1"]);
    serving.signal("TERM");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    assert_eq!(folder.json(&["stats"])["events"], 1);
    let refused = folder.run(&["serve", "--dev", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("loopback"), "{}", refused.stderr);
}

/// What systemd is told by `sd_notify`: that the server is ready, once it answers, and that it ends.
#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_ends() {
    let folder = Folder::new();
    let path = folder.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let told = || {
        let mut message = [0; 64];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let args = ["--dev", "--listen", "127.0.0.1:0"];
    let mut serving = Serving::start_with(&folder, &args, &variables);
    assert_eq!(told(), "READY=1");
    serving.done(&["append", "a", "--type", "A", "--data", "1"]);
    serving.signal("TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    // A socket that nobody listens at keeps no server from its work.
    let nobody = folder.path("nobody");
    let variables = [("NOTIFY_SOCKET", nobody.to_str().unwrap())];
    Serving::start_with(&folder, &args, &variables).done(&["stats"]);
}

/// Appends until told to stop; keeps the ids of what was acknowledged.
async fn write(
    client: Client,
    writer: u64,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) -> Vec<EventId> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let number = acknowledged.len() as u64;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(writer + 1).to_be_bytes());
        id[8..].copy_from_slice(&number.to_be_bytes());
        let event = EventData::json("Counted", &number).unwrap().id(EventId::from_bytes(id));
        client.append(Append::to(format!("writer-{writer}")).event(event)).await.unwrap();
        acknowledged.push(EventId::from_bytes(id));
        done.fetch_add(1, Ordering::AcqRel);
    }
    acknowledged
}

/// Follows the log until so many events were seen.
async fn follow(client: Client, wanted: Arc<AtomicU64>) -> Vec<EventId> {
    let mut subscription = client.subscribe(Subscribe::all());
    let mut seen = Vec::new();
    let mut last = None;
    while (seen.len() as u64) < wanted.load(Ordering::Acquire) {
        if let SubscriptionItem::Event(event) = next(&mut subscription).await.unwrap().unwrap() {
            assert!(last < Some(event.position()), "in order, and each once");
            last = Some(event.position());
            seen.push(event.id());
        }
    }
    seen
}

/// The server is killed again and again under load. Every acknowledged append is there, once; every
/// subscription saw each event once, in order.
#[test]
fn a_server_that_is_killed_loses_nothing_and_repeats_nothing() {
    let kills: u64 =
        std::env::var("NEXUS_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    let folder = Folder::new();
    let mut serving = Serving::dev(&folder);
    let address = serving.ready["quic"].as_str().unwrap().to_owned();
    let url = serving.url();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let wanted = Arc::new(AtomicU64::new(u64::MAX));
    let connect = || runtime.block_on(nexus_client::connect(&url)).unwrap();
    let writers: Vec<_> = (0..6)
        .map(|writer| runtime.spawn(write(connect(), writer, Arc::clone(&stop), Arc::clone(&done))))
        .collect();
    let followers: Vec<_> =
        (0..3).map(|_| runtime.spawn(follow(connect(), Arc::clone(&wanted)))).collect();
    let mut chance = u64::from(std::process::id());
    for _ in 0..kills {
        chance =
            chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let until = done.load(Ordering::Acquire) + 1 + (chance >> 33) % 500;
        while done.load(Ordering::Acquire) < until {
            assert!(!writers.iter().any(JoinHandle::is_finished), "no append fails for good");
            std::thread::yield_now();
        }
        serving.signal("KILL");
        serving.child.wait().unwrap();
        serving = Serving::start(&folder, &["--dev", "--listen", &address]);
    }
    stop.store(true, Ordering::Release);
    let acknowledged: Vec<EventId> =
        writers.into_iter().flat_map(|writer| runtime.block_on(writer).unwrap()).collect();
    wanted.store(acknowledged.len() as u64 + 1, Ordering::Release);
    // Something more, so that followers that wait look again.
    let event = EventData::json("Ended", &1).unwrap();
    runtime.block_on(connect().append(Append::to("end").event(event))).unwrap();
    let unique: HashSet<EventId> = acknowledged.iter().copied().collect();
    for follower in followers {
        let seen: HashSet<EventId> = runtime.block_on(follower).unwrap().into_iter().collect();
        assert!(unique.is_subset(&seen), "every acknowledged event was seen");
    }
    serving.signal("TERM");
    serving.child.wait().unwrap();
    let stored = lines(&folder.done(&["export"]));
    assert_eq!(stored.len(), acknowledged.len() + 1, "each once, and nothing else");
    let ids: HashSet<String> =
        stored.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert!(acknowledged.iter().all(|id| ids.contains(&id.to_string())));
    assert_eq!(folder.json(&["verify"])["ok"], true);
    println!("count: serve_kills {kills}");
    println!("count: serve_acknowledged {}", acknowledged.len());
}

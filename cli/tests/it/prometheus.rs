//! A real Prometheus scrapes a server: by TLS, with a token that may do nothing else.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::nexus::{Folder, bare, finish};
use crate::serve::Serving;
use crate::telemetry::{PATIENCE, collector};

/// A process that is killed with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What must hold of what Prometheus scraped, by the name of the alert that says so.
const ALERTS: [(&str, &str); 5] = [
    ("Up", "up == 1"),
    ("Events", "nexus_appended_events_total == 3"),
    ("Head", r#"nexus_log_head_position{namespace="default"} == 2"#),
    ("Appends", "nexus_append_duration_seconds_count == 3"),
    ("Quantile", "histogram_quantile(0.99, nexus_sync_duration_seconds_bucket) > 0"),
];

/// Prometheus that scrapes `serving` every second, and tells `alerts` when what must hold does.
fn configure(folder: &Folder, serving: &Serving, token: &str, alerts: &str) {
    let file = |name: &str| folder.path(name).display().to_string();
    let mut rules = String::from("groups:\n- name: nexus\n  rules:\n");
    for (name, expression) in ALERTS {
        writeln!(rules, "  - alert: {name}\n    expr: '{expression}'").unwrap();
    }
    std::fs::write(file("rules.yml"), rules).unwrap();
    std::fs::write(file("token"), token).unwrap();
    let http = serving.ready["http"].as_str().unwrap();
    let target = http.strip_prefix("https://").unwrap_or(http);
    let config = serde_json::json!({
        "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
        "rule_files": [file("rules.yml")],
        "alerting": { "alertmanagers": [{ "static_configs": [{ "targets": [alerts] }] }] },
        "scrape_configs": [{
            "job_name": "nexus",
            "scheme": "https",
            "tls_config": { "ca_file": file("data/tls/certificate.pem") },
            "authorization": { "credentials_file": file("token") },
            "static_configs": [{ "targets": [target] }],
        }],
    });
    // JSON is YAML.
    std::fs::write(file("prometheus.yml"), config.to_string()).unwrap();
}

/// Whether Debian's package is there; says so where it is not.
fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        eprintln!("skipped: {program} is not installed (Debian: apt-get install prometheus)");
    }
    found
}

#[test]
fn prometheus_scrapes_a_server() {
    if !is_installed("prometheus") {
        return;
    }
    let folder = Folder::new();
    let serving = Serving::start(&folder, &["--listen", "127.0.0.1:0"]);
    let admin = std::fs::read_to_string(folder.path("data/admin-token")).unwrap();
    let as_admin = |args: &[&str]| {
        let mut command = bare();
        command.env("NEXUS_TOKEN", &admin).args(["--server", &serving.pinned()]).args(args);
        finish(&mut command, b"").done()
    };
    for _ in 0..3 {
        as_admin(&["append", "order-1", "--type", "Placed", "--data", "{}"]);
    }
    let create = ["token", "create", "--name", "scraper", "--role", "monitor", "--output", "json"];
    let made = as_admin(&create);
    let made: Value = serde_json::from_str(&made).unwrap();

    let (url, received) = collector();
    let alerts = url.strip_prefix("http://").unwrap();
    configure(&folder, &serving, made["token"].as_str().unwrap(), alerts);
    let mut prometheus = Command::new("prometheus");
    prometheus.arg("--config.file").arg(folder.path("prometheus.yml"));
    prometheus.arg("--storage.tsdb.path").arg(folder.path("tsdb"));
    prometheus.args(["--web.listen-address=127.0.0.1:0", "--log.level=warn"]);
    let log = std::fs::File::create(folder.path("prometheus.log")).unwrap();
    prometheus.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let _prometheus = Killed(prometheus.spawn().unwrap());

    let mut waited_for: Vec<&str> = ALERTS.iter().map(|(name, _)| *name).collect();
    while !waited_for.is_empty() {
        let Ok(sent) = received.recv_timeout(PATIENCE) else {
            let log = std::fs::read_to_string(folder.path("prometheus.log"));
            panic!("{waited_for:?} did not hold: {log:?}");
        };
        assert_eq!(sent.path, "/api/v2/alerts");
        let fired: Value = serde_json::from_slice(&sent.body).unwrap();
        for alert in fired.as_array().unwrap() {
            waited_for.retain(|name| alert["labels"]["alertname"] != *name);
        }
    }
}

#[test]
fn promtool_has_nothing_to_say_of_the_metrics() {
    if !is_installed("promtool") {
        return;
    }
    let folder = Folder::new();
    let serving = Serving::dev(&folder);
    let append = ["append", "order-1", "--type", "Placed", "--data", "{}"];
    finish(serving.command().args(append), b"").done();
    let address = serving.ready["http"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, metrics) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(" 200 ") && metrics.contains("nexus_appended_events_total 1"),
        "{answer}"
    );
    let checked = finish(Command::new("promtool").args(["check", "metrics"]), metrics.as_bytes());
    assert_eq!((checked.code, &*checked.stdout, &*checked.stderr), (0, "", ""));
}

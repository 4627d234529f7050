//! Settings of a server: `nexus config`, and what `nexus serve` does with them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use serde_json::Value;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::nexus::{Folder, Ran, bare, finish};
use crate::serve::Serving;

/// `config show` with these variables, as pairs of value and source by key.
fn shown(folder: &Folder, variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = folder.command();
    command.envs(variables.iter().copied()).args(["config", "show", "--output", "json"]).args(args);
    finish(&mut command, b"")
}

fn setting(shown: &str, key: &str) -> (Value, String) {
    let all: Value = serde_json::from_str(shown).unwrap();
    let all = all["settings"].as_array().unwrap().clone();
    let found = all.into_iter().find(|setting| setting["key"] == key).unwrap();
    (found["value"].clone(), found["source"].as_str().unwrap().to_owned())
}

#[test]
fn every_setting_is_shown_with_its_source() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("data")).unwrap();
    let file = folder.file("data/nexus.toml", "grace_s = 5\n[limits]\nconnections_max = 7\n");
    let variables = [("NEXUS_GRACE_S", "6"), ("NEXUS_LIMITS_CONNECTION_MAX", "1")];
    let ran = shown(&folder, &variables, &["--listen", "127.0.0.1:1"]);
    assert!(ran.stderr.contains("NEXUS_LIMITS_CONNECTION_MAX is set"), "{}", ran.stderr);
    let text = ran.done();
    let check = |key, value: Value, source: &str| {
        assert_eq!(setting(&text, key), (value, source.to_owned()), "{key}");
    };
    check("listen", "127.0.0.1:1".into(), "flag --listen");
    check("grace_s", 6.into(), "variable NEXUS_GRACE_S");
    check("limits.connections_max", 7.into(), &format!("file {file}"));
    check("dev", false.into(), "default");
    check("tls.key", Value::Null, "default");
    // Another file takes the place of the one in the directory.
    let other = folder.file("other.toml", "dev = true\n");
    let text = shown(&folder, &[], &["--config", &other, "--dev=false"]).done();
    assert_eq!(setting(&text, "dev"), (false.into(), "flag --dev".to_owned()));
    assert_eq!(setting(&text, "grace_s"), (10.into(), "default".to_owned()));
    // For people, and without a directory.
    let table = finish(bare().args(["config", "show"]), b"").done();
    assert!(table.lines().any(|line| line.starts_with("tls.certificate") && line.contains("none")));
}

#[test]
fn what_cannot_be_is_refused_by_all_commands_alike() {
    let folder = Folder::new();
    let file = folder.file("bad.toml", "listen = 7420\n[limits]\nconections_max = 1\n");
    let parts =
        ["`listen`", &*file, "is 7420", "ADDRESS:PORT", "`limits.conections_max`", "there are"];
    finish(bare().args(["config", "check", &file]), b"").fails(2, &parts);
    folder.run(&["config", "show", "--config", &file]).fails(2, &parts);
    folder.run(&["serve", "--config", &file]).fails(2, &parts);
    assert!(!folder.path("data").exists(), "nothing is made before the settings are right");
    let ran = shown(&folder, &[("NEXUS_DEV", "maybe")], &[]);
    ran.fails(2, &["`dev`", "variable NEXUS_DEV", "\"maybe\"", "write true or false"]);
    folder.run(&["config", "show", "--grace-s", "9999"]).fails(2, &["--grace-s", "0..=3600"]);
    let missing = folder.path("missing.toml");
    let missing = missing.to_str().unwrap();
    folder.run(&["serve", "--config", missing]).fails(2, &["cannot read", "missing.toml"]);
    let sound = folder.file("sound.toml", "grace_s = 1\n");
    finish(bare().args(["config", "check", &sound]), b"").done();
    let dev = folder.file("dev.toml", "dev = true\nlisten = \"0.0.0.0:0\"\n");
    let checked = finish(bare().args(["config", "check", &dev]), b"");
    assert!(checked.stderr.contains("unless a flag or a variable says otherwise: `dev`"));
    checked.done();
    folder
        .run(&["serve", "--config", &dev])
        .fails(2, &["`dev`", "`listen`", "loopback", "dev.toml"]);
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_wrong_setting() {
    let folder = Folder::new();
    let make = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        folder.file(&format!("{name}.pem"), made.cert.pem());
        folder.file(&format!("{name}-key.pem"), made.signing_key.serialize_pem());
    };
    make("a");
    make("b");
    let check = |certificate: &str, key: &str, parts: &[&str]| {
        let text = format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n");
        let file = folder.file("nexus.toml", text);
        let ran = folder.run(&["serve", "--listen", "127.0.0.1:0", "--config", &file]);
        ran.fails(2, &[&["`tls.certificate`", "`tls.key`", &file], parts].concat());
    };
    check("a.pem", "none.pem", &["cannot read", "none.pem"]);
    check("a-key.pem", "a-key.pem", &["a-key.pem is not a PEM file with certificates"]);
    check("a.pem", "a.pem", &["a.pem is not a PEM file with a private key"]);
    check("a.pem", "b-key.pem", &["give both files of one certificate"]);
}

/// What a server in dev mode answers to a request over plain HTTP.
fn ask(serving: &Serving, request: &str) -> String {
    let mut stream = TcpStream::connect(serving.ready["http"].as_str().unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn http_is_as_it_is_set() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("data")).unwrap();
    folder.file(
        "data/nexus.toml",
        "dev = true\nlisten = \"127.0.0.1:0\"\n[http]\nbody_bytes_max = 1024\n\
         cors_origins = [\"https://console.example.org\"]",
    );
    let serving = Serving::start(&folder, &[]);
    let head = "HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n";
    let origin = "origin: https://console.example.org\r\n";
    let answer = ask(&serving, &format!("GET /v1/head {head}{origin}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: https://console.example.org"),
        "{answer}"
    );
    let append = |bytes: usize| {
        let data = "x".repeat(bytes);
        let body = format!("[{{\"type\": \"T\", \"data\": \"{data}\"}}]");
        let length = body.len();
        let head = format!("{head}content-type: application/json\r\ncontent-length: {length}");
        ask(&serving, &format!("POST /v1/streams/a/events {head}\r\n\r\n{body}"))
    };
    let small = append(100);
    assert!(small.starts_with("HTTP/1.1 201"), "{small}");
    let large = append(2000);
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
}

#[test]
fn metrics_are_open_where_that_is_set() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.env("NEXUS_METRICS_OPEN", "true");
    let serving = Serving::spawn(command, &["--listen", "127.0.0.1:0"]);
    let pem = std::fs::read(folder.path("data/tls/certificate.pem")).unwrap();
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item.unwrap() {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls).build();
    let agent: ureq::Agent = config.into();
    let get = |path: &str| {
        let url = format!("https://{}{path}", serving.ready["http"].as_str().unwrap());
        agent.get(url).call().unwrap()
    };
    let text = get("/metrics").body_mut().read_to_string().unwrap();
    assert!(text.contains("nexus_build_info"), "{text}");
    assert_eq!(get("/v1/stats").status(), 401);
}

#[test]
fn a_server_is_what_the_file_of_its_directory_says() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("data")).unwrap();
    folder.file(
        "data/nexus.toml",
        "dev = true\nlisten = \"127.0.0.1:0\"\n[limits]\nconnections_max = 1\n",
    );
    // The file was there before the log was; it lets everybody in, one at a time.
    let serving = Serving::start(&folder, &[]);
    let stats = |url: &str| finish(bare().args(["--server", url, "stats"]), b"");
    stats(&serving.url()).done();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _only = runtime.block_on(nexus_client::connect(&serving.url())).unwrap();
    stats(&format!("{}?timeout_ms=500", serving.url())).fails(5, &["cannot reach"]);
}

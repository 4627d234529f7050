//! Settings of a server: `nexus config`, and what `nexus serve` does with them.

use serde_json::Value;

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

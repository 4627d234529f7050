//! Whom a server lets in besides those with a token of its own: by JSON Web Tokens, and by certificates.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nexus_testing::Issuer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::json;

use crate::nexus::{Folder, bare, finish};
use crate::serve::Serving;

const SETTINGS: &str = "listen = \"127.0.0.1:0\"\n[tls]\nclient_ca = \"ca.pem\"\n\
                        [auth]\njwks = \"jwks.json\"\naudience = \"nexus\"\n\
                        [auth.certificates]\n\"ci.example\" = \"writer\"\n";

/// Makes an authority, in `ca.pem`, and a certificate of it for `ci.example`, in `NAME.pem`.
fn certify(folder: &Folder, name: &str) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    folder.file("ca.pem", params.self_signed(&key).unwrap().pem());
    let authority = rcgen::Issuer::new(params, key);
    let params = CertificateParams::new(vec!["ci.example".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let made = params.signed_by(&key, &authority).unwrap();
    folder.file(&format!("{name}.pem"), made.pem());
    folder.file(&format!("{name}-key.pem"), key.serialize_pem());
}

fn token(issuer: &Issuer) -> String {
    let exp = Issuer::seconds_from_now(300);
    issuer.token(&json!({ "sub": "alice", "aud": "nexus", "nexus_role": "writer", "exp": exp }))
}

#[test]
fn tokens_and_certificates_let_in_and_a_hang_up_reads_whom_to_trust() {
    let folder = Folder::new();
    let (old, new) = (Issuer::ed("old"), Issuer::ed("new"));
    certify(&folder, "first");
    folder.file("jwks.json", old.jwks());
    let settings = folder.file("nexus.toml", SETTINGS);
    folder.done(&["config", "check", &settings]);
    let mut command = folder.command();
    command.stderr(Stdio::piped());
    let mut serving = Serving::spawn(command, &["--config", &settings]);
    let mut said = BufReader::new(serving.child.stderr.take().unwrap()).lines();
    let mut next = || said.next().unwrap().unwrap();
    assert!(next().contains("made a token for the administrator"));
    let append = ["append", "a", "--type", "A", "--data", "1"];
    let url = serving.pinned();
    let with_token = |token: &str| {
        finish(bare().env("NEXUS_TOKEN", token).args(["--server", &url]).args(append), b"")
    };
    let with_certificate = |name: &str| {
        let (file, key) =
            (folder.path(&format!("{name}.pem")), folder.path(&format!("{name}-key.pem")));
        let url = format!("{url}&certificate={}&key={}", file.display(), key.display());
        finish(bare().args(["--server", &url]).args(append), b"")
    };
    with_token(&token(&old)).done();
    with_certificate("first").done();
    // Each file is taken on its own: a broken one leaves what was.
    certify(&folder, "second");
    folder.file("jwks.json", "{}");
    serving.signal("HUP");
    assert!(next().contains("shows the certificate"));
    assert!(next().contains("believes client certificates of 1 authorities"));
    let line = next();
    assert!(line.contains("stay those they were") && line.contains("is no JWKS"), "{line}");
    with_token(&token(&old)).done();
    with_certificate("second").done();
    with_certificate("first").fails(4, &["no authority it trusts"]);
    folder.file("ca.pem", "nothing");
    folder.file("jwks.json", new.jwks());
    serving.signal("HUP");
    let lines: Vec<String> = std::iter::from_fn(|| Some(next()))
        .filter(|line| !line.contains("refused"))
        .take(3)
        .collect();
    assert!(lines[0].contains("shows the certificate"), "{lines:?}");
    assert!(lines[1].contains("stay those they were") && lines[1].contains("ca.pem"), "{lines:?}");
    assert!(lines[2].contains("takes JWTs of the keys [\"\\\"new\\\" (EdDSA)\"]"), "{lines:?}");
    with_certificate("second").done();
    with_token(&token(&new)).done();
    let gone = token(&old);
    with_token(&gone).fails(4, &["is not known, is revoked, or has ended"]);
    let line = next();
    assert!(line.contains("no key of the JWKS is named"), "{line}");
    assert!(!line.contains(&gone), "a token is never in the log");
    serving.signal("TERM");
    assert_eq!(serving.wait(), Some(0));
}

#[test]
fn what_is_wrong_with_whom_to_trust_is_said_before_a_server_starts() {
    let folder = Folder::new();
    certify(&folder, "ci");
    folder.file("jwks.json", json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] }).to_string());
    let settings = folder.file("nexus.toml", SETTINGS);
    folder
        .run(&["config", "check", &settings])
        .fails(2, &["`auth.jwks`", "holds a secret in key 0"]);
    folder
        .run(&["serve", "--config", &settings])
        .fails(2, &["holds a secret in key 0", "`auth.jwks`"]);
    folder.file("jwks.json", Issuer::ed("key").jwks());
    // The certificate of somebody who is no authority.
    std::fs::copy(folder.path("ci.pem"), folder.path("ca.pem")).unwrap();
    let parts = ["`tls.client_ca`", "is not one of an authority"];
    folder.run(&["config", "check", &settings]).fails(2, &parts);
    folder.run(&["serve", "--config", &settings]).fails(2, &parts);
    let settings = folder.file("other.toml", "[auth.certificates]\n\"ci.example\" = \"king\"");
    folder
        .run(&["config", "check", &settings])
        .fails(2, &["`auth.certificates`", "\"ci.example\""]);
    let settings = folder.file("other.toml", "[auth]\njwks = \"jwks.json\"");
    let parts = ["`auth.jwks`", "has no audience: set `auth.audience` too"];
    folder.run(&["serve", "--config", &settings]).fails(2, &parts);
}

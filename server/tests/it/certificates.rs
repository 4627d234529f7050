//! Certificates: replaced while the server runs, and those that no client may take.

use nexus_client::ConnectError;
use nexus_node::config::Certificate;
use nexus_protocol::{Append, EventData};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;

use crate::stores::Running;

fn append() -> Append {
    Append::to("a").event(EventData::json("A", &1).unwrap())
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let running = Running::in_memory();
    let (old_url, old) = (running.url(), running.client());
    running.runtime.block_on(old.append(append())).unwrap();
    let (before, new) = (running.server().fingerprint(), Certificate::temporary().unwrap());
    let fingerprint = new.fingerprint();
    assert_ne!(before, fingerprint);
    // One that cannot be used leaves everything as it was.
    let mixed = Certificate {
        chain: Certificate::temporary().unwrap().chain,
        key: Certificate::temporary().unwrap().key,
    };
    let error = running.server().reload_certificate(mixed).unwrap_err();
    assert!(error.to_string().contains("give both files of one certificate"), "{error}");
    assert_eq!(running.server().fingerprint(), before);
    running.client();
    assert_eq!(running.server().reload_certificate(new), Ok(fingerprint));
    // Who pins the new one comes in, who pins the old one does not, and who was in goes on.
    running.runtime.block_on(running.client().append(append())).unwrap();
    let refused = running.runtime.block_on(nexus_client::connect(&old_url)).unwrap_err();
    assert!(matches!(refused, ConnectError::NotTrusted { .. }), "{refused}");
    assert!(refused.to_string().contains("compare the fingerprint"), "{refused}");
    running.runtime.block_on(old.append(append())).unwrap();
    assert_eq!(running.runtime.block_on(old.stats()).unwrap().events, 3);
}

/// What a client that trusts this certificate, or another one, is told by a server that shows it.
fn told(names: &[&str], years: (i32, i32), trusted: bool) -> Result<(), ConnectError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let running = Running::showing(Certificate { chain: vec![made.der().clone()], key: der });
    let pem = match trusted {
        true => made.pem(),
        false => params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem(),
    };
    let ca = running.file("ca.pem", &pem);
    let port = running.address().port();
    let url = format!("nexus://127.0.0.1:{port}?ca={}", ca.display());
    running.runtime.block_on(nexus_client::connect(&url)).map(drop)
}

#[test]
fn a_client_is_told_what_is_wrong_with_a_certificate() {
    const HERE: &[&str] = &["localhost", "127.0.0.1"];
    told(HERE, (2020, 4000), true).unwrap();
    let check = |told: Result<(), ConnectError>, parts: &[&str]| {
        let error = told.unwrap_err();
        assert!(matches!(error, ConnectError::NotTrusted { .. }), "{error}");
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    };
    check(told(HERE, (2020, 2021), true), &["has expired", "on SIGHUP", "clock"]);
    check(told(HERE, (3990, 4000), true), &["is not valid yet", "clocks"]);
    check(
        told(&["db.example.invalid"], (2020, 4000), true),
        &["for another host", "127.0.0.1", "db.example.invalid", "connect by a name"],
    );
    check(told(HERE, (2020, 4000), false), &["not vouched for by the CA", "?ca=FILE"]);
}

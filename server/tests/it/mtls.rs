//! Client certificates at both doors: who they let in, and which of them are not believed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nexus_client::{Address, Client, ConnectError};
use nexus_node::config::Authorities;
use nexus_node::{Engine, Node, Principal, Role};
use nexus_protocol::{Append, AppendError, EventData, EventStore as _, ReadError};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tempfile::TempDir;

use crate::http::Http;
use crate::stores::Running;

/// Somebody who signs certificates, and the folder that they are in.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for a client, and its files.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    files: (PathBuf, PathBuf),
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), made.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn authorities(&self) -> Authorities {
        Authorities::load(&self.file()).unwrap()
    }

    /// A certificate for somebody of this DNS name, that holds to the end of a year.
    fn sign(&self, name: &str, until: i32) -> Shown {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) =
            (date_time_ymd(2000, 1, 1), date_time_ymd(until, 12, 31));
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.folder.path().join(format!("{name}-{until}{end}"));
        let files = (path(".pem"), path("-key.pem"));
        std::fs::write(&files.0, made.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Shown { chain: vec![made.der().clone()], key, files }
    }
}

/// A server that believes an authority, and lets in `ci.example` as a writer, `ops.example` as administrator.
fn running(authority: &Authority) -> Running {
    let roles = [("ci.example", Role::Writer), ("ops.example", Role::Admin)];
    let roles: BTreeMap<_, _> =
        roles.into_iter().map(|(name, role)| (name.to_owned(), role)).collect();
    let node = Node::over(Engine::in_memory()).unwrap().certificates(roles);
    let authorities = authority.authorities();
    Running::of_node(node, |options| options.client_authorities(Some(authorities)))
}

fn url(running: &Running, (certificate, key): &(PathBuf, PathBuf)) -> String {
    let show = |file: &Path| file.display().to_string();
    format!("{}&certificate={}&key={}", running.url(), show(certificate), show(key))
}

async fn connect(running: &Running, shown: &Shown) -> Result<Client, ConnectError> {
    nexus_client::connect(&url(running, &shown.files)).await
}

fn http(running: &Running, shown: &Shown) -> Http {
    running.http().tls_showing(running.certificate(), shown.chain.clone(), shown.key.clone_key())
}

fn append() -> Append {
    Append::to("a").event(EventData::json("A", &1).unwrap())
}

#[test]
fn a_certificate_says_who_asks_and_its_name_what_they_may() {
    let authority = Authority::new("Example CA");
    let running = running(&authority);
    let (ci, ops) = (authority.sign("ci.example", 4000), authority.sign("ops.example", 4000));
    running.runtime.block_on(async {
        let client = connect(&running, &ci).await.unwrap();
        client.append(append()).await.unwrap();
        let error = client.tokens().await.unwrap_err();
        let ReadError::Denied { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains("\"ci.example\" may not manage tokens"), "{reason}");
        let web = http(&running, &ci);
        let event = json!([{ "type": "A" }]);
        let written = web.post("/v1/streams/a/events", &event).send().await.unwrap();
        assert_eq!(written.status.as_u16(), 201);
        assert_eq!(web.get("/metrics").send().await.unwrap().status.as_u16(), 200);
        let denied = web.get("/v1/tokens").send().await.unwrap();
        assert_eq!(denied.problem(), (403, "denied".to_owned()));
        let admin = connect(&running, &ops).await.unwrap();
        admin.create_token("new", "reader", None).await.unwrap();
        let audit = http(&running, &ops).get("/v1/audit").send().await.unwrap().json();
        let entry = &audit["audit"][0];
        assert_eq!((&entry["by"], &entry["kind"]), (&json!("ops.example"), &json!("certificate")));
    });
}

#[test]
fn a_token_goes_before_a_certificate_and_one_without_a_role_is_nobodys() {
    let authority = Authority::new("Example CA");
    let running = running(&authority);
    let ci = authority.sign("ci.example", 4000);
    let stranger = authority.sign("stranger.example", 4000);
    let local = Principal::local();
    let made = running.node().create_token(&local, "reads", Role::Reader, None).unwrap().token;
    running.runtime.block_on(async {
        let address: Address = url(&running, &ci.files).parse().unwrap();
        let client = Client::connect(address.clone().token(&made)).await.unwrap();
        let error = client.append(append()).await.unwrap_err();
        let AppendError::Denied { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains("\"reads\" may not append"), "{reason}");
        // A wrong one is not made good by a certificate.
        let error = Client::connect(address.token("nx_00_00")).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unauthenticated { .. }), "{error}");
        let web = http(&running, &ci).token("nx_00_00");
        assert_eq!(web.get("/v1/head").send().await.unwrap().status.as_u16(), 401);
        let web = http(&running, &ci).token(&made);
        assert_eq!(web.get("/v1/head").send().await.unwrap().status.as_u16(), 200);
        let error = connect(&running, &stranger).await.unwrap_err();
        assert!(error.to_string().contains("a token is needed"), "{error}");
        let refused = http(&running, &stranger).get("/metrics").send().await.unwrap();
        assert_eq!(refused.problem(), (401, "unauthenticated".to_owned()));
        // Nobody has to show one.
        let address: Address = running.url().parse().unwrap();
        assert!(Client::connect(address.token(&made)).await.unwrap().head().await.is_ok());
        let web = running.http().tls(running.certificate()).token(&made);
        assert_eq!(web.get("/v1/head").send().await.unwrap().status.as_u16(), 200);
    });
}

#[test]
fn a_certificate_of_another_authority_or_of_the_past_is_not_taken() {
    let (authority, foreign) = (Authority::new("Example CA"), Authority::new("Example CA"));
    let running = running(&authority);
    let expired = authority.sign("ci.example", 2001);
    let stolen_name = foreign.sign("ci.example", 4000);
    running.runtime.block_on(async {
        for (shown, part) in [(&expired, "has expired"), (&stolen_name, "no authority it trusts")] {
            let error = connect(&running, shown).await.unwrap_err();
            let ConnectError::Unauthenticated { reason } = &error else { panic!("{error:?}") };
            assert!(reason.contains(part), "{reason}");
            assert!(http(&running, shown).get("/v1/head").send().await.is_err());
        }
    });
    // What the log says is counted where it is not written.
    let text = running.node().metrics_text(&Principal::local()).unwrap();
    let line = "nexus_errors_total{name=\"unauthenticated\"} ";
    let counted = text.lines().find_map(|it| it.strip_prefix(line)).unwrap();
    assert!(counted.parse::<f64>().unwrap() >= 4.0, "{counted}");
}

#[test]
fn a_page_of_another_origin_is_not_let_in_by_the_certificate_of_a_browser() {
    let authority = Authority::new("Example CA");
    let running = running(&authority);
    let ci = authority.sign("ci.example", 4000);
    let own = format!("https://{}", running.http_address());
    running.runtime.block_on(async {
        let web = http(&running, &ci);
        let event = json!([{ "type": "A" }]);
        for (origin, status) in [
            ("https://elsewhere.example", 401),
            ("null", 401),
            ("", 401),
            (&*own.replace("https", "http"), 401),
            (&*own, 201),
        ] {
            let ask = web.post("/v1/streams/a/events", &event).header("origin", origin);
            assert_eq!(ask.send().await.unwrap().status.as_u16(), status, "{origin}");
        }
    });
}

#[test]
fn other_authorities_are_believed_from_the_next_connection_on() {
    let (old, new) = (Authority::new("Old CA"), Authority::new("New CA"));
    let running = running(&old);
    let (before, after) = (old.sign("ci.example", 4000), new.sign("ci.example", 4000));
    running.runtime.block_on(async {
        let there = connect(&running, &before).await.unwrap();
        there.append(append()).await.unwrap();
        assert!(connect(&running, &after).await.is_err());
        running.server().reload_client_authorities(&new.authorities()).unwrap();
        connect(&running, &after).await.unwrap().append(append()).await.unwrap();
        assert!(connect(&running, &before).await.is_err());
        assert!(http(&running, &before).get("/v1/head").send().await.is_err());
        assert_eq!(http(&running, &after).get("/v1/head").send().await.unwrap().status, 200);
        there.append(append()).await.unwrap();
    });
    let record = running.node().audit(&Principal::local(), None, 10).unwrap().entries;
    let audited = &record.last().unwrap().audited;
    assert_eq!((&*audited.operation, audited.what.as_deref()), ("reload_trust", Some("client_ca")));
}

#[test]
fn files_of_a_client_that_cannot_be_used_are_named() {
    let authority = Authority::new("Example CA");
    let running = running(&authority);
    let ci = authority.sign("ci.example", 4000);
    let other = authority.sign("ops.example", 4000);
    let missing = PathBuf::from("missing.pem");
    running.runtime.block_on(async {
        for (files, part) in [
            ((missing.clone(), ci.files.1.clone()), "certificate=missing.pem"),
            ((ci.files.0.clone(), missing.clone()), "key=missing.pem"),
            ((ci.files.1.clone(), ci.files.1.clone()), "there is no certificate in it"),
            ((ci.files.0.clone(), other.files.1.clone()), "certificate and key"),
        ] {
            let error = nexus_client::connect(&url(&running, &files)).await.unwrap_err();
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        for (half, part) in
            [("certificate=a.pem", "needs key=FILE"), ("key=a.pem", "certificate=FILE")]
        {
            let error = format!("{}&{half}", running.url()).parse::<Address>().unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    });
    // What is no authority's certificate is none to believe.
    let error = Authorities::load(&ci.files.0).unwrap_err().to_string();
    assert!(error.contains("is not one of an authority"), "{error}");
    let error = Authorities::load(&ci.files.1).unwrap_err().to_string();
    assert!(error.contains("there is none in it"), "{error}");
}

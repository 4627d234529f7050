//! Servers over memory, each in a runtime of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nexus_client::Client;
use nexus_node::config::Certificate;
use nexus_node::{Engine, Node, Quota};
use nexus_server::{Options, Server};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::http::Http;

/// A server, and the runtime that runs it.
pub(crate) struct Running {
    pub(crate) runtime: Runtime,
    server: Option<Server>,
    node: Node,
    dev: bool,
    certificates: Arc<TempDir>,
}

impl Running {
    /// Over this engine.
    pub(crate) fn over(engine: Engine) -> Self {
        let certificates = Arc::new(tempfile::tempdir().unwrap());
        Self::listen(engine, &certificates, |options| options.dev(true))
    }

    /// Over this engine, with other limits.
    pub(crate) fn with(engine: Engine, change: impl FnOnce(Options) -> Options) -> Self {
        let certificates = Arc::new(tempfile::tempdir().unwrap());
        Self::listen(engine, &certificates, change)
    }

    /// Over this engine, with bounds on what each principal may do.
    pub(crate) fn with_quota(engine: Engine, quota: Quota) -> Self {
        let certificates = Arc::new(tempfile::tempdir().unwrap());
        let certificate = Certificate::of_data_dir(certificates.path()).unwrap();
        let node = Node::over(engine).unwrap().quota(quota);
        Self::show(node, &certificates, certificate, |options| options.dev(true))
    }

    /// Of this node, and nobody without a token is let in.
    pub(crate) fn of_node(node: Node, change: impl FnOnce(Options) -> Options) -> Self {
        let certificates = Arc::new(tempfile::tempdir().unwrap());
        let certificate = Certificate::of_data_dir(certificates.path()).unwrap();
        Self::show(node, &certificates, certificate, change)
    }

    fn listen(
        engine: Engine,
        certificates: &Arc<TempDir>,
        change: impl FnOnce(Options) -> Options,
    ) -> Self {
        let certificate = Certificate::of_data_dir(certificates.path()).unwrap();
        Self::show(Node::over(engine).unwrap(), certificates, certificate, change)
    }

    /// Over memory, showing this certificate.
    pub(crate) fn showing(certificate: Certificate) -> Self {
        let certificates = Arc::new(tempfile::tempdir().unwrap());
        let dev = |options: Options| options.dev(true);
        let node = Node::over(Engine::in_memory()).unwrap();
        Self::show(node, &certificates, certificate, dev)
    }

    fn show(
        node: Node,
        certificates: &Arc<TempDir>,
        certificate: Certificate,
        change: impl FnOnce(Options) -> Options,
    ) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        // Where it can come back to.
        let options = Options::new(certificate).listen(nexus_testing::address_to_keep());
        let options = change(options);
        let dev = options.dev;
        let server = {
            let _entered = runtime.enter();
            Server::start(node.clone(), options).unwrap()
        };
        let certificates = Arc::clone(certificates);
        Self { runtime, server: Some(server), node, dev, certificates }
    }

    /// Over this engine, and nobody without a token is let in.
    pub(crate) fn guarded(engine: Engine) -> Self {
        let certificates = Arc::new(tempfile::tempdir().unwrap());
        Self::listen(engine, &certificates, |options| options)
    }

    /// Goes, and comes back at the same address, with the same certificate.
    pub(crate) fn restart(self, open: &impl Fn() -> Engine) -> Self {
        self.restart_within(Duration::from_secs(5), open)
    }

    /// The same, with so much time for what is under way.
    pub(crate) fn restart_within(mut self, grace: Duration, open: &impl Fn() -> Engine) -> Self {
        let server = self.server.take().unwrap();
        let address = server.quic_address();
        let _ = self.runtime.block_on(server.shut_down(grace));
        Self::listen(open(), &self.certificates, |options| options.dev(true).listen(address))
    }

    /// Goes, with so much time for what is under way.
    pub(crate) fn end_within(mut self, grace: Duration) {
        let server = self.server.take().unwrap();
        let _ = self.runtime.block_on(server.shut_down(grace));
    }

    /// What it shows to prove who it is.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        Certificate::of_data_dir(self.certificates.path()).unwrap().chain.remove(0)
    }

    /// Whether everybody is let in, and HTTP is plain.
    pub(crate) fn is_dev(&self) -> bool {
        self.dev
    }

    /// The node behind the doors.
    pub(crate) fn node(&self) -> Node {
        self.node.clone()
    }

    /// Where it speaks HTTP.
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().http_address()
    }

    /// TLS that trusts its certificate, and nothing else.
    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server().quic_address()
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// A file beside its certificate.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.certificates.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A client that speaks HTTP.
    pub(crate) fn http(&self) -> Http {
        Http::new(self.http_address())
    }

    /// Over memory.
    pub(crate) fn in_memory() -> Self {
        Self::over(Engine::in_memory())
    }

    /// Where it is reached.
    pub(crate) fn url(&self) -> String {
        format!("nexus://{}?fingerprint={}", self.address(), self.server().fingerprint())
    }

    /// A client of it, on its runtime.
    pub(crate) fn client(&self) -> Client {
        self.runtime.block_on(nexus_client::connect(&self.url())).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shut_down(Duration::from_secs(5))).unwrap();
        }
    }
}

/// Memory of this process that is in use, in bytes.
pub(crate) fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() * 1024
}

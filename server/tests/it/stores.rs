//! Servers over memory, each in a runtime of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nexus_client::Client;
use nexus_node::config::Certificate;
use nexus_node::{Engine, Node};
use nexus_server::{Options, Server};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A server, and the runtime that runs it.
pub(crate) struct Running {
    pub(crate) runtime: Runtime,
    pub(crate) node: Node,
    server: Option<Server>,
    certificates: Arc<TempDir>,
}

impl Running {
    /// Over this engine.
    pub(crate) fn over(engine: Engine) -> Self {
        let certificates = Arc::new(tempfile::tempdir().unwrap());
        Self::listen(engine, ([127, 0, 0, 1], 0).into(), &certificates, true)
    }

    fn listen(engine: Engine, address: SocketAddr, certificates: &Arc<TempDir>, dev: bool) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let certificate = Certificate::of_data_dir(certificates.path()).unwrap();
        let options = Options::new(certificate).listen(address).dev(dev);
        let node = Node::over(engine).unwrap();
        let server = {
            let _entered = runtime.enter();
            Server::start(node.clone(), options).unwrap()
        };
        Self { runtime, node, server: Some(server), certificates: Arc::clone(certificates) }
    }

    /// Over this engine, and nobody without a token is let in.
    pub(crate) fn guarded(engine: Engine) -> Self {
        let certificates = Arc::new(tempfile::tempdir().unwrap());
        Self::listen(engine, ([127, 0, 0, 1], 0).into(), &certificates, false)
    }

    /// Goes, and comes back at the same address, with the same certificate.
    pub(crate) fn restart(mut self, open: &impl Fn() -> Engine) -> Self {
        let server = self.server.take().unwrap();
        let address = server.quic_address();
        let _ = self.runtime.block_on(server.shut_down(Duration::from_secs(5)));
        Self::listen(open(), address, &self.certificates, true)
    }

    /// What it shows to prove who it is.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        Certificate::of_data_dir(self.certificates.path()).unwrap().chain.remove(0)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().quic_address()
    }

    /// Over memory.
    pub(crate) fn in_memory() -> Self {
        Self::over(Engine::in_memory())
    }

    /// Where it is reached.
    pub(crate) fn url(&self) -> String {
        let server = self.server.as_ref().unwrap();
        format!("nexus://{}?fingerprint={}", server.quic_address(), server.fingerprint())
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

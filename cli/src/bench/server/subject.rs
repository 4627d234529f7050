//! [`Subject`]: the server that is measured, raw QUIC beside it, and a runtime for clients.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use nexus_client::{Address, Client};
use serde::Deserialize;
use tokio::runtime::Runtime;

use super::super::Bench;
use super::http::speaks_http;
use super::process::{Process, choose_backend};
use super::raw::Raw;
use crate::exit::Failure;

/// What `nexus serve` says when it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    quic: SocketAddr,
    http: SocketAddr,
}

/// The server that is measured, and what is needed to measure it.
#[derive(Debug)]
pub(in crate::bench) struct Subject {
    pub(in crate::bench) runtime: Runtime,
    pub(in crate::bench::server) raw: Raw,
    address: Address,
    /// Where it speaks plain HTTP, where it does.
    pub(in crate::bench) http: Option<SocketAddr>,
    /// Its process, where that is a child of this one.
    pub(in crate::bench) process: Option<Process>,
    /// Tells the streams of this run from those of others.
    run: String,
}

impl Bench {
    /// With a server over a new log, which is gone afterwards; or with the one that was named.
    pub(in crate::bench) fn with_server<T>(
        &self,
        name: &str,
        work: impl FnOnce(&Subject) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let dir = self.dir.join(name);
        let subject = self.serve(&dir)?;
        let done = work(&subject)?;
        self.end(subject, &dir)?;
        Ok(done)
    }

    /// A server over this log; or the one that was named.
    pub(in crate::bench) fn serve(&self, dir: &Path) -> Result<Subject, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::failed(format!("no threads are left: {error}")))?;
        let run = uuid::Uuid::new_v4().simple().to_string();
        let raw = Raw::start()?;
        let run = run.chars().take(8).collect();
        if let Some(address) = &self.server {
            let http = http_beside(address).filter(|at| runtime.block_on(speaks_http(*at)));
            let address = address.clone();
            return Ok(Subject { runtime, raw, address, http, process: None, run });
        }
        choose_backend(&self.dir, dir, self.backend)?;
        let words = ["serve", "--dev", "--listen", "127.0.0.1:0"];
        let (process, ready) = Process::start::<Ready>(&words, Some(dir))?;
        let address = format!("nexus://{}", ready.quic).parse()?;
        Ok(Subject { runtime, raw, address, http: Some(ready.http), process: Some(process), run })
    }

    /// Ends a server, and removes its log.
    pub(in crate::bench) fn end(&self, subject: Subject, dir: &Path) -> Result<(), Failure> {
        subject.stop()?;
        if self.server.is_some() {
            return Ok(());
        }
        std::fs::remove_dir_all(dir)
            .map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))
    }
}

impl Subject {
    /// So many clients, each with a connection of its own.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(in crate::bench) fn clients(&self, count: usize) -> Result<Vec<Client>, Failure> {
        // One and no more, or reads would have another than appends: scenarios say how many there are.
        let address = self.address.clone().connections(1);
        let connect = |_| Ok(self.runtime.block_on(Client::connect(address.clone()))?);
        (0..count).map(connect).collect()
    }

    /// Clients say goodbye, so that the server need not find out.
    pub(in crate::bench) fn close(&self, clients: Vec<Client>) {
        for client in clients {
            // Only a store in this process can fail to.
            let _ = self.runtime.block_on(client.close());
        }
    }

    /// A name that no other run has.
    pub(in crate::bench) fn named(&self, scenario: &str) -> String {
        format!("{}-{scenario}", self.run)
    }

    /// Ends the server, where it is one of the run's own.
    pub(in crate::bench) fn stop(self) -> Result<(), Failure> {
        self.process.map_or(Ok(()), Process::stop)
    }
}

/// A server speaks HTTP on the TCP port that has the number of its UDP port, unless it was told to
/// take free ones.
fn http_beside(address: &Address) -> Option<SocketAddr> {
    let text = address.to_string();
    let servers = text.strip_prefix("nexus://")?.split('/').next()?;
    let mut found = servers.split(',').next()?.to_socket_addrs().ok()?;
    found.find(|at| at.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_looked_for_on_loopback_only() {
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.map(|at| at.parse().unwrap());
            assert_eq!(http_beside(&text.parse().unwrap()), expected, "{text}");
        };
        check("nexus://127.0.0.1:7420/orders", Some("127.0.0.1:7420"));
        check("nexus://[::1]:7421", Some("[::1]:7421"));
        let pin = "ab".repeat(32);
        check(&format!("nexus://192.0.2.1:7420?fingerprint=sha256:{pin}"), None);
    }
}

//! A server, as commands use it: one thing after the other.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use nexus_client::{Address, Client, ConnectError};
use nexus_protocol::{AppendError, NamespaceName, ReadError, Stats};
use tokio::runtime::Runtime;

use crate::exit::Failure;

/// A client, and the runtime that its connection lives on.
pub(crate) struct Remote {
    pub(crate) client: Client,
    runtime: Runtime,
}

impl Remote {
    /// Connects; NEXUS_TOKEN says who asks.
    ///
    /// # Errors
    /// When the address cannot be right, or no server takes the connection.
    pub(crate) fn connect(mut address: Address) -> Result<Self, Failure> {
        if let Some(token) = std::env::var("NEXUS_TOKEN").ok().filter(|token| !token.is_empty()) {
            address = address.token(token.trim());
        }
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::failed(format!("no threads are left: {error}")))?;
        let client = runtime.block_on(Client::connect(address))?;
        Ok(Self { client, runtime })
    }

    /// Another namespace of the same server.
    ///
    /// # Errors
    /// When the server does not take another connection.
    pub(crate) fn of_namespace(&self, name: &NamespaceName) -> Result<OfNamespace<'_>, Failure> {
        let address = self.client.address().clone().with_namespace(name);
        Ok(OfNamespace { remote: self, client: self.wait(Client::connect(address))? })
    }

    /// Waits for an answer.
    pub(crate) fn wait<F: Future>(&self, answer: F) -> F::Output {
        self.runtime.block_on(answer)
    }

    /// The next of a stream; `None` at its end.
    pub(crate) fn next<S: Stream + Unpin>(&self, stream: &mut S) -> Option<S::Item> {
        self.wait(std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)))
    }

    /// The next of a stream, if it comes within the time.
    pub(crate) fn next_within<S: Stream + Unpin>(
        &self,
        stream: &mut S,
        time: Duration,
    ) -> Option<S::Item> {
        let next = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context));
        // Within the runtime, whose clock it needs.
        let next = async { tokio::time::timeout(time, next).await };
        self.wait(next).ok().flatten()
    }

    /// Says goodbye, so that the server need not find out.
    pub(crate) fn close(self) {
        self.runtime.block_on(self.client.close());
    }
}

/// Another namespace of a server.
pub(crate) struct OfNamespace<'r> {
    remote: &'r Remote,
    client: Client,
}

impl OfNamespace<'_> {
    pub(crate) fn stats(&self) -> Result<Stats, ReadError> {
        self.remote.wait(self.client.stats())
    }

    pub(crate) fn create_namespace(&self) -> Result<(), AppendError> {
        self.remote.wait(self.client.create_namespace())
    }

    pub(crate) fn delete_namespace(&self) -> Result<(), AppendError> {
        self.remote.wait(self.client.delete_namespace())
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match &error {
            ConnectError::Address { .. } => Self::usage(error.to_string()),
            ConnectError::Unauthenticated { .. } | ConnectError::NotTrusted { .. } => {
                Self::denied(error.to_string())
            }
            _ => Self::not_reachable(error.to_string()),
        }
    }
}

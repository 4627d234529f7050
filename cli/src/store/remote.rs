//! A server, as commands use it: one thing after the other.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use nexus_client::{Address, Client, ConnectError};
use tokio::runtime::Runtime;

use crate::exit::Failure;

/// A client, and the runtime that its connection lives on.
pub(crate) struct Remote {
    pub(crate) client: Client,
    runtime: Runtime,
}

impl Remote {
    /// Connects.
    ///
    /// # Errors
    /// When the address cannot be right, or no server takes the connection.
    pub(crate) fn connect(address: Address) -> Result<Self, Failure> {
        // A command does one thing after the other.
        let address = address.connections(1);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::failed(format!("no threads are left: {error}")))?;
        let client = runtime.block_on(Client::connect(address))?;
        Ok(Self { client, runtime })
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
    pub(crate) fn close(self) -> Result<(), Failure> {
        let closed = self.runtime.block_on(self.client.close());
        closed.map_err(|error| Failure::failed(error.to_string()))
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

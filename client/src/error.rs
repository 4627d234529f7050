//! [`ConnectError`]: why there is no connection, and what that means for what was asked.

use std::time::Duration;

use nexus_protocol::{AppendError, ReadError, Retry, Unavailable};

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connection string cannot be right.
    #[error("connection string {given:?}: {why}")]
    Address {
        /// What was given, without its token.
        given: String,
        /// What is wrong, and how to write it.
        why: String,
    },
    /// Nobody answers there, or not as a Nexus server does.
    #[error("cannot reach {server}: {why}")]
    NotReachable {
        /// Who was tried.
        server: String,
        /// What happened.
        why: String,
    },
    /// The server is not the one that was pinned, or cannot prove who it is.
    #[error("{server} is not trusted: {why}")]
    NotTrusted {
        /// Who was tried.
        server: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Whoever answers there speaks another protocol.
    #[error("{server} is no Nexus server of this kind: {why}")]
    NotNexus {
        /// Who was tried.
        server: String,
        /// What it said.
        why: String,
    },
    /// The server does not know who asks.
    #[error("the server does not let this client in: {reason}")]
    Unauthenticated {
        /// What is missing, and what to do.
        reason: String,
    },
    /// The two sides have no version of the protocol in common.
    #[error(
        "the server speaks versions {oldest} to {newest} of the protocol, this client version {ours}: \
         update the older side"
    )]
    Version {
        /// The server's oldest.
        oldest: u16,
        /// The server's newest.
        newest: u16,
        /// This client's newest.
        ours: u16,
    },
    /// A store in this process was asked for, and this client was built without one.
    #[error(
        "{given} is a store in this process, and this client was built without one: turn on the \
         feature `embedded` of the crate nexus-client, or name a server (nexus://HOST:PORT)"
    )]
    NotBuiltIn {
        /// What was asked for.
        given: String,
    },
    /// The store in this process does not open.
    #[error("cannot open the store: {why}")]
    NotOpen {
        /// Why, and what to do.
        why: String,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl ConnectError {
    /// Whether it may be otherwise later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotReachable { .. } => Retry::After(Duration::from_secs(1)),
            _ => Retry::Never,
        }
    }

    /// Whether it may be otherwise in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        self.retry() != Retry::Never
    }

    /// What that means for an append that the server has not got.
    pub(crate) fn for_append(&self) -> AppendError {
        match self {
            Self::Unauthenticated { reason } => {
                AppendError::Unauthenticated { reason: reason.clone() }
            }
            Self::Closed => AppendError::Unavailable(Unavailable::Closed),
            other => AppendError::Unavailable(Unavailable::NotReachable(other.to_string())),
        }
    }

    /// What that means for a read.
    pub(crate) fn for_read(&self) -> ReadError {
        match self {
            Self::Unauthenticated { reason } => {
                ReadError::Unauthenticated { reason: reason.clone() }
            }
            Self::Closed => ReadError::Closed,
            other => ReadError::Unavailable { reason: other.to_string() },
        }
    }
}

/// A store in this process was closed, but its end could not be noted: nothing is lost, but the next
/// start reads more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CloseError(pub(crate) String);

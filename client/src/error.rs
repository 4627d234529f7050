//! [`ConnectError`]: why there is no connection, and what that means for what was asked.

use nexus_protocol::{AppendError, ReadError, Unavailable};

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
}

impl ConnectError {
    /// Whether it may be otherwise in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::NotReachable { .. })
    }

    /// What that means for an append that the server has not got.
    pub(crate) fn for_append(&self) -> AppendError {
        match self {
            Self::Unauthenticated { reason } => {
                AppendError::Unauthenticated { reason: reason.clone() }
            }
            other => AppendError::Unavailable(Unavailable::NotReachable(other.to_string())),
        }
    }

    /// What that means for a read.
    pub(crate) fn for_read(&self) -> ReadError {
        match self {
            Self::Unauthenticated { reason } => {
                ReadError::Unauthenticated { reason: reason.clone() }
            }
            other => ReadError::Unavailable { reason: other.to_string() },
        }
    }
}

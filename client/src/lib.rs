//! The native client of Nexus: an [`EventStore`](nexus_protocol::EventStore) that is elsewhere.
//!
//! [`connect`] gives a [`Client`], bound to a namespace. It keeps a connection, makes a new one when
//! that breaks, and repeats what is safe to repeat: reads and subscriptions go on behind the last
//! event they delivered, with no gap and no duplicate; appends are sent again with the same event
//! ids, so that the server stores them once.
//!
//! Its futures and streams work on any executor; the connection itself lives on the tokio runtime
//! that [`connect`] was called in.

mod address;
mod append;
mod ask;
mod batches;
mod client;
mod connection;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod packets;
mod read;
mod remote;
mod retry;
mod subscribe;
mod tls;
mod trace;

pub use address::Address;
pub use append::PendingAppend;
pub use client::{Client, connect};
pub use error::{CloseError, ConnectError};
pub use read::Events;
pub use subscribe::Subscription;

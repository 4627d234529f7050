//! The client of Nexus: an [`EventStore`](nexus_protocol::EventStore) behind a server, in a directory, or
//! in memory, with the same API.
//!
//! [`connect`] gives a [`Client`], bound to a namespace; [`Address`] says how to name one. Of a server it
//! keeps a few connections, makes new ones when they break, and repeats what is safe to repeat: reads and
//! subscriptions go on behind the last event they delivered, with no gap and no duplicate; appends are
//! sent again with the same event ids, so that the server stores them once. A store in this process needs
//! the feature `embedded`.
//!
//! Its futures and streams work on any executor; connections, and what waits for a disk, live on the
//! tokio runtime that [`connect`] was called in.
//!
//! # Examples
//!
//! In `client/examples/`; each runs on `memory:`, or on the store it is given, as in
//! `cargo run -p nexus-client --example append --features embedded -- nexus://127.0.0.1:7420`:
//!
//! | example | calls |
//! |---|---|
//! | `append` | [`Client::append`] |
//! | `read` | [`Client::read`], [`event_by_id`](nexus_protocol::EventStore::event_by_id), [`Events::explain`] |
//! | `subscribe` | [`Client::subscribe`] |
//! | `consume` | [`Client::set_group`], [`Client::group`], [`Client::group_lanes`], [`Client::groups`], [`Client::pause_group`], [`Client::resume_group`], [`Client::seek_group`], [`Client::delete_group`], [`Client::parked`], [`Client::replay_parked`], [`Client::skip_parked`], [`Client::edit_parked`], [`Client::consumer`], [`Consumer::receive`], [`Consumer::ack`], [`Consumer::nack`], [`Consumer::extend`], [`Consumer::ack_with`], [`Consumer::run_until`], [`Consumer::leave`] |
//! | `streams` | [`Client::streams`], [`stream_info`](nexus_protocol::EventStore::stream_info), [`set_stream`](nexus_protocol::EventStore::set_stream), [`delete_stream`](nexus_protocol::EventStore::delete_stream), [`tombstone_stream`](nexus_protocol::EventStore::tombstone_stream) |
//! | `snapshots` | [`save_snapshot`](nexus_protocol::EventStore::save_snapshot), [`load_snapshot`](nexus_protocol::EventStore::load_snapshot), [`list_snapshots`](nexus_protocol::EventStore::list_snapshots) |
//! | `timers` | [`Client::set_timer`], [`Client::timer`], [`Client::timers`], [`Client::disarm_timer`] |
//! | `store` | [`connect`], [`Client::in_namespace`], [`Client::create_namespace`], [`Client::namespaces`], [`Client::session`], [`head`](nexus_protocol::EventStore::head), [`Client::stats`], [`Client::create_token`], [`Client::tokens`], [`Client::revoke_token`], [`Client::reconnect`], [`Client::connections_made`], [`Client::close`] |

mod address;
mod append;
mod ask;
mod batches;
mod client;
mod connection;
mod consumer;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod groups;
mod identity;
mod packets;
mod policies;
mod projections;
pub mod raw;
mod read;
mod registry;
mod remote;
mod remote_groups;
mod remote_policies;
mod remote_projections;
mod remote_routes;
mod remote_schemas;
mod retry;
mod routes;
mod subscribe;
mod timers;
mod tls;
mod trace;

pub use address::Address;
pub use append::PendingAppend;
pub use client::{Client, connect};
pub use consumer::Consumer;
pub use error::{CloseError, ConnectError};
pub use read::Events;
pub use subscribe::Subscription;

/// Schemas, made ready in this process: what payloads are held to, and whether one version reads what follows another.
#[cfg(feature = "schemas")]
pub use nexus_schemas as schemas;

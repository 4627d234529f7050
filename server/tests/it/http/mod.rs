//! The HTTP door, through real sockets.

mod appends;
mod bulk;
pub(crate) mod client;
mod document;
mod enemies;
mod event_routes;
mod evolution;
mod export;
mod follow;
mod forms;
mod generate;
mod groups;
mod memory;
mod parked;
mod parked_keys;
mod projections;
mod reads;
mod restart;
mod schemas;
mod session;
mod speaking;
pub(crate) mod store;
mod timers;
mod tokens;

pub(crate) use client::Http;

//! The HTTP door, through real sockets.

mod client;
mod forms;
mod session;
pub(crate) mod store;

pub(crate) use client::Http;

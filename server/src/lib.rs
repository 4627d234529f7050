//! The doors of a Nexus node: sockets, and nothing that decides. What is asked for is decoded,
//! bounded, and handed to the handlers of [`nexus_node`].
//!
//! Is not: a place for rules. A door that needs one asks the node.

mod authorities;
mod consumers;
mod door;
mod feed;
mod http;
mod in_flight;
pub mod notify;
mod options;
mod quic;
pub mod raw;
mod server;
mod tls;

pub use options::{HttpOptions, Options};
pub use server::{Server, StartError};
pub use tls::BadCertificate;

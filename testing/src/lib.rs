//! What every Nexus store is held to: conformance suites, and what runs them. And, with the feature
//! `server`, a real server for the tests of programs that talk to one: `Server`.
//!
//! Used from `tests/` of the other crates, never from unit tests, and never shipped. A suite knows a
//! store only by its public trait, so that the embedded, the replicated, and the remote store pass
//! the same list of cases.

#![expect(clippy::cast_possible_truncation, reason = "numbers of tests are small")]

mod address;
pub mod executor;
pub mod golden;
mod issuer;
mod random;
#[cfg(feature = "server")]
mod server;
pub mod suites;

pub use address::address_to_keep;
pub use issuer::{Issuer, base64url};
pub use random::Random;
#[cfg(feature = "server")]
pub use server::Server;

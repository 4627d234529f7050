//! The client over a store in this process, its examples, its spans, and what it says where a server is
//! away or has no stream for it. What else it does over a network is tried by the tests of `server/`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]

mod conformance;
mod embedded;
mod evolution;
mod examples;
mod groups;
mod projections;
mod schemas;
mod spans;
mod streams_in_use;
mod unreachable;

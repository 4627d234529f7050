//! The client over a store in this process, its examples, and its spans. What it does over a network
//! is tried by the tests of `server/`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]

mod conformance;
mod embedded;
mod examples;
mod spans;

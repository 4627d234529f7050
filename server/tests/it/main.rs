//! The QUIC door and the native client, through their public API, over loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]

mod conformance;
mod enemies;
mod resume;
mod stores;
mod telemetry;
mod trust;

//! The doors and the native client, through their public API, over loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]

mod blocks;
mod certificates;
mod conformance;
mod consume;
mod dropped;
mod enemies;
mod http;
mod jwt;
mod lost_answers;
mod mtls;
mod policies;
mod pool;
mod raw;
mod relay;
mod resume;
mod socket_groups;
mod sockets;
mod stores;
mod telemetry;
mod trust;

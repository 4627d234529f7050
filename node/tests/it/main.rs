//! Behaviour of a node through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]

mod audit;
mod golden;
mod governed_crashes;
mod group_metrics;
mod jwt;
mod logs;
mod metrics;
mod policies;
mod projections;
mod quota;
mod tracing;

//! Behaviour of a node through its public API.

mod metrics;
mod tracing;

//! Conformance suites: one list of cases for every implementation of a trait.

pub mod event_store;
#[cfg(feature = "projections")]
pub mod projection;

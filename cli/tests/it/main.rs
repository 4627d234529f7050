//! The `nexus` binary as its users meet it: commands, their output, and their exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]

mod bad_input;
mod bench;
mod chaos;
mod ci_template;
mod clerk;
mod clerk_models;
mod commands;
mod config;
mod context;
mod damage;
mod demo;
mod groups;
mod guide;
mod import;
mod kill;
mod nexus;
mod permit_models;
mod permits;
mod places;
mod policies;
mod policy_stores;
mod projection;
mod prometheus;
mod read_models;
mod round_trip;
mod routes;
mod schemas;
mod serve;
mod telemetry;
mod timers;
mod trust;

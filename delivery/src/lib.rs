//! What leaves the log: consumer groups, which share the work of a log among consumers, and what they park; routes,
//! which lead events on to other streams; timers, which append events when their time has come; and projections, which
//! fold events into documents.
//!
//! This crate decides, and does nothing: events, answers of consumers, and the time are told to it, and it says
//! who gets what, and what has to be written down first. It has no clock, no disk, no socket, and no thread, so
//! that the same decisions are taken by an embedded store, by a server, and in a simulation of either.

pub mod coordinator;
pub mod group;
pub mod parked;
pub mod projection;
pub mod routes;
pub mod timers;

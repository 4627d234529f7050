//! Behaviour of what leaves the log, through its public API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs, clippy::cast_possible_truncation)]

mod branches;
mod coordinator;
mod crashes;
mod model;
mod oracle;
mod projection;
mod routes;
mod runner;
mod timers;
mod troubles;

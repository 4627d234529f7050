//! The real binary, on real input, killed and fed with what it must refuse.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]

mod bad_input;
mod bench;
mod commands;
mod kill;
mod permits;
mod run;

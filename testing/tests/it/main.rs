//! What tests of other crates rely on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]

mod server;

//! Behaviour of the engine through its public API.
#![expect(clippy::disallowed_methods, reason = "tests look at files behind the engine's back")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]

mod basics;
mod rewrite;

//! What schemas hold payloads to, what they are to each other, and the registry that keeps them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::cast_possible_truncation, reason = "numbers of tests are small, or random")]
#![allow(missing_docs)]

mod avro;
mod evolution;
mod json;
mod protobuf;
mod registry;
mod seeded;
mod upcast;

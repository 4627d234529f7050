//! What payloads have to look like: schemas in JSON Schema, Avro, and Protobuf, what is wrong with a payload, whether
//! one version reads what follows another, and how a payload of an older version is lifted to a newer one.
//!
//! This crate is pure: texts and bytes come in, answers go out. It has no clock, no disk, and no socket, so nothing that a
//! schema refers to is ever fetched: what it speaks of is handed in with it. Texts and payloads are an outsider's: each
//! is bounded, and none of them ends the process.

pub mod avro;
pub mod json;
pub mod protobuf;
pub mod upcast;

mod compiled;
mod error;
mod registry;
mod words;

pub use compiled::{Compiled, Referenced};
pub use error::{Difference, SchemaError};
pub use registry::{Change, Registering, Registry, RegistryError, Tried, Unreadable, compile_with};
pub use upcast::{
    Chain, Lifted, SchemaRef, Step, Transform, UpcastError, Upcaster, Upcasters, Upcasting,
};

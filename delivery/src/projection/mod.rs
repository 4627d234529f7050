//! Projections: events folded into documents that are looked up by key.
//!
//! A [`Definition`] says which events, by what key their documents are found, and how each field of a document comes about:
//! folded from values of events, or computed from other fields. It is data, in JSON or TOML; nothing of it is code.
//!
//! A fold is pure: the same events in the same order give the same documents, byte for byte, on any machine. That is what
//! everything behind it rests on: a read model that is lost is folded again. An event is folded whole or not at all: what
//! goes wrong leaves the document as it was.

mod catalog;
mod checkpoint;
mod codec;
mod definition;
mod digest;
mod expression;
mod field;
mod file;
mod fold;
mod lanes;
mod lifting;
mod model;
mod runner;
mod sink;

pub use self::catalog::{BuildId, Catalog, Named, Version};
pub use self::checkpoint::{Checkpoint, NotMine, Origin};
pub use self::codec::NoDocument;
pub use self::definition::{Definition, Document};
pub use self::digest::{DocumentsDigest, EventsDigest};
pub use self::field::{FieldType, Value};
pub use self::file::{
    Access, DefinitionError, DefinitionFile, FieldFile, Operator, RuleFile, SinkKind,
};
pub use self::fold::FoldError;
pub use self::lifting::{Lift, Lifting};
pub use self::model::{FoldFailed, Projection};
pub use self::runner::{Amendment, Ended, Progress, Runner, Unusable};
pub use self::sink::{Changed, Commit, Documents, Kept, Pace, Sink, SinkError};

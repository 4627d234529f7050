//! The words of Nexus: ids, names, events, requests, filters, errors, and the [`EventStore`] trait.
//!
//! This crate has no I/O, no runtime, no clock, and no random source. Everything else in the
//! workspace speaks it; see `docs/glossary.md` for the words and `docs/format.md` for the bytes.

pub mod block;
pub mod group;
pub mod json;
pub mod limits;
pub mod names;
pub mod percent;
pub mod policy;
pub mod projection;
pub mod record;
pub mod route;
pub mod schema;
pub mod search;
pub mod timer;
pub mod wire;

mod append;
mod dynamic;
mod error;
mod error_code;
mod event;
mod filter;
mod ids;
mod pointer;
mod read;
mod snapshot;
mod store;
mod stream;
mod subscription;
mod time;
mod trace;

pub use append::{
    Absence, Append, Appended, Boundary, ExpectedRevision, Query, QueryItem, StreamAppend,
    StreamAppended, StreamState,
};
pub use block::Block;
pub use dynamic::{BoxFuture, BoxStream, DynEventStore, ErasedStore};
pub use error::{
    AppendError, Clause, Conflict, Corruption, CorruptionKind, Invalid, ReadError, Retry, TooLarge,
    Unavailable,
};
pub use error_code::ErrorCode;
pub use event::{EventData, EventProblem, JSON};
pub use filter::{Filter, FilterItem};
pub use ids::{CausationId, CorrelationId, EventId, Lineage, LogId, Position, Revision, SchemaId};
pub use json::{EventJson, EventJsonError};
pub use names::{InvalidName, NameProblem, NamespaceName, StreamName};
pub use pointer::{EventPointer, Looked};
pub use read::{AsOf, Direction, Explain, From, Read, Start, Subscribe, SubscriptionItem};
pub use record::{RecordError, RecordedEvent};
pub use snapshot::{
    FoldIdentity, SNAPSHOT_PREFIX, SNAPSHOT_TAKEN, Snapshot, SnapshotAt, SnapshotInfo,
    SnapshotMetadata, ladder,
};
pub use store::EventStore;
pub use stream::{
    Head, META_AGED, META_DELETED, META_PREFIX, META_SET, META_TOMBSTONED, MetaData, Stats,
    StreamChange, StreamInfo, StreamLimits, StreamList,
};
pub use subscription::{SubscriptionEvents, SubscriptionStream};
pub use time::{Timestamp, TimestampError, duration_from_text, duration_text};
pub use trace::{NoTraceContext, TraceContext};

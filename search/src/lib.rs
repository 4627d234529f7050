//! Read models: what keeps the documents of projections, and lets them be found.
//!
//! A projection is folded in `delivery`, which knows no disk; here is where its documents go. Each sink implements
//! [`nexus_delivery::projection::Sink`], and keeps documents and checkpoint in one commit:
//!
//! - [`KvSink`]: documents by key, in one file;
//! - [`SearchSink`]: documents by key, and by what is in them, in an index.
//!
//! All of it is derived from the log. What is damaged is therefore never mended: it is
//! [said](nexus_delivery::projection::SinkError::Damaged), [removed](remove), and folded again.

mod directory;
mod error;
mod index;
mod kv;

pub use self::directory::{bytes_in, remove, remove_others};
pub use self::index::raw;
pub use self::index::{SearchError, SearchSink, Searched, SearchedHit, Searching, Sight};
pub use self::kv::KvSink;
/// What [`KvSink::over`] keeps its bytes on.
pub use redb::StorageBackend;

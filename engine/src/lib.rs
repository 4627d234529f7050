//! The log of Nexus on one machine: an embedded event store.

mod commit;
mod engine;
mod error;
mod fields;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod index;
pub mod io;
mod log;
mod manifest;
mod namespace;
mod node_state;
mod open;
mod options;
pub mod planted;
mod read;
mod retain;
mod segment;
mod sequencer;
mod snapshot;
mod stats;
mod streams;
mod subscribe;
mod sync;
mod verify;
mod watermark;

pub use commit::{LocalReplicator, PendingAppend, ReplicatedFrame, Replicator, SeamError, Seams};
pub use engine::{CloseError, DeleteNamespaceError, Engine, foreign_entry};
pub use error::OpenError;
pub use frame::{ChainDigest, EntryId, LogOffset, Proposal};
pub use namespace::{Namespace, OnBehalfOf};
pub use nexus_protocol::{Explain, Stats, StreamList};
pub use node_state::Vote;
pub use options::Options;
pub use read::{Events, EventsIter, Stop, StopOnDrop};
pub use stats::{DURATION_BOUNDS_US, DurationHistogram, Durations};
pub use subscribe::{LiveEvents, LiveEventsIter, Subscription};
pub use verify::{VerifyProgress, VerifyReport, verify, verify_on};

//! What is known of a stream besides its events: limits, deletion, and the system events that carry
//! them.
//!
//! All of it lives in the stream `$meta-NAME`, as events of the types in this module, so that it is
//! ordered, replicated, and backed up like the rest. Each of them states `floor`: the first revision
//! that was visible when it was written, so that a later, laxer setting never brings back what was
//! hidden (scavenging may have removed it).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::append::StreamState;
use crate::ids::{Lineage, LogId, Position, Revision};
use crate::names::StreamName;

/// Prefix of the stream that holds a stream's settings.
pub const META_PREFIX: &str = "$meta-";
/// Type of the event that sets limits.
pub const META_SET: &str = "$StreamMetadataSet";
/// Type of the event of a soft delete.
pub const META_DELETED: &str = "$StreamDeleted";
/// Type of the event of a delete for good.
pub const META_TOMBSTONED: &str = "$StreamTombstoned";
/// Type of the event by which max age hides events.
pub const META_AGED: &str = "$StreamAged";

/// Limits of a stream. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamLimits {
    /// Only the newest so many events are visible; at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_count: Option<u64>,
    /// Events recorded longer ago than so many seconds are hidden, within a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
    /// Events below this revision are hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate_before: Option<Revision>,
}

/// Data of the events in `$meta-…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetaData {
    /// First visible revision when this was written.
    pub floor: Revision,
    /// The limits from now on.
    #[serde(flatten)]
    pub limits: StreamLimits,
}

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub stream: StreamName,
    /// What it is.
    pub state: StreamState,
    /// First visible revision; events below it are hidden.
    pub floor: Revision,
    /// Position of its newest event, if it has a visible one.
    pub last_position: Option<Position>,
    /// Its limits.
    pub limits: StreamLimits,
    /// Revision of the newest event of its `$meta-` stream, if there is one.
    pub meta_revision: Option<Revision>,
}

impl StreamInfo {
    /// How many events are visible.
    pub fn event_count(&self) -> u64 {
        match self.state {
            StreamState::At(head) => (head.get() + 1).saturating_sub(self.floor.get()),
            _ => 0,
        }
    }
}

/// A change of a stream's settings; `None` leaves a limit as it is, `Some(None)` lifts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamChange {
    /// See [`StreamLimits::max_count`].
    pub max_count: Option<Option<u64>>,
    /// See [`StreamLimits::max_age_s`].
    pub max_age_s: Option<Option<u64>>,
    /// Hide events below this revision; it can only rise.
    pub truncate_before: Option<Revision>,
}

/// What the log as a whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Position of the newest event; `None` on an empty log.
    pub position: Option<Position>,
    /// The lineage it belongs to.
    pub lineage: crate::ids::Lineage,
}

/// Which streams to list.
#[derive(Clone, Debug)]
pub struct StreamList {
    /// Only names that start so.
    pub prefix: String,
    /// Only this category.
    pub category: Option<String>,
    /// Only names after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// The system's streams too.
    pub system: bool,
    /// Deleted streams too.
    pub deleted: bool,
}

impl Default for StreamList {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            category: None,
            after: None,
            limit: 1000,
            system: false,
            deleted: false,
        }
    }
}

/// Counts of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Events of users, hidden ones included.
    pub events: u64,
    /// Streams of users that have a visible event.
    pub streams: u64,
    /// Events of the system.
    pub system_events: u64,
    /// Streams of the system.
    pub system_streams: u64,
    /// The last position; `None` on an empty log.
    pub head_position: Option<Position>,
    /// Segments that hold events.
    pub segments: u64,
    /// Bytes of those segments.
    pub bytes: u64,
    /// Segments that were rewritten into compressed blocks.
    pub compressed_segments: u64,
    /// Sealed segments that could not be opened: reads of their positions answer that they are
    /// damaged, and all else goes on.
    pub fenced_segments: u64,
    /// Identity of the log.
    pub log_id: LogId,
    /// Its lineage.
    pub lineage: Lineage,
    /// How the disk is written.
    pub backend: Cow<'static, str>,
}

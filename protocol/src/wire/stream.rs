//! What is known of a stream, and counts of a namespace, on the wire.

use rkyv::{Archive, Deserialize, Serialize};

use super::WireError;
use super::request::StateHead;
use crate::ids::{Lineage, LogId, Position, Revision};
use crate::names::StreamName;
use crate::stream::{Stats, StreamInfo, StreamLimits};

/// What is known of a stream.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct StreamHead {
    stream: String,
    state: StateHead,
    floor: u64,
    last_position: Option<u64>,
    max_count: Option<u64>,
    max_age_s: Option<u64>,
    truncate_before: Option<u64>,
    meta_revision: Option<u64>,
}

impl From<&StreamInfo> for StreamHead {
    fn from(info: &StreamInfo) -> Self {
        Self {
            stream: info.stream.as_str().to_owned(),
            state: info.state.into(),
            floor: info.floor.get(),
            last_position: info.last_position.map(Position::get),
            max_count: info.limits.max_count,
            max_age_s: info.limits.max_age_s,
            truncate_before: info.limits.truncate_before.map(Revision::get),
            meta_revision: info.meta_revision.map(Revision::get),
        }
    }
}

impl TryFrom<StreamHead> for StreamInfo {
    type Error = WireError;

    fn try_from(head: StreamHead) -> Result<Self, WireError> {
        Ok(Self {
            stream: StreamName::new(&head.stream).map_err(WireError::malformed)?,
            state: head.state.into(),
            floor: Revision::new(head.floor),
            last_position: head.last_position.map(Position::new),
            limits: StreamLimits {
                max_count: head.max_count,
                max_age_s: head.max_age_s,
                truncate_before: head.truncate_before.map(Revision::new),
            },
            meta_revision: head.meta_revision.map(Revision::new),
        })
    }
}

/// Counts of a namespace.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct StatsHead {
    /// Events of users.
    pub events: u64,
    /// Streams of users that have a visible event.
    pub streams: u64,
    /// Events of the system.
    pub system_events: u64,
    /// Streams of the system.
    pub system_streams: u64,
    /// The last position.
    pub head_position: Option<u64>,
    /// Segments that hold events.
    pub segments: u64,
    /// Bytes of those segments.
    pub bytes: u64,
    /// Segments that were rewritten into compressed blocks.
    pub compressed_segments: u64,
    /// Sealed segments that could not be opened.
    pub fenced_segments: u64,
    /// Identity of the log.
    pub log_id: [u8; 16],
    /// Its lineage.
    pub lineage: u32,
    /// How the disk is written.
    pub backend: String,
}

impl From<&Stats> for StatsHead {
    fn from(stats: &Stats) -> Self {
        Self {
            events: stats.events,
            streams: stats.streams,
            system_events: stats.system_events,
            system_streams: stats.system_streams,
            head_position: stats.head_position.map(Position::get),
            segments: stats.segments,
            bytes: stats.bytes,
            compressed_segments: stats.compressed_segments,
            fenced_segments: stats.fenced_segments,
            log_id: *stats.log_id.as_bytes(),
            lineage: stats.lineage.get(),
            backend: stats.backend.clone().into_owned(),
        }
    }
}

impl From<StatsHead> for Stats {
    fn from(head: StatsHead) -> Self {
        Self {
            events: head.events,
            streams: head.streams,
            system_events: head.system_events,
            system_streams: head.system_streams,
            head_position: head.head_position.map(Position::new),
            segments: head.segments,
            bytes: head.bytes,
            compressed_segments: head.compressed_segments,
            fenced_segments: head.fenced_segments,
            log_id: LogId::from_bytes(head.log_id),
            lineage: Lineage::new(head.lineage),
            backend: head.backend.into(),
        }
    }
}

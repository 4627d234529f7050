//! Counts as JSON.

use serde::Serialize;

use crate::ids::Position;
use crate::stream::Stats;

/// Counts of a namespace.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Stats")]
pub struct StatsJson<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// Events of users, hidden ones included.
    pub events: u64,
    /// Streams of users that have a visible event.
    pub streams: u64,
    /// Events of the system.
    pub system_events: u64,
    /// Streams of the system.
    pub system_streams: u64,
    /// The last position; null on an empty log.
    pub head_position: Option<u64>,
    /// Segments that hold events.
    pub segments: u64,
    /// Bytes of those segments.
    pub bytes: u64,
    /// Segments that were rewritten into compressed blocks.
    pub compressed_segments: u64,
    /// Damaged segments, which are not served.
    pub fenced_segments: u64,
    /// Identity of the log.
    pub log_id: String,
    /// Its lineage.
    pub lineage: u32,
}

impl<'a> StatsJson<'a> {
    /// Of a namespace.
    pub fn new(namespace: &'a str, stats: &Stats) -> Self {
        Self {
            namespace,
            events: stats.events,
            streams: stats.streams,
            system_events: stats.system_events,
            system_streams: stats.system_streams,
            head_position: stats.head_position.map(Position::get),
            segments: stats.segments,
            bytes: stats.bytes,
            compressed_segments: stats.compressed_segments,
            fenced_segments: stats.fenced_segments,
            log_id: stats.log_id.to_string(),
            lineage: stats.lineage.get(),
        }
    }
}

//! How much there is.

use nexus_protocol::{Lineage, LogId, Position};

use crate::namespace::Namespace;

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
    pub backend: &'static str,
}

impl Stats {
    pub(crate) fn of(namespace: &Namespace) -> Self {
        let committer = &namespace.committer;
        let head = namespace.head();
        let bound = head.position.map_or(0, |last| last.get() + 1);
        let (users, system) = crate::streams::count(committer, bound);
        // Around damage events are missing; else every position is one event's of one stream.
        let all = users.events + system.events;
        assert!(committer.is_read_only() || all == bound, "{all} events at {bound} positions (I3)");
        let segments = committer.log.segments();
        let bytes = segments
            .iter()
            .map(|segment| match (segment.entry.sealed, segment.frames()) {
                (Some(sealed), _) => sealed.end_bytes,
                (None, Some(table)) => table.end_bytes,
                (None, None) => 0,
            })
            .sum();
        Self {
            events: users.events,
            streams: users.streams,
            system_events: system.events,
            system_streams: system.streams,
            head_position: head.position,
            segments: segments.len() as u64,
            bytes,
            compressed_segments: segments.iter().filter(|it| it.is_compressed()).count() as u64,
            fenced_segments: segments.iter().filter(|it| it.is_fenced()).count() as u64,
            log_id: namespace.log_id(),
            lineage: head.lineage,
            backend: committer.log.disk.name(),
        }
    }
}

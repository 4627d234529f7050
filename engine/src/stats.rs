//! How much there is, and how long the disk takes.

mod durations;

use nexus_protocol::Stats;

pub use durations::{DURATION_BOUNDS_US, DurationHistogram, Durations};

use crate::namespace::Namespace;

pub(crate) fn of(namespace: &Namespace) -> Stats {
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
    Stats {
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
        backend: committer.log.disk.name().into(),
    }
}

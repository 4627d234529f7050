//! The set `groups`: consumers of a server on this machine, over QUIC and loopback.
//!
//! Server and clients are as those of the set `server`. A delivery that counts is one whose acknowledgement was
//! answered, which is when it is durable.

mod consume;
mod latency;
mod memory;
mod rate;

use super::{Bench, Entry};

pub use consume::{BATCH, BATCHES_AHEAD, CONSUMERS};

/// Scenarios of consumer groups.
pub(super) const ENTRIES: [Entry; 5] = [
    Entry {
        names: &["groups-unordered"],
        goals: &["8 consumers, batches of 10: at least 100,000 events/s acknowledged"],
        run: Bench::unordered,
    },
    Entry {
        names: &["groups-ordered"],
        goals: &["1,000 keys, 8 consumers: at least 80,000 events/s acknowledged"],
        run: Bench::ordered,
    },
    Entry {
        names: &["groups-latency"],
        goals: &[
            "5,000 events/s, from the append to the answered acknowledgement: p50 at most 3,000 us",
        ],
        run: Bench::append_to_acked,
    },
    Entry {
        names: &["groups-critical"],
        goals: &[
            "the p99 of a critical group while 200,000 others drain: at most 2 x that without",
        ],
        run: Bench::critical,
    },
    Entry {
        names: &["groups-memory/in-flight", "groups-memory/lanes", "groups-memory/stuck"],
        goals: &[
            "1,000,000 deliveries in flight: the server grows by at most 200 MiB",
            "a group of 10,000 lanes: at most 32 MiB",
            "one lane stuck through 10,000,000 events: at most 64 MiB",
        ],
        run: Bench::groups_memory,
    },
];

//! The set `log`: the log on one machine, in this process.

mod appends;
mod reads;

use super::{Bench, Entry};

pub(super) use reads::compress;

/// Memory comes first: later the process would keep memory that others have used.
pub(super) const ENTRIES: [Entry; 6] = [
    Entry {
        names: &["memory-32-writers"],
        goals: &["peak of the process rises by at most 64 MiB, 32 writers"],
        run: Bench::memory,
    },
    Entry {
        names: &["append-1-writer"],
        goals: &[
            "batch 1: p50 at most 1.25 x that of a raw 4-KiB write-and-sync loop, all backends",
        ],
        run: Bench::one_writer,
    },
    Entry {
        names: &["append-8-writers"],
        goals: &["batch 1: at least 4 x the rate of that loop"],
        run: Bench::eight_writers,
    },
    Entry {
        names: &["append-32-writers"],
        goals: &["batch 1: at least 12 x the rate of that loop"],
        run: Bench::many_writers,
    },
    Entry {
        names: &["append-8-writers-batch-100"],
        goals: &["at least 1,000,000 events/s or 70 % of a raw 64-KiB loop in bytes, the lower"],
        run: Bench::batches,
    },
    Entry {
        names: &["scan", "scan-compressed", "read-stream-100", "read-stream-100/compressed"],
        goals: &[
            "everything, warm, one thread: at least 5,000,000 events/s",
            "the same, compressed: at least 2,500,000 events/s",
            "100 events of one of 10,000 streams, written in 10 rounds, warm: p50 at most 45 us",
            "the same from compressed segments: beyond what was asked for",
        ],
        run: Bench::reads,
    },
];

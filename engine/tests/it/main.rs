//! Behaviour of the engine through its public API.
#![expect(clippy::disallowed_methods, reason = "tests look at files behind the engine's back")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs)]
#![expect(clippy::cast_possible_truncation, reason = "numbers of tests are small")]
#![expect(clippy::single_range_in_vec_init, reason = "a list of lost ranges may have one")]

mod around;
mod basics;
mod busy;
mod closing;
mod conformance;
mod crash_points;
mod damage;
mod deleted;
mod failed_syncs;
mod faults;
mod fenced;
mod flips;
mod golden;
mod guide;
mod history;
mod model;
mod newer;
mod read_only;
mod rewrite;
mod seams;
mod stale_cut;
mod stores;
mod subscriptions;
mod whole_blocks;
mod workload;

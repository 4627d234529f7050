//! What projections do, as cases over whatever a client reaches: a store in this process, or a server.
//!
//! Every case runs over each sink, in a namespace of its own, and panics where something is not as it should be. What is
//! looked up and searched for is held to a scan of the log that knows neither definitions nor an index, and what is folded
//! to a dry run of the definition. No case sleeps: where it waits, it waits for something that must come.
#![expect(clippy::unwrap_used, reason = "a case that cannot go on fails")]

mod ask;
mod counted;
mod definitions;
mod folds;
mod lookups;
mod parked;
mod question;
mod scan;
mod searches;
mod steering;
mod things;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use nexus_client::Client;

pub use self::ask::Sink;
use self::ask::Store;

/// A case that runs.
pub type Running = Pin<Box<dyn Future<Output = ()>>>;

/// One behaviour that projections must have.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    run: fn(Store) -> Running,
}

macro_rules! cases {
    ($($file:ident: $($case:ident),+;)+) => {
        /// The name of every case, as `file::behaviour`.
        pub const CASES: &[&str] =
            &[$($(concat!(stringify!($file), "::", stringify!($case))),+),+];

        const ALL: &[Case] = &[$($(Case {
            name: concat!(stringify!($file), "::", stringify!($case)),
            run: |store| Box::pin($file::$case(store)),
        }),+),+];
    };
}

cases! {
    definitions: a_projection_is_made_seen_and_deleted, what_is_no_definition_is_refused_with_the_place,
        another_definition_is_another_version, what_is_not_there_is_not_found;
    folds: every_operator_folds_as_it_says, documents_are_those_of_a_dry_run;
    lookups: own_appends_are_seen, what_is_not_known_yet_is_waited_for_and_no_longer_than_was_said,
        documents_are_those_of_a_scan;
    searches: what_is_asked_is_found_as_a_scan_finds_it, pages_join_in_every_order,
        the_best_match_comes_first, some_fields_are_shown, what_matches_is_shown_where_it_does,
        own_appends_are_found, what_cannot_be_right_is_refused_and_says_why;
    counted: what_is_counted_is_what_a_scan_counts;
    steering: what_is_paused_stands_still, a_rebuild_has_the_same_digests,
        versions_are_folded_beside_each_other_and_one_answers, a_version_may_have_another_sink;
    parked: a_poison_event_holds_up_its_key_alone, what_is_decided_holds_when_all_is_folded_again,
        decisions_that_cannot_be_are_refused;
}

/// Runs every case over each sink: `make_client` makes the client of a namespace that is new and empty, and `run` runs a
/// case to its end, where that client works. Answers how many there were.
///
/// # Panics
/// When a case fails: after all have run, with the names of those that did.
pub fn run_all(make_client: impl Fn() -> Client, run: impl Fn(Running)) -> usize {
    let mut failed = Vec::new();
    for case in ALL {
        for sink in [Sink::Kv, Sink::Search] {
            let store = Store::new(make_client(), sink);
            if std::panic::catch_unwind(AssertUnwindSafe(|| run((case.run)(store)))).is_err() {
                eprintln!("case {} failed over sink {}", case.name, sink.name());
                failed.push((case.name, sink.name()));
            }
        }
    }
    let count = 2 * ALL.len();
    assert!(failed.is_empty(), "{} of {count} cases failed: {failed:?}", failed.len());
    count
}

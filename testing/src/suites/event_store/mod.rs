//! The contract of `EventStore`, as cases that any implementation can run.
//!
//! A case gets a new, empty store and panics where the store does not keep to the contract. No case
//! sleeps or knows how the store works: where it waits, it waits for something that must come.
//!
//! ```
//! use nexus_engine::Engine;
//! use nexus_testing::suites::event_store;
//! event_store::run("head::an_empty_log_has_no_head", Engine::in_memory);
//! assert!(event_store::CASES.len() > 50);
//! ```
#![expect(clippy::unwrap_used, reason = "a case that cannot go on fails")]

mod as_of;
mod ask;
mod atomicity;
mod boundaries;
mod events;
mod expectations;
mod filters;
mod head;
mod hidden;
mod idempotency;
mod limits;
mod reads;
mod snapshots;
mod subscriptions;
mod system;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use nexus_protocol::EventStore;

use crate::executor::block_on;

/// One behaviour that a store must have.
pub struct Case<S> {
    /// `file::behaviour`.
    pub name: &'static str,
    run: fn(S) -> Pin<Box<dyn Future<Output = ()>>>,
}

impl<S: EventStore> Case<S> {
    /// Holds a store, new and empty, to it.
    ///
    /// # Panics
    /// When the store does not behave so.
    pub fn run(&self, store: S) {
        block_on((self.run)(store));
    }
}

impl<S> std::fmt::Debug for Case<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

macro_rules! cases {
    ($($file:ident: $($case:ident),+;)+) => {
        /// The name of every case.
        pub const CASES: &[&str] =
            &[$($(concat!(stringify!($file), "::", stringify!($case))),+),+];

        /// Every case, for one kind of store.
        pub fn cases<S: EventStore>() -> Vec<Case<S>> {
            vec![$($(Case {
                name: concat!(stringify!($file), "::", stringify!($case)),
                run: |store| Box::pin($file::$case(store)),
            }),+),+]
        }
    };
}

cases! {
    head: an_empty_log_has_no_head, the_head_is_the_last_position,
        stream_info_says_what_is_known, settings_change_one_by_one, settings_that_cannot_be;
    expectations: any_holds_always, no_stream_holds_without_visible_events,
        exists_needs_a_stream_that_is_not_deleted, exact_needs_the_newest_revision,
        exact_holds_on_a_soft_deleted_stream, a_tombstoned_stream_takes_nothing,
        answers_say_where_the_events_went;
    atomicity: several_streams_are_written_together, one_failed_stream_keeps_all_unwritten,
        checked_streams_are_not_written, an_append_without_events_checks,
        an_append_needs_something_to_do, streams_and_ids_are_named_once,
        appends_in_flight_see_each_other, a_dropped_append_is_stored_all_the_same;
    boundaries: a_boundary_sees_what_stands_after_it, a_boundary_without_position_sees_everything,
        items_are_alternatives, absence_looks_at_the_whole_log,
        conflicts_name_the_newest_sixteen_positions, an_append_does_not_stand_in_its_own_way,
        queries_are_checked, system_events_stand_in_no_way;
    idempotency: any_repeats_are_replayed, repeats_with_a_revision_are_replayed_however_old,
        a_replay_comes_before_the_conditions, several_streams_are_replayed_together,
        a_partial_repeat_conflicts, an_id_with_other_content_is_refused,
        transport_fields_may_differ, a_revision_rule_looks_at_its_revisions_only,
        no_stream_starts_after_the_last_delete, an_append_without_events_is_no_replay,
        boundary_appends_are_replayed, keys_make_ids, calls_without_ids_are_not_recognised;
    reads: streams_are_read_both_ways, the_log_is_read_both_ways, reads_begin_at_a_time,
        what_is_not_there_is_empty, a_revision_is_no_place_in_the_log;
    filters: every_member_selects, members_are_anded_and_alternatives_ored,
        filters_hold_in_reads_of_a_stream, filters_are_bounded;
    as_of: positions_are_inclusive, revisions_are_inclusive, recorded_times_are_inclusive;
    events: every_field_comes_back, tags_are_sorted_and_unique, an_event_is_found_by_its_id,
        of_two_events_with_one_id_the_newest_is_found, recorded_times_never_fall,
        large_events_come_back;
    hidden: a_soft_delete_hides_everywhere, truncation_hides_everywhere, max_count_hides_everywhere,
        a_tombstone_hides_everywhere, a_stream_revives_with_further_revisions,
        a_laxer_setting_brings_nothing_back, truncation_stays_within_what_is_there, deletes_are_conditional;
    system: system_streams_are_refused, reserved_types_are_refused,
        system_events_are_left_out_unless_named, reserved_streams_take_their_types,
        one_alternative_opens_the_system_for_no_other;
    subscriptions: the_beginning_and_the_end, after_and_at, live_events_follow_without_a_gap,
        an_empty_log_is_caught_up, a_slow_reader_is_told, silence_is_checkpointed,
        filters_and_streams_select, hidden_events_are_not_delivered,
        bad_requests_end_a_subscription;
    snapshots: the_newest_is_loaded, another_fold_is_a_miss, older_ones_stand_on_a_ladder,
        a_past_state_is_loaded, of_one_revision_the_newest_counts, a_delete_hides_them,
        a_delete_hides_their_events, each_fold_has_a_ladder_of_its_own, system_streams_have_none;
    limits: names_are_checked, counts_and_sizes_are_bounded, what_is_at_the_limit_is_taken,
        names_are_compared_bytewise;
}

/// Runs one case.
///
/// # Panics
/// When there is no such case, or the store does not behave so.
pub fn run<S: EventStore>(name: &str, make_store: impl FnOnce() -> S) {
    let case = cases().into_iter().find(|case| case.name == name);
    case.unwrap_or_else(|| panic!("there is no case {name}")).run(make_store());
}

/// Runs every case, each with a store of its own. Answers how many there were.
///
/// # Panics
/// When a case fails: after all have run, with the names of those that did.
pub fn run_all<S: EventStore>(make_store: impl Fn() -> S) -> usize {
    let cases = cases();
    let mut failed = Vec::new();
    for case in &cases {
        let store = make_store();
        if std::panic::catch_unwind(AssertUnwindSafe(|| case.run(store))).is_err() {
            eprintln!("case {} failed", case.name);
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:?}", failed.len(), cases.len());
    cases.len()
}

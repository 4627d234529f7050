//! The pause before what failed comes again: longer each time, bounded, and not the same for all that failed together.

use std::collections::BTreeSet;

use nexus_protocol::group::BACKOFF_MAX;

use super::*;

const INITIAL: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(10);
const KEYS: u64 = 50;

fn patient() -> GroupConfig {
    GroupConfig {
        ack_deadline: Duration::from_secs(3_600),
        max_attempts: 100,
        backoff: Backoff { initial: INITIAL, max: MOST },
        ..ordered(4)
    }
}

impl Bench {
    /// Has all of these fail now.
    fn fail_all(&mut self, given: &[Delivery]) {
        given.iter().for_each(|delivery| self.nack("a", delivery, NackAction::Retry(None)));
    }

    /// What comes again of so many that failed now, each with how long it was paused for: the group says itself when
    /// there is something.
    fn paused(&mut self, count: usize) -> Vec<(Delivery, Duration)> {
        let failed_at = self.now;
        let mut came = Vec::new();
        while came.len() < count {
            self.now = self.group.next_tick().expect("something waits for its time");
            self.group.tick(self.now);
            let given = self.receive("a");
            came.extend(given.into_iter().map(|it| (it, self.now.since(failed_at))));
        }
        came
    }
}

fn pauses(came: &[(Delivery, Duration)]) -> Vec<Duration> {
    came.iter().map(|(_, pause)| *pause).collect()
}

#[test]
fn pauses_double_up_to_their_bound_and_what_failed_together_comes_back_apart() {
    let mut bench = Bench::new(patient());
    bench.feed(&(0..KEYS).collect::<Vec<_>>());
    let mut given = bench.receive("a");
    assert_eq!(given.len() as u64, KEYS);
    for (tries, whole_s) in (1..).zip([1, 2, 4, 8, 10, 10, 10]) {
        bench.fail_all(&given);
        let came = bench.paused(given.len());
        let (pauses, whole) = (pauses(&came), Duration::from_secs(whole_s));
        assert!(pauses.iter().all(|it| (whole / 2..=whole).contains(it)), "{tries}: {pauses:?}");
        // They use what they may: neither all of them early nor all of them late.
        let (early, late) = (whole * 5 / 8, whole * 7 / 8);
        assert!(pauses.iter().any(|it| *it < early), "{tries}: {pauses:?}");
        assert!(pauses.iter().any(|it| *it > late), "{tries}: {pauses:?}");
        let different: BTreeSet<_> = pauses.iter().collect();
        assert!(different.len() as u64 > KEYS / 2, "{tries}: {pauses:?}");
        given = came.into_iter().map(|(delivery, _)| delivery).collect();
        assert!(given.iter().all(|it| it.attempt == tries + 1));
    }
}

#[test]
fn a_key_that_is_early_once_is_not_so_each_time() {
    let mut bench = Bench::new(patient());
    bench.feed(&(0..KEYS).collect::<Vec<_>>());
    let mut given = bench.receive("a");
    let mut orders = BTreeSet::new();
    for _ in 0..3 {
        bench.fail_all(&given);
        given = bench.paused(given.len()).into_iter().map(|(delivery, _)| delivery).collect();
        orders.insert(given.iter().map(|it| it.token.position).collect::<Vec<_>>());
    }
    assert_eq!(orders.len(), 3, "{orders:?}");
}

#[test]
fn what_is_late_comes_again_at_once_and_counts_as_a_try() {
    let config = GroupConfig { ack_deadline: HEARTBEAT_MAX / 2, ..patient() };
    let mut bench = Bench::new(config);
    bench.feed(&(0..KEYS).collect::<Vec<_>>());
    bench.receive("a");
    bench.pass(HEARTBEAT_MAX / 2);
    // It has waited for as long as its consumer had.
    let given = bench.receive("a");
    assert!(given.len() as u64 == KEYS && given.iter().all(|it| it.attempt == 2));
    // Who fails now fails for the second time.
    bench.fail_all(&given);
    let (pauses, whole) = (pauses(&bench.paused(given.len())), INITIAL * 2);
    assert!(pauses.iter().all(|it| (whole / 2..=whole).contains(it)), "{pauses:?}");
}

#[test]
fn pauses_go_on_after_a_crash_and_begin_anew_with_a_replay() {
    let config = GroupConfig { max_attempts: 4, ..patient() };
    let mut bench = Bench::new(config);
    let keys: Vec<_> = (0..KEYS).collect();
    bench.feed(&keys);
    let mut given = bench.receive("a");
    for whole_s in [1, 2, 4] {
        bench.fail_all(&given);
        bench.write();
        bench.crash();
        bench.feed(&keys);
        let came = bench.paused(given.len());
        let (pauses, whole) = (pauses(&came), Duration::from_secs(whole_s));
        assert!(pauses.iter().all(|it| (whole / 2..=whole).contains(it)), "{pauses:?}");
        given = came.into_iter().map(|(delivery, _)| delivery).collect();
    }
    bench.fail_all(&given);
    assert_eq!(bench.group.stats().parked as u64, KEYS, "it was tried as often as it may be");
    bench.group.replay(keys.iter().copied().map(Position::new), Duration::ZERO, bench.now);
    let given = bench.receive("a");
    assert!(given.len() as u64 == KEYS && given.iter().all(|it| it.attempt == 5));
    bench.fail_all(&given);
    let pauses = pauses(&bench.paused(given.len()));
    assert!(pauses.iter().all(|it| (INITIAL / 2..=INITIAL).contains(it)), "{pauses:?}");
}

#[test]
fn a_pause_that_was_asked_for_is_as_long_as_that_up_to_a_day() {
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(BACKOFF_MAX, day);
    let moment = Duration::from_millis(1);
    for (asked, expected) in [(moment, moment), (MOST * 2, MOST * 2), (day, day), (day * 2, day)] {
        let mut bench = Bench::new(patient());
        bench.feed(&[1]);
        let given = bench.receive("a");
        bench.nack("a", &given[0], NackAction::Retry(Some(asked)));
        assert_eq!(pauses(&bench.paused(1)), [expected]);
    }
}

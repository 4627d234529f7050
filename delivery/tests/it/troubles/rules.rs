//! Rules for what would be parked, and replays that do not come all at once.

use std::time::Duration;

use nexus_delivery::group::Ruled;
use nexus_protocol::Position;
use nexus_protocol::group::{Failure, GroupConfig, Nack, NackAction};

use super::{Bench, ordered};

const MINUTE: Duration = Duration::from_secs(60);

fn with(rules: &[&str]) -> GroupConfig {
    let parked_rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    GroupConfig { parked_rules, max_attempts: 1, ..ordered(1) }
}

impl Bench {
    /// Gives what there is to a consumer, which fails with it.
    fn fail(&mut self, class: &str) -> Vec<u64> {
        let given = self.receive("a");
        for delivery in &given {
            let failure = Failure { class: class.to_owned(), ..Failure::new("it is poison") };
            let nack = Nack { action: NackAction::Retry(None), failure };
            self.group.nack("a", delivery.token, nack, self.now).unwrap();
        }
        given.iter().map(|it| it.token.position.get()).collect()
    }

    fn ruled(&mut self) -> Vec<(Ruled, Vec<u64>)> {
        let all = self.group.ruled().into_iter();
        all.map(|it| (it.what, it.positions.iter().map(|at| at.get()).collect())).collect()
    }
}

#[test]
fn what_failed_is_tried_again_as_often_as_a_rule_says_and_then_left() {
    let mut bench = Bench::new(with(&["db: retry 1m, 10m"]));
    bench.feed(&[1, 1, 2]);
    assert_eq!(bench.fail("db"), [0, 2], "the first of each key");
    assert_eq!(bench.ruled(), [(Ruled::Retry(1), vec![0, 2])]);
    assert_eq!((bench.positions("a"), bench.group.stats().parked), (vec![], 3));
    // What a rule says outlives a crash, and what is behind keeps its order.
    bench.write();
    bench.crash();
    bench.pass(MINUTE - Duration::from_millis(1));
    assert_eq!(bench.positions("a"), [] as [u64; 0]);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.fail("db"), [0, 2]);
    bench.pass(10 * MINUTE);
    let both = bench.receive("a");
    assert_eq!(both.iter().map(|it| it.attempt).collect::<Vec<_>>(), [3, 3]);
    bench.ack("a", &both[1]);
    bench.nack("a", &both[0], NackAction::Park);
    assert_eq!(bench.positions("a"), [] as [u64; 0], "no rule is for this failure");
    bench.pass(100 * MINUTE);
    let entry = bench.group.state().parked().entry(0).unwrap();
    assert_eq!((entry.released, entry.rounds, entry.attempts), (false, 2, 3));
    // Whoever releases it gives it all that it had at first.
    assert_eq!(bench.group.replay([Position::ZERO], Duration::ZERO, bench.now), 1);
    bench.ruled();
    assert_eq!(bench.fail("db"), [0]);
    assert_eq!(bench.ruled(), [(Ruled::Retry(1), vec![0])]);
    bench.pass(MINUTE);
    for position in [0, 1] {
        let next = bench.receive("a");
        assert_eq!(next[0].token.position.get(), position);
        bench.ack("a", &next[0]);
    }
    assert_eq!((bench.floor(), bench.group.stats().parked), (3, 0));
}

#[test]
fn a_rule_gives_up_or_calls_somebody_and_says_so() {
    let mut bench =
        Bench::new(with(&["duplicate: skip", "timeout: alert", "*: retry 1m, then skip"]));
    bench.feed(&[1, 1, 1, 2]);
    assert_eq!(bench.fail("duplicate"), [0, 3]);
    assert_eq!(bench.ruled(), [(Ruled::Skip, vec![0, 3])]);
    assert_eq!((bench.floor(), bench.group.stats().parked), (1, 0));
    assert_eq!(bench.fail(""), [1]);
    bench.pass(MINUTE);
    assert_eq!(bench.fail("anything"), [1]);
    assert_eq!(bench.ruled(), [(Ruled::Retry(1), vec![1]), (Ruled::Skip, vec![1])]);
    // A consumer that says nothing.
    assert_eq!(bench.positions("a"), [2]);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.ruled(), [(Ruled::Alert, vec![2])]);
    let entry = bench.group.state().parked().entry(2).unwrap();
    assert_eq!((entry.released, &*entry.failure.class), (false, "timeout"));
    bench.write();
    bench.crash();
    bench.feed(&[1, 1, 1, 2]);
    assert_eq!(bench.positions("a"), [] as [u64; 0], "what is given up stays so");
}

#[test]
fn rules_of_before_are_on_record_and_those_of_today_hold() {
    let mut bench = Bench::new(with(&["*: retry 1m"]));
    bench.feed(&[1]);
    assert_eq!(bench.fail("a"), [0]);
    bench.config = with(&["a: skip"]);
    bench.group.reconfigure(bench.config.clone()).unwrap();
    let ruled = bench.group.ruled();
    assert_eq!((&*ruled[0].rule, ruled[0].what), ("*: retry 1m, then leave", Ruled::Retry(1)));
    // What was released goes on.
    bench.pass(MINUTE);
    assert_eq!(bench.fail("a"), [0]);
    assert_eq!(bench.ruled(), [(Ruled::Skip, vec![0])]);
}

#[test]
fn what_is_released_comes_at_the_rate_that_was_asked_for() {
    let keys: Vec<_> = (0..5).collect();
    let config = GroupConfig { parked_rate: Some(2), ..with(&["*: retry 1m"]) };
    let mut bench = Bench::new(config);
    bench.feed(&keys);
    assert_eq!(bench.fail("db"), keys);
    let half = Duration::from_millis(500);
    bench.pass(MINUTE);
    for key in &keys {
        assert_eq!(bench.fail("db"), [*key]);
        bench.pass(half);
    }
    // By hand, and then faster.
    bench.pass(MINUTE);
    let all = || keys.iter().copied().map(Position::new);
    assert_eq!(bench.group.replay(all(), half, bench.now), 5);
    assert_eq!(bench.fail("db"), [0]);
    bench.write();
    bench.crash();
    bench.feed(&keys);
    bench.pass(half);
    assert_eq!(bench.positions("a"), [1]);
    assert_eq!(bench.group.next_tick(), Some(bench.now.saturating_add(half)));
    let twice = [2, 2, 2].map(Position::new);
    assert_eq!(bench.group.replay(twice, half, bench.now), 1, "each is released once");
    let hastened = bench.group.replay(all(), Duration::ZERO, bench.now);
    assert_eq!(hastened, 3, "what is with somebody, or ready, is not released again");
    let mut given = bench.positions("a");
    given.sort_unstable();
    assert_eq!(given, [0, 2, 3, 4]);
}

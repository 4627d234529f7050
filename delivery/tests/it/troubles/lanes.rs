//! Whose lanes are whose, while consumers come and go: spread evenly, and moved no more than that takes.

use std::collections::{BTreeMap, BTreeSet};

use nexus_testing::Random;

use super::*;

type Owners = BTreeMap<u32, String>;

/// A group with an event in every lane, so that each shows whose it is.
fn all_in_use(lanes: u32) -> Bench {
    let mut bench = Bench::new(ordered(lanes));
    bench.feed(&(0..lanes.into()).collect::<Vec<_>>());
    bench
}

impl Bench {
    fn join(&mut self, consumer: &str) {
        self.group.join(consumer, self.now).unwrap();
    }

    fn leave(&mut self, consumer: &str) {
        self.group.leave(consumer, self.now);
    }

    /// Whose each lane is, of those that are somebody's.
    fn owners(&self) -> Owners {
        let lanes = self.group.lanes().into_iter();
        lanes.filter_map(|it| Some((it.lane, it.owner?.to_owned()))).collect()
    }

    /// How many lanes the consumers have, the fewest first.
    fn shares(&self) -> Vec<u32> {
        let mut shares: Vec<_> = self.group.consumers().iter().map(|it| it.1).collect();
        shares.sort_unstable();
        shares
    }
}

/// Who had what moved, and who has it now.
fn moved(before: &Owners, after: &Owners) -> Vec<(String, String)> {
    let pairs = before.iter().zip(after).filter(|(before, after)| before.1 != after.1);
    pairs.map(|(before, after)| (before.1.clone(), after.1.clone())).collect()
}

#[test]
fn lanes_stay_even_and_move_only_to_who_comes_and_from_who_leaves() {
    for lanes in [1, 7, 16, 100] {
        let (mut random, mut bench) = (Random::new(lanes.into()), all_in_use(lanes));
        bench.join("c0");
        let mut there = vec!["c0".to_owned()];
        let (mut number, mut before) = (1, bench.owners());
        assert_eq!(before.len(), lanes as usize, "all are of the only one");
        for _ in 0..300 {
            let comes = there.len() == 1 || there.len() < 20 && random.one_in(2);
            let count = if comes {
                there.push(format!("c{number}"));
                number += 1;
                bench.join(&there[there.len() - 1]);
                // No more than a share that is rounded down.
                lanes as usize / there.len()
            } else {
                let at = random.below(there.len() as u64);
                there.swap(usize::try_from(at).unwrap(), 0);
                let gone = &there[0];
                bench.leave(gone);
                before.values().filter(|owner| *owner == gone).count()
            };
            let after = bench.owners();
            let moved = moved(&before, &after);
            assert_eq!((after.len(), moved.len()), (lanes as usize, count), "{there:?}");
            let who = if comes { &there[there.len() - 1] } else { &there[0] };
            for (from, to) in moved {
                assert_eq!(if comes { &to } else { &from }, who, "no other lane moves");
            }
            if !comes {
                there.swap_remove(0);
            }
            let shares = bench.shares();
            assert_eq!((shares.len(), shares.iter().sum()), (there.len(), lanes));
            assert!(shares[shares.len() - 1] - shares[0] <= 1, "{shares:?}");
            before = after;
        }
    }
}

#[test]
fn who_is_silent_for_a_short_time_finds_its_lanes_as_they_were() {
    let mut bench = all_in_use(8);
    bench.join("a");
    bench.join("b");
    let before = bench.owners();
    let nearly = HEARTBEAT_MAX - Duration::from_millis(1);
    for _ in 0..3 {
        bench.pass(nearly);
        bench.join("a");
        bench.join("b");
        assert_eq!(bench.owners(), before);
    }
    // Silent for longer it is gone, and its lanes are the other's.
    bench.pass(nearly);
    bench.join("a");
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.group.consumers(), [("a", 8, 0)]);
    // It comes again as anybody who is new: with a share, of which it is not said which lanes.
    bench.join("b");
    assert_eq!(bench.shares(), [4, 4]);
    let kept: BTreeSet<_> = bench.owners().into_values().collect();
    assert_eq!(kept.len(), 2);
}

#[test]
fn a_lane_that_was_to_move_stays_where_it_is_when_who_should_have_it_goes() {
    let mut bench = Bench::new(ordered(2));
    bench.feed(&[0, 1, 0, 1]);
    let both = bench.receive("a");
    assert_eq!(both.len(), 2);
    bench.join("b");
    assert_eq!(bench.group.consumers(), [("a", 1, 2), ("b", 1, 0)]);
    // One lane waits for what was delivered of it to be answered, and nobody is to have it any more.
    bench.leave("b");
    assert_eq!(bench.group.consumers(), [("a", 2, 2)]);
    both.iter().for_each(|delivery| bench.ack("a", delivery));
    let mut next = bench.positions("a");
    next.sort_unstable();
    assert_eq!(next, [2, 3]);
}

#[test]
fn more_consumers_than_lanes_wait_for_one_to_be_free() {
    let mut bench = all_in_use(2);
    for name in ["a", "b", "c", "d"] {
        bench.join(name);
    }
    assert_eq!(bench.shares(), [0, 0, 1, 1]);
    let before = bench.owners();
    // Who has none leaves without a trace.
    bench.leave("d");
    assert_eq!(bench.owners(), before);
    bench.leave("a");
    assert_eq!(bench.shares(), [1, 1]);
    assert_eq!(bench.receive("c").len(), 1);
}

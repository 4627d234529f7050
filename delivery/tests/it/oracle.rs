//! The group beside its model, through random steps.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::model::{CONSUMERS, Counts, Model, later};

impl Model {
    fn step(&mut self) {
        match self.random.below(100) {
            0..=19 => self.append(),
            20..=34 => {
                let count = self.random.below(8);
                self.feed(count);
            }
            35..=54 => self.receive(),
            55..=75 => self.answer(),
            76..=79 => self.append_and_ack(),
            80..=86 => self.pass_time(),
            87..=93 => self.write(),
            94 => match self.random.below(8) {
                0 => self.pause(),
                1..=4 => self.resume(),
                _ => self.leave(),
            },
            95 if self.random.one_in(4) => self.edit(),
            97 if self.random.one_in(8) => self.reconfigure(),
            96 if self.random.one_in(8) => self.refilter(),
            95..=97 => self.replay_or_discard(),
            98 if self.random.one_in(3) => self.crash(),
            99 if self.random.one_in(6) => self.seek(),
            99 if self.random.one_in(4) => self.work(),
            99 if self.random.one_in(4) => {
                // Retention takes an event away that nobody has looked at since the last crash.
                let unfed = self.group.reads_from().get()..self.log.len() as u64;
                if !unfed.is_empty() {
                    let at = unfed.start + self.random.below(unfed.end - unfed.start);
                    self.log[usize::try_from(at).unwrap()].gone = true;
                }
            }
            _ => {}
        }
        self.check();
    }

    /// Everybody behaves from now on: all is done in the end, and nothing is stuck.
    fn drain(&mut self) {
        for _ in 0..100_000 {
            self.resume();
            self.feed(100);
            let parked: Vec<_> = self.group.state().parked().iter().map(|(at, _)| at).collect();
            for position in parked {
                self.replay(position, Duration::ZERO);
            }
            for consumer in &CONSUMERS[..2] {
                self.heard.insert((*consumer).to_owned(), self.now);
                for delivery in self.group.receive(consumer, 10, self.now).unwrap() {
                    self.delivered(consumer, delivery);
                    if self.random.one_in(2) {
                        self.group.ack(consumer, delivery.token, self.now).unwrap();
                        self.answered(delivery.token, None);
                    }
                }
            }
            for (token, lent) in self.with.clone() {
                self.group.ack(&lent.owner, token, self.now).unwrap();
                self.answered(token, None);
            }
            self.check();
            let stats = self.group.stats();
            let is_fed = stats.next.get() >= self.log.len() as u64;
            if is_fed && stats.open == 0 && stats.parked == 0 {
                assert_eq!(stats.floor, stats.next);
                assert_eq!(self.to_do().count(), 0, "all is done");
                return self.write_all();
            }
            self.now = later(self.now, Duration::from_millis(50));
            self.group.tick(self.now);
        }
        panic!("it is stuck: {:?}", self.group.stats());
    }
}

#[test]
fn a_group_keeps_its_promises_through_random_steps() {
    let from_env = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
    };
    let (seeds, first) = (from_env("NEXUS_GROUP_SEEDS", 12), from_env("NEXUS_GROUP_FIRST_SEED", 0));
    let steps = from_env("NEXUS_GROUP_STEPS", 10_000);
    let mut all = Counts::default();
    for seed in first..first + seeds {
        let mut model = Model::new(seed);
        let result = catch_unwind(AssertUnwindSafe(|| {
            (0..steps).for_each(|_| model.step());
            model.drain();
        }));
        if let Err(panic) = result {
            eprintln!(
                "seed {seed}: run again with NEXUS_GROUP_FIRST_SEED={seed} NEXUS_GROUP_SEEDS=1"
            );
            resume_unwind(panic);
        }
        let counts = model.counts;
        all.delivered += counts.delivered;
        all.acked += counts.acked;
        all.parked += counts.parked;
        all.replayed += counts.replayed;
        all.crashes += counts.crashes;
        all.refused += counts.refused;
        all.sought += counts.sought;
        all.held += counts.held;
        all.edited += counts.edited;
        all.refiltered += counts.refiltered;
        all.ruled += counts.ruled;
        all.in_parts += counts.in_parts;
    }
    for (name, count) in [
        ("group_steps", seeds * steps),
        ("group_deliveries", all.delivered),
        ("group_acknowledged", all.acked),
        ("group_replayed", all.replayed),
        ("group_refused", all.refused),
        ("group_sought", all.sought),
        ("group_held", all.held),
        ("group_edited", all.edited),
        ("group_refiltered", all.refiltered),
        ("group_ruled", all.ruled),
        ("group_in_parts", all.in_parts),
        ("group_crashes", all.crashes),
    ] {
        println!("count: {name} {count}");
    }
    assert!(all.acked > 0 && all.replayed > 0 && all.crashes > 0 && all.refused > 0, "{all:?}");
    assert!(
        all.ruled > 0 && all.held > 0 && all.edited > 0 && all.refiltered > 0 && all.in_parts > 0,
        "{all:?}"
    );
}

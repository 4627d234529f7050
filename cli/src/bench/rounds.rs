//! Measuring beside ceilings: ceilings, scenario, ceilings, scenario, … , ceilings.
//!
//! The machine may be shared, and its disk too: what is slow at one moment is slow for both, so a
//! turn of a scenario is compared with the ceilings right before and right after it, and of all
//! rounds the median ratio is taken. Latencies of all rounds go into one histogram.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::exit::Failure;

/// No latency above this is told apart, in ns: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Latencies, to three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("constant bounds"))
    }
}

impl Latencies {
    /// One more.
    pub fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX));
    }

    /// All of another.
    pub fn add_all(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the same bounds");
    }

    /// The latency in µs that this part of all did not exceed.
    pub fn us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// From latencies in nanoseconds.
    pub(super) fn of_ns(latencies_ns: &[u64]) -> Self {
        let mut latencies = Self::default();
        latencies_ns.iter().for_each(|ns| latencies.0.saturating_record(*ns));
        latencies
    }
}

/// What one turn did.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// Events, or writes of a ceiling.
    pub events: u64,
    /// From the beginning of the first to the end of the last.
    pub elapsed: Duration,
    /// Of each thing that was done.
    pub latencies: Latencies,
}

impl Turn {
    /// Events a second.
    pub fn per_s(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Something that is measured for a turn.
pub type Measure<'a> = &'a mut dyn FnMut() -> Result<Turn, Failure>;

/// A rate, and a median latency.
#[derive(Clone, Copy, Debug)]
struct Pace {
    per_s: f64,
    p50_us: f64,
}

impl Pace {
    fn of(turn: &Turn) -> Self {
        Self { per_s: turn.per_s(), p50_us: turn.latencies.us(0.5) }
    }

    /// Between two: what held while something else was measured.
    fn between(before: Self, after: Self) -> Self {
        Self {
            per_s: f64::midpoint(before.per_s, after.per_s),
            p50_us: f64::midpoint(before.p50_us, after.p50_us),
        }
    }
}

/// A turn, and the ceilings around it.
#[derive(Clone, Debug)]
struct Round {
    turn: Pace,
    ceilings: Vec<Pace>,
}

/// All rounds of a scenario.
#[derive(Clone, Debug)]
pub struct Rounds {
    rounds: Vec<Round>,
    /// Of the scenario, over all rounds.
    pub latencies: Latencies,
    /// The same of each ceiling.
    pub ceiling_latencies: Vec<Latencies>,
}

impl Rounds {
    /// Runs `count` rounds. The first ceiling is the one that ratios are of, where nothing else is said.
    ///
    /// # Errors
    /// The first error of any of them.
    pub fn run(
        count: usize,
        ceilings: &mut [Measure<'_>],
        mut scenario: impl FnMut() -> Result<Turn, Failure>,
    ) -> Result<Self, Failure> {
        let mut ceiling_latencies = vec![Latencies::default(); ceilings.len()];
        let mut measure = || -> Result<Vec<Pace>, Failure> {
            let each = ceilings.iter_mut().zip(&mut ceiling_latencies);
            let turns = each.map(|(ceiling, latencies)| {
                let turn = ceiling()?;
                latencies.add_all(&turn.latencies);
                Ok(Pace::of(&turn))
            });
            turns.collect()
        };
        let (mut rounds, mut latencies) = (Vec::with_capacity(count), Latencies::default());
        let mut before = measure()?;
        for _ in 0..count {
            let turn = scenario()?;
            let after = measure()?;
            let around = before.iter().zip(&after);
            rounds.push(Round {
                turn: Pace::of(&turn),
                ceilings: around.map(|(before, after)| Pace::between(*before, *after)).collect(),
            });
            latencies.add_all(&turn.latencies);
            before = after;
        }
        Ok(Self { rounds, latencies, ceiling_latencies })
    }

    fn each(&self, figure: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.rounds.iter().map(figure).collect()
    }

    /// Events a second.
    pub fn per_s(&self) -> f64 {
        median(self.each(|round| round.turn.per_s))
    }

    /// Median latency in µs.
    pub fn p50_us(&self) -> f64 {
        median(self.each(|round| round.turn.p50_us))
    }

    /// Of ceiling number `index`.
    pub fn ceiling_per_s(&self, index: usize) -> f64 {
        median(self.each(|round| round.ceilings[index].per_s))
    }

    /// Of ceiling number `index`.
    pub fn ceiling_p50_us(&self, index: usize) -> f64 {
        median(self.each(|round| round.ceilings[index].p50_us))
    }

    /// Rate over the first ceiling's, round by round.
    pub(super) fn rate_ratios(&self) -> Vec<f64> {
        self.rate_ratios_to(0)
    }

    /// Rate over that of ceiling number `index`, round by round.
    pub fn rate_ratios_to(&self, index: usize) -> Vec<f64> {
        self.each(|round| round.turn.per_s / round.ceilings[index].per_s)
    }

    /// Median latency over that of ceiling number `index`, round by round.
    pub fn p50_ratios_to(&self, index: usize) -> Vec<f64> {
        self.each(|round| round.turn.p50_us / round.ceilings[index].p50_us)
    }

    /// Median latency over the sum of those of all ceilings, round by round.
    pub(super) fn p50_ratios(&self) -> Vec<f64> {
        let sum = |round: &Round| round.ceilings.iter().map(|ceiling| ceiling.p50_us).sum::<f64>();
        self.each(|round| round.turn.p50_us / sum(round))
    }
}

/// The middle one; of an even number the mean of the two in the middle; 0 of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (0, 0) => 0.0,
        (middle, 0) => f64::midpoint(values[middle - 1], values[middle]),
        (middle, _) => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(events: u64, latency_us: u64) -> Turn {
        let mut turn = Turn { events, elapsed: Duration::from_secs(1), ..Turn::default() };
        turn.latencies.add(Duration::from_micros(latency_us));
        turn
    }

    #[test]
    fn medians_are_in_the_middle() {
        let check = |values: &[f64], expected: f64| assert_eq!(median(values.to_vec()), expected);
        check(&[], 0.0);
        check(&[3.0], 3.0);
        check(&[4.0, 1.0], 2.5);
        check(&[9.0, 1.0, 2.0], 2.0);
    }

    #[test]
    fn latencies_have_three_digits_and_quantiles() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|us| latencies.add(Duration::from_micros(us)));
        assert_eq!(latencies.count(), 1000);
        for (quantile, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let us = latencies.us(quantile);
            assert!((us / expected - 1.0).abs() < 0.002, "{quantile}: {us}");
        }
        latencies.add(Duration::from_secs(3600));
        assert!(latencies.us(1.0) >= 60_000_000.0, "kept as the longest that is told apart");
        assert_eq!(Latencies::of_ns(&[1_000, 2_000, 3_000]).count(), 3);
    }

    #[test]
    fn latencies_of_several_ceilings_add_up() {
        let (mut disk, mut link) = (|| Ok(turn(10, 100)), || Ok(turn(10, 50)));
        let rounds = Rounds::run(3, &mut [&mut disk, &mut link], || Ok(turn(5, 300))).unwrap();
        assert!(rounds.p50_ratios().iter().all(|ratio| (ratio - 2.0).abs() < 0.01));
        assert!((rounds.ceiling_p50_us(1) - 50.0).abs() < 0.1);
        assert_eq!(rounds.rate_ratios(), [0.5; 3]);
        assert_eq!(rounds.rate_ratios_to(1), [0.5; 3]);
        assert!(rounds.p50_ratios_to(1).iter().all(|ratio| (ratio - 6.0).abs() < 0.05));
        assert_eq!(rounds.ceiling_latencies[0].count(), 4, "around each round");
    }

    #[test]
    fn a_turn_is_compared_with_the_ceilings_around_it() {
        // The machine gets twice as slow in the second round: the ratio stays.
        let mut ceilings = [turn(100, 10), turn(100, 10), turn(50, 20)].into_iter();
        let mut turns = [turn(400, 12), turn(300, 18)].into_iter();
        let rounds = Rounds::run(2, &mut [&mut || Ok(ceilings.next().unwrap())], || {
            Ok(turns.next().unwrap())
        })
        .unwrap();
        assert_eq!(rounds.rate_ratios(), [4.0, 4.0]);
        assert_eq!((rounds.per_s(), rounds.ceiling_per_s(0)), (350.0, 87.5));
        assert!((rounds.ceiling_p50_us(0) - 12.5).abs() < 0.1);
        assert!((rounds.p50_us() - 15.0).abs() < 0.1);
        assert!(rounds.p50_ratios().iter().all(|ratio| (ratio - 1.2).abs() < 0.01));
        assert_eq!(rounds.latencies.count(), 2);
    }
}

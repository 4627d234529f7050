//! Measuring beside a ceiling: ceiling, scenario, ceiling, scenario, … , ceiling.
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
pub(super) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("constant bounds"))
    }
}

impl Latencies {
    /// One more.
    pub(super) fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX));
    }

    /// All of another.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the same bounds");
    }

    /// The latency in µs that this part of all did not exceed.
    pub(super) fn us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
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
pub(super) struct Turn {
    /// Events, or writes of a ceiling.
    pub(super) events: u64,
    pub(super) elapsed: Duration,
    pub(super) latencies: Latencies,
}

impl Turn {
    /// Events a second.
    pub(super) fn per_s(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// A turn, and the ceiling around it.
#[derive(Clone, Copy, Debug)]
struct Round {
    per_s: f64,
    p50_us: f64,
    ceiling_per_s: f64,
    ceiling_p50_us: f64,
}

/// All rounds of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    rounds: Vec<Round>,
    /// Of the scenario, over all rounds.
    pub(super) latencies: Latencies,
    /// Of the ceiling, over all rounds.
    pub(super) ceiling_latencies: Latencies,
}

impl Rounds {
    /// Runs `count` rounds.
    ///
    /// # Errors
    /// The first error of either.
    pub(super) fn run(
        count: usize,
        mut ceiling: impl FnMut() -> Result<Turn, Failure>,
        mut scenario: impl FnMut() -> Result<Turn, Failure>,
    ) -> Result<Self, Failure> {
        let mut all = Self {
            rounds: Vec::with_capacity(count),
            latencies: Latencies::default(),
            ceiling_latencies: Latencies::default(),
        };
        let mut before = ceiling()?;
        all.ceiling_latencies.add_all(&before.latencies);
        for _ in 0..count {
            let turn = scenario()?;
            let after = ceiling()?;
            all.rounds.push(Round {
                per_s: turn.per_s(),
                p50_us: turn.latencies.us(0.5),
                ceiling_per_s: f64::midpoint(before.per_s(), after.per_s()),
                ceiling_p50_us: f64::midpoint(before.latencies.us(0.5), after.latencies.us(0.5)),
            });
            all.latencies.add_all(&turn.latencies);
            all.ceiling_latencies.add_all(&after.latencies);
            before = after;
        }
        Ok(all)
    }

    fn each(&self, figure: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.rounds.iter().map(figure).collect()
    }

    /// Events a second.
    pub(super) fn per_s(&self) -> f64 {
        median(self.each(|round| round.per_s))
    }

    /// Of the ceiling.
    pub(super) fn ceiling_per_s(&self) -> f64 {
        median(self.each(|round| round.ceiling_per_s))
    }

    /// Of the ceiling.
    pub(super) fn ceiling_p50_us(&self) -> f64 {
        median(self.each(|round| round.ceiling_p50_us))
    }

    /// Median latency in µs.
    pub(super) fn p50_us(&self) -> f64 {
        median(self.each(|round| round.p50_us))
    }

    /// Rate over the ceiling's, round by round.
    pub(super) fn rate_ratios(&self) -> Vec<f64> {
        self.each(|round| round.per_s / round.ceiling_per_s)
    }

    /// Median latency over the ceiling's, round by round.
    pub(super) fn p50_ratios(&self) -> Vec<f64> {
        self.each(|round| round.p50_us / round.ceiling_p50_us)
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
    fn a_turn_is_compared_with_the_ceilings_around_it() {
        // The machine gets twice as slow in the second round: the ratio stays.
        let mut ceilings = [turn(100, 10), turn(100, 10), turn(50, 20)].into_iter();
        let mut turns = [turn(400, 12), turn(300, 18)].into_iter();
        let rounds =
            Rounds::run(2, || Ok(ceilings.next().unwrap()), || Ok(turns.next().unwrap())).unwrap();
        assert_eq!(rounds.rate_ratios(), [4.0, 4.0]);
        assert_eq!((rounds.per_s(), rounds.ceiling_per_s()), (350.0, 87.5));
        assert!((rounds.ceiling_p50_us() - 12.5).abs() < 0.1);
        assert!((rounds.p50_us() - 15.0).abs() < 0.1);
        assert!(rounds.p50_ratios().iter().all(|ratio| (ratio - 1.2).abs() < 0.01));
        assert_eq!((rounds.latencies.count(), rounds.ceiling_latencies.count()), (2, 3));
    }
}

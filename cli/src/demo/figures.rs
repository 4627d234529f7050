//! Counts and latencies of a step.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// What took longer counts as this long: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// What a step did, while it does it.
pub(super) struct Figures {
    events: u64,
    latencies_us: Histogram<u64>,
}

/// What a step did.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    name: &'static str,
    /// What the latencies are of.
    #[serde(skip_serializing_if = "str::is_empty")]
    of: &'static str,
    events: u64,
    events_per_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_us: Option<u64>,
}

impl Figures {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        // Without bounds what is longer than two milliseconds would count as the shortest there is.
        let latencies_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Self { events: 0, latencies_us: latencies_us.expect("constant bounds") }
    }

    /// Counts events.
    pub(super) fn count(&mut self, events: u64) {
        self.events += events;
    }

    /// Runs something that is about so many events, and takes its time.
    pub(super) fn time<T>(&mut self, events: u64, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        self.took(begun.elapsed());
        self.events += events;
        result
    }

    fn took(&mut self, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.latencies_us.saturating_record(micros.max(1));
    }

    /// Adds those of another.
    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.latencies_us.add(&other.latencies_us).expect("histograms of one kind");
    }

    /// What came of it.
    pub(super) fn step(&self, name: &'static str, of: &'static str, elapsed: Duration) -> Step {
        let micros = elapsed.as_micros().max(1);
        let per_s = u128::from(self.events) * 1_000_000 / micros;
        let at = |quantile| {
            (!self.latencies_us.is_empty()).then(|| self.latencies_us.value_at_quantile(quantile))
        };
        Step {
            name,
            of,
            events: self.events,
            events_per_s: u64::try_from(per_s).unwrap_or(u64::MAX),
            p50_us: at(0.5),
            p99_us: at(0.99),
        }
    }
}

impl Step {
    /// Its line in the table.
    pub(super) fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_owned(),
            self.events.to_string(),
            self.events_per_s.to_string(),
            self.p50_us.map(duration).unwrap_or_default(),
            self.p99_us.map(duration).unwrap_or_default(),
            self.of.to_owned(),
        ]
    }
}

/// Microseconds for people.
fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// A bar on a terminal: of a known length, or of what was done so far.
pub(super) fn bar(what: &str, length: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{msg} {bar:40} {pos}/{len} events, {elapsed}"),
        None => (ProgressBar::new_spinner(), "{msg} {spinner} {pos} events, {elapsed}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is fixed"));
    bar.set_message(what.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_add_up() {
        let mut all = Figures::new();
        let mut one = Figures::new();
        assert_eq!(one.time(3, || 7), 7);
        all.add(&one);
        all.count(2);
        let step = all.step("s", "", Duration::from_millis(500));
        assert_eq!((step.events, step.events_per_s), (5, 10));
        assert!(step.p50_us.is_some());
        assert!(Figures::new().step("s", "", Duration::ZERO).p99_us.is_none());
    }

    #[test]
    fn durations_are_short() {
        for (micros, text) in [(7, "7 µs"), (1_500, "1.5 ms"), (2_340_000, "2.3 s")] {
            assert_eq!(duration(micros), text);
        }
    }

    #[test]
    fn a_latency_counts_as_what_it_was() {
        for us in [1, 440, 2_047, 2_048, 17_000, 3_000_000] {
            let (mut one, mut all) = (Figures::new(), Figures::new());
            one.took(Duration::from_micros(us));
            all.add(&one);
            let p50_us = all.step("append", "an append", Duration::from_secs(1)).p50_us.unwrap();
            assert!(p50_us.abs_diff(us) <= us / 500, "{us} counts as {p50_us}");
        }
    }
}

//! What a run prints: conditions, scenarios with their targets, and how they compare with an
//! earlier run. A missed target is published like any other.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use super::rounds::{Latencies, median};
use crate::exit::Failure;
use crate::output::{Heading, Table, number, text};

/// What is asked of a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// At most the target.
    Lower,
    /// At least the target.
    Higher,
}

/// One figure with its target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// `None`: this version cannot do it; that is a missed target too.
    pub value: Option<f64>,
    /// What the value counts.
    pub unit: String,
    /// `None`: nothing was asked for; the figure stands beside those that something was asked of.
    pub target: Option<f64>,
    /// Which way is better.
    pub better: Better,
    /// Whether the target is met, where there is one.
    pub met: Option<bool>,
    /// Events a second, median of the rounds.
    pub events_per_s: Option<f64>,
    /// Median latency in µs.
    pub p50_us: Option<f64>,
    /// What 99 of 100 latencies did not exceed, in µs.
    pub p99_us: Option<f64>,
    /// Rate of the ceiling.
    pub ceiling_per_s: Option<f64>,
    /// Median latency of the ceiling, in µs.
    pub ceiling_p50_us: Option<f64>,
    /// Median of the rounds.
    pub ratio: Option<f64>,
    /// Lowest and highest of the rounds: how much the machine wavered.
    pub ratio_range: Option<(f64, f64)>,
    /// Something to know.
    pub note: Option<String>,
    /// From `--compare`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_value: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// The value over the old one.
    pub new_over_old: Option<f64>,
    /// For the plot.
    #[serde(skip)]
    pub latencies: Option<Latencies>,
}

impl Scenario {
    /// A figure that was not measured yet: a missed target.
    pub(super) fn new(name: impl Into<String>, unit: &str, better: Better, target: f64) -> Self {
        Self {
            name: name.into(),
            value: None,
            unit: unit.to_owned(),
            target: Some(target),
            better,
            met: Some(false),
            events_per_s: None,
            p50_us: None,
            p99_us: None,
            ceiling_per_s: None,
            ceiling_p50_us: None,
            ratio: None,
            ratio_range: None,
            note: None,
            old_value: None,
            new_over_old: None,
            latencies: None,
        }
    }

    /// A figure of which nothing was asked.
    pub fn without_target(name: impl Into<String>, unit: &str, better: Better) -> Self {
        Self { target: None, met: None, ..Self::new(name, unit, better, 0.0) }
    }

    /// The same with its value, judged.
    pub fn measured(mut self, value: f64) -> Self {
        self.value = Some(value);
        self.met = self.target.map(|target| match self.better {
            Better::Lower => value <= target,
            Better::Higher => value >= target,
        });
        self
    }

    /// The same with ratios to its ceiling, one of each round.
    pub fn ratios(mut self, ratios: Vec<f64>) -> Self {
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        self.ratio_range = (!ratios.is_empty()).then_some((low, high));
        self.ratio = Some(median(ratios));
        self
    }

    /// The same with latencies.
    pub fn latencies(mut self, latencies: &Latencies) -> Self {
        self.p50_us = Some(latencies.us(0.5));
        self.p99_us = Some(latencies.us(0.99));
        self.latencies = Some(latencies.clone());
        self
    }

    /// The same with something to know.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The same with something more to know.
    pub(super) fn more(self, more: &str) -> Self {
        let note = self.note.as_ref().map_or(more.to_owned(), |note| format!("{note}; {more}"));
        self.note(note)
    }
}

/// What a run prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Under which conditions.
    pub conditions: Conditions,
    /// The figures.
    pub scenarios: Vec<Scenario>,
}

impl Report {
    /// Reads one that was saved.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let failed = |error: &dyn fmt::Display| {
            Failure::failed(format!("{}: not a saved run: {error}", path.display()))
        };
        let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| failed(&error))
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let failed =
            |error: &dyn fmt::Display| Failure::failed(format!("{}: {error}", path.display()));
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| failed(&error))?;
        std::fs::write(path, bytes).map_err(|error| failed(&error))
    }

    /// Notes beside each value what it was in `old`.
    pub(super) fn compare(&mut self, old: &Self) {
        for scenario in &mut self.scenarios {
            let before = old.scenarios.iter().find(|old| old.name == scenario.name);
            scenario.old_value = before.and_then(|old| old.value);
            scenario.new_over_old = scenario
                .old_value
                .filter(|old| *old != 0.0)
                .and_then(|old| Some(scenario.value? / old));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.conditions.facts())?;
        let compared = self.scenarios.iter().any(|scenario| scenario.old_value.is_some());
        let mut columns: Vec<Heading> = vec![
            text("SCENARIO"),
            number("VALUE"),
            text("UNIT"),
            number("TARGET"),
            text("MET"),
            number("EVENTS/S"),
            number("P50 US"),
            number("P99 US"),
            number("CEILING/S"),
            number("RATIO"),
            number("ROUNDS FROM"),
            number("TO"),
        ];
        if compared {
            columns.extend([number("OLD"), number("NEW/OLD")]);
        }
        let mut table = Table::new(&columns);
        for scenario in &self.scenarios {
            let mut cells = cells(scenario);
            if compared {
                cells.extend([rounded(scenario.old_value), rounded(scenario.new_over_old)]);
            }
            table.push(cells);
        }
        f.write_str(&table.take())?;
        let notes = self.scenarios.iter().filter_map(|s| Some((&s.name, s.note.as_ref()?)));
        for (index, (name, note)) in notes.enumerate() {
            let gap = if index == 0 { "\n" } else { "" };
            writeln!(f, "{gap}{name}: {note}")?;
        }
        Ok(())
    }
}

fn cells(scenario: &Scenario) -> Vec<String> {
    let sign = match scenario.better {
        Better::Lower => "≤",
        Better::Higher => "≥",
    };
    vec![
        scenario.name.clone(),
        rounded(scenario.value),
        scenario.unit.clone(),
        scenario.target.map_or("-".to_owned(), |it| format!("{sign} {}", rounded(Some(it)))),
        scenario.met.map_or("-", |met| if met { "yes" } else { "NO" }).to_owned(),
        rounded(scenario.events_per_s),
        rounded(scenario.p50_us),
        rounded(scenario.p99_us),
        rounded(scenario.ceiling_per_s),
        rounded(scenario.ratio),
        rounded(scenario.ratio_range.map(|range| range.0)),
        rounded(scenario.ratio_range.map(|range| range.1)),
    ]
}

/// A number for people: about three digits, thousands apart.
pub(super) fn rounded(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    if value.abs() < 100.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::with_capacity(digits.len() + 4);
    for (index, digit) in digits.chars().enumerate() {
        let rest = digits.len() - index;
        if index > 0 && rest.is_multiple_of(3) && digit != '-' && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Columns of `--list`.
pub(super) fn list_columns() -> [Heading; 2] {
    [text("SCENARIO"), text("TARGET")]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(value: f64) -> Report {
        let mut latencies = Latencies::default();
        latencies.add(Duration::from_micros(120));
        let scenario = Scenario::new("append-1-writer", "x", Better::Lower, 1.25)
            .measured(value)
            .ratios(vec![1.0, 1.3, 1.2])
            .latencies(&latencies);
        let missing = Scenario::new("scan-compressed", "events/s", Better::Higher, 2.5e6)
            .note("not built yet");
        Report { conditions: Conditions::default(), scenarios: vec![scenario, missing] }
    }

    #[test]
    fn numbers_are_rounded_for_people() {
        let check = |value, expected| assert_eq!(rounded(value), expected);
        check(None, "-");
        check(Some(0.0), "0");
        check(Some(1.25), "1.25");
        check(Some(12.0), "12");
        check(Some(999.6), "1,000");
        check(Some(1_234_567.8), "1,234,568");
        check(Some(-1_234.0), "-1,234");
        check(Some(-123.0), "-123");
    }

    #[test]
    fn targets_are_judged_in_their_direction() {
        let check = |better, value, met| {
            assert_eq!(Scenario::new("s", "x", better, 4.0).measured(value).met, Some(met));
        };
        check(Better::Lower, 4.0, true);
        check(Better::Lower, 4.1, false);
        check(Better::Higher, 4.0, true);
        check(Better::Higher, 3.9, false);
        let missed = Scenario::new("s", "x", Better::Lower, 4.0).met;
        assert_eq!(missed, Some(false), "what is not measured is missed");
        let beside = Scenario::without_target("s", "x", Better::Lower).measured(4.0);
        assert_eq!((beside.target, beside.met), (None, None));
    }

    #[test]
    fn missed_targets_stand_in_the_table_and_in_the_json() {
        let report = report(1.4);
        let table = report.to_string();
        let line = table.lines().find(|line| line.starts_with("append-1-writer")).unwrap();
        assert!(line.contains("≤ 1.25") && line.contains("NO"), "{line}");
        assert!(table.contains("scan-compressed: not built yet"), "{table}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["scenarios"][0]["ratio"], 1.2);
        assert_eq!(json["scenarios"][1]["met"], false);
        assert_eq!(json["scenarios"][1]["value"], serde_json::Value::Null);
    }

    #[test]
    fn a_saved_run_is_compared_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.json");
        report(1.0).save(&path).unwrap();
        let mut new = report(1.1);
        new.compare(&Report::load(&path).unwrap());
        assert_eq!(new.scenarios[0].old_value, Some(1.0));
        assert!((new.scenarios[0].new_over_old.unwrap() - 1.1).abs() < 1e-9);
        assert_eq!(new.scenarios[1].new_over_old, None);
        assert!(new.to_string().contains("NEW/OLD"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Report::load(&path).is_err());
    }
}

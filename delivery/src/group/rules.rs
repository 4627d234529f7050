//! What becomes by itself of an event that would be parked: [`ParkedRule`].

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use nexus_protocol::group::{GroupConfig, ParkedRule, RuleEnd};
use nexus_protocol::{Position, Timestamp};

use super::later;

/// What a rule has done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruled {
    /// It is tried again later, for the so many-th time.
    Retry(u32),
    /// It is done with.
    Skip,
    /// It stays parked, and somebody is to be told.
    Alert,
}

/// What a rule has done with some events: to be kept on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuledEvents {
    /// The rule, as text.
    pub rule: String,
    /// What it did.
    pub what: Ruled,
    /// Where the events stand.
    pub positions: Vec<Position>,
}

/// What a rule says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays parked.
    Leave,
    /// It is done with.
    Skip,
    /// It is released at that time.
    Retry(Timestamp),
}

/// What rules have done, and when they let something go next.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// By rule and round: nothing more is released before.
    next: HashMap<(usize, u32), Timestamp>,
    /// By rule, of the configuration of today.
    done: BTreeMap<(usize, Ruled), Vec<Position>>,
    /// Of those before.
    done_before: Vec<RuledEvents>,
}

impl Rules {
    /// Whether an event that failed with this class, and was given so many rounds, is done with.
    pub(super) fn skips(config: &GroupConfig, class: &str, rounds: u32) -> bool {
        step(config, class, rounds)
            .is_some_and(|(_, rule, after)| after.is_none() && rule.then == RuleEnd::Skip)
    }

    /// What is to become of one.
    pub(super) fn judge(
        &mut self,
        config: &GroupConfig,
        (position, class, rounds): (u64, &str, u32),
        now: Timestamp,
    ) -> Verdict {
        let Some((index, rule, after)) = step(config, class, rounds) else {
            return Verdict::Leave;
        };
        let (what, verdict) = match (after, rule.then) {
            (Some(after), _) => {
                let mut at = later(now, after);
                if let Some(rate) = config.parked_rate {
                    let next = self.next.entry((index, rounds)).or_insert(at);
                    at = at.max(*next);
                    *next = later(at, Duration::from_secs(1) / rate.max(1));
                }
                (Ruled::Retry(rounds.saturating_add(1)), Verdict::Retry(at))
            }
            (None, RuleEnd::Leave) => return Verdict::Leave,
            (None, RuleEnd::Skip) => (Ruled::Skip, Verdict::Skip),
            (None, RuleEnd::Alert) => (Ruled::Alert, Verdict::Leave),
        };
        self.done.entry((index, what)).or_default().push(Position::new(position));
        verdict
    }

    /// Other rules may hold from now on: what those of before have done stays on record.
    pub(super) fn replaced(&mut self, before: &GroupConfig, by: &GroupConfig) {
        if (&before.parked_rules, before.parked_rate) == (&by.parked_rules, by.parked_rate) {
            return;
        }
        self.next.clear();
        let done = self.named(before);
        self.done_before.extend(done);
    }

    /// What was done since the last time.
    pub(super) fn take(&mut self, config: &GroupConfig) -> Vec<RuledEvents> {
        let mut all = std::mem::take(&mut self.done_before);
        all.extend(self.named(config));
        all
    }

    fn named(&mut self, config: &GroupConfig) -> Vec<RuledEvents> {
        let done = std::mem::take(&mut self.done).into_iter();
        done.map(|((index, what), positions)| RuledEvents {
            rule: config.parked_rules.get(index).map_or_else(String::new, ToString::to_string),
            what,
            positions,
        })
        .collect()
    }
}

/// The rule that counts, and how long it lets the event wait; `None`: it has no more tries.
fn step<'a>(
    config: &'a GroupConfig,
    class: &str,
    rounds: u32,
) -> Option<(usize, &'a ParkedRule, Option<Duration>)> {
    let mut rules = config.parked_rules.iter().enumerate();
    let (index, rule) = rules.find(|(_, rule)| rule.is_for(class))?;
    let after = usize::try_from(rounds).ok().and_then(|round| rule.retry_after.get(round));
    Some((index, rule, after.copied()))
}

impl Ruled {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry(_) => "retry",
            Self::Skip => "skip",
            Self::Alert => "alert",
        }
    }
}

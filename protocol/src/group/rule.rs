//! [`ParkedRule`]: what becomes by itself of an event that would be parked.
//!
//! A queue's redrive is somebody's work. Most of what is parked failed because something else was down for a while:
//! for that a rule tries it again in a minute, in ten, in an hour, and only then leaves it to somebody.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::answer::CLASS_BYTES_MAX;
use crate::error::Invalid;
use crate::limits::{PARKED_RULES_MAX, RULE_RETRIES_MAX, RULE_RETRY_MS_MAX};
use crate::time::{duration_from_text, duration_text};

/// The longest time that a rule lets an event wait.
pub const RULE_RETRY_MAX: Duration = Duration::from_millis(RULE_RETRY_MS_MAX);
/// What becomes by itself of an event that failed as often as it may, or whose consumer had it parked.
///
/// As text: `timeout: retry 1m, 10m, 1h, then leave`, `duplicate: skip`, `*: alert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedRule {
    /// The class of its last failure, as the consumer said it; `None`: any, and none. What was not answered in time
    /// has the class `timeout`, and what was with a consumer that was lost has `lost`.
    pub class: Option<String>,
    /// It is tried again after so long, with as many attempts as at first; when that fails, after the next of these.
    pub retry_after: Vec<Duration>,
    /// What becomes of it after the last.
    pub then: RuleEnd,
}

/// What becomes of an event for which a rule has no more tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleEnd {
    /// It stays parked until somebody decides.
    Leave,
    /// It is done with all the same, which is on record.
    Skip,
    /// It stays parked, and whoever watches is told.
    Alert,
}

impl ParkedRule {
    /// What stands for every class.
    pub const ANY: &str = "*";

    /// Whether it is for failures of a class.
    pub fn is_for(&self, class: &str) -> bool {
        self.class.as_ref().is_none_or(|its| its == class)
    }

    /// Refuses rules that cannot be, or of which one never comes to be used.
    ///
    /// # Errors
    /// What is out of its bounds.
    pub fn check_all(rules: &[Self]) -> Result<(), Invalid> {
        if rules.len() > PARKED_RULES_MAX {
            let detail = format!("a group has at most {PARKED_RULES_MAX} rules for what is parked");
            return Err(Invalid::Request(detail));
        }
        for (index, rule) in rules.iter().enumerate() {
            rule.check()?;
            let hides = |before: &&Self| before.class.is_none() || before.class == rule.class;
            if let Some(before) = rules[..index].iter().find(hides) {
                return Err(Invalid::Request(format!(
                    "the rule \"{rule}\" is never used, since \"{before}\" comes before it: leave \
                     it out, or put it first"
                )));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Invalid> {
        let problem = match &self.class {
            Some(class) if class.is_empty() || class == Self::ANY || class.trim() != class => {
                "has no class: write `*` for every one".to_owned()
            }
            Some(class) if class.len() > CLASS_BYTES_MAX => {
                format!("names a class of {} bytes: at most {CLASS_BYTES_MAX}", class.len())
            }
            Some(class) if class.chars().any(char::is_control) => {
                "names a class with control characters".to_owned()
            }
            _ if self.retry_after.len() > RULE_RETRIES_MAX => {
                format!("tries an event more than {RULE_RETRIES_MAX} times again")
            }
            _ if self.retry_after.iter().any(|it| it.is_zero() || *it > RULE_RETRY_MAX) => {
                let days = RULE_RETRY_MAX.as_secs() / 86_400;
                format!("waits for 0, or for more than {days} days")
            }
            _ => return Ok(()),
        };
        Err(Invalid::Request(format!("the rule \"{self}\" {problem}")))
    }
}

impl RuleEnd {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Skip => "skip",
            Self::Alert => "alert",
        }
    }
}

impl fmt::Display for RuleEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RuleEnd {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let all = [Self::Leave, Self::Skip, Self::Alert];
        all.into_iter().find(|end| end.as_str() == text).ok_or_else(|| {
            let detail = format!("a rule ends with `leave`, `skip`, or `alert`, not with {text:?}");
            Invalid::Request(detail)
        })
    }
}

impl fmt::Display for ParkedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.class.as_deref().unwrap_or(Self::ANY))?;
        for (index, after) in self.retry_after.iter().enumerate() {
            let before = if index == 0 { "retry " } else { ", " };
            write!(f, "{before}{}", duration_text(*after))?;
        }
        let before = if self.retry_after.is_empty() { "" } else { ", then " };
        write!(f, "{before}{}", self.then)
    }
}

impl FromStr for ParkedRule {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: &str| {
            Invalid::Request(format!(
                "{text:?} is no rule: {why}; write as in \"timeout: retry 1m, 10m, 1h, then leave\", \
                 \"duplicate: skip\", or \"*: alert\""
            ))
        };
        // A class may have a colon in it; what is done has none.
        let (class, what) = text.rsplit_once(':').ok_or_else(|| wrong("it has no class"))?;
        let class = class.trim();
        let class = (class != Self::ANY).then(|| class.to_owned());
        let mut rule = Self { class, retry_after: Vec::new(), then: RuleEnd::Leave };
        let what = what.trim();
        let Some(retries) = what.strip_prefix("retry ") else {
            rule.then = what.parse().map_err(|why: Invalid| wrong(&why.to_string()))?;
            return Ok(rule);
        };
        let mut parts = retries.split(',').map(str::trim).peekable();
        while let Some(part) = parts.next() {
            match part.strip_prefix("then ") {
                Some(end) if parts.peek().is_none() && !rule.retry_after.is_empty() => {
                    rule.then =
                        end.trim().parse().map_err(|why: Invalid| wrong(&why.to_string()))?;
                }
                Some(_) => return Err(wrong("`then` comes last, behind the times")),
                None => rule.retry_after.push(duration_from_text(part).map_err(|why| wrong(&why))?),
            }
        }
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> ParkedRule {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_is_what_is_written() {
        let minutes = |all: &[u64]| all.iter().map(|it| Duration::from_secs(it * 60)).collect();
        let expected = ParkedRule {
            class: Some("timeout".to_owned()),
            retry_after: minutes(&[1, 10, 60]),
            then: RuleEnd::Skip,
        };
        let text = "timeout: retry 1m, 10m, 1h, then skip";
        assert_eq!((rule(text), expected.to_string()), (expected, text.to_owned()));
        assert_eq!(rule(" http:503 :retry 90s").to_string(), "http:503: retry 90s, then leave");
        let any = ParkedRule { class: None, retry_after: Vec::new(), then: RuleEnd::Alert };
        assert_eq!((rule("*: alert"), any.to_string().as_str()), (any, "*: alert"));
        assert!(rule("*: skip").is_for("") && rule("a: skip").is_for("a"));
        assert!(!rule("a: skip").is_for("") && !rule("a: skip").is_for("ab"));
    }

    #[test]
    fn what_is_no_rule_says_how_one_is_written() {
        for bad in [
            "",
            "timeout",
            "a: never",
            "a: retry",
            "a: retry ,",
            "a: retry 1d",
            "a: retry 1m then skip",
            "a: retry then skip",
            "a: retry 1m, then skip, 2m",
            "a: retry 1m, then",
            "a: then skip",
        ] {
            let why = bad.parse::<ParkedRule>().unwrap_err().to_string();
            assert!(why.contains("is no rule") && why.contains("1h, then leave"), "{bad}: {why}");
        }
    }

    #[test]
    fn rules_are_bounded_and_each_is_used() {
        let check = |rules: &[&str]| {
            ParkedRule::check_all(&rules.iter().map(|text| rule(text)).collect::<Vec<_>>())
        };
        assert_eq!(check(&["a: skip", "b: retry 720h", "*: alert"]), Ok(()));
        let long = format!("{}: skip", "x".repeat(CLASS_BYTES_MAX + 1));
        let often = format!("a: retry {}", ["1s"; RULE_RETRIES_MAX + 1].join(", "));
        let many: Vec<_> = (0..=PARKED_RULES_MAX).map(|at| format!("{at}: skip")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        for bad in [
            &["*: skip", "a: skip"][..],
            &["a: skip", "a: alert"],
            &[": skip"],
            &["a\nb: skip"],
            &["a: retry 0s"],
            &["a: retry 721h"],
            &[&*long],
            &[&*often],
            &many,
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}

//! [`Quotas`]: how much a principal may do in a namespace in a second.
//!
//! A generic cell rate algorithm (as in ATM Forum TM 4.1, virtual scheduling): for each principal,
//! namespace, and measure one time is kept, the one at which all that was admitted would have been due at
//! the rate. Who is at most a second ahead of it is let in. What is let in is taken whole, whatever its
//! size, and paid off before the next: an append is never too large for a rate.
//!
//! Invariants: I8 (places are bounded). Whoever asks knows the time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What may be saved up: a second's worth.
const BURST: Duration = Duration::from_secs(1);
/// No debt is longer. None that can be asked for is: the largest body, 2^30 bytes, is paid off in 34 years at
/// a byte a second. It only keeps times within what a clock can say.
const DEBT_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Principals in namespaces whose use is remembered at a time. Those that are not ahead are forgotten
/// first.
const PLACES_MAX: usize = 65_536;

/// How much a principal may do in a namespace in a second. 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Events that are appended; a snapshot, or a change of a stream, is one too.
    pub events_per_s: u64,
    /// Bytes of their data and metadata. A change of a stream counts none.
    pub bytes_per_s: u64,
    /// Reads, subscriptions, and questions; a page counts as one.
    pub reads_per_s: u64,
}

impl Quota {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// An append of so many events and bytes.
    Append {
        /// How many events.
        events: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// A read, a subscription, or a question.
    Read,
}

/// When what was admitted is paid off, of each measure.
#[derive(Clone, Copy, Debug)]
struct Account {
    events: Instant,
    bytes: Instant,
    reads: Instant,
}

/// The use of all principals.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    quota: Quota,
    accounts: Mutex<HashMap<(String, String), Account>>,
}

impl Quotas {
    pub(crate) fn new(quota: Quota) -> Self {
        Self { quota, accounts: Mutex::default() }
    }

    /// Whether this may be done now; if not, when to ask again.
    pub(crate) fn admit(
        &self,
        principal: &str,
        namespace: &str,
        asked: Use,
        now: Instant,
    ) -> Result<(), Duration> {
        if self.quota.is_none() {
            return Ok(());
        }
        // A whole value is written at once: there is nothing that a panic could leave half done.
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (principal.to_owned(), namespace.to_owned());
        if accounts.len() >= PLACES_MAX && !accounts.contains_key(&key) {
            accounts.retain(|_, account| account.is_ahead_of(now));
            if accounts.len() >= PLACES_MAX {
                return Err(BURST);
            }
        }
        let account =
            accounts.entry(key).or_insert(Account { events: now, bytes: now, reads: now });
        let quota = &self.quota;
        let costs = match asked {
            Use::Append { events, bytes } => [
                (&mut account.events, events, quota.events_per_s),
                (&mut account.bytes, bytes, quota.bytes_per_s),
            ],
            Use::Read => [(&mut account.reads, 1, quota.reads_per_s), (&mut account.bytes, 0, 0)],
        };
        let ahead = costs.iter().filter(|(_, _, rate)| *rate > 0);
        let ahead = ahead.map(|(due, _, _)| due.saturating_duration_since(now)).max();
        let too_far = ahead.unwrap_or_default().saturating_sub(BURST);
        if !too_far.is_zero() {
            return Err(too_far);
        }
        for (due, amount, rate) in costs {
            *due = (*due).max(now) + time_for(amount, rate);
        }
        Ok(())
    }
}

impl Account {
    fn is_ahead_of(&self, now: Instant) -> bool {
        [self.events, self.bytes, self.reads].iter().any(|due| *due > now)
    }
}

/// How long so much takes at a rate; nothing where there is no limit.
fn time_for(amount: u64, rate: u64) -> Duration {
    if rate == 0 {
        return Duration::ZERO;
    }
    let nanos = u128::from(amount) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(DEBT_MAX)
}

#[cfg(test)]
mod tests {
    use nexus_protocol::limits::{APPEND_BYTES_MAX, APPEND_EVENTS_MAX};

    use super::*;

    fn append(events: u64, bytes: u64) -> Use {
        Use::Append { events, bytes }
    }

    #[test]
    fn a_rate_is_kept_over_time_and_a_second_of_it_may_be_saved_up() {
        let quotas = Quotas::new(Quota { events_per_s: 100, ..Quota::default() });
        let start = Instant::now();
        let mut admitted = 0;
        for milli in 0..10_000 {
            let now = start + Duration::from_millis(milli);
            admitted += u32::from(quotas.admit("p", "n", append(1, 1000), now).is_ok());
        }
        // 100 for each of ten seconds, and those that were saved up: one more is let in at the edge.
        assert!((1_100..=1_101).contains(&admitted), "{admitted}");
    }

    #[test]
    fn what_is_larger_than_the_rate_is_let_in_and_paid_off() {
        let quotas = Quotas::new(Quota { bytes_per_s: 1_000, ..Quota::default() });
        let start = Instant::now();
        assert_eq!(quotas.admit("p", "n", append(1, 10_000), start), Ok(()));
        let refused = quotas.admit("p", "n", append(1, 1), start);
        assert_eq!(refused, Err(Duration::from_secs(9)), "ten seconds, less what may be saved up");
        let later = start + Duration::from_secs(9);
        assert_eq!(quotas.admit("p", "n", append(1, 1), later), Ok(()));
    }

    #[test]
    fn the_largest_append_at_the_lowest_rate_is_paid_off_whole() {
        let quotas = Quotas::new(Quota { events_per_s: 1, bytes_per_s: 1, reads_per_s: 0 });
        let start = Instant::now();
        let largest =
            [(APPEND_EVENTS_MAX, "events"), (APPEND_BYTES_MAX, "bytes"), (1 << 30, "body")];
        for (amount, namespace) in largest {
            let amount = amount as u64;
            assert_eq!(quotas.admit("p", namespace, append(amount, amount), start), Ok(()));
            let paid_off = Duration::from_secs(amount - 1);
            let refused = quotas.admit("p", namespace, append(1, 1), start);
            assert_eq!(refused, Err(paid_off), "all of it, less what may be saved up");
            assert_eq!(quotas.admit("p", namespace, append(1, 1), start + paid_off), Ok(()));
        }
        // More than anything that can be asked for is still a time.
        assert_eq!(quotas.admit("p", "n", append(u64::MAX, u64::MAX), start), Ok(()));
        assert!(quotas.admit("p", "n", append(1, 1), start).is_err());
    }

    #[test]
    fn principals_namespaces_and_measures_are_each_on_their_own() {
        let quota = Quota { events_per_s: 1, bytes_per_s: 0, reads_per_s: 1 };
        let quotas = Quotas::new(quota);
        let now = Instant::now();
        let spend = |principal, namespace, asked| {
            (0..10).filter(|_| quotas.admit(principal, namespace, asked, now).is_ok()).count()
        };
        assert_eq!(spend("p", "n", append(1, u64::MAX)), 2);
        assert_eq!(spend("p", "n", Use::Read), 2);
        assert_eq!(spend("p", "m", append(1, 0)), 2);
        assert_eq!(spend("q", "n", append(1, 0)), 2);
        assert_eq!(spend("p", "n", append(1, 0)), 0);
        let none = Quotas::new(Quota::default());
        assert!((0..100).all(|_| none.admit("p", "n", append(1 << 40, 1 << 40), now).is_ok()));
    }

    #[test]
    fn places_are_bounded_and_those_that_are_paid_off_are_forgotten() {
        let quotas = Quotas::new(Quota { reads_per_s: 1, ..Quota::default() });
        let now = Instant::now();
        for number in 0..PLACES_MAX {
            assert_eq!(quotas.admit(&number.to_string(), "n", Use::Read, now), Ok(()));
        }
        assert!(quotas.admit("one more", "n", Use::Read, now).is_err());
        let later = now + Duration::from_secs(2);
        assert_eq!(quotas.admit("one more", "n", Use::Read, later), Ok(()));
        assert_eq!(quotas.accounts.lock().unwrap().len(), 1);
    }
}

//! When to try again: later each time, and never all at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(2);

/// Exponential back-off with jitter.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// Which try the next one is, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.tries.saturating_add(1)
    }

    /// How long to wait before the next try: half of it is chance, so that the clients of a server that
    /// went away do not come back together.
    pub(crate) fn next(&mut self) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.tries.min(16)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        let (chance, _) = uuid::Uuid::new_v4().as_u64_pair();
        let half_us = u64::try_from(longest.as_micros() / 2).expect("seconds");
        Duration::from_micros(half_us + chance % half_us.max(1))
    }

    /// Waits.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.attempt(), 1);
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert_eq!(backoff.attempt(), 41);
        assert!(waits[0] < FIRST && waits[0] >= FIRST / 2);
        assert!(waits.iter().all(|wait| *wait < LONGEST));
        assert!(waits[20..].iter().all(|wait| *wait >= LONGEST / 2));
    }
}

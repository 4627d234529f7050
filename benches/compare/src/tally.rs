//! [`Tally`]: which events were delivered and acknowledged, and when. A store is compared only where it did all of its
//! work, and none of it twice.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nexus_cli::measuring::{Failure, Latencies};
use tokio::sync::Notify;

/// What became of each event of a turn.
#[derive(Debug)]
pub(crate) struct Tally {
    state: Mutex<State>,
    done: Notify,
}

#[derive(Debug)]
struct State {
    delivered: Vec<bool>,
    twice: u64,
    unknown: u64,
    acked: u64,
    last: Instant,
    latencies: Latencies,
}

impl Tally {
    /// Of events with the numbers 0 to `events`.
    pub(crate) fn new(events: u64) -> Self {
        let state = State {
            delivered: vec![false; usize::try_from(events).unwrap_or(0)],
            twice: 0,
            unknown: 0,
            acked: 0,
            last: Instant::now(),
            latencies: Latencies::default(),
        };
        Self { state: Mutex::new(state), done: Notify::new() }
    }

    /// These were delivered, and so many of them acknowledged just now, which was answered; `since` says when the way
    /// of each began.
    pub(crate) fn add(&self, numbers: &[Option<u64>], acked: u64, since: impl Fn(u64) -> Instant) {
        let now = Instant::now();
        let mut state = self.state();
        for number in numbers {
            let index = number.and_then(|number| usize::try_from(number).ok());
            match index.and_then(|index| state.delivered.get_mut(index)) {
                Some(delivered) if *delivered => state.twice += 1,
                Some(delivered) => {
                    *delivered = true;
                    let begun = since(number.unwrap_or_default());
                    state.latencies.add(now.saturating_duration_since(begun));
                }
                None => state.unknown += 1,
            }
        }
        state.acked += acked;
        state.last = state.last.max(now);
        if state.acked >= state.delivered.len() as u64 {
            self.done.notify_one();
        }
    }

    /// Waits until as many are acknowledged as there are.
    pub(crate) async fn done(&self) {
        self.done.notified().await;
    }

    /// When the last was acknowledged, and how long each took.
    ///
    /// # Errors
    /// When not each was delivered and acknowledged once.
    pub(crate) fn settled(&self) -> Result<(Instant, Latencies), Failure> {
        let state = self.state();
        let events = state.delivered.len() as u64;
        let missing = state.delivered.iter().filter(|delivered| !**delivered).count();
        let counts = (missing, state.twice, state.unknown, state.acked);
        if counts != (0, 0, 0, events) {
            let (missing, twice, unknown, acked) = counts;
            return Err(Failure::failed(format!(
                "of {events} events {missing} were not delivered, {twice} twice, {unknown} were others, and {acked} \
                 acknowledgements counted"
            )));
        }
        Ok((state.last, state.latencies.clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_counts_once_and_all_have_to() {
        let since = |_| Instant::now();
        let check = |adds: &[(&[Option<u64>], u64)], refused: Option<&str>| {
            let tally = Tally::new(3);
            adds.iter().for_each(|(numbers, acked)| tally.add(numbers, *acked, since));
            match (tally.settled(), refused) {
                (Ok((_, latencies)), None) => assert_eq!(latencies.count(), 3),
                (Err(failure), Some(why)) => {
                    let failure = format!("{failure:?}");
                    assert!(failure.contains(why), "{failure}");
                }
                (settled, refused) => panic!("{settled:?}, not {refused:?}"),
            }
        };
        check(&[(&[Some(2), Some(0)], 2), (&[Some(1)], 1)], None);
        check(&[(&[Some(2), Some(0)], 2)], Some("1 were not delivered"));
        check(&[(&[Some(2), Some(0), Some(2)], 3), (&[Some(1)], 1)], Some("1 twice"));
        check(&[(&[Some(2), Some(0), Some(1)], 2)], Some("2 acknowledgements"));
        check(&[(&[Some(2), Some(0), Some(1), Some(3), None], 3)], Some("2 were others"));
    }
}

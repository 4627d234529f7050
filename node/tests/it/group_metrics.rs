//! What is told of a group is how it is: behind, at work, tried again, with something parked. What stalls takes a minute of
//! the clock, which only the tests of `delivery` set.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nexus_node::{Access, Principal};
use nexus_protocol::group::{
    Backoff, Delivery, DeliveryToken, Failure, GroupConfig, GroupStart, Nack, NackAction,
    ParkedPick,
};
use nexus_protocol::{Append, EventData, Filter};
use nexus_testing::executor::block_on;

use crate::metrics::{node, samples};

/// Longer than anything takes that is waited for.
const SOON: Duration = Duration::from_secs(30);

/// How a group is said to be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Told {
    lag: f64,
    in_flight: f64,
    consumers: f64,
    stalled: f64,
    delivered: f64,
    redelivered: f64,
    acked: f64,
    parked: f64,
}

impl Told {
    fn of(samples: &BTreeMap<String, f64>, group: &str) -> Self {
        let by = |name: &str, label: &str| {
            let sample = format!("nexus_{name}{{namespace=\"default\",{label}{group}\"}}");
            samples.get(&sample).copied().unwrap_or_else(|| panic!("no {sample}"))
        };
        let of_group = |name: &str| by(&format!("group_{name}"), "group=\"");
        Self {
            lag: of_group("lag_events"),
            in_flight: of_group("in_flight"),
            consumers: of_group("consumers"),
            stalled: of_group("stalled"),
            delivered: of_group("delivered_total"),
            redelivered: of_group("redelivered_total"),
            acked: of_group("acked_total"),
            parked: by("parked", "source=\"group:"),
        }
    }
}

/// A group, which tells how it is a moment after it has answered.
struct Watched {
    node: nexus_node::Node,
    access: Access,
}

impl Watched {
    fn new(config: &GroupConfig) -> Self {
        let node = node();
        let access = node.access(Principal::local(), "default").unwrap();
        access.set_group("mail", config).unwrap();
        // It is opened when it is asked something.
        access.group("mail").unwrap();
        Self { node, access }
    }

    fn append(&self, stream: &str, events: usize) {
        let event = || EventData::new("Sent", "text/plain", "x".into());
        let append = Append::to(stream).events((0..events).map(|_| event()));
        self.access.append(append).unwrap().wait().unwrap();
    }

    /// So many deliveries.
    fn take(&self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let received = self.access.receive("mail", "a", count - taken.len(), SOON);
            let more = block_on(received).unwrap().deliveries().unwrap();
            assert!(!more.is_empty(), "it comes soon");
            taken.extend(more);
        }
        taken
    }

    fn ack(&self, taken: &[Delivery]) {
        let answered = block_on(self.access.ack("mail", Some("a"), tokens(taken))).unwrap();
        assert_eq!(answered.done, taken.len() as u64);
    }

    fn nack(&self, taken: &[Delivery], action: NackAction) {
        let nack = Nack { action, failure: Failure::new("nobody is there") };
        let answered = block_on(self.access.nack("mail", Some("a"), tokens(taken), nack)).unwrap();
        assert_eq!(answered.done, taken.len() as u64);
    }

    /// Looks until this is told, which is soon.
    fn tells(&self, expected: Told) {
        let late = Instant::now() + SOON;
        loop {
            let told = Told::of(&samples(&self.node), "mail");
            if told == expected {
                return;
            }
            assert!(Instant::now() < late, "{told:?} instead of {expected:?}");
            std::thread::yield_now();
        }
    }
}

fn tokens(taken: &[Delivery]) -> Vec<DeliveryToken> {
    taken.iter().map(|it| it.token).collect()
}

fn config() -> GroupConfig {
    let short = Duration::from_millis(1);
    let backoff = Backoff { initial: short, max: short };
    GroupConfig { filter: Filter::category("mail"), backoff, ..GroupConfig::default() }
}

#[test]
fn a_group_tells_how_far_behind_it_is_and_what_came_again() {
    let watched = Watched::new(&config());
    watched.tells(Told::default());
    (0..3).for_each(|key| watched.append(&format!("mail-{key}"), 2));
    watched.append("other-1", 5);
    let taken = watched.take(3);
    let now = Told { lag: 6.0, in_flight: 3.0, consumers: 1.0, delivered: 3.0, ..Told::default() };
    watched.tells(now);
    // One is done, and one comes again until it is done, too.
    watched.ack(&taken[..1]);
    let second = watched.take(1);
    watched.tells(Told { lag: 5.0, delivered: 4.0, acked: 1.0, ..now });
    for again in 1..=3 {
        let failed = if again == 1 { taken[1..2].to_vec() } else { watched.take(1) };
        watched.nack(&failed, NackAction::Retry(None));
        let before = f64::from(again - 1);
        let (delivered, redelivered) = (4.0 + before, before);
        watched.tells(Told { lag: 5.0, in_flight: 2.0, delivered, redelivered, acked: 1.0, ..now });
    }
    let again = watched.take(1);
    assert_eq!(again[0].attempt, 4);
    watched.ack(&[&again[..], &second, &taken[2..]].concat());
    let rest = watched.take(2);
    watched.ack(&rest);
    let done =
        Told { consumers: 1.0, delivered: 9.0, redelivered: 3.0, acked: 6.0, ..Told::default() };
    watched.tells(done);
    // Sent back, it is behind again, and nothing is a second try.
    watched.access.seek_group("mail", GroupStart::Beginning).unwrap();
    watched.tells(Told { lag: 6.0, ..done });
    watched.ack(&watched.take(3));
    watched.tells(Told { lag: 3.0, delivered: 12.0, acked: 9.0, ..done });
    block_on(watched.access.leave("mail", "a", false)).unwrap();
    watched.tells(Told { lag: 3.0, consumers: 0.0, delivered: 12.0, acked: 9.0, ..done });
}

#[test]
fn a_group_tells_what_it_has_parked_until_that_is_done_or_given_up() {
    let watched = Watched::new(&config());
    (0..3).for_each(|key| watched.append(&format!("mail-{key}"), 1));
    let taken = watched.take(3);
    watched.nack(&taken[..2], NackAction::Park);
    let now = Told {
        lag: 1.0,
        in_flight: 1.0,
        consumers: 1.0,
        delivered: 3.0,
        parked: 2.0,
        ..Told::default()
    };
    watched.tells(now);
    // What comes behind one of them is parked with it.
    watched.append(taken[0].event.stream(), 4);
    watched.tells(Told { parked: 6.0, ..now });
    let (first, second) = (taken[0].token.position, taken[1].token.position);
    let one = |position| ParkedPick::Positions(vec![position]);
    assert_eq!(watched.access.skip_parked("mail", one(second)).unwrap(), 1);
    watched.tells(Told { parked: 5.0, ..now });
    assert_eq!(watched.access.replay_parked("mail", one(first), None).unwrap(), 1);
    let again = watched.take(1);
    assert_eq!((again[0].token.position, again[0].attempt), (first, 2));
    let now = Told { in_flight: 2.0, delivered: 4.0, redelivered: 1.0, parked: 5.0, ..now };
    watched.tells(now);
    watched.ack(&again);
    let behind = watched.take(1);
    watched.tells(Told { delivered: 5.0, acked: 1.0, parked: 4.0, ..now });
    watched.ack(&behind);
    watched.tells(Told { in_flight: 1.0, delivered: 5.0, acked: 2.0, parked: 3.0, ..now });
}

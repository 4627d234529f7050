//! The troubles that users of other stores had with their consumer groups, each once.

mod ahead;
mod bounds;
mod held;
mod lanes;
mod memory;
mod pauses;
mod rules;

use std::time::Duration;

use nexus_delivery::group::{
    Change, Delivery, Group, HEARTBEAT_MAX, MEMBERS_MAX, Offered, State, TooManyConsumers,
};
use nexus_delivery::parked::Standing;
use nexus_protocol::group::{
    Backoff, DeliveryToken, ERROR_BYTES_MAX, Failure, GroupConfig, GroupMode, Nack, NackAction,
    Refused,
};
use nexus_protocol::{Position, Timestamp};

use crate::model::later;

/// A group, the time, and what is written down.
struct Bench {
    config: GroupConfig,
    group: Group,
    written: State,
    now: Timestamp,
}

fn ordered(lanes: u32) -> GroupConfig {
    GroupConfig {
        mode: GroupMode::Ordered,
        lanes,
        ack_deadline: Duration::from_secs(1),
        max_attempts: 2,
        backoff: Backoff { initial: Duration::from_millis(10), max: Duration::from_millis(10) },
        ..GroupConfig::default()
    }
}

impl Bench {
    fn new(config: GroupConfig) -> Self {
        let written = State::starting_at(Position::ZERO);
        let group = Group::restore(config.clone(), written.clone()).unwrap();
        Self { config, group, written, now: Timestamp::from_micros(0) }
    }

    /// Offers the log, which has an event for each of these keys, from where the group reads.
    fn feed(&mut self, keys: &[u64]) {
        let from = self.group.reads_from().get();
        for (position, key) in (0..).zip(keys).skip_while(|(position, _)| *position < from) {
            let position = Position::new(position);
            self.group.offer(Offered { position, key: *key, not_before: None }, self.now);
        }
    }

    fn receive(&mut self, consumer: &str) -> Vec<Delivery> {
        self.group.receive(consumer, 100, self.now).unwrap()
    }

    fn positions(&mut self, consumer: &str) -> Vec<u64> {
        self.receive(consumer).iter().map(|it| it.token.position.get()).collect()
    }

    fn ack(&mut self, consumer: &str, delivery: &Delivery) {
        self.group.ack(consumer, delivery.token, self.now).unwrap();
    }

    fn nack(&mut self, consumer: &str, delivery: &Delivery, action: NackAction) {
        let nack = Nack { action, failure: Failure::new("it is poison") };
        self.group.nack(consumer, delivery.token, nack, self.now).unwrap();
    }

    fn pass(&mut self, time: Duration) {
        self.now = later(self.now, time);
        self.group.tick(self.now);
    }

    fn write(&mut self) {
        if let Some(record) = self.group.record() {
            self.written.apply(&record);
        }
    }

    /// What is not written down is lost.
    fn crash(&mut self) {
        self.group = Group::restore(self.config.clone(), self.written.clone()).unwrap();
    }

    fn floor(&self) -> u64 {
        self.group.stats().floor.get()
    }
}

#[test]
fn a_nack_does_not_break_the_order_of_a_key_and_other_keys_go_on() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1, 1, 2, 1, 2]);
    let [first, other] = &*bench.receive("a") else { panic!("one of each key") };
    bench.nack("a", first, NackAction::Retry(Some(Duration::from_secs(5))));
    bench.ack("a", other);
    let next = bench.receive("a");
    assert_eq!(next.iter().map(|it| it.token.position.get()).collect::<Vec<_>>(), [4]);
    bench.ack("a", &next[0]);
    assert_eq!(bench.positions("a"), [] as [u64; 0], "what is behind the first waits for it");
    bench.pass(Duration::from_secs(5));
    let again = bench.receive("a");
    assert_eq!((again[0].token.position.get(), again[0].attempt), (0, 2));
    bench.ack("a", &again[0]);
    assert_eq!(bench.positions("a"), [1]);
}

#[test]
fn an_old_owner_cannot_answer_for_what_another_has_now() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1]);
    let old = bench.receive("a");
    // It is paused for longer than a consumer may be silent, and comes back.
    bench.group.join("b", later(bench.now, HEARTBEAT_MAX / 2)).unwrap();
    bench.pass(HEARTBEAT_MAX);
    let new = bench.receive("b");
    assert_eq!((new[0].token.position.get(), new[0].attempt), (0, 2));
    for consumer in ["a", "nobody"] {
        let refused = bench.group.ack(consumer, old[0].token, bench.now);
        assert_eq!(refused, Err(Refused::OtherOwner));
    }
    let stolen = bench.group.ack("a", new[0].token, bench.now);
    assert_eq!(stolen, Err(Refused::OtherOwner));
    bench.ack("b", &new[0]);
    assert_eq!(bench.group.ack("b", new[0].token, bench.now), Err(Refused::AlreadyAcked));
}

#[test]
fn an_answer_that_is_late_does_not_count_for_the_next_delivery() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1]);
    let late = bench.receive("a");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.group.ack("a", late[0].token, bench.now), Err(Refused::Expired));
    let again = bench.receive("a");
    assert_eq!(bench.group.ack("a", late[0].token, bench.now), Err(Refused::Expired));
    bench.ack("a", &again[0]);
}

#[test]
fn a_lane_is_drained_before_it_moves_and_nothing_is_stuck_behind_it() {
    let mut bench = Bench::new(ordered(2));
    bench.feed(&[0, 1, 0, 1]);
    let [even, odd] = &*bench.receive("a") else { panic!("both lanes are its own") };
    assert_eq!((even.lane, odd.lane), (0, 1));
    // One lane is to move to the newcomer, which has to wait.
    assert_eq!(bench.positions("b"), [] as [u64; 0]);
    assert_eq!(bench.group.consumers(), [("a", 1, 2), ("b", 1, 0)]);
    bench.ack("a", even);
    bench.ack("a", odd);
    let (of_a, of_b) = (bench.receive("a"), bench.receive("b"));
    let mut all: Vec<_> = of_a.iter().chain(&of_b).map(|it| it.token.position.get()).collect();
    all.sort_unstable();
    assert_eq!((all, of_a.len(), of_b.len()), (vec![2, 3], 1, 1));
    // The newcomer goes, with what it has: the other has all again.
    bench.group.leave("b", bench.now);
    assert_eq!(bench.receive("a").len(), 1);
    assert_eq!(bench.group.consumers(), [("a", 2, 2)]);
}

#[test]
fn what_is_stuck_holds_the_floor_and_nothing_else() {
    let mut bench = Bench::new(ordered(4));
    let keys: Vec<u64> = (0..1_000).map(|position| u64::from(position != 0)).collect();
    bench.feed(&keys);
    let stuck = bench.receive("a");
    let mut current = vec![stuck[1]];
    while let Some(delivery) = current.pop() {
        bench.ack("a", &delivery);
        current.extend(bench.receive("a"));
    }
    assert_eq!((bench.floor(), bench.group.stats().open), (0, 1));
    bench.write();
    bench.crash();
    bench.feed(&keys);
    // Of all that was done behind it nothing is done again.
    assert_eq!(bench.positions("a"), [0]);
    assert_eq!(bench.group.stats().next.get(), 1_000);
}

#[test]
fn what_is_parked_holds_up_its_key_only_and_nothing_is_parked_twice() {
    let mut bench = Bench::new(ordered(1));
    let keys = [1, 1, 2, 1];
    bench.feed(&keys);
    for _ in 0..2 {
        let poison = bench.receive("a").into_iter().find(|it| it.token.position == Position::ZERO);
        bench.nack("a", &poison.unwrap(), NackAction::Retry(None));
        bench.pass(Duration::from_millis(10));
    }
    let parked: Vec<_> =
        bench.group.state().parked().iter().map(|(at, aside)| (at, aside.standing())).collect();
    let behind = Standing::Behind;
    assert_eq!(parked, [(0, Standing::Failed), (1, behind), (3, behind)]);
    bench.write();
    bench.crash();
    bench.feed(&keys);
    let other = bench.receive("a");
    assert_eq!(other[0].token.position.get(), 2, "the other key goes on");
    bench.ack("a", &other[0]);
    assert_eq!((bench.floor(), bench.group.stats().parked), (4, 3));
    // It fails again as often as at first, and is one entry as before.
    assert_eq!(bench.group.replay([Position::ZERO], Duration::ZERO, bench.now), 1);
    for attempt in 3..=4 {
        let poison = bench.receive("a");
        assert_eq!((poison[0].token.position.get(), poison[0].attempt), (0, attempt));
        bench.nack("a", &poison[0], NackAction::Retry(None));
        bench.pass(Duration::from_millis(10));
    }
    assert_eq!((bench.floor(), bench.group.stats().parked), (4, 3));
    assert_eq!(bench.group.state().parked().entry(0).unwrap().attempts, 4);
    // It is processed at last, and what came behind it follows in order, without being asked for.
    bench.group.replay([Position::ZERO], Duration::ZERO, bench.now);
    for position in [0, 1, 3] {
        let next = bench.receive("a");
        assert_eq!(next[0].token.position.get(), position);
        bench.ack("a", &next[0]);
    }
    assert_eq!((bench.floor(), bench.group.stats().parked), (4, 0));
}

#[test]
fn what_was_replayed_after_a_group_was_sent_back_stays_done() {
    let mut bench = Bench::new(ordered(1));
    let keys = [1, 2];
    bench.feed(&keys);
    let both = bench.receive("a");
    bench.ack("a", &both[0]);
    bench.nack("a", &both[1], NackAction::Park);
    bench.write();
    bench.group.seek(Position::ZERO);
    bench.feed(&keys);
    bench.group.replay([Position::new(1)], Duration::ZERO, bench.now);
    let replayed = bench.receive("a");
    let replayed = replayed.iter().find(|it| it.token.position.get() == 1).unwrap();
    bench.ack("a", replayed);
    // Nothing but the replay says that it is done.
    bench.write();
    bench.crash();
    bench.feed(&keys);
    assert_eq!(bench.positions("a"), [0]);
}

#[test]
fn an_event_that_retention_took_away_stops_nobody() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1, 1, 2]);
    let first = bench.receive("a");
    bench.ack("a", &first[1]);
    bench.write();
    bench.crash();
    // Of the first key nothing is left in the log.
    bench.group.pass(Position::new(3));
    assert_eq!(bench.group.stats().floor, Position::new(3));
    assert_eq!(bench.positions("a"), [] as [u64; 0]);
}

#[test]
fn a_consumer_that_takes_and_never_answers_parks_what_it_took() {
    let config = GroupConfig { mode: GroupMode::Unordered, max_in_flight: 2, ..ordered(1) };
    let mut bench = Bench::new(config);
    bench.feed(&[7, 7, 7]);
    for _ in 0..2 {
        assert_eq!(bench.receive("a").len(), 2, "no more than may be in flight");
        bench.pass(Duration::from_secs(1));
    }
    // Two or three were tried twice: those are parked, and nothing is lost.
    let stats = bench.group.stats();
    assert_eq!(stats.parked + stats.open, 3);
    assert!(stats.parked >= 1 && stats.in_flight == 0, "{stats:?}");
    let failure =
        bench.group.state().parked().iter().next().unwrap().1.entry().unwrap().failure.clone();
    assert_eq!(failure.message, "no answer came in time");
}

#[test]
fn much_behind_one_stuck_event_does_not_hide_what_comes_after() {
    const BEHIND: u64 = 100_000;
    let mut bench = Bench::new(ordered(4));
    let mut fed = 0;
    let mut feed = |bench: &mut Bench, until: u64| {
        while fed < until && bench.group.wants_more() {
            let (position, key) = (Position::new(fed), u64::from(fed == BEHIND));
            bench.group.offer(Offered { position, key, not_before: None }, bench.now);
            fed += 1;
        }
        fed
    };
    feed(&mut bench, 1);
    assert_eq!(bench.positions("a"), [0], "it is taken, and never answered");
    // Whoever asks for more has more read, until there is some.
    for _ in 0..=BEHIND / 4_096 {
        feed(&mut bench, BEHIND + 1);
        if bench.positions("a") == [BEHIND] {
            return;
        }
    }
    panic!("nothing came: {:?}", bench.group.stats());
}

#[test]
fn no_more_is_read_than_somebody_takes() {
    let mut bench = Bench::new(ordered(4));
    let mut fed = 0;
    while bench.group.wants_more() {
        let (position, key) = (Position::new(fed), fed);
        bench.group.offer(Offered { position, key, not_before: None }, bench.now);
        fed += 1;
    }
    assert_eq!(fed, 16_384);
    assert_eq!(bench.receive("a").len(), 100);
    assert!(bench.group.wants_more());
}

#[test]
fn a_consumer_that_is_slow_does_not_stop_the_others() {
    const EVENTS: u64 = 100_000;
    let mut bench = Bench::new(GroupConfig { max_in_flight_per_lane: 10, ..ordered(2) });
    bench.group.join("a", bench.now).unwrap();
    bench.group.join("b", bench.now).unwrap();
    let (mut fed, mut done, mut idle) = (0, 0, 0);
    assert_eq!(bench.receive("a").len(), 0);
    while idle < 3 {
        while fed < EVENTS && bench.group.wants_more() {
            let offered = Offered { position: Position::new(fed), key: fed, not_before: None };
            bench.group.offer(offered, bench.now);
            fed += 1;
        }
        // One takes what it may, and answers nothing; the other is done with all that is its own.
        bench.receive("a");
        let its = bench.receive("b");
        its.iter().for_each(|delivery| bench.ack("b", delivery));
        done += its.len() as u64;
        idle = if its.is_empty() { idle + 1 } else { 0 };
    }
    assert_eq!((fed, done), (EVENTS, EVENTS / 2));
}

#[test]
fn a_consumer_at_work_is_a_member_for_as_long_as_it_may_be() {
    let mut bench = Bench::new(GroupConfig { ack_deadline: HEARTBEAT_MAX * 4, ..ordered(1) });
    bench.feed(&[1, 2]);
    let taken = bench.receive("a");
    bench.receive("b");
    bench.pass(HEARTBEAT_MAX * 3);
    // The other was not heard of, and has nothing: it is gone. This one has its work, and time for it.
    assert_eq!(bench.group.consumers(), [("a", 1, 2)]);
    bench.ack("a", &taken[0]);
    bench.pass(HEARTBEAT_MAX);
    assert_eq!(bench.group.stats().in_flight, 0, "the time for the second is over");
    assert_eq!(bench.group.consumers(), [] as [(&str, u32, u32); 0]);
    assert_eq!(bench.group.next_tick(), None);
}

#[test]
fn a_group_is_not_kept_busy_by_what_it_writes_down() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1]);
    let taken = bench.receive("a");
    bench.ack("a", &taken[0]);
    assert!(bench.group.record().is_some());
    // The record is an event of the log, which is not the group's.
    bench.group.pass(Position::new(2));
    assert_eq!(bench.group.record(), None);
}

#[test]
fn consumers_are_bounded() {
    let mut bench = Bench::new(ordered(4));
    for number in 0..MEMBERS_MAX {
        bench.group.join(&format!("c{number}"), bench.now).unwrap();
    }
    assert_eq!(bench.group.receive("one more", 1, bench.now), Err(TooManyConsumers));
    bench.group.leave("c7", bench.now);
    assert!(bench.group.join("one more", bench.now).is_ok());
}

//! A naive model of what a group promises, that goes beside it and checks each delivery and each answer.
//!
//! It knows every event of a small log, what was acknowledged, and what is with whom. It has no lanes, no queues, and no
//! timers: it looks through everything each time.

mod answers;
mod checks;
mod faults;
mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexus_delivery::group::{Delivery, Group, HEARTBEAT_MAX, Offered, Record, State};
use nexus_protocol::group::{Backoff, DeliveryToken, GroupConfig, GroupMode, PauseInfo, RuleEnd};
use nexus_protocol::{Position, Timestamp};

/// Numbers as good as random, from a seed (SplitMix64 of Steele, Lea, and Flood, 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.below(from.len().max(1) as u64)).unwrap())
    }
}

/// An event of the model's log.
#[derive(Clone, Copy)]
pub(crate) struct Logged {
    pub(crate) key: u64,
    pub(crate) not_before: Option<Timestamp>,
    /// Retention has taken it away.
    pub(crate) gone: bool,
}

/// What a record has to say, and with it what outlives a crash.
#[derive(Clone, Default)]
pub(crate) struct Promises {
    /// Acknowledged, skipped, or before where the group was sent.
    pub(crate) done: BTreeSet<u64>,
    pub(crate) attempts: BTreeMap<u64, u32>,
    /// How often it failed since it was new, or was released.
    pub(crate) tries: BTreeMap<u64, u32>,
    /// When it failed first.
    pub(crate) first_failed: BTreeMap<u64, Timestamp>,
    /// What is not to be delivered before, for its back-off.
    pub(crate) not_until: BTreeMap<u64, Timestamp>,
    /// How many tries again a rule gave it.
    pub(crate) rounds: BTreeMap<u64, u32>,
    /// What is delivered in its place.
    pub(crate) edited: BTreeMap<u64, u64>,
    /// Failed too often, and not released.
    pub(crate) held: BTreeSet<u64>,
    pub(crate) pause: Option<PauseInfo>,
    pub(crate) begins: u64,
    /// From where on which filter was held against events, as they were looked at first.
    pub(crate) filters: BTreeMap<u64, u64>,
}

/// A delivery, with whom it is.
#[derive(Clone)]
pub(crate) struct Lent {
    pub(crate) owner: String,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
}

pub(crate) struct Model {
    pub(crate) random: Random,
    pub(crate) config: GroupConfig,
    pub(crate) log: Vec<Logged>,
    pub(crate) group: Group,
    pub(crate) now: Timestamp,
    /// What was written down and survives a crash, and what was not synced yet.
    pub(crate) durable: State,
    pub(crate) durable_promises: Promises,
    pub(crate) unsynced: Vec<(Record, Promises)>,
    /// What was promised so far.
    pub(crate) promises: Promises,
    /// With whom deliveries are, and until when.
    pub(crate) with: BTreeMap<DeliveryToken, Lent>,
    /// Those that are answered, and not known whether that counts; `None`: who had it is gone.
    pub(crate) on_hold: BTreeMap<DeliveryToken, Option<Lent>>,
    /// Deliveries that once were.
    pub(crate) past: Vec<(DeliveryToken, String)>,
    /// Positions whose acknowledgement stands in the log together with what a consumer appended.
    pub(crate) taken: BTreeSet<u64>,
    pub(crate) floor: u64,
    /// What rules have done and the group has not told yet.
    pub(crate) ruled: Vec<(&'static str, u64)>,
    pub(crate) heard: BTreeMap<String, Timestamp>,
    pub(crate) counts: Counts,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) acked: u64,
    pub(crate) parked: u64,
    pub(crate) replayed: u64,
    pub(crate) crashes: u64,
    pub(crate) refused: u64,
    pub(crate) sought: u64,
    pub(crate) held: u64,
    pub(crate) edited: u64,
    pub(crate) refiltered: u64,
    pub(crate) ruled: u64,
    /// Records and states that were more than one part.
    pub(crate) in_parts: u64,
}

pub(crate) const CONSUMERS: [&str; 5] = ["a", "b", "c", "d", "e"];

impl Model {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mode = match random.below(12) {
            0..=3 => GroupMode::Unordered,
            4 | 5 => GroupMode::Broadcast,
            _ => GroupMode::Ordered,
        };
        let config = GroupConfig {
            mode,
            lanes: 1 + u32::try_from(random.below(7)).unwrap(),
            ack_deadline: Duration::from_millis(200),
            backoff: Backoff {
                initial: Duration::from_millis(10),
                max: Duration::from_millis(100),
            },
            ..GroupConfig::default()
        };
        let config = bounds(config, &mut random);
        let begins = random.below(3);
        let state = State::starting_at(Position::new(begins));
        let group = Group::restore(config.clone(), state.clone()).unwrap();
        let filters = [(0, random.next())].into();
        let promises = Promises { begins, filters, ..Promises::default() };
        let mut model = Self {
            random,
            config,
            log: Vec::new(),
            group,
            now: Timestamp::from_micros(1_000_000),
            durable: state,
            durable_promises: promises.clone(),
            unsynced: Vec::new(),
            promises,
            with: BTreeMap::new(),
            on_hold: BTreeMap::new(),
            past: Vec::new(),
            taken: BTreeSet::new(),
            ruled: Vec::new(),
            floor: 0,
            heard: BTreeMap::new(),
            counts: Counts::default(),
        };
        model.opened();
        model
    }

    pub(crate) fn is_ordered(&self) -> bool {
        self.config.mode != GroupMode::Unordered
    }

    /// Deliveries that are with somebody, answered or not.
    pub(crate) fn lent(&self) -> impl Iterator<Item = (&DeliveryToken, &Lent)> {
        let on_hold = self.on_hold.iter().filter_map(|(token, lent)| Some((token, lent.as_ref()?)));
        self.with.iter().chain(on_hold)
    }

    pub(crate) fn key(&self, position: u64) -> u64 {
        match self.is_ordered() {
            true => self.log[usize::try_from(position).unwrap()].key,
            false => position,
        }
    }

    /// Offers what is in the log, up to so many events.
    pub(crate) fn feed(&mut self, mut count: u64) {
        while count > 0 && self.group.wants_more() {
            let from = self.group.reads_from().get();
            let rest = (from..).zip(self.log.iter().skip(usize::try_from(from).unwrap()));
            let mut found =
                rest.filter(|(at, it)| self.is_offered(*at) && !it.gone).map(|(at, it)| (at, *it));
            let found = found.next();
            let Some((position, event)) = found else {
                if let Some(until) = self.group.refiltered() {
                    self.group.pass(until);
                    continue;
                }
                return self.group.pass(Position::new(self.log.len() as u64));
            };
            let not_before = event.not_before;
            let position = Position::new(position);
            self.group.offer(Offered { position, key: event.key, not_before }, self.now);
            count -= 1;
        }
    }

    /// Whether an event is offered to the group, by whoever reads the log for it: what was looked at with another
    /// filter is where it is open, and all else by the filter of today.
    fn is_offered(&self, position: u64) -> bool {
        match self.group.refiltered() {
            Some(until) if position < until.get() => {
                self.group.state().is_open(Position::new(position))
            }
            _ => {
                let (_, filter) = self.promises.filters.last_key_value().expect("one from 0 on");
                Random(filter ^ position).below(4) != 0
            }
        }
    }

    /// The group takes other events from now on.
    pub(crate) fn refilter(&mut self) {
        self.group.refilter();
        let filter = self.random.next();
        self.promises.filters.insert(self.group.stats().next.get(), filter);
        self.counts.refiltered += 1;
    }

    pub(crate) fn append(&mut self) {
        let delayed = self.random.one_in(20);
        let wait = self.random.below(300_000).cast_signed();
        self.log.push(Logged {
            key: self.random.below(9),
            not_before: delayed.then(|| Timestamp::from_micros(self.now.as_micros() + wait)),
            gone: false,
        });
    }

    pub(crate) fn receive(&mut self) {
        let consumer = *self.random.pick(&CONSUMERS).unwrap();
        let max = usize::try_from(1 + self.random.below(6)).unwrap();
        self.heard.insert(consumer.to_owned(), self.now);
        let received = self.group.receive(consumer, max, self.now).unwrap();
        assert!(self.promises.pause.is_none() || received.is_empty(), "it is paused");
        let is_some = !received.is_empty();
        for delivery in received {
            self.delivered(consumer, delivery);
        }
        // There may be more since the bound was lowered; but then nothing comes to it.
        assert!(!is_some || self.lent().count() <= self.config.max_in_flight as usize);
    }

    pub(crate) fn delivered(&mut self, consumer: &str, delivery: Delivery) {
        self.counts.delivered += 1;
        let position = delivery.token.position.get();
        let event = self.log[usize::try_from(position).unwrap()];
        let is_parked = self.group.state().parked().get(position).is_some();
        let is_wanted = position >= self.promises.begins && self.promises.takes(position);
        assert!(is_wanted || is_parked, "{position}");
        let pause = self.promises.not_until.get(&position);
        assert!(pause.is_none_or(|at| *at <= self.now), "{position} comes before its time");
        assert!(!self.promises.done.contains(&position), "{position} is done");
        assert!(!self.taken.contains(&position), "{position} is done, with what was appended");
        let edited = self.promises.edited.get(&position).copied();
        assert_eq!(delivery.event.get(), edited.unwrap_or(position));
        assert_eq!(delivery.token.generation, self.group.state().generation());
        assert!(!self.promises.held.contains(&position), "{position} is parked");
        assert!(event.not_before.is_none_or(|at| at <= self.now), "{position} is early");
        let before = self.promises.attempts.get(&position).copied().unwrap_or(0);
        assert_eq!(delivery.attempt, before + 1, "attempts of {position}");
        for token in self.on_hold.keys() {
            assert_ne!(token.position, delivery.token.position, "it is answered");
        }
        for (token, lent) in self.lent() {
            assert_ne!(token.position, delivery.token.position, "it is with two");
            if self.is_ordered() {
                let lane = |key: u64| key % u64::from(self.config.lanes);
                let (ours, theirs) = (delivery.token.key, token.key);
                assert_ne!(ours, theirs, "two of one key");
                assert!(
                    lane(ours) != lane(theirs) || lent.owner == consumer,
                    "a lane of two owners"
                );
            }
        }
        if self.is_ordered() {
            let earlier = self.to_do().filter(|at| *at < position);
            let earlier: Vec<_> = earlier.filter(|at| self.key(*at) == event.key).collect();
            assert_eq!(
                earlier,
                [] as [u64; 0],
                "{position} came before them: {:?}, {:?}",
                self.counts,
                self.group.stats()
            );
            let lane = delivery.token.key % u64::from(self.config.lanes);
            let lanes = u64::from(self.config.lanes);
            let in_lane = self.lent().filter(|(it, _)| it.key % lanes == lane);
            assert!(in_lane.count() < self.config.max_in_flight_per_lane as usize);
        }
        let until = later(self.now, self.config.ack_deadline);
        assert_eq!(delivery.deadline, until);
        let lent = Lent { owner: consumer.to_owned(), since: self.now, until };
        self.with.insert(delivery.token, lent);
    }

    /// Positions that match and are not done: all of them are open, parked, or not looked at yet.
    pub(crate) fn to_do(&self) -> impl Iterator<Item = u64> + '_ {
        let from = usize::try_from(self.promises.begins).unwrap();
        let log = self.log.iter().enumerate().skip(from);
        let open = log
            .filter(|(at, it)| self.promises.takes(*at as u64) && !it.gone)
            .map(|(at, _)| at as u64);
        let parked = self.group.state().parked().iter().map(|(at, _)| at);
        let parked = parked.filter(|at| *at < self.promises.begins);
        let all: BTreeSet<_> =
            open.chain(parked).filter(|at| !self.promises.done.contains(at)).collect();
        all.into_iter()
    }

    pub(crate) fn pause(&mut self) {
        let reason = format!("for reason {}", self.random.below(100));
        let info = PauseInfo { by: "somebody".to_owned(), reason, position: None, at: self.now };
        self.group.pause(info.clone());
        self.promises.pause.get_or_insert(info);
    }

    pub(crate) fn resume(&mut self) {
        self.group.resume();
        self.promises.pause = None;
    }

    /// An event failed once more; `true`: as often as it may.
    pub(crate) fn tried(&mut self, position: u64) -> bool {
        *self.promises.attempts.entry(position).or_default() += 1;
        self.promises.first_failed.entry(position).or_insert(self.now);
        let tries = self.promises.tries.entry(position).or_default();
        *tries += 1;
        *tries >= self.config.max_attempts
    }

    /// The same, without anybody having said so.
    pub(crate) fn lost(&mut self, position: u64, class: &str) {
        if self.tried(position) {
            self.set_aside(position, class);
        }
    }

    /// An event is parked, or a rule says what becomes of it.
    pub(crate) fn set_aside(&mut self, position: u64, class: &str) {
        let rounds = self.promises.rounds.get(&position).copied().unwrap_or(0);
        let rule = self.config.parked_rules.iter().find(|rule| rule.is_for(class));
        let after = rule.and_then(|rule| rule.retry_after.get(rounds as usize));
        match (rule.map(|rule| rule.then), after) {
            (_, Some(after)) => {
                self.promises.rounds.insert(position, rounds + 1);
                self.promises.tries.remove(&position);
                self.promises.not_until.insert(position, later(self.now, *after));
                self.ruled.push(("retry", position));
            }
            (Some(RuleEnd::Skip), None) => {
                self.promises.done.insert(position);
                self.forget(position);
                self.ruled.push(("skip", position));
            }
            (end, None) => {
                self.promises.held.insert(position);
                self.ruled.extend((end == Some(RuleEnd::Alert)).then_some(("alert", position)));
            }
        }
    }

    pub(crate) fn forget(&mut self, position: u64) {
        self.promises.forget(position);
    }

    /// Time goes on: what is late is taken back, and who was not heard of is let go.
    pub(crate) fn pass_time(&mut self) {
        let step = match self.random.below(40) {
            0 => HEARTBEAT_MAX,
            1..=4 => Duration::from_millis(250),
            _ => Duration::from_millis(self.random.below(30)),
        };
        self.now = later(self.now, step);
        let now = self.now;
        let late = |at: Timestamp| at <= now;
        let ended = self.with.iter().filter(|(_, lent)| late(lent.until));
        for token in ended.map(|(token, _)| *token).collect::<Vec<_>>() {
            let Lent { owner, .. } = self.with.remove(&token).unwrap();
            self.past.push((token, owner));
            self.lost(token.position.get(), "timeout");
        }
        // Who is silent and has nothing to answer is gone.
        let busy: BTreeSet<_> = self.lent().map(|(_, lent)| lent.owner.clone()).collect();
        self.heard.retain(|who, at| !late(later(*at, HEARTBEAT_MAX)) || busy.contains(who));
        self.group.tick(self.now);
        let members: BTreeSet<_> =
            self.group.consumers().into_iter().map(|(name, ..)| name.to_owned()).collect();
        assert_eq!(members, self.heard.keys().cloned().collect());
        assert!(self.group.next_tick().is_none_or(|at| at > self.now));
    }

    pub(crate) fn leave(&mut self) {
        let any = *self.random.pick(&CONSUMERS).unwrap();
        let holder = self.on_hold.values().flatten().map(|lent| lent.owner.clone()).next();
        let holder = holder.filter(|_| self.random.one_in(2));
        let consumer = holder.as_deref().unwrap_or(any);
        self.heard.remove(consumer);
        let lost = self.random.one_in(2);
        match lost {
            true => {
                let max = *self.random.pick(&[1, 2, usize::MAX]).unwrap();
                while self.group.lose(consumer, max, self.now) == max {}
            }
            false => self.group.leave(consumer, self.now),
        }
        let its: Vec<_> =
            self.with.iter().filter(|(_, it)| it.owner == consumer).map(|it| *it.0).collect();
        for token in its {
            self.with.remove(&token);
            self.past.push((token, consumer.to_owned()));
            if lost {
                self.lost(token.position.get(), "lost");
            }
        }
        // What it has answered in two steps is nobody's until that is settled.
        let is_its = |lent: &Lent| lent.owner == consumer;
        for lent in self.on_hold.values_mut() {
            *lent = lent.take().filter(|lent| !is_its(lent));
        }
    }

    /// An operator changes the bounds, or tries to change what cannot be.
    pub(crate) fn reconfigure(&mut self) {
        if self.random.one_in(4) {
            let lanes = self.config.lanes + 1;
            let mode = match self.config.mode {
                GroupMode::Ordered => GroupMode::Broadcast,
                _ => GroupMode::Ordered,
            };
            let other = GroupConfig { mode, max_attempts: 9, ..self.config.clone() };
            assert!(self.group.reconfigure(other).is_err());
            let other = GroupConfig { lanes, max_attempts: 9, ..self.config.clone() };
            if self.is_ordered() {
                assert!(self.group.reconfigure(other).is_err());
            } else {
                self.config = other;
                self.group.reconfigure(self.config.clone()).unwrap();
            }
        }
        self.config = bounds(self.config.clone(), &mut self.random);
        self.group.reconfigure(self.config.clone()).unwrap();
    }
}

impl Promises {
    /// Whether the event at a position is for the group.
    pub(crate) fn takes(&self, position: u64) -> bool {
        let (_, filter) = self.filters.range(..=position).next_back().expect("one from 0 on");
        Random(filter ^ position).below(4) != 0
    }

    pub(crate) fn forget(&mut self, position: u64) {
        self.attempts.remove(&position);
        self.tries.remove(&position);
        self.first_failed.remove(&position);
        self.not_until.remove(&position);
        self.rounds.remove(&position);
        self.edited.remove(&position);
        self.held.remove(&position);
    }
}

/// With bounds and rules as may be.
fn bounds(config: GroupConfig, random: &mut Random) -> GroupConfig {
    let end = *random.pick(&["leave", "skip", "alert"]).unwrap();
    let retry = format!("boom: retry 20ms, 60ms, then {end}");
    let rules: &[&str] = match random.below(4) {
        0 => &[&retry],
        1 => &["timeout: skip", &retry, "*: retry 30ms"],
        _ => &[],
    };
    GroupConfig {
        parked_rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        parked_rate: random.one_in(2).then_some(100),
        max_attempts: 1 + u32::try_from(random.below(3)).unwrap(),
        max_in_flight: 1 + u32::try_from(random.below(12)).unwrap(),
        max_in_flight_per_lane: 1 + u32::try_from(random.below(4)).unwrap(),
        ..config
    }
}

pub(crate) fn later(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp::from_micros(now.as_micros() + i64::try_from(time.as_micros()).unwrap())
}

//! A naive model of what a group promises, that goes beside it and checks each delivery and each answer.
//!
//! It knows every event of a small log, what was acknowledged, and what is with whom. It has no lanes, no queues, and no
//! timers: it looks through everything each time.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nexus_delivery::group::{
    Backoff, Config, Delivery, Group, HEARTBEAT_MAX, Mode, Nack, Offered, Record, Refused, State,
    Token,
};
use nexus_delivery::parked::Failure;
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
    pub(crate) matches: bool,
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
    /// Failed too often, and not released.
    pub(crate) held: BTreeSet<u64>,
    pub(crate) paused: bool,
    pub(crate) begins: u64,
}

pub(crate) struct Model {
    pub(crate) random: Random,
    pub(crate) config: Config,
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
    pub(crate) with: BTreeMap<Token, (String, Timestamp)>,
    /// Deliveries that once were.
    pub(crate) past: Vec<(Token, String)>,
    /// What is not to be delivered before, for its back-off.
    pub(crate) not_until: BTreeMap<u64, Timestamp>,
    pub(crate) floor: u64,
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
}

pub(crate) const CONSUMERS: [&str; 5] = ["a", "b", "c", "d", "e"];

impl Model {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let config = Config {
            mode: if random.one_in(3) { Mode::Unordered } else { Mode::Ordered },
            lanes: 1 + u32::try_from(random.below(7)).unwrap(),
            ack_deadline: Duration::from_millis(200),
            max_attempts: 1 + u32::try_from(random.below(3)).unwrap(),
            backoff: Backoff {
                initial: Duration::from_millis(10),
                max: Duration::from_millis(100),
            },
            max_in_flight: 1 + u32::try_from(random.below(12)).unwrap(),
            max_in_flight_per_lane: 1 + u32::try_from(random.below(4)).unwrap(),
        };
        let begins = random.below(3);
        let state = State::starting_at(Position::new(begins));
        let group = Group::restore(config, state.clone(), 0).unwrap();
        Self {
            random,
            config,
            log: Vec::new(),
            group,
            now: Timestamp::from_micros(1_000_000),
            durable: state,
            durable_promises: Promises { begins, ..Promises::default() },
            unsynced: Vec::new(),
            promises: Promises { begins, ..Promises::default() },
            with: BTreeMap::new(),
            past: Vec::new(),
            not_until: BTreeMap::new(),
            floor: 0,
            heard: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn key(&self, position: u64) -> u64 {
        match self.config.mode {
            Mode::Ordered => self.log[usize::try_from(position).unwrap()].key,
            Mode::Unordered => position,
        }
    }

    /// Offers what is in the log, up to so many events.
    pub(crate) fn feed(&mut self, mut count: u64) {
        while count > 0 && self.group.wants_more() {
            let from = self.group.reads_from().get();
            let rest = (from..).zip(self.log.iter().skip(usize::try_from(from).unwrap()));
            let found =
                rest.filter(|(_, it)| it.matches && !it.gone).map(|(at, it)| (at, *it)).next();
            let Some((position, event)) = found else {
                return self.group.pass(Position::new(self.log.len() as u64));
            };
            let not_before = event.not_before;
            let position = Position::new(position);
            self.group.offer(Offered { position, key: event.key, not_before }, self.now);
            count -= 1;
        }
    }

    pub(crate) fn append(&mut self) {
        let delayed = self.random.one_in(20);
        let wait = self.random.below(300_000).cast_signed();
        self.log.push(Logged {
            key: self.random.below(9),
            matches: !self.random.one_in(4),
            not_before: delayed.then(|| Timestamp::from_micros(self.now.as_micros() + wait)),
            gone: false,
        });
    }

    pub(crate) fn receive(&mut self) {
        let consumer = *self.random.pick(&CONSUMERS).unwrap();
        let max = usize::try_from(1 + self.random.below(6)).unwrap();
        self.heard.insert(consumer.to_owned(), self.now);
        let received = self.group.receive(consumer, max, self.now).unwrap();
        assert!(!self.promises.paused || received.is_empty(), "it is paused");
        for delivery in received {
            self.delivered(consumer, delivery);
        }
        assert!(self.with.len() <= self.config.max_in_flight as usize);
    }

    pub(crate) fn delivered(&mut self, consumer: &str, delivery: Delivery) {
        self.counts.delivered += 1;
        let position = delivery.token.position.get();
        let event = self.log[usize::try_from(position).unwrap()];
        let is_parked = self.group.state().parked().get(position).is_some();
        assert!(event.matches && (position >= self.promises.begins || is_parked), "{position}");
        let pause = self.not_until.get(&position);
        assert!(pause.is_none_or(|at| *at <= self.now), "{position} comes before its time");
        assert!(!self.promises.done.contains(&position), "{position} is done");
        assert!(!self.promises.held.contains(&position), "{position} is parked");
        assert!(event.not_before.is_none_or(|at| at <= self.now), "{position} is early");
        let before = self.promises.attempts.get(&position).copied().unwrap_or(0);
        assert_eq!(delivery.attempt, before + 1, "attempts of {position}");
        for (token, (owner, _)) in &self.with {
            assert_ne!(token.position, delivery.token.position, "it is with two");
            if self.config.mode == Mode::Ordered {
                let lane = |key: u64| key % u64::from(self.config.lanes);
                let (ours, theirs) = (delivery.token.key, token.key);
                assert_ne!(ours, theirs, "two of one key");
                assert!(lane(ours) != lane(theirs) || owner == consumer, "a lane of two owners");
            }
        }
        if self.config.mode == Mode::Ordered {
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
            let in_lane =
                self.with.keys().filter(|it| it.key % u64::from(self.config.lanes) == lane);
            assert!(in_lane.count() < self.config.max_in_flight_per_lane as usize);
        }
        let until = later(self.now, self.config.ack_deadline);
        assert_eq!(delivery.deadline, until);
        self.with.insert(delivery.token, (consumer.to_owned(), until));
    }

    /// Positions that match and are not done: all of them are open, parked, or not looked at yet.
    pub(crate) fn to_do(&self) -> impl Iterator<Item = u64> + '_ {
        let from = usize::try_from(self.promises.begins).unwrap();
        let log = self.log.iter().enumerate().skip(from);
        let open = log.filter(|(_, it)| it.matches && !it.gone).map(|(at, _)| at as u64);
        let parked = self.group.state().parked().iter().map(|(at, _)| at);
        let parked = parked.filter(|at| *at < self.promises.begins);
        let all: BTreeSet<_> =
            open.chain(parked).filter(|at| !self.promises.done.contains(at)).collect();
        all.into_iter()
    }

    pub(crate) fn answer(&mut self) {
        let now = self.now;
        let stale = self.random.one_in(8);
        let of_other = self.random.one_in(12);
        let current: Vec<_> =
            self.with.iter().map(|(token, (who, _))| (*token, who.clone())).collect();
        let from = if stale { &self.past } else { &current };
        let Some((token, owner)) = self.random.pick(from).cloned() else { return };
        let consumer = if of_other { *self.random.pick(&CONSUMERS).unwrap() } else { &*owner };
        let stands = self.with.get(&token).is_some_and(|(who, _)| who == consumer);
        let position = token.position.get();
        let error = Failure { message: "bad".to_owned(), chain: vec!["worse".to_owned()] };
        let nack = match self.random.below(12) {
            0..=6 => None,
            7 => Some(Nack::Retry(Some(Duration::from_millis(self.random.below(50))))),
            8 | 9 => Some(Nack::Retry(None)),
            10 => Some(Nack::Park),
            _ if self.random.one_in(4) => Some(Nack::Stop),
            _ => Some(Nack::Skip),
        };
        if self.random.one_in(10) {
            let by = Duration::from_millis(self.random.below(500));
            let extended = self.group.extend(consumer, token, by, now);
            assert_eq!(extended.is_ok(), stands);
            if let Ok(until) = extended {
                self.heard.insert(consumer.to_owned(), now);
                self.with.get_mut(&token).unwrap().1 = until;
            }
            return;
        }
        let answered = match nack.clone() {
            None => self.group.ack(consumer, token, now),
            Some(nack) => self.group.nack(consumer, token, (nack, error), now),
        };
        assert_eq!(answered.is_ok(), stands, "{token:?} of {owner} by {consumer}: {answered:?}");
        let Err(refused) = answered else {
            self.heard.insert(consumer.to_owned(), now);
            return self.answered(token, nack);
        };
        self.counts.refused += 1;
        let with_other =
            self.with.iter().any(|(at, (who, _))| at.position == token.position && who != consumer);
        match refused {
            Refused::OtherOwner => assert!(with_other),
            Refused::AlreadyAcked => {
                let gone = self.log[usize::try_from(position).unwrap()].gone;
                assert!(gone || self.promises.done.contains(&position));
            }
            Refused::Expired => assert!(!self.promises.done.contains(&position)),
            Refused::Unknown => assert!(position >= self.group.stats().next.get()),
        }
    }

    pub(crate) fn answered(&mut self, token: Token, nack: Option<Nack>) {
        let (owner, _) = self.with.remove(&token).unwrap();
        self.past.push((token, owner));
        let position = token.position.get();
        match nack {
            None | Some(Nack::Skip) => {
                self.counts.acked += 1;
                self.promises.done.insert(position);
                self.forget(position);
            }
            Some(Nack::Retry(delay)) => {
                self.tried(position);
                let tries = self.promises.tries[&position];
                let Backoff { initial, max } = self.config.backoff;
                let pause = delay.unwrap_or((initial * (1 << (tries - 1))).min(max) / 2);
                self.not_until.insert(position, later(self.now, pause));
            }
            Some(Nack::Park) => {
                self.tried(position);
                self.promises.held.insert(position);
            }
            Some(Nack::Stop) => {
                assert!(self.group.stats().paused);
                self.promises.paused = true;
            }
        }
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.group.pause(paused);
        self.promises.paused = paused;
    }

    pub(crate) fn tried(&mut self, position: u64) {
        *self.promises.attempts.entry(position).or_default() += 1;
        let tries = self.promises.tries.entry(position).or_default();
        *tries += 1;
        if *tries >= self.config.max_attempts {
            self.promises.held.insert(position);
        }
    }

    pub(crate) fn forget(&mut self, position: u64) {
        self.promises.attempts.remove(&position);
        self.promises.tries.remove(&position);
        self.promises.held.remove(&position);
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
        let ended = self.with.iter().filter(|(_, (_, until))| late(*until));
        for token in ended.map(|(token, _)| *token).collect::<Vec<_>>() {
            let (owner, _) = self.with.remove(&token).unwrap();
            self.past.push((token, owner));
            self.tried(token.position.get());
        }
        // Who is silent and has nothing to answer is gone.
        let with = &self.with;
        self.heard.retain(|who, at| {
            !late(later(*at, HEARTBEAT_MAX)) || with.values().any(|(owner, _)| owner == who)
        });
        self.group.tick(self.now);
        let members: BTreeSet<_> =
            self.group.consumers().into_iter().map(|(name, ..)| name.to_owned()).collect();
        assert_eq!(members, self.heard.keys().cloned().collect());
        assert!(self.group.next_tick().is_none_or(|at| at > self.now));
    }

    pub(crate) fn leave(&mut self) {
        let consumer = *self.random.pick(&CONSUMERS).unwrap();
        self.heard.remove(consumer);
        let lost = self.random.one_in(2);
        match lost {
            true => self.group.lose(consumer, self.now),
            false => self.group.leave(consumer, self.now),
        }
        let its: Vec<_> =
            self.with.iter().filter(|(_, (who, _))| who == consumer).map(|it| *it.0).collect();
        for token in its {
            self.with.remove(&token);
            self.past.push((token, consumer.to_owned()));
            if lost {
                self.tried(token.position.get());
            }
        }
    }
}

pub(crate) fn later(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp::from_micros(now.as_micros() + i64::try_from(time.as_micros()).unwrap())
}

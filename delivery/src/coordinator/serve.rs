//! Doing what a coordinator is asked.

use std::task::Context;

use nexus_protocol::group::{
    Answered, DeliveryToken, GroupConfig, GroupMode, LaneInfo, MemberInfo, NackAction, ParkedEntry,
    ParkedList, ParkedPick, RefusedToken,
};
use nexus_protocol::route::Branch;
use nexus_protocol::{AppendError, EventStore, Invalid, Position, Timestamp};

use super::request::Waiting;
use super::writes::Joint;
use super::{
    ANSWERS_MAX, Answers, Ask, Coordinator, Ended, Handed, Listed, MAX_DELIVERIES, PickDone, Reply,
    Request, Snapshot, What, journal,
};
use crate::group::{Group, HEARTBEAT_MAX, TooManyConsumers, keys_named};
use crate::parked::{Aside, Standing};

/// The longest time that a request waits for deliveries, in milliseconds.
const WAIT_MS_MAX: i64 = 60_000;

impl<S: EventStore> Coordinator<S> {
    pub(super) fn serve(
        &mut self,
        request: Request,
        context: &mut Context<'_>,
        now: Timestamp,
    ) -> Result<(), Ended> {
        match request {
            Request::Receive(ask) => self.receive(ask, now),
            Request::Answer(Ask { what, reply }) => {
                let answered = self.answer(&what, now);
                self.durably(reply, answered);
            }
            Request::AckWith(ask) => {
                self.ack_with(ask, now);
                self.write(context);
            }
            Request::Leave { consumer, lost: true } => {
                self.losing = Some(consumer);
                self.lose(now);
            }
            Request::Leave { consumer, lost: false } => self.group.leave(&consumer, now),
            Request::GiveBack { consumer, tokens } => {
                for token in tokens {
                    self.group.undelivered(&consumer, token, now);
                }
            }
            Request::Look(Ask { what, reply }) => drop(reply.send(Ok(self.look(what, now)))),
            Request::Configure(Ask { what, reply }) => self.configure_all_but_routes(what, reply),
            Request::Branch(Ask { what: (name, branch), reply }) => {
                self.branch(&name, branch, reply);
            }
            Request::Pause(Ask { what, reply }) => {
                match what {
                    Some(pause) => self.group.pause(pause),
                    None => {
                        self.group.resume();
                        self.feed.retry();
                    }
                }
                self.durably(reply, ());
            }
            Request::Seek(Ask { what, reply }) => {
                self.group.seek(what);
                self.feed.restart();
                self.durably(reply, ());
            }
            Request::Delete(Ask { reply, .. }) => {
                self.deleting = Some(Some(reply));
            }
            Request::Parked(Ask { what, reply }) => drop(reply.send(self.parked(&what))),
            Request::Replay(Ask { what: (pick, every), reply }) => {
                let replay = |group: &mut Group, picked| group.replay(picked, every, now);
                self.decide(&pick, reply, replay);
            }
            Request::Discard(Ask { what, reply }) => {
                self.decide(&what, reply, |group, picked| group.discard(picked));
            }
            Request::Edit(Ask { what: (position, by), reply }) => {
                let edited = self.group.edit(position, by, now);
                self.durably(reply, edited);
            }
        }
        Ok(())
    }

    /// Does something with what is meant of what is parked.
    fn decide(
        &mut self,
        pick: &ParkedPick,
        reply: Reply<PickDone>,
        with: impl FnOnce(&mut Group, Vec<Position>) -> usize,
    ) {
        match self.picked(pick) {
            Ok(picked) => {
                let count = with(&mut self.group, picked) as u64;
                self.durably(reply, PickDone { count });
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Goes on to let a consumer go that is lost, as far as a record has room for what it had.
    pub(super) fn lose(&mut self, now: Timestamp) {
        let room = ANSWERS_MAX.saturating_sub(self.answers);
        if let Some(consumer) = self.losing.take_if(|_| room > 0) {
            let count = self.group.lose(&consumer, room, now);
            self.answers += count;
            self.losing = Some(consumer).filter(|_| count == room);
        }
    }

    /// Routes are set one by one: whoever sets the rest leaves them as they are.
    fn configure_all_but_routes(&mut self, mut config: GroupConfig, reply: Reply<()>) {
        if !config.branches.is_empty() && config.branches != self.config.branches {
            let why = "the routes that lead to a group are set as routes: leave `branches` out";
            return drop(reply.send(Err(Invalid::Request(why.to_owned()).into())));
        }
        config.branches.clone_from(&self.config.branches);
        self.configure(config, reply, ());
    }

    /// Lets a route lead to it, or no more. What was looked at before is not looked at again.
    fn branch(&mut self, name: &str, branch: Option<Branch>, reply: Reply<bool>) {
        let mut config = self.config.clone();
        let at = config.branches.iter().position(|it| it.name == name);
        match (at, branch) {
            (Some(at), Some(branch)) => config.branches[at] = branch,
            (None, Some(branch)) => config.branches.push(branch),
            (Some(at), None) => drop(config.branches.remove(at)),
            (None, None) => return drop(reply.send(Ok(false))),
        }
        self.configure(config, reply, at.is_some());
    }

    fn configure<T: Send + 'static>(&mut self, config: GroupConfig, reply: Reply<T>, answer: T) {
        if let Err(why) = self.group.reconfigure(config.clone()) {
            return drop(reply.send(Err(Invalid::from(why).into())));
        }
        self.writing.event(journal::configured(&config));
        if (self.config.reads(), &self.config.branches) != (config.reads(), &config.branches) {
            self.group.refilter();
            self.feed.restart();
        }
        self.config = config;
        self.durably(reply, answer);
    }

    /// Answers once all that was decided so far is durable.
    fn durably<T: Send + 'static>(&mut self, reply: Reply<T>, answer: T) {
        self.writing.then(move |written| {
            drop(reply.send(written.map(|()| answer).map_err(Clone::clone)));
        });
    }

    fn receive(
        &mut self,
        ask: Ask<(String, usize, std::time::Duration), Vec<Handed>>,
        now: Timestamp,
    ) {
        let Ask { what: (consumer, max, wait), reply } = ask;
        let wait_us = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX).min(WAIT_MS_MAX * 1000);
        let until = Timestamp::from_micros(now.as_micros().saturating_add(wait_us));
        if let Err(TooManyConsumers) = self.group.join(&consumer, now) {
            let error = Invalid::Request(TooManyConsumers.to_string());
            return drop(reply.send(Err(error.into())));
        }
        let waiting = Waiting { consumer, max: max.clamp(1, MAX_DELIVERIES), until, reply };
        self.waiting.push_back(waiting);
    }

    /// Gives those who wait what there is for them, and lets go whose time is over.
    pub(super) fn deliver(&mut self, now: Timestamp) {
        for _ in 0..self.waiting.len() {
            let Some(waiting) = self.waiting.pop_front() else { return };
            // Nobody would answer what is given to somebody who is gone.
            if waiting.reply.is_closed() {
                continue;
            }
            // One of the name of a consumer that is being lost is another, once that is gone.
            if self.losing.as_ref() == Some(&waiting.consumer) {
                match waiting.until > now {
                    true => self.waiting.push_back(waiting),
                    false => drop(waiting.reply.send(Ok(Vec::new()))),
                }
                continue;
            }
            let received = self.group.receive(&waiting.consumer, waiting.max, now);
            match received {
                Ok(deliveries) if deliveries.is_empty() && waiting.until > now => {
                    self.keep_waiting(waiting);
                }
                Ok(deliveries) => {
                    self.counts.delivered += deliveries.len() as u64;
                    let again = deliveries.iter().filter(|it| it.attempt > 1).count();
                    self.counts.redelivered += again as u64;
                    let handed = deliveries
                        .into_iter()
                        .map(|delivery| Handed { event: self.feed.take(delivery.event), delivery });
                    let handed: Vec<_> = handed.collect();
                    if let Err(Ok(handed)) = waiting.reply.send(Ok(handed)) {
                        self.take_back(&waiting.consumer, &handed, now);
                    }
                }
                Err(TooManyConsumers) => {
                    let error = Invalid::Request(TooManyConsumers.to_string());
                    drop(waiting.reply.send(Err(error.into())));
                }
            }
        }
    }

    /// Somebody waits on, unless what is ahead cannot be read.
    fn keep_waiting(&mut self, waiting: Waiting) {
        match self.feed.broken() {
            Some(error) => drop(waiting.reply.send(Err(error.clone()))),
            None => self.waiting.push_back(waiting),
        }
    }

    /// Whoever asked went away in that moment: it never saw them, and nobody counts that as a try.
    fn take_back(&mut self, consumer: &str, handed: &[Handed], now: Timestamp) {
        for handed in handed {
            self.group.undelivered(consumer, handed.delivery.token, now);
        }
    }

    /// Whoever waits for deliveries is there.
    pub(super) fn hear_those_who_wait(&mut self, now: Timestamp) {
        if now < self.heard_at {
            return;
        }
        let half = i64::try_from(HEARTBEAT_MAX.as_micros() / 2).unwrap_or(i64::MAX);
        self.heard_at = Timestamp::from_micros(now.as_micros().saturating_add(half));
        for waiting in self.waiting.iter().filter(|it| !it.reply.is_closed()) {
            // It is a member already, or is told when it is given nothing.
            let _ = self.group.join(&waiting.consumer, now);
        }
    }

    /// Whose a delivery is said to be; empty: nobody's, and the answer does not count.
    fn consumer_of(&self, answers: &Answers, token: DeliveryToken) -> String {
        let named = answers.consumer.clone();
        named.or_else(|| self.group.holder(token).map(str::to_owned)).unwrap_or_default()
    }

    fn answer(&mut self, answers: &Answers, now: Timestamp) -> Answered {
        self.answers += answers.tokens.len();
        let mut answered = Answered::default();
        for token in &answers.tokens {
            let consumer = self.consumer_of(answers, *token);
            let said = match &answers.what {
                What::Ack => self.group.ack(&consumer, *token, now),
                What::Nack(nack) => self.group.nack(&consumer, *token, nack.clone(), now),
                What::Extend(by) => self.group.extend(&consumer, *token, *by, now).map(|_| ()),
            };
            match said {
                Ok(()) => answered.done += 1,
                Err(why) => answered.refused.push(RefusedToken { token: *token, why }),
            }
        }
        let is_decided = match &answers.what {
            What::Ack => true,
            What::Nack(nack) => matches!(nack.action, NackAction::Park | NackAction::Skip),
            What::Extend(_) => false,
        };
        if answered.done > 0 && is_decided {
            self.progressed = now;
        }
        if answers.what == What::Ack {
            self.counts.acked += answered.done;
        }
        answered
    }

    fn ack_with(
        &mut self,
        ask: Ask<(Answers, nexus_protocol::Append), (Answered, Option<nexus_protocol::Appended>)>,
        now: Timestamp,
    ) {
        let Ask { what: (answers, append), reply } = ask;
        let consumer = match answers.tokens.first() {
            Some(first) => self.consumer_of(&answers, *first),
            None => String::new(),
        };
        let held = match self.group.hold(&consumer, &answers.tokens, now) {
            Ok(held) => held,
            Err(refused) => {
                let refused =
                    refused.into_iter().map(|(token, why)| RefusedToken { token, why }).collect();
                return self.durably(reply, (Answered { done: 0, refused }, None));
            }
        };
        let done = answers.tokens.len() as u64;
        (self.progressed, self.counts.acked) = (now, self.counts.acked + done);
        let then = move |answer: Result<_, AppendError>| {
            let answered = Answered { done, refused: Vec::new() };
            drop(reply.send(answer.map(|appended| (answered, Some(appended)))));
        };
        self.writing.join(Joint { held, then: Box::new(then) }, append);
    }

    fn look(&self, with_lanes: bool, now: Timestamp) -> Snapshot {
        let members = self.group.consumers().into_iter().map(|(name, lanes, in_flight)| {
            MemberInfo { consumer: name.to_owned(), lanes, in_flight }
        });
        let lanes = if with_lanes { self.group.lanes() } else { Vec::new() };
        let lanes = lanes.into_iter().map(|lane| LaneInfo {
            lane: lane.lane,
            owner: lane.owner.map(str::to_owned),
            open: lane.open,
            in_flight: lane.in_flight,
            first: lane.first,
            parked: lane.parked,
            // Who has the log says that.
            lag: None,
        });
        Snapshot {
            config: self.config.clone(),
            stats: self.group.stats(),
            counts: self.counts,
            pause: self.group.state().pause().cloned(),
            stalled: self.is_stalled,
            oldest_in_flight: self.group.oldest_in_flight(),
            members: members.collect(),
            lanes: lanes.collect(),
            now,
        }
    }

    /// The lane of a key.
    fn lane_of(&self, key: u64) -> u32 {
        match self.config.mode {
            GroupMode::Unordered => 0,
            _ => u32::try_from(key % u64::from(self.config.lanes)).unwrap_or_default(),
        }
    }

    fn parked(&self, list: &ParkedList) -> Result<Listed, AppendError> {
        let parked = self.group.state().parked();
        let keys = list.key.as_deref().map(|key| self.keys_named(key)).transpose()?;
        let after = list.after.map(Position::get);
        let entries = parked.after(after).filter(|(_, aside)| {
            let wanted = list.lane.is_none_or(|lane| self.lane_of(aside.key()) == lane)
                && keys.as_ref().is_none_or(|keys| keys.contains(&aside.key()));
            wanted && (list.waiting || aside.entry().is_some())
        });
        let mut entries: Vec<_> = entries
            .take(list.limit.saturating_add(1))
            .map(|(position, aside)| self.entry(position, aside))
            .collect();
        let more = entries.len() > list.limit;
        entries.truncate(list.limit);
        Ok(Listed { entries, more })
    }

    fn entry(&self, position: u64, aside: Aside<'_>) -> ParkedEntry {
        let tried = self.group.state().tried(Position::new(position));
        let (entry, lane) = (aside.entry(), self.lane_of(aside.key()));
        ParkedEntry {
            position: Position::new(position),
            lane,
            event: None,
            attempts: entry.map_or(tried.map_or(0, |tried| tried.attempts), |it| it.attempts),
            failure: entry.map(|entry| entry.failure.clone()),
            released: aside.standing() == Standing::Released,
            rounds: entry.map_or(0, |entry| entry.rounds),
            not_before: entry.and_then(|entry| entry.not_before),
            first_failed: entry.map(|entry| entry.first_failed),
            last_failed: entry.map(|entry| entry.last_failed),
            waiting_behind: self.group.state().parked().waiting_behind(position),
        }
    }

    /// The keys that a text names.
    fn keys_named(&self, key: &str) -> Result<Vec<u64>, AppendError> {
        if self.config.mode == GroupMode::Unordered {
            let why = "events of this group are unordered and have no keys: name them by position";
            return Err(Invalid::Request(why.to_owned()).into());
        }
        Ok(keys_named(&self.config.lane_by, key))
    }

    /// The positions that are meant, of what failed.
    fn picked(&self, pick: &ParkedPick) -> Result<Vec<Position>, AppendError> {
        let parked = self.group.state().parked();
        let of_keys = |is_wanted: &dyn Fn(u64) -> bool| {
            let failed = parked.entries().filter(|(_, entry)| is_wanted(entry.key));
            failed.map(|(position, _)| Position::new(position)).collect()
        };
        Ok(match pick {
            ParkedPick::All => of_keys(&|_| true),
            ParkedPick::Lane(lane) => of_keys(&|key| self.lane_of(key) == *lane),
            ParkedPick::Key(key) => {
                let keys = self.keys_named(key)?;
                of_keys(&|key| keys.contains(&key))
            }
            ParkedPick::Positions(positions) => positions.clone(),
        })
    }
}

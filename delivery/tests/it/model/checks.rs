//! What holds after each step.

use std::collections::BTreeMap;

use nexus_protocol::Position;

use super::Model;

impl Model {
    /// All that can be seen from outside.
    pub(crate) fn check(&mut self) {
        let stats = self.group.stats();
        let state = self.group.state();
        assert_eq!(stats.in_flight, self.lent().count());
        assert_eq!(state.pause(), self.promises.pause.as_ref());
        assert_eq!(stats.paused, self.promises.pause.is_some());
        assert!(stats.floor.get() >= self.floor, "the floor goes back");
        self.floor = stats.floor.get();
        for at in self.to_do() {
            if self.log[usize::try_from(at).unwrap()].gone {
                continue;
            }
            let open = state.is_open(Position::new(at));
            let parked = state.parked().get(at).is_some();
            let unseen = at >= stats.next.get();
            assert_eq!(u8::from(open) + u8::from(parked) + u8::from(unseen && !parked), 1, "{at}");
            self.check_tries(at);
        }
        for at in state.open().map(Position::get) {
            assert!(!self.promises.done.contains(&at), "{at} is done and open");
        }
        for (at, _) in state.parked().iter() {
            assert!(!self.promises.done.contains(&at), "{at} is done and parked");
        }
        if self.random.one_in(4) {
            self.check_parked();
            self.check_lanes();
        }
        let oldest = self.lent().map(|(_, lent)| lent.since).min();
        assert_eq!(self.group.oldest_in_flight(), oldest);
    }

    /// How often an event was tried, and since when.
    fn check_tries(&self, at: u64) {
        let state = self.group.state();
        let tried = state.tried(Position::new(at)).filter(|tried| tried.attempts > 0);
        let entry = state.parked().entry(at);
        assert!(tried.is_none() || entry.is_none(), "{at}: it is told twice");
        let tried = tried.map(|it| (it.attempts, it.first_failed));
        let tried = tried.or(entry.map(|it| (it.attempts, it.first_failed)));
        let attempts = self.promises.attempts.get(&at).copied();
        let promised = attempts.map(|attempts| (attempts, self.promises.first_failed[&at]));
        assert_eq!(tried, promised, "{at}");
        let rounds = entry.map_or(0, |entry| entry.rounds);
        assert_eq!(rounds, self.promises.rounds.get(&at).copied().unwrap_or(0), "{at}");
        let edited = entry.and_then(|entry| entry.edited);
        assert_eq!(edited, self.promises.edited.get(&at).copied(), "{at}");
    }

    /// What is parked, and its order.
    fn check_parked(&self) {
        let parked = self.group.state().parked();
        let all: Vec<_> = parked.iter().collect();
        assert!(all.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!((all.len(), parked.is_empty()), (parked.len(), all.is_empty()));
        let failed = all.iter().filter(|(_, aside)| aside.entry().is_some()).count();
        assert_eq!((failed, all.len() - failed), (parked.failed(), parked.waiting()));
        let mut behind: BTreeMap<u64, u64> = BTreeMap::new();
        for (at, aside) in all.iter().rev() {
            let behind = behind.entry(aside.key()).or_default();
            assert_eq!(parked.waiting_behind(*at), *behind);
            *behind += 1;
            assert_eq!(aside.key(), self.key(*at));
            let is_held = aside.entry().is_some_and(|entry| !entry.released);
            assert_eq!(is_held, self.promises.held.contains(at), "{at}");
        }
    }

    fn check_lanes(&self) {
        let stats = self.group.stats();
        let lanes = self.group.lanes();
        assert!(lanes.is_sorted_by(|a, b| a.lane < b.lane));
        let in_flight: u64 = lanes.iter().map(|lane| lane.in_flight).sum();
        let open: u64 = lanes.iter().map(|lane| lane.open).sum();
        let parked: u64 = lanes.iter().map(|lane| lane.parked).sum();
        assert_eq!((in_flight, parked), (stats.in_flight as u64, stats.parked as u64));
        assert!(open <= stats.open as u64);
        let state = self.group.state();
        let fed = self.group.reads_from();
        let mut expected: BTreeMap<u64, (u64, u64, Vec<u64>)> = BTreeMap::new();
        for at in state.open().filter(|at| *at < fed).map(Position::get) {
            let (open, _, first) = expected.entry(self.lane_of(at)).or_default();
            *open += 1;
            first.push(at);
        }
        for (at, _) in state.parked().iter() {
            let (open, parked, first) = expected.entry(self.lane_of(at)).or_default();
            *parked += 1;
            first.extend((*open == 0).then_some(at));
        }
        let seen =
            lanes.iter().map(|lane| (lane.lane.into(), (lane.open, lane.parked, lane.first.get())));
        let expected = expected
            .into_iter()
            .map(|(lane, (open, parked, first))| (lane, (open, parked, first[0])));
        assert_eq!(seen.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        for (token, lent) in self.lent().filter(|_| self.is_ordered()) {
            let lane = self.lane_of(token.position.get());
            let lane = lanes.iter().find(|view| u64::from(view.lane) == lane).unwrap();
            assert_eq!(lane.owner, Some(&*lent.owner));
        }
    }

    fn lane_of(&self, at: u64) -> u64 {
        if self.is_ordered() { self.key(at) % u64::from(self.config.lanes) } else { 0 }
    }
}

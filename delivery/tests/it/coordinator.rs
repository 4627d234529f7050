//! A coordinator over a store in memory, driven by hand.

mod ahead;
mod lost;
mod rules;
mod stalls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use nexus_delivery::coordinator::{
    Answers, Ask, Coordinator, Ended, Handed, Listed, PickDone, Request, Snapshot, What, create,
    is_there, read_journal,
};
use nexus_engine::io::SimDisk;
use nexus_engine::{Engine, Namespace};
use nexus_protocol::group::{
    Answered, DeliveryToken, Failure, GroupConfig, GroupMode, Nack, NackAction, ParkedList,
    ParkedPick, Refused,
};
use nexus_protocol::{Append, AppendError, Appended, EventData, Filter, Position, Read, Timestamp};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

/// Blocks on what a store without threads is asked: each poll does what there is to do.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("it does not come to an end");
}

pub(crate) type Pending<T> = oneshot::Receiver<Result<T, AppendError>>;

/// Whether it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A group that is run by hand.
pub(crate) struct Run {
    pub(crate) coordinator: Coordinator<Namespace>,
    requests: mpsc::Sender<Request>,
    pub(crate) now: Timestamp,
    pub(crate) ended: Option<Ended>,
}

pub(crate) const GROUP: &str = "mail";

impl Run {
    pub(crate) fn open(store: &Namespace) -> Self {
        let store = store.for_system();
        let journal = block_on(read_journal(&store, GROUP)).unwrap().unwrap();
        let (requests, inbox) = mpsc::channel(64);
        let now = Timestamp::from_micros(1_000_000);
        let coordinator = Coordinator::new(store, GROUP, journal, inbox, now).unwrap();
        Self { coordinator, requests, now, ended: None }
    }

    pub(crate) fn new(store: &Namespace, config: &GroupConfig) -> Self {
        assert!(block_on(create(&store.for_system(), GROUP, config, Position::ZERO)).unwrap());
        Self::open(store)
    }

    /// Lets it do what there is to do: called again only where it wants to be, as by a thread that is parked.
    pub(crate) fn step(&mut self) {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        for _ in 0..100_000 {
            if self.ended.is_some() {
                return;
            }
            if let Poll::Ready(ended) = self.coordinator.poll(&mut context, self.now) {
                self.ended = Some(ended);
            }
            if !woken.0.swap(false, Ordering::SeqCst) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
        self.step();
    }

    pub(crate) fn send<Q, T>(
        &mut self,
        what: Q,
        request: impl FnOnce(Ask<Q, T>) -> Request,
    ) -> Pending<T> {
        let (reply, answer) = oneshot::channel();
        // Whoever has ended takes no more, and drops what was asked.
        drop(self.requests.try_send(request(Ask { what, reply })));
        answer
    }

    pub(crate) fn ask<Q, T>(
        &mut self,
        what: Q,
        request: impl FnOnce(Ask<Q, T>) -> Request,
    ) -> Result<T, AppendError> {
        let mut answer = self.send(what, request);
        self.step();
        answer.try_recv().unwrap_or(Err(AppendError::Unknown))
    }

    pub(crate) fn receive(&mut self, consumer: &str, max: usize) -> Vec<Handed> {
        let what = (consumer.to_owned(), max, Duration::ZERO);
        self.ask(what, Request::Receive).unwrap()
    }

    pub(crate) fn answer(&mut self, tokens: Vec<DeliveryToken>, what: What) -> Answered {
        let answers = Answers { consumer: None, tokens, what };
        self.ask(answers, Request::Answer).unwrap()
    }

    pub(crate) fn look(&mut self) -> Snapshot {
        self.ask(false, Request::Look).unwrap()
    }
}

pub(crate) fn tokens(handed: &[Handed]) -> Vec<DeliveryToken> {
    handed.iter().map(|handed| handed.delivery.token).collect()
}

fn positions(handed: &[Handed]) -> Vec<u64> {
    handed.iter().map(|handed| handed.delivery.token.position.get()).collect()
}

pub(crate) fn event(number: u64) -> EventData {
    EventData::json("Sent", &number).unwrap()
}

/// A store without threads: whoever waits does what there is to do.
fn empty() -> Engine {
    let disk = SimDisk::builder().recording(false).build();
    Engine::options().disk(Arc::new(disk)).threads(false).open("/data").unwrap()
}

/// A store with so many events, of ten streams.
fn store(events: u64) -> (Engine, Namespace) {
    let engine = empty();
    let store = engine.namespace("default").unwrap();
    for number in 0..events {
        let stream = format!("mail-{}", number % 10);
        store.append(Append::to(stream).event(event(number))).wait().unwrap();
    }
    (engine, store)
}

fn unordered() -> GroupConfig {
    GroupConfig { mode: GroupMode::Unordered, max_attempts: 2, ..GroupConfig::default() }
}

#[test]
fn what_is_acknowledged_is_never_delivered_again() {
    let (_engine, store) = store(20);
    let mut run = Run::new(&store, &unordered());
    let first = run.receive("a", 10);
    assert_eq!(first.len(), 10);
    assert!(first.iter().all(|handed| handed.event.is_some()), "events come from memory");
    let answered = run.answer(tokens(&first[..7]), What::Ack);
    assert_eq!((answered.done, answered.refused.len()), (7, 0));
    // Opened again: what was not answered comes again, and its old tokens count for nothing.
    let mut run = Run::open(&store);
    let again = run.receive("b", 100);
    assert_eq!(again.len(), 13);
    let mut all = positions(&again);
    all.extend(positions(&first[..7]));
    all.sort_unstable();
    let mut once = all.clone();
    once.dedup();
    assert_eq!(all, once, "each is delivered");
    let answered = run.answer(tokens(&first[..8]), What::Ack);
    let why: Vec<_> = answered.refused.iter().map(|refused| refused.why).collect();
    assert_eq!(why[..7], [Refused::AlreadyAcked; 7]);
    assert!(matches!(why[7], Refused::Expired | Refused::OtherOwner), "{:?}", why[7]);
    let answered = run.answer(tokens(&again), What::Ack);
    assert_eq!(answered.done, 13);
    let looked = run.look();
    assert_eq!((looked.stats.open, looked.stats.in_flight), (0, 0));
    assert_eq!(looked.counts.acked, 13);
}

#[test]
fn a_second_coordinator_fences_the_first() {
    let (_engine, store) = store(4);
    let mut first = Run::new(&store, &unordered());
    let given = first.receive("a", 2);
    let mut second = Run::open(&store);
    assert_eq!(second.receive("b", 10).len(), 4);
    // The old owner cannot commit anything any more, and says so.
    let answers = Answers { consumer: None, tokens: tokens(&given), what: What::Ack };
    let refused = first.ask(answers, Request::Answer).unwrap_err();
    assert!(matches!(refused, AppendError::Conflict(_)), "{refused}");
    assert!(matches!(first.ended, Some(Ended::Failed(AppendError::Conflict(_)))));
    assert_eq!(second.look().stats.in_flight, 4);
}

#[test]
fn an_acknowledgement_with_an_append_is_both_or_neither() {
    let (_engine, store) = store(3);
    let filter = Filter::category("mail");
    let mut run = Run::new(&store, &GroupConfig { filter, ..unordered() });
    let given = run.receive("a", 3);
    let with = |run: &mut Run, handed: &[Handed], append: Append| {
        let answers = Answers { consumer: None, tokens: tokens(handed), what: What::Ack };
        run.ask((answers, append), Request::AckWith)
    };
    let out = |number| Append::to("out").event(event(number));
    // Its condition does not hold: the deliveries are as they were.
    let refused = with(&mut run, &given[..1], out(1).exists()).unwrap_err();
    assert!(matches!(refused, AppendError::Conflict(_)), "{refused}");
    assert_eq!(run.look().stats.in_flight, 3);
    let (answered, appended): (Answered, Option<Appended>) =
        with(&mut run, &given[..2], out(2)).unwrap();
    assert_eq!(answered.done, 2);
    assert!(appended.is_some());
    // Asked again, since the answer was lost: nothing is appended a second time.
    let (answered, appended) = with(&mut run, &given[..2], out(2)).unwrap();
    assert_eq!((answered.done, answered.refused.len()), (0, 2));
    assert!(appended.is_none());
    let out = store.read(Read::stream("out")).into_iter().count();
    assert_eq!(out, 1);
    let mut run = Run::open(&store);
    assert_eq!(positions(&run.receive("b", 10)), positions(&given[2..]));
}

#[test]
fn a_state_stands_for_the_records_before_it() {
    let engine = empty();
    let store = engine.namespace("default").unwrap();
    // Every other event matches: what is done is no stretch, and records are long.
    let filter = Filter::category("mail");
    let parked_rules = vec!["*: retry 1h, then leave".parse().unwrap()];
    let mut run = Run::new(&store, &GroupConfig { filter, parked_rules, ..unordered() });
    let on_record = || -> Vec<u64> {
        let events = store.read(Read::stream("$parked-mail")).into_iter().map(Result::unwrap);
        let said = events.map(|event| event.json::<serde_json::Value>().unwrap());
        said.flat_map(|it| serde_json::from_value::<Vec<u64>>(it["positions"].clone()).unwrap())
            .collect()
    };
    let mut failed = Vec::new();
    let mut number = 0;
    let mut done = 0;
    while run.look().counts.record_bytes < 3 << 20 {
        let events = (0..1000).map(|_| event(number));
        store.append(Append::to("mail-1").events(events)).wait().unwrap();
        number += 1000;
        let given = run.receive("a", 1000);
        let every: Vec<_> = given.chunks(2).filter_map(|pair| pair.first()).cloned().collect();
        failed.extend(positions(&every));
        let nack = Nack { action: NackAction::Park, failure: Failure::new("x".repeat(500)) };
        done += run.answer(tokens(&every), What::Nack(nack)).done;
        let rest: Vec<_> = given.chunks(2).filter_map(|pair| pair.get(1)).cloned().collect();
        done += run.answer(tokens(&rest), What::Ack).done;
    }
    assert!(done > 1000);
    let before = run.look();
    let info = store.stream_info("$group-mail").unwrap();
    assert!(info.floor.get() > 0, "what a state stands for is hidden: {info:?}");
    assert_eq!(on_record(), failed, "what rules have done is not");
    let mut again = Run::open(&store);
    let after = again.look();
    assert_eq!(after.stats.parked, before.stats.parked);
    assert_eq!(after.stats.floor, before.stats.floor);
    assert_eq!(after.config, before.config);
    let seen = again.receive("b", 1000);
    assert_eq!(seen.len(), before.stats.open);
}

#[test]
fn a_group_is_deleted_and_made_anew() {
    let (_engine, store) = store(3);
    let mut run = Run::new(&store, &unordered());
    let given = run.receive("a", 2);
    run.answer(tokens(&given), What::Ack);
    // Somebody waits, and is told.
    let mut waiting = run.send(("b".to_owned(), 1, Duration::from_secs(5)), Request::Receive);
    run.step();
    let _third = waiting.try_recv().unwrap().unwrap();
    let mut waiting = run.send(("b".to_owned(), 1, Duration::from_secs(5)), Request::Receive);
    run.ask((), Request::Delete).unwrap();
    assert_eq!(run.ended, Some(Ended::Deleted));
    assert!(matches!(waiting.try_recv().unwrap(), Err(AppendError::NotFound { .. })));
    let system = store.for_system();
    assert!(!block_on(is_there(&system, GROUP)).unwrap());
    assert_eq!(block_on(read_journal(&system, GROUP)), Ok(None));
    let mut run = Run::new(&store, &unordered());
    assert_eq!(run.receive("a", 10).len(), 3, "a new one has done nothing");
    assert!(!block_on(create(&system, GROUP, &unordered(), Position::ZERO)).unwrap());
}

#[test]
fn whoever_waits_gets_what_comes_and_is_a_member_meanwhile() {
    let (_engine, store) = store(0);
    let mut run = Run::new(&store, &unordered());
    let wait = Duration::from_secs(30);
    let mut waiting = run.send(("a".to_owned(), 5, wait), Request::Receive);
    for _ in 0..5 {
        run.pass(Duration::from_secs(5));
        assert_eq!(run.look().members.len(), 1, "it waits, and is there");
    }
    assert!(waiting.try_recv().is_err());
    store.append(Append::to("mail-1").event(event(1))).wait().unwrap();
    run.step();
    let first = waiting.try_recv().unwrap().unwrap();
    assert_eq!(first.len(), 1);
    // One that went away is given nothing.
    store.append(Append::to("mail-1").event(event(2))).wait().unwrap();
    drop(run.send(("gone".to_owned(), 5, wait), Request::Receive));
    run.step();
    assert_eq!(run.look().stats.in_flight, 1);
    let mut waiting = run.send(("b".to_owned(), 5, wait), Request::Receive);
    run.step();
    let second = waiting.try_recv().unwrap().unwrap();
    assert_eq!(second.len(), 1);
    run.answer(tokens(&second), What::Ack);
    run.answer(tokens(&first), What::Ack);
    let mut waiting = run.send(("b".to_owned(), 5, wait), Request::Receive);
    run.step();
    run.pass(wait);
    assert_eq!(waiting.try_recv().unwrap().unwrap(), [], "its time is over");
}

#[test]
fn what_is_parked_is_listed_replayed_and_given_up() {
    let (_engine, store) = store(4);
    let mut run = Run::new(&store, &unordered());
    let given = run.receive("a", 4);
    let chain = vec!["worse".to_owned()];
    let failure = Failure { class: "db".to_owned(), message: "bad".to_owned(), chain };
    let nack = Nack { action: NackAction::Park, failure };
    run.answer(tokens(&given[1..3]), What::Nack(nack));
    run.answer(tokens(&given[..1]), What::Ack);
    let mut run = Run::open(&store);
    let list = ParkedList { limit: 1, ..ParkedList::default() };
    let Listed { entries, more } = run.ask(list, Request::Parked).unwrap();
    assert!(more && entries.len() == 1);
    let failure = entries[0].failure.as_ref().unwrap();
    assert_eq!((&*failure.class, &*failure.message, failure.chain.len()), ("db", "bad", 1));
    assert_eq!(entries[0].position.get(), positions(&given)[1]);
    let pick = ParkedPick::Positions(vec![entries[0].position]);
    assert_eq!(run.ask((pick, Duration::ZERO), Request::Replay).unwrap(), PickDone { count: 1 });
    assert_eq!(
        run.ask(ParkedPick::All, Request::Discard).unwrap().count,
        2,
        "also what was released"
    );
    let left = run.receive("b", 10);
    assert_eq!(positions(&left), positions(&given[3..]));
}

#[test]
fn a_silent_stop_is_seen_and_on_record() {
    let (_engine, store) = store(4);
    let mut run = Run::new(&store, &unordered());
    let given = run.receive("takes and never answers", 4);
    assert_eq!(given.len(), 4);
    assert!(!run.look().stalled);
    let told = |store: &Namespace| {
        let events = store.read(Read::stream("$group-mail")).into_iter().map(Result::unwrap);
        events.filter(|event| event.event_type() == "$GroupStalled").count()
    };
    // It asks for more time again and again, and nothing is done.
    for _ in 0..7 {
        let by = What::Extend(Duration::from_secs(30));
        assert_eq!(run.answer(tokens(&given), by).done, 4);
        run.pass(Duration::from_secs(10));
    }
    assert!(run.look().stalled && run.coordinator.gauges().stalled);
    assert_eq!(told(&store), 1);
    run.pass(Duration::from_secs(5));
    assert_eq!(told(&store), 1, "it is said once");
    assert_eq!(run.answer(tokens(&given), What::Ack).done, 4);
    run.step();
    assert!(!run.look().stalled);
    let gauges = run.coordinator.gauges();
    assert_eq!((gauges.open, gauges.behind_from, gauges.counts.acked), (0, None, 4));
    let mut again = Run::open(&store);
    assert_eq!(again.receive("b", 10), [], "what it says of stalls is no matter of its state");
}

#[test]
fn a_group_that_is_busy_is_deleted_and_its_name_is_free() {
    let (_engine, store) = store(6);
    let mut run = Run::new(&store, &unordered());
    let given = run.receive("a", 6);
    // Acknowledged in the same moment: that is told first, and the end comes alone behind it.
    let answers = |tokens| Answers { consumer: None, tokens, what: What::Ack };
    let mut before = run.send(answers(tokens(&given[..2])), Request::Answer);
    let mut deleted = run.send((), Request::Delete);
    let mut behind = run.send(answers(tokens(&given[2..4])), Request::Answer);
    run.step();
    assert_eq!(before.try_recv().unwrap().unwrap().done, 2);
    assert_eq!(deleted.try_recv().unwrap(), Ok(()));
    assert!(matches!(behind.try_recv().unwrap(), Err(AppendError::NotFound { .. })));
    assert_eq!(run.ended, Some(Ended::Deleted));
    let system = store.for_system();
    assert_eq!(block_on(read_journal(&system, GROUP)), Ok(None));
    // Made anew: no token of the old one is one of the new one.
    let mut run = Run::new(&store, &unordered());
    let new = run.receive("b", 6);
    assert_eq!(positions(&new), positions(&given));
    let answered = run.answer(tokens(&given), What::Ack);
    assert_eq!((answered.done, answered.refused.len()), (0, 6));
    assert_eq!(run.look().stats.in_flight, 6);
}

#[test]
fn a_stuck_key_with_much_behind_it_hides_no_other_from_who_waits() {
    let engine = empty();
    let store = engine.namespace("default").unwrap();
    let mut run = Run::new(&store, &GroupConfig { lanes: 16, ..GroupConfig::default() });
    for _ in 0..80 {
        let events = (0..1000).map(event);
        store.append(Append::to("stuck").events(events)).wait().unwrap();
    }
    store.append(Append::to("other").event(event(1))).wait().unwrap();
    assert_eq!(run.receive("a", 10).len(), 1);
    // Nothing else happens, and nobody asks again.
    let wait = Duration::from_secs(30);
    let mut waiting = run.send(("b".to_owned(), 10, wait), Request::Receive);
    let mut also = run.send(("a".to_owned(), 10, wait), Request::Receive);
    run.step();
    let came = [waiting.try_recv(), also.try_recv()].into_iter().flatten().count();
    assert_eq!(came, 1, "whoever has its lane gets it at once");
}

#[test]
fn a_state_is_written_also_where_there_is_always_something_else_to_write() {
    let engine = empty();
    let store = engine.namespace("default").unwrap();
    let filter = Filter::category("mail");
    let mut run = Run::new(&store, &GroupConfig { filter, ..unordered() });
    for _ in 0..16 {
        let events = (0..1000).map(event);
        store.append(Append::to("mail-1").events(events)).wait().unwrap();
        let given = run.receive("a", 1000);
        // Each answer has a record of its own, and the next is there before it is written.
        let answers = given.iter().map(|handed| {
            let tokens = vec![handed.delivery.token];
            Answers { consumer: None, tokens, what: What::Ack }
        });
        for pair in answers.collect::<Vec<_>>().chunks(2) {
            let mut told: Vec<_> =
                pair.iter().map(|it| run.send(it.clone(), Request::Answer)).collect();
            run.step();
            assert!(told.iter_mut().all(|it| it.try_recv().unwrap().unwrap().done == 1));
        }
    }
    let floor = store.stream_info("$group-mail").unwrap().floor;
    assert!(floor.get() > 0, "records of the log are more than their data");
    assert_eq!(Run::open(&store).look().stats.open, 0);
}

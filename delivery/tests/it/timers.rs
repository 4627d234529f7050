//! Timers: the machine against a naive one, and the scheduler over a store in memory and on a disk that crashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nexus_delivery::coordinator::Ask;
use nexus_delivery::timers::{Admit, Ended, Listed, Scheduler, Timers};
use nexus_engine::io::SimDisk;
use nexus_engine::{Engine, Namespace};
use nexus_protocol::timer::{
    TIMER_ARMED, TIMER_DISARMED, TIMER_FAILED, TIMER_FIRED, Timer, TimerList, TimerState, disarmed,
    timer_event_id, timer_info, timer_stream,
};
use nexus_protocol::{
    Append, AppendError, EventData, Position, Read, RecordedEvent, Revision, SchemaId, Timestamp,
};
use nexus_testing::Random;
use tokio::sync::{mpsc, oneshot};

const START: Timestamp = Timestamp::from_micros(1_000_000_000);

/// The timers of a store, run by hand.
struct Run {
    scheduler: Scheduler<Namespace>,
    lists: mpsc::Sender<Ask<TimerList, Listed>>,
    now: Timestamp,
    ended: Option<Ended>,
}

impl Run {
    fn open(store: &Namespace, now: Timestamp) -> Self {
        Self::admitting(store, now, Arc::new(|_| Ok(())))
    }

    fn admitting(store: &Namespace, now: Timestamp, admit: Admit) -> Self {
        let (lists, inbox) = mpsc::channel(8);
        let scheduler = Scheduler::new(store.for_system(), admit, inbox);
        Self { scheduler, lists, now, ended: None }
    }

    /// So many polls: whatever is under way may stay so.
    fn polls(&mut self, count: u64) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..count {
            if self.ended.is_none()
                && let Poll::Ready(ended) = self.scheduler.poll(&mut context, self.now)
            {
                self.ended = Some(ended);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
        self.polls(20);
    }

    fn list(&mut self, state: TimerState, after: Option<&str>, limit: usize) -> Listed {
        let (reply, mut answer) = oneshot::channel();
        let what = TimerList { state, after: after.map(str::to_owned), limit };
        self.lists.try_send(Ask { what, reply }).unwrap();
        self.polls(3);
        answer.try_recv().unwrap().unwrap()
    }
}

fn after(time: Duration) -> Timestamp {
    START.saturating_add(time)
}

const SECOND: Duration = Duration::from_secs(1);

fn open(disk: &SimDisk) -> (Engine, Namespace) {
    let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
    let engine =
        options.segment_bytes(64 * 1024, 256 * 1024).compress(false).open("/data").unwrap();
    let store = engine.namespace("default").unwrap();
    (engine, store)
}

fn store() -> (Engine, Namespace) {
    open(&SimDisk::builder().recording(false).build())
}

fn timer(due_at: Timestamp, stream: &str, number: u64) -> Timer {
    Timer::new(due_at, stream, EventData::json("Due", &number).unwrap().tag("k:v"))
}

fn arm(id: &str, timer: &Timer) -> Append {
    Append::to(timer_stream(id)).event(timer.armed())
}

fn events(store: &Namespace, stream: &str) -> Vec<RecordedEvent> {
    store.read(Read::stream(stream)).into_iter().map(Result::unwrap).collect()
}

fn types(store: &Namespace, stream: &str) -> Vec<String> {
    events(store, stream).iter().map(|it| it.event_type().to_owned()).collect()
}

#[test]
fn a_timer_fires_once_when_its_time_has_come() {
    let (_engine, store) = store();
    let mut run = Run::open(&store, START);
    let step = Append::to("order-1")
        .event(EventData::json("Placed", &1).unwrap())
        .stream(timer_stream("pay"))
        .event(timer(after(5 * SECOND), "order-1", 7).armed());
    store.append(step).wait().unwrap();
    run.pass(4 * SECOND);
    assert_eq!(types(&store, "order-1"), ["Placed"]);
    assert_eq!(run.scheduler.next_tick(), Some(after(5 * SECOND)));
    assert_eq!(run.list(TimerState::Armed, None, 10).ids, ["pay".into()]);
    run.pass(3 * SECOND);
    assert_eq!(types(&store, "order-1"), ["Placed", "Due"]);
    assert_eq!(types(&store, "$timer-pay"), [TIMER_ARMED, TIMER_FIRED]);
    let (due, armed) = (&events(&store, "order-1")[1], &events(&store, "$timer-pay")[0]);
    assert_eq!(due.id(), timer_event_id(armed.id()));
    assert_eq!(due.causation_id().unwrap().as_uuid(), armed.id().as_uuid());
    assert!(due.has_tag("k:v"));
    let gauges = run.scheduler.gauges();
    assert_eq!((gauges.fired, gauges.armed, gauges.late_us), (1, 0, 2_000_000));
    // Neither later nor after another start.
    run.pass(100 * SECOND);
    let mut run = Run::open(&store, run.now);
    run.pass(100 * SECOND);
    assert_eq!(types(&store, "order-1").len(), 2);
}

#[test]
fn what_is_past_fires_at_once_and_a_refused_step_arms_nothing() {
    let (_engine, store) = store();
    let mut run = Run::open(&store, START);
    store.append(arm("late", &timer(Timestamp::from_micros(0), "mail", 1))).wait().unwrap();
    let step = Append::to("mail").no_stream().event(EventData::json("Placed", &1).unwrap());
    run.polls(20);
    let refused = step.stream(timer_stream("never")).event(timer(START, "mail", 2).armed());
    assert!(matches!(store.append(refused).wait(), Err(AppendError::Conflict(_))));
    run.pass(SECOND);
    assert_eq!(types(&store, "mail"), ["Due"]);
    assert!(events(&store, "$timer-never").is_empty());
}

#[test]
fn an_arming_that_is_over_does_not_fire() {
    let (_engine, store) = store();
    let mut run = Run::open(&store, START);
    for id in ["again", "off"] {
        store.append(arm(id, &timer(after(SECOND), id, 1))).wait().unwrap();
    }
    run.polls(20);
    // The scheduler has not read of it when the time comes.
    store.append(arm("again", &timer(after(9 * SECOND), "again", 2))).wait().unwrap();
    store.append(Append::to(timer_stream("off")).event(disarmed())).wait().unwrap();
    run.pass(2 * SECOND);
    assert!(events(&store, "again").is_empty() && events(&store, "off").is_empty());
    run.pass(8 * SECOND);
    assert_eq!(events(&store, "again")[0].data(), b"2");
    assert_eq!(types(&store, "$timer-off"), [TIMER_ARMED, TIMER_DISARMED]);
    // Two schedulers that do not know of each other.
    let mut other = Run::open(&store, run.now);
    other.polls(20);
    store.append(arm("two", &timer(run.now, "two", 3))).wait().unwrap();
    run.polls(1);
    other.polls(1);
    run.pass(SECOND);
    other.pass(SECOND);
    assert_eq!((types(&store, "two").len(), types(&store, "$timer-two").len()), (1, 2));
}

#[test]
fn a_timer_that_cannot_fire_fails_and_may_be_armed_anew() {
    let (_engine, store) = store();
    let mut run = Run::open(&store, START);
    store.append(Append::to("gone").event(EventData::json("A", &1).unwrap())).wait().unwrap();
    store.tombstone_stream("gone", nexus_protocol::ExpectedRevision::Any).unwrap();
    store.append(arm("x", &timer(START, "gone", 1))).wait().unwrap();
    for _ in 0..40 {
        run.pass(SECOND);
    }
    assert_eq!(types(&store, "$timer-x"), [TIMER_ARMED, TIMER_FAILED]);
    assert_eq!(run.list(TimerState::Failed, None, 10).ids, ["x".into()]);
    let all = events(&store, "$timer-x");
    let info = timer_info("x", &all[1], &all[0]).unwrap().unwrap();
    let failure = info.failure.unwrap();
    assert_eq!((info.state, failure.attempts), (TimerState::Failed, 5));
    assert!(failure.error.message.contains("deleted for good"), "{failure:?}");
    assert!(failure.last_failed > failure.first_failed);
    // It is known still after another start, and armed anew it does what it is to do.
    let mut run = Run::open(&store, run.now);
    run.polls(20);
    assert_eq!(run.list(TimerState::Failed, None, 10).ids, ["x".into()]);
    store.append(arm("x", &timer(START, "there", 1))).wait().unwrap();
    run.pass(SECOND);
    assert_eq!(types(&store, "there"), ["Due"]);
    assert_eq!((run.scheduler.gauges().failed, run.scheduler.gauges().armed), (0, 0));
}

#[test]
fn the_event_of_a_timer_is_admitted_right_before_it_is_appended() {
    let (_engine, store) = store();
    let closed = Arc::new(AtomicBool::new(true));
    let door = Arc::clone(&closed);
    let admit = Arc::new(move |append: &mut Append| {
        append.streams[0].events[0].found_schema = SchemaId::new(7);
        match door.load(Ordering::SeqCst) {
            true => Err(AppendError::SchemaInvalid(Vec::new())),
            false => Ok(()),
        }
    });
    let mut run = Run::admitting(&store, START, admit);
    store.append(arm("x", &timer(START, "there", 1))).wait().unwrap();
    for _ in 0..40 {
        run.pass(SECOND);
    }
    assert_eq!(types(&store, "$timer-x"), [TIMER_ARMED, TIMER_FAILED]);
    assert!(types(&store, "there").is_empty(), "nothing of it is there");
    closed.store(false, Ordering::SeqCst);
    store.append(arm("x", &timer(START, "there", 1))).wait().unwrap();
    run.pass(SECOND);
    assert_eq!(types(&store, "there"), ["Due"]);
    assert_eq!(events(&store, "there")[0].schema(), SchemaId::new(7), "as was noted");
}

#[test]
fn what_clients_may_not_say_of_timers_is_refused() {
    let (_engine, store) = store();
    for event_type in [TIMER_FIRED, TIMER_FAILED, "Placed"] {
        let append = Append::to("$timer-a").event(EventData::json(event_type, &1).unwrap());
        assert!(matches!(store.append(append).wait(), Err(AppendError::Denied { .. })));
    }
    let malformed = Append::to("$timer-a").event(EventData::json(TIMER_ARMED, &1).unwrap());
    assert!(matches!(store.append(malformed).wait(), Err(AppendError::Invalid(_))));
    let far = Timestamp::from_micros(i64::MAX / 2);
    let far = store.append(arm("a", &timer(far, "a", 1))).wait();
    assert!(matches!(far, Err(AppendError::Invalid(_))), "{far:?}");
    let system = store.append(arm("a", &timer(START, "$timer-b", 1))).wait();
    assert!(matches!(system, Err(AppendError::Invalid(_))), "{system:?}");
    let elsewhere = Append::to("a").event(timer(START, "a", 1).armed());
    assert!(matches!(store.append(elsewhere).wait(), Err(AppendError::Denied { .. })));
}

#[test]
fn a_start_reads_from_where_the_first_timer_is_armed() {
    let (_engine, store) = store();
    let mut run = Run::open(&store, START);
    for number in 0..2500 {
        let id = format!("t{number}");
        store.append(arm(&id, &timer(START, "mail", number))).wait().unwrap();
        run.polls(3);
    }
    run.pass(SECOND);
    assert_eq!(events(&store, "mail").len(), 2500);
    let noted = store.read(Read::stream("$timers")).into_iter().map(Result::unwrap);
    let noted: Vec<_> = noted.map(|it| it.json::<serde_json::Value>().unwrap()).collect();
    assert_eq!(noted.len(), 1, "the newest alone is kept");
    let from = noted[0]["from_position"].as_u64().unwrap();
    assert!(from > 5000, "{from}");
    store.append(arm("z", &timer(after(50 * SECOND), "late", 1))).wait().unwrap();
    let mut run = Run::open(&store, run.now);
    run.polls(20);
    assert_eq!(run.list(TimerState::Armed, None, 10).ids, ["z".into()]);
    run.pass(50 * SECOND);
    assert_eq!(events(&store, "late").len(), 1);
}

#[test]
fn what_stands_between_is_read_before_anything_fires() {
    let (_engine, store) = store();
    let mut run = Run::open(&store, START);
    let others = || {
        let other = |number: u64| EventData::json("Placed", &number).unwrap();
        store.append(Append::to("order-1").events((0..3_000).map(other))).wait().unwrap();
    };
    others();
    store.append(arm("a", &timer(after(SECOND), "mail", 1))).wait().unwrap();
    others();
    run.pass(SECOND);
    run.polls(20);
    assert_eq!(events(&store, "mail").len(), 1);
    // Who reads that it is armed has not read yet that it has fired.
    let mut run = Run::open(&store, run.now);
    run.polls(40);
    let gauges = run.scheduler.gauges();
    assert_eq!((gauges.fired, gauges.armed, gauges.failures), (0, 0, 0));
    assert_eq!(events(&store, "mail").len(), 1);
}

/// What is armed, looked for the slow way.
#[derive(Default)]
struct Naive(BTreeMap<String, (Option<u64>, u64, bool)>);

#[test]
fn the_machine_does_what_a_naive_one_does() {
    let mut taken = 0;
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let (mut timers, mut naive) = (Timers::new(), Naive::default());
        let mut firing: Vec<nexus_delivery::timers::Due> = Vec::new();
        for position in 0..300_u64 {
            let now = position * 10;
            let id = format!("t{}", random.below(8));
            let (at, revision) = (Position::new(position), Revision::new(position));
            match random.below(8) {
                0..=2 => {
                    let due = now + random.below(200);
                    let due_at = Timestamp::from_micros(i64::try_from(due).unwrap());
                    timers.arm(&id, due_at, revision, at);
                    naive.0.insert(id, (Some(due), position, false));
                }
                3 => {
                    timers.end(&id);
                    naive.0.remove(&id);
                }
                4 => {
                    timers.fail(&id, revision, at);
                    naive.0.insert(id, (None, position, false));
                }
                5 if !firing.is_empty() => {
                    let index = usize::try_from(random.below(firing.len() as u64)).unwrap();
                    let due = firing.remove(index);
                    let is_there = |it: &&mut (Option<u64>, u64, bool)| it.1 == due.position.get();
                    if random.one_in(2) {
                        timers.done(due.position);
                        naive.0.retain(|_, it| it.1 != due.position.get());
                    } else {
                        let again = now + random.below(100);
                        let again_at = Timestamp::from_micros(i64::try_from(again).unwrap());
                        timers.again(due.position, again_at, None);
                        if let Some(it) = naive.0.get_mut(&*due.id).filter(is_there) {
                            (it.0, it.2) = (Some(again), false);
                        }
                    }
                }
                _ => {
                    let found =
                        timers.take_due(Timestamp::from_micros(i64::try_from(now).unwrap()));
                    let due = naive.0.iter_mut().filter(|(_, it)| !it.2);
                    let due = due.filter_map(|(id, it)| it.0.map(|at| (at, it.1, id, &mut it.2)));
                    let first = due.filter(|it| it.0 <= now).min_by_key(|it| (it.0, it.1));
                    let expected = first.map(|(_, position, id, is_firing)| {
                        *is_firing = true;
                        (id.clone(), position)
                    });
                    let got = found.as_ref().map(|it| (it.id.to_string(), it.position.get()));
                    assert_eq!(got, expected, "seed {seed}");
                    taken += usize::from(found.is_some());
                    firing.extend(found);
                }
            }
            let failed = naive.0.values().filter(|it| it.0.is_none()).count();
            assert_eq!((timers.failed(), timers.armed()), (failed, naive.0.len() - failed));
            let first = naive.0.values().map(|it| it.1).min();
            assert_eq!(timers.first_position().map(Position::get), first);
            let due = naive.0.values().filter(|it| !it.2).filter_map(|it| it.0).min();
            let next = timers.next_due().map(|it| u64::try_from(it.as_micros()).unwrap());
            assert_eq!(next, due, "seed {seed}");
            let ids: Vec<_> = timers.ids(TimerState::Failed, Some("t3")).cloned().collect();
            let is_failed = |(id, it): &(&String, &(Option<u64>, u64, bool))| {
                it.0.is_none() && id.as_str() > "t3"
            };
            let naive: Vec<_> = naive.0.iter().filter(is_failed).map(|(id, _)| id).collect();
            assert!(ids.iter().map(|it| &**it).eq(naive.iter().map(|it| it.as_str())));
        }
    }
    assert!(taken > 5_000, "{taken}");
}

#[test]
fn each_arming_fires_once_or_is_over_through_crashes() {
    let seeds = if cfg!(debug_assertions) { 20 } else { 100 };
    let (mut crashes, mut fired) = (0, 0);
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let mut disk = SimDisk::builder().seed(seed).build();
        let (mut engine, mut store) = open(&disk);
        let mut run = Run::open(&store, START);
        // Armings that were answered, by timer and revision: what they are to append.
        let mut armed: BTreeMap<(String, u64), u64> = BTreeMap::new();
        let mut number = 0;
        for _ in 0..250 {
            let id = format!("t{}", random.below(6));
            match random.below(16) {
                0..=5 => {
                    number += 1;
                    let due_at =
                        run.now.saturating_add(SECOND * u32::try_from(random.below(9)).unwrap());
                    let append = arm(&id, &timer(due_at, &format!("out-{id}"), number))
                        .stream("steps")
                        .event(EventData::json("Step", &number).unwrap());
                    let answer = store.append(append).wait().unwrap();
                    armed.insert((id, answer.streams[0].last_revision.get()), number);
                }
                6..=7 => {
                    let append = Append::to(timer_stream(&id)).event(disarmed());
                    drop(store.append(append).wait().unwrap());
                }
                8 => {
                    crashes += 1;
                    disk = disk.crash(random.next());
                    let now = run.now;
                    drop((run, store, engine));
                    (engine, store) = open(&disk);
                    run = Run::open(&store, now);
                }
                9..=11 => {
                    run.now = run.now.saturating_add(SECOND);
                    run.polls(random.below(3));
                }
                _ => run.polls(random.below(4)),
            }
            assert_eq!(run.ended, None, "seed {seed}");
        }
        for _ in 0..20 {
            run.pass(SECOND);
        }
        for number in 0..6 {
            fired += check(&store, &format!("t{number}"), &armed, seed);
        }
        assert_eq!(run.scheduler.gauges().armed, 0, "seed {seed}");
        drop(engine);
    }
    println!("count: timer_crashes {crashes}");
    println!("count: timers_fired {fired}");
    assert!(crashes > 100 && fired > 300, "{crashes} {fired}");
}

/// Whether a timer's stream and what it appended agree. Gives how often it has fired.
fn check(store: &Namespace, id: &str, armed: &BTreeMap<(String, u64), u64>, seed: u64) -> usize {
    let stream = events(store, &timer_stream(id));
    let mut expected = Vec::new();
    for (index, event) in stream.iter().enumerate() {
        let next = stream.get(index + 1).map(RecordedEvent::event_type);
        match event.event_type() {
            // Whoever is the newest has fired, or was disarmed.
            TIMER_ARMED => {
                assert!(next.is_some(), "seed {seed}: {id} waits for ever");
                let armed = Timer::from_armed(event.data()).unwrap();
                if next == Some(TIMER_FIRED) {
                    expected.push((armed.event.data, timer_event_id(event.id())));
                }
            }
            // Nothing fires that is not armed.
            TIMER_FIRED => assert_eq!(stream[index - 1].event_type(), TIMER_ARMED, "seed {seed}"),
            TIMER_DISARMED => {}
            other => panic!("seed {seed}: {other}"),
        }
    }
    for ((of, revision), number) in armed.iter().filter(|((of, _), _)| of == id) {
        let event = &stream[usize::try_from(*revision).unwrap()];
        let armed = Timer::from_armed(event.data()).unwrap();
        assert_eq!(armed.event.data, number.to_string(), "seed {seed}: {of} {revision}");
    }
    let out = events(store, &format!("out-{id}"));
    let out: Vec<_> = out.iter().map(|it| (it.data_bytes(), it.id())).collect();
    assert_eq!(out, expected, "seed {seed}: {id}");
    expected.len()
}

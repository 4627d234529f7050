//! The engine ends: by closing, by poison, in the middle of work. Whoever waits is answered, and once
//! the directory's lock is given back nothing writes there any more.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_core::Stream;
use nexus_engine::io::SimDisk;
use nexus_engine::io::sim::{Fault, TraceOp};
use nexus_engine::{Engine, EntryId, Namespace, PendingAppend, Replicator};
use nexus_protocol::{Append, AppendError, EventData, Query, QueryItem, Start, Subscribe};

use crate::stores::files;
use crate::workload::{DIR, SECOND, Shape};

fn one(n: u64) -> Append {
    Append::to("s-1").event(EventData::json("Tested", &n).unwrap())
}

/// Longer than anything here takes; only a test that fails waits so long.
const LONG: Duration = Duration::from_secs(5);

fn threaded(disk: &SimDisk, appends_max: usize) -> Engine {
    Shape::PLAIN.options(disk).threads(true).queue(appends_max, 60_000).open(DIR).unwrap()
}

/// What a test does when it is woken.
struct OnWake<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn waker(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(OnWake(on_wake)))
}

fn poll(pending: &mut PendingAppend, waker: &Waker) -> Poll<Option<AppendError>> {
    let poll = Future::poll(std::pin::Pin::new(pending), &mut Context::from_waker(waker));
    poll.map(Result::err)
}

/// Stops whoever commits, from its next frame on, until it is told to go on.
#[derive(Debug)]
struct Held {
    entered: Sender<()>,
    go_on: Receiver<()>,
    last: bool,
}

impl Replicator for Held {
    fn next_entry(&mut self, last: EntryId) -> EntryId {
        if !self.last {
            self.entered.send(()).unwrap();
            self.last = self.go_on.recv().is_err();
        }
        EntryId { term: last.term, index: last.index + 1 }
    }

    fn on_durable(&mut self, entry: EntryId) -> Option<EntryId> {
        Some(entry)
    }
}

fn hold(engine: &Engine) -> (Receiver<()>, Sender<()>) {
    let (entered, held) = channel();
    let (release, go_on) = channel();
    engine.seams().set_replicator(Box::new(Held { entered, go_on, last: false }));
    (held, release)
}

#[test]
fn no_write_is_in_flight_once_the_lock_is_given_back() {
    let disk = SimDisk::builder().depth(4).build();
    let engine = Shape::PLAIN.open(&disk);
    engine.append(one(0)).wait().unwrap();
    disk.schedule(Fault::sync(1));
    let pending: Vec<PendingAppend> = (1..5).map(|n| engine.append(one(n))).collect();
    for answer in pending.into_iter().map(PendingAppend::wait) {
        assert!(matches!(answer, Err(AppendError::Poisoned { .. })), "{answer:?}");
    }
    assert_eq!(disk.faults_struck(), 1);
    drop(engine.close());
    let trace = disk.trace();
    let mut in_flight = BTreeSet::new();
    for op in trace.ops() {
        match op {
            TraceOp::LogSubmit { write, .. } => assert!(in_flight.insert(*write)),
            TraceOp::LogComplete { write, .. } => assert!(in_flight.remove(write)),
            _ => {}
        }
    }
    assert!(in_flight.is_empty(), "{in_flight:?}");
}

#[test]
fn what_is_left_of_a_closed_engine_writes_nothing() {
    let disk = SimDisk::default();
    let engine = Shape::PLAIN.open(&disk);
    for n in 0..60 {
        engine.append(one(n)).wait().unwrap();
    }
    let (left, seams) = (engine.clone(), engine.seams());
    let (first, frames) = (EntryId { term: 1, index: 0 }, seams.frames_after(seams.last_entry()));
    let other = Shape::PLAIN.open(&SimDisk::default());
    other.append(one(0)).wait().unwrap();
    let foreign = other.seams().frames_after(first).unwrap();
    engine.close().unwrap();
    let before = (disk.op_count(), files(&disk));
    assert!(frames.unwrap().is_empty() && !foreign.is_empty());
    let refused = [
        left.maintain().map_err(|error| error.to_string()),
        left.create_namespace(SECOND).map(drop).map_err(|error| error.to_string()),
        seams.append_frames(&foreign, |_| ()).map_err(|error| error.to_string()),
        seams.truncate_tail(first).map_err(|error| error.to_string()),
        left.append(one(100)).wait().map(drop).map_err(|error| error.to_string()),
    ];
    for refused in refused {
        let said = refused.unwrap_err();
        assert!(said.contains("closed"), "{said}");
    }
    assert!((disk.op_count(), files(&disk)) == before, "nothing was written");
}

#[test]
fn a_namespace_is_created_while_the_maintenance_thread_is_in_foreign_code() {
    let disk = SimDisk::default();
    let engine = threaded(&disk, 1);
    let (held, release) = hold(&engine);
    let mut pending = vec![engine.append(one(0))];
    assert!(poll(&mut pending[0], Waker::noop()).is_pending());
    held.recv_timeout(LONG).unwrap();
    pending.push(engine.append(one(1)));
    pending.push(engine.append(one(2)));
    // The queue is full, and the maintenance thread wakes who waits for a place.
    let (woken, nudged) = channel();
    let (created, done) = channel();
    let (told, in_time) = channel();
    let done = Mutex::new(done);
    let waits = waker(move || {
        if woken.send(()).is_ok() {
            told.send(done.lock().unwrap().recv_timeout(LONG).is_ok()).ok();
        }
    });
    assert!(poll(&mut pending[2], &waits).is_pending());
    nudged.recv_timeout(LONG).unwrap();
    engine.create_namespace(SECOND).unwrap();
    created.send(()).unwrap();
    drop((release, nudged));
    assert_eq!(in_time.recv_timeout(2 * LONG), Ok(true), "the list of namespaces was held");
    pending.remove(2).wait().unwrap();
    engine.close().unwrap();
}

/// A task that, when it is woken, appends to another stream and waits for that.
fn appends_when_woken(engine: &Namespace) -> (Waker, Receiver<bool>) {
    let (answered, answers) = channel();
    let engine = engine.clone();
    let waker = waker(move || {
        let append = Append::to("woken").event(EventData::json("Tested", &1).unwrap());
        answered.send(engine.append(append).wait().is_ok()).ok();
    });
    (waker, answers)
}

#[test]
fn a_waker_may_append_and_wait() {
    for threads in [true, false] {
        let disk = SimDisk::default();
        let engine = Shape::PLAIN.options(&disk).threads(threads).open(DIR).unwrap();
        let (waker, answers) = appends_when_woken(&engine);
        let mut answered = engine.append(one(0));
        if threads {
            // Woken by its answer, in the commit thread.
            let (held, release) = hold(&engine);
            assert!(poll(&mut answered, &waker).is_pending());
            held.recv_timeout(LONG).unwrap();
            drop(release);
        } else {
            // Woken in this one, by whoever waits for another append.
            engine.seams().set_replicator(Box::new(crate::workload::Slow));
            assert!(poll(&mut answered, &waker).is_pending());
            engine.seams().set_replicator(Box::new(nexus_engine::LocalReplicator));
            let last = engine.seams().last_entry();
            engine.seams().set_committed(last);
        }
        assert_eq!(answers.recv_timeout(LONG), Ok(true), "threads: {threads}");
        answered.wait().unwrap();
        // A subscriber is woken by the watermark.
        let (waker, answers) = appends_when_woken(&engine);
        let mut all = engine.subscribe(Subscribe::all().start(Start::End));
        let mut context = Context::from_waker(&waker);
        while Stream::poll_next(std::pin::Pin::new(&mut all), &mut context).is_ready() {}
        engine.append(one(1)).wait().unwrap();
        assert_eq!(answers.recv_timeout(LONG), Ok(true), "threads: {threads}");
    }
}

#[test]
fn a_waker_that_is_woken_by_a_refusal_may_append() {
    let disk = SimDisk::default();
    let engine = threaded(&disk, 16);
    engine.append(one(0)).wait().unwrap();
    let (waker, answers) = appends_when_woken(&engine);
    disk.schedule(Fault::sync(1).at(crate::stores::segment(1)));
    let (held, release) = hold(&engine);
    let mut failed = engine.append(one(1));
    assert!(poll(&mut failed, &waker).is_pending());
    held.recv_timeout(LONG).unwrap();
    drop(release);
    assert_eq!(answers.recv_timeout(LONG), Ok(false), "the log is poisoned");
    let poisoned = failed.wait();
    assert!(matches!(poisoned, Err(AppendError::Poisoned { .. })), "{poisoned:?}");
}

#[test]
fn a_future_that_waits_for_a_place_gets_one_without_threads() {
    let disk = SimDisk::default();
    let engine = Shape::PLAIN.options(&disk).queue(1, 60_000).open(DIR).unwrap();
    let mut pending: Vec<PendingAppend> = (0..3).map(|n| engine.append(one(n))).collect();
    for waits in pending.iter_mut().rev() {
        let answer = poll(waits, Waker::noop());
        assert!(matches!(answer, Poll::Ready(None)), "{answer:?}");
    }
    assert_eq!(engine.stats().events, 3);
}

#[test]
fn conditions_take_room_in_the_queue() {
    let disk = SimDisk::default();
    let options = Shape::PLAIN.options(&disk).threads(true).queue(16_384, 0);
    let engine = options.open(DIR).unwrap();
    let (held, release) = hold(&engine);
    let mut first = engine.append(one(0));
    assert!(poll(&mut first, Waker::noop()).is_pending());
    held.recv_timeout(LONG).unwrap();
    // A condition of some 500 KiB, and no event.
    let tags = |n: usize| (0..32).map(move |tag| format!("{n}-{tag}:{}", "x".repeat(240)));
    let query = Query::any((0..64).map(|n| QueryItem::tags(tags(n))));
    let (mut waits, mut refused) = (Vec::new(), 0);
    for _ in 0..64 {
        let mut pending = engine.append(Append::default().absent(query.clone()));
        match poll(&mut pending, Waker::noop()) {
            Poll::Pending => waits.push(pending),
            Poll::Ready(Some(AppendError::Overloaded { .. })) => refused += 1,
            Poll::Ready(other) => panic!("{other:?}"),
        }
    }
    drop(release);
    assert!(waits.len() > 20 && refused > 20, "{} wait, {refused} do not", waits.len());
    first.wait().unwrap();
    waits.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
}

#[test]
fn a_second_closer_gets_the_result_of_the_first() {
    let disk = SimDisk::default();
    let engine = Shape::PLAIN.open(&disk);
    engine.append(one(0)).wait().unwrap();
    let left = engine.clone();
    disk.schedule(Fault::write(1).at(crate::stores::path_of("node-state")));
    let first = engine.close().unwrap_err();
    assert_eq!(disk.faults_struck(), 1);
    assert_eq!(left.clone().close().unwrap_err(), first);
    assert_eq!(left.close().unwrap_err(), first);
}

#[test]
fn closers_wait_for_the_one_who_closes() {
    let disk = SimDisk::default();
    let engine = threaded(&disk, 16);
    let (held, release) = hold(&engine);
    let mut pending = engine.append(one(0));
    assert!(poll(&mut pending, Waker::noop()).is_pending());
    held.recv_timeout(LONG).unwrap();
    let (closed, results) = channel();
    for _ in 0..3 {
        let (engine, closed) = (engine.clone(), closed.clone());
        std::thread::spawn(move || closed.send(engine.close()).unwrap());
    }
    // Each of them waits, the first for the commit thread. Were it not so, one would be told soon.
    assert!(results.recv_timeout(Duration::from_millis(50)).is_err(), "a closer did not wait");
    drop(release);
    for _ in 0..3 {
        assert_eq!(results.recv_timeout(LONG), Ok(Ok(())));
    }
    pending.wait().unwrap();
    drop(Shape::PLAIN.open(&disk));
}

#[test]
fn a_waker_that_closes_while_the_engine_is_closed_is_told_so() {
    let disk = SimDisk::default();
    let engine = threaded(&disk, 16);
    let (held, release) = hold(&engine);
    let (told, answers) = channel();
    let left = engine.clone();
    let closes = waker(move || drop(told.send(left.clone().close())));
    let mut pending = engine.append(one(0));
    assert!(poll(&mut pending, &closes).is_pending());
    held.recv_timeout(LONG).unwrap();
    let closer = std::thread::spawn(move || engine.close());
    // The commit thread, which the closer waits for, runs the waker.
    drop(release);
    let told = answers.recv_timeout(LONG).unwrap();
    closer.join().unwrap().unwrap();
    // Whichever came first.
    let said = told.err().map(|error| error.to_string());
    assert!(said.as_ref().is_none_or(|it| it.contains("waits for this thread")), "{said:?}");
    pending.wait().unwrap();
}

#[test]
fn what_is_left_of_an_engine_whose_thread_panicked_is_closed() {
    let disk = SimDisk::default();
    let engine = threaded(&disk, 16);
    let second = engine.create_namespace(SECOND).unwrap();
    second.append(one(0)).wait().unwrap();
    let mut live = second.subscribe(Subscribe::all().start(Start::End));
    let (held, release) = hold(&engine);
    let mut pending = engine.append(one(0));
    let panics = waker(|| panic!("a waker of a test"));
    assert!(poll(&mut pending, &panics).is_pending());
    held.recv_timeout(LONG).unwrap();
    drop(release);
    let left = engine.clone();
    let error = engine.close().unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(left.clone().close().unwrap_err(), error);
    // The others are closed all the same.
    let ended = std::iter::from_fn(|| live.next_blocking(Some(LONG))).last();
    assert_eq!(ended, Some(Err(nexus_protocol::ReadError::Closed)));
    let refused = second.append(one(1)).wait().unwrap_err();
    assert!(refused.to_string().contains("closed"), "{refused}");
    // Nobody knows what was in flight: the lock stays to the end.
    let locked = Shape::PLAIN.options(&disk).open(DIR).unwrap_err();
    assert!(matches!(locked, nexus_engine::OpenError::Locked { .. }), "{locked}");
    drop((left, second, live, pending));
    let engine = Shape::PLAIN.open(&disk);
    assert_eq!(engine.namespace(SECOND).unwrap().stats().events, 1);
}

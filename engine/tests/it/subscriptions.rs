//! Subscriptions where little comes: silence, and the end of a log that failed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_core::Stream;
use nexus_engine::io::SimDisk;
use nexus_engine::io::sim::Fault;
use nexus_engine::{Engine, Subscription};
use nexus_protocol::{
    Append, AppendError, Filter, Position, ReadError, Start, Subscribe, SubscriptionItem,
};

use crate::history::{TAG, numbered};
use crate::stores::{SHAPE, Store};

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(
    subscription: &mut Subscription,
    waker: &Waker,
) -> Poll<Option<Result<SubscriptionItem, ReadError>>> {
    Pin::new(subscription).poll_next(&mut Context::from_waker(waker))
}

/// Events up to the error that ends a subscription, which is awaited.
fn events_to_the_end(mut subscription: Subscription) -> (u64, ReadError) {
    let mut events = 0;
    loop {
        match subscription.next_blocking(None).expect("it waits as long as it takes") {
            Ok(SubscriptionItem::Event(_)) => events += 1,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(subscription.next_blocking(None), None, "said once");
                return (events, error);
            }
        }
    }
}

#[test]
fn subscribers_of_a_poisoned_log_are_told_after_what_is_committed() {
    let mut store = Store::on(SimDisk::builder().depth(4).build());
    store.fill(5, 100);
    let engine = store.engine.clone();
    let blocked = std::thread::spawn(move || events_to_the_end(engine.subscribe(Subscribe::all())));
    let mut awaited = store.engine.subscribe(Subscribe::all().start(Start::End));
    let calls = Arc::new(Calls::default());
    let waker = Waker::from(Arc::clone(&calls));
    assert!(matches!(
        poll(&mut awaited, &waker),
        Poll::Ready(Some(Ok(SubscriptionItem::CaughtUp { .. })))
    ));
    assert!(poll(&mut awaited, &waker).is_pending());

    // The second of three frames in flight fails.
    store.disk.schedule(Fault::sync(2));
    let append = |n| store.engine.append(Append::to("s-1").event(numbered(n, 100)));
    let pending: Vec<_> = (100..103).map(append).collect();
    let answers: Vec<_> = pending.into_iter().map(nexus_engine::PendingAppend::wait).collect();
    assert!(answers[0].is_ok(), "{answers:?}");
    let at = Some(Position::new(5));
    assert_eq!(answers[2], Err(AppendError::Poisoned { at }));

    assert!(calls.0.load(Ordering::SeqCst) > 0, "a waiting subscriber is woken");
    let Poll::Ready(Some(Ok(SubscriptionItem::Event(event)))) = poll(&mut awaited, &waker) else {
        panic!("what is committed comes first");
    };
    assert_eq!(event.position(), Position::new(5));
    let end = ReadError::Poisoned { at };
    assert_eq!(poll(&mut awaited, &waker), Poll::Ready(Some(Err(end.clone()))));
    assert_eq!(poll(&mut awaited, &waker), Poll::Ready(None));
    assert_eq!(blocked.join().unwrap(), (6, end.clone()));
    // Who comes later is told the same.
    let late = store.engine.subscribe(Subscribe::all().start(Start::At(Position::new(3))));
    assert_eq!(events_to_the_end(late), (3, end));
}

#[test]
fn a_closed_log_is_not_called_poisoned() {
    let mut store = Store::new();
    store.fill(2, 10);
    let subscription = store.engine.subscribe(Subscribe::all());
    store.engine.clone().close().unwrap();
    assert_eq!(events_to_the_end(subscription), (2, ReadError::Closed));
}

#[test]
fn a_long_silence_is_checkpointed_as_it_is_passed() {
    let mut store = Store::new();
    store.fill(600, 10);
    // Opened anew, it reads from its files.
    store.engine.close().unwrap();
    let engine = SHAPE.open(&store.disk);
    let reads = || store.disk.trace().read_count();
    let before = reads();
    let mut whole = engine.subscribe(Subscribe::all());
    while let Some(Ok(SubscriptionItem::Event(_) | SubscriptionItem::Checkpoint { .. })) =
        whole.try_next()
    {}
    let in_one_go = reads() - before;
    assert!(in_one_go > 30, "{in_one_go}");
    // A prefix is looked for by looking at every event.
    let request = Subscribe {
        checkpoint_every: 50,
        ..Subscribe::all().filter(Filter::stream_prefix("nobody-"))
    };
    let mut subscription = engine.subscribe(request);
    let mut checkpoints = Vec::new();
    while let Some(Ok(SubscriptionItem::Checkpoint { position })) = subscription.try_next() {
        checkpoints.push(position.get());
    }
    let wanted: Vec<u64> = (1..=12).map(|n| n * 50 - 1).collect();
    assert_eq!(checkpoints, wanted, "and then it has caught up");
    assert_eq!(reads() - before, 2 * in_one_go, "nothing is read twice for it");
    // Where the index jumps over a silence, one checkpoint stands at its end.
    engine.append(Append::to("late").event(numbered(3000, 10))).wait().unwrap();
    let request = Subscribe { checkpoint_every: 50, ..Subscribe::stream("late") };
    let mut subscription = engine.subscribe(request);
    let first = subscription.try_next().unwrap().unwrap();
    assert_eq!(first, SubscriptionItem::Checkpoint { position: Position::new(599) });
    let event = subscription.try_next().unwrap().unwrap().event().unwrap();
    assert_eq!((event.position(), event.has_tag(TAG)), (Position::new(600), true));
}

/// Appends, while `wait` waits, what it does not wait for; answers whether it gave up before that ended.
fn gives_up(engine: &Engine, wait: impl FnOnce()) -> bool {
    let (done, started) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| {
            for n in 0..400_000 {
                if done.load(Ordering::Acquire) {
                    return true;
                }
                engine.append(Append::to("busy").event(numbered(n, 9))).wait().unwrap();
                started.store(true, Ordering::Release);
            }
            false
        });
        while !started.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        wait();
        done.store(true, Ordering::Release);
        appending.join().unwrap()
    })
}

#[test]
fn a_wait_ends_in_time_while_other_events_keep_coming() {
    let engine = Engine::in_memory();
    let timeout = Some(Duration::from_millis(300));
    let nobody = || {
        let subscribe = Subscribe::all().filter(Filter::category("nobody")).start(Start::End);
        engine.subscribe(Subscribe { checkpoint_every: u64::MAX, ..subscribe })
    };
    let mut subscription = nobody();
    assert!(matches!(
        subscription.next_blocking(timeout),
        Some(Ok(SubscriptionItem::CaughtUp { .. }))
    ));
    assert!(gives_up(&engine, || assert_eq!(subscription.next_blocking(timeout), None)));
    // Markers are not what is waited for either.
    let subscribe = Subscribe::all().filter(Filter::category("nobody")).start(Start::End);
    let mut events = engine.subscribe(Subscribe { checkpoint_every: 1, ..subscribe }).events();
    assert!(gives_up(&engine, || assert_eq!(events.next_blocking(timeout), None)));
    // What is there is given, however short the time.
    let mut all = engine.subscribe(Subscribe::all()).events();
    assert!(matches!(all.next_blocking(Some(Duration::ZERO)), Some(Ok(_))));
}

#[test]
fn what_matches_nothing_lets_others_run() {
    const EVENTS: u64 = 20_000;
    let store = Store::new();
    let append = |first: u64| {
        let events = (first..first + 1000).map(|n| numbered(n, 10));
        store.engine.append(Append::to("s-1").events(events)).wait().unwrap();
    };
    (0..EVENTS / 1000).for_each(|n| append(n * 1000));
    let nothing = || Filter::stream_prefix("nobody-");
    let every = u64::MAX;
    let subscribe = || Subscribe { checkpoint_every: every, ..Subscribe::all().filter(nothing()) };
    let calls = Arc::new(Calls::default());
    let waker = Waker::from(Arc::clone(&calls));
    let mut polls = 0;
    let mut subscription = store.engine.subscribe(subscribe());
    let first = loop {
        polls += 1;
        match poll(&mut subscription, &waker) {
            Poll::Ready(item) => break item,
            Poll::Pending => assert_eq!(calls.0.load(Ordering::SeqCst), polls, "woken by itself"),
        }
    };
    assert!(matches!(first, Some(Ok(SubscriptionItem::CaughtUp { .. }))), "{first:?}");
    assert!(polls > 10, "{polls} polls");
    // The events alone, where markers are passed over within a poll.
    let mut events = store.engine.subscribe(Subscribe::all().filter(nothing())).events();
    let before = calls.0.load(Ordering::SeqCst);
    let mut polls = 0;
    loop {
        polls += 1;
        let next = Pin::new(&mut events).poll_next(&mut Context::from_waker(&waker));
        assert!(next.is_pending(), "{next:?}");
        // The last is not woken: it has caught up.
        if calls.0.load(Ordering::SeqCst) - before < polls {
            break;
        }
    }
    assert!(polls > 4, "{polls} polls");
    // Nor is there anything to look at where nothing can come.
    let start = Start::At(Position::MAX);
    let mut far = store.engine.subscribe(Subscribe { start, ..subscribe() });
    let first = poll(&mut far, &waker);
    assert!(matches!(first, Poll::Ready(Some(Ok(SubscriptionItem::CaughtUp { .. })))), "{first:?}");
    let before = calls.0.load(Ordering::SeqCst);
    assert!(poll(&mut far, &waker).is_pending());
    assert_eq!(calls.0.load(Ordering::SeqCst), before, "it waits");
    // Who blocks is not held up by it.
    let mut subscription = store.engine.subscribe(subscribe());
    let first = subscription.next_blocking(Some(Duration::from_secs(5)));
    assert!(matches!(first, Some(Ok(SubscriptionItem::CaughtUp { .. }))), "{first:?}");
}

//! A handler is handed each event, and what it does is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nexus_client::Client;
use nexus_protocol::AppendError;
use nexus_protocol::group::{Delivery, Failure, GroupConfig, Nack, ParkedList};
use tokio::sync::watch;

use super::{Running, append, config, is_done, number_of, of_each, take};

/// How often each number came, and who wants to know.
#[derive(Clone)]
struct Seen {
    times: Arc<Mutex<BTreeMap<u64, u64>>>,
    calls: watch::Sender<u64>,
}

impl Seen {
    fn new() -> Self {
        Self { times: Arc::default(), calls: watch::Sender::new(0) }
    }

    fn see(&self, number: u64) {
        *self.times.lock().unwrap().entry(number).or_default() += 1;
        self.calls.send_modify(|calls| *calls += 1);
    }

    /// Waits until so many different numbers came.
    async fn all(&self, count: u64) {
        let mut calls = self.calls.subscribe();
        let all = calls.wait_for(|_| self.times.lock().unwrap().len() as u64 >= count);
        tokio::time::timeout(super::SOON, all).await.expect("they come soon").unwrap();
    }

    async fn called(&self, count: u64) {
        let mut calls = self.calls.subscribe();
        let called = calls.wait_for(|calls| *calls >= count);
        tokio::time::timeout(super::SOON, called).await.expect("it is called soon").unwrap();
    }
}

#[tokio::test]
async fn every_event_is_done_or_parked() {
    of_each(async |client: Client| {
        let config = GroupConfig { max_attempts: 2, ..config() };
        client.set_group("mail", &config).await.unwrap();
        let last = append(&client, 0..50).await;
        let seen = Seen::new();
        let (beside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let handler = async |delivery: Delivery| -> Result<(), std::num::ParseIntError> {
            most.fetch_max(beside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            beside.fetch_sub(1, Ordering::SeqCst);
            let number = number_of(&delivery);
            seen.see(number);
            if number.is_multiple_of(5) { "five".parse::<u64>().map(drop) } else { Ok(()) }
        };
        // Ten of them fail twice.
        let consumer = client.consumer("mail", "a").concurrency(4);
        consumer.run_until(handler, seen.called(60)).await.unwrap();
        assert!(most.load(Ordering::SeqCst) <= 4, "so many at a time");
        let info = client.group("mail").await.unwrap();
        assert_eq!((info.parked, info.members.len()), (10, 0));
        assert!(is_done(&info, last), "{info:?}");
        let list = ParkedList { limit: 100, ..ParkedList::default() };
        let parked = client.parked("mail", &list).await.unwrap().entries;
        assert!(parked.iter().all(|it| it.attempts == 2));
        let reasons = parked.iter().filter_map(|it| it.failure.as_ref());
        assert!(reasons.clone().count() == 10);
        assert!(reasons.map(|it| &it.message).all(|it| it.contains("invalid digit")));
    })
    .await;
}

#[tokio::test]
async fn a_handler_says_what_is_to_become_of_an_event() {
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        let last = append(&client, 0..3).await;
        let seen = Seen::new();
        let handler = async |delivery: Delivery| {
            let number = number_of(&delivery);
            seen.see(number);
            match number {
                0 => Err(Nack::park(Failure::new("not now"))),
                1 => Err(Nack::skip(Failure::new("of no use"))),
                _ => Ok(()),
            }
        };
        client.consumer("mail", "a").run_until(handler, seen.all(3)).await.unwrap();
        let info = client.group("mail").await.unwrap();
        assert_eq!((info.parked, info.delivered), (1, 3));
        assert!(is_done(&info, last), "{info:?}");
    })
    .await;
}

/// The handler works longer than a delivery has time, which is not waiting for anything.
#[tokio::test]
async fn the_time_of_a_delivery_is_extended_while_its_handler_works() {
    of_each(async |client: Client| {
        let ack_deadline = Duration::from_millis(600);
        client.set_group("mail", &GroupConfig { ack_deadline, ..config() }).await.unwrap();
        let last = append(&client, 0..1).await;
        let seen = Seen::new();
        let handler = async |delivery: Delivery| {
            tokio::time::sleep(ack_deadline * 3).await;
            seen.see(number_of(&delivery));
            Ok::<_, Nack>(())
        };
        client.consumer("mail", "a").run_until(handler, seen.called(1)).await.unwrap();
        let info = client.group("mail").await.unwrap();
        assert!(is_done(&info, last) && info.delivered == 1, "{info:?}");
    })
    .await;
}

/// What is under way when it is to end is done before it ends; all else it gives back, what it has fetched ahead too.
#[tokio::test]
async fn who_is_told_to_end_finishes_what_it_has_and_others_get_the_rest_untried() {
    const EVENTS: u64 = 20;
    const BUSY: u64 = 4;
    const LEFT: u64 = EVENTS - BUSY;
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        let last = append(&client, 0..EVENTS).await;
        let seen = Seen::new();
        let (go_on, may_end) = watch::channel(false);
        let finished = AtomicUsize::new(0);
        let handler = async |delivery: Delivery| {
            seen.see(number_of(&delivery));
            may_end.clone().wait_for(|may| *may).await.unwrap();
            finished.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Nack>(())
        };
        // All of them are busy until it was told to end.
        let told = async {
            seen.called(BUSY).await;
            assert_eq!(client.group("mail").await.unwrap().lag_events, EVENTS, "none is done");
            go_on.send_replace(true);
        };
        let consumer =
            client.consumer("mail", "a").concurrency(usize::try_from(BUSY).unwrap()).prefetch(8);
        consumer.run_until(handler, told).await.unwrap();
        let begun = seen.times.lock().unwrap().clone();
        assert_eq!((begun.len() as u64, *seen.calls.borrow()), (BUSY, BUSY), "nothing new");
        assert_eq!(finished.load(Ordering::SeqCst) as u64, BUSY);
        let info = client.group("mail").await.unwrap();
        assert_eq!((info.lag_events, info.in_flight, info.parked), (LEFT, 0, 0), "all is said");
        assert!(info.members.is_empty(), "{info:?}");
        let other = client.consumer("mail", "b");
        let rest = take(&other, usize::try_from(LEFT).unwrap()).await;
        assert!(rest.iter().all(|it| it.attempt == 1), "nobody has tried them: {rest:?}");
        let numbers: BTreeSet<_> = rest.iter().map(number_of).collect();
        assert!(numbers.iter().copied().eq((0..EVENTS).filter(|it| !begun.contains_key(it))));
        let tokens: Vec<_> = rest.iter().map(|it| it.token).collect();
        assert_eq!(other.ack(&tokens).await.unwrap().done, LEFT);
        assert!(is_done(&client.group("mail").await.unwrap(), last));
    })
    .await;
}

#[tokio::test]
async fn what_trying_again_does_not_mend_ends_it() {
    of_each(async |client: Client| {
        let handler = async |_: Delivery| Ok::<_, Nack>(());
        let error = client.consumer("mail", "a").run(handler).await.unwrap_err();
        assert!(matches!(error, AppendError::NotFound { .. }), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_meanwhile_loses_nothing() {
    const EVENTS: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::in_directory(dir.path());
    let client = running.client().await;
    let config = GroupConfig { max_attempts: 100, ..config() };
    client.set_group("mail", &config).await.unwrap();
    let last = append(&client, 0..EVENTS).await;
    let seen = Seen::new();
    let (stop, stopped) = watch::channel(false);
    let working = |name: &'static str| {
        let (client, seen, mut stopped) = (client.clone(), seen.clone(), stopped.clone());
        tokio::spawn(async move {
            let handler = async |delivery: Delivery| {
                seen.see(number_of(&delivery));
                Ok::<_, Nack>(())
            };
            let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
            let consumer = client.consumer("mail", name).prefetch(8).concurrency(4);
            consumer.run_until(handler, stop).await
        })
    };
    let workers = [working("a"), working("b")];
    for part in 1..=2 {
        seen.called(part * EVENTS / 4).await;
        running = running.restart(dir.path()).await;
    }
    seen.all(EVENTS).await;
    super::until(&client, "mail", |info| is_done(info, last)).await;
    stop.send_replace(true);
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    let times = seen.times.lock().unwrap().clone();
    assert!(times.keys().copied().eq(0..EVENTS), "each came");
    let info = client.group("mail").await.unwrap();
    assert_eq!((info.parked, info.members.len()), (0, 0));
    let again = times.values().sum::<u64>() - EVENTS;
    println!("count: consumer_restart_redelivered {again}");
    client.close().await.unwrap();
    running.end().await;
}

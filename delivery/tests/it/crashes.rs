//! A group on a simulated disk that loses, tears, and reorders what was not synced: whatever was answered holds
//! after each crash, and nothing else is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nexus_delivery::coordinator::{Answers, Request, What};
use nexus_engine::Engine;
use nexus_engine::io::SimDisk;
use nexus_protocol::group::{Failure, GroupConfig, GroupMode, Nack, NackAction, ParkedPick};
use nexus_protocol::{Append, Read};
use nexus_testing::Random;

use crate::coordinator::{Run, event, tokens};

fn open(disk: &SimDisk) -> Engine {
    let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
    options.segment_bytes(64 * 1024, 256 * 1024).compress(false).open("/data").unwrap()
}

/// What was answered to consumers, and so has to hold.
#[derive(Default)]
struct Promised {
    /// Acknowledged positions.
    done: BTreeMap<u64, &'static str>,
    /// Positions whose acknowledgement was asked for, and not answered.
    perhaps: BTreeMap<u64, ()>,
    /// Events in the stream of results, each by an acknowledgement that was answered.
    results: u64,
}

#[test]
fn what_was_answered_holds_through_crashes() {
    let seeds = if cfg!(debug_assertions) { 12 } else { 40 };
    let (mut crashes, mut acked, mut joint) = (0, 0, 0);
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let mode = if random.one_in(2) { GroupMode::Ordered } else { GroupMode::Unordered };
        let config = GroupConfig { mode, lanes: 4, max_attempts: 50, ..GroupConfig::default() };
        let mut disk = SimDisk::builder().seed(seed).build();
        let mut engine = open(&disk);
        let mut store = engine.namespace("default").unwrap();
        let mut run = Run::new(&store, &config);
        let mut promised = Promised::default();
        let mut appended = 0;
        for _ in 0..400 {
            match random.below(20) {
                0..=4 => {
                    let stream = format!("s-{}", random.below(5));
                    let events = (0..1 + random.below(4)).map(|_| event(1));
                    let append = Append::to(stream).events(events);
                    let answer = store.append(append).wait().unwrap();
                    appended +=
                        answer.positions.map_or(0, |(first, last)| last.get() - first.get() + 1);
                }
                5..=14 => {
                    let consumer = if random.one_in(2) { "a" } else { "b" };
                    let given =
                        run.receive(consumer, 1 + usize::try_from(random.below(5)).unwrap());
                    for handed in &given {
                        let at = handed.delivery.token.position.get();
                        assert!(!promised.done.contains_key(&at), "seed {seed}: {at} is done");
                    }
                    match random.below(6) {
                        0 => {}
                        1 => {
                            let failure = Failure::new("bad");
                            let nack =
                                Nack { action: NackAction::Retry(Some(Duration::ZERO)), failure };
                            run.answer(tokens(&given), What::Nack(nack));
                        }
                        2 if !given.is_empty() => {
                            let answers =
                                Answers { consumer: None, tokens: tokens(&given), what: What::Ack };
                            let out = Append::to("results").event(event(given.len() as u64));
                            let (answered, _) = run.ask((answers, out), Request::AckWith).unwrap();
                            assert_eq!(answered.done, given.len() as u64);
                            promised.results += 1;
                            joint += 1;
                            let positions = given.iter().map(|it| it.delivery.token.position.get());
                            promised.done.extend(positions.map(|at| (at, "with an append")));
                        }
                        3 => {
                            // Asked, and the power fails before anybody is told.
                            let answers =
                                Answers { consumer: None, tokens: tokens(&given), what: What::Ack };
                            drop(run.send(answers, Request::Answer));
                            let positions = given.iter().map(|it| it.delivery.token.position.get());
                            promised.perhaps.extend(positions.map(|at| (at, ())));
                        }
                        _ => {
                            let answered = run.answer(tokens(&given), What::Ack);
                            assert_eq!(answered.done, given.len() as u64, "seed {seed}");
                            acked += answered.done;
                            let positions = given.iter().map(|it| it.delivery.token.position.get());
                            promised.done.extend(positions.map(|at| (at, "acknowledged")));
                        }
                    }
                }
                15 if random.one_in(3) => {
                    crashes += 1;
                    disk = disk.crash(random.next());
                    drop((run, engine));
                    engine = open(&disk);
                    store = engine.namespace("default").unwrap();
                    run = Run::open(&store);
                }
                16 => run.pass(Duration::from_secs(random.below(40))),
                17 => drop(run.ask((ParkedPick::All, Duration::ZERO), Request::Replay).unwrap()),
                _ => run.pass(Duration::from_millis(random.below(2000))),
            }
            assert_eq!(run.ended, None, "seed {seed}");
        }
        // All that was not done is delivered still: nothing is lost.
        let mut left = Vec::new();
        run = {
            drop(run);
            Run::open(&store)
        };
        loop {
            let given = run.receive("z", 1000);
            if given.is_empty() && run.look().stats.open == 0 {
                break;
            }
            left.extend(given.iter().map(|it| it.delivery.token.position.get()));
            run.answer(tokens(&given), What::Ack);
            run.pass(Duration::from_secs(61));
        }
        let is_user = |it: &nexus_protocol::RecordedEvent| it.stream().starts_with("s-");
        let all = store.read(Read::all()).into_iter().map(Result::unwrap);
        let all: Vec<_> = all.filter(is_user).map(|it| it.position().get()).collect();
        assert!(all.len() as u64 >= appended, "seed {seed}: what was acknowledged is stored");
        for at in all {
            let (done, later) = (promised.done.contains_key(&at), left.contains(&at));
            let perhaps = promised.perhaps.contains_key(&at);
            assert!(!(done && later), "seed {seed}: {at} is done and delivered again");
            assert!(done || later || perhaps, "seed {seed}: {at} is lost");
        }
        let results = store.read(Read::stream("results")).into_iter().count() as u64;
        assert_eq!(results, promised.results, "seed {seed}: each result once");
    }
    println!("count: coordinator_crashes {crashes}");
    println!("count: coordinator_acknowledged {acked}");
    println!("count: coordinator_joint {joint}");
    assert!(crashes > 20 && acked > 500 && joint > 20, "{crashes} {acked} {joint}");
}

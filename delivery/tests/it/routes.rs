//! Routes to streams on a simulated disk: each event is linked once and in order, whatever crashes and whoever carries
//! it; circles end; and a target that takes nothing stops the route until it is set anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use nexus_delivery::routes::{Carrier, Ended, delete, read_journal, set};
use nexus_engine::io::SimDisk;
use nexus_engine::{Engine, Namespace};
use nexus_protocol::group::GroupStart;
use nexus_protocol::limits::HOPS_MAX;
use nexus_protocol::route::{Condition, LINK, Link, Operator, RouteConfig, RouteTarget, hops_of};
use nexus_protocol::{
    Append, AppendError, EventData, ExpectedRevision, Filter, Position, Read, RecordedEvent,
};
use nexus_testing::Random;

use crate::coordinator::block_on;

fn open(disk: &SimDisk) -> Engine {
    let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
    options.segment_bytes(64 * 1024, 256 * 1024).compress(false).open("/data").unwrap()
}

fn in_memory() -> (Engine, Namespace) {
    let engine = open(&SimDisk::builder().seed(1).build());
    let store = engine.namespace("default").unwrap();
    (engine, store)
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A carrier that is run by hand.
struct Run {
    carrier: Carrier<Namespace>,
    ended: Option<Ended>,
}

impl Run {
    fn open(store: &Namespace, name: &str) -> Option<Self> {
        let store = store.for_system();
        let journal = block_on(read_journal(&store, name)).unwrap()?;
        Some(Self { carrier: Carrier::new(store, name, journal)?, ended: None })
    }

    /// Polls it so often, where it wants to be: whether it has come to rest.
    fn step(&mut self, polls: usize) -> bool {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        for _ in 0..polls {
            if self.ended.is_some() {
                return true;
            }
            if let Poll::Ready(ended) = self.carrier.poll(&mut Context::from_waker(&waker)) {
                self.ended = Some(ended);
            }
            if !woken.0.swap(false, Ordering::SeqCst) {
                return true;
            }
        }
        false
    }

    fn rest(&mut self) {
        assert!(self.step(100_000), "it never comes to rest");
    }
}

fn to_stream(filter: Filter, stream: &str) -> RouteConfig {
    let to = RouteTarget::Stream(stream.into());
    RouteConfig { filter, conditions: Vec::new(), to, start: GroupStart::Beginning }
}

fn at_least(amount: u64) -> Condition {
    Condition::new("/data/amount", Operator::Ge, amount.into()).unwrap()
}

fn make(store: &Namespace, name: &str, config: &RouteConfig) -> bool {
    config.check().unwrap();
    block_on(set(&store.for_system(), name, config, Position::ZERO)).unwrap()
}

fn order(amount: u64) -> EventData {
    EventData::json("Ordered", &serde_json::json!({ "amount": amount })).unwrap()
}

fn read(store: &Namespace, stream: &str) -> Vec<RecordedEvent> {
    store.read(Read::stream(stream)).into_iter().map(Result::unwrap).collect()
}

/// Where the links of a stream lead to.
fn links(store: &Namespace, stream: &str) -> Vec<u64> {
    let links = read(store, stream);
    links.iter().filter_map(Link::of).map(|link| link.position.get()).collect()
}

#[test]
fn each_event_is_linked_once_and_in_order_through_crashes_and_beside_another() {
    let seeds = if cfg!(debug_assertions) { 20 } else { 60 };
    let (mut crashes, mut fenced, mut linked) = (0, 0, 0);
    for seed in 0..seeds {
        let mut random = Random::new(seed);
        let mut disk = SimDisk::builder().seed(seed).build();
        let mut engine = open(&disk);
        let mut store = engine.namespace("default").unwrap();
        let mut config = to_stream(Filter::category("s"), "large");
        config.conditions.push(at_least(50));
        assert!(make(&store, "large", &config));
        let mut carriers = [Run::open(&store, "large"), Run::open(&store, "large")];
        for _ in 0..300 {
            let which = usize::from(random.one_in(2));
            match random.below(10) {
                0..=3 => {
                    let stream = format!("s-{}", random.below(4));
                    let events: Vec<_> =
                        (0..1 + random.below(5)).map(|_| order(random.below(100))).collect();
                    store.append(Append::to(stream).events(events)).wait().unwrap();
                }
                4 if random.one_in(8) => {
                    crashes += 1;
                    disk = disk.crash(random.next());
                    drop((carriers, engine));
                    engine = open(&disk);
                    store = engine.namespace("default").unwrap();
                    carriers = [Run::open(&store, "large"), Run::open(&store, "large")];
                }
                // Somebody else writes between the links.
                5 if random.one_in(4) => {
                    store.append(Append::to("large").event(order(99))).wait().unwrap();
                }
                _ => {
                    if let Some(run) = &mut carriers[which] {
                        run.step(1 + usize::try_from(random.below(4)).unwrap());
                        if let Some(ended) = &run.ended {
                            assert_eq!(*ended, Ended::Fenced, "seed {seed}");
                            fenced += 1;
                            carriers[which] = Run::open(&store, "large");
                        }
                    }
                }
            }
        }
        drop(carriers);
        let mut last = Run::open(&store, "large").unwrap();
        last.rest();
        assert_eq!(last.ended, None, "seed {seed}");
        let all = store.read(Read::all().filter(Filter::category("s"))).into_iter();
        let want: Vec<_> = all
            .map(Result::unwrap)
            .filter(|event| {
                event.json::<serde_json::Value>().unwrap()["amount"].as_u64() >= Some(50)
            })
            .map(|event| event.position().get())
            .collect();
        assert_eq!(links(&store, "large"), want, "seed {seed}");
        assert_eq!(last.carrier.gauges().links, want.len() as u64, "seed {seed}");
        linked += want.len();
    }
    println!("count: route_crashes {crashes}");
    println!("count: route_fenced {fenced}");
    println!("count: route_links {linked}");
    assert!(crashes > 10 && fenced > 20 && linked > 1_000, "{crashes} {fenced} {linked}");
}

#[test]
fn a_link_leads_to_its_event_and_has_its_tags_and_never_what_it_says() {
    let (_engine, store) = in_memory();
    let at = "2026-11-27T10:00:00Z".parse().unwrap();
    let event = order(7).tag("customer:1").occurred_at(at).not_before(at);
    store.append(Append::to("order-1").event(event)).wait().unwrap();
    make(&store, "all", &to_stream(Filter::category("order"), "copy"));
    Run::open(&store, "all").unwrap().rest();
    let (event, link) = (&read(&store, "order-1")[0], &read(&store, "copy")[0]);
    assert_eq!((link.event_type(), link.tags().collect::<Vec<_>>()), (LINK, vec!["customer:1"]));
    assert_eq!(link.not_before(), Some(at), "it waits in groups as the event does");
    assert_eq!((link.occurred_at(), hops_of(link)), (Some(at), vec!["all".to_owned()]));
    assert_eq!(link.causation_id().unwrap().as_bytes(), event.id().as_bytes());
    let leads = Link::of(link).unwrap();
    assert!(leads.leads_to(event) && leads.stream == "order-1" && leads.event_type == "Ordered");
    let data: serde_json::Value = link.json().unwrap();
    let names: Vec<_> = data.as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "position", "revision", "stream", "type"]);
    // Nobody but a route writes one.
    let forged = EventData::new(LINK, "application/json", link.data_bytes());
    let refused = store.append(Append::to("copy").event(forged)).wait().unwrap_err();
    assert!(matches!(refused, AppendError::Denied { .. }), "{refused}");
}

/// Lets all carriers work until none has anything to do.
fn settle(runs: &mut [Run], store: &Namespace) {
    loop {
        let before = store.head().position;
        runs.iter_mut().for_each(Run::rest);
        if store.head().position == before {
            return;
        }
    }
}

#[test]
fn circles_end() {
    let (_engine, store) = in_memory();
    // Into itself: the condition lets it be set, and what it has carried it passes over.
    let mut selfish = to_stream(Filter::category("a"), "a");
    selfish.conditions.push(Condition::new("/type", Operator::Exists, true.into()).unwrap());
    make(&store, "selfish", &selfish);
    make(&store, "there", &to_stream(Filter::category("a"), "b"));
    make(&store, "back", &to_stream(Filter::category("b"), "a"));
    let mut runs: Vec<_> =
        ["selfish", "there", "back"].map(|name| Run::open(&store, name).unwrap()).into();
    store.append(Append::to("a").events([order(1), order(2)])).wait().unwrap();
    settle(&mut runs, &store);
    assert!(runs.iter().all(|run| run.ended.is_none()));
    for stream in ["a", "b"] {
        for link in read(&store, stream).iter().filter(|event| event.event_type() == LINK) {
            let mut by = hops_of(link);
            assert!(Link::of(link).unwrap().position.get() < 10, "it leads to the event itself");
            by.sort();
            by.dedup();
            assert_eq!(by.len(), hops_of(link).len(), "no route carries a thing twice: {by:?}");
        }
    }
    let alone = to_stream(Filter::category("a"), "a").check().unwrap_err().to_string();
    assert!(alone.contains("takes what the route writes"), "{alone}");
}

#[test]
fn so_many_routes_carry_an_event_and_no_more() {
    let (_engine, store) = in_memory();
    let mut runs = Vec::new();
    for at in 0..HOPS_MAX + 2 {
        let (name, to) = (format!("r{at}"), format!("hop{}", at + 1));
        make(&store, &name, &to_stream(Filter::category(format!("hop{at}")), &to));
        runs.push(Run::open(&store, &name).unwrap());
    }
    store.append(Append::to("hop0").event(order(1))).wait().unwrap();
    settle(&mut runs, &store);
    for at in 1..HOPS_MAX + 3 {
        let expected = usize::from(at <= HOPS_MAX);
        assert_eq!(read(&store, &format!("hop{at}")).len(), expected, "hop {at}");
    }
}

#[test]
fn a_route_whose_target_takes_nothing_says_so_and_goes_on_when_it_is_set_anew() {
    let (_engine, store) = in_memory();
    make(&store, "r", &to_stream(Filter::category("s"), "gone"));
    store.tombstone_stream("gone", ExpectedRevision::Any).unwrap();
    store.append(Append::to("s-1").events([order(1), order(2)])).wait().unwrap();
    let mut run = Run::open(&store, "r").unwrap();
    run.rest();
    let Some(Ended::Refused(why)) = &run.ended else { panic!("{:?}", run.ended) };
    assert!(why.contains("gone"), "{why}");
    let journal = block_on(read_journal(&store.for_system(), "r")).unwrap().unwrap();
    assert_eq!((journal.refused.as_ref(), journal.next), (Some(why), Position::ZERO));
    assert!(Run::open(&store, "r").is_none(), "nobody carries it");
    assert!(!make(&store, "r", &to_stream(Filter::category("s"), "new")));
    Run::open(&store, "r").unwrap().rest();
    assert_eq!(links(&store, "new").len(), 2);
}

#[test]
fn where_nothing_matches_nothing_is_written_but_now_and_then() {
    let (_engine, store) = in_memory();
    make(&store, "r", &to_stream(Filter::category("s"), "t"));
    let mut run = Run::open(&store, "r").unwrap();
    run.rest();
    let written = || read(&store.for_system(), "$route-r").len();
    for round in 0..25_u64 {
        let events = (0..1_000).map(|_| order(1));
        store.append(Append::to("other").events(events)).wait().unwrap();
        run.rest();
        assert!(written() as u64 <= 1 + round / 9, "{} after {round}", written());
    }
    assert!(written() > 1, "it need not read all of it again");
    let behind = store.head().position.unwrap().get() - run.carrier.gauges().next;
    assert!(behind <= 1_024 && run.carrier.gauges().is_at_end, "{behind}");
}

#[test]
fn what_is_over_of_a_routes_stream_is_hidden() {
    let (_engine, store) = in_memory();
    make(&store, "r", &to_stream(Filter::category("s"), "t"));
    let mut run = Run::open(&store, "r").unwrap();
    for _ in 0..2_100 {
        store.append(Append::to("s-1").event(order(1))).wait().unwrap();
        run.rest();
    }
    let left = read(&store.for_system(), "$route-r");
    assert!(left.len() < 1_002 && left[0].event_type() == "$RouteSet", "{}", left.len());
    run = Run::open(&store, "r").unwrap();
    run.rest();
    assert_eq!((run.carrier.gauges().links, links(&store, "t").len()), (2_100, 2_100));
}

#[test]
fn a_route_that_is_deleted_carries_no_more_and_one_of_its_name_begins_anew() {
    let (_engine, store) = in_memory();
    make(&store, "r", &to_stream(Filter::category("s"), "t"));
    let mut run = Run::open(&store, "r").unwrap();
    store.append(Append::to("s-1").event(order(1))).wait().unwrap();
    run.rest();
    assert!(block_on(delete(&store.for_system(), "r")).unwrap());
    assert!(!block_on(delete(&store.for_system(), "r")).unwrap());
    store.append(Append::to("s-1").event(order(2))).wait().unwrap();
    run.rest();
    assert_eq!((run.ended, links(&store, "t").len()), (Some(Ended::Fenced), 1));
    assert!(make(&store, "r", &to_stream(Filter::category("s"), "again")));
    Run::open(&store, "r").unwrap().rest();
    assert_eq!(links(&store, "again").len(), 2);
}

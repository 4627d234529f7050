//! What is too much, and how an operator sees it.

use nexus_delivery::group::{LaneView, OPEN_MAX, Record};
use nexus_delivery::parked::PARKED_MAX;
use nexus_protocol::group::InvalidGroup;

use super::*;

const PART: usize = 1 << 20;

fn offer(bench: &mut Bench, position: u64, key: u64) {
    let position = Position::new(position);
    bench.group.offer(Offered { position, key, not_before: None }, bench.now);
}

fn bytes(parts: &[Vec<u8>]) -> usize {
    parts.iter().map(Vec::len).sum()
}

/// Parks the first event of key 1, and offers so many behind it, with gaps between them.
fn stuck(behind: u64) -> Bench {
    let mut bench = Bench::new(ordered(4));
    offer(&mut bench, 0, 1);
    let first = bench.receive("a");
    bench.nack("a", &first[0], NackAction::Park);
    bench.write();
    (1..=behind).for_each(|number| offer(&mut bench, number * 3, 1));
    bench
}

#[test]
fn a_million_events_behind_one_that_is_parked_cost_a_few_bytes_each() {
    const BEHIND: usize = 1_000_000;
    let mut bench = stuck(BEHIND as u64);
    let record = bench.group.record().unwrap();
    let parts = record.encode(PART);
    assert!(bytes(&parts) < 3 * BEHIND, "{}", bytes(&parts));
    bench.written.apply(&Record::decode(&parts).unwrap());
    let parts = bench.written.encode(PART);
    assert!(bytes(&parts) < 3 * BEHIND, "{}", bytes(&parts));
    bench.written = State::decode(&parts).unwrap();
    bench.crash();
    let parked = bench.group.state().parked();
    assert_eq!((parked.failed(), parked.waiting()), (1, BEHIND));
    assert_eq!(parked.waiting_behind(0), BEHIND as u64);
    // All of it follows the one that was stuck.
    bench.group.replay([Position::ZERO], Duration::ZERO, bench.now);
    for position in (0..100).map(|number| number * 3) {
        let next = bench.receive("a");
        assert_eq!(
            (next[0].token.position.get(), next[0].attempt, next.len()),
            (position, 1 + u32::from(position == 0), 1)
        );
        bench.ack("a", &next[0]);
    }
    assert_eq!(bench.group.state().parked().len(), BEHIND - 99);
}

#[test]
fn what_came_behind_is_bounded_and_what_is_known_is_read_again() {
    let mut bench = stuck(OPEN_MAX as u64 - 1);
    assert!(bench.group.wants_more());
    let next = OPEN_MAX as u64 * 3;
    offer(&mut bench, next, 2);
    assert!(!bench.group.wants_more(), "one is open, and the others wait");
    assert_eq!(bench.positions("a"), [next]);
    assert!(!bench.group.wants_more(), "also where somebody asks for more");
    // What is open holds the floor, and is read again.
    offer(&mut bench, next + 1, 3);
    let other = bench.receive("a");
    bench.ack("a", &other[0]);
    bench.write();
    bench.crash();
    assert!(bench.group.wants_more());
    offer(&mut bench, next, 2);
    bench.group.pass(Position::new(next + 2));
    assert!(!bench.group.wants_more());
    bench.group.discard([Position::new(3)]);
    assert!(bench.group.wants_more());
}

#[test]
fn a_group_that_parks_everything_stops_and_says_so() {
    let config = GroupConfig { mode: GroupMode::Unordered, max_in_flight: 1_000, ..ordered(1) };
    let mut bench = Bench::new(config);
    let mut fed = 0;
    while !bench.group.stats().paused {
        while bench.group.wants_more() {
            offer(&mut bench, fed, 0);
            fed += 1;
        }
        let taken = bench.receive("a");
        assert!(!taken.is_empty());
        // Those that are with the consumer when it is full are not parked any more.
        for delivery in &taken {
            bench.nack("a", delivery, NackAction::Park);
            let failed = bench.group.state().parked().failed();
            assert_eq!(bench.group.stats().paused, failed == PARKED_MAX);
        }
        bench.receive("a").iter().for_each(|it| bench.nack("a", it, NackAction::Retry(None)));
        bench.pass(Duration::from_millis(10));
    }
    let is_full = |bench: &Bench| {
        let parked = bench.group.state().parked();
        let pause = bench.group.state().pause().unwrap();
        assert_eq!((parked.failed(), &*pause.by), (PARKED_MAX, "nexus"));
        assert!(pause.reason.starts_with("100000 events are parked"), "{}", pause.reason);
    };
    is_full(&bench);
    bench.write();
    bench.crash();
    is_full(&bench);
    (0..fed).for_each(|position| offer(&mut bench, position, 0));
    // Whoever lets it go on without a look has the same again, and nothing is lost.
    bench.group.resume();
    assert!(!bench.group.wants_more());
    let open = bench.group.stats().open;
    let taken = bench.receive("a");
    bench.nack("a", &taken[0], NackAction::Park);
    bench.nack("a", &taken[1], NackAction::Park);
    is_full(&bench);
    assert_eq!((bench.group.stats().open, bench.group.stats().parked), (open, PARKED_MAX));
    let first = bench.group.state().parked().iter().next().unwrap().0;
    bench.group.discard([Position::new(first)]);
    bench.group.resume();
    assert!(bench.group.wants_more());
    // It has its turn behind the others.
    let again = loop {
        let next = bench.receive("a");
        assert!(!next.is_empty());
        next.iter().for_each(|delivery| bench.ack("a", delivery));
        let again = next.iter().find(|it| it.token.position == taken[0].token.position);
        if let Some(again) = again {
            break *again;
        }
    };
    assert_eq!(again.attempt, taken[0].attempt, "it does not count as tried");
}

#[test]
fn it_can_be_seen_which_lane_is_stuck_and_since_when() {
    let mut bench = Bench::new(ordered(4));
    bench.feed(&[0, 1, 1, 5, 2, 4]);
    assert_eq!(bench.group.oldest_in_flight(), None);
    let since = bench.now;
    let taken = bench.receive("a");
    bench.nack("a", &taken[1], NackAction::Park);
    bench.now = later(bench.now, Duration::from_millis(300));
    bench.ack("a", taken.iter().find(|it| it.token.key == 2).unwrap());
    let until = bench.group.extend("a", taken[0].token, Duration::from_secs(60), bench.now);
    assert!(until.is_ok() && bench.receive("a").is_empty());
    assert_eq!(bench.group.oldest_in_flight(), Some(since), "to extend it does not make it newer");
    let view = |lane, open, in_flight, first, parked| LaneView {
        lane,
        owner: Some("a"),
        open,
        in_flight,
        first: Position::new(first),
        parked,
    };
    assert_eq!(bench.group.lanes(), [view(0, 2, 2, 0, 0), view(1, 1, 1, 3, 2)]);
    bench.ack("a", taken.iter().find(|it| it.token.key == 5).unwrap());
    assert_eq!(bench.group.lanes()[1], view(1, 0, 0, 1, 2));
}

#[test]
fn bounds_are_changed_without_a_restart() {
    let mut bench = Bench::new(GroupConfig { max_in_flight_per_lane: 1, ..ordered(1) });
    bench.feed(&[1, 2, 3]);
    let first = bench.receive("a");
    assert_eq!(first.len() + bench.receive("a").len(), 1);
    let more = GroupConfig { max_in_flight_per_lane: 2, max_attempts: 1, ..ordered(1) };
    bench.group.reconfigure(more.clone()).unwrap();
    assert_eq!(bench.positions("a"), [1], "nobody has to answer for that");
    for (config, why) in [
        (GroupConfig { lanes: 2, ..more.clone() }, InvalidGroup::Fixed("the number of lanes")),
        (GroupConfig { max_attempts: 0, ..more.clone() }, InvalidGroup::Attempts),
    ] {
        assert_eq!(bench.group.reconfigure(config), Err(why));
    }
    bench.nack("a", &first[0], NackAction::Retry(None));
    assert_eq!(bench.group.stats().parked, 1, "one attempt is enough now");
    // Lanes mean nothing where nothing is kept in order.
    let unordered = GroupConfig { mode: GroupMode::Unordered, ..ordered(1) };
    let mut bench = Bench::new(unordered.clone());
    assert_eq!(bench.group.reconfigure(GroupConfig { lanes: 9, ..unordered }), Ok(()));
    bench.feed(&[7, 7]);
    assert_eq!(bench.receive("a").iter().map(|it| it.lane).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn each_consumer_of_a_broadcast_has_a_machine_that_keeps_order() {
    let mut bench = Bench::new(GroupConfig { mode: GroupMode::Broadcast, ..ordered(2) });
    bench.feed(&[1, 1, 2]);
    let taken: Vec<_> = bench.receive("a").iter().map(|it| (it.event.get(), it.lane)).collect();
    assert_eq!(taken, [(2, 0), (0, 1)]);
    assert_eq!(bench.positions("a"), [] as [u64; 0]);
}

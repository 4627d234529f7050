//! Whether a group is said to be stalled, how far behind it is, and what came again, for whoever watches it.

use nexus_delivery::coordinator::{Gauges, STALL_AFTER};
use nexus_protocol::group::PauseInfo;

use super::*;

const MOMENT: Duration = Duration::from_millis(1);

/// A delivery may take longer than it takes to be stalled.
fn patient() -> GroupConfig {
    GroupConfig { ack_deadline: STALL_AFTER * 10, ..unordered() }
}

fn gauges(run: &Run) -> Gauges {
    run.coordinator.gauges()
}

#[test]
fn a_group_is_stalled_from_a_minute_without_progress_until_something_is_done() {
    let (_engine, store) = store(3);
    let mut run = Run::new(&store, &patient());
    let given = run.receive("a", 3);
    run.pass(STALL_AFTER - MOMENT);
    assert!(!gauges(&run).stalled);
    // What was done meanwhile counts from then on.
    assert_eq!(run.answer(tokens(&given[..1]), What::Ack).done, 1);
    run.pass(STALL_AFTER - MOMENT);
    assert!(!gauges(&run).stalled);
    run.pass(MOMENT);
    assert!(gauges(&run).stalled);
    // To fail is no progress, and to be parked is some: somebody has looked at it.
    let failed = |action| What::Nack(Nack { action, failure: Failure::new("bad") });
    run.answer(tokens(&given[1..2]), failed(NackAction::Retry(None)));
    assert!(gauges(&run).stalled);
    run.answer(tokens(&given[2..]), failed(NackAction::Park));
    let now = gauges(&run);
    assert_eq!((now.stalled, now.open, now.parked, now.counts.acked), (false, 1, 1, 1));
}

#[test]
fn a_group_that_has_nothing_to_do_or_may_not_or_has_nobody_is_not_stalled() {
    let (_engine, store) = store(2);
    let mut run = Run::new(&store, &patient());
    // There is work, and nobody for it.
    run.pass(STALL_AFTER * 2);
    assert_eq!((gauges(&run).stalled, gauges(&run).open), (false, 2));
    // It may not.
    let given = run.receive("a", 2);
    let pause =
        PauseInfo { by: "somebody".to_owned(), reason: String::new(), position: None, at: run.now };
    run.ask(Some(pause), Request::Pause).unwrap();
    run.pass(STALL_AFTER * 2);
    assert_eq!((gauges(&run).stalled, gauges(&run).in_flight), (false, 2));
    run.ask(None, Request::Pause).unwrap();
    assert!(!gauges(&run).stalled, "the time of the pause does not count");
    run.pass(STALL_AFTER);
    assert!(gauges(&run).stalled);
    // It has nothing to do.
    assert_eq!(run.answer(tokens(&given), What::Ack).done, 2);
    run.pass(STALL_AFTER * 2);
    assert_eq!((gauges(&run).stalled, gauges(&run).open), (false, 0));
}

#[test]
fn what_came_again_is_counted_as_often_as_it_came() {
    let (_engine, store) = store(4);
    let config = GroupConfig { max_attempts: 5, ..patient() };
    let mut run = Run::new(&store, &config);
    let mut given = run.receive("a", 4);
    let counts = |run: &Run| (gauges(run).counts.delivered, gauges(run).counts.redelivered);
    assert_eq!(counts(&run), (4, 0));
    let again = NackAction::Retry(Some(Duration::ZERO));
    for tries in 1..=3 {
        let nack = Nack { action: again, failure: Failure::new("bad") };
        assert_eq!(run.answer(tokens(&given), What::Nack(nack)).done, 4);
        given = run.receive("a", 4);
        assert_eq!(counts(&run), (4 + 4 * tries, 4 * tries));
    }
    assert_eq!(run.answer(tokens(&given), What::Ack).done, 4);
    // Where somebody goes back nothing was tried.
    run.ask(Position::ZERO, Request::Seek).unwrap();
    assert_eq!(run.receive("a", 4).len(), 4);
    assert_eq!(counts(&run), (20, 12));
}

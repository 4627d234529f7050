//! What is to be remembered through a crash.

use nexus_protocol::group::PauseInfo;

use super::*;

#[test]
fn a_crash_does_not_bring_a_retry_forward() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1, 2]);
    let first = bench.receive("a");
    let failed_at = bench.now;
    bench.nack("a", &first[0], NackAction::Retry(Some(Duration::from_secs(5))));
    bench.now = later(bench.now, Duration::from_secs(1));
    bench.write();
    bench.crash();
    bench.feed(&[1, 2]);
    assert_eq!(bench.positions("a"), [1]);
    bench.now = later(bench.now, Duration::from_millis(3_999));
    bench.group.tick(bench.now);
    assert!(!bench.positions("a").contains(&0));
    bench.pass(Duration::from_millis(1));
    let again = bench.receive("a");
    let again = again.iter().find(|it| it.token.position == Position::ZERO).unwrap();
    assert_eq!(again.attempt, 2);
    // It is parked for that: what is known is since when it fails.
    bench.nack("a", again, NackAction::Retry(None));
    let entry = bench.group.state().parked().entry(0).unwrap();
    assert_eq!((entry.first_failed, entry.last_failed), (failed_at, bench.now));
}

#[test]
fn a_crash_does_not_bring_the_retry_of_what_was_replayed_forward() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1, 1]);
    let first = bench.receive("a");
    bench.nack("a", &first[0], NackAction::Park);
    bench.group.replay([Position::ZERO], Duration::ZERO, bench.now);
    let again = bench.receive("a");
    bench.nack("a", &again[0], NackAction::Retry(Some(Duration::from_secs(5))));
    bench.write();
    bench.crash();
    bench.feed(&[1, 1]);
    assert_eq!(bench.positions("a"), [] as [u64; 0]);
    bench.pass(Duration::from_millis(4_999));
    assert_eq!(bench.positions("a"), [] as [u64; 0]);
    bench.pass(Duration::from_millis(1));
    let again = bench.receive("a");
    assert_eq!((again[0].token.position.get(), again[0].attempt), (0, 3));
    bench.ack("a", &again[0]);
    // What came behind fails, too: it is an entry of its own from then on, and has its tries.
    let behind = bench.receive("a");
    bench.nack("a", &behind[0], NackAction::Retry(Some(Duration::from_secs(5))));
    let parked = bench.group.state().parked();
    assert_eq!(parked.get(1).unwrap().standing(), Standing::Released);
    assert_eq!((parked.failed(), parked.waiting()), (1, 0));
}

#[test]
fn an_event_for_later_is_not_early_because_it_came_behind_another() {
    let mut bench = Bench::new(ordered(1));
    let due = later(bench.now, Duration::from_secs(9));
    let offer = |bench: &mut Bench| {
        for (position, not_before) in [(0, None), (1, Some(due))] {
            let position = Position::new(position);
            bench.group.offer(Offered { position, key: 1, not_before }, bench.now);
        }
    };
    offer(&mut bench);
    let first = bench.receive("a");
    bench.nack("a", &first[0], NackAction::Park);
    bench.write();
    bench.crash();
    offer(&mut bench);
    bench.group.replay([Position::ZERO], Duration::ZERO, bench.now);
    let again = bench.receive("a");
    bench.ack("a", &again[0]);
    assert_eq!(bench.positions("a"), [] as [u64; 0]);
    bench.pass(Duration::from_secs(9));
    let then = bench.receive("a");
    assert_eq!((then[0].token.position.get(), then[0].attempt), (1, 1));
}

#[test]
fn a_token_from_before_a_crash_does_not_answer_for_the_delivery_that_has_its_number_now() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1, 2, 3]);
    let old = bench.receive("a");
    bench.ack("a", &old[1]);
    bench.write();
    bench.crash();
    assert_eq!(bench.group.record().unwrap().changes, [Change::Opened(2)]);
    let refused =
        |bench: &mut Bench, at: usize| bench.group.ack("a", old[at].token, bench.now).unwrap_err();
    // Whether it looked at the third was not written down.
    let all = [0, 1, 2].map(|at| refused(&mut bench, at));
    assert_eq!(all, [Refused::Expired, Refused::AlreadyAcked, Refused::Expired]);
    bench.feed(&[1, 2, 3]);
    let new = bench.receive("a");
    assert_eq!((new[0].token.delivery, old[0].token.delivery), (1, 1));
    assert_eq!((new[0].token.generation, old[0].token.generation), (2, 1));
    for consumer in ["a", "b"] {
        let late = bench.group.ack(consumer, old[0].token, bench.now);
        assert_eq!(late, Err(Refused::Expired));
    }
    let held = bench.group.hold("a", &[old[0].token], bench.now).unwrap_err();
    assert_eq!(held, [(old[0].token, Refused::Expired)]);
    bench.ack("a", &new[0]);
    assert_eq!(refused(&mut bench, 0), Refused::AlreadyAcked);
}

#[test]
fn it_is_known_who_stopped_a_group_and_why() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1, 2]);
    let both = bench.receive("worker-7");
    let stopped_at = bench.now;
    bench.nack("worker-7", &both[1], NackAction::Stop);
    bench.now = later(bench.now, Duration::from_millis(1));
    bench.nack("worker-7", &both[0], NackAction::Stop);
    let reason = "the database is away".to_owned();
    let other = PauseInfo { by: "operator".to_owned(), reason, position: None, at: bench.now };
    bench.group.pause(other.clone());
    bench.write();
    bench.crash();
    let first = PauseInfo {
        by: "worker-7".to_owned(),
        reason: "it is poison".to_owned(),
        position: Some(Position::new(1)),
        at: stopped_at,
    };
    assert_eq!(bench.group.state().pause(), Some(&first));
    assert!(bench.group.stats().paused && !bench.group.wants_more());
    bench.group.resume();
    bench.group.pause(PauseInfo { reason: "ß".repeat(ERROR_BYTES_MAX), ..other.clone() });
    let pause = bench.group.state().pause().unwrap();
    assert_eq!((&*pause.by, pause.reason.len()), ("operator", ERROR_BYTES_MAX));
    bench.group.resume();
    bench.write();
    bench.crash();
    assert_eq!(bench.group.state().pause(), None);
    bench.feed(&[1, 2]);
    assert_eq!(bench.positions("a"), [0, 1]);
}

#[test]
fn what_was_edited_is_delivered_in_place_of_what_failed() {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1, 1, 2]);
    let first = bench.receive("a");
    bench.nack("a", &first[0], NackAction::Park);
    let by = Position::new(77);
    assert!(!bench.group.edit(Position::new(1), by, bench.now), "it never failed");
    assert!(!bench.group.edit(Position::new(2), by, bench.now), "it is not parked");
    assert!(bench.group.edit(Position::ZERO, by, bench.now));
    let edited = bench.receive("a")[0];
    assert_eq!((edited.token.position, edited.event, edited.attempt), (Position::ZERO, by, 2));
    // It fails again, and is what it was edited to for as long as it is there.
    bench.nack("a", &edited, NackAction::Retry(None));
    bench.write();
    bench.crash();
    bench.feed(&[1, 1, 2]);
    bench.pass(Duration::from_secs(1));
    let edited = *bench.receive("a").iter().find(|it| it.token.key == 1).unwrap();
    assert_eq!((edited.token.position, edited.event, edited.attempt), (Position::ZERO, by, 3));
    bench.ack("a", &edited);
    let behind = bench.receive("a");
    let behind = behind.iter().find(|it| it.token.key == 1).unwrap();
    assert_eq!((behind.token.position, behind.event), (Position::new(1), Position::new(1)));
}

#[test]
fn a_group_that_was_sent_back_reads_again_what_came_behind() {
    let mut bench = Bench::new(ordered(1));
    let keys = [1, 1, 2, 1];
    bench.feed(&keys);
    let first = bench.receive("a");
    bench.nack("a", &first[0], NackAction::Park);
    bench.ack("a", &first[1]);
    bench.write();
    bench.group.seek(Position::new(1));
    assert_eq!(bench.group.state().parked().len(), 1);
    bench.feed(&keys[..2]);
    assert_eq!(bench.group.state().parked().len(), 2);
    bench.write();
    assert_eq!(bench.written.parked(), bench.group.state().parked());
    bench.crash();
    bench.feed(&keys);
    bench.group.discard([Position::ZERO]);
    assert_eq!(bench.positions("a"), [2, 1]);
}

#[test]
fn a_group_that_was_sent_somewhere_twice_goes_on_from_the_last() {
    let keys = [1, 1, 1, 2, 1, 2];
    for (first, last) in [(1, 4), (4, 1), (2, 2)] {
        let mut bench = Bench::new(ordered(1));
        bench.feed(&keys);
        let both = bench.receive("a");
        bench.nack("a", &both[0], NackAction::Park);
        bench.write();
        assert_eq!(bench.written.parked().waiting(), 3);
        bench.group.seek(Position::new(first));
        bench.group.seek(Position::new(last));
        bench.write();
        assert_eq!(bench.written.parked(), bench.group.state().parked());
        bench.crash();
        assert_eq!(bench.group.reads_from(), Position::new(last));
        assert_eq!(bench.group.stats().next, Position::new(last));
    }
}

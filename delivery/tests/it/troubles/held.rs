//! What a consumer appends together with its acknowledgement.

use super::*;

/// Three events of three keys, with one consumer, and what holds them.
fn three() -> (Bench, Vec<Delivery>) {
    let mut bench = Bench::new(ordered(1));
    bench.feed(&[1, 2, 3, 1]);
    let deliveries = bench.receive("a");
    assert_eq!(deliveries.len(), 3);
    (bench, deliveries)
}

fn tokens(deliveries: &[Delivery]) -> Vec<DeliveryToken> {
    deliveries.iter().map(|it| it.token).collect()
}

#[test]
fn what_was_appended_counts_with_its_acknowledgement_though_nobody_heard_of_it() {
    let (mut bench, three) = three();
    let held = bench.group.hold("a", &tokens(&three[..2]), bench.now).unwrap();
    bench.write();
    let record = bench.group.record_of(&held);
    bench.written.apply(&record);
    // It is durable, and the machine ends before it is told.
    drop(held);
    bench.crash();
    bench.feed(&[1, 2, 3, 1]);
    let rest = bench.receive("b");
    assert_eq!(rest.iter().map(|it| it.token.position.get()).collect::<Vec<_>>(), [2, 3]);
    let late = bench.group.ack("a", three[0].token, bench.now);
    assert_eq!(late, Err(Refused::AlreadyAcked));
}

#[test]
fn what_was_not_appended_leaves_its_events_to_do() {
    let (mut bench, three) = three();
    let held = bench.group.hold("a", &tokens(&three), bench.now).unwrap();
    bench.write();
    let written = bench.written.clone();
    bench.now = later(bench.now, Duration::from_millis(900));
    bench.group.settle(held, false, bench.now);
    // It has as long to answer as it had.
    bench.ack("a", &three[0]);
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.group.ack("a", three[1].token, bench.now), Err(Refused::Expired));
    let again: Vec<_> = bench.receive("a").iter().map(|it| (it.event.get(), it.attempt)).collect();
    assert_eq!(again, [(3, 1), (1, 2), (2, 2)]);
    // Had the machine ended in between, all of it would be to do.
    bench.written = written;
    bench.crash();
    bench.feed(&[1, 2, 3, 1]);
    assert_eq!(bench.positions("a"), [0, 1, 2]);
}

#[test]
fn nobody_gets_or_answers_what_is_held_and_its_time_does_not_run_out() {
    let (mut bench, three) = three();
    let held = bench.group.hold("a", &tokens(&three[..1]), bench.now).unwrap();
    assert_eq!(bench.group.oldest_in_flight(), Some(bench.now));
    let token = three[0].token;
    let nack = Nack { action: NackAction::Park, failure: Failure::new("twice") };
    for consumer in ["a", "b"] {
        assert_eq!(bench.group.ack(consumer, token, bench.now), Err(Refused::Expired));
        let nacked = bench.group.nack(consumer, token, nack.clone(), bench.now);
        assert_eq!(nacked, Err(Refused::Expired));
        let extended = bench.group.extend(consumer, token, HEARTBEAT_MAX, bench.now);
        assert_eq!(extended, Err(Refused::Expired));
        let again = bench.group.hold(consumer, &[token], bench.now).unwrap_err();
        assert_eq!(again, [(token, Refused::Expired)]);
    }
    bench.pass(HEARTBEAT_MAX * 2);
    assert_eq!(bench.group.consumers(), [("a", 1, 1)], "it waits for its append");
    assert_eq!(bench.positions("a"), [1, 2], "the others were late");
    bench.group.settle(held, true, bench.now);
    assert_eq!(bench.positions("a"), [3], "what is behind it has its turn");
}

#[test]
fn all_of_it_is_acknowledged_or_nothing() {
    let (mut bench, three) = three();
    bench.ack("a", &three[1]);
    let mut all = tokens(&three);
    all.push(three[0].token);
    let refused = bench.group.hold("a", &all, bench.now).unwrap_err();
    let why = Refused::AlreadyAcked;
    assert_eq!(refused, [(three[1].token, why), (three[0].token, why)]);
    let refused = bench.group.hold("b", &all[..1], bench.now).unwrap_err();
    assert_eq!(refused, [(three[0].token, Refused::OtherOwner)]);
    bench.ack("a", &three[0]);
}

#[test]
fn a_consumer_that_is_gone_before_its_append_came_out_holds_up_nobody() {
    for (taken, lost) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut bench, three) = three();
        let held = bench.group.hold("a", &tokens(&three[..1]), bench.now).unwrap();
        match lost {
            true => {
                // One by one, as far as a record has room: then it is gone.
                let lost: Vec<_> = (0..3).map(|_| bench.group.lose("a", 1, bench.now)).collect();
                assert_eq!(lost, [1, 1, 0], "what it had and did not answer");
            }
            false => bench.group.leave("a", bench.now),
        }
        assert_eq!(bench.group.stats().in_flight, 0);
        assert_eq!(bench.group.oldest_in_flight(), None);
        // One of the same name is another.
        assert_eq!(bench.positions("a"), [1, 2]);
        bench.group.settle(held, taken, bench.now);
        let next = bench.receive("a");
        let next: Vec<_> = next.iter().map(|it| (it.token.position.get(), it.attempt)).collect();
        assert_eq!(next, if taken { [(3, 1)] } else { [(0, 1)] });
    }
}

#[test]
fn what_came_between_an_append_and_its_outcome_is_not_undone() {
    for taken in [false, true] {
        let (mut bench, three) = three();
        three.iter().for_each(|delivery| bench.nack("a", delivery, NackAction::Park));
        bench.group.replay([0, 1].map(Position::new), Duration::ZERO, bench.now);
        let replayed = bench.receive("a");
        assert_eq!(replayed.len(), 2);
        let held = bench.group.hold("a", &tokens(&replayed), bench.now).unwrap();
        bench.write();
        let record = bench.group.record_of(&held);
        // Somebody gives one of them up, and then sends the group elsewhere.
        bench.group.discard([Position::new(0)]);
        bench.group.seek(Position::new(4));
        assert_eq!(bench.positions("a"), [3], "nobody gets the one whose answer is under way");
        if taken {
            bench.written.apply(&record);
        }
        bench.group.settle(held, taken, bench.now);
        let next = bench.positions("a");
        bench.write();
        assert_eq!(bench.written.parked(), bench.group.state().parked());
        bench.crash();
        bench.feed(&[1, 2, 3, 1]);
        let after = bench.positions("a");
        let expected = if taken { (vec![], vec![3]) } else { (vec![1], vec![1, 3]) };
        assert_eq!((next, after), expected);
    }
}

#[test]
fn an_acknowledgement_that_is_written_down_twice_is_one() {
    let (mut bench, three) = three();
    bench.nack("a", &three[2], NackAction::Park);
    bench.group.replay([Position::new(2)], Duration::ZERO, bench.now);
    let replayed = bench.receive("a");
    let all = tokens(&[three[0], three[1], replayed[0]]);
    let held = bench.group.hold("a", &all, bench.now).unwrap();
    bench.write();
    let record = bench.group.record_of(&held);
    bench.written.apply(&record);
    let done = bench.written.clone();
    bench.group.settle(held, true, bench.now);
    bench.write();
    assert_eq!((done.floor(), bench.written.floor()), (Position::new(3), Position::new(3)));
    assert!(done.parked().is_empty() && bench.written.parked().is_empty());
    assert_eq!(bench.group.record(), None);
    assert_eq!(bench.positions("a"), [3]);
}

#[test]
fn what_was_parked_before_a_group_was_sent_back_stays_done_with_what_was_appended() {
    let mut bench = Bench::new(ordered(1));
    let keys = [1, 2];
    bench.feed(&keys);
    let both = bench.receive("a");
    bench.nack("a", &both[1], NackAction::Park);
    bench.group.seek(Position::ZERO);
    bench.write();
    bench.feed(&keys);
    bench.group.replay([Position::new(1)], Duration::ZERO, bench.now);
    let replayed = bench.receive("a");
    let replayed = replayed.iter().find(|it| it.token.key == 2).unwrap();
    let held = bench.group.hold("a", &[replayed.token], bench.now).unwrap();
    bench.write();
    let record = bench.group.record_of(&held);
    bench.written.apply(&record);
    drop(held);
    bench.crash();
    bench.feed(&keys);
    assert_eq!(bench.positions("a"), [0]);
}

#[test]
fn an_append_that_comes_out_late_does_not_take_away_what_failed_since() {
    let (mut bench, three) = three();
    bench.nack("a", &three[1], NackAction::Park);
    bench.group.replay([Position::new(1)], Duration::ZERO, bench.now);
    let replayed = bench.receive("a");
    let held = bench.group.hold("a", &tokens(&replayed), bench.now).unwrap();
    bench.write();
    bench.group.seek(Position::ZERO);
    bench.group.discard([Position::new(1)]);
    bench.feed(&[1, 2, 3]);
    let anew = bench.receive("a");
    let anew = anew.iter().find(|it| it.token.key == 2).unwrap();
    bench.nack("a", anew, NackAction::Park);
    bench.group.settle(held, true, bench.now);
    assert_eq!(bench.group.state().parked().failed(), 1);
}

//! What rules do with what would be parked.

use super::*;

#[test]
fn what_a_rule_does_is_on_record() {
    let (_engine, store) = store(4);
    let rules = ["db: retry 1m, then alert", "*: skip"].map(|rule| rule.parse().unwrap());
    let mut run = Run::new(&store, &GroupConfig { parked_rules: rules.into(), ..unordered() });
    let given = run.receive("a", 4);
    let nack = |class: &str| {
        let failure = Failure { class: class.to_owned(), ..Failure::new("bad") };
        What::Nack(Nack { action: NackAction::Park, failure })
    };
    run.answer(tokens(&given[..2]), nack("db"));
    run.answer(tokens(&given[2..3]), nack("other"));
    run.answer(tokens(&given[3..]), What::Ack);
    let list = ParkedList { limit: 10, ..ParkedList::default() };
    let Listed { entries, .. } = run.ask(list.clone(), Request::Parked).unwrap();
    let minute = Duration::from_secs(60);
    let shown: Vec<_> = entries.iter().map(|it| (it.released, it.rounds, it.not_before)).collect();
    assert_eq!(shown, vec![(true, 1, Some(run.now.saturating_add(minute))); 2]);
    run.pass(minute);
    let again = run.receive("a", 4);
    assert_eq!(positions(&again), positions(&given[..2]));
    run.answer(tokens(&again), nack("db"));
    let ruled = run.look().counts.ruled;
    assert_eq!((ruled.retried, ruled.skipped, ruled.alerted), (2, 1, 2));
    let events = store.read(Read::stream("$parked-mail")).into_iter().map(Result::unwrap);
    let said: Vec<serde_json::Value> = events
        .inspect(|event| assert_eq!(event.event_type(), "$ParkedRuled"))
        .map(|event| event.json().unwrap())
        .collect();
    let rule = "db: retry 1m, then alert";
    let at = |range: std::ops::Range<usize>| positions(&given[range]);
    let expected = [
        json!({ "rule": rule, "action": "retry", "round": 1, "positions": at(0..2) }),
        json!({ "rule": "*: skip", "action": "skip", "round": null, "positions": at(2..3) }),
        json!({ "rule": rule, "action": "alert", "round": null, "positions": at(0..2) }),
    ];
    assert_eq!(said, expected);
    let mut run = Run::open(&store);
    let Listed { entries, .. } = run.ask(list, Request::Parked).unwrap();
    assert_eq!(entries.iter().map(|it| it.released).collect::<Vec<_>>(), [false, false]);
}

//! A consumer that is lost with more than one record has room for.

use super::*;

/// More than the 200,000 answers that one record has room for.
const MANY: u64 = 201_000;

#[test]
fn a_consumer_that_is_lost_with_very_much_is_gone_in_several_records() {
    let engine = empty();
    let store = engine.namespace("default").unwrap();
    let hour = Duration::from_secs(3_600);
    let config = GroupConfig {
        ack_deadline: hour,
        max_in_flight: u32::try_from(MANY).unwrap(),
        max_attempts: 5,
        ..unordered()
    };
    let mut run = Run::new(&store, &config);
    for _ in 0..MANY / 1_000 {
        store.append(Append::to("mail").events((0..1_000).map(event))).wait().unwrap();
    }
    let mut with_it = 0;
    while with_it < MANY {
        let handed = run.receive("a", 1_000);
        assert!(!handed.is_empty(), "{with_it}");
        with_it += handed.len() as u64;
    }
    let before = run.coordinator.gauges().counts.records;
    let lost = Request::Leave { consumer: "a".to_owned(), lost: true };
    run.requests.try_send(lost).unwrap();
    // It comes back while it is not gone yet: that one is another.
    let mut again = run.send(("a".to_owned(), 10, hour), Request::Receive);
    run.step();
    assert_eq!(run.ended, None);
    assert!(run.coordinator.gauges().counts.records >= before + 2, "one record has no room for it");
    let handed = again.try_recv().unwrap().unwrap();
    assert!(handed.iter().all(|it| it.delivery.attempt == 2), "{handed:?}");
    let members = run.look().members;
    assert_eq!(members.iter().map(|it| it.in_flight).collect::<Vec<_>>(), [10]);
    // After a crash it counts as tried all the same.
    let mut run = Run::open(&store);
    run.step();
    let mut tried = 0;
    while tried < MANY {
        let handed = run.receive("b", 1_000);
        assert!(!handed.is_empty(), "{tried}");
        assert!(handed.iter().all(|it| it.delivery.attempt == 2));
        tried += handed.len() as u64;
    }
}

//! Who waits for what stands far behind is woken for it.

use super::*;

const KEYS: u64 = 100;

/// A thousand events, ten of each key.
fn a_thousand(store: &Namespace) {
    let of = |append: Append, key| append.stream(format!("known-{key}")).events((0..10).map(event));
    store.append((0..KEYS).fold(Append::new(), of)).wait().unwrap();
}

#[test]
fn who_has_much_to_do_and_waits_is_woken_for_what_stands_far_behind() {
    let engine = empty();
    let store = engine.namespace("default").unwrap();
    let hour = Duration::from_secs(3_600);
    let config = GroupConfig { lanes: 1, ack_deadline: hour, ..GroupConfig::default() };
    let mut run = Run::new(&store, &config);
    (0..40).for_each(|_| a_thousand(&store));
    let far = store.append(Append::to("other").event(event(1))).wait().unwrap().last().unwrap();
    assert_eq!(run.receive("a", 160).len(), 100, "one of each key, and none of them is ever done");
    let mut waiting = run.send(("a".to_owned(), 60, hour), Request::Receive);
    run.step();
    assert!(waiting.try_recv().is_err(), "it is not looked for at once");
    let (begun, mut woken) = (run.now, 0);
    // Nothing happens but what it asks for itself.
    let given = loop {
        run.now = run.coordinator.next_tick().expect("it wants to be called");
        run.step();
        woken += 1;
        match waiting.try_recv() {
            Ok(given) => break given.unwrap(),
            Err(_) => assert!(woken < 1_000, "it is never found"),
        }
    };
    assert_eq!(positions(&given), [far.get()]);
    // Sooner than it is looked at for another reason.
    assert!(run.now < begun.saturating_add(Duration::from_secs(2)), "{:?}", run.now);
}

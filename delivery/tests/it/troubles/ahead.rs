//! How far a group reads ahead: what is in memory is what keys are looked for among, and no more.

use super::*;

/// Offers events of keys in turn as long as more is wanted.
fn feed_all(bench: &mut Bench, events: u64, keys: u64) {
    while bench.group.wants_more() && bench.group.reads_from().get() < events {
        let position = bench.group.reads_from();
        let key = position.get() % keys;
        bench.group.offer(Offered { position, key, not_before: None }, bench.now);
    }
}

fn take(bench: &mut Bench, max: usize) -> Vec<Delivery> {
    bench.group.receive("a", max, bench.now).unwrap()
}

const EVENTS: u64 = 1_000_000;

#[test]
fn who_has_much_to_do_does_not_have_the_whole_log_read() {
    let mut bench = Bench::new(ordered(1));
    bench.group.join("a", bench.now).unwrap();
    feed_all(&mut bench, EVENTS, 100);
    let in_any_case = bench.group.stats().open;
    assert!(in_any_case < 20_000, "{in_any_case}");
    let mut with = take(&mut bench, 160);
    assert_eq!(with.len(), 100, "one of each key");
    // For four minutes each is done as another asks for more than there is.
    for _ in 0..2_000 {
        for delivery in with.drain(..50) {
            bench.ack("a", &delivery);
        }
        with.extend(take(&mut bench, 110));
        assert_eq!(with.len(), 100);
        assert_eq!(take(&mut bench, 60), []);
        feed_all(&mut bench, EVENTS, 100);
        bench.now = later(bench.now, Duration::from_millis(120));
        bench.group.join("a", bench.now).unwrap();
    }
    let open = bench.group.stats().open;
    assert!(open < in_any_case + 40 * 4_096, "{open} are read ahead");
}

#[test]
fn what_only_reading_on_can_find_is_found_also_for_who_has_much_to_do() {
    let mut bench =
        Bench::new(GroupConfig { ack_deadline: Duration::from_secs(3_600), ..ordered(1) });
    bench.group.join("a", bench.now).unwrap();
    feed_all(&mut bench, EVENTS, 100);
    assert_eq!(take(&mut bench, 160).len(), 100);
    // None of them is ever done. Another key stands far behind.
    let far = bench.group.stats().open as u64 + 50_000;
    let mut waited = Duration::ZERO;
    loop {
        feed_all(&mut bench, far, 100);
        if bench.group.reads_from().get() == far {
            let position = Position::new(far);
            bench.group.offer(Offered { position, key: 1_000, not_before: None }, bench.now);
        }
        let found = take(&mut bench, 60);
        if !found.is_empty() {
            assert_eq!(found[0].token.position.get(), far);
            break;
        }
        let step = Duration::from_secs(1);
        let next = bench.group.next_tick();
        let is_soon = next.is_some_and(|next| next <= later(bench.now, 10 * step));
        assert!(is_soon || bench.group.wants_more(), "it goes on by itself");
        waited += step;
        bench.pass(step);
        assert!(waited < Duration::from_secs(120), "it is not looked for");
    }
    // Who has little to do does not wait.
    let mut idle =
        Bench::new(GroupConfig { ack_deadline: Duration::from_secs(3_600), ..ordered(1) });
    idle.group.join("a", idle.now).unwrap();
    feed_all(&mut idle, EVENTS, 1);
    assert_eq!(take(&mut idle, 10).len(), 1);
    while idle.group.reads_from().get() < EVENTS {
        assert_eq!(take(&mut idle, 10), []);
        let from = idle.group.reads_from();
        feed_all(&mut idle, EVENTS, 1);
        assert!(idle.group.reads_from() > from, "at once");
    }
}

#[test]
fn lanes_that_are_full_do_not_have_more_read() {
    let mut bench = Bench::new(GroupConfig { max_in_flight_per_lane: 10, ..ordered(4) });
    bench.group.join("a", bench.now).unwrap();
    feed_all(&mut bench, EVENTS, 1_000);
    let before = bench.group.stats().open;
    assert_eq!(take(&mut bench, 1_000).len(), 40);
    assert_eq!(take(&mut bench, 1_000), [], "whatever it asks for");
    feed_all(&mut bench, EVENTS, 1_000);
    let stats = bench.group.stats();
    assert_eq!((stats.open, stats.in_flight), (before + 40, 40), "as many as are with it");
}

/// A record has room for some of them, and the others are not forgotten.
#[test]
fn many_that_are_late_at_once_are_late_in_several_steps() {
    let mut bench = Bench::new(GroupConfig {
        mode: GroupMode::Unordered,
        max_in_flight: 100_000,
        ack_deadline: Duration::from_secs(5),
        ..ordered(1)
    });
    bench.group.join("a", bench.now).unwrap();
    let mut with = 0;
    while with < 25_000 {
        feed_all(&mut bench, 25_000, 1);
        with += take(&mut bench, 1_000).len();
    }
    bench.now = later(bench.now, Duration::from_secs(6));
    let mut late = Vec::new();
    while bench.group.next_tick().is_some_and(|at| at <= bench.now) && late.len() < 10 {
        late.push(bench.group.tick(bench.now));
    }
    assert_eq!(late, [10_000, 10_000, 5_000]);
    assert_eq!(bench.group.stats().ready, 25_000, "all of them come again");
}

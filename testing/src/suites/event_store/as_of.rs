//! Reads of a past state: up to a position, a revision, or a recorded time, inclusive.

use nexus_protocol::{AsOf, EventStore, Filter, Read, Timestamp};

use super::ask::{fill, numbers, position, positions, read, revision};

/// Positions 0–3 in `a-1`, 4–5 in `b-1`, 6–9 in `a-1`.
async fn ten(store: &impl EventStore) {
    fill(store, "a-1", 0, 4).await;
    fill(store, "b-1", 4, 2).await;
    fill(store, "a-1", 6, 4).await;
}

pub(super) async fn positions_are_inclusive<S: EventStore>(store: S) {
    ten(&store).await;
    for last in [0, 3, 5, 6, 9, 10, u64::MAX] {
        let as_of = AsOf::Position(position(last));
        let wanted: Vec<u64> = (0..10).filter(|n| *n <= last).collect();
        assert_eq!(positions(&store, Read::all().as_of(as_of)).await, wanted);
        let mut backwards = positions(&store, Read::all().as_of(as_of).backwards()).await;
        backwards.reverse();
        assert_eq!(backwards, wanted);
        let of_b: Vec<u64> = wanted.iter().copied().filter(|n| (4..6).contains(n)).collect();
        assert_eq!(positions(&store, Read::stream("b-1").as_of(as_of)).await, of_b);
        let by_filter = Read::all().filter(Filter::category("b")).as_of(as_of);
        assert_eq!(positions(&store, by_filter).await, of_b);
    }
    let past = Read::all().as_of(AsOf::Position(position(5)));
    assert_eq!(positions(&store, past.clone().from_position(position(5))).await, [5]);
    assert!(positions(&store, past.clone().from_position(position(6))).await.is_empty());
    let back = past.from_position(position(9)).backwards().limit(2);
    assert_eq!(positions(&store, back).await, [5, 4]);
}

pub(super) async fn revisions_are_inclusive<S: EventStore>(store: S) {
    ten(&store).await;
    let stream = |last| Read::stream("a-1").as_of(AsOf::Revision(revision(last)));
    assert_eq!(numbers(&store, stream(0)).await, [0]);
    assert_eq!(numbers(&store, stream(4)).await, [0, 1, 2, 3, 6]);
    assert_eq!(numbers(&store, stream(4).backwards().limit(2)).await, [6, 3]);
    assert_eq!(numbers(&store, stream(4).from_revision(revision(4))).await, [6]);
    assert!(numbers(&store, stream(4).from_revision(revision(5))).await.is_empty());
    for beyond in [7, 8, u64::MAX] {
        assert_eq!(numbers(&store, stream(beyond)).await.len(), 8);
    }
}

pub(super) async fn recorded_times_are_inclusive<S: EventStore>(store: S) {
    ten(&store).await;
    let all = read(&store, Read::all()).await;
    let mut times: Vec<i64> = all.iter().map(|event| event.recorded_at().as_micros()).collect();
    times.extend([times[0] - 1, times[9] + 1, i64::MIN, i64::MAX]);
    for micros in times {
        let as_of = AsOf::Recorded(Timestamp::from_micros(micros));
        let known = all.iter().filter(|event| event.recorded_at().as_micros() <= micros);
        let wanted: Vec<u64> = known.map(|event| event.position().get()).collect();
        assert_eq!(positions(&store, Read::all().as_of(as_of)).await, wanted);
        let of_a: Vec<u64> = wanted.iter().copied().filter(|n| !(4..6).contains(n)).rev().collect();
        let backwards = Read::stream("a-1").as_of(as_of).backwards();
        assert_eq!(positions(&store, backwards).await, of_a);
    }
}

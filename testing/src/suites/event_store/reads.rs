//! Reads of a stream and of the log: both ways, from a revision, a position, or a time.

use nexus_protocol::{Append, EventStore, Read, ReadError, Timestamp};

use super::ask::{append, event, fill, numbers, position, positions, read, revision, try_read};

/// Ten events, the even ones in `a-1`, the odd ones in `b-1`; the data is the position.
async fn ten(store: &impl EventStore) {
    for number in 0..10 {
        let stream = if number % 2 == 0 { "a-1" } else { "b-1" };
        append(store, Append::to(stream).event(event(number))).await;
    }
}

pub(super) async fn streams_are_read_both_ways<S: EventStore>(store: S) {
    ten(&store).await;
    let stream = || Read::stream("b-1");
    let table: [(Read, &[u64]); 14] = [
        (stream(), &[1, 3, 5, 7, 9]),
        (stream().backwards(), &[9, 7, 5, 3, 1]),
        (stream().limit(2), &[1, 3]),
        (stream().backwards().limit(2), &[9, 7]),
        (stream().limit(0), &[]),
        (stream().from_revision(revision(3)), &[7, 9]),
        (stream().from_revision(revision(1)).backwards(), &[3, 1]),
        (stream().from_revision(revision(0)).backwards(), &[1]),
        (stream().from_revision(revision(5)), &[]),
        (stream().from_revision(revision(99)).backwards().limit(1), &[9]),
        (stream().from_revision(revision(u64::MAX)), &[]),
        (stream().from_position(position(4)), &[5, 7, 9]),
        (stream().from_position(position(4)).backwards(), &[3, 1]),
        (stream().from_position(position(5)).backwards(), &[5, 3, 1]),
    ];
    for (wanted, found) in table {
        assert_eq!(numbers(&store, wanted.clone()).await, found, "{wanted:?}");
    }
    let all = read(&store, stream()).await;
    let revisions: Vec<_> = all.iter().map(|event| event.revision().get()).collect();
    assert_eq!(revisions, [0, 1, 2, 3, 4]);
    assert!(all.iter().all(|event| event.stream() == "b-1" && event.category() == "b"));
}

pub(super) async fn the_log_is_read_both_ways<S: EventStore>(store: S) {
    ten(&store).await;
    let all = Read::all;
    let table: [(Read, &[u64]); 11] = [
        (all(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (all().backwards(), &[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (all().limit(3), &[0, 1, 2]),
        (all().backwards().limit(3), &[9, 8, 7]),
        (all().limit(0), &[]),
        (all().from_position(position(7)), &[7, 8, 9]),
        (all().from_position(position(2)).backwards(), &[2, 1, 0]),
        (all().from_position(position(0)).backwards(), &[0]),
        (all().from_position(position(10)), &[]),
        (all().from_position(position(u64::MAX)), &[]),
        (all().from_position(position(99)).backwards().limit(1), &[9]),
    ];
    for (wanted, found) in table {
        assert_eq!(positions(&store, wanted.clone()).await, found, "{wanted:?}");
        assert_eq!(numbers(&store, wanted).await, found);
    }
}

pub(super) async fn reads_begin_at_a_time<S: EventStore>(store: S) {
    ten(&store).await;
    let all = read(&store, Read::all()).await;
    let mut times: Vec<i64> = all.iter().map(|event| event.recorded_at().as_micros()).collect();
    times.extend([times[0] - 1, times[9] + 1, i64::MIN, i64::MAX]);
    for micros in times {
        let time = Timestamp::from_micros(micros);
        for stream in [None, Some("b-1")] {
            let base = stream.map_or_else(Read::all, Read::stream);
            let wanted = |keep: &dyn Fn(Timestamp) -> bool| -> Vec<u64> {
                let events = all.iter().filter(|event| stream.is_none_or(|s| s == event.stream()));
                let kept = events.filter(|event| keep(event.recorded_at()));
                kept.map(|event| event.position().get()).collect()
            };
            let forwards = wanted(&|recorded| recorded >= time);
            assert_eq!(positions(&store, base.clone().from_time(time)).await, forwards);
            let mut backwards = wanted(&|recorded| recorded <= time);
            backwards.reverse();
            assert_eq!(positions(&store, base.from_time(time).backwards()).await, backwards);
        }
    }
}

pub(super) async fn what_is_not_there_is_empty<S: EventStore>(store: S) {
    for _ in 0..2 {
        let now = Timestamp::from_micros(0);
        let reads = [
            Read::stream("missing"),
            Read::stream("missing").backwards(),
            Read::stream("missing").from_revision(revision(3)),
            Read::stream("missing").from_time(now).backwards(),
            Read::all().filter(nexus_protocol::Filter::tag("no:where")),
            Read::all().filter(nexus_protocol::Filter::tag("no:where")).backwards(),
            Read::all().from_position(position(1)),
            Read::all().from_time(now).backwards(),
        ];
        for wanted in reads {
            assert!(positions(&store, wanted).await.is_empty());
        }
        fill(&store, "a-1", 0, 1).await;
    }
}

pub(super) async fn a_revision_is_no_place_in_the_log<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 1).await;
    let bad = [
        Read::all().from_revision(revision(0)),
        Read::all().as_of(nexus_protocol::AsOf::Revision(revision(0))),
        Read::stream(""),
        Read::stream("-x"),
    ];
    for wanted in bad {
        let error = try_read(&store, wanted).await.unwrap_err();
        assert!(matches!(error, ReadError::Invalid(_)), "{error}");
    }
}

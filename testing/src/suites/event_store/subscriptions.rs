//! Subscriptions: what is there, then what comes, without a gap and without a duplicate.

use nexus_protocol::{
    Append, EventStore, ExpectedRevision, Filter, FilterItem, ReadError, Start, Subscribe,
    SubscriptionItem,
};

use super::ask::{append, caught_up, event, fill, item, next_events, position, typed};
use crate::executor::next;

pub(super) async fn the_beginning_and_the_end<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 5).await;
    let mut beginning = store.subscribe(Subscribe::all());
    let all = vec![0, 1, 2, 3, 4];
    assert_eq!(caught_up::<S>(&mut beginning).await, (all, Some(position(4))));
    let mut end = store.subscribe(Subscribe::all().start(Start::End));
    assert_eq!(caught_up::<S>(&mut end).await, (vec![], Some(position(4))));
    fill(&store, "a-1", 5, 1).await;
    for subscription in [&mut beginning, &mut end] {
        assert_eq!(next_events::<S>(subscription, 1).await, [5]);
    }
}

pub(super) async fn after_and_at<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 5).await;
    let table: [(Start, &[u64]); 6] = [
        (Start::At(position(0)), &[0, 1, 2, 3, 4]),
        (Start::After(position(0)), &[1, 2, 3, 4]),
        (Start::At(position(3)), &[3, 4]),
        (Start::After(position(3)), &[4]),
        (Start::After(position(4)), &[]),
        (Start::At(position(5)), &[]),
    ];
    for (start, wanted) in table {
        let mut subscription = store.subscribe(Subscribe::all().start(start));
        let (found, caught_up_at) = caught_up::<S>(&mut subscription).await;
        assert_eq!((found.as_slice(), caught_up_at), (wanted, Some(position(4))), "{start:?}");
    }
    // Beyond the end it waits for its place.
    let mut ahead = store.subscribe(Subscribe::all().start(Start::At(position(7))));
    assert!(caught_up::<S>(&mut ahead).await.0.is_empty());
    fill(&store, "a-1", 5, 4).await;
    assert_eq!(next_events::<S>(&mut ahead, 2).await, [7, 8]);
}

pub(super) async fn live_events_follow_without_a_gap<S: EventStore>(store: S) {
    let mut subscription = store.subscribe(Subscribe::all());
    let mut wanted = 0;
    for round in 0..30 {
        let count = round % 4;
        for _ in 0..count {
            append(&store, Append::to("a-1").event(event(wanted))).await;
            append(&store, Append::to("b-1").events([event(wanted + 1), event(wanted + 2)])).await;
            wanted += 3;
        }
        // Now and then the reader stays behind.
        if round % 3 == 0 {
            let behind = wanted - wanted.min(2);
            while let SubscriptionItem::Event(event) = item::<S>(&mut subscription).await {
                if event.position().get() + 1 >= behind {
                    break;
                }
            }
        }
    }
    drop(subscription);
    let mut subscription = store.subscribe(Subscribe::all());
    let mut expected = 0;
    while expected < wanted {
        if let SubscriptionItem::Event(event) = item::<S>(&mut subscription).await {
            assert_eq!(event.position(), position(expected));
            expected += 1;
        }
    }
    for live in 0..20 {
        append(&store, Append::to("a-1").event(event(wanted + live))).await;
        assert_eq!(next_events::<S>(&mut subscription, 1).await, [wanted + live]);
    }
}

pub(super) async fn an_empty_log_is_caught_up<S: EventStore>(store: S) {
    for start in [Start::Beginning, Start::End] {
        let mut subscription = store.subscribe(Subscribe::all().start(start));
        let first = item::<S>(&mut subscription).await;
        assert_eq!(first, SubscriptionItem::CaughtUp { position: None });
    }
    let mut subscription = store.subscribe(Subscribe::all());
    assert_eq!(caught_up::<S>(&mut subscription).await, (vec![], None));
    fill(&store, "a-1", 0, 2).await;
    assert_eq!(next_events::<S>(&mut subscription, 2).await, [0, 1]);
}

pub(super) async fn a_slow_reader_is_told<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 1).await;
    let mut subscription = store.subscribe(Subscribe::all());
    assert_eq!(caught_up::<S>(&mut subscription).await.0, [0]);
    let many = 20_000;
    append(&store, Append::to("a-1").events((1..=many).map(event))).await;
    let mut fell_behind = 0;
    let mut expected = 1;
    loop {
        match item::<S>(&mut subscription).await {
            SubscriptionItem::Event(event) => {
                assert_eq!(event.position(), position(expected));
                expected += 1;
            }
            SubscriptionItem::FellBehind { position: at } => {
                assert_eq!((expected, at), (1, Some(position(0))));
                fell_behind += 1;
            }
            SubscriptionItem::CaughtUp { position: at } => {
                assert_eq!((expected, at), (many + 1, Some(position(many))));
                break;
            }
            SubscriptionItem::Checkpoint { position: at } => assert!(at < position(expected)),
        }
    }
    assert_eq!(fell_behind, 1);
}

pub(super) async fn silence_is_checkpointed<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 50).await;
    let wanted = Filter::tag("some:thing");
    let every =
        |every| Subscribe { checkpoint_every: every, ..Subscribe::all().filter(wanted.clone()) };
    let mut subscription = store.subscribe(every(10));
    let mut last = None;
    loop {
        match item::<S>(&mut subscription).await {
            SubscriptionItem::Checkpoint { position } => {
                assert!(last < Some(position), "checkpoints only grow");
                last = Some(position);
            }
            SubscriptionItem::CaughtUp { position } => {
                assert_eq!(position.map(|p| p.get()), Some(49));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(last.is_some_and(|last| last >= position(39)), "{last:?}");
    // Live, too; and a checkpoint is a place to start after.
    append(&store, Append::to("a-1").events((50..70).map(event))).await;
    let SubscriptionItem::Checkpoint { position: at } = item::<S>(&mut subscription).await else {
        panic!("a checkpoint comes although nothing matches");
    };
    assert!(at >= position(59));
    append(&store, Append::to("a-1").event(event(70).tag("some:thing"))).await;
    assert_eq!(next_events::<S>(&mut subscription, 1).await, [70]);
    let mut later = store.subscribe(every(10).start(Start::After(at)));
    assert_eq!(next_events::<S>(&mut later, 1).await, [70]);
    // With events they come as often.
    let mut busy = store.subscribe(Subscribe { checkpoint_every: 5, ..Subscribe::all() });
    let mut since = 0;
    loop {
        match item::<S>(&mut busy).await {
            SubscriptionItem::Event(_) => since += 1,
            SubscriptionItem::Checkpoint { .. } => since = 0,
            _ => break,
        }
        assert!(since <= 5, "a checkpoint comes after five positions");
    }
}

pub(super) async fn filters_and_streams_select<S: EventStore>(store: S) {
    for number in 0..12 {
        let stream = format!("{}-{}", ["a", "b"][number as usize % 2], number % 3);
        let kind = if number % 4 == 0 { "Fourth" } else { "Other" };
        append(&store, Append::to(stream).event(typed(kind, number).tag(format!("n:{number}"))))
            .await;
    }
    let streams = |names: &[&str]| {
        let streams = names.iter().map(|name| (*name).to_owned()).collect();
        Filter::any([FilterItem { streams, ..FilterItem::default() }])
    };
    let table: [(Subscribe, &[u64]); 9] = [
        (Subscribe::all().filter(Filter::category("a")), &[0, 2, 4, 6, 8, 10]),
        (Subscribe::all().filter(Filter::event_type("Fourth")), &[0, 4, 8]),
        (Subscribe::all().filter(Filter::tag("n:7")), &[7]),
        (Subscribe::all().filter(Filter::stream_prefix("b-1")), &[1, 7]),
        (Subscribe::stream("a-0"), &[0, 6]),
        (Subscribe::stream("a-0").start(Start::At(position(1))), &[6]),
        (Subscribe::stream("a-2").filter(Filter::event_type("Fourth")), &[8]),
        (Subscribe::stream("a-0").filter(streams(&["a-0", "a-1"])), &[0, 6]),
        (Subscribe::stream("a-0").filter(streams(&["a-1"])), &[]),
    ];
    for (subscribe, wanted) in table {
        let mut subscription = store.subscribe(subscribe.clone());
        let found = caught_up::<S>(&mut subscription).await;
        assert_eq!(found, (wanted.to_vec(), Some(position(11))), "{subscribe:?}");
    }
    // A stream that is not there yet.
    let mut subscription = store.subscribe(Subscribe::stream("c-1"));
    assert!(caught_up::<S>(&mut subscription).await.0.is_empty());
    fill(&store, "a-1", 12, 1).await;
    fill(&store, "c-1", 13, 1).await;
    assert_eq!(next_events::<S>(&mut subscription, 1).await, [13]);
}

pub(super) async fn hidden_events_are_not_delivered<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 3).await;
    fill(&store, "b-1", 3, 1).await;
    let mut early = store.subscribe(Subscribe::all());
    assert_eq!(next_events::<S>(&mut early, 1).await, [0]);
    store.delete_stream("a-1", ExpectedRevision::Any).await.unwrap();
    let mut late = store.subscribe(Subscribe::all());
    assert_eq!(caught_up::<S>(&mut late).await, (vec![3], Some(position(4))));
    fill(&store, "a-1", 5, 1).await;
    assert_eq!(next_events::<S>(&mut late, 1).await, [5]);
}

pub(super) async fn bad_requests_end_a_subscription<S: EventStore>(store: S) {
    let many = vec!["T".to_owned(); 1000];
    let bad = [
        Subscribe::stream(""),
        Subscribe::stream("-a"),
        Subscribe::all().filter(Filter::any([FilterItem { types: many, ..FilterItem::default() }])),
    ];
    for subscribe in bad {
        let mut subscription = store.subscribe(subscribe);
        let first = next(&mut subscription).await.unwrap();
        assert!(matches!(first, Err(ReadError::Invalid(_))), "{first:?}");
        assert!(next(&mut subscription).await.is_none());
    }
}

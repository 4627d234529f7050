//! What the guide to embedding shows, as it stands there: it compiles, and does what is said.

use std::time::Duration;

use futures_core::Stream;
use nexus_engine::Engine;
use nexus_protocol::{
    Append, AppendError, AsOf, DynEventStore, EventData, EventStore, Filter, FoldIdentity,
    Position, Query, QueryItem, Read, ReadError, RecordedEvent, Retry, Revision, Snapshot,
    SnapshotAt, Start, StreamName, Subscribe, SubscriptionItem, SubscriptionStream, Timestamp,
};
use serde_json::json;

type Tried = Result<(), Box<dyn std::error::Error>>;

fn event(event_type: &str) -> EventData {
    EventData::json(event_type, &json!({ "total_cents": 250 })).unwrap()
}

#[test]
fn opening_and_namespaces() -> Tried {
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path())?;
    let audit = engine.create_namespace("audit")?;
    audit.append(Append::to("a-1").event(event("Seen"))).wait()?;
    assert_eq!(engine.namespaces(), ["audit", "default"]);
    assert_eq!(engine.namespace("audit")?.head().position, Some(Position::ZERO));
    assert_eq!(engine.head().position, None, "the engine stands for `default`");
    let second = Engine::open(dir.path()).unwrap_err().to_string();
    assert!(second.contains("is open in another process"), "{second}");
    engine.close()?;
    let options = Engine::options().read_only(true).create(false).data_bytes_max(1 << 21);
    let reader = options.open(dir.path())?;
    assert!(reader.append(Append::to("a-1").event(event("Seen"))).wait().is_err());
    Ok(())
}

#[test]
fn appending() -> Tried {
    let engine = Engine::in_memory();
    let when: Timestamp = "2026-01-02T03:04:05Z".parse()?;
    let order = json!({ "total_cents": 250 });
    let placed = EventData::json("OrderPlaced", &order)?.tag("customer:7").occurred_at(when);
    let answer = engine.append(Append::to("order-1").no_stream().event(placed)).wait()?;
    assert_eq!(answer.streams[0].first_revision, Revision::ZERO);
    engine.append(Append::to("stock-9").event(event("Filled"))).wait()?;
    engine.append(Append::to("customer-7").event(event("Registered"))).wait()?;
    let append = Append::new()
        .stream("order-1")
        .at(Revision::new(0))
        .event(event("OrderShipped"))
        .stream("stock-9")
        .exists()
        .event(event("Taken"))
        .stream("customer-7")
        .exists();
    assert_eq!(engine.append(append).wait()?.streams.len(), 2, "the third is only checked");
    Ok(())
}

#[test]
fn boundaries_absence_and_what_to_do_after_an_error() -> Tried {
    let engine = Engine::in_memory();
    let query = Query::any([
        QueryItem::tags(["course:c1"]).of_types(["CourseDefined", "StudentSubscribed"]),
        QueryItem::tags(["student:s1"]),
    ]);
    let seen: Vec<_> = engine
        .read(Read::all().filter(Filter::from(&query)))
        .into_iter()
        .collect::<Result<_, _>>()?;
    let after = seen.last().map(|event: &RecordedEvent| event.position());
    let subscribed = event("StudentSubscribed").tag("course:c1").tag("student:s1");
    let append = Append::to("subscriptions-c1").event(subscribed.clone());
    engine.append(append.boundary(query.clone(), after)).wait()?;
    let late = Append::to("subscriptions-c1").event(subscribed).boundary(query, after);
    let error = engine.append(late).wait().unwrap_err();
    assert!(matches!(error, AppendError::Conflict(_)), "{error}");
    assert_eq!(error.retry(), Retry::AfterReload);

    let claim = || Append::to("user-7").event(event("Registered").tag("email:a@b.example"));
    engine.append(claim().absent(QueryItem::tags(["email:a@b.example"]))).wait()?;
    let taken = engine.append(claim().absent(QueryItem::tags(["email:a@b.example"]))).wait();
    assert_eq!(taken.unwrap_err().retry(), Retry::AfterReload);
    let invalid = engine.append(Append::to("").event(event("T"))).wait().unwrap_err();
    assert_eq!((invalid.retry(), invalid.code().name), (Retry::Never, "invalid"));
    Ok(())
}

fn three(engine: &Engine) {
    for n in 0..3_u64 {
        let data = EventData::json("OrderPlaced", &json!({ "n": n })).unwrap();
        engine.append(Append::to("order-1").event(data)).wait().unwrap();
    }
}

#[test]
fn reading() -> Tried {
    let engine = Engine::in_memory();
    three(&engine);
    let mut seen = Vec::new();
    for event in engine.read(Read::stream("order-1").from_revision(Revision::new(1))) {
        let event = event?;
        seen.push((event.revision(), event.json::<serde_json::Value>()?["n"].clone()));
    }
    assert_eq!(seen, [(Revision::new(1), json!(1)), (Revision::new(2), json!(2))]);
    let count = |read: Read| engine.read(read).into_iter().count();
    assert_eq!(count(Read::all().backwards().limit(10)), 3);
    let filter = Filter::category("order");
    assert_eq!(count(Read::all().filter(filter).from_position(Position::new(2))), 1);
    assert_eq!(count(Read::stream("order-1").as_of(AsOf::Recorded(Timestamp::from_micros(0)))), 0);
    let mut events = engine.read(Read::stream("order-1")).into_iter();
    assert_eq!(events.by_ref().count(), 3);
    let explain = events.explain();
    assert_eq!(
        (explain.index.as_ref(), explain.segments_read, explain.postings_read),
        ("stream", 1, 3)
    );
    Ok(())
}

/// Every store's subscription gives its events alone.
fn events_of<S: EventStore>(
    store: &S,
) -> impl Stream<Item = Result<RecordedEvent, ReadError>> + use<S> {
    SubscriptionStream::events(store.subscribe(Subscribe::all()))
}

fn first_of(stream: impl Stream<Item = Result<RecordedEvent, ReadError>>) -> Revision {
    let mut stream = Box::pin(stream);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match stream.as_mut().poll_next(&mut context) {
        std::task::Poll::Ready(Some(Ok(event))) => event.revision(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn subscribing() -> Tried {
    let engine = Engine::in_memory();
    three(&engine);
    let start = Start::After(Position::ZERO);
    let mut subscription = engine.subscribe(Subscribe::all().start(start));
    let mut applied = Vec::new();
    while let Some(item) = subscription.next_blocking(Some(Duration::ZERO)) {
        match item? {
            SubscriptionItem::Event(event) => applied.push(event.position()),
            SubscriptionItem::Checkpoint { position } => assert!(position > Position::ZERO),
            SubscriptionItem::CaughtUp { position } => assert_eq!(position.unwrap().get(), 2),
            SubscriptionItem::FellBehind { .. } => panic!("nothing was live"),
        }
    }
    assert_eq!(applied, [Position::new(1), Position::new(2)]);

    // The events alone: what is there, then what comes while it is waited for.
    let events = engine.subscribe(Subscribe::stream("order-1")).events();
    let writer = std::thread::spawn({
        let engine = engine.clone();
        move || engine.append(Append::to("order-1").event(event("OrderPaid"))).wait().unwrap()
    });
    let revisions: Result<Vec<_>, _> =
        events.into_iter().take(4).map(|event| event.map(|event| event.revision().get())).collect();
    assert_eq!(revisions?, [0, 1, 2, 3]);
    writer.join().unwrap();
    let mut events = engine.subscribe(Subscribe::all().start(Start::End)).events();
    assert!(events.next_blocking(Some(Duration::ZERO)).is_none(), "markers are no events");
    assert_eq!(first_of(events_of(&engine)), Revision::ZERO);
    let erased: DynEventStore = std::sync::Arc::new(engine.clone());
    assert_eq!(first_of(erased.subscribe(Subscribe::all()).events()), Revision::ZERO);
    let mut appended = erased.append(Append::to("order-2").event(event("OrderPlaced")));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    while appended.as_mut().poll(&mut context).is_pending() {
        std::thread::yield_now();
    }
    drop(appended);
    assert_eq!(engine.head().position.map(Position::get), Some(4));
    drop(erased);
    engine.close()?;
    let mut events = events.into_iter();
    let placed = events.next().map(|event| event.map(|event| event.position().get()));
    assert_eq!((placed, events.next()), (Some(Ok(4)), Some(Err(ReadError::Closed))));
    Ok(())
}

#[test]
fn snapshots() -> Tried {
    let engine = Engine::in_memory();
    three(&engine);
    let fold = FoldIdentity { fold_version: 3, upcaster_hash: 0 };
    let (stream, revision) = (StreamName::new("order-1")?, Revision::new(2));
    let content_type = "application/json".to_owned();
    let state = b"{}".to_vec().into();
    engine.save_snapshot(Snapshot { stream, revision, fold, content_type, state })?;
    let loaded = engine.load_snapshot("order-1", SnapshotAt::Latest, fold)?;
    assert_eq!(loaded.unwrap().revision, revision);
    let other = FoldIdentity { fold_version: 4, ..fold };
    assert!(engine.load_snapshot("order-1", SnapshotAt::Latest, other)?.is_none());
    Ok(())
}

//! A store in this process: opened, shared between namespaces, and closed.

use bytes::Bytes;
use nexus_client::{Client, ConnectError, connect};
use nexus_protocol::{
    Append, AppendError, EventData, EventStore, NamespaceName, Read, ReadError, RecordedEvent,
    Retry, StreamList, Subscribe, SubscriptionItem, TraceContext, Unavailable,
};
use nexus_testing::executor::next;

fn event(number: u64) -> EventData {
    EventData::json("Counted", &number).unwrap()
}

async fn all(client: &Client, read: Read) -> Result<Vec<RecordedEvent>, ReadError> {
    let (mut events, mut found) = (client.read(read), Vec::new());
    while let Some(event) = next(&mut events).await {
        found.push(event?);
    }
    Ok(found)
}

#[tokio::test]
async fn what_a_directory_holds_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}/with%20space", dir.path().display());
    let client = connect(&url).await.unwrap();
    client.append(Append::to("a").event(event(1))).await.unwrap();
    // One process has a directory open at a time, and whoever comes after is told.
    let error = connect(&url).await.unwrap_err();
    assert!(matches!(&error, ConnectError::NotOpen { .. }), "{error}");
    assert!(error.to_string().contains("with space") && error.to_string().contains("is open"));
    assert_eq!(error.retry(), Retry::Never);
    client.close().await.unwrap();
    let again = connect(&url).await.unwrap();
    assert_eq!(all(&again, Read::all()).await.unwrap().len(), 1);
    assert!(dir.path().join("with space").is_dir());
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let client = connect("memory:").await.unwrap();
    let clone = client.clone();
    let mut subscription = client.subscribe(Subscribe::all());
    let caught_up = next(&mut subscription).await.unwrap().unwrap();
    assert_eq!(caught_up, SubscriptionItem::CaughtUp { position: None });
    client.close().await.unwrap();
    client.close().await.unwrap();
    let error = clone.append(Append::to("a").event(event(1))).await.unwrap_err();
    assert_eq!(error, AppendError::Unavailable(Unavailable::Closed));
    assert_eq!(next(&mut subscription).await.unwrap(), Err(ReadError::Closed));
    assert!(next(&mut subscription).await.is_none());
}

#[tokio::test]
async fn a_namespace_is_created_and_is_a_log_of_its_own() {
    let client = connect("memory:?namespace=orders").await.unwrap();
    let append = || Append::to("a").event(event(1));
    for _ in 0..2 {
        let error = client.append(append()).await.unwrap_err();
        assert!(matches!(&error, AppendError::NotFound { what } if what.contains("orders")));
        let error = all(&client, Read::all()).await.unwrap_err();
        assert!(matches!(error, ReadError::NotFound { .. }), "{error}");
        let error = next(&mut client.subscribe(Subscribe::all())).await.unwrap().unwrap_err();
        assert!(matches!(error, ReadError::NotFound { .. }), "{error}");
        assert!(matches!(client.head().await, Err(ReadError::NotFound { .. })));
        assert!(matches!(client.stats().await, Err(ReadError::NotFound { .. })));
    }
    client.create_namespace().await.unwrap();
    client.append(append()).await.unwrap();
    assert_eq!(client.namespaces().await.unwrap(), ["default", "orders"]);
    let default = client.in_namespace(&NamespaceName::new("default").unwrap());
    assert_eq!(default.address().namespace(), "default");
    assert_eq!(default.head().await.unwrap().position, None);
    let again = default.in_namespace(&NamespaceName::new("orders").unwrap()).session();
    assert_eq!(again.stats().await.unwrap().events, 1);
}

#[tokio::test]
async fn a_namespace_that_is_created_again_is_the_one_that_is_used() {
    let client = connect("memory:?namespace=orders").await.unwrap();
    let append = || Append::to("a").no_stream().event(event(1));
    let clone = client.clone();
    for _ in 0..3 {
        client.create_namespace().await.unwrap();
        client.append(append()).await.unwrap();
        assert_eq!(all(&clone, Read::all()).await.unwrap().len(), 1);
        assert_eq!(clone.stats().await.unwrap().events, 1);
        let mut subscription = clone.subscribe(Subscribe::all());
        assert!(next(&mut subscription).await.unwrap().unwrap().event().is_some());
        client.delete_namespace().await.unwrap();
        let error = clone.append(append()).await.unwrap_err();
        assert!(matches!(error, AppendError::NotFound { .. }), "{error}");
    }
    // Created again before anything was asked between.
    client.create_namespace().await.unwrap();
    client.append(append()).await.unwrap();
    client.delete_namespace().await.unwrap();
    client.create_namespace().await.unwrap();
    assert_eq!(client.head().await.unwrap().position, None);
}

#[tokio::test]
async fn what_a_traced_client_appends_is_part_of_its_trace() {
    let client = connect("memory:").await.unwrap();
    let trace = TraceContext { trace_id: [7; 16], span_id: [8; 8], flags: 1 };
    let own = TraceContext { trace_id: [9; 16], ..trace };
    let nothing = TraceContext { span_id: [0; 8], ..trace };
    let traced = client.traced(trace);
    traced.append(Append::to("a").event(event(1)).event(event(2).trace(own))).await.unwrap();
    client.append(Append::to("a").event(event(3))).await.unwrap();
    traced.traced(nothing).append(Append::to("a").event(event(4))).await.unwrap();
    traced.session().append(Append::to("a").event(event(5))).await.unwrap();
    let events = all(&traced, Read::all()).await.unwrap();
    let traces: Vec<_> = events.iter().map(RecordedEvent::trace).collect();
    assert_eq!(traces, [Some(trace), Some(own), None, None, Some(trace)]);
}

#[tokio::test]
async fn long_reads_come_in_stretches_and_are_whole() {
    let client = connect("memory:").await.unwrap();
    let data = Bytes::from(vec![7; 40_000]);
    for number in 0..50 {
        let filled = EventData::new("Filled", "application/octet-stream", data.clone());
        client.append(Append::to("a").events([event(number), filled])).await.unwrap();
    }
    for (read, count) in [
        (Read::stream("a"), 100),
        (Read::stream("a").limit(3), 3),
        (Read::stream("a").backwards(), 100),
        (Read::all(), 100),
        (Read::all().limit(77), 77),
        (Read::stream("b"), 0),
    ] {
        let (mut events, mut found) = (client.read(read.clone()), Vec::new());
        assert_eq!(events.explain(), None);
        while let Some(event) = next(&mut events).await {
            found.push(event.unwrap().revision().get());
        }
        assert_eq!(found.len(), count, "{read:?}");
        assert!(found.windows(2).all(|pair| pair[0].abs_diff(pair[1]) == 1), "{read:?}");
        assert!(events.explain().is_some(), "{read:?}");
        assert!(next(&mut events).await.is_none());
    }
    // A subscription catches up over several stretches, then is live.
    let mut subscription = client.subscribe(Subscribe::all());
    let mut seen = 0;
    loop {
        match next(&mut subscription).await.unwrap().unwrap() {
            SubscriptionItem::Event(event) => {
                assert_eq!(event.position().get(), seen);
                seen += 1;
            }
            SubscriptionItem::CaughtUp { .. } => break,
            _ => {}
        }
    }
    assert_eq!(seen, 100);
    let pending = client.append(Append::to("a").event(event(100)));
    let live = next(&mut subscription).await.unwrap().unwrap().event().unwrap();
    assert_eq!(live.position().get(), 100);
    pending.await.unwrap();
}

#[tokio::test]
async fn tokens_are_made_for_a_server_that_comes_later() {
    let client = connect("memory:").await.unwrap();
    let (head, token) = client.create_token("ci", "writer", None).await.unwrap();
    assert!(token.contains(&head.id));
    let error = client.create_token("ci", "king", None).await.unwrap_err();
    assert!(error.to_string().contains("use admin"), "{error}");
    assert_eq!(client.tokens().await.unwrap(), std::slice::from_ref(&head));
    client.revoke_token(&head.id).await.unwrap();
    let error = client.revoke_token(&head.id).await.unwrap_err();
    assert!(matches!(error, AppendError::NotFound { .. }), "{error}");
    assert!(client.tokens().await.unwrap().is_empty());
    assert_eq!(client.connections_made(), 0);
    client.reconnect().await;
    assert!(client.streams(StreamList::default()).await.unwrap().is_empty());
}

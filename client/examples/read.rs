//! Reads: a stream, the log, backwards, filtered, as it was, one event by its id, and what was looked at.
//!
//! `cargo run -p nexus-client --example read --features embedded [-- nexus://127.0.0.1:7420]`

use std::error::Error;

use nexus_client::Client;
use nexus_protocol::{
    Append, AsOf, EventData, EventStore, Filter, FilterItem, Read, ReadError, RecordedEvent,
    Revision,
};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let client = nexus_client::connect(&url).await?;
    run(&client).await?;
    Ok(client.close().await?)
}

pub(crate) async fn run(client: &Client) -> Result<(), Box<dyn Error>> {
    let order = format!("order-{}", uuid::Uuid::now_v7());
    let tag = format!("run:{order}");
    for (event_type, cents) in [("OrderPlaced", 250), ("OrderPaid", 250), ("OrderShipped", 0)] {
        let event = EventData::json(event_type, &json!({ "cents": cents }))?.tag(&*tag);
        client.append(Append::to(&order).event(event)).await?;
    }

    // One stream, from its beginning; or from a revision on, or backwards, or so many.
    let events = all(client, Read::stream(&order)).await?;
    for event in &events {
        let data: serde_json::Value = event.json()?;
        println!("{} {} {data}", event.revision(), event.event_type());
    }
    let newest = all(client, Read::stream(&order).backwards().limit(1)).await?;
    assert_eq!(newest[0].event_type(), "OrderShipped");
    let rest = all(client, Read::stream(&order).from_revision(Revision::new(1))).await?;
    assert_eq!(rest.len(), 2);

    // The log, by type and tag.
    let paid = FilterItem {
        types: vec!["OrderPaid".to_owned()],
        tags: vec![tag],
        ..FilterItem::default()
    };
    let paid = all(client, Read::all().filter(Filter::any([paid]))).await?;
    assert_eq!(paid.len(), 1);

    // The stream as it was.
    let past = Read::stream(&order).as_of(AsOf::Position(paid[0].position()));
    assert_eq!(all(client, past).await?.len(), 2);

    // One event, and what the read of a stream looked at.
    let found = client.event_by_id(paid[0].id()).await?.expect("it is stored");
    assert_eq!(found.position(), paid[0].position());
    let mut events = client.read(Read::stream(&order));
    while next(&mut events).await.transpose()?.is_some() {}
    println!("{:?}", events.explain().expect("known at the end"));
    Ok(())
}

/// All events of a read. A long one is better taken as it comes: it is as large as the log.
async fn all(client: &Client, read: Read) -> Result<Vec<RecordedEvent>, ReadError> {
    let (mut events, mut found) = (client.read(read), Vec::new());
    while let Some(event) = next(&mut events).await {
        found.push(event?);
    }
    Ok(found)
}

/// The next of a stream. `StreamExt::next` of the crates `futures` or `tokio-stream` does the same.
async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

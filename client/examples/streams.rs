//! Streams: what is known of one, which there are, limits, deleting, and deleting for good.
//!
//! `cargo run -p nexus-client --example streams --features embedded [-- nexus://127.0.0.1:7420]`

use std::error::Error;

use nexus_client::Client;
use nexus_protocol::{
    Append, AppendError, EventData, EventStore, ExpectedRevision, StreamChange, StreamList,
    StreamState,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let client = nexus_client::connect(&url).await?;
    run(&client).await?;
    Ok(client.close().await?)
}

pub(crate) async fn run(client: &Client) -> Result<(), Box<dyn Error>> {
    let stream = format!("order-{}", uuid::Uuid::now_v7());
    let events = (0..10_u64).map(|number| EventData::json("Counted", &number));
    let events = events.collect::<Result<Vec<_>, _>>()?;
    client.append(Append::to(&stream).events(events)).await?;

    // What is known of a stream; of one that never was, that it is missing.
    let info = client.stream_info(&stream).await?;
    println!("{} has {} events", info.stream, info.event_count());
    assert_eq!(client.stream_info("no-such").await?.state, StreamState::Missing);

    // By name, a page at a time: go on after the last.
    let mut list = StreamList { prefix: "order-".to_owned(), limit: 100, ..StreamList::default() };
    let mut count = 0;
    loop {
        let page = client.streams(list.clone()).await?;
        count += page.len();
        match page.last() {
            Some(last) => list.after = Some(last.stream.as_str().to_owned()),
            None => break,
        }
    }
    println!("{count} orders");

    // Only the newest three are visible from now on. What is not named stays as it is.
    let change = StreamChange { max_count: Some(Some(3)), ..StreamChange::default() };
    let info = client.set_stream(&stream, change).await?;
    assert_eq!(info.event_count(), 3);

    // Deleted: a later append revives it, and its revisions go on.
    client.delete_stream(&stream, ExpectedRevision::Exists).await?;
    client.append(Append::to(&stream).no_stream().event(EventData::json("Counted", &10)?)).await?;
    assert_eq!(client.stream_info(&stream).await?.event_count(), 1);

    // Deleted for good: its name can never be used again.
    client.tombstone_stream(&stream, ExpectedRevision::Exists).await?;
    let refused = client.append(Append::to(&stream).event(EventData::json("Counted", &11)?)).await;
    assert!(matches!(refused, Err(AppendError::Deleted { .. })));
    Ok(())
}

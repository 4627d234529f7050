//! Snapshots: the state of an aggregate is kept, and loaded instead of all its events.
//!
//! `cargo run -p nexus-client --example snapshots --features embedded [-- nexus://127.0.0.1:7420]`

use std::error::Error;

use nexus_client::Client;
use nexus_protocol::{
    Append, EventData, EventStore, FoldIdentity, JSON, Read, Revision, Snapshot, SnapshotAt,
    StreamName,
};

/// Names the code that folds: whoever changes that, changes this, and old snapshots are a miss.
const FOLD: FoldIdentity = FoldIdentity { fold_version: 1, upcaster_hash: 0 };

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let client = nexus_client::connect(&url).await?;
    run(&client).await?;
    Ok(client.close().await?)
}

pub(crate) async fn run(client: &Client) -> Result<(), Box<dyn Error>> {
    let stream = format!("account-{}", uuid::Uuid::now_v7());
    let paid = (1..=100_u64).map(|cents| EventData::json("PaidIn", &cents));
    let paid = paid.collect::<Result<Vec<_>, _>>()?;
    client.append(Append::to(&stream).events(paid)).await?;
    assert_eq!(balance(client, &stream).await?, (5050, 100));

    // The state after the event of a revision.
    let snapshot = Snapshot {
        stream: StreamName::new(&stream)?,
        revision: Revision::new(99),
        fold: FOLD,
        content_type: JSON.to_owned(),
        state: serde_json::to_vec(&5050)?.into(),
    };
    client.save_snapshot(snapshot).await?;
    client.append(Append::to(&stream).event(EventData::json("PaidIn", &7)?)).await?;
    assert_eq!(balance(client, &stream).await?, (5057, 1), "one event was read, and not 101");

    for kept in client.list_snapshots(&stream).await? {
        println!("a snapshot at revision {}", kept.revision);
    }
    Ok(())
}

/// The balance, and how many events were read for it.
async fn balance(client: &Client, stream: &str) -> Result<(u64, usize), Box<dyn Error>> {
    let mut read = Read::stream(stream);
    let mut balance = 0;
    if let Some(snapshot) = client.load_snapshot(stream, SnapshotAt::Latest, FOLD).await? {
        balance = serde_json::from_slice(&snapshot.state)?;
        read = read.from_revision(Revision::new(snapshot.revision.get() + 1));
    }
    let (mut events, mut count) = (client.read(read), 0);
    while let Some(event) = next(&mut events).await {
        balance += event?.json::<u64>()?;
        count += 1;
    }
    Ok((balance, count))
}

/// The next of a stream. `StreamExt::next` of the crates `futures` or `tokio-stream` does the same.
async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

//! Subscribes: what is there, then what comes, and again behind the place that was kept.
//!
//! `cargo run -p nexus-client --example subscribe --features embedded [-- nexus://127.0.0.1:7420]`

use std::error::Error;

use nexus_client::Client;
use nexus_protocol::{
    Append, EventData, Position, Start, Subscribe, SubscriptionItem, SubscriptionStream,
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
    let counted = |number: u64| EventData::json("Counted", &number);
    client.append(Append::to(&stream).events([counted(0)?, counted(1)?])).await?;

    // What is there, then a marker, then what comes. When the connection breaks the client goes on where
    // it was: no event comes twice, and none is left out.
    let mut subscription = client.subscribe(Subscribe::stream(&stream));
    let mut seen = Vec::new();
    let mut place: Option<Position> = None;
    while seen.len() < 3 {
        match next(&mut subscription).await.expect("it does not end by itself")? {
            SubscriptionItem::Event(event) => {
                seen.push(event.json::<u64>()?);
                place = Some(event.position());
            }
            SubscriptionItem::CaughtUp { position } => {
                println!("caught up at {position:?}");
                client.append(Append::to(&stream).event(counted(2)?)).await?;
            }
            SubscriptionItem::FellBehind { position } => println!("fell behind at {position:?}"),
            // Nothing matched for long: a place to go on from all the same.
            SubscriptionItem::Checkpoint { position } => place = Some(position),
        }
    }
    assert_eq!(seen, [0, 1, 2]);

    // A reader that comes back starts after the place that it kept. Without the markers it is a stream of
    // events.
    client.append(Append::to(&stream).event(counted(3)?)).await?;
    let start = place.map_or(Start::Beginning, Start::After);
    let again = Subscribe::stream(&stream).start(start);
    let mut events = client.subscribe(again).events();
    let event = next(&mut events).await.expect("it does not end by itself")?;
    assert_eq!(event.json::<u64>()?, 3);
    Ok(())
}

/// The next of a stream. `StreamExt::next` of the crates `futures` or `tokio-stream` does the same.
async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

//! Appends: one event, several that belong together, on conditions, many at once, and again.
//!
//! `cargo run -p nexus-client --example append --features embedded [-- nexus://127.0.0.1:7420]`

use std::error::Error;

use nexus_client::Client;
use nexus_protocol::{
    Append, AppendError, EventData, EventId, Filter, Query, QueryItem, Read, Retry, Revision,
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
    // Another stream each time, so that the example can run twice on one store.
    let order = format!("order-{}", uuid::Uuid::now_v7());
    let stock = order.replace("order", "stock");

    // The first event of a stream. When it is answered it is durable, and every read sees it.
    let placed = EventData::json("OrderPlaced", &json!({ "total_cents": 250 }))?.tag("customer:7");
    let answer = client.append(Append::to(&order).no_stream().event(placed.clone())).await?;
    println!("appended at position {}", answer.first().expect("it has an event"));

    // Whoever is wrong about a stream is told what stands in the way, and whether to try again.
    match client.append(Append::to(&order).no_stream().event(placed)).await {
        Err(AppendError::Conflict(conflict)) => println!("conflict: {conflict}"),
        other => return Err(format!("a conflict was expected, and not {other:?}").into()),
    }

    // Several streams, all or nothing.
    let both = Append::new()
        .stream(&order)
        .at(Revision::ZERO)
        .event(EventData::json("OrderPaid", &json!({ "cents": 250 }))?)
        .stream(&stock)
        .event(EventData::json("StockTaken", &json!({ "quantity": 1 }))?);
    client.append(both).await?;

    // Only if nothing was appended that the decision was based on.
    let query = Query::any([QueryItem::tags([format!("order:{order}")])]);
    let mut seen = client.read(Read::all().filter(Filter::from(&query)));
    let mut after = None;
    while let Some(event) = next(&mut seen).await {
        after = Some(event?.position());
    }
    let shipped = EventData::json("OrderShipped", &json!({}))?.tag(format!("order:{order}"));
    client.append(Append::to(&order).event(shipped).boundary(query, after)).await?;

    // Many without waiting for each: they share packets and syncs, and keep their order.
    let mut pending = Vec::new();
    for number in 0..100 {
        let counted = EventData::json("StockCounted", &json!({ "quantity": number }))?;
        pending.push(client.append(Append::to(&stock).event(counted)));
    }
    for pending in pending {
        pending.await?;
    }

    // Again, with the same id: it is stored once, and the answer says so. The client does this by
    // itself when a connection breaks; a caller does where the outcome is unknown.
    let id = EventId::from_uuid(uuid::Uuid::now_v7());
    let closed = EventData::json("OrderClosed", &json!({}))?.id(id);
    let append = Append::to(&order).event(closed);
    for replayed in [false, true] {
        match client.append(append.clone()).await {
            Ok(answer) => assert_eq!(answer.replayed, replayed),
            Err(error) if error.retry() == Retry::SameIds => println!("sending again: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The next of a stream. `StreamExt::next` of the crates `futures` or `tokio-stream` does the same.
async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

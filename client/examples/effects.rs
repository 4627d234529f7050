//! Appends what follows from each event of a group, together with its acknowledgement: once, whatever crashes.
//!
//! `cargo run -p nexus-client --example effects --features embedded [-- nexus://127.0.0.1:7420]`

use std::error::Error;
use std::pin::pin;

use futures_core::Stream;
use nexus_client::Client;
use nexus_protocol::group::{Delivery, GroupConfig, GroupStart, Nack};
use nexus_protocol::{Append, EventData, Filter, Read, Subscribe, SubscriptionStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let client = nexus_client::connect(&url).await?;
    run(&client).await?;
    Ok(client.close().await?)
}

/// An invoice for an order; nothing follows from what is free.
async fn invoice(invoices: &str, delivery: Delivery) -> Result<Append, Nack> {
    let cents: u64 = delivery.event.json()?;
    if cents == 0 {
        return Ok(Append::new());
    }
    let issued = EventData::json("InvoiceIssued", &cents)?.caused_by(&delivery.event);
    Ok(Append::to(invoices).event(issued))
}

pub(crate) async fn run(client: &Client) -> Result<(), Box<dyn Error>> {
    let id = uuid::Uuid::now_v7();
    let (group, orders) = (format!("billing-{id}"), format!("order-{id}"));
    let invoices = format!("invoice-{id}");
    let config = GroupConfig {
        filter: Filter::stream_prefix(&orders),
        start: GroupStart::End,
        ..GroupConfig::default()
    };
    client.set_group(&group, &config).await?;
    let placed = [250_u64, 0, 990].map(|cents| EventData::json("OrderPlaced", &cents));
    let placed = placed.into_iter().collect::<Result<Vec<_>, _>>()?;
    client.append(Append::to(&orders).events(placed)).await?;

    // It goes on until both invoices are there.
    let mut issued = pin!(client.subscribe(Subscribe::stream(&invoices)).events());
    let both = async {
        for _ in 0..2 {
            std::future::poll_fn(|context| issued.as_mut().poll_next(context)).await;
        }
    };
    let handler = |delivery| invoice(&invoices, delivery);
    client.consumer(&group, "host-1").run_with_until(handler, both).await?;

    // All of it once more changes nothing: each invoice is there.
    client.seek_group(&group, GroupStart::Beginning).await?;
    let done = async {
        while client.group(&group).await.is_ok_and(|info| info.lag_events > 0) {
            tokio::task::yield_now().await;
        }
    };
    client.consumer(&group, "host-1").run_with_until(handler, done).await?;
    let mut read = pin!(client.read(Read::stream(&invoices)));
    let mut cents = Vec::new();
    while let Some(event) = std::future::poll_fn(|context| read.as_mut().poll_next(context)).await {
        cents.push(event?.json::<u64>()?);
    }
    assert_eq!(cents, [250, 990]);
    Ok(client.delete_group(&group).await?)
}

//! Consumes as a member of a group: by hand, with an append that comes with the answer, and with a handler.
//!
//! `cargo run -p nexus-client --example consume --features embedded [-- nexus://127.0.0.1:7420]`

use std::error::Error;
use std::time::Duration;

use nexus_client::{Client, Consumer};
use nexus_protocol::group::{
    Delivery, Failure, GroupConfig, GroupStart, Nack, ParkedList, ParkedPick,
};
use nexus_protocol::{Append, EventData, Filter};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let client = nexus_client::connect(&url).await?;
    run(&client).await?;
    Ok(client.close().await?)
}

pub(crate) async fn run(client: &Client) -> Result<(), Box<dyn Error>> {
    let id = uuid::Uuid::now_v7();
    let (group, orders) = (format!("mail-{id}"), format!("order-{id}"));
    let config = GroupConfig {
        filter: Filter::stream_prefix(&orders),
        start: GroupStart::End,
        max_attempts: 3,
        ..GroupConfig::default()
    };
    assert!(client.set_group(&group, &config).await?, "it is made");
    let placed = |number: u64| EventData::json("OrderPlaced", &number);
    client.append(Append::to(&orders).events([placed(0)?, placed(1)?])).await?;

    // Events of one stream come one after the other: the second once the first is answered.
    let consumer = client.consumer(&group, "host-1");
    let first = one(&consumer).await?;
    consumer.extend(&[first.token], Duration::from_secs(60)).await?;
    assert_eq!(consumer.ack(&[first.token]).await?.done, 1);

    // The second is done together with what is appended for it: both, or neither.
    let second = one(&consumer).await?;
    let sent = EventData::json("MailSent", &second.event.json::<u64>()?)?;
    let append = Append::to(format!("mail-{id}")).event(sent);
    let (answered, appended) = consumer.ack_with(&[second.token], append).await?;
    assert!(answered.done == 1 && appended.is_some());
    consumer.leave().await?;

    // A handler: an error lets its event be tried again, and `Nack` says something else.
    client.append(Append::to(&orders).events([placed(2)?, placed(3)?])).await?;
    let (handled, mut count) = watch::channel(0);
    let handler = async |delivery: Delivery| {
        handled.send_modify(|count| *count += 1);
        match delivery.event.json::<u64>() {
            Ok(2) => Err(Nack::skip(Failure::new("nobody wants this mail"))),
            Ok(_) => Err(Nack::park(Failure::new("there is no such address"))),
            Err(error) => Err(Nack::from(error)),
        }
    };
    let both = async { drop(count.wait_for(|count| *count == 2).await) };
    client.consumer(&group, "host-2").run_until(handler, both).await?;

    // What is parked waits until somebody decides.
    let list = ParkedList { limit: 100, ..ParkedList::default() };
    let parked = client.parked(&group, &list).await?.entries;
    assert_eq!(parked.len(), 1);
    client.edit_parked(&group, parked[0].position, "4".into()).await?;
    let consumer = client.consumer(&group, "host-1");
    let edited = one(&consumer).await?;
    assert_eq!(edited.event.json::<u64>()?, 4);
    consumer.nack(&[edited.token], Nack::park(Failure::new("nor this one"))).await?;
    client.replay_parked(&group, ParkedPick::All).await?;
    let again = one(&consumer).await?;
    consumer.nack(&[again.token], Nack::park(Failure::new("nor now"))).await?;
    assert_eq!(client.skip_parked(&group, ParkedPick::All).await?, 1);
    consumer.leave().await?;

    client.pause_group(&group, "a release").await?;
    client.seek_group(&group, GroupStart::End).await?;
    client.resume_group(&group).await?;
    let (info, _lanes) = client.group_lanes(&group).await?;
    println!("{}: {} behind, {} parked", info.name, info.lag_events, info.parked);
    assert_eq!(client.group(&group).await?.parked, 0);
    assert!(client.groups().await?.contains(&group));
    Ok(client.delete_group(&group).await?)
}

/// The next delivery.
async fn one(consumer: &Consumer) -> Result<Delivery, Box<dyn Error>> {
    let mut taken = consumer.receive(1, Duration::from_secs(10)).await?;
    taken.pop().ok_or_else(|| "nothing came".into())
}

//! The store as a whole: connecting, namespaces, sessions, counts, the end of the log, and tokens.
//!
//! `cargo run -p nexus-client --example store --features embedded [-- nexus://127.0.0.1:7420]`

use std::error::Error;
use std::time::Duration;

use nexus_client::{Address, Client};
use nexus_protocol::{Append, EventData, EventStore, NamespaceName};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    // A token has no place in a URL: it would end in logs.
    let mut address: Address = url.parse()?;
    if let Ok(token) = std::env::var("NEXUS_TOKEN") {
        address = address.token(token);
    }
    let client = Client::connect(address).await?;
    run(&client).await?;
    Ok(client.close().await?)
}

pub(crate) async fn run(client: &Client) -> Result<(), Box<dyn Error>> {
    println!("connected to {}", client.address());

    // Another namespace is another log, in the same store.
    let audit = client.in_namespace(&NamespaceName::new("audit")?);
    audit.create_namespace().await?;
    assert!(client.namespaces().await?.contains(&"audit".to_owned()));

    // Appends of a session are in order among themselves. Another session has an order of its own, and
    // a connection of its own where there are several.
    let other = audit.session();
    let looked = |number: u64| EventData::json("Looked", &number);
    let (first, second) = tokio::join!(
        audit.append(Append::to("looks-1").event(looked(1)?)),
        other.append(Append::to("looks-2").event(looked(2)?)),
    );
    assert_ne!(first?.last(), second?.last());

    // The end of the log, and how much there is.
    let head = audit.head().await?;
    let stats = audit.stats().await?;
    println!("{} events in {} streams, up to {:?}", stats.events, stats.streams, head.position);

    // Tokens for a server's clients; of a directory, for the server that opens it later.
    let hour = Some(Duration::from_secs(3600));
    let (head, token) = client.create_token("nightly", "reader", hour).await?;
    assert!(!token.is_empty(), "it is shown this once");
    assert!(client.tokens().await?.iter().any(|token| token.id == head.id));
    client.revoke_token(&head.id).await?;

    // This machine has changed its network: what is under way goes on with new connections.
    client.reconnect().await;
    println!("{} connections were made", client.connections_made());
    Ok(())
}

//! Routes, the same over a store in memory and behind a server.

use nexus_client::Client;
use nexus_protocol::group::{GroupConfig, GroupMode, GroupStart};
use nexus_protocol::route::{
    Condition, LINK, Operator, RouteConfig, RouteState, RouteTarget, hops_of,
};
use nexus_protocol::{
    Append, AppendError, EventData, EventStore, ExpectedRevision, Filter, RecordedEvent, Revision,
    StreamChange, Subscribe, SubscriptionStream,
};

use super::{SOON, of_each};

fn order(amount: u64) -> EventData {
    EventData::json("Ordered", &serde_json::json!({ "amount": amount })).unwrap()
}

fn route(to: &str, at_least: u64) -> RouteConfig {
    let least = Condition::new("/data/amount", Operator::Ge, at_least.into()).unwrap();
    RouteConfig {
        filter: Filter::category("order"),
        conditions: vec![least],
        to: to.parse().unwrap(),
        start: match to.starts_with("group:") {
            true => GroupStart::End,
            false => GroupStart::Beginning,
        },
    }
}

async fn append(client: &Client, amounts: &[u64]) {
    let events: Vec<_> = amounts.iter().map(|amount| order(*amount)).collect();
    client.append(Append::to("order-1").events(events)).await.unwrap();
}

/// The next events of a stream, as they come.
async fn first(client: &Client, stream: &str, count: usize) -> Vec<RecordedEvent> {
    let mut events = client.subscribe(Subscribe::stream(stream)).events();
    let mut all = Vec::new();
    while all.len() < count {
        let next = std::future::poll_fn(|context| {
            futures_core::Stream::poll_next(std::pin::Pin::new(&mut events), context)
        });
        all.push(next.await.unwrap().unwrap());
    }
    all
}

#[tokio::test]
async fn a_route_leads_what_it_takes_to_a_stream_as_links() {
    of_each(async |client| {
        append(&client, &[5, 500]).await;
        assert!(client.set_route("large", &route("stream:large", 100)).await.unwrap());
        append(&client, &[7, 700]).await;
        let links = first(&client, "large", 2).await;
        assert!(links.iter().all(|link| link.event_type() == LINK && hops_of(link) == ["large"]));
        assert!(!client.set_route("large", &route("stream:large", 1_000)).await.unwrap());
        append(&client, &[700, 1_000]).await;
        assert_eq!(first(&client, "large", 3).await.len(), 3);
        let info = client.route("large").await.unwrap();
        assert_eq!((info.state, info.links), (RouteState::Running, 3));
        assert_eq!(client.routes().await.unwrap(), ["large"]);
        client.delete_route("large").await.unwrap();
        let gone = client.route("large").await.unwrap_err();
        assert!(matches!(gone, AppendError::NotFound { .. }), "{gone}");
    })
    .await;
}

#[tokio::test]
async fn critical_events_go_to_one_group_and_the_rest_by_route_to_another() {
    of_each(async |client| {
        let background =
            GroupConfig { mode: GroupMode::Unordered, only_routes: true, ..GroupConfig::default() };
        client.set_group("background", &background).await.unwrap();
        assert!(client.set_route("small", &route("group:background", 0)).await.unwrap());
        client.set_route("large", &route("stream:large", 100)).await.unwrap();
        let of_links = GroupConfig { filter: Filter::category("large"), ..GroupConfig::default() };
        client.set_group("critical", &of_links).await.unwrap();
        append(&client, &[1, 500]).await;
        let consumer = client.consumer("background", "a");
        let mut given = Vec::new();
        while given.len() < 2 {
            given.extend(consumer.receive(10, SOON).await.unwrap());
        }
        let streams: Vec<_> = given.iter().map(|it| it.event.stream()).collect();
        assert_eq!(streams, ["order-1", "order-1"]);
        // A link is delivered as what it leads to.
        let consumer = client.consumer("critical", "a");
        let given = consumer.receive(10, SOON).await.unwrap();
        let amount: serde_json::Value = given[0].event.json().unwrap();
        assert_eq!((given[0].event.stream(), &amount["amount"]), ("order-1", &500.into()));
        assert_eq!(client.routes().await.unwrap(), ["large", "small"]);
        let info = client.route("small").await.unwrap();
        assert_eq!(info.config.to, RouteTarget::Group("background".to_owned()));
        let branches = client.group("background").await.unwrap().config.branches;
        assert_eq!(branches[0].name, "small");
        client.delete_route("small").await.unwrap();
        assert!(client.group("background").await.unwrap().config.branches.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_shows_what_would_match_and_writes_nothing() {
    of_each(async |client| {
        append(&client, &[5, 500, 7, 700]).await;
        let would = route("stream:large", 100);
        let run = client.dry_run_route("large", Some(&would), 1).await.unwrap();
        assert_eq!((run.matched, run.looked_at, run.events.len()), (2, 4, 1));
        assert_eq!(run.events[0].json::<serde_json::Value>().unwrap()["amount"], 700);
        assert!(client.routes().await.unwrap().is_empty());
        let none = client.dry_run_route("large", None, 1).await.unwrap_err();
        assert!(none.to_string().contains("set it first"), "{none}");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_route_is_refused() {
    of_each(async |client| {
        let system = RouteConfig { to: RouteTarget::Stream("$x".into()), ..route("group:g", 1) };
        let itself = RouteConfig { conditions: Vec::new(), ..route("stream:order-2", 1) };
        for (name, config, part) in [
            ("r", system, "one of the system's"),
            ("r", itself, "takes what the route writes"),
            ("r", route("group:none", 1), "create it first"),
            ("$r", route("stream:t", 1), "route name"),
        ] {
            let refused = client.set_route(name, &config).await.unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
        client.set_route("r", &route("stream:t", 1)).await.unwrap();
        client.set_group("g", &GroupConfig::default()).await.unwrap();
        let other = client.set_route("r", &route("group:g", 1)).await.unwrap_err().to_string();
        assert!(other.contains("delete it first"), "{other}");
    })
    .await;
}

#[tokio::test]
async fn a_route_whose_target_is_gone_says_so() {
    of_each(async |client| {
        append(&client, &[5, 500]).await;
        client.append(Append::to("t").event(order(1))).await.unwrap();
        client.tombstone_stream("t", ExpectedRevision::Any).await.unwrap();
        client.set_route("r", &route("stream:t", 1)).await.unwrap();
        // It is told by an event of the route's stream.
        let told = first(&client, "$route-r", 2).await;
        assert_eq!(told[1].event_type(), "$RouteRefused");
        let info = client.route("r").await.unwrap();
        assert_eq!(info.state, RouteState::Failed);
        assert!(info.error.unwrap().contains('t'));
        client.set_route("r", &route("stream:u", 1)).await.unwrap();
        assert_eq!(first(&client, "u", 2).await.len(), 2);
    })
    .await;
}

/// Where an event stands, and what it says.
fn said(event: &RecordedEvent) -> (String, u64) {
    let data: serde_json::Value = event.json().unwrap();
    (event.stream().to_owned(), data["amount"].as_u64().unwrap())
}

#[tokio::test]
async fn links_are_resolved_a_page_at_a_time_and_stay_links_where_the_events_are_gone() {
    of_each(async |client| {
        append(&client, &[500, 600, 5, 700]).await;
        client.append(Append::to("order-2").event(order(800))).await.unwrap();
        client.set_route("large", &route("stream:large", 100)).await.unwrap();
        let links = first(&client, "large", 4).await;
        let resolved = client.resolve_links(links.clone()).await.unwrap();
        let of = |stream: &str, amount| (stream.to_owned(), amount);
        let one = |amount| of("order-1", amount);
        let all = [one(500), one(600), one(700), of("order-2", 800)];
        assert_eq!(resolved.iter().map(said).collect::<Vec<_>>(), all);
        // What is no link stays, the order is that of what is given, and the same link may come twice.
        let mixed = [&resolved[1], &links[3], &links[0], &links[3]].map(Clone::clone);
        let mixed = client.resolve_links(mixed).await.unwrap();
        let want = [one(600), of("order-2", 800), one(500), of("order-2", 800)];
        assert_eq!(mixed.iter().map(said).collect::<Vec<_>>(), want);
        assert_eq!(client.resolve_links([]).await.unwrap(), []);
        // One is truncated, and a stream is deleted.
        let change = StreamChange { truncate_before: Some(Revision::new(1)), ..Default::default() };
        client.set_stream("order-1", change).await.unwrap();
        client.delete_stream("order-2", ExpectedRevision::Any).await.unwrap();
        let left = client.resolve_links(links.clone()).await.unwrap();
        assert_eq!([&left[0], &left[3]], [&links[0], &links[3]], "the links themselves");
        assert_eq!([said(&left[1]), said(&left[2])], [one(600), one(700)]);
    })
    .await;
}

/// More than one question asks for, and more bytes than one answer has.
#[tokio::test]
async fn many_links_to_large_events_are_resolved_in_several_answers() {
    of_each(async |client| {
        let large = "x".repeat(400 << 10);
        let ordered = |n: u64| {
            let pad = if n.is_multiple_of(300) { large.as_str() } else { "" };
            EventData::json("Ordered", &serde_json::json!({ "amount": n, "pad": pad })).unwrap()
        };
        client.append(Append::to("order-1").events((0..1_500).map(ordered))).await.unwrap();
        client.set_route("large", &route("stream:large", 0)).await.unwrap();
        let links = first(&client, "large", 1_500).await;
        let resolved = client.resolve_links(links).await.unwrap();
        let amounts: Vec<_> = resolved.iter().map(|event| said(event).1).collect();
        assert_eq!(amounts, (0..1_500).collect::<Vec<_>>());
    })
    .await;
}

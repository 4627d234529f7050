//! Groups whose consumers get every event each, the same over a store in memory and behind a server.

use nexus_client::Client;
use nexus_protocol::group::{
    Failure, GroupConfig, GroupMode, GroupStart, GroupState, Nack, NackAction, ParkedList,
    ParkedPick,
};
use nexus_protocol::route::RouteConfig;
use nexus_protocol::{Append, AppendError, EventData, Filter};

use super::{Running, append, config, number_of, of_each, take, take_one, until};

fn broadcast() -> GroupConfig {
    GroupConfig { mode: GroupMode::Broadcast, filter: Filter::category("count"), ..config() }
}

/// Takes so many deliveries, and acknowledges them; their numbers, sorted.
async fn take_all(client: &Client, group: &str, consumer: &str, count: usize) -> Vec<u64> {
    let consumer = client.consumer(group, consumer);
    let taken = take(&consumer, count).await;
    let tokens: Vec<_> = taken.iter().map(|it| it.token).collect();
    assert_eq!(consumer.ack(&tokens).await.unwrap().done, count as u64);
    consumer.leave().await.unwrap();
    let mut numbers: Vec<_> = taken.iter().map(number_of).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn each_event_goes_to_each_consumer_which_fails_for_itself() {
    of_each(async |client| {
        append(&client, 0..3).await;
        assert!(client.set_group("news", &broadcast()).await.unwrap());
        let info = client.group("news").await.unwrap();
        assert_eq!((info.lag_events, info.members.len()), (0, 0), "nobody is to get anything");
        assert_eq!(take_all(&client, "news", "host 1", 3).await, [0, 1, 2]);
        // Another one gets them too, and cannot process one.
        let second = client.consumer("news", "host 2");
        for delivery in take(&second, 3).await {
            if number_of(&delivery) == 1 {
                let failure = Failure::new("it is poison");
                let nack = Nack { action: NackAction::Park, failure };
                assert_eq!(second.nack(&[delivery.token], nack).await.unwrap().done, 1);
            } else {
                assert_eq!(second.ack(&[delivery.token]).await.unwrap().done, 1);
            }
        }
        append(&client, 3..4).await;
        let info = until(&client, "news", |info| info.lag_events == 1).await;
        assert_eq!((info.parked, info.config.mode), (1, GroupMode::Broadcast));
        let mut members: Vec<_> = info.members.iter().map(|it| it.consumer.as_str()).collect();
        members.sort_unstable();
        assert_eq!(members, ["host 1", "host 2"]);
        // Each has what it parked itself.
        let list = ParkedList { limit: 10, ..ParkedList::default() };
        let refused = client.parked("news", &list).await.unwrap_err().to_string();
        assert!(refused.contains("news@CONSUMER"), "{refused}");
        assert!(client.parked("news@host 1", &list).await.unwrap().entries.is_empty());
        let parked = client.parked("news@host 2", &list).await.unwrap().entries;
        assert_eq!(parked.len(), 1);
        assert_eq!(client.replay_parked("news@host 2", ParkedPick::All).await.unwrap(), 1);
        second.leave().await.unwrap();
        assert_eq!(take_all(&client, "news", "host 2", 2).await, [1, 3]);
        assert_eq!(take_all(&client, "news", "host 1", 1).await, [3]);
        let info = client.group("news").await.unwrap();
        assert_eq!((info.lag_events, info.parked, info.in_flight), (0, 0, 0));
        assert_eq!(client.groups().await.unwrap(), ["news"], "those of consumers are parts of it");
    })
    .await;
}

#[tokio::test]
async fn what_is_done_to_a_group_that_broadcasts_is_done_to_all_of_it() {
    of_each(async |client| {
        append(&client, 0..2).await;
        client.set_group("news", &broadcast()).await.unwrap();
        assert_eq!(take_all(&client, "news", "a", 2).await, [0, 1]);
        client.pause_group("news", "maintenance").await.unwrap();
        assert_eq!(client.group("news").await.unwrap().state, GroupState::Paused);
        let own = client.group("news@a").await.unwrap();
        assert_eq!(own.pause.unwrap().reason, "maintenance");
        // Also one that comes meanwhile.
        let late = client.consumer("news", "b");
        let none = late.receive(1, std::time::Duration::ZERO).await.unwrap();
        assert!(none.is_empty(), "it is paused");
        client.resume_group("news").await.unwrap();
        let one = take_one(&late).await;
        assert_eq!(late.ack(&[one.token]).await.unwrap().done, 1);
        late.leave().await.unwrap();
        client.seek_group("news", GroupStart::Beginning).await.unwrap();
        for consumer in ["a", "b", "c"] {
            assert_eq!(take_all(&client, "news", consumer, 2).await, [0, 1]);
        }
        let changed = GroupConfig { max_attempts: 9, ..broadcast() };
        assert!(!client.set_group("news", &changed).await.unwrap());
        assert_eq!(client.group("news@a").await.unwrap().config.max_attempts, 9);
        let ordered = GroupConfig { mode: GroupMode::Ordered, ..broadcast() };
        let fixed = client.set_group("news", &ordered).await.unwrap_err().to_string();
        assert!(fixed.contains("the mode"), "{fixed}");
        // One consumer that does not come back is forgotten, and begins anew where it does.
        client.delete_group("news@c").await.unwrap();
        assert_eq!(client.group("news").await.unwrap().members.len(), 2);
        assert_eq!(take_all(&client, "news", "c", 2).await, [0, 1]);
        client.delete_group("news").await.unwrap();
        for name in ["news", "news@a", "news@c"] {
            let gone = client.group(name).await.unwrap_err();
            assert!(matches!(gone, AppendError::NotFound { .. }), "{gone}");
        }
        // Made anew, it knows nothing of those of before; and in another mode it is another.
        let from_now = GroupConfig { start: GroupStart::End, ..broadcast() };
        client.set_group("news", &from_now).await.unwrap();
        let early = client.consumer("news", "a");
        assert!(early.receive(1, std::time::Duration::ZERO).await.unwrap().is_empty());
        // It begins when it is heard of, which a server is a moment later.
        let info = until(&client, "news", |info| !info.members.is_empty()).await;
        assert_eq!(info.lag_events, 0);
        append(&client, 5..6).await;
        early.leave().await.unwrap();
        assert_eq!(take_all(&client, "news", "a", 1).await, [5]);
        client.delete_group("news").await.unwrap();
        client.set_group("news", &ordered).await.unwrap();
        assert_eq!(take_all(&client, "news", "a", 3).await, [0, 1, 5]);
    })
    .await;
}

#[tokio::test]
async fn what_a_group_that_broadcasts_cannot_do_it_says() {
    of_each(async |client| {
        client.set_group("news", &broadcast()).await.unwrap();
        let route = RouteConfig {
            filter: Filter::category("count"),
            conditions: Vec::new(),
            to: "group:news".parse().unwrap(),
            start: GroupStart::End,
        };
        let refused = client.set_route("all", &route).await.unwrap_err().to_string();
        assert!(refused.contains("share events"), "{refused}");
        let only = GroupConfig { only_routes: true, filter: Filter::all(), ..broadcast() };
        let refused = client.set_group("other", &only).await.unwrap_err().to_string();
        assert!(refused.contains("share events"), "{refused}");
        let refused = client.set_group("news@a", &broadcast()).await.unwrap_err().to_string();
        assert!(refused.contains("letter or digit"), "{refused}");
        append(&client, 0..1).await;
        assert_eq!(take_all(&client, "news", "a", 1).await, [0]);
        let other = client.consumer("news@a", "b").receive(1, super::SOON).await;
        let refused = other.unwrap_err().to_string();
        assert!(refused.contains("alone"), "{refused}");
        let refused = client.group("news@nobody").await.unwrap_err();
        assert!(matches!(refused, AppendError::NotFound { .. }), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn consumers_of_a_group_that_broadcasts_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::in_directory(dir.path());
    let client = running.client().await;
    client.set_group("news", &broadcast()).await.unwrap();
    append(&client, 0..3).await;
    assert_eq!(take_all(&client, "news", "a", 3).await, [0, 1, 2]);
    assert_eq!(take_all(&client, "news", "b", 2).await.len(), 2);
    client.close().await.unwrap();
    let running = running.restart(dir.path()).await;
    let client = running.client().await;
    append(&client, 3..4).await;
    assert_eq!(take_all(&client, "news", "a", 1).await, [3]);
    assert_eq!(take_all(&client, "news", "b", 2).await.len(), 2);
    let info = client.group("news").await.unwrap();
    assert_eq!((info.lag_events, info.in_flight), (0, 0));
    client.close().await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_consumer_that_is_paused_alone_stays_so_and_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::in_directory(dir.path());
    let client = running.client().await;
    client.set_group("news", &broadcast()).await.unwrap();
    for number in 0..20_u64 {
        let event = EventData::json("Counted", &number).unwrap();
        client.append(Append::to("count-one").event(event)).await.unwrap();
    }
    for consumer in ["a", "b"] {
        let consumer = client.consumer("news", consumer);
        for number in 0..10 {
            let one = take_one(&consumer).await;
            assert_eq!(number_of(&one), number, "of one key in order");
            assert_eq!(consumer.ack(&[one.token]).await.unwrap().done, 1);
        }
        consumer.leave().await.unwrap();
    }
    client.pause_group("news@a", "it is mended").await.unwrap();
    client.close().await.unwrap();
    let running = running.restart(dir.path()).await;
    let client = running.client().await;
    let other = client.consumer("news", "b");
    assert_eq!(number_of(&take_one(&other).await), 10);
    let paused = client.consumer("news", "a");
    assert!(paused.receive(1, std::time::Duration::from_millis(50)).await.unwrap().is_empty());
    let own = until(&client, "news@a", |info| !info.members.is_empty()).await;
    assert_eq!(own.state, GroupState::Paused);
    client.resume_group("news").await.unwrap();
    assert_eq!(number_of(&take_one(&paused).await), 10);
    client.close().await.unwrap();
    running.end().await;
}

/// Each host makes sure that the group is there, and consumes: nobody loses by it what it has done.
#[tokio::test]
async fn who_makes_a_group_that_is_there_takes_nothing_from_its_consumers() {
    of_each(async |client| {
        append(&client, 0..5).await;
        let host = async |name: &'static str| {
            client.set_group("news", &broadcast()).await.unwrap();
            let mut all = take_all(&client, "news", name, 3).await;
            client.set_group("news", &broadcast()).await.unwrap();
            all.extend(take_all(&client, "news", name, 2).await);
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4], "{name}: each once");
        };
        let host = |name| Box::pin(host(name));
        tokio::join!(host("a"), host("b"), host("c"), host("d"));
        assert_eq!(client.group("news").await.unwrap().members.len(), 4);
    })
    .await;
}

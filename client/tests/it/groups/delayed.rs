//! Events that groups do not deliver before a time, the same over a store in memory and behind a server. When something was
//! delivered is told by when it has to be answered, so that one clock says all.

use std::time::Duration;

use nexus_client::Client;
use nexus_protocol::group::{Delivery, GroupConfig, GroupMode};
use nexus_protocol::{Append, EventData, Filter, Read, RecordedEvent, Subscribe, Timestamp};
use nexus_testing::executor::next;

use super::{Running, append, config, is_done, number_of, of_each, take, take_one, until};

/// How far ahead a time is that comes while the test runs, and one that does not.
const NEAR: Duration = Duration::from_millis(300);
const FAR: Duration = Duration::MAX;

fn counting(mode: GroupMode) -> GroupConfig {
    GroupConfig { mode, filter: Filter::category("count"), ..config() }
}

async fn all(client: &Client) -> Vec<RecordedEvent> {
    let mut events = client.read(Read::all());
    let mut all = Vec::new();
    while let Some(event) = next(&mut events).await {
        all.push(event.unwrap());
    }
    all
}

/// What the clock of the store says.
async fn now(client: &Client) -> Timestamp {
    let asked = EventData::new("Asked", "", bytes::Bytes::new());
    client.append(Append::to("clock-1").event(asked)).await.unwrap();
    all(client).await.last().unwrap().recorded_at()
}

/// Appends an event that is not to be delivered before a while from now; gives until when.
async fn delayed(client: &Client, stream: &str, number: u64, by: Duration) -> Timestamp {
    let at = now(client).await.saturating_add(by);
    let event = EventData::json("Counted", &number).unwrap().not_before(at);
    client.append(Append::to(stream).event(event)).await.unwrap();
    at
}

/// When it was delivered.
fn delivered_at(delivery: &Delivery) -> Timestamp {
    delivery.deadline.saturating_sub(config().ack_deadline)
}

fn numbers(taken: &[Delivery]) -> Vec<u64> {
    let mut numbers: Vec<_> = taken.iter().map(number_of).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_delayed_event_is_read_at_once_and_delivered_in_its_time() {
    of_each(async |client| {
        client.set_group("mail", &counting(GroupMode::Unordered)).await.unwrap();
        let consumer = client.consumer("mail", "a");
        let far = delayed(&client, "count-9", 9, FAR).await;
        let near = delayed(&client, "count-8", 8, NEAR).await;
        let stands = |event: &RecordedEvent| event.not_before() == Some(far);
        assert!(all(&client).await.iter().any(stands), "it is read at once");
        let mut live = client.subscribe(Subscribe::all().filter(Filter::category("count")));
        let event = next(&mut live).await.unwrap().unwrap().event().unwrap();
        assert!(stands(&event), "and subscribed to");
        append(&client, 0..2).await;
        // What was appended behind it, also to its own stream, does not wait for it.
        let event = EventData::json("Counted", &2).unwrap();
        client.append(Append::to("count-9").event(event)).await.unwrap();
        let taken = take(&consumer, 4).await;
        assert_eq!(numbers(&taken), [0, 1, 2, 8]);
        for delivery in &taken {
            let is_late = number_of(delivery) != 8 || delivered_at(delivery) >= near;
            assert!(is_late && delivery.attempt == 1, "{delivery:?}");
        }
        let tokens: Vec<_> = taken.iter().map(|it| it.token).collect();
        assert_eq!(consumer.ack(&tokens).await.unwrap().done, 4);
        let info = client.group("mail").await.unwrap();
        assert_eq!((info.lag_events, info.in_flight, info.delivered), (1, 0, 4));
    })
    .await;
}

#[tokio::test]
async fn in_order_a_delayed_event_holds_up_its_own_key() {
    of_each(async |client| {
        client.set_group("mail", &counting(GroupMode::Ordered)).await.unwrap();
        let consumer = client.consumer("mail", "a");
        delayed(&client, "count-9", 9, FAR).await;
        let near = delayed(&client, "count-8", 8, NEAR).await;
        append(&client, 7..10).await;
        let (mut order, mut times) = (Vec::new(), Vec::new());
        while order.len() < 3 {
            let delivery = take_one(&consumer).await;
            assert_eq!(consumer.ack(&[delivery.token]).await.unwrap().done, 1);
            order.push((delivery.event.stream().to_owned(), number_of(&delivery)));
            times.push((delivery.event.not_before(), delivered_at(&delivery)));
        }
        // Its own key waits with it; of the other key nothing else is left to be delivered before tomorrow.
        let of_key: Vec<_> = order.iter().zip(&times).filter(|(it, _)| it.0 == "count-8").collect();
        assert_eq!(of_key.len(), 2, "{order:?}");
        assert_eq!(of_key[0].1.0, Some(near), "in order");
        assert!(of_key.iter().all(|(_, (_, at))| *at >= near), "{order:?}");
        assert!(order.contains(&("count-7".to_owned(), 7)), "{order:?}");
        let info = client.group("mail").await.unwrap();
        assert_eq!((info.lag_events, info.in_flight, info.delivered), (2, 0, 3));
    })
    .await;
}

#[tokio::test]
async fn each_consumer_of_a_group_that_broadcasts_waits_for_itself() {
    of_each(async |client| {
        client.set_group("news", &counting(GroupMode::Broadcast)).await.unwrap();
        delayed(&client, "count-9", 9, FAR).await;
        let near = delayed(&client, "count-8", 8, NEAR).await;
        append(&client, 0..1).await;
        for name in ["host 1", "host 2"] {
            let consumer = client.consumer("news", name);
            let taken = take(&consumer, 2).await;
            assert_eq!(numbers(&taken), [0, 8]);
            let late = taken.iter().find(|it| number_of(it) == 8).unwrap();
            assert!(delivered_at(late) >= near, "{late:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_time_that_is_past_says_nothing() {
    of_each(async |client| {
        client.set_group("mail", &counting(GroupMode::Ordered)).await.unwrap();
        for (number, at) in [(0, Timestamp::MIN), (1, now(&client).await)] {
            let event = EventData::json("Counted", &number).unwrap().not_before(at);
            client.append(Append::to("count-1").event(event)).await.unwrap();
        }
        let last = append(&client, 1..2).await;
        let consumer = client.consumer("mail", "a");
        for _ in 0..3 {
            let delivery = take_one(&consumer).await;
            assert_eq!(consumer.ack(&[delivery.token]).await.unwrap().done, 1);
        }
        until(&client, "mail", |info| is_done(info, last)).await;
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_its_time_waits_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::in_directory(dir.path());
    let client = running.client().await;
    client.set_group("mail", &counting(GroupMode::Ordered)).await.unwrap();
    delayed(&client, "count-9", 9, FAR).await;
    let near = delayed(&client, "count-8", 8, 5 * NEAR).await;
    append(&client, 0..1).await;
    // The group has looked at all of them.
    let consumer = client.consumer("mail", "a");
    let first = take_one(&consumer).await;
    assert_eq!(consumer.ack(&[first.token]).await.unwrap().done, 1);
    consumer.leave().await.unwrap();
    client.close().await.unwrap();
    let running = running.restart(dir.path()).await;
    let client = running.client().await;
    append(&client, 1..2).await;
    let consumer = client.consumer("mail", "a");
    let mut taken = take(&consumer, 2).await;
    let tokens: Vec<_> = taken.iter().map(|it| it.token).collect();
    assert_eq!(consumer.ack(&tokens).await.unwrap().done, 2);
    taken.push(first);
    assert_eq!(numbers(&taken), [0, 1, 8]);
    let late = taken.iter().find(|it| number_of(it) == 8).unwrap();
    assert!(delivered_at(late) >= near, "{late:?}");
    let info = client.group("mail").await.unwrap();
    assert_eq!((info.lag_events, info.in_flight), (1, 0));
    client.close().await.unwrap();
    running.end().await;
}

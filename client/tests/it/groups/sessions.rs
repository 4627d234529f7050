//! Sessions of consumers with a server: credit, connections that break, names that stand for one at a time.

use nexus_protocol::AppendError;
use nexus_protocol::group::{GroupConfig, Refused};

use super::{Running, append, config, is_done, number_of, take, take_one, until};

#[tokio::test]
async fn no_more_is_delivered_than_there_is_credit_for() {
    let running = Running::in_memory();
    let client = running.client().await;
    client.set_group("mail", &config()).await.unwrap();
    let last = append(&client, 0..50).await;
    let consumer = client.consumer("mail", "a").prefetch(4);
    let mut seen = Vec::new();
    for _ in 0..50 {
        let delivery = take_one(&consumer).await;
        let info = client.group("mail").await.unwrap();
        assert!(info.in_flight <= 5, "four that were fetched, and one that was taken: {info:?}");
        seen.push(number_of(&delivery));
        assert_eq!(consumer.ack(&[delivery.token]).await.unwrap().done, 1);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<_>>(), "credit is given back");
    consumer.leave().await.unwrap();
    let info = client.group("mail").await.unwrap();
    assert!(is_done(&info, last) && info.members.is_empty(), "{info:?}");
    client.close().await.unwrap();
    running.end().await;
}

/// The time for an answer is half a minute: what comes at once comes since the connection is gone.
#[tokio::test]
async fn who_is_gone_leaves_its_deliveries_to_others_at_once() {
    let running = Running::in_memory();
    let (first, second) = (running.client().await, running.client().await);
    first.set_group("mail", &config()).await.unwrap();
    append(&first, 0..3).await;
    let lost = first.consumer("mail", "a");
    let taken = take(&lost, 3).await;
    assert_eq!(lost.ack(&[taken[0].token]).await.unwrap().done, 1);
    first.close().await.unwrap();
    let other = second.consumer("mail", "b");
    let again = take(&other, 2).await;
    assert!(again.iter().all(|it| it.attempt == 2), "it may be what has ended the consumer");
    let tokens: Vec<_> = again.iter().map(|it| it.token).collect();
    // Who says good-bye has not tried: here by its last word, and here without one.
    other.leave().await.unwrap();
    let third = second.consumer("mail", "c");
    let again = take(&third, 2).await;
    assert!(again.iter().all(|it| it.attempt == 2 && !tokens.contains(&it.token)));
    drop(third);
    let last = second.consumer("mail", "d");
    let again = take(&last, 2).await;
    assert!(again.iter().all(|it| it.attempt == 2));
    let error = lost.receive(1, super::SOON).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)), "{error}");
    second.close().await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_name_stands_for_one_consumer() {
    let running = Running::in_memory();
    let (first, second) = (running.client().await, running.client().await);
    first.set_group("mail", &config()).await.unwrap();
    append(&first, 0..2).await;
    let before = first.consumer("mail", "a");
    let taken = take(&before, 2).await;
    let after = second.consumer("mail", "a");
    let again = take(&after, 2).await;
    assert!(again.iter().all(|it| it.attempt == 2));
    let error = before.receive(1, super::SOON).await.unwrap_err();
    assert!(error.to_string().contains("a name of its own"), "{error}");
    let error = before.ack(&[taken[0].token]).await.unwrap_err();
    assert!(error.to_string().contains("a name of its own"), "{error}");
    let tokens: Vec<_> = again.iter().map(|it| it.token).collect();
    assert_eq!(after.ack(&tokens).await.unwrap().done, 2);
    first.close().await.unwrap();
    second.close().await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_consumer_goes_on_with_a_new_connection() {
    let running = Running::in_memory();
    let client = running.client().await;
    let config = GroupConfig { max_attempts: 10, ..config() };
    client.set_group("mail", &config).await.unwrap();
    let last = append(&client, 0..3).await;
    let consumer = client.consumer("mail", "a");
    let taken = take(&consumer, 3).await;
    assert_eq!(consumer.ack(&[taken[0].token]).await.unwrap().done, 1);
    client.reconnect().await;
    let tokens: Vec<_> = taken.iter().map(|it| it.token).collect();
    let answered = consumer.ack(&tokens).await.unwrap();
    let why: Vec<_> = answered.refused.iter().map(|it| it.why).collect();
    assert_eq!(why[0], Refused::AlreadyAcked);
    assert!(why[1..].iter().all(|why| *why == Refused::Expired), "{why:?}");
    let again = take(&consumer, 2).await;
    let tokens: Vec<_> = again.iter().map(|it| it.token).collect();
    assert_eq!(consumer.ack(&tokens).await.unwrap().done, 2);
    until(&client, "mail", |info| is_done(info, last)).await;
    client.close().await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_group_that_is_deleted_ends_its_consumers() {
    let running = Running::in_memory();
    let client = running.client().await;
    client.set_group("mail", &config()).await.unwrap();
    append(&client, 0..1).await;
    let consumer = client.consumer("mail", "a");
    take_one(&consumer).await;
    client.delete_group("mail").await.unwrap();
    let error = consumer.receive(1, super::SOON).await.unwrap_err();
    assert!(matches!(error, AppendError::NotFound { .. }), "{error}");
    client.close().await.unwrap();
    running.end().await;
}

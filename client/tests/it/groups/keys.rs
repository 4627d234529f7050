//! What is parked under one key, named by it.

use nexus_client::{Client, Consumer};
use nexus_protocol::group::{
    Delivery, Failure, GroupConfig, GroupMode, GroupStart, LaneBy, Nack, ParkedList, ParkedPick,
};
use nexus_protocol::{Append, AppendError, CorrelationId, EventData};

use super::{config, of_each, take, take_one};

fn key(text: &str) -> ParkedPick {
    ParkedPick::Key(text.to_owned())
}

/// The streams of what is parked of a key, with what merely waits.
async fn parked(client: &Client, text: &str) -> Vec<String> {
    let key = Some(text.to_owned());
    let list = ParkedList { key, waiting: true, limit: 100, ..ParkedList::default() };
    let page = client.parked("mail", &list).await.unwrap();
    page.entries.into_iter().map(|entry| entry.event.unwrap().0).collect()
}

/// Parks all that is there; gives what was delivered.
async fn park_all(consumer: &Consumer, count: usize) -> Vec<Delivery> {
    let taken = take(consumer, count).await;
    let tokens: Vec<_> = taken.iter().map(|it| it.token).collect();
    let park = Nack::park(Failure::new("no"));
    assert_eq!(consumer.nack(&tokens, park).await.unwrap().done, count as u64);
    taken
}

async fn ack(consumer: &Consumer, delivery: &Delivery) {
    assert_eq!(consumer.ack(&[delivery.token]).await.unwrap().done, 1);
}

#[tokio::test]
async fn what_is_parked_under_a_tag_goes_by_its_value() {
    of_each(async |client: Client| {
        let lane_by = LaneBy::Tag("customer".to_owned());
        client.set_group("mail", &GroupConfig { lane_by, ..config() }).await.unwrap();
        for (stream, tag) in
            [("order-1", "customer:7"), ("order-2", "customer:7"), ("order-3", "customer:8")]
        {
            let event = EventData::json("Placed", &1).unwrap().tag(tag);
            client.append(Append::to(stream).event(event)).await.unwrap();
        }
        let plain = EventData::json("Placed", &1).unwrap();
        client.append(Append::to("order-4").event(plain)).await.unwrap();
        let consumer = client.consumer("mail", "a");
        park_all(&consumer, 3).await;
        assert_eq!(parked(&client, "7").await, ["order-1", "order-2"]);
        assert_eq!(parked(&client, "8").await, ["order-3"]);
        assert_eq!(parked(&client, "order-4").await, ["order-4"], "it has no tag: by its stream");
        assert!(parked(&client, "order-3").await.is_empty(), "it has a tag: not by its stream");
        // One key goes, and what waits behind it; the others stay.
        assert_eq!(client.replay_parked("mail", key("7")).await.unwrap(), 1);
        for stream in ["order-1", "order-2"] {
            let delivery = take_one(&consumer).await;
            assert_eq!(delivery.event.stream(), stream);
            ack(&consumer, &delivery).await;
        }
        assert!(parked(&client, "7").await.is_empty());
        assert_eq!(client.replay_parked("mail", key("7")).await.unwrap(), 0);
        // Another is given up: it never comes again.
        assert_eq!(client.skip_parked("mail", key("order-4")).await.unwrap(), 1);
        assert!(parked(&client, "order-4").await.is_empty());
        assert_eq!(client.replay_parked("mail", ParkedPick::All).await.unwrap(), 1);
        let last = take_one(&consumer).await;
        assert_eq!(last.event.stream(), "order-3");
        ack(&consumer, &last).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_parked_goes_by_its_stream_or_its_correlation() {
    of_each(async |client: Client| {
        let id = CorrelationId::from_bytes([7; 16]);
        for lane_by in [LaneBy::Stream, LaneBy::Correlation] {
            let (by_stream, start) = (lane_by == LaneBy::Stream, GroupStart::End);
            client.set_group("mail", &GroupConfig { lane_by, start, ..config() }).await.unwrap();
            let mut event = EventData::json("Placed", &1).unwrap();
            event.correlation_id = Some(id);
            client.append(Append::to("order-1").event(event.clone())).await.unwrap();
            client.append(Append::to("order-2").event(event)).await.unwrap();
            let consumer = client.consumer("mail", "a");
            park_all(&consumer, if by_stream { 2 } else { 1 }).await;
            let (text, streams) = match by_stream {
                true => ("order-2".to_owned(), vec!["order-2"]),
                false => (id.to_string(), vec!["order-1", "order-2"]),
            };
            assert_eq!(parked(&client, &text).await, streams);
            assert_eq!(client.replay_parked_slowly("mail", key(&text), 100).await.unwrap(), 1);
            for stream in streams {
                let delivery = take_one(&consumer).await;
                assert_eq!(delivery.event.stream(), stream);
                ack(&consumer, &delivery).await;
            }
            consumer.leave().await.unwrap();
            client.delete_group("mail").await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_does_nothing() {
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        let event = EventData::json("Placed", &1).unwrap();
        client.append(Append::to("order-1").event(event)).await.unwrap();
        let consumer = client.consumer("mail", "a");
        park_all(&consumer, 1).await;
        let invalid = |error: AppendError, says: &str| {
            let is_invalid = matches!(error, AppendError::Invalid(_));
            assert!(is_invalid && error.to_string().contains(says), "{error}");
        };
        for wrong in ["", &"x".repeat(577)] {
            invalid(client.replay_parked("mail", key(wrong)).await.unwrap_err(), "from 1 to 576");
            invalid(client.skip_parked("mail", key(wrong)).await.unwrap_err(), "from 1 to 576");
            let list =
                ParkedList { key: Some(wrong.to_owned()), limit: 1, ..ParkedList::default() };
            invalid(client.parked("mail", &list).await.unwrap_err(), "from 1 to 576");
        }
        assert_eq!(client.skip_parked("mail", key("order-2")).await.unwrap(), 0);
        assert_eq!(parked(&client, "order-1").await, ["order-1"]);
        let unordered = GroupConfig { mode: GroupMode::Unordered, ..config() };
        client.set_group("other", &unordered).await.unwrap();
        invalid(client.replay_parked("other", key("order-1")).await.unwrap_err(), "unordered");
        invalid(client.skip_parked("other", key("order-1")).await.unwrap_err(), "unordered");
    })
    .await;
}

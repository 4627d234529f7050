//! Times that are beyond their bounds, and how long ago what is not done was recorded.

use std::time::Duration;

use nexus_client::Client;
use nexus_protocol::AppendError;
use nexus_protocol::group::{Delivery, Failure, Nack, NackAction, ParkedList};

use super::{append, config, is_done, of_each, take_one};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn later(delay: Duration) -> Nack {
    let action = NackAction::Retry(Some(delay));
    Nack { action, failure: Failure { class: "smtp".to_owned(), ..Failure::new("down") } }
}

#[tokio::test]
async fn times_beyond_their_bounds_are_refused_and_the_delivery_stands() {
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        append(&client, 0..1).await;
        let consumer = client.consumer("mail", "a");
        let taken = take_one(&consumer).await;
        let half = DAY / 2;
        let invalid = |error: AppendError, says: &str| {
            let is_invalid = matches!(error, AppendError::Invalid(_));
            assert!(is_invalid && error.to_string().contains(says), "{error}");
        };
        let too_long = half + Duration::from_millis(1);
        let error = consumer.extend(&[taken.token], too_long).await.unwrap_err();
        invalid(error, "at most 12 h");
        assert_eq!(consumer.extend(&[taken.token], half).await.unwrap().done, 1);
        let too_late = DAY + Duration::from_millis(1);
        let error = consumer.nack(&[taken.token], later(too_late)).await.unwrap_err();
        invalid(error, "at most 24 h");
        assert_eq!(client.group("mail").await.unwrap().in_flight, 1);
        assert_eq!(consumer.nack(&[taken.token], later(DAY)).await.unwrap().done, 1);
    })
    .await;
}

/// It would end each consumer that gets the event, one after the other.
#[tokio::test]
async fn a_handler_that_asks_for_more_than_there_is_has_its_event_parked() {
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        let last = append(&client, 0..2).await;
        let handled = std::cell::Cell::new(0);
        let both = async {
            while handled.get() < 2 {
                tokio::task::yield_now().await;
            }
        };
        let handler = async |delivery: Delivery| {
            handled.set(handled.get() + 1);
            if super::number_of(&delivery) == 0 { Err(later(2 * DAY)) } else { Ok(()) }
        };
        client.consumer("mail", "a").run_until(handler, both).await.unwrap();
        assert!(is_done(&client.group("mail").await.unwrap(), last));
        let list = ParkedList { limit: 10, ..ParkedList::default() };
        let [entry] = &*client.parked("mail", &list).await.unwrap().entries else {
            panic!("one is parked")
        };
        let failure = entry.failure.as_ref().unwrap();
        assert!(failure.message.contains("at most 24 h"), "{failure:?}");
        assert_eq!((&*failure.class, &*failure.chain), ("smtp", &["down".to_owned()][..]));
    })
    .await;
}

#[tokio::test]
async fn a_group_and_its_lanes_say_how_long_they_are_behind() {
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        append(&client, 0..1).await;
        let consumer = client.consumer("mail", "a");
        let taken = take_one(&consumer).await;
        let (info, lanes) = client.group_lanes("mail").await.unwrap();
        let [lane] = &*lanes else { panic!("one lane has something: {lanes:?}") };
        let lag = lane.lag.expect("it is not done");
        assert!(info.lag_seconds > 0.0 && lag < Duration::from_secs(60), "{info:?} {lag:?}");
        let again = client.group_lanes("mail").await.unwrap();
        assert!(again.1[0].lag.unwrap() >= lag && again.0.lag_seconds >= info.lag_seconds);
        assert!(info.oldest_unacked_ms.is_some());
        assert!(again.0.oldest_unacked_ms >= info.oldest_unacked_ms);
        consumer.nack(&[taken.token], Nack::park(Failure::new("no"))).await.unwrap();
        let (info, lanes) = client.group_lanes("mail").await.unwrap();
        assert_eq!((info.lag_seconds, info.oldest_unacked_ms), (0.0, None));
        assert_eq!((lanes[0].parked, lanes[0].lag), (1, None), "what is parked is not behind");
    })
    .await;
}

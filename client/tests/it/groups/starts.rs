//! Groups that begin at a time, or are sent to one, the same over a store in memory and behind a server.

use nexus_client::{Client, Consumer};
use nexus_protocol::group::{Delivery, GroupConfig, GroupStart};
use nexus_protocol::{Filter, Read, RecordedEvent, Timestamp};
use nexus_testing::executor::next;

use super::{append, config, is_done, number_of, of_each, take};

/// Before and after the time that counts.
const EVENTS: u64 = 5;

async fn all(client: &Client) -> Vec<RecordedEvent> {
    let mut events = client.read(Read::all().filter(Filter::category("count")));
    let mut all = Vec::new();
    while let Some(event) = next(&mut events).await {
        all.push(event.unwrap());
    }
    all
}

/// Appends events, of which the last are recorded at a later time than those before; gives that time, and how many were
/// recorded before.
async fn early_and_late(client: &Client) -> (Timestamp, u64) {
    append(client, 0..EVENTS).await;
    let before = all(client).await.last().unwrap().recorded_at();
    // The clock of the store may stand for a moment: what was recorded in it is early, too.
    let mut number = EVENTS;
    let (at, early) = loop {
        append(client, number..number + 1).await;
        let at = all(client).await.last().unwrap().recorded_at();
        if at > before {
            break (at, number);
        }
        number += 1;
    };
    append(client, early + 1..early + EVENTS).await;
    (at, early)
}

fn from(start: GroupStart) -> GroupConfig {
    GroupConfig { start, filter: Filter::category("count"), ..config() }
}

/// The numbers of so many deliveries, sorted, which are then done.
async fn numbers(consumer: &Consumer, count: u64) -> Vec<u64> {
    let taken: Vec<Delivery> = take(consumer, usize::try_from(count).unwrap()).await;
    let tokens: Vec<_> = taken.iter().map(|it| it.token).collect();
    assert_eq!(consumer.ack(&tokens).await.unwrap().done, count);
    let mut numbers: Vec<_> = taken.iter().map(number_of).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_group_begins_with_what_was_recorded_from_a_time_on() {
    of_each(async |client: Client| {
        let (at, early) = early_and_late(&client).await;
        client.set_group("mail", &from(GroupStart::Time(at))).await.unwrap();
        let consumer = client.consumer("mail", "a");
        assert_eq!(client.group("mail").await.unwrap().lag_events, EVENTS);
        let came = numbers(&consumer, EVENTS).await;
        assert_eq!(came, (early..early + EVENTS).collect::<Vec<_>>(), "also the one of that time");
        let info = client.group("mail").await.unwrap();
        let last = all(&client).await.last().unwrap().position();
        assert!(is_done(&info, last), "{info:?}");
        assert_eq!((info.lag_events, info.delivered), (0, EVENTS));
        // A moment later, and the first of them is not among them.
        let after = Timestamp::from_micros(at.as_micros() + 1);
        let later = all(&client).await.iter().filter(|it| it.recorded_at() >= after).count() as u64;
        client.set_group("mail-2", &from(GroupStart::Time(after))).await.unwrap();
        assert!(later < EVENTS);
        assert_eq!(client.group("mail-2").await.unwrap().lag_events, later);
        let came = numbers(&client.consumer("mail-2", "a"), later).await;
        assert_eq!(came, (early + EVENTS - later..early + EVENTS).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_group_is_sent_to_a_time_and_delivers_from_there_on_again() {
    of_each(async |client: Client| {
        let (at, early) = early_and_late(&client).await;
        client.set_group("mail", &from(GroupStart::Beginning)).await.unwrap();
        let consumer = client.consumer("mail", "a");
        let came = numbers(&consumer, early + EVENTS).await;
        assert_eq!(came, (0..early + EVENTS).collect::<Vec<_>>());
        let to = client.seek_group("mail", GroupStart::Time(at)).await.unwrap();
        let events = all(&client).await;
        assert_eq!(to, events[usize::try_from(early).unwrap()].position());
        let came = numbers(&consumer, EVENTS).await;
        assert_eq!(came, (early..early + EVENTS).collect::<Vec<_>>());
        let info = client.group("mail").await.unwrap();
        assert!(is_done(&info, events.last().unwrap().position()), "{info:?}");
        assert_eq!((info.lag_events, info.delivered), (0, early + 2 * EVENTS));
    })
    .await;
}

#[tokio::test]
async fn a_time_that_is_not_there_yet_is_the_end_of_the_log() {
    of_each(async |client: Client| {
        append(&client, 0..EVENTS).await;
        client.set_group("mail", &from(GroupStart::Time(Timestamp::MAX))).await.unwrap();
        assert_eq!(client.group("mail").await.unwrap().lag_events, 0);
        append(&client, EVENTS..EVENTS + 1).await;
        assert_eq!(numbers(&client.consumer("mail", "a"), 1).await, [EVENTS]);
    })
    .await;
}

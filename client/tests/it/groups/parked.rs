//! What is parked is listed, replayed, and given up lane by lane, the same over a store in memory and behind a server.

use std::collections::{BTreeMap, BTreeSet};

use nexus_client::{Client, Consumer};
use nexus_protocol::group::{
    Delivery, DeliveryToken, Failure, GroupConfig, Nack, ParkedList, ParkedPick,
};
use nexus_protocol::{Filter, Position};

use super::{append, config, is_done, number_of, of_each, take, take_one};

/// Of two lanes each has some of these.
const EVENTS: u64 = 8;

/// A list of one lane, or of all of them; with all that waits behind others.
fn of_lane(lane: Option<u32>) -> ParkedList {
    ParkedList { lane, waiting: true, limit: 100, ..ParkedList::default() }
}

/// Where the entries of a lane stand, or of all lanes.
async fn parked(client: &Client, lane: Option<u32>) -> Vec<Position> {
    let page = client.parked("mail", &of_lane(lane)).await.unwrap();
    assert_eq!(page.next, None);
    assert!(page.entries.iter().all(|entry| lane.is_none_or(|lane| entry.lane == lane)));
    page.entries.iter().map(|entry| entry.position).collect()
}

/// A group that has parked an event of each key: where they stand, by lane.
async fn all_parked(client: &Client, consumer: &Consumer) -> BTreeMap<u32, Vec<Position>> {
    let config = GroupConfig { lanes: 2, filter: Filter::category("count"), ..config() };
    client.set_group("mail", &config).await.unwrap();
    append(client, 0..EVENTS).await;
    let tokens = tokens(&take(consumer, usize::try_from(EVENTS).unwrap()).await);
    let park = Nack::park(Failure::new("nobody is there"));
    assert_eq!(consumer.nack(&tokens, park).await.unwrap().done, EVENTS);
    let mut lanes = BTreeMap::<_, Vec<_>>::new();
    for entry in client.parked("mail", &of_lane(None)).await.unwrap().entries {
        lanes.entry(entry.lane).or_default().push(entry.position);
    }
    assert!(lanes.keys().eq(&[0, 1]), "keys fall into both lanes: {lanes:?}");
    lanes
}

fn tokens(taken: &[Delivery]) -> Vec<DeliveryToken> {
    taken.iter().map(|it| it.token).collect()
}

fn positions(taken: &[Delivery]) -> BTreeSet<Position> {
    taken.iter().map(|it| it.token.position).collect()
}

#[tokio::test]
async fn a_lane_is_listed_and_replayed_and_the_other_stays_parked() {
    of_each(async |client: Client| {
        let consumer = client.consumer("mail", "a");
        let lanes = all_parked(&client, &consumer).await;
        for (lane, its) in &lanes {
            assert_eq!(parked(&client, Some(*lane)).await, *its);
        }
        assert_eq!(parked(&client, Some(7)).await, [], "there is no such lane");
        let (first, second) = (&lanes[&0], &lanes[&1]);
        let replayed = client.replay_parked("mail", ParkedPick::Lane(0)).await.unwrap();
        assert_eq!(replayed, first.len() as u64);
        let taken = take(&consumer, first.len()).await;
        assert_eq!(positions(&taken), first.iter().copied().collect());
        assert!(taken.iter().all(|it| it.attempt == 2), "{taken:?}");
        assert_eq!(consumer.ack(&tokens(&taken)).await.unwrap().done, replayed);
        assert_eq!(parked(&client, Some(0)).await, []);
        assert_eq!(parked(&client, Some(1)).await, *second);
        let info = client.group("mail").await.unwrap();
        assert_eq!((info.parked, info.ready, info.in_flight), (second.len() as u64, 0, 0));
        assert_eq!(info.delivered, EVENTS + replayed, "nothing else came");
    })
    .await;
}

#[tokio::test]
async fn a_lane_that_is_given_up_is_not_parked_any_more_and_never_comes_again() {
    of_each(async |client: Client| {
        let consumer = client.consumer("mail", "a");
        let lanes = all_parked(&client, &consumer).await;
        let (first, second) = (&lanes[&0], &lanes[&1]);
        let skipped = client.skip_parked("mail", ParkedPick::Lane(1)).await.unwrap();
        assert!(skipped > 0 && skipped == second.len() as u64, "{skipped}");
        assert_eq!(parked(&client, Some(1)).await, []);
        assert_eq!(parked(&client, None).await, *first, "the other lane stays");
        assert_eq!(client.skip_parked("mail", ParkedPick::Lane(1)).await.unwrap(), 0);
        assert_eq!(client.replay_parked("mail", ParkedPick::Lane(1)).await.unwrap(), 0);
        // All that is left comes, and what is appended now, and nothing else.
        client.replay_parked("mail", ParkedPick::All).await.unwrap();
        let last = append(&client, EVENTS..EVENTS + 1).await;
        let taken = take(&consumer, first.len() + 1).await;
        let expected = first.iter().copied().chain([last]).collect();
        assert_eq!(positions(&taken), expected);
        consumer.ack(&tokens(&taken)).await.unwrap();
        let info = client.group("mail").await.unwrap();
        assert!(is_done(&info, last) && info.lag_events == 0 && info.ready == 0, "{info:?}");
        assert_eq!((info.parked, info.delivered), (0, EVENTS + first.len() as u64 + 1));
    })
    .await;
}

#[tokio::test]
async fn what_waited_behind_an_event_that_is_given_up_follows() {
    of_each(async |client: Client| {
        let consumer = client.consumer("mail", "a");
        let lanes = all_parked(&client, &consumer).await;
        let listed = client.parked("mail", &of_lane(None)).await.unwrap().entries;
        let is_first = |stream: &str| stream == "count-0";
        let first = listed.iter().find(|it| it.event.as_ref().is_some_and(|of| is_first(&of.0)));
        let (lane, before) = first.map(|it| (it.lane, it.position)).unwrap();
        append(&client, 0..1).await;
        let last = append(&client, EVENTS..EVENTS + 1).await;
        let marker = take_one(&consumer).await;
        assert_eq!(marker.token.position, last, "what is behind waits with it");
        assert_eq!(parked(&client, Some(lane)).await.len(), lanes[&lane].len() + 1);
        let skipped = client.skip_parked("mail", ParkedPick::Lane(lane)).await.unwrap();
        assert_eq!(skipped, lanes[&lane].len() as u64, "it did not fail itself");
        let behind = take_one(&consumer).await;
        assert_eq!((number_of(&behind), behind.attempt), (0, 1));
        assert!(before < behind.token.position && behind.token.position < last);
        consumer.ack(&[marker.token, behind.token]).await.unwrap();
        assert_eq!(parked(&client, Some(lane)).await, []);
    })
    .await;
}

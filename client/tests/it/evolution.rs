//! Events in another version of their schemas, by the client, the same over a store in memory and behind a server.

use std::collections::BTreeMap;
use std::time::Duration;

use nexus_client::schemas::{SchemaRef, UpcastError, Upcaster, Upcasters, Upcasting};
use nexus_client::{Client, Consumer};
use nexus_protocol::group::{Delivery, GroupConfig, GroupStart, ParkedEntry, ParkedList};
use nexus_protocol::schema::{AsSchema, NewSchema, SchemaFormat, SchemaVersion};
use nexus_protocol::{
    Append, EventData, EventStore, Filter, FoldIdentity, Position, Read, ReadError, RecordedEvent,
    Revision, Snapshot, SnapshotAt, Start, StreamName, Subscribe, SubscriptionItem,
};
use serde_json::{Value, json};

use crate::groups::{of_each, take_one};

fn schema(properties: &[&str]) -> Value {
    let properties: BTreeMap<_, _> = properties.iter().map(|it| (*it, json!({}))).collect();
    json!({ "type": "object", "properties": properties })
}

async fn register(client: &Client, schema: &Value, up: Option<Value>) -> SchemaVersion {
    let up = up.map(|up| up.to_string()).unwrap_or_default();
    let new = NewSchema { up, ..NewSchema::new(SchemaFormat::Json, schema.to_string()) };
    client.register_schema("order", &new).await.unwrap().0
}

/// Three versions: a list of items, the same under another name, and one item each.
async fn versions(client: &Client) -> [SchemaVersion; 3] {
    let first = register(client, &schema(&["items"]), None).await;
    let rename = json!([{"op": "rename", "path": "/items", "to": "lines"}]);
    let second = register(client, &schema(&["lines"]), Some(rename)).await;
    let fan = json!([{"op": "fan_out", "path": "/lines", "as": "/line"}]);
    let third = register(client, &schema(&["line"]), Some(fan)).await;
    [first, second, third]
}

async fn append(client: &Client, stream: &str, schema: &SchemaVersion, data: &Value) -> Position {
    let mut event = EventData::json("order", data).unwrap();
    event.schema = schema.id;
    client.append(Append::to(stream).event(event)).await.unwrap().last().unwrap()
}

async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

async fn read(store: &impl EventStore, read: Read) -> Result<Vec<RecordedEvent>, ReadError> {
    let (mut events, mut all) = (store.read(read), Vec::new());
    while let Some(event) = next(&mut events).await {
        all.push(event?);
    }
    Ok(all)
}

/// The data of events, each with its revision and its part.
fn shown(events: &[RecordedEvent]) -> Vec<(u64, u32, Value)> {
    let of = |it: &RecordedEvent| (it.revision().get(), it.part(), it.json().unwrap());
    events.iter().map(of).collect()
}

#[tokio::test]
async fn a_read_shows_events_in_the_version_that_is_asked_for() {
    of_each(async |client| {
        let [first, second, third] = versions(&client).await;
        append(&client, "order-1", &first, &json!({ "items": [1, 2] })).await;
        append(&client, "order-1", &second, &json!({ "lines": [] })).await;
        append(&client, "order-1", &second, &json!({ "lines": [3] })).await;
        append(&client, "order-1", &third, &json!({ "line": 4 })).await;
        let of = |as_schema| Read::stream("order-1").as_schema(as_schema);
        let latest = read(&client, of(AsSchema::Latest)).await.unwrap();
        let expected = [
            (0, 0, json!({ "line": 1 })),
            (0, 1, json!({ "line": 2 })),
            (2, 0, json!({ "line": 3 })),
            (3, 0, json!({ "line": 4 })),
        ];
        assert_eq!(shown(&latest), expected);
        assert!(latest.iter().all(|it| it.schema() == third.id));
        assert_eq!(
            latest.iter().map(RecordedEvent::altered).collect::<Vec<_>>(),
            [true, true, true, false]
        );
        let raw = read(&client, of(AsSchema::Raw)).await.unwrap();
        assert_eq!(raw[0].json::<Value>().unwrap(), json!({ "items": [1, 2] }));
        assert!(raw.iter().all(|it| !it.altered()));

        // What cannot be shown ends the read behind what could be, and is there to be read as it is stored.
        let mut events = client.read(of(AsSchema::Version(1)));
        let mut good = Vec::new();
        let error = loop {
            match next(&mut events).await.unwrap() {
                Ok(event) => good.push(event),
                Err(error) => break error,
            }
        };
        assert_eq!(shown(&good)[2], (2, 0, json!({ "items": [3] })));
        let ReadError::NotConverted { position, why } = error else { panic!("{error:?}") };
        assert_eq!((position, why.contains("fan_out")), (raw[3].position(), true), "{why}");

        // Limits count what is stored.
        let two = read(&client, of(AsSchema::Latest).limit(2)).await.unwrap();
        assert_eq!(shown(&two), expected[..2]);
        let newest = read(&client, of(AsSchema::Latest).backwards()).await.unwrap();
        let revisions: Vec<_> = newest.iter().map(|it| (it.revision().get(), it.part())).collect();
        assert_eq!(revisions, [(3, 0), (2, 0), (0, 0), (0, 1)]);
        let log = read(&client, Read::all().as_schema(AsSchema::Latest)).await.unwrap();
        assert_eq!(shown(&log), expected);
    })
    .await;
}

#[tokio::test]
async fn a_subscription_shows_what_comes_in_the_newest_version_there_is() {
    of_each(async |client| {
        let first = register(&client, &schema(&["items"]), None).await;
        append(&client, "order-1", &first, &json!({ "items": [1, 2] })).await;
        let mut items = client.subscribe(Subscribe::all().as_schema(AsSchema::Latest));
        let mut event = async || loop {
            if let SubscriptionItem::Event(event) = next(&mut items).await.unwrap().unwrap() {
                return event;
            }
        };
        assert_eq!(event().await.json::<Value>().unwrap(), json!({ "items": [1, 2] }));
        let fan = json!([{"op": "fan_out", "path": "/items", "as": "/item"}]);
        let second = register(&client, &schema(&["item"]), Some(fan)).await;
        append(&client, "order-1", &first, &json!({ "items": [3, 4] })).await;
        append(&client, "order-1", &first, &json!({ "items": [] })).await;
        append(&client, "order-1", &second, &json!({ "item": 5 })).await;
        for (number, part, has_more) in [(3, 0, true), (4, 1, false), (5, 0, false)] {
            let event = event().await;
            assert_eq!(event.json::<Value>().unwrap(), json!({ "item": number }));
            assert_eq!((event.part(), event.has_more_parts()), (part, has_more));
        }
    })
    .await;
}

#[tokio::test]
async fn parts_are_not_torn_apart_by_credit() {
    of_each(async |client| {
        let [first, ..] = versions(&client).await;
        let many: Vec<_> = (0..250).collect();
        for _ in 0..30 {
            append(&client, "order-1", &first, &json!({ "items": many })).await;
        }
        let mut items = client.subscribe(Subscribe::all().as_schema(AsSchema::Latest));
        let (mut count, mut next_part) = (0, 0);
        while count < 30 * many.len() {
            if let SubscriptionItem::Event(event) = next(&mut items).await.unwrap().unwrap() {
                assert_eq!(event.part(), next_part);
                next_part = if event.has_more_parts() { event.part() + 1 } else { 0 };
                count += 1;
            }
        }
        // Where it is taken up again is behind what was seen whole.
        let from = Start::After(Position::new(10));
        let mut items = client.subscribe(Subscribe::all().start(from).as_schema(AsSchema::Latest));
        let first = loop {
            if let SubscriptionItem::Event(event) = next(&mut items).await.unwrap().unwrap() {
                break event;
            }
        };
        assert_eq!((first.position() > Position::new(10), first.part()), (true, 0));
    })
    .await;
}

/// A group that gives up at once what fails.
fn group() -> GroupConfig {
    GroupConfig { start: GroupStart::Beginning, max_attempts: 1, ..GroupConfig::default() }
}

fn data_of(delivery: &Delivery) -> Vec<Value> {
    delivery.events().map(|it| it.json().unwrap()).collect()
}

#[tokio::test]
async fn a_group_delivers_an_event_with_all_its_parts_and_parks_what_cannot_be_shown() {
    of_each(async |client| {
        let [first, second, third] = versions(&client).await;
        client.set_group("mail", &group()).await.unwrap();
        append(&client, "order-1", &first, &json!({ "items": [1, 2] })).await;
        append(&client, "order-1", &second, &json!({ "lines": [] })).await;
        append(&client, "order-1", &second, &json!({ "lines": [3] })).await;
        let consumer = client.consumer("mail", "a").as_schema(AsSchema::Latest);
        for expected in [vec![1, 2], vec![3]] {
            let delivery = take_one(&consumer).await;
            let expected: Vec<_> = expected.iter().map(|it| json!({ "line": it })).collect();
            assert_eq!(data_of(&delivery), expected);
            let answered = consumer.ack(&[delivery.token]).await.unwrap();
            assert_eq!((answered.done, answered.refused.len()), (1, 0));
        }
        consumer.leave().await.unwrap();
        let poison = append(&client, "order-1", &third, &json!({ "line": 4 })).await;
        append(&client, "order-2", &first, &json!({ "items": [5] })).await;
        let old = client.consumer("mail", "b").as_schema(AsSchema::Version(1));
        let delivery = take_one(&old).await;
        assert_eq!(data_of(&delivery), [json!({ "items": [5] })], "it stands in nobody's way");
        old.ack(&[delivery.token]).await.unwrap();
        let parked = parked(&client, &old).await;
        assert_eq!(parked.position, poison);
        let why = parked.failure.unwrap().message;
        assert!(why.contains("fan_out"), "{why}");
    })
    .await;
}

/// The one event that is parked, once it was tried.
async fn parked(client: &Client, consumer: &Consumer) -> ParkedEntry {
    for _ in 0..1_000 {
        let list = ParkedList { limit: 10, ..ParkedList::default() };
        let mut page = client.parked("mail", &list).await.unwrap();
        if let Some(parked) = page.entries.pop() {
            assert!(page.entries.is_empty(), "{page:?}");
            return parked;
        }
        let more = consumer.receive(1, Duration::from_millis(20)).await.unwrap();
        assert!(more.is_empty(), "{more:?}");
    }
    panic!("it is parked soon");
}

/// What no transform says: the first word of a text.
struct FirstWord;

impl Upcaster for FirstWord {
    fn from(&self) -> SchemaRef {
        SchemaRef { subject: "order".into(), version: 1 }
    }

    fn to(&self) -> SchemaRef {
        SchemaRef { subject: "order".into(), version: 2 }
    }

    fn lift(&self, value: Value) -> Result<Vec<Value>, UpcastError> {
        let text = value["text"].as_str().ok_or_else(|| UpcastError::Failed("no text".into()))?;
        let words = text.split_whitespace().map(|word| json!({ "word": word }));
        Ok(words.collect())
    }
}

async fn words(client: &Client) -> (SchemaVersion, Upcasting<Client>) {
    let first = register(client, &schema(&["text"]), None).await;
    let mut upcasters = Upcasters::default();
    upcasters.add(std::sync::Arc::new(FirstWord)).unwrap();
    let upcasting = client.upcasting(upcasters);
    // By itself it says nothing of the version before.
    let drop = json!([{"op": "drop", "path": "/text"}]);
    register(client, &schema(&["word"]), Some(drop)).await;
    (first, upcasting)
}

#[tokio::test]
async fn lifts_in_rust_are_run_where_events_are_read() {
    of_each(async |client| {
        let (first, upcasting) = words(&client).await;
        append(&client, "order-1", &first, &json!({ "text": "so be it" })).await;
        append(&client, "order-1", &first, &json!({ "text": "" })).await;
        let of = || Read::stream("order-1").as_schema(AsSchema::Latest);
        let plain = read(&client, of()).await.unwrap();
        assert_eq!(shown(&plain), [(0, 0, json!({})), (1, 0, json!({}))], "a server has none");
        let expected = [
            (0, 0, json!({"word": "so"})),
            (0, 1, json!({"word": "be"})),
            (0, 2, json!({"word": "it"})),
        ];
        assert_eq!(shown(&read(&upcasting, of()).await.unwrap()), expected);
        let raw = read(&upcasting, Read::stream("order-1")).await.unwrap();
        assert_eq!(raw, read(&client, Read::stream("order-1")).await.unwrap());

        let mut items = upcasting.subscribe(Subscribe::all().as_schema(AsSchema::Latest));
        let mut seen = Vec::new();
        while seen.len() < 3 {
            if let SubscriptionItem::Event(event) = next(&mut items).await.unwrap().unwrap() {
                seen.push(event);
            }
        }
        assert_eq!(shown(&seen), expected);

        append(&client, "bad-1", &first, &json!({ "text": 7 })).await;
        append(&client, "bad-1", &first, &json!({ "text": "good" })).await;
        let mut bad = upcasting.read(Read::stream("bad-1").as_schema(AsSchema::Latest));
        assert!(matches!(next(&mut bad).await, Some(Err(ReadError::NotConverted { .. }))));
        assert_eq!(next(&mut bad).await, None, "nothing comes behind an error");

        let of = GroupConfig { filter: Filter::category("order"), ..group() };
        client.set_group("mail", &of).await.unwrap();
        let consumer = client.consumer("mail", "a");
        let consumer = consumer.as_schema(AsSchema::Latest).upcasting(upcasting.clone());
        let take = async |expected: &[&str]| {
            let delivery = take_one(&consumer).await;
            let expected: Vec<_> = expected.iter().map(|it| json!({ "word": it })).collect();
            assert_eq!(data_of(&delivery), expected);
            consumer.ack(&[delivery.token]).await.unwrap();
        };
        take(&["so", "be", "it"]).await;
        append(&client, "order-1", &first, &json!({ "text": 7 })).await;
        append(&client, "order-2", &first, &json!({ "text": "good" })).await;
        take(&["good"]).await;
        let why = parked(&client, &consumer).await.failure.unwrap().message;
        assert!(why.contains("no text"), "{why}");

        // A third version is known once an event follows it.
        let rename = json!([{"op": "rename", "path": "/word", "to": "name"}]);
        let third = register(&client, &schema(&["name"]), Some(rename)).await;
        append(&client, "order-3", &third, &json!({ "name": "new" })).await;
        let of = Read::stream("order-3").as_schema(AsSchema::Version(3));
        assert_eq!(shown(&read(&upcasting, of).await.unwrap()), [(0, 0, json!({"name": "new"}))]);
        let of = Read::stream("order-2").as_schema(AsSchema::Latest);
        assert_eq!(shown(&read(&upcasting, of).await.unwrap()), [(0, 0, json!({"name": "good"}))]);
    })
    .await;
}

#[tokio::test]
async fn a_store_in_this_process_has_lifts_in_rust_for_all_its_readers() {
    of_each(async |client| {
        let (first, _) = words(&client).await;
        append(&client, "order-1", &first, &json!({ "text": "so be it" })).await;
        let of = || Read::stream("order-1").as_schema(AsSchema::Latest);
        if let Err(why) = client.add_upcaster(FirstWord) {
            assert!(why.to_string().contains("Client::upcasting"), "{why}");
            return;
        }
        assert!(client.add_upcaster(FirstWord).is_err(), "one leads on from there");
        assert_eq!(read(&client, of()).await.unwrap().len(), 3);
        client.set_group("mail", &group()).await.unwrap();
        let consumer = client.consumer("mail", "a").as_schema(AsSchema::Latest);
        assert_eq!(data_of(&take_one(&consumer).await).len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_of_other_lifts_is_a_miss() {
    of_each(async |client| {
        let (first, upcasting) = words(&client).await;
        append(&client, "order-1", &first, &json!({ "text": "so be it" })).await;
        let hash = upcasting.upcaster_hash(AsSchema::Latest, &["order"]).await.unwrap();
        let fold = FoldIdentity { fold_version: 1, upcaster_hash: hash };
        let stream = StreamName::new("order-1").unwrap();
        let snapshot = Snapshot {
            stream,
            revision: Revision::ZERO,
            fold,
            content_type: "application/json".into(),
            state: "3".into(),
        };
        upcasting.save_snapshot(snapshot.clone()).await.unwrap();
        let load = async |hash| {
            let fold = FoldIdentity { fold_version: 1, upcaster_hash: hash };
            upcasting.load_snapshot("order-1", SnapshotAt::Latest, fold).await.unwrap()
        };
        assert_eq!(load(hash).await, Some(snapshot));
        // Without the lift in Rust it is another fold.
        let plain = client.upcasting(Upcasters::default());
        let plain = plain.upcaster_hash(AsSchema::Latest, &["order"]).await.unwrap();
        assert_eq!((plain != hash, load(plain).await), (true, None));
        // And so it is once there is a version more.
        let rename = json!([{"op": "rename", "path": "/word", "to": "name"}]);
        register(&client, &schema(&["name"]), Some(rename)).await;
        let later = upcasting.upcaster_hash(AsSchema::Latest, &["order"]).await.unwrap();
        assert_eq!((later != hash, load(later).await), (true, None));
        let pinned = upcasting.upcaster_hash(AsSchema::Version(2), &["order"]).await.unwrap();
        assert_eq!(pinned, hash, "who asks for the version before is shown the same");
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_can_be_shown_nothing_waits_no_longer_than_it_was_told_to() {
    of_each(async |client| {
        let [.., third] = versions(&client).await;
        client.set_group("mail", &group()).await.unwrap();
        append(&client, "order-1", &third, &json!({ "line": 1 })).await;
        let consumer = client.consumer("mail", "a").as_schema(AsSchema::Version(1));
        let taken = consumer.receive(10, Duration::from_millis(50)).await.unwrap();
        assert!(taken.is_empty(), "{taken:?}");
    })
    .await;
}

//! What follows from events is appended once for each, whatever is cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use nexus_client::{Address, Client};
use nexus_node::config::Certificate;
use nexus_node::{Engine, Node, Principal, Role};
use nexus_protocol::group::{
    Delivery, Failure, GroupConfig, GroupStart, Nack, ParkedList, effect_id,
};
use nexus_protocol::timer::Timer;
use nexus_protocol::{Append, AppendError, EventData, Filter, Read, RecordedEvent, Timestamp};
use nexus_server::{Options, Server};
use nexus_testing::executor::next;
use tokio::sync::watch;

use super::{append, config, is_done, number_of, of_each, take_one, until};

/// A group of what is counted, and not of what follows from it.
fn of_counted() -> GroupConfig {
    GroupConfig { filter: Filter::category("count"), ..config() }
}

/// What follows from a delivery: two events that belong together.
fn follows(delivery: &Delivery) -> Append {
    let event = |what: &str| {
        EventData::json(what, &number_of(delivery)).unwrap().caused_by(&delivery.event)
    };
    Append::to("mails").event(event("MailWritten")).event(event("MailSent"))
}

async fn read(client: &Client, stream: &str) -> Vec<RecordedEvent> {
    let mut events = client.read(Read::stream(stream));
    let mut all = Vec::new();
    while let Some(event) = next(&mut events).await {
        all.push(event.unwrap());
    }
    all
}

/// How often each number is in what follows.
async fn effects(client: &Client) -> BTreeMap<u64, usize> {
    let mut times = BTreeMap::new();
    for event in read(client, "mails").await {
        *times.entry(event.json::<u64>().unwrap()).or_default() += 1;
    }
    times
}

/// Runs a handler until nothing is left to do.
async fn run_to_the_end(client: &Client, handler: impl AsyncFn(Delivery) -> Result<Append, Nack>) {
    let done = async { drop(until(client, "mail", |info| info.lag_events == 0).await) };
    let consumer = client.consumer("mail", "b").concurrency(4);
    consumer.run_with_until(async |delivery| handler(delivery).await, done).await.unwrap();
}

#[tokio::test]
async fn what_a_handler_gives_is_stored_once_for_each_event() {
    of_each(async |client: Client| {
        client.set_group("mail", &of_counted()).await.unwrap();
        let last = append(&client, 0..20).await;
        let tries = watch::Sender::new(0);
        run_to_the_end(&client, async |delivery: Delivery| {
            tries.send_modify(|tries| *tries += 1);
            match (number_of(&delivery), delivery.attempt) {
                // Nothing follows from the first, and another one fails at first.
                (0, _) => Ok(Append::new()),
                (1, 1) => Err(Nack::retry(Failure::new("not yet"))),
                _ => Ok(follows(&delivery)),
            }
        })
        .await;
        assert_eq!(*tries.borrow(), 21);
        let info = client.group("mail").await.unwrap();
        assert!(is_done(&info, last) && info.parked == 0, "{info:?}");
        let times = effects(&client).await;
        assert_eq!(times.keys().copied().collect::<Vec<_>>(), (1..20).collect::<Vec<_>>());
        assert!(times.values().all(|times| *times == 2), "{times:?}");
        // All of it once more: each append is there, and counts as done.
        client.seek_group("mail", GroupStart::Beginning).await.unwrap();
        run_to_the_end(&client, async |delivery: Delivery| Ok(follows(&delivery))).await;
        let again = effects(&client).await;
        assert_eq!(again.len(), 20, "this time something follows from the first, too");
        assert!(again.values().all(|times| *times == 2), "{again:?}");
        let info = client.group("mail").await.unwrap();
        assert!(is_done(&info, last) && info.parked == 0, "{info:?}");
    })
    .await;
}

#[tokio::test]
async fn a_crash_between_the_append_and_the_acknowledgement_leaves_nothing_twice() {
    of_each(async |client: Client| {
        client.set_group("mail", &of_counted()).await.unwrap();
        let last = append(&client, 0..1).await;
        let consumer = client.consumer("mail", "a");
        let delivery = take_one(&consumer).await;
        let by_hand = consumer.effects_of(&delivery, follows(&delivery));
        assert!(!client.append(by_hand.clone()).await.unwrap().replayed);
        // The two together conflict for ever, since one of them is there.
        let both = consumer.ack_with(&[delivery.token], by_hand).await.unwrap_err();
        assert!(matches!(both, AppendError::Conflict(_)), "{both}");
        // It is gone before it has said so; its event comes to another.
        drop(consumer);
        let tries = watch::Sender::new(0);
        run_to_the_end(&client, async |again: Delivery| {
            tries.send_modify(|tries| *tries += 1);
            assert_eq!(again.event.id(), delivery.event.id());
            Ok(follows(&again))
        })
        .await;
        assert_eq!(*tries.borrow(), 1);
        let mails = read(&client, "mails").await;
        let ids: Vec<_> = mails.iter().map(RecordedEvent::id).collect();
        assert_eq!(ids, [0, 1].map(|at| effect_id("mail", delivery.event.id(), at)));
        let info = client.group("mail").await.unwrap();
        assert!(is_done(&info, last) && info.parked == 0, "{info:?}");
    })
    .await;
}

#[tokio::test]
async fn a_conflict_is_tried_again_and_what_can_never_be_is_parked() {
    of_each(async |client: Client| {
        let config = GroupConfig { max_attempts: 5, ..of_counted() };
        client.set_group("mail", &config).await.unwrap();
        let last = append(&client, 0..3).await;
        client
            .append(Append::to("taken").event(EventData::json("Taken", &0).unwrap()))
            .await
            .unwrap();
        run_to_the_end(&client, async |delivery: Delivery| {
            let sent = EventData::json("MailSent", &number_of(&delivery)).unwrap();
            Ok(match (number_of(&delivery), delivery.attempt) {
                // It has looked before somebody else had written.
                (0, 1) => Append::to("taken").no_stream().event(sent),
                (0, _) => Append::to("mails").event(sent),
                (1, _) => Append::to("$group-mail").event(sent),
                _ => Append::to("mails").event(sent.tag("no tag")),
            })
        })
        .await;
        assert_eq!(effects(&client).await, BTreeMap::from([(0, 1)]));
        let list = ParkedList { limit: 10, ..ParkedList::default() };
        let parked = client.parked("mail", &list).await.unwrap().entries;
        let attempts: Vec<_> = parked.iter().map(|entry| entry.attempts).collect();
        assert_eq!(attempts, [1, 1], "at once: {parked:?}");
        let info = client.group("mail").await.unwrap();
        assert!(is_done(&info, last), "{info:?}");
    })
    .await;
}

#[tokio::test]
async fn effects_have_the_ids_they_are_given() {
    of_each(async |client: Client| {
        client.set_group("mail", &of_counted()).await.unwrap();
        append(&client, 0..1).await;
        let consumer = client.consumer("mail", "a");
        let delivery = take_one(&consumer).await;
        let own = nexus_protocol::EventId::from_bytes([7; 16]);
        let event = |n: u64| EventData::json("MailSent", &n).unwrap();
        let append =
            Append::to("a").event(event(0)).stream("b").event(event(1).id(own)).event(event(2));
        let ids = |append: &Append| -> Vec<_> {
            append.streams.iter().flat_map(|it| &it.events).map(|event| event.id).collect()
        };
        let of = |at| Some(effect_id("mail", delivery.event.id(), at));
        let given = consumer.effects_of(&delivery, append.clone());
        assert_eq!(ids(&given), [of(0), Some(own), of(2)], "by their places");
        let keyed = consumer.effects_of(&delivery, append.idempotency_key("k"));
        assert_eq!(ids(&keyed), [None, Some(own), None], "the key makes them");
        assert_eq!(consumer.ack(&[delivery.token]).await.unwrap().done, 1);
    })
    .await;
}

/// It may consume, and may not append: no event is at fault.
#[tokio::test]
async fn who_may_append_nothing_ends_and_parks_nothing() {
    let node = Node::over(Engine::in_memory()).unwrap();
    let mut tokens = [Role::Admin, Role::Operator].into_iter().map(|role| {
        node.create_token(&Principal::local(), role.as_str(), role, None).unwrap().token
    });
    let (admin, operator) = (tokens.next().unwrap(), tokens.next().unwrap());
    drop(tokens);
    let server = Server::start(node, Options::new(Certificate::temporary().unwrap())).unwrap();
    let url = format!("nexus://{}?fingerprint={}", server.quic_address(), server.fingerprint());
    let address = url.parse::<Address>().unwrap();
    let client = Client::connect(address.clone().token(admin)).await.unwrap();
    client.set_group("mail", &of_counted()).await.unwrap();
    let last = append(&client, 0..3).await;
    let consumes = Client::connect(address.token(operator)).await.unwrap();
    let handler = async |delivery: Delivery| Ok::<_, Nack>(follows(&delivery));
    let error = consumes.consumer("mail", "a").run_with(handler).await.unwrap_err();
    assert!(matches!(error, AppendError::Denied { .. }), "{error}");
    // To arm a timer is no fault either.
    let due = Timestamp::from_micros(4_000_000_000_000_000);
    let arms = async |delivery: Delivery| {
        let event = EventData::json("Due", &1).unwrap();
        let timer = Timer { due_at: due, stream: "mails".to_owned(), event };
        Ok::<_, Nack>(follows(&delivery).stream("$timer-reminder").event(timer.armed()))
    };
    let error = consumes.consumer("mail", "a").run_with(arms).await.unwrap_err();
    assert!(matches!(error, AppendError::Denied { .. }), "{error}");
    let info = until(&client, "mail", |info| info.members.is_empty()).await;
    assert_eq!((info.parked, info.lag_events), (0, 3), "{info:?}");
    // Whoever may goes on with all of it.
    run_to_the_end(&client, handler).await;
    let info = client.group("mail").await.unwrap();
    assert!(is_done(&info, last) && info.parked == 0, "{info:?}");
    consumes.close().await.unwrap();
    client.close().await.unwrap();
    server.shut_down(Duration::from_secs(5)).await.unwrap();
}

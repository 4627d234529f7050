//! What consumers say, and what becomes of it; groups are made, steered, and deleted.

use std::time::Duration;

use nexus_client::{Client, connect};
use nexus_protocol::group::{
    Answered, DeliveryToken, Failure, GroupConfig, GroupStart, GroupState, Nack, NackAction,
    ParkedList, ParkedPick, Refused,
};
use nexus_protocol::limits::DELIVERIES_MAX;
use nexus_protocol::{Append, AppendError, EventData, EventStore, Position, Read};
use nexus_testing::executor::next;

use super::{Running, append, config, is_done, number_of, of_each, take, take_one};

fn why(answered: &Answered) -> Vec<Refused> {
    assert_eq!(answered.done, 0);
    answered.refused.iter().map(|refused| refused.why).collect()
}

/// Also where a group that was just opened has not come to that event again.
fn has_ended(why: Refused) -> bool {
    why == Refused::Expired
}

#[tokio::test]
async fn groups_are_made_seen_and_deleted() {
    of_each(async |client: Client| {
        assert!(client.set_group("mail", &config()).await.unwrap());
        let changed = GroupConfig { max_attempts: 7, ..config() };
        assert!(!client.set_group("mail", &changed).await.unwrap(), "it is changed");
        client.set_group("search", &config()).await.unwrap();
        assert_eq!(client.groups().await.unwrap(), ["mail", "search"]);
        append(&client, 0..3).await;
        let info = client.group("mail").await.unwrap();
        assert_eq!((info.name.as_str(), info.config.max_attempts), ("mail", 7));
        let (info, lanes) = client.group_lanes("mail").await.unwrap();
        assert!(info.members.is_empty() && lanes.len() <= 3);
        let fixed = GroupConfig { lanes: 3, ..config() };
        let error = client.set_group("mail", &fixed).await.unwrap_err();
        assert!(matches!(error, AppendError::Invalid(_)), "{error}");
        let error = client.set_group("no name", &config()).await.unwrap_err();
        assert!(matches!(error, AppendError::Invalid(_)), "{error}");
        client.delete_group("mail").await.unwrap();
        assert_eq!(client.groups().await.unwrap(), ["search"]);
        let consumer = client.consumer("mail", "a");
        for error in [
            client.group("mail").await.unwrap_err(),
            client.delete_group("mail").await.unwrap_err(),
            client.pause_group("mail", "").await.unwrap_err(),
            client.parked("mail", &ParkedList::default()).await.unwrap_err(),
            consumer.receive(1, super::SOON).await.unwrap_err(),
            consumer.ack(&[]).await.unwrap_err(),
        ] {
            assert!(matches!(error, AppendError::NotFound { .. }), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn deliveries_are_answered() {
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        let last = append(&client, 0..3).await;
        let (consumer, other) = (client.consumer("mail", "a"), client.consumer("mail", "b"));
        let taken = take(&consumer, 3).await;
        let mut numbers: Vec<_> = taken.iter().map(number_of).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2]);
        let [first, second, third] = [0, 1, 2].map(|at| taken[at].token);
        let info = client.group("mail").await.unwrap();
        assert_eq!((info.in_flight, info.members.len()), (3, 1));
        assert_eq!(consumer.ack(&[first]).await.unwrap().done, 1);
        assert_eq!(why(&consumer.ack(&[first]).await.unwrap()), [Refused::AlreadyAcked]);
        assert_eq!(why(&other.ack(&[second]).await.unwrap()), [Refused::OtherOwner]);
        let never = DeliveryToken { delivery: second.delivery + 1000, ..second };
        assert!(consumer.ack(&[never]).await.unwrap().done == 0);
        let longer = Duration::from_secs(600);
        assert_eq!(consumer.extend(&[second, third], longer).await.unwrap().done, 2);
        let again =
            Nack { action: NackAction::Retry(Some(Duration::ZERO)), failure: Failure::new("no") };
        assert_eq!(consumer.nack(&[second], again.clone()).await.unwrap().done, 1);
        let redelivered = take_one(&consumer).await;
        assert_eq!((redelivered.attempt, redelivered.token.position), (2, second.position));
        assert_eq!(why(&consumer.nack(&[second], again).await.unwrap()), [Refused::Expired]);
        let both = consumer.ack(&[redelivered.token, third]).await.unwrap();
        assert_eq!(both, Answered { done: 2, refused: Vec::new() });
        let info = client.group("mail").await.unwrap();
        assert!(is_done(&info, last) && info.parked == 0, "{info:?}");
        let error = consumer.ack(&vec![first; DELIVERIES_MAX + 1]).await.unwrap_err();
        assert!(matches!(error, AppendError::TooLarge(_)), "{error}");
        consumer.leave().await.unwrap();
        other.leave().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_parked_is_replayed_edited_or_skipped() {
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        append(&client, 0..1).await;
        let consumer = client.consumer("mail", "a");
        let list = ParkedList { limit: 10, ..ParkedList::default() };
        let failure =
            Failure { class: "smtp".into(), message: "refused".into(), chain: vec!["550".into()] };
        let park = || Nack::park(failure.clone());
        let taken = take_one(&consumer).await;
        assert_eq!(consumer.nack(&[taken.token], park()).await.unwrap().done, 1);
        let page = client.parked("mail", &list).await.unwrap();
        let entry = &page.entries[0];
        assert_eq!((page.entries.len(), page.next), (1, None));
        assert_eq!(entry.failure.as_ref(), Some(&failure));
        assert_eq!(entry.event, Some(("count-0".to_owned(), "Counted".to_owned())));
        let at = entry.position;
        // Again as it was.
        let pick = ParkedPick::Positions(vec![at]);
        assert_eq!(client.replay_parked("mail", pick).await.unwrap(), 1);
        let taken = take_one(&consumer).await;
        assert_eq!((number_of(&taken), taken.token.position), (0, at));
        consumer.nack(&[taken.token], park()).await.unwrap();
        // With other data.
        client.edit_parked("mail", at, "7".into()).await.unwrap();
        let taken = take_one(&consumer).await;
        assert_eq!((number_of(&taken), taken.event.stream()), (7, "count-0"));
        consumer.nack(&[taken.token], park()).await.unwrap();
        // Never again.
        assert_eq!(client.skip_parked("mail", ParkedPick::All).await.unwrap(), 1);
        assert!(client.parked("mail", &list).await.unwrap().entries.is_empty());
        assert_eq!(client.replay_parked("mail", ParkedPick::All).await.unwrap(), 0);
        let many = vec![Position::ZERO; DELIVERIES_MAX + 1];
        let error = client.skip_parked("mail", ParkedPick::Positions(many)).await.unwrap_err();
        assert!(matches!(error, AppendError::TooLarge(_)), "{error}");
        let error = client.edit_parked("mail", at, "8".into()).await.unwrap_err();
        assert!(matches!(error, AppendError::NotFound { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_rule_tries_again_and_gives_up_by_itself() {
    of_each(async |client: Client| {
        let rules = ["smtp: retry 1h, then skip", "*: retry 1ms, then skip"];
        let config = GroupConfig {
            max_attempts: 1,
            parked_rules: rules.map(|rule| rule.parse().unwrap()).into(),
            parked_rate: Some(1_000),
            ..config()
        };
        client.set_group("mail", &config).await.unwrap();
        let shown = client.group("mail").await.unwrap().config;
        let expected = (config.parked_rules.clone(), config.parked_rate);
        assert_eq!((shown.parked_rules, shown.parked_rate), expected);
        let last = append(&client, 0..2).await;
        let consumer = client.consumer("mail", "a");
        let failed = |class: &str| {
            Nack::retry(Failure { class: class.to_owned(), ..Failure::new("refused") })
        };
        let taken = take(&consumer, 2).await;
        consumer.nack(&[taken[0].token], failed("smtp")).await.unwrap();
        consumer.nack(&[taken[1].token], failed("")).await.unwrap();
        let again = take_one(&consumer).await;
        assert_eq!((again.token.position, again.attempt), (taken[1].token.position, 2));
        consumer.nack(&[again.token], failed("")).await.unwrap();
        let list = ParkedList { limit: 10, ..ParkedList::default() };
        let [entry] = &*client.parked("mail", &list).await.unwrap().entries else {
            panic!("the other one is given up")
        };
        assert!(entry.released && entry.rounds == 1 && entry.not_before > entry.last_failed);
        // Somebody cannot wait for an hour.
        let replayed = client.replay_parked_slowly("mail", ParkedPick::All, 1).await.unwrap();
        assert_eq!(replayed, 1);
        let hastened = take_one(&consumer).await;
        consumer.ack(&[hastened.token]).await.unwrap();
        assert!(is_done(&client.group("mail").await.unwrap(), last));
        let error = client.replay_parked_slowly("mail", ParkedPick::All, 0).await.unwrap_err();
        assert!(matches!(error, AppendError::Invalid(_)), "{error}");
        let twice = GroupConfig { parked_rules: vec![config.parked_rules[1].clone(); 2], ..config };
        let error = client.set_group("mail", &twice).await.unwrap_err();
        assert!(error.to_string().contains("is never used"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_group_is_paused_and_goes_on_elsewhere() {
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        client.pause_group("mail", "a bad release").await.unwrap();
        append(&client, 0..2).await;
        let info = client.group("mail").await.unwrap();
        let reason = info.pause.map(|pause| pause.reason);
        assert_eq!((info.state, reason.as_deref()), (GroupState::Paused, Some("a bad release")));
        let consumer = client.consumer("mail", "a");
        assert!(consumer.receive(2, Duration::from_millis(20)).await.unwrap().is_empty());
        client.resume_group("mail").await.unwrap();
        let taken = take(&consumer, 2).await;
        let tokens: Vec<_> = taken.iter().map(|it| it.token).collect();
        consumer.ack(&tokens).await.unwrap();
        let to = client.seek_group("mail", GroupStart::Beginning).await.unwrap();
        assert_eq!(to, Position::ZERO);
        let again = take(&consumer, 2).await;
        assert_eq!(again.len(), 2);
        let ahead = GroupStart::Position(Position::MAX);
        let error = client.seek_group("mail", ahead).await.unwrap_err();
        assert!(matches!(error, AppendError::Invalid(_)), "{error}");
        // A consumer stops all of them.
        let stop = Nack::stop(Failure::new("the schema is not known"));
        consumer.nack(&[again[0].token], stop).await.unwrap();
        let info = client.group("mail").await.unwrap();
        assert_eq!(info.state, GroupState::Paused);
    })
    .await;
}

#[tokio::test]
async fn an_append_that_comes_with_answers_happens_once() {
    of_each(async |client: Client| {
        client.set_group("mail", &config()).await.unwrap();
        append(&client, 0..1).await;
        let consumer = client.consumer("mail", "a");
        let token = take_one(&consumer).await.token;
        let sent = || EventData::json("MailSent", &1).unwrap();
        let conflict = Append::to("count-0").no_stream().event(sent());
        let error = consumer.ack_with(&[token], conflict).await.unwrap_err();
        assert!(matches!(error, AppendError::Conflict(_)), "{error}");
        let append = || Append::to("mail-0").event(sent());
        let (answered, appended) = consumer.ack_with(&[token], append()).await.unwrap();
        assert_eq!((answered.done, appended.is_some()), (1, true));
        let (answered, appended) = consumer.ack_with(&[token], append()).await.unwrap();
        assert_eq!((why(&answered), appended), (vec![Refused::AlreadyAcked], None));
        let mut mails = client.read(Read::stream("mail-0"));
        assert!(next(&mut mails).await.unwrap().is_ok());
        assert!(next(&mut mails).await.is_none(), "it was appended once");
        let system = Append::to("$group-mail").event(sent());
        let error = consumer.ack_with(&[token], system).await.unwrap_err();
        assert!(matches!(error, AppendError::Denied { .. }), "{error}");
        let info = client.stream_info("mail-0").await.unwrap();
        assert!(info.last_position.is_some());
    })
    .await;
}

#[tokio::test]
async fn who_comes_after_a_restart_knows_none_of_the_deliveries_before() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::in_directory(dir.path());
    let client = running.client().await;
    client.set_group("mail", &config()).await.unwrap();
    append(&client, 0..2).await;
    let consumer = client.consumer("mail", "a");
    let taken = take(&consumer, 2).await;
    consumer.ack(&[taken[0].token]).await.unwrap();
    let running = running.restart(dir.path()).await;
    let said = consumer.ack(&[taken[0].token, taken[1].token]).await.unwrap();
    let said = why(&said);
    assert!(said[0] == Refused::AlreadyAcked && has_ended(said[1]), "{said:?}");
    let again = take_one(&consumer).await;
    assert_eq!(number_of(&again), number_of(&taken[1]));
    assert_eq!(consumer.ack(&[again.token]).await.unwrap().done, 1);
    client.close().await.unwrap();
    running.end().await;
    // The same of a store in this process.
    let url = format!("file://{}", dir.path().display());
    let client = connect(&url).await.unwrap();
    append(&client, 2..3).await;
    let consumer = client.consumer("mail", "a");
    let token = take_one(&consumer).await.token;
    drop(consumer);
    client.close().await.unwrap();
    drop(client);
    let client = connect(&url).await.unwrap();
    let consumer = client.consumer("mail", "a");
    assert!(has_ended(why(&consumer.ack(&[token]).await.unwrap())[0]));
    assert_eq!(number_of(&take_one(&consumer).await), 2);
    drop(consumer);
    client.close().await.unwrap();
}

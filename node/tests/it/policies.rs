//! Policies decide: at every handler, before anything is done, and from one moment to the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nexus_node::{Access, Engine, Node, Principal, PrincipalKind, Role};
use nexus_protocol::group::{GroupConfig, GroupStart};
use nexus_protocol::policy::{DECISION_MADE, DECISIONS_STREAM, Denial};
use nexus_protocol::timer::{TIMER_PREFIX, Timer};
use nexus_protocol::{
    Append, AppendError, AsOf, EventData, Filter, FilterItem, FoldIdentity, Position, Read,
    ReadError, RecordedEvent, Revision, SnapshotAt, Subscribe, SubscriptionItem, Timestamp,
};
use nexus_testing::executor::block_on;
use serde_json::{Value, json};

/// A clerk sees one group, without names, and appends nothing; others do what they like.
const CLERKS: &str = r#"
package clerks
is_clerk if input.subject.id == "clerk"
sees := {"allow": true, "obligations": {"tags_all": ["group:2"], "mask": ["/applicant/name"]}} if is_clerk
sees := {"allow": true} if not is_clerk
"#;

fn rule(action: &str, text: &str) -> (String, String) {
    (
        format!("nexus/{action}.rego"),
        format!("package nexus.{action}\nimport data.clerks\n{text}\n"),
    )
}

/// A bundle with these rules, and with those of clerks for all that shows events.
fn bundle(rules: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([("clerks.rego".to_owned(), CLERKS.to_owned())]);
    for action in ["read", "subscribe", "group", "as_of"] {
        files.extend([rule(action, "decision := clerks.sees")]);
    }
    files.extend([rule("append", "decision := {\"allow\": true} if not clerks.is_clerk")]);
    files.extend(rules.iter().map(|(action, text)| rule(action, text)));
    files
}

fn somebody(id: &str) -> Principal {
    Principal::new(id, PrincipalKind::Token, vec![Role::Admin])
}

fn access(node: &Node, id: &str) -> Access {
    node.access(somebody(id), "default").unwrap()
}

fn local(node: &Node) -> Access {
    node.access(Principal::local(), "default").unwrap()
}

fn permit(number: u64, group: u64) -> EventData {
    let data = json!({ "number": number, "applicant": { "name": "Ada" }, "fee": 1.50 });
    EventData::json("PermitFiled", &data).unwrap().tag(format!("group:{group}"))
}

/// A node with six permits, of which every third is of the second group, and with a bundle.
fn node(files: BTreeMap<String, String>) -> Node {
    let node = Node::over(Engine::in_memory()).unwrap();
    let here = local(&node);
    for number in 0..6 {
        let append = Append::to(format!("permit-{number}")).event(permit(number, number % 3));
        here.append(append).unwrap().wait().unwrap();
    }
    here.activate_policies(files, false).unwrap();
    node
}

fn numbers(events: impl IntoIterator<Item = RecordedEvent>) -> Vec<u64> {
    let data = events.into_iter().map(|it| it.json::<Value>().unwrap());
    data.map(|data| data["number"].as_u64().unwrap()).collect()
}

fn read(access: &Access, read: Read) -> Vec<RecordedEvent> {
    access.read(read).unwrap().into_iter().map(Result::unwrap).collect()
}

fn denial(error: AppendError) -> Denial {
    let AppendError::Denied { denial: Some(denial), .. } = error else { panic!("{error:?}") };
    *denial
}

fn decisions(node: &Node) -> Vec<Value> {
    // What was put on record before is there once this is.
    let append = Append::to("last").event(permit(0, 0));
    local(node).append(append).unwrap().wait().unwrap();
    let events = read(&local(node), Read::stream(DECISIONS_STREAM));
    let made = events.iter().filter(|it| it.event_type() == DECISION_MADE);
    made.map(|it| it.json().unwrap()).collect()
}

#[test]
fn a_clerk_sees_some_events_by_every_handler_that_shows_any() {
    let node = node(bundle(&[]));
    let (clerk, other) = (access(&node, "clerk"), access(&node, "other"));
    assert_eq!(numbers(read(&other, Read::all())), [0, 1, 2, 3, 4, 5]);
    let seen = read(&clerk, Read::all());
    assert_eq!(seen[0].data(), br#"{"applicant":{"name":null},"fee":1.5,"number":2}"#);
    assert_eq!(numbers(seen), [2, 5]);
    assert_eq!(numbers(read(&clerk, Read::all().backwards().limit(1))), [5]);
    assert_eq!(numbers(read(&clerk, Read::stream("permit-1"))), [0_u64; 0]);
    assert_eq!(numbers(read(&clerk, Read::all().filter(Filter::tag("group:1")))), [0_u64; 0]);
    let before = Read::all().as_of(AsOf::Position(Position::new(3)));
    assert_eq!(numbers(read(&clerk, before)), [2]);
    let ids: Vec<_> = read(&other, Read::all()).iter().map(RecordedEvent::id).collect();
    assert_eq!(clerk.event_by_id(ids[1]).unwrap(), None);
    let found = clerk.event_by_id(ids[2]).unwrap().unwrap();
    assert!(found.json::<Value>().unwrap()["applicant"]["name"].is_null());
    let at = clerk.events_at(&[Position::new(1), Position::new(2)]).unwrap();
    assert_eq!(numbers(at.events), [2]);
    let mut subscription = clerk.subscribe(Subscribe::all()).unwrap();
    let mut came = Vec::new();
    while let Some(item) = subscription.try_next() {
        if let SubscriptionItem::Event(event) = item.unwrap() {
            assert!(event.json::<Value>().unwrap()["applicant"]["name"].is_null());
            came.push(event);
        }
    }
    assert_eq!(numbers(came), [2, 5]);
    // What holds the state of all of a stream cannot be looked at in part.
    let fold = FoldIdentity::default();
    let load = clerk.load_snapshot("permit-2", SnapshotAt::Latest, fold).unwrap_err();
    assert!(matches!(load, ReadError::Denied { .. }), "no rule is there for it");
}

#[test]
fn a_clerk_joins_groups_alone_that_deliver_what_they_see() {
    let node = node(bundle(&[]));
    let here = local(&node);
    let config =
        |filter| GroupConfig { filter, start: GroupStart::Beginning, ..GroupConfig::default() };
    let second = FilterItem { tags: vec!["group:2".to_owned()], ..FilterItem::default() };
    here.set_group("all", &config(Filter::all())).unwrap();
    here.set_group("second", &config(Filter::any([second]))).unwrap();
    let clerk = access(&node, "clerk");
    let receive = |group: &str| {
        block_on(clerk.receive(group, "c", 10, Duration::from_secs(20))).map(|it| it.deliveries())
    };
    let refused = receive("all").unwrap_err();
    let AppendError::Denied { reason, .. } = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("\"all\" delivers what you may not see"), "{reason}");
    let deliveries = receive("second").unwrap().unwrap();
    let events: Vec<_> = deliveries.iter().map(|it| it.event.clone()).collect();
    assert!(events.iter().all(|it| it.json::<Value>().unwrap()["applicant"]["name"].is_null()));
    let tokens = deliveries.iter().map(|it| it.token).collect();
    assert_eq!(block_on(clerk.ack("second", Some("c"), tokens)).unwrap().refused.len(), 0);
    assert!(!events.is_empty());
}

#[test]
fn who_is_denied_is_told_by_which_decision_and_it_is_on_record() {
    let text = r#"default decision := {"allow": false, "reasons": [{"code": "not_yours", "msg": "ask another"}]}
decision := {"allow": true} if input.subject.id == "other""#;
    let node = node(bundle(&[("append", text)]));
    let refused = access(&node, "clerk").append(Append::to("a").event(permit(9, 2))).unwrap_err();
    assert!(refused.to_string().contains("ask another"), "{refused}");
    let denial = denial(refused);
    assert_eq!(denial.policy_revision, Some(Revision::ZERO));
    assert_eq!((&*denial.reasons[0].code, &*denial.reasons[0].msg), ("not_yours", "ask another"));
    let on_record = decisions(&node);
    let found = on_record.iter().find(|it| it["decision_id"] == json!(denial.decision_id)).unwrap();
    assert_eq!((&found["action"], &found["allow"]), (&json!("append"), &json!(false)));
    assert_eq!(found["who"]["id"], json!("clerk"));
    assert_eq!(found["input"]["subject"]["id"], json!("clerk"));
    // The bundle has no rule for it.
    let schemas = access(&node, "other").subjects(None, 10).unwrap_err();
    assert!(schemas.to_string().contains("data.nexus.schema.decision"), "{schemas}");
    // This process itself is asked nothing, so that somebody can mend what is wrong.
    local(&node).append(Append::to("a").event(permit(9, 2))).unwrap().wait().unwrap();
}

#[test]
fn events_are_looked_into_before_they_are_appended() {
    let text = r#"default decision := {"allow": false, "reasons": [{"code": "over_limit"}]}
decision := {"allow": true, "obligations": {"types_any": ["PermitFiled"]}} if {
  every event in input.events { is_number(event.data.fee); event.data.fee < 10 }
}"#;
    let node = node(bundle(&[("append", text)]));
    let other = access(&node, "other");
    other.may_append().unwrap();
    let try_one = |event: EventData| match other.append(Append::to("a").event(event)) {
        Ok(pending) => pending.wait().map(|_| "done".to_owned()).unwrap(),
        Err(error) => denial(error).reasons[0].code.clone(),
    };
    assert_eq!(try_one(permit(7, 1)), "done");
    let with =
        |kind: &str, data: &str| EventData::new(kind, "application/json", data.to_owned().into());
    assert_eq!(try_one(with("PermitFiled", r#"{"fee": 10}"#)), "over_limit");
    assert_eq!(try_one(with("PermitFiled", r#"{"fee": "1"}"#)), "over_limit");
    assert_eq!(try_one(with("PermitFiled", r#"{"fee": 1"#)), "unreadable_event");
    assert_eq!(try_one(with("PermitSold", r#"{"fee": 1}"#)), "event_not_covered");
    let text = EventData::new("PermitFiled", "text/plain", r#"{"fee": 10}"#.into());
    assert_eq!(try_one(text), "over_limit", "whatever it calls itself");
}

#[test]
fn a_change_counts_at_once_also_in_what_goes_on() {
    let node = node(bundle(&[]));
    let other = access(&node, "other");
    let mut subscription = other.subscribe(Subscribe::all()).unwrap();
    while let Some(item) = subscription.try_next() {
        item.unwrap();
    }
    let here = local(&node);
    // What decides the same goes on.
    let same = bundle(&[("watch", "decision := {\"allow\": false}")]);
    here.activate_policies(same, false).unwrap();
    while let Some(item) = subscription.try_next() {
        item.unwrap();
    }
    let narrower = r#"decision := {"allow": true, "obligations": {"tags_all": ["group:1"]}}"#;
    here.activate_policies(bundle(&[("subscribe", narrower)]), false).unwrap();
    let ended = subscription.next_blocking(Some(Duration::from_secs(20))).unwrap().unwrap_err();
    assert!(
        matches!(&ended, ReadError::Unavailable { reason } if reason.contains("subscribe again")),
        "{ended}"
    );
    let mut subscription = other.subscribe(Subscribe::all()).unwrap();
    let none = r#"decision := {"allow": false, "reasons": [{"code": "closed"}]}"#;
    here.activate_policies(bundle(&[("subscribe", none)]), false).unwrap();
    let ended = loop {
        match subscription.next_blocking(Some(Duration::from_secs(20))).unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(&ended, ReadError::Denied { denial: Some(_), .. }), "{ended}");
    assert!(matches!(other.subscribe(Subscribe::all()), Err(ReadError::Denied { .. })));
    let again = subscription.try_next().unwrap().unwrap_err();
    assert_eq!(again, ended, "and it stays so");
}

#[test]
fn bundles_are_rolled_back_and_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let no = |action| (action, "decision := {\"allow\": false}");
    {
        let node = Node::open(dir.path()).unwrap();
        let here = local(&node);
        let nothing = here.rollback_policies(None).unwrap_err();
        assert!(nothing.to_string().contains("nothing to roll back"), "{nothing}");
        assert_eq!(here.activate_policies(bundle(&[]), false).unwrap(), Revision::new(0));
        assert_eq!(here.activate_policies(bundle(&[no("read")]), false).unwrap(), Revision::new(1));
        assert!(access(&node, "other").read(Read::all()).is_err());
        let broken =
            BTreeMap::from([("a.rego".to_owned(), "package nexus.read\ndecision := {".to_owned())]);
        assert!(matches!(here.activate_policies(broken, false), Err(AppendError::Invalid(_))));
        node.close().unwrap();
    }
    let node = Node::open(dir.path()).unwrap();
    let (here, other) = (local(&node), access(&node, "other"));
    assert!(other.read(Read::all()).is_err(), "the newest decides");
    here.rollback_policies(None).unwrap();
    assert!(other.read(Read::all()).is_ok(), "the one before decides");
    let info = here.policies().unwrap();
    assert_eq!(info.active.as_ref().unwrap().revision, 2);
    let what: Vec<_> = info.changes.iter().map(|it| &*it.what).collect();
    assert_eq!(what, ["activated", "activated", "rolled_back"]);
    assert_eq!(info.changes[2].fingerprint, info.changes[0].fingerprint);
    here.rollback_policies(Some(Revision::new(1))).unwrap();
    assert!(other.read(Read::all()).is_err(), "the one that was named decides");
    assert!(matches!(
        here.rollback_policies(Some(Revision::new(2))),
        Err(AppendError::NotFound { .. })
    ));
    assert!(matches!(
        here.rollback_policies(Some(Revision::new(9))),
        Err(AppendError::NotFound { .. })
    ));
    here.rollback_policies(None).unwrap();
    here.rollback_policies(None).unwrap();
    assert_eq!(here.policies().unwrap().active, None, "roles decide");
    assert!(other.read(Read::all()).is_ok());
    node.close().unwrap();
}

#[test]
fn a_shadow_decides_nothing_and_what_it_would_is_on_record() {
    let node = node(bundle(&[]));
    let (here, other) = (local(&node), access(&node, "other"));
    let no = bundle(&[(
        "read",
        "decision := {\"allow\": false, \"reasons\": [{\"code\": \"closed\"}]}",
    )]);
    let revision = here.activate_policies(no, true).unwrap();
    read(&other, Read::all());
    let on_record = decisions(&node);
    let last = on_record.last().unwrap();
    assert_eq!((&last["allow"], &last["shadow"]["allow"]), (&json!(true), &json!(false)));
    assert_eq!(last["shadow"]["policy_revision"], json!(revision));
    assert_eq!(here.policies().unwrap().shadow.unwrap().revision, revision.get());
    here.activate_policies(bundle(&[]), false).unwrap();
    assert_eq!(here.policies().unwrap().shadow, None, "it ends with the next that decides");
}

#[test]
fn who_breaks_the_glass_is_let_through_and_on_record() {
    let node = node(bundle(&[("read", "decision := {\"allow\": false}")]));
    let mut glass = somebody("night watch");
    glass.roles = vec![Role::BreakGlass];
    let glass = node.access(glass, "default").unwrap();
    assert_eq!(read(&glass, Read::all()).len(), 6);
    glass.rollback_policies(None).unwrap();
    assert_eq!(read(&access(&node, "other"), Read::all()).len(), 6);
    let broke: Vec<_> =
        decisions(&node).into_iter().filter(|it| it["break_glass"] == json!(true)).collect();
    let operations: Vec<_> = broke.iter().map(|it| it["operation"].clone()).collect();
    assert_eq!(operations, [json!("read"), json!("rollback_policies")]);
    assert_eq!(
        (&broke[0]["allow"], &broke[0]["who"]["id"]),
        (&json!(false), &json!("night watch"))
    );
}

#[test]
fn each_read_of_an_earlier_time_is_on_record_before_it_begins() {
    let node = node(bundle(&[]));
    read(&access(&node, "other"), Read::all().as_of(AsOf::Position(Position::new(2))));
    let on_record = decisions(&node);
    let last = on_record.last().unwrap();
    assert_eq!((&last["action"], &last["as_of"]), (&json!("as_of"), &json!("position:2")));
    assert_eq!((&last["who"]["id"], &last["allow"]), (&json!("other"), &json!(true)));
    assert!(last["decision_id"].is_string());
}

#[test]
fn secrets_and_what_is_masked_are_on_no_record() {
    let text = r#"decision := {"allow": true, "obligations": {"mask": ["/applicant/name"], "log": true}} if {
  count(input.events) > 0
}"#;
    let node = node(bundle(&[("append", text)]));
    let mut principal = somebody("other");
    principal.claims.insert("access_token".to_owned(), json!("abc"));
    principal.claims.insert("office".to_owned(), json!("north"));
    let access = node.access(principal, "default").unwrap();
    access.append(Append::to("a").event(permit(9, 1))).unwrap().wait().unwrap();
    let on_record = decisions(&node);
    let input = &on_record.last().unwrap()["input"];
    assert_eq!(input["subject"]["claims"], json!({ "access_token": "***", "office": "north" }));
    assert_eq!(
        input["events"][0]["data"],
        json!({ "applicant": { "name": null }, "fee": 1.5, "number": 9 })
    );
}

#[test]
fn bundles_change_while_others_append_and_no_answer_is_of_neither() {
    let node = node(bundle(&[]));
    let ends = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|number| {
            let (access, ends) = (access(&node, "other"), Arc::clone(&ends));
            std::thread::spawn(move || {
                let (mut done, mut denied) = (0_u64, 0_u64);
                while !ends.load(Ordering::Relaxed) || done == 0 || denied == 0 {
                    let append = Append::to(format!("w-{number}")).event(permit(done, 1));
                    match access.append(append).map(|pending| pending.wait()) {
                        Ok(answer) => drop(answer.unwrap()),
                        Err(error) => {
                            assert!(denial(error).policy_revision.is_some());
                            denied += 1;
                            continue;
                        }
                    }
                    done += 1;
                }
                (done, denied)
            })
        })
        .collect();
    let here = local(&node);
    for _ in 0..20 {
        let no = bundle(&[("append", "decision := {\"allow\": false}")]);
        here.activate_policies(no, false).unwrap();
        here.activate_policies(bundle(&[]), false).unwrap();
    }
    // Each of both is seen by every writer, however the threads run.
    while !writers.iter().all(std::thread::JoinHandle::is_finished) {
        ends.store(true, Ordering::Relaxed);
        let no = bundle(&[("append", "decision := {\"allow\": false}")]);
        here.activate_policies(no, false).unwrap();
        here.activate_policies(bundle(&[]), false).unwrap();
    }
    let (mut done, mut denied) = (0, 0);
    for writer in writers {
        let (of_one, refused) = writer.join().unwrap();
        (done, denied) = (done + of_one, denied + refused);
    }
    println!("count: appends_under_change {done}");
    println!("count: denials_under_change {denied}");
    let there = read(&here, Read::all().filter(Filter::category("w"))).len() as u64;
    assert_eq!(there, done, "what was answered is there, and nothing else");
}

#[test]
fn the_streams_of_the_system_are_asked_for_by_whichever_way_leads_there() {
    let plain = r#"decision := {"allow": true, "obligations": {"mask": ["/a"]}} if not input.resource.system"#;
    let node = node(bundle(&[("read", plain), ("group", plain)]));
    let other = access(&node, "other");
    let here = local(&node);
    let all = read(&here, Read { system: true, ..Read::all() });
    let hidden = all.iter().find(|it| it.is_system()).unwrap();
    assert_eq!(other.event_by_id(hidden.id()).unwrap(), None);
    assert!(other.events_at(&[hidden.position()]).unwrap().events.is_empty());
    assert!(other.event_by_id(all[0].id()).unwrap().is_some());
    assert!(other.read(Read { system: true, ..Read::all() }).is_err());
    assert!(other.read(Read::stream(DECISIONS_STREAM)).is_err());
    let system = FilterItem { streams: vec![DECISIONS_STREAM.to_owned()], ..FilterItem::default() };
    let filter = Filter::any([system]);
    here.set_group("hidden", &GroupConfig { filter, ..GroupConfig::default() }).unwrap();
    let received = block_on(other.receive("hidden", "c", 10, Duration::ZERO));
    assert!(matches!(received, Err(AppendError::Denied { .. })), "{received:?}");
}

#[test]
fn a_timer_appends_nothing_that_who_armed_it_may_not() {
    let small = r#"decision := {"allow": true} if { every event in input.events { object.get(event, ["data", "fee"], 0) < 10 } }"#;
    let allow = r#"decision := {"allow": true}"#;
    let node = node(bundle(&[("append", small), ("timer", allow)]));
    let other = access(&node, "other");
    let due = Timestamp::from_micros(4_000_000_000_000_000);
    let armed = |fee: u64| {
        let event = EventData::json("PermitFiled", &json!({ "fee": fee })).unwrap();
        let timer = Timer { due_at: due, stream: "a".to_owned(), event };
        let stream = format!("{TIMER_PREFIX}t-{fee}");
        other
            .append(Append::to(stream).event(timer.armed()))
            .map(|pending| drop(pending.wait().unwrap()))
    };
    armed(1).unwrap();
    assert!(matches!(armed(50), Err(AppendError::Denied { .. })));
    local(&node).activate_policies(bundle(&[("append", small)]), false).unwrap();
    assert!(matches!(armed(2), Err(AppendError::Denied { .. })), "no rule is there for timers");
    // Nor is one for snapshots, whichever way they are kept.
    let forged = EventData::json("$SnapshotTaken", &1).unwrap();
    let forged = other.append(Append::to("$snapshot-a").event(forged)).map(|_| ());
    assert!(matches!(forged, Err(AppendError::Denied { .. })));
}

#[test]
fn what_is_masked_stays_so_where_an_append_is_denied_for_its_tags() {
    let text = r#"decision := {"allow": true, "obligations": {"tags_all": ["group:2"], "mask": ["/applicant/name"]}} if {
  count(input.events) > 0
}"#;
    let node = node(bundle(&[("append", text)]));
    let refused = access(&node, "other").append(Append::to("a").event(permit(9, 1))).unwrap_err();
    assert_eq!(denial(refused).reasons[0].code, "event_not_covered");
    let on_record = decisions(&node).to_owned();
    let last = &on_record.last().unwrap()["input"]["events"][0]["data"];
    assert_eq!(*last, json!({ "applicant": { "name": null }, "fee": 1.5, "number": 9 }));
}

#[test]
fn a_shadow_was_never_activated_and_is_not_rolled_back_to() {
    let node = node(bundle(&[]));
    let here = local(&node);
    let shadow = here.activate_policies(bundle(&[("watch", "decision := 1")]), true).unwrap();
    let refused = here.rollback_policies(Some(shadow)).unwrap_err();
    assert!(matches!(refused, AppendError::NotFound { .. }), "{refused}");
    assert_eq!(here.policies().unwrap().active.unwrap().revision, 0);
}

#[test]
fn a_snapshot_of_an_earlier_time_is_on_record_and_the_newest_is_not() {
    let node = node(bundle(&[("snapshot", "decision := {\"allow\": true}")]));
    let other = access(&node, "other");
    let load = |at| other.load_snapshot("permit-2", at, FoldIdentity::default()).unwrap();
    load(SnapshotAt::Latest);
    assert_eq!(decisions(&node), [Value::Null; 0]);
    load(SnapshotAt::Position(Position::new(2)));
    assert_eq!(decisions(&node)[0]["as_of"], json!("position:2"));
}

//! Data directories of released versions with all that a node keeps in a log: groups, what they have parked, routes,
//! timers, tokens, the audit, schemas, and policies. Every later version shows the same of them, and goes on.
//!
//! With `NEXUS_GOLDEN_WRITE=1` the test keeps one of the version at hand, once, at its release. What is in it is kept as a
//! JSON value a line; a later version may say more of each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nexus_node::{Access, Engine, Node, Principal, PrincipalKind, Role};
use nexus_protocol::group::{
    Delivery, DeliveryToken, Failure, GroupConfig, GroupMode, Nack, ParkedList, ParkedPick,
};
use nexus_protocol::json::{
    GroupInfoJson, ParkedEntryJson, RouteInfoJson, SubjectInfoJson, TimerJson,
};
use nexus_protocol::route::{Condition, Operator, RouteConfig, RouteTarget};
use nexus_protocol::schema::{AsSchema, NewSchema, SchemaFormat};
use nexus_protocol::timer::{Timer, TimerList, TimerState};
use nexus_protocol::{Append, AppendError, EventData, Filter, Read, ReadError, Timestamp};
use nexus_testing::executor::block_on;
use nexus_testing::golden;
use serde_json::{Value, json};

/// Longer than anything takes that is waited for.
const SOON: Duration = Duration::from_secs(30);
/// In seventy years.
const FAR: Timestamp = Timestamp::from_micros(4_000_000_000_000_000);
/// The groups that deliver, and one consumer's own.
const GROUPS: [&str; 4] = ["caches@host-1", "links", "mail", "pool"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn open(dir: &Path) -> (Node, Access) {
    let node = Node::over(Engine::open(dir).unwrap()).unwrap();
    let access = node.access(Principal::local(), "default").unwrap();
    (node, access)
}

fn append(access: &Access, stream: &str, event: EventData) {
    access.append(Append::to(stream).event(event)).unwrap().wait().unwrap();
}

fn placed(number: u64) -> EventData {
    EventData::json("Placed", &json!({ "n": number })).unwrap()
}

fn schema(properties: &Value) -> NewSchema {
    let schema = json!({ "type": "object", "properties": properties });
    NewSchema::new(SchemaFormat::Json, schema.to_string())
}

fn stranger(node: &Node) -> Access {
    let stranger = Principal::new("stranger", PrincipalKind::Token, vec![Role::Admin]);
    node.access(stranger, "default").unwrap()
}

/// Makes what governs, and something that is governed by it.
fn govern(node: &Node, access: &Access) {
    let number = json!({ "type": "integer" });
    access.register_schema("Placed", &schema(&json!({ "n": number, "edited": {} }))).unwrap();
    access.register_schema("Moved", &schema(&json!({ "from": number }))).unwrap();
    append(access, "moves", EventData::json("Moved", &json!({ "from": 7 })).unwrap());
    let renamed = r#"[{"op": "rename", "path": "/from", "to": "to"}]"#.to_owned();
    let second = NewSchema { up: renamed, ..schema(&json!({ "to": number })) };
    access.register_schema("Moved", &second).unwrap();
    let bundle = |code: &str| {
        let rule = format!(
            "package nexus.read\ndecision := {{\"allow\": false, \"reasons\": [{{\"code\": \"{code}\"}}]}}"
        );
        [("read.rego".to_owned(), rule)].into()
    };
    access.activate_policies(bundle("kept"), false).unwrap();
    access.activate_policies(bundle("given_up"), false).unwrap();
    access.rollback_policies(None).unwrap();
    access.activate_policies(bundle("looks_on"), true).unwrap();
    stranger(node).head().unwrap_err();
}

/// What governed goes on to do so.
fn goes_on_to_govern(node: &Node, access: &Access) {
    let bad = EventData::json("Placed", &json!({ "n": "many" })).unwrap();
    let refused = access.append(Append::to("order-1").event(bad)).map(|_| ()).unwrap_err();
    assert!(matches!(refused, AppendError::SchemaInvalid(_)), "{refused}");
    let read = Read::stream("moves").as_schema(AsSchema::Latest);
    let moved: Vec<_> = access.read(read).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(moved[0].json::<Value>().unwrap(), json!({ "to": 7 }));
    let ReadError::Denied { denial: Some(denial), .. } = stranger(node).head().unwrap_err() else {
        panic!("what was activated decides")
    };
    assert_eq!(denial.reasons[0].code, "kept");
    access.rollback_policies(None).unwrap();
    stranger(node).head().unwrap();
}

/// So many deliveries.
fn take(access: &Access, group: &str, consumer: &str, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let more = block_on(access.receive(group, consumer, count - all.len(), SOON)).unwrap();
        let more = more.deliveries().unwrap();
        assert!(!more.is_empty(), "{group}: {} of {count} came", all.len());
        all.extend(more);
    }
    all
}

fn ack(access: &Access, group: &str, consumer: &str, deliveries: &[Delivery]) {
    let answered = block_on(access.ack(group, Some(consumer), tokens(deliveries))).unwrap();
    assert_eq!(answered.done, deliveries.len() as u64, "{answered:?}");
}

fn tokens(deliveries: &[Delivery]) -> Vec<DeliveryToken> {
    deliveries.iter().map(|it| it.token).collect()
}

fn park(access: &Access, deliveries: &[Delivery], class: &str) {
    let chain = vec!["the pool is empty".to_owned()];
    let failure = Failure { class: class.to_owned(), chain, ..Failure::new("no connection") };
    block_on(access.nack("mail", Some("a"), tokens(deliveries), Nack::park(failure))).unwrap();
}

/// Makes all that a node keeps.
fn fill(node: &Node, access: &Access) {
    node.create_token(&Principal::local(), "ci", Role::Writer, None).unwrap();
    govern(node, access);
    let orders = GroupConfig { filter: Filter::category("order"), ..GroupConfig::default() };
    let rules = ["db: retry 1m, then alert", "gone: skip"].map(|rule| rule.parse().unwrap());
    let mail = GroupConfig { lanes: 16, parked_rules: rules.into(), ..orders.clone() };
    access.set_group("mail", &mail).unwrap();
    let broadcast = GroupConfig { mode: GroupMode::Broadcast, ..orders.clone() };
    access.set_group("caches", &broadcast).unwrap();
    let unordered = GroupConfig { mode: GroupMode::Unordered, ..GroupConfig::default() };
    access.set_group("pool", &GroupConfig { only_routes: true, ..unordered.clone() }).unwrap();
    access
        .set_group("links", &GroupConfig { filter: Filter::category("big"), ..unordered })
        .unwrap();
    let route = |to| RouteConfig {
        filter: Filter::category("order"),
        conditions: vec![Condition::new("/data/n", Operator::Ge, json!(10)).unwrap()],
        to,
        start: nexus_protocol::group::GroupStart::Beginning,
    };
    access.set_route("big", &route(RouteTarget::Stream("big".to_owned()))).unwrap();
    let from_now = nexus_protocol::group::GroupStart::End;
    let to_pool = route(RouteTarget::Group("pool".to_owned()));
    access.set_route("pooled", &RouteConfig { start: from_now, ..to_pool }).unwrap();
    for number in 0..20 {
        append(access, &format!("order-{}", number % 5), placed(number));
    }
    append(access, "order-9", placed(99).not_before(FAR));
    let timer = |due_at, stream: &str| {
        let event = EventData::json("Due", &json!({ "n": 1 })).unwrap();
        Timer { due_at, stream: stream.to_owned(), event }
    };
    access.set_timer("far", &timer(FAR, "order-1")).unwrap();
    access.set_timer("off", &timer(FAR, "order-2")).unwrap();
    access.disarm_timer("off").unwrap();
    access.set_timer("fired", &timer(Timestamp::from_micros(1), "big-0")).unwrap();
    // Five streams in order, each held back by its first event that fails.
    let given = take(access, "mail", "a", 5);
    park(access, &given[..1], "db");
    park(access, &given[1..2], "bad");
    park(access, &given[2..3], "gone");
    ack(access, "mail", "a", &given[3..4]);
    let edited = access.parked("mail", &ParkedList { limit: 10, ..ParkedList::default() }).unwrap();
    let edited = edited.entries.iter().find(|it| !it.released).unwrap().position;
    let failed = given.iter().find(|it| it.token.position == edited).unwrap();
    let mut data = failed.event.json::<Value>().unwrap();
    data["edited"] = json!(true);
    access.edit_parked("mail", edited, data.to_string().into_bytes().into()).unwrap();
    let again = take(access, "mail", "a", 1);
    park(access, &again, "bad");
    ack(access, "caches", "host-1", &take(access, "caches", "host-1", 3));
    // Ten links, and what the timer appended.
    ack(access, "links", "a", &take(access, "links", "a", 11));
    ack(access, "pool", "a", &take(access, "pool", "a", 4));
    for (group, consumer) in [("mail", "a"), ("caches", "host-1"), ("links", "a"), ("pool", "a")] {
        block_on(access.leave(group, consumer, false)).unwrap();
    }
    access.pause_group("pool", "the database is away").unwrap();
}

/// What is kept of the answer to a question: nothing that depends on when it is asked.
fn lasting(mut answer: Value) -> Value {
    let asked = [
        "lag_seconds",
        "lag_events",
        "head_position",
        "delivered",
        "redelivered",
        "ready",
        "oldest_unacked_ms",
    ];
    if let Value::Object(fields) = &mut answer {
        fields.retain(|name, _| !asked.contains(&name.as_str()));
    }
    answer
}

/// All that a node keeps, as it is shown.
fn describe(node: &Node, access: &Access) -> Vec<Value> {
    let mut all = vec![json!({ "groups": access.groups().unwrap() })];
    let list = ParkedList { limit: 100, ..ParkedList::default() };
    for group in GROUPS {
        let info = access.group(group).unwrap();
        all.push(serde_json::to_value(GroupInfoJson::from(&info)).unwrap());
        let parked = access.parked(group, &list).unwrap().entries;
        let parked = parked.iter().map(|entry| ParkedEntryJson::new(group, entry));
        all.extend(parked.map(|entry| serde_json::to_value(entry).unwrap()));
    }
    for name in access.routes().unwrap() {
        let info = access.route(&name).unwrap();
        let mut route = serde_json::to_value(RouteInfoJson::from(&info)).unwrap();
        // It goes on while it is looked at.
        route.as_object_mut().unwrap().remove("position");
        all.push(route);
    }
    let timers = access
        .timers(&TimerList { state: TimerState::Armed, after: None, limit: 100 })
        .unwrap()
        .timers;
    all.extend(timers.iter().map(|info| serde_json::to_value(TimerJson::from(info)).unwrap()));
    for subject in access.subjects(None, 100).unwrap() {
        all.push(serde_json::to_value(SubjectInfoJson::from(&subject)).unwrap());
    }
    let policies = access.policies().unwrap();
    if !policies.changes.is_empty() {
        all.push(serde_json::to_value(policies).unwrap());
    }
    let audit = node.audit(&Principal::local(), None, 1_000).unwrap().entries;
    let audit =
        audit.iter().map(|it| json!({ "audit": it.audited.operation, "of": it.audited.what }));
    all.extend(audit);
    let tokens = node.list_tokens(&Principal::local()).unwrap();
    all.extend(tokens.iter().map(|token| json!({ "token": token.name })));
    all.into_iter().map(lasting).collect()
}

/// Whether something that is shown says what was kept; it may say more.
fn says(shown: &Value, kept: &Value) -> bool {
    match (shown, kept) {
        (Value::Object(shown), Value::Object(kept)) => {
            kept.iter().all(|(name, kept)| shown.get(name).is_some_and(|shown| says(shown, kept)))
        }
        (Value::Array(shown), Value::Array(kept)) => {
            shown.len() == kept.len()
                && shown.iter().zip(kept).all(|(shown, kept)| says(shown, kept))
        }
        _ => shown == kept,
    }
}

fn write(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (node, access) = open(dir.path());
    fill(&node, &access);
    drop(access);
    node.close().unwrap();
    // As it is shown after it was opened anew.
    let (node, access) = open(dir.path());
    let lines: Vec<_> = describe(&node, &access).iter().map(Value::to_string).collect();
    drop(access);
    node.close().unwrap();
    golden::keep(&folder(), name, dir.path(), &(lines.join("\n") + "\n"));
}

#[test]
fn what_released_versions_kept_is_shown_and_gone_on_with() {
    if std::env::var_os("NEXUS_GOLDEN_WRITE").is_some() {
        write(concat!("v", env!("CARGO_PKG_VERSION")));
    }
    golden::each(&folder(), |name, dir, kept| {
        let (node, access) = open(dir);
        let shown = describe(&node, &access);
        let kept: Vec<Value> =
            kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(shown.len(), kept.len(), "{name}: {shown:#?}");
        for (shown, kept) in shown.iter().zip(&kept) {
            assert!(says(shown, kept), "{name}: {shown} is not {kept}");
        }
        let is_governed = kept.iter().any(|it| it.get("subject").is_some());
        if is_governed {
            goes_on_to_govern(&node, &access);
        }
        // What is parked comes back, edited where it was, and each key in its order.
        assert!(access.replay_parked("mail", ParkedPick::All, None).unwrap() > 0);
        let mut left: Vec<Delivery> = Vec::new();
        while left.len() < 18 {
            let given = take(&access, "mail", "b", 1);
            ack(&access, "mail", "b", &given);
            left.extend(given);
        }
        for stream in 0..5 {
            let name = format!("order-{stream}");
            let of = left.iter().filter(|it| it.event.stream() == name);
            let of: Vec<_> = of.map(|it| it.event.json::<Value>().unwrap()["n"].clone()).collect();
            let all = [0, 5, 10, 15].map(|n| json!(n + stream));
            assert!(all.ends_with(&of) && of.len() >= 3, "{name}: {of:?}");
        }
        let edited = left.iter().filter(|it| it.event.json::<Value>().unwrap()["edited"] == true);
        assert_eq!(edited.count(), 1);
        let info = access.group("mail").unwrap();
        assert_eq!((info.parked, info.lag_events), (0, 1), "{name}: one is for later: {info:?}");
        // A route carries what comes, a timer fires, and a group that was paused goes on.
        append(&access, "order-7", placed(70));
        let link = take(&access, "links", "b", 1);
        assert_eq!(link[0].event.stream(), "order-7", "what the link leads to");
        access.resume_group("pool").unwrap();
        let pooled = take(&access, "pool", "b", 7);
        assert_eq!(pooled.last().unwrap().event.json::<Value>().unwrap()["n"], 70);
        let mut due = access.timer("far").unwrap().timer;
        (due.due_at, due.stream) = (Timestamp::from_micros(1), "big-1".to_owned());
        access.set_timer("far", &due).unwrap();
        assert_eq!(take(&access, "links", "b", 1)[0].event.event_type(), "Due");
        drop(access);
        node.close().unwrap();
    });
}

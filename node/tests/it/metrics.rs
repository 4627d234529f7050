//! What is recorded is what happened, whoever did it, and a scrape stays bounded.

use std::collections::BTreeMap;

use nexus_node::telemetry::Door;
use nexus_node::{Engine, Node, Principal, PrincipalKind, Role};
use nexus_protocol::limits::METRIC_NAMESPACES_MAX;
use nexus_protocol::{
    Append, AppendError, EventData, EventId, Read, ReadError, Subscribe, SubscriptionItem,
};

pub(crate) fn node() -> Node {
    Node::over(Engine::in_memory()).unwrap()
}

fn event(number: u8) -> EventData {
    let event = EventData::new("Tested", "text/plain", vec![b'x'; 10].into());
    event.id(EventId::from_bytes([number; 16])).metadata(vec![b'm'; 3])
}

/// Each sample by its name and labels, after it was checked that the text is well-formed.
pub(crate) fn samples(node: &Node) -> BTreeMap<String, f64> {
    let text = node.metrics_text(&Principal::local()).unwrap();
    let (mut found, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "{name} is told once");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.split_once(' ').unwrap().1.len() > 5, "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let endings = ["_bucket", "_sum", "_count", ""];
            let of = endings.iter().find_map(|end| kinds.get(name.strip_suffix(end)?)).unwrap();
            assert_eq!(*of == "counter", name.ends_with("_total"), "{line}");
            assert!(found.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    found
}

#[test]
fn appends_and_reads_are_counted_for_embedded_users_too() {
    let node = node();
    let access = node.access(Principal::local(), "default").unwrap();
    let before = samples(&node);
    assert_eq!(before.get("nexus_log_head_position{namespace=\"default\"}"), None, "it is empty");
    let two = || Append::to("secret-stream").no_stream().event(event(1)).event(event(2));
    let pending = access.append(two()).unwrap();
    assert_eq!(samples(&node)["nexus_appends_in_flight"], 1.0);
    pending.wait().unwrap();
    assert!(access.append(two()).unwrap().wait().unwrap().replayed);
    let conflict = access.append(Append::to("secret-stream").no_stream().event(event(3))).unwrap();
    assert!(matches!(conflict.wait(), Err(AppendError::Conflict(_))));
    assert_eq!(access.read(Read::all()).unwrap().into_iter().count(), 2);
    access.stream_info("secret-stream").unwrap();

    let after = samples(&node);
    let grown = |name: &str| after[name] - before[name];
    for (name, by) in [
        ("nexus_append_duration_seconds_count", 3.0),
        ("nexus_append_duration_seconds_bucket{le=\"+Inf\"}", 3.0),
        // What is replayed was appended before.
        ("nexus_appended_events_total", 2.0),
        ("nexus_appended_bytes_total", 26.0),
        ("nexus_read_events_total", 2.0),
        ("nexus_read_bytes_total", 26.0),
        ("nexus_errors_total{name=\"conflict\"}", 1.0),
        ("nexus_errors_total{name=\"denied\"}", 0.0),
        ("nexus_operation_duration_seconds_count{operation=\"read\"}", 1.0),
        ("nexus_operation_duration_seconds_count{operation=\"stream\"}", 1.0),
        ("nexus_operation_duration_seconds_count{operation=\"head\"}", 0.0),
        ("nexus_sync_duration_seconds_count", 1.0),
        ("nexus_appends_in_flight", 0.0),
    ] {
        assert_eq!(grown(name), by, "{name}");
    }
    assert_eq!(after["nexus_log_head_position{namespace=\"default\"}"], 1.0);
    assert!(after["nexus_append_duration_seconds_sum"] > 0.0);
    assert!(after["nexus_uptime_seconds"] > 0.0);
    let version = format!("nexus_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(after[&version], 1.0);
    let text = node.metrics_text(&Principal::local()).unwrap();
    assert!(!text.contains("secret") && !text.contains("local"), "no stream, and no principal");
}

#[test]
fn counters_do_not_go_back_when_a_namespace_is_deleted() {
    let node = node();
    let local = Principal::local();
    node.create_namespace(&local, "orders").unwrap();
    let access = node.access(local.clone(), "orders").unwrap();
    access.append(Append::to("s").event(event(1))).unwrap().wait().unwrap();
    let before = samples(&node);
    node.delete_namespace(&local, "orders").unwrap();
    let after = samples(&node);
    let monotonic = |name: &str| {
        let name = name.split('{').next().unwrap();
        ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))
    };
    assert!(before["nexus_sync_duration_seconds_count"] > 0.0);
    for (name, value) in before.iter().filter(|(name, _)| monotonic(name)) {
        assert!(after[name] >= *value, "{name} goes from {value} to {}", after[name]);
    }
}

#[test]
fn buckets_are_cumulative_and_ascend() {
    let node = node();
    let access = node.access(Principal::local(), "default").unwrap();
    for _ in 0..5 {
        access.head().unwrap();
    }
    let text = node.metrics_text(&Principal::local()).unwrap();
    let buckets: Vec<(f64, u64)> = text
        .lines()
        .filter(|line| line.contains("operation=\"head\""))
        .filter_map(|line| {
            let (_, le) = line.split_once("le=\"")?;
            let (le, rest) = le.split_once('"')?;
            let le = if le == "+Inf" { f64::INFINITY } else { le.parse().ok()? };
            Some((le, rest.rsplit_once(' ')?.1.parse().ok()?))
        })
        .collect();
    assert_eq!(buckets.len(), 21, "{text}");
    assert!(buckets.is_sorted() && buckets.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!((buckets[0].0, buckets[20]), (0.000_005, (f64::INFINITY, 5)));
}

#[test]
fn subscriptions_are_open_until_they_are_dropped() {
    let node = node();
    let access = node.access(Principal::local(), "default").unwrap();
    access.append(Append::to("s").event(event(1))).unwrap().wait().unwrap();
    let mut subscription = access.subscribe(Subscribe::all()).unwrap();
    assert_eq!(samples(&node)["nexus_subscriptions_open"], 1.0);
    let first = subscription.try_next().unwrap().unwrap();
    assert!(matches!(first, SubscriptionItem::Event(_)));
    while subscription.try_next().is_some() {}
    assert_eq!(samples(&node)["nexus_read_events_total"], 1.0, "counted while it is open");
    drop(subscription);
    assert_eq!(samples(&node)["nexus_subscriptions_open"], 0.0);
}

#[test]
fn what_a_door_counts_is_given_back_when_it_is_dropped() {
    let node = node();
    let telemetry = node.telemetry();
    let (open, held) = (telemetry.connection_opened(Door::Quic), telemetry.hold(100));
    telemetry.connection_refused(Door::Http);
    let now = samples(&node);
    assert_eq!(now["nexus_connections_open{door=\"quic\"}"], 1.0);
    assert_eq!(now["nexus_connections_refused_total{door=\"http\"}"], 1.0);
    assert_eq!(now["nexus_connections_refused_total{door=\"quic\"}"], 0.0);
    assert_eq!(now["nexus_request_bytes_held"], 100.0);
    drop((open, held));
    let now = samples(&node);
    assert_eq!(now["nexus_connections_open{door=\"quic\"}"], 0.0);
    assert_eq!(now["nexus_connections_opened_total{door=\"quic\"}"], 1.0);
    assert_eq!(now["nexus_request_bytes_held"], 0.0);
}

#[test]
fn only_who_may_monitor_sees_metrics_and_a_refusal_counts() {
    let node = node();
    let nobody = Principal::new("nobody", PrincipalKind::Token, Vec::new());
    assert!(matches!(node.metrics_text(&nobody), Err(ReadError::Denied { .. })));
    assert!(matches!(node.metrics(&nobody), Err(ReadError::Denied { .. })));
    let access = node.access(nobody.clone(), "default").unwrap();
    assert!(matches!(access.append(Append::to("s")), Err(AppendError::Denied { .. })));
    assert!(access.read(Read::all()).is_err() && access.may_still_read().is_err());
    assert_eq!(samples(&node)["nexus_errors_total{name=\"denied\"}"], 5.0);
    let monitor = Principal { roles: vec![Role::Monitor], ..nobody };
    assert!(node.metrics_text(&monitor).is_ok());
}

#[test]
fn to_be_asked_first_is_no_operation_of_its_own() {
    let node = node();
    let local = Principal::local();
    node.may_manage_tokens(&local).unwrap();
    node.create_token(&local, "ci", Role::Reader, None).unwrap();
    let name = "nexus_operation_duration_seconds_count{operation=\"create_token\"}";
    assert_eq!(samples(&node)[name], 1.0);
    let reader = Principal { roles: vec![Role::Reader], ..Principal::anonymous_admin() };
    assert!(matches!(node.may_manage_tokens(&reader), Err(AppendError::Denied { .. })));
    assert_eq!(samples(&node)["nexus_errors_total{name=\"denied\"}"], 1.0, "a refusal counts");
}

#[test]
fn namespaces_are_named_up_to_a_bound() {
    let node = node();
    for number in 0..METRIC_NAMESPACES_MAX + 2 {
        let name = format!("n{number:03}");
        node.create_namespace(&Principal::local(), &name).unwrap();
        let access = node.access(Principal::local(), &name).unwrap();
        access.append(Append::to("s").event(event(1))).unwrap().wait().unwrap();
    }
    let now = samples(&node);
    assert_eq!(now["nexus_namespaces"], METRIC_NAMESPACES_MAX as f64 + 3.0);
    let heads: Vec<_> =
        now.keys().filter(|name| name.starts_with("nexus_log_head_position")).collect();
    // `default` is among the first, and empty.
    assert_eq!(heads.len(), METRIC_NAMESPACES_MAX - 1);
    assert!(heads.iter().all(|name| !name.contains("\"n256\"")));
}

//! What administrators ask for is on record, and nobody else's asking is.

use nexus_node::telemetry::Door;
use nexus_node::{AuditEntry, Engine, Node, Principal, PrincipalKind, Role};
use nexus_protocol::{
    Append, AppendError, EventData, ExpectedRevision, ReadError, Revision, StreamChange,
};
use serde_json::json;

fn principal(role: Role) -> Principal {
    let principal = Principal::new(role.as_str(), PrincipalKind::Token, vec![role]);
    Principal { token: Some("0123".to_owned()), ..principal }.by_door(Door::Quic)
}

/// Whose token is not asked for.
fn tokenless(role: Role) -> Principal {
    Principal { token: None, ..principal(role) }
}

fn entries(node: &Node) -> Vec<AuditEntry> {
    node.audit(&Principal::local(), None, 1000).unwrap().entries
}

#[test]
fn what_administrators_do_is_on_record_in_its_order() {
    let node = Node::over(Engine::in_memory()).unwrap();
    let operator = tokenless(Role::Operator);
    node.create_namespace(&operator, "orders").unwrap();
    let access = node.access(operator.clone(), "orders").unwrap();
    let writer = node.access(tokenless(Role::Writer), "orders").unwrap();
    let event = || EventData::json("OrderPlaced", &1).unwrap();
    writer.append(Append::to("order-1").event(event())).unwrap().wait().unwrap();
    writer.append(Append::to("order-2").event(event())).unwrap().wait().unwrap();
    let change = StreamChange {
        max_count: Some(Some(5)),
        max_age_s: Some(None),
        truncate_before: Some(Revision::new(1)),
    };
    access.set_stream("order-1", change).unwrap();
    access.delete_stream("order-1", ExpectedRevision::Any).unwrap();
    access.tombstone_stream("order-2", ExpectedRevision::Exists).unwrap();
    let refused = access.delete_stream("none", ExpectedRevision::Exists).unwrap_err();
    assert!(matches!(refused, AppendError::Conflict(_)), "{refused}");
    node.delete_namespace(&operator, "orders").unwrap();
    let refused = node.delete_namespace(&operator, "orders").unwrap_err();
    assert!(matches!(refused, AppendError::NotFound { .. }), "{refused}");
    node.create_token(&Principal::local(), "ci", Role::Reader, None).unwrap();
    let refused = node.revoke_token(&Principal::local(), "none").unwrap_err();
    assert!(matches!(refused, AppendError::NotFound { .. }), "{refused}");

    let all = entries(&node);
    let said: Vec<_> = all
        .iter()
        .map(|entry| {
            let it = &entry.audited;
            (&*it.operation, it.namespace.as_deref(), it.what.as_deref(), &*it.outcome)
        })
        .collect();
    let orders = Some("orders");
    let token = all[7].audited.what.as_deref();
    assert_eq!(
        said,
        [
            ("create_namespace", orders, None, "done"),
            ("set_stream", orders, Some("order-1"), "done"),
            ("delete_stream", orders, Some("order-1"), "done"),
            ("tombstone_stream", orders, Some("order-2"), "done"),
            ("delete_stream", orders, Some("none"), "conflict"),
            ("delete_namespace", orders, None, "done"),
            ("delete_namespace", orders, None, "not_found"),
            ("create_token", None, token, "done"),
            ("revoke_token", None, Some("none"), "not_found"),
        ]
    );
    let limits = json!({"max_count": 5, "max_age_s": null, "truncate_before": 1});
    assert_eq!(all[1].audited.details, Some(limits));
    assert!(all[..7].iter().all(|entry| {
        (&*entry.audited.by, entry.audited.door.as_deref()) == ("operator", Some("quic"))
    }));
    assert!(
        all[7..].iter().all(|entry| {
            (&*entry.audited.by, entry.audited.door.as_deref()) == ("local", None)
        })
    );
    assert!(all.is_sorted_by_key(|entry| (entry.recorded_at, entry.revision)));
}

#[test]
fn who_may_not_ask_is_not_on_record_and_does_not_see_it() {
    let node = Node::over(Engine::in_memory()).unwrap();
    for role in [Role::Operator, Role::Writer, Role::Reader, Role::Monitor] {
        let principal = tokenless(role);
        assert!(node.create_token(&principal, "a", Role::Admin, None).is_err());
        let refused = node.audit(&principal, None, 10).unwrap_err();
        assert!(matches!(refused, ReadError::Denied { .. }), "{refused}");
    }
    let reader = tokenless(Role::Reader);
    assert!(node.create_namespace(&reader, "orders").is_err());
    let access = node.access(reader, "default").unwrap();
    assert!(access.set_stream("a", StreamChange::default()).is_err());
    assert!(node.create_namespace(&principal(Role::Admin), "orders").is_err(), "it has ended");
    assert_eq!(entries(&node), [], "nobody fills the audit who may not");
}

#[test]
fn the_audit_is_there_after_a_restart_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let node = Node::open(dir.path()).unwrap();
        node.create_namespace(&Principal::local(), name).unwrap();
        node.close().unwrap();
    }
    let node = Node::open(dir.path()).unwrap();
    let names: Vec<_> =
        entries(&node).into_iter().map(|it| it.audited.namespace.unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(node.namespaces(&Principal::local()).unwrap(), ["a", "b", "default"]);
}

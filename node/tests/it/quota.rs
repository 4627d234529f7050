//! Whatever appends counts against the quota of appends.

use nexus_node::{Access, Engine, Node, Principal, PrincipalKind, Quota, Role};
use nexus_protocol::{
    AppendError, ExpectedRevision, FoldIdentity, Revision, Snapshot, SnapshotAt, StreamChange,
    StreamName,
};

/// How often something is asked for that is let in once a second.
const TRIES: usize = 1000;

type Change = fn(&Access) -> Result<(), AppendError>;

fn with_quota(quota: Quota) -> (Node, Access) {
    let node = Node::over(Engine::in_memory()).unwrap().quota(quota);
    let admin = Principal::new("ops", PrincipalKind::Token, vec![Role::Admin]);
    let access = node.access(admin, "default").unwrap();
    (node, access)
}

fn snapshot(stream: &str, bytes: usize) -> Snapshot {
    Snapshot {
        stream: StreamName::new(stream).unwrap(),
        revision: Revision::new(0),
        fold: FoldIdentity::default(),
        content_type: "application/json".to_owned(),
        state: vec![b'1'; bytes].into(),
    }
}

fn is_over<T>(done: &Result<T, AppendError>) -> bool {
    matches!(done, Err(AppendError::RateLimited { .. }))
}

#[test]
fn a_snapshot_counts_as_an_event_with_the_bytes_of_its_state() {
    let (_, of_events) = with_quota(Quota { events_per_s: 1, ..Quota::default() });
    assert!((0..TRIES).any(|_| is_over(&of_events.save_snapshot(snapshot("a", 1)))));
    let (_, of_bytes) = with_quota(Quota { bytes_per_s: 1, ..Quota::default() });
    of_bytes.save_snapshot(snapshot("a", 100_000)).unwrap();
    // That only reads are counted once for a whole request changes nothing.
    let refused = of_bytes.clone().admitted().save_snapshot(snapshot("b", 1));
    assert!(is_over(&refused), "{refused:?}");
    let kept = of_bytes.load_snapshot("b", SnapshotAt::Latest, FoldIdentity::default());
    assert_eq!(kept, Ok(None), "nothing of what was refused was done");
}

#[test]
fn a_change_of_a_stream_counts_as_an_event() {
    let changes: [Change; 3] = [
        |access| access.set_stream("a", StreamChange::default()).map(drop),
        |access| access.delete_stream("a", ExpectedRevision::Any).map(drop),
        |access| access.tombstone_stream("a", ExpectedRevision::Any).map(drop),
    ];
    for (number, change) in changes.iter().enumerate() {
        let (node, access) = with_quota(Quota { events_per_s: 1, ..Quota::default() });
        let let_in = (0..TRIES).take_while(|_| !is_over(&change(&access))).count();
        assert!((1..TRIES).contains(&let_in), "change {number} was let in {let_in} times");
        let on_record = node.audit(&Principal::local(), None, TRIES).unwrap().entries;
        assert_eq!(on_record.len(), let_in, "who is over is not on record");
    }
}

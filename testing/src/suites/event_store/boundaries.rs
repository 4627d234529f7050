//! Boundaries and absence: conditions on what matches, wherever it stands.

use bytes::Bytes;
use nexus_protocol::limits::{QUERY_ITEM_TYPES_MAX, QUERY_ITEMS_MAX, TAGS_MAX};
use nexus_protocol::{
    Append, AppendError, Clause, EventData, EventStore, FoldIdentity, Query, QueryItem, Read,
    Revision, SNAPSHOT_TAKEN, Snapshot, SnapshotMetadata, StreamName,
};

use super::ask::{append, conflict, event, fill, numbers, position, refused, typed};

fn red() -> QueryItem {
    QueryItem::tags(["colour:red"])
}

pub(super) async fn a_boundary_sees_what_stands_after_it<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 2).await;
    append(&store, Append::to("a-1").event(event(2).tag("colour:red"))).await;
    fill(&store, "a-1", 3, 2).await;
    let write = |after| Append::to("b-1").event(event(9)).boundary(red(), Some(position(after)));
    for after in [0, 1] {
        let found = conflict(&store, write(after)).await;
        assert_eq!((found.clause, found.positions), (Clause::Boundary, vec![position(2)]));
    }
    for after in [2, 3, 4, 1000, u64::MAX] {
        append(&store, write(after)).await;
    }
    // Without events too.
    let check = |after| Append::new().boundary(red(), Some(position(after)));
    assert_eq!(append(&store, check(2)).await.positions, None);
    conflict(&store, check(1)).await;
}

pub(super) async fn a_boundary_without_position_sees_everything<S: EventStore>(store: S) {
    let write = || Append::to("b-1").event(event(9)).boundary(red(), None);
    append(&store, write()).await;
    append(&store, Append::to("a-1").event(event(0).tag("colour:red"))).await;
    let found = conflict(&store, write()).await;
    assert_eq!((found.clause, found.positions), (Clause::Boundary, vec![position(1)]));
}

pub(super) async fn items_are_alternatives<S: EventStore>(store: S) {
    append(&store, Append::to("a-1").event(typed("Painted", 0).tag("colour:red").tag("size:1")))
        .await;
    append(&store, Append::to("a-1").event(typed("Sold", 1).tag("colour:blue"))).await;
    let item = |types: &[&str], tags: &[&str]| {
        QueryItem::tags(tags.iter().copied()).of_types(types.iter().copied())
    };
    let table: [(Vec<QueryItem>, &[u64]); 10] = [
        (vec![item(&["Painted"], &[])], &[0]),
        (vec![item(&["Painted", "Sold"], &[])], &[1, 0]),
        (vec![item(&[], &["colour:red", "size:1"])], &[0]),
        (vec![item(&[], &["colour:red", "colour:blue"])], &[]),
        (vec![item(&["Sold"], &["colour:red"])], &[]),
        (vec![item(&["Sold"], &["colour:red"]), item(&["Sold"], &["colour:blue"])], &[1]),
        (vec![item(&[], &["colour:blue"]), item(&[], &["size:1"])], &[1, 0]),
        (vec![item(&["Lost"], &[]), item(&[], &["size:2"])], &[]),
        (vec![item(&["Painted"], &[]), item(&["Painted"], &["size:1"])], &[0]),
        (vec![item(&["Painted"], &["size:1", "size:1"])], &[0]),
    ];
    for (items, wanted) in table {
        let query = Query::any(items);
        let check =
            [Append::new().boundary(query.clone(), None), Append::new().absent(query.clone())];
        for check in check {
            if wanted.is_empty() {
                append(&store, check).await;
            } else {
                let found = conflict(&store, check).await.positions;
                let found: Vec<u64> = found.into_iter().map(|p| p.get()).collect();
                assert_eq!(found, wanted, "{query:?}");
            }
        }
    }
}

pub(super) async fn absence_looks_at_the_whole_log<S: EventStore>(store: S) {
    let register = |name: &str, n| {
        let tag = format!("name:{name}");
        let event = event(n).tag(tag.clone());
        Append::to(format!("user-{n}")).no_stream().event(event).absent(QueryItem::tags([tag]))
    };
    append(&store, register("anna", 0)).await;
    fill(&store, "other", 0, 5).await;
    let found = conflict(&store, register("anna", 1)).await;
    assert_eq!((found.clause, found.positions), (Clause::Absent, vec![position(0)]));
    append(&store, register("bert", 1)).await;
    // Both clauses of one append must hold.
    let both = Append::to("user-2")
        .event(event(2))
        .boundary(red(), None)
        .absent(QueryItem::tags(["name:bert"]));
    assert_eq!(conflict(&store, both).await.clause, Clause::Absent);
}

pub(super) async fn conflicts_name_the_newest_sixteen_positions<S: EventStore>(store: S) {
    for number in 0..40 {
        let colour = if number % 2 == 0 { "colour:red" } else { "colour:blue" };
        append(&store, Append::to("a-1").event(event(number).tag(colour))).await;
    }
    let wanted: Vec<_> = (0..16).map(|n| position(38 - 2 * n)).collect();
    let all = [
        Append::to("b-1").event(event(99)).boundary(red(), None),
        Append::to("b-1").event(event(99)).absent(red()),
    ];
    for append in all {
        assert_eq!(conflict(&store, append).await.positions, wanted);
    }
    let some = Append::to("b-1").event(event(99)).boundary(red(), Some(position(33)));
    assert_eq!(conflict(&store, some).await.positions, [38, 36, 34].map(position));
}

pub(super) async fn an_append_does_not_stand_in_its_own_way<S: EventStore>(store: S) {
    let own = Append::to("a-1").events([event(0).tag("colour:red"), event(1).tag("colour:red")]);
    append(&store, own.boundary(red(), None).absent(red())).await;
    assert_eq!(numbers(&store, Read::all()).await, [0, 1]);
}

pub(super) async fn queries_are_checked<S: EventStore>(store: S) {
    let write = |query: Query| {
        let append = Append::to("a-1").event(event(0));
        [append.clone().boundary(query.clone(), None), append.absent(query)]
    };
    let many_types: Vec<String> = (0..=QUERY_ITEM_TYPES_MAX).map(|n| format!("T{n}")).collect();
    let many_tags: Vec<String> = (0..=TAGS_MAX).map(|n| format!("k:{n}")).collect();
    let invalid = [
        Query::default(),
        Query::any([QueryItem::default()]),
        Query::any([red(), QueryItem::default()]),
        QueryItem::tags(["colour"]).into(),
        QueryItem::types([""]).into(),
    ];
    let large = [
        Query::any(vec![red(); QUERY_ITEMS_MAX + 1]),
        QueryItem::types(many_types).into(),
        QueryItem::tags(many_tags).into(),
    ];
    for append in invalid.into_iter().flat_map(write) {
        let error = refused(&store, append).await;
        assert!(matches!(error, AppendError::Invalid(_)), "{error}");
    }
    for append in large.into_iter().flat_map(write) {
        let error = refused(&store, append).await;
        assert!(matches!(error, AppendError::TooLarge(_)), "{error}");
    }
    let [fits, _] = write(Query::any(vec![red(); QUERY_ITEMS_MAX]));
    append(&store, fits).await;
}

/// A read of the same query does not show them, so a writer could never get past them.
pub(super) async fn system_events_stand_in_no_way<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 1).await;
    let fold = FoldIdentity::default();
    let metadata = SnapshotMetadata { revision: Revision::ZERO, fold };
    let taken = EventData::new(SNAPSHOT_TAKEN, "", Bytes::from_static(b"state"))
        .metadata(serde_json::to_vec(&metadata).unwrap())
        .tag("colour:red");
    append(&store, Append::to("$snapshot-a-1").event(taken)).await;
    let snapshot = Snapshot {
        stream: StreamName::new("a-1").unwrap(),
        revision: Revision::ZERO,
        fold,
        content_type: String::new(),
        state: Bytes::new(),
    };
    store.save_snapshot(snapshot).await.unwrap();
    append(&store, Append::new().boundary(red(), None)).await;
    append(&store, Append::new().absent(red())).await;
    // Asked for by type they would always seem to be absent, so that is refused.
    let named = || QueryItem::types(["Tested", SNAPSHOT_TAKEN]);
    for asked in [Append::new().boundary(named(), None), Append::new().absent(named())] {
        let refused = refused(&store, asked).await;
        assert!(matches!(refused, AppendError::Invalid(_)), "{refused:?}");
    }
}

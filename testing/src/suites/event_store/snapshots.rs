//! Snapshots: a cache of a fold, by revision, with a ladder of older ones.

use bytes::Bytes;
use nexus_protocol::{
    EventStore, ExpectedRevision, Filter, FoldIdentity, Read, Snapshot, SnapshotAt, StreamName,
    Subscribe, SubscriptionItem,
};

use super::ask::{fill, item, position, positions, read, revision};

const FOLD: FoldIdentity = FoldIdentity { fold_version: 1, upcaster_hash: 7 };

fn snapshot(at: u64, fold: FoldIdentity) -> Snapshot {
    Snapshot {
        stream: StreamName::new("a-1").unwrap(),
        revision: revision(at),
        fold,
        content_type: "text/plain".to_owned(),
        state: Bytes::from(format!("state at {at}")),
    }
}

async fn save(store: &impl EventStore, at: u64) {
    store.save_snapshot(snapshot(at, FOLD)).await.unwrap();
}

async fn loaded(store: &impl EventStore, at: SnapshotAt) -> Option<u64> {
    let found = store.load_snapshot("a-1", at, FOLD).await.unwrap()?;
    assert_eq!(found, snapshot(found.revision.get(), FOLD));
    Some(found.revision.get())
}

async fn listed(store: &impl EventStore) -> Vec<u64> {
    let list = store.list_snapshots("a-1").await.unwrap();
    list.iter().map(|info| info.revision.get()).collect()
}

pub(super) async fn the_newest_is_loaded<S: EventStore>(store: S) {
    assert_eq!(loaded(&store, SnapshotAt::Latest).await, None);
    assert!(listed(&store).await.is_empty());
    fill(&store, "a-1", 0, 10).await;
    for at in [3, 7, 5] {
        save(&store, at).await;
    }
    assert_eq!(loaded(&store, SnapshotAt::Latest).await, Some(7), "by revision, not by time");
    assert_eq!(listed(&store).await, [3, 5, 7]);
    assert_eq!(positions(&store, Read::all()).await.len(), 10, "they are the system's");
    let info = store.list_snapshots("a-1").await.unwrap();
    assert_eq!(info.iter().map(|i| i.position.get()).collect::<Vec<_>>(), [10, 12, 11]);
    assert!(info.iter().all(|info| info.fold == FOLD));
    assert!(store.list_snapshots("a-2").await.unwrap().is_empty());
}

pub(super) async fn another_fold_is_a_miss<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 10).await;
    save(&store, 3).await;
    let others = [
        FoldIdentity { fold_version: 2, ..FOLD },
        FoldIdentity { upcaster_hash: 8, ..FOLD },
        FoldIdentity::default(),
    ];
    for other in others {
        let found = store.load_snapshot("a-1", SnapshotAt::Latest, other).await.unwrap();
        assert_eq!(found, None);
    }
    store.save_snapshot(snapshot(8, others[0])).await.unwrap();
    assert_eq!(loaded(&store, SnapshotAt::Latest).await, Some(3));
    let found = store.load_snapshot("a-1", SnapshotAt::Latest, others[0]).await.unwrap();
    assert_eq!(found.map(|snapshot| snapshot.revision), Some(revision(8)));
}

pub(super) async fn older_ones_stand_on_a_ladder<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 40).await;
    for at in 0..40 {
        save(&store, at).await;
    }
    assert_eq!(listed(&store).await, [0, 1, 2, 4, 8, 16, 32, 36, 37, 38, 39]);
    for (at, wanted) in [(39, 39), (37, 37), (35, 32), (31, 16), (3, 2), (0, 0)] {
        assert_eq!(loaded(&store, SnapshotAt::Revision(revision(at))).await, Some(wanted));
    }
}

pub(super) async fn a_past_state_is_loaded<S: EventStore>(store: S) {
    fill(&store, "b-1", 0, 5).await;
    fill(&store, "a-1", 0, 10).await;
    save(&store, 2).await;
    save(&store, 6).await;
    let by_revision = [(1, None), (2, Some(2)), (5, Some(2)), (6, Some(6)), (99, Some(6))];
    for (at, wanted) in by_revision {
        assert_eq!(loaded(&store, SnapshotAt::Revision(revision(at))).await, wanted);
    }
    // Revision 2 stands at position 7, and revision 6 at 11.
    let by_position =
        [(0, None), (6, None), (7, Some(2)), (10, Some(2)), (11, Some(6)), (99, Some(6))];
    for (at, wanted) in by_position {
        assert_eq!(loaded(&store, SnapshotAt::Position(position(at))).await, wanted);
    }
}

pub(super) async fn of_one_revision_the_newest_counts<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 3).await;
    save(&store, 1).await;
    let again = Snapshot { state: Bytes::from_static(b"again"), ..snapshot(1, FOLD) };
    store.save_snapshot(again.clone()).await.unwrap();
    let found = store.load_snapshot("a-1", SnapshotAt::Latest, FOLD).await.unwrap();
    assert_eq!(found, Some(again));
    assert_eq!(listed(&store).await, [1]);
}

pub(super) async fn system_streams_have_none<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 1).await;
    let system = Snapshot { stream: StreamName::new("$meta-a-1").unwrap(), ..snapshot(0, FOLD) };
    assert!(store.save_snapshot(system).await.is_err());
    assert!(store.list_snapshots("").await.is_err());
    assert!(store.load_snapshot("-a", SnapshotAt::Latest, FOLD).await.is_err());
}

/// Whoever loads a snapshot goes on from it: the deleted past would come back through it.
pub(super) async fn a_delete_hides_them<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 10).await;
    for at in [2, 9] {
        save(&store, at).await;
    }
    store.delete_stream("a-1", ExpectedRevision::Any).await.unwrap();
    for _ in 0..2 {
        assert_eq!(loaded(&store, SnapshotAt::Latest).await, None);
        assert_eq!(loaded(&store, SnapshotAt::Revision(revision(5))).await, None);
        assert!(listed(&store).await.is_empty());
        fill(&store, "a-1", 10, 2).await;
    }
    // One that was under way when the stream was deleted comes late.
    save(&store, 8).await;
    assert_eq!(loaded(&store, SnapshotAt::Latest).await, None);
    save(&store, 11).await;
    assert_eq!(
        (loaded(&store, SnapshotAt::Latest).await, listed(&store).await),
        (Some(11), vec![11])
    );
    // What truncation hides is still in the state.
    let change = nexus_protocol::StreamChange {
        truncate_before: Some(revision(12)),
        ..nexus_protocol::StreamChange::default()
    };
    store.set_stream("a-1", change).await.unwrap();
    assert_eq!(loaded(&store, SnapshotAt::Latest).await, Some(11));
    store.tombstone_stream("a-1", ExpectedRevision::Any).await.unwrap();
    assert_eq!(loaded(&store, SnapshotAt::Latest).await, None);
    assert!(listed(&store).await.is_empty());
}

/// The events themselves are as hidden as the states in them.
pub(super) async fn a_delete_hides_their_events<S: EventStore>(store: S) {
    fill(&store, "a-1", 0, 4).await;
    save(&store, 1).await;
    save(&store, 3).await;
    let found = |wanted: Read| positions(&store, wanted);
    let named = || Read::stream("$snapshot-a-1");
    let category = || Read::all().filter(Filter::category("$snapshot"));
    assert_eq!(found(named()).await, [4, 5]);
    let taken = read(&store, named()).await.remove(0);
    store.delete_stream("a-1", ExpectedRevision::Any).await.unwrap();
    fill(&store, "a-1", 4, 2).await;
    // Late, of the life that was deleted; then one of the new life.
    save(&store, 2).await;
    save(&store, 5).await;
    for wanted in [named(), named().backwards(), category(), named().limit(1)] {
        assert_eq!(found(wanted.clone()).await, [10], "{wanted:?}");
    }
    assert_eq!(found(Read::all().system()).await, [6, 7, 8, 10], "the delete, the new life");
    assert_eq!(store.event_by_id(taken.id()).await.unwrap(), None);
    let mut subscription = store.subscribe(Subscribe::stream("$snapshot-a-1"));
    let mut delivered = Vec::new();
    loop {
        match item::<S>(&mut subscription).await {
            SubscriptionItem::Event(event) => delivered.push(event.position().get()),
            SubscriptionItem::CaughtUp { .. } => break,
            _ => {}
        }
    }
    assert_eq!(delivered, [10]);
    store.tombstone_stream("a-1", ExpectedRevision::Any).await.unwrap();
    assert_eq!(found(named()).await, [0; 0]);
    assert_eq!(found(category()).await, [0; 0]);
}

/// A new fold begins with few snapshots, and those of an old one are no use to it.
pub(super) async fn each_fold_has_a_ladder_of_its_own<S: EventStore>(store: S) {
    let new = FoldIdentity { fold_version: 2, ..FOLD };
    fill(&store, "a-1", 0, 40).await;
    for at in 0..40 {
        save(&store, at).await;
    }
    // Beside those of the other fold, and at a revision that has one already.
    for at in [17, 18, 19, 33] {
        store.save_snapshot(snapshot(at, new)).await.unwrap();
    }
    for at in [34, 35] {
        store.save_snapshot(snapshot(at, FOLD)).await.unwrap();
    }
    let list = store.list_snapshots("a-1").await.unwrap();
    let of = |fold: FoldIdentity| -> Vec<u64> {
        list.iter().filter(|it| it.fold == fold).map(|it| it.revision.get()).collect()
    };
    assert_eq!(of(FOLD), [0, 1, 2, 4, 8, 16, 32, 36, 37, 38, 39]);
    assert_eq!(of(new), [17, 18, 19, 33]);
    assert!(list.is_sorted_by_key(|it| (it.revision, it.position)), "by ascending revision");
    for (at, wanted) in [(39, 33), (32, 19), (18, 18), (16, 0)] {
        let at = SnapshotAt::Revision(revision(at));
        let found = store.load_snapshot("a-1", at, new).await.unwrap();
        assert_eq!(found.map_or(0, |found| found.revision.get()), wanted);
    }
    store.save_snapshot(snapshot(37, new)).await.unwrap();
    assert_eq!(loaded(&store, SnapshotAt::Revision(revision(37))).await, Some(37));
}

//! Subscriptions where little comes.

use nexus_protocol::{Append, Filter, Position, Subscribe, SubscriptionItem};

use crate::history::{TAG, numbered};
use crate::stores::{SHAPE, Store};

#[test]
fn a_long_silence_is_checkpointed_as_it_is_passed() {
    let mut store = Store::new();
    store.fill(600, 10);
    // Opened anew, it reads from its files.
    store.engine.close().unwrap();
    let engine = SHAPE.open(&store.disk);
    let reads = || store.disk.trace().read_count();
    let before = reads();
    let mut whole = engine.subscribe(Subscribe::all());
    while let Some(Ok(SubscriptionItem::Event(_) | SubscriptionItem::Checkpoint { .. })) =
        whole.try_next()
    {}
    let in_one_go = reads() - before;
    assert!(in_one_go > 30, "{in_one_go}");
    // A prefix is looked for by looking at every event.
    let request = Subscribe {
        checkpoint_every: 50,
        ..Subscribe::all().filter(Filter::stream_prefix("nobody-"))
    };
    let mut subscription = engine.subscribe(request);
    let mut checkpoints = Vec::new();
    while let Some(Ok(SubscriptionItem::Checkpoint { position })) = subscription.try_next() {
        checkpoints.push(position.get());
    }
    let wanted: Vec<u64> = (1..=12).map(|n| n * 50 - 1).collect();
    assert_eq!(checkpoints, wanted, "and then it has caught up");
    assert_eq!(reads() - before, 2 * in_one_go, "nothing is read twice for it");
    // Where the index jumps over a silence, one checkpoint stands at its end.
    engine.append(Append::to("late").event(numbered(3000, 10))).wait().unwrap();
    let request = Subscribe { checkpoint_every: 50, ..Subscribe::stream("late") };
    let mut subscription = engine.subscribe(request);
    let first = subscription.try_next().unwrap().unwrap();
    assert_eq!(first, SubscriptionItem::Checkpoint { position: Position::new(599) });
    let event = subscription.try_next().unwrap().unwrap().event().unwrap();
    assert_eq!((event.position(), event.has_tag(TAG)), (Position::new(600), true));
}

//! What the cases share: asking a store, and making events.

use nexus_protocol::{
    Append, AppendError, Appended, Clause, Conflict, EventData, EventId, EventStore, Position,
    Read, ReadError, RecordedEvent, Revision, SubscriptionItem,
};
use uuid::Uuid;

use crate::executor::next;

/// An id that nobody has.
pub(super) fn new_id() -> EventId {
    EventId::from_uuid(Uuid::new_v4())
}

/// An event of type `Happened`, with an id, and a number as its data.
pub(super) fn event(number: u64) -> EventData {
    typed("Happened", number)
}

/// The same of another type.
pub(super) fn typed(event_type: &str, number: u64) -> EventData {
    EventData::json(event_type, &number).unwrap().id(new_id())
}

/// The number that [`event`] put into an event.
pub(super) fn number(event: &RecordedEvent) -> u64 {
    event.json().unwrap()
}

pub(super) fn revision(number: u64) -> Revision {
    Revision::new(number)
}

pub(super) fn position(number: u64) -> Position {
    Position::new(number)
}

/// Appends what must be taken.
pub(super) async fn append(store: &impl EventStore, append: Append) -> Appended {
    let what = format!("{append:?}");
    store.append(append).await.unwrap_or_else(|error| panic!("{error}: {what}"))
}

/// Appends one event after the other, numbered from `from` on, each by itself.
pub(super) async fn fill(store: &impl EventStore, stream: &str, from: u64, count: u64) {
    for number in from..from + count {
        append(store, Append::to(stream).event(event(number))).await;
    }
}

/// Appends what must be refused.
pub(super) async fn refused(store: &impl EventStore, append: Append) -> AppendError {
    let what = format!("{append:?}");
    match store.append(append).await {
        Err(error) => error,
        Ok(appended) => panic!("taken as {appended:?}: {what}"),
    }
}

/// Appends what must conflict.
pub(super) async fn conflict(store: &impl EventStore, append: Append) -> Conflict {
    match refused(store, append).await {
        AppendError::Conflict(conflict) => {
            assert!(conflict.positions.len() <= 16, "at most 16 positions are named");
            let falling = conflict.positions.is_sorted_by(|a, b| a > b);
            assert!(falling, "the newest is named first: {:?}", conflict.positions);
            *conflict
        }
        other => panic!("no conflict: {other}"),
    }
}

/// Appends what must conflict with a stream.
pub(super) async fn stream_conflict(store: &impl EventStore, append: Append, name: &str) {
    match conflict(store, append).await.clause {
        Clause::Stream { stream, .. } => assert_eq!(stream, name),
        other => panic!("conflict with {other:?}, not with stream {name}"),
    }
}

/// The events of a read, or the error that it ends with.
pub(super) async fn try_read(
    store: &impl EventStore,
    read: Read,
) -> Result<Vec<RecordedEvent>, ReadError> {
    let mut events = store.read(read);
    let mut found = Vec::new();
    while let Some(event) = next(&mut events).await {
        found.push(event?);
    }
    Ok(found)
}

/// The events of a read that must succeed.
pub(super) async fn read(store: &impl EventStore, read: Read) -> Vec<RecordedEvent> {
    let what = format!("{read:?}");
    try_read(store, read).await.unwrap_or_else(|error| panic!("{error}: {what}"))
}

/// The numbers of the events of a read.
pub(super) async fn numbers(store: &impl EventStore, wanted: Read) -> Vec<u64> {
    read(store, wanted).await.iter().map(number).collect()
}

/// The positions of the events of a read.
pub(super) async fn positions(store: &impl EventStore, wanted: Read) -> Vec<u64> {
    read(store, wanted).await.iter().map(|event| event.position().get()).collect()
}

/// The next item of a subscription.
pub(super) async fn item<S: EventStore>(subscription: &mut S::Subscription) -> SubscriptionItem {
    next(subscription).await.expect("a subscription does not end").unwrap()
}

/// The numbers of the events up to the next `CaughtUp`, and its position.
pub(super) async fn caught_up<S: EventStore>(
    subscription: &mut S::Subscription,
) -> (Vec<u64>, Option<Position>) {
    let mut found = Vec::new();
    loop {
        match item::<S>(subscription).await {
            SubscriptionItem::Event(event) => found.push(number(&event)),
            SubscriptionItem::CaughtUp { position } => return (found, position),
            SubscriptionItem::Checkpoint { .. } | SubscriptionItem::FellBehind { .. } => {}
        }
    }
}

/// The numbers of the next events.
pub(super) async fn next_events<S: EventStore>(
    subscription: &mut S::Subscription,
    count: usize,
) -> Vec<u64> {
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(item::<S>(subscription).await.event().as_ref().map(number));
    }
    found
}

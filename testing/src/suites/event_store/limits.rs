//! What cannot be right, and what is over a limit, is refused before anything is written.

use bytes::Bytes;
use nexus_protocol::limits::{
    APPEND_EVENTS_MAX, APPEND_STREAMS_MAX, CONTENT_TYPE_BYTES_MAX, DATA_BYTES_MAX,
    EVENT_TYPE_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, METADATA_BYTES_MAX, STREAM_NAME_BYTES_MAX,
    TAG_BYTES_MAX, TAGS_MAX,
};
use nexus_protocol::{Append, AppendError, EventData, EventStore, Read, Retry};

use super::ask::{append, event, new_id, positions, refused, typed};

async fn invalid(store: &impl EventStore, append: Append) {
    let error = refused(store, append).await;
    assert!(matches!(error, AppendError::Invalid(_)), "{error}");
    assert_eq!(error.retry(), Retry::Never);
}

async fn too_large(store: &impl EventStore, append: Append) {
    match refused(store, append).await {
        AppendError::TooLarge(large) => assert!(large.size > large.max, "{large:?}"),
        other => panic!("{other}"),
    }
}

pub(super) async fn names_are_checked<S: EventStore>(store: S) {
    let long = |bytes: usize| "x".repeat(bytes);
    let names = ["", "-", "-a", "a\nb", "a\0b", "a\u{7f}", "a\u{85}b"].map(str::to_owned);
    let long_names = [long(STREAM_NAME_BYTES_MAX + 1), "é".repeat(STREAM_NAME_BYTES_MAX / 2 + 1)];
    for name in names.into_iter().chain(long_names) {
        invalid(&store, Append::to(name.clone()).event(event(0))).await;
        invalid(&store, Append::to("a-1").event(event(0)).stream(name).no_stream()).await;
    }
    for name in [String::new(), "a\tb".to_owned(), long(EVENT_TYPE_BYTES_MAX + 1)] {
        invalid(&store, Append::to("a-1").event(typed(&name, 0))).await;
    }
    for name in ["a\rb".to_owned(), long(CONTENT_TYPE_BYTES_MAX + 1)] {
        let event = EventData { content_type: name, ..event(0) };
        invalid(&store, Append::to("a-1").event(event)).await;
    }
    let tags = ["", "a", ":", ":v", "k:", "k:\u{1}"].map(str::to_owned);
    for tag in tags.into_iter().chain([format!("k:{}", long(TAG_BYTES_MAX - 1))]) {
        invalid(&store, Append::to("a-1").event(event(0).tag(tag))).await;
    }
    assert!(positions(&store, Read::all().system()).await.is_empty());
}

pub(super) async fn counts_and_sizes_are_bounded<S: EventStore>(store: S) {
    let tagged = (0..=TAGS_MAX).fold(event(0), |event, n| event.tag(format!("k:{n}")));
    too_large(&store, Append::to("a-1").event(tagged)).await;
    let sized = EventData { data: vec![0; DATA_BYTES_MAX + 1].into(), ..event(0) };
    too_large(&store, Append::to("a-1").event(sized)).await;
    let about = event(0).metadata(vec![0; METADATA_BYTES_MAX + 1]);
    too_large(&store, Append::to("a-1").event(about)).await;
    let streams = (0..=APPEND_STREAMS_MAX)
        .fold(Append::new(), |append, n| append.stream(format!("a-{n}")).event(event(0)));
    too_large(&store, streams).await;
    let small = EventData::new("T", "", Bytes::new());
    too_large(&store, Append::to("a-1").events(vec![small.clone(); APPEND_EVENTS_MAX + 1])).await;
    let half = EventData { data: vec![0; 1024 * 1024].into(), ..small.clone() };
    too_large(&store, Append::to("a-1").events(vec![half; 32])).await;
    let key = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
    too_large(&store, Append::to("a-1").event(small).idempotency_key(key)).await;
    assert!(positions(&store, Read::all().system()).await.is_empty());
}

pub(super) async fn what_is_at_the_limit_is_taken<S: EventStore>(store: S) {
    let widest = EventData {
        id: Some(new_id()),
        event_type: "t".repeat(EVENT_TYPE_BYTES_MAX),
        content_type: "c".repeat(CONTENT_TYPE_BYTES_MAX),
        tags: (0..TAGS_MAX).map(|n| format!("{n:02}:{}", "v".repeat(TAG_BYTES_MAX - 3))).collect(),
        ..EventData::default()
    };
    append(&store, Append::to("s".repeat(STREAM_NAME_BYTES_MAX)).event(widest)).await;
    let key = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX);
    append(&store, Append::to("a-1").event(event(0)).idempotency_key(key)).await;
    let streams = (0..APPEND_STREAMS_MAX)
        .fold(Append::new(), |append, n| append.stream(format!("b-{n}")).event(event(0)));
    let appended = append(&store, streams).await;
    assert_eq!(appended.streams.len(), APPEND_STREAMS_MAX);
    // A stream that is as long as can be has settings and snapshots all the same.
    let long = "l".repeat(STREAM_NAME_BYTES_MAX);
    append(&store, Append::to(long.clone()).event(event(0))).await;
    store.delete_stream(&long, nexus_protocol::ExpectedRevision::Any).await.unwrap();
}

pub(super) async fn names_are_compared_bytewise<S: EventStore>(store: S) {
    for name in ["straße", "strasse", "Straße", "stra\u{df}e ", "e\u{301}", "\u{e9}"] {
        append(&store, Append::to(name).no_stream().event(event(0))).await;
        assert_eq!(positions(&store, Read::stream(name)).await.len(), 1);
    }
}

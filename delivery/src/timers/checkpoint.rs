//! Where a start has to read from: the stream `$timers`, of which the newest event counts.
//!
//! What it says is true for ever: no timer that is armed, or failed, was made so before that position. So it does not
//! matter who wrote it, or whether the last one was lost: more is read then.

use nexus_protocol::{Append, AppendError, EventData, EventStore, Position, Read, StreamChange};

use super::next;
use crate::coordinator::unread;

/// The stream.
const STREAM: &str = "$timers";
/// The type of its events.
const READ: &str = "$TimersRead";

/// The first position that has to be read.
pub(super) async fn load<S: EventStore>(store: S) -> Result<Position, AppendError> {
    let newest = next(&mut store.read(Read::stream(STREAM).backwards().limit(1))).await;
    let Some(newest) = newest.transpose().map_err(unread)? else { return Ok(Position::ZERO) };
    let said = newest.json::<serde_json::Value>().ok();
    let from = said.as_ref().and_then(|said| said.get("from_position")?.as_u64());
    // One that says something else is of no use, and does no harm.
    Ok(from.filter(|from| *from <= newest.position().get()).map_or(Position::ZERO, Position::new))
}

/// Notes it. Whether that worked does not matter.
pub(super) async fn save<S: EventStore>(store: S, from: Position, is_first: bool) {
    if is_first {
        let change = StreamChange { max_count: Some(Some(1)), ..StreamChange::default() };
        drop(store.set_stream(STREAM, change).await);
    }
    let said = serde_json::json!({ "from_position": from.get() });
    let event = EventData::json(READ, &said).expect("a number has a JSON form");
    drop(store.append(Append::to(STREAM).event(event)).await);
}

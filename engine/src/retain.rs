//! Max age: events that are too old are hidden by events.
//!
//! Nobody compares ages with a clock of his own when he reads: once a minute the leader appends, for
//! each stream that needs it, the first revision that is young enough. So all copies answer alike.
//!
//! The append demands that the stream's settings are what they were, and nothing of the stream itself:
//! what is appended to it meanwhile is younger, so the floor stays right, and a stream that is never
//! idle would never be aged otherwise.

use std::sync::Arc;
use std::time::Duration;

use nexus_protocol::{
    Append, EventData, ExpectedRevision, JSON, META_AGED, META_PREFIX, MetaData, Revision,
    Timestamp,
};

use crate::commit::{Committer, submit};
use crate::index::stream::StreamEntry;
use crate::namespace::new_id;
use crate::read::Cursor;
use crate::segment::frames::Want;
use crate::sequencer::{Context, PreparedAppend};

/// Appends the floors that are due.
pub(crate) fn age_out(committer: &Arc<Committer>, now: Timestamp) {
    if committer.is_read_only() {
        return;
    }
    for entry in committer.index.streams_with_settings() {
        if let Some(append) = due(committer, &entry, now) {
            let make_id = |_: u64| new_id(now);
            let context = Context {
                data_bytes_max: 4096,
                make_id: &make_id,
                is_only_repeat: false,
                policy_revision: None,
            };
            let prepared = PreparedAppend::new(&append, &context);
            // A conflict means that the settings have changed: its turn comes again in a minute.
            if let Err(error) = submit(Arc::clone(committer), prepared, Duration::ZERO).wait() {
                tracing::debug!(%error, stream = %entry.name, "a floor is appended later");
            }
        }
    }
}

/// The append that hides what is too old of a stream, if anything is.
fn due(committer: &Committer, entry: &StreamEntry, now: Timestamp) -> Option<Append> {
    let bound = committer.log.committed.get();
    let view = entry.view(bound);
    view.state.head()?;
    let oldest = now.saturating_sub(Duration::from_secs(view.limits.max_age_s?));
    let mut cursor = Cursor::new(Arc::clone(&committer.log));
    let (mut low, mut high) = (view.floor, view.count);
    while low < high {
        let middle = low + (high - low) / 2;
        let position = entry.positions.get(usize::try_from(middle).ok()?)?;
        let event = cursor.event(position, Want::One).ok()?;
        if event.recorded_at() < oldest {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if low == view.floor {
        return None;
    }
    assert!(view.floor < low && low <= view.count, "a floor rises, over what is there");
    let data = MetaData { floor: Revision::new(low), limits: view.limits };
    let data = serde_json::to_vec(&data).expect("settings have a JSON form");
    let meta = ExpectedRevision::Exact(Revision::new(view.meta_revision?));
    let event = EventData::new(META_AGED, JSON, data.into());
    Some(Append::to(format!("{META_PREFIX}{}", entry.name)).expected(meta).event(event))
}

//! Timers that failed, as something that is parked: one place to see and decide about all of it.

use nexus_protocol::Invalid;
use nexus_protocol::json::ParkedEntryJson;
use nexus_protocol::timer::TimerPage;

/// The source of what timers have parked.
pub(super) const SOURCE: &str = "timers";

/// As entries of what is parked.
pub(super) fn entries(page: &TimerPage) -> Vec<ParkedEntryJson<'_>> {
    page.timers.iter().filter_map(ParkedEntryJson::of_timer).collect()
}

/// Which are meant: by `ids`, or `all`, which is `None`.
pub(super) fn pick(
    ids: Option<Vec<String>>,
    all: Option<bool>,
) -> Result<Option<Vec<String>>, Invalid> {
    match (ids, all.unwrap_or(false)) {
        (Some(ids), false) => Ok(Some(ids)),
        (None, true) => Ok(None),
        _ => Err(Invalid::Request("say which timers: `ids`, or `\"all\": true`".to_owned())),
    }
}

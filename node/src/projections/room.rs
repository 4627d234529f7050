//! [`Room`]: how much of a disk projections may take: the log comes first.
//!
//! Documents can be folded again, and events cannot: so what folds stands still before there is no room for events.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nexus_engine::Engine;
use serde::{Deserialize, Serialize};

/// What was found is believed for so long.
const BELIEVED: Duration = Duration::from_secs(1);

/// How much of a disk projections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectionRoom {
    /// Bytes of the documents of all projections together; 0: no limit. What is written at the moment may go beyond it.
    pub disk_bytes_max: u64,
    /// Bytes of the disk that are left free for events: with fewer, nothing is folded.
    pub disk_free_bytes_min: u64,
}

impl Default for ProjectionRoom {
    /// No limit, but for 256 MiB that are left free.
    fn default() -> Self {
        Self { disk_bytes_max: 0, disk_free_bytes_min: 256 * 1024 * 1024 }
    }
}

/// Whether there is room.
#[derive(Debug)]
pub(super) struct Room {
    engine: Engine,
    /// Where documents are; `None`: in memory.
    directory: Option<PathBuf>,
    wanted: ProjectionRoom,
    found: Mutex<Option<(Instant, Option<String>)>>,
}

impl Room {
    pub(super) fn new(engine: &Engine, directory: Option<PathBuf>, wanted: ProjectionRoom) -> Self {
        Self { engine: engine.clone(), directory, wanted, found: Mutex::default() }
    }

    /// Why nothing may be folded now; `None`: there is room.
    pub(super) fn refusal(&self) -> Option<String> {
        let directory = self.directory.as_ref()?;
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, refusal)) = &*found
            && at.elapsed() < BELIEVED
        {
            return refusal.clone();
        }
        let refusal = self.look(directory);
        *found = Some((Instant::now(), refusal.clone()));
        refusal
    }

    fn look(&self, directory: &Path) -> Option<String> {
        let ProjectionRoom { disk_bytes_max, disk_free_bytes_min } = self.wanted;
        // A disk that cannot be asked says so when something is written.
        let free = self.engine.free_bytes().ok()?;
        if free < disk_free_bytes_min {
            return Some(format!(
                "it stands still, since the disk has {free} bytes left, and {disk_free_bytes_min} are kept free for \
                 events: make room, or set `projections.disk_free_bytes_min`"
            ));
        }
        let taken = if disk_bytes_max > 0 { nexus_search::bytes_in(directory) } else { 0 };
        (taken > disk_bytes_max).then(|| {
            format!(
                "it stands still, since projections take {taken} bytes, of at most {disk_bytes_max}: delete some, or set \
                 `projections.disk_bytes_max`"
            )
        })
    }
}

//! What `benches/compare` measures and prints with too, so that its figures are counted, rounded, and written as those
//! of `nexus bench` are.
//!
//! For that crate only, and not kept stable: other stores are compiled there and nowhere else, so it cannot be part of
//! this one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nexus_engine::io::remeasure;

use super::{Effort, disk_failure};

pub use super::Folder;
pub use super::conditions::{Conditions, Peer};
pub use super::groups::{BATCH, BATCHES_AHEAD, CONSUMERS};
pub use super::read_models::{Kind, Purchase, Question, one_each, purchases};
pub use super::report::{Better, Report, Scenario};
pub use super::rounds::{Latencies, Measure, Rounds, Turn};
pub use super::server::drive::{Worker, drive};
pub use super::workload::{DATA_BYTES, Orders, number_of};
pub use crate::exit::Failure;
pub use crate::interrupt::{ends, forgets};
pub use crate::output::{Format, Output, notice};

/// How much time is spent beside other stores.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// In seconds instead of minutes.
    pub quick: bool,
    /// How often each of them has its turn.
    pub rounds: usize,
    /// How long a turn takes that is about time.
    pub turn: Duration,
}

impl Conditions {
    /// Looks at the machine, and at the disk below `dir`: how Nexus writes it is measured, and kept there as
    /// [`nexus_engine::io::DISK_FILE`].
    ///
    /// # Errors
    /// When the disk refuses what the engine needs of it.
    pub fn beside_peers(dir: &Path, spent: &Spent, peers: Vec<Peer>) -> Result<Self, Failure> {
        use nexus_engine::io::Effort as Measured;
        let (effort, measured) = match spent.quick {
            true => (Effort::QUICK, Measured::Short),
            false => (Effort::FULL, Measured::Long),
        };
        let choice = remeasure(dir, measured).map_err(|error| disk_failure(&error))?;
        let effort = Effort { rounds: spent.rounds, turn: spent.turn, ..effort };
        let orders = Arc::new(Orders::seeded());
        let found = Self::find(dir, choice.backend, &choice.reason, &orders, &effort)?;
        let protocol = Some(super::server::protocol());
        Ok(Self { peers, protocol, ..found })
    }

    /// Whether this is a build whose figures say something.
    pub fn is_release() -> bool {
        super::conditions::profile() == "release"
    }
}

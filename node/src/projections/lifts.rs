//! [`Lifts`]: what lifts the events of a projection, by the schemas of its namespace.

use std::collections::BTreeMap;
use std::sync::Arc;

use nexus_delivery::projection::{FoldFailed, Lift};
use nexus_engine::Namespace;
use nexus_protocol::RecordedEvent;
use nexus_protocol::group::Failure;

use crate::schemas::Schemas;

/// What lifts the events of a projection.
#[derive(Clone, Debug)]
pub(super) struct Lifts {
    pub(super) schemas: Arc<Schemas>,
    pub(super) namespace: Namespace,
    /// To which versions, by subject.
    pub(super) versions: BTreeMap<String, u32>,
}

fn failed(why: &impl ToString, passes: bool) -> FoldFailed {
    let failure = Failure { class: "lift".to_owned(), ..Failure::new(why.to_string()) };
    FoldFailed { failure, passes }
}

impl Lift for Lifts {
    fn lift(&self, event: &RecordedEvent) -> Result<Vec<RecordedEvent>, FoldFailed> {
        // A disk that cannot be read may be read the next time.
        let registry = self.schemas.registry(&self.namespace).map_err(|why| failed(&why, true))?;
        registry.show_in(event, &self.versions).map_err(|why| failed(&why, false))
    }
}

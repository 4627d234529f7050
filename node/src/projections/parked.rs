//! What is parked of projections, and what somebody decides about it.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use nexus_delivery::projection::{Amendment, Catalog, SinkError};
use nexus_engine::Namespace;
use nexus_protocol::group::{ParkedEntry, ParkedList, ParkedPick};
use nexus_protocol::{AppendError, Invalid, RecordedEvent, Unavailable};

use super::build::Build;
use super::space::Space;
use super::{OPENING, Projections, closed};

impl Projections {
    /// What is parked of what answers, by position, and whether there is more.
    pub(crate) fn parked(
        &self,
        namespace: &Namespace,
        name: &str,
        list: &ParkedList,
    ) -> Result<(Vec<ParkedEntry>, bool), AppendError> {
        let (_, build) = self.answering(namespace, name)?;
        of_runner(name, build.with_runner(|runner, _| Ok(runner.parked(list))))
    }

    /// Has what is parked be folded again: how many entries that were.
    pub(crate) fn replay(
        &self,
        namespace: &Namespace,
        name: &str,
        pick: &ParkedPick,
    ) -> Result<u64, AppendError> {
        let (_, build) = self.answering(namespace, name)?;
        let count = of_runner(name, build.with_runner(|runner, now| runner.replay(pick, now)))?;
        build.resume();
        Ok(count)
    }

    /// Has what is parked not be folded, in this version: how many entries that were. It is in the log.
    pub(crate) fn skip(
        &self,
        namespace: &Namespace,
        name: &str,
        pick: &ParkedPick,
    ) -> Result<u64, AppendError> {
        let (space, build) = self.answering(namespace, name)?;
        // What is picked is so still when it is decided about.
        let alone = space.alone();
        let picked = of_runner(name, build.with_runner(|runner, _| Ok(runner.picked(pick))))?;
        let skipped = picked.into_iter().map(|position| (position, Amendment::Skip)).collect();
        amend(&space, &alone, (&build, &skipped))
    }

    /// Has an event that is parked be folded with other data, in this version; `false`: it cannot be. It is in the log.
    pub(crate) fn edit(
        &self,
        namespace: &Namespace,
        name: &str,
        (event, data): (&RecordedEvent, bytes::Bytes),
    ) -> Result<bool, AppendError> {
        let (space, build) = self.answering(namespace, name)?;
        let alone = space.alone();
        let takes = build.with_runner(|runner, _| Ok(runner.takes_edit(event, &data)));
        if !of_runner(name, takes)? {
            return Ok(false);
        }
        let edited = BTreeMap::from([(event.position().get(), Amendment::Edit(data))]);
        amend(&space, &alone, (&build, &edited)).map(|_| true)
    }

    /// What answers for a name, opened.
    fn answering(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<(Arc<Space>, Arc<Build>), AppendError> {
        let space = self.space(namespace)?;
        space.follow(name)?;
        let build = space.answering(name).ok_or_else(closed)?;
        drop(build.fresh(None, OPENING));
        Ok((space, build))
    }
}

fn amend(
    space: &Arc<Space>,
    alone: &MutexGuard<'_, ()>,
    (build, amendments): (&Arc<Build>, &BTreeMap<u64, Amendment>),
) -> Result<u64, AppendError> {
    if amendments.is_empty() {
        return Ok(0);
    }
    let (name, version) = (&build.name, build.id.version);
    let decide = |catalog: &Catalog| catalog.amend(name, version, amendments).map(Some);
    space.decide_alone(alone, name, decide)?;
    for build in space.of_version(name, version) {
        // One that is not open is told when it is; one that cannot take it is folded again, and knows of it then.
        build.with_runner(|runner, now| runner.amend(amendments.clone(), now));
        build.resume();
    }
    Ok(amendments.len() as u64)
}

/// What came of asking what folds.
fn of_runner<T>(name: &str, done: Option<Result<T, SinkError>>) -> Result<T, AppendError> {
    let not_open = |why: String| {
        AppendError::from(Invalid::Request(format!(
            "the documents of projection {name:?} are not open: {why}"
        )))
    };
    match done {
        Some(Ok(done)) => Ok(done),
        Some(Err(SinkError::Full)) => Err(AppendError::Unavailable(Unavailable::DiskFull)),
        Some(Err(error)) => Err(not_open(error.to_string())),
        None => Err(not_open("`nexus projection status` says why".to_owned())),
    }
}

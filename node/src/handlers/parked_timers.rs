//! To decide about timers that failed: they are parked, as events of groups are.

use bytes::Bytes;
use nexus_protocol::limits::TIMERS_PAGE_MAX;
use nexus_protocol::timer::{TimerInfo, TimerList, TimerState};
use nexus_protocol::{Append, AppendError, Position, ReadError};

use super::{Access, PendingAppend};

impl Access {
    /// Arms timers anew that failed, these or all: they are due at once. Gives how many there were; one that has not
    /// failed, or about which somebody else has decided meanwhile, is not counted. Blocks until it is durable.
    ///
    /// # Errors
    /// When the principal may not read and append; as an append's. One that is refused for what it is is the error in
    /// the end, and the other timers are armed all the same; any other ends it.
    pub fn replay_timers(&self, ids: Option<&[String]>) -> Result<u64, AppendError> {
        self.each_failed(ids, TimerInfo::armed_again)
    }

    /// Gives up timers that failed, these or all. Otherwise as [`Self::replay_timers`].
    ///
    /// # Errors
    /// As [`Self::replay_timers`].
    pub fn skip_timers(&self, ids: Option<&[String]>) -> Result<u64, AppendError> {
        self.each_failed(ids, TimerInfo::given_up)
    }

    /// Arms a timer anew that failed, with other data of its event. Gives where the event stands that says so. Blocks
    /// until it is durable.
    ///
    /// # Errors
    /// When the principal may not read and append; `NotFound` where it has not failed; as an append's.
    pub fn edit_timer(&self, id: &str, data: Bytes) -> Result<Position, AppendError> {
        let mut info = self
            .failed_timer(id)?
            .ok_or_else(|| AppendError::NotFound { what: format!("timer {id:?} that failed") })?;
        info.timer.event.data = data;
        let appended = self.append(info.armed_again())?.wait()?;
        appended.first().ok_or(AppendError::Unknown)
    }

    fn each_failed(
        &self,
        ids: Option<&[String]>,
        append: impl Fn(&TimerInfo) -> Append,
    ) -> Result<u64, AppendError> {
        // Also where there is none.
        self.may_append()?;
        let mut decided = Decided::default();
        if let Some(ids) = ids {
            for ids in ids.chunks(TIMERS_PAGE_MAX) {
                let infos = ids.iter().filter_map(|id| self.failed_timer(id).transpose());
                let infos = infos.collect::<Result<Vec<_>, _>>()?;
                self.decide_timers(&infos, &append, &mut decided)?;
            }
            return decided.result();
        }
        let mut after = None;
        loop {
            let limit = TIMERS_PAGE_MAX;
            let page = self.timers(&TimerList { state: TimerState::Failed, after, limit })?;
            self.decide_timers(&page.timers, &append, &mut decided)?;
            after = page.next;
            if after.is_none() {
                return decided.result();
            }
        }
    }

    /// Some of them: their appends share syncs.
    fn decide_timers(
        &self,
        infos: &[TimerInfo],
        append: impl Fn(&TimerInfo) -> Append,
        decided: &mut Decided,
    ) -> Result<(), AppendError> {
        let appends: Vec<_> = infos.iter().map(|info| self.append(append(info))).collect();
        for append in appends {
            match append.and_then(PendingAppend::wait) {
                Ok(_) => decided.count += 1,
                // Somebody else has decided.
                Err(AppendError::Conflict(_)) => {}
                // That keeps no other timer from being decided about.
                Err(error) if error.is_of_this_append() => {
                    decided.refused.get_or_insert(error);
                }
                // The others would fail for the same reason. What was submitted is waited for all the same.
                Err(error) => drop(decided.ended.get_or_insert(error)),
            }
        }
        decided.ended.take().map_or(Ok(()), Err)
    }

    /// A timer that has failed; `None`: it has not, or is not there.
    fn failed_timer(&self, id: &str) -> Result<Option<TimerInfo>, AppendError> {
        match self.timer(id) {
            Ok(info) => Ok(Some(info).filter(|info| info.state == TimerState::Failed)),
            Err(ReadError::NotFound { .. }) => Ok(None),
            Err(error) => Err(nexus_delivery::coordinator::unread(error)),
        }
    }
}

/// What became of some timers.
#[derive(Debug, Default)]
struct Decided {
    count: u64,
    /// Why the first was not decided about that could not be.
    refused: Option<AppendError>,
    /// Why nothing more is.
    ended: Option<AppendError>,
}

impl Decided {
    fn result(self) -> Result<u64, AppendError> {
        self.refused.map_or(Ok(self.count), Err)
    }
}

//! To arm, see, and disarm timers.

use nexus_engine::Namespace;
use nexus_protocol::limits::TIMERS_PAGE_MAX;
use nexus_protocol::timer::{
    TIMER_ARMED, TIMER_FAILED, TIMER_FIRED, Timer, TimerInfo, TimerList, TimerPage, TimerState,
    check_timer_id, disarmed, timer_info, timer_stream,
};
use nexus_protocol::{
    Append, AppendError, Clause, Corruption, CorruptionKind, Read, ReadError, RecordedEvent,
};

use super::Access;
use crate::guard::About;
use crate::telemetry::Operation;
use crate::timers::Timers;

/// Bytes of the events of a page, about: there is less on it than was asked for, where they are large.
const LIST_BYTES: usize = 4 * 1024 * 1024;
/// How often a timer is looked at that changes whenever it is to be disarmed.
const TRIES: usize = 8;

impl Access {
    /// Arms a timer, or arms it anew; `false`: it is armed just so already, or has fired, and nothing was done. Blocks until it is
    /// durable. Any append may do the same by an event of [`Timer::armed`] in the stream [`timer_stream`].
    ///
    /// # Errors
    /// When the principal may not append; `Invalid` of an id or a timer that cannot be; as an append's.
    pub fn set_timer(&self, id: &str, timer: &Timer) -> Result<bool, AppendError> {
        self.observe(Operation::SetTimer, About::name(id), |namespace| {
            check_timer_id(id)?;
            // One that has fired is not armed again by a request that comes twice.
            let is_so =
                |known: &TimerInfo| known.state != TimerState::Failed && known.timer == *timer;
            if info(namespace, id).map_err(unread)?.is_some_and(|known| is_so(&known)) {
                return Ok(false);
            }
            let armed = Append::to(timer_stream(id)).event(timer.armed());
            self.append(armed)?.wait().map(|_| true)
        })
    }

    /// How a timer stands, with the event that it appends. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not read, or there is no such timer, or it is disarmed.
    pub fn timer(&self, id: &str) -> Result<TimerInfo, ReadError> {
        self.observe(Operation::Timer, About::name(id), |namespace| {
            check_timer_id(id)?;
            info(namespace, id)?.ok_or_else(|| ReadError::NotFound { what: no_timer(id) })
        })
    }

    /// What was armed last under an id, for whoever has just armed it: also where that may not read. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not append, or the timer is disarmed by now.
    pub fn armed_timer(&self, id: &str) -> Result<TimerInfo, AppendError> {
        self.observe(Operation::SetTimer, About::name(id), |namespace| {
            let known = info(namespace, id).map_err(unread)?;
            known.ok_or_else(|| AppendError::NotFound { what: no_timer(id) })
        })
    }

    /// The timers that are armed, or those that failed, at most [`TIMERS_PAGE_MAX`]. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not read.
    pub fn timers(&self, list: &TimerList) -> Result<TimerPage, AppendError> {
        self.observe(Operation::Timers, About::default(), |namespace| {
            let (ids, more) = self.ids(namespace, list)?;
            let mut next = ids.last().cloned().filter(|_| more);
            let (mut timers, mut bytes) = (Vec::new(), 0);
            for id in ids {
                if bytes >= LIST_BYTES {
                    next = timers.last().map(|it: &TimerInfo| it.id.clone());
                    break;
                }
                // What has changed since is not one of them any more.
                let now = info(namespace, &id).map_err(unread)?.filter(|it| it.state == list.state);
                let event = now.as_ref().map(|it| &it.timer.event);
                bytes += event.map_or(0, |event| event.data.len() + event.metadata.len());
                timers.extend(now);
            }
            Ok(TimerPage { timers, next })
        })
    }

    /// The ids of the same, and whether there are more.
    ///
    /// # Errors
    /// When the principal may not read.
    pub fn timer_ids(&self, list: &TimerList) -> Result<(Vec<String>, bool), AppendError> {
        self.observe(Operation::Timers, About::default(), |namespace| self.ids(namespace, list))
    }

    fn ids(
        &self,
        namespace: &Namespace,
        list: &TimerList,
    ) -> Result<(Vec<String>, bool), AppendError> {
        if list.state == TimerState::Fired {
            let why = "timers that have fired are not listed: read their streams, `$timer-ID`";
            return Err(nexus_protocol::Invalid::Request(why.to_owned()).into());
        }
        if !Timers::has_any(namespace).map_err(unread)? {
            return Ok((Vec::new(), false));
        }
        let list = TimerList { limit: list.limit.min(TIMERS_PAGE_MAX), ..list.clone() };
        let listed = self.node.running_timers().list(namespace, list)?;
        Ok((listed.ids.iter().map(|id| id.to_string()).collect(), listed.more))
    }

    /// Disarms a timer, or gives up one that failed. Blocks until it is durable: it has not fired then, and will not.
    ///
    /// # Errors
    /// When the principal may not append; `NotFound` where it is not armed any more, or never was; as an append's.
    pub fn disarm_timer(&self, id: &str) -> Result<(), AppendError> {
        self.observe(Operation::DisarmTimer, About::name(id), |namespace| {
            check_timer_id(id)?;
            let mut last = AppendError::NotFound { what: no_timer(id) };
            for _ in 0..TRIES {
                let newest = newest(namespace, id).map_err(unread)?;
                let waits =
                    |it: &RecordedEvent| matches!(it.event_type(), TIMER_ARMED | TIMER_FAILED);
                let Some(newest) = newest.filter(waits) else {
                    return Err(AppendError::NotFound { what: no_timer(id) });
                };
                let disarm = Append::to(timer_stream(id)).at(newest.revision()).event(disarmed());
                match self.append(disarm)?.wait() {
                    // It has just fired, or was armed anew.
                    Err(AppendError::Conflict(conflict))
                        if matches!(conflict.clause, Clause::Stream { .. }) =>
                    {
                        last = AppendError::Conflict(conflict);
                    }
                    done => return done.map(|_| ()),
                }
            }
            Err(last)
        })
    }
}

fn no_timer(id: &str) -> String {
    format!("timer {id:?} that is armed: it was never, or is disarmed or over")
}

fn unread(error: ReadError) -> AppendError {
    nexus_delivery::coordinator::unread(error)
}

/// The newest event of a timer.
fn newest(namespace: &Namespace, id: &str) -> Result<Option<RecordedEvent>, ReadError> {
    let read = Read::stream(timer_stream(id)).backwards().limit(1);
    namespace.read(read).into_iter().next().transpose()
}

/// How a timer stands; `None`: it was never armed, or is disarmed.
fn info(namespace: &Namespace, id: &str) -> Result<Option<TimerInfo>, ReadError> {
    let Some(newest) = newest(namespace, id)? else { return Ok(None) };
    let armed = match newest.event_type() {
        TIMER_ARMED => newest.clone(),
        // Both stand right behind the event that armed it.
        TIMER_FIRED | TIMER_FAILED => {
            let Some(before) = newest.revision().previous() else { return Ok(None) };
            let read = Read::stream(timer_stream(id)).from_revision(before).limit(1);
            match namespace.read(read).into_iter().next().transpose()? {
                Some(armed) => armed,
                None => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    timer_info(id, &newest, &armed).map_err(|why| ReadError::Corruption {
        position: armed.position(),
        resume_at: Some(newest.position().next()),
        corruption: Box::new(Corruption {
            file: format!("stream {:?}", timer_stream(id)),
            offset_bytes: 0,
            kind: CorruptionKind::Malformed(why.to_string().into()),
        }),
    })
}

//! Timers: events that are appended when their time has come.
//!
//! A timer is a stream, and to arm or disarm it an append, so that all but the list is what any client can do with the
//! log; what is asked for the list is which timers there are.

use std::pin::Pin;

use futures_core::Stream;
use nexus_protocol::limits::TIMERS_PAGE_MAX;
use nexus_protocol::timer::{
    TIMER_ARMED, TIMER_FAILED, TIMER_FIRED, Timer, TimerInfo, TimerList, TimerPage, check_timer_id,
    disarmed, timer_info, timer_stream,
};
use nexus_protocol::{Append, AppendError, Clause, Read, ReadError, RecordedEvent};

use crate::ask::{protocol, unread};
use crate::client::{Client, Reach, reach};

/// How often a timer is looked at that changes whenever it is to be disarmed.
const TRIES: usize = 8;

impl Client {
    /// Arms a timer, or arms it anew: when its time has come, its event is appended, once. Any append can do the same,
    /// next to other events: by an event of [`Timer::armed`] in the stream [`timer_stream`].
    ///
    /// ```
    /// # #[cfg(feature = "embedded")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use nexus_protocol::EventData;
    /// use nexus_protocol::timer::{Timer, TimerState};
    ///
    /// let client = nexus_client::connect("memory:").await?;
    /// let event = EventData::json("PaymentTimedOut", &serde_json::json!({}))?;
    /// let timer = Timer::new("2099-01-01T00:00:00Z".parse()?, "order-1", event);
    /// client.set_timer("order-1/payment", &timer).await?;
    /// assert_eq!(client.timer("order-1/payment").await?.state, TimerState::Armed);
    /// client.disarm_timer("order-1/payment").await?;
    /// # client.close().await?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "embedded"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// `Invalid` of an id or a timer that cannot be; as [`AppendError`] says, `Unknown` where it may be armed.
    pub async fn set_timer(&self, id: &str, timer: &Timer) -> Result<(), AppendError> {
        check_timer_id(id)?;
        self.append(Append::to(timer_stream(id)).event(timer.armed())).await.map(|_| ())
    }

    /// How a timer stands.
    ///
    /// # Errors
    /// `NotFound` where it was never armed, or is disarmed; as [`ReadError`] says.
    pub async fn timer(&self, id: &str) -> Result<TimerInfo, ReadError> {
        check_timer_id(id)?;
        let known = self.known_timer(id).await?;
        known.ok_or_else(|| ReadError::NotFound { what: no_timer(id) })
    }

    /// The timers that are armed, or those that failed, by id.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn timers(&self, list: &TimerList) -> Result<TimerPage, AppendError> {
        let list = TimerList { limit: list.limit.min(TIMERS_PAGE_MAX), ..list.clone() };
        let state = list.state;
        let ids = async { reach!(self, there => there.timer_ids(list).await) };
        let (ids, more) = self.asked("timers", ids).await?;
        let next = ids.last().cloned().filter(|_| more);
        let mut timers = Vec::with_capacity(ids.len());
        for id in ids {
            // What has changed since is not one of them any more.
            let known = self.known_timer(&id).await.map_err(unread)?;
            timers.extend(known.filter(|it| it.state == state));
        }
        Ok(TimerPage { timers, next })
    }

    /// Disarms a timer, or gives up one that failed: when that is answered it has not fired, and will not.
    ///
    /// # Errors
    /// `NotFound` where it is not armed any more, or never was; as [`AppendError`] says.
    pub async fn disarm_timer(&self, id: &str) -> Result<(), AppendError> {
        check_timer_id(id)?;
        let mut last = AppendError::NotFound { what: no_timer(id) };
        for _ in 0..TRIES {
            let newest = self.newest_of(id).await.map_err(unread)?;
            let waits = |it: &RecordedEvent| matches!(it.event_type(), TIMER_ARMED | TIMER_FAILED);
            let Some(newest) = newest.filter(waits) else {
                return Err(AppendError::NotFound { what: no_timer(id) });
            };
            let disarm = Append::to(timer_stream(id)).at(newest.revision()).event(disarmed());
            match self.append(disarm).await {
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
    }

    async fn one(&self, read: Read) -> Result<Option<RecordedEvent>, ReadError> {
        let mut events = self.read(read);
        std::future::poll_fn(|context| Pin::new(&mut events).poll_next(context)).await.transpose()
    }

    async fn newest_of(&self, id: &str) -> Result<Option<RecordedEvent>, ReadError> {
        self.one(Read::stream(timer_stream(id)).backwards().limit(1)).await
    }

    async fn known_timer(&self, id: &str) -> Result<Option<TimerInfo>, ReadError> {
        let Some(newest) = self.newest_of(id).await? else { return Ok(None) };
        let armed = match newest.event_type() {
            TIMER_ARMED => newest.clone(),
            // Both stand right behind the event that armed it.
            TIMER_FIRED | TIMER_FAILED => {
                let Some(before) = newest.revision().previous() else { return Ok(None) };
                let read = Read::stream(timer_stream(id)).from_revision(before).limit(1);
                let Some(armed) = self.one(read).await? else { return Ok(None) };
                armed
            }
            _ => return Ok(None),
        };
        timer_info(id, &newest, &armed).map_err(|why| protocol(&why.to_string()))
    }
}

fn no_timer(id: &str) -> String {
    format!("timer {id:?} that is armed: it was never, or is disarmed or over")
}

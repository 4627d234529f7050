//! Groups of a store in this process, and consumers of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nexus_node::{Access, Received};
use nexus_protocol::group::{
    Answered, Delivery, DeliveryToken, GroupConfig, GroupInfo, GroupStart, LaneInfo, Nack,
    ParkedList, ParkedPage, ParkedPick,
};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::timer::TimerList;
use nexus_protocol::{Append, AppendError, Appended, Position, Unavailable};
use tokio::sync::oneshot;

use super::{Embedded, panic_or};
use crate::connection::Deadline;
use crate::retry::Backoff;

/// So often a group that has just ended is asked again: it is opened anew by that.
const TRIES: u32 = 6;

fn closed<T>() -> Result<T, AppendError> {
    Err(AppendError::Unavailable(Unavailable::Closed))
}

impl Embedded {
    /// Asks for something by name on a thread that may block. A change happens also when nobody waits any more.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        name: &str,
        ask: impl FnOnce(&Access, &str) -> Result<T, AppendError> + Send + 'static,
    ) -> Result<T, AppendError> {
        let access = self.access().map_err(|none| none.0)?;
        let name = name.to_owned();
        let asked = self.runtime.spawn_blocking(move || ask(&access, &name)).await;
        asked.unwrap_or_else(|why| panic_or(why, closed()))
    }

    pub(crate) async fn set_group(
        &self,
        name: &str,
        config: &GroupConfig,
    ) -> Result<bool, AppendError> {
        let config = config.clone();
        self.blocking(name, move |access, name| access.set_group(name, &config)).await
    }

    pub(crate) async fn timer_ids(
        &self,
        list: TimerList,
    ) -> Result<(Vec<String>, bool), AppendError> {
        self.blocking("", move |access, _| access.timer_ids(&list)).await
    }

    pub(crate) async fn groups(&self) -> Result<Vec<String>, AppendError> {
        self.blocking("", |access, _| access.groups()).await
    }

    pub(crate) async fn group(&self, name: &str) -> Result<GroupInfo, AppendError> {
        self.blocking(name, Access::group).await
    }

    pub(crate) async fn group_lanes(
        &self,
        name: &str,
    ) -> Result<(GroupInfo, Vec<LaneInfo>), AppendError> {
        self.blocking(name, Access::group_lanes).await
    }

    pub(crate) async fn delete_group(&self, name: &str) -> Result<(), AppendError> {
        self.blocking(name, Access::delete_group).await
    }

    pub(crate) async fn pause_group(&self, name: &str, reason: &str) -> Result<(), AppendError> {
        let reason = reason.to_owned();
        self.blocking(name, move |access, name| access.pause_group(name, &reason)).await
    }

    pub(crate) async fn resume_group(&self, name: &str) -> Result<(), AppendError> {
        self.blocking(name, Access::resume_group).await
    }

    pub(crate) async fn seek_group(
        &self,
        name: &str,
        to: GroupStart,
    ) -> Result<Position, AppendError> {
        self.blocking(name, move |access, name| access.seek_group(name, to)).await
    }

    pub(crate) async fn parked(
        &self,
        group: &str,
        list: &ParkedList,
    ) -> Result<ParkedPage, AppendError> {
        let list = list.clone();
        self.blocking(group, move |access, group| access.parked(group, &list)).await
    }

    pub(crate) async fn replay_parked(
        &self,
        group: &str,
        pick: ParkedPick,
        rate_per_s: Option<u32>,
    ) -> Result<u64, AppendError> {
        let replay =
            move |access: &Access, group: &str| access.replay_parked(group, pick, rate_per_s);
        self.blocking(group, replay).await
    }

    pub(crate) async fn skip_parked(
        &self,
        group: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        self.blocking(group, move |access, group| access.skip_parked(group, pick)).await
    }

    pub(crate) async fn edit_parked(
        &self,
        group: &str,
        at: Position,
        data: Bytes,
    ) -> Result<Position, AppendError> {
        self.blocking(group, move |access, group| access.edit_parked(group, at, data)).await
    }

    /// To be a consumer of a group.
    pub(crate) fn consume(
        &self,
        group: &str,
        consumer: &str,
        as_schema: AsSchema,
    ) -> EmbeddedConsumer {
        let (group, consumer) = (group.to_owned(), consumer.to_owned());
        EmbeddedConsumer {
            store: self.clone(),
            group,
            consumer,
            as_schema,
            is_member: false.into(),
        }
    }
}

/// A consumer of a group of a store in this process.
#[derive(Debug)]
pub(crate) struct EmbeddedConsumer {
    store: Embedded,
    group: String,
    consumer: String,
    as_schema: AsSchema,
    /// Whether it has asked for something since it left.
    is_member: AtomicBool,
}

impl EmbeddedConsumer {
    fn access(&self) -> Result<Access, AppendError> {
        self.store.access().map_err(|none| none.0.into())
    }

    /// Takes deliveries. Dropped, it has taken none.
    pub(crate) async fn receive(
        &self,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, AppendError> {
        self.is_member.store(true, Ordering::Relaxed);
        let mut backoff = Backoff::default();
        let until = Deadline::after(wait);
        loop {
            let access = self.access()?;
            let received = access.receive(&self.group, &self.consumer, max, until.left()).await;
            match received.map(|received| received.as_schema(self.as_schema)) {
                Ok(received) => {
                    let has_some = !received.is_empty();
                    let deliveries = match received.is_in_memory() {
                        true => received.deliveries()?,
                        false => self.read(access, received).await?,
                    };
                    // What is done with, or cannot be shown, is nothing that came.
                    if !deliveries.is_empty() || !has_some || until.is_over() {
                        return Ok(deliveries);
                    }
                }
                Err(AppendError::Unavailable(Unavailable::Closed) | AppendError::Unknown)
                    if backoff.attempt() < TRIES =>
                {
                    let wait = Deadline::after(backoff.next());
                    wait.limit_on(&self.store.runtime, std::future::pending::<()>()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Their events, read on a thread that may block. Where nobody waits any more, they are given back.
    async fn read(&self, access: Access, received: Received) -> Result<Vec<Delivery>, AppendError> {
        let (sender, read) = oneshot::channel();
        let (group, consumer) = (self.group.clone(), self.consumer.clone());
        let runtime = self.store.runtime.clone();
        self.store.runtime.spawn_blocking(move || {
            if let Err(Ok(deliveries)) = sender.send(received.deliveries()) {
                let tokens = deliveries.iter().map(|delivery| delivery.token).collect();
                runtime.spawn(async move { access.give_back(&group, &consumer, tokens).await });
            }
        });
        read.await.unwrap_or_else(|_| closed())
    }

    pub(crate) async fn ack(&self, tokens: &[DeliveryToken]) -> Result<Answered, AppendError> {
        self.access()?.ack(&self.group, Some(&self.consumer), tokens.to_vec()).await
    }

    pub(crate) async fn nack(
        &self,
        tokens: &[DeliveryToken],
        nack: Nack,
    ) -> Result<Answered, AppendError> {
        self.access()?.nack(&self.group, Some(&self.consumer), tokens.to_vec(), nack).await
    }

    pub(crate) async fn extend(
        &self,
        tokens: &[DeliveryToken],
        by: Duration,
    ) -> Result<Answered, AppendError> {
        self.access()?.extend(&self.group, Some(&self.consumer), tokens.to_vec(), by).await
    }

    pub(crate) async fn ack_with(
        &self,
        tokens: &[DeliveryToken],
        mut append: Append,
    ) -> Result<(Answered, Option<Appended>), AppendError> {
        if self.store.trace.is_some() {
            let events = append.streams.iter_mut().flat_map(|stream| &mut stream.events);
            events.for_each(|event| event.trace = event.trace.or(self.store.trace));
        }
        self.access()?.ack_with(&self.group, Some(&self.consumer), tokens.to_vec(), append).await
    }

    pub(crate) async fn leave(&self) -> Result<(), AppendError> {
        self.is_member.store(false, Ordering::Relaxed);
        self.access()?.leave(&self.group, &self.consumer, false).await
    }
}

impl Drop for EmbeddedConsumer {
    /// Whoever is gone has left: others have at once what it did not answer.
    fn drop(&mut self) {
        if !*self.is_member.get_mut() {
            return;
        }
        let Ok(access) = self.access() else { return };
        let (group, consumer) = (self.group.clone(), self.consumer.clone());
        let leaving = async move { access.session_ended(&group, &consumer, false).await };
        self.store.runtime.spawn(leaving);
    }
}

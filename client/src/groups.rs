//! Groups of consumers: to make, see, and steer them, and to decide about what they have parked.

use bytes::Bytes;
use nexus_protocol::group::{
    GroupConfig, GroupInfo, GroupStart, LaneInfo, ParkedList, ParkedPage, ParkedPick,
};
use nexus_protocol::limits::DELIVERIES_MAX;
use nexus_protocol::{AppendError, Position, TooLarge};

use crate::client::{Client, Reach, reach};
use crate::consumer::Consumer;

impl Client {
    /// Makes a group, or changes one that is there; `true`: it was made. It is durable when it is answered.
    ///
    /// ```
    /// # #[cfg(feature = "embedded")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use nexus_protocol::Filter;
    /// use nexus_protocol::group::GroupConfig;
    ///
    /// let client = nexus_client::connect("memory:").await?;
    /// let config = GroupConfig { max_attempts: 3, ..GroupConfig::default() };
    /// assert!(client.set_group("mail", &config).await?);
    /// assert_eq!(client.groups().await?, ["mail"]);
    /// assert_eq!(client.group("mail").await?.lag_events, 0);
    /// # client.close().await?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "embedded"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// `Invalid` of a name or a configuration that no group can have, or this one not any more; as [`AppendError`] says,
    /// `Unknown` where it may have happened.
    pub async fn set_group(&self, name: &str, config: &GroupConfig) -> Result<bool, AppendError> {
        let set = async { reach!(self, there => there.set_group(name, config).await) };
        self.asked("set group", set).await
    }

    /// The names of all groups, sorted.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn groups(&self) -> Result<Vec<String>, AppendError> {
        self.asked("groups", async { reach!(self, there => there.groups().await) }).await
    }

    /// How a group is.
    ///
    /// # Errors
    /// `NotFound` where there is none of this name; as [`AppendError`] says.
    pub async fn group(&self, name: &str) -> Result<GroupInfo, AppendError> {
        self.asked("group", async { reach!(self, there => there.group(name).await) }).await
    }

    /// How a group is, with the lanes that have something to do.
    ///
    /// # Errors
    /// As [`Client::group`].
    pub async fn group_lanes(&self, name: &str) -> Result<(GroupInfo, Vec<LaneInfo>), AppendError> {
        self.asked("group lanes", async { reach!(self, there => there.group_lanes(name).await) })
            .await
    }

    /// Deletes a group, and what it has parked; the log stays as it is.
    ///
    /// # Errors
    /// As [`Client::group`]; `Unknown` where it may be deleted.
    pub async fn delete_group(&self, name: &str) -> Result<(), AppendError> {
        let deleted = async { reach!(self, there => there.delete_group(name).await) };
        self.asked("delete group", deleted).await
    }

    /// Lets a group deliver nothing until it is resumed; what is with consumers may be answered.
    ///
    /// # Errors
    /// As [`Client::delete_group`].
    pub async fn pause_group(&self, name: &str, reason: &str) -> Result<(), AppendError> {
        let paused = async { reach!(self, there => there.pause_group(name, reason).await) };
        self.asked("pause group", paused).await
    }

    /// Lets a group go on.
    ///
    /// # Errors
    /// As [`Client::delete_group`].
    pub async fn resume_group(&self, name: &str) -> Result<(), AppendError> {
        let resumed = async { reach!(self, there => there.resume_group(name).await) };
        self.asked("resume group", resumed).await
    }

    /// Lets a group go on from another place, whatever it has done; gives its position. What is parked stays so.
    ///
    /// # Errors
    /// As [`Client::delete_group`]; `Invalid` of a place that the log does not have yet.
    pub async fn seek_group(&self, name: &str, to: GroupStart) -> Result<Position, AppendError> {
        let sought = async { reach!(self, there => there.seek_group(name, to).await) };
        self.asked("seek group", sought).await
    }

    /// What a group has parked, at most a thousand entries: go on after [`ParkedPage::next`].
    ///
    /// # Errors
    /// As [`Client::group`].
    pub async fn parked(&self, group: &str, list: &ParkedList) -> Result<ParkedPage, AppendError> {
        self.asked("parked", async { reach!(self, there => there.parked(group, list).await) }).await
    }

    /// Lets what is parked be delivered again, each with as many tries as at first, and at once what waits for its time;
    /// gives how many entries there were. At most [`DELIVERIES_MAX`] are named at a time.
    ///
    /// # Errors
    /// As [`Client::delete_group`]; `TooLarge` where too many are named; `Invalid` of a key in a group whose events are
    /// unordered.
    pub async fn replay_parked(&self, group: &str, pick: ParkedPick) -> Result<u64, AppendError> {
        self.replay(group, pick, None).await
    }

    /// The same, so many events a second at most, from 1 to
    /// [`PARKED_RATE_MAX`](nexus_protocol::limits::PARKED_RATE_MAX): for consumers behind which something
    /// slow stands. When each is delivered is durable; what merely waits behind a failed one comes right after it.
    ///
    /// # Errors
    /// As [`Client::replay_parked`]; `Invalid` where it is no rate.
    pub async fn replay_parked_slowly(
        &self,
        group: &str,
        pick: ParkedPick,
        rate_per_s: u32,
    ) -> Result<u64, AppendError> {
        self.replay(group, pick, Some(rate_per_s)).await
    }

    async fn replay(
        &self,
        group: &str,
        pick: ParkedPick,
        rate: Option<u32>,
    ) -> Result<u64, AppendError> {
        check_pick(&pick)?;
        let replayed =
            async { reach!(self, there => there.replay_parked(group, pick, rate).await) };
        self.asked("replay parked", replayed).await
    }

    /// Gives up what is parked: it is done with. Gives how many entries there were. At most [`DELIVERIES_MAX`] are named
    /// at a time.
    ///
    /// # Errors
    /// As [`Client::replay_parked`].
    pub async fn skip_parked(&self, group: &str, pick: ParkedPick) -> Result<u64, AppendError> {
        check_pick(&pick)?;
        let skipped = async { reach!(self, there => there.skip_parked(group, pick).await) };
        self.asked("skip parked", skipped).await
    }

    /// Lets what is parked at a position be delivered again with other data: whoever gets it sees the old event with
    /// them. The event in the log stays as it is. Gives where the new data stand.
    ///
    /// # Errors
    /// As [`Client::delete_group`]; `NotFound` also where nothing that failed is parked there.
    pub async fn edit_parked(
        &self,
        group: &str,
        at: Position,
        data: Bytes,
    ) -> Result<Position, AppendError> {
        let edited = async { reach!(self, there => there.edit_parked(group, at, data).await) };
        self.asked("edit parked", edited).await
    }

    /// A consumer of a group, by a name that no other has at that time. Nothing is asked for before it is used.
    ///
    /// ```
    /// # #[cfg(feature = "embedded")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use nexus_protocol::group::GroupConfig;
    /// use nexus_protocol::{Append, EventData};
    ///
    /// let client = nexus_client::connect("memory:").await?;
    /// client.set_group("mail", &GroupConfig::default()).await?;
    /// client.append(Append::to("order-1").event(EventData::json("OrderPlaced", &1)?)).await?;
    /// let consumer = client.consumer("mail", "host-1").prefetch(10);
    /// for delivery in consumer.receive(10, Duration::from_secs(1)).await? {
    ///     println!("{} {}", delivery.attempt, delivery.event.event_type());
    ///     consumer.ack(&[delivery.token]).await?;
    /// }
    /// consumer.leave().await?;
    /// # client.close().await?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "embedded"))]
    /// # fn main() {}
    /// ```
    pub fn consumer(&self, group: &str, consumer: &str) -> Consumer {
        Consumer::new(self.clone(), group, consumer)
    }
}

/// Refuses what a server would, before it is sent.
pub(crate) fn check_pick(pick: &ParkedPick) -> Result<(), AppendError> {
    pick.check()?;
    match pick {
        ParkedPick::Positions(positions) if positions.len() > DELIVERIES_MAX => {
            Err(AppendError::TooLarge(TooLarge {
                what: "entries that are named together".into(),
                size: positions.len(),
                max: DELIVERIES_MAX,
            }))
        }
        _ => Ok(()),
    }
}

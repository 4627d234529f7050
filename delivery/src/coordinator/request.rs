//! What a coordinator is asked.

use std::time::Duration;

use nexus_protocol::group::{
    Answered, DeliveryToken, GroupConfig, Nack, ParkedEntry, ParkedList, ParkedPick, PauseInfo,
};
use nexus_protocol::route::Branch;
use nexus_protocol::{Append, AppendError, Appended, Position, RecordedEvent, Timestamp};
use tokio::sync::oneshot;

use super::Counts;
use crate::group::{Delivery, Stats};

/// Deliveries that one request may ask for.
pub const MAX_DELIVERIES: usize = 1_000;

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

/// A question that is answered with a `T`.
#[derive(Debug)]
pub struct Ask<Q, T> {
    /// What is asked.
    pub what: Q,
    /// Where the answer goes.
    pub reply: Reply<T>,
}

/// A delivery, with its event where that is in memory: the others are to be read, from [`Delivery::event`].
#[derive(Clone, Debug, PartialEq)]
pub struct Handed {
    /// The delivery.
    pub delivery: Delivery,
    /// Its event.
    pub event: Option<RecordedEvent>,
}

/// What a consumer says of deliveries.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// They are done.
    Ack,
    /// They are not.
    Nack(Nack),
    /// They are to be answered within this time from now.
    Extend(Duration),
}

/// Answers to deliveries.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// Whose they are; `None`: of whoever has the deliveries.
    pub consumer: Option<String>,
    /// Which deliveries.
    pub tokens: Vec<DeliveryToken>,
    /// What is said of them.
    pub what: What,
}

/// What was done with what is parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PickDone {
    /// How many entries.
    pub count: u64,
}

/// Some entries that are parked; their events are to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// By position, the events left out.
    pub entries: Vec<ParkedEntry>,
    /// Whether there are more.
    pub more: bool,
}

/// How a group is, without what has to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What kind it is.
    pub config: GroupConfig,
    /// In numbers.
    pub stats: Stats,
    /// What happened since it was opened.
    pub counts: Counts,
    /// Who paused it.
    pub pause: Option<PauseInfo>,
    /// Whether it makes no progress.
    pub stalled: bool,
    /// When the oldest delivery was made that is not answered.
    pub oldest_in_flight: Option<Timestamp>,
    /// Its consumers, with their lanes, and how many deliveries they have not answered.
    pub members: Vec<nexus_protocol::group::MemberInfo>,
    /// Its lanes that have something to do, where they were asked for.
    pub lanes: Vec<nexus_protocol::group::LaneInfo>,
    /// The time that it goes by.
    pub now: Timestamp,
}

/// What a coordinator is asked.
#[derive(Debug)]
pub enum Request {
    /// Deliveries for a consumer: at most so many, waited for at most so long.
    Receive(Ask<(String, usize, Duration), Vec<Handed>>),
    /// Answers to deliveries.
    Answer(Ask<Answers, Answered>),
    /// That deliveries are done, together with an append: both, or neither. Answered without `Appended` where one of
    /// them does not count.
    AckWith(Ask<(Answers, Append), (Answered, Option<Appended>)>),
    /// A consumer says good-bye, or its connection was lost.
    Leave {
        /// Which.
        consumer: String,
        /// Whether what it had counts as tried.
        lost: bool,
    },
    /// Deliveries that did not reach their consumer: they are made again at once, and do not count as tried.
    GiveBack {
        /// Whose they are.
        consumer: String,
        /// Which.
        tokens: Vec<DeliveryToken>,
    },
    /// How it is; with its lanes.
    Look(Ask<bool, Snapshot>),
    /// To be another kind of group from now on.
    Configure(Ask<GroupConfig, ()>),
    /// That a route of this name leads to it, or none any more; whether there was one.
    Branch(Ask<(String, Option<Branch>), bool>),
    /// To deliver nothing, or to go on.
    Pause(Ask<Option<PauseInfo>, ()>),
    /// To go on from a position.
    Seek(Ask<Position, ()>),
    /// To end for good.
    Delete(Ask<(), ()>),
    /// What is parked.
    Parked(Ask<ParkedList, Listed>),
    /// To deliver what is parked again, each so much later than the one before.
    Replay(Ask<(ParkedPick, Duration), PickDone>),
    /// To be done with what is parked.
    Discard(Ask<ParkedPick, PickDone>),
    /// To deliver another event in place of one that is parked.
    Edit(Ask<(Position, Position), bool>),
}

impl Request {
    /// Answers that it cannot be done.
    pub(super) fn refuse(self, error: AppendError) {
        match self {
            Self::Receive(ask) => drop(ask.reply.send(Err(error))),
            Self::Answer(ask) => drop(ask.reply.send(Err(error))),
            Self::AckWith(ask) => drop(ask.reply.send(Err(error))),
            Self::Look(ask) => drop(ask.reply.send(Err(error))),
            Self::Configure(Ask { reply, .. }) => drop(reply.send(Err(error))),
            Self::Pause(Ask { reply, .. }) => drop(reply.send(Err(error))),
            Self::Seek(Ask { reply, .. }) => drop(reply.send(Err(error))),
            Self::Delete(Ask { reply, .. }) => drop(reply.send(Err(error))),
            Self::Parked(ask) => drop(ask.reply.send(Err(error))),
            Self::Replay(Ask { reply, .. }) => drop(reply.send(Err(error))),
            Self::Discard(Ask { reply, .. }) => drop(reply.send(Err(error))),
            Self::Edit(ask) => drop(ask.reply.send(Err(error))),
            Self::Branch(ask) => drop(ask.reply.send(Err(error))),
            Self::Leave { .. } | Self::GiveBack { .. } => {}
        }
    }
}

/// Who waits for deliveries.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) consumer: String,
    pub(super) max: usize,
    pub(super) until: Timestamp,
    pub(super) reply: Reply<Vec<Handed>>,
}

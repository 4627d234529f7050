//! [`Key`]: the events of one key that wait for their turn, of which only the first is ever delivered.

use std::collections::VecDeque;

use nexus_protocol::Timestamp;

use super::members::MemberId;

/// How the first event of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// It can be delivered, and its key stands in its lane.
    Ready,
    /// It waits for its time.
    Waiting { until: Timestamp },
    /// It is with a consumer.
    InFlight(Lease),
    /// It was answered, and whether that counts is not known yet: nobody has it, and its time does not run out.
    Held(Lease),
}

/// With whom a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// [`MemberId::NOBODY`]: who had it is gone, which happens to what is held only.
    pub(crate) member: MemberId,
    pub(crate) delivery: u64,
    pub(crate) since: Timestamp,
    pub(crate) deadline: Timestamp,
}

/// It is none of the states that are counted, until its caller says which.
pub(crate) const IDLE: Head = Head::Waiting { until: Timestamp::MAX };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ready,
    Waiting,
    InFlight,
    Held,
}

/// The events of one key. Small, since there may be a million of them: that is why its head is kept in pieces.
#[derive(Debug)]
pub(crate) struct Key {
    first: u64,
    /// What comes behind, if anything ever did.
    #[expect(
        clippy::box_collection,
        reason = "most keys have none, and there may be a million of them"
    )]
    rest: Option<Box<VecDeque<u64>>>,
    delivery: u64,
    since: Timestamp,
    /// Until when it waits, or by when it is to be answered.
    until: Timestamp,
    member: MemberId,
    status: Status,
    /// Whether the first is one that was parked; it has none behind it here.
    pub(crate) parked: bool,
}

const _: () = assert!(size_of::<Key>() <= 48);

impl Key {
    /// With one event.
    pub(crate) fn new(first: u64, parked: bool) -> Self {
        Self {
            first,
            rest: None,
            delivery: 0,
            since: Timestamp::MIN,
            until: Timestamp::MIN,
            member: MemberId::NOBODY,
            status: Status::Ready,
            parked,
        }
    }

    /// How its first event is.
    pub(crate) fn head(&self) -> Head {
        let Self { member, delivery, since, until, .. } = *self;
        let lease = Lease { member, delivery, since, deadline: until };
        match self.status {
            Status::Ready => Head::Ready,
            Status::Waiting => Head::Waiting { until },
            Status::InFlight => Head::InFlight(lease),
            Status::Held => Head::Held(lease),
        }
    }

    pub(crate) fn set_head(&mut self, head: Head) {
        let (status, lease) = match head {
            Head::Ready => (Status::Ready, None),
            Head::Waiting { until } => {
                self.until = until;
                (Status::Waiting, None)
            }
            Head::InFlight(lease) => (Status::InFlight, Some(lease)),
            Head::Held(lease) => (Status::Held, Some(lease)),
        };
        self.status = status;
        if let Some(Lease { member, delivery, since, deadline }) = lease {
            (self.member, self.delivery, self.since, self.until) =
                (member, delivery, since, deadline);
        }
    }

    /// The event that is delivered next, or is.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> usize {
        1 + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// One more comes behind.
    pub(crate) fn push(&mut self, position: u64) {
        self.rest.get_or_insert_default().push_back(position);
    }

    /// The first is done with; `false`: there is none behind it.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(first) = self.rest.as_mut().and_then(|rest| rest.pop_front()) else {
            return false;
        };
        (self.first, self.status) = (first, Status::Ready);
        true
    }

    /// What comes behind the first, in order.
    pub(crate) fn into_rest(self) -> impl Iterator<Item = u64> {
        self.rest.into_iter().flat_map(|rest| *rest)
    }

    /// When something happens to it by itself.
    pub(crate) fn timer(&self) -> Option<Timestamp> {
        match self.status {
            Status::Ready | Status::Held => None,
            Status::Waiting | Status::InFlight => Some(self.until),
        }
    }
}

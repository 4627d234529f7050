//! Control messages: what a connection and a stream are for, and short answers.

use rkyv::{Archive, Deserialize, Serialize};

use super::as_schema::{AsSchemaHead, ConsumeHead};
use super::group::{GroupAsk, GroupHead, GroupLagHead, GroupLanesHead};
use super::parked::ParkedPageHead;
use super::policy::{PoliciesHead, PolicyAsk};
use super::projection::{DocumentHead, ProjectionAsk, ProjectionHead};
use super::request::{ExpectedHead, ReadHead, SubscribeHead};
use super::route::{DryRunHead, RouteAsk, RouteHead};
use super::schema::{IncompatibilityHead, SchemaAsk, SchemaHead, SubjectHead};
use super::snapshot::{SnapshotHead, snapshot_at};
use super::stream::{StatsHead, StreamHead};
use super::{
    AppendedHead, PROTOCOL_GROUPS, PROTOCOL_OLDEST, PROTOCOL_PROJECTIONS, PROTOCOL_SCHEMAS,
};
use crate::ids::{Lineage, Position, Revision};
use crate::snapshot::{FoldIdentity, SnapshotAt};
use crate::stream::{Head, StreamChange};

/// The client's first words.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq)]
pub struct Hello {
    /// The oldest version of the messages that it speaks.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
    /// What it is: name and version, for logs.
    pub client: String,
    /// Who it is; `None`: nobody, which only a server in dev mode takes.
    pub token: Option<String>,
}

impl std::fmt::Debug for Hello {
    /// A token is never printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello").field("newest", &self.newest).field("client", &self.client).finish()
    }
}

/// The server's first words.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Welcome {
    /// The version of all further messages.
    pub version: u16,
    /// What it is: name and version, for logs.
    pub server: String,
}

/// The first packet of a stream.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Open {
    /// Which log.
    pub namespace: String,
    /// After so many milliseconds nobody waits for the answer any more; `None`: there is no such time.
    pub deadline_ms: Option<u32>,
    /// The trace that this belongs to, as a W3C `traceparent`.
    pub traceparent: Option<String>,
    /// Which try of the same request it is, from 1, for logs; 0: nobody counts. Of a session of appends: how often in a row
    /// it was begun while the same append waited.
    pub attempt: u32,
    /// What is asked for.
    pub operation: Operation,
}

/// What is asked for.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Operation {
    /// A session of appends: packets of the kind `Append` follow.
    Append,
    /// A read: `Items`, then `End`.
    Read(ReadHead),
    /// A subscription: `Items` as long as there is credit.
    Subscribe(SubscribeHead),
    /// The event with this id: `Items` with it, or without.
    Event {
        /// The id.
        id: [u8; 16],
    },
    /// The end of the log.
    Head,
    /// What is known of a stream.
    Stream {
        /// Its name.
        stream: String,
    },
    /// Streams by name.
    Streams {
        /// How their names start.
        prefix: String,
        /// Only this category.
        category: Option<String>,
        /// The last name of the page before.
        after: Option<String>,
        /// How many at most.
        limit: u32,
        /// Those without visible events too.
        deleted: bool,
        /// Those of the system too.
        system: bool,
    },
    /// Changes the limits of a stream.
    SetStream {
        /// Its name.
        stream: String,
        /// See [`StreamChange::max_count`].
        max_count: Option<Option<u64>>,
        /// See [`StreamChange::max_age_s`].
        max_age_s: Option<Option<u64>>,
        /// See [`StreamChange::truncate_before`].
        truncate_before: Option<u64>,
    },
    /// Deletes a stream.
    DeleteStream {
        /// Its name.
        stream: String,
        /// What it must be.
        expected: ExpectedHead,
        /// For good.
        tombstone: bool,
    },
    /// Keeps a snapshot; its state is the payload.
    SaveSnapshot(SnapshotHead),
    /// Loads a snapshot.
    LoadSnapshot {
        /// The stream it is of.
        stream: String,
        /// At or before this revision.
        revision: Option<u64>,
        /// At or before this position.
        position: Option<u64>,
        /// See [`FoldIdentity::fold_version`].
        fold_version: u32,
        /// See [`FoldIdentity::upcaster_hash`].
        upcaster_hash: u64,
    },
    /// The snapshots of a stream.
    Snapshots {
        /// Its name.
        stream: String,
    },
    /// Counts of the namespace.
    Stats,
    /// The names of all namespaces.
    Namespaces,
    /// Creates the namespace that the stream was opened with.
    CreateNamespace,
    /// The tokens that hold.
    Tokens,
    /// Makes a token.
    CreateToken {
        /// Who it is for.
        name: String,
        /// What its bearer may do.
        role: String,
        /// After so many milliseconds it ends; `None`: never.
        ttl_ms: Option<u64>,
    },
    /// Makes a token worthless.
    RevokeToken {
        /// Which one.
        id: String,
    },
    /// Deletes the namespace that the stream was opened with, for good.
    DeleteNamespace,
    /// Something of a group, which has one short answer.
    Group {
        /// Its name; of all groups, empty.
        group: String,
        /// What.
        ask: Box<GroupAsk>,
    },
    /// To be a consumer of a group: `Deliveries` as long as there is credit, `Answered` for what is answered.
    Consume {
        /// The group's name.
        group: String,
        /// The consumer's.
        consumer: String,
        /// So many deliveries may come before more credit is given.
        credit: u32,
        /// So many may be in one packet.
        max: u32,
    },
    /// Something of a route, which has one short answer.
    Route {
        /// Its name; of all routes, empty.
        route: String,
        /// What.
        ask: Box<RouteAsk>,
    },
    /// The ids of timers, sorted.
    Timers {
        /// Those that failed; else the armed ones.
        failed: bool,
        /// The last id of the page before.
        after: Option<String>,
        /// How many at most.
        limit: u32,
    },
    /// The events at these positions: `Items` with those that the log has, and the last position that was looked at.
    EventsAt {
        /// Them, ascending, at most [`LINKS_RESOLVED_MAX`](crate::limits::LINKS_RESOLVED_MAX).
        positions: Vec<u64>,
    },
    /// Something of schemas, which has one short answer.
    Schema {
        /// The subject; of none, empty.
        subject: String,
        /// What.
        ask: Box<SchemaAsk>,
    },
    /// A read of events in a version of their schemas.
    ReadAs {
        /// What to read.
        read: Box<ReadHead>,
        /// In which version.
        as_schema: AsSchemaHead,
    },
    /// A subscription to events in a version of their schemas.
    SubscribeAs {
        /// To what.
        subscribe: Box<SubscribeHead>,
        /// In which version.
        as_schema: AsSchemaHead,
    },
    /// As `Consume`, of events in a version of their schemas.
    ConsumeAs {
        /// By whom, and how much.
        consume: Box<ConsumeHead>,
        /// In which version.
        as_schema: AsSchemaHead,
    },
    /// Something of policies.
    Policy {
        /// What.
        ask: Box<PolicyAsk>,
    },
    /// Something of a projection, which has one short answer.
    Projection {
        /// Its name; of all projections, empty.
        projection: String,
        /// What.
        ask: Box<ProjectionAsk>,
    },
}

/// A token, but for its secret.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct TokenHead {
    /// What it is revoked by.
    pub id: String,
    /// Who has it.
    pub name: String,
    /// What its bearer may do.
    pub role: String,
    /// From then on it is refused, in microseconds since 1970; `None`: never.
    pub expires_at: Option<i64>,
}

impl Operation {
    /// The first version of the protocol that has it.
    pub fn since(&self) -> u16 {
        match self {
            Self::Group { ask, .. } => ask.since(),
            Self::Consume { .. }
            | Self::Route { .. }
            | Self::Timers { .. }
            | Self::EventsAt { .. } => PROTOCOL_GROUPS,
            Self::Schema { .. }
            | Self::ReadAs { .. }
            | Self::SubscribeAs { .. }
            | Self::ConsumeAs { .. }
            | Self::Policy { .. } => PROTOCOL_SCHEMAS,
            Self::Projection { .. } => PROTOCOL_PROJECTIONS,
            _ => PROTOCOL_OLDEST,
        }
    }

    /// A request for a snapshot.
    pub fn load_snapshot(stream: &str, at: SnapshotAt, fold: FoldIdentity) -> Self {
        let (revision, position) = match at {
            SnapshotAt::Latest => (None, None),
            SnapshotAt::Revision(revision) => (Some(revision.get()), None),
            SnapshotAt::Position(position) => (None, Some(position.get())),
        };
        Self::LoadSnapshot {
            stream: stream.to_owned(),
            revision,
            position,
            fold_version: fold.fold_version,
            upcaster_hash: fold.upcaster_hash,
        }
    }

    /// Which snapshot is asked for, if one is.
    pub fn snapshot_at(&self) -> Option<SnapshotAt> {
        match self {
            Self::LoadSnapshot { revision, position, .. } => {
                Some(snapshot_at(*revision, *position))
            }
            _ => None,
        }
    }

    /// A request to change a stream.
    pub fn set_stream(stream: &str, change: StreamChange) -> Self {
        Self::SetStream {
            stream: stream.to_owned(),
            max_count: change.max_count,
            max_age_s: change.max_age_s,
            truncate_before: change.truncate_before.map(Revision::get),
        }
    }
}

/// A short answer.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done, and there is nothing to say.
    Done,
    /// The end of the log.
    Head {
        /// The last position.
        position: Option<u64>,
        /// The lineage it belongs to.
        lineage: u32,
    },
    /// What is known of a stream.
    Stream(StreamHead),
    /// Streams by name.
    Streams(Vec<StreamHead>),
    /// An append happened.
    Appended(AppendedHead),
    /// A snapshot with its state as payload, or none.
    Snapshot(Option<SnapshotHead>),
    /// The snapshots of a stream.
    Snapshots(Vec<SnapshotHead>),
    /// Counts.
    Stats(StatsHead),
    /// Names of namespaces.
    Namespaces(Vec<String>),
    /// The tokens that hold.
    Tokens(Vec<TokenHead>),
    /// The token that was made; its text is the payload.
    Token(TokenHead),
    /// A group was made, or changed.
    GroupSet {
        /// Whether it was made.
        made: bool,
    },
    /// Names of groups.
    Groups(Vec<String>),
    /// How a group is.
    Group(Box<GroupHead>),
    /// The same, with its lanes that have something to do.
    GroupLanes(Box<GroupLanesHead>),
    /// Where a group goes on.
    Position(u64),
    /// What is parked.
    Parked(ParkedPageHead),
    /// How many entries it was done with.
    Count(u64),
    /// A route was made, or changed.
    RouteSet {
        /// Whether it was made.
        made: bool,
    },
    /// Names of routes.
    Routes(Vec<String>),
    /// How a route is.
    Route(Box<RouteHead>),
    /// What a dry run found; the events that it shows are the payload.
    DryRun(DryRunHead),
    /// Ids of timers.
    Timers {
        /// The ids, sorted.
        ids: Vec<String>,
        /// Whether there are more.
        more: bool,
    },
    /// How a group is, with its lanes that have something to do, and how long each is behind.
    GroupLag(Box<GroupLagHead>),
    /// A version of a schema.
    Schema {
        /// It.
        version: Box<SchemaHead>,
        /// Whether it was made by what was asked for.
        made: bool,
    },
    /// A page of subjects.
    Subjects(Vec<SubjectHead>),
    /// A subject.
    Subject(Box<SubjectHead>),
    /// What a candidate that was tried does not go together with.
    SchemaCheck(Vec<IncompatibilityHead>),
    /// The policies of a namespace.
    Policies(Box<PoliciesHead>),
    /// Policies were changed.
    PoliciesChanged {
        /// The revision of that.
        revision: u64,
    },
    /// A projection was made, or has a definition.
    ProjectionSet {
        /// Whether this version was not there before.
        made: bool,
    },
    /// Names of projections.
    Projections(Vec<String>),
    /// How a projection is.
    Projection(Box<ProjectionHead>),
    /// A document; its fields are the payload.
    Document(Box<DocumentHead>),
    /// What was found; the payload is [`SearchAnswer`](crate::search::SearchAnswer), as JSON.
    Found,
}

impl Answer {
    /// The end of a log.
    pub fn head(head: Head) -> Self {
        Self::Head { position: head.position.map(Position::get), lineage: head.lineage.get() }
    }

    /// The end of the log, if it is that.
    pub fn into_head(self) -> Option<Head> {
        match self {
            Self::Head { position, lineage } => {
                let position = position.map(Position::new);
                Some(Head { position, lineage: Lineage::new(lineage) })
            }
            _ => None,
        }
    }
}

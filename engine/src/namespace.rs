//! [`Namespace`]: the handle through which one log is used. It checks what a client may do.

use std::sync::Arc;
use std::time::Duration;

use nexus_protocol::limits::DATA_BYTES_MAX;
use nexus_protocol::timer::TIMER_PREFIX;
use nexus_protocol::{
    Append, AppendError, Appended, Corruption, EventData, EventId, EventStore, ExpectedRevision,
    FoldIdentity, Head, Invalid, Lineage, LogId, Position, Read, ReadError, RecordedEvent,
    Revision, Snapshot, SnapshotAt, SnapshotInfo, Stats, StreamChange, StreamInfo, StreamList,
    Subscribe, Timestamp, names, timer,
};
use uuid::Uuid;

use crate::commit::{Committer, PendingAppend, Seams, submit};
use crate::engine::{Engine, Shared};
use crate::index::stream::Effect;
use crate::read::{self, Events};
use crate::segment::frames::Want;
use crate::sequencer::{Context, PreparedAppend};
use crate::subscribe::{self, Subscription};

/// Whom an append is for, and by which policies.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnBehalfOf<'a> {
    /// Whose idempotency keys its keys are. The name of this process itself is empty.
    pub principal: &'a str,
    /// The revision in `$policies` of the bundle that admitted it, which is kept with the batch; `None`: none did.
    pub policy_revision: Option<Revision>,
}

/// One log: a namespace of an open engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    pub(crate) committer: Arc<Committer>,
    shared: Arc<Shared>,
    /// Whether it may append to the system's streams.
    is_system: bool,
}

impl Namespace {
    pub(crate) fn new(name: String, committer: Arc<Committer>, shared: Arc<Shared>) -> Self {
        Self { name: name.into(), committer, shared, is_system: false }
    }

    /// The same log for what of Nexus keeps its own events in it: it may append to streams of the system, and limit
    /// them, and its events are not bounded by [`Options::data_bytes_max`](crate::Options::data_bytes_max) but by what
    /// the format holds. Never to be handed to users.
    #[must_use]
    pub fn for_system(&self) -> Self {
        Self { is_system: true, ..self.clone() }
    }

    /// Makes an append that a client may make of one that is to be submitted with events of the system's: ids take the
    /// place of its idempotency key, which is that client's own.
    ///
    /// # Errors
    /// `Denied` of a stream of the system, but for those whose events the protocol fixes; `Invalid` of a name that is
    /// none; `TooLarge` of data above [`Options::data_bytes_max`](crate::Options::data_bytes_max).
    pub fn of_client(&self, principal: &str, mut append: Append) -> Result<Append, AppendError> {
        self.check_allowed(&append)?;
        let data_bytes_max = self.shared.options().data_bytes_max;
        let (key, log_id) = (append.idempotency_key.take(), self.log_id());
        let events = append.streams.iter_mut().flat_map(|stream| &mut stream.events);
        for (ordinal, event) in (0..).zip(events) {
            event.check(data_bytes_max)?;
            let keyed = key.as_ref().map(|key| log_id.keyed_event_id(principal, key, ordinal));
            event.id = event.id.or(keyed);
        }
        Ok(append)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was deleted, or is about to be: this handle is of no use any more.
    pub fn is_deleted(&self) -> bool {
        self.committer.log.is_ended()
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        self.committer.log.log_id
    }

    /// Submits an append: `.wait()` for its answer, or await it. Durable when it is answered.
    pub fn append(&self, append: Append) -> PendingAppend {
        self.append_on_behalf_of(OnBehalfOf::default(), append)
    }

    /// The same, for somebody: the idempotency keys of two principals are never the same key.
    pub fn append_on_behalf_of(&self, by: OnBehalfOf<'_>, append: Append) -> PendingAppend {
        let allowed = if self.is_system { Ok(()) } else { self.check_allowed(&append) };
        match allowed {
            Ok(()) => self.submit(by, append, false),
            Err(error) => PendingAppend::answered(Err(error)),
        }
    }

    /// The same of an append that must not be written: one that happened before is answered as it was then, and any other with
    /// what would stand in its way, or that none of its ids are stored.
    pub fn repeat_on_behalf_of(&self, by: OnBehalfOf<'_>, append: Append) -> PendingAppend {
        let allowed = if self.is_system { Ok(()) } else { self.check_allowed(&append) };
        match allowed {
            Ok(()) => self.submit(by, append, true),
            Err(error) => PendingAppend::answered(Err(error)),
        }
    }

    /// Whether it is the system's own handle.
    pub(crate) fn is_system(&self) -> bool {
        self.is_system
    }

    /// Submits an append to any stream, the system's included.
    pub(crate) fn append_unchecked(&self, append: Append) -> PendingAppend {
        self.submit(OnBehalfOf::default(), append, false)
    }

    fn submit(&self, by: OnBehalfOf<'_>, append: Append, is_only_repeat: bool) -> PendingAppend {
        let options = self.shared.options();
        let log_id = self.log_id();
        let now = self.committer.now();
        let key = append.idempotency_key.clone();
        let make_id = |ordinal: u64| match &key {
            Some(key) => log_id.keyed_event_id(by.principal, key, ordinal),
            None => new_id(now),
        };
        let data_bytes_max = if self.is_system { DATA_BYTES_MAX } else { options.data_bytes_max };
        // What a client says of it does not count.
        let said = append.policy_revision.filter(|_| self.is_system);
        let policy_revision = by.policy_revision.or(said);
        let context =
            Context { data_bytes_max, make_id: &make_id, is_only_repeat, policy_revision };
        let prepared = PreparedAppend::new(&append, &context);
        let limit = Duration::from_millis(options.queue_wait_ms);
        submit(Arc::clone(&self.committer), prepared, limit)
    }

    /// Reads events. Sees everything that was acknowledged before.
    pub fn read(&self, read: Read) -> Events {
        read::open(&self.committer.log, &self.committer.index, read)
    }

    /// Delivers what is there and what comes.
    pub fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        subscribe::open(&self.committer.log, &self.committer.index, subscribe)
    }

    /// The event with this id, the newest where there are several; looked up in the whole log.
    ///
    /// # Errors
    /// When what has to be looked at is damaged.
    pub fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.committer.log.refuse_ended()?;
        let bound = self.committer.log.committed.get();
        let mut cursor = read::Cursor::new(Arc::clone(&self.committer.log));
        let fingerprint = crate::index::keys::id_fingerprint(id);
        for position in self.committer.index.ids.positions(fingerprint) {
            if position >= bound {
                continue;
            }
            let event = cursor.event(position, Want::One)?;
            if event.id() == id && self.committer.index.shows(&event, bound) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The event at a position, if the log shows it still. Reads that one record, whatever stands around it.
    ///
    /// # Errors
    /// When it is damaged, or the namespace was deleted.
    pub fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        self.committer.log.refuse_ended()?;
        let bound = self.committer.log.committed.get();
        if position.get() >= bound {
            return Ok(None);
        }
        let mut cursor = read::Cursor::new(Arc::clone(&self.committer.log));
        let event = cursor.event(position.get(), Want::One)?;
        Ok(Some(event).filter(|event| self.committer.index.shows(event, bound)))
    }

    /// Whether an event with this id is in the log.
    ///
    /// # Errors
    /// When what has to be looked at is damaged.
    pub fn contains_id(&self, id: EventId) -> Result<bool, ReadError> {
        Ok(self.event_by_id(id)?.is_some())
    }

    /// The end of the log.
    pub fn head(&self) -> Head {
        let next = self.committer.log.committed.get();
        Head { position: next.checked_sub(1).map(Position::new), lineage: self.lineage() }
    }

    fn lineage(&self) -> Lineage {
        self.committer.log.lineage
    }

    /// Of a log that was opened with [`crate::Options::damaged`]: why what came after its head is lost.
    /// `None`: nothing says that more was there.
    pub fn lost_end(&self) -> Option<Corruption> {
        self.committer.log.lost_end.as_deref().cloned()
    }

    /// What is known of a stream; of one that never was, that it is missing.
    ///
    /// # Errors
    /// When it is not a stream's name, or the namespace was deleted.
    pub fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        self.committer.log.refuse_ended()?;
        crate::streams::info(&self.committer, stream)
    }

    /// Streams by name.
    ///
    /// # Errors
    /// When the namespace was deleted; a remote store has more.
    pub fn streams(&self, list: &StreamList) -> Result<Vec<StreamInfo>, ReadError> {
        self.committer.log.refuse_ended()?;
        Ok(crate::streams::list(&self.committer, list))
    }

    /// Changes a stream's limits.
    ///
    /// # Errors
    /// As an append's; `Invalid` of a truncation beyond the newest event: it would hide events that are yet
    /// to come, and cannot be taken back.
    pub fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        crate::streams::set(self, stream, change)
    }

    /// Hides all events of a stream; a later append revives it, and revisions go on.
    ///
    /// # Errors
    /// As an append's: `Conflict` where the stream is not what was expected.
    pub fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        crate::streams::delete(self, stream, expected, false)
    }

    /// Deletes a stream for good: its name can never be used again.
    ///
    /// # Errors
    /// As an append's: `Conflict` where the stream is not what was expected.
    pub fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        crate::streams::delete(self, stream, expected, true)
    }

    /// Keeps a snapshot of an aggregate's state.
    ///
    /// # Errors
    /// As an append's.
    pub fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        self.save_snapshot_on_behalf_of(OnBehalfOf::default(), snapshot)
    }

    /// The same, for somebody.
    ///
    /// # Errors
    /// As [`Self::save_snapshot`].
    pub fn save_snapshot_on_behalf_of(
        &self,
        by: OnBehalfOf<'_>,
        snapshot: Snapshot,
    ) -> Result<Appended, AppendError> {
        crate::snapshot::save(self, by, snapshot)
    }

    /// Loads a snapshot that this fold made; one that another fold made is a miss.
    ///
    /// # Errors
    /// When it is damaged, or the name is not one.
    pub fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        self.committer.log.refuse_ended()?;
        crate::snapshot::load(self, stream, at, fold)
    }

    /// The snapshots that are kept of a stream, by ascending revision.
    ///
    /// # Errors
    /// When it is not a stream's name.
    pub fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        self.committer.log.refuse_ended()?;
        crate::snapshot::list(self, stream)
    }

    /// The seams of replication: what a replication layer drives this log by.
    pub fn seams(&self) -> Seams {
        Seams::new(Arc::clone(&self.committer))
    }

    /// How much there is.
    pub fn stats(&self) -> Stats {
        crate::stats::of(self)
    }
}

/// A new id, made from the wall clock and chance.
pub(crate) fn new_id(now: Timestamp) -> EventId {
    let now_ms = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
    let (high, low) = Uuid::new_v4().as_u64_pair();
    let mut random = [0; 10];
    random[..8].copy_from_slice(&high.to_le_bytes());
    random[8..].copy_from_slice(&low.to_le_bytes()[6..]);
    EventId::from_uuid(uuid::Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid())
}

impl Namespace {
    /// What a client may append: users' streams, and in the reserved streams of the system the types
    /// that the protocol fixes for them.
    fn check_allowed(&self, append: &Append) -> Result<(), AppendError> {
        for stream in &append.streams {
            // Before anything repeats the name.
            names::check_stream_name(&stream.stream)?;
            let is_system = names::is_system(&stream.stream);
            if is_system && names::client_types(&stream.stream).is_empty() {
                return Err(AppendError::Denied {
                    reason: format!(
                        "stream {:?} is the system's: names that start with `$` are reserved",
                        stream.stream
                    ),
                    denial: None,
                });
            }
            for event in &stream.events {
                if !names::client_may_append(&stream.stream, &event.event_type) {
                    return Err(AppendError::Denied {
                        reason: format!(
                            "event type {:?} may not stand in stream {:?}",
                            event.event_type, stream.stream
                        ),
                        denial: None,
                    });
                }
                if is_system {
                    self.check_reserved(&stream.stream, event)?;
                }
            }
        }
        Ok(())
    }

    /// Whether an event says what one of its type has to.
    fn check_reserved(&self, stream: &str, event: &EventData) -> Result<(), AppendError> {
        if stream.starts_with(TIMER_PREFIX) {
            let data_bytes_max = self.shared.options().data_bytes_max;
            let now = self.committer.now();
            return Ok(timer::check_client_event(stream, event, data_bytes_max, now)?);
        }
        let (data, metadata) = (&event.data, &event.metadata);
        if Effect::of(stream, &event.event_type, data, metadata).is_none() {
            let why =
                format!("metadata of a {} event does not say what it is of", event.event_type);
            return Err(Invalid::Request(why).into());
        }
        Ok(())
    }
}

macro_rules! event_store {
    ($store:ty) => {
        impl EventStore for $store {
            type ReadStream = Events;
            type Subscription = Subscription;

            fn append(
                &self,
                append: Append,
            ) -> impl Future<Output = Result<Appended, AppendError>> + Send {
                Namespace::append(self, append)
            }

            fn read(&self, read: Read) -> Events {
                Namespace::read(self, read)
            }

            fn subscribe(&self, subscribe: Subscribe) -> Subscription {
                Namespace::subscribe(self, subscribe)
            }

            async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
                Namespace::event_by_id(self, id)
            }

            async fn head(&self) -> Result<Head, ReadError> {
                self.committer.log.refuse_ended()?;
                Ok(Namespace::head(self))
            }

            async fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
                Namespace::stream_info(self, stream)
            }

            async fn set_stream(
                &self,
                stream: &str,
                change: StreamChange,
            ) -> Result<StreamInfo, AppendError> {
                Namespace::set_stream(self, stream, change)
            }

            async fn delete_stream(
                &self,
                stream: &str,
                expected: ExpectedRevision,
            ) -> Result<Appended, AppendError> {
                Namespace::delete_stream(self, stream, expected)
            }

            async fn tombstone_stream(
                &self,
                stream: &str,
                expected: ExpectedRevision,
            ) -> Result<Appended, AppendError> {
                Namespace::tombstone_stream(self, stream, expected)
            }

            async fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
                Namespace::save_snapshot(self, snapshot)
            }

            async fn load_snapshot(
                &self,
                stream: &str,
                at: SnapshotAt,
                fold: FoldIdentity,
            ) -> Result<Option<Snapshot>, ReadError> {
                Namespace::load_snapshot(self, stream, at, fold)
            }

            async fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
                Namespace::list_snapshots(self, stream)
            }
        }
    };
}

event_store!(Namespace);
event_store!(Engine);

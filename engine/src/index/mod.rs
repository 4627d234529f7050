//! The index: stream, category, type, tag, and id → positions. Derived from the log, never synced
//! on the commit path.
//!
//! One writer applies events as the sequencer places them, before they are durable; every reader
//! passes the watermark it may see (`bound`), and looks at nothing at or beyond it. So the overlay
//! of what is in flight and the index of what is durable are one structure, and nothing is applied
//! twice. Events that are cut are taken out again by [`Index::unapply`].
//!
//! Held in memory as a whole: a file per sealed segment (`file`) makes opening O(index) and the
//! tail's segment is scanned.

pub(crate) mod file;
pub(crate) mod ids;
pub(crate) mod keys;
pub(crate) mod plan;
#[cfg_attr(not(test), expect(dead_code, reason = "cursors serve the index on disk, which is next"))]
pub(crate) mod postings;
pub(crate) mod stream;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use foldhash::fast::FixedState;
use nexus_protocol::{RecordedEvent, SNAPSHOT_PREFIX, StreamName, names};

use ids::Ids;
use keys::{EventKeys, KeyKind, PostingKey, StreamKey, posting_key, stream_key};
use postings::PostingList;
use stream::{Effect, StreamEntry, StreamView};

/// Number of locks that a map is spread over.
const SHARDS: usize = 64;

const _: () = assert!(SHARDS.is_power_of_two() && SHARDS <= 256, "a byte of a key spreads evenly");

/// One lock's share of a map.
type Shard<V> = RwLock<HashMap<[u8; 16], Arc<V>, FixedState>>;

/// A map from keys that are digests, spread over locks that are held for one look-up.
#[derive(Debug)]
struct Sharded<V> {
    shards: Vec<Shard<V>>,
}

impl<V> Sharded<V> {
    fn new() -> Self {
        let shard = |_| RwLock::new(HashMap::with_hasher(FixedState::with_seed(0)));
        Self { shards: (0..SHARDS).map(shard).collect() }
    }

    fn shard(&self, key: &[u8; 16]) -> &Shard<V> {
        &self.shards[usize::from(key[15]) % SHARDS]
    }

    fn get(&self, key: &[u8; 16]) -> Option<Arc<V>> {
        self.shard(key).read().expect("no panic while a map is changed").get(key).cloned()
    }

    fn get_or_insert(&self, key: &[u8; 16], make: impl FnOnce() -> V) -> Arc<V> {
        if let Some(value) = self.get(key) {
            return value;
        }
        let mut shard = self.shard(key).write().expect("no panic while a map is changed");
        Arc::clone(shard.entry(*key).or_insert_with(|| Arc::new(make())))
    }
}

/// The lists that one event was put into, kept for the next: a comparison instead of a look-up.
#[derive(Debug, Default)]
pub(crate) struct Lists(Vec<(PostingKey, Arc<PostingList>)>);

impl Lists {
    /// The list of a key that stands at this place among its event's keys.
    fn of(&mut self, index: &Index, place: usize, key: &PostingKey) -> &PostingList {
        match self.0.get_mut(place) {
            Some((known, _)) if known == key => {}
            Some(other) => *other = (*key, index.postings_or_new(key)),
            None => self.0.push((*key, index.postings_or_new(key))),
        }
        &self.0[place].1
    }
}

/// The index of one namespace.
#[derive(Debug)]
pub(crate) struct Index {
    streams: Sharded<StreamEntry>,
    postings: Sharded<PostingList>,
    pub(crate) ids: Ids,
    /// By name, for lists and prefixes.
    names: RwLock<BTreeMap<StreamName, Arc<StreamEntry>>>,
    /// Streams of which something may be hidden, by name: most logs have few.
    hiding: RwLock<HashMap<StreamName, Arc<StreamEntry>, foldhash::fast::RandomState>>,
    hiding_count: AtomicU64,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            streams: Sharded::new(),
            postings: Sharded::new(),
            ids: Ids::new(),
            names: RwLock::default(),
            hiding: RwLock::default(),
            hiding_count: AtomicU64::new(0),
        }
    }

    /// A stream that has, or had, an event or settings.
    pub(crate) fn stream(&self, key: &StreamKey) -> Option<Arc<StreamEntry>> {
        self.streams.get(key)
    }

    /// The same by name.
    pub(crate) fn stream_named(&self, name: &str) -> Option<Arc<StreamEntry>> {
        self.stream(&stream_key(name))
    }

    /// A stream, made if it is new.
    pub(crate) fn stream_or_new(&self, key: &StreamKey, name: &StreamName) -> Arc<StreamEntry> {
        if let Some(entry) = self.streams.get(key) {
            return entry;
        }
        let entry = self.streams.get_or_insert(key, || StreamEntry::new(name.clone()));
        assert_eq!(entry.name, *name, "a key is one stream's");
        let mut names = self.names.write().expect("no panic while a name is added");
        names.insert(name.clone(), Arc::clone(&entry));
        entry
    }

    /// The positions of a category, type, or tag.
    pub(crate) fn postings(&self, key: &PostingKey) -> Option<Arc<PostingList>> {
        self.postings.get(key)
    }

    /// The same by name.
    pub(crate) fn postings_named(&self, kind: KeyKind, name: &str) -> Option<Arc<PostingList>> {
        self.postings(&posting_key(kind, name))
    }

    /// The list of a key, made if it is new.
    pub(crate) fn postings_or_new(&self, key: &PostingKey) -> Arc<PostingList> {
        self.postings.get_or_insert(key, PostingList::new)
    }

    /// An event was placed; its id is put into `ids` apart. Called by the writer only, in order of
    /// positions. `lists` are those of the event before it: what is appended together has mostly the
    /// same category and type.
    pub(crate) fn apply(
        &self,
        lists: &mut Lists,
        stream: &StreamEntry,
        keys: &EventKeys,
        position: u64,
        revision: u64,
        effect: Option<&Effect>,
    ) {
        assert_eq!(stream.positions.len() as u64, revision, "a revision is dense (I3)");
        stream.positions.push(position);
        for (index, key) in keys.postings().enumerate() {
            lists.of(self, index, key).push(position);
        }
        if let Some(effect) = effect {
            self.apply_effect(stream, position, revision, effect);
        }
    }

    /// A system event takes effect.
    pub(crate) fn apply_effect(
        &self,
        stream: &StreamEntry,
        position: u64,
        revision: u64,
        effect: &Effect,
    ) {
        match effect {
            Effect::Snapshot(metadata) => stream.apply_snapshot(position, metadata),
            Effect::Meta { target, kind, data } => {
                let target = self.stream_or_new(&stream_key(target.as_str()), target);
                target.apply_meta(position, revision, *kind, data);
                let mut hiding = self.hiding.write().expect("no panic while settings are changed");
                hiding.insert(target.name.clone(), target);
                self.hiding_count.store(hiding.len() as u64, Ordering::Release);
            }
        }
    }

    /// An event that was read from the log is placed: recovery, and frames of another node.
    ///
    /// # Errors
    /// It does not follow what is there (I3), or has no stream that there can be; nothing changed.
    pub(crate) fn apply_event(&self, event: &RecordedEvent) -> Result<(), &'static str> {
        let name = StreamName::new(event.stream()).map_err(|_| "name of a stream")?;
        let key = stream_key(name.as_str());
        let known = self.stream(&key).map_or(0, |entry| entry.positions.len() as u64);
        if known != event.revision().get() {
            return Err("revision of an event");
        }
        let keys = EventKeys::new(event.stream(), event.event_type(), event.tags(), event.id());
        let entry = self.stream_or_new(&key, &name);
        let effect = effect_of(event);
        let (position, revision) = (event.position().get(), event.revision().get());
        self.apply(&mut Lists::default(), &entry, &keys, position, revision, effect.as_ref());
        self.ids.insert(keys.id, position);
        Ok(())
    }

    /// The same where damage is read around: an event that does not follow is found by all but its
    /// stream's own list, and takes effect all the same, so that nothing hidden comes back.
    pub(crate) fn apply_around_damage(&self, event: &RecordedEvent) {
        if self.apply_event(event).is_ok() {
            return;
        }
        let Ok(name) = StreamName::new(event.stream()) else { return };
        let entry = self.stream_or_new(&stream_key(name.as_str()), &name);
        let (position, revision) = (event.position().get(), event.revision().get());
        assert_ne!(entry.positions.len() as u64, revision, "what follows was applied");
        entry.note_revision(revision);
        let keys = EventKeys::new(event.stream(), event.event_type(), event.tags(), event.id());
        keys.postings().for_each(|key| self.postings_or_new(key).push(position));
        self.ids.insert(keys.id, position);
        if let Some(effect) = effect_of(event) {
            self.apply_effect(&entry, position, revision, &effect);
        }
    }

    /// An event at or above the committed watermark is taken back. `bound` is where the log is cut.
    pub(crate) fn unapply(&self, event: &RecordedEvent, bound: u64) {
        assert!(event.position().get() >= bound, "only what is cut is taken back");
        let Some(entry) = self.stream_named(event.stream()) else { return };
        entry.truncate(bound);
        assert!(entry.positions.last().is_none_or(|last| last < bound), "all that is cut is gone");
        let keys = EventKeys::new(event.stream(), event.event_type(), event.tags(), event.id());
        for list in keys.postings().filter_map(|key| self.postings(key)) {
            list.truncate(bound.checked_sub(1).map_or(0, |last| list.partition_point_above(last)));
            assert!(list.last().is_none_or(|last| last < bound), "from every list");
        }
        self.ids.remove(keys.id, event.position().get());
        if let Some(Effect::Meta { target, .. }) = effect_of(event)
            && let Some(target) = self.stream_named(target.as_str())
        {
            target.truncate_extra(bound);
        }
    }

    /// Whether an event can be seen below `bound`. Cheap where nothing is hidden at all.
    pub(crate) fn shows(&self, event: &RecordedEvent, bound: u64) -> bool {
        if self.hiding_count.load(Ordering::Acquire) == 0 {
            return true;
        }
        let (revision, position) = (event.revision().get(), event.position().get());
        let view = self.hiding_view(event.stream(), bound);
        if view.is_some_and(|view| !view.shows_at(revision, position)) {
            return false;
        }
        // A state made of deleted events is as hidden as they are.
        let Some(target) = event.stream().strip_prefix(SNAPSHOT_PREFIX) else { return true };
        // Asked first: what the snapshot is of is in its metadata, which has to be parsed.
        let Some(view) = self.hiding_view(target, bound) else { return true };
        match effect_of(event) {
            Some(Effect::Snapshot(taken)) => view.shows_snapshot(taken.revision),
            _ => true,
        }
    }

    /// The streams of which an event between these positions, both included, may be hidden from who sees
    /// what is below `bound`.
    pub(crate) fn hiding_between(
        &self,
        first: u64,
        last: u64,
        bound: u64,
    ) -> Vec<Arc<StreamEntry>> {
        if self.hiding_count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        // The lock is not held while lists are searched: the writer takes it.
        let hiding = self.hiding.read().expect("no panic while settings are changed");
        let mut streams: Vec<_> = hiding.values().cloned().collect();
        drop(hiding);
        streams.retain(|stream| stream.may_hide_between(first, last, bound));
        streams
    }

    /// What can be seen of a stream, if something of it may be hidden.
    fn hiding_view(&self, stream: &str, bound: u64) -> Option<StreamView> {
        let hiding = self.hiding.read().expect("no panic while settings are changed");
        hiding.get(stream).map(|entry| entry.view(bound))
    }

    /// Streams that have settings, by name: what is appended for them has one order everywhere.
    pub(crate) fn streams_with_settings(&self) -> Vec<Arc<StreamEntry>> {
        let hiding = self.hiding.read().expect("no panic while settings are changed");
        let mut streams: Vec<_> = hiding.values().cloned().collect();
        drop(hiding);
        streams.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        streams
    }

    /// What can be seen of a stream below `bound`.
    pub(crate) fn view(&self, key: &StreamKey, bound: u64) -> StreamView {
        self.stream(key).map_or(StreamView::MISSING, |entry| entry.view(bound))
    }

    /// Streams by name: those that start with `prefix`, after `after`.
    pub(crate) fn streams_from(
        &self,
        prefix: &str,
        after: Option<&str>,
        mut take: impl FnMut(&Arc<StreamEntry>) -> bool,
    ) {
        let names = self.names.read().expect("no panic while a name is added");
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        for (name, entry) in names.range::<str, _>((start, Bound::Unbounded)) {
            if !name.as_str().starts_with(prefix) || !take(entry) {
                return;
            }
        }
    }
}

/// What an event that was read from the log does to the index.
pub(crate) fn effect_of(event: &RecordedEvent) -> Option<Effect> {
    if !names::is_system(event.stream()) {
        return None;
    }
    Effect::of(event.stream(), event.event_type(), event.data(), event.metadata())
}

impl std::fmt::Debug for PostingList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostingList").field("len", &self.len()).finish_non_exhaustive()
    }
}

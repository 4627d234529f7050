//! The log as the sequencer sees it while a frame is built: what is committed, what is in flight, and
//! what is placed in the frame.

use std::cell::RefCell;
use std::sync::Arc;

use nexus_protocol::{AppendError, RecordedEvent};

use crate::frame::FrameBuilder;
use crate::index::Index;
use crate::index::keys::IdFingerprint;
use crate::log::Log;
use crate::segment::Chunk;
use crate::segment::frames::Want;
use crate::sequencer::{PreparedAppend, View};

/// Ids of events that were placed and are not in the index yet.
///
/// Each costs a place of memory that is in no cache, and most appends are decided without looking at
/// an id. So they enter the index when somebody asks for one, or when the frame was given to the
/// disk, and always before its completion: readers find the ids of all that they see.
#[derive(Debug, Default)]
pub(super) struct LateIds(RefCell<Vec<(IdFingerprint, u64)>>);

impl LateIds {
    /// The events of an append are placed from `first_position` on.
    pub(super) fn put(&self, append: &PreparedAppend, first_position: u64) {
        let ids = append.events.iter().map(|event| event.keys.id);
        self.0.borrow_mut().extend(ids.zip(first_position..));
    }

    /// Puts them into the index.
    pub(super) fn settle(&self, index: &Index) {
        self.0.borrow_mut().drain(..).for_each(|(id, position)| index.ids.insert(id, position));
    }
}

/// A view that goes up to the last event in `builder`.
pub(super) struct Placed<'a> {
    log: &'a Log,
    index: &'a Index,
    builder: &'a FrameBuilder,
    ids: &'a LateIds,
    /// What was read last: neighbours are asked for next.
    chunk: RefCell<Option<Arc<Chunk>>>,
}

impl<'a> Placed<'a> {
    pub(super) fn new(
        log: &'a Log,
        index: &'a Index,
        builder: &'a FrameBuilder,
        ids: &'a LateIds,
    ) -> Self {
        Self { log, index, builder, ids, chunk: RefCell::default() }
    }
}

impl View for Placed<'_> {
    fn index(&self) -> &Index {
        self.index
    }

    fn positions_of_id(&self, id: IdFingerprint) -> Vec<u64> {
        self.ids.settle(self.index);
        self.index.ids.positions(id)
    }

    fn next_position(&self) -> u64 {
        self.builder.next_position()
    }

    fn event(&self, position: u64, want: Want) -> Result<RecordedEvent, AppendError> {
        if let Some(event) = self.builder.record(position) {
            return Ok(event);
        }
        let held = self.chunk.take().filter(|chunk| chunk.find(position).is_some());
        let chunk = match held {
            Some(chunk) => chunk,
            None => self
                .log
                .chunk(position, want)
                .map_err(|fault| AppendError::Corruption(fault.corruption))?,
        };
        let index = chunk.find(position).expect("a chunk holds what was asked for");
        assert_eq!(chunk.position(index), position, "the chunk was found by this position");
        self.chunk.replace(Some(Arc::clone(&chunk)));
        chunk
            .record(index)
            .map_err(|_| AppendError::Corruption(self.log.bad_record(position).corruption))
    }

    fn floor(&self) -> u64 {
        self.log.segments().first().map_or(0, |segment| segment.first_position)
    }
}

//! [`Patient`]: a collector that gives up, where what is asked takes longer than whoever asks may have.
//!
//! Tantivy goes through all that matches in a segment without asking anybody. Here each segment is gone through by hand,
//! and it is looked whether the time is over every few thousand documents, so that whatever is made of them, an order or
//! aggregations within aggregations, ends soon after. This crate reads no clock: whoever searches says when it is over.

use std::sync::atomic::{AtomicBool, Ordering};

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::query::Weight;
use tantivy::schema::Schema;
use tantivy::{
    COLLECT_BLOCK_BUFFER_LEN, DocId, SegmentOrdinal, SegmentReader, TERMINATED, TantivyError,
};

/// Documents after which it is looked at whether the time is over, whether or not anything deleted is among them.
const DOCUMENTS_BETWEEN_LOOKS: usize = 4_096;

/// Collects as another one does, until the time is over.
pub(crate) struct Patient<'a, C> {
    inner: C,
    is_over: &'a (dyn Fn() -> bool + Sync),
    /// Whether it gave up: an error of Tantivy's does not say that.
    gave_up: AtomicBool,
}

impl<'a, C> Patient<'a, C> {
    pub(crate) fn new(inner: C, is_over: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { inner, is_over, gave_up: AtomicBool::new(false) }
    }

    /// Whether it was given up, since the time was over.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up.load(Ordering::Relaxed)
    }

    fn look(&self) -> tantivy::Result<()> {
        if !(self.is_over)() {
            return Ok(());
        }
        self.gave_up.store(true, Ordering::Relaxed);
        Err(TantivyError::InternalError("the time is over".to_owned()))
    }
}

impl<C: Collector> Collector for Patient<'_, C> {
    type Fruit = C::Fruit;
    type Child = C::Child;

    fn check_schema(&self, schema: &Schema) -> tantivy::Result<()> {
        self.inner.check_schema(schema)
    }

    fn for_segment(
        &self,
        ordinal: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<C::Child> {
        self.inner.for_segment(ordinal, segment)
    }

    fn requires_scoring(&self) -> bool {
        self.inner.requires_scoring()
    }

    fn merge_fruits(
        &self,
        fruits: Vec<<C::Child as SegmentCollector>::Fruit>,
    ) -> tantivy::Result<C::Fruit> {
        self.look()?;
        self.inner.merge_fruits(fruits)
    }

    fn collect_segment(
        &self,
        weight: &dyn Weight,
        ordinal: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> tantivy::Result<<C::Child as SegmentCollector>::Fruit> {
        self.look()?;
        let mut child = self.inner.for_segment(ordinal, segment)?;
        match self.inner.requires_scoring() {
            true => self.scored(&mut child, weight, segment)?,
            false => self.in_blocks(&mut child, weight, segment)?,
        }
        Ok(child.harvest())
    }
}

impl<C: Collector> Patient<'_, C> {
    fn scored(
        &self,
        child: &mut C::Child,
        weight: &dyn Weight,
        segment: &SegmentReader,
    ) -> tantivy::Result<()> {
        let mut scorer = weight.scorer(segment, 1.0)?;
        let alive = segment.alive_bitset();
        let mut document = scorer.doc();
        for seen in 1_usize.. {
            if document == TERMINATED {
                break;
            }
            if alive.is_none_or(|it| it.is_alive(document)) {
                child.collect(document, scorer.score());
            }
            document = scorer.advance();
            if seen.is_multiple_of(DOCUMENTS_BETWEEN_LOOKS) {
                self.look()?;
            }
        }
        Ok(())
    }

    fn in_blocks(
        &self,
        child: &mut C::Child,
        weight: &dyn Weight,
        segment: &SegmentReader,
    ) -> tantivy::Result<()> {
        let mut scorer = weight.scorer(segment, 1.0)?;
        let alive = segment.alive_bitset();
        let mut block: [DocId; COLLECT_BLOCK_BUFFER_LEN] = [0; COLLECT_BLOCK_BUFFER_LEN];
        for seen in 1_usize.. {
            let filled = scorer.fill_buffer(&mut block);
            let mut left = 0;
            for at in 0..filled {
                let document = block[at];
                if alive.is_none_or(|it| it.is_alive(document)) {
                    block[left] = document;
                    left += 1;
                }
            }
            if left > 0 {
                child.collect_block(&block[..left]);
            }
            if filled < block.len() {
                break;
            }
            if seen.is_multiple_of(DOCUMENTS_BETWEEN_LOOKS / COLLECT_BLOCK_BUFFER_LEN) {
                self.look()?;
            }
        }
        Ok(())
    }
}

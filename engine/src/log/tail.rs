//! The newest frames, in memory: what is in flight, and what was written last.
//!
//! Readers of the tail never touch a file that is written past the page cache. Frames in flight
//! always stay; of the durable ones the newest stay, up to a bound.

#[cfg(all(test, loom))]
mod loom_models;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use nexus_protocol::limits::TAIL_BYTES_MAX;

use crate::segment::Chunk;
use crate::segment::frames::of_frame;
use crate::sync::{OnceLock, RwLock};

/// Bytes that are kept, unless more are in flight.
const BYTES_MAX: usize = if cfg!(loom) { 700 } else { TAIL_BYTES_MAX };

#[derive(Debug)]
struct TailFrame {
    first_position: u64,
    next_position: u64,
    bytes: Bytes,
    /// Where its records stand: found once, by the first reader.
    chunk: OnceLock<Option<Arc<Chunk>>>,
}

#[derive(Debug, Default)]
struct Frames {
    frames: VecDeque<Arc<TailFrame>>,
    bytes: usize,
}

/// The newest frames of events.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    inner: RwLock<Frames>,
}

impl Tail {
    /// A frame was submitted. `durable` is the position below which frames may be let go.
    pub(crate) fn push(&self, first_position: u64, next_position: u64, bytes: Bytes, durable: u64) {
        assert!(first_position < next_position, "a frame of events has one");
        assert!(durable <= first_position, "what is submitted is not durable yet");
        let chunk = OnceLock::new();
        let frame = Arc::new(TailFrame { first_position, next_position, bytes, chunk });
        let mut let_go = Vec::new();
        let mut inner = self.inner.write().expect("no panic while the tail is changed");
        assert!(inner.frames.back().is_none_or(|last| last.next_position == first_position));
        inner.bytes += frame.bytes.len();
        inner.frames.push_back(frame);
        while inner.bytes > BYTES_MAX
            && inner.frames.front().is_some_and(|oldest| oldest.next_position <= durable)
        {
            let oldest = inner.frames.pop_front().expect("just looked at");
            inner.bytes -= oldest.bytes.len();
            let_go.push(oldest);
        }
        // Memory is given back after the lock is.
        drop(inner);
    }

    /// The records of the frame that holds `position`, if it is here.
    pub(crate) fn chunk(&self, position: u64) -> Option<Arc<Chunk>> {
        let frame = {
            let inner = self.inner.read().expect("no panic while the tail is changed");
            let index = inner.frames.partition_point(|frame| frame.next_position <= position);
            let frame = inner.frames.get(index)?;
            (frame.first_position <= position).then(|| Arc::clone(frame))?
        };
        frame.chunk.get_or_init(|| of_frame(&frame.bytes).map(Arc::new)).clone()
    }

    /// Frames at or after `next_position` were cut.
    pub(crate) fn truncate(&self, next_position: u64) {
        let mut inner = self.inner.write().expect("no panic while the tail is changed");
        while inner.frames.back().is_some_and(|last| last.next_position > next_position) {
            let last = inner.frames.pop_back().expect("just looked at");
            inner.bytes -= last.bytes.len();
        }
        assert!(!inner.frames.is_empty() || inner.bytes == 0, "no frames hold no bytes");
    }
}

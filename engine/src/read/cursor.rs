//! One reader's place in the log: the chunk it read last, so that neighbours cost no second look.

use std::sync::Arc;

use nexus_protocol::{Position, ReadError, RecordedEvent};

use crate::log::{Log, ReadFault};
use crate::segment::Chunk;
use crate::segment::frames::Want;

/// Fetches events by position.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) log: Arc<Log>,
    chunk: Option<(Arc<Chunk>, usize)>,
    /// Chunks that were read.
    pub(crate) chunks_read: u64,
    /// Segments that they were read from, one after the other.
    pub(crate) segments_read: u64,
    /// First position of the segment that was read last.
    segment: Option<u64>,
}

impl Cursor {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log, chunk: None, chunks_read: 0, segments_read: 0, segment: None }
    }

    /// Whether the event at `position` is in memory here.
    pub(crate) fn holds(&self, position: u64) -> bool {
        self.chunk.as_ref().is_some_and(|(chunk, _)| chunk.find(position).is_some())
    }

    /// The event at `position`, which is below a watermark; `want` leaves nothing out.
    pub(crate) fn event(&mut self, position: u64, want: Want) -> Result<RecordedEvent, ReadError> {
        let found = self.scan(position, want)?;
        Ok(found.expect("a cursor that is asked for each event is given each"))
    }

    /// The event at `position`, which is below a watermark; `None` where `want` leaves it out.
    pub(crate) fn scan(
        &mut self,
        position: u64,
        want: Want,
    ) -> Result<Option<RecordedEvent>, ReadError> {
        let index = match &self.chunk {
            // The next record of the chunk is the usual one: no search.
            Some((chunk, last))
                if *last + 1 < chunk.len() && chunk.position(*last + 1) == position =>
            {
                Some(*last + 1)
            }
            Some((chunk, _)) => chunk.find(position),
            None => None,
        };
        let index = match index {
            Some(index) => index,
            None => {
                // Let go first, so that its memory can be used again.
                self.chunk = None;
                let chunk = self.log.chunk(position, want).map_err(|f| error_at(position, f))?;
                self.chunks_read += 1;
                self.read_of(self.log.segment_of(position));
                let index = chunk.find(position).expect("a chunk holds what was asked for");
                self.chunk = Some((chunk, index));
                index
            }
        };
        let (chunk, last) = self.chunk.as_mut().expect("just looked at");
        *last = index;
        if chunk.leaves_out(index) {
            return Ok(None);
        }
        assert_eq!(chunk.position(index), position, "the chunk was found by this position");
        match chunk.record(index) {
            Ok(event) => Ok(Some(event)),
            Err(_) => self.event_past_cache(position).map(Some),
        }
    }
}

impl Cursor {
    /// Something was read of the segment that begins there.
    pub(crate) fn read_of(&mut self, segment: Option<u64>) {
        if std::mem::replace(&mut self.segment, segment) != segment {
            self.segments_read += 1;
        }
    }

    /// A record that did not check is read once more past the page cache before it is called damage.
    fn event_past_cache(&mut self, position: u64) -> Result<RecordedEvent, ReadError> {
        self.chunk = None;
        let damaged = || error_at(position, self.log.bad_record(position));
        let chunk = self.log.chunk_past_cache(position).ok_or_else(damaged)?;
        let index = chunk.find(position).ok_or_else(damaged)?;
        chunk.record(index).map_err(|_| damaged())
    }
}

/// A fault as a reader sees it.
pub(crate) fn error_at(position: u64, fault: ReadFault) -> ReadError {
    ReadError::Corruption {
        position: Position::new(position),
        resume_at: fault.resume_at.filter(|next| *next > position).map(Position::new),
        corruption: fault.corruption,
    }
}

//! Following frames: each as the successor of the one before, up to the first that is none.
//!
//! What follows is decided here and nowhere else, for recovery, verification, indexing, and cuts.
//! What a stop means (a torn tail, damage) is the caller's to say, but for one: a frame that holds
//! and is not understood is a newer Nexus's, and is refused.

use bytes::Bytes;
use nexus_protocol::{RecordedEvent, Timestamp};

use crate::error::LogError;
use crate::frame::{ChainDigest, EntryId, FrameError, FrameHeader, LogOffset, digest};
use crate::io::ALIGNMENT;
use crate::manifest::Sealed;
use crate::segment::window::Window;
use crate::segment::{FrameSlot, FrameTable, HEADER_BLOCK_BYTES};

/// Where a scan stands: what the next frame must follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow {
    pub(crate) chain: ChainDigest,
    pub(crate) next_position: u64,
    pub(crate) last_entry: EntryId,
    pub(crate) recorded_at: Timestamp,
    /// The furthest end that one of the frames says was durable when it was written.
    pub(crate) vouched: LogOffset,
}

impl Follow {
    /// Before the first frame of a log.
    pub(crate) const START: Self = Self {
        chain: ChainDigest::START,
        next_position: 0,
        last_entry: EntryId { term: 0, index: 0 },
        recorded_at: Timestamp::MIN,
        vouched: LogOffset { segment: 0, offset_bytes: 0 },
    };

    /// After a sealed segment.
    pub(crate) fn after(sealed: &Sealed) -> Self {
        Self {
            chain: sealed.last_digest,
            next_position: sealed.next_position,
            last_entry: sealed.last_entry,
            recorded_at: sealed.last_recorded_at,
            ..Self::START
        }
    }

    /// Whether a frame that is whole follows.
    fn accepts(&self, header: &FrameHeader, salt: u64, first_of_segment: bool) -> bool {
        let (replicated, local) = (&header.replicated, &header.local);
        let first_of_log = self.chain == ChainDigest::START;
        local.salt == salt
            && local.previous_digest == self.chain.prefix()
            && replicated.first_position == self.next_position
            && (first_of_log || replicated.entry.index == self.last_entry.index + 1)
            && replicated.entry.term >= self.last_entry.term
            && replicated.recorded_at >= self.recorded_at
            && replicated.starts_segment == first_of_segment
    }
}

/// A frame that a scan came by.
#[derive(Debug)]
pub(crate) struct Scanned<'a> {
    pub(crate) offset_bytes: u64,
    pub(crate) header: &'a FrameHeader,
    pub(crate) body: &'a Bytes,
    pub(crate) events: &'a [RecordedEvent],
}

/// Follows the frames of a segment from `offset`; answers where the first stands that does not
/// follow, and what is wrong with it.
///
/// # Errors
/// The disk cannot be read, or a frame was written by a newer Nexus.
pub(crate) fn scan(
    window: &mut Window,
    salt: u64,
    offset: u64,
    follow: &mut Follow,
    on_frame: &mut dyn FnMut(Scanned<'_>),
) -> Result<(u64, FrameError), LogError> {
    scan_until(window, salt, offset, follow, &|_| false, on_frame)
}

/// The same, but stops behind the frame that `is_last` knows.
pub(crate) fn scan_until(
    window: &mut Window,
    salt: u64,
    mut offset: u64,
    follow: &mut Follow,
    is_last: &dyn Fn(&FrameHeader) -> bool,
    on_frame: &mut dyn FnMut(Scanned<'_>),
) -> Result<(u64, FrameError), LogError> {
    let mut events = Vec::new();
    loop {
        let (header, body) = match window.frame(offset)? {
            Ok(frame) => frame,
            Err(FrameError::Unknown(unknown)) if window.salt_at(offset)? == Some(salt) => {
                return Err(window.newer(offset, unknown));
            }
            Err(error) => return Ok((offset, error)),
        };
        if !follow.accepts(&header, salt, offset == HEADER_BLOCK_BYTES) {
            return Ok((offset, FrameError::Malformed("successor")));
        }
        events.clear();
        let input = match digest(&header, &body, |event| events.push(event.clone())) {
            Ok(input) => input,
            Err(FrameError::Unknown(unknown)) => return Err(window.newer(offset, unknown)),
            Err(error) => return Ok((offset, error)),
        };
        follow.chain = follow.chain.extend(&header.replicated, &input);
        follow.next_position = header.replicated.next_position();
        follow.last_entry = header.replicated.entry;
        follow.recorded_at = header.replicated.recorded_at;
        follow.vouched = follow.vouched.max(header.local.durable_end);
        on_frame(Scanned { offset_bytes: offset, header: &header, body: &body, events: &events });
        offset += header.padded_bytes();
        if is_last(&header) {
            return Ok((offset, FrameError::Blank));
        }
    }
}

/// The next frame from `offset` on that is whole by itself, for reading around damage.
pub(crate) fn resync(
    window: &mut Window,
    salt: u64,
    mut offset: u64,
    next_position: u64,
) -> Result<Option<(u64, FrameHeader, Bytes)>, LogError> {
    while let Some((at, _)) = window.next_header(offset, salt)? {
        offset = at + ALIGNMENT as u64;
        if let Ok((header, body)) = window.frame(at)?
            && header.replicated.first_position >= next_position
        {
            return Ok(Some((at, header, body)));
        }
    }
    Ok(None)
}

/// The end that was durable, as the frames from `offset` on say, whatever stands between them.
///
/// # Errors
/// The disk cannot be read, or one of them was written by a newer Nexus.
pub(crate) fn durable_end_behind(
    window: &mut Window,
    salt: u64,
    offset: u64,
) -> Result<LogOffset, LogError> {
    let mut durable = LogOffset::default();
    for (at, header) in window.headers_from(offset, salt)? {
        durable = durable.max(header.local.durable_end);
        if let Ok((header, body)) = window.frame(at)?
            && let Err(FrameError::Unknown(unknown)) = digest(&header, &body, |_| ())
        {
            return Err(window.newer(at, unknown));
        }
    }
    Ok(durable)
}

/// Adds a scanned frame to a table.
pub(crate) fn add_to_table(table: &mut FrameTable, scanned: &Scanned<'_>) {
    let header = scanned.header;
    table.slots.extend(FrameSlot::of(scanned.offset_bytes, header));
    table.end_bytes = scanned.offset_bytes + header.padded_bytes();
    table.next_position = header.replicated.next_position();
}

//! Reading a segment from front to back, in large aligned pieces: recovery, verification, indexing.
//!
//! A piece that the disk cannot read as a whole is read block by block, so that one bad sector costs no
//! neighbour. What then becomes of a block that it still cannot read is the caller's to choose: an
//! error, or, around damage, zeros, which no frame that holds can be mistaken for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use nexus_protocol::{Corruption, CorruptionKind};

use super::frames::kind_of;
use super::{FrameSlot, HEADER_BLOCK_BYTES, Segment};
use crate::error::LogError;
use crate::frame::{FrameError, FrameHeader, HEADER_BYTES, Unknown};
use crate::io::{self, ALIGNMENT, AlignedBuffer, DiskError, DiskFile, DiskResult, align_up};

/// Bytes read at a time.
const WINDOW_BYTES: usize = 1 << 20;

const _: () = assert!(WINDOW_BYTES.is_multiple_of(ALIGNMENT), "windows are whole blocks");

static ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];

/// A file with the piece of it that was read last.
#[derive(Debug)]
pub(crate) struct Window {
    file: Arc<dyn DiskFile>,
    len_bytes: u64,
    start: u64,
    bytes: Bytes,
    /// Blocks that the disk could not read, by their offsets; `None`: the first ends the reading.
    unreadable: Option<BTreeMap<u64, DiskError>>,
}

impl Window {
    /// Over a whole file.
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> DiskResult<Self> {
        let len_bytes = file.len_bytes()?;
        Ok(Self { file, len_bytes, start: 0, bytes: Bytes::new(), unreadable: None })
    }

    /// The same, where damage is read around: a block that cannot be read is as zeros, and is noted.
    pub(crate) fn around_damage(file: Arc<dyn DiskFile>) -> DiskResult<Self> {
        Ok(Self { unreadable: Some(BTreeMap::new()), ..Self::new(file)? })
    }

    /// As if the file ended at `offset`.
    pub(crate) fn end_at(&mut self, offset: u64) {
        self.len_bytes = self.len_bytes.min(offset);
    }

    /// `length` bytes at `offset`, which is a multiple of the alignment; fewer where the file ends.
    pub(crate) fn get(&mut self, offset: u64, length: usize) -> DiskResult<Bytes> {
        assert!(io::is_aligned(offset), "windows are read at aligned offsets");
        let have = self.start + self.bytes.len() as u64;
        let want = (offset + length as u64).min(self.len_bytes);
        if offset < self.start || want > have {
            // No larger than what is left: small segments are opened often.
            let left = usize::try_from(self.len_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
            let size = align_up(length.max(WINDOW_BYTES).min(left).max(1));
            let mut buffer = AlignedBuffer::zeroed(size);
            let got = match io::read_full_at(&*self.file, buffer.as_mut_slice(), offset) {
                Ok(got) => got,
                Err(_) => self.read_blocks(buffer.as_mut_slice(), offset, want)?,
            };
            self.start = offset;
            self.bytes = buffer.into_bytes().slice(..got);
        }
        assert!(self.start <= offset, "the window begins before what is taken");
        let length = usize::try_from(want.saturating_sub(offset)).unwrap_or(length);
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.bytes.len());
        let to = (from + length).min(self.bytes.len());
        Ok(self.bytes.slice(from..to))
    }

    /// Fills `buffer` block by block: up to the end of the file, or to a block that cannot be read and
    /// is not passed over. An error where that one stands before `want`.
    fn read_blocks(&mut self, buffer: &mut [u8], offset: u64, want: u64) -> DiskResult<usize> {
        assert!(io::is_aligned(offset), "blocks are read at aligned offsets");
        let mut done = 0;
        for block in buffer.chunks_mut(ALIGNMENT) {
            let at = offset + done as u64;
            let left = usize::try_from(self.len_bytes.saturating_sub(at)).unwrap_or(usize::MAX);
            if self.unreadable.as_ref().is_some_and(|noted| noted.contains_key(&at)) {
                // A disk takes seconds to give a bad block up: it is asked once.
                block.fill(0);
                done += block.len().min(left);
                continue;
            }
            done += match (io::read_full_at(&*self.file, block, at), &mut self.unreadable) {
                (Ok(got), _) if got < block.len() => return Ok(done + got),
                (Ok(got), _) => got,
                (Err(error), Some(unreadable)) => {
                    // What a read that failed left there is not what was written.
                    block.fill(0);
                    unreadable.insert(at, error);
                    block.len().min(left)
                }
                (Err(_), None) if at >= want => break,
                (Err(error), None) => return Err(error),
            };
        }
        Ok(done)
    }

    /// The frame at `offset`, checked alone: header and body. It is not said to be a successor.
    pub(crate) fn frame(
        &mut self,
        offset: u64,
    ) -> DiskResult<Result<(FrameHeader, Bytes), FrameError>> {
        let whole = self.whole_frame(offset)?;
        Ok(whole.map(|(header, frame)| (header, frame.slice(HEADER_BYTES..))))
    }

    /// The same, as header and all bytes but the padding.
    fn whole_frame(&mut self, offset: u64) -> DiskResult<Result<(FrameHeader, Bytes), FrameError>> {
        let head = self.get(offset, ALIGNMENT)?;
        if head.is_empty() {
            return Ok(Err(FrameError::Blank));
        }
        let header = match FrameHeader::decode(&head) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let length = header.local.stored_length as usize;
        assert!(length >= HEADER_BYTES, "a header that was decoded counts itself");
        let frame = self.get(offset, length)?;
        if frame.len() < length {
            return Ok(Err(FrameError::Body));
        }
        Ok(header.check_body(&frame[HEADER_BYTES..]).map(|()| (header, frame)))
    }

    /// Why the frame at `offset` cannot be read, where the disk is what is wrong with it: the first such
    /// block of it. Of one whose header does not hold only that one is known.
    pub(crate) fn unreadable_in_frame(&mut self, offset: u64) -> DiskResult<Option<Corruption>> {
        let length = match FrameHeader::decode(&self.get(offset, ALIGNMENT)?) {
            Ok(header) => header.padded_bytes(),
            Err(_) => ALIGNMENT as u64,
        };
        let noted = self.unreadable.iter().flat_map(|noted| noted.range(offset..offset + length));
        let corruption = |(at, error): (&u64, &DiskError)| {
            LogError::from(error.clone()).into_corruption(self.file.path(), *at)
        };
        Ok(noted.map(corruption).next())
    }

    /// The salt in the frame header at `offset`, which holds but need not be understood: every
    /// version has it at the same place.
    pub(crate) fn salt_at(&mut self, offset: u64) -> DiskResult<Option<u64>> {
        Ok(FrameHeader::salt_of(&self.get(offset, ALIGNMENT)?))
    }

    /// The refusal of a frame at `offset` that holds and is not understood.
    pub(crate) fn newer(&self, offset: u64, unknown: Unknown) -> LogError {
        LogError::NewerFormat {
            version: unknown.format_version(),
            what: format!("{unknown} at byte {offset} of {}", self.file.path().display()),
        }
    }

    /// Headers of frames with this salt from `offset` on, whatever stands between them.
    ///
    /// # Errors
    /// The disk cannot be read, or one was written by a newer Nexus.
    pub(crate) fn headers_from(
        &mut self,
        mut offset: u64,
        salt: u64,
    ) -> Result<Vec<(u64, FrameHeader)>, LogError> {
        let mut found = Vec::new();
        while let Some((at, header)) = self.next_header(offset, salt)? {
            found.push((at, header));
            offset = at + ALIGNMENT as u64;
        }
        Ok(found)
    }

    /// The first of them.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn next_header(
        &mut self,
        mut offset: u64,
        salt: u64,
    ) -> Result<Option<(u64, FrameHeader)>, LogError> {
        assert!(io::is_aligned(offset), "frames begin at blocks");
        while offset < self.len_bytes {
            let block = self.get(offset, ALIGNMENT)?;
            match FrameHeader::decode(&block) {
                Ok(header) if header.local.salt == salt => return Ok(Some((offset, header))),
                Err(FrameError::Unknown(unknown)) if FrameHeader::salt_of(&block) == Some(salt) => {
                    return Err(self.newer(offset, unknown));
                }
                _ => {}
            }
            offset += ALIGNMENT as u64;
        }
        Ok(None)
    }

    /// End of the last block from `offset` on that holds anything but zeros.
    pub(crate) fn written_end(&mut self, mut offset: u64) -> DiskResult<Option<u64>> {
        let mut end = None;
        while offset < self.len_bytes {
            let block = self.get(offset, ALIGNMENT)?;
            offset += ALIGNMENT as u64;
            if block != ZEROS[..block.len()] {
                end = Some(offset);
            }
        }
        Ok(end)
    }
}

/// Writes the frames of an open segment over themselves, from the first that ends behind `from` on. Not
/// durable until synced.
///
/// They are read once more for it: only what checks again, and is what a scan found there, is written
/// (I5). The padding is zeros, whatever is read there.
///
/// # Errors
/// The disk says no, or gives something else than before: then nothing of that frame is written.
pub(crate) fn write_again(segment: &Segment, from: u64) -> Result<(), LogError> {
    let table = segment.frames().expect("an open segment has frames");
    let file = segment.log_file().expect("an open segment is written");
    let ends_before = (0..table.slots.len()).take_while(|slot| table.end_of(*slot) <= from).count();
    // Frames without events, which are in no slot, may stand between.
    let mut at = ends_before.checked_sub(1).map_or(HEADER_BLOCK_BYTES, |slot| table.end_of(slot));
    let mut slots = table.slots[ends_before..].iter().peekable();
    let mut window = Window::new(Arc::clone(file))?;
    while at < table.end_bytes {
        let (header, frame) = match window.whole_frame(at)? {
            Ok(read) => read,
            Err(error) => return Err(LogError::corrupt(file.path(), at, kind_of(error))),
        };
        let next_slot = slots.peek().map_or(table.end_bytes, |slot| slot.offset_bytes);
        let end = at + header.padded_bytes();
        let holds = header.local.salt == segment.entry.salt
            && match slots.next_if(|slot| slot.offset_bytes == at) {
                Some(slot) => FrameSlot::of(at, &header) == Some(*slot),
                None => FrameSlot::of(at, &header).is_none() && end <= next_slot,
            };
        if !holds {
            let kind = CorruptionKind::Malformed("frame: another was there before".into());
            return Err(LogError::corrupt(file.path(), at, kind));
        }
        if end > from {
            let mut buffer = AlignedBuffer::zeroed(align_up(frame.len()));
            buffer.as_mut_slice()[..frame.len()].copy_from_slice(&frame);
            io::write_blocks_at(&**file, buffer.as_slice(), at)?;
        }
        at = end;
    }
    assert_eq!(at, table.end_bytes, "whole frames were written, and nothing else");
    assert!(slots.next().is_none(), "each frame of events was come by");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::io::{Disk, FileKind, OpenMode, SimDisk};

    #[test]
    fn a_block_that_cannot_be_read_is_asked_for_once() {
        let (disk, path) = (SimDisk::default(), Path::new("/file"));
        let file = disk.open(path, OpenMode::Create, FileKind::Plain).unwrap();
        io::write_all_at(&*file, &[1; 40 * ALIGNMENT], 0).unwrap();
        disk.fail_reads(path, 0..40 * ALIGNMENT as u64);
        let mut window = Window::around_damage(file).unwrap();
        let reads = |window: &mut Window, block: u64| {
            let before = disk.trace().read_count();
            let bytes = window.get(block * ALIGNMENT as u64, ALIGNMENT).unwrap();
            assert_eq!(bytes, ZEROS[..], "what cannot be read is as zeros");
            disk.trace().read_count() - before
        };
        // The rest of the file, at once and then block by block; and so once more from the start.
        assert_eq!(reads(&mut window, 20), 1 + 20);
        assert_eq!(reads(&mut window, 0), 1 + 20);
        assert_eq!(window.unreadable.map(|noted| noted.len()), Some(40));
    }
}

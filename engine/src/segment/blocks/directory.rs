//! The frame directory: what the blocks do not say of the frames they came from.
//!
//! For each frame, one after the other: the fields of its replicated header, and for each of its
//! batches count and extensions, or the body of a frame without events. The bytes are cut into
//! pieces wherever one is full, and each piece is stored as a block is.

use nexus_protocol::limits::{BLOCK_BYTES_MAX, EXTENSIONS_BYTES_MAX, FRAME_BODY_BYTES_MAX};
use nexus_protocol::{Corruption, CorruptionKind, Timestamp};

use super::codec::{Encoder, Stored, unpack};
use super::table::{BlockTable, Piece};
use crate::fields::{FieldError, FieldReader, FieldWriter};
use crate::frame::{
    BodyView, COUNT_MAX, ChainInput, EntryId, FrameError, FrameHeader, FrameKind, ReplicatedHeader,
};
use crate::io::{self, DiskFile};

/// Bytes of a frame's fields.
const FRAME_BYTES: usize = 44;
/// Bytes before the extensions of a batch.
const BATCH_BYTES: usize = 8;
const STARTS_SEGMENT: u8 = 1;

const _: () = assert!(EXTENSIONS_BYTES_MAX < u16::MAX as usize);

/// What is kept of a frame. Lengths and checksums follow from the rest, and are zero.
#[derive(Clone, Debug)]
pub(super) struct DirectoryFrame {
    pub(super) header: ReplicatedHeader,
    pub(super) content: FrameContent,
}

/// What a frame carries, its records apart.
#[derive(Clone, Debug)]
pub(super) enum FrameContent {
    /// Count and extensions of each batch.
    Batches(Vec<(u32, Vec<u8>)>),
    /// Its body.
    Opaque(Vec<u8>),
}

impl DirectoryFrame {
    /// What the chain covers of the frame; `record` adds the next record.
    pub(super) fn chain_input<E>(
        &self,
        mut record: impl FnMut(&mut ChainInput) -> Result<(), E>,
    ) -> Result<ChainInput, E> {
        let mut input = ChainInput::with_capacity(self.header.count as usize);
        match &self.content {
            FrameContent::Opaque(body) => input.opaque(body),
            FrameContent::Batches(batches) => {
                for (count, extensions) in batches {
                    input.batch(*count, extensions);
                    (0..*count).try_for_each(|_| record(&mut input))?;
                }
            }
        }
        Ok(input)
    }
}

/// Gathers the directory while frames go by.
#[derive(Default)]
pub(super) struct DirectoryWriter {
    raw: Vec<u8>,
    /// Pieces as they will be stored, one after the other.
    pub(super) bytes: Vec<u8>,
    pub(super) pieces: Vec<Stored>,
    pub(super) frames: u64,
}

impl DirectoryWriter {
    /// A frame, whose content was checked.
    pub(super) fn add(
        &mut self,
        header: &FrameHeader,
        body: &bytes::Bytes,
        encoder: &mut Encoder,
    ) -> Result<(), FrameError> {
        let replicated = &header.replicated;
        let mut out = FieldWriter::default();
        let flags = if replicated.starts_segment { STARTS_SEGMENT } else { 0 };
        out.bytes(&[replicated.kind.number(), flags, 0, 0]).u32(replicated.count);
        out.u64(replicated.first_position);
        out.u64(replicated.entry.term).u64(replicated.entry.index);
        out.u64(replicated.recorded_at.as_micros().cast_unsigned());
        let length = |n: usize| u32::try_from(n).expect("a frame is below 4 GiB");
        if replicated.kind == FrameKind::Events {
            let (mut batches, mut entries) = (0, FieldWriter::default());
            BodyView::new(header, body.clone())?.batches(|batch| {
                batches += 1;
                entries.u32(batch.count).u32(length(batch.extensions.len()));
                entries.bytes(batch.extensions);
            })?;
            out.u32(batches).bytes(entries.written());
        } else {
            out.u32(length(body.len())).bytes(body);
        }
        self.raw.extend_from_slice(out.written());
        self.frames += 1;
        while self.raw.len() >= BLOCK_BYTES_MAX {
            self.cut(BLOCK_BYTES_MAX, encoder);
        }
        Ok(())
    }

    /// No more frames come.
    pub(super) fn finish(&mut self, encoder: &mut Encoder) {
        if !self.raw.is_empty() {
            self.cut(self.raw.len(), encoder);
        }
    }

    fn cut(&mut self, length: usize, encoder: &mut Encoder) {
        let stored = encoder.encode(&self.raw[..length], &mut self.bytes);
        self.pieces.push(stored);
        self.raw.drain(..length);
    }
}

/// Reads the directory from front to back.
pub(super) struct DirectoryReader<'a> {
    file: &'a dyn DiskFile,
    pieces: std::slice::Iter<'a, Piece>,
    raw: Vec<u8>,
    at: usize,
    /// Where the piece that was read last stands.
    offset_bytes: u64,
}

impl<'a> DirectoryReader<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, table: &'a BlockTable) -> Self {
        let offset_bytes = table.pieces.first().map_or(0, |piece| piece.offset_bytes);
        Self { file, pieces: table.pieces.iter(), raw: Vec::new(), at: 0, offset_bytes }
    }

    /// The next frame; `None` at the end.
    pub(super) fn next_frame(&mut self) -> Result<Option<DirectoryFrame>, Corruption> {
        if self.at == self.raw.len() && self.pieces.len() == 0 {
            return Ok(None);
        }
        let frame = self.take(FRAME_BYTES)?;
        let (header, content_count) =
            decode_header(&frame).map_err(|error| self.malformed(error))?;
        let content = if header.kind == FrameKind::Events {
            if content_count == 0 || content_count > header.count {
                return Err(self.malformed(FieldError::Malformed("number of batches")));
            }
            let mut batches = Vec::new();
            for _ in 0..content_count {
                batches.push(self.batch()?);
            }
            let events: u64 = batches.iter().map(|(count, _)| u64::from(*count)).sum();
            if events != u64::from(header.count) {
                return Err(self.malformed(FieldError::Malformed("count of a batch")));
            }
            FrameContent::Batches(batches)
        } else {
            let length = content_count as usize;
            if length > FRAME_BODY_BYTES_MAX || header.count != 0 {
                return Err(self.malformed(FieldError::Malformed("length")));
            }
            FrameContent::Opaque(self.take(length)?)
        };
        Ok(Some(DirectoryFrame { header, content }))
    }

    fn batch(&mut self) -> Result<(u32, Vec<u8>), Corruption> {
        let head = self.take(BATCH_BYTES)?;
        let mut fields = FieldReader::over(&head);
        let mut read = || Ok((fields.u32()?, fields.u32()? as usize));
        let (count, length) = read().map_err(|error| self.malformed(error))?;
        if count == 0 {
            return Err(self.malformed(FieldError::Malformed("count of a batch")));
        }
        if length > EXTENSIONS_BYTES_MAX {
            return Err(self.malformed(FieldError::Malformed("batch extensions")));
        }
        Ok((count, self.take(length)?))
    }

    /// The next `length` bytes, of as many pieces as it takes.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, Corruption> {
        while self.raw.len() - self.at < length {
            let Some(piece) = self.pieces.next() else {
                return Err(self.malformed(FieldError::Malformed("end of the frame directory")));
            };
            self.raw.drain(..self.at);
            self.at = 0;
            self.offset_bytes = piece.offset_bytes;
            read_piece(self.file, piece, &mut self.raw)?;
        }
        let end = self.at + length;
        let taken = self.raw.get(self.at..end).unwrap_or_default().to_vec();
        self.at = end;
        Ok(taken)
    }

    fn malformed(&self, error: FieldError) -> Corruption {
        let what = match error {
            FieldError::Malformed(what) => what,
            FieldError::Checksum => "frame directory",
        };
        self.damage(CorruptionKind::Malformed(what.into()))
    }

    /// Damage of what was read last.
    pub(super) fn damage(&self, kind: CorruptionKind) -> Corruption {
        crate::error::corruption(self.file.path(), self.offset_bytes, kind)
    }
}

/// Appends what a piece holds to `out`.
pub(super) fn read_piece(
    file: &dyn DiskFile,
    piece: &Piece,
    out: &mut Vec<u8>,
) -> Result<(), Corruption> {
    let mut stored = vec![0; piece.stored.stored_length as usize];
    io::read_exact_at(file, &mut stored, piece.offset_bytes).map_err(|error| {
        crate::error::LogError::from(error).into_corruption(file.path(), piece.offset_bytes)
    })?;
    unpack(&piece.stored, &stored, out).map_err(|kind| {
        let kind = match kind {
            CorruptionKind::Checksum(_) => CorruptionKind::Checksum("frame directory".into()),
            other => other,
        };
        crate::error::corruption(file.path(), piece.offset_bytes, kind)
    })
}

/// The fields of a frame, and the number of batches or of bytes that follow.
fn decode_header(bytes: &[u8]) -> Result<(ReplicatedHeader, u32), FieldError> {
    let mut fields = FieldReader::over(bytes);
    let [kind, flags, zero, also_zero] = fields.array()?;
    let kind = FrameKind::from_number(kind).ok_or(FieldError::Malformed("kind"))?;
    if flags & !STARTS_SEGMENT != 0 || [zero, also_zero] != [0; 2] {
        return Err(FieldError::Malformed("flags"));
    }
    let header = ReplicatedHeader {
        kind,
        starts_segment: flags & STARTS_SEGMENT != 0,
        raw_length: 0,
        body_crc: 0,
        count: fields.u32()?,
        first_position: fields.u64()?,
        entry: EntryId { term: fields.u64()?, index: fields.u64()? },
        recorded_at: Timestamp::from_micros(fields.u64()?.cast_signed()),
    };
    let past_all = header.first_position.checked_add(u64::from(header.count)).is_none();
    // Memory is taken by this count.
    let too_many = header.count as usize > COUNT_MAX;
    if past_all || too_many || (kind == FrameKind::Events) != (header.count > 0) {
        return Err(FieldError::Malformed("count"));
    }
    Ok((header, fields.u32()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::io::{Disk, FileKind, MemoryDisk, OpenMode};

    /// The first frame of a directory that says this of it: count, and of each batch its count.
    fn first_frame(count: u32, batches: &[u32]) -> Result<Option<DirectoryFrame>, Corruption> {
        let mut out = FieldWriter::default();
        out.bytes(&[FrameKind::Events.number(), 0, 0, 0]).u32(count).bytes(&[0; 32]);
        out.u32(u32::try_from(batches.len()).unwrap());
        batches.iter().for_each(|count| {
            out.u32(*count).u32(0);
        });
        let (raw, length) = (out.written(), u32::try_from(out.len()).unwrap());
        let crc = crc32fast::hash(raw);
        let stored = Stored { raw_length: length, stored_length: length, crc, plain: true };
        let table = BlockTable {
            user: Vec::new(),
            system: Vec::new(),
            pieces: vec![Piece { offset_bytes: 0, stored }],
            frames: 1,
            first_position: 0,
            next_position: u64::from(count),
        };
        let disk = MemoryDisk::new();
        let file = disk.open(Path::new("/file"), OpenMode::Create, FileKind::Plain).unwrap();
        io::write_all_at(&*file, raw, 0).unwrap();
        DirectoryReader::new(&*file, &table).next_frame()
    }

    #[test]
    fn a_frame_of_more_events_than_there_can_be_takes_no_memory() {
        assert!(first_frame(5, &[2, 3]).unwrap().is_some());
        let most = u32::try_from(COUNT_MAX).unwrap();
        assert!(first_frame(most, &[most]).unwrap().is_some());
        for count in [most + 1, u32::MAX] {
            assert!(first_frame(count, &[count]).is_err(), "{count}");
        }
    }

    #[test]
    fn a_batch_without_events_is_refused() {
        assert!(first_frame(5, &[5, 0]).is_err());
        assert!(first_frame(5, &[0, 5]).is_err());
    }
}

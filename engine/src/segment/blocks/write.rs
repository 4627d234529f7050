//! Rewriting a segment of frames into blocks.

use std::path::Path;
use std::sync::Arc;

use nexus_protocol::limits::BLOCK_BYTES_MAX;
use nexus_protocol::{LogId, RecordedEvent};

use super::codec::Encoder;
use super::directory::DirectoryWriter;
use super::table::{Block, Footer, OFFSET_BYTES, Piece, encode_table};
use super::walk::for_each_event;
use crate::error::LogError;
use crate::frame::FrameError;
use crate::io::{self, Disk, DiskFile, FileKind, OpenMode};
use crate::log::maintain::scan_sealed;
use crate::manifest::{Sealed, SegmentEntry, SegmentLayout};
use crate::segment::frames::kind_of;
use crate::segment::window::Window;
use crate::segment::{HEADER_BLOCK_BYTES, SEGMENTS_DIR, Segment, SegmentHeader};

/// Bytes written at a time.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes after which the file is synced, so that a commit never waits behind all of it.
const SYNC_BYTES: u64 = 8 << 20;

const _: () = assert!(WRITE_BYTES as u64 <= SYNC_BYTES && BLOCK_BYTES_MAX <= WRITE_BYTES);

/// Writes the frames of a sealed segment anew, as blocks, into the file of the next generation, and
/// answers the entry that names it. The file is durable, was read back, and its chain held; nothing
/// names it before the caller saves the manifest.
pub(crate) fn rewrite(
    disk: &dyn Disk,
    dir: &Path,
    log_id: LogId,
    segment: &Segment,
) -> Result<SegmentEntry, LogError> {
    let old = &segment.entry;
    let sealed = old.sealed.expect("only sealed segments are rewritten");
    assert!(old.layout == SegmentLayout::Frames, "blocks are not rewritten into blocks");
    let mut entry =
        SegmentEntry { generation: old.generation + 1, layout: SegmentLayout::Blocks, ..*old };
    let path = dir.join(SEGMENTS_DIR).join(entry.file_name());
    if disk.metadata(&path)?.is_some() {
        // An attempt that failed. The manifest does not name it.
        disk.remove(&path)?;
    }
    let file = disk.open(&path, OpenMode::Create, FileKind::Plain)?;
    let header = SegmentHeader::of(&entry, log_id).encode();
    assert_eq!(header.len() as u64, HEADER_BLOCK_BYTES, "blocks begin behind the header");
    let mut writer = BlockWriter::new(Arc::clone(&file), header);
    let mut window = Window::new(Arc::clone(segment.file()))?;
    let mut outcome = Ok(());
    scan_sealed(&mut window, dir, old, &mut |scanned| {
        if outcome.is_ok() {
            outcome = writer.add_frame(&scanned);
        }
    })?;
    outcome?;
    let end_bytes = writer.finish(&sealed)?;
    assert!(end_bytes > HEADER_BLOCK_BYTES, "a rewritten segment has a footer at least");
    entry.sealed = Some(Sealed { end_bytes, ..sealed });
    if crate::planted::is("rewritten-before-verified") {
        return Ok(entry);
    }
    file.sync()?;
    disk.sync_dir(&dir.join(SEGMENTS_DIR))?;
    let written = disk.open(&path, OpenMode::Read, FileKind::Plain)?;
    SegmentHeader::check(&*written, &entry, log_id)?;
    for_each_event(&*written, dir, &entry, &mut |_| {})?;
    Ok(entry)
}

/// Records on their way into a block.
#[derive(Default)]
struct Filling {
    bytes: Vec<u8>,
    offsets: Vec<u32>,
    first: u64,
    last: u64,
}

impl Filling {
    fn fits(&self, record: &RecordedEvent) -> bool {
        let table = OFFSET_BYTES * (self.offsets.len() + 1);
        self.offsets.is_empty()
            || self.bytes.len() + record.as_bytes().len() + table <= BLOCK_BYTES_MAX
    }

    fn add(&mut self, record: &RecordedEvent) {
        let position = record.position().get();
        assert!(self.offsets.is_empty() || position > self.last, "records are in order");
        if self.offsets.is_empty() {
            self.first = position;
        }
        self.last = position;
        self.offsets.push(u32::try_from(self.bytes.len()).expect("a block is below 4 GiB"));
        self.bytes.extend_from_slice(record.as_bytes());
    }
}

/// Writes the file from front to back.
struct BlockWriter {
    file: Arc<dyn DiskFile>,
    encoder: Encoder,
    /// What is to be written at `written_bytes` of the file.
    out: Vec<u8>,
    written_bytes: u64,
    synced_bytes: u64,
    user: Filling,
    system: Filling,
    blocks: Vec<(Block, bool)>,
    directory: DirectoryWriter,
}

impl BlockWriter {
    fn new(file: Arc<dyn DiskFile>, header: Vec<u8>) -> Self {
        Self {
            file,
            encoder: Encoder::new(),
            out: header,
            written_bytes: 0,
            synced_bytes: 0,
            user: Filling::default(),
            system: Filling::default(),
            blocks: Vec::new(),
            directory: DirectoryWriter::default(),
        }
    }

    fn add_frame(&mut self, scanned: &crate::log::follow::Scanned<'_>) -> Result<(), LogError> {
        let damaged = |error: FrameError| {
            LogError::corrupt(self.file.path(), scanned.offset_bytes, kind_of(error))
        };
        self.directory.add(scanned.header, scanned.body, &mut self.encoder).map_err(damaged)?;
        for record in scanned.events {
            let system = record.is_system();
            let fits = if system { self.system.fits(record) } else { self.user.fits(record) };
            if !fits {
                self.end_block(system)?;
            }
            if system { self.system.add(record) } else { self.user.add(record) }
        }
        Ok(())
    }

    /// The block that is being filled is full.
    fn end_block(&mut self, system: bool) -> Result<(), LogError> {
        let filling = if system { &mut self.system } else { &mut self.user };
        if filling.offsets.is_empty() {
            return Ok(());
        }
        for offset in &filling.offsets {
            filling.bytes.extend_from_slice(&offset.to_le_bytes());
        }
        let offset_bytes = self.written_bytes + self.out.len() as u64;
        let stored = self.encoder.encode(&filling.bytes, &mut self.out);
        let count = u32::try_from(filling.offsets.len()).expect("a block has few records");
        let block = Block { offset_bytes, first: filling.first, last: filling.last, count, stored };
        assert!(block.last - block.first >= u64::from(count) - 1, "a position is one record's");
        assert!(stored.is_possible(filling.bytes.len()), "who reads the block takes it");
        self.blocks.push((block, system));
        filling.bytes.clear();
        filling.offsets.clear();
        if self.out.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        io::write_all_at(&*self.file, &self.out, self.written_bytes)?;
        self.written_bytes += self.out.len() as u64;
        self.out.clear();
        if self.written_bytes - self.synced_bytes >= SYNC_BYTES {
            self.file.sync()?;
            self.synced_bytes = self.written_bytes;
        }
        Ok(())
    }

    /// No more frames come: writes what follows the blocks, and answers the file's length.
    fn finish(mut self, sealed: &Sealed) -> Result<u64, LogError> {
        self.end_block(false)?;
        self.end_block(true)?;
        self.directory.finish(&mut self.encoder);
        let directory_offset = self.written_bytes + self.out.len() as u64;
        self.out.append(&mut self.directory.bytes);
        let mut at = directory_offset;
        let mut pieces = Vec::with_capacity(self.directory.pieces.len());
        for stored in &self.directory.pieces {
            pieces.push(Piece { offset_bytes: at, stored: *stored });
            at += u64::from(stored.stored_length);
        }
        let table = encode_table(&self.blocks, &pieces);
        let crc = table.last_chunk().copied().expect("a table ends with its checksum");
        let count = |n: usize| u32::try_from(n).expect("a segment has below 4 Gi blocks");
        let footer = Footer {
            first_position: sealed.first_position,
            next_position: sealed.next_position,
            first_digest: sealed.first_digest,
            last_digest: sealed.last_digest,
            frames: self.directory.frames,
            blocks: count(self.blocks.len()),
            pieces: count(pieces.len()),
            directory_offset,
            table_offset: self.written_bytes + self.out.len() as u64,
            table_crc: u32::from_le_bytes(crc),
        };
        assert_eq!(footer.table_offset, at, "pieces stand one after the other");
        self.out.extend_from_slice(&table);
        self.out.extend_from_slice(&footer.encode());
        self.flush()?;
        assert!(self.out.is_empty() && self.written_bytes > footer.table_offset);
        Ok(self.written_bytes)
    }
}

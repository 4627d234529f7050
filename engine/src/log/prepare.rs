//! Preparing space: segments are created and their blocks written with zeros before they are
//! needed, so that nothing on the commit path creates, renames, or extends a file, and so that
//! space is there before positions are given.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nexus_protocol::limits::SEGMENT_BYTES_MAX;
use nexus_protocol::{Lineage, LogId};

use super::Log;
use crate::error::LogError;
use crate::io::{self, ALIGNMENT, AlignedBuffer, Disk, DiskFile, FileKind, OpenMode, align_up};
use crate::manifest::{Manifest, SegmentEntry, SegmentLayout};
use crate::node_state::NodeStateFile;
use crate::segment::{HEADER_BLOCK_BYTES, SEGMENTS_DIR, SegmentFiles, SegmentHeader};

/// Zeros are written in pieces of this size, in bytes: small ones, since frames wait behind them.
const PIECE_BYTES: usize = 256 << 10;

const _: () = assert!(PIECE_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(STRIDE_BYTES.is_multiple_of(PIECE_BYTES as u64), "strides are whole pieces");
/// Zeros are written ahead of the tail in strides of this size, in bytes.
pub(crate) const STRIDE_BYTES: u64 = 8 << 20;
/// So much is kept ready ahead of the tail, in bytes.
pub(crate) const AHEAD_BYTES: u64 = 4 * STRIDE_BYTES;

/// The next segment is begun when this part of the active one, as a divisor, is full.
pub(crate) const NEXT_BEGUN_AT: u64 = 8;

/// Manifest and node-state, with their files.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) manifest: Manifest,
    pub(crate) node_state: NodeStateFile,
    /// Segments never get larger than this, unless a frame needs it.
    pub(crate) segment_bytes_max: u64,
}

impl Catalog {
    /// Changes the manifest, and saves it.
    ///
    /// After a failure the file may hold either manifest, and this one is kept. Nothing that only
    /// one of them names may be removed before [`Catalog::ensure_saved`] has succeeded.
    pub(crate) fn change(
        &mut self,
        log: &Log,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), LogError> {
        let before = self.manifest.clone();
        change(&mut self.manifest);
        log.manifest_unsaved.store(true, Ordering::Release);
        let saved = self.ensure_saved(log);
        if saved.is_err() {
            self.manifest = before;
        }
        saved
    }

    /// Makes sure that the file holds the manifest.
    pub(crate) fn ensure_saved(&mut self, log: &Log) -> Result<(), LogError> {
        if log.manifest_unsaved.load(Ordering::Acquire) {
            self.manifest.save(&*log.disk, &log.dir)?;
            log.manifest_unsaved.store(false, Ordering::Release);
        }
        Ok(())
    }
}

/// A segment that is ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) entry: SegmentEntry,
    pub(crate) files: SegmentFiles,
    /// Blocks below this hold zeros or frames: frames are only written there.
    pub(crate) ready_bytes: Arc<AtomicU64>,
}

impl Prepared {
    /// The file as it is written.
    pub(crate) fn file(&self) -> &Arc<dyn DiskFile> {
        self.files.log.as_ref().expect("a prepared segment is written")
    }
}

impl Prepared {
    /// How much of it should hold zeros when `used` of the `capacity` of the segment before it are
    /// full: all of it when three quarters are.
    pub(crate) fn wanted_bytes(&self, used: u64, capacity: u64) -> u64 {
        let whole = u128::from(self.entry.capacity_bytes);
        let part = whole * u128::from(used) * 4 / (u128::from(capacity.max(1)) * 3);
        u64::try_from(part.min(whole)).expect("at most the capacity")
    }
}

impl Log {
    /// Makes sure that a segment is prepared that takes a first frame of `padded_bytes`.
    pub(crate) fn prepare_segment(&self, padded_bytes: u64) -> Result<(), LogError> {
        let needed = HEADER_BLOCK_BYTES + padded_bytes;
        let is_large = |first: &Prepared| first.entry.capacity_bytes >= needed;
        // The usual case, which waits for nothing: this is called on the commit path.
        let prepared = self.prepared.lock().expect("no panic while segments are prepared");
        let is_there = prepared.first().is_some_and(is_large);
        drop(prepared);
        if is_there && !self.manifest_unsaved.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut catalog = self.catalog.lock().expect("no panic while the catalog is changed");
        let small = {
            let prepared = self.prepared.lock().expect("no panic while segments are prepared");
            match prepared.first() {
                Some(first) if is_large(first) => return catalog.ensure_saved(self),
                Some(first) => Some(first.clone()),
                None => None,
            }
        };
        let previous = catalog.manifest.segments.last().copied();
        let doubled = previous.map_or(needed, |entry| entry.capacity_bytes.saturating_mul(2));
        let largest = catalog.segment_bytes_max.min(SEGMENT_BYTES_MAX);
        let capacity_bytes = doubled.min(largest).max(needed).next_multiple_of(ALIGNMENT as u64);
        let number = previous.map_or(1, |entry| entry.number + 1);
        let entry =
            new_entry(&*self.disk, self.log_id, number, catalog.manifest.lineage(), capacity_bytes);
        let ready = capacity_bytes.min(needed.max(STRIDE_BYTES));
        assert!(needed <= ready && ready <= capacity_bytes, "the first frame finds its blocks");
        let prepared = create(&*self.disk, &self.dir, self.log_id, entry, ready)?;
        let mut manifest = catalog.manifest.clone();
        if let Some(small) = &small {
            manifest.segments.retain(|segment| segment.number != small.entry.number);
        }
        manifest.segments.push(entry);
        // From here on the segment is there, even if the save fails: the file may name it already,
        // so that neither its number nor its file can be used for another.
        catalog.manifest = manifest;
        self.manifest_unsaved.store(true, Ordering::Release);
        let mut list = self.prepared.lock().expect("no panic while segments are prepared");
        list.retain(|other| Some(other.entry.number) != small.as_ref().map(|s| s.entry.number));
        list.push(prepared);
        drop(list);
        catalog.ensure_saved(self)?;
        if let Some(small) = small {
            self.disk.remove(small.file().path())?;
        }
        Ok(())
    }

    /// Writes zeros from what is ready up to `target_bytes`, durably.
    pub(crate) fn extend_ready(
        &self,
        file: &dyn DiskFile,
        ready_bytes: &AtomicU64,
        target_bytes: u64,
    ) -> Result<(), LogError> {
        let _one = self.turns.extend.lock().expect("no panic while a file is extended");
        let ready = ready_bytes.load(Ordering::Acquire);
        if ready < target_bytes {
            write_zeros(file, ready, target_bytes)?;
            file.sync()?;
            ready_bytes.store(target_bytes, Ordering::Release);
        }
        Ok(())
    }
}

/// An entry for a segment that is to be created. Its salt differs for every use of a number.
pub(crate) fn new_entry(
    disk: &dyn Disk,
    log_id: LogId,
    number: u64,
    lineage: Lineage,
    capacity_bytes: u64,
) -> SegmentEntry {
    let mut hasher = blake3::Hasher::new();
    hasher.update(log_id.as_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(&disk.now().as_micros().to_le_bytes());
    hasher.update(&disk.boot_time().as_nanos().to_le_bytes());
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    SegmentEntry {
        number,
        generation: 0,
        layout: SegmentLayout::Frames,
        lineage,
        capacity_bytes,
        salt: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        sealed: None,
    }
}

/// Creates a segment's file with its header block and zeros up to `ready`, durably.
pub(crate) fn create(
    disk: &dyn Disk,
    dir: &Path,
    log_id: LogId,
    entry: SegmentEntry,
    ready: u64,
) -> Result<Prepared, LogError> {
    let segments = dir.join(SEGMENTS_DIR);
    let path = segments.join(entry.file_name());
    if disk.metadata(&path)?.is_some() {
        // Left over from a preparation that did not reach the manifest.
        disk.remove(&path)?;
    }
    let file = disk.open(&path, OpenMode::Create, FileKind::Log)?;
    let filled = write_header(&*file, &entry, log_id)
        .and_then(|()| write_zeros(&*file, HEADER_BLOCK_BYTES, ready))
        .and_then(|()| Ok(file.sync()?));
    if let Err(error) = filled {
        // A full disk must get back what a half-made segment took.
        drop(disk.remove(&path));
        return Err(error);
    }
    disk.sync_dir(&segments)?;
    let files = SegmentFiles::open(disk, file)?;
    Ok(Prepared { entry, files, ready_bytes: Arc::new(AtomicU64::new(ready)) })
}

fn write_header(file: &dyn DiskFile, entry: &SegmentEntry, log_id: LogId) -> Result<(), LogError> {
    let mut block = AlignedBuffer::zeroed(ALIGNMENT);
    block.as_mut_slice().copy_from_slice(&SegmentHeader::of(entry, log_id).encode());
    Ok(io::write_blocks_at(file, block.as_slice(), 0)?)
}

/// Writes zeros over `from..to`, both aligned. Not durable until synced.
pub(crate) fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> Result<(), LogError> {
    assert!(io::is_aligned(from) && io::is_aligned(to), "zeros are written in whole blocks");
    let length = to.saturating_sub(from);
    let piece = usize::try_from(length).unwrap_or(usize::MAX).min(PIECE_BYTES);
    let zeros = AlignedBuffer::zeroed(align_up(piece));
    let mut at = from;
    while at < to {
        let rest = usize::try_from(to - at).unwrap_or(usize::MAX).min(zeros.as_slice().len());
        io::write_blocks_at(file, &zeros.as_slice()[..rest], at)?;
        at += rest as u64;
    }
    Ok(())
}

//! Rewritten segments: independent compressed blocks.

use std::path::Path;

use nexus_protocol::{Corruption, LogId, RecordedEvent};

use super::{Chunk, Segment};
use crate::error::LogError;
use crate::io::{Disk, DiskFile};
use crate::manifest::{Sealed, SegmentEntry};

/// Where the blocks of a rewritten segment stand.
#[derive(Debug)]
pub(crate) struct BlockTable;

impl BlockTable {
    pub(crate) fn load(_: &dyn DiskFile, _: &Sealed) -> Result<Self, LogError> {
        unimplemented!()
    }
}

pub(crate) fn load(_: &Segment, _: &BlockTable, _: u64) -> Result<Chunk, Box<Corruption>> {
    unimplemented!()
}

pub(crate) fn rewrite(
    _: &dyn Disk,
    _: &Path,
    _: LogId,
    _: &Segment,
) -> Result<SegmentEntry, LogError> {
    unimplemented!()
}

pub(crate) fn for_each_event(
    _: &dyn DiskFile,
    _: &Path,
    _: &SegmentEntry,
    _: &mut dyn FnMut(&RecordedEvent),
) -> Result<(), LogError> {
    unimplemented!()
}

pub(crate) fn verify(
    _: &dyn DiskFile,
    _: &Path,
    _: &SegmentEntry,
    _: &mut dyn FnMut(Corruption),
) -> Result<u64, LogError> {
    unimplemented!()
}

//! Checking a rewritten segment as a whole: every block, every record, the directory, the chain.

use std::path::Path;

use nexus_protocol::{Corruption, CorruptionKind, RecordedEvent};

use super::directory::read_piece;
use super::read::decode_one;
use super::table::{Block, BlockTable};
use super::walk::walk;
use crate::error::LogError;
use crate::io::DiskFile;
use crate::manifest::SegmentEntry;

/// Reports everything that is damaged, block by block, and answers the number of events that are
/// whole. The segment's header is the caller's to check: it knows whose log it is.
///
/// # Errors
/// A newer Nexus wrote it.
pub(crate) fn verify(
    file: &dyn DiskFile,
    path: &Path,
    entry: &SegmentEntry,
    on_error: &mut dyn FnMut(Corruption),
) -> Result<u64, LogError> {
    let sealed = entry.sealed.as_ref().expect("a rewritten segment stays sealed");
    let table = match BlockTable::load(file, sealed) {
        Ok(table) => table,
        Err(newer @ LogError::NewerFormat { .. }) => return Err(newer),
        Err(error) => {
            on_error(error.into_corruption(path, 0));
            return Ok(0);
        }
    };
    let (mut events, mut damaged) = (0, false);
    let mut report = |corruption| {
        damaged = true;
        on_error(corruption);
    };
    for (blocks, system) in [(&table.user, false), (&table.system, true)] {
        for block in blocks {
            let mut bad = None;
            match decode_one(file, block) {
                Ok(chunk) => (0..chunk.len()).for_each(|index| match chunk.record(index) {
                    Ok(record) if of_kind(&record, system) => events += 1,
                    Ok(_) => bad = Some(CorruptionKind::Malformed("kind of a block".into())),
                    Err(_) => bad = Some(CorruptionKind::Checksum("record".into())),
                }),
                Err(corruption) => report(corruption),
            }
            if let Some(kind) = bad {
                report(damage(path, block, kind));
            }
        }
    }
    let mut raw = Vec::new();
    for piece in &table.pieces {
        raw.clear();
        if let Err(corruption) = read_piece(file, piece, &mut raw) {
            report(corruption);
        }
    }
    // The chain covers all of it: where something is known to be damaged, it has no more to say.
    if !damaged && let Err(corruption) = walk(file, &table, sealed, &mut |_| {}) {
        on_error(corruption);
    }
    Ok(events)
}

fn of_kind(record: &RecordedEvent, system: bool) -> bool {
    record.is_system() == system
}

fn damage(path: &Path, block: &Block, kind: CorruptionKind) -> Corruption {
    crate::error::corruption(path, block.offset_bytes, kind)
}

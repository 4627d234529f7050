//! Reading blocks: one for a single record, several at once for a scan.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use nexus_protocol::record::PLACEMENT_BYTES;
use nexus_protocol::{Corruption, CorruptionKind};

use super::codec::unpack;
use super::table::{Block, BlockTable, OFFSET_BYTES};
use crate::io::{self, DiskFile};
use crate::segment::chunk::LEFT_OUT;
use crate::segment::frames::Want;
use crate::segment::{Chunk, Segment};

/// Stored bytes between two blocks that are wanted are read along when they are fewer than this.
const GAP_BYTES: u64 = 64 * 1024;
/// Positions of a chunk, at most: a long stretch of nothing but system records is left out in parts.
const POSITIONS_MAX: u64 = 1 << 16;

/// The chunk that holds `position`, from the file.
pub(crate) fn load(
    segment: &Segment,
    table: &BlockTable,
    position: u64,
    want: Want,
) -> Result<Chunk, Box<Corruption>> {
    let file = segment.file();
    let file = &**file;
    let found = match want {
        Want::One | Want::Run { .. } => one(file, table, position),
        Want::Following { bytes, system } => {
            gather(file, table, position, bytes, system).or_else(|_| one(file, table, position))
        }
        Want::Preceding { bytes, system } => gather_before(file, table, position, bytes, system)
            .or_else(|_| one(file, table, position)),
    };
    found.map_err(Box::new)
}

/// A block as it is stored, once its checksum held; `None`: it does not, or cannot be read. Why, those are
/// told who read its events.
pub(crate) fn stored(file: &dyn DiskFile, block: &Block) -> Option<nexus_protocol::Block> {
    let mut bytes = vec![0; block.stored.stored_length as usize];
    io::read_full_at(file, &mut bytes, block.offset_bytes).ok()?;
    nexus_protocol::Block::new(block.entry(), bytes.into()).ok()
}

/// The block that holds `position`, as it is.
pub(super) fn one(
    file: &dyn DiskFile,
    table: &BlockTable,
    position: u64,
) -> Result<Chunk, Corruption> {
    let mut damage = None;
    for block in table.candidates(position).into_iter().flatten() {
        match decode_one(file, block) {
            Ok(chunk) if chunk.find(position).is_some() => return Ok(chunk),
            Ok(_) => {}
            Err(corruption) => damage = damage.or(Some(corruption)),
        }
    }
    Err(damage.unwrap_or_else(|| {
        let (offset, _) = table.place_of(position);
        crate::error::corruption(
            file.path(),
            offset,
            CorruptionKind::Malformed("block table".into()),
        )
    }))
}

/// One block as a chunk.
pub(super) fn decode_one(file: &dyn DiskFile, block: &Block) -> Result<Chunk, Corruption> {
    let mut memory = Memory::take(block.stored.raw_length as usize);
    read_blocks(file, &[block], &mut memory.bytes)?;
    let records = records_of(block, &memory.bytes, 0);
    let (positions, offsets): (Vec<u64>, Vec<u32>) = records.unzip();
    let in_order = positions.is_sorted_by(|a, b| a < b)
        && positions.first() == Some(&block.first)
        && positions.last() == Some(&block.last);
    if !in_order || positions.len() != block.count as usize {
        let kind = CorruptionKind::Malformed("positions of a block".into());
        return Err(crate::error::corruption(file.path(), block.offset_bytes, kind));
    }
    let bytes = memory.share();
    let chunk = match block.is_dense() {
        true => Chunk::dense(bytes, block.first, offsets),
        false => Chunk::sparse(bytes, positions, offsets),
    };
    Ok(chunk.covered())
}

/// All records from `position` on, about `bytes_max` bytes of them. Damage behind the first blocks
/// ends it early.
pub(super) fn gather(
    file: &dyn DiskFile,
    table: &BlockTable,
    position: u64,
    bytes_max: u64,
    system: bool,
) -> Result<Chunk, Corruption> {
    let (mut blocks, mut end) = select(table, position, bytes_max, system);
    let mut memory = Memory::for_blocks(&blocks);
    if let Err((failed, corruption)) = read_all(file, &blocks, &mut memory.bytes) {
        // What stands before it is whole, unless it is needed for the first position already.
        match blocks.get(failed) {
            Some(block) if block.first > position => end = block.first,
            _ => return Err(corruption),
        }
        blocks.truncate(failed);
    }
    assemble(file, &blocks, memory, position..end, system)
}

/// All records up to `position`, about `bytes_max` bytes of them.
fn gather_before(
    file: &dyn DiskFile,
    table: &BlockTable,
    position: u64,
    bytes_max: u64,
    system: bool,
) -> Result<Chunk, Corruption> {
    let (blocks, start) = select_before(table, position, bytes_max, system);
    let mut memory = Memory::for_blocks(&blocks);
    read_blocks(file, &blocks, &mut memory.bytes)?;
    assemble(file, &blocks, memory, start..position + 1, system)
}

/// The records of `positions`, which `blocks` hold; without `system`, those of users' streams.
fn assemble(
    file: &dyn DiskFile,
    blocks: &[&Block],
    memory: Memory,
    positions: Range<u64>,
    system: bool,
) -> Result<Chunk, Corruption> {
    let count = usize::try_from(positions.end - positions.start).unwrap_or(usize::MAX);
    let mut offsets = vec![LEFT_OUT; count];
    let (mut base, mut filled) = (0, 0);
    for block in blocks {
        let (mut before, mut in_order) = (None, true);
        for (at, offset) in records_of(block, &memory.bytes, base) {
            in_order &= before < Some(at) && (block.first..=block.last).contains(&at);
            before = Some(at);
            let index =
                at.checked_sub(positions.start).and_then(|index| usize::try_from(index).ok());
            if let Some(slot) = index.and_then(|index| offsets.get_mut(index)) {
                *slot = offset;
                filled += 1;
            }
        }
        if !in_order {
            let kind = CorruptionKind::Malformed("positions of a block".into());
            return Err(crate::error::corruption(file.path(), block.offset_bytes, kind));
        }
        base += block.stored.raw_length as usize;
    }
    // The blocks of users' streams are whole, and the table counts all events: what is missing then
    // is the system's.
    if system && (filled != count || offsets.contains(&LEFT_OUT)) {
        let offset = blocks.first().map_or(0, |block| block.offset_bytes);
        let kind = CorruptionKind::Malformed("positions of a block".into());
        return Err(crate::error::corruption(file.path(), offset, kind));
    }
    Ok(Chunk::dense(memory.share(), positions.start, offsets).covered())
}

/// The blocks that hold every position from `position` to the one that is answered: in order of
/// their first positions, those that cover `position` and as many more as fit `bytes_max`.
fn select(table: &BlockTable, position: u64, bytes_max: u64, system: bool) -> (Vec<&Block>, u64) {
    let from = |list| BlockTable::start_of(list, position);
    let systems: &[Block] = if system { &table.system } else { &[] };
    let mut users = table.user.iter().skip(from(&table.user)).peekable();
    let mut systems = systems.iter().skip(from(systems)).peekable();
    let far = table.next_position.min(position.saturating_add(POSITIONS_MAX));
    let (mut taken, mut bytes) = (Vec::new(), 0);
    loop {
        let of_system = match (users.peek(), systems.peek()) {
            (Some(user), Some(system)) => system.first < user.first,
            (user, _) => user.is_none(),
        };
        let list = if of_system { &mut systems } else { &mut users };
        let Some(block) = list.peek().copied() else { return (taken, far) };
        bytes += u64::from(block.stored.raw_length);
        if block.first > position && (bytes > bytes_max || block.first >= far) {
            return (taken, block.first.min(far));
        }
        taken.push(block);
        list.next();
    }
}

/// As [`select`], backwards: the blocks that hold every position from the one that is answered to
/// `position`.
fn select_before(
    table: &BlockTable,
    position: u64,
    bytes_max: u64,
    system: bool,
) -> (Vec<&Block>, u64) {
    let to = |list: &[Block]| list.partition_point(|block| block.first <= position);
    let systems: &[Block] = if system { &table.system } else { &[] };
    let mut users = table.user.iter().take(to(&table.user)).rev().peekable();
    let mut systems = systems.iter().take(to(systems)).rev().peekable();
    let far = table.first_position.max(position.saturating_sub(POSITIONS_MAX));
    let (mut taken, mut bytes) = (Vec::new(), 0);
    let start = loop {
        let of_system = match (users.peek(), systems.peek()) {
            (Some(user), Some(system)) => system.last > user.last,
            (user, _) => user.is_none(),
        };
        let list = if of_system { &mut systems } else { &mut users };
        let Some(block) = list.peek().copied() else { break far };
        bytes += u64::from(block.stored.raw_length);
        if block.last < position && (bytes > bytes_max || block.last < far) {
            break far.max(block.last + 1);
        }
        taken.push(block);
        list.next();
    };
    taken.reverse();
    (taken, start)
}

/// Position and offset of each record of a block whose raw bytes stand at `base` of `bytes`. What
/// is impossible comes as offsets and positions where nothing is: a record says itself where it is.
fn records_of<'a>(
    block: &'a Block,
    bytes: &'a [u8],
    base: usize,
) -> impl Iterator<Item = (u64, u32)> + 'a {
    let raw = bytes.get(base..base + block.stored.raw_length as usize).unwrap_or_default();
    let table = raw.len().saturating_sub(OFFSET_BYTES * block.count as usize);
    let (records, entries) = raw.split_at(table);
    let offset_of = |entry: &[u8; OFFSET_BYTES]| u32::from_le_bytes(*entry) as usize;
    let (entries, _) = entries.as_chunks::<OFFSET_BYTES>();
    let dense = block.is_dense();
    (0..entries.len()).map(move |index| {
        let start = entries.get(index).map_or(usize::MAX, offset_of);
        let position = if dense {
            block.first + index as u64
        } else {
            let end = entries.get(index + 1).map_or(records.len(), offset_of);
            let placement = end.checked_sub(PLACEMENT_BYTES).and_then(|at| records.get(at..));
            placement.and_then(|p| p.first_chunk()).map_or(u64::MAX, |p| u64::from_le_bytes(*p))
        };
        // An impossible one leads to where nothing is, and is never taken for left out.
        let offset = u32::try_from(start.saturating_add(base)).unwrap_or(LEFT_OUT);
        (position, offset.min(LEFT_OUT - 1))
    })
}

thread_local! {
    /// Stored bytes, while they are decoded.
    static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The memory of this thread's last chunk: taken again once no event holds on to it.
    static SPARE: RefCell<Option<Arc<Vec<u8>>>> = const { RefCell::new(None) };
}

/// Memory that blocks are decoded into.
struct Memory {
    bytes: Vec<u8>,
}

/// Memory that more than one [`Bytes`] may own.
struct Owner(Arc<Vec<u8>>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Memory {
    /// Empty, with room for so many bytes.
    fn take(capacity: usize) -> Self {
        let spare = SPARE.with_borrow_mut(Option::take);
        let mut bytes = spare.and_then(|shared| Arc::try_unwrap(shared).ok()).unwrap_or_default();
        bytes.clear();
        // Not for much longer than it is needed: one huge record must not hold memory for ever.
        if bytes.capacity() / 8 > capacity {
            bytes = Vec::new();
        }
        bytes.reserve_exact(capacity);
        Self { bytes }
    }

    /// Empty, with room for these blocks.
    fn for_blocks(blocks: &[&Block]) -> Self {
        Self::take(blocks.iter().map(|block| block.stored.raw_length as usize).sum())
    }

    fn share(self) -> Bytes {
        let shared = Arc::new(self.bytes);
        SPARE.with_borrow_mut(|spare| *spare = Some(Arc::clone(&shared)));
        Bytes::from_owner(Owner(shared))
    }
}

fn read_blocks(
    file: &dyn DiskFile,
    blocks: &[&Block],
    out: &mut Vec<u8>,
) -> Result<(), Corruption> {
    read_all(file, blocks, out).map_err(|(_, corruption)| corruption)
}

/// Appends the raw bytes of `blocks` to `out`; answers which failed.
fn read_all(
    file: &dyn DiskFile,
    blocks: &[&Block],
    out: &mut Vec<u8>,
) -> Result<(), (usize, Corruption)> {
    STORED.with_borrow_mut(|stored| {
        // The piece of the file that is in `stored`.
        let (mut from, mut to) = (0, 0);
        for (index, block) in blocks.iter().enumerate() {
            let (start, end) = extent(block);
            if start < from || end > to {
                (from, to) = (start, together(blocks.get(index..).unwrap_or_default()));
                let length = usize::try_from(to - from).unwrap_or(usize::MAX);
                if stored.len() < length {
                    stored.resize(length, 0);
                }
                let target = stored.get_mut(..length).unwrap_or_default();
                if let Err(error) = io::read_full_at(file, target, from) {
                    // Of several blocks another may be the bad one: each is tried alone.
                    to = end;
                    let length = usize::try_from(end - start).unwrap_or(usize::MAX);
                    let target = stored.get_mut(..length).unwrap_or_default();
                    if io::read_full_at(file, target, start).is_err() {
                        let error = crate::error::LogError::from(error);
                        return Err((index, error.into_corruption(file.path(), start)));
                    }
                }
            }
            let at = usize::try_from(start - from).unwrap_or(usize::MAX);
            let length = block.stored.stored_length as usize;
            let bytes = stored.get(at..at.saturating_add(length)).unwrap_or_default();
            unpack(&block.stored, bytes, out)
                .map_err(|kind| (index, crate::error::corruption(file.path(), start, kind)))?;
        }
        Ok(())
    })
}

fn extent(block: &Block) -> (u64, u64) {
    (block.offset_bytes, block.offset_bytes + u64::from(block.stored.stored_length))
}

/// Where the blocks end that are read with the first one: those that stand close behind it.
fn together(blocks: &[&Block]) -> u64 {
    let mut end = 0;
    for block in blocks {
        let (start, its_end) = extent(block);
        if end != 0 && (start < end || start > end + GAP_BYTES) {
            break;
        }
        end = its_end;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::super::codec::Stored;
    use super::*;

    #[test]
    fn an_impossible_place_is_no_record_that_was_left_out() {
        let raw = [7_u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
        let stored = Stored { raw_length: 8, stored_length: 8, crc: 0, plain: true };
        let block = Block { offset_bytes: 0, first: 5, last: 6, count: 2, stored };
        for base in [0_u16, 1, 4_000] {
            let bytes = [vec![0; base.into()], raw.clone()].concat();
            let offsets: Vec<u32> =
                records_of(&block, &bytes, base.into()).map(|(_, offset)| offset).collect();
            assert_eq!(offsets, [7 + u32::from(base), LEFT_OUT - 1]);
            let chunk = Chunk::dense(Bytes::from(bytes), 5, offsets);
            assert!(!chunk.leaves_out(1) && chunk.record(1).is_err());
        }
    }
}

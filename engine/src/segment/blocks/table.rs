//! The table of blocks and the footer: where each block stands and what it holds.

use nexus_protocol::CorruptionKind;
pub(super) use nexus_protocol::block::OFFSET_BYTES;
use nexus_protocol::block::{BlockEntry, Stored};
use nexus_protocol::limits::BLOCK_BYTES_MAX;

use crate::error::LogError;
use crate::fields::{FieldError, FieldReader, FieldWriter, newer_version};
use crate::frame::ChainDigest;
use crate::io::{self, DiskFile};
use crate::manifest::Sealed;
use crate::segment::HEADER_BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"NXBLOCKS";
const VERSION: u32 = 1;
/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 256;
const BLOCK_ENTRY_BYTES: usize = 40;
const PIECE_ENTRY_BYTES: usize = 16;

const SYSTEM: u32 = 1;
const DENSE: u32 = 1 << 1;
const PLAIN: u32 = 1 << 2;

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(super) offset_bytes: u64,
    /// Position of its first record, and of its last.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Number of its records.
    pub(super) count: u32,
    pub(super) stored: Stored,
}

impl Block {
    /// Whether it holds every position from its first to its last.
    pub(super) fn is_dense(&self) -> bool {
        self.last - self.first + 1 == u64::from(self.count)
    }

    /// What is said of it wherever it is listed.
    pub(crate) fn entry(&self) -> BlockEntry {
        let Self { first, last, count, stored, .. } = *self;
        BlockEntry { first, last, count, stored }
    }

    fn covers(&self, position: u64) -> bool {
        (self.first..=self.last).contains(&position)
    }
}

/// One piece of the frame directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset_bytes: u64,
    pub(super) stored: Stored,
}

/// Where the blocks of a rewritten segment stand.
#[derive(Debug)]
pub(crate) struct BlockTable {
    /// Blocks of records of users' streams, in order of positions.
    pub(super) user: Vec<Block>,
    /// Blocks of records of system streams, in order of positions.
    pub(super) system: Vec<Block>,
    /// The frame directory.
    pub(super) pieces: Vec<Piece>,
    /// Number of frames in it.
    pub(super) frames: u64,
    /// Position of the first event, and the one after the last.
    pub(super) first_position: u64,
    pub(super) next_position: u64,
}

/// What the footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) first_position: u64,
    pub(super) next_position: u64,
    pub(super) first_digest: ChainDigest,
    pub(super) last_digest: ChainDigest,
    pub(super) frames: u64,
    pub(super) blocks: u32,
    pub(super) pieces: u32,
    pub(super) directory_offset: u64,
    pub(super) table_offset: u64,
    pub(super) table_crc: u32,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = FieldWriter::default();
        out.bytes(&MAGIC).u32(VERSION).u32(0).u64(self.first_position).u64(self.next_position);
        out.bytes(self.first_digest.as_bytes()).bytes(self.last_digest.as_bytes());
        out.u64(self.frames).u32(self.blocks).u32(self.pieces);
        out.u64(self.directory_offset).u64(self.table_offset).u32(self.table_crc);
        let footer = out.sealed(FOOTER_BYTES);
        debug_assert_eq!(Self::decode(&footer).as_ref(), Ok(self), "a footer reads back");
        footer
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FieldError> {
        let mut fields = FieldReader::checked(bytes)?;
        if fields.array::<8>()? != MAGIC || fields.u32()? != VERSION {
            return Err(FieldError::Malformed("version"));
        }
        fields.u32()?;
        Ok(Self {
            first_position: fields.u64()?,
            next_position: fields.u64()?,
            first_digest: ChainDigest::from_bytes(fields.array()?),
            last_digest: ChainDigest::from_bytes(fields.array()?),
            frames: fields.u64()?,
            blocks: fields.u32()?,
            pieces: fields.u32()?,
            directory_offset: fields.u64()?,
            table_offset: fields.u64()?,
            table_crc: fields.u32()?,
        })
    }
}

fn put_stored(stored: &Stored, flags: u32, out: &mut FieldWriter) {
    let flags = flags | if stored.plain { PLAIN } else { 0 };
    out.u32(stored.raw_length).u32(stored.stored_length).u32(stored.crc).u32(flags);
}

fn take_stored(fields: &mut FieldReader<'_>) -> Result<(Stored, u32), FieldError> {
    let (raw_length, stored_length) = (fields.u32()?, fields.u32()?);
    let (crc, flags) = (fields.u32()?, fields.u32()?);
    if flags & !(SYSTEM | DENSE | PLAIN) != 0 {
        return Err(FieldError::Malformed("flags of a block"));
    }
    let stored = Stored { raw_length, stored_length, crc, plain: flags & PLAIN != 0 };
    Ok((stored, flags))
}

/// The table's bytes: `blocks` in order of their places in the file, each with whether it is the
/// system's, then the pieces.
pub(super) fn encode_table(blocks: &[(Block, bool)], pieces: &[Piece]) -> Vec<u8> {
    let mut out = FieldWriter::default();
    for (block, system) in blocks {
        out.u64(block.first).u64(block.last).u32(block.count).u32(0);
        let dense = if block.is_dense() { DENSE } else { 0 };
        put_stored(&block.stored, dense | if *system { SYSTEM } else { 0 }, &mut out);
    }
    for piece in pieces {
        put_stored(&piece.stored, 0, &mut out);
    }
    let length = out.len() + 4;
    assert_eq!(length, table_bytes(blocks.len(), pieces.len()), "entries have one size");
    out.sealed(length)
}

/// Bytes of a table, checksum included.
fn table_bytes(blocks: usize, pieces: usize) -> usize {
    blocks.saturating_mul(BLOCK_ENTRY_BYTES) + pieces.saturating_mul(PIECE_ENTRY_BYTES) + 4
}

impl BlockTable {
    /// Reads footer and table, and checks them against what the manifest says of the segment.
    pub(crate) fn load(file: &dyn DiskFile, sealed: &Sealed) -> Result<Self, LogError> {
        let damage = |offset: u64, kind| LogError::corrupt(file.path(), offset, kind);
        let length = file.len_bytes()?;
        if length < sealed.end_bytes {
            return Err(damage(length, CorruptionKind::Truncated));
        }
        let footer_at = sealed.end_bytes.checked_sub(FOOTER_BYTES as u64);
        let footer_at =
            footer_at.filter(|at| *at >= HEADER_BLOCK_BYTES && length == sealed.end_bytes);
        let Some(footer_at) = footer_at else {
            return Err(damage(sealed.end_bytes, CorruptionKind::Malformed("length".into())));
        };
        let mut bytes = [0; FOOTER_BYTES];
        io::read_exact_at(file, &mut bytes, footer_at)?;
        if let Some(version) = newer_version(&bytes, &MAGIC, VERSION) {
            let what =
                format!("rewritten segment of version {version} in {}", file.path().display());
            return Err(LogError::NewerFormat { version, what });
        }
        let footer = Footer::decode(&bytes).map_err(|e| damage(footer_at, kind_of(e, "footer")))?;
        check_footer(&footer, sealed, footer_at).map_err(|kind| damage(footer_at, kind))?;
        let table_length = usize::try_from(footer_at - footer.table_offset).unwrap_or(usize::MAX);
        let mut table = vec![0; table_length];
        io::read_exact_at(file, &mut table, footer.table_offset)?;
        Self::decode(&footer, &table)
            .map_err(|error| damage(footer.table_offset, kind_of(error, "block table")))
    }

    /// Reads the table that the footer describes; its length was compared with the footer's counts.
    pub(super) fn decode(footer: &Footer, bytes: &[u8]) -> Result<Self, FieldError> {
        let crc = bytes.last_chunk::<4>().map(|crc| u32::from_le_bytes(*crc));
        if crc != Some(footer.table_crc) {
            return Err(FieldError::Checksum);
        }
        let mut fields = FieldReader::checked(bytes)?;
        let mut table = Self {
            user: Vec::new(),
            system: Vec::new(),
            pieces: Vec::new(),
            frames: footer.frames,
            first_position: footer.first_position,
            next_position: footer.next_position,
        };
        let mut at = HEADER_BLOCK_BYTES;
        for _ in 0..footer.blocks {
            let (first, last, count) = (fields.u64()?, fields.u64()?, fields.u32()?);
            fields.u32()?;
            let (stored, flags) = take_stored(&mut fields)?;
            let block = Block { offset_bytes: at, first, last, count, stored };
            table.add(block, flags)?;
            at += u64::from(stored.stored_length);
        }
        if at != footer.directory_offset {
            return Err(FieldError::Malformed("length of the blocks"));
        }
        for _ in 0..footer.pieces {
            let (stored, flags) = take_stored(&mut fields)?;
            if !stored.is_possible(BLOCK_BYTES_MAX) || flags & !PLAIN != 0 {
                return Err(FieldError::Malformed("piece of the frame directory"));
            }
            table.pieces.push(Piece { offset_bytes: at, stored });
            at += u64::from(stored.stored_length);
        }
        if at != footer.table_offset {
            return Err(FieldError::Malformed("length of the frame directory"));
        }
        let events: u64 = table.blocks().map(|block| u64::from(block.count)).sum();
        if events != footer.next_position - footer.first_position {
            return Err(FieldError::Malformed("number of events"));
        }
        Ok(table)
    }

    /// Adds a block, once everything it says of itself can be.
    fn add(&mut self, block: Block, flags: u32) -> Result<(), FieldError> {
        let list = if flags & SYSTEM != 0 { &mut self.system } else { &mut self.user };
        let in_order = list.last().is_none_or(|before| before.last < block.first);
        let in_range = block.first >= self.first_position
            && block.last < self.next_position
            && block.first <= block.last
            && block.count > 0
            && block.last - block.first >= u64::from(block.count) - 1;
        if !in_order || !in_range || block.is_dense() != (flags & DENSE != 0) {
            return Err(FieldError::Malformed("positions of a block"));
        }
        if !block.stored.can_hold(block.count) {
            return Err(FieldError::Malformed("length of a block"));
        }
        list.push(block);
        Ok(())
    }

    /// All blocks: users', then the system's.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.user.iter().chain(&self.system)
    }

    /// Index of the first block of `list` that ends at or after `position`.
    pub(super) fn start_of(list: &[Block], position: u64) -> usize {
        list.partition_point(|block| block.last < position)
    }

    /// The first block of users' events that ends at or after `position`: where it begins there or later,
    /// whoever reads on without the system's events wants all of it.
    pub(crate) fn users_from(&self, position: u64) -> Option<&Block> {
        self.user.get(Self::start_of(&self.user, position))
    }

    /// Position after the last event.
    pub(crate) fn next_position(&self) -> u64 {
        self.next_position
    }

    /// The blocks that may hold `position`, the one to look at first in front: one, where it is dense.
    pub(super) fn candidates(&self, position: u64) -> [Option<&Block>; 2] {
        let covering = |list: &'_ [Block]| -> Option<usize> {
            let index = Self::start_of(list, position);
            list.get(index).filter(|block| block.covers(position)).map(|_| index)
        };
        let user = covering(&self.user).and_then(|index| self.user.get(index));
        let system = covering(&self.system).and_then(|index| self.system.get(index));
        match (user, system) {
            (Some(user), _) if user.is_dense() => [Some(user), None],
            (_, Some(system)) if system.is_dense() => [Some(system), None],
            found => [found.0, found.1],
        }
    }

    /// Where the block of `position` stands, and a position after it that may be readable when it
    /// is not.
    pub(crate) fn place_of(&self, position: u64) -> (u64, Option<u64>) {
        match self.candidates(position) {
            [Some(block), None] if block.is_dense() => {
                (block.offset_bytes, Some(block.last + 1).filter(|next| *next < self.next_position))
            }
            [Some(block), _] | [None, Some(block)] => {
                let next = position + 1;
                (block.offset_bytes, Some(next).filter(|next| *next < self.next_position))
            }
            [None, None] => (0, None),
        }
    }
}

fn check_footer(footer: &Footer, sealed: &Sealed, footer_at: u64) -> Result<(), CorruptionKind> {
    let same = footer.first_position == sealed.first_position
        && footer.next_position == sealed.next_position
        && footer.first_digest == sealed.first_digest
        && footer.last_digest == sealed.last_digest;
    if !same {
        return Err(CorruptionKind::Foreign("another place of this log".into()));
    }
    let table = table_bytes(footer.blocks as usize, footer.pieces as usize) as u64;
    let fits = footer.directory_offset >= HEADER_BLOCK_BYTES
        && footer.directory_offset <= footer.table_offset
        && footer.table_offset.checked_add(table) == Some(footer_at);
    if fits { Ok(()) } else { Err(CorruptionKind::Malformed("footer".into())) }
}

fn kind_of(error: FieldError, what: &'static str) -> CorruptionKind {
    match error {
        FieldError::Checksum => CorruptionKind::Checksum(what.into()),
        FieldError::Malformed(what) => CorruptionKind::Malformed(what.into()),
    }
}

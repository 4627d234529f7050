//! What a read or a subscription delivers: a run of items, each an event or a marker.
//!
//! An item is 8 bytes (`length u32 ‖ kind u8 ‖ flags u8 ‖ part u16`) and what it says. An event is its
//! record as it is stored, checksum included, so that the reader checks what was written, not what a
//! server made of it. Where a server changed an event, the flag says so, and the checksum covers
//! what is sent.
//!
//! From version 2 on an item may be a block: many events, compressed together as they lie on the server's
//! disk, with the checksum that they have there. Whoever decodes items is given its events one by one.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Encode, PacketKind, WireError, encode_packet};
use crate::block::{Block, BlockEntry, Stored};
use crate::ids::Position;
use crate::limits::PACKET_PAYLOAD_BYTES_MAX;
use crate::read::SubscriptionItem;
use crate::record::RecordedEvent;

const ITEM_BYTES: usize = 8;
const EVENT: u8 = 1;
const CAUGHT_UP: u8 = 2;
const FELL_BEHIND: u8 = 3;
const CHECKPOINT: u8 = 4;
const BLOCK: u8 = 5;
/// What stands before the bytes of a block.
const BLOCK_HEAD_BYTES: usize = 32;
/// The server changed the event.
const ALTERED: u8 = 1;
/// Further parts of the same stored event come behind it.
const MORE_PARTS: u8 = 2;
/// The marker has no position: nothing was there.
const NOWHERE: u8 = 1;
/// The block is not compressed.
const PLAIN: u8 = 1;

/// Gathers items for one packet.
#[derive(Debug, Default)]
pub struct ItemsBuilder {
    items: BytesMut,
    events: u32,
    /// What blocks come to beyond their bytes in `items` once they are unpacked.
    packed: usize,
}

impl ItemsBuilder {
    /// Bytes gathered so far, as the reader will hold them: blocks unpacked.
    pub fn bytes(&self) -> usize {
        self.items.len() + self.packed
    }

    /// Stored events gathered so far: one counts with its last part.
    pub fn events(&self) -> u32 {
        self.events
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// One more event.
    pub fn event(&mut self, event: &RecordedEvent) {
        let altered = if event.altered() { ALTERED } else { 0 };
        let flags = altered | if event.has_more_parts() { MORE_PARTS } else { 0 };
        let part = u16::try_from(event.part()).expect("a stored event has few parts");
        self.item(EVENT, flags, part, event.as_bytes());
        // Parts count as the one event that is stored.
        self.events += u32::from(!event.has_more_parts());
    }

    /// The events of a block, as it is stored. Only for who speaks version
    /// [`PROTOCOL_BLOCKS`](super::PROTOCOL_BLOCKS).
    pub fn block(&mut self, block: &Block) {
        let (entry, bytes) = (block.entry(), block.bytes());
        let padding = bytes.len().next_multiple_of(8) - bytes.len();
        let length = BLOCK_HEAD_BYTES + bytes.len() + padding;
        self.head(BLOCK, if entry.stored.plain { PLAIN } else { 0 }, 0, length);
        self.items.put_u64_le(entry.first);
        self.items.put_u64_le(entry.last);
        self.items.put_u32_le(entry.count);
        self.items.put_u32_le(entry.stored.raw_length);
        self.items.put_u32_le(entry.stored.stored_length);
        self.items.put_u32_le(entry.stored.crc);
        self.items.put_slice(bytes);
        self.items.put_bytes(0, padding);
        self.events += entry.count;
        self.packed += block.raw_bytes().saturating_sub(bytes.len());
    }

    /// One more item.
    pub fn push(&mut self, item: &SubscriptionItem) {
        match item {
            SubscriptionItem::Event(event) => self.event(event),
            SubscriptionItem::CaughtUp { position } => self.marker(CAUGHT_UP, *position),
            SubscriptionItem::FellBehind { position } => self.marker(FELL_BEHIND, *position),
            SubscriptionItem::Checkpoint { position } => self.marker(CHECKPOINT, Some(*position)),
        }
    }

    fn marker(&mut self, kind: u8, position: Option<Position>) {
        let flags = if position.is_none() { NOWHERE } else { 0 };
        let position = position.map_or(0, Position::get);
        self.item(kind, flags, 0, &position.to_le_bytes());
    }

    fn item(&mut self, kind: u8, flags: u8, part: u16, bytes: &[u8]) {
        self.head(kind, flags, part, bytes.len());
        self.items.put_slice(bytes);
    }

    /// What stands before so many bytes of an item.
    fn head(&mut self, kind: u8, flags: u8, part: u16, length: usize) {
        assert!(length.is_multiple_of(8), "items stay aligned");
        self.items.reserve(ITEM_BYTES + length);
        self.items.put_u32_le(u32::try_from(length).expect("an item is below 4 GiB"));
        self.items.put_u8(kind);
        self.items.put_u8(flags);
        self.items.put_u16_le(part);
    }

    /// The packet, and nothing gathered any more.
    pub fn take(&mut self) -> Bytes {
        self.take_as(PacketKind::Items, &())
    }

    /// The same of another kind, with this head.
    pub(super) fn take_as(&mut self, kind: PacketKind, head: &impl Encode) -> Bytes {
        (self.events, self.packed) = (0, 0);
        let packet = encode_packet(kind, head, &self.items);
        self.items.clear();
        packet
    }
}

/// Reads the items of a packet, the events of blocks one by one; every record's checksum is checked, or
/// that of the block it is in.
///
/// # Errors
/// When they are not items, a checksum does not hold, or blocks come to more than a payload may have.
pub fn decode_items(payload: &Bytes) -> Result<Vec<SubscriptionItem>, WireError> {
    decode(payload, true)
}

/// The same where no blocks may be.
pub(super) fn decode_single_items(payload: &Bytes) -> Result<Vec<SubscriptionItem>, WireError> {
    decode(payload, false)
}

fn decode(payload: &Bytes, blocks: bool) -> Result<Vec<SubscriptionItem>, WireError> {
    let mut items = Vec::new();
    let (mut at, mut unpacked) = (0, 0);
    while at < payload.len() {
        let head = payload.get(at..).and_then(|rest| rest.first_chunk::<ITEM_BYTES>());
        let [l0, l1, l2, l3, kind, flags, p0, p1] =
            *head.ok_or_else(|| WireError::malformed("an item that ends in its head"))?;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let start = at + ITEM_BYTES;
        let end = start.checked_add(length).filter(|end| *end <= payload.len());
        let end =
            end.ok_or_else(|| WireError::malformed("an item that is longer than its packet"))?;
        let bytes = payload.slice(start..end);
        match kind {
            EVENT => {
                let record = RecordedEvent::decode(bytes).map_err(WireError::malformed)?;
                let part = u16::from_le_bytes([p0, p1]);
                let event = record.as_part(part.into(), flags & MORE_PARTS != 0);
                let event = if flags & ALTERED != 0 { event.as_altered() } else { event };
                items.push(SubscriptionItem::Event(event));
            }
            BLOCK if blocks => {
                if flags & !PLAIN != 0 || [p0, p1] != [0; 2] {
                    return Err(WireError::malformed("a block with unknown flags"));
                }
                let block = block_of(flags & PLAIN != 0, &bytes)?;
                unpacked += block.raw_bytes();
                if unpacked > PACKET_PAYLOAD_BYTES_MAX {
                    return Err(WireError::malformed(
                        "blocks of more bytes than a packet may have",
                    ));
                }
                for event in block.events().map_err(WireError::malformed)? {
                    items.push(SubscriptionItem::Event(event.map_err(WireError::malformed)?));
                }
            }
            _ => items.push(marker_of(kind, flags, &bytes)?),
        }
        at = end;
    }
    Ok(items)
}

/// The block in an item: all but its records is checked.
fn block_of(plain: bool, item: &Bytes) -> Result<Block, WireError> {
    let short = || WireError::malformed("a block that is shorter than what it says of itself");
    let (head, rest) = item.split_first_chunk::<BLOCK_HEAD_BYTES>().ok_or_else(short)?;
    let u64_at = |at: usize| {
        let field = head.get(at..).and_then(|rest| rest.first_chunk());
        field.map(|field| u64::from_le_bytes(*field)).ok_or_else(short)
    };
    let u32_at = |at: usize| {
        let field = head.get(at..).and_then(|rest| rest.first_chunk());
        field.map(|field| u32::from_le_bytes(*field)).ok_or_else(short)
    };
    let stored =
        Stored { raw_length: u32_at(20)?, stored_length: u32_at(24)?, crc: u32_at(28)?, plain };
    let entry = BlockEntry { first: u64_at(0)?, last: u64_at(8)?, count: u32_at(16)?, stored };
    let length = stored.stored_length as usize;
    let padding = rest.get(length..).ok_or_else(short)?;
    if padding.len() != length.next_multiple_of(8) - length || padding.iter().any(|b| *b != 0) {
        return Err(WireError::malformed("a block with something behind it"));
    }
    let bytes = item.slice(BLOCK_HEAD_BYTES..BLOCK_HEAD_BYTES + length);
    Block::new(entry, bytes).map_err(WireError::malformed)
}

fn marker_of(kind: u8, flags: u8, bytes: &[u8]) -> Result<SubscriptionItem, WireError> {
    let number = <[u8; 8]>::try_from(bytes).map_err(|_| WireError::malformed("a marker's size"))?;
    let at = Position::new(u64::from_le_bytes(number));
    let position = (flags & NOWHERE == 0).then_some(at);
    match kind {
        CAUGHT_UP => Ok(SubscriptionItem::CaughtUp { position }),
        FELL_BEHIND => Ok(SubscriptionItem::FellBehind { position }),
        CHECKPOINT => Ok(SubscriptionItem::Checkpoint { position: at }),
        other => Err(WireError::malformed(format!("an item of the unknown kind {other}"))),
    }
}

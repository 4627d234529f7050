//! What a read or a subscription delivers: a run of items, each an event or a marker.
//!
//! An item is 8 bytes (`length u32 ‖ kind u8 ‖ flags u8 ‖ part u16`) and what it says. An event is its
//! record as it is stored, checksum included, so that the reader checks what was written, not what a
//! server made of it. Where a server changed an event, the flag says so, and the checksum covers
//! what is sent.

use bytes::{BufMut, Bytes, BytesMut};

use super::{PacketKind, WireError, encode_packet};
use crate::ids::Position;
use crate::read::SubscriptionItem;
use crate::record::RecordedEvent;

const ITEM_BYTES: usize = 8;
const EVENT: u8 = 1;
const CAUGHT_UP: u8 = 2;
const FELL_BEHIND: u8 = 3;
const CHECKPOINT: u8 = 4;
/// The server changed the event.
const ALTERED: u8 = 1;
/// The marker has no position: nothing was there.
const NOWHERE: u8 = 1;

/// Gathers items for one packet.
#[derive(Debug, Default)]
pub struct ItemsBuilder {
    items: BytesMut,
    events: u32,
}

impl ItemsBuilder {
    /// Bytes gathered so far.
    pub fn bytes(&self) -> usize {
        self.items.len()
    }

    /// Events gathered so far.
    pub fn events(&self) -> u32 {
        self.events
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// One more event.
    pub fn event(&mut self, event: &RecordedEvent) {
        let flags = if event.altered() { ALTERED } else { 0 };
        let part = u16::try_from(event.part()).expect("a stored event has few parts");
        self.item(EVENT, flags, part, event.as_bytes());
        self.events += 1;
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
        assert!(bytes.len().is_multiple_of(8), "items stay aligned");
        self.items.reserve(ITEM_BYTES + bytes.len());
        self.items.put_u32_le(u32::try_from(bytes.len()).expect("a record is below 4 GiB"));
        self.items.put_u8(kind);
        self.items.put_u8(flags);
        self.items.put_u16_le(part);
        self.items.put_slice(bytes);
    }

    /// The packet, and nothing gathered any more.
    pub fn take(&mut self) -> Bytes {
        self.events = 0;
        let packet = encode_packet(PacketKind::Items, &(), &self.items);
        self.items.clear();
        packet
    }
}

/// Reads the items of a packet; every record's checksum is checked.
///
/// # Errors
/// When they are not items, or a checksum does not hold.
pub fn decode_items(payload: &Bytes) -> Result<Vec<SubscriptionItem>, WireError> {
    let mut items = Vec::new();
    let mut at = 0;
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
        items.push(match kind {
            EVENT => {
                let record = RecordedEvent::decode(bytes).map_err(WireError::malformed)?;
                let part = u16::from_le_bytes([p0, p1]);
                SubscriptionItem::Event(record.as_part(part.into(), flags & ALTERED != 0))
            }
            _ => marker_of(kind, flags, &bytes)?,
        });
        at = end;
    }
    Ok(items)
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

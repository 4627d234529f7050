//! What travels between a client and a server: packets on QUIC streams. `docs/protocol.md` specifies
//! the bytes; this module is their only codec. It does no I/O.
//!
//! A packet is a header of [`PACKET_HEADER_BYTES`], a *head* (a control message, an rkyv archive that
//! is validated before anything of it is used), and a *payload*: records as they are stored, with
//! their checksums. Lengths are bounded before memory is taken for them (I8), and what either side
//! sends is decoded as if it came from an enemy.
//!
//! Messages are types of their own, apart from the words they stand for, so that a change of those is
//! never a silent change of the protocol. A connection agrees on one [`PROTOCOL`] version first, and
//! nobody is sent a message that its version does not have.

mod append;
mod as_schema;
mod consume;
mod decoder;
mod end;
mod failure;
mod group;
mod items;
mod message;
mod packet;
mod parked;
mod policy;
mod projection;
mod raw;
mod read_failure;
mod request;
mod route;
mod schema;
mod snapshot;
mod stream;

pub use append::{
    AppendAnswer, AppendHead, AppendedHead, append_since, decode_append, encode_append,
};
pub use as_schema::{AsSchemaHead, ConsumeHead};
pub use consume::{
    AckWith, AnsweredHead, Answers, DeliveriesBuilder, Said, decode_ack_with, decode_answered,
    decode_answers, decode_deliveries, encode_ack_with, encode_answers,
};
pub use decoder::{Packet, PacketDecoder};
pub use end::EndHead;
pub use failure::{AppendFailure, Failure, in_version};
pub use group::{
    GroupAsk, GroupConfigHead, GroupHead, GroupLagHead, GroupLanesHead, GroupStartHead,
};
pub use items::{ItemsBuilder, decode_items};
pub use message::{Answer, Hello, Open, Operation, TokenHead, Welcome};
pub use packet::{
    Encode, Message, PACKET_HEADER_BYTES, PacketHeader, PacketKind, WireError, decode_head,
    encode_packet, try_encode_packet,
};
pub use parked::{ParkedListHead, ParkedPageHead, ParkedPickHead};
pub use policy::{DenialHead, PoliciesHead, PolicyAsk, PolicyChangeHead, PolicyVersionHead};
pub use projection::{
    DocumentHead, LookupHead, ProjectionAsk, ProjectionChangeHead, ProjectionHead, definition_of,
    search_of,
};
pub use raw::{RAW_ALPN, RAW_ORDER_BYTES, RawOrder};
pub use read_failure::{ReadFailure, read_in_version};
pub use request::{ExpectedHead, QueryHead, ReadHead, StateHead, SubscribeHead};
pub use route::{DryRunHead, RouteAsk, RouteConfigHead, RouteHead};
pub use schema::{
    IncompatibilityHead, NewSchemaHead, SchemaAsk, SchemaHead, SettingsChangeHead, SubjectHead,
};
pub use snapshot::SnapshotHead;
pub use stream::{StatsHead, StreamHead};

/// The name that both sides give when TLS begins (ALPN).
pub const ALPN: &[u8] = b"nexus/1";
/// The version of the messages that this build speaks best.
pub const PROTOCOL: u16 = 6;
/// The oldest version that it still speaks.
pub const PROTOCOL_OLDEST: u16 = 1;
/// The first version in which items may be blocks.
pub const PROTOCOL_BLOCKS: u16 = 2;
/// The first version that has groups.
pub const PROTOCOL_GROUPS: u16 = 3;
/// The first version whose servers keep the time before which an event is not delivered.
pub const PROTOCOL_NOT_BEFORE: u16 = 3;
/// The first version that says how long each lane is behind.
pub const PROTOCOL_LANES_LAG: u16 = 4;
/// The first version in which what is parked is named by its key.
pub const PROTOCOL_PARKED_KEYS: u16 = 4;
/// The first version that has schemas and policies.
pub const PROTOCOL_SCHEMAS: u16 = 5;
/// The first version that has projections, and says that one has not come so far yet.
pub const PROTOCOL_PROJECTIONS: u16 = 6;

const _: () = assert!(PROTOCOL_OLDEST <= PROTOCOL && PROTOCOL_SCHEMAS <= PROTOCOL);
const _: () = assert!(PROTOCOL_BLOCKS <= PROTOCOL && PROTOCOL_GROUPS <= PROTOCOL);
const _: () = assert!(PROTOCOL_NOT_BEFORE <= PROTOCOL && PROTOCOL_PROJECTIONS <= PROTOCOL);
const _: () = assert!(PROTOCOL_PARKED_KEYS <= PROTOCOL && PROTOCOL_LANES_LAG <= PROTOCOL);

/// The version that two sides speak: the newest that both know.
pub fn agree(theirs_oldest: u16, theirs: u16) -> Option<u16> {
    let version = theirs.min(PROTOCOL);
    (version >= PROTOCOL_OLDEST && version >= theirs_oldest).then_some(version)
}

#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod parked_tests;
#[cfg(test)]
mod projection_tests;
#[cfg(test)]
mod route_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;

//! The QUIC door. A connection says who it is in its first stream; every further stream is one
//! request: a session of appends or of a consumer, a read, a subscription, or a question. `docs/protocol.md` has the
//! bytes.

mod answers;
mod appends;
mod consume;
mod event_routes;
mod groups;
pub(crate) mod listener;
mod packets;
mod policies;
mod projections;
mod reads;
mod schemas;
mod session;
pub(crate) mod socket;
mod subscriptions;

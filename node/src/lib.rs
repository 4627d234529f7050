//! The parts of Nexus assembled without sockets: what every door (QUIC, HTTP, the embedded API) calls.
//!
//! A [`Node`] holds the engine and who decides what is allowed. An [`Access`] is one namespace, seen
//! by one [`Principal`]: it has one handler per operation, each in a file of its own under
//! `handlers/`, and each asks the guard before it touches the log: policies decide, or roles where there are none. It is an
//! [`EventStore`](nexus_protocol::EventStore) like any other.
//!
//! Is not: a server. It opens no socket and knows no packet.

mod audit;
mod certificates;
mod clock;
pub mod config;
mod decisions;
mod groups;
mod guard;
mod handlers;
mod jwt;
mod node;
mod parking;
mod policies;
mod principal;
mod projections;
mod quota;
mod routes;
mod schemas;
pub mod telemetry;
mod timers;
mod tokens;

pub use audit::{AUDIT_STREAM, AuditEntry, AuditPage, Audited};
pub use groups::GROUPS_MAX;
pub use guard::Refusal;
pub use handlers::{
    Access, DELIVERIES_MAX, Events, EventsAt, EventsIter, FirstTokenError, NotIdentified,
    PARKED_PAGE_MAX, PendingAppend, Reads, Received, SchemaNames, Subscription, Watch,
};
pub use jwt::{BadJwks, Jwks, JwtRules};
pub use nexus_engine::{CloseError, Engine, OpenError, Stop, StopOnDrop};
pub use node::{NoAccess, Node, NodeError};
pub use principal::{Principal, PrincipalKind, Role, UnknownRole};
pub use projections::ProjectionRoom;
pub use quota::Quota;
pub use telemetry::METRICS_CONTENT_TYPE;
pub use tokens::{NewToken, TOKENS_STREAM, TokenInfo};

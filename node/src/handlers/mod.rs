//! One handler per operation, each in a file of its own; every door calls them.

mod append;
mod audit;
mod broadcast;
mod consume;
mod events;
mod groups;
mod metrics;
mod namespaces;
mod observe;
mod parked_timers;
mod policies;
mod projections;
mod read;
mod routes;
mod schemas;
mod show;
mod snapshots;
mod stats;
mod store;
mod streams;
mod timers;
mod tokens;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nexus_engine::Namespace;
use nexus_protocol::TraceContext;

pub use append::PendingAppend;
pub use consume::{DELIVERIES_MAX, Received};
pub use events::EventsAt;
pub use groups::PARKED_PAGE_MAX;
pub use read::{Events, EventsIter, Subscription};
pub use show::SchemaNames;
pub use store::{Reads, Watch};
pub use tokens::{FirstTokenError, NotIdentified};

use crate::guard::{About, Asker, Permit, Refusal};
use crate::node::Node;
use crate::principal::{Principal, PrincipalKind};
use crate::telemetry::{Operation, Origin};
use observe::Scope;

/// One namespace, as one principal may use it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    node: Node,
    namespace: Namespace,
    scope: Arc<Scope>,
    origin: Origin,
    /// Whether the request was admitted already: what else it needs counts no more.
    is_admitted: bool,
}

impl Access {
    pub(crate) fn new(node: Node, namespace: Namespace, principal: Arc<Principal>) -> Self {
        let (telemetry, name) = (Arc::clone(node.telemetry()), namespace.name().to_owned());
        let subject = OnceLock::new();
        let scope = Arc::new(Scope { telemetry, namespace: name, principal, subject });
        Self { node, namespace, scope, origin: Origin::default(), is_admitted: false }
    }

    /// The same for a request that is part of a trace: what is logged names it, and events that name
    /// none are stored as part of it, so that their readers can go on with it.
    #[must_use]
    pub fn traced(mut self, trace: Option<TraceContext>) -> Self {
        self.origin.trace = trace;
        self
    }

    /// The same for a request that was tried before: what is logged says which try this is, from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: Option<u32>) -> Self {
        self.origin.attempt = attempt;
        self
    }

    /// The same for the other steps of a request whose first one was admitted: a request counts once
    /// against [quotas](crate::Quota), however many questions its answer takes.
    #[must_use]
    pub fn admitted(mut self) -> Self {
        self.is_admitted = true;
        self
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// The same for the namespace that has this name now, where the one this is of was deleted and
    /// another made since: for what goes on for long.
    pub fn anew(&self) -> Option<Self> {
        if !self.namespace.is_deleted() {
            return None;
        }
        let anew = self.node.access(Arc::clone(&self.scope.principal), self.namespace()).ok();
        anew.map(|anew| Self { origin: self.origin, ..anew })
    }

    /// How long what its principal came with still holds; `None`: it does not end by itself.
    pub fn time_left(&self) -> Option<Duration> {
        self.scope.principal.time_left()
    }

    /// Who uses it.
    pub fn principal(&self) -> &Principal {
        &self.scope.principal
    }
}

impl Node {
    /// Asks whether a principal may do something to the whole node.
    fn guard_node(&self, principal: &Principal, operation: Operation) -> Result<(), Refusal> {
        let asker = Asker { principal, subject: &OnceLock::new() };
        self.guard(asker, None, operation, &About::default()).map(|_| ())
    }

    /// Asks whether a principal may do something in a namespace, and what is demanded besides.
    fn guard(
        &self,
        asker: Asker<'_>,
        namespace: Option<&Namespace>,
        operation: Operation,
        about: &About<'_>,
    ) -> Result<Permit, Refusal> {
        let principal = asker.principal;
        let revoked = principal.token.as_ref().is_some_and(|token| !self.tokens().holds(token));
        if revoked || principal.is_over() {
            return Err(match principal.kind {
                PrincipalKind::Certificate => Refusal::CertificateEnded,
                _ => Refusal::TokenEnded,
            });
        }
        self.policing().decide(asker, namespace, operation, about)
    }
}

//! One handler per operation, each in a file of its own; every door calls them.

mod append;
mod events;
mod namespaces;
mod read;
mod snapshots;
mod stats;
mod store;
mod streams;

use std::sync::Arc;

use nexus_engine::Namespace;

pub use store::{Reads, Watch};

use crate::guard::{Action, Decision, Refusal};
use crate::node::Node;
use crate::principal::Principal;

/// One namespace, as one principal may use it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    node: Node,
    namespace: Namespace,
    principal: Arc<Principal>,
}

impl Access {
    pub(crate) fn new(node: Node, namespace: Namespace, principal: Arc<Principal>) -> Self {
        Self { node, namespace, principal }
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// Who uses it.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    fn guard(&self, action: Action) -> Result<&Namespace, Refusal> {
        match self.node.judge().decide(&self.principal, action, self.namespace.name()) {
            Decision::Allow => Ok(&self.namespace),
            Decision::Deny { reason } => Err(Refusal::Denied { reason }),
        }
    }
}

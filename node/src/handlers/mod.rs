//! One handler per operation, each in a file of its own; every door calls them.

mod append;
mod events;
mod namespaces;
mod read;
mod snapshots;
mod stats;
mod store;
mod streams;
mod tokens;

use std::sync::Arc;

use nexus_engine::Namespace;
use nexus_protocol::ReadError;

pub use store::{Reads, Watch};
pub use tokens::FirstTokenError;

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

    /// The same for the namespace that has this name now, where the one this is of was deleted and
    /// another made since: for what goes on for long.
    pub fn anew(&self) -> Option<Self> {
        if !self.namespace.is_deleted() {
            return None;
        }
        self.node.access(Arc::clone(&self.principal), self.namespace()).ok()
    }

    /// Who uses it.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    fn guard(&self, action: Action) -> Result<&Namespace, Refusal> {
        let name = self.namespace.name();
        self.node.guard(&self.principal, action, name)?;
        if self.namespace.is_deleted() {
            return Err(Refusal::NoNamespace { name: name.to_owned() });
        }
        Ok(&self.namespace)
    }

    /// Whether who uses it is still let in: asked again and again by what goes on for long.
    ///
    /// # Errors
    /// When its token is revoked or has ended, or it may not read any more.
    pub fn may_still_read(&self) -> Result<(), ReadError> {
        self.guard(Action::Read)?;
        Ok(())
    }
}

impl Node {
    /// Asks whether a principal may do something in a namespace.
    fn guard(&self, principal: &Principal, action: Action, name: &str) -> Result<(), Refusal> {
        if let Some(token) = &principal.token
            && !self.tokens().holds(token)
        {
            return Err(Refusal::TokenEnded);
        }
        match self.judge().decide(principal, action, name) {
            Decision::Allow => Ok(()),
            Decision::Deny { reason } => Err(Refusal::Denied { reason }),
        }
    }
}

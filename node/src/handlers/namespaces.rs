//! To see and create namespaces.

use nexus_engine::OpenError;
use nexus_protocol::{AppendError, Invalid, NamespaceName, ReadError, Unavailable};

use crate::guard::Action;
use crate::node::Node;
use crate::principal::Principal;
use crate::telemetry::{Context, Operation};

impl Node {
    /// The names of all namespaces, sorted.
    ///
    /// # Errors
    /// When the principal may not monitor.
    pub fn namespaces(&self, principal: &Principal) -> Result<Vec<String>, ReadError> {
        let context = Context::new(Operation::Namespaces, "", &principal.id);
        self.observe(principal, Action::Monitor, &context, || Ok(self.engine().namespaces()))
    }

    /// Creates a namespace; one that exists stays as it is. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage namespaces, the name is not one, or the disk says no.
    pub fn create_namespace(&self, principal: &Principal, name: &str) -> Result<(), AppendError> {
        let named = NamespaceName::new(name);
        // What is no name is not repeated in the log.
        let shown = if named.is_ok() { name } else { "" };
        let context = Context::new(Operation::CreateNamespace, shown, &principal.id);
        let create = || {
            named?;
            match self.engine().create_namespace(name) {
                Ok(_) => Ok(()),
                Err(OpenError::Invalid(why)) => Err(Invalid::Request(why).into()),
                Err(error) => {
                    Err(AppendError::Unavailable(Unavailable::CannotGrow(error.to_string())))
                }
            }
        };
        self.observe(principal, Action::ManageNamespaces, &context, create)
    }
}

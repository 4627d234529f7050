//! To see, create, and delete namespaces.

use nexus_engine::{DeleteNamespaceError, OpenError};
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

    /// Deletes a namespace for good, with all its events. Blocks until that is durable. Whoever still
    /// holds an [`Access`](crate::Access) to it is answered that there is no such namespace, or, of what
    /// was under way, that the store is closed.
    ///
    /// # Errors
    /// `Denied` when the principal may not manage namespaces, `NotFound` when there is none of that name,
    /// `Invalid` of `default` and of what is no name, which the node's own is none of, and `Unknown` when
    /// the disk says no: then it is there as it was, or goes with the next start.
    pub fn delete_namespace(&self, principal: &Principal, name: &str) -> Result<(), AppendError> {
        let named = NamespaceName::new(name);
        let shown = if named.is_ok() { name } else { "" };
        let context = Context::new(Operation::DeleteNamespace, shown, &principal.id);
        let delete = || {
            named?;
            self.engine().delete_namespace(name).map_err(not_deleted)
        };
        self.observe(principal, Action::ManageNamespaces, &context, delete)
    }
}

fn not_deleted(error: DeleteNamespaceError) -> AppendError {
    match error {
        DeleteNamespaceError::Name(name) => name.into(),
        DeleteNamespaceError::Missing { name } => {
            AppendError::NotFound { what: format!("namespace {name:?}") }
        }
        DeleteNamespaceError::ReadOnly => AppendError::Unavailable(Unavailable::ReadOnly),
        DeleteNamespaceError::Closed => AppendError::Unavailable(Unavailable::Closed),
        DeleteNamespaceError::Disk { .. } => {
            tracing::error!(%error, "a namespace was not deleted");
            AppendError::Unknown
        }
        other => Invalid::Request(other.to_string()).into(),
    }
}

#[cfg(test)]
mod tests {
    use nexus_engine::Engine;
    use nexus_protocol::{Append, EventData, ReadError};

    use super::*;
    use crate::principal::{PrincipalKind, Role};

    fn principal(role: Role) -> Principal {
        let (id, kind) = ("p".to_owned(), PrincipalKind::Token);
        Principal { id, kind, roles: vec![role], token: None }
    }

    #[test]
    fn a_namespace_is_deleted_by_those_who_may() {
        let node = Node::over(Engine::in_memory()).unwrap();
        let operator = principal(Role::Operator);
        node.create_namespace(&operator, "audit").unwrap();
        let access = node.access(Principal::local(), "audit").unwrap();
        let append = || Append::to("a").event(EventData::json("A", &1).unwrap());
        access.append(append()).unwrap().wait().unwrap();
        for role in [Role::Writer, Role::Reader, Role::Monitor] {
            let refused = node.delete_namespace(&principal(role), "audit").unwrap_err();
            assert!(matches!(refused, AppendError::Denied { .. }), "{role}: {refused}");
        }
        for name in ["default", "$system", "A"] {
            let refused = node.delete_namespace(&operator, name).unwrap_err();
            assert!(matches!(refused, AppendError::Invalid(_)), "{name}: {refused}");
        }
        node.delete_namespace(&operator, "audit").unwrap();
        let gone = access.append(append()).unwrap_err();
        assert!(matches!(gone, AppendError::NotFound { .. }), "{gone}");
        let gone = access.head().unwrap_err();
        assert!(matches!(gone, ReadError::NotFound { .. }), "{gone}");
        assert!(node.access(Principal::local(), "audit").is_err());
        let refused = node.delete_namespace(&operator, "audit").unwrap_err();
        assert!(matches!(refused, AppendError::NotFound { .. }), "{refused}");
        node.create_namespace(&operator, "audit").unwrap();
        let access = node.access(Principal::local(), "audit").unwrap();
        assert_eq!(access.head().unwrap().position, None);
    }
}

//! To see, create, and delete namespaces.

use nexus_engine::{DeleteNamespaceError, OpenError};
use nexus_protocol::{
    AppendError, ErrorCode, Invalid, NamespaceName, Position, ReadError, Unavailable,
};

use crate::audit::Audited;
use crate::guard::Refusal;
use crate::node::Node;
use crate::principal::Principal;
use crate::telemetry::{Coded, Context, Operation};

impl Node {
    /// The names of all namespaces, sorted.
    ///
    /// # Errors
    /// When the principal may not monitor.
    pub fn namespaces(&self, principal: &Principal) -> Result<Vec<String>, ReadError> {
        let context = Context::new(Operation::Namespaces, "", &principal.id);
        self.observe(principal, &context, || Ok(self.engine().namespaces()))
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
            let created = self.engine().create_namespace(name).map(|_| ()).map_err(not_created);
            self.put_namespace_on_record(principal, &context, created.as_ref().err());
            created
        };
        self.observe(principal, &context, create)
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
            named.map_err(|why| NotDeleted::from(AppendError::from(why)))?;
            let log = self.engine().namespace(name).ok().map(|namespace| namespace.log_id());
            let deleted = self.engine().delete_namespace(name).map_err(NotDeleted::from);
            if let (Some(log), Ok(())) = (log, &deleted) {
                self.running_groups().forget(log);
                self.running_routes().forget(log);
                self.running_timers().forget(log);
                self.projections().forget(log);
                self.schemas().forget(log);
                self.policing().forget(log);
            }
            self.put_namespace_on_record(principal, &context, deleted.as_ref().err());
            deleted
        };
        let deleted = self.observe(principal, &context, delete);
        deleted.map_err(|error| error.answer)
    }

    fn put_namespace_on_record<E: Coded>(
        &self,
        principal: &Principal,
        context: &Context<'_>,
        failed: Option<&E>,
    ) {
        let audited = Audited::new(context.operation, principal).in_namespace(context.namespace);
        self.put_on_record(principal, audited, failed.map(|error| error as &dyn Coded));
    }
}

fn not_created(error: OpenError) -> AppendError {
    match error {
        OpenError::Invalid(why) => Invalid::Request(why).into(),
        error => AppendError::Unavailable(Unavailable::CannotGrow(error.to_string())),
    }
}

/// Why a namespace was not deleted: what is answered, and what is behind it, which the log tells.
#[derive(Debug, thiserror::Error)]
#[error("{answer}")]
struct NotDeleted {
    answer: AppendError,
    #[source]
    disk: Option<DeleteNamespaceError>,
}

impl Coded for NotDeleted {
    fn error_code(&self) -> ErrorCode {
        self.answer.code()
    }

    fn position(&self) -> Option<Position> {
        Coded::position(&self.answer)
    }

    fn stream(&self) -> Option<&str> {
        Coded::stream(&self.answer)
    }

    fn is_closed(&self) -> bool {
        self.answer.is_closed()
    }

    fn is_of_the_disk(&self) -> bool {
        self.disk.is_some()
    }
}

impl From<AppendError> for NotDeleted {
    fn from(answer: AppendError) -> Self {
        Self { answer, disk: None }
    }
}

impl From<Refusal> for NotDeleted {
    fn from(refusal: Refusal) -> Self {
        AppendError::from(refusal).into()
    }
}

impl From<DeleteNamespaceError> for NotDeleted {
    fn from(error: DeleteNamespaceError) -> Self {
        let answer = match error {
            DeleteNamespaceError::Name(name) => name.into(),
            DeleteNamespaceError::Missing { name } => {
                AppendError::NotFound { what: format!("namespace {name:?}") }
            }
            DeleteNamespaceError::ReadOnly => AppendError::Unavailable(Unavailable::ReadOnly),
            DeleteNamespaceError::Closed => AppendError::Unavailable(Unavailable::Closed),
            error @ DeleteNamespaceError::Disk { .. } => {
                return Self { answer: AppendError::Unknown, disk: Some(error) };
            }
            other => Invalid::Request(other.to_string()).into(),
        };
        answer.into()
    }
}

#[cfg(test)]
mod tests {
    use nexus_engine::Engine;
    use nexus_protocol::{Append, EventData, ReadError};

    use super::*;
    use crate::principal::{PrincipalKind, Role};

    fn principal(role: Role) -> Principal {
        Principal::new("p", PrincipalKind::Token, vec![role])
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

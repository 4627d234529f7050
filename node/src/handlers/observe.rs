//! Around every handler: the guard first, then a span and a duration, and one place where an error is
//! logged.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use nexus_engine::Namespace;
use nexus_policies::{Reach, Subject};

use super::Access;
use crate::guard::{About, Asker, Permit, Refusal, asks};
use crate::node::Node;
use crate::principal::{Principal, PrincipalKind};
use crate::quota::Use;
use crate::telemetry::{Coded, Context, Operation, Origin, Telemetry};

/// What is told about whatever comes by one [`Access`]: made once, shared by what is under way.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) namespace: String,
    pub(super) principal: Arc<Principal>,
    /// It, as rules are told; made when they are asked first.
    pub(super) subject: OnceLock<Subject>,
}

impl Scope {
    pub(super) fn asker(&self) -> Asker<'_> {
        Asker { principal: &self.principal, subject: &self.subject }
    }

    /// What an operation happens to.
    pub(super) fn context(&self, operation: Operation) -> Context<'_> {
        Context::new(operation, &self.namespace, &self.principal.id)
    }
}

impl Node {
    /// Does what a principal asks for, if it may.
    pub(super) fn observe<T, E: Coded + From<Refusal>>(
        &self,
        principal: &Principal,
        context: &Context<'_>,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let guard = || self.guard_node(principal, context.operation);
        self.observe_guarded(context, guard, |()| work())
    }

    /// The same, behind a guard of its own.
    fn observe_guarded<P, T, E: Coded + From<Refusal>>(
        &self,
        context: &Context<'_>,
        guard: impl FnOnce() -> Result<P, Refusal>,
        work: impl FnOnce(P) -> Result<T, E>,
    ) -> Result<T, E> {
        let telemetry = self.telemetry();
        let (operation, namespace) = (context.operation, context.namespace);
        let started = Instant::now();
        telemetry.span(operation, namespace, context.trace).in_scope(|| {
            let done = guard().map_err(E::from).and_then(work);
            telemetry.metrics().ended(operation, started.elapsed());
            if let Err(error) = &done {
                telemetry.log_error(context, error);
            }
            done
        })
    }
}

impl Access {
    /// The same in its namespace; `about` is what the operation is about.
    pub(super) fn observe<T, E: Coded + From<Refusal>>(
        &self,
        operation: Operation,
        about: About<'_>,
        work: impl FnOnce(&Namespace) -> Result<T, E>,
    ) -> Result<T, E> {
        self.observe_events(operation, about, |namespace, _| work(namespace))
    }

    /// The same of what shows events: `work` is told what may be seen of them.
    pub(super) fn observe_events<T, E: Coded + From<Refusal>>(
        &self,
        operation: Operation,
        about: About<'_>,
        work: impl FnOnce(&Namespace, &Permit) -> Result<T, E>,
    ) -> Result<T, E> {
        let context = self.scope.context(operation).from_origin(self.origin);
        let context = Context { stream: about.stream, ..context };
        let guard = || {
            self.is_there()?;
            self.node.guard(self.scope.asker(), Some(&self.namespace), operation, &about)
        };
        self.node.observe_guarded(&context, guard, |permit| {
            self.is_there()?;
            if asks(operation).1 != Reach::Change {
                self.within_quota(Use::Read)?;
            }
            work(&self.namespace, &permit)
        })
    }

    /// Whether the principal has not done all it may in that time. This process itself may do all.
    pub(super) fn within_quota(&self, asked: Use) -> Result<(), Refusal> {
        let principal = &self.scope.principal;
        if principal.kind == PrincipalKind::Local || (self.is_admitted && asked == Use::Read) {
            return Ok(());
        }
        let quotas = self.node.quotas();
        let admitted =
            quotas.admit(&principal.account(), &self.scope.namespace, asked, Instant::now());
        admitted.map_err(|retry_after| Refusal::RateLimited { retry_after })
    }

    /// The same for what goes on after it was asked: a refusal is logged.
    pub(super) fn admit<E: Coded + From<Refusal>>(
        &self,
        operation: Operation,
        asked: Use,
        origin: Origin,
    ) -> Result<(), E> {
        self.within_quota(asked).map_err(|refusal| self.refused(operation, refusal, origin))
    }

    fn refused<E: Coded + From<Refusal>>(
        &self,
        operation: Operation,
        refusal: Refusal,
        origin: Origin,
    ) -> E {
        let error = E::from(refusal);
        let context = self.scope.context(operation).from_origin(origin);
        self.scope.telemetry.log_error(&context, &error);
        error
    }

    /// Whether the namespace is: it may have been deleted since.
    fn is_there(&self) -> Result<(), Refusal> {
        match self.namespace.is_deleted() {
            true => Err(Refusal::NoNamespace { name: self.scope.namespace.clone() }),
            false => Ok(()),
        }
    }

    /// Whether the principal may do this: for what goes on after it was asked.
    pub(super) fn guard<E: Coded + From<Refusal>>(
        &self,
        operation: Operation,
        about: About<'_>,
        origin: Origin,
    ) -> Result<(&Namespace, Permit), E> {
        let allowed = self.is_there().and_then(|()| {
            let asker = self.scope.asker();
            self.node.guard(asker, Some(&self.namespace), operation, &about)
        });
        let allowed =
            allowed.and_then(|permit| self.is_there().map(|()| (&self.namespace, permit)));
        allowed.map_err(|refusal| self.refused(operation, refusal, origin))
    }
}

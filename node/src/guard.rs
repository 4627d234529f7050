//! The guard: who may do what. Every handler asks it before it touches the log.

use std::time::Duration;

use nexus_protocol::{AppendError, ReadError};

use crate::principal::{Principal, Role};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To append events, or to keep a snapshot.
    Append,
    /// To read events and snapshots, once or as they come.
    Read,
    /// To see names, limits, and counts.
    Inspect,
    /// To take deliveries of a group, and to answer them.
    Consume,
    /// To make, change, pause, or delete groups, and to decide about what is parked.
    ManageGroups,
    /// To make, change, or delete routes.
    ManageRoutes,
    /// To register schemas, and to say how strictly they are kept.
    ManageSchemas,
    /// To change a stream's limits, or to delete it.
    ManageStreams,
    /// To create or delete a namespace.
    ManageNamespaces,
    /// To see counts of the whole node.
    Monitor,
    /// To make, list, and revoke tokens.
    ManageTokens,
    /// To see what administrators asked for.
    Audit,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 12] = [
        Self::Append,
        Self::Read,
        Self::Inspect,
        Self::Consume,
        Self::ManageGroups,
        Self::ManageRoutes,
        Self::ManageSchemas,
        Self::ManageStreams,
        Self::ManageNamespaces,
        Self::Monitor,
        Self::ManageTokens,
        Self::Audit,
    ];

    /// Its name, for reasons and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Read => "read",
            Self::Inspect => "inspect",
            Self::Consume => "consume",
            Self::ManageGroups => "manage groups",
            Self::ManageRoutes => "manage routes",
            Self::ManageSchemas => "manage schemas",
            Self::ManageStreams => "manage streams",
            Self::ManageNamespaces => "manage namespaces",
            Self::Monitor => "monitor",
            Self::ManageTokens => "manage tokens",
            Self::Audit => "see the audit",
        }
    }
}

/// What an [`Authorizer`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No, and why.
    Deny {
        /// What is missing.
        reason: String,
    },
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync + std::fmt::Debug + 'static {
    /// Whether this principal may do this in this namespace.
    fn decide(&self, principal: &Principal, action: Action, namespace: &str) -> Decision;
}

/// Decides by role alone, the same in every namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoleAuthorizer;

/// Whether a role allows an action.
fn allows(role: Role, action: Action) -> bool {
    match role {
        Role::Admin => true,
        Role::Operator => !matches!(action, Action::Append | Action::ManageTokens | Action::Audit),
        Role::Writer => {
            matches!(
                action,
                Action::Append | Action::Read | Action::Inspect | Action::Consume | Action::Monitor
            )
        }
        Role::Reader => matches!(action, Action::Read | Action::Inspect | Action::Monitor),
        Role::Monitor => action == Action::Monitor,
    }
}

impl Authorizer for RoleAuthorizer {
    fn decide(&self, principal: &Principal, action: Action, _: &str) -> Decision {
        if principal.roles.iter().any(|role| allows(*role, action)) {
            return Decision::Allow;
        }
        let able: Vec<_> = Role::ALL.into_iter().filter(|role| allows(*role, action)).collect();
        let able: Vec<_> = able.iter().map(|role| role.as_str()).collect();
        let (id, action) = (&principal.id, action.as_str());
        let reason =
            format!("{id:?} may not {action}: it needs one of the roles {}", able.join(", "));
        Decision::Deny { reason }
    }
}

/// Why somebody does not get through: the same for every operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The authorizer said no.
    Denied {
        /// Why.
        reason: String,
    },
    /// The token that somebody was let in with is revoked, or has ended.
    TokenEnded,
    /// The certificate that somebody was let in with has expired.
    CertificateEnded,
    /// There is no such namespace.
    NoNamespace {
        /// Its name.
        name: String,
    },
    /// Somebody does more than they may in that time.
    RateLimited {
        /// When to ask again.
        retry_after: Duration,
    },
}

const TOKEN_ENDED: &str = "the token is revoked or has ended: ask for a new one";

const CERTIFICATE_ENDED: &str = "the client certificate has expired: connect with a new one";

impl Refusal {
    fn what(name: &str) -> String {
        format!("namespace {:?}: create it first", name.chars().take(64).collect::<String>())
    }
}

impl From<Refusal> for AppendError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied { reason } => Self::Denied { reason },
            Refusal::TokenEnded => Self::Unauthenticated { reason: TOKEN_ENDED.to_owned() },
            Refusal::CertificateEnded => {
                Self::Unauthenticated { reason: CERTIFICATE_ENDED.to_owned() }
            }
            Refusal::NoNamespace { name } => Self::NotFound { what: Refusal::what(&name) },
            Refusal::RateLimited { retry_after } => Self::RateLimited { retry_after },
        }
    }
}

impl From<Refusal> for ReadError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied { reason } => Self::Denied { reason },
            Refusal::TokenEnded => Self::Unauthenticated { reason: TOKEN_ENDED.to_owned() },
            Refusal::CertificateEnded => {
                Self::Unauthenticated { reason: CERTIFICATE_ENDED.to_owned() }
            }
            Refusal::NoNamespace { name } => Self::NotFound { what: Refusal::what(&name) },
            Refusal::RateLimited { retry_after } => Self::RateLimited { retry_after },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::PrincipalKind;

    fn decide(role: Option<Role>, action: Action) -> Decision {
        let principal = Principal::new("p", PrincipalKind::Token, role.into_iter().collect());
        RoleAuthorizer.decide(&principal, action, "default")
    }

    #[test]
    fn roles_allow_what_their_name_says() {
        let allowed = |role| -> Vec<Action> {
            let all = Action::ALL.into_iter();
            all.filter(|action| decide(Some(role), *action) == Decision::Allow).collect()
        };
        assert_eq!(allowed(Role::Admin), Action::ALL);
        assert_eq!(allowed(Role::Operator).len(), Action::ALL.len() - 3);
        let operator = allowed(Role::Operator);
        let never = [Action::Append, Action::ManageTokens, Action::Audit];
        assert!(!never.iter().any(|it| operator.contains(it)));
        assert_eq!(
            allowed(Role::Writer),
            [Action::Append, Action::Read, Action::Inspect, Action::Consume, Action::Monitor]
        );
        assert_eq!(allowed(Role::Reader), [Action::Read, Action::Inspect, Action::Monitor]);
        assert_eq!(allowed(Role::Monitor), [Action::Monitor]);
    }

    #[test]
    fn a_refusal_says_which_roles_would_do() {
        let Decision::Deny { reason } = decide(None, Action::Append) else { panic!("denied") };
        assert_eq!(reason, "\"p\" may not append: it needs one of the roles admin, writer");
    }
}

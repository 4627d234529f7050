//! The guard: who may do what. Every handler asks it before it touches the log.
//!
//! What an operation asks for stands in one table, so that none is without: [`asks`]. The answer is that of the policies
//! of its namespace; of what belongs to the whole node, that of roles.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nexus_policies::{Action, Decision, Mask, Obligations, Reach, Subject};
use nexus_protocol::policy::Denial;
use nexus_protocol::{
    Append, AppendError, FilterItem, ReadError, RecordedEvent, Revision, Unavailable,
};

use crate::principal::Principal;
use crate::telemetry::Operation;

/// What an operation asks for, and how far it goes.
pub(crate) fn asks(operation: Operation) -> (Action, Reach) {
    use Operation as Op;
    match operation {
        Op::Append => (Action::Append, Reach::Use),
        Op::Read | Op::Event => (Action::Read, Reach::Use),
        Op::Head | Op::Stream | Op::Streams => (Action::Read, Reach::See),
        Op::Subscribe => (Action::Subscribe, Reach::Use),
        Op::SetStream | Op::DeleteStream | Op::TombstoneStream => (Action::Erase, Reach::Change),
        Op::SaveSnapshot => (Action::Snapshot, Reach::Change),
        Op::LoadSnapshot => (Action::Snapshot, Reach::Use),
        Op::Snapshots => (Action::Snapshot, Reach::See),
        Op::Receive | Op::Answer => (Action::Group, Reach::Use),
        Op::Groups | Op::Group | Op::Parked => (Action::Group, Reach::See),
        Op::SetGroup
        | Op::DeleteGroup
        | Op::PauseGroup
        | Op::ResumeGroup
        | Op::SeekGroup
        | Op::ReplayParked
        | Op::SkipParked
        | Op::EditParked => (Action::Group, Reach::Change),
        Op::Routes | Op::Route => (Action::Route, Reach::See),
        Op::DryRunRoute => (Action::Route, Reach::Use),
        Op::SetRoute | Op::DeleteRoute => (Action::Route, Reach::Change),
        Op::CheckSchema | Op::Schemas | Op::Schema => (Action::Schema, Reach::See),
        Op::RegisterSchema | Op::SetSchemaState | Op::SetSchemaSettings => {
            (Action::Schema, Reach::Change)
        }
        Op::Policies => (Action::Policy, Reach::See),
        Op::ActivatePolicies | Op::RollbackPolicies => (Action::Policy, Reach::Change),
        Op::Projections | Op::Projection => (Action::Projection, Reach::See),
        Op::SetProjection
        | Op::RebuildProjection
        | Op::SwitchProjection
        | Op::PauseProjection
        | Op::ResumeProjection
        | Op::DeleteProjection => (Action::Projection, Reach::Change),
        Op::Lookup | Op::Search => (Action::Search, Reach::Use),
        Op::Timer | Op::Timers => (Action::Timer, Reach::Use),
        Op::SetTimer | Op::DisarmTimer => (Action::Timer, Reach::Change),
        // To be let in is no question for policies: who it is decides what may be done then.
        Op::Connect | Op::Access | Op::Stats | Op::Namespaces | Op::Metrics => {
            (Action::Admin, Reach::See)
        }
        Op::CreateNamespace
        | Op::DeleteNamespace
        | Op::Tokens
        | Op::CreateToken
        | Op::RevokeToken
        | Op::Audit
        | Op::ReloadCertificate
        | Op::ReloadTrust => (Action::Admin, Reach::Change),
    }
}

/// What an operation is about, as rules are told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About<'a> {
    /// The stream.
    pub(crate) stream: Option<&'a str>,
    /// The group, route, timer, or subject.
    pub(crate) name: Option<&'a str>,
    /// The earlier time that is asked about.
    pub(crate) as_of: Option<&'a str>,
    /// Whether events of the system's streams are asked for.
    pub(crate) system: bool,
    /// What is to be appended.
    pub(crate) append: Option<&'a Append>,
    /// It is asked before anything of the request is looked at: what follows from that is asked later.
    pub(crate) is_beforehand: bool,
    /// It decides only what is asked for next: nothing of it comes on record.
    pub(crate) is_quiet: bool,
}

impl<'a> About<'a> {
    /// Of a stream.
    pub(crate) fn stream(stream: &'a str) -> Self {
        Self { stream: Some(stream), ..Self::default() }
    }

    /// Of something with a name.
    pub(crate) fn name(name: &'a str) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    /// Of a group; that of a consumer of a group that broadcasts goes by the name of that group.
    pub(crate) fn group(name: &'a str) -> Self {
        Self::name(nexus_protocol::group::own_group_parts(name).map_or(name, |(shared, _)| shared))
    }

    /// Of what is not looked at yet.
    pub(crate) fn beforehand() -> Self {
        Self { is_beforehand: true, ..Self::default() }
    }
}

/// Who asks, as the guard knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) principal: &'a Principal,
    /// It, as rules are told; made when they are asked first.
    pub(crate) subject: &'a OnceLock<Subject>,
}

impl<'a> Asker<'a> {
    pub(crate) fn subject(&self) -> &'a Subject {
        self.subject.get_or_init(|| self.principal.subject())
    }
}

/// That something may be done, and what is demanded besides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permit {
    /// `None`: nobody was asked, and nothing is demanded.
    decision: Option<Arc<Decision>>,
    mask: Option<Arc<Mask>>,
    /// The bundle that decided.
    pub(crate) policy_revision: Option<Revision>,
}

impl Permit {
    pub(crate) fn of(decision: Arc<Decision>, policy_revision: Option<Revision>) -> Self {
        let demands = !decision.obligations.is_none();
        let pointers = Some(&decision.obligations.mask).filter(|mask| !mask.is_empty());
        let mask = pointers.map(|pointers| Arc::new(Mask::new(pointers)));
        Self { decision: demands.then_some(decision), mask, policy_revision }
    }

    /// What is demanded; `None`: nothing.
    pub(crate) fn obligations(&self) -> Option<&Obligations> {
        self.decision.as_ref().map(|decision| &decision.obligations)
    }

    /// Whether it demands the same as another.
    pub(crate) fn demands_as(&self, other: &Self) -> bool {
        match (self.obligations(), other.obligations()) {
            (Some(these), Some(those)) => these.demand_as(those),
            (these, those) => these.is_none() && those.is_none(),
        }
    }

    /// What nobody is shown; `None`: nothing is masked.
    pub(crate) fn mask(&self) -> Option<&Mask> {
        self.mask.as_deref()
    }

    /// Whether an event may be seen.
    pub(crate) fn shows(&self, event: &RecordedEvent) -> bool {
        self.obligations().is_none_or(|obligations| obligations.shows(event))
    }

    /// Whether a filter lets through only what may be seen.
    pub(crate) fn covers(&self, filter: &nexus_protocol::Filter) -> bool {
        let Some(obligations) = self.obligations().filter(|it| !it.is_every_event()) else {
            return true;
        };
        let covers = |item: &FilterItem| obligations.narrow(item.clone()).as_ref() == Some(item);
        !filter.is_all() && filter.alternatives().iter().all(covers)
    }
}

/// Why somebody does not get through: the same for every operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The policies said no.
    Denied {
        /// Why.
        reason: String,
        /// Which decision that was.
        denial: Option<Box<Denial>>,
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
    /// It may be done, and has to be on record before it is, which it cannot be.
    NotRecorded {
        /// Why.
        why: String,
    },
    /// Somebody does more than they may in that time.
    RateLimited {
        /// When to ask again.
        retry_after: Duration,
    },
}

const TOKEN_ENDED: &str = "the token is revoked or has ended: ask for a new one";

const CERTIFICATE_ENDED: &str = "the client certificate has expired: connect with a new one";

const NOT_RECORDED: &str = "what was decided cannot be put on record, as it has to be";

impl Refusal {
    fn what(name: &str) -> String {
        format!("namespace {:?}: create it first", name.chars().take(64).collect::<String>())
    }
}

impl From<Refusal> for AppendError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied { reason, denial } => Self::Denied { reason, denial },
            Refusal::TokenEnded => Self::Unauthenticated { reason: TOKEN_ENDED.to_owned() },
            Refusal::CertificateEnded => {
                Self::Unauthenticated { reason: CERTIFICATE_ENDED.to_owned() }
            }
            Refusal::NoNamespace { name } => Self::NotFound { what: Refusal::what(&name) },
            Refusal::NotRecorded { why } => {
                Self::Unavailable(Unavailable::CannotGrow(format!("{NOT_RECORDED}: {why}")))
            }
            Refusal::RateLimited { retry_after } => Self::RateLimited { retry_after },
        }
    }
}

impl From<Refusal> for ReadError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied { reason, denial } => Self::Denied { reason, denial },
            Refusal::TokenEnded => Self::Unauthenticated { reason: TOKEN_ENDED.to_owned() },
            Refusal::CertificateEnded => {
                Self::Unauthenticated { reason: CERTIFICATE_ENDED.to_owned() }
            }
            Refusal::NoNamespace { name } => Self::NotFound { what: Refusal::what(&name) },
            Refusal::NotRecorded { why } => {
                Self::Unavailable { reason: format!("{NOT_RECORDED}: {why}") }
            }
            Refusal::RateLimited { retry_after } => Self::RateLimited { retry_after },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_implies_what_is_demanded_is_told_from_others() {
        let mut decision = Decision::allow();
        decision.obligations.tags_all.insert("tenant:1".to_owned());
        let permit = Permit::of(Arc::new(decision), None);
        let item = |tags: &[&str]| FilterItem {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            types: vec!["A".to_owned()],
            ..FilterItem::default()
        };
        let filter =
            |items: &[&[&str]]| nexus_protocol::Filter::any(items.iter().map(|it| item(it)));
        assert!(permit.covers(&filter(&[&["tenant:1"], &["a:1", "tenant:1"]])));
        assert!(!permit.covers(&filter(&[&["tenant:1"], &["a:1"]])));
        assert!(!permit.covers(&nexus_protocol::Filter::all()));
        assert!(Permit::default().covers(&nexus_protocol::Filter::all()));
    }
}

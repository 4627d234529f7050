//! [`Policing`]: what the policies of a node's namespaces decide, each as its stream says.
//!
//! Bundles are events of `$policies`, and who asks for something is answered by the one that was activated last, or, where
//! none was, by roles: the bundle in `policies/rego/roles`. What cannot be read denies.

mod state;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use nexus_engine::Namespace;
use nexus_policies::{Action, Asked, Bundle, Decision, Policies, Reach, Resource};
use nexus_protocol::policy::{Denial, POLICIES_STREAM, PoliciesInfo};
use nexus_protocol::{Append, AppendError, EventData, ExpectedRevision, Invalid, LogId, ReadError};
use uuid::Uuid;

pub(crate) use state::{InForce, State, activated, load, rolled_back, shadowed};

use crate::decisions::{Decisions, Entry};
use crate::guard::{About, Asker, Permit, Refusal, asks};
use crate::principal::{PrincipalKind, Role, now};
use crate::telemetry::Operation;

/// The policies of a node.
#[derive(Debug, Default)]
pub(crate) struct Policing {
    known: RwLock<HashMap<LogId, Known>>,
    decisions: Decisions,
    /// How often what decides has changed, in any namespace.
    changes: AtomicU64,
}

/// The policies of a namespace.
#[derive(Clone, Debug, Default)]
struct Known {
    /// As they were read; `None`: not yet.
    read: Option<Arc<State>>,
    /// Held by whoever reads or changes them.
    changing: Arc<Mutex<()>>,
}

/// What was asked, and by what it is decided.
struct Question<'a> {
    asked: Asked<'a>,
    operation: Operation,
    policies: &'a Policies,
    state: Option<&'a State>,
    about: &'a About<'a>,
}

impl Policing {
    fn known(&self, log: LogId) -> Known {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&log).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
            all.entry(log).or_default().clone()
        })
    }

    /// The policies of a namespace, as they are now. Blocks on the disk the first time.
    pub(crate) fn state(&self, namespace: &Namespace) -> Result<Arc<State>, ReadError> {
        let log = namespace.log_id();
        {
            let all = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(read) = all.get(&log).and_then(|it| it.read.as_ref()) {
                return Ok(Arc::clone(read));
            }
        }
        let known = self.known(log);
        let _alone = known.changing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.known(log).read {
            Some(read) => Ok(read),
            None => self.read(namespace),
        }
    }

    fn read(&self, namespace: &Namespace) -> Result<Arc<State>, ReadError> {
        let state = Arc::new(State::read(namespace)?);
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(namespace.log_id()).or_default().read = Some(Arc::clone(&state));
        Ok(state)
    }

    /// How often what decides has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Forgets those of a namespace that is gone.
    pub(crate) fn forget(&self, log: LogId) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&log);
    }

    /// What decides in a namespace.
    pub(crate) fn info(&self, namespace: &Namespace) -> Result<PoliciesInfo, ReadError> {
        Ok(self.state(namespace)?.info())
    }

    /// Changes the policies of a namespace as `decide` says, which is told how they are. Blocks until that is durable.
    pub(crate) fn change(
        &self,
        namespace: &Namespace,
        decide: impl Fn(&State) -> Result<EventData, AppendError>,
    ) -> Result<Arc<State>, AppendError> {
        let log = namespace.log_id();
        let known = self.known(log);
        let _alone = known.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match self.known(log).read {
            Some(read) => read,
            None => self.read(namespace).map_err(unread)?,
        };
        let event = decide(&before)?;
        let expected = before.revision.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        let append = Append::to(POLICIES_STREAM).expected(expected).event(event);
        let done = namespace.for_system().append(append).wait();
        // Also where nobody knows whether it is stored: what is there counts.
        let state = self.read(namespace);
        if state.is_err() {
            let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
            all.entry(log).or_default().read = None;
        }
        self.changes.fetch_add(1, Ordering::Release);
        done?;
        let state = state.map_err(unread)?;
        // Whoever waits for events looks again at what they may see: behind the change, and once it counts.
        self.decisions.in_force(namespace, &state);
        Ok(state)
    }

    /// Decides about an operation in a namespace, or of the whole node.
    pub(crate) fn decide(
        &self,
        asker: Asker<'_>,
        namespace: Option<&Namespace>,
        operation: Operation,
        about: &About<'_>,
    ) -> Result<Permit, Refusal> {
        let principal = asker.principal;
        if principal.kind == PrincipalKind::Local {
            return Ok(Permit::default());
        }
        let (state, broken) = match namespace.map(|it| self.state(it)) {
            None => (None, None),
            Some(Ok(state)) => (Some(state), None),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        let state = state.as_deref();
        let broken = broken.or_else(|| state.and_then(|state| state.broken.clone()));
        let in_force = state.and_then(|state| state.active.as_ref());
        let policies = in_force.map_or(&*ROLES, |it| &it.policies);
        if about.is_beforehand && policies.looks_into_requests() && broken.is_none() {
            return Ok(Permit::default());
        }
        let name = namespace.map_or("", Namespace::name);
        let asked = asked(asker, name, operation, about);
        let decision = match broken {
            None => policies.decide(&asked),
            Some(why) => Arc::new(Decision::deny("policies_unreadable", why)),
        };
        let decision = kept(operation, about, decision);
        let question = Question { asked, operation, policies, state, about };
        self.answered(&question, asker, namespace, decision)
    }

    /// Puts on record what has to be, and tells whoever asked.
    fn answered(
        &self,
        question: &Question<'_>,
        asker: Asker<'_>,
        namespace: Option<&Namespace>,
        decision: Arc<Decision>,
    ) -> Result<Permit, Refusal> {
        let breaks_glass = asker.principal.has(Role::BreakGlass);
        let revision = question.state.and_then(|it| it.active.as_ref()).map(|it| it.revision);
        // What is asked beforehand is asked again, and comes on record then.
        if question.about.is_beforehand && (decision.allow || breaks_glass) {
            return Ok(Permit::of(Arc::new(Decision::allow()), revision));
        }
        let shadow = question.state.and_then(|it| it.shadow.as_ref());
        let shadow = shadow.map(|it| {
            let other = it.policies.decide(&question.asked);
            (it, kept(question.operation, question.about, other))
        });
        let shadow = shadow.filter(|(_, other)| differs(&decision, other));
        let is_plain = decision.allow
            && !breaks_glass
            && shadow.is_none()
            && decision.obligations.log.is_none()
            && question.asked.resource.as_of.is_none();
        if is_plain {
            return Ok(Permit::of(decision, revision));
        }
        let id = Uuid::now_v7();
        if let Some(namespace) = namespace.filter(|_| !question.about.is_quiet) {
            let entry = Entry {
                id,
                asked: &question.asked,
                operation: question.operation,
                policies: question.policies,
                decision: &decision,
                shadow: shadow.as_ref().map(|(it, other)| (it.revision, &**other)),
                revision,
                principal: asker.principal,
                breaks_glass,
            };
            let recorded = self.decisions.put_on_record(namespace, &entry);
            recorded.map_err(|why| Refusal::NotRecorded { why: why.to_string() })?;
        }
        if breaks_glass {
            return Ok(Permit::of(Arc::new(Decision::allow()), revision));
        }
        if decision.allow {
            return Ok(Permit::of(decision, revision));
        }
        let denial = Denial {
            decision_id: id,
            reasons: decision.reasons.clone(),
            policy_revision: revision,
        };
        Err(Refusal::Denied { reason: in_words(&decision), denial: Some(Box::new(denial)) })
    }
}

/// What decides where nothing was activated: roles. It is made ready when it is asked first, which a process that works on
/// its own directory never does.
static ROLES: LazyLock<Policies> = LazyLock::new(|| {
    let files = nexus_policies::ROLES.iter();
    let files = files.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let bundle = Bundle::new(files).expect("the bundle of roles is one");
    Policies::compile(&bundle).expect("the bundle of roles has rules")
});

fn asked<'a>(
    asker: Asker<'a>,
    namespace: &'a str,
    operation: Operation,
    about: &About<'a>,
) -> Asked<'a> {
    let (action, reach) = asks(operation);
    let is_past = about.as_of.is_some() && action == Action::Read;
    let first = about.append.and_then(|it| it.streams.first()).map(|it| it.stream.as_str());
    let stream = about.stream.or(first);
    let (name, as_of, operation) = (about.name, about.as_of, operation.as_str());
    Asked {
        action: if is_past { Action::AsOf } else { action },
        reach,
        subject: asker.subject(),
        resource: Resource { namespace, operation, stream, name, as_of, system: about.system },
        append: about.append,
        door: asker.principal.door.map(|door| door.as_str()),
        now: now(),
    }
}

/// The decision, or no, where what it demands cannot be kept: then it would count for nothing.
fn kept(operation: Operation, about: &About<'_>, decision: Arc<Decision>) -> Arc<Decision> {
    let obligations = &decision.obligations;
    if !decision.allow || obligations.is_none() {
        return decision;
    }
    if let Some(append) = about.append {
        let events = append.streams.iter().flat_map(|it| &it.events);
        for (number, event) in events.enumerate() {
            if !obligations.admits(&event.event_type, |tag| event.tags.iter().any(|it| it == tag)) {
                return Arc::new(Decision::not_covered(number, obligations));
            }
        }
        return decision;
    }
    let keeps = matches!(
        operation,
        Operation::Append
            | Operation::Read
            | Operation::Event
            | Operation::Subscribe
            | Operation::Receive
            | Operation::Answer
            | Operation::Lookup
            | Operation::Search
    );
    // Names and counts are no events.
    let (_, reach) = asks(operation);
    if keeps || (reach == Reach::See && operation != Operation::Parked) {
        return decision;
    }
    let msg = format!(
        "tags_all, types_any, and mask cannot be kept by {}: let the rule say yes or no there",
        operation.as_str()
    );
    Arc::new(Decision::deny("obligation_not_kept", msg))
}

fn differs(one: &Decision, other: &Decision) -> bool {
    one.allow != other.allow || (one.allow && !one.obligations.demand_as(&other.obligations))
}

/// Why something is denied, for people.
fn in_words(decision: &Decision) -> String {
    let said = decision.reasons.iter().map(|reason| match reason.msg.is_empty() {
        true => reason.code.as_str(),
        false => reason.msg.as_str(),
    });
    let said: Vec<_> = said.collect();
    match said.is_empty() {
        true => "the policies say no, and not why".to_owned(),
        false => said.join("; "),
    }
}

fn unread(error: ReadError) -> AppendError {
    nexus_delivery::coordinator::unread(error)
}

/// Makes rules ready that somebody wants to activate.
///
/// # Errors
/// `Invalid`: why they cannot be.
pub(crate) fn checked(
    files: impl IntoIterator<Item = (String, String)>,
) -> Result<InForce, AppendError> {
    let invalid = |why: String| AppendError::from(Invalid::Request(why));
    let bundle = Bundle::new(files).map_err(|why| invalid(why.to_string()))?;
    let policies = Policies::compile(&bundle).map_err(|why| invalid(why.to_string()))?;
    Ok(InForce { revision: nexus_protocol::Revision::ZERO, bundle, policies: Arc::new(policies) })
}

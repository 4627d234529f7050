//! [`State`]: the policies of a namespace, as the events of `$policies` say.

use std::collections::BTreeMap;
use std::sync::Arc;

use nexus_engine::Namespace;
use nexus_policies::{Bundle, Fingerprint, Policies};
use nexus_protocol::policy::{
    POLICIES_ACTIVATED, POLICIES_ROLLED_BACK, POLICIES_SHADOWED, POLICIES_STREAM,
    POLICY_CHANGES_MAX, PoliciesInfo, PolicyChange, PolicyVersion,
};
use nexus_protocol::{EventData, Read, ReadError, RecordedEvent, Revision};
use serde::{Deserialize, Serialize};

/// A bundle that decides, or is asked beside the one that does.
#[derive(Debug)]
pub(crate) struct InForce {
    /// Since which revision of the stream.
    pub(crate) revision: Revision,
    pub(crate) bundle: Bundle,
    pub(crate) policies: Arc<Policies>,
}

/// The policies of a namespace.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The newest revision of the stream.
    pub(crate) revision: Option<Revision>,
    /// `None`: roles decide.
    pub(crate) active: Option<InForce>,
    pub(crate) shadow: Option<InForce>,
    /// Why what was activated cannot decide: everything is denied then.
    pub(crate) broken: Option<String>,
    /// Where the bundles stand that were activated and not rolled back since; the last one decides.
    stack: Vec<u64>,
    changes: Vec<PolicyChange>,
}

/// What an event of the stream says.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    by: String,
    #[serde(default)]
    fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
}

fn event(event_type: &str, said: &Said) -> EventData {
    EventData::json(event_type, said).expect("what is said of policies has a JSON form")
}

fn of_bundle(event_type: &str, bundle: &InForce, by: &str) -> EventData {
    let fingerprint = Some(bundle.policies.fingerprint().to_string());
    let files = Some(bundle.bundle.clone().into());
    event(event_type, &Said { by: by.to_owned(), fingerprint, files, to: None })
}

/// That a bundle decides from here on.
pub(crate) fn activated(bundle: &InForce, by: &str) -> EventData {
    of_bundle(POLICIES_ACTIVATED, bundle, by)
}

/// That a bundle is asked beside the one that decides.
pub(crate) fn shadowed(bundle: &InForce, by: &str) -> EventData {
    of_bundle(POLICIES_SHADOWED, bundle, by)
}

/// That an earlier bundle decides again; `None`: roles do.
pub(crate) fn rolled_back(to: Option<(u64, Fingerprint)>, by: &str) -> EventData {
    let fingerprint = to.map(|(_, fingerprint)| fingerprint.to_string());
    let (by, to) = (by.to_owned(), to.map(|(revision, _)| revision));
    event(POLICIES_ROLLED_BACK, &Said { by, fingerprint, files: None, to })
}

impl State {
    /// Reads them. What was activated and cannot be made ready any more is said in [`Self::broken`].
    pub(crate) fn read(namespace: &Namespace) -> Result<Self, ReadError> {
        let mut state = Self::default();
        let (mut in_force, mut shadow, mut malformed) = (None, None, None);
        for recorded in namespace.for_system().read(Read::stream(POLICIES_STREAM)) {
            let recorded = recorded?;
            state.revision = Some(recorded.revision());
            let said = match recorded.json::<Said>() {
                Ok(said) => said,
                Err(error) => {
                    let at = recorded.revision();
                    let why = format!("revision {at} of `{POLICIES_STREAM}`: {error}");
                    malformed = Some((at.get(), why));
                    continue;
                }
            };
            state.apply(&recorded, &said, &mut in_force, &mut shadow);
        }
        if let Some((revision, at)) = in_force {
            match load(namespace, POLICIES_ACTIVATED, revision, at) {
                Ok(loaded) => state.active = Some(loaded),
                Err(why) => state.broken = Some(why),
            }
        }
        // What stands behind what decides might have been another that does.
        let is_newer = |at: &u64| in_force.is_none_or(|(since, _)| *at > since);
        if let Some((_, why)) = malformed.filter(|(at, _)| is_newer(at)) {
            state.broken = Some(why);
        }
        // One that cannot be asked any more decides nothing.
        state.shadow = shadow.and_then(|at| load(namespace, POLICIES_SHADOWED, at, at).ok());
        Ok(state)
    }

    /// Takes in an event; `in_force` is since when what decides, and where that stands.
    fn apply(
        &mut self,
        recorded: &RecordedEvent,
        said: &Said,
        in_force: &mut Option<(u64, u64)>,
        shadow: &mut Option<u64>,
    ) {
        let revision = recorded.revision().get();
        let what = match recorded.event_type() {
            POLICIES_ACTIVATED => {
                self.stack.push(revision);
                (*in_force, *shadow) = (Some((revision, revision)), None);
                "activated"
            }
            POLICIES_SHADOWED => {
                *shadow = Some(revision);
                "shadowed"
            }
            POLICIES_ROLLED_BACK => {
                let found = |to| self.stack.iter().rposition(|it| *it == to);
                match said.to.map(|to| (to, found(to))) {
                    Some((_, Some(at))) => self.stack.truncate(at + 1),
                    // One that was rolled back before.
                    Some((to, None)) => self.stack.push(to),
                    None => self.stack.clear(),
                }
                (*in_force, *shadow) = (said.to.map(|to| (revision, to)), None);
                "rolled_back"
            }
            // A later version's.
            _ => return,
        };
        if self.changes.len() == POLICY_CHANGES_MAX {
            self.changes.remove(0);
        }
        self.changes.push(PolicyChange {
            revision,
            what: what.to_owned(),
            by: said.by.clone(),
            at_us: recorded.recorded_at().as_micros(),
            fingerprint: said.fingerprint.clone(),
        });
    }

    /// What is rolled back to unless it is said: the bundle before the one that decides; `None`: roles.
    pub(crate) fn before(&self) -> Option<u64> {
        self.stack.len().checked_sub(2).and_then(|at| self.stack.get(at)).copied()
    }

    /// Whether anything was activated, so that it can be rolled back.
    pub(crate) fn has_any(&self) -> bool {
        !self.stack.is_empty() || self.shadow.is_some()
    }

    pub(crate) fn info(&self) -> PoliciesInfo {
        PoliciesInfo {
            active: self.active.as_ref().map(version),
            shadow: self.shadow.as_ref().map(version),
            changes: self.changes.clone(),
        }
    }
}

fn version(in_force: &InForce) -> PolicyVersion {
    PolicyVersion {
        revision: in_force.revision.get(),
        fingerprint: in_force.policies.fingerprint().to_string(),
        actions: in_force.policies.decides().map(|action| action.to_string()).collect(),
        files: in_force.bundle.clone().into(),
    }
}

/// The bundle that an event of a type brought, at a revision of the stream; in force since another.
pub(crate) fn load(
    namespace: &Namespace,
    event_type: &str,
    since: u64,
    at: u64,
) -> Result<InForce, String> {
    let wrong = |why: String| format!("revision {at} of `{POLICIES_STREAM}`: {why}");
    let read = Read::stream(POLICIES_STREAM).from_revision(Revision::new(at)).limit(1);
    let found = namespace.for_system().read(read).into_iter().next().transpose();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    let found = found.filter(|it| it.revision().get() == at);
    let found = found.filter(|it| it.event_type() == event_type);
    let found = found.ok_or_else(|| wrong("there is no bundle".to_owned()))?;
    let said: Said = found.json().map_err(|error| wrong(error.to_string()))?;
    let bundle = Bundle::new(said.files.unwrap_or_default());
    let bundle = bundle.map_err(|error| wrong(error.to_string()))?;
    let policies = Policies::compile(&bundle).map_err(|error| wrong(error.to_string()))?;
    Ok(InForce { revision: Revision::new(since), bundle, policies: Arc::new(policies) })
}

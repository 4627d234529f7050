//! Policies on the wire. From [`PROTOCOL_SCHEMAS`](super::PROTOCOL_SCHEMAS) on.

use rkyv::{Archive, Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::Revision;
use crate::policy::{Denial, PoliciesInfo, PolicyChange, PolicyVersion, Reason};

/// What is asked of policies.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum PolicyAsk {
    /// What decides.
    Show,
    /// To have a bundle decide, or be asked beside the one that does.
    Activate {
        /// Its files: their names, and what is in them.
        files: Vec<(String, String)>,
        /// It is only asked.
        shadow: bool,
    },
    /// To have an earlier one decide again.
    Rollback {
        /// The revision that brought it; `None`: the one before.
        to: Option<u64>,
    },
}

/// [`Denial`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct DenialHead {
    decision_id: [u8; 16],
    reasons: Vec<(String, String)>,
    policy_revision: Option<u64>,
}

impl From<&Denial> for DenialHead {
    fn from(denial: &Denial) -> Self {
        let reasons = denial.reasons.iter().map(|it| (it.code.clone(), it.msg.clone()));
        Self {
            decision_id: *denial.decision_id.as_bytes(),
            reasons: reasons.collect(),
            policy_revision: denial.policy_revision.map(Revision::get),
        }
    }
}

impl From<DenialHead> for Denial {
    fn from(head: DenialHead) -> Self {
        let reasons = head.reasons.into_iter().map(|(code, msg)| Reason { code, msg });
        Self {
            decision_id: Uuid::from_bytes(head.decision_id),
            reasons: reasons.collect(),
            policy_revision: head.policy_revision.map(Revision::new),
        }
    }
}

/// [`PolicyVersion`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct PolicyVersionHead {
    revision: u64,
    fingerprint: String,
    actions: Vec<String>,
    files: Vec<(String, String)>,
}

impl From<&PolicyVersion> for PolicyVersionHead {
    fn from(version: &PolicyVersion) -> Self {
        let files = version.files.iter().map(|(name, text)| (name.clone(), text.clone()));
        Self {
            revision: version.revision,
            fingerprint: version.fingerprint.clone(),
            actions: version.actions.clone(),
            files: files.collect(),
        }
    }
}

impl From<PolicyVersionHead> for PolicyVersion {
    fn from(head: PolicyVersionHead) -> Self {
        let PolicyVersionHead { revision, fingerprint, actions, files } = head;
        Self { revision, fingerprint, actions, files: files.into_iter().collect() }
    }
}

/// [`PolicyChange`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct PolicyChangeHead {
    revision: u64,
    what: String,
    by: String,
    at_us: i64,
    fingerprint: Option<String>,
}

/// [`PoliciesInfo`].
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct PoliciesHead {
    active: Option<PolicyVersionHead>,
    shadow: Option<PolicyVersionHead>,
    changes: Vec<PolicyChangeHead>,
}

impl From<&PoliciesInfo> for PoliciesHead {
    fn from(info: &PoliciesInfo) -> Self {
        let changes = info.changes.iter().map(|it| PolicyChangeHead {
            revision: it.revision,
            what: it.what.clone(),
            by: it.by.clone(),
            at_us: it.at_us,
            fingerprint: it.fingerprint.clone(),
        });
        Self {
            active: info.active.as_ref().map(Into::into),
            shadow: info.shadow.as_ref().map(Into::into),
            changes: changes.collect(),
        }
    }
}

impl From<PoliciesHead> for PoliciesInfo {
    fn from(head: PoliciesHead) -> Self {
        let changes = head.changes.into_iter().map(|it| PolicyChange {
            revision: it.revision,
            what: it.what,
            by: it.by,
            at_us: it.at_us,
            fingerprint: it.fingerprint,
        });
        Self {
            active: head.active.map(Into::into),
            shadow: head.shadow.map(Into::into),
            changes: changes.collect(),
        }
    }
}

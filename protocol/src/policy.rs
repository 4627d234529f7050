//! Policies: what decided, what was decided, and what stands in the streams of the system about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::Revision;
use crate::time::Timestamp;

/// The stream of a namespace that its bundles are kept in.
pub const POLICIES_STREAM: &str = "$policies";

/// The stream of a namespace with the decisions that are on record.
pub const DECISIONS_STREAM: &str = "$decisions";

/// Type of an event of [`POLICIES_STREAM`]: a bundle decides from here on.
pub const POLICIES_ACTIVATED: &str = "PoliciesActivated";

/// Type of an event of [`POLICIES_STREAM`]: a bundle is asked beside the one that decides.
pub const POLICIES_SHADOWED: &str = "PoliciesShadowed";

/// Type of an event of [`POLICIES_STREAM`]: an earlier bundle decides again, or roles do.
pub const POLICIES_ROLLED_BACK: &str = "PoliciesRolledBack";

/// Type of an event of [`DECISIONS_STREAM`]: a decision.
pub const DECISION_MADE: &str = "DecisionMade";

/// Type of an event of [`DECISIONS_STREAM`]: from here on decisions are those of another bundle.
pub const POLICIES_IN_FORCE: &str = "PoliciesInForce";

/// Changes of policies that are listed, the newest.
pub const POLICY_CHANGES_MAX: usize = 100;

/// Why something is allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// A word for programs, such as `role_missing`.
    pub code: String,
    /// A sentence for people.
    #[serde(default)]
    pub msg: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: &str, msg: impl Into<String>) -> Self {
        Self { code: code.to_owned(), msg: msg.into() }
    }
}

/// A decision that somebody may not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What it is found by in the record of decisions.
    pub decision_id: Uuid,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The revision in [`POLICIES_STREAM`] that brought what decided; `None`: roles did.
    pub policy_revision: Option<Revision>,
}

/// A bundle that decides, or is asked beside the one that does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "json-schema", schemars(rename = "PolicyVersion"))]
pub struct PolicyVersion {
    /// The revision in the stream `$policies` from which on it does.
    pub revision: u64,
    /// BLAKE3 of its files, in hexadecimal digits: bundles with the same one say the same.
    pub fingerprint: String,
    /// The actions that it has a rule for. All others are denied.
    pub actions: Vec<String>,
    /// Its files: their names, and what is in them.
    pub files: BTreeMap<String, String>,
}

/// A change of policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "json-schema", schemars(rename = "PolicyChange"))]
pub struct PolicyChange {
    /// Its revision in the stream `$policies`.
    pub revision: u64,
    /// `activated`, `shadowed`, or `rolled_back`.
    pub what: String,
    /// Who did it.
    pub by: String,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// The fingerprint of the bundle; null: roles decide since.
    pub fingerprint: Option<String>,
}

impl PolicyChange {
    /// When.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.at_us)
    }
}

/// The policies of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "json-schema", schemars(rename = "Policies"))]
pub struct PoliciesInfo {
    /// The bundle that decides; null: roles do.
    pub active: Option<PolicyVersion>,
    /// The bundle that is asked beside it, and decides nothing.
    pub shadow: Option<PolicyVersion>,
    /// The newest changes, the oldest of them first.
    pub changes: Vec<PolicyChange>,
}

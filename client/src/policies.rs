//! Policies: who may do what, as rules say it.

use std::collections::BTreeMap;

use nexus_protocol::policy::PoliciesInfo;
use nexus_protocol::{AppendError, Revision};

use crate::client::{Client, Reach, reach};

impl Client {
    /// Which bundle decides in the namespace, which one is asked beside it, and the newest changes.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn policies(&self) -> Result<PoliciesInfo, AppendError> {
        let run = async { reach!(self, there => there.policies().await) };
        self.asked("policies", run).await
    }

    /// Has a bundle decide from now on: its files, by name. As a `shadow` it is only asked beside the one that decides, and
    /// what it would decide otherwise comes on record. It is durable when it is answered; gives its revision. Whoever uses a
    /// store of their own process is asked nothing by policies.
    ///
    /// # Errors
    /// `Invalid` of a bundle that is none; as [`AppendError`] says, `Unknown` where it may have happened.
    pub async fn activate_policies(
        &self,
        files: &BTreeMap<String, String>,
        shadow: bool,
    ) -> Result<Revision, AppendError> {
        let run = async { reach!(self, there => there.activate_policies(files, shadow).await) };
        self.asked("activate policies", run).await
    }

    /// Has the bundle decide again that was activated at a revision; or the one before the one that decides, and where there
    /// was none, roles. It is durable when it is answered; gives the revision of that.
    ///
    /// # Errors
    /// `NotFound` where no bundle was activated at that revision; `Invalid` where none is active; as [`AppendError`] says,
    /// `Unknown` where it may have happened.
    pub async fn rollback_policies(&self, to: Option<Revision>) -> Result<Revision, AppendError> {
        let run = async { reach!(self, there => there.rollback_policies(to).await) };
        self.asked("roll back policies", run).await
    }
}

//! To see and change what policies decide.

use std::collections::BTreeMap;

use nexus_protocol::policy::{POLICIES_ACTIVATED, PoliciesInfo};
use nexus_protocol::{AppendError, Invalid, Revision};
use serde_json::json;

use super::Access;
use crate::audit::Audited;
use crate::guard::About;
use crate::policies::{State, activated, checked, rolled_back, shadowed};
use crate::quota::Use;
use crate::telemetry::{Coded, Operation};

impl Access {
    /// What policies decide in the namespace, and since when.
    ///
    /// # Errors
    /// When the principal may not see it, or the stream of policies cannot be read.
    pub fn policies(&self) -> Result<PoliciesInfo, AppendError> {
        self.observe(Operation::Policies, About::default(), |namespace| {
            let info = self.node.policing().info(namespace);
            info.map_err(nexus_delivery::coordinator::unread)
        })
    }

    /// Has a bundle decide from now on; or, as a `shadow`, only be asked beside the one that does, so that what it would
    /// decide otherwise comes on record. Gives its revision. Blocks until that is durable. Whoever is denied by it from now
    /// on is so at once, also in what goes on.
    ///
    /// # Errors
    /// When the principal may not change policies; `Invalid` of a bundle that is none; as an append's.
    pub fn activate_policies(
        &self,
        files: BTreeMap<String, String>,
        shadow: bool,
    ) -> Result<Revision, AppendError> {
        let details = json!({ "shadow": shadow, "files": files.len() });
        self.change_policies(Operation::ActivatePolicies, details, |by| {
            let bundle = checked(files)?;
            let event = if shadow { shadowed(&bundle, by) } else { activated(&bundle, by) };
            Ok(move |_: &State| Ok(event.clone()))
        })
    }

    /// Has an earlier bundle decide again: the one that was activated at a revision, or the one before the one that decides,
    /// and where there was none, roles. Gives the revision of that. Blocks until it is durable.
    ///
    /// # Errors
    /// When the principal may not change policies, or there is no such bundle; as an append's.
    pub fn rollback_policies(&self, to: Option<Revision>) -> Result<Revision, AppendError> {
        let details = json!({ "to": to });
        self.change_policies(Operation::RollbackPolicies, details, |by| {
            let by = by.to_owned();
            Ok(move |state: &State| {
                if !state.has_any() {
                    let why =
                        "no policies are active: roles decide, and there is nothing to roll back";
                    return Err(Invalid::Request(why.to_owned()).into());
                }
                let to = to.map(Revision::get).or_else(|| state.before());
                let load = |at| crate::policies::load(&self.namespace, POLICIES_ACTIVATED, at, at);
                let not_found = |why| AppendError::NotFound { what: format!("bundle: {why}") };
                let found = to.map(load).transpose().map_err(not_found)?;
                let fingerprint = found.map(|it| it.policies.fingerprint());
                Ok(rolled_back(to.zip(fingerprint), &by))
            })
        })
    }

    /// Whether the principal may change policies: asked before anything of a request is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_change_policies(&self) -> Result<(), AppendError> {
        self.guard(Operation::ActivatePolicies, About::beforehand(), self.origin).map(|_| ())
    }

    /// Changes policies for somebody who may, and puts on record what became of it.
    fn change_policies<D>(
        &self,
        operation: Operation,
        details: serde_json::Value,
        prepare: impl FnOnce(&str) -> Result<D, AppendError>,
    ) -> Result<Revision, AppendError>
    where
        D: Fn(&State) -> Result<nexus_protocol::EventData, AppendError>,
    {
        self.observe(operation, About::default(), |namespace| {
            self.within_quota(Use::Append { events: 1, bytes: 0 })?;
            let decide = prepare(&self.principal().id);
            let done = decide.and_then(|decide| self.node.policing().change(namespace, decide));
            let audited = Audited::new(operation, self.principal()).in_namespace(self.namespace());
            let failed = done.as_ref().err().map(|error| error as &dyn Coded);
            self.node.put_on_record(self.principal(), audited.with(details), failed);
            done?.revision.ok_or(AppendError::Unknown)
        })
    }
}

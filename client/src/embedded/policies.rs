//! Policies of a store in this process.

use std::collections::BTreeMap;

use nexus_protocol::policy::PoliciesInfo;
use nexus_protocol::{AppendError, Revision};

use super::Embedded;

impl Embedded {
    pub(crate) async fn policies(&self) -> Result<PoliciesInfo, AppendError> {
        self.blocking("", |access, _| access.policies()).await
    }

    pub(crate) async fn activate_policies(
        &self,
        files: &BTreeMap<String, String>,
        shadow: bool,
    ) -> Result<Revision, AppendError> {
        let files = files.clone();
        self.blocking("", move |access, _| access.activate_policies(files, shadow)).await
    }

    pub(crate) async fn rollback_policies(
        &self,
        to: Option<Revision>,
    ) -> Result<Revision, AppendError> {
        self.blocking("", move |access, _| access.rollback_policies(to)).await
    }
}

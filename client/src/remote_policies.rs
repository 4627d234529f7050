//! Policies behind a server.

use std::collections::BTreeMap;

use bytes::Bytes;
use nexus_protocol::policy::PoliciesInfo;
use nexus_protocol::wire::{Answer, Operation, PolicyAsk};
use nexus_protocol::{AppendError, Revision};

use crate::ask::{protocol, unread};
use crate::remote::Remote;

fn about(ask: PolicyAsk) -> Operation {
    Operation::Policy { ask: Box::new(ask) }
}

impl Remote {
    pub(crate) async fn policies(&self) -> Result<PoliciesInfo, AppendError> {
        match self.ask_twice(about(PolicyAsk::Show)).await?.0 {
            Answer::Policies(head) => Ok((*head).into()),
            _ => Err(unread(protocol("another answer"))),
        }
    }

    pub(crate) async fn activate_policies(
        &self,
        files: &BTreeMap<String, String>,
        shadow: bool,
    ) -> Result<Revision, AppendError> {
        let files = files.iter().map(|(name, text)| (name.clone(), text.clone())).collect();
        self.change_policies(PolicyAsk::Activate { files, shadow }).await
    }

    pub(crate) async fn rollback_policies(
        &self,
        to: Option<Revision>,
    ) -> Result<Revision, AppendError> {
        self.change_policies(PolicyAsk::Rollback { to: to.map(Revision::get) }).await
    }

    async fn change_policies(&self, ask: PolicyAsk) -> Result<Revision, AppendError> {
        match self.change(about(ask), Bytes::new()).await? {
            Answer::PoliciesChanged { revision } => Ok(Revision::new(revision)),
            // What cannot be read says nothing of whether it happened.
            _ => Err(AppendError::Unknown),
        }
    }
}

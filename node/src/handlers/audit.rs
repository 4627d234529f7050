//! To see what administrators asked for; and how it gets on record.

use nexus_protocol::limits::AUDIT_PAGE_MAX;
use nexus_protocol::{ReadError, Revision};

use crate::audit::{AUDIT_STREAM, AuditPage, Audited};
use crate::config::Fingerprint;
use crate::node::Node;
use crate::principal::Principal;
use crate::telemetry::{Coded, Context, Operation};

impl Node {
    /// What administrators asked for, and what became of it, the oldest first: what is on record after
    /// this revision, at most so many, and at most
    /// [`AUDIT_PAGE_MAX`](nexus_protocol::limits::AUDIT_PAGE_MAX).
    ///
    /// # Errors
    /// When the principal is no administrator, or what has to be looked at is damaged.
    pub fn audit(
        &self,
        principal: &Principal,
        after: Option<Revision>,
        limit: usize,
    ) -> Result<AuditPage, ReadError> {
        let context = Context::new(Operation::Audit, "", &principal.id);
        let list = || self.audit_stream().list(after, limit.min(AUDIT_PAGE_MAX));
        self.observe(principal, &context, list)
    }

    /// Puts on record that a door shows another certificate from now on. Blocks until that is durable.
    pub fn certificate_was_reloaded(&self, principal: &Principal, shown: Fingerprint) {
        let audited = Audited::new(Operation::ReloadCertificate, principal);
        self.put_on_record(principal, audited.about(&shown.to_string()), None);
    }

    /// Puts on record what became of an operation. What was done stays done where that fails.
    pub(super) fn put_on_record(
        &self,
        principal: &Principal,
        audited: Audited,
        failed: Option<&dyn Coded>,
    ) {
        let audited = match failed {
            Some(error) => audited.failed(error.error_code().name),
            None => audited,
        };
        if let Err(error) = self.audit_stream().append(&audited) {
            let context = Context::new(Operation::Audit, "", &principal.id);
            let context = Context { stream: Some(AUDIT_STREAM), ..context };
            self.telemetry().log_error(&context, &error);
        }
    }
}

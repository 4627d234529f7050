//! The audit: what administrators asked for, who, when, by which door, and what became of it.
//!
//! It lives where tokens do: as events of a stream in the namespace `$system`, which no user can reach, so
//! that nobody can change it. What is asked for by somebody who may not do it is refused before it gets
//! here, and is in the log of errors: else anybody could push out of a bounded stream what matters in it.
//! An operation is answered once it is on record; where that fails, the log says so, and the answer stands.

use std::sync::{Mutex, MutexGuard};

use nexus_engine::{Engine, Namespace};
use nexus_protocol::limits::AUDIT_EVENTS_MAX;
use nexus_protocol::{
    Append, AppendError, EventData, Read, ReadError, Revision, StreamChange, Timestamp, Unavailable,
};
use serde::{Deserialize, Serialize};

use crate::principal::Principal;
use crate::telemetry::Operation;

/// The stream of what administrators asked for, in the namespace `$system`.
pub const AUDIT_STREAM: &str = "audit";
const ANSWERED: &str = "OperationAnswered";
/// What became of an operation that was done.
const DONE: &str = "done";
/// Longest name that is kept, in characters: of what is not there somebody may have made it up.
const NAME_CHARS_MAX: usize = 600;

/// What somebody asked for who may, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// What was asked for, by the name that metrics and logs have for it, such as `create_token`.
    pub operation: String,
    /// Who asked: the name of a token or of a certificate, the subject of a JWT, `anonymous` in dev mode, or
    /// `local`, this process itself.
    pub by: String,
    /// How that was known: `token`, `jwt`, `certificate`, `anonymous`, or `local`; missing in entries of a
    /// version that did not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The issuer of the JWT that they came with, if with one that names its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The id of the token that they came with, if with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The door that they came by, if by one: `quic` or `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// In which namespace, or which namespace; missing: of the whole node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What it is about: a stream's name, a token's id, or a certificate's fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What else was said: the limits of a stream, or the name and role of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    /// `done`, or the name of the error that was answered.
    pub outcome: String,
}

/// An entry of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the audit; the oldest that is kept need not have the first.
    pub revision: Revision,
    /// When it was put on record: right after it was done.
    pub recorded_at: Timestamp,
    /// What it says.
    pub audited: Audited,
}

/// Some of the audit, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// What the next page is after; `None`: this is the last.
    pub next: Option<Revision>,
}

impl Audited {
    /// Of an operation that was done.
    pub(crate) fn new(operation: Operation, by: &Principal) -> Self {
        Self {
            operation: operation.as_str().to_owned(),
            by: by.id.clone(),
            kind: Some(by.kind.as_str().to_owned()),
            issuer: by.issuer.clone().filter(|issuer| !issuer.is_empty()),
            token: by.token.clone(),
            door: by.door.map(|door| door.as_str().to_owned()),
            namespace: None,
            what: None,
            details: None,
            outcome: DONE.to_owned(),
        }
    }

    /// The same, in a namespace.
    pub(crate) fn in_namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self
    }

    /// The same, about this.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.what = Some(what.chars().take(NAME_CHARS_MAX).collect());
        self
    }

    /// The same, with what else was said.
    pub(crate) fn with(mut self, details: serde_json::Value) -> Self {
        self.details = Some(details);
        self
    }

    /// The same, of one that was not done.
    pub(crate) fn failed(mut self, why: &str) -> Self {
        self.outcome = why.to_owned();
        self
    }

    pub(crate) fn event(&self) -> EventData {
        EventData::json(ANSWERED, self).expect("what is on record has a JSON form")
    }
}

/// The node's own namespace, and the audit in it.
#[derive(Debug)]
pub(crate) struct Audit {
    engine: Engine,
    /// Whether the stream is known to be bounded.
    is_bounded: Mutex<bool>,
}

impl Audit {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, is_bounded: Mutex::new(false) }
    }

    /// The node's own namespace, if anything was ever kept in it.
    pub(crate) fn system(&self) -> Option<Namespace> {
        self.engine.system()
    }

    fn is_bounded(&self) -> MutexGuard<'_, bool> {
        self.is_bounded.lock().expect("no panic while the stream is bounded")
    }

    /// The node's own namespace, to be appended to: made where there is none, with an audit that keeps
    /// only so much.
    pub(crate) fn namespace(&self) -> Result<Namespace, AppendError> {
        let namespace = self.engine.create_system().map_err(|error| {
            AppendError::Unavailable(Unavailable::CannotGrow(error.to_string()))
        })?;
        let mut is_bounded = self.is_bounded();
        if !*is_bounded {
            let max_count = Some(AUDIT_EVENTS_MAX);
            let info = namespace.stream_info(AUDIT_STREAM);
            if !info.is_ok_and(|info| info.limits.max_count == max_count) {
                let change = StreamChange { max_count: Some(max_count), ..Default::default() };
                namespace.set_stream(AUDIT_STREAM, change)?;
            }
            *is_bounded = true;
        }
        Ok(namespace)
    }

    /// Appends an entry. Durable when it is answered.
    pub(crate) fn append(&self, audited: &Audited) -> Result<(), AppendError> {
        let append = Append::to(AUDIT_STREAM).event(audited.event());
        self.namespace()?.append(append).wait().map(|_| ())
    }

    /// What is on record, the oldest first.
    pub(crate) fn list(
        &self,
        after: Option<Revision>,
        limit: usize,
    ) -> Result<AuditPage, ReadError> {
        let mut page = AuditPage { entries: Vec::new(), next: None };
        let Some(namespace) = self.system() else { return Ok(page) };
        let first = after.map_or(0, |after| after.get().saturating_add(1));
        let read = Read::stream(AUDIT_STREAM).from_revision(Revision::new(first));
        for (looked_at, event) in (1..).zip(namespace.read(read.limit(limit as u64))) {
            let event = event?;
            // Where all that was asked for was there, more may be.
            page.next = Some(event.revision()).filter(|_| looked_at == limit);
            // What a later version writes here, and this one does not know, is passed over.
            let Ok(audited) = event.json() else { continue };
            let (revision, recorded_at) = (event.revision(), event.recorded_at());
            page.entries.push(AuditEntry { revision, recorded_at, audited });
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_is_bounded_and_read_in_pages() {
        let engine = Engine::in_memory();
        let audit = Audit::new(engine.clone());
        let nothing = AuditPage { entries: Vec::new(), next: None };
        assert_eq!(audit.list(None, 10), Ok(nothing.clone()), "nothing is made to be looked at");
        assert!(engine.system().is_none());
        let local = Principal::local();
        for number in 0..5 {
            let audited = Audited::new(Operation::RevokeToken, &local).about(&number.to_string());
            audit.append(&audited).unwrap();
        }
        // After a restart it is the same stream.
        let audit = Audit::new(engine.clone());
        audit.append(&Audited::new(Operation::CreateNamespace, &local)).unwrap();
        let info = engine.system().unwrap().stream_info(AUDIT_STREAM).unwrap();
        assert_eq!(info.limits.max_count, Some(AUDIT_EVENTS_MAX));
        assert_eq!(info.meta_revision, Some(Revision::new(0)), "it is bounded once");
        let page = audit.list(None, 2).unwrap();
        let what = |entry: &AuditEntry| entry.audited.what.clone();
        assert_eq!(page.entries.iter().filter_map(what).collect::<Vec<_>>(), ["0", "1"]);
        let rest = audit.list(page.next, 10).unwrap();
        assert_eq!((rest.entries.len(), rest.next), (4, None));
        assert_eq!(rest.entries[3].audited.operation, "create_namespace");
        assert_eq!(audit.list(Some(Revision::new(u64::MAX)), 10), Ok(nothing));
    }

    #[test]
    fn what_a_later_version_put_on_record_ends_no_paging() {
        let audit = Audit::new(Engine::in_memory());
        let namespace = audit.namespace().unwrap();
        for number in 0..5 {
            let event = EventData::json("OperationForeseen", &number).unwrap();
            namespace.append(Append::to(AUDIT_STREAM).event(event)).wait().unwrap();
        }
        audit.append(&Audited::new(Operation::CreateNamespace, &Principal::local())).unwrap();
        let (mut after, mut entries, mut pages) = (None, Vec::new(), 0);
        loop {
            let page = audit.list(after, 2).unwrap();
            entries.extend(page.entries);
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((entries.len(), pages), (1, 4), "the last page is known to be by its end");
    }

    #[test]
    fn a_name_that_somebody_made_up_is_cut() {
        let audited = Audited::new(Operation::DeleteStream, &Principal::local());
        let audited = audited.about(&"ä".repeat(5000)).failed("invalid");
        assert_eq!(audited.what.unwrap().chars().count(), NAME_CHARS_MAX);
    }
}

//! To see what administrators asked for.

use axum::http::StatusCode;
use axum::response::Response;
use nexus_node::AuditEntry;
use nexus_protocol::limits::AUDIT_PAGE_MAX;
use nexus_protocol::{Revision, Timestamp};
use serde::Serialize;

use super::call::{Call, blocking, json};
use super::problem::Problem;

/// So many entries make a page, unless a request says otherwise.
const PAGE: usize = 100;

/// What administrators asked for.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Audit")]
pub(crate) struct Audit {
    /// What is on record, the oldest first.
    audit: Vec<AuditEntryJson>,
    /// What `after` is of the next page; null: this is the last.
    next: Option<u64>,
}

/// What somebody asked for who may, and what became of it.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "AuditEntry")]
pub(crate) struct AuditEntryJson {
    /// Its place in the audit.
    revision: u64,
    /// When it was put on record.
    recorded_at: Timestamp,
    /// What was asked for, such as `create_token`.
    operation: String,
    /// Who asked: the name of a token or of a certificate, the subject of a JWT, `anonymous` in dev mode, or
    /// `local`, the server itself.
    by: String,
    /// How that was known: `token`, `jwt`, `certificate`, `anonymous`, or `local`.
    kind: Option<String>,
    /// The issuer of the JWT that they came with.
    issuer: Option<String>,
    /// The id of the token that they came with.
    token: Option<String>,
    /// The door that they came by: `quic` or `http`.
    door: Option<String>,
    /// In which namespace, or which namespace.
    namespace: Option<String>,
    /// What it is about: a stream's name, a token's id, or a certificate's fingerprint.
    what: Option<String>,
    /// What else was said: the limits of a stream, or the name and role of a token.
    details: Option<serde_json::Value>,
    /// `done`, or the name of the error that was answered.
    outcome: String,
}

impl From<AuditEntry> for AuditEntryJson {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { revision, recorded_at, audited } = entry;
        Self {
            revision: revision.get(),
            recorded_at,
            operation: audited.operation,
            by: audited.by,
            kind: audited.kind,
            issuer: audited.issuer,
            token: audited.token,
            door: audited.door,
            namespace: audited.namespace,
            what: audited.what,
            details: audited.details,
            outcome: audited.outcome,
        }
    }
}

/// `GET /v1/audit`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let after = call.parsed("after")?.map(Revision::new);
    let limit = call.limit(PAGE, AUDIT_PAGE_MAX)?;
    let node = call.node().clone();
    let page = blocking(move || node.audit(&call.principal, after, limit)).await?;
    let next = page.next.map(Revision::get);
    let audit = page.entries.into_iter().map(AuditEntryJson::from).collect();
    Ok(json(StatusCode::OK, &Audit { audit, next }))
}

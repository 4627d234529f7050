//! Policies: to see what decides, and to have another bundle decide.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;
use nexus_node::telemetry::Operation;
use nexus_protocol::Revision;
use serde::{Deserialize, Serialize};

use super::call::{Call, JSON, blocking, bytes_of, json};
use super::chunks;
use super::problem::Problem;

/// A bundle that is to decide.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "NewPolicies")]
pub(crate) struct NewPolicies {
    /// Its files: rules (`*.rego`), tests (`*_test.rego`), and `data.json`; their names, and what is in them.
    files: BTreeMap<String, String>,
    /// It is only asked beside the one that decides; what it would decide otherwise comes on record.
    #[serde(default)]
    shadow: bool,
}

/// To which bundle.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "PolicyRollback")]
pub(crate) struct Rollback {
    /// The revision that activated it; the one before the one that decides unless given, and where there was none, roles.
    #[serde(default)]
    to: Option<u64>,
}

/// That policies were changed.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "PoliciesChanged")]
pub(crate) struct Changed {
    /// The revision of the change in the stream `$policies`.
    revision: u64,
}

/// `GET /v1/policies`
pub(crate) async fn show(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let info = blocking(move || access.policies()).await?;
    chunks::whole(JSON, &call, bytes_of(&info))
}

/// `POST /v1/policies`
pub(crate) async fn activate(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_change_policies()?;
    call.content_type(&[JSON])?;
    let NewPolicies { files, shadow } = call.receive().await?.json()?;
    changed(blocking(move || access.activate_policies(files, shadow)).await?)
}

/// `POST /v1/policies/rollback`
pub(crate) async fn roll_back(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_do(Operation::RollbackPolicies)?;
    call.content_type(&[JSON])?;
    let Rollback { to } = call.receive().await?.json()?;
    changed(blocking(move || access.rollback_policies(to.map(Revision::new))).await?)
}

#[expect(clippy::unnecessary_wraps, reason = "it ends handlers")]
fn changed(revision: Revision) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &Changed { revision: revision.get() }))
}

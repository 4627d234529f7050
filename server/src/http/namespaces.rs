//! To see and create namespaces, and to count what is in one.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nexus_protocol::json::StatsJson;
use serde::Serialize;

use super::call::{Call, blocking, json};
use super::problem::Problem;

/// Namespaces.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Namespaces")]
pub(crate) struct Namespaces {
    /// Their names, sorted.
    namespaces: Vec<NamespaceJson>,
    /// Always null: they are few.
    next: Option<String>,
}

/// A namespace.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Namespace")]
pub(crate) struct NamespaceJson {
    /// Its name.
    name: String,
}

/// The end of a log.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Head")]
pub(crate) struct Head {
    /// Position of the newest event; null on an empty log.
    position: Option<u64>,
    /// The lineage that it belongs to.
    lineage: u32,
}

/// `GET /v1/namespaces`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let names = call.node().namespaces(&call.principal)?;
    let namespaces = names.into_iter().map(|name| NamespaceJson { name }).collect();
    Ok(json(StatusCode::OK, &Namespaces { namespaces, next: None }))
}

/// `PUT /v1/namespaces/{name}`
pub(crate) async fn create(call: Call) -> Result<Response, Problem> {
    let (node, name) = (call.node().clone(), call.path("name").to_owned());
    let answer = NamespaceJson { name: name.clone() };
    let is_there = node.access(std::sync::Arc::clone(&call.principal), &name).is_ok();
    blocking(move || node.create_namespace(&call.principal, &name)).await?;
    Ok(json(if is_there { StatusCode::OK } else { StatusCode::CREATED }, &answer))
}

/// `DELETE /v1/namespaces/{name}`
pub(crate) async fn delete(call: Call) -> Result<Response, Problem> {
    let (node, name) = (call.node().clone(), call.path("name").to_owned());
    blocking(move || node.delete_namespace(&call.principal, &name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /v1/stats`
pub(crate) async fn stats(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    Ok(json(StatusCode::OK, &StatsJson::new(access.namespace(), &access.stats()?)))
}

/// `GET /v1/head`
pub(crate) async fn head(call: Call) -> Result<Response, Problem> {
    let head = call.access()?.head()?;
    let position = head.position.map(|position| position.get());
    Ok(json(StatusCode::OK, &Head { position, lineage: head.lineage.get() }))
}

//! Whether the server is there, and what it offers.

use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use nexus_node::telemetry::METRICS_CONTENT_TYPE;
use nexus_protocol::ErrorCode;
use serde::Serialize;

use super::call::{Call, JSON, blocking, json};
use super::openapi;
use super::problem::Problem;

/// How the server is.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Health")]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
    /// The version that runs.
    version: &'static str,
}

const HEALTH: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// `GET /healthz`: the process answers.
pub(crate) async fn alive(_: Call) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &HEALTH))
}

/// `GET /readyz`: it has recovered, takes appends, and is not ending. Before, and after, nobody listens here;
/// while it ends, every request is refused.
pub(crate) async fn ready(call: Call) -> Result<Response, Problem> {
    if call.node().is_poisoned() {
        let detail = "a write or sync of a log has failed: start the server again, it then takes appends \
                      from where all is on disk";
        return Err(Problem::new(ErrorCode::POISONED, detail));
    }
    Ok(json(StatusCode::OK, &HEALTH))
}

/// `GET /metrics`: for Prometheus.
pub(crate) async fn metrics(call: Call) -> Result<Response, Problem> {
    let node = call.node().clone();
    let text = blocking(move || node.metrics_text(&call.principal)).await?;
    Ok(([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response())
}

/// `GET /openapi.json`
pub(crate) async fn openapi(_: Call) -> Result<Response, Problem> {
    /// Made once: whoever asks for it costs no memory.
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| Bytes::from(openapi::document().to_string()));
    Ok(([(header::CONTENT_TYPE, JSON)], DOCUMENT.clone()).into_response())
}

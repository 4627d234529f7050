//! To make, list, and revoke tokens.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nexus_node::{TokenInfo, UnknownRole};
use nexus_protocol::Timestamp;
use serde::{Deserialize, Serialize};

use super::call::{Call, JSON, blocking, json};
use super::problem::Problem;

/// A token to be made.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "NewToken")]
pub(crate) struct NewToken {
    /// Who it is for: the name that logs show.
    name: String,
    /// `admin`, `operator`, `writer`, `reader`, or `monitor`.
    role: String,
    /// How long it holds, in seconds; missing: until it is revoked.
    #[serde(default)]
    ttl_s: Option<u64>,
}

/// A token that was made. It is shown once.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "MadeToken")]
pub(crate) struct MadeToken {
    /// What it is revoked by.
    id: String,
    /// The token: what is kept of it cannot be turned back into it.
    token: String,
    /// When it ends.
    expires_at: Option<Timestamp>,
}

/// A token without its secret.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Token")]
pub(crate) struct Token {
    /// What it is revoked by.
    id: String,
    /// Who it is for.
    name: String,
    /// What it may do.
    role: String,
    /// When it ends; null: when it is revoked.
    expires_at: Option<Timestamp>,
}

/// Tokens that hold.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Tokens")]
pub(crate) struct Tokens {
    /// The tokens.
    tokens: Vec<Token>,
    /// Always null: they are few.
    next: Option<String>,
}

impl From<&TokenInfo> for Token {
    fn from(info: &TokenInfo) -> Self {
        Self {
            id: info.id.clone(),
            name: info.name.clone(),
            role: info.role.to_string(),
            expires_at: info.expires_at,
        }
    }
}

/// `POST /v1/tokens`
pub(crate) async fn create(mut call: Call) -> Result<Response, Problem> {
    call.node().may_manage_tokens(&call.principal)?;
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    let new: NewToken = received.json()?;
    let role = new.role.parse().map_err(|why: UnknownRole| Problem::invalid(why.to_string()))?;
    let ttl = new.ttl_s.map(Duration::from_secs);
    let node = call.node().clone();
    let made = blocking(move || node.create_token(&call.principal, &new.name, role, ttl)).await?;
    let expires_at = made.info.expires_at;
    let answer = MadeToken { id: made.info.id, token: made.token, expires_at };
    Ok(json(StatusCode::CREATED, &answer))
}

/// `GET /v1/tokens`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let tokens = call.node().list_tokens(&call.principal)?;
    let tokens = tokens.iter().map(Token::from).collect();
    Ok(json(StatusCode::OK, &Tokens { tokens, next: None }))
}

/// `DELETE /v1/tokens/{id}`
pub(crate) async fn revoke(call: Call) -> Result<Response, Problem> {
    let (node, id) = (call.node().clone(), call.path("id").to_owned());
    blocking(move || node.revoke_token(&call.principal, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

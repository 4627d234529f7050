//! To arm, see, and disarm timers.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nexus_node::telemetry::Operation;
use nexus_protocol::json::{NewTimerJson, TimerJson};
use nexus_protocol::limits::TIMERS_PAGE_MAX;
use nexus_protocol::timer::{TimerInfo, TimerList, TimerState};
use nexus_protocol::{AppendError, ReadError};
use serde::Serialize;

use super::call::{Call, JSON, blocking, bytes_of, json};
use super::chunks;
use super::problem::Problem;

/// Timers of a page, unless it is said.
const PAGE_DEFAULT: usize = 100;

/// A page of timers.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Timers")]
pub(crate) struct Timers<'a> {
    /// The timers, by id.
    timers: Vec<TimerJson<'a>>,
    /// What the next page comes after, for `after`; null: there is no more.
    next: Option<&'a str>,
}

/// `PUT /v1/timers/{id}`
pub(crate) async fn set(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_do(Operation::SetTimer)?;
    call.content_type(&[JSON])?;
    let id = call.path("id").to_owned();
    let received = call.receive().await?;
    let timer = received.json::<NewTimerJson<'_>>()?.into_timer()?;
    let (armed, info) = blocking(move || -> Result<_, AppendError> {
        let armed = access.set_timer(&id, &timer)?;
        // Whoever may append, and not read, is told what was stored all the same; what is past may have fired by now.
        Ok((armed, access.admitted().armed_timer(&id)?))
    })
    .await?;
    let status = if armed { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &TimerJson::from(&info)))
}

/// `GET /v1/timers`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let state = call.parsed("state")?.unwrap_or(TimerState::Armed);
    let after = call.text("after").map(str::to_owned);
    let limit = call.limit(PAGE_DEFAULT, TIMERS_PAGE_MAX)?;
    let list = TimerList { state, after, limit };
    let page = blocking(move || access.timers(&list)).await?;
    let timers = page.timers.iter().map(TimerJson::from).collect();
    chunks::whole(JSON, &call, bytes_of(&Timers { timers, next: page.next.as_deref() }))
}

/// `GET /v1/timers/{id}`
pub(crate) async fn show(call: Call) -> Result<Response, Problem> {
    let (access, id) = (call.access()?, call.path("id").to_owned());
    let info = blocking(move || -> Result<TimerInfo, ReadError> { access.timer(&id) }).await?;
    Ok(json(StatusCode::OK, &TimerJson::from(&info)))
}

/// `DELETE /v1/timers/{id}`
pub(crate) async fn disarm(call: Call) -> Result<Response, Problem> {
    let (access, id) = (call.access()?, call.path("id").to_owned());
    blocking(move || access.disarm_timer(&id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

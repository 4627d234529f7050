//! Projections: to make, see, and steer them, and to look documents up.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nexus_node::Access;
use nexus_node::telemetry::Operation;
use nexus_protocol::limits::{LOOKUP_WAIT_MS_DEFAULT, LOOKUP_WAIT_MS_MAX, SEARCH_BYTES_MAX};
use nexus_protocol::projection::{Lookup, ProjectionChange};
use nexus_protocol::search::{CsvWriter, SearchRequest};
use nexus_protocol::{AppendError, Filter};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::{CSV, Call, JSON, NDJSON, blocking, bytes_of, json};
use super::chunks;
use super::export::{self, Form};
use super::problem::Problem;

/// A definition, as documents of this API describe it. A request's is taken as it is: what makes it none is said by those
/// who read it, with the place.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "ProjectionDefinition")]
#[expect(dead_code, reason = "it is the shape of a body, and no value is of it")]
pub(crate) struct Definition {
    /// What the projection is called: as the path has it.
    name: String,
    /// Which of its versions this is, from 1; 1 by default.
    version: Option<u32>,
    /// Which events; all by default.
    filter: Option<Filter>,
    /// What the document of an event is found by: a pointer into the event, or an expression.
    key: Value,
    /// What keeps the documents: `search`, by default, or `kv`.
    sink: Option<String>,
    /// Whether documents can be looked at as of an earlier time.
    temporal: Option<bool>,
    /// Which tags of events documents carry: `none`, by default, `union`, or `last`.
    access: Option<String>,
    /// The types of events that end a document.
    delete: Option<Vec<String>>,
    /// The fields of a document, each with its `type`, and how it comes about.
    fields: BTreeMap<String, BTreeMap<String, Value>>,
}

/// Which projections there are.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Projections")]
pub(crate) struct Projections {
    /// Their names, sorted.
    projections: Vec<String>,
}

/// Which version is to answer.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "ProjectionSwitch")]
pub(crate) struct Switch {
    /// Its number.
    version: u32,
}

/// `PUT /v1/projections/{projection}`
pub(crate) async fn set(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_manage_projections()?;
    call.content_type(&[JSON])?;
    let name = call.path("projection").to_owned();
    let received = call.receive().await?;
    let definition: Value = received.json()?;
    let (made, info) = blocking(move || -> Result<_, AppendError> {
        Ok((access.set_projection(&name, &definition)?, access.admitted().projection(&name)?))
    })
    .await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &info))
}

/// `GET /v1/projections`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let projections = blocking(move || access.projections()).await?;
    chunks::whole(JSON, &call, bytes_of(&Projections { projections }))
}

/// `GET /v1/projections/{projection}`
pub(crate) async fn show(call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("projection").to_owned());
    let info = blocking(move || access.projection(&name)).await?;
    chunks::whole(JSON, &call, bytes_of(&info))
}

/// `DELETE /v1/projections/{projection}`
pub(crate) async fn delete(call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("projection").to_owned());
    let change = ProjectionChange::Delete { version: call.parsed("version")? };
    blocking(move || access.change_projection(&name, change)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/projections/{projection}/rebuild`
pub(crate) async fn rebuild(call: Call) -> Result<Response, Problem> {
    changed(&call, call.access()?, ProjectionChange::Rebuild).await
}

/// `POST /v1/projections/{projection}/switch`
pub(crate) async fn switch(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_do(Operation::SwitchProjection)?;
    call.content_type(&[JSON])?;
    let Switch { version } = call.receive().await?.json()?;
    changed(&call, access, ProjectionChange::Switch { version }).await
}

/// `POST /v1/projections/{projection}/pause`
pub(crate) async fn pause(call: Call) -> Result<Response, Problem> {
    changed(&call, call.access()?, ProjectionChange::Pause).await
}

/// `POST /v1/projections/{projection}/resume`
pub(crate) async fn resume(call: Call) -> Result<Response, Problem> {
    changed(&call, call.access()?, ProjectionChange::Resume).await
}

/// Changes a projection, and shows it.
async fn changed(
    call: &Call,
    access: Access,
    change: ProjectionChange,
) -> Result<Response, Problem> {
    let name = call.path("projection").to_owned();
    let info = blocking(move || {
        access.change_projection(&name, change)?;
        access.admitted().projection(&name)
    });
    chunks::whole(JSON, call, bytes_of(&info.await?))
}

/// `POST /v1/projections/{projection}/search`
pub(crate) async fn search(mut call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("projection").to_owned());
    access.may_do(Operation::Search)?;
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    if received.len() > SEARCH_BYTES_MAX {
        return Err(Problem::invalid(format!("a search has at most {SEARCH_BYTES_MAX} bytes")));
    }
    let mut request: SearchRequest = received.json()?;
    request.timeout_ms = Some(wait_ms(&call, request.timeout_ms)?);
    let form = match call.wanted(&[JSON, NDJSON, CSV]) {
        Some(NDJSON) => Some(Form::Lines),
        Some(CSV) => Some(Form::Table(CsvWriter::default())),
        _ => None,
    };
    if let Some(form) = form {
        return export::all(&call, access, (name, request), form).await;
    }
    let place = call.http.door.place_to_wait().await;
    let found = blocking(move || {
        let found = access.search(&name, &request);
        drop(place);
        found
    });
    let found = found.await?;
    chunks::whole(JSON, &call, bytes_of(&found))
}

/// How long it is waited for a position.
fn wait_ms(call: &Call, asked: Option<u64>) -> Result<u64, Problem> {
    let wait = match asked.unwrap_or(LOOKUP_WAIT_MS_DEFAULT) {
        wait @ 0..=LOOKUP_WAIT_MS_MAX => wait,
        _ => {
            let detail = format!("`timeout_ms` is not from 0 to {LOOKUP_WAIT_MS_MAX}");
            return Err(Problem::invalid(detail));
        }
    };
    let most = u64::try_from(call.http.limits.request_time.as_millis() / 2).unwrap_or(u64::MAX);
    Ok(wait.min(most))
}

/// `GET /v1/projections/{projection}/documents/{key}`
pub(crate) async fn look_up(call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("projection").to_owned());
    let wait = wait_ms(&call, call.parsed("timeout_ms")?)?;
    let lookup = Lookup {
        key: call.path("key").to_owned(),
        min_position: call.parsed("min_position")?,
        timeout_ms: Some(wait),
    };
    let place = call.http.door.place_to_wait().await;
    let found = blocking(move || {
        let found = access.lookup(&name, &lookup);
        drop(place);
        found
    });
    let found = found.await?;
    chunks::whole(JSON, &call, bytes_of(&found))
}

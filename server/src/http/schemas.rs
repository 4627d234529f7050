//! Schemas: to register, try, and see them, and to say how strictly they are kept. Those of HTTP are in
//! [`super::routes`].

use axum::http::StatusCode;
use axum::response::Response;
use nexus_node::telemetry::Operation;
use nexus_protocol::json::{
    NewSchemaJson, SchemaCheckJson, SchemaVersionJson, SettingsChangeJson, SubjectInfoJson,
};
use nexus_protocol::limits::SUBJECTS_PAGE_MAX;
use nexus_protocol::schema::{NewSchema, SchemaState, SettingsChange, SettingsOf, VersionPick};
use nexus_protocol::{AppendError, SchemaId};
use serde::{Deserialize, Serialize};

use super::call::{Call, JSON, blocking, bytes_of, json};
use super::chunks;
use super::problem::Problem;

/// Subjects of a page, unless it is said.
const PAGE_DEFAULT: usize = 100;

/// A page of subjects.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Subjects")]
pub(crate) struct Subjects<'a> {
    /// The subjects, by name.
    schemas: Vec<SubjectInfoJson<'a>>,
    /// What the next page comes after, for `after`; null: there is no more.
    next: Option<&'a str>,
}

/// How far a version is to come.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "SchemaStateChange")]
pub(crate) struct StateChange {
    /// `active`, `deprecated`, or `retired`.
    state: String,
}

/// `POST /v1/schemas/{subject}/versions`
pub(crate) async fn register(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_manage_schemas(Operation::RegisterSchema)?;
    let (subject, new) = (call.path("subject").to_owned(), candidate(&mut call).await?);
    let (version, made) = blocking(move || access.register_schema(&subject, &new)).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &SchemaVersionJson::from(&version)))
}

async fn candidate(call: &mut Call) -> Result<NewSchema, Problem> {
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    Ok(NewSchema::try_from(received.json::<NewSchemaJson>()?)?)
}

/// `POST /v1/schemas/{subject}/check`
pub(crate) async fn check(mut call: Call) -> Result<Response, Problem> {
    let (access, subject) = (call.access()?, call.path("subject").to_owned());
    let new = candidate(&mut call).await?;
    let found = blocking(move || access.check_schema(&subject, &new)).await?;
    Ok(json(StatusCode::OK, &SchemaCheckJson::from(&*found)))
}

/// `GET /v1/schemas`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let limit = call.limit(PAGE_DEFAULT, SUBJECTS_PAGE_MAX)?;
    let after = call.text("after").map(str::to_owned);
    let (page, more) = blocking(move || -> Result<_, AppendError> {
        let page = access.subjects(after.as_deref(), limit)?;
        let more = match page.last() {
            Some(last) => !access.admitted().subjects(Some(&last.subject), 1)?.is_empty(),
            None => false,
        };
        Ok((page, more))
    })
    .await?;
    let next = page.last().filter(|_| more).map(|it| it.subject.as_str());
    let schemas = page.iter().map(SubjectInfoJson::from).collect();
    chunks::whole(JSON, &call, bytes_of(&Subjects { schemas, next }))
}

/// `GET /v1/schemas/{subject}`
pub(crate) async fn subject(call: Call) -> Result<Response, Problem> {
    let (access, subject) = (call.access()?, call.path("subject").to_owned());
    let info = blocking(move || access.subject(&subject)).await?;
    chunks::whole(JSON, &call, bytes_of(&SubjectInfoJson::from(&info)))
}

/// `GET /v1/schemas/{subject}/versions/{version}`
pub(crate) async fn version(call: Call) -> Result<Response, Problem> {
    let (access, subject) = (call.access()?, call.path("subject").to_owned());
    let pick: VersionPick = call.parsed_path("version")?;
    let version = blocking(move || access.schema(&subject, pick)).await?;
    chunks::whole(JSON, &call, bytes_of(&SchemaVersionJson::from(&version)))
}

/// `GET /v1/schema-ids/{id}`
pub(crate) async fn by_id(call: Call) -> Result<Response, Problem> {
    let (access, id) = (call.access()?, SchemaId::new(call.parsed_path("id")?));
    let version = blocking(move || access.schema_by_id(id)).await?;
    chunks::whole(JSON, &call, bytes_of(&SchemaVersionJson::from(&version)))
}

/// `PATCH /v1/schemas/{subject}/versions/{version}`
pub(crate) async fn set_state(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_manage_schemas(Operation::SetSchemaState)?;
    let subject = call.path("subject").to_owned();
    let version: VersionPick = call.parsed_path("version")?;
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    let state: SchemaState = received.json::<StateChange>()?.state.parse()?;
    let version = blocking(move || -> Result<_, AppendError> {
        let number = match version {
            VersionPick::Number(number) => number,
            VersionPick::Latest => {
                let latest = access.clone().admitted().schema(&subject, version)?;
                latest.version
            }
        };
        access.set_schema_state(&subject, number, state)
    })
    .await?;
    Ok(json(StatusCode::OK, &SchemaVersionJson::from(&version)))
}

/// `GET /v1/schemas/{subject}/settings`
pub(crate) async fn settings(call: Call) -> Result<Response, Problem> {
    let of = SettingsOf::Subject(call.path("subject").to_owned());
    show_settings(&call, of).await
}

/// `PUT /v1/schemas/{subject}/settings`
pub(crate) async fn set_settings(call: Call) -> Result<Response, Problem> {
    let of = SettingsOf::Subject(call.path("subject").to_owned());
    change_settings(call, of).await
}

/// For whom settings hold that are of no subject.
fn wider(call: &Call) -> Result<SettingsOf, Problem> {
    match call.text("level") {
        None | Some("namespace") => Ok(SettingsOf::Namespace),
        Some("global") => Ok(SettingsOf::Global),
        Some(_) => Err(Problem::invalid("query parameter `level`: it is namespace or global")),
    }
}

/// `GET /v1/schema-settings`
pub(crate) async fn wider_settings(call: Call) -> Result<Response, Problem> {
    let of = wider(&call)?;
    show_settings(&call, of).await
}

/// `PUT /v1/schema-settings`
pub(crate) async fn set_wider_settings(call: Call) -> Result<Response, Problem> {
    let of = wider(&call)?;
    change_settings(call, of).await
}

async fn show_settings(call: &Call, of: SettingsOf) -> Result<Response, Problem> {
    let access = call.access()?;
    let info = blocking(move || access.schema_settings(&of)).await?;
    chunks::whole(JSON, call, bytes_of(&SubjectInfoJson::from(&info)))
}

async fn change_settings(mut call: Call, of: SettingsOf) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_manage_schemas(Operation::SetSchemaSettings)?;
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    let change = SettingsChange::try_from(received.json::<SettingsChangeJson>()?)?;
    let info = blocking(move || access.set_schema_settings(&of, &change)).await?;
    Ok(json(StatusCode::OK, &SubjectInfoJson::from(&info)))
}

//! Routes of events: to make, see, try, and delete them. Those of HTTP are in [`super::routes`].

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nexus_protocol::AppendError;
use nexus_protocol::json::{DryRunJson, RouteConfigJson, RouteInfoJson};
use nexus_protocol::limits::DRY_RUN_SHOWN_MAX;
use nexus_protocol::route::RouteConfig;
use serde::Serialize;

use super::call::{Call, JSON, blocking, bytes_of, json};
use super::chunks;
use super::problem::Problem;

/// Routes of a page, unless it is said, and at most.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;
/// Events that a dry run shows, unless it is said.
const SHOWN_DEFAULT: usize = 10;

/// A page of routes.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Routes")]
pub(crate) struct Routes<'a> {
    /// The routes, by name.
    routes: Vec<RouteInfoJson<'a>>,
    /// What the next page comes after, for `after`; null: there is no more.
    next: Option<&'a str>,
}

/// `PUT /v1/routes/{route}`
pub(crate) async fn set(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_manage_routes()?;
    call.content_type(&[JSON])?;
    let name = call.path("route").to_owned();
    let received = call.receive().await?;
    let config = RouteConfig::try_from(received.json::<RouteConfigJson>()?)?;
    let (made, info) = blocking(move || -> Result<_, AppendError> {
        Ok((access.set_route(&name, &config)?, access.admitted().route(&name)?))
    })
    .await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &RouteInfoJson::from(&info)))
}

/// `GET /v1/routes`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let limit = call.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let after = call.text("after").unwrap_or_default().to_owned();
    let (infos, next) = blocking(move || -> Result<_, AppendError> {
        let names = access.routes()?;
        let access = access.admitted();
        let mut names = names.into_iter().filter(|name| *name > after);
        let page: Vec<_> = names.by_ref().take(limit).collect();
        let last = page.last().cloned().filter(|_| names.next().is_some());
        // One that was deleted since is none of them any more.
        let infos = page.iter().filter_map(|name| match access.route(name) {
            Err(AppendError::NotFound { .. }) => None,
            info => Some(info),
        });
        Ok((infos.collect::<Result<Vec<_>, _>>()?, last))
    })
    .await?;
    let next = next.as_deref();
    let routes = infos.iter().map(RouteInfoJson::from).collect();
    chunks::whole(JSON, &call, bytes_of(&Routes { routes, next }))
}

/// `GET /v1/routes/{route}`
pub(crate) async fn show(call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("route").to_owned());
    let info = blocking(move || access.route(&name)).await?;
    Ok(json(StatusCode::OK, &RouteInfoJson::from(&info)))
}

/// `DELETE /v1/routes/{route}`
pub(crate) async fn delete(call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("route").to_owned());
    blocking(move || access.delete_route(&name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/routes/{route}/dry-run`
pub(crate) async fn dry_run(mut call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("route").to_owned());
    call.content_type(&[JSON])?;
    let limit = call.limit(SHOWN_DEFAULT, DRY_RUN_SHOWN_MAX)?;
    let received = call.receive().await?;
    let config = match received.bytes.is_empty() {
        true => None,
        false => Some(RouteConfig::try_from(received.json::<RouteConfigJson>()?)?),
    };
    let run = blocking(move || access.dry_run(&name, config, limit)).await?;
    chunks::whole(JSON, &call, bytes_of(&DryRunJson::from(&run)))
}

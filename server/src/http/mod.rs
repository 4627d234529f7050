//! The HTTP door: JSON over HTTP/1.1 and HTTP/2, with TLS unless the server is in dev mode.
//!
//! Each operation is a line of the table in `routes`, from which the router and the document at
//! `/openapi.json` are made. A request is authenticated before anything of it is looked at but its
//! head; then its parameters and its body are checked and bounded, and a handler of the node answers.

mod append;
mod audit;
mod body;
mod bulk;
mod call;
mod chunks;
mod event_routes;
mod events;
mod export;
mod groups;
mod health;
mod hosts;
pub(crate) mod listener;
mod namespaces;
mod openapi;
mod pages;
mod parked;
mod policies;
mod problem;
mod projections;
mod route;
mod routes;
mod schemas;
mod snapshots;
mod socket;
mod sse;
mod streams;
mod timers;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::http::{Extensions, HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, on};
use nexus_node::telemetry::{Context, Operation};
use nexus_node::{Principal, telemetry};
use nexus_protocol::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate as _};

use crate::door::{Door, MEMORY_WAIT_MAX, Unidentified};
use crate::options::HttpOptions;
use crate::server::StartError;
use call::Call;
use problem::Problem;
use route::Route;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) door: Arc<Door>,
    pub(crate) limits: HttpOptions,
    /// Pages that are made at a time: each is in memory whole before it can be counted.
    pub(crate) pages: Arc<Semaphore>,
    /// The same of those that may look at much before they find anything: they wait for each other alone.
    pub(crate) searches: Arc<Semaphore>,
}

impl Http {
    /// Waits for a place among those of one of [`Self::pages`] and [`Self::searches`].
    pub(crate) async fn place(&self, places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed")
    }
}

/// See [`Http::pages`] and [`Http::searches`].
const PAGES_AT_A_TIME: usize = 16;

/// The router of all operations.
///
/// # Errors
/// When a configured origin is none.
pub(crate) fn router(door: Arc<Door>, limits: HttpOptions) -> Result<Router, StartError> {
    let cors = hosts::cors(&limits.cors_origins)?;
    let origins = limits.cors_origins.clone();
    let telemetry = Arc::clone(door.node.telemetry());
    let places = || Arc::new(Semaphore::new(PAGES_AT_A_TIME));
    let http = Arc::new(Http { door, limits, pages: places(), searches: places() });
    let mut router = Router::new();
    for route in routes::all() {
        router = router.route(route.path, method_router(route, &http));
    }
    router = pages::add(router);
    let compressed = DefaultPredicate::new().and(NotForContentType::const_new(call::NDJSON));
    let hosts = Arc::new(hosts::Hosts { dev: http.door.dev, origins, telemetry });
    let router = router
        .method_not_allowed_fallback(async || {
            let detail = "this method is not for this path: /openapi.json says which are";
            Problem::new(ErrorCode::METHOD_NOT_ALLOWED, detail)
        })
        .fallback(async || {
            let detail = "there is nothing at this path: /openapi.json says what there is";
            Problem::new(ErrorCode::NOT_FOUND, detail)
        })
        .layer(CompressionLayer::new().compress_when(compressed))
        .layer(axum::middleware::from_fn(move |request, next| {
            hosts::check(Arc::clone(&hosts), request, next)
        }));
    Ok(match cors {
        Some(cors) => router.layer(cors),
        None => router,
    })
}

fn method_router(route: &'static Route, http: &Arc<Http>) -> MethodRouter {
    let http = Arc::clone(http);
    on(
        route.method.filter(),
        async move |path: Result<RawPathParams, RawPathParamsRejection>, request: Request| {
            let door = Arc::clone(&http.door);
            serve(route, http, path, request).await.unwrap_or_else(|problem| {
                let context = Context::new(Operation::Access, "", "");
                problem.logged(door.node.telemetry(), &context).into_response()
            })
        },
    )
}

/// Answers one request.
async fn serve(
    route: &'static Route,
    http: Arc<Http>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let principal = match route.open {
        true => Principal::nobody(),
        false if route.path == routes::METRICS && http.door.metrics_open => {
            Principal::anonymous_monitor()
        }
        false => principal(&http, request.uri(), request.headers(), request.extensions())?,
    };
    let principal = principal.by_door(telemetry::Door::Http);
    let requests = Arc::clone(&http.door.requests);
    let under_way = tokio::select! {
        biased;
        () = http.door.closing() => {
            return Err(Problem::new(ErrorCode::UNAVAILABLE, "the server is shutting down"));
        }
        place = requests.acquire_owned() => place.expect("the semaphore is never closed"),
    };
    let bad_path = || Problem::invalid("the path is not percent-encoded UTF-8");
    let path = path.map_err(|_| bad_path())?;
    call::decoded(request.uri().path()).ok_or_else(bad_path)?;
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let limit = time_of(route, &http.limits);
    let principal = Arc::new(principal);
    let who = (Arc::clone(&principal), Arc::new(under_way));
    let call = Call::new(Arc::clone(&http), who, route, path, request)?;
    let namespace = call.namespace().to_owned();
    within(limit, route, (route.handler)(call)).await.map_err(|problem| {
        let context = Context::new(Operation::Access, &namespace, &principal.id);
        problem.logged(http.door.node.telemetry(), &context)
    })
}

/// How long a request may take: a body that is late is told that, and not that its time is over.
fn time_of(route: &Route, limits: &HttpOptions) -> Duration {
    match route.body.is_empty() {
        true => limits.request_time,
        false => limits.request_time + MEMORY_WAIT_MAX + limits.body_time,
    }
}

async fn within(
    limit: Duration,
    route: &Route,
    answer: impl Future<Output = Result<Response, Problem>>,
) -> Result<Response, Problem> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) if route.method == route::Method::Get => Err(Problem::new(
            ErrorCode::UNAVAILABLE,
            format!("there was no answer within {} s", limit.as_secs()),
        )),
        Err(_) => {
            let is_repeatable = |it: &route::Parameter| it.name == "Idempotency-Key";
            let advice = match route.headers.iter().any(is_repeatable) {
                true => "send it again with the same event ids, or the same Idempotency-Key",
                false => "look whether it did before you send it again",
            };
            Err(Problem::new(
                ErrorCode::OUTCOME_UNKNOWN,
                format!(
                    "there was no answer within {} s: it may have happened; {advice}",
                    limit.as_secs()
                ),
            ))
        }
    }
}

/// Who asks: by a token, which stands in a header and never in an address, or else by the certificate of the
/// connection. That one a browser shows whichever page asks: of another's page it is nobody's word.
fn principal(
    http: &Http,
    uri: &Uri,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Principal, Problem> {
    let door = &http.door;
    let identified = match headers.get(header::AUTHORIZATION) {
        None => {
            let shown = extensions.get::<listener::ClientCertificate>();
            let shown = shown.and_then(|shown| shown.0.as_deref());
            match shown.is_some()
                && hosts::is_of_other_page(uri, headers, &http.limits.cors_origins)
            {
                true => Err(Unidentified::of(
                    "a page of another origin is not let in by the certificate of its reader's browser: \
                     name its origin in the setting `http.cors_origins`, or send a token",
                )),
                false => door.identify(None, shown),
            }
        }
        Some(value) => {
            let (scheme, token) =
                value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
            match scheme.eq_ignore_ascii_case("bearer") {
                true => door.identify(Some(token.trim()), None),
                false => Err(Unidentified::of("header `Authorization` is not `Bearer TOKEN`")),
            }
        }
    };
    identified.map_err(|Unidentified { answer, why }| {
        Problem::new(ErrorCode::UNAUTHENTICATED, answer).logged_as(why)
    })
}

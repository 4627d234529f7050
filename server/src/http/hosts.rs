//! Which pages of a browser may ask: those of configured origins, and in dev mode those of this machine
//! only.
//!
//! A server in dev mode lets everybody in, and trusts that only this machine reaches it. A page from
//! elsewhere can reach it through a browser on this machine (DNS rebinding, or a form): it is known by
//! the `Host` or the `Origin` that the browser sends.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nexus_node::telemetry::{Context, Operation, Telemetry};
use nexus_protocol::ErrorCode;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::problem::Problem;
use crate::server::StartError;

/// Answers pages of these origins; none: browsers keep answers from all pages but the server's own.
///
/// # Errors
/// When one is no origin.
pub(crate) fn cors(origins: &[String]) -> Result<Option<CorsLayer>, StartError> {
    let parsed = origins.iter().map(|origin| {
        let is_origin = origin.parse::<Uri>().is_ok_and(|uri| {
            uri.scheme().is_some()
                && uri.authority().is_some()
                && uri.path_and_query().is_none_or(|it| it == "/")
        }) && !origin.ends_with('/');
        let value = HeaderValue::try_from(origin).ok().filter(|_| is_origin);
        value.ok_or_else(|| StartError::Origin { origin: origin.clone() })
    });
    let origins = parsed.collect::<Result<Vec<_>, _>>()?;
    let headers = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("last-event-id"),
        HeaderName::from_static("traceparent"),
    ];
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    Ok((!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_headers(headers)
            .allow_methods(methods)
            .expose_headers([header::ETAG, header::RETRY_AFTER])
    }))
}

/// Whether a page asks that is neither the server's own nor of one of these origins. What is no page of a
/// browser says no origin; a page's request says one wherever it could change something.
pub(crate) fn is_of_other_page(uri: &Uri, headers: &HeaderMap, origins: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let Ok(origin) = origin.to_str() else { return true };
    // HTTP/2 has the host in the address.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(Authority::as_str).or(host);
    let is_own = host.is_some_and(|host| {
        origin.strip_prefix("https://").is_some_and(|own| own.eq_ignore_ascii_case(host))
    });
    !is_own && !origins.iter().any(|it| it == origin)
}

/// Who may ask a server in dev mode besides this machine.
#[derive(Debug)]
pub(crate) struct Hosts {
    pub(crate) dev: bool,
    /// Pages that were allowed by name.
    pub(crate) origins: Vec<String>,
    pub(crate) telemetry: Arc<Telemetry>,
}

/// Lets a request through, unless the server is in dev mode and a page from elsewhere asks.
pub(crate) async fn check(hosts: Arc<Hosts>, request: Request, next: Next) -> Response {
    if hosts.dev
        && let Err(detail) = hosts.is_local(&request)
    {
        let context = Context::new(Operation::Access, "", "");
        let problem = Problem::new(ErrorCode::DENIED, detail).logged(&hosts.telemetry, &context);
        return problem.into_response();
    }
    next.run(request).await
}

impl Hosts {
    fn is_local(&self, request: &Request) -> Result<(), &'static str> {
        let text =
            |name: HeaderName| request.headers().get(name).map(|it| it.to_str().unwrap_or(""));
        // HTTP/2 has the host in the address.
        let host = request.uri().authority().map(Authority::as_str).or_else(|| text(header::HOST));
        if !host.is_some_and(is_loopback) {
            return Err(
                "a server in dev mode is asked by a name of this machine only: use 127.0.0.1",
            );
        }
        let origin = text(header::ORIGIN);
        let of_loopback = |origin: &str| {
            let uri = origin.parse::<Uri>().ok();
            uri.and_then(|uri| uri.authority().cloned()).is_some_and(|it| is_loopback(it.as_str()))
        };
        let allowed =
            |origin: &str| of_loopback(origin) || self.origins.iter().any(|it| it == origin);
        if !origin.is_none_or(allowed) {
            return Err("a server in dev mode is asked by pages of this machine only, and of \
                        origins that it was told of");
        }
        Ok(())
    }
}

/// Whether a host, with or without a port, is a loopback address.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_its_names() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:7420", "127.9.9.9", "[::1]:7420"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "example.org", "localhost.example.org", "10.0.0.1", "[::2]", "a b"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

//! Pages for people: how the server is, at `/`; what can be asked of it, at `/reference`; and what
//! its errors mean, at `/errors/NXnnnn`. They hold no event and no secret, so they are open.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use nexus_protocol::ErrorCode;

use super::problem::Problem;
use super::route::Route;
use super::routes;

const STATUS: &str = include_str!("pages/status.html");
const REFERENCE: &str = include_str!("pages/reference.html");
/// Pages load nothing from elsewhere, and are shown in no other page.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
                      script-src 'self' 'unsafe-inline'; frame-ancestors 'none'";

macro_rules! errors {
    ($($code:literal),+ $(,)?) => {
        &[$(($code, include_str!(concat!("../../../docs/errors/", $code, ".md")))),+]
    };
}

/// What errors mean, by code.
const ERRORS: &[(&str, &str)] = errors![
    "NX1001", "NX1002", "NX1003", "NX1004", "NX1005", "NX1006", "NX1007", "NX1008", "NX1009",
    "NX2001", "NX2002", "NX2003", "NX2004", "NX2005", "NX2006", "NX3001", "NX3002", "NX3003",
    "NX3004", "NX3005", "NX3006", "NX4001",
];

/// Adds the pages.
pub(crate) fn add(router: Router) -> Router {
    router
        .route("/", get(async || page(Bytes::from_static(STATUS.as_bytes()))))
        .route("/reference", get(async || page(REFERENCE_PAGE.clone())))
        .route("/errors/{code}", get(error))
}

/// Made once: whoever asks for it costs no memory.
static REFERENCE_PAGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(reference()));

fn page(html: Bytes) -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response()
}

async fn error(Path(code): Path<String>) -> Response {
    match ERRORS.iter().find(|(known, _)| *known == code) {
        Some((_, text)) => {
            ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], *text).into_response()
        }
        None => {
            Problem::new(ErrorCode::NOT_FOUND, "there is no error of this code").into_response()
        }
    }
}

fn reference() -> String {
    let mut rows = String::new();
    let mut group = "";
    for route in routes::all() {
        if route.group != group {
            group = route.group;
            rows.push_str(&format!("<tr><th colspan=3>{group}</th></tr>\n"));
        }
        rows.push_str(&row(route));
    }
    REFERENCE.replace("<!-- rows -->", &rows)
}

fn row(route: &Route) -> String {
    let parameters = route.query_parameters().map(|it| (it.name, it.about, "query"));
    let headers = route.headers.iter().map(|it| (it.name, it.about, "header"));
    let mut list = String::new();
    for (name, about, place) in parameters.chain(headers) {
        let about = escaped(about);
        list.push_str(&format!("<li><code>{name}</code> <small>{place}</small> {about}</li>"));
    }
    let statuses: Vec<_> = route.answers.iter().map(|it| it.status.to_string()).collect();
    format!(
        "<tr id=\"{id}\"><td><b>{method}</b> <code>{path}</code></td><td>{about}<ul>{list}</ul></td>\
         <td>{statuses}</td></tr>\n",
        id = route.id,
        method = route.method.as_str().to_uppercase(),
        path = route.path,
        about = escaped(route.about),
        statuses = statuses.join(", "),
    )
}

/// Text as HTML, with what stands in backquotes as code.
fn escaped(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut html = String::new();
    for (index, piece) in escaped.split('`').enumerate() {
        match index % 2 {
            0 => html.push_str(piece),
            _ => html.push_str(&format!("<code>{piece}</code>")),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_explained() {
        let explained: Vec<_> = ERRORS.iter().map(|(code, _)| (*code).to_owned()).collect();
        assert_eq!(explained, ErrorCode::ALL.map(|code| code.to_string()));
    }

    #[test]
    fn the_reference_has_every_operation() {
        let html = reference();
        for route in routes::all() {
            assert!(html.contains(&format!("id=\"{}\"", route.id)), "{}", route.id);
        }
        assert_eq!(escaped("a `<b>` & c"), "a <code>&lt;b&gt;</code> &amp; c");
    }
}

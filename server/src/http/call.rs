//! [`Call`]: a request, once it is known who asks; and the pieces that handlers take from it.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nexus_node::telemetry::{Context, Operation};
use nexus_node::{Access, Node, Principal};
use nexus_protocol::{Filter, FilterItem, Invalid, NamespaceName, TraceContext, percent};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::problem::Problem;
use super::route::{Method, Route};
use super::{Http, body};

/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";
/// The media type of a JSON value a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// The media type of a table.
pub(crate) const CSV: &str = "text/csv";
/// The media type of text.
pub(crate) const PLAIN: &str = "text/plain";
/// The media type of server-sent events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// A request's place among those under way.
pub(crate) type UnderWay = Arc<OwnedSemaphorePermit>;

/// A request that is answered.
pub(crate) struct Call {
    pub(crate) http: Arc<Http>,
    pub(crate) principal: Arc<Principal>,
    /// It counts as under way until this is dropped: an answer that is sent piece by piece keeps it.
    pub(crate) under_way: UnderWay,
    /// The head of the request.
    pub(crate) parts: Parts,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    /// In a lock, since a body can be sent to another thread and not shared.
    body: Mutex<Body>,
}

/// Characters of a value that an error shows.
const SHOWN: usize = 64;

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// The parameters of a query. What is not percent-encoded as it should be is refused: nobody can tell
/// what it was meant to be.
fn query_pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let bad = || Problem::invalid("the query is not percent-encoded UTF-8");
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decoded = |text: &str| decoded(&text.replace('+', " ")).ok_or_else(bad);
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// Takes percent-encoding off; `None`: it is not, or what is left is not UTF-8.
pub(crate) fn decoded(text: &str) -> Option<String> {
    String::from_utf8(percent::decoded(text)?).ok()
}

/// Refuses a condition, or a key, that would be passed over. (A browser sends conditions along when it
/// reads: those ask for nothing.)
fn check_headers(route: &Route, headers: &HeaderMap) -> Result<(), Problem> {
    if route.method == Method::Get {
        return Ok(());
    }
    for name in ["If-Match", "If-None-Match", "Idempotency-Key"] {
        if headers.contains_key(name) && !route.headers.iter().any(|known| known.name == name) {
            return Err(Problem::invalid(format!(
                "header `{name}` means nothing here: leave it out"
            )));
        }
    }
    Ok(())
}

impl Call {
    /// A request to a route. Refused where the query asks for what the route does not have: a parameter
    /// that is misspelt would be lost otherwise.
    pub(crate) fn new(
        http: Arc<Http>,
        (principal, under_way): (Arc<Principal>, UnderWay),
        route: &Route,
        path: Vec<(String, String)>,
        request: axum::extract::Request,
    ) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let query = query_pairs(query)?;
        for (index, (name, _)) in query.iter().enumerate() {
            let Some(known) = route.query_parameters().find(|known| known.name == name) else {
                let names: Vec<_> = route.query_parameters().map(|known| known.name).collect();
                let name = shown(name);
                return Err(Problem::invalid(format!(
                    "{name:?} is no query parameter here: there are {}",
                    names.join(", ")
                )));
            };
            let before = query.iter().take(index);
            if !known.repeated && before.into_iter().any(|(earlier, _)| earlier == name) {
                let detail = format!("query parameter `{name}` is given twice: leave one out");
                return Err(Problem::invalid(detail));
            }
        }
        check_headers(route, &parts.headers)?;
        Ok(Self { http, principal, under_way, parts, path, query, body: Mutex::new(body) })
    }

    /// Logs a problem that no handler has logged, with who asked for what.
    pub(crate) fn logged(&self, problem: Problem) -> Problem {
        let context = Context::new(Operation::Access, self.namespace(), &self.principal.id);
        problem.logged(self.http.door.node.telemetry(), &context)
    }

    /// The node that is asked.
    pub(crate) fn node(&self) -> &Node {
        &self.http.door.node
    }

    /// The name of the namespace that is asked for.
    pub(crate) fn namespace(&self) -> &str {
        self.text("namespace").unwrap_or(NamespaceName::DEFAULT)
    }

    /// The namespace, as who asks may use it.
    pub(crate) fn access(&self) -> Result<Access, Problem> {
        let access = self.node().access(Arc::clone(&self.principal), self.namespace())?;
        let name = HeaderName::from_static("traceparent");
        let trace = self.parts.headers.get(name).and_then(|trace| trace.to_str().ok());
        Ok(access.traced(trace.and_then(TraceContext::of_request)))
    }

    /// A piece of the path.
    pub(crate) fn path(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(key, _)| key == name);
        &found.expect("a route has the pieces that its path names").1
    }

    /// A parameter of the query.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that may be repeated.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let all = self.query.iter().filter(|(key, _)| key == name);
        all.map(|(_, value)| value.clone()).collect()
    }

    /// A parameter of the query as something.
    pub(crate) fn parsed<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr<Err: Display>,
    {
        let parsed = self.text(name).map(|text| parse(&format!("query parameter `{name}`"), text));
        parsed.transpose()
    }

    /// A piece of the path as something.
    pub(crate) fn parsed_path<T>(&self, name: &str) -> Result<T, Problem>
    where
        T: FromStr<Err: Display>,
    {
        parse(&format!("{name} in the path"), self.path(name))
    }

    /// A parameter that is true or false; false where it is missing.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.parsed(name)?.unwrap_or(false))
    }

    /// A number of things, within bounds.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, Problem> {
        match self.parsed("limit")? {
            None => Ok(default),
            Some(limit) if (1..=max).contains(&limit) => Ok(limit),
            Some(limit) => Err(Problem::invalid(format!(
                "query parameter `limit`: {limit} is not from 1 to {max}"
            ))),
        }
    }

    /// Which events: the filter grammar, as parameters of the query, or whole as JSON.
    pub(crate) fn filter(&self) -> Result<Filter, Problem> {
        let item = FilterItem {
            streams: Vec::new(),
            stream_prefix: self.texts("stream_prefix"),
            categories: self.texts("category"),
            types: self.texts("type"),
            tags: self.texts("tag"),
        };
        let filter = match self.text("filter") {
            None => Filter::any([item]),
            Some(_) if !item.is_empty() => {
                return Err(Problem::invalid(
                    "query parameter `filter` says all: leave out `type`, `category`, `tag`, and \
                     `stream_prefix`",
                ));
            }
            Some(json) => serde_json::from_str(json)
                .map_err(|why| Problem::invalid(format!("query parameter `filter`: {why}")))?,
        };
        filter.check()?;
        Ok(filter)
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &HeaderName) -> Result<Option<&str>, Problem> {
        let mut values = self.parts.headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            let detail = format!("header `{name}` is given twice: leave one out");
            return Err(Problem::invalid(detail));
        }
        match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(Problem::invalid(format!("header `{name}` is not text"))),
        }
    }

    /// Whether the answer is wanted in this form, named before any other that there is.
    pub(crate) fn wants(&self, media_type: &str) -> bool {
        self.wanted(&[JSON, NDJSON, EVENT_STREAM]) == Some(media_type)
    }

    /// The one of these forms that is named before the others.
    pub(crate) fn wanted(&self, forms: &[&'static str]) -> Option<&'static str> {
        let accept = self.parts.headers.get_all(header::ACCEPT).iter();
        let mut ranges =
            accept.filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
        ranges.find_map(|range| {
            let named = range.split(';').next().unwrap_or_default().trim();
            forms.iter().copied().find(|known| named.eq_ignore_ascii_case(known))
        })
    }

    /// What kind of body it has: one of these, or the first where it does not say.
    pub(crate) fn content_type(&self, allowed: &[&'static str]) -> Result<&'static str, Problem> {
        if let Some(encoding) = self.header(&header::CONTENT_ENCODING)? {
            return Err(Problem::unsupported(format!(
                "header `Content-Encoding: {}`: bodies are taken as they are only, leave it out",
                shown(encoding)
            )));
        }
        let given = self.header(&header::CONTENT_TYPE)?.unwrap_or(allowed[0]);
        let named = given.split(';').next().unwrap_or_default().trim();
        let found = allowed.iter().find(|known| named.eq_ignore_ascii_case(known));
        found.copied().ok_or_else(|| {
            let named = shown(named);
            Problem::unsupported(format!(
                "header `Content-Type: {named}`: send {}",
                allowed.join(" or ")
            ))
        })
    }

    /// Receives the body.
    pub(crate) async fn receive(&mut self) -> Result<body::Received, Problem> {
        let body = self.take_body();
        body::receive(body, &self.parts.headers, &self.http.limits, &self.http.door).await
    }

    /// The body, to be received piece by piece.
    pub(crate) fn take_body(&mut self) -> Body {
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(body)
    }
}

/// Parses what a request says.
pub(crate) fn parse<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|why| Problem::from(Invalid::Request(format!("{what}: {:?}: {why}", shown(text)))))
}

/// An answer as JSON.
pub(crate) fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers have no map with other keys than text")
}

/// An answer of JSON, which is short.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let bytes = bytes_of(value);
    (status, [(header::CONTENT_TYPE, JSON)], bytes).into_response()
}

/// Does what may wait for a disk, on a thread where that holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("a handler does not panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_badly_encoded_is_refused() {
        for (text, wanted) in [
            ("", Some("")),
            ("a%2fb%2Fc", Some("a/b/c")),
            ("stra%C3%9Fe", Some("straße")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decoded(text).as_deref(), wanted, "{text}");
        }
        let pairs = query_pairs("a=1&&b=x+y%26&c").unwrap();
        let wanted = [("a", "1"), ("b", "x y&"), ("c", "")];
        assert_eq!(pairs, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(query_pairs("a=%f").is_err());
    }
}

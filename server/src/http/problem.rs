//! Errors as RFC 9457 problems, with the stable codes of `docs/errors/`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nexus_node::telemetry::{Coded, Context, Telemetry};
use nexus_node::{NoAccess, Refusal};
use nexus_protocol::json::{ExpectedJson, IncompatibilityJson, SchemaProblemJson, state_word};
use nexus_protocol::policy::Denial;
use nexus_protocol::{
    AppendError, Clause, Conflict, ErrorCode, EventJsonError, Invalid, InvalidName, Position,
    ReadError, Retry, Revision,
};
use serde_json::{Map, Value, json};

/// The media type of problems.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request is not answered with what it asks for.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) code: ErrorCode,
    detail: Cow<'static, str>,
    /// What a program needs besides.
    fields: Map<String, Value>,
    retry_after: Option<Duration>,
    /// Whether it is in the log: a handler of the node puts there what it answers.
    logged: bool,
    /// What the log says instead of the detail, where that quotes the request.
    log_text: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            fields: Map::new(),
            retry_after: None,
            logged: false,
            log_text: None,
        }
    }

    /// The request cannot be right.
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::INVALID, detail)
    }

    /// A header or body of the request is of a kind that is not taken here.
    pub(crate) fn unsupported(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::UNSUPPORTED_MEDIA, detail)
    }

    /// A body that is over its limit, in bytes.
    pub(crate) fn too_large(max: usize) -> Self {
        let detail = format!("the body has more than {max} bytes, the limit: split it");
        Self::new(ErrorCode::TOO_LARGE, detail).with("what", "bytes of the body").with("max", max)
    }

    /// All memory for requests is in use.
    pub(crate) fn no_memory() -> Self {
        let detail = "all memory for requests is in use: try again in a moment";
        Self::new(ErrorCode::OVERLOADED, detail).retry_after(Some(Duration::from_secs(1)))
    }

    /// With what the log says instead of the detail.
    pub(crate) fn logged_as(mut self, text: String) -> Self {
        self.log_text = Some(text);
        self
    }

    /// Logs it, where nobody has.
    pub(crate) fn logged(mut self, telemetry: &Telemetry, context: &Context<'_>) -> Self {
        if !self.logged {
            telemetry.log_error(context, &self);
            self.logged = true;
        }
        self
    }

    fn of_handler(mut self) -> Self {
        self.logged = true;
        self
    }

    fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// Says which line of a body it is about.
    pub(crate) fn of_line(mut self, number: u64) -> Self {
        self.detail = format!("line {number}: {}", self.detail).into();
        self.with("line", number)
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    fn with_conflict(self, conflict: &Conflict) -> Self {
        let positions: Vec<_> = conflict.positions.iter().map(|it| it.get()).collect();
        let problem = self.with("positions", positions);
        match &conflict.clause {
            Clause::Stream { stream, expected, found } => problem
                .with("clause", "stream")
                .with("stream", stream.as_str())
                .with("expected", json!(ExpectedJson(*expected)))
                .with("current_state", state_word(*found))
                .with("current_revision", found.head().map(|revision| revision.get())),
            Clause::Boundary => problem.with("clause", "boundary"),
            Clause::Absent => problem.with("clause", "absent"),
            Clause::Ids { stored, given } => {
                problem.with("clause", "ids").with("stored", *stored).with("given", *given)
            }
        }
    }

    fn with_invalid(self, invalid: &Invalid) -> Self {
        match invalid {
            Invalid::Name(name) => {
                let problem = self.with("reason", "name").with("what", name.what.as_ref());
                problem.with("given", name.name.as_str())
            }
            Invalid::StreamTwice(stream) => {
                self.with("reason", "stream_twice").with("stream", stream.as_str())
            }
            Invalid::IdTwice(id) => self.with("reason", "id_twice").with("id", id.to_string()),
            Invalid::EmptyQuery => self.with("reason", "empty_query"),
            Invalid::NothingToDo => self.with("reason", "nothing_to_do"),
            _ => self.with("reason", "request"),
        }
    }

    fn with_denial(self, denial: &Denial) -> Self {
        self.with("decision_id", denial.decision_id.to_string())
            .with("reasons", json!(denial.reasons))
            .with("policy_revision", denial.policy_revision.map(Revision::get))
    }

    /// Its JSON.
    pub(crate) fn json(&self) -> Value {
        let code = self.code.to_string();
        let mut problem = json!({
            "type": format!("/errors/{code}"),
            "title": title(self.code),
            "status": self.code.status,
            "detail": self.detail,
            "code": code,
            "name": self.code.name,
        });
        if let Some(problem) = problem.as_object_mut() {
            problem.extend(self.fields.clone());
        }
        problem
    }
}

/// A summary that does not change from one occurrence to the next.
fn title(code: ErrorCode) -> &'static str {
    match code.name {
        "invalid" => "The request cannot be right",
        "unauthenticated" => "Nobody knows who asks",
        "denied" => "The caller may not do this",
        "not_found" => "What is asked for is not there",
        "method_not_allowed" => "This cannot be done with that",
        "too_slow" => "The request did not arrive in time",
        "too_large" => "Something is over its limit",
        "unsupported_media" => "The request is of a kind that is not taken here",
        "conflict" => "Something stands in the way",
        "id_reused" => "An event id is stored already, with other content",
        "stream_deleted" => "The stream is deleted for good",
        "below_retention" => "What is asked about is no longer kept",
        "lineage_changed" => "The token belongs to an earlier history of the log",
        "schema_invalid" => "Data does not follow its schema",
        "incompatible" => "A schema does not go together with the versions before it",
        "rate_limited" => "The caller asks for more than it may have",
        "not_caught_up" => "The projection has not come so far yet",
        "overloaded" => "The server has too much to do",
        "poisoned" => "The log takes nothing until it is opened again",
        "outcome_unknown" => "The append may be stored, or may not be",
        "corruption" => "Bytes on disk are not what was written",
        _ => "The server cannot do this now",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status);
        let mut response = Response::new(Body::from(self.json().to_string()));
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.code == ErrorCode::UNAUTHENTICATED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.code.status, 429 | 503) {
            // Whole seconds, and at least one: at once would be no relief.
            let after = self.retry_after.unwrap_or(Duration::from_secs(1));
            let seconds = after.as_millis().div_ceil(1000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn after(retry: Retry) -> Option<Duration> {
    match retry {
        Retry::After(after) => Some(after),
        _ => None,
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.log_text.as_deref().unwrap_or(&self.detail))
    }
}

impl std::error::Error for Problem {}

impl Coded for Problem {
    fn error_code(&self) -> ErrorCode {
        self.code
    }

    fn position(&self) -> Option<Position> {
        None
    }

    fn stream(&self) -> Option<&str> {
        None
    }

    fn is_closed(&self) -> bool {
        false
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let problem = Self::new(error.code(), error.to_string())
            .of_handler()
            .retry_after(after(error.retry()));
        match &error {
            AppendError::Invalid(invalid) => problem.with_invalid(invalid),
            AppendError::TooLarge(large) => {
                let problem = problem.with("what", large.what.as_ref());
                problem.with("size", large.size).with("max", large.max)
            }
            AppendError::Conflict(conflict) => problem.with_conflict(conflict),
            AppendError::IdReused { id, position } => {
                problem.with("id", id.to_string()).with("position", position.get())
            }
            AppendError::Deleted { stream } => problem.with("stream", stream.as_str()),
            AppendError::Denied { denial: Some(denial), .. } => problem.with_denial(denial),
            AppendError::SchemaInvalid(problems) => {
                let errors: Vec<_> = problems.iter().map(SchemaProblemJson::from).collect();
                problem.with("errors", json!(errors))
            }
            AppendError::Incompatible(found) => {
                let found: Vec<_> = found.iter().map(IncompatibilityJson::from).collect();
                problem.with("incompatibilities", json!(found))
            }
            _ => problem,
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let problem = Self::new(error.code(), error.to_string())
            .of_handler()
            .retry_after(after(error.retry()));
        match &error {
            ReadError::Invalid(invalid) => problem.with_invalid(invalid),
            ReadError::Deleted { stream } => problem.with("stream", stream.as_str()),
            ReadError::Denied { denial: Some(denial), .. } => problem.with_denial(denial),
            ReadError::LineageChanged { given, current } => {
                problem.with("given", given.get()).with("current", current.get())
            }
            ReadError::Corruption { position, resume_at, .. } => problem
                .with("position", position.get())
                .with("resume_at", resume_at.map(|position| position.get())),
            ReadError::NotCaughtUp { wanted, at, waited_ms } => problem
                .with("wanted", wanted.get())
                .with("at", at.map(|position| position.get()))
                .with("waited_ms", *waited_ms),
            _ => problem,
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.to_string()).with_invalid(&invalid)
    }
}

impl From<InvalidName> for Problem {
    fn from(invalid: InvalidName) -> Self {
        Invalid::from(invalid).into()
    }
}

impl From<EventJsonError> for Problem {
    fn from(error: EventJsonError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { logged: false, ..ReadError::from(refusal).into() }
    }
}

impl From<NoAccess> for Problem {
    fn from(refused: NoAccess) -> Self {
        refused.0.into()
    }
}

#[cfg(test)]
mod tests {
    use nexus_protocol::{ExpectedRevision, Position, Revision, StreamState};

    use super::*;

    #[test]
    fn a_conflict_says_which_clause_and_what_is_there() {
        let conflict = Conflict {
            clause: Clause::Stream {
                stream: "order-1".to_owned(),
                expected: ExpectedRevision::Exact(Revision::new(3)),
                found: StreamState::At(Revision::new(4)),
            },
            positions: vec![Position::new(9)],
        };
        let problem = Problem::from(AppendError::Conflict(Box::new(conflict)));
        let json = problem.json();
        assert_eq!((&json["code"], &json["name"]), (&json!("NX2001"), &json!("conflict")));
        assert_eq!((&json["clause"], &json["stream"]), (&json!("stream"), &json!("order-1")));
        assert_eq!((&json["expected"], &json["current_revision"]), (&json!(3), &json!(4)));
        assert_eq!(json["current_state"], "active");
        assert_eq!(json["positions"], json!([9]));
        assert_eq!(problem.into_response().status(), StatusCode::PRECONDITION_FAILED);
    }

    #[test]
    fn who_comes_too_early_is_told_when_to_come_again() {
        let retry_after = Duration::from_millis(1200);
        let response = Problem::from(AppendError::Overloaded { waited_ms: 5, retry_after });
        let response = response.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn each_code_has_a_title_of_its_own() {
        let titles: std::collections::BTreeSet<_> = ErrorCode::ALL.map(title).into();
        assert_eq!(titles.len(), ErrorCode::ALL.len());
    }
}

//! [`Route`]: one operation over HTTP, described once. The router, the check of what a request may say,
//! and the document at `/openapi.json` are made of the same table, so that none can say what the
//! others do not.

use std::future::Future;
use std::pin::Pin;

use axum::response::Response;
use axum::routing::MethodFilter;
use schemars::{Schema, SchemaGenerator};

use super::call::Call;
use super::problem::Problem;

/// How requests to a route are answered.
pub(crate) type Handler =
    fn(Call) -> Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

/// The schema of a body.
pub(crate) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What is done to what the path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(crate) fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    /// As OpenAPI spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// What a parameter looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Flag,
    Time,
    /// One of these words.
    Word(&'static [&'static str]),
    /// JSON of the filter grammar.
    Filter,
}

/// A parameter, in the query or in a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
    /// Whether it may stand there more than once.
    pub(crate) repeated: bool,
}

impl Parameter {
    pub(crate) const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, about, repeated: false }
    }

    pub(crate) const fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }
}

/// A body, of a request or an answer.
#[derive(Clone, Copy)]
pub(crate) struct Content {
    pub(crate) media_type: &'static str,
    pub(crate) shape: Shape,
}

/// An answer that is not a problem.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) about: &'static str,
    pub(crate) content: &'static [Content],
}

/// One operation.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Its name in documents and logs.
    pub(crate) id: &'static str,
    /// What it does, in one sentence.
    pub(crate) about: &'static str,
    /// What kind of thing it is about: the chapter of the reference.
    pub(crate) group: &'static str,
    /// Whether it is answered to everybody.
    pub(crate) open: bool,
    pub(crate) query: &'static [&'static [Parameter]],
    pub(crate) headers: &'static [Parameter],
    pub(crate) body: &'static [Content],
    pub(crate) answers: &'static [Answer],
    /// Problems that it may answer besides those of all routes, by status.
    pub(crate) problems: &'static [u16],
    pub(crate) handler: Handler,
}

impl Route {
    /// The parameters that its query may have.
    pub(crate) fn query_parameters(&self) -> impl Iterator<Item = &'static Parameter> + use<> {
        self.query.iter().flat_map(|some| some.iter())
    }

    /// The names in its path.
    pub(crate) fn path_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('/').filter_map(|piece| piece.strip_prefix('{')?.strip_suffix('}'))
    }
}

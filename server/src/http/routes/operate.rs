//! The operations on the node, its namespaces, and its tokens.

use nexus_protocol::json::StatsJson;

use super::super::call::PLAIN;
use super::super::{audit, health, namespaces, tokens};
use super::{
    APPEND_PROBLEMS, Content, JSON, LIMIT, Method, Number, Parameter, ROUTE, Route, Schema,
    SchemaGenerator, answer,
};

/// Where the metrics are, which may be open to everybody.
pub(crate) const METRICS: &str = "/metrics";

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    Route {
        path: "/v1/stats",
        id: "stats",
        about: "Counts what is in a namespace.",
        group: "operate",
        answers: &[answer(200, "The counts.", body![JSON StatsJson<'_>])],
        handler: handler!(namespaces::stats),
        ..ROUTE
    },
    Route {
        path: "/v1/namespaces",
        id: "listNamespaces",
        about: "Lists namespaces.",
        group: "operate",
        query: &[],
        answers: &[answer(200, "The namespaces.", body![JSON namespaces::Namespaces])],
        handler: handler!(namespaces::list),
        ..ROUTE
    },
    Route {
        method: Method::Put,
        path: "/v1/namespaces/{name}",
        id: "createNamespace",
        about: "Creates a namespace; one that exists stays as it is.",
        group: "operate",
        query: &[],
        answers: &[
            answer(201, "It is created.", body![JSON namespaces::NamespaceJson]),
            answer(200, "It was there.", body![JSON namespaces::NamespaceJson]),
        ],
        problems: &[504],
        handler: handler!(namespaces::create),
        ..ROUTE
    },
    Route {
        method: Method::Delete,
        path: "/v1/namespaces/{name}",
        id: "deleteNamespace",
        about: "Deletes a namespace for good, with all its events; `default` stays.",
        group: "operate",
        query: &[],
        answers: &[answer(204, "It is deleted.", &[])],
        problems: &[504],
        handler: handler!(namespaces::delete),
        ..ROUTE
    },
    Route {
        path: "/v1/tokens",
        id: "listTokens",
        about: "Lists the tokens that hold, without their secrets.",
        group: "operate",
        query: &[],
        answers: &[answer(200, "The tokens.", body![JSON tokens::Tokens])],
        handler: handler!(tokens::list),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/tokens",
        id: "createToken",
        about: "Makes a token. It is shown once.",
        group: "operate",
        query: &[],
        body: body![JSON tokens::NewToken],
        answers: &[answer(201, "The token.", body![JSON tokens::MadeToken])],
        problems: APPEND_PROBLEMS,
        handler: handler!(tokens::create),
        ..ROUTE
    },
    Route {
        method: Method::Delete,
        path: "/v1/tokens/{id}",
        id: "revokeToken",
        about: "Makes a token worthless, also for those who were let in with it.",
        group: "operate",
        query: &[],
        answers: &[answer(204, "It is worthless.", &[])],
        problems: &[504],
        handler: handler!(tokens::revoke),
        ..ROUTE
    },
    Route {
        path: "/v1/audit",
        id: "listAudit",
        about: "Lists what administrators asked for, and what became of it, the oldest first.",
        group: "operate",
        query: &[&[
            Parameter::new("after", Number, "Only what is on record after this one."),
            LIMIT,
        ]],
        answers: &[answer(200, "What is on record.", body![JSON audit::Audit])],
        handler: handler!(audit::list),
        ..ROUTE
    },
    Route {
        path: "/healthz",
        id: "alive",
        about: "Says that the process answers.",
        group: "operate",
        open: true,
        query: &[],
        answers: &[answer(200, "It does.", body![JSON health::Health])],
        handler: handler!(health::alive),
        ..ROUTE
    },
    Route {
        path: "/readyz",
        id: "ready",
        about: "Says that the server has recovered, takes appends, and is not ending.",
        group: "operate",
        open: true,
        query: &[],
        answers: &[answer(200, "It is ready.", body![JSON health::Health])],
        handler: handler!(health::ready),
        ..ROUTE
    },
    Route {
        path: METRICS,
        id: "metrics",
        about: "The metrics of the node, for Prometheus; without a token where `metrics.open` is set.",
        group: "operate",
        query: &[],
        answers: &[answer(200, "The metrics.", body![PLAIN String])],
        handler: handler!(health::metrics),
        ..ROUTE
    },
    Route {
        path: "/openapi.json",
        id: "openapi",
        about: "This document.",
        group: "operate",
        open: true,
        query: &[],
        answers: &[answer(200, "The document.", body![JSON serde_json::Value])],
        handler: handler!(health::openapi),
        ..ROUTE
    },
];

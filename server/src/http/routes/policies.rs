//! The operations on policies.

use nexus_protocol::policy::PoliciesInfo;

use super::super::policies;
use super::{
    APPEND_PROBLEMS, Content, JSON, Method, ROUTE, Route, Schema, SchemaGenerator, answer,
};

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    Route {
        path: "/v1/policies",
        id: "showPolicies",
        about: "Shows which bundle decides in the namespace, which one is asked beside it, and the newest changes.",
        group: "policies",
        answers: &[answer(200, "What decides.", body![JSON PoliciesInfo])],
        problems: APPEND_PROBLEMS,
        handler: handler!(policies::show),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/policies",
        id: "activatePolicies",
        about: "Has a bundle decide from now on, or only be asked beside the one that does. Whoever is denied by it is so at \
                once, also in what goes on.",
        group: "policies",
        body: body![JSON policies::NewPolicies],
        answers: &[answer(200, "It decides.", body![JSON policies::Changed])],
        problems: APPEND_PROBLEMS,
        handler: handler!(policies::activate),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/policies/rollback",
        id: "rollBackPolicies",
        about: "Has an earlier bundle decide again, or roles, where there was none.",
        group: "policies",
        body: body![JSON policies::Rollback],
        answers: &[answer(200, "It decides.", body![JSON policies::Changed])],
        problems: APPEND_PROBLEMS,
        handler: handler!(policies::roll_back),
        ..ROUTE
    },
];

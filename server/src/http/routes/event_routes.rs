//! The operations on routes of events.

use nexus_protocol::json::{DryRunJson, RouteConfigJson, RouteInfoJson};

use super::super::event_routes;
use super::{
    APPEND_PROBLEMS, Content, JSON, Kind, LIMIT, Method, NAMESPACE, Parameter, ROUTE, Route,
    Schema, SchemaGenerator, answer,
};

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Put,
        path: "/v1/routes/{route}",
        id: "setRoute",
        about: "Makes a route, or lets one that is there take other events from where it is.",
        group: "routes",
        body: body![JSON RouteConfigJson],
        answers: &[
            answer(201, "It is made.", body![JSON RouteInfoJson<'_>]),
            answer(200, "It is changed.", body![JSON RouteInfoJson<'_>]),
        ],
        problems: APPEND_PROBLEMS,
        handler: handler!(event_routes::set),
        ..ROUTE
    },
    Route {
        path: "/v1/routes",
        id: "listRoutes",
        about: "Lists routes by name, those to groups included.",
        group: "routes",
        query: &[
            &[Parameter::new("after", Kind::Text, "Only names after this one."), LIMIT],
            NAMESPACE,
        ],
        answers: &[answer(200, "The routes.", body![JSON event_routes::Routes<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(event_routes::list),
        ..ROUTE
    },
    Route {
        path: "/v1/routes/{route}",
        id: "showRoute",
        about: "Says how a route is: what it takes, how far it has come, and why it has failed, if it has.",
        group: "routes",
        answers: &[answer(200, "The route.", body![JSON RouteInfoJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(event_routes::show),
        ..ROUTE
    },
    Route {
        method: Method::Delete,
        path: "/v1/routes/{route}",
        id: "deleteRoute",
        about: "Deletes a route; the links that it has written stay.",
        group: "routes",
        answers: &[answer(204, "It is deleted.", &[])],
        problems: APPEND_PROBLEMS,
        handler: handler!(event_routes::delete),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/routes/{route}/dry-run",
        id: "dryRunRoute",
        about: "Shows what a route would take of the newest events that its filter selects: of the route that is \
                there, or, with a body, of one that is not made yet.",
        group: "routes",
        query: &[&[LIMIT], NAMESPACE],
        body: body![JSON RouteConfigJson],
        answers: &[answer(200, "What it would take.", body![JSON DryRunJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(event_routes::dry_run),
        ..ROUTE
    },
];

//! The operations on projections, and on what is found in them.

use nexus_protocol::projection::{FoundDocument, ProjectionInfo};
use nexus_protocol::search::{SearchAnswer, SearchHit, SearchRequest};

use super::super::call::{CSV, NDJSON};
use super::super::projections;
use super::{
    APPEND_PROBLEMS, Content, JSON, Method, NAMESPACE, Number, Parameter, ROUTE, Route, Schema,
    SchemaGenerator, answer,
};

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Put,
        path: "/v1/projections/{projection}",
        id: "setProjection",
        about: "Makes a projection, or gives one that is there another version: it is folded beside the one that answers \
                until somebody switches to it.",
        group: "projections",
        body: body![JSON projections::Definition],
        answers: &[
            answer(201, "This version is made.", body![JSON ProjectionInfo]),
            answer(200, "It was there.", body![JSON ProjectionInfo]),
        ],
        problems: APPEND_PROBLEMS,
        handler: handler!(projections::set),
        ..ROUTE
    },
    Route {
        path: "/v1/projections",
        id: "listProjections",
        about: "Lists projections by name.",
        group: "projections",
        answers: &[answer(200, "Their names.", body![JSON projections::Projections])],
        problems: APPEND_PROBLEMS,
        handler: handler!(projections::list),
        ..ROUTE
    },
    Route {
        path: "/v1/projections/{projection}",
        id: "showProjection",
        about: "Says how a projection is: how far it has come, what came of it, and why it folds nothing, if it does not.",
        group: "projections",
        answers: &[answer(200, "The projection.", body![JSON ProjectionInfo])],
        problems: APPEND_PROBLEMS,
        handler: handler!(projections::show),
        ..ROUTE
    },
    Route {
        method: Method::Delete,
        path: "/v1/projections/{projection}",
        id: "deleteProjection",
        about: "Deletes a projection with its documents, or one version of it that does not answer; events stay.",
        group: "projections",
        query: &[
            &[Parameter::new("version", Number, "Only this version; all of them by default.")],
            NAMESPACE,
        ],
        answers: &[answer(204, "It is deleted.", &[])],
        problems: APPEND_PROBLEMS,
        handler: handler!(projections::delete),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/projections/{projection}/rebuild",
        id: "rebuildProjection",
        about: "Folds all documents again from the first event, beside those that answer, and in their place once they have \
                come as far.",
        group: "projections",
        answers: &[answer(200, "It has begun.", body![JSON ProjectionInfo])],
        problems: APPEND_PROBLEMS,
        handler: handler!(projections::rebuild),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/projections/{projection}/switch",
        id: "switchProjection",
        about: "Lets another version answer, which knows as much as the one that answers.",
        group: "projections",
        body: body![JSON projections::Switch],
        answers: &[answer(200, "It answers.", body![JSON ProjectionInfo])],
        problems: APPEND_PROBLEMS,
        handler: handler!(projections::switch),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/projections/{projection}/pause",
        id: "pauseProjection",
        about: "Lets a projection fold nothing until it is resumed. It answers from what it has.",
        group: "projections",
        answers: &[answer(200, "It is paused.", body![JSON ProjectionInfo])],
        problems: APPEND_PROBLEMS,
        handler: handler!(projections::pause),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/projections/{projection}/resume",
        id: "resumeProjection",
        about: "Lets a projection go on that was paused, or has failed.",
        group: "projections",
        answers: &[answer(200, "It goes on.", body![JSON ProjectionInfo])],
        problems: APPEND_PROBLEMS,
        handler: handler!(projections::resume),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/projections/{projection}/search",
        id: "searchDocuments",
        about: "Searches documents by what is in them: by a query in the query language or as a tree, in an order, page by \
                page; and counts and sums up over all that match. With `Accept: application/x-ndjson` it answers with all \
                documents, one a line, and with `text/csv` with a table of them; `limit` says nothing then. Of projections \
                with `\"sink\": \"search\"`.",
        group: "projections",
        body: body![JSON SearchRequest],
        answers: &[answer(
            200,
            "What was found.",
            body![JSON SearchAnswer, NDJSON SearchHit, CSV String],
        )],
        problems: APPEND_PROBLEMS,
        handler: handler!(projections::search),
        ..ROUTE
    },
    Route {
        path: "/v1/projections/{projection}/documents/{key}",
        id: "lookUpDocument",
        about: "Looks a document up by its key. With `min_position`, say the one that an append was answered with, it waits \
                until the document knows of that.",
        group: "projections",
        query: &[
            &[
                Parameter::new("min_position", Number, "The answer knows of this position."),
                Parameter::new(
                    "timeout_ms",
                    Number,
                    "Waits that long for it, up to a minute, or half the time that a request may take; 5,000 by default.",
                ),
            ],
            NAMESPACE,
        ],
        answers: &[answer(200, "The document.", body![JSON FoundDocument])],
        handler: handler!(projections::look_up),
        ..ROUTE
    },
];

//! The operations on schemas.

use nexus_protocol::json::{
    NewSchemaJson, SchemaCheckJson, SchemaVersionJson, SettingsChangeJson, SubjectInfoJson,
};

use super::super::schemas;
use super::{
    APPEND_PROBLEMS, Content, JSON, Kind, LIMIT, Method, NAMESPACE, Parameter, ROUTE, Route,
    Schema, SchemaGenerator, answer,
};

const LEVEL: &[Parameter] = &[Parameter::new(
    "level",
    Kind::Word(&["namespace", "global"]),
    "For whom they hold that say nothing themselves: for the subjects of the namespace, which is the default, or of \
     all namespaces.",
)];

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/v1/schemas/{subject}/versions",
        id: "registerSchema",
        about: "Registers a schema as the next version of a subject. What is not compatible with the versions before it \
                is refused, with the reasons.",
        group: "schemas",
        body: body![JSON NewSchemaJson],
        answers: &[
            answer(201, "It is registered.", body![JSON SchemaVersionJson<'_>]),
            answer(200, "The subject has this schema already.", body![JSON SchemaVersionJson<'_>]),
        ],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::register),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/schemas/{subject}/check",
        id: "checkSchema",
        about: "Says whether a schema could be registered, and if not, what stands in the way. Nothing is written.",
        group: "schemas",
        body: body![JSON NewSchemaJson],
        answers: &[answer(200, "What stands in the way.", body![JSON SchemaCheckJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::check),
        ..ROUTE
    },
    Route {
        path: "/v1/schemas",
        id: "listSchemas",
        about: "Lists subjects by name, with their versions and settings.",
        group: "schemas",
        query: &[
            &[Parameter::new("after", Kind::Text, "Only names after this one."), LIMIT],
            NAMESPACE,
        ],
        answers: &[answer(200, "The subjects.", body![JSON schemas::Subjects<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::list),
        ..ROUTE
    },
    Route {
        path: "/v1/schemas/{subject}",
        id: "showSubject",
        about: "Shows a subject, with its versions and settings.",
        group: "schemas",
        answers: &[answer(200, "The subject.", body![JSON SubjectInfoJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::subject),
        ..ROUTE
    },
    Route {
        path: "/v1/schemas/{subject}/versions/{version}",
        id: "showSchema",
        about: "Shows a version of a subject: 1, 2, …, or `latest`, the newest that is active.",
        group: "schemas",
        answers: &[answer(200, "The version.", body![JSON SchemaVersionJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::version),
        ..ROUTE
    },
    Route {
        method: Method::Patch,
        path: "/v1/schemas/{subject}/versions/{version}",
        id: "setSchemaState",
        about: "Sets how far a version has come: a draft is made active, an active one deprecated or retired.",
        group: "schemas",
        body: body![JSON schemas::StateChange],
        answers: &[answer(200, "It is set.", body![JSON SchemaVersionJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::set_state),
        ..ROUTE
    },
    Route {
        path: "/v1/schema-ids/{id}",
        id: "showSchemaById",
        about: "Shows the version that events with this schema id follow.",
        group: "schemas",
        answers: &[answer(200, "The version.", body![JSON SchemaVersionJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::by_id),
        ..ROUTE
    },
    Route {
        path: "/v1/schemas/{subject}/settings",
        id: "showSchemaSettings",
        about: "Shows what was set for a subject, and what holds for it.",
        group: "schemas",
        answers: &[answer(200, "The subject.", body![JSON SubjectInfoJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::settings),
        ..ROUTE
    },
    Route {
        method: Method::Put,
        path: "/v1/schemas/{subject}/settings",
        id: "setSchemaSettings",
        about: "Changes what holds for a subject: which versions have to understand each other, what is asked of events, \
                and of which ones. The subject need not have a version yet.",
        group: "schemas",
        body: body![JSON SettingsChangeJson],
        answers: &[answer(200, "It is set.", body![JSON SubjectInfoJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::set_settings),
        ..ROUTE
    },
    Route {
        path: "/v1/schema-settings",
        id: "showWiderSchemaSettings",
        about: "Shows what holds for subjects that say nothing themselves.",
        group: "schemas",
        query: &[LEVEL, NAMESPACE],
        answers: &[answer(
            200,
            "The settings, as a subject without a name.",
            body![JSON SubjectInfoJson<'_>],
        )],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::wider_settings),
        ..ROUTE
    },
    Route {
        method: Method::Put,
        path: "/v1/schema-settings",
        id: "setWiderSchemaSettings",
        about: "Changes what holds for subjects that say nothing themselves.",
        group: "schemas",
        query: &[LEVEL, NAMESPACE],
        body: body![JSON SettingsChangeJson],
        answers: &[answer(200, "It is set.", body![JSON SubjectInfoJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(schemas::set_wider_settings),
        ..ROUTE
    },
];

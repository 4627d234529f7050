//! The operations on timers.

use nexus_protocol::json::{NewTimerJson, TimerJson};

use super::super::timers;
use super::{
    APPEND_PROBLEMS, Content, JSON, Kind, LIMIT, Method, NAMESPACE, Parameter, ROUTE, Route,
    Schema, SchemaGenerator, answer,
};

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Put,
        path: "/v1/timers/{id}",
        id: "setTimer",
        about: "Arms a timer, or arms it anew: when its time has come, its event is appended, once.",
        group: "timers",
        body: body![JSON NewTimerJson<'_>],
        answers: &[
            answer(201, "It is armed.", body![JSON TimerJson<'_>]),
            answer(200, "It was armed just so already.", body![JSON TimerJson<'_>]),
        ],
        problems: APPEND_PROBLEMS,
        handler: handler!(timers::set),
        ..ROUTE
    },
    Route {
        path: "/v1/timers",
        id: "listTimers",
        about: "Lists timers by id: those that are armed, or those that failed.",
        group: "timers",
        query: &[
            &[
                Parameter::new("state", Kind::Text, "`armed`, which is the default, or `failed`."),
                Parameter::new("after", Kind::Text, "Only ids after this one."),
                LIMIT,
            ],
            NAMESPACE,
        ],
        answers: &[answer(200, "The timers.", body![JSON timers::Timers<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(timers::list),
        ..ROUTE
    },
    Route {
        path: "/v1/timers/{id}",
        id: "showTimer",
        about: "Says how a timer stands: armed, fired, or failed, and why.",
        group: "timers",
        answers: &[answer(200, "The timer.", body![JSON TimerJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(timers::show),
        ..ROUTE
    },
    Route {
        method: Method::Delete,
        path: "/v1/timers/{id}",
        id: "disarmTimer",
        about: "Disarms a timer, or gives up one that failed. When it is answered the timer has not fired, and will not.",
        group: "timers",
        answers: &[answer(204, "It is disarmed.", &[])],
        problems: APPEND_PROBLEMS,
        handler: handler!(timers::disarm),
        ..ROUTE
    },
];

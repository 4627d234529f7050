//! The operations on groups, and on what they park.

use nexus_protocol::json::{AnsweredJson, GroupConfigJson, GroupInfoJson, GroupStartJson};

use super::super::{groups, parked};
use super::{
    APPEND_PROBLEMS, Content, JSON, Kind, LIMIT, Method, NAMESPACE, Parameter, ROUTE, Route,
    Schema, SchemaGenerator, answer,
};

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Put,
        path: "/v1/groups/{group}",
        id: "setGroup",
        about: "Makes a group, or changes one that is there: its mode, its lanes, and what order is kept by \
                stay as they are.",
        group: "groups",
        body: body![JSON GroupConfigJson],
        answers: &[
            answer(201, "It is made.", body![JSON GroupInfoJson<'_>]),
            answer(200, "It is changed.", body![JSON GroupInfoJson<'_>]),
        ],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::set),
        ..ROUTE
    },
    Route {
        path: "/v1/groups",
        id: "listGroups",
        about: "Lists groups by name.",
        group: "groups",
        query: &[
            &[Parameter::new("after", Kind::Text, "Only names after this one."), LIMIT],
            NAMESPACE,
        ],
        answers: &[answer(200, "The groups.", body![JSON groups::Groups<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::list),
        ..ROUTE
    },
    Route {
        path: "/v1/groups/{group}",
        id: "showGroup",
        about: "Says how a group is: its lag, what is in flight and parked, its consumers.",
        group: "groups",
        answers: &[answer(200, "The group.", body![JSON GroupInfoJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::show),
        ..ROUTE
    },
    Route {
        path: "/v1/groups/{group}/lanes",
        id: "listLanes",
        about: "Lists the lanes of a group that have something to do.",
        group: "groups",
        answers: &[answer(200, "The lanes.", body![JSON groups::Lanes<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::lanes),
        ..ROUTE
    },
    Route {
        method: Method::Delete,
        path: "/v1/groups/{group}",
        id: "deleteGroup",
        about: "Deletes a group, and what it has parked; events stay.",
        group: "groups",
        answers: &[answer(204, "It is deleted.", &[])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::delete),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/groups/{group}/pause",
        id: "pauseGroup",
        about: "Lets a group deliver nothing until it is resumed. What is with consumers may be answered.",
        group: "groups",
        body: body![JSON groups::NewPause],
        answers: &[answer(200, "It is paused.", body![JSON GroupInfoJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::pause),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/groups/{group}/resume",
        id: "resumeGroup",
        about: "Lets a group go on that was paused, or stopped by a consumer.",
        group: "groups",
        answers: &[answer(200, "It goes on.", body![JSON GroupInfoJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::resume),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/groups/{group}/seek",
        id: "seekGroup",
        about: "Lets a group go on from another place, whatever it has done. What is parked stays parked.",
        group: "groups",
        body: body![JSON GroupStartJson],
        answers: &[answer(200, "It goes on there.", body![JSON groups::Sought])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::seek),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/groups/{group}/receive",
        id: "receive",
        about: "Takes what there is for a consumer. That it asks makes it a member of the group.",
        group: "groups",
        body: body![JSON groups::Receive],
        answers: &[answer(200, "What there is.", body![JSON groups::Deliveries<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::receive),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/groups/{group}/ack",
        id: "ack",
        about: "Says that deliveries are done; with `append` together with an append: both, or neither.",
        group: "groups",
        body: body![JSON groups::Ack<'_>],
        answers: &[answer(200, "What counts is durable.", body![JSON groups::AnsweredWith<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::ack),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/groups/{group}/nack",
        id: "nack",
        about: "Says that deliveries are not done, and what is to become of their events.",
        group: "groups",
        body: body![JSON groups::NewNack<'_>],
        answers: &[answer(200, "What counts is durable.", body![JSON AnsweredJson])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::nack),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/groups/{group}/extend",
        id: "extend",
        about: "Asks for more time to answer deliveries.",
        group: "groups",
        body: body![JSON groups::Extend<'_>],
        answers: &[answer(200, "What counts.", body![JSON AnsweredJson])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::extend),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/groups/{group}/leave",
        id: "leaveGroup",
        about: "Lets a consumer go: what it has not answered is delivered to others at once.",
        group: "groups",
        body: body![JSON groups::Leave],
        answers: &[answer(204, "It is gone.", &[])],
        problems: APPEND_PROBLEMS,
        handler: handler!(groups::leave),
        ..ROUTE
    },
    Route {
        path: "/v1/parked",
        id: "listParked",
        about: "Lists what could not be processed, with why, and how often it was tried.",
        group: "parked",
        query: &[
            &[
                Parameter::new(
                    "source",
                    Kind::Text,
                    "Where it is parked: `group:NAME`, `projection:NAME`, or `timers`.",
                ),
                Parameter::new("lane", Kind::Number, "Only this lane of a group."),
                Parameter::new(
                    "key",
                    Kind::Text,
                    "Only this key: of the stream of this name, or of this value of what the group keeps order by; of a \
                     projection, of the document with this key.",
                ),
                Parameter::new("waiting", Kind::Flag, "What merely waits behind another, too."),
                Parameter::new("after", Kind::Text, "Only what stands after this one."),
                LIMIT,
            ],
            NAMESPACE,
        ],
        answers: &[answer(200, "What is parked.", body![JSON parked::Parked<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(parked::list),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/parked/replay",
        id: "replayParked",
        about: "Lets what is parked be delivered or folded again, each with as many tries as at first, in its order.",
        group: "parked",
        body: body![JSON parked::Pick<'_>],
        answers: &[answer(200, "It is on its way.", body![JSON parked::Picked])],
        problems: APPEND_PROBLEMS,
        handler: handler!(parked::replay),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/parked/skip",
        id: "skipParked",
        about: "Gives up what is parked: it is done with, and what waits behind it has its turn.",
        group: "parked",
        body: body![JSON parked::Pick<'_>],
        answers: &[answer(200, "It is given up.", body![JSON parked::Picked])],
        problems: APPEND_PROBLEMS,
        handler: handler!(parked::skip),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/parked/purge",
        id: "purgeParked",
        about: "The same as to skip, by the name that queues have for it.",
        group: "parked",
        body: body![JSON parked::Pick<'_>],
        answers: &[answer(200, "It is given up.", body![JSON parked::Picked])],
        problems: APPEND_PROBLEMS,
        handler: handler!(parked::skip),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/parked/{id}/edit",
        id: "editParked",
        about: "Delivers or folds what is parked again, with other data. The event in the log stays as it is.",
        group: "parked",
        body: body![JSON parked::Edit<'_>],
        answers: &[answer(200, "It is on its way.", body![JSON parked::Edited])],
        problems: APPEND_PROBLEMS,
        handler: handler!(parked::edit),
        ..ROUTE
    },
];

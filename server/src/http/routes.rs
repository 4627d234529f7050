//! The table of all operations over HTTP.

use nexus_protocol::EventJson;
use nexus_protocol::json::{
    AppendJson, AppendedJson, NewEventJson, NewSnapshotJson, SnapshotInfoJson, SnapshotJson,
    StreamChangeJson, StreamInfoJson,
};
use schemars::{Schema, SchemaGenerator};

use super::call::{EVENT_STREAM, JSON, NDJSON};
use super::route::Kind::{self, Filter, Flag, Number, Text, Time, Word};
use super::route::{Answer, Content, Method, Parameter, Route};
use super::{append, events, health, namespaces, snapshots, socket, streams};

const NAMESPACE: &[Parameter] =
    &[Parameter::new("namespace", Text, "The namespace; `default` where it is not said.")];
const LIMIT: Parameter = Parameter::new("limit", Number, "How many at most.");
const SYSTEM: Parameter = Parameter::new("system", Flag, "The system's too.");
const DIRECTION: Parameter =
    Parameter::new("direction", Word(&["forwards", "backwards"]), "Which way to read.");
const FROM_POSITION: Parameter = Parameter::new(
    "from_position",
    Text,
    "The first position, as a number or as LINEAGE-POSITION.",
);
const FROM_TIME: Parameter = Parameter::new("from_time", Time, "The first time of recording.");
/// What a stream of server-sent events may be asked besides.
pub(crate) const FOLLOW: &[Parameter] = &[
    Parameter::new(
        "start",
        Word(&["beginning", "end"]),
        "Of server-sent events: `end` begins with what is appended from now on.",
    ),
    Parameter::new(
        "checkpoint_every",
        Number,
        "Of server-sent events: a checkpoint comes once so many positions were passed; 1,024 by default.",
    ),
];
const FILTER: &[Parameter] = &[
    Parameter::new("type", Text, "Events of this type, or another that is named.").repeated(),
    Parameter::new("category", Text, "Events of streams of this category, or another.").repeated(),
    Parameter::new("tag", Text, "Events that carry this tag, and every other.").repeated(),
    Parameter::new("stream_prefix", Text, "Events of streams whose name starts so.").repeated(),
    Parameter::new("filter", Filter, "The same as JSON, also with `any`: instead of the others."),
];
const IF_MATCH: Parameter = Parameter::new(
    "If-Match",
    Text,
    "The stream's newest revision, in quotes: `\"7\"`; or `*`: the stream exists.",
);
const IF_NONE_MATCH: Parameter =
    Parameter::new("If-None-Match", Word(&["*"]), "The stream does not exist.");
const IDEMPOTENCY_KEY: Parameter = Parameter::new(
    "Idempotency-Key",
    Text,
    "Makes a request repeatable whose events have no ids: a repeat is answered as the first.",
);
const LAST_EVENT_ID: Parameter = Parameter::new(
    "Last-Event-ID",
    Text,
    "The last id that was seen: server-sent events go on after it.",
);

/// What an append, or a change of a stream, may run into.
const APPEND_PROBLEMS: &[u16] = &[408, 409, 410, 412, 413, 415, 422, 504];

macro_rules! body {
    ($($media_type:ident $shape:ty),+) => {
        &[$(Content {
            media_type: $media_type,
            shape: |generator: &mut SchemaGenerator| -> Schema {
                generator.subschema_for::<$shape>()
            },
        }),+]
    };
}

macro_rules! handler {
    ($handler:path) => {
        |call| Box::pin($handler(call))
    };
}

mod event_routes;
mod groups;
mod operate;
mod policies;
mod projections;
mod schemas;
mod timers;

pub(crate) use operate::METRICS;

const fn answer(status: u16, about: &'static str, content: &'static [Content]) -> Answer {
    Answer { status, about, content }
}

/// What most routes are.
const ROUTE: Route = Route {
    method: Method::Get,
    path: "",
    id: "",
    about: "",
    group: "",
    open: false,
    query: &[NAMESPACE],
    headers: &[],
    body: &[],
    answers: &[],
    problems: &[],
    handler: handler!(health::alive),
};

/// All operations.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    let of_delivery = groups::ROUTES.iter().chain(event_routes::ROUTES).chain(timers::ROUTES);
    let of_delivery = of_delivery.chain(projections::ROUTES);
    let all = ROUTES.iter().chain(operate::ROUTES).chain(of_delivery);
    all.chain(schemas::ROUTES).chain(policies::ROUTES)
}

/// Those on the log and its streams.
const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/v1/streams/{stream}/events",
        id: "appendToStream",
        about: "Appends events to one stream: all of them, or none.",
        group: "append",
        headers: &[IF_MATCH, IF_NONE_MATCH, IDEMPOTENCY_KEY],
        body: body![JSON Vec<NewEventJson<'_>>, NDJSON NewEventJson<'_>],
        answers: &[
            answer(201, "They are stored.", body![JSON append::AppendedToStream<'_>]),
            answer(
                200,
                "They were stored before, or there were none.",
                body![JSON append::AppendedToStream<'_>],
            ),
        ],
        problems: APPEND_PROBLEMS,
        handler: handler!(append::to_stream),
        ..ROUTE
    },
    Route {
        method: Method::Post,
        path: "/v1/append",
        id: "append",
        about: "Appends events to any number of streams under conditions: all of them, or none. With a \
                line for each of many appends it answers a line for each, in their order, while later \
                ones still arrive.",
        group: "append",
        headers: &[IDEMPOTENCY_KEY],
        body: body![JSON AppendJson<'_>, NDJSON AppendJson<'_>],
        answers: &[
            answer(201, "They are stored.", body![JSON AppendedJson<'_>]),
            answer(
                200,
                "They were stored before, or there were none. Of many appends: what became of each.",
                body![JSON AppendedJson<'_>, NDJSON AppendedJson<'_>],
            ),
        ],
        problems: APPEND_PROBLEMS,
        handler: handler!(append::to_streams),
        ..ROUTE
    },
    Route {
        path: "/v1/streams/{stream}/events",
        id: "readStream",
        about: "Reads a stream: a page; with `Accept: application/x-ndjson` all of it, an event a line; \
                with `Accept: text/event-stream` what is there and what comes.",
        group: "read",
        query: &[
            &[
                Parameter::new("from", Number, "The first revision."),
                FROM_POSITION,
                FROM_TIME,
                LIMIT,
                DIRECTION,
                events::AS_OF,
                events::AS_SCHEMA,
                events::RESOLVE_LINKS,
            ],
            FILTER,
            FOLLOW,
            NAMESPACE,
        ],
        headers: &[LAST_EVENT_ID],
        answers: &[answer(
            200,
            "The events.",
            body![JSON events::StreamPage, NDJSON EventJson<'_>, EVENT_STREAM String],
        )],
        problems: &[409, 410],
        handler: handler!(events::of_stream),
        ..ROUTE
    },
    Route {
        path: "/v1/events",
        id: "readLog",
        about: "Reads the log: a page; with `Accept: application/x-ndjson` all of it, an event a line; \
                with `Accept: text/event-stream` what is there and what comes.",
        group: "read",
        query: &[
            &[
                FROM_POSITION,
                FROM_TIME,
                LIMIT,
                DIRECTION,
                events::AS_OF,
                events::AS_SCHEMA,
                SYSTEM,
                Parameter::new(
                    "wait_ms",
                    Number,
                    "Where there is nothing, waits for something that long, up to a minute, or half \
                     the time that a request may take.",
                ),
            ],
            FILTER,
            FOLLOW,
            NAMESPACE,
        ],
        headers: &[LAST_EVENT_ID],
        answers: &[answer(
            200,
            "The events.",
            body![JSON events::LogPage, NDJSON EventJson<'_>, EVENT_STREAM String],
        )],
        problems: &[409, 410],
        handler: handler!(events::of_log),
        ..ROUTE
    },
    Route {
        path: "/v1/events/{id}",
        id: "readEvent",
        about: "Reads one event by its id.",
        group: "read",
        answers: &[answer(200, "The event.", body![JSON EventJson<'_>])],
        handler: handler!(events::by_id),
        ..ROUTE
    },
    Route {
        path: "/v1/ws",
        id: "watch",
        about: "A WebSocket, subprotocol `nexus.v1`: any number of channels with events as they come, \
                and of consumers of groups. Who asks is known by the header, or by a first frame within 5 s.",
        group: "read",
        open: true,
        answers: &[answer(101, "Frames follow.", &[])],
        problems: &[401, 404],
        handler: handler!(socket::upgrade),
        ..ROUTE
    },
    Route {
        path: "/v1/head",
        id: "readHead",
        about: "Says where the log ends.",
        group: "read",
        answers: &[answer(200, "The end of the log.", body![JSON namespaces::Head])],
        handler: handler!(namespaces::head),
        ..ROUTE
    },
    Route {
        path: "/v1/streams",
        id: "listStreams",
        about: "Lists streams by name.",
        group: "streams",
        query: &[
            &[
                Parameter::new("prefix", Text, "Only names that start so."),
                Parameter::new("category", Text, "Only this category."),
                Parameter::new("after", Text, "Only names after this one."),
                LIMIT,
                SYSTEM,
                Parameter::new("deleted", Flag, "Deleted streams too."),
            ],
            NAMESPACE,
        ],
        answers: &[answer(200, "The streams.", body![JSON streams::Streams<'_>])],
        handler: handler!(streams::list),
        ..ROUTE
    },
    Route {
        path: "/v1/streams/{stream}",
        id: "showStream",
        about: "Says what is known of a stream.",
        group: "streams",
        answers: &[answer(200, "The stream.", body![JSON StreamInfoJson<'_>])],
        handler: handler!(streams::show),
        ..ROUTE
    },
    Route {
        method: Method::Patch,
        path: "/v1/streams/{stream}",
        id: "changeStream",
        about: "Changes a stream's limits.",
        group: "streams",
        body: body![JSON StreamChangeJson],
        answers: &[answer(200, "The stream as it is now.", body![JSON StreamInfoJson<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(streams::change),
        ..ROUTE
    },
    Route {
        method: Method::Delete,
        path: "/v1/streams/{stream}",
        id: "deleteStream",
        about: "Hides all events of a stream; an append revives it, unless it is for good.",
        group: "streams",
        query: &[
            &[Parameter::new("tombstone", Flag, "For good: its name can never be used again.")],
            NAMESPACE,
        ],
        headers: &[IF_MATCH, IF_NONE_MATCH],
        answers: &[answer(200, "It is deleted.", body![JSON streams::StreamDeleted<'_>])],
        problems: APPEND_PROBLEMS,
        handler: handler!(streams::delete),
        ..ROUTE
    },
    Route {
        path: "/v1/streams/{stream}/snapshots",
        id: "listSnapshots",
        about: "Lists the snapshots that are kept of a stream.",
        group: "snapshots",
        answers: &[answer(200, "The snapshots.", body![JSON snapshots::Snapshots])],
        handler: handler!(snapshots::list),
        ..ROUTE
    },
    Route {
        path: "/v1/streams/{stream}/snapshots/{revision}",
        id: "loadSnapshot",
        about: "Loads a snapshot that a fold made: the one of the highest revision at or before this one, \
                or `latest`.",
        group: "snapshots",
        query: &[
            &[
                Parameter::new("fold_version", Number, "The version of the fold; 0 by default."),
                Parameter::new("upcaster_hash", Text, "Hexadecimal; 0 by default."),
                Parameter::new(
                    "as_of",
                    Text,
                    "With `latest`: of a past state, `position:N` or `revision:N`.",
                ),
            ],
            NAMESPACE,
        ],
        answers: &[answer(200, "The snapshot.", body![JSON SnapshotJson<'_>])],
        handler: handler!(snapshots::load),
        ..ROUTE
    },
    Route {
        method: Method::Put,
        path: "/v1/streams/{stream}/snapshots/{revision}",
        id: "saveSnapshot",
        about: "Keeps a snapshot: the state after the event of this revision.",
        group: "snapshots",
        body: body![JSON NewSnapshotJson<'_>],
        answers: &[answer(201, "It is kept.", body![JSON SnapshotInfoJson])],
        problems: APPEND_PROBLEMS,
        handler: handler!(snapshots::save),
        ..ROUTE
    },
];

//! JSON forms: what the command line prints, what export writes, and what HTTP takes and answers.
//! Names are those of `docs/reference`; unknown fields are refused, so that a misspelt one is not lost.

mod append;
mod delivery;
mod event;
mod event_schema;
mod group;
mod parked;
mod registry;
mod route;
#[cfg(feature = "json-schema")]
mod schema;
mod snapshot;
mod stats;
mod stream;
mod timer;

pub use append::{
    AbsenceJson, AppendJson, AppendedJson, BoundaryJson, ExpectedJson, QueryItemJson,
    StreamAppendJson, StreamAppendedJson,
};
pub use delivery::{
    AnsweredJson, DeliveryJson, FailureJson, RefusedJson, WholeFailureJson, nack_of, tokens_of,
};
pub use event::{EventJson, EventJsonError, NewEventJson};
pub use event_schema::EventSchemaJson;
pub use group::{
    BackoffJson, GroupConfigJson, GroupInfoJson, GroupStartJson, LaneJson, MemberJson, PauseJson,
};
pub use parked::{ParkedEntryJson, pick_of};
pub use registry::{
    EffectiveSettingsJson, IncompatibilityJson, NewSchemaJson, SchemaCheckJson, SchemaProblemJson,
    SchemaReferenceJson, SchemaSettingsJson, SchemaTextJson, SchemaVersionJson, SettingsChangeJson,
    SubjectInfoJson, VersionInfoJson,
};
pub use route::{BranchJson, ConditionJson, DryRunJson, RouteConfigJson, RouteInfoJson};
pub use snapshot::{NewSnapshotJson, SnapshotInfoJson, SnapshotJson, UpcasterHashJson};
pub use stats::StatsJson;
pub use stream::{StreamChangeJson, StreamInfoJson, state_word};
pub use timer::{FailedTimerJson, NewTimerJson, TimerFailureJson, TimerFiredJson, TimerJson};

//! To see what is parked, and to decide about it: events of groups and projections, and timers that failed.

mod timers;

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::Response;
use nexus_node::telemetry::Operation;
use nexus_node::{Access, PARKED_PAGE_MAX};
use nexus_protocol::group::{ParkedList, ParkedPick};
use nexus_protocol::json::{ParkedEntryJson, pick_of};
use nexus_protocol::timer::{TimerList, TimerState};
use nexus_protocol::{AppendError, Invalid, Position};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::call::{Call, JSON, blocking, bytes_of, json};
use super::chunks;
use super::problem::Problem;

/// Entries of a page, unless it is said.
const PAGE_DEFAULT: usize = 100;
/// Entries that one request may name.
const IDS_MAX: usize = 1_000;

/// A page of what is parked.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Parked")]
pub(crate) struct Parked<'a> {
    /// The entries, by position.
    parked: Vec<ParkedEntryJson<'a>>,
    /// What the next page comes after, for `after`; null: there is no more.
    next: Option<String>,
}

/// Which entries.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "Pick")]
pub(crate) struct Pick<'a> {
    /// Where they are parked: `group:NAME`, `projection:NAME`, or `timers`.
    #[serde(borrow)]
    source: Cow<'a, str>,
    /// These.
    #[serde(default, borrow)]
    ids: Option<Vec<Cow<'a, str>>>,
    /// Those of a lane of a group.
    #[serde(default)]
    lane: Option<u32>,
    /// Those of a key: of the stream of this name, or of this value of what the group keeps order by; of a projection, of the
    /// document with this key.
    #[serde(default, borrow)]
    key: Option<Cow<'a, str>>,
    /// All of them.
    #[serde(default)]
    all: Option<bool>,
    /// Of a replay in a group: so many events a second, at most; all at once by default.
    #[serde(default)]
    rate_per_s: Option<u32>,
}

/// What an event is to be instead.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "Edit")]
pub(crate) struct Edit<'a> {
    /// Where it is parked: `group:NAME`, `projection:NAME`, or `timers`.
    #[serde(borrow)]
    source: Cow<'a, str>,
    /// Its data.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Value")]
    data: &'a RawValue,
}

/// How many entries it was done with.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Picked")]
pub(crate) struct Picked {
    /// So many.
    count: u64,
}

/// Where an edited event stands.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Edited")]
pub(crate) struct Edited {
    /// The position of the event that is delivered in place of the other; of a timer, of what armed it anew; of a projection,
    /// its own.
    position: u64,
}

/// Whose events are parked.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// Those of the group of this name.
    Group(String),
    /// Those of the projection of this name.
    Projection(String),
}

/// What a source names that is no timers.
fn source_of(source: &str) -> Result<Source, Problem> {
    let of_group = source.strip_prefix("group:").map(|name| Source::Group(name.to_owned()));
    let of_projection = || {
        let name = source.strip_prefix("projection:")?;
        Some(Source::Projection(name.to_owned()))
    };
    of_group.or_else(of_projection).ok_or_else(|| {
        let says = "`source` says where it is parked: `group:NAME`, as in group:mail, `projection:NAME`, or `timers`";
        Problem::invalid(says)
    })
}

/// What a projection has: its events are parked by the keys of documents.
fn no_lane_or_rate(lane: bool, rate: bool) -> Result<(), Problem> {
    match (lane, rate) {
        (false, false) => Ok(()),
        (true, _) => Err(Problem::invalid("projections have no lanes: name a `key`")),
        (_, true) => Err(Problem::invalid("projections have no rate: leave out `rate_per_s`")),
    }
}

fn position(id: &str) -> Result<Position, Problem> {
    id.parse().map(Position::new).map_err(|_| Problem::invalid("no id of what is parked"))
}

/// `GET /v1/parked`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let Some(source) = call.text("source") else {
        let missing =
            "query parameter `source` is missing: `group:NAME`, `projection:NAME`, or `timers`";
        return Err(Problem::invalid(missing));
    };
    let limit = call.limit(PAGE_DEFAULT, PARKED_PAGE_MAX)?;
    if source == timers::SOURCE {
        if call.text("lane").or(call.text("key")).is_some() {
            return Err(Problem::invalid("timers have neither lanes nor keys"));
        }
        let after = call.text("after").map(str::to_owned);
        let list = TimerList { state: TimerState::Failed, after, limit };
        let page = blocking(move || access.timers(&list)).await?;
        let parked = Parked { parked: timers::entries(&page), next: page.next.clone() };
        return chunks::whole(JSON, &call, bytes_of(&parked));
    }
    let (source, of) = (source.to_owned(), source_of(source)?);
    let list = ParkedList {
        lane: call.parsed("lane")?,
        key: call.text("key").map(str::to_owned),
        waiting: call.flag("waiting")?,
        after: call.text("after").map(position).transpose()?,
        limit,
    };
    let page = match of {
        Source::Group(group) => blocking(move || access.parked(&group, &list)).await?,
        Source::Projection(name) => {
            no_lane_or_rate(list.lane.is_some(), false)?;
            blocking(move || access.parked_of_projection(&name, &list)).await?
        }
    };
    let parked = page.entries.iter().map(|entry| ParkedEntryJson::new(&source, entry)).collect();
    let next = page.next.map(|next| next.to_string());
    chunks::whole(JSON, &call, bytes_of(&Parked { parked, next }))
}

/// `POST /v1/parked/replay`
pub(crate) async fn replay(call: Call) -> Result<Response, Problem> {
    let decides = Decides {
        of_group: Access::replay_parked,
        of_projection: Access::replay_parked_of_projection,
        of_timers: Access::replay_timers,
    };
    decide(call, Operation::ReplayParked, decides).await
}

/// `POST /v1/parked/skip`, `POST /v1/parked/purge`
pub(crate) async fn skip(call: Call) -> Result<Response, Problem> {
    let decides = Decides {
        of_group: |access, group, pick, rate| match rate {
            None => access.skip_parked(group, pick),
            Some(_) => Err(Invalid::Request("`rate_per_s` is for a replay".to_owned()).into()),
        },
        of_projection: Access::skip_parked_of_projection,
        of_timers: Access::skip_timers,
    };
    decide(call, Operation::SkipParked, decides).await
}

/// What is done, by where it is parked.
#[derive(Clone, Copy)]
struct Decides {
    of_group: fn(&Access, &str, ParkedPick, Option<u32>) -> Result<u64, AppendError>,
    of_projection: fn(&Access, &str, ParkedPick) -> Result<u64, AppendError>,
    of_timers: fn(&Access, Option<&[String]>) -> Result<u64, AppendError>,
}

/// Whose rights count is known when the body is: one of the two has to be there before that is read.
fn may_decide(access: &Access, operation: Operation) -> Result<(), AppendError> {
    if access.may(operation) { Ok(()) } else { access.may_append() }
}

async fn decide(
    mut call: Call,
    operation: Operation,
    decides: Decides,
) -> Result<Response, Problem> {
    let access = call.access()?;
    call.content_type(&[JSON])?;
    may_decide(&access, operation)?;
    let received = call.receive().await?;
    let Pick { source, ids, lane, key, all, rate_per_s } = received.json()?;
    if let Some(ids) = ids.as_ref().filter(|ids| ids.len() > IDS_MAX) {
        let detail = format!("`ids` has {}: at most {IDS_MAX} are allowed", ids.len());
        return Err(Problem::invalid(detail));
    }
    if source == timers::SOURCE {
        let ids = ids.map(|ids| ids.into_iter().map(Cow::into_owned).collect());
        if lane.is_some() || key.is_some() || rate_per_s.is_some() {
            return Err(Problem::invalid("timers have no lanes, no keys, and no rate"));
        }
        let ids = timers::pick(ids, all)?;
        let count = blocking(move || (decides.of_timers)(&access, ids.as_deref())).await?;
        return Ok(json(StatusCode::OK, &Picked { count }));
    }
    access.may_do(operation)?;
    let of = source_of(&source)?;
    let pick = pick_of(ids.as_deref(), lane, key.as_deref(), all)?;
    let count = match of {
        Source::Group(group) => {
            blocking(move || (decides.of_group)(&access, &group, pick, rate_per_s)).await?
        }
        Source::Projection(name) => {
            no_lane_or_rate(lane.is_some(), rate_per_s.is_some())?;
            blocking(move || (decides.of_projection)(&access, &name, pick)).await?
        }
    };
    Ok(json(StatusCode::OK, &Picked { count }))
}

/// `POST /v1/parked/{id}/edit`
pub(crate) async fn edit(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    call.content_type(&[JSON])?;
    may_decide(&access, Operation::EditParked)?;
    let id = call.path("id").to_owned();
    let received = call.receive().await?;
    let Edit { source, data } = received.json()?;
    let data = data.get().as_bytes().to_vec();
    if source == timers::SOURCE {
        let position = blocking(move || access.edit_timer(&id, data.into())).await?;
        return Ok(json(StatusCode::OK, &Edited { position: position.get() }));
    }
    access.may_do(Operation::EditParked)?;
    let (at, of) = (position(&id)?, source_of(&source)?);
    let edited = move || match of {
        Source::Group(group) => access.edit_parked(&group, at, data.into()),
        Source::Projection(name) => access.edit_parked_of_projection(&name, at, data.into()),
    };
    let position = blocking(edited).await?;
    Ok(json(StatusCode::OK, &Edited { position: position.get() }))
}

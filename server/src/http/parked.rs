//! To see what is parked, and to decide about it: events of groups, and timers that failed.

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
    /// Where they are parked: `group:NAME`, or `timers`.
    #[serde(borrow)]
    source: Cow<'a, str>,
    /// These.
    #[serde(default, borrow)]
    ids: Option<Vec<Cow<'a, str>>>,
    /// Those of a lane.
    #[serde(default)]
    lane: Option<u32>,
    /// Those of a key: of the stream of this name, or of this value of what the group keeps order by.
    #[serde(default, borrow)]
    key: Option<Cow<'a, str>>,
    /// All of them.
    #[serde(default)]
    all: Option<bool>,
    /// Of a replay: so many events a second, at most; all at once by default.
    #[serde(default)]
    rate_per_s: Option<u32>,
}

/// What an event is to be instead.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "Edit")]
pub(crate) struct Edit<'a> {
    /// Where it is parked: `group:NAME`, or `timers`.
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
    /// The position of the event that is delivered in place of the other; of a timer, of what armed it anew.
    position: u64,
}

/// The group that a source names.
fn group_of(source: &str) -> Result<&str, Problem> {
    source.strip_prefix("group:").ok_or_else(|| {
        let says = "`source` says where it is parked: `group:NAME`, as in group:mail, or `timers`";
        Problem::invalid(says)
    })
}

fn position(id: &str) -> Result<Position, Problem> {
    id.parse().map(Position::new).map_err(|_| Problem::invalid("no id of what is parked"))
}

/// `GET /v1/parked`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let Some(source) = call.text("source") else {
        let missing = "query parameter `source` is missing: `group:NAME`, or `timers`";
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
    let (source, group) = (source.to_owned(), group_of(source)?.to_owned());
    let list = ParkedList {
        lane: call.parsed("lane")?,
        key: call.text("key").map(str::to_owned),
        waiting: call.flag("waiting")?,
        after: call.text("after").map(position).transpose()?,
        limit,
    };
    let page = blocking(move || access.parked(&group, &list)).await?;
    let parked = page.entries.iter().map(|entry| ParkedEntryJson::new(&source, entry)).collect();
    let next = page.next.map(|next| next.to_string());
    chunks::whole(JSON, &call, bytes_of(&Parked { parked, next }))
}

/// `POST /v1/parked/replay`
pub(crate) async fn replay(call: Call) -> Result<Response, Problem> {
    decide(call, Operation::ReplayParked, Access::replay_parked, Access::replay_timers).await
}

/// `POST /v1/parked/skip`, `POST /v1/parked/purge`
pub(crate) async fn skip(call: Call) -> Result<Response, Problem> {
    let skip = |access: &Access, group: &str, pick, rate: Option<u32>| match rate {
        None => access.skip_parked(group, pick),
        Some(_) => Err(Invalid::Request("`rate_per_s` is for a replay".to_owned()).into()),
    };
    decide(call, Operation::SkipParked, skip, Access::skip_timers).await
}

/// Whose rights count is known when the body is: one of the two has to be there before that is read.
fn may_decide(access: &Access, operation: Operation) -> Result<(), AppendError> {
    if access.may(operation) { Ok(()) } else { access.may_append() }
}

async fn decide(
    mut call: Call,
    operation: Operation,
    decide: impl FnOnce(&Access, &str, ParkedPick, Option<u32>) -> Result<u64, AppendError>
    + Send
    + 'static,
    decide_timers: impl FnOnce(&Access, Option<&[String]>) -> Result<u64, AppendError> + Send + 'static,
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
        let count = blocking(move || decide_timers(&access, ids.as_deref())).await?;
        return Ok(json(StatusCode::OK, &Picked { count }));
    }
    access.may_do(operation)?;
    let group = group_of(&source)?.to_owned();
    let pick = pick_of(ids.as_deref(), lane, key.as_deref(), all)?;
    let count = blocking(move || decide(&access, &group, pick, rate_per_s)).await?;
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
    let (at, group) = (position(&id)?, group_of(&source)?.to_owned());
    let position = blocking(move || access.edit_parked(&group, at, data.into())).await?;
    Ok(json(StatusCode::OK, &Edited { position: position.get() }))
}

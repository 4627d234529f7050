//! To make, see, and change groups, and to consume from them.

use std::borrow::Cow;
use std::time::Duration;

use super::events::named;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nexus_node::telemetry::Operation;
use nexus_node::{Access, DELIVERIES_MAX};
use nexus_protocol::group::{Delivery, DeliveryToken, GroupConfig};
use nexus_protocol::json::{
    AnsweredJson, AppendJson, AppendedJson, DeliveryJson, FailureJson, GroupConfigJson,
    GroupInfoJson, GroupStartJson, LaneJson, RefusedJson, nack_of, tokens_of,
};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::{AppendError, Appended};
use serde::{Deserialize, Serialize};

use super::call::{Call, JSON, blocking, bytes_of, json};
use super::chunks;
use super::problem::Problem;

/// Deliveries of one request, unless it is said.
const DELIVERIES_DEFAULT: usize = 10;
/// The longest time that a request waits for deliveries.
const WAIT_MS_MAX: u64 = 60_000;
/// Bytes of events of one answer, unless one alone has more.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Groups of a page, unless it is said, and at most.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;

/// A page of groups.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Groups")]
pub(crate) struct Groups<'a> {
    /// The groups, by name.
    groups: Vec<GroupInfoJson<'a>>,
    /// What the next page comes after, for `after`; null: there is no more.
    next: Option<&'a str>,
}

/// The lanes of a group that have something to do.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Lanes")]
pub(crate) struct Lanes<'a> {
    /// The lanes, by number.
    lanes: Vec<LaneJson<'a>>,
    /// Always null: all of them are there.
    next: Option<String>,
}

/// Why a group is paused.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default, rename = "NewPause")]
pub(crate) struct NewPause {
    /// For those who find it paused.
    reason: Option<String>,
}

/// Where a group goes on.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Sought")]
pub(crate) struct Sought {
    /// The first position that it looks at.
    position: u64,
}

/// Who wants deliveries, and how many.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "Receive")]
pub(crate) struct Receive {
    /// The consumer: the same one always gets the same lanes, as far as that goes.
    consumer: String,
    /// How many at most, from 1 to 1,000; 10 by default.
    #[serde(default)]
    max: Option<usize>,
    /// Where there is nothing, it waits for something that long, up to a minute, or half the time that a request may
    /// take.
    #[serde(default)]
    wait_ms: Option<u64>,
    /// The version of its schema that each event is shown in: `raw` as it is stored, which is so by default, `latest`, or a
    /// number.
    #[serde(default)]
    as_schema: AsSchema,
}

/// Events for a consumer.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "Deliveries")]
pub(crate) struct Deliveries<'a> {
    /// The deliveries.
    #[serde(borrow)]
    deliveries: Vec<DeliveryJson<'a>>,
}

/// Deliveries that are done.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "Ack")]
pub(crate) struct Ack<'a> {
    /// Whose they are; missing: of whoever has them. A group that broadcasts has to be told.
    #[serde(default, borrow)]
    consumer: Option<Cow<'a, str>>,
    /// Which deliveries.
    #[serde(borrow)]
    tokens: Vec<Cow<'a, str>>,
    /// Appended together with this: both happen, or neither.
    #[serde(default, borrow)]
    append: Option<AppendJson<'a>>,
}

/// Deliveries that are not done.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "NewNack")]
pub(crate) struct NewNack<'a> {
    /// Whose they are; missing: of whoever has them. A group that broadcasts has to be told.
    #[serde(default, borrow)]
    consumer: Option<Cow<'a, str>>,
    /// Which deliveries.
    #[serde(borrow)]
    tokens: Vec<Cow<'a, str>>,
    /// What is to become of their events: `retry`, `park`, `skip`, or `stop`.
    action: String,
    /// With `retry`: when they are delivered again; missing: after the back-off of the group.
    #[serde(default)]
    delay_ms: Option<u64>,
    /// Why.
    #[serde(default)]
    error: Option<FailureJson>,
}

/// Deliveries that take longer.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "Extend")]
pub(crate) struct Extend<'a> {
    /// Whose they are; missing: of whoever has them. A group that broadcasts has to be told.
    #[serde(default, borrow)]
    consumer: Option<Cow<'a, str>>,
    /// Which deliveries.
    #[serde(borrow)]
    tokens: Vec<Cow<'a, str>>,
    /// They are to be answered within this time from now.
    by_ms: u64,
}

/// A consumer that goes.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename = "Leave")]
pub(crate) struct Leave {
    /// Which.
    consumer: String,
}

/// What became of answers that came with an append.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename = "AnsweredWith")]
pub(crate) struct AnsweredWith<'a> {
    /// How many count.
    done: u64,
    /// The others: where there is one, nothing was appended.
    refused: Vec<RefusedJson>,
    /// What was appended with them; missing: there was nothing to append, or an answer does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    appended: Option<AppendedJson<'a>>,
}

/// `PUT /v1/groups/{group}`
pub(crate) async fn set(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_manage_groups()?;
    call.content_type(&[JSON])?;
    let name = call.path("group").to_owned();
    let received = call.receive().await?;
    let config = GroupConfig::try_from(received.json::<GroupConfigJson>()?)?;
    let (made, info) = blocking(move || -> Result<_, AppendError> {
        Ok((access.set_group(&name, &config)?, access.admitted().group(&name)?))
    })
    .await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &GroupInfoJson::from(&info)))
}

/// `GET /v1/groups`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    let limit = call.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let after = call.text("after").unwrap_or_default().to_owned();
    let (infos, next) = blocking(move || -> Result<_, AppendError> {
        let names = access.groups()?;
        let access = access.admitted();
        let mut names = names.into_iter().filter(|name| *name > after);
        let page: Vec<_> = names.by_ref().take(limit).collect();
        let last = page.last().cloned().filter(|_| names.next().is_some());
        // One that was deleted since is none of them any more.
        let infos = page.iter().filter_map(|name| match access.group(name) {
            Err(AppendError::NotFound { .. }) => None,
            info => Some(info),
        });
        Ok((infos.collect::<Result<Vec<_>, _>>()?, last))
    })
    .await?;
    let next = next.as_deref();
    let groups = infos.iter().map(GroupInfoJson::from).collect();
    chunks::whole(JSON, &call, bytes_of(&Groups { groups, next }))
}

/// `GET /v1/groups/{group}`
pub(crate) async fn show(call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("group").to_owned());
    let info = blocking(move || access.group(&name)).await?;
    Ok(json(StatusCode::OK, &GroupInfoJson::from(&info)))
}

/// `GET /v1/groups/{group}/lanes`
pub(crate) async fn lanes(call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("group").to_owned());
    let (_, lanes) = blocking(move || access.group_lanes(&name)).await?;
    let lanes = lanes.iter().map(LaneJson::from).collect();
    chunks::whole(JSON, &call, bytes_of(&Lanes { lanes, next: None }))
}

/// `DELETE /v1/groups/{group}`
pub(crate) async fn delete(call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("group").to_owned());
    blocking(move || access.delete_group(&name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/groups/{group}/pause`
pub(crate) async fn pause(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_do(Operation::PauseGroup)?;
    call.content_type(&[JSON])?;
    let name = call.path("group").to_owned();
    let received = call.receive().await?;
    let pause = match received.bytes.is_empty() {
        true => NewPause::default(),
        false => received.json()?,
    };
    let reason = pause.reason.unwrap_or_default();
    changed(access, name, move |access, name| access.pause_group(name, &reason)).await
}

/// `POST /v1/groups/{group}/resume`
pub(crate) async fn resume(call: Call) -> Result<Response, Problem> {
    let (access, name) = (call.access()?, call.path("group").to_owned());
    changed(access, name, Access::resume_group).await
}

/// Changes a group, and shows it.
async fn changed(
    access: Access,
    name: String,
    change: impl FnOnce(&Access, &str) -> Result<(), AppendError> + Send + 'static,
) -> Result<Response, Problem> {
    let info = blocking(move || {
        change(&access, &name)?;
        access.admitted().group(&name)
    });
    Ok(json(StatusCode::OK, &GroupInfoJson::from(&info.await?)))
}

/// `POST /v1/groups/{group}/seek`
pub(crate) async fn seek(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_do(Operation::SeekGroup)?;
    call.content_type(&[JSON])?;
    let name = call.path("group").to_owned();
    let received = call.receive().await?;
    let to: GroupStartJson = received.json()?;
    let position = blocking(move || access.seek_group(&name, to.into())).await?;
    Ok(json(StatusCode::OK, &Sought { position: position.get() }))
}

/// `POST /v1/groups/{group}/receive`
pub(crate) async fn receive(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_consume()?;
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    let Receive { consumer, max, wait_ms, as_schema } = received.json()?;
    drop(received);
    let max = max.unwrap_or(DELIVERIES_DEFAULT);
    if !(1..=DELIVERIES_MAX).contains(&max) {
        return Err(Problem::invalid(format!("`max` is not from 1 to {DELIVERIES_MAX}")));
    }
    let wait = wait_ms.unwrap_or(0);
    if wait > WAIT_MS_MAX {
        return Err(Problem::invalid(format!("`wait_ms` is not from 0 to {WAIT_MS_MAX}")));
    }
    let wait = Duration::from_millis(wait).min(call.http.limits.request_time / 2);
    let group = call.path("group");
    let handed = access.receive(group, &consumer, max, wait).await?;
    let mut handed = handed.as_schema(as_schema);
    let read = move || {
        let deliveries = handed.next(ANSWER_BYTES)?;
        Ok::<_, AppendError>((deliveries, handed.into_tokens()))
    };
    let (deliveries, left) = blocking(read).await?;
    // What does not fit into one answer is another's, or comes with the next.
    access.give_back(group, &consumer, left).await;
    let names = access.schema_names();
    let of = |delivery| DeliveryJson::of(delivery, |event| named(&names, event));
    let answer = Deliveries { deliveries: deliveries.iter().map(of).collect() };
    let bytes = bytes_of(&answer);
    match chunks::whole(JSON, &call, bytes) {
        Ok(response) => Ok(response),
        Err(problem) => {
            give_back(&access, group, &consumer, &deliveries).await;
            Err(problem)
        }
    }
}

/// What cannot be sent is given to others at once, and does not count as tried.
async fn give_back(access: &Access, group: &str, consumer: &str, deliveries: &[Delivery]) {
    let tokens = deliveries.iter().map(|delivery| delivery.token).collect();
    access.give_back(group, consumer, tokens).await;
}

/// Tokens as they came, at most as many as one answer may have.
pub(super) fn tokens(texts: &[Cow<'_, str>]) -> Result<Vec<DeliveryToken>, Problem> {
    if texts.len() > DELIVERIES_MAX {
        let detail = format!("`tokens` has {}: at most {DELIVERIES_MAX} are allowed", texts.len());
        return Err(Problem::invalid(detail));
    }
    tokens_of(texts).map_err(|why| Problem::invalid(format!("`tokens`: {why}")))
}

/// `POST /v1/groups/{group}/ack`
pub(crate) async fn ack(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_do(Operation::Answer)?;
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    let Ack { consumer, tokens: texts, append } = received.json()?;
    let (tokens, group) = (tokens(&texts)?, call.path("group"));
    let consumer = consumer.as_deref();
    let (answered, appended): (_, Option<Appended>) = match append {
        None => (access.ack(group, consumer, tokens).await?, None),
        Some(append) => access.ack_with(group, consumer, tokens, append.into_append()?).await?,
    };
    let AnsweredJson { done, refused } = (&answered).into();
    let appended = appended.as_ref().map(AppendedJson::from);
    Ok(json(StatusCode::OK, &AnsweredWith { done, refused, appended }))
}

/// `POST /v1/groups/{group}/nack`
pub(crate) async fn nack(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_do(Operation::Answer)?;
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    let NewNack { consumer, tokens: texts, action, delay_ms, error } = received.json()?;
    let nack = nack_of(&action, delay_ms, error)?;
    let (tokens, group) = (tokens(&texts)?, call.path("group"));
    let answered = access.nack(group, consumer.as_deref(), tokens, nack).await?;
    Ok(json(StatusCode::OK, &AnsweredJson::from(&answered)))
}

/// `POST /v1/groups/{group}/extend`
pub(crate) async fn extend(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_do(Operation::Answer)?;
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    let Extend { consumer, tokens: texts, by_ms } = received.json()?;
    let (tokens, group) = (tokens(&texts)?, call.path("group"));
    let by = Duration::from_millis(by_ms);
    let answered = access.extend(group, consumer.as_deref(), tokens, by).await?;
    Ok(json(StatusCode::OK, &AnsweredJson::from(&answered)))
}

/// `POST /v1/groups/{group}/leave`
pub(crate) async fn leave(mut call: Call) -> Result<Response, Problem> {
    let access = call.access()?;
    access.may_consume()?;
    call.content_type(&[JSON])?;
    let received = call.receive().await?;
    let Leave { consumer } = received.json()?;
    access.leave(call.path("group"), &consumer, false).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

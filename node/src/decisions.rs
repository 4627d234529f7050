//! [`Decisions`]: what was decided, on record in the stream `$decisions` of the namespace that it was decided in.
//!
//! On record come denials, decisions whose obligation `log` says so, those that a shadow would have made otherwise, and each
//! read of an earlier time and each use of the break-glass role; all of this once a bundle is active, and the last always.
//! Of denials and of what a shadow says only so many a second are kept, so that nobody fills a disk by asking for what they
//! may not have.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nexus_engine::{Namespace, PendingAppend};
use nexus_policies::{Asked, Decision, Mask, Policies};
use nexus_protocol::policy::{DECISION_MADE, DECISIONS_STREAM, POLICIES_IN_FORCE};
use nexus_protocol::{Append, AppendError, EventData, LogId, Revision, StreamChange};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::policies::State;
use crate::principal::{Principal, now};
use crate::telemetry::Operation;

/// Decisions that are kept in a namespace; older ones go.
const KEPT_MAX: u64 = 100_000;

/// Denials, and decisions of shadows, that are put on record in a second.
const A_SECOND_MAX: u64 = 100;

/// Bytes of an input that is put on record; of a larger one the data of events are left out.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Words in the names of claims whose values are put on no record.
const SECRETS: [&str; 6] = ["secret", "password", "token", "nonce", "hash", "key"];

/// Codes of denials that no rule said.
const UNSAID: [&str; 6] = [
    "no_rule",
    "undecided",
    "rule_failed",
    "not_a_decision",
    "unreadable_event",
    "obligation_not_kept",
];

/// A decision that may come on record.
pub(crate) struct Entry<'a> {
    pub(crate) id: Uuid,
    pub(crate) asked: &'a Asked<'a>,
    pub(crate) operation: Operation,
    pub(crate) policies: &'a Policies,
    pub(crate) decision: &'a Decision,
    /// What another bundle says, where that is not the same.
    pub(crate) shadow: Option<(Revision, &'a Decision)>,
    /// The bundle that decided; `None`: roles did.
    pub(crate) revision: Option<Revision>,
    pub(crate) principal: &'a Principal,
    pub(crate) breaks_glass: bool,
}

/// Whether a decision comes on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    No,
    /// If there is room in this second.
    IfRoom,
    Yes,
    /// And it must be durable before anything is done.
    First,
}

/// The record of decisions.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    bounded: Mutex<HashSet<LogId>>,
    /// The second, and how many came on record in it.
    second: AtomicU64,
    in_second: AtomicU64,
}

impl Decisions {
    /// Puts a decision on record, if it has to be.
    ///
    /// # Errors
    /// Why what has to be on record before it is done is not.
    pub(crate) fn put_on_record(
        &self,
        namespace: &Namespace,
        entry: &Entry<'_>,
    ) -> Result<(), AppendError> {
        let record = match record(entry) {
            Record::IfRoom if !self.has_room() => Record::No,
            record => record,
        };
        if record == Record::No {
            return Ok(());
        }
        let event = EventData::json(DECISION_MADE, &said(entry));
        let event = event.expect("a decision has a JSON form");
        let pending = self.append(namespace, event);
        match (record, pending) {
            (Record::First, pending) => pending?.wait().map(|_| ()),
            // One that has its place goes on by itself; one that has none would be given up.
            (Record::Yes, pending) => match pending? {
                placed if placed.is_placed() => Ok(()),
                waits => waits.wait().map(|_| ()),
            },
            // Where it fails, the log of the node says why appends do.
            (_, pending) => {
                drop(pending);
                Ok(())
            }
        }
    }

    /// Puts on record which bundle decides from here on.
    pub(crate) fn in_force(&self, namespace: &Namespace, state: &State) {
        let of = |it: &Option<crate::policies::InForce>| it.as_ref().map(|it| it.revision.get());
        let said = json!({ "active": of(&state.active), "shadow": of(&state.shadow) });
        let event = EventData::json(POLICIES_IN_FORCE, &said).expect("numbers have a JSON form");
        if let Ok(pending) = self.append(namespace, event) {
            // What it is for is that it is there when readers look.
            drop(pending.wait());
        }
    }

    fn append(
        &self,
        namespace: &Namespace,
        event: EventData,
    ) -> Result<PendingAppend, AppendError> {
        let system = namespace.for_system();
        let log = namespace.log_id();
        let is_bounded = self.bounded().contains(&log);
        // Whoever comes at the same time does it too, which changes nothing.
        if !is_bounded {
            let max_count = Some(KEPT_MAX);
            let info = system.stream_info(DECISIONS_STREAM);
            if !info.is_ok_and(|info| info.limits.max_count == max_count) {
                let change = StreamChange { max_count: Some(max_count), ..Default::default() };
                system.set_stream(DECISIONS_STREAM, change)?;
            }
            self.bounded().insert(log);
        }
        Ok(system.append(Append::to(DECISIONS_STREAM).event(event)))
    }

    fn bounded(&self) -> MutexGuard<'_, HashSet<LogId>> {
        self.bounded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        let second = now().as_micros().unsigned_abs() / 1_000_000;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.in_second.store(0, Ordering::Relaxed);
        }
        self.in_second.fetch_add(1, Ordering::Relaxed) < A_SECOND_MAX
    }
}

fn record(entry: &Entry<'_>) -> Record {
    let is_past = entry.asked.resource.as_of.is_some();
    if entry.breaks_glass {
        return if is_past { Record::First } else { Record::Yes };
    }
    if entry.revision.is_none() && entry.shadow.is_none() {
        return Record::No;
    }
    let allowed = entry.decision.allow;
    if allowed && is_past {
        return Record::First;
    }
    match entry.decision.obligations.log {
        Some(share) if is_sampled(entry.id, share) => Record::Yes,
        Some(_) if entry.shadow.is_none() => Record::No,
        _ if allowed && entry.shadow.is_none() => Record::No,
        _ => Record::IfRoom,
    }
}

/// Whether a decision is one of those that are kept: its id is by chance.
fn is_sampled(id: Uuid, share: f64) -> bool {
    let (_, low) = id.as_u64_pair();
    // The variant takes the highest two bits; 32 of the others are enough.
    let chance = u32::try_from(low & 0xffff_ffff).unwrap_or(u32::MAX);
    f64::from(chance) < share * (f64::from(u32::MAX) + 1.0)
}

/// What stands on record of a decision.
fn said(entry: &Entry<'_>) -> Value {
    let Entry { asked, decision, principal, .. } = entry;
    let resource = asked.resource;
    let mut said = json!({
        "decision_id": entry.id,
        "action": asked.action.as_str(),
        "who": { "id": principal.id, "kind": principal.kind.as_str(), "issuer": principal.issuer },
        "resource": { "stream": resource.stream, "name": resource.name },
        "operation": entry.operation.as_str(),
        "as_of": resource.as_of,
        "allow": decision.allow,
        "reasons": decision.reasons,
        "obligations": obligations(decision),
        "policy_revision": entry.revision,
        "input": input(entry),
    });
    if entry.breaks_glass {
        said["break_glass"] = true.into();
    }
    if let Some((revision, shadow)) = entry.shadow {
        said["shadow"] = json!({
            "policy_revision": revision,
            "allow": shadow.allow,
            "reasons": shadow.reasons,
            "obligations": obligations(shadow),
        });
    }
    said
}

fn obligations(decision: &Decision) -> Value {
    let of = &decision.obligations;
    json!({ "tags_all": of.tags_all, "types_any": of.types_any, "mask": of.mask, "log": of.log })
}

/// The input, to be asked about again: without what is secret or masked.
fn input(entry: &Entry<'_>) -> Value {
    let mut input = entry.policies.input(entry.asked);
    if let Some(claims) = input.pointer_mut("/subject/claims").and_then(Value::as_object_mut) {
        for (name, value) in claims.iter_mut() {
            let name = name.to_ascii_lowercase();
            if SECRETS.iter().any(|secret| name.contains(secret)) {
                *value = "***".into();
            }
        }
    }
    // What no rule said has no mask.
    let is_unmasked = entry.decision.reasons.first().is_some_and(|it| UNSAID.contains(&&*it.code));
    let is_large = is_unmasked || input.to_string().len() > INPUT_BYTES_MAX;
    let mask = &entry.decision.obligations.mask;
    let mask = Mask::new(mask);
    if let Some(events) = input.get_mut("events").and_then(Value::as_array_mut) {
        for event in events.iter_mut() {
            let Some(event) = event.as_object_mut() else { continue };
            let Some(data) = event.remove("data").filter(|_| !is_large) else { continue };
            let masked = mask.apply(data.to_string().as_bytes());
            let masked = masked.and_then(|text| serde_json::from_slice(&text).ok());
            event.insert("data".to_owned(), masked.unwrap_or_default());
        }
    }
    // It cannot be asked about again as it was.
    let has_events = input.get("events").is_some();
    if entry.asked.append.is_some() && (is_large || !has_events) {
        input["without_data"] = true.into();
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_about_what_they_say() {
        let sampled = |share| (0..4000).filter(|_| is_sampled(Uuid::now_v7(), share)).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 4000));
        let quarter = sampled(0.25);
        assert!((800..1200).contains(&quarter), "{quarter}");
    }
}

//! To make, see, change, and look into projections.

use std::collections::BTreeSet;

use bytes::Bytes;
use nexus_delivery::projection::{Access as Tagged, Definition, DefinitionFile, Document};
use nexus_policies::Obligations;
use nexus_protocol::group::{ParkedList, ParkedPage, ParkedPick};
use nexus_protocol::limits::{DEFINITION_BYTES_MAX, DOCUMENT_KEY_BYTES_MAX, PARKED_PAGE_MAX};
use nexus_protocol::projection::{FoundDocument, Lookup, ProjectionChange, ProjectionInfo};
use nexus_protocol::search::{SearchAnswer, SearchHit, SearchRequest};
use nexus_protocol::{AppendError, Invalid, Position, ReadError, TooLarge};
use nexus_search::{SearchedHit, Sight};
use serde_json::{Value, json};

use super::Access;
use super::groups::event_at;
use crate::audit::Audited;
use crate::guard::About;
use crate::projections::{Found, FoundAll, hidden_fields};
use crate::telemetry::{Coded, Operation};

fn invalid(why: impl Into<String>) -> AppendError {
    Invalid::Request(why.into()).into()
}

fn operation_of(change: ProjectionChange) -> Operation {
    match change {
        ProjectionChange::Rebuild => Operation::RebuildProjection,
        ProjectionChange::Switch { .. } => Operation::SwitchProjection,
        ProjectionChange::Pause => Operation::PauseProjection,
        ProjectionChange::Resume => Operation::ResumeProjection,
        ProjectionChange::Delete { .. } => Operation::DeleteProjection,
    }
}

impl Access {
    /// Makes a projection, or gives it a new version, which is folded beside the one that answers until somebody
    /// [switches](ProjectionChange::Switch) to it; `false`: it has this one. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage projections; `Invalid` of a definition that is none, says where, and of another
    /// one with a version that is there; as an append's.
    pub fn set_projection(&self, name: &str, definition: &Value) -> Result<bool, AppendError> {
        let details = json!({ "version": definition.get("version").and_then(Value::as_u64) });
        self.change_projections(Operation::SetProjection, name, Some(details), |namespace| {
            let size = definition.to_string().len();
            if size > DEFINITION_BYTES_MAX {
                let what = "bytes of a definition".into();
                return Err(AppendError::TooLarge(TooLarge {
                    what,
                    size,
                    max: DEFINITION_BYTES_MAX,
                }));
            }
            let file = DefinitionFile::from_json(definition.clone());
            let checked = file.and_then(Definition::new);
            let checked = checked.map_err(|why| invalid(why.to_string()))?;
            if checked.file().name != name {
                let says = &checked.file().name;
                return Err(invalid(format!("name: it says {says:?}, and is put as {name:?}")));
            }
            self.node.projections().set(namespace, &checked)
        })
    }

    /// The names of all projections, sorted.
    ///
    /// # Errors
    /// When the principal may not inspect.
    pub fn projections(&self) -> Result<Vec<String>, AppendError> {
        self.observe(Operation::Projections, About::default(), |namespace| {
            self.node.projections().names(namespace)
        })
    }

    /// How a projection is. Blocks while its documents are opened.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such projection.
    pub fn projection(&self, name: &str) -> Result<ProjectionInfo, AppendError> {
        self.observe(Operation::Projection, About::name(name), |namespace| {
            self.node.projections().info(namespace, name)
        })
    }

    /// Does something to a projection. Blocks until that is durable; what follows from it, as a rebuild, goes on behind it.
    ///
    /// # Errors
    /// When the principal may not manage projections; `NotFound` where there is no such projection, or version; `Invalid`
    /// of a switch to a version that knows less than the one that answers; as an append's.
    pub fn change_projection(
        &self,
        name: &str,
        change: ProjectionChange,
    ) -> Result<(), AppendError> {
        let details = match change {
            ProjectionChange::Switch { version }
            | ProjectionChange::Delete { version: Some(version) } => {
                Some(json!({ "version": version }))
            }
            _ => None,
        };
        self.change_projections(operation_of(change), name, details, |namespace| {
            self.node.projections().change(namespace, name, change)
        })
    }

    /// Whether the principal may manage projections: asked before anything of a request is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_manage_projections(&self) -> Result<(), AppendError> {
        self.guard(Operation::SetProjection, About::beforehand(), self.origin).map(|_| ())
    }

    /// Looks up a document by its key. Blocks until the answer knows of the position that is asked for.
    ///
    /// # Errors
    /// When the principal may not search; `NotFound` where there is no such projection, or no document that it may see;
    /// `NotCaughtUp` where the position was not reached in time.
    pub fn lookup(&self, name: &str, lookup: &Lookup) -> Result<FoundDocument, ReadError> {
        self.observe_events(Operation::Lookup, About::name(name), |namespace, permit| {
            if lookup.key.len() > DOCUMENT_KEY_BYTES_MAX {
                let why = format!("a key has at most {DOCUMENT_KEY_BYTES_MAX} bytes");
                return Err(Invalid::Request(why).into());
            }
            let obligations = permit.obligations();
            let check = |definition: &Definition| {
                obligations.map_or(Ok(()), |obligations| may_look(definition, obligations))
            };
            let of_key = self.node.projections().lookup(namespace, name, lookup, check)?;
            let no_document = || {
                let document = format!("document {:?} of projection {name:?}", lookup.key);
                // Whoever may see only some documents is not told of others.
                let says = of_key.parked && obligations.is_none_or(|it| it.tags_all.is_empty());
                let what = match says {
                    true => format!(
                        "{document} yet: its events are parked, since one could not be folded"
                    ),
                    false => document,
                };
                ReadError::NotFound { what }
            };
            let found = of_key.found.as_ref().ok_or_else(no_document)?;
            let mut document = found.definition.shown(&found.document);
            if let Some(obligations) = obligations {
                if !carries_all(found, obligations) {
                    return Err(no_document());
                }
                let (hidden, _) = hidden_fields(&found.definition, &obligations.mask);
                document.retain(|field, _| !hidden.contains(field.as_str()));
            }
            let end = namespace.head().position.map_or(0, |head| head.get() + 1);
            Ok(FoundDocument {
                key: lookup.key.clone(),
                document,
                position: found.position,
                as_of_position: found.next.previous(),
                lag_events: end.saturating_sub(found.next.get()),
                parked: of_key.parked,
            })
        })
    }

    /// Searches the documents of a projection. Blocks until the answer knows of the position that is asked for.
    ///
    /// # Errors
    /// When the principal may not search; `Invalid` of a search that cannot be right, says where, and of one that takes too
    /// long; `NotFound` where there is no such projection; `NotCaughtUp` where the position was not reached in time.
    pub fn search(&self, name: &str, asked: &SearchRequest) -> Result<SearchAnswer, ReadError> {
        self.observe_events(Operation::Search, About::name(name), |namespace, permit| {
            let obligations = permit.obligations();
            let check = |definition: &Definition| {
                obligations.map_or(Ok(()), |obligations| may_look(definition, obligations))
            };
            let sight = |definition: &Definition| {
                obligations.map_or_else(Sight::default, |obligations| Sight {
                    tags_all: obligations.tags_all.clone(),
                    hidden: {
                        let (hidden, _) = hidden_fields(definition, &obligations.mask);
                        hidden.into_iter().map(str::to_owned).collect()
                    },
                })
            };
            let found = self.node.projections().search((namespace, name), asked, check, sight)?;
            let hidden = sight(&found.definition).hidden;
            let end = namespace.head().position.map_or(0, |head| head.get() + 1);
            let hits = found.searched.hits.iter().zip(&found.documents).map(|hit| {
                found.time.check()?;
                Ok(shown(&found, hit, asked, &hidden))
            });
            Ok(SearchAnswer {
                hits: hits.collect::<Result<_, ReadError>>()?,
                fields: match &asked.fields {
                    Some(fields) => fields.clone(),
                    None => {
                        let all = found.definition.file().fields.keys();
                        all.filter(|field| !hidden.contains(*field)).cloned().collect()
                    }
                },
                total: found.searched.total,
                next: found.searched.next_page.clone(),
                aggs: found.searched.aggs.clone(),
                as_of_position: found.next.previous(),
                lag_events: end.saturating_sub(found.next.get()),
                parked: found.parked,
            })
        })
    }

    /// What is parked of a projection, by position. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such projection.
    pub fn parked_of_projection(
        &self,
        name: &str,
        list: &ParkedList,
    ) -> Result<ParkedPage, AppendError> {
        self.observe(Operation::Parked, About::name(name), |namespace| {
            list.check()?;
            let list = ParkedList { limit: list.limit.min(PARKED_PAGE_MAX), ..list.clone() };
            let (mut entries, more) = self.node.projections().parked(namespace, name, &list)?;
            for entry in &mut entries {
                let event = event_at(namespace, entry.position)?;
                entry.event = event.map(|it| (it.stream().to_owned(), it.event_type().to_owned()));
            }
            let last = entries.last().map(|entry| entry.position);
            Ok(ParkedPage { next: last.filter(|_| more), entries })
        })
    }

    /// Has what is parked of a projection be folded again, but for what has no key: it is too late for that. Gives how many
    /// entries that were.
    ///
    /// # Errors
    /// When the principal may not manage groups and what is parked, or there is no such projection.
    pub fn replay_parked_of_projection(
        &self,
        name: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        let details = Some(details_of(&pick));
        self.change_projections(Operation::ReplayParked, name, details, |namespace| {
            pick.check()?;
            self.node.projections().replay(namespace, name, &pick)
        })
    }

    /// Has what is parked of a projection not be folded, neither now nor when the same version is folded again. Gives how many
    /// entries that were. Blocks until it is durable.
    ///
    /// # Errors
    /// When the principal may not manage groups and what is parked, or there is no such projection; as an append's.
    pub fn skip_parked_of_projection(
        &self,
        name: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        let details = Some(details_of(&pick));
        self.change_projections(Operation::SkipParked, name, details, |namespace| {
            pick.check()?;
            self.node.projections().skip(namespace, name, &pick)
        })
    }

    /// Has what is parked of a projection at a position be folded with other data, which are JSON, now and whenever the same
    /// version is folded again. The event in the log stays as it is. Gives its position. Blocks until it is durable.
    ///
    /// # Errors
    /// When the principal may not manage groups and what is parked, or there is no such projection; `NotFound` where nothing
    /// that failed is parked there; `Invalid` of data that are no JSON, or give the event another key; as an append's.
    pub fn edit_parked_of_projection(
        &self,
        name: &str,
        position: Position,
        data: Bytes,
    ) -> Result<Position, AppendError> {
        let details = Some(json!({ "id": position.get(), "bytes": data.len() }));
        self.change_projections(Operation::EditParked, name, details, |namespace| {
            let what = || format!("entry {position} of projection {name:?}");
            let event = event_at(namespace, position)?;
            let event = event.ok_or_else(|| AppendError::NotFound { what: what() })?;
            let text = std::str::from_utf8(&data).ok();
            let json = text.map(serde_json::from_str::<serde::de::IgnoredAny>);
            if !matches!(json, Some(Ok(_))) {
                return Err(invalid("what an event is folded with is JSON"));
            }
            let list = ParkedList { after: position.previous(), limit: 1, ..ParkedList::default() };
            let (entries, _) = self.node.projections().parked(namespace, name, &list)?;
            if entries.first().is_none_or(|entry| entry.position != position) {
                return Err(AppendError::NotFound { what: what() });
            }
            match self.node.projections().edit(namespace, name, (&event, data))? {
                true => Ok(position),
                false => Err(invalid(format!(
                    "{}: it has to keep its key, since later events of another one are folded already: skip it instead",
                    what()
                ))),
            }
        })
    }

    /// Changes a projection for somebody who may, and puts on record what became of it.
    fn change_projections<T>(
        &self,
        operation: Operation,
        name: &str,
        details: Option<Value>,
        work: impl FnOnce(&nexus_engine::Namespace) -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        self.observe(operation, About::name(name), |namespace| {
            let audited = Audited::new(operation, self.principal());
            let audited = audited.in_namespace(self.namespace()).about(name);
            let audited = match details {
                Some(details) => audited.with(details),
                None => audited,
            };
            let done = work(namespace);
            let failed = done.as_ref().err().map(|error| error as &dyn Coded);
            self.node.put_on_record(self.principal(), audited, failed);
            done
        })
    }
}

fn details_of(pick: &ParkedPick) -> Value {
    match pick {
        ParkedPick::All => json!({ "all": true }),
        ParkedPick::Lane(lane) => json!({ "lane": lane }),
        ParkedPick::Key(_) if pick.check().is_err() => json!({ "key": null }),
        ParkedPick::Key(key) => json!({ "key": key }),
        ParkedPick::Positions(positions) => {
            let some: Vec<_> = positions.iter().take(16).map(|it| it.get()).collect();
            json!({ "count": positions.len(), "ids": some })
        }
    }
}

/// A hit as it is shown: its fields that may be seen, and were asked for.
fn shown(
    found: &FoundAll,
    (hit, document): (&SearchedHit, &Document),
    asked: &SearchRequest,
    hidden: &BTreeSet<String>,
) -> SearchHit {
    let mut document = found.definition.shown(document);
    document.retain(|field, _| !hidden.contains(field));
    let mut highlight = serde_json::Map::new();
    for field in asked.highlight.iter().collect::<BTreeSet<_>>() {
        let texts: Vec<&Value> = match document.get(field) {
            Some(Value::Array(items)) => items.iter().collect(),
            text => text.into_iter().collect(),
        };
        let parts = texts.into_iter().filter_map(Value::as_str);
        let parts: Vec<_> =
            parts.filter_map(|text| found.searched.highlight(field, text)).collect();
        if !parts.is_empty() {
            highlight.insert(field.clone(), parts.into());
        }
    }
    if let Some(fields) = &asked.fields {
        document.retain(|field, _| fields.contains(field));
    }
    SearchHit { key: hit.key.clone(), score: hit.score, document, highlight }
}

/// Whether what is demanded can be told from documents of a definition: asked before it is known whether there is one.
///
/// # Errors
/// `Denied` where it cannot.
fn may_look(definition: &Definition, obligations: &Obligations) -> Result<(), ReadError> {
    let denied = |reason: &str| Err(ReadError::Denied { reason: reason.to_owned(), denial: None });
    if obligations.types_any.is_some() {
        return denied("only events of some types may be seen, and documents come of several");
    }
    if !obligations.tags_all.is_empty() && definition.file().access == Tagged::None {
        return denied(
            "only events with some tags may be seen, and these documents carry none: the definition has to say `access`",
        );
    }
    match hidden_fields(definition, &obligations.mask) {
        (_, true) => denied("the key of these documents is a value that is masked"),
        _ => Ok(()),
    }
}

/// Whether a document carries the tags that are demanded.
fn carries_all(found: &Found, obligations: &Obligations) -> bool {
    let carried: BTreeSet<&str> = found.document.tags().collect();
    obligations.tags_all.iter().all(|tag| carried.contains(tag.as_str()))
}

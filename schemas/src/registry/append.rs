//! Whether the events of an append follow their schemas.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use nexus_protocol::limits::{EVENT_TYPE_BYTES_MAX, SCHEMA_PROBLEMS_MAX, STREAM_NAME_BYTES_MAX};
use nexus_protocol::schema::{
    DataProblem, SchemaProblem, SchemaSettings, SchemaState, Validation, closest,
};
use nexus_protocol::{Append, EventData, RecordedEvent, SchemaId, names};

use super::{Registry, Subject, Version};

/// Pairs of type and category whose subject is kept; with so many they are looked for anew.
const BINDINGS_MAX: usize = 10_000;

/// Which subject events are bound to.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// As far as it was asked for.
    known: RwLock<Known>,
    /// The subjects that are bound by patterns.
    patterned: OnceLock<Vec<Arc<Subject>>>,
}

#[derive(Debug, Default)]
struct Known {
    /// By category and type; `None`: to none.
    subjects: HashMap<String, ByType>,
    count: usize,
}

type ByType = HashMap<String, Option<Arc<Subject>>>;

impl Registry {
    /// Checks the events of an append against the schemas that they are bound to, or that they name. What names none, and
    /// follows the newest of its subject, has that noted in [`EventData::found_schema`]; nothing else of it is changed.
    /// `wide` is what was set for all namespaces.
    ///
    /// Events of the system's streams follow none. Where nothing was registered, nothing is asked of any event.
    ///
    /// # Errors
    /// What is wrong, [`SCHEMA_PROBLEMS_MAX`] things at most.
    pub fn check_append(
        &self,
        append: &mut Append,
        wide: &SchemaSettings,
    ) -> Result<(), Vec<SchemaProblem>> {
        if self.is_empty() {
            return Ok(());
        }
        let (mut problems, mut number) = (Vec::new(), 0);
        for stream in &mut append.streams {
            let is_system = names::is_system(&stream.stream);
            let category = names::category(&stream.stream);
            for event in &mut stream.events {
                let checked = match is_system {
                    true => self.check_id(event.schema),
                    false => self.check_event(event, category, wide),
                };
                match checked {
                    Ok(found) if event.schema == SchemaId::NONE => event.found_schema = found,
                    Ok(_) => {}
                    Err((schema, found)) => {
                        let room = SCHEMA_PROBLEMS_MAX.saturating_sub(problems.len());
                        let found = found.into_iter().take(room);
                        problems.extend(found.map(|problem| SchemaProblem {
                            event: number,
                            schema,
                            problem,
                        }));
                    }
                }
                if problems.len() >= SCHEMA_PROBLEMS_MAX {
                    return Err(problems);
                }
                number += 1;
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The schema that an event follows; [`SchemaId::NONE`]: nothing was asked of it.
    fn check_event(
        &self,
        event: &EventData,
        category: &str,
        wide: &SchemaSettings,
    ) -> Result<SchemaId, (SchemaId, Vec<DataProblem>)> {
        let bound = self.bound(&event.event_type, category);
        let validation = bound.as_ref().map(|it| self.effective(it, wide).validation);
        let wrong = |message: String| (event.schema, vec![of_schema(message)]);
        if validation == Some(Validation::Off) {
            return self.check_id(event.schema);
        }
        let version = if event.schema != SchemaId::NONE {
            Some(self.named(event, bound.as_deref()).map_err(wrong)?)
        } else if let (Some(subject), Some(Validation::Required)) = (&bound, validation) {
            let none = || {
                format!("subject {:?} has no active version: make one active first", subject.name)
            };
            // A subject that was only bound yet, or has only had drafts, asks for nothing: they stand in nobody's way.
            match subject.versions.iter().any(|it| it.was_active) {
                false => None,
                true => Some(&**subject.newest_active().ok_or_else(|| wrong(none()))?),
            }
        } else {
            None
        };
        let Some(version) = version else { return Ok(SchemaId::NONE) };
        let id = version.of.id;
        let compiled = self.ready(version).map_err(|why| wrong(why.to_string()))?;
        let valid = compiled.validate(&event.content_type, &event.data);
        valid.map(|()| id).map_err(|problems| (id, problems))
    }

    /// Where nothing is asked of data: an id that there is not would say something else one day.
    fn check_id(&self, id: SchemaId) -> Result<SchemaId, (SchemaId, Vec<DataProblem>)> {
        match id == SchemaId::NONE || self.by_id.contains_key(&id) {
            true => Ok(SchemaId::NONE),
            false => Err((id, vec![of_schema(no_such_schema(id))])),
        }
    }

    /// The version that an event names, if it may.
    fn named(&self, event: &EventData, bound: Option<&Subject>) -> Result<&Version, String> {
        let id = event.schema;
        let Some(version) = self.by_id.get(&id) else {
            return Err(no_such_schema(id));
        };
        let of = &version.of;
        if let Some(bound) = bound.filter(|it| it.name != of.subject) {
            return Err(format!(
                "schema {} is of subject {:?}, and events of type {:?} are bound to {:?}",
                id.get(),
                of.subject,
                event.event_type,
                bound.name
            ));
        }
        let todo = match of.state {
            SchemaState::Active | SchemaState::Deprecated => return Ok(version),
            SchemaState::Draft => "make it active first",
            SchemaState::Retired => "use a newer version",
        };
        let (version, subject, state) = (of.version, &of.subject, of.state);
        Err(format!("schema {}, version {version} of {subject:?}, is {state}: {todo}", id.get()))
    }

    /// The subject that events of a type and category are bound to: of several the closest one, and of equally close ones the
    /// first by name.
    pub(super) fn bound(&self, event_type: &str, category: &str) -> Option<Arc<Subject>> {
        {
            let known = self.bindings.known.read().unwrap_or_else(PoisonError::into_inner);
            let of_category = known.subjects.get(category);
            if let Some(found) = of_category.and_then(|it| it.get(event_type)) {
                return found.clone();
            }
        }
        let patterned = self.bindings.patterned.get_or_init(|| {
            let all = self.subjects.values().filter(|it| it.settings.is_patterned());
            all.cloned().collect()
        });
        let by_name = self.subjects.get(event_type).filter(|it| !it.settings.is_patterned());
        let all = patterned.iter().chain(by_name);
        let all = all.map(|it| (&*it.name, &it.settings, it));
        let found = closest(all, event_type, category).map(Arc::clone);
        // Names that no event may have are looked at before they are refused, and not kept.
        if event_type.len() > EVENT_TYPE_BYTES_MAX || category.len() > STREAM_NAME_BYTES_MAX {
            return found;
        }
        let mut known = self.bindings.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.count >= BINDINGS_MAX {
            // Those that are asked for come back.
            *known = Known::default();
        }
        let of_category = known.subjects.entry(category.to_owned()).or_default();
        if of_category.insert(event_type.to_owned(), found.clone()).is_none() {
            known.count += 1;
        }
        found
    }

    /// Whether the data of an event that is stored follow the version that it carries, however far that has come. One that
    /// stands before the version was registered does not follow it, whatever it carries.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check_edited(
        &self,
        event: &RecordedEvent,
        content_type: &str,
        data: &[u8],
        wide: &SchemaSettings,
    ) -> Result<(), Vec<SchemaProblem>> {
        let id = event.schema();
        let version = self.by_id.get(&id).filter(|it| it.position < event.position());
        let bound = self.bound(event.event_type(), names::category(event.stream()));
        let off = bound.is_some_and(|it| self.effective(&it, wide).validation == Validation::Off);
        let Some(version) = version.filter(|_| !off) else { return Ok(()) };
        let checked = match self.ready(version) {
            Ok(compiled) => compiled.validate(content_type, data),
            Err(why) => Err(vec![of_schema(why.to_string())]),
        };
        checked.map_err(|problems| {
            let problem = |problem| SchemaProblem { event: 0, schema: id, problem };
            problems.into_iter().take(SCHEMA_PROBLEMS_MAX).map(problem).collect()
        })
    }
}

/// What is wrong with what an event says of its schema, and not with its data.
fn of_schema(message: String) -> DataProblem {
    DataProblem { pointer: String::new(), rule: "schema".into(), message }
}

fn no_such_schema(id: SchemaId) -> String {
    format!("there is no schema {}: register it first", id.get())
}

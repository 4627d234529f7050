//! Whether data of older versions are what they should be in a newer one: tried on an event, changing nothing.

use nexus_protocol::limits::SCHEMA_PROBLEMS_MAX;
use nexus_protocol::schema::{AsSchema, DataProblem, NewSchema, SchemaVersion, pointer_step};
use nexus_protocol::{Position, ReadError, RecordedEvent, SchemaId, Timestamp};
use serde_json::Value;

use super::journal::Entry;
use super::{Registry, RegistryError, Version};

/// What became of an event that was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Into how many parts it was made.
    pub parts: usize,
    /// What is wrong with them: rule `not_converted`, or a rule of the schema that they do not follow.
    pub problems: Vec<DataProblem>,
    /// What is wrong with the way back: rule `no_way_back`, where there is none; `not_contained`, where it says what the event
    /// does not say; or a rule of the older schema that it does not follow.
    pub way_back: Vec<DataProblem>,
}

impl Registry {
    /// With a schema as the next version of a subject, whether or not it goes together with those before: to be tried.
    ///
    /// # Errors
    /// When it is none.
    pub fn with_candidate(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<(Self, u32), RegistryError> {
        let (_, fingerprint) = self.candidate(subject, new)?;
        let before = self.subjects.get(subject).map_or(0, |it| it.versions.len());
        let version = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        let of = SchemaVersion {
            // No event follows it, and no id is higher.
            id: SchemaId::new(u32::MAX),
            subject: subject.to_owned(),
            version,
            format: new.format,
            schema: new.schema.clone(),
            references: new.references.clone(),
            fingerprint,
            state: new.state,
            up: new.up.clone(),
            owner: new.owner.clone(),
            description: new.description.clone(),
            registered_at: Timestamp::from_micros(0),
        };
        let mut with = self.clone();
        (with.bindings, with.ways) = Default::default();
        let entered = with.enter(Entry::Registered(of, Position::new(u64::MAX)));
        entered.map_err(|why| RegistryError::Invalid(nexus_protocol::Invalid::Request(why)))?;
        Ok((with, version))
    }

    /// Tries to show an event in a version of its schema: whether that goes, whether what comes of it follows that version, and
    /// whether the way back leads to nothing that the event does not say.
    pub fn try_on(&self, event: &RecordedEvent, to: u32) -> Tried {
        let mut tried = Tried::default();
        let Some(from) = self.version_of(event) else { return tried };
        let parts = match self.show(event.clone(), AsSchema::Version(to)) {
            Ok(parts) => parts,
            Err(error) => {
                tried.problems.push(not_converted(error));
                return tried;
            }
        };
        tried.parts = parts.len();
        let Some(to) = self.subjects.get(&from.of.subject).and_then(|it| it.version(to)) else {
            return tried;
        };
        for part in &parts {
            self.hold(part, to, &mut tried.problems);
        }
        tried.problems.truncate(SCHEMA_PROBLEMS_MAX);
        match &parts[..] {
            [part] => self.try_back(event, part, from, &mut tried.way_back),
            _ => {
                let way = self.way(to, AsSchema::Version(from.of.version));
                let none = way.err().map(|why| problem("", "no_way_back", why.to_string()));
                tried.way_back.extend(none);
            }
        }
        tried
    }

    fn hold(&self, event: &RecordedEvent, version: &Version, problems: &mut Vec<DataProblem>) {
        match self.ready(version) {
            Ok(compiled) => {
                let valid = compiled.validate(event.content_type(), event.data());
                problems.extend(valid.err().unwrap_or_default());
            }
            Err(why) => problems.push(problem("", "unusable", why.to_string())),
        }
    }

    fn try_back(
        &self,
        event: &RecordedEvent,
        part: &RecordedEvent,
        from: &Version,
        problems: &mut Vec<DataProblem>,
    ) {
        let back = match self.show(part.clone(), AsSchema::Version(from.of.version)) {
            Ok(back) => back,
            Err(error) => {
                let message = not_converted(error).message;
                return problems.push(problem("", "no_way_back", message));
            }
        };
        for back in &back {
            let values = (back.json::<Value>(), event.json::<Value>());
            if let (Ok(back), Ok(event)) = values
                && let Some(pointer) = not_contained(&back, &event)
            {
                let message = "the way back says what the event does not".to_owned();
                problems.push(problem(&pointer, "not_contained", message));
            }
            self.hold(back, from, problems);
        }
        problems.truncate(SCHEMA_PROBLEMS_MAX);
    }
}

fn problem(pointer: &str, rule: &'static str, message: String) -> DataProblem {
    DataProblem { pointer: pointer.to_owned(), rule: rule.into(), message }.bounded()
}

fn not_converted(error: ReadError) -> DataProblem {
    let message = match error {
        ReadError::NotConverted { why, .. } => why,
        error => error.to_string(),
    };
    problem("", "not_converted", message)
}

/// Where a value says what another does not; members and elements that are missing say nothing.
fn not_contained(inner: &Value, outer: &Value) -> Option<String> {
    match (inner, outer) {
        (Value::Object(inner), Value::Object(outer)) => inner.iter().find_map(|(key, value)| {
            let below = match outer.get(key) {
                Some(outer) => not_contained(value, outer)?,
                None => String::new(),
            };
            Some(format!("/{}{below}", pointer_step(key)))
        }),
        (Value::Array(inner), Value::Array(outer)) if inner.len() == outer.len() => {
            let pairs = inner.iter().zip(outer).enumerate();
            pairs.into_iter().find_map(|(index, (inner, outer))| {
                not_contained(inner, outer).map(|below| format!("/{index}{below}"))
            })
        }
        (Value::Number(inner), Value::Number(outer)) => {
            (!same_number(inner, outer)).then(String::new)
        }
        (inner, outer) => (inner != outer).then(String::new),
    }
}

/// Whole numbers exactly, others as floats: `1` and `1.0` are the same.
fn same_number(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_f64() == b.as_f64(),
    }
}

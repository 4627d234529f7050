//! What is asked of the transform of a version, and what it changes in how versions are compared.

use nexus_protocol::Invalid;
use nexus_protocol::schema::{Incompatibility, NewSchema, SchemaFormat, SchemaVersion};

use super::{Registry, RegistryError, Subject};
use crate::SchemaError;
use crate::upcast::Transform;

impl Transform {
    /// That of a version; `None`: data stays as it is. One without operations says no more than none.
    ///
    /// # Errors
    /// As [`Transform::parse`].
    pub(super) fn of(up: &str) -> Result<Option<Self>, SchemaError> {
        if up.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self::parse(up)?).filter(|it| !it.is_empty()))
    }
}

impl Subject {
    /// The versions that stand next to another without a transform between: from the first to before the second. Whoever is
    /// beyond is only ever shown data that was transformed.
    pub(super) fn untransformed(&self, number: u32, has_up: bool) -> (u32, u32) {
        let with_up = || self.versions.iter().filter(|it| it.up.is_some());
        let below = with_up().rev().map(|it| it.of.version).find(|it| *it < number);
        let above = with_up().map(|it| it.of.version).find(|it| *it > number);
        let floor = if has_up { number } else { below.unwrap_or(1) };
        (floor, above.unwrap_or(u32::MAX))
    }
}

impl Subject {
    /// Why readers of the versions from one to before another are not shown data of that one: the versions between, and itself
    /// with its own transform, that have no way back.
    pub(super) fn no_ways_back(
        &self,
        from: u32,
        number: u32,
        up: Option<&Transform>,
    ) -> Vec<Incompatibility> {
        let between = self.versions.iter().filter(|it| from < it.of.version);
        let between = between.filter(|it| it.of.version < number);
        let ups = between.filter_map(|it| Some((it.of.version, it.up.as_deref()?)));
        let ups = ups.chain(up.map(|up| (number, up)));
        ups.filter_map(|(number, up)| no_way_back(up, number)).collect()
    }
}

impl Registry {
    /// Whether the transform that a version is handed in with can be one.
    pub(super) fn check_up(&self, subject: &str, new: &NewSchema) -> Result<(), RegistryError> {
        if new.up.is_empty() || Transform::parse(&new.up).map_err(unusable)?.is_empty() {
            return Ok(());
        }
        if new.format != SchemaFormat::Json {
            let why = format!(
                "operations are for payloads in JSON, and this schema is in {}: its readers know both versions",
                new.format
            );
            return Err(Invalid::Request(why).into());
        }
        if self.subjects.get(subject).is_none_or(|it| it.versions.is_empty()) {
            let why =
                format!("{subject:?} has no version before this one: leave its operations out");
            return Err(Invalid::Request(why).into());
        }
        Ok(())
    }
}

/// Why operations are refused: `up` is where they stand in a request.
fn unusable(error: SchemaError) -> RegistryError {
    match error {
        SchemaError::Malformed { pointer, why } | SchemaError::Refused { pointer, why } => {
            Invalid::Request(format!("the operations cannot be used, at /up{pointer}: {why}"))
                .into()
        }
        error => error.into(),
    }
}

/// Whoever hands in a schema that is there may say nothing of its transform, and nothing else than what is kept.
pub(super) fn same_up(new: &NewSchema, there: &SchemaVersion) -> Result<(), RegistryError> {
    if new.up.is_empty() || Transform::of(&new.up)? == Transform::of(&there.up)? {
        return Ok(());
    }
    let (subject, version) = (&there.subject, there.version);
    let why = format!(
        "{subject:?} has this schema as version {version}, with other operations, and a version never changes: change the \
         schema too"
    );
    Err(Invalid::Request(why).into())
}

/// Readers of the version before are shown data of the new one by the way back.
fn no_way_back(up: &Transform, number: u32) -> Option<Incompatibility> {
    let (index, operation) = up.no_way_back()?;
    Some(Incompatibility {
        pointer: format!("/up/{index}"),
        rule: "no_way_back".into(),
        old: None,
        new: Some(operation.into()),
        version: number.saturating_sub(1),
    })
}

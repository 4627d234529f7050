//! What a schema speaks of, directly or not: all of it is handed in when it is made ready.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use nexus_protocol::TooLarge;
use nexus_protocol::limits::SCHEMA_REFERENCES_MAX;
use nexus_protocol::schema::{SchemaFormat, SchemaReference, SchemaVersion};

use super::Registry;
use crate::{Compiled, Referenced, SchemaError};

/// Makes a schema ready, with all that it speaks of, directly or not, which `fetch` gives.
///
/// # Errors
/// As [`Compiled::new`], and as `fetch`; when one name means two schemas, or there are too many.
pub fn compile_with<V, E>(
    format: SchemaFormat,
    text: &str,
    references: &[SchemaReference],
    mut fetch: impl FnMut(&SchemaReference) -> Result<V, E>,
) -> Result<Compiled, E>
where
    V: Borrow<SchemaVersion>,
    E: From<SchemaError>,
{
    let mut found: BTreeMap<String, V> = BTreeMap::new();
    let mut open = references.to_vec();
    while let Some(reference) = open.pop() {
        if let Some(before) = found.get(&reference.name).map(V::borrow) {
            if (&before.subject, before.version) != (&reference.subject, reference.version) {
                let why = "means two schemas: call one of them otherwise";
                return Err(refused(&reference, why).into());
            }
            continue;
        }
        let (what, max) = ("all that a schema refers to".into(), SCHEMA_REFERENCES_MAX);
        let size = found.len() + 1;
        if size > max {
            return Err(SchemaError::from(TooLarge { what, size, max }).into());
        }
        let version = fetch(&reference)?;
        open.extend_from_slice(&version.borrow().references);
        found.insert(reference.name, version);
    }
    let referenced = found.iter();
    let referenced = referenced.map(|(name, it)| Referenced { name, text: &it.borrow().schema });
    let referenced: Vec<_> = referenced.collect();
    Ok(Compiled::new(format, text, &referenced)?)
}

impl Registry {
    /// Makes a schema ready, with all that it speaks of.
    pub(super) fn compile(
        &self,
        format: SchemaFormat,
        text: &str,
        references: &[SchemaReference],
    ) -> Result<Compiled, SchemaError> {
        compile_with(format, text, references, |it| self.referenced(it, format))
    }

    fn referenced(
        &self,
        reference: &SchemaReference,
        format: SchemaFormat,
    ) -> Result<&SchemaVersion, SchemaError> {
        let subject = self.subjects.get(&reference.subject);
        let version = subject.and_then(|it| it.version(reference.version));
        let Some(version) = version else {
            let SchemaReference { subject, version, .. } = reference;
            let why = format!("is version {version} of {subject:?}, which is not registered");
            return Err(refused(reference, &why));
        };
        if version.of.format != format {
            let why = format!("is a schema in {}, and this one is in {format}", version.of.format);
            return Err(refused(reference, &why));
        }
        Ok(&version.of)
    }
}

fn refused(reference: &SchemaReference, why: &str) -> SchemaError {
    let why = format!("reference {:?} {why}", reference.name);
    SchemaError::Refused { pointer: String::new(), why }
}

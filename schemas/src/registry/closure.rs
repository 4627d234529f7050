//! What a schema speaks of, directly or not: all of it is handed in when it is made ready.

use std::collections::BTreeMap;

use nexus_protocol::TooLarge;
use nexus_protocol::limits::{SCHEMA_CLOSURE_BYTES_MAX, SCHEMA_REFERENCES_MAX};
use nexus_protocol::schema::{SchemaFormat, SchemaReference};

use super::{Registry, Version};
use crate::{Compiled, Referenced, SchemaError};

impl Registry {
    /// Makes a schema ready, with all that it speaks of.
    pub(super) fn compile(
        &self,
        format: SchemaFormat,
        text: &str,
        references: &[SchemaReference],
    ) -> Result<Compiled, SchemaError> {
        let closure = self.closure(format, text, references)?;
        let referenced = closure.into_iter();
        let referenced = referenced.map(|(name, it)| Referenced { name, text: &it.of.schema });
        let referenced: Vec<_> = referenced.collect();
        Compiled::new(format, text, &referenced)
    }

    /// All versions that a schema speaks of, by the names that it, or one of them, calls them.
    fn closure<'a>(
        &'a self,
        format: SchemaFormat,
        text: &str,
        references: &'a [SchemaReference],
    ) -> Result<BTreeMap<&'a str, &'a Version>, SchemaError> {
        let mut found: BTreeMap<&str, &Version> = BTreeMap::new();
        let mut open: Vec<&SchemaReference> = references.iter().collect();
        let mut bytes = text.len();
        while let Some(reference) = open.pop() {
            let version = self.referenced(reference, format)?;
            match found.insert(&reference.name, version) {
                Some(before) if before.of.id != version.of.id => {
                    return Err(refused(
                        reference,
                        "means two schemas: call one of them otherwise",
                    ));
                }
                Some(_) => continue,
                None => {}
            }
            bytes += version.of.schema.len();
            let sizes = [
                ("a schema with all that it refers to, in bytes", bytes, SCHEMA_CLOSURE_BYTES_MAX),
                ("all that a schema refers to", found.len(), SCHEMA_REFERENCES_MAX),
            ];
            for (what, size, max) in sizes {
                if size > max {
                    return Err(TooLarge { what: what.into(), size, max }.into());
                }
            }
            open.extend(&version.of.references);
        }
        Ok(found)
    }

    fn referenced(
        &self,
        reference: &SchemaReference,
        format: SchemaFormat,
    ) -> Result<&Version, SchemaError> {
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
        Ok(version)
    }
}

fn refused(reference: &SchemaReference, why: &str) -> SchemaError {
    let why = format!("reference {:?} {why}", reference.name);
    SchemaError::Refused { pointer: String::new(), why }
}

//! To register, try, and see schemas, and to say how strictly they are kept.

use nexus_engine::Namespace;
use nexus_protocol::json::SettingsChangeJson;
use nexus_protocol::limits::SUBJECTS_PAGE_MAX;
use nexus_protocol::schema::{
    EffectiveSettings, Incompatibility, NewSchema, SchemaState, SchemaVersion, SettingsChange,
    SettingsOf, SubjectInfo, VersionPick, check_subject,
};
use nexus_protocol::{AppendError, SchemaId};
use nexus_schemas::{Change, Registering};
use serde_json::json;

use super::Access;
use crate::audit::Audited;
use crate::guard::About;
use crate::schemas::{Schemas, refused};
use crate::telemetry::{Coded, Operation};

/// Bytes of a page of subjects, beyond which no further one comes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// About how many bytes a subject has in an answer.
fn bytes_of(subject: &SubjectInfo) -> usize {
    let SubjectInfo { subject: name, versions, settings, .. } = subject;
    let patterns = settings.types.iter().chain(&settings.categories);
    let patterns: usize = patterns.map(|it| it.as_str().len() + 16).sum();
    let texts = name.len() + settings.owner.len() + settings.description.len();
    texts + patterns + 64 * versions.len() + 256
}

fn no_subject(subject: &str) -> AppendError {
    AppendError::NotFound { what: format!("subject {subject:?}: register a schema for it first") }
}

impl Access {
    /// Registers a schema under a subject; `true`: it is a new version, and `false`: that schema was there. Blocks until
    /// it is durable.
    ///
    /// # Errors
    /// When the principal may not manage schemas; `Invalid` and `TooLarge` of what is no schema; `Incompatible` with the
    /// versions before it; as an append's.
    pub fn register_schema(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<(SchemaVersion, bool), AppendError> {
        let details = json!({ "format": new.format.as_str(), "state": new.state.as_str() });
        self.change_schemas(Operation::RegisterSchema, subject, details, |namespace, schemas| {
            let wide = schemas.wide()?;
            let (registry, said) = schemas.change(namespace, |registry| {
                match registry.register(subject, new, &wide).map_err(refused)? {
                    Registering::There(version) => Ok((None, Err(version))),
                    Registering::New { event, compiled } => Ok((Some(*event), Ok(compiled))),
                }
            })?;
            let compiled = match said {
                Ok(compiled) => compiled,
                Err(there) => return Ok((*there, false)),
            };
            let newest = registry.revision().and_then(|it| u32::try_from(it.get() + 1).ok());
            let made = newest.and_then(|id| registry.by_id(SchemaId::new(id)));
            let made = made.ok_or(AppendError::Unknown)?.clone();
            registry.keep(made.id, *compiled);
            Ok((made, true))
        })
    }

    /// Whether a schema could be registered under a subject: what stands in the way.
    ///
    /// # Errors
    /// When the principal may not inspect; `Invalid` and `TooLarge` of what is no schema.
    pub fn check_schema(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<Vec<Incompatibility>, AppendError> {
        self.observe(Operation::CheckSchema, About::name(subject), |namespace| {
            let schemas = self.node.schemas();
            let registry = schemas.registry(namespace)?;
            registry.check(subject, new, &schemas.wide()?).map_err(refused)
        })
    }

    /// Subjects by name, those after `after`; at most `limit`, and [`SUBJECTS_PAGE_MAX`], and about 4 MiB: fewer may come
    /// though there are more, and none where there are not.
    ///
    /// # Errors
    /// When the principal may not inspect.
    pub fn subjects(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<SubjectInfo>, AppendError> {
        self.observe(Operation::Schemas, About::default(), |namespace| {
            let schemas = self.node.schemas();
            let (registry, wide) = (schemas.registry(namespace)?, schemas.wide()?);
            let mut bytes = 0;
            let page = registry.subjects(after, &wide).take(limit.min(SUBJECTS_PAGE_MAX));
            let page = page.take_while(|subject| {
                let fits = bytes < PAGE_BYTES;
                bytes += bytes_of(subject);
                fits
            });
            Ok(page.collect())
        })
    }

    /// A subject, with its versions.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such subject.
    pub fn subject(&self, subject: &str) -> Result<SubjectInfo, AppendError> {
        self.observe(Operation::Schemas, About::name(subject), |namespace| {
            let schemas = self.node.schemas();
            let (registry, wide) = (schemas.registry(namespace)?, schemas.wide()?);
            registry.subject(subject, &wide).ok_or_else(|| no_subject(subject))
        })
    }

    /// A version of a subject.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such version.
    pub fn schema(&self, subject: &str, pick: VersionPick) -> Result<SchemaVersion, AppendError> {
        self.observe(Operation::Schema, About::name(subject), |namespace| {
            let registry = self.node.schemas().registry(namespace)?;
            let found = registry.version(subject, pick).cloned();
            found.ok_or_else(|| match pick {
                VersionPick::Latest => no_subject(subject),
                VersionPick::Number(number) => {
                    let what =
                        format!("version {number} of subject {subject:?}: list its versions");
                    AppendError::NotFound { what }
                }
            })
        })
    }

    /// The version with this id.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such version.
    pub fn schema_by_id(&self, id: SchemaId) -> Result<SchemaVersion, AppendError> {
        self.observe(Operation::Schema, About::default(), |namespace| {
            let registry = self.node.schemas().registry(namespace)?;
            let none = || {
                let what = format!("schema {}: ids are those of this namespace", id.get());
                AppendError::NotFound { what }
            };
            registry.by_id(id).cloned().ok_or_else(none)
        })
    }

    /// Sets how far a version has come. Blocks until it is durable.
    ///
    /// # Errors
    /// When the principal may not manage schemas, or there is no such version; `Invalid` where it cannot go there;
    /// `Incompatible` of a draft that would be active; as an append's.
    pub fn set_schema_state(
        &self,
        subject: &str,
        version: u32,
        state: SchemaState,
    ) -> Result<SchemaVersion, AppendError> {
        let details = json!({ "version": version, "state": state.as_str() });
        self.change_schemas(Operation::SetSchemaState, subject, details, |namespace, schemas| {
            let wide = schemas.wide()?;
            let (registry, ()) = schemas.change(namespace, |registry| {
                let change = registry.set_state(subject, version, state, &wide).map_err(refused)?;
                Ok((event_of(change), ()))
            })?;
            let found = registry.version(subject, VersionPick::Number(version));
            found.cloned().ok_or(AppendError::Unknown)
        })
    }

    /// Changes what holds for a subject, for the namespace, or for all of them. Blocks until it is durable. What holds
    /// then; of a namespace, or all of them, as a subject without a name.
    ///
    /// # Errors
    /// When the principal may not manage schemas; `Invalid` and `TooLarge` of what cannot be set; as an append's.
    pub fn set_schema_settings(
        &self,
        of: &SettingsOf,
        change: &SettingsChange,
    ) -> Result<SubjectInfo, AppendError> {
        let subject = match of {
            SettingsOf::Subject(subject) => Some(subject.as_str()),
            SettingsOf::Namespace | SettingsOf::Global => None,
        };
        let about = subject.unwrap_or_default();
        let details = serde_json::to_value(SettingsChangeJson::from(change)).unwrap_or_default();
        if *of == SettingsOf::Global {
            // They are no namespace's own: whoever may here need not there.
            let (asker, about) = (self.scope.asker(), About::default());
            let allowed = self.node.guard(asker, None, Operation::SetSchemaSettings, &about);
            allowed.map_err(AppendError::from)?;
        }
        self.change_schemas(Operation::SetSchemaSettings, about, details, |namespace, schemas| {
            let system;
            let namespace = match of {
                SettingsOf::Global => {
                    system = self.node.audit_stream().namespace()?;
                    &system
                }
                _ => namespace,
            };
            schemas.change(namespace, |registry| {
                let change = registry.set_settings(subject, change.clone()).map_err(refused)?;
                Ok((event_of(change), ()))
            })?;
            self.settings_of(of)
        })
    }

    /// What holds for a subject, for the namespace, or for all of them; of the last two as a subject without a name.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such subject.
    pub fn schema_settings(&self, of: &SettingsOf) -> Result<SubjectInfo, AppendError> {
        self.observe(Operation::Schemas, About::default(), |_| self.settings_of(of))
    }

    fn settings_of(&self, of: &SettingsOf) -> Result<SubjectInfo, AppendError> {
        let schemas = self.node.schemas();
        let (registry, wide) = (schemas.registry(&self.namespace)?, schemas.wide()?);
        let (settings, effective) = match of {
            SettingsOf::Subject(subject) => {
                return registry.subject(subject, &wide).ok_or_else(|| no_subject(subject));
            }
            SettingsOf::Namespace => {
                let settings = registry.settings().clone();
                let effective = EffectiveSettings::of([&settings, &wide]);
                (settings, effective)
            }
            SettingsOf::Global => (wide.clone(), EffectiveSettings::of([&wide])),
        };
        let (subject, format, versions) = (String::new(), None, Vec::new());
        Ok(SubjectInfo { subject, format, versions, settings, effective })
    }

    /// Whether the principal may manage schemas: asked before anything of a request is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_manage_schemas(&self, operation: Operation) -> Result<(), AppendError> {
        self.guard(operation, About::beforehand(), self.origin).map(|_| ())
    }

    /// Changes schemas for somebody who may, and puts on record what became of it.
    fn change_schemas<T>(
        &self,
        operation: Operation,
        subject: &str,
        details: serde_json::Value,
        work: impl FnOnce(&Namespace, &Schemas) -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        self.observe(operation, About::name(subject), |namespace| {
            if !subject.is_empty() {
                check_subject(subject)?;
            }
            let audited = Audited::new(operation, self.principal());
            let audited = audited.in_namespace(self.namespace()).about(subject).with(details);
            let done = work(namespace, self.node.schemas());
            let failed = done.as_ref().err().map(|error| error as &dyn Coded);
            self.node.put_on_record(self.principal(), audited, failed);
            done
        })
    }
}

fn event_of(change: Change) -> Option<nexus_protocol::EventData> {
    match change {
        Change::There => None,
        Change::New(event) => Some(*event),
    }
}

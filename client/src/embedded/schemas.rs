//! Schemas of a store in this process.

use nexus_protocol::schema::{
    Incompatibility, NewSchema, SchemaState, SchemaVersion, SettingsChange, SettingsOf,
    SubjectInfo, VersionPick,
};
use nexus_protocol::{AppendError, SchemaId};

use super::Embedded;

impl Embedded {
    pub(crate) async fn register_schema(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<(SchemaVersion, bool), AppendError> {
        let new = new.clone();
        self.blocking(subject, move |access, subject| access.register_schema(subject, &new)).await
    }

    pub(crate) async fn check_schema(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<Vec<Incompatibility>, AppendError> {
        let new = new.clone();
        self.blocking(subject, move |access, subject| access.check_schema(subject, &new)).await
    }

    pub(crate) async fn subjects(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<SubjectInfo>, AppendError> {
        let after = after.map(str::to_owned);
        self.blocking("", move |access, _| access.subjects(after.as_deref(), limit)).await
    }

    pub(crate) async fn subject(&self, subject: &str) -> Result<SubjectInfo, AppendError> {
        self.blocking(subject, |access, subject| access.subject(subject)).await
    }

    pub(crate) async fn schema(
        &self,
        subject: &str,
        pick: VersionPick,
    ) -> Result<SchemaVersion, AppendError> {
        self.blocking(subject, move |access, subject| access.schema(subject, pick)).await
    }

    pub(crate) async fn schema_by_id(&self, id: SchemaId) -> Result<SchemaVersion, AppendError> {
        self.blocking("", move |access, _| access.schema_by_id(id)).await
    }

    pub(crate) async fn set_schema_state(
        &self,
        subject: &str,
        version: u32,
        state: SchemaState,
    ) -> Result<SchemaVersion, AppendError> {
        let set = move |access: &nexus_node::Access, subject: &str| {
            access.set_schema_state(subject, version, state)
        };
        self.blocking(subject, set).await
    }

    pub(crate) async fn set_schema_settings(
        &self,
        of: &SettingsOf,
        change: &SettingsChange,
    ) -> Result<SubjectInfo, AppendError> {
        let (of, change) = (of.clone(), change.clone());
        self.blocking("", move |access, _| access.set_schema_settings(&of, &change)).await
    }

    pub(crate) async fn schema_settings(
        &self,
        of: &SettingsOf,
    ) -> Result<SubjectInfo, AppendError> {
        let of = of.clone();
        self.blocking("", move |access, _| access.schema_settings(&of)).await
    }
}

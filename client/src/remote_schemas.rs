//! Schemas behind a server.

use bytes::Bytes;
use nexus_protocol::schema::{
    Incompatibility, NewSchema, SchemaState, SchemaVersion, SettingsChange, SettingsOf,
    SubjectInfo, VersionPick,
};
use nexus_protocol::wire::{Answer, Operation, SchemaAsk, WireError};
use nexus_protocol::{AppendError, SchemaId};

use crate::ask::{protocol, unread};
use crate::remote::Remote;

fn another() -> AppendError {
    unread(protocol("another answer"))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn malformed(why: WireError) -> AppendError {
    unread(protocol(&why.to_string()))
}

/// An answer that cannot be read says nothing of whether it happened.
fn unknown(_: AppendError) -> AppendError {
    AppendError::Unknown
}

fn about(subject: &str, ask: SchemaAsk) -> Operation {
    Operation::Schema { subject: subject.to_owned(), ask: Box::new(ask) }
}

/// The subject of settings, and whether they are those of all namespaces.
fn named(of: &SettingsOf) -> (&str, bool) {
    match of {
        SettingsOf::Subject(subject) => (subject, false),
        SettingsOf::Namespace => ("", false),
        SettingsOf::Global => ("", true),
    }
}

fn subject_of(answer: Answer) -> Result<SubjectInfo, AppendError> {
    match answer {
        Answer::Subject(head) => (*head).try_into().map_err(malformed),
        _ => Err(another()),
    }
}

fn version_of(answer: Answer) -> Result<(SchemaVersion, bool), AppendError> {
    match answer {
        Answer::Schema { version, made } => Ok(((*version).try_into().map_err(malformed)?, made)),
        _ => Err(another()),
    }
}

impl Remote {
    pub(crate) async fn register_schema(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<(SchemaVersion, bool), AppendError> {
        let operation = about(subject, SchemaAsk::Register(new.into()));
        version_of(self.change(operation, Bytes::new()).await?).map_err(unknown)
    }

    pub(crate) async fn check_schema(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<Vec<Incompatibility>, AppendError> {
        match self.ask_twice(about(subject, SchemaAsk::Check(new.into()))).await?.0 {
            Answer::SchemaCheck(found) => Ok(found.into_iter().map(Into::into).collect()),
            _ => Err(another()),
        }
    }

    pub(crate) async fn subjects(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<SubjectInfo>, AppendError> {
        let (after, limit) = (after.map(str::to_owned), u32::try_from(limit).unwrap_or(u32::MAX));
        match self.ask_twice(about("", SchemaAsk::Subjects { after, limit })).await?.0 {
            Answer::Subjects(page) => {
                page.into_iter().map(|it| it.try_into().map_err(malformed)).collect()
            }
            _ => Err(another()),
        }
    }

    pub(crate) async fn subject(&self, subject: &str) -> Result<SubjectInfo, AppendError> {
        subject_of(self.ask_twice(about(subject, SchemaAsk::Subject)).await?.0)
    }

    pub(crate) async fn schema(
        &self,
        subject: &str,
        pick: VersionPick,
    ) -> Result<SchemaVersion, AppendError> {
        let number = match pick {
            VersionPick::Latest => None,
            VersionPick::Number(number) => Some(number),
        };
        let answer = self.ask_twice(about(subject, SchemaAsk::Version(number))).await?.0;
        version_of(answer).map(|(version, _)| version)
    }

    pub(crate) async fn schema_by_id(&self, id: SchemaId) -> Result<SchemaVersion, AppendError> {
        let answer = self.ask_twice(about("", SchemaAsk::ById(id.get()))).await?.0;
        version_of(answer).map(|(version, _)| version)
    }

    pub(crate) async fn set_schema_state(
        &self,
        subject: &str,
        version: u32,
        state: SchemaState,
    ) -> Result<SchemaVersion, AppendError> {
        let ask = SchemaAsk::SetState { version, state: state.to_string() };
        let answer = self.change(about(subject, ask), Bytes::new()).await?;
        version_of(answer).map(|(version, _)| version).map_err(unknown)
    }

    pub(crate) async fn set_schema_settings(
        &self,
        of: &SettingsOf,
        change: &SettingsChange,
    ) -> Result<SubjectInfo, AppendError> {
        let (subject, global) = named(of);
        let ask = SchemaAsk::SetSettings { change: change.into(), global };
        subject_of(self.change(about(subject, ask), Bytes::new()).await?).map_err(unknown)
    }

    pub(crate) async fn schema_settings(
        &self,
        of: &SettingsOf,
    ) -> Result<SubjectInfo, AppendError> {
        let (subject, global) = named(of);
        subject_of(self.ask_twice(about(subject, SchemaAsk::Settings { global })).await?.0)
    }
}

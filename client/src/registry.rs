//! Schemas: what payloads have to look like, in which versions, and how strictly that is kept.

use nexus_protocol::AppendError;
use nexus_protocol::SchemaId;
use nexus_protocol::schema::{
    Incompatibility, NewSchema, SchemaState, SchemaVersion, SettingsChange, SettingsOf,
    SubjectInfo, VersionPick,
};

use crate::client::{Client, Reach, reach};

impl Client {
    /// Registers a schema as the next version of a subject; `true`: it is new, and `false`: the subject had this schema
    /// already. It is durable when it is answered, and from then on events of the type that the subject is bound to
    /// have to follow it: by default those whose type is the subject's name.
    ///
    /// ```
    /// # #[cfg(feature = "embedded")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use nexus_protocol::schema::{NewSchema, SchemaFormat};
    /// use nexus_protocol::{Append, AppendError, EventData, EventStore};
    /// use serde_json::json;
    ///
    /// let client = nexus_client::connect("memory:").await?;
    /// let schema = json!({
    ///     "type": "object",
    ///     "properties": { "total_cents": { "type": "integer", "minimum": 0 } },
    ///     "required": ["total_cents"],
    /// });
    /// let new = NewSchema::new(SchemaFormat::Json, schema.to_string());
    /// let (first, made) = client.register_schema("OrderPlaced", &new).await?;
    /// assert_eq!((first.version, made), (1, true));
    ///
    /// let wrong = EventData::json("OrderPlaced", &json!({ "total_cents": -1 }))?;
    /// let refused = client.append(Append::to("order-1").event(wrong)).await;
    /// let Err(AppendError::SchemaInvalid(problems)) = refused else { panic!("{refused:?}") };
    /// assert_eq!(problems[0].problem.pointer, "/total_cents");
    /// assert_eq!(problems[0].problem.rule, "minimum");
    /// # client.close().await?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "embedded"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// `Invalid` and `TooLarge` of what is no schema; `Incompatible` with the versions before it; as [`AppendError`] says,
    /// `Unknown` where it may have happened: registered again, it is the same version.
    pub async fn register_schema(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<(SchemaVersion, bool), AppendError> {
        let run = async { reach!(self, there => there.register_schema(subject, new).await) };
        self.asked("register schema", run).await
    }

    /// What stands in the way of registering a schema; nothing: it could be.
    ///
    /// # Errors
    /// `Invalid` and `TooLarge` of what is no schema; as [`AppendError`] says.
    pub async fn check_schema(
        &self,
        subject: &str,
        new: &NewSchema,
    ) -> Result<Vec<Incompatibility>, AppendError> {
        let run = async { reach!(self, there => there.check_schema(subject, new).await) };
        self.asked("check schema", run).await
    }

    /// Subjects by name, those after `after`: at most `limit`, and
    /// [`SUBJECTS_PAGE_MAX`](nexus_protocol::limits::SUBJECTS_PAGE_MAX). Fewer than that may come, and none where there are
    /// no more.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn subjects(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<SubjectInfo>, AppendError> {
        let run = async { reach!(self, there => there.subjects(after, limit).await) };
        self.asked("subjects", run).await
    }

    /// A subject, with its versions and settings.
    ///
    /// # Errors
    /// `NotFound` where there is none; as [`AppendError`] says.
    pub async fn subject(&self, subject: &str) -> Result<SubjectInfo, AppendError> {
        let run = async { reach!(self, there => there.subject(subject).await) };
        self.asked("subject", run).await
    }

    /// A version of a subject.
    ///
    /// # Errors
    /// `NotFound` where there is none; as [`AppendError`] says.
    pub async fn schema(
        &self,
        subject: &str,
        pick: VersionPick,
    ) -> Result<SchemaVersion, AppendError> {
        let run = async { reach!(self, there => there.schema(subject, pick).await) };
        self.asked("schema", run).await
    }

    /// The version that events with this schema id follow.
    ///
    /// # Errors
    /// `NotFound` where there is none; as [`AppendError`] says.
    pub async fn schema_by_id(&self, id: SchemaId) -> Result<SchemaVersion, AppendError> {
        let run = async { reach!(self, there => there.schema_by_id(id).await) };
        self.asked("schema by id", run).await
    }

    /// Sets how far a version has come: a draft is made active, an active one deprecated or retired. It is durable when
    /// it is answered.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Invalid` where it cannot go there; `Incompatible` of a draft that would be active;
    /// as [`AppendError`] says, `Unknown` where it may have happened.
    pub async fn set_schema_state(
        &self,
        subject: &str,
        version: u32,
        state: SchemaState,
    ) -> Result<SchemaVersion, AppendError> {
        let run =
            async { reach!(self, there => there.set_schema_state(subject, version, state).await) };
        self.asked("set schema state", run).await
    }

    /// Changes what holds for a subject, for the namespace, or for all of them; what holds then. It is durable when it is
    /// answered.
    ///
    /// # Errors
    /// `Invalid` and `TooLarge` of what cannot be set; as [`AppendError`] says, `Unknown` where it may have happened.
    pub async fn set_schema_settings(
        &self,
        of: &SettingsOf,
        change: &SettingsChange,
    ) -> Result<SubjectInfo, AppendError> {
        let run = async { reach!(self, there => there.set_schema_settings(of, change).await) };
        self.asked("set schema settings", run).await
    }

    /// What holds for a subject, for the namespace, or for all of them; of the last two as a subject without a name.
    ///
    /// # Errors
    /// `NotFound` where there is no such subject; as [`AppendError`] says.
    pub async fn schema_settings(&self, of: &SettingsOf) -> Result<SubjectInfo, AppendError> {
        let run = async { reach!(self, there => there.schema_settings(of).await) };
        self.asked("schema settings", run).await
    }

    /// This namespace with lifts of data in Rust, which are run here, where events are read: an
    /// [`EventStore`](nexus_protocol::EventStore), and what [`Consumer::upcasting`](crate::Consumer::upcasting) takes.
    #[cfg(feature = "schemas")]
    pub fn upcasting(&self, upcasters: nexus_schemas::Upcasters) -> nexus_schemas::Upcasting<Self> {
        nexus_schemas::Upcasting::over(self.clone(), upcasters)
    }

    /// Adds a lift of data in Rust to a store in this process, for all that is read from it from now on: in all namespaces,
    /// in reads, subscriptions, and groups.
    ///
    /// # Errors
    /// When it leads nowhere, or from where another leads; of a server, which has none: see [`Client::upcasting`].
    #[cfg(all(feature = "schemas", feature = "embedded"))]
    pub fn add_upcaster(
        &self,
        upcaster: impl nexus_schemas::Upcaster,
    ) -> Result<(), nexus_protocol::Invalid> {
        match &self.reach {
            Reach::Embedded(embedded) => embedded.add_upcaster(upcaster),
            Reach::Remote(_) => {
                let why = "a server has no lifts in Rust: read by `Client::upcasting`, which has them here";
                Err(nexus_protocol::Invalid::Request(why.to_owned()))
            }
        }
    }
}

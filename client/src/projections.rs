//! Projections: to make, see, and steer them, to look documents up, and to decide about what they have parked.

use bytes::Bytes;
use nexus_protocol::group::{ParkedList, ParkedPage, ParkedPick};
use nexus_protocol::projection::{FoundDocument, Lookup, ProjectionChange, ProjectionInfo};
use nexus_protocol::search::{SearchAnswer, SearchRequest};
use nexus_protocol::{AppendError, Position, ReadError};
use serde_json::Value;

use crate::client::{Client, Reach, reach};
use crate::groups::check_pick;

impl Client {
    /// Makes a projection, or gives one that is there another version, which is folded beside the one that answers until
    /// somebody [switches](ProjectionChange::Switch) to it; `true`: that version was not there. It is durable when it is
    /// answered, and what is there may not be folded yet: ask for a document with [`Lookup::min_position`].
    ///
    /// ```
    /// # #[cfg(feature = "embedded")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use nexus_protocol::projection::Lookup;
    /// use nexus_protocol::{Append, EventData};
    /// use serde_json::json;
    ///
    /// let client = nexus_client::connect("memory:").await?;
    /// let totals = json!({
    ///     "name": "totals",
    ///     "version": 1,
    ///     "filter": {"categories": ["order"]},
    ///     "key": "/stream",
    ///     "sink": "kv",
    ///     "fields": {"total_cents": {"type": "i64", "fold": "add", "from": "/data/total_cents"}},
    /// });
    /// assert!(client.set_projection("totals", &totals).await?);
    /// let placed = EventData::json("OrderPlaced", &json!({"total_cents": 250}))?;
    /// let appended = client.append(Append::to("order-1").event(placed)).await?;
    /// let min_position = appended.positions.map(|(_, last)| last);
    /// let lookup = Lookup { key: "order-1".to_owned(), min_position, timeout_ms: None };
    /// let found = client.lookup("totals", &lookup).await?;
    /// assert_eq!(found.document["total_cents"], 250);
    /// # client.close().await?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "embedded"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// `Invalid` of a name or a definition that no projection can have, and of a version that is there with another
    /// definition; `TooLarge` of a definition that is over its limit; as [`AppendError`] says, `Unknown` where it may have
    /// happened.
    pub async fn set_projection(
        &self,
        name: &str,
        definition: &Value,
    ) -> Result<bool, AppendError> {
        let set = async { reach!(self, there => there.set_projection(name, definition).await) };
        self.asked("set projection", set).await
    }

    /// The names of all projections, sorted.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn projections(&self) -> Result<Vec<String>, AppendError> {
        let names = async { reach!(self, there => there.projections().await) };
        self.asked("projections", names).await
    }

    /// How a projection is.
    ///
    /// # Errors
    /// `NotFound` where there is none of this name; as [`AppendError`] says.
    pub async fn projection(&self, name: &str) -> Result<ProjectionInfo, AppendError> {
        let info = async { reach!(self, there => there.projection(name).await) };
        self.asked("projection", info).await
    }

    /// Lets a projection be folded again, have another version answer, pause, go on, or end. It is durable when it is
    /// answered; what is folded again takes its time after that.
    ///
    /// # Errors
    /// As [`Client::projection`]; `NotFound` also of a version that is not there; `Invalid` of what cannot be done with it
    /// as it is; `Unknown` where it may have happened.
    pub async fn change_projection(
        &self,
        name: &str,
        change: ProjectionChange,
    ) -> Result<(), AppendError> {
        let changed = async { reach!(self, there => there.change_projection(name, change).await) };
        self.asked("change projection", changed).await
    }

    /// A document by its key. With [`Lookup::min_position`] it is waited for that the projection has come there: from a
    /// server at most half as long as an answer of it is waited for.
    ///
    /// # Errors
    /// `NotFound` where there is no such projection, or no such document; `NotCaughtUp` where the projection has not come
    /// so far in time; as [`ReadError`] says.
    pub async fn lookup(&self, name: &str, lookup: &Lookup) -> Result<FoundDocument, ReadError> {
        self.asked("lookup", async { reach!(self, there => there.lookup(name, lookup).await) })
            .await
    }

    /// Documents by what is in them: by a query in the query language or as a tree, in an order, page by page, and what is
    /// counted and summed up over them. As fresh as [`Client::lookup`].
    ///
    /// # Errors
    /// `Invalid` of a search that cannot be right, and of a projection that keeps its documents by key alone; `NotFound`
    /// where there is no such projection; `NotCaughtUp` where it has not come so far in time; as [`ReadError`] says.
    pub async fn search(
        &self,
        name: &str,
        request: &SearchRequest,
    ) -> Result<SearchAnswer, ReadError> {
        self.asked("search", async { reach!(self, there => there.search(name, request).await) })
            .await
    }

    /// What a projection has parked, at most a thousand entries: go on after [`ParkedPage::next`].
    ///
    /// # Errors
    /// As [`Client::projection`].
    pub async fn parked_of_projection(
        &self,
        name: &str,
        list: &ParkedList,
    ) -> Result<ParkedPage, AppendError> {
        let page = async { reach!(self, there => there.parked_of_projection(name, list).await) };
        self.asked("parked of projection", page).await
    }

    /// Lets what is parked be folded again; gives how many entries there were. At most
    /// [`DELIVERIES_MAX`](nexus_protocol::limits::DELIVERIES_MAX) are named at a time, and none by a lane: a projection
    /// keeps order by its documents' keys.
    ///
    /// # Errors
    /// As [`Client::change_projection`]; `TooLarge` where too many are named.
    pub async fn replay_parked_of_projection(
        &self,
        name: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        check_pick(&pick)?;
        let replayed =
            async { reach!(self, there => there.replay_parked_of_projection(name, pick).await) };
        self.asked("replay parked of projection", replayed).await
    }

    /// Gives up what is parked: the documents are what they would be without it. Gives how many entries there were.
    ///
    /// # Errors
    /// As [`Client::replay_parked_of_projection`].
    pub async fn skip_parked_of_projection(
        &self,
        name: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        check_pick(&pick)?;
        let skipped =
            async { reach!(self, there => there.skip_parked_of_projection(name, pick).await) };
        self.asked("skip parked of projection", skipped).await
    }

    /// Lets what is parked at a position be folded with other data, which are JSON, now and whenever this version is folded
    /// again. The event in the log stays as it is. Gives its position.
    ///
    /// # Errors
    /// As [`Client::change_projection`]; `NotFound` also where nothing that failed is parked there; `Invalid` of data that
    /// are no JSON, or give the event another key.
    pub async fn edit_parked_of_projection(
        &self,
        name: &str,
        at: Position,
        data: Bytes,
    ) -> Result<Position, AppendError> {
        let edited =
            async { reach!(self, there => there.edit_parked_of_projection(name, at, data).await) };
        self.asked("edit parked of projection", edited).await
    }
}

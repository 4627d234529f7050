//! Projections of a store in this process.

use bytes::Bytes;
use nexus_node::Access;
use nexus_protocol::group::{ParkedList, ParkedPage, ParkedPick};
use nexus_protocol::projection::{FoundDocument, Lookup, ProjectionChange, ProjectionInfo};
use nexus_protocol::search::{SearchAnswer, SearchRequest};
use nexus_protocol::{AppendError, Position, ReadError};
use serde_json::Value;

use super::Embedded;

impl Embedded {
    pub(crate) async fn set_projection(
        &self,
        name: &str,
        definition: &Value,
    ) -> Result<bool, AppendError> {
        let definition = definition.clone();
        self.blocking(name, move |access, name| access.set_projection(name, &definition)).await
    }

    pub(crate) async fn projections(&self) -> Result<Vec<String>, AppendError> {
        self.blocking("", |access, _| access.projections()).await
    }

    pub(crate) async fn projection(&self, name: &str) -> Result<ProjectionInfo, AppendError> {
        self.blocking(name, Access::projection).await
    }

    pub(crate) async fn change_projection(
        &self,
        name: &str,
        change: ProjectionChange,
    ) -> Result<(), AppendError> {
        self.blocking(name, move |access, name| access.change_projection(name, change)).await
    }

    pub(crate) async fn lookup(
        &self,
        name: &str,
        lookup: &Lookup,
    ) -> Result<FoundDocument, ReadError> {
        let (name, lookup) = (name.to_owned(), lookup.clone());
        self.look(move |access| access.lookup(&name, &lookup)).await
    }

    pub(crate) async fn search(
        &self,
        name: &str,
        request: &SearchRequest,
    ) -> Result<SearchAnswer, ReadError> {
        let (name, request) = (name.to_owned(), request.clone());
        self.look(move |access| access.search(&name, &request)).await
    }

    pub(crate) async fn parked_of_projection(
        &self,
        name: &str,
        list: &ParkedList,
    ) -> Result<ParkedPage, AppendError> {
        let list = list.clone();
        self.blocking(name, move |access, name| access.parked_of_projection(name, &list)).await
    }

    pub(crate) async fn replay_parked_of_projection(
        &self,
        name: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        self.blocking(name, move |access, name| access.replay_parked_of_projection(name, pick))
            .await
    }

    pub(crate) async fn skip_parked_of_projection(
        &self,
        name: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        self.blocking(name, move |access, name| access.skip_parked_of_projection(name, pick)).await
    }

    pub(crate) async fn edit_parked_of_projection(
        &self,
        name: &str,
        at: Position,
        data: Bytes,
    ) -> Result<Position, AppendError> {
        let edit =
            move |access: &Access, name: &str| access.edit_parked_of_projection(name, at, data);
        self.blocking(name, edit).await
    }
}

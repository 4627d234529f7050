//! Projections behind a server.

use std::time::Duration;

use bytes::Bytes;
use nexus_protocol::group::{ParkedList, ParkedPage, ParkedPick};
use nexus_protocol::limits::{LOOKUP_WAIT_MS_DEFAULT, LOOKUP_WAIT_MS_MAX};
use nexus_protocol::projection::{FoundDocument, Lookup, ProjectionChange, ProjectionInfo};
use nexus_protocol::search::{SearchAnswer, SearchRequest};
use nexus_protocol::wire::{Answer, Operation, ProjectionAsk, WireError};
use nexus_protocol::{AppendError, Position, ReadError};
use serde_json::Value;

use crate::ask::{answer_of, protocol, unread};
use crate::remote::Remote;

fn another() -> AppendError {
    unread(protocol("another answer"))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn malformed(why: WireError) -> ReadError {
    protocol(&why.to_string())
}

fn about(projection: &str, ask: ProjectionAsk) -> Operation {
    Operation::Projection { projection: projection.to_owned(), ask: Box::new(ask) }
}

/// A lookup that a server answers before nobody waits for it any more. What is longer than any server waits is for that to
/// refuse.
fn in_time(lookup: &Lookup, timeout: Duration) -> Lookup {
    Lookup { timeout_ms: Some(wait_ms(lookup.timeout_ms, timeout)), ..lookup.clone() }
}

fn wait_ms(asked: Option<u64>, timeout: Duration) -> u64 {
    let most = u64::try_from(timeout.as_millis() / 2).unwrap_or(u64::MAX);
    match asked.unwrap_or(LOOKUP_WAIT_MS_DEFAULT) {
        wait @ 0..=LOOKUP_WAIT_MS_MAX => wait.min(most),
        wait => wait,
    }
}

impl Remote {
    async fn change_of(
        &self,
        name: &str,
        ask: ProjectionAsk,
        payload: Bytes,
    ) -> Result<Answer, AppendError> {
        self.change(about(name, ask), payload).await
    }

    pub(crate) async fn set_projection(
        &self,
        name: &str,
        definition: &Value,
    ) -> Result<bool, AppendError> {
        let ask = ProjectionAsk::set(definition)?;
        match self.change_of(name, ask, Bytes::new()).await? {
            Answer::ProjectionSet { made } => Ok(made),
            // What cannot be read says nothing of whether it happened.
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn projections(&self) -> Result<Vec<String>, AppendError> {
        match self.ask_twice(about("", ProjectionAsk::Names)).await?.0 {
            Answer::Projections(names) => Ok(names),
            _ => Err(another()),
        }
    }

    pub(crate) async fn projection(&self, name: &str) -> Result<ProjectionInfo, AppendError> {
        match self.ask_twice(about(name, ProjectionAsk::Info)).await?.0 {
            Answer::Projection(head) => (*head).try_into().map_err(|why| unread(malformed(why))),
            _ => Err(another()),
        }
    }

    pub(crate) async fn change_projection(
        &self,
        name: &str,
        change: ProjectionChange,
    ) -> Result<(), AppendError> {
        match self.change_of(name, ProjectionAsk::Change(change.into()), Bytes::new()).await? {
            Answer::Done => Ok(()),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn lookup(
        &self,
        name: &str,
        lookup: &Lookup,
    ) -> Result<FoundDocument, ReadError> {
        let lookup = in_time(lookup, self.timeout());
        let packet = self.ask_packet(about(name, ProjectionAsk::Lookup((&lookup).into()))).await?;
        match answer_of(&packet)? {
            Answer::Document(head) => head.with_fields(&packet.payload).map_err(malformed),
            _ => Err(protocol("another answer")),
        }
    }

    pub(crate) async fn search(
        &self,
        name: &str,
        request: &SearchRequest,
    ) -> Result<SearchAnswer, ReadError> {
        let timeout_ms = Some(wait_ms(request.timeout_ms, self.timeout()));
        let ask = ProjectionAsk::search(&SearchRequest { timeout_ms, ..request.clone() })?;
        let packet = self.ask_packet(about(name, ask)).await?;
        match answer_of(&packet)? {
            Answer::Found => {
                serde_json::from_slice(&packet.payload).map_err(|why| protocol(&why.to_string()))
            }
            _ => Err(protocol("another answer")),
        }
    }

    pub(crate) async fn parked_of_projection(
        &self,
        name: &str,
        list: &ParkedList,
    ) -> Result<ParkedPage, AppendError> {
        match self.ask_twice(about(name, ProjectionAsk::parked(list))).await?.0 {
            Answer::Parked(page) => Ok(page.into()),
            _ => Err(another()),
        }
    }

    pub(crate) async fn replay_parked_of_projection(
        &self,
        name: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        self.decide_of(name, ProjectionAsk::Replay((&pick).into())).await
    }

    pub(crate) async fn skip_parked_of_projection(
        &self,
        name: &str,
        pick: ParkedPick,
    ) -> Result<u64, AppendError> {
        self.decide_of(name, ProjectionAsk::Skip((&pick).into())).await
    }

    async fn decide_of(&self, name: &str, ask: ProjectionAsk) -> Result<u64, AppendError> {
        match self.change_of(name, ask, Bytes::new()).await? {
            Answer::Count(count) => Ok(count),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn edit_parked_of_projection(
        &self,
        name: &str,
        at: Position,
        data: Bytes,
    ) -> Result<Position, AppendError> {
        match self.change_of(name, ProjectionAsk::Edit { position: at.get() }, data).await? {
            Answer::Position(position) => Ok(Position::new(position)),
            _ => Err(AppendError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_waits_for_no_longer_than_its_client() {
        for (asked, timeout_s, wanted) in [
            (None, 30, LOOKUP_WAIT_MS_DEFAULT),
            (None, 4, 2_000),
            (Some(0), 30, 0),
            (Some(20_000), 30, 15_000),
            (Some(LOOKUP_WAIT_MS_MAX), 300, LOOKUP_WAIT_MS_MAX),
            (Some(LOOKUP_WAIT_MS_MAX + 1), 30, LOOKUP_WAIT_MS_MAX + 1),
        ] {
            let lookup = Lookup { timeout_ms: asked, ..Lookup::default() };
            let asked = in_time(&lookup, Duration::from_secs(timeout_s));
            assert_eq!(asked, Lookup { timeout_ms: Some(wanted), ..lookup });
        }
    }
}

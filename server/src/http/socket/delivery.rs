//! What a channel delivers: events within its credit, and markers, each a frame with a token.

use axum::extract::ws::Utf8Bytes;
use nexus_node::{Access, SchemaNames};
use nexus_protocol::{EventJson, Lineage, ReadError, SubscriptionItem};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::super::events::{named, token, token_or_none};
use super::super::problem::Problem;
use super::said::Id;
use super::{Last, Out, PING_EVERY, frame};
use crate::feed::{Feed, Items, credit_left};

/// What a channel's task needs.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) id: Id,
    pub(super) access: Access,
    pub(super) lineage: Lineage,
    pub(super) out: Out,
}

impl Delivery {
    /// Delivers as long as there is credit, and somebody reads.
    pub(super) async fn run(self, feed: Feed, credits: watch::Receiver<u64>) -> Last {
        self.deliver(feed, credits).await.err().map(|error| {
            let revoked =
                matches!(error, ReadError::Unauthenticated { .. } | ReadError::Denied { .. });
            let kind = if revoked { "revoked" } else { "error" };
            let problem = Problem::from(error).json();
            frame(&json!({"id": self.id, "frame": kind, "problem": problem}))
        })
    }

    async fn deliver(
        &self,
        mut feed: Feed,
        mut credits: watch::Receiver<u64>,
    ) -> Result<(), ReadError> {
        let mut delivered = 0;
        loop {
            let Some(credit) = credit_left(&self.access, &mut credits, delivered).await? else {
                return Ok(());
            };
            let items = {
                let mut next = std::pin::pin!(feed.next::<Items>(credit));
                loop {
                    tokio::select! {
                        items = &mut next => break items?.items,
                        () = tokio::time::sleep(PING_EVERY) => self.access.may_still_read()?,
                    }
                }
            };
            let names = self.access.schema_names();
            for item in &items {
                delivered += u64::from(item.ends_event());
                if self.out.send(self.frame(item, &names)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn frame(&self, item: &SubscriptionItem, names: &SchemaNames) -> Utf8Bytes {
        let marker = |name, position: Option<_>| {
            let token = token_or_none(self.lineage, position);
            frame(&json!({"id": self.id, "frame": name, "token": token, "position": position}))
        };
        match item {
            SubscriptionItem::Event(event) => {
                // Whoever comes back in the middle of its parts gets them all again.
                let is_whole = !event.has_more_parts();
                let token = is_whole.then(|| token(self.lineage, event.position()));
                let event = named(names, event);
                let frame = EventFrame { id: &self.id, frame: "event", token, event };
                serde_json::to_string(&frame).expect("an event has a JSON form").into()
            }
            SubscriptionItem::CaughtUp { position } => marker("caught_up", *position),
            SubscriptionItem::FellBehind { position } => marker("fell_behind", *position),
            SubscriptionItem::Checkpoint { position } => marker("checkpoint", Some(*position)),
        }
    }
}

/// An event on its way.
#[derive(Debug, Serialize)]
struct EventFrame<'a> {
    id: &'a Id,
    frame: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    event: EventJson<'a>,
}

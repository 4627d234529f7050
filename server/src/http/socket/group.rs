//! A channel of a consumer: deliveries within its credit, and what became of the client's answers to them.

use std::sync::Arc;

use super::super::events::named;
use axum::extract::ws::Utf8Bytes;
use nexus_protocol::group::Delivery;
use nexus_protocol::json::{AnsweredJson, AppendedJson, DeliveryJson, EventJson, RefusedJson};
use nexus_protocol::{AppendError, Timestamp};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinSet;

use super::super::call::UnderWay;
use super::super::problem::Problem;
use super::said::Id;
use super::{Out, frame};
use crate::consumers::{
    Answering, Consuming, LAST_ANSWERS_TIME, Outcome, Seated, Taker, Unsent, closing,
};
use crate::door::Door;

/// Deliveries that are taken from the group at a time: a client that does not read holds so many in memory.
const DELIVERIES_AT_A_TIME: u64 = 64;

/// What the client says to a channel.
#[derive(Debug)]
pub(super) enum Heard {
    /// Answers to deliveries, the number that the client gave them, and their place among those under way.
    Answers(Option<u64>, Answering, OwnedSemaphorePermit),
    /// It wants no more.
    Close,
    /// The server goes.
    Closing,
}

/// How a channel ends.
#[derive(Debug)]
enum Ended {
    /// The client has said all.
    Left,
    /// The client is gone, or takes nothing.
    Lost,
    /// It may not go on, or the server closes.
    Told(AppendError),
    /// Another session has the name.
    Superseded,
}

/// A channel of a consumer.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: Id,
    pub(super) consuming: Consuming,
    pub(super) out: Out,
}

impl Taker for Channel {
    async fn take(&self, deliveries: &[Delivery]) -> Result<(), Unsent> {
        for delivery in deliveries {
            self.out.send(self.event(delivery)).await.map_err(|_| Unsent::Gone)?;
        }
        Ok(())
    }
}

impl Channel {
    /// Serves the client until it wants no more; gives the last frame. However that ends, what it said before is decided,
    /// and then the consumer goes. The server waits for that, where it closes.
    pub(super) async fn run(
        self,
        door: &Door,
        credits: watch::Receiver<u64>,
        mut heard: mpsc::UnboundedReceiver<Heard>,
        under_way: UnderWay,
    ) -> Option<Utf8Bytes> {
        let this = Arc::new(self);
        let mut deciding = JoinSet::new();
        let (seated, ended) = match this.consuming.seat(&door.consumers).await {
            Ok(mut seated) => {
                let ended = this.serve(credits, &mut heard, &mut deciding, &mut seated).await;
                (Some(seated), ended)
            }
            Err(superseded) => (None, Ended::Told(superseded)),
        };
        heard.close();
        while let Ok(last) = heard.try_recv() {
            if let Heard::Answers(seq, answering, place) = last {
                this.decide(seq, answering, place, &mut deciding);
            }
        }
        let decided = async { while deciding.join_next().await.is_some() {} };
        // Nobody is told any more after the last frame. All is decided nevertheless.
        let _ = tokio::time::timeout(LAST_ANSWERS_TIME, decided).await;
        deciding.shutdown().await;
        if seated.is_some() {
            this.consuming.end(matches!(ended, Ended::Lost | Ended::Superseded)).await;
        }
        drop((seated, under_way));
        match ended {
            Ended::Lost => None,
            Ended::Left => Some(frame(&json!({"id": this.id, "frame": "closed"}))),
            Ended::Told(error) => Some(this.told(error)),
            Ended::Superseded => Some(this.told(this.consuming.superseded())),
        }
    }

    async fn serve(
        self: &Arc<Self>,
        mut credits: watch::Receiver<u64>,
        heard: &mut mpsc::UnboundedReceiver<Heard>,
        deciding: &mut JoinSet<()>,
        seated: &mut Seated,
    ) -> Ended {
        let mut delivering =
            Box::pin(self.consuming.deliver(&mut credits, DELIVERIES_AT_A_TIME, &**self));
        let mut takes = true;
        loop {
            tokio::select! {
                over = &mut delivering, if takes => match over {
                    // What the socket heard last says whether it is lost.
                    Ok(()) => takes = false,
                    Err(error) => return Ended::Told(error),
                },
                heard = heard.recv() => match heard {
                    Some(Heard::Answers(seq, answering, place)) => {
                        self.decide(seq, answering, place, deciding);
                    }
                    Some(Heard::Close) => return Ended::Left,
                    Some(Heard::Closing) => return Ended::Told(closing()),
                    None => return Ended::Lost,
                },
                Some(_) = deciding.join_next() => {}
                () = seated.superseded() => return Ended::Superseded,
            }
        }
    }

    /// Has answers decided, and the client told what became of them.
    fn decide(
        self: &Arc<Self>,
        seq: Option<u64>,
        answering: Answering,
        place: OwnedSemaphorePermit,
        deciding: &mut JoinSet<()>,
    ) {
        let this = Arc::clone(self);
        let decided = tokio::spawn(async move {
            let outcome = this.consuming.decide(answering).await;
            (this.answered(seq, outcome), place)
        });
        let out = self.out.clone();
        deciding.spawn(async move {
            if let Ok((answered, _place)) = decided.await {
                let _ = out.send(answered).await;
            }
        });
    }

    /// Why the channel ends.
    fn told(&self, error: AppendError) -> Utf8Bytes {
        let revoked =
            matches!(error, AppendError::Unauthenticated { .. } | AppendError::Denied { .. });
        let kind = if revoked { "revoked" } else { "error" };
        let problem = Problem::from(error).json();
        frame(&json!({"id": self.id, "frame": kind, "problem": problem}))
    }

    fn event(&self, delivery: &Delivery) -> Utf8Bytes {
        let names = self.consuming.schema_names();
        let delivery = DeliveryJson::of(delivery, |event| named(&names, event));
        let DeliveryJson { token, attempt, lane, deadline, event, parts } = delivery;
        let (id, frame) = (&self.id, "event");
        let frame = DeliveryFrame { id, frame, token, attempt, lane, deadline, event, parts };
        serde_json::to_string(&frame).expect("an event has a JSON form").into()
    }

    fn answered(&self, seq: Option<u64>, outcome: Outcome) -> Utf8Bytes {
        let (answered, appended) = match outcome {
            Ok(answered) => answered,
            Err(error) => {
                let problem = Problem::from(error).json();
                let refused =
                    json!({"id": self.id, "frame": "error", "seq": seq, "problem": problem});
                return frame(&refused);
            }
        };
        let AnsweredJson { done, refused } = (&answered).into();
        let appended = appended.as_ref().map(AppendedJson::from);
        let frame = AnsweredFrame { id: &self.id, frame: "answered", seq, done, refused, appended };
        serde_json::to_string(&frame).expect("an answer has a JSON form").into()
    }
}

/// An event for a consumer.
#[derive(Debug, Serialize)]
struct DeliveryFrame<'a> {
    id: &'a Id,
    frame: &'static str,
    token: String,
    attempt: u32,
    lane: u32,
    deadline: Timestamp,
    event: EventJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<EventJson<'a>>>,
}

/// What became of answers.
#[derive(Debug, Serialize)]
struct AnsweredFrame<'a> {
    id: &'a Id,
    frame: &'static str,
    seq: Option<u64>,
    done: u64,
    refused: Vec<RefusedJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appended: Option<AppendedJson<'a>>,
}

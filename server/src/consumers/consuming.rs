//! What every session of a consumer does, whatever it speaks: deliveries are taken from the group as long as there is
//! credit, and what the client says of them is decided.

use std::time::Duration;

use nexus_node::SchemaNames;
use nexus_node::{Access, DELIVERIES_MAX};
use nexus_protocol::group::{
    Answered, Delivery, DeliveryToken, check_consumer, check_group, own_group_parts,
};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::wire::Said;
use nexus_protocol::{Append, AppendError, Appended, Invalid, Unavailable};
use tokio::sync::watch;

use super::{Consumers, Seated};

/// Bytes of events that are handed on at a time, unless one alone has more.
pub(crate) const DELIVERIES_BYTES: usize = 256 * 1024;
/// So long what was received is decided before the consumer goes all the same.
pub(crate) const LAST_ANSWERS_TIME: Duration = Duration::from_secs(5);
/// So long a group is asked at a time.
const ASK_TIME: Duration = Duration::from_secs(30);

/// What became of answers.
pub(crate) type Outcome = Result<(Answered, Option<Appended>), AppendError>;

/// What a client says of deliveries.
#[derive(Debug)]
pub(crate) enum Answering {
    /// This, of each of them.
    Plain(Vec<DeliveryToken>, Said),
    /// That they are done, together with an append.
    With(Vec<DeliveryToken>, Append),
}

/// Why deliveries were not sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unsent {
    /// The client is gone, or does not take them.
    Gone,
    /// There was no memory for them.
    NoMemory,
}

/// Where deliveries go.
pub(crate) trait Taker: Sync {
    /// Sends some, in their turn.
    fn take(&self, deliveries: &[Delivery]) -> impl Future<Output = Result<(), Unsent>> + Send;
}

/// A consumer that has begun.
#[derive(Debug)]
pub(crate) struct Consuming {
    access: Access,
    group: String,
    consumer: String,
    as_schema: AsSchema,
}

impl Consuming {
    /// With events in this version of their schemas.
    pub(crate) fn showing(mut self, as_schema: AsSchema) -> Self {
        self.as_schema = as_schema;
        self
    }

    /// # Errors
    /// When the principal may not consume, or one of the names is none.
    pub(crate) fn new(
        access: Access,
        group: String,
        consumer: String,
    ) -> Result<Self, AppendError> {
        check_group(&group)?;
        check_consumer(&consumer)?;
        access.may_consume()?;
        Ok(Self { access, group, consumer, as_schema: AsSchema::Raw })
    }

    /// What the schemas of its events are called.
    pub(crate) fn schema_names(&self) -> SchemaNames {
        self.access.schema_names()
    }

    /// Waits for its place, as [`Consumers::take`] does.
    ///
    /// # Errors
    /// As [`Self::superseded`] where a newer session came meanwhile.
    pub(crate) async fn seat(&self, consumers: &Consumers) -> Result<Seated, AppendError> {
        // By whichever name its group is called, it is one consumer.
        let shared = own_group_parts(&self.group).map_or(&*self.group, |(shared, _)| shared);
        let seated = consumers.take(self.access.namespace(), shared, &self.consumer).await;
        seated.ok_or_else(|| self.superseded())
    }

    /// Why a session ends whose name another has.
    pub(crate) fn superseded(&self) -> AppendError {
        let why = format!(
            "another session of consumer {:?} has begun: give each consumer a name of its own",
            self.consumer
        );
        Invalid::Request(why).into()
    }

    /// Delivers as long as there is credit, at most `max` at a time. `credits` is all that was ever given. `Ok`: the
    /// client takes nothing any more.
    ///
    /// # Errors
    /// When the principal may consume no more, or there is no such group; as reads.
    pub(crate) async fn deliver(
        &self,
        credits: &mut watch::Receiver<u64>,
        max: u64,
        taker: &impl Taker,
    ) -> Result<(), AppendError> {
        let mut used = 0;
        // A session is one request: what it asks a group after counts no more.
        let mut access = self.access.clone();
        loop {
            let Some(credit) = self.credit_left(credits, used).await? else {
                return std::future::pending().await;
            };
            let max = usize::try_from(credit.min(max)).unwrap_or(DELIVERIES_MAX);
            let wait = access.time_left().map_or(ASK_TIME, |left| left.min(ASK_TIME));
            let received = access.receive(&self.group, &self.consumer, max, wait).await?;
            let mut received = received.as_schema(self.as_schema);
            access = access.admitted();
            access.may_consume()?;
            while !received.is_empty() {
                let deliveries = if received.is_in_memory() {
                    received.next(DELIVERIES_BYTES)?
                } else {
                    let read = move || {
                        let deliveries = received.next(DELIVERIES_BYTES);
                        deliveries.map(|deliveries| (received, deliveries))
                    };
                    let read = tokio::task::spawn_blocking(read).await;
                    let (rest, deliveries) = read.expect("reading does not panic")?;
                    received = rest;
                    deliveries
                };
                if deliveries.is_empty() {
                    continue;
                }
                used += deliveries.len() as u64;
                match taker.take(&deliveries).await {
                    Ok(()) => {}
                    Err(Unsent::Gone) => return Ok(()),
                    // It is not the consumer's fault, and nothing of it counts as tried.
                    Err(Unsent::NoMemory) => return Err(no_memory()),
                }
            }
        }
    }

    /// Waits until there is more credit than was used, and gives what is left of it; `None`: no more will come. A
    /// consumer that gives none is told all the same when it may be one no longer.
    async fn credit_left(
        &self,
        credits: &mut watch::Receiver<u64>,
        used: u64,
    ) -> Result<Option<u64>, AppendError> {
        loop {
            let time = self.access.time_left().map_or(ASK_TIME, |left| left.min(ASK_TIME));
            let over = tokio::time::sleep(time);
            tokio::select! {
                total = credits.wait_for(|total| *total > used) => {
                    return Ok(total.ok().map(|total| *total - used));
                }
                () = over => self.access.clone().admitted().may_consume()?,
            }
        }
    }

    /// Decides what a client says.
    pub(crate) async fn decide(&self, answering: Answering) -> Outcome {
        let access = self.access.anew();
        let access = access.as_ref().unwrap_or(&self.access);
        let (group, consumer) = (&*self.group, Some(&*self.consumer));
        match answering {
            Answering::With(tokens, append) => {
                access.ack_with(group, consumer, tokens, append).await
            }
            Answering::Plain(tokens, said) => {
                let answered = match said {
                    Said::Ack => access.ack(group, consumer, tokens).await,
                    Said::Nack(nack) => access.nack(group, consumer, tokens, nack).await,
                    Said::Extend(by) => access.extend(group, consumer, tokens, by).await,
                };
                answered.map(|answered| (answered, None))
            }
        }
    }

    /// Lets the consumer go: the others have at once what it did not answer. `lost`: that counts as tried.
    pub(crate) async fn end(&self, lost: bool) {
        self.access.session_ended(&self.group, &self.consumer, lost).await;
    }
}

/// Why a session ends that the client may begin again.
pub(crate) fn away(why: &dyn std::fmt::Display) -> AppendError {
    AppendError::Unavailable(Unavailable::NotReachable(why.to_string()))
}

/// Why a session ends when the server does.
pub(crate) fn closing() -> AppendError {
    AppendError::Unavailable(Unavailable::Closed)
}

fn no_memory() -> AppendError {
    away(&"all memory for answers is in use: it goes on in a moment")
}

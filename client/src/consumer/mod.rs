//! [`Consumer`]: takes deliveries of a group, and answers them.
//!
//! Of a server it has a session, which goes on with a new connection when the old one breaks: what it had and did not
//! answer is delivered to others meanwhile, so that an answer that comes later is refused. Nothing is lost by that, and
//! what was acknowledged is not delivered again.

mod effects;
mod remote;
mod run;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nexus_protocol::group::{Answered, Delivery, DeliveryToken, IN_FLIGHT_MAX, Nack};
use nexus_protocol::limits::DELIVERIES_MAX;
use nexus_protocol::schema::AsSchema;
use nexus_protocol::wire::ConsumeHead;
use nexus_protocol::wire::Said;
use nexus_protocol::{Append, AppendError, Appended, TooLarge};
#[cfg(feature = "schemas")]
use nexus_protocol::{ReadError, Unavailable};

pub(crate) use remote::RemoteConsumer;

use crate::client::{Client, Reach};
#[cfg(feature = "schemas")]
use crate::connection::Deadline;
#[cfg(feature = "embedded")]
use crate::embedded::EmbeddedConsumer;

/// Deliveries that are fetched before they are taken, unless [`Consumer::prefetch`] says otherwise.
const PREFETCH: u32 = 100;
/// Events at a time, unless [`Consumer::concurrency`] says otherwise.
const CONCURRENCY: usize = 16;

/// A consumer of a group: see [`Client::consumer`]. It joins the group when it first asks for deliveries, and
/// leaves when it is dropped, or with [`Consumer::leave`]. Its methods may be called from several tasks at a time.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    group: Arc<str>,
    name: Arc<str>,
    prefetch: u32,
    concurrency: usize,
    as_schema: AsSchema,
    #[cfg(feature = "schemas")]
    lifts: Option<nexus_schemas::Upcasting<Client>>,
    session: OnceLock<Session>,
}

#[derive(Debug)]
enum Session {
    Remote(RemoteConsumer),
    #[cfg(feature = "embedded")]
    Embedded(EmbeddedConsumer),
}

/// The same call of whatever is there.
macro_rules! session {
    ($consumer:expr, $there:ident => $call:expr) => {
        match $consumer.session() {
            Session::Remote($there) => $call,
            #[cfg(feature = "embedded")]
            Session::Embedded($there) => $call,
        }
    };
}

impl Consumer {
    pub(crate) fn new(client: Client, group: &str, name: &str) -> Self {
        Self {
            client,
            group: group.into(),
            name: name.into(),
            prefetch: PREFETCH,
            concurrency: CONCURRENCY,
            as_schema: AsSchema::Raw,
            #[cfg(feature = "schemas")]
            lifts: None,
            session: OnceLock::new(),
        }
    }

    /// So many deliveries are fetched before they are taken, 100 without this: their time runs from then on, so that
    /// it should be no more than what is done within it. To be said before anything is asked for. A store in this process
    /// fetches none ahead.
    #[must_use]
    pub fn prefetch(mut self, deliveries: u32) -> Self {
        self.prefetch = deliveries.clamp(1, IN_FLIGHT_MAX);
        self
    }

    /// So many events [`Consumer::run`] has at a time, 16 without this.
    #[must_use]
    pub fn concurrency(mut self, events: usize) -> Self {
        self.concurrency = events.max(1);
        self
    }

    /// With events in this version of their schemas; as they are stored without this. What transforms make several parts of
    /// comes as one delivery, and is answered as one. What cannot be shown so counts as tried, and is parked in the end. To be
    /// said before anything is asked for.
    #[must_use]
    pub fn as_schema(mut self, as_schema: AsSchema) -> Self {
        self.as_schema = as_schema;
        self
    }

    /// With events that are lifted in this process, for lifts in Rust that no server has; to the version that
    /// [`Consumer::as_schema`] says. To be said before anything is asked for.
    #[cfg(feature = "schemas")]
    #[must_use]
    pub fn upcasting(mut self, store: nexus_schemas::Upcasting<Client>) -> Self {
        self.lifts = Some(store);
        self
    }

    /// The version in which the store shows events: as they are stored, where they are lifted here.
    fn shown_by_the_store(&self) -> AsSchema {
        #[cfg(feature = "schemas")]
        if self.lifts.is_some() {
            return AsSchema::Raw;
        }
        self.as_schema
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn session(&self) -> &Session {
        self.session.get_or_init(|| match &self.client.reach {
            Reach::Remote(remote) => {
                let consume = ConsumeHead {
                    group: self.group.as_ref().to_owned(),
                    consumer: self.name.as_ref().to_owned(),
                    credit: self.prefetch,
                    max: u32::try_from(DELIVERIES_MAX).unwrap_or(u32::MAX),
                };
                Session::Remote(remote.consume(consume, self.shown_by_the_store()))
            }
            #[cfg(feature = "embedded")]
            Reach::Embedded(embedded) => {
                let shown = self.shown_by_the_store();
                Session::Embedded(embedded.consume(&self.group, &self.name, shown))
            }
        })
    }

    /// Takes what there is, at most `max` deliveries. Where there is nothing, it waits for at most `wait`, and then there
    /// is none. Dropped, it has taken none; what
    /// a store in this process had given it in that moment comes again when its time is over.
    ///
    /// # Errors
    /// When there is no such group, or this client may not consume: nothing more comes. A server that goes away is waited
    /// for, once it was there.
    pub async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, AppendError> {
        #[cfg(feature = "schemas")]
        if let Some(lifts) = &self.lifts {
            let until = Deadline::after(wait);
            loop {
                let taken = self.taken(max, until.left()).await?;
                let has_some = !taken.is_empty();
                let lifted = self.lifted(lifts, taken).await?;
                if !lifted.is_empty() || !has_some || until.is_over() {
                    return Ok(lifted);
                }
            }
        }
        self.taken(max, wait).await
    }

    async fn taken(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, AppendError> {
        session!(self, there => there.receive(max.max(1), wait).await)
    }

    /// Deliveries with lifted events. As a server does, it counts as tried what cannot be lifted, and as done what nothing is
    /// left of.
    #[cfg(feature = "schemas")]
    async fn lifted(
        &self,
        lifts: &nexus_schemas::Upcasting<Client>,
        deliveries: Vec<Delivery>,
    ) -> Result<Vec<Delivery>, AppendError> {
        use nexus_protocol::group::{Failure, NackAction};
        let mut lifted = Vec::with_capacity(deliveries.len());
        for mut delivery in deliveries {
            let shown = lifts.shown(delivery.event.clone(), self.as_schema).await;
            let (action, why) = match shown.map(Vec::into_iter) {
                Ok(mut parts) => match parts.next() {
                    Some(event) => {
                        (delivery.event, delivery.parts) = (event, parts.collect());
                        lifted.push(delivery);
                        continue;
                    }
                    None => (NackAction::Skip, "its schema has nothing of the event".to_owned()),
                },
                Err(error @ ReadError::NotConverted { .. }) => {
                    (NackAction::Retry(None), error.to_string())
                }
                // It says nothing of the event: whoever asks again is told, or gets it when its time is over.
                Err(_) if !lifted.is_empty() => return Ok(lifted),
                Err(error) => {
                    let why = Unavailable::NotReachable(error.to_string());
                    return Err(AppendError::Unavailable(why));
                }
            };
            let nack = Nack { action, failure: Failure::new(why) };
            self.nack(&[delivery.token], nack).await?;
        }
        Ok(lifted)
    }

    /// Whether nothing more comes, whatever is asked.
    fn has_ended(&self) -> bool {
        match self.session() {
            Session::Remote(there) => there.has_ended(),
            #[cfg(feature = "embedded")]
            Session::Embedded(_) => false,
        }
    }

    /// What was fetched and not taken yet.
    fn not_taken(&self) -> Vec<DeliveryToken> {
        match self.session() {
            Session::Remote(there) => there.not_taken(),
            #[cfg(feature = "embedded")]
            Session::Embedded(_) => Vec::new(),
        }
    }

    /// Says that deliveries are done. It is durable when it is answered, which also says of which it does not count, and
    /// why.
    ///
    /// # Errors
    /// As [`AppendError`] says; `Unknown` where it may count.
    pub async fn ack(&self, tokens: &[DeliveryToken]) -> Result<Answered, AppendError> {
        bounded(tokens)?;
        match self.session() {
            Session::Remote(there) => there.answer(tokens, &Said::Ack).await,
            #[cfg(feature = "embedded")]
            Session::Embedded(there) => there.ack(tokens).await,
        }
    }

    /// Says that deliveries are not done, and what is to become of them.
    ///
    /// # Errors
    /// As [`Consumer::ack`]; `Invalid` of a delay beyond a day.
    pub async fn nack(
        &self,
        tokens: &[DeliveryToken],
        nack: Nack,
    ) -> Result<Answered, AppendError> {
        bounded(tokens)?;
        nack.check()?;
        match self.session() {
            Session::Remote(there) => there.answer(tokens, &Said::Nack(nack)).await,
            #[cfg(feature = "embedded")]
            Session::Embedded(there) => there.nack(tokens, nack).await,
        }
    }

    /// Asks for more time, from now, to answer deliveries: at most 12 hours, and again before these are over.
    ///
    /// # Errors
    /// As [`Consumer::ack`]; `Invalid` of more.
    pub async fn extend(
        &self,
        tokens: &[DeliveryToken],
        by: Duration,
    ) -> Result<Answered, AppendError> {
        bounded(tokens)?;
        match self.session() {
            Session::Remote(there) => there.answer(tokens, &Said::Extend(by)).await,
            #[cfg(feature = "embedded")]
            Session::Embedded(there) => there.extend(tokens, by).await,
        }
    }

    /// Says that deliveries are done, together with an append: both happen, or neither. Without `Appended` nothing was
    /// appended, since a delivery has ended or was answered before. Where a connection broke meanwhile it was asked
    /// again: `AlreadyAcked` says then that the event is done, mostly by the first time and with its append, but perhaps by
    /// another consumer that got it meanwhile.
    ///
    /// # Errors
    /// As [`AppendError`] says: the deliveries are with this consumer as before. `Unknown` where it may have happened.
    pub async fn ack_with(
        &self,
        tokens: &[DeliveryToken],
        append: Append,
    ) -> Result<(Answered, Option<Appended>), AppendError> {
        bounded(tokens)?;
        session!(self, there => there.ack_with(tokens, append).await)
    }

    /// Leaves the group: what it has and did not answer is delivered to others at once, and does not count as tried.
    ///
    /// # Errors
    /// When it could not be said in time: the group misses it soon.
    pub async fn leave(self) -> Result<(), AppendError> {
        match self.session.into_inner() {
            None => Ok(()),
            Some(Session::Remote(there)) => there.leave().await,
            #[cfg(feature = "embedded")]
            Some(Session::Embedded(there)) => there.leave().await,
        }
    }
}

/// Refuses more than may be answered together.
fn bounded(tokens: &[DeliveryToken]) -> Result<(), AppendError> {
    let (size, max) = (tokens.len(), DELIVERIES_MAX);
    if size > max {
        let what = "deliveries that are answered together".into();
        return Err(AppendError::TooLarge(TooLarge { what, size, max }));
    }
    Ok(())
}

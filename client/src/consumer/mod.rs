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
use nexus_protocol::wire::Said;
use nexus_protocol::{Append, AppendError, Appended, TooLarge};

pub(crate) use remote::RemoteConsumer;

use crate::client::{Client, Reach};
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
                Session::Remote(remote.consume(&self.group, &self.name, self.prefetch))
            }
            #[cfg(feature = "embedded")]
            Reach::Embedded(embedded) => {
                Session::Embedded(embedded.consume(&self.group, &self.name))
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
        session!(self, there => there.receive(max.max(1), wait).await)
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

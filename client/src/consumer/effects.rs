//! [`Consumer::run_with`]: what a handler decides is appended together with the acknowledgement, once for each event.
//!
//! Its events get ids that are made of the group, of the event that was delivered, and of their place in the append. So
//! an append that is there already, of an earlier try that ended between its append and its acknowledgement, is recognised
//! and not appended anew. What a handler does elsewhere happens at least once.

use nexus_protocol::group::{Answered, Delivery, DeliveryToken, Failure, Nack, Refused, effect_id};
use nexus_protocol::{Append, AppendError, Clause, EventData, EventId, Retry, names};

use super::Consumer;
use super::run::{Handled, Running};
use crate::connection::Deadline;
use crate::retry::Backoff;

/// So often an append is tried whose outcome is not known, or that there is no room for now, before its event is given
/// back to be delivered anew.
const TRIES: u32 = 6;

impl Consumer {
    /// Hands each event to a handler that says what follows from it: an append, which is stored together with the
    /// acknowledgement. Both happen, or neither, and once for each event, whatever crashes. A handler that gives an append
    /// without events is done with its event. Of the rest, and of errors, as [`Consumer::run`].
    ///
    /// Events without ids get those of [`Consumer::effects_of`]. An append that is there already, since an earlier try was
    /// cut off or the group was sought back, counts as done: the store recognises it as every repeat, among the events of the
    /// last 10 minutes or the newest 1,000,000, and without an end where the stream is expected to be missing. A conflict
    /// with what others have appended meanwhile is a try that failed: the handler is asked again, and looks again. What
    /// can never be appended is parked. Where this client may not append what anybody may who appends at all, that is no
    /// fault of an event: the consumer ends with that error, and leaves what it has to others.
    ///
    /// The ids are the group's, and not a consumer's: in a group that broadcasts, where each consumer does the same work
    /// for itself, a handler gives its events ids of its own.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use nexus_protocol::group::{Delivery, Nack};
    /// use nexus_protocol::{Append, EventData};
    ///
    /// async fn invoice(delivery: Delivery) -> Result<Append, Nack> {
    ///     let total: u64 = delivery.event.json()?;
    ///     let issued = EventData::json("InvoiceIssued", &total)?.caused_by(&delivery.event);
    ///     Ok(Append::to(format!("invoice-{}", delivery.event.id())).event(issued))
    /// }
    ///
    /// let client = nexus_client::connect("nexus://127.0.0.1:7420").await?;
    /// client.consumer("billing", "host-1").run_with(invoice).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Consumer::run`].
    pub async fn run_with<F, Fut, E>(self, handler: F) -> Result<(), AppendError>
    where
        F: Fn(Delivery) -> Fut,
        Fut: Future<Output = Result<Append, E>>,
        E: Into<Nack>,
    {
        self.run_with_until(handler, std::future::pending()).await
    }

    /// The same until `shutdown` is ready, as [`Consumer::run_until`].
    ///
    /// # Errors
    /// As [`Consumer::run`].
    pub async fn run_with_until<F, Fut, E>(
        self,
        handler: F,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), AppendError>
    where
        F: Fn(Delivery) -> Fut,
        Fut: Future<Output = Result<Append, E>>,
        E: Into<Nack>,
    {
        let consumer = &self;
        let stored = |delivery: Delivery| {
            let (token, of) = (delivery.token, delivery.event.id());
            let handled = handler(delivery);
            async move {
                let append = handled.await.map_err(Into::into)?;
                consumer.store(token, consumer.with_ids(of, append)).await
            }
        };
        let ended = Running::new(consumer).until(stored, shutdown).await;
        let left = self.leave().await;
        ended.and(left)
    }

    /// An append with ids for its events that are the same at every try of this delivery's event: made of the group, of
    /// the event's id, and of their places in the append. What has an id keeps it, and an append with an idempotency key
    /// stays as it is. For who appends by hand, before the acknowledgement: [`Client::append`](crate::Client::append) of
    /// it, again after a crash, is a replay.
    #[must_use]
    pub fn effects_of(&self, delivery: &Delivery, append: Append) -> Append {
        self.with_ids(delivery.event.id(), append)
    }

    fn with_ids(&self, of: EventId, mut append: Append) -> Append {
        if append.idempotency_key.is_none() {
            let events = append.streams.iter_mut().flat_map(|stream| &mut stream.events);
            for (ordinal, event) in (0..).zip(events) {
                event.id = event.id.or_else(|| Some(effect_id(&self.group, of, ordinal)));
            }
        }
        append
    }

    /// Stores what follows from a delivery, together with its acknowledgement.
    async fn store(&self, token: DeliveryToken, append: Append) -> Result<Handled, Nack> {
        if append.event_count() == 0 {
            return Ok(Handled::Done);
        }
        let mut backoff = Backoff::default();
        loop {
            let error = match self.ack_with(&[token], append.clone()).await {
                Ok((answered, _)) => {
                    log_refused(&answered);
                    return Ok(Handled::Answered);
                }
                Err(error) => error,
            };
            if is_there(&error) {
                // The acknowledgement is not, so that the two together conflict for ever. Alone the append is a replay.
                return match self.client.append(append.clone()).await {
                    Ok(appended) => {
                        let replayed = appended.replayed;
                        tracing::debug!(replayed, "what follows from an event was there already");
                        Ok(Handled::Done)
                    }
                    Err(error) => refused(error, &append),
                };
            }
            let may_pass = matches!(error.retry(), Retry::SameIds | Retry::After(_));
            if !may_pass || backoff.attempt() >= TRIES {
                return refused(error, &append);
            }
            let wait = Deadline::after(backoff.next());
            wait.limit_on(self.client.runtime(), std::future::pending::<()>()).await;
        }
    }
}

/// Whether some of the events are stored already. The group's own record, which comes with them, never is.
fn is_there(error: &AppendError) -> bool {
    matches!(error, AppendError::Conflict(conflict) if matches!(conflict.clause, Clause::Ids { .. }))
}

/// What becomes of an event whose effects are refused.
fn refused(error: AppendError, append: &Append) -> Result<Handled, Nack> {
    // Where it is no fault of the event, each would be parked.
    if matches!(error, AppendError::Denied { .. }) && !is_for_nobody(append) {
        return Ok(Handled::Ended(error));
    }
    Err(nack(&error))
}

/// Whether an append has what no client may append.
fn is_for_nobody(append: &Append) -> bool {
    append.streams.iter().any(|stream| {
        let name = &stream.stream;
        let takes_nothing = names::is_system(name) && names::client_types(name).is_empty();
        let may = |event: &EventData| names::client_may_append(name, &event.event_type);
        takes_nothing || !stream.events.iter().all(may)
    })
}

/// What becomes of an event whose effects cannot be stored.
fn nack(error: &AppendError) -> Nack {
    match error {
        AppendError::Denied { .. } => Nack::park(Failure::of(error)),
        error if error.is_of_this_append() => Nack::park(Failure::of(error)),
        // Where the group or the store is gone, this cannot be said either, and ends the consumer.
        error => Nack::retry(Failure::of(error)),
    }
}

fn log_refused(answered: &Answered) {
    for refused in &answered.refused {
        // That it is done already is what was wanted.
        if refused.why != Refused::AlreadyAcked {
            tracing::debug!(
                why = refused.why.name(),
                "an answer came too late: its event comes anew"
            );
        }
    }
}

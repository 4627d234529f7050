//! [`Consumer::run`]: hands events to a handler, and answers for it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use nexus_protocol::group::{Answered, Delivery, DeliveryToken, Failure, Nack};
use nexus_protocol::limits::DELIVERIES_MAX;
use nexus_protocol::{AppendError, Retry};

use super::Consumer;
use crate::connection::Deadline;
use crate::retry::Backoff;

/// So long deliveries are waited for at a time.
const WAIT: Duration = Duration::from_secs(30);
/// The time for an answer where the group does not say it.
const ACK_DEADLINE: Duration = Duration::from_secs(30);

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Answer = Result<Answered, AppendError>;

impl Consumer {
    /// Hands each event to a handler, as many at a time as [`Consumer::concurrency`] says, and answers for it: it is done
    /// where the handler gives `Ok`. Of an error, see below. Answers go together; as long as a handler works, its
    /// delivery's time is extended. It ends with an error that trying again does not mend.
    ///
    /// An error becomes a [`Nack`]. Any [`std::error::Error`] lets the event be tried again, with its causes kept; a
    /// handler that gives `Nack` itself says what is to become of the event:
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use nexus_protocol::group::{Delivery, Failure, Nack};
    ///
    /// async fn send(to: &str) -> Result<(), std::io::Error> {
    /// #   let _ = to;
    ///     Ok(())
    /// }
    ///
    /// async fn handle(delivery: Delivery) -> Result<(), Nack> {
    ///     let to: String = match delivery.event.json() {
    ///         Ok(to) => to,
    ///         // Trying again will not help.
    ///         Err(error) => return Err(Nack::park(Failure::of(&error))),
    ///     };
    ///     send(&to).await?;
    ///     Ok(())
    /// }
    ///
    /// let client = nexus_client::connect("nexus://127.0.0.1:7420").await?;
    /// client.consumer("mail", "host-1").concurrency(8).run(handle).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no such group, or this client may not consume, or not any more.
    pub async fn run<F, Fut, E>(self, handler: F) -> Result<(), AppendError>
    where
        F: Fn(Delivery) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<Nack>,
    {
        self.run_until(handler, std::future::pending()).await
    }

    /// The same until `shutdown` is ready: then it takes nothing more, waits for what is under way, answers it, and
    /// leaves the group.
    ///
    /// # Errors
    /// As [`Consumer::run`].
    pub async fn run_until<F, Fut, E>(
        self,
        handler: F,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), AppendError>
    where
        F: Fn(Delivery) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: Into<Nack>,
    {
        let answered = |delivery| {
            let handled = handler(delivery);
            async move { handled.await.map(|()| Handled::Done) }
        };
        let ended = Running::new(&self).until(answered, shutdown).await;
        let left = self.leave().await;
        ended.and(left)
    }

    /// In which time a delivery is to be answered: it is extended while two thirds of it are left.
    async fn ack_deadline(&self) -> Duration {
        let info = self.client.group(&self.group).await;
        // Whoever may consume may not always look.
        info.map_or(ACK_DEADLINE, |info| info.config.ack_deadline)
    }
}

/// What became of an event that went well.
pub(super) enum Handled {
    /// It is done, which is to be said.
    Done,
    /// It was answered already.
    Answered,
    /// It is not done, and this consumer can do none: another one is to have it.
    Ended(AppendError),
}

/// What a consumer has under way.
pub(super) struct Running<'a, Fut> {
    consumer: &'a Consumer,
    handling: BTreeMap<u64, (DeliveryToken, Pin<Box<Fut>>)>,
    number: u64,
    receiving: Option<Boxed<'a, Result<Vec<Delivery>, AppendError>>>,
    backoff: Backoff,
    /// Before it is tried to receive again.
    pause: Option<Duration>,
    /// Done, and not said yet.
    done: Vec<DeliveryToken>,
    /// What is being said besides: that some are not done, or take longer.
    answers: Vec<Boxed<'a, Answer>>,
    acking: Option<Boxed<'a, Answer>>,
    stopping: bool,
    failed: Option<AppendError>,
}

/// What happened.
enum Happened<E> {
    Handled(u64, Result<Handled, E>),
    Received(Result<Vec<Delivery>, AppendError>),
    Said(Answer),
    Late,
    Stop,
}

impl<'a, Fut> Running<'a, Fut> {
    pub(super) fn new(consumer: &'a Consumer) -> Self {
        Self {
            consumer,
            handling: BTreeMap::new(),
            number: 0,
            receiving: None,
            backoff: Backoff::default(),
            pause: None,
            done: Vec::new(),
            answers: Vec::new(),
            acking: None,
            stopping: false,
            failed: None,
        }
    }

    pub(super) async fn until<E: Into<Nack>>(
        mut self,
        handler: impl Fn(Delivery) -> Fut,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), AppendError>
    where
        Fut: Future<Output = Result<Handled, E>>,
    {
        let consumer = self.consumer;
        let runtime = consumer.client.runtime().clone();
        let ack_deadline = consumer.ack_deadline().await;
        let mut shutdown = pin!(shutdown);
        let timer = || {
            let late = Deadline::after(ack_deadline / 3);
            let runtime = runtime.clone();
            Box::pin(async move {
                late.limit_on(&runtime, std::future::pending::<()>()).await;
            })
        };
        let mut late = timer();
        loop {
            self.go_on();
            if self.is_over() {
                return self.failed.map_or(Ok(()), Err);
            }
            let happened = poll_fn(|context| {
                if !self.stopping && shutdown.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Happened::Stop);
                }
                if let Poll::Ready(()) = late.as_mut().poll(context) {
                    return Poll::Ready(Happened::Late);
                }
                self.poll(context)
            });
            let happened = happened.await;
            if let Happened::Late = happened {
                late = timer();
            }
            self.react(happened, &handler, ack_deadline);
        }
    }

    fn react<E: Into<Nack>>(
        &mut self,
        happened: Happened<E>,
        handler: &impl Fn(Delivery) -> Fut,
        ack_deadline: Duration,
    ) {
        let consumer = self.consumer;
        match happened {
            Happened::Handled(number, handled) => {
                let Some((token, _)) = self.handling.remove(&number) else { return };
                match handled {
                    Ok(Handled::Done) => self.done.push(token),
                    Ok(Handled::Answered) => {}
                    Ok(Handled::Ended(error)) => self.end(error),
                    Err(error) => {
                        let nack = sayable(error.into());
                        let say = async move { consumer.nack(&[token], nack).await };
                        self.answers.push(Box::pin(say));
                    }
                }
            }
            Happened::Received(Ok(deliveries)) => {
                self.backoff = Backoff::default();
                for delivery in deliveries {
                    let token = delivery.token;
                    self.handling.insert(self.number, (token, Box::pin(handler(delivery))));
                    self.number += 1;
                }
            }
            Happened::Said(Ok(answered)) => {
                if !answered.refused.is_empty() {
                    let refused = answered.refused.len();
                    tracing::debug!(refused, "answers came too late: their events come anew");
                }
            }
            Happened::Received(Err(error)) | Happened::Said(Err(error)) => self.went_wrong(error),
            Happened::Late => {
                // What nobody has taken yet grows old, too.
                let mut tokens = consumer.not_taken();
                tokens.extend(self.handling.values().map(|it| it.0));
                for tokens in tokens.chunks(DELIVERIES_MAX).map(<[_]>::to_vec) {
                    let say = async move { consumer.extend(&tokens, ack_deadline).await };
                    self.answers.push(Box::pin(say));
                }
            }
            Happened::Stop => self.stop(),
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.receiving = None;
    }

    /// What cannot be said now is delivered anew; what can never be is the end.
    fn went_wrong(&mut self, error: AppendError) {
        tracing::debug!(%error, "a consumer goes on, since that may pass");
        let is_final = error.retry() == Retry::Never && !matches!(error, AppendError::TooLarge(_));
        if is_final || self.consumer.has_ended() {
            self.end(error);
        }
    }

    fn end(&mut self, error: AppendError) {
        self.failed.get_or_insert(error);
        self.stop();
    }

    /// Begins what is to be done now.
    fn go_on(&mut self) {
        let consumer = self.consumer;
        let room = consumer.concurrency.saturating_sub(self.handling.len());
        if !self.stopping && room > 0 && self.receiving.is_none() {
            let pause = self.pause.take();
            let runtime = consumer.client.runtime().clone();
            self.receiving = Some(Box::pin(async move {
                if let Some(pause) = pause {
                    let pause = Deadline::after(pause);
                    pause.limit_on(&runtime, std::future::pending::<()>()).await;
                }
                consumer.receive(room.min(DELIVERIES_MAX), WAIT).await
            }));
        }
        if self.acking.is_none() && !self.done.is_empty() {
            let count = self.done.len().min(DELIVERIES_MAX);
            let tokens: Vec<_> = self.done.drain(..count).collect();
            self.acking = Some(Box::pin(async move { consumer.ack(&tokens).await }));
        }
    }

    fn is_over(&self) -> bool {
        self.stopping
            && self.handling.is_empty()
            && self.done.is_empty()
            && self.acking.is_none()
            && self.answers.is_empty()
    }

    fn poll<E>(&mut self, context: &mut std::task::Context<'_>) -> Poll<Happened<E>>
    where
        Fut: Future<Output = Result<Handled, E>>,
    {
        for (number, (_, handling)) in &mut self.handling {
            if let Poll::Ready(handled) = handling.as_mut().poll(context) {
                return Poll::Ready(Happened::Handled(*number, handled));
            }
        }
        if let Some(acking) = &mut self.acking
            && let Poll::Ready(said) = acking.as_mut().poll(context)
        {
            self.acking = None;
            return Poll::Ready(Happened::Said(said));
        }
        for at in 0..self.answers.len() {
            if let Poll::Ready(said) = self.answers[at].as_mut().poll(context) {
                drop(self.answers.swap_remove(at));
                return Poll::Ready(Happened::Said(said));
            }
        }
        if let Some(receiving) = &mut self.receiving
            && let Poll::Ready(received) = receiving.as_mut().poll(context)
        {
            self.receiving = None;
            if received.is_err() {
                self.pause = Some(self.backoff.next());
            }
            return Poll::Ready(Happened::Received(received));
        }
        Poll::Pending
    }
}

/// What a handler says, or, where that cannot be, that its event is parked with why: said as it is, it would end the
/// consumer, and the next that gets the event.
fn sayable(nack: Nack) -> Nack {
    match nack.check() {
        Ok(()) => nack,
        Err(invalid) => {
            let Failure { class, message, mut chain } = nack.failure;
            chain.insert(0, message);
            Nack::park(Failure { class, message: invalid.to_string(), chain })
        }
    }
}

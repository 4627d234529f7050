//! To take deliveries of a group, and to answer them.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use nexus_delivery::coordinator::{Answers, Handed, Request, What};
use nexus_delivery::group::Delivery as GroupDelivery;
use nexus_engine::Namespace;
use nexus_policies::Obligations;
use nexus_protocol::group::{
    ACK_DEADLINE_MAX, Answered, Delivery, DeliveryToken, Failure, Nack, NackAction, check_group,
};
use nexus_protocol::route::LINK;
use nexus_protocol::schema::AsSchema;
use nexus_protocol::{Append, AppendError, Appended, Invalid, ReadError, RecordedEvent};

use super::Access;
use super::events::resolved;
use super::groups::{event_at, from_read, with_data_of};
use crate::guard::{About, Permit};
use crate::parking::block_on;
use crate::quota::Use;
use crate::telemetry::Operation;

/// Deliveries that one call may ask for, and answers that it may give.
pub const DELIVERIES_MAX: usize = nexus_delivery::coordinator::MAX_DELIVERIES;

/// One call waits so long for deliveries at most.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Meanwhile it looks so often whether policies have changed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Deliveries whose events may still have to be read.
#[derive(Debug)]
#[must_use = "whoever drops them keeps them from others until their time is over"]
pub struct Received {
    handed: VecDeque<Handed>,
    access: Access,
    group: String,
    consumer: String,
    as_schema: AsSchema,
    permit: Permit,
}

impl Received {
    /// With events in this version of their schemas.
    pub fn as_schema(mut self, as_schema: AsSchema) -> Self {
        self.as_schema = as_schema;
        self
    }

    /// Whether all events are in memory as they are delivered, and none is a link: [`Self::deliveries`] does not block then.
    pub fn is_in_memory(&self) -> bool {
        let is_there =
            |handed: &Handed| handed.event.as_ref().is_some_and(|event| event.event_type() != LINK);
        let is_plain = self.as_schema == AsSchema::Raw && self.permit.obligations().is_none();
        is_plain && self.handed.iter().all(is_there)
    }

    /// How many there are, at most.
    pub fn len(&self) -> usize {
        self.handed.len()
    }

    /// Those that were not read, to be given back.
    pub fn into_tokens(self) -> Vec<DeliveryToken> {
        self.handed.into_iter().map(|handed| handed.delivery.token).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.handed.is_empty()
    }

    /// Them, with their events. Blocks on the disk where they are not in memory. What the log has no more is done with.
    ///
    /// # Errors
    /// When an event is damaged: it counts as tried, and the others are delivered again.
    pub fn deliveries(mut self) -> Result<Vec<Delivery>, AppendError> {
        self.next(usize::MAX)
    }

    /// The next of them: as many as come to so many bytes, but one at least. Those behind are left. Of the rest as
    /// [`Self::deliveries`].
    ///
    /// # Errors
    /// As [`Self::deliveries`].
    pub fn next(&mut self, bytes: usize) -> Result<Vec<Delivery>, AppendError> {
        let (mut deliveries, mut gone, mut taken) = (Vec::new(), Vec::new(), 0_usize);
        let mut not_shown = HashMap::<_, Vec<_>>::new();
        while taken < bytes
            && let Some(Handed { delivery, event }) = self.handed.pop_front()
        {
            let read = match event {
                Some(event) => Ok(Some(event)),
                None => event_of(&self.access.namespace, &delivery),
            };
            let event = match read {
                Ok(event) => event,
                Err(error) => return Err(self.unread(delivery.token, &deliveries, error)),
            };
            let Some(event) = event else {
                gone.push(delivery.token);
                continue;
            };
            if !self.permit.shows(&event) {
                return Err(self.not_theirs(delivery.token, &deliveries));
            }
            let shown = resolved(&self.access.namespace, &self.permit, event)
                .and_then(|event| self.access.shown_to(&self.permit, event, self.as_schema));
            let mut parts = match shown {
                Ok(parts) => parts.into_iter(),
                // It is no better the next time, and stands in nobody's way: in the end it is parked, with the reason.
                Err(ReadError::NotConverted { why, .. }) => {
                    let tokens = not_shown.entry((NackAction::Retry(None), why)).or_default();
                    tokens.push(delivery.token);
                    continue;
                }
                Err(error) => {
                    return Err(self.unread(delivery.token, &deliveries, from_read(error)));
                }
            };
            // Whose schema leaves nothing of it is done with.
            let Some(event) = parts.next() else {
                gone.push(delivery.token);
                continue;
            };
            let parts: Vec<_> = parts.collect();
            let bytes = parts.iter().map(|it| it.as_bytes().len());
            taken = bytes.fold(taken.saturating_add(event.as_bytes().len()), usize::saturating_add);
            let (token, attempt) = (delivery.token, delivery.attempt);
            let (lane, deadline) = (delivery.lane, delivery.deadline);
            deliveries.push(Delivery { token, attempt, lane, deadline, event, parts });
        }
        let mut answers = not_shown;
        if !gone.is_empty() {
            let why = "the log, or its schema, has nothing of the event".to_owned();
            answers.insert((NackAction::Skip, why), gone);
        }
        for ((action, why), tokens) in answers {
            if let Err(error) = self.nack(tokens, action, Failure::new(why)) {
                let left = self.handed.drain(..).map(|handed| handed.delivery.token);
                let others = deliveries.iter().map(|delivery| delivery.token).chain(left).collect();
                block_on(self.access.give_back(&self.group, &self.consumer, others));
                return Err(error);
            }
        }
        Ok(deliveries)
    }

    fn nack(
        &self,
        tokens: Vec<DeliveryToken>,
        action: NackAction,
        failure: Failure,
    ) -> Result<(), AppendError> {
        let (consumer, what) = (Some(self.consumer.clone()), What::Nack(Nack { action, failure }));
        let answers = Answers { consumer, tokens, what };
        self.access.ask_group(&self.group, answers, Request::Answer).map(|_| ())
    }
}

impl Received {
    /// One is not for whoever asks: it is given back, with all others, and nothing counts as tried.
    fn not_theirs(&mut self, token: DeliveryToken, taken: &[Delivery]) -> AppendError {
        let left = self.handed.drain(..).map(|handed| handed.delivery.token);
        let others = taken.iter().map(|delivery| delivery.token).chain([token]).chain(left);
        block_on(self.access.give_back(&self.group, &self.consumer, others.collect()));
        let reason = format!("group {:?} delivers what you may not see", self.group);
        AppendError::Denied { reason, denial: None }
    }

    /// One event cannot be read: it counts as tried, and the others do not.
    fn unread(
        &mut self,
        token: DeliveryToken,
        taken: &[Delivery],
        error: AppendError,
    ) -> AppendError {
        let left = self.handed.drain(..).map(|handed| handed.delivery.token);
        let others = taken.iter().map(|delivery| delivery.token).chain(left).collect();
        // Where the group is gone, so are the deliveries.
        drop(self.nack(vec![token], NackAction::Retry(None), Failure::of(&error)));
        block_on(self.access.give_back(&self.group, &self.consumer, others));
        error
    }
}

/// Refuses times that no delivery has: cut short without a word, it would be another's earlier than its consumer thinks.
fn check_times(what: &What) -> Result<(), AppendError> {
    match what {
        What::Extend(by) if *by > ACK_DEADLINE_MAX => {
            let hours = ACK_DEADLINE_MAX.as_secs() / 3600;
            let why = format!(
                "a delivery is extended by at most {hours} h from now: ask again before these are over"
            );
            Err(Invalid::Request(why).into())
        }
        _ => Ok(()),
    }
}

/// The event of a delivery; of one that was edited with its new data.
fn event_of(
    namespace: &Namespace,
    delivery: &GroupDelivery,
) -> Result<Option<RecordedEvent>, AppendError> {
    let Some(event) = event_at(namespace, delivery.token.position)? else { return Ok(None) };
    if delivery.event == delivery.token.position {
        return Ok(Some(event));
    }
    Ok(event_at(namespace, delivery.event)?.map(|edited| with_data_of(&event, &edited)))
}

impl Access {
    /// Takes what a group has for a consumer: at most `max` deliveries, at most [`DELIVERIES_MAX`]. Where there is
    /// nothing, it waits for at most `wait`, at most a minute. That it asks makes it a member of the group.
    ///
    /// # Errors
    /// When the principal may not consume, or has read all it may in that time, or there is no such group, or too many
    /// consumers.
    pub async fn receive(
        &self,
        group: &str,
        consumer: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Received, AppendError> {
        let policing = self.node.policing();
        let changes = policing.changes();
        let permit = self.permitted(Operation::Receive, group)?;
        let ask = async {
            self.within_quota(Use::Read)?;
            self.check_covers(Operation::Receive, group, &permit).await?;
            let group = self.joined(group, consumer).await?;
            let handed = self.waited(&group, (consumer, max), wait, changes).await;
            if let Err(AppendError::NotFound { .. }) = &handed {
                // It was deleted, and may be made anew when it is asked for again.
                self.node.running_groups().unknow(&self.namespace, &group);
            }
            let handed = handed?;
            // It may have waited for long, and what was asked before may not hold any more.
            if policing.changes() != changes {
                let again = self.permitted(Operation::Receive, &group);
                let again = match again {
                    Ok(again) => {
                        let covers = self.check_covers(Operation::Receive, &group, &again).await;
                        covers.map(|()| again)
                    }
                    denied => denied,
                };
                if !again.as_ref().is_ok_and(|again| again.demands_as(&permit)) {
                    let tokens = handed.iter().map(|it| it.delivery.token).collect();
                    self.give_back(&group, consumer, tokens).await;
                    // Who may still consume asks again, and gets what they may see now.
                    return again.map(|_| (Vec::new(), group));
                }
            }
            Ok((handed, group))
        };
        let (handed, group) = self.consuming(Operation::Receive, group, ask).await?;
        let consumer = consumer.to_owned();
        let (access, as_schema) = (self.clone(), AsSchema::Raw);
        Ok(Received { handed: handed.into(), access, group, consumer, as_schema, permit })
    }

    /// Waits for deliveries, and not beyond a change of policies: whoever waits may not be one who gets any.
    async fn waited(
        &self,
        group: &str,
        (consumer, max): (&str, usize),
        wait: Duration,
        changes: u64,
    ) -> Result<Vec<Handed>, AppendError> {
        let until = Instant::now() + wait.min(WAIT_MAX);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let what = (consumer.to_owned(), max, left.min(LOOK_AGAIN_AFTER));
            let handed = self.groups_ask(group, what, Request::Receive).await?;
            let is_over = left <= LOOK_AGAIN_AFTER || self.node.policing().changes() != changes;
            if is_over || !handed.is_empty() {
                return Ok(handed);
            }
        }
    }

    /// Says that deliveries are done. It is durable when it is answered. Without a consumer it counts for whoever has
    /// them.
    ///
    /// # Errors
    /// When the principal may not consume, or there is no such group; as an append's. Answers that do not count are no
    /// error.
    pub async fn ack(
        &self,
        group: &str,
        consumer: Option<&str>,
        tokens: Vec<DeliveryToken>,
    ) -> Result<Answered, AppendError> {
        self.answer(group, consumer, tokens, What::Ack).await
    }

    /// Says that deliveries are not done, and what is to become of them. It is durable when it is answered.
    ///
    /// # Errors
    /// As [`Self::ack`].
    pub async fn nack(
        &self,
        group: &str,
        consumer: Option<&str>,
        tokens: Vec<DeliveryToken>,
        nack: Nack,
    ) -> Result<Answered, AppendError> {
        self.answer(group, consumer, tokens, What::Nack(nack)).await
    }

    /// Asks for more time, from now, to answer deliveries.
    ///
    /// # Errors
    /// As [`Self::ack`]; `Invalid` of a time beyond [`ACK_DEADLINE_MAX`].
    pub async fn extend(
        &self,
        group: &str,
        consumer: Option<&str>,
        tokens: Vec<DeliveryToken>,
        by: Duration,
    ) -> Result<Answered, AppendError> {
        self.answer(group, consumer, tokens, What::Extend(by)).await
    }

    async fn answer(
        &self,
        group: &str,
        consumer: Option<&str>,
        tokens: Vec<DeliveryToken>,
        what: What,
    ) -> Result<Answered, AppendError> {
        let permit = self.permitted(Operation::Answer, group)?;
        let answers = Answers { consumer: consumer.map(str::to_owned), tokens, what };
        let ask = async {
            self.check_covers(Operation::Answer, group, &permit).await?;
            check_times(&answers.what)?;
            let group = self.group_of(group, consumer).await?;
            self.groups_ask(&group, answers, Request::Answer).await
        };
        self.consuming(Operation::Answer, group, ask).await
    }

    /// Says that deliveries are done, together with an append: both happen, or neither. Without `Appended` nothing was
    /// appended, since an answer does not count: the deliveries have ended, or were answered before.
    ///
    /// # Errors
    /// When the principal may not consume, or may not append, or there is no such group; as an append's: the deliveries
    /// are with their consumer as before.
    pub async fn ack_with(
        &self,
        group: &str,
        consumer: Option<&str>,
        tokens: Vec<DeliveryToken>,
        mut append: Append,
    ) -> Result<(Answered, Option<Appended>), AppendError> {
        let permit = self.permitted(Operation::Answer, group)?;
        let ask = async {
            self.check_covers(Operation::Answer, group, &permit).await?;
            self.may_append()?;
            if tokens.is_empty() {
                let why =
                    "an append comes with deliveries that are done: name one, or append without";
                return Err(Invalid::Request(why.to_owned()).into());
            }
            if let Some(trace) = self.origin.trace {
                let events = append.streams.iter_mut().flat_map(|stream| &mut stream.events);
                events.for_each(|event| event.trace = event.trace.or(Some(trace)));
            }
            let principal = self.scope.principal.keys();
            let (_, permit) = self.may_append_this(&append, self.origin)?;
            let mut append = self.namespace.of_client(&principal, append)?;
            append.policy_revision = permit.policy_revision;
            self.node.running_timers().admit(&self.namespace, &append)?;
            self.node.schemas().check(&self.namespace, &mut append)?;
            let events = append.event_count() as u64;
            let data = append.streams.iter().flat_map(|stream| &stream.events);
            let bytes = data.map(|it| (it.data.len() + it.metadata.len()) as u64).sum();
            self.within_quota(Use::Append { events, bytes })?;
            let answers =
                Answers { consumer: consumer.map(str::to_owned), tokens, what: What::Ack };
            let group = self.group_of(group, consumer).await?;
            self.groups_ask(&group, (answers, append), Request::AckWith).await
        };
        self.consuming(Operation::Answer, group, ask).await
    }

    /// Whether the principal may consume: asked before anything of a request is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_consume(&self) -> Result<(), AppendError> {
        self.guard(Operation::Receive, About::beforehand(), self.origin).map(|_| ())
    }

    /// Lets a consumer go. `lost`: nobody knows why it is gone, and what it had counts as tried.
    ///
    /// # Errors
    /// When the principal may not consume, or there is no such group.
    pub async fn leave(&self, group: &str, consumer: &str, lost: bool) -> Result<(), AppendError> {
        let request = Request::Leave { consumer: consumer.to_owned(), lost };
        let permit = self.permitted(Operation::Answer, group)?;
        let tell = async {
            self.check_covers(Operation::Answer, group, &permit).await?;
            let group = self.group_of(group, Some(consumer)).await?;
            self.node.running_groups().tell(&self.namespace, &group, request).await
        };
        self.consuming(Operation::Answer, group, tell).await
    }

    /// The same of a consumer whose session ends, whatever its principal may do by now.
    pub async fn session_ended(&self, group: &str, consumer: &str, lost: bool) {
        let request = Request::Leave { consumer: consumer.to_owned(), lost };
        // A group that is not there has nobody to let go.
        let Ok(group) = self.group_of(group, Some(consumer)).await else { return };
        drop(self.node.running_groups().tell(&self.namespace, &group, request).await);
    }

    /// Says that deliveries did not reach their consumer: they are made again at once, and do not count as tried.
    pub async fn give_back(&self, group: &str, consumer: &str, tokens: Vec<DeliveryToken>) {
        if tokens.is_empty() {
            return;
        }
        let request = Request::GiveBack { consumer: consumer.to_owned(), tokens };
        // A group that is not there has nothing to take back.
        let Ok(group) = self.group_of(group, Some(consumer)).await else { return };
        drop(self.node.running_groups().tell(&self.namespace, &group, request).await);
    }

    pub(super) async fn groups_ask<Q: Send, T: Send>(
        &self,
        group: &str,
        what: Q,
        request: impl FnOnce(nexus_delivery::coordinator::Ask<Q, T>) -> Request + Send,
    ) -> Result<T, AppendError> {
        self.node.running_groups().ask(&self.namespace, group, what, request).await
    }

    /// Whether a consumer may do something in a group, and what is demanded besides.
    fn permitted(&self, operation: Operation, group: &str) -> Result<Permit, AppendError> {
        let about = About::group(group);
        self.guard::<AppendError>(operation, about, self.origin).map(|(_, permit)| permit)
    }

    /// Refuses a group to whoever may see less than its filter lets through.
    async fn check_covers(
        &self,
        operation: Operation,
        group: &str,
        permit: &Permit,
    ) -> Result<(), AppendError> {
        let sees_all = permit.obligations().is_none_or(Obligations::is_every_event);
        let receives = operation == Operation::Receive;
        // Roles demand nothing, and look at no stream; and whoever answers is shown nothing.
        if permit.policy_revision.is_none() || (sees_all && !receives) {
            return Ok(());
        }
        let config = self.groups_ask(group, false, Request::Look).await?.config;
        if receives && config.filter.names_system() {
            let about = About { system: true, ..About::group(group) };
            self.guard::<AppendError>(Operation::Receive, about, self.origin)?;
        }
        if sees_all {
            return Ok(());
        }
        let leads = config.only_routes || !config.branches.is_empty();
        if !leads && permit.covers(&config.filter) {
            return Ok(());
        }
        let reason = format!(
            "group {group:?} delivers what you may not see: have one made whose filter asks for the tags and types that \
             you may, and to which no routes lead"
        );
        Err(AppendError::Denied { reason, denial: None })
    }

    /// Around what consumers do, behind the guard: a duration, and one place where an error is logged.
    async fn consuming<T>(
        &self,
        operation: Operation,
        group: &str,
        ask: impl Future<Output = Result<T, AppendError>>,
    ) -> Result<T, AppendError> {
        let started = Instant::now();
        let answer = match check_group(group) {
            Ok(()) => ask.await,
            Err(name) => Err(name.into()),
        };
        self.scope.telemetry.metrics().ended(operation, started.elapsed());
        if let Err(error) = &answer {
            let context = self.scope.context(operation).from_origin(self.origin);
            self.scope.telemetry.log_error(&context, error);
        }
        answer
    }
}

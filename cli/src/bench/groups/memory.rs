//! What groups cost a server in memory.

use std::sync::Arc;
use std::time::Duration;

use nexus_client::{Client, Consumer};
use nexus_protocol::group::{GroupConfig, GroupMode, IN_FLIGHT_MAX};
use nexus_protocol::limits::DELIVERIES_MAX;
use tokio::task::JoinSet;

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::server::subject::Subject;
use super::consume::group_of;
use crate::exit::Failure;

/// Longer than nothing comes while there is something.
const QUIET: Duration = Duration::from_secs(2);
/// Deliveries are not answered for so long.
const HOURS: Duration = Duration::from_secs(12 * 60 * 60);
/// Deliveries that a consumer is sent ahead.
const AHEAD: u32 = 4 * 1_024;
/// Lanes of the group of which one is stuck, each of a consumer of its own.
const FEW_LANES: u32 = 16;

/// How much.
#[derive(Clone, Copy, Debug)]
struct Amount {
    in_flight: u64,
    lanes: u32,
    passing: u64,
}

impl Amount {
    const FULL: Self = Self { in_flight: 1_000_000, lanes: 10_000, passing: 10_000_000 };
    const QUICK: Self = Self { in_flight: 10_000, lanes: 1_000, passing: 20_000 };
}

/// What became of a consumer's deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    All,
    None,
}

/// Takes until nothing comes any more; gives how many it took, and itself, since what it holds is others' once it is
/// gone.
async fn take_all(consumer: Consumer, answers: Answers) -> Result<(Consumer, u64), Failure> {
    let consumer = Arc::new(consumer);
    let (mut taken, mut acks) = (0, JoinSet::new());
    loop {
        let deliveries = consumer.receive(DELIVERIES_MAX, QUIET).await?;
        if deliveries.is_empty() {
            break;
        }
        taken += deliveries.len() as u64;
        if answers == Answers::All {
            let tokens: Vec<_> = deliveries.iter().map(|delivery| delivery.token).collect();
            let consumer = Arc::clone(&consumer);
            acks.spawn(async move { consumer.ack(&tokens).await });
            while acks.len() > 4 {
                acked(acks.join_next().await)?;
            }
        }
    }
    while let Some(done) = acks.join_next().await {
        acked(Some(done))?;
    }
    let consumer = Arc::into_inner(consumer).expect("all acknowledgements are answered");
    Ok((consumer, taken))
}

/// Makes a group, of which a consumer on each client takes all that it is given; gives how many deliveries that was,
/// and the consumers.
async fn consume(
    clients: &[Client],
    (group, config): (&str, &GroupConfig),
    first: Answers,
) -> Result<(u64, Vec<Consumer>), Failure> {
    clients[0].set_group(group, config).await?;
    let mut tasks = JoinSet::new();
    for (number, client) in clients.iter().enumerate() {
        let consumer = client.consumer(group, &format!("consumer-{number}"));
        let answers = if number == 0 { first } else { Answers::All };
        tasks.spawn(take_all(consumer.prefetch(AHEAD), answers));
    }
    let (mut taken, mut held) = (0, Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (consumer, count) = done.expect("a consumer does not panic")?;
        taken += count;
        held.push(consumer);
    }
    Ok((taken, held))
}

type Acked = Result<nexus_protocol::group::Answered, nexus_protocol::AppendError>;

fn acked(done: Option<Result<Acked, tokio::task::JoinError>>) -> Result<(), Failure> {
    if let Some(done) = done {
        done.expect("an acknowledgement does not panic")?;
    }
    Ok(())
}

impl Bench {
    /// Deliveries in flight, lanes, and one that is stuck.
    pub(super) fn groups_memory(&mut self) -> Result<Vec<Scenario>, Failure> {
        let amount = if self.effort.quick { Amount::QUICK } else { Amount::FULL };
        Ok(vec![self.in_flight(amount)?, self.lanes(amount)?, self.stuck(amount)?])
    }

    /// The server's growth while `consumers` take, of which the first answers as it is said, and the others all. Others
    /// have taken and answered all of it before, so that what any reading costs is there already.
    fn grown(
        &self,
        subject: &Subject,
        (category, config): (&str, &GroupConfig),
        (consumers, first): (usize, Answers),
    ) -> Result<(Option<f64>, u64), Failure> {
        let resident = || subject.process.as_ref().and_then(|process| process.resident_kib());
        let clients: Vec<Client> = subject.clients(consumers)?;
        let runtime = &subject.runtime;
        let others = format!("{category}-others");
        drop(runtime.block_on(consume(&clients, (&others, config), Answers::All))?);
        let before = resident();
        let (taken, held) = runtime.block_on(consume(&clients, (category, config), first))?;
        let after = resident();
        drop(held);
        subject.close(clients);
        let grown = before.and_then(|before| Some(after?.saturating_sub(before)));
        Ok((grown.map(|kib| kib as f64 / 1024.0), taken))
    }

    fn judged(name: &str, target: f64, grown: Option<f64>, about: String) -> Scenario {
        let goal = Scenario::new(name, "MiB", Better::Lower, target);
        match grown {
            Some(grown) => goal.measured(grown).note(format!(
                "VmRSS of the server afterwards, less that after another group had done all of it; {about}"
            )),
            None => goal.note("the server is no child of this process, which is told of no other"),
        }
    }

    fn in_flight(&self, amount: Amount) -> Result<Scenario, Failure> {
        self.with_server("groups-in-flight", |subject| {
            let category = subject.named("flight").replace('-', "");
            self.backlog(subject, &category, 1_000, amount.in_flight)?;
            let config = GroupConfig {
                max_in_flight: IN_FLIGHT_MAX,
                ack_deadline: HOURS,
                ..group_of(GroupMode::Unordered, &category)
            };
            let (grown, taken) = self.grown(subject, (&category, &config), (1, Answers::None))?;
            let about = format!("{taken} deliveries with one consumer, none answered");
            Ok(Self::judged("groups-memory/in-flight", 200.0, grown, about))
        })
    }

    fn lanes(&self, amount: Amount) -> Result<Scenario, Failure> {
        self.with_server("groups-lanes", |subject| {
            let category = subject.named("lanes").replace('-', "");
            // Ten of each stream.
            let streams = u64::from(amount.lanes);
            self.backlog(subject, &category, streams, 10 * streams)?;
            let config = GroupConfig {
                lanes: amount.lanes,
                max_in_flight: IN_FLIGHT_MAX,
                ack_deadline: HOURS,
                ..group_of(GroupMode::Ordered, &category)
            };
            let (grown, taken) = self.grown(subject, (&category, &config), (1, Answers::None))?;
            let about = format!("{} lanes, {taken} deliveries in flight", amount.lanes);
            Ok(Self::judged("groups-memory/lanes", 32.0, grown, about))
        })
    }

    fn stuck(&self, amount: Amount) -> Result<Scenario, Failure> {
        self.with_server("groups-stuck", |subject| {
            let category = subject.named("stuck").replace('-', "");
            self.backlog(subject, &category, 1_000, amount.passing)?;
            let config = GroupConfig {
                lanes: FEW_LANES,
                max_in_flight: IN_FLIGHT_MAX,
                max_in_flight_per_lane: 10,
                ack_deadline: HOURS,
                ..group_of(GroupMode::Ordered, &category)
            };
            let consumers = usize::try_from(FEW_LANES).unwrap_or(1);
            let (grown, taken) =
                self.grown(subject, (&category, &config), (consumers, Answers::None))?;
            let about = format!(
                "{} events of 1,000 streams in {FEW_LANES} lanes; the consumer of one takes and never answers, the \
                 others took and acknowledged all they were given: {taken} deliveries",
                amount.passing
            );
            Ok(Self::judged("groups-memory/stuck", 64.0, grown, about))
        })
    }
}

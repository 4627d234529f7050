//! A projection that a server folds again from the first event: how fast, and on how many cores.

use std::time::{Duration, Instant};

use nexus_client::Client;
use nexus_protocol::limits::LOOKUP_WAIT_MS_DEFAULT;
use nexus_protocol::projection::{Lookup, ProjectionChange, ProjectionInfo};
use nexus_protocol::{EventStore as _, ReadError};

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::median;
use super::super::server::appends::fill;
use super::super::server::subject::Subject;
use super::super::workload::UNDER_WAY;
use super::purchases::{one_each, purchases};
use super::{failed, name_of};
use crate::exit::Failure;

/// Cores that are to be busy.
const CORES: f64 = 1.5;
/// It is looked so often whether it is done; nothing tells it.
const LOOK: Duration = Duration::from_millis(20);

/// What a rebuild took.
struct Took {
    elapsed: Duration,
    /// Of the server, where that is a child of this process.
    cpu: Option<Duration>,
}

/// A projection over many events.
struct Subjected<'s> {
    subject: &'s Subject,
    client: Client,
    name: String,
    events: u64,
}

impl<'s> Subjected<'s> {
    /// Appends the events, and folds them once.
    fn new(subject: &'s Subject, events: u64) -> Result<Self, Failure> {
        let name = name_of(subject, "rebuild");
        let client = subject.clients(1)?.pop().ok_or_else(|| failed("no client"))?;
        fill(&subject.runtime, &client, purchases(events, &name), UNDER_WAY)?;
        let this = Self { subject, client, name, events };
        this.subject.runtime.block_on(async {
            this.client.set_projection(&this.name, &one_each(&this.name, &this.name)).await?;
            let min_position = this.client.head().await?.position;
            let (key, timeout_ms) = ("nothing".to_owned(), Some(LOOKUP_WAIT_MS_DEFAULT));
            let lookup = Lookup { key, min_position, timeout_ms };
            loop {
                match this.client.lookup(&this.name, &lookup).await {
                    Ok(_) | Err(ReadError::NotFound { .. }) => return Ok::<_, Failure>(()),
                    Err(ReadError::NotCaughtUp { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        })?;
        Ok(this)
    }

    /// How it is; where it has failed, why.
    async fn info(&self) -> Result<ProjectionInfo, Failure> {
        let info = self.client.projection(&self.name).await?;
        match &info.error {
            Some(why) => Err(failed(format!("the projection has failed: {why}"))),
            None => Ok(info),
        }
    }

    /// Folds all of them again.
    fn again(&self) -> Result<Took, Failure> {
        let cpu = || self.subject.process.as_ref().and_then(|process| process.cpu());
        self.subject.runtime.block_on(async {
            let old = self.info().await?;
            let (begun, before) = (Instant::now(), cpu());
            self.client.change_projection(&self.name, ProjectionChange::Rebuild).await?;
            let mut looks = tokio::time::interval(LOOK);
            let new = loop {
                looks.tick().await;
                let info = self.info().await?;
                // Those that were folded before are gone once the others answer.
                let generation =
                    |info: &ProjectionInfo| info.builds.first().map(|it| it.generation);
                if info.builds.len() == 1 && generation(&info) != generation(&old) {
                    break info;
                }
            };
            let (elapsed, after) = (begun.elapsed(), cpu());
            if (new.documents, &new.documents_digest) != (self.events, &old.documents_digest) {
                return Err(failed("what was folded again is not what it was"));
            }
            let cpu = before.zip(after).map(|(before, after)| after.saturating_sub(before));
            Ok(Took { elapsed, cpu })
        })
    }
}

impl Bench {
    /// A server that has nothing else to do.
    pub(super) fn rebuild(&mut self) -> Result<Vec<Scenario>, Failure> {
        let (events, times) = (self.effort.documents(), if self.effort.quick { 1 } else { 3 });
        self.with_server("rebuild", |subject| {
            let projection = Subjected::new(subject, events)?;
            let all = (0..times).map(|_| projection.again()).collect::<Result<Vec<_>, _>>()?;
            let gone = ProjectionChange::Delete { version: None };
            let client = projection.client;
            subject.runtime.block_on(client.change_projection(&projection.name, gone))?;
            subject.close(vec![client]);
            let rate = |took: &Took| events as f64 / took.elapsed.as_secs_f64().max(1e-9);
            let per_s = median(all.iter().map(rate).collect());
            let beside = Scenario::without_target("rebuild", "events/s", Better::Higher);
            let mut beside = beside.measured(per_s).note(format!(
                "{events} events that are a document each, sink `search`, a server that has nothing else to do, {times} \
                 times; from the request until the new documents answer, seen to {} ms; the digests are the same after",
                LOOK.as_millis()
            ));
            beside.events_per_s = Some(per_s);
            let goal = Scenario::new("rebuild/cores", "cores", Better::Higher, CORES);
            let busy = |took: &Took| {
                Some(took.cpu?.as_secs_f64() / took.elapsed.as_secs_f64().max(1e-9))
            };
            let cores: Option<Vec<f64>> = all.iter().map(busy).collect();
            let cores = match cores {
                Some(cores) => goal.measured(median(cores)).note(format!(
                    "processor time of the server over the time that it took, of {} cores",
                    std::thread::available_parallelism().map_or(1, usize::from)
                )),
                None => goal.note("the server is no child of this process, which is told of no other"),
            };
            Ok(vec![beside, cores])
        })
    }
}

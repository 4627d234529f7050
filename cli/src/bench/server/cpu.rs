//! What an append costs in processor time, door by door.

use std::time::Duration;

use super::super::Bench;
use super::super::report::{Better, Scenario};
use super::super::rounds::Turn;
use super::super::workload::Writer;
use super::appends::{Embedded, MANY, QuicWriter};
use super::drive::drive;
use super::http::{HttpWriter, NO_HTTP};
use super::process::cpu_of_this;
use super::subject::Subject;
use crate::exit::Failure;

const UNIT: &str = "cpu s per 1M events";
const NO_PROCESS: &str = "the server is no child of this process, which is told of no other";

/// What was done through one door, and what it cost.
#[derive(Debug, Default)]
struct Bill {
    turn: Turn,
    server: Duration,
    clients: Duration,
}

impl Bill {
    /// Does something, and adds up what it cost.
    fn add(
        &mut self,
        subject: &Subject,
        work: impl FnOnce() -> Result<Turn, Failure>,
    ) -> Result<(), Failure> {
        let used = || {
            let server = subject.process.as_ref().and_then(|process| process.cpu());
            (server.unwrap_or_default(), cpu_of_this().unwrap_or_default())
        };
        let before = used();
        let turn = work()?;
        let after = used();
        self.server += after.0 - before.0;
        self.clients += after.1 - before.1;
        self.turn.events += turn.events;
        self.turn.elapsed += turn.elapsed;
        self.turn.latencies.add_all(&turn.latencies);
        Ok(())
    }

    fn per_million(&self, used: Duration) -> f64 {
        used.as_secs_f64() * 1e6 / self.turn.events.max(1) as f64
    }

    fn scenario(&self, name: &str, used: Duration, note: String) -> Scenario {
        let goal = Scenario::without_target(name, UNIT, Better::Lower);
        let mut scenario = goal.latencies(&self.turn.latencies).measured(self.per_million(used));
        scenario.events_per_s = Some(self.turn.per_s());
        scenario.note(note)
    }
}

impl Bench {
    /// Thirty-two writers, batch 1: over QUIC, over HTTP, and embedded, in turns.
    pub(super) fn cpu(&mut self) -> Result<Vec<Scenario>, Failure> {
        const NAMES: [&str; 3] = ["cpu-quic", "cpu-http", "cpu-embedded"];
        if self.server.is_some() {
            let goal = |name| Scenario::without_target(name, UNIT, Better::Lower).note(NO_PROCESS);
            return Ok(NAMES.into_iter().map(goal).collect());
        }
        self.with_server("cpu", |subject| {
            let clients = subject.clients(MANY)?;
            let writers = |name: &str| Writer::several(&self.orders, &subject.named(name), MANY);
            let mut over_quic = QuicWriter::several(&clients, writers("quic"), 1);
            let over_http = HttpWriter::several(subject, writers("http"))?;
            let mut over_http = over_http.ok_or_else(|| Failure::failed(NO_HTTP))?;
            let (mut quic, mut http) = (Bill::default(), Bill::default());
            let embedded = self.with_engine("cpu-embedded", self.backend, |engine| {
                let (runtime, turn) = (&subject.runtime, self.effort.turn);
                let mut writers = Embedded::new(self, engine, MANY, 1);
                let mut embedded = Bill::default();
                drive(runtime, &mut over_quic, turn / 2)?;
                drive(runtime, &mut over_http, turn / 2)?;
                writers.turn(turn / 2)?;
                for _ in 0..self.effort.rounds {
                    quic.add(subject, || drive(runtime, &mut over_quic, turn))?;
                    http.add(subject, || drive(runtime, &mut over_http, turn))?;
                    embedded.add(subject, || writers.turn(turn))?;
                }
                Ok(embedded)
            })?;
            subject.close(clients);
            let beside = |bill: &Bill| {
                let clients = bill.per_million(bill.clients);
                format!("{MANY} connections; the clients used {clients:.1} s a million besides")
            };
            Ok(vec![
                quic.scenario(NAMES[0], quic.server, beside(&quic)),
                http.scenario(NAMES[1], http.server, beside(&http)),
                embedded.scenario(
                    NAMES[2],
                    embedded.clients,
                    format!(
                        "{MANY} threads; log and writers are one process, and are not told apart"
                    ),
                ),
            ])
        })
    }
}

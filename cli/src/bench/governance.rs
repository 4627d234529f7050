//! The set `governance`: what it costs to hold events to schemas, in this process; what policies cost is in
//! [`super::policies`].

use std::hint::black_box;
use std::sync::Arc;

use nexus_client::Address;
use nexus_client::schemas::json::Inference;
use nexus_client::schemas::{Chain, Compiled, Step, Transform};
use nexus_engine::Engine;
use nexus_protocol::schema::SchemaFormat;
use nexus_protocol::{JSON, NamespaceName, Read};

use super::report::{Better, Scenario};
use super::rounds::{Latencies, Rounds, Turn};
use super::workload::{DATA_BYTES, STREAM_EVENTS, fill, repeat_for};
use super::{Bench, Entry};
use crate::exit::Failure;
use crate::schema::look_at;
use crate::store::Remote;

/// Events that are looked at between two looks at the clock.
const TOGETHER: u64 = 1_024;
/// Events of a stream that are appended together.
const ROUND_EVENTS: u64 = 100;

/// The operations of five versions of an order.
const FIVE_VERSIONS: [&str; 5] = [
    r#"[{"op": "rename", "path": "/customer_id", "to": "customer"}]"#,
    r#"[{"op": "default", "path": "/currency", "value": "CHF"}]"#,
    r#"[{"op": "move", "from": "/total_cents", "to": "/total/cents"}]"#,
    r#"[{"op": "drop", "path": "/note"}]"#,
    r#"[{"op": "cast", "path": "/customer", "to": "string", "from": "integer"}]"#,
];

/// Scenarios of schemas and policies.
pub(super) const ENTRIES: [Entry; 7] = [
    Entry {
        names: &["schema-validate"],
        goals: &[
            "an order of 256 B, parsed and held to a JSON Schema, one core: at most 2.5 us an event",
        ],
        run: Bench::validate,
    },
    Entry {
        names: &["schema-transform"],
        goals: &[
            "an order of 256 B, through five versions of one operation each, one core: at most 3 us an event",
        ],
        run: Bench::transform,
    },
    Entry {
        names: &["schema-against-log"],
        goals: &["a candidate on all events of a log: at least 300,000 events/s"],
        run: Bench::against_log,
    },
    Entry {
        names: &["policy-rules"],
        goals: &[
            "the starter bundle on an append of an order, one core: at most 1.1 x the raw interpreter",
        ],
        run: Bench::rules,
    },
    Entry {
        names: &["policy-remembered"],
        goals: &["a decision that follows from headers, one core: at most 2 us"],
        run: Bench::remembered,
    },
    Entry {
        names: &["governed-appends"],
        goals: &[
            "32 writers whose orders follow a schema, and are asked about by their heads: at least 0.7 x the rate without both",
        ],
        run: Bench::governed,
    },
    Entry {
        names: &["governed-appends-by-content"],
        goals: &["the same where rules look into each order: at least 0.7 x the rate without both"],
        run: Bench::governed_by_content,
    },
];

impl Bench {
    /// The schema that the orders follow, made ready.
    fn schema_of_orders(&self) -> Result<Compiled, Failure> {
        let compiled = Compiled::new(SchemaFormat::Json, &self.schema_text()?, &[]);
        compiled.map_err(|why| Failure::failed(why.to_string()))
    }

    /// The text of the schema that the orders follow.
    pub(super) fn schema_text(&self) -> Result<String, Failure> {
        let mut inference = Inference::new();
        for number in 0..TOGETHER * 4 {
            let event = self.orders.event(number);
            let order = serde_json::from_slice(&event.data);
            inference.add(&order.map_err(|why| Failure::failed(format!("an order: {why}")))?);
        }
        Ok(inference.finish().to_string())
    }

    /// Does something with the data of orders for a turn.
    fn each_order(&self, mut work: impl FnMut(&[u8]) -> bool) -> Result<Turn, Failure> {
        let events: Vec<_> = (0..TOGETHER * 4).map(|number| self.orders.event(number)).collect();
        repeat_for(self.effort.turn, || match events.iter().all(|event| work(&event.data)) {
            true => Ok(events.len() as u64),
            false => Err(Failure::failed("an order does not follow the schema of orders")),
        })
    }

    fn validate(&mut self) -> Result<Vec<Scenario>, Failure> {
        let schema = self.schema_of_orders()?;
        let rounds = Rounds::run(
            self.effort.rounds,
            &mut [&mut || {
                self.each_order(|data| {
                    black_box(serde_json::from_slice::<serde_json::Value>(data)).is_ok()
                })
            }],
            || self.each_order(|data| black_box(schema.validate(JSON, data)).is_ok()),
        )?;
        let us = 1e6 / rounds.per_s();
        let goal = Scenario::new("schema-validate", "us/event", Better::Lower, 2.5);
        let mut scenario = goal.ratios(rounds.rate_ratios()).measured(us);
        scenario.events_per_s = Some(rounds.per_s());
        scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
        Ok(vec![scenario.note(format!(
            "orders of {DATA_BYTES} B, one thread, nothing is stored; parsing included; ceiling: parsing alone"
        ))])
    }

    fn transform(&mut self) -> Result<Vec<Scenario>, Failure> {
        let step = |text: &&str| {
            let transform = Transform::parse(text).map_err(|why| Failure::failed(why.to_string()));
            transform.map(|it| Step::Transform(Arc::new(it)))
        };
        let chain = Chain::new(FIVE_VERSIONS.iter().map(step).collect::<Result<Vec<_>, _>>()?);
        let rounds = Rounds::run(
            self.effort.rounds,
            &mut [&mut || {
                self.each_order(|data| {
                    let value = serde_json::from_slice::<serde_json::Value>(data);
                    value.is_ok_and(|it| black_box(serde_json::to_vec(&it)).is_ok())
                })
            }],
            || {
                self.each_order(|data| {
                    chain.apply("OrderPlaced", data).is_ok_and(|it| black_box(it).len() == 1)
                })
            },
        )?;
        let us = 1e6 / rounds.per_s();
        let goal = Scenario::new("schema-transform", "us/event", Better::Lower, 3.0);
        let mut scenario = goal.ratios(rounds.rate_ratios()).measured(us);
        scenario.events_per_s = Some(rounds.per_s());
        scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
        Ok(vec![scenario.note(format!(
            "orders of {DATA_BYTES} B, one thread, nothing is stored: rename, default, move, drop, and cast, as five versions; \
             ceiling: read into values and written again, with nothing changed"
        ))])
    }

    fn against_log(&mut self) -> Result<Vec<Scenario>, Failure> {
        let dir = self.dir.join("against-log");
        let engine = Engine::options().backend(self.backend).open(&dir)?;
        fill(&engine, &self.orders, self.effort.streams, ROUND_EVENTS)?;
        engine.close().map_err(|error| Failure::failed(error.to_string()))?;
        let namespace = NamespaceName::new(NamespaceName::DEFAULT)
            .map_err(|why| Failure::failed(why.to_string()))?;
        let remote = Remote::connect(Address::directory(&dir).with_namespace(&namespace))?;
        let schema = self.schema_of_orders()?;
        let timed = |work: &dyn Fn() -> Result<u64, Failure>| -> Result<Turn, Failure> {
            let begun = std::time::Instant::now();
            let events = work()?;
            Ok(Turn { events, elapsed: begun.elapsed(), latencies: Latencies::default() })
        };
        let read = || -> Result<u64, Failure> {
            let (mut events, mut count) = (remote.client.read(Read::all()), 0);
            while let Some(event) = remote.next(&mut events) {
                black_box(event?.data());
                count += 1;
            }
            Ok(count)
        };
        let checked = || -> Result<u64, Failure> {
            let done = look_at(&remote, Read::all(), u64::MAX, &|_| true, &schema, None)?;
            match done.failed {
                0 => Ok(done.checked),
                failed => {
                    Err(Failure::failed(format!("{failed} orders do not follow their schema")))
                }
            }
        };
        let rounds =
            Rounds::run(self.effort.rounds, &mut [&mut || timed(&read)], || timed(&checked))?;
        remote.close()?;
        std::fs::remove_dir_all(&dir)
            .map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
        let goal = Scenario::new("schema-against-log", "events/s", Better::Higher, 300_000.0);
        let mut scenario = goal.ratios(rounds.rate_ratios()).measured(rounds.per_s());
        scenario.events_per_s = Some(rounds.per_s());
        scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
        Ok(vec![scenario.note(format!(
            "{} events of {DATA_BYTES} B in a directory, as `nexus schema check --against-log --all` looks at them; \
             ceiling: the same events by a plain read of the client",
            self.effort.streams * STREAM_EVENTS
        ))])
    }
}

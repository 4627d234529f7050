//! What policies cost, in this process: the bundle to begin with, on orders.

use std::hint::black_box;

use nexus_engine::Engine;
use nexus_node::{Access, Node, Principal, PrincipalKind, Role};
use nexus_policies::{
    Action, Asked, Bundle, Files, Policies, ROLES, RawMachine, Reach, Resource, STARTER, Subject,
};
use nexus_protocol::schema::{
    NewSchema, Pattern, SchemaFormat, SettingsChange, SettingsOf, Validation,
};
use nexus_protocol::{Append, NamespaceName, Timestamp};
use serde_json::json;

use super::Bench;
use super::report::{Better, Scenario};
use super::rounds::{Rounds, Turn};
use super::workload::{DATA_BYTES, Writer, append_by, repeat_for};
use crate::exit::Failure;

/// Appends that are asked about between two looks at the clock.
const TOGETHER: u64 = 64;
/// Writers of the scenario with both.
const WRITERS: usize = 32;

fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::failed(why.to_string())
}

/// Whoever the starter bundle lets append orders of any tenant.
fn administrator() -> Principal {
    Principal::new("bench", PrincipalKind::Token, vec![Role::Admin])
}

fn bundle_of(files: Files) -> Result<Bundle, Failure> {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Bundle::new(files).map_err(failed)
}

fn asked<'a>(subject: &'a Subject, append: Option<&'a Append>) -> Asked<'a> {
    let action = if append.is_some() { Action::Append } else { Action::Read };
    let resource = Resource {
        namespace: NamespaceName::DEFAULT,
        operation: action.as_str(),
        stream: Some("order-1"),
        ..Resource::default()
    };
    let (door, now) = (Some("quic"), Timestamp::from_micros(0));
    Asked { action, reach: Reach::Use, subject, resource, append, door, now }
}

impl Bench {
    fn appends(&self) -> Vec<Append> {
        (0..TOGETHER).map(|it| Append::to("order-1").event(self.orders.event(it))).collect()
    }

    pub(super) fn rules(&mut self) -> Result<Vec<Scenario>, Failure> {
        let bundle = bundle_of(STARTER)?;
        let policies = Policies::compile(&bundle).map_err(failed)?;
        let mut raw = RawMachine::new(&bundle, Action::Append).map_err(failed)?;
        let subject = Subject::new("bench", "token", None, &["admin"], &serde_json::Map::new());
        let appends = self.appends();
        let inputs: Vec<String> = appends
            .iter()
            .map(|append| policies.input(&asked(&subject, Some(append))).to_string())
            .collect();
        let turn = self.effort.turn;
        let each = |done: bool| match done {
            true => Ok(TOGETHER),
            false => Err(Failure::failed("an order is not allowed by the starter bundle")),
        };
        let rounds = Rounds::run(
            self.effort.rounds,
            &mut [&mut || {
                repeat_for(turn, || each(inputs.iter().all(|it| raw.allows(it) == Some(true))))
            }],
            || {
                repeat_for(turn, || {
                    let allows = |append| policies.evaluate(&asked(&subject, Some(append))).allow;
                    each(appends.iter().all(allows))
                })
            },
        )?;
        let us = 1e6 / rounds.per_s();
        let goal = Scenario::new("policy-rules", "x raw interpreter", Better::Lower, 1.1);
        let ratios: Vec<f64> = rounds.rate_ratios().iter().map(|ratio| 1.0 / ratio).collect();
        let mut scenario = goal.ratios(ratios);
        let ratio = scenario.ratio.unwrap_or(f64::INFINITY);
        scenario = scenario.measured(ratio);
        scenario.events_per_s = Some(rounds.per_s());
        scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
        Ok(vec![scenario.note(format!(
            "{us:.1} us a decision; the starter bundle on an append of one order of {DATA_BYTES} B, its data looked into, \
             one thread; ceiling: the interpreter's own machine with the same rules, its input read from JSON"
        ))])
    }

    pub(super) fn remembered(&mut self) -> Result<Vec<Scenario>, Failure> {
        let policies = Policies::compile(&bundle_of(STARTER)?).map_err(failed)?;
        let subject = Subject::new("bench", "token", None, &["admin"], &serde_json::Map::new());
        let turn = self.effort.turn;
        let decide = |policies: &Policies| black_box(policies.decide(&asked(&subject, None))).allow;
        let evaluate = |policies: &Policies| policies.evaluate(&asked(&subject, None)).allow;
        let many = |allows: &dyn Fn(&Policies) -> bool| -> Result<Turn, Failure> {
            repeat_for(turn, || match (0..TOGETHER).all(|_| allows(&policies)) {
                true => Ok(TOGETHER),
                false => Err(Failure::failed("a read is not allowed by the starter bundle")),
            })
        };
        let rounds =
            Rounds::run(self.effort.rounds, &mut [&mut || many(&evaluate)], || many(&decide))?;
        let us = 1e6 / rounds.per_s();
        let goal = Scenario::new("policy-remembered", "us/decision", Better::Lower, 2.0);
        let mut scenario = goal.ratios(rounds.rate_ratios()).measured(us);
        scenario.events_per_s = Some(rounds.per_s());
        scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
        Ok(vec![scenario.note(
            "the starter bundle on a read of a stream, one thread; beside it: the same by running the rules each time",
        )])
    }

    /// Rules that look at heads: what they say is remembered.
    pub(super) fn governed(&mut self) -> Result<Vec<Scenario>, Failure> {
        self.governed_by("governed-appends", &bundle_of(ROLES)?, "by roles, as an active bundle")
    }

    /// Rules that look into each order.
    pub(super) fn governed_by_content(&mut self) -> Result<Vec<Scenario>, Failure> {
        let name = "governed-appends-by-content";
        self.governed_by(name, &bundle_of(STARTER)?, "the starter bundle, which looks into each")
    }

    fn governed_by(
        &self,
        name: &'static str,
        bundle: &Bundle,
        rules: &str,
    ) -> Result<Vec<Scenario>, Failure> {
        let schema = self.schema_text()?;
        let dir = self.dir.join(name);
        let engine = Engine::options().backend(self.backend).open(&dir)?;
        let node = Node::over(engine).map_err(failed)?;
        node.create_namespace(&Principal::local(), "governed").map_err(failed)?;
        let here = node.access(Principal::local(), "governed").map_err(failed)?;
        govern(&here, &schema, bundle)?;
        let plain = node.access(administrator(), NamespaceName::DEFAULT).map_err(failed)?;
        let governed = node.access(administrator(), "governed").map_err(failed)?;
        let turn = self.effort.turn;
        let mut writers = Writer::several(&self.orders, "plain", WRITERS);
        let mut held = Writer::several(&self.orders, "governed", WRITERS);
        let rounds = Rounds::run(
            self.effort.rounds,
            &mut [&mut || append_by(&|it| plain.append(it)?.wait(), &mut writers, 1, turn)],
            || append_by(&|it| governed.append(it)?.wait(), &mut held, 1, turn),
        )?;
        node.close().map_err(failed)?;
        std::fs::remove_dir_all(&dir)
            .map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
        let goal = Scenario::new(name, "x without both", Better::Higher, 0.7);
        let mut scenario = goal.ratios(rounds.rate_ratios());
        let ratio = scenario.ratio.unwrap_or(0.0);
        scenario = scenario.measured(ratio);
        scenario.events_per_s = Some(rounds.per_s());
        scenario.ceiling_per_s = Some(rounds.ceiling_per_s(0));
        Ok(vec![scenario.note(format!(
            "{WRITERS} threads, an order of {DATA_BYTES} B each time, every append durable, through the handlers of a node; \
             held to a JSON Schema, and decided {rules}; \
             beside it: the same in a namespace without a schema, where roles decide"
        ))])
    }
}

/// Has orders follow a schema, and a bundle decide.
fn govern(here: &Access, schema: &str, bundle: &Bundle) -> Result<(), Failure> {
    here.register_schema("Order", &NewSchema::new(SchemaFormat::Json, schema.to_owned()))?;
    let change = SettingsChange {
        categories: Some(vec![Pattern::new("order").map_err(failed)?]),
        validation: Some(Some(Validation::Required)),
        ..SettingsChange::default()
    };
    here.set_schema_settings(&SettingsOf::Subject("Order".to_owned()), &change)?;
    here.activate_policies(bundle.clone().into(), false)?;
    // What follows no schema, and what is over the limit, is refused: else nothing would be measured.
    let wrong = nexus_protocol::EventData::json("OrderPlaced", &json!({ "total_cents": "x" }));
    let wrong = Append::to("order-wrong").event(wrong.map_err(failed)?);
    match here.append(wrong).map(|pending| pending.wait()) {
        Err(_) | Ok(Err(_)) => Ok(()),
        Ok(Ok(_)) => Err(Failure::failed("an order that follows no schema was appended")),
    }
}

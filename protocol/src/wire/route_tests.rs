//! Messages of routes come back as they were, and what an enemy sends in their place is refused.

use bytes::Bytes;
use proptest::prelude::*;

use super::samples::{Samples, filter};
use super::tests::recorded;
use super::*;
use crate::group::GroupStart;
use crate::route::{
    Branch, Condition, DryRun, Operator, RouteConfig, RouteInfo, RouteState, RouteTarget,
};
use crate::{Filter, Position};

fn conditions() -> Vec<Condition> {
    let amount = Condition::new("/data/amount", Operator::Ge, 100.into()).unwrap();
    let kind = serde_json::json!(["a", null]);
    vec![amount, Condition::new("/metadata/kind", Operator::In, kind).unwrap()]
}

pub(super) fn branch() -> Branch {
    Branch { name: "large".into(), filter: filter(), conditions: conditions() }
}

fn config() -> RouteConfig {
    RouteConfig {
        filter: filter(),
        conditions: conditions(),
        to: RouteTarget::Stream("large-orders".into()),
        start: GroupStart::End,
    }
}

fn to_group() -> RouteConfig {
    let to = RouteTarget::Group("mail".into());
    RouteConfig { filter: Filter::all(), conditions: Vec::new(), to, start: GroupStart::End }
}

fn info() -> RouteInfo {
    RouteInfo {
        name: "large".into(),
        config: config(),
        state: RouteState::Running,
        error: None,
        position: Some(Position::new(7)),
        head_position: Some(Position::new(9)),
        lag_events: 3,
        links: 2,
    }
}

fn failed() -> RouteInfo {
    let error = Some("stream \"a\" is deleted".to_owned());
    RouteInfo { state: RouteState::Failed, error, position: None, config: to_group(), ..info() }
}

fn dry_run() -> DryRun {
    let from_position = Some(Position::new(1));
    DryRun { matched: 2, looked_at: 5, from_position, events: vec![recorded(1), recorded(2)] }
}

/// What version 3 has of routes.
pub(super) fn routes(samples: &mut Samples) {
    let mut ask = |variant: &str, route: &str, ask| {
        samples.open(variant, Operation::Route { route: route.into(), ask: Box::new(ask) });
    };
    ask("", "large", RouteAsk::Set((&config()).into()));
    ask("_to_group", "mail", RouteAsk::Set((&to_group()).into()));
    ask("", "", RouteAsk::Names);
    ask("", "large", RouteAsk::Info);
    ask("", "large", RouteAsk::Delete);
    ask("", "large", RouteAsk::DryRun { config: None, limit: 10 });
    let config = Some((&config()).into());
    ask("_of_what_is_to_be", "large", RouteAsk::DryRun { config, limit: 10 });
    samples.answer("", &Answer::RouteSet { made: true });
    samples.answer("", &Answer::Routes(vec!["large".into(), "mail".into()]));
    samples.answer("", &Answer::Route(Box::new((&info()).into())));
    samples.answer("_failed", &Answer::Route(Box::new((&failed()).into())));
    samples.answer("", &Answer::DryRun((&dry_run()).into()));
}

#[test]
fn words_of_routes_come_back_as_they_were() {
    for config in [config(), to_group()] {
        assert_eq!(RouteConfig::try_from(RouteConfigHead::from(&config)), Ok(config));
    }
    for info in [info(), failed()] {
        assert_eq!(RouteInfo::try_from(RouteHead::from(&info)), Ok(info));
    }
    let run = dry_run();
    let (head, payload) = (DryRunHead::from(&run), DryRunHead::payload_of(&run));
    assert_eq!(head.with_events(payload.into()), Ok(run));
}

#[test]
fn a_payload_that_is_cut_is_no_dry_run() {
    let payload = Bytes::from(DryRunHead::payload_of(&dry_run()));
    let whole = recorded(1).as_bytes().len();
    for cut in (1..payload.len()).filter(|cut| *cut != whole) {
        let head = DryRunHead::from(&dry_run());
        assert!(head.with_events(payload.slice(..cut)).is_err(), "{cut}");
    }
}

proptest! {
    #[test]
    fn payloads_of_an_enemy_are_answered_with_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 1..600),
    ) {
        prop_assert!(DryRunHead::from(&dry_run()).with_events(bytes.into()).is_err());
    }
}

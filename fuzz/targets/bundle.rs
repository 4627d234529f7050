//! Texts of rules: none ends the process, or takes for ever, and what is not allowed says why.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nexus_policies::{
    Action, Asked, Bundle, Decision, Policies, Reach, Resource, Severity, Subject, lint,
};
use nexus_protocol::Timestamp;
use serde_json::Map;

/// Files stand between these.
const BETWEEN: u8 = 0;

/// What the files are called, in their order.
const NAMES: &[&str] = &["read.rego", "lib.rego", "data.json", "read_test.rego"];

fuzz_target!(|data: &[u8]| {
    let pieces = data.splitn(NAMES.len(), |byte| *byte == BETWEEN);
    let Some(files) = NAMES
        .iter()
        .zip(pieces)
        .map(|(name, text)| Some(((*name).to_owned(), std::str::from_utf8(text).ok()?.to_owned())))
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let Ok(bundle) = Bundle::new(files) else { return };
    // What is kept is read again as the same.
    let kept = serde_json::to_string(&bundle).expect("a bundle is JSON");
    assert_eq!(serde_json::from_str::<Bundle>(&kept).expect("a kept bundle is one"), bundle);
    let has_errors = lint(&bundle).iter().any(|it| it.severity == Severity::Error);
    let Ok(policies) = Policies::compile(&bundle) else {
        assert!(has_errors, "it does not compile, and nothing was found");
        return;
    };
    let subject = Subject::new("somebody", "token", None, &["reader"], &Map::new());
    let asked = Asked {
        action: Action::Read,
        reach: Reach::Use,
        subject: &subject,
        resource: Resource {
            namespace: "default",
            operation: "read",
            stream: Some("order-1"),
            ..Resource::default()
        },
        append: None,
        door: Some("quic"),
        now: Timestamp::from_micros(0),
    };
    let decision = policies.evaluate(&asked);
    let again = policies.decide(&asked);
    // Whether a rule ends in time is no matter of the input alone.
    let is_failed = |said: &Decision| said.reasons.iter().any(|it| it.code == "rule_failed");
    assert!(is_failed(&decision) || is_failed(&again) || *again == decision);
    let is_there = policies.decides().any(|it| it == Action::Read);
    assert!(is_there || (!decision.allow && !decision.reasons.is_empty()));
});

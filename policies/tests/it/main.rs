//! Bundles by what they decide, through what other crates see of this one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod decide;
mod hostile;

use nexus_policies::{
    Action, Asked, BadBundle, Bundle, Decision, Policies, Reach, Resource, Subject,
};
use nexus_protocol::Timestamp;
use serde_json::Map;

/// A bundle of these files.
fn bundle(files: &[(&str, &str)]) -> Result<Bundle, BadBundle> {
    Bundle::new(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
}

/// Rules about reads.
fn reads(rules: &str) -> Result<Policies, BadBundle> {
    let text = format!("package nexus.read\n\n{rules}");
    Policies::compile(&bundle(&[("read.rego", &text)])?)
}

/// Somebody with a role.
fn subject(role: &str) -> Subject {
    Subject::new("somebody", "token", None, &[role], &Map::new())
}

/// Whether that may be read.
fn read<'a>(subject: &'a Subject, stream: &'a str) -> Asked<'a> {
    Asked {
        action: Action::Read,
        reach: Reach::Use,
        subject,
        resource: Resource {
            namespace: "default",
            operation: "read",
            stream: Some(stream),
            ..Resource::default()
        },
        append: None,
        door: Some("http"),
        now: Timestamp::from_micros(1_700_000_000_000_000),
    }
}

/// The codes of the reasons.
fn codes(decision: &Decision) -> Vec<&str> {
    decision.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

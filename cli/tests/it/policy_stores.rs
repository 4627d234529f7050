//! `nexus policy` at a store: bundles that decide over a server and on a directory, and are asked again about what was decided;
//! and those that come with Nexus.

use serde_json::{Value, json};

use crate::nexus::{Folder, lines};
use crate::places::{at_both, parsed};

/// A bundle that comes with Nexus.
pub(crate) fn comes_with(name: &str) -> String {
    format!("{}/../policies/rego/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A bundle of these rules.
pub(crate) fn bundle(folder: &Folder, name: &str, rules: &[&str]) -> String {
    let dir = folder.path(name);
    std::fs::create_dir_all(&dir).unwrap();
    for (number, rule) in rules.iter().enumerate() {
        std::fs::write(dir.join(format!("rule-{number}.rego")), rule).unwrap();
    }
    dir.to_str().unwrap().to_owned()
}

#[test]
fn bundles_that_come_with_nexus_pass_their_tests() {
    let folder = Folder::new();
    for name in ["roles", "starter", "permits"] {
        let dir = comes_with(name);
        let test = ["policy", "test", &dir, "--min-coverage", "90", "--output", "json"];
        let report: Value = serde_json::from_str(&folder.done(&test)).unwrap();
        assert_eq!((&report["failed"], &report["interpreters_agree"]), (&json!(0), &json!(true)));
        assert!(report["passed"].as_u64() > Some(0) && report["compared"].as_u64() > Some(0));
        let check = ["policy", "check", &dir, "--output", "json"];
        let report: Value = serde_json::from_str(&folder.done(&check)).unwrap();
        assert_eq!(report["ok"], json!(true), "{name}: {report}");
    }
}

#[test]
fn a_bundle_decides_is_shown_and_rolled_back() {
    let folder = Folder::new();
    let starter = comes_with("starter");
    let broken = bundle(&folder, "broken", &["package nexus.read\ndecision := {"]);
    at_both(
        |folder| {
            folder.done(&["append", "a", "--type", "A", "--data", "1"]);
        },
        |ask| {
            assert_eq!(parsed(ask, &["policy", "show"])["active"], Value::Null);
            ask(&["policy", "rollback"]).fails(2, &["nothing to roll back"]);
            assert_eq!(parsed(ask, &["policy", "activate", &starter]), json!({ "revision": 0 }));
            ask(&["policy", "activate", &broken]).fails(2, &["rule-0.rego"]);
            let made = parsed(ask, &["policy", "activate", &starter, "--shadow"]);
            assert_eq!(made, json!({ "revision": 1 }));
            let shown = parsed(ask, &["policy", "show"]);
            assert_eq!(shown["active"]["revision"], json!(0));
            assert_eq!(shown["shadow"]["revision"], json!(1));
            let shown = ask(&["policy", "show"]).done();
            assert!(shown.contains("activated") && shown.contains("shadowed"), "{shown}");
            assert_eq!(parsed(ask, &["policy", "rollback"]), json!({ "revision": 2 }));
            assert_eq!(parsed(ask, &["policy", "show"])["active"], Value::Null);
        },
    );
}

#[test]
fn a_decision_that_flips_is_found_by_replay() {
    let folder = Folder::new();
    let rule = |limit: u32| {
        let logs = "\"obligations\": {\"log\": true}";
        let append = format!(
            "package nexus.append\n\
             default decision := {{\"allow\": false, \"reasons\": [{{\"code\": \"over_limit\"}}], {logs}}}\n\
             decision := {{\"allow\": true, {logs}}} if {{ every event in input.events {{ event.data.total_cents <= {limit} }} }}\n"
        );
        let all =
            |action: &str| format!("package nexus.{action}\ndecision := {{\"allow\": true}}\n");
        bundle(&folder, &format!("limit-{limit}"), &[&append, &all("policy"), &all("read")])
    };
    let (low, high) = (rule(100), rule(1000));
    at_both(
        |_| {},
        |ask| {
            ask(&["policy", "activate", &low]).done();
            let order = |cents: &str| {
                let data = format!("{{\"total_cents\":{cents}}}");
                ask(&["append", "order-1", "--type", "OrderPlaced", "--data", &data])
            };
            let is_asked = order("500").code == 4;
            order("50").done();
            let replay = |dir: &str| {
                ask(&["policy", "replay", "--from", "0", "--bundle", dir, "--output", "ndjson"])
            };
            let same = replay(&low);
            assert_eq!((same.code, &lines(&same.stdout)[0]["flipped"]), (0, &json!(0)));
            let flipped = replay(&high);
            let said = lines(&flipped.stdout);
            if !is_asked {
                // Whoever opens a directory is asked nothing, and nothing is on record of it.
                assert_eq!(said, [json!({ "checked": 0, "flipped": 0, "skipped": 0 })]);
                return;
            }
            assert_eq!(flipped.code, 1, "{said:?}");
            assert_eq!(said[0]["action"], json!("append"));
            assert_eq!((&said[0]["before"], &said[0]["after"]), (&json!("deny"), &json!("allow")));
            assert!(said[0]["position"].is_u64());
            assert_eq!(said[1], json!({ "checked": 2, "flipped": 1, "skipped": 0 }));
        },
    );
}

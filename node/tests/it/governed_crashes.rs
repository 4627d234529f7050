//! What governs a namespace, on a simulated disk that loses, tears, and reorders what was not synced, and whose syncs fail:
//! the bundle that was acknowledged last decides after each crash, and no version of a schema is lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use nexus_engine::io::SimDisk;
use nexus_engine::io::sim::Fault;
use nexus_node::{Access, Engine, Node, Principal, PrincipalKind, Role};
use nexus_protocol::schema::{NewSchema, SchemaFormat};
use nexus_protocol::{Append, AppendError, EventData, Read, ReadError};
use nexus_testing::Random;
use serde_json::json;

/// A node on this disk, and the namespace as the process itself uses it.
fn open(disk: &SimDisk) -> (Node, Access) {
    let options = Engine::options().disk(Arc::new(disk.clone())).threads(false);
    let options = options.segment_bytes(64 * 1024, 256 * 1024).compress(false);
    let node = Node::over(options.open("/data").unwrap()).unwrap();
    let here = node.access(Principal::local(), "default").unwrap();
    (node, here)
}

/// A bundle that refuses to show anything, and says its number.
fn bundle(number: u64) -> BTreeMap<String, String> {
    let rule = format!(
        "package nexus.read\ndecision := {{\"allow\": false, \"reasons\": [{{\"code\": \"number_{number}\"}}]}}"
    );
    BTreeMap::from([("read.rego".to_owned(), rule)])
}

/// The number of the bundle that decides; `None`: roles do.
fn decides(node: &Node) -> Option<u64> {
    let somebody = Principal::new("ada", PrincipalKind::Token, vec![Role::Admin]);
    match node.access(somebody, "default").unwrap().head() {
        Ok(_) => None,
        Err(ReadError::Denied { denial: Some(denial), .. }) => {
            let code = &denial.reasons[0].code;
            Some(code.strip_prefix("number_").expect("it is that of a bundle").parse().unwrap())
        }
        Err(error) => panic!("{error}"),
    }
}

/// A schema whose data have so many fields that need not be there.
fn schema(fields: usize) -> NewSchema {
    let fields = (0..fields).map(|it| (format!("f{it}"), json!({ "type": "integer" })));
    let properties: serde_json::Map<_, _> = fields.collect();
    let schema = json!({ "type": "object", "properties": properties });
    NewSchema::new(SchemaFormat::Json, schema.to_string())
}

/// What was acknowledged, and so has to hold.
#[derive(Clone, Debug, Default)]
struct Promised {
    /// Bundles that were activated and not rolled back since; the last one decides.
    bundles: Vec<u64>,
    versions: usize,
    events: usize,
    /// Of `$policies`.
    changes: usize,
}

/// What is seen of it.
fn seen(node: &Node, here: &Access) -> (Option<u64>, usize, usize, usize) {
    let versions = here.subject("Counted").map_or(0, |it| it.versions.len());
    let events = here.read(Read::stream("count")).unwrap().into_iter().map(Result::unwrap).count();
    let changes = here.policies().unwrap().changes.len();
    (decides(node), versions, events, changes)
}

impl Promised {
    fn seen(&self) -> (Option<u64>, usize, usize, usize) {
        (self.bundles.last().copied(), self.versions, self.events, self.changes)
    }

    /// Asks for a change, and says what holds once it is acknowledged.
    fn change(&self, here: &Access, random: &mut Random) -> (Self, Result<(), AppendError>) {
        let mut next = self.clone();
        let asked = match random.below(8) {
            0 | 1 => {
                let number = random.below(1_000);
                next.bundles.push(number);
                next.changes += 1;
                here.activate_policies(bundle(number), false).map(|_| ())
            }
            2 => {
                next.changes += 1;
                here.activate_policies(bundle(0), true).map(|_| ())
            }
            3 if !self.bundles.is_empty() => {
                next.bundles.pop();
                next.changes += 1;
                here.rollback_policies(None).map(|_| ())
            }
            4 => {
                next.versions += 1;
                here.register_schema("Counted", &schema(next.versions)).map(|_| ())
            }
            _ => {
                next.events += 1;
                let event = EventData::json("Counted", &json!({})).unwrap();
                here.append(Append::to("count").event(event)).and_then(|it| it.wait()).map(|_| ())
            }
        };
        (next, asked)
    }
}

#[test]
fn what_governs_holds_through_crashes() {
    let (mut crashes, mut failed, mut changed) = (0, 0, 0);
    for seed in 0..16 {
        let mut random = Random::new(seed);
        let mut disk = SimDisk::builder().seed(seed).build();
        let (mut node, mut here) = open(&disk);
        let mut promised = Promised::default();
        for _ in 0..60 {
            let faulty = random.one_in(12);
            if faulty {
                disk.schedule(Fault::sync(1));
            }
            let (next, asked) = promised.change(&here, &mut random);
            let before = promised.clone();
            match asked {
                Ok(()) => (promised, changed) = (next.clone(), changed + 1),
                Err(error) => {
                    assert!(faulty, "seed {seed}: {error}");
                    failed += 1;
                }
            }
            // What does not follow its schema is refused, whatever happened.
            if promised.versions > 0 && !faulty {
                let event = EventData::json("Counted", &json!({ "f0": "one" })).unwrap();
                let refused = here.append(Append::to("count").event(event));
                let refused = refused.map(|_| ()).unwrap_err();
                assert!(matches!(refused, AppendError::SchemaInvalid(_)), "{refused}");
            }
            if faulty || random.one_in(8) {
                crashes += 1;
                disk = disk.crash(random.next());
                drop((node, here));
                (node, here) = open(&disk);
                let seen = seen(&node, &here);
                // What was not acknowledged may be there, or not.
                if promised.seen() != next.seen() && seen == next.seen() {
                    promised = next;
                }
                assert_eq!(seen, promised.seen(), "seed {seed}: {before:?}");
            }
        }
        assert_eq!(seen(&node, &here), promised.seen(), "seed {seed}");
    }
    println!("count: governed_crashes {crashes}");
    println!("count: governed_changes {changed}");
    assert!(crashes > 50 && failed > 10 && changed > 300, "{crashes} {failed} {changed}");
}

//! The oracle: where a comparison says that a reader reads all that follows a writer's schema, each payload that does is
//! handed to the reader.
//!
//! Schemas are made up, and changed as people change them, and as they should not. Payloads are made after the writer's
//! schema, with some noise, and those count that follow it. All comes of a seed.

use nexus_schemas::json::{Inference, JsonSchema};
use serde_json::{Value, json};

use super::generator::{Dice, change, in_draft, schema};
use super::payloads::payload;

const SEEDS: u64 = 2_000;
const PAYLOADS: usize = 40;

#[derive(Default, Debug)]
struct Counts {
    pairs: usize,
    readable: usize,
    payloads: usize,
    checked: usize,
}

/// Compares in both directions.
fn check(seed: u64, dice: &mut Dice, pair: [&Value; 2], counts: &mut Counts) {
    let compiled = pair.map(|it| JsonSchema::compile(&it.to_string(), &[]).ok());
    let [Some(old), Some(new)] = &compiled else { return };
    for (writer, text, reader) in [(old, pair[0], new), (new, pair[1], old)] {
        counts.pairs += 1;
        let is_readable = writer.differences(reader).is_empty();
        counts.readable += usize::from(is_readable);
        for _ in 0..if is_readable { PAYLOADS } else { 2 } {
            let value = payload(dice, text, text, 7);
            if writer.validate("", value.to_string().as_bytes()).is_err() {
                continue;
            }
            counts.payloads += 1;
            assert!(
                writer.reads(&value),
                "seed {seed}: what follows {text} closed follows it: {value}"
            );
            if is_readable {
                counts.checked += 1;
                assert!(
                    reader.reads(&value),
                    "seed {seed}: {} to {}: {value}",
                    text,
                    if std::ptr::eq(text, pair[0]) { pair[1] } else { pair[0] }
                );
            }
        }
    }
}

#[test]
fn what_is_said_to_be_readable_is_read() {
    let mut counts = Counts::default();
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let old = schema(&mut dice);
        let mut new = old.clone();
        if dice.one_in(8) {
            new = schema(&mut dice);
        }
        for _ in 0..1 + dice.below(3) {
            change(&mut dice, &mut new);
        }
        let mut old = old;
        if dice.one_in(3) && new.is_object() {
            in_draft(&mut dice, &mut old);
            in_draft(&mut dice, &mut new);
        }
        check(seed, &mut dice, [&old, &new], &mut counts);
    }
    println!("{counts:?}");
    assert!(counts.readable > 500 && counts.checked > 10_000, "{counts:?}");
}

#[test]
fn each_schema_reads_what_follows_it() {
    let (mut same, mut compiled) = (0, 0);
    for seed in 0..SEEDS / 5 {
        let mut dice = Dice(seed ^ 0xabcd_ef00);
        let text = schema(&mut dice);
        let mut noted = text.clone();
        noted["title"] = json!("noted");
        let both = [&text, &noted].map(|it| JsonSchema::compile(&it.to_string(), &[]).ok());
        let [Some(a), Some(b)] = both else { continue };
        compiled += 1;
        let found = a.differences(&b);
        if found.is_empty() {
            same += 1;
        }
    }
    println!("{same} of {compiled} schemas were seen to read what follows them");
    assert!(same * 100 >= compiled * 97, "{same} of {compiled}");
}

#[test]
fn samples_follow_what_is_inferred() {
    let mut count = 0;
    for seed in 0..SEEDS / 5 {
        let mut dice = Dice(seed ^ 0x1234_5600);
        let text = schema(&mut dice);
        let samples: Vec<_> =
            (0..1 + dice.below(20)).map(|_| payload(&mut dice, &text, &text, 6)).collect();
        let inferred = samples.iter().collect::<Inference>().finish();
        let it = JsonSchema::compile(&inferred.to_string(), &[]).unwrap();
        for sample in &samples {
            count += 1;
            let found = it.validate("", sample.to_string().as_bytes());
            assert!(found.is_ok(), "seed {seed}: {inferred}: {sample}: {found:?}");
        }
    }
    println!("{count} samples followed what was inferred of them");
}

#[test]
fn what_is_inferred_of_strange_samples_is_a_schema() {
    let deep = (0..120)
        .fold(json!(1), |inner, it| if it % 2 == 0 { json!({"a": inner}) } else { json!([inner]) });
    let objects = (0..120).fold(json!(1), |inner, _| json!({"a": inner}));
    let wide: Value = (0..300)
        .map(|it| {
            let inner: Value = (0..300).map(|name| (format!("{it}-{name}"), json!(name))).collect();
            (it.to_string(), inner)
        })
        .collect();
    let long = json!({"x".repeat(10_000): 1});
    for sample in [deep, objects, wide, long] {
        let inferred = [&sample].into_iter().collect::<Inference>().finish();
        let it = JsonSchema::compile(&inferred.to_string(), &[]).unwrap();
        assert_eq!(it.validate("", sample.to_string().as_bytes()), Ok(()));
    }
}

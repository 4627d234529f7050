//! What holds of all transforms, on random ones and random documents.

mod made;

use std::sync::Arc;

use nexus_protocol::limits::{LIFTED_BYTES_MAX, PARTS_MAX};
use nexus_schemas::{Chain, Lifted, Step, Transform, UpcastError};
use serde_json::Value;

use self::made::Maker;

/// Random cases of each property.
const CASES: u64 = 3_000;

fn chain(transforms: &[Transform]) -> Chain {
    Chain::new(transforms.iter().map(|it| Step::Transform(Arc::new(it.clone()))))
}

fn is_bound(why: &UpcastError) -> bool {
    matches!(why, UpcastError::TooManyParts { .. } | UpcastError::TooLarge { .. })
}

/// The only document that comes of one.
fn lifted(transform: &Transform, text: &str) -> String {
    let all = chain(std::slice::from_ref(transform)).apply("A", text.as_bytes()).unwrap();
    let [one] = all.try_into().unwrap();
    String::from_utf8(one.data).unwrap()
}

#[test]
fn any_transform_takes_any_document() {
    let mut came_out = 0;
    for seed in 0..CASES {
        let mut maker = Maker::new(seed);
        let (transform, document) = (maker.transform(), maker.document());
        let inverse = transform.inverse();
        assert_eq!(inverse.is_none(), transform.no_way_back().is_some());
        for transform in [Some(transform), inverse].into_iter().flatten() {
            match chain(&[transform]).apply("A", document.as_bytes()) {
                Ok(all) => {
                    assert!(all.len() <= PARTS_MAX);
                    assert!(all.iter().map(|it| it.data.len()).sum::<usize>() <= LIFTED_BYTES_MAX);
                    for it in &all {
                        serde_json::from_slice::<Value>(&it.data).unwrap();
                    }
                    came_out += all.len();
                }
                Err(why) => assert!(is_bound(&why), "seed {seed}: {why}"),
            }
        }
    }
    assert!(came_out as u64 > CASES);
}

#[test]
fn bytes_that_are_no_json_end_nothing() {
    for seed in 0..CASES {
        let mut maker = Maker::new(seed);
        let transform = maker.transform();
        let mut bytes = maker.document().into_bytes();
        maker.random.spoil(&mut bytes);
        let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok();
        match chain(std::slice::from_ref(&transform)).apply("A", &bytes) {
            Ok(_) => assert!(is_json || transform.is_empty(), "seed {seed}"),
            Err(UpcastError::NotJson { .. }) => assert!(!is_json, "seed {seed}"),
            Err(why) => assert!(is_bound(&why), "seed {seed}: {why}"),
        }
        // Nor does text that is no transform.
        let mut text = transform.to_string().into_bytes();
        maker.random.spoil(&mut text);
        if let Ok(Ok(spoilt)) = std::str::from_utf8(&text).map(Transform::parse) {
            assert_eq!(Transform::parse(&spoilt.to_string()), Ok(spoilt));
        }
    }
}

/// Whether all that is there stands at the same place of the whole.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_part(a, b))
        }
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, it)| whole.get(name).is_some_and(|other| is_part(it, other)))
        }
        (part, whole) => part == whole,
    }
}

fn check_there_and_back(seed: u64, transform: &Transform, document: &str) {
    let back = transform.inverse().unwrap();
    let up = lifted(transform, document);
    let down = lifted(&back, &up);
    let [whole, part] = [document, &down].map(|it| serde_json::from_str::<Value>(it).unwrap());
    assert!(
        is_part(&part, &whole),
        "seed {seed}:\n{transform}\n{back}\nof   {document}\nup   {up}\ndown {down}"
    );
}

#[test]
fn there_and_back_invents_nothing() {
    for seed in 0..CASES {
        let mut maker = Maker::new(seed);
        let transform = maker.sound_transform();
        check_there_and_back(seed, &transform, &maker.document());
    }
}

#[test]
fn there_and_back_invents_nothing_over_several_versions() {
    for seed in 0..CASES {
        let mut maker = Maker::new(seed);
        let transforms: Vec<_> = (0..4).map(|_| maker.sound_transform()).collect();
        let document = maker.document();
        let up = transforms.iter().fold(document.clone(), |text, it| lifted(it, &text));
        let down = transforms
            .iter()
            .rev()
            .fold(up, |text, transform| lifted(&transform.inverse().unwrap(), &text));
        let [whole, part] = [&document, &down].map(|it| serde_json::from_str::<Value>(it).unwrap());
        assert!(is_part(&part, &whole), "seed {seed}: {document} {down}");
    }
}

#[test]
fn conversions_come_back_where_they_suit() {
    for seed in 0..CASES {
        let mut maker = Maker::new(seed);
        // Nothing else leads to these two.
        let special = [
            r#"{"op":"map","path":"/m","values":[["x",1],[2.50,"2.5"],[null,[]],[[1],null]]}"#,
            r#"{"op":"cast","path":"/n","from":"integer","to":"string"}"#,
        ];
        let m = *maker.random.pick(&["\"\\u0078\"", "25e-1", "null", "[ 1 ]"]);
        let n = *maker.random.pick(&["0", "-17", "12345678901234567890123", "42"]);
        let mut operations = maker.sound_operations();
        for it in special {
            let at = maker.random.below(operations.len() + 1);
            operations.insert(at, it.to_owned());
        }
        let transform = Transform::parse(&format!("[{}]", operations.join(","))).unwrap();
        let document = maker.object(&[("m", m), ("n", n)]);
        check_there_and_back(seed, &transform, &document);
        let up: Value = serde_json::from_str(&lifted(&transform, &document)).unwrap();
        let down = lifted(&transform.inverse().unwrap(), &up.to_string());
        let (down, given): (Value, Value) =
            (serde_json::from_str(&down).unwrap(), serde_json::from_str(&document).unwrap());
        assert!(down.get("m").is_some() && down.get("n").is_some(), "seed {seed}");
        assert_eq!(down["m"], given["m"]);
    }
}

#[test]
fn a_chain_does_what_its_steps_do_one_after_the_other() {
    let mut compared = 0;
    for seed in 0..CASES {
        let mut maker = Maker::new(seed);
        let transforms: Vec<_> = (0..4).map(|_| maker.transform()).collect();
        let document = maker.document();
        let whole = chain(&transforms).apply("A", document.as_bytes());
        let mut parts =
            vec![Lifted { event_type: "A".to_owned(), data: document.clone().into_bytes() }];
        for transform in &transforms {
            let step = chain(std::slice::from_ref(transform));
            let next = parts.iter().map(|it| step.apply(&it.event_type, &it.data).unwrap());
            parts = next.flatten().collect();
        }
        match whole {
            Ok(all) => {
                let shown = |all: &[Lifted]| -> Vec<_> {
                    let text = |it: &Lifted| String::from_utf8(it.data.clone()).unwrap();
                    all.iter().map(|it| (it.event_type.clone(), text(it))).collect()
                };
                // A chain that does nothing looks at nothing.
                assert_eq!(shown(&all), shown(&parts), "seed {seed}: {document}");
                compared += 1;
            }
            Err(why) => assert!(is_bound(&why), "seed {seed}: {why}"),
        }
    }
    assert!(compared > CASES * 9 / 10);
}

#[test]
fn what_is_not_touched_keeps_its_bytes() {
    for seed in 0..CASES {
        let mut maker = Maker::new(seed);
        let transform = maker.sound_transform();
        // No path of a transform leads to these.
        let kept = [
            ("\"u\"", maker.document()),
            ("\"\\u0076\"", "1.50e+07".to_owned()),
            ("\"w\\/\"", "12345678901234567890123".to_owned()),
            ("\"ü\"", "{ \"x\" : [ \"\\u00fc\\/\" ] , \"x\":\t-0.0 }".to_owned()),
        ];
        let spelled: Vec<_> = kept.iter().map(|(key, it)| format!("{key}:{}", it.trim())).collect();
        let document = maker.object_with(&spelled);
        let out = lifted(&transform, &document);
        let mut rest = out.as_str();
        for it in &spelled {
            let at = rest.find(it.as_str());
            let at = at.unwrap_or_else(|| panic!("seed {seed}: {it} of {document} not in {out}"));
            rest = &rest[at + it.len()..];
        }
    }
}

#[test]
fn what_is_shown_is_read_back() {
    for seed in 0..CASES {
        let transform = Maker::new(seed).transform();
        for transform in [transform.inverse(), Some(transform)].into_iter().flatten() {
            let text = transform.to_string();
            let read = Transform::parse(&text).unwrap();
            assert_eq!(read, transform, "seed {seed}");
            assert_eq!(read.to_string(), text, "seed {seed}");
            let json = transform.to_json().to_string();
            assert_eq!(Transform::parse(&json).unwrap(), transform, "seed {seed}: {json}");
        }
    }
}

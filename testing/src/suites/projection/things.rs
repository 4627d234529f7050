//! Random things: events that say something of them, the definition of their documents, and what a scan makes of them.

use nexus_protocol::{EventData, Position, Read};
use serde_json::{Map, Value, json};

use super::ask::{Store, event};
use super::scan::{Documents, read};
use crate::Random;

/// What their projection is called.
pub(super) const THINGS: &str = "things";
/// How many there are, at most.
const KEYS: u64 = 40;
/// Labels that a thing keeps.
const LABELS_MAX: usize = 3;

pub(super) const WORDS: [&str; 6] = ["broken", "Window", "élan", "door", "of", "glass"];
pub(super) const STATES: [&str; 3] = ["open", "closed", "on hold"];
pub(super) const PATHS: [&str; 3] = ["/a", "/a/b", "/c"];
/// Fields that are taken from events as they are.
const SET: [(&str, &str); 10] = [
    ("title", "text"),
    ("status", "keyword"),
    ("count", "u64"),
    ("delta", "i64"),
    ("price", "f64"),
    ("open", "bool"),
    ("at", "date"),
    ("from", "ip"),
    ("path", "facet"),
    ("extra", "json"),
];

/// What things are folded by.
pub(super) fn definition() -> Value {
    let mut fields = Map::new();
    for (name, kind) in SET {
        let from = format!("/data/{name}");
        fields.insert(name.to_owned(), json!({ "type": kind, "fold": "set", "from": from }));
    }
    let labels =
        json!({ "type": "keyword", "fold": "append", "from": "/data/label", "max": LABELS_MAX });
    fields.insert("labels".to_owned(), labels);
    fields.insert("changes".to_owned(), json!({ "type": "u64", "fold": "count" }));
    fields
        .insert("moved".to_owned(), json!({ "type": "i64", "fold": "add", "from": "/data/delta" }));
    json!({
        "name": THINGS, "version": 1, "filter": { "types": ["Changed", "Removed"] },
        "key": "/data/id", "delete": ["Removed"], "fields": fields,
    })
}

/// A time of some day.
pub(super) fn day(day: u64) -> String {
    format!("2026-01-{:02}T00:00:00.000000Z", day % 28 + 1)
}

pub(super) fn address(number: u64) -> String {
    format!("10.0.0.{}", number % 20)
}

/// An event of some thing; some members are not there, and some are null.
fn random_event(random: &mut Random) -> EventData {
    let id = format!("thing-{}", random.below(KEYS));
    match random.below(20) {
        0 | 1 => return event("Removed", &json!({ "id": id })),
        2 => return event("Noted", &json!({ "id": id, "count": 1_000 })),
        _ => {}
    }
    let title = (0..=random.below(4)).map(|_| *random.pick(&WORDS).unwrap());
    let mut data = json!({
        "title": title.collect::<Vec<_>>().join(" "),
        "status": random.pick(&STATES).unwrap(),
        "count": random.below(20),
        "delta": i64::try_from(random.below(20)).unwrap() - 10,
        "price": f64::from(u32::try_from(random.below(100)).unwrap()) / 8.0,
        "open": random.one_in(2),
        "at": day(random.below(28)),
        "from": address(random.below(20)),
        "path": random.pick(&PATHS).unwrap(),
        "extra": { "n": random.below(5), "s": random.pick(&WORDS).unwrap() },
        "label": format!("l{}", random.below(5)),
    });
    let members = data.as_object_mut().unwrap();
    members.retain(|_, _| !random.one_in(4));
    members.values_mut().for_each(|value| {
        if random.one_in(10) {
            *value = Value::Null;
        }
    });
    members.insert("id".to_owned(), id.into());
    event("Changed", &data)
}

/// Appends so many events, some at a time; gives the position of the last.
pub(super) async fn append_some(store: &Store, random: &mut Random, events: usize) -> Position {
    let (mut left, mut last) = (events, Position::ZERO);
    while left > 0 {
        let some = (1 + random.below(30) as usize).min(left);
        let events = (0..some).map(|_| random_event(random)).collect();
        last = store.append_all("things", events).await;
        left -= some;
    }
    last
}

/// The documents of all things, from a scan of the log.
pub(super) async fn scan(store: &Store) -> Documents {
    let mut documents = Documents::new();
    for event in read(store, Read::stream("things")).await {
        let data: Map<String, Value> = event.json().unwrap();
        let id = data["id"].as_str().unwrap();
        match event.event_type() {
            "Changed" => change(documents.entry(id.to_owned()).or_default(), &data),
            "Removed" => drop(documents.remove(id)),
            _ => {}
        }
    }
    documents
}

fn change(document: &mut Map<String, Value>, data: &Map<String, Value>) {
    for (name, _) in SET {
        match data.get(name) {
            None => {}
            Some(Value::Null) => drop(document.remove(name)),
            Some(value) => drop(document.insert(name.to_owned(), value.clone())),
        }
    }
    if let Some(label @ Value::String(_)) = data.get("label") {
        let labels = document.entry("labels").or_insert_with(|| json!([])).as_array_mut().unwrap();
        labels.push(label.clone());
        let surplus = labels.len().saturating_sub(LABELS_MAX);
        labels.drain(..surplus);
    }
    if let Some(delta) = data.get("delta").and_then(Value::as_i64) {
        let moved = document.get("moved").and_then(Value::as_i64).unwrap_or(0);
        document.insert("moved".to_owned(), (moved + delta).into());
    }
    let changes = document.get("changes").and_then(Value::as_u64).unwrap_or(0);
    document.insert("changes".to_owned(), (changes + 1).into());
}

/// Things that are there, folded, and known to the scan.
pub(super) struct Things {
    pub(super) documents: Documents,
    pub(super) last: Position,
}

impl Things {
    /// Makes their projection, and appends random events before and after.
    pub(super) async fn made(store: &Store, random: &mut Random) -> Self {
        append_some(store, random, 100).await;
        store.make(&definition()).await;
        let last = append_some(store, random, 200).await;
        Self { documents: scan(store).await, last }
    }
}

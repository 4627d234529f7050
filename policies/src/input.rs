//! [`Asked`]: what is asked of rules, and the document that they find as `input`.

use nexus_protocol::{Append, EventData, JSON, Timestamp, names};
use regorus::Value;
use serde_json::{Map, Value as Json};

use crate::action::{Action, Reach};

/// The version of the input document, in its member `v`.
pub const INPUT_VERSION: u32 = 1;

/// Who asks, made once and asked about many times.
#[derive(Clone, Debug)]
pub struct Subject {
    value: Value,
    key: [u8; 32],
}

impl Subject {
    /// Somebody: a name, how it is known, who says so, roles, and the claims of a token whose signature was verified.
    pub fn new(
        id: &str,
        kind: &str,
        issuer: Option<&str>,
        roles: &[&str],
        claims: &Map<String, Json>,
    ) -> Self {
        let mut all = Map::new();
        all.insert("id".to_owned(), id.into());
        all.insert("kind".to_owned(), kind.into());
        if let Some(issuer) = issuer {
            all.insert("issuer".to_owned(), issuer.into());
        }
        all.insert("roles".to_owned(), roles.iter().copied().collect());
        all.insert("claims".to_owned(), Json::Object(claims.clone()));
        let all = Json::Object(all);
        let key = *blake3::hash(all.to_string().as_bytes()).as_bytes();
        Self { value: all.into(), key }
    }

    /// What tells it from every other one.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

/// What is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The namespace; empty: the whole node.
    pub namespace: &'a str,
    /// What is done, by the name that metrics and logs have for it.
    pub operation: &'a str,
    /// The stream, where it is one.
    pub stream: Option<&'a str>,
    /// The name of the group, route, timer, or subject.
    pub name: Option<&'a str>,
    /// The earlier time that is asked about, as it was said.
    pub as_of: Option<&'a str>,
    /// Whether events of the system's streams are asked for, whose names begin with `$`.
    pub system: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What is to be done.
    pub action: Action,
    /// How far it goes.
    pub reach: Reach,
    /// Who asks.
    pub subject: &'a Subject,
    /// What it is about.
    pub resource: Resource<'a>,
    /// What is to be appended.
    pub append: Option<&'a Append>,
    /// By which door; `None`: by none.
    pub door: Option<&'a str>,
    /// When.
    pub now: Timestamp,
}

impl Asked<'_> {
    /// What tells a question from every other one that looks at the same parts of the input.
    pub(crate) fn key(&self, with_resource: bool) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.subject.key());
        let Resource { namespace, operation, stream, name, as_of, system } = self.resource;
        let always = [self.action.as_str(), self.reach.as_str(), namespace, operation];
        let always = always.into_iter().map(Some).chain([self.door]);
        let rest = [stream, name, as_of, system.then_some("")];
        let rest = rest.into_iter().take(if with_resource { 4 } else { 0 });
        for part in always.chain(rest) {
            // A length that no text has stands for none.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hasher.update(&length.to_le_bytes());
            hasher.update(part.unwrap_or_default().as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// The document, with events if they are looked at.
    ///
    /// # Errors
    /// Which event has data that say they are JSON and are not: rules cannot look into them.
    pub(crate) fn document(&self, with_events: bool) -> Result<Value, usize> {
        let mut document = Value::new_object();
        set(&mut document, "v", u64::from(INPUT_VERSION));
        set(&mut document, "action", self.action.as_str());
        set(&mut document, "subject", self.subject.value.clone());
        set(&mut document, "resource", self.resource());
        let mut env = Value::new_object();
        set(&mut env, "now", self.now.to_string());
        set(&mut env, "door", self.door.unwrap_or("none"));
        set(&mut document, "env", env);
        if let Some(append) = self.append.filter(|_| with_events) {
            set(&mut document, "events", events(append)?);
        }
        Ok(document)
    }

    fn resource(&self) -> Value {
        let Resource { namespace, operation, stream, name, as_of, system } = self.resource;
        let mut resource = Value::new_object();
        set(&mut resource, "namespace", namespace);
        set(&mut resource, "operation", operation);
        set(&mut resource, "reach", self.reach.as_str());
        if let Some(stream) = stream {
            set(&mut resource, "stream", stream);
            set(&mut resource, "category", names::category(stream));
        }
        if system || stream.is_some_and(names::is_system) {
            set(&mut resource, "system", true);
        }
        if let Some(append) = self.append {
            let streams = append.streams.iter().map(|it| Value::from(&*it.stream));
            set(&mut resource, "streams", streams.collect::<Vec<_>>());
        }
        for (key, value) in [("name", name), ("as_of", as_of)] {
            if let Some(value) = value {
                set(&mut resource, key, value);
            }
        }
        resource
    }
}

fn set(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Ok(object) = object.as_object_mut() {
        object.insert(Value::from(key), value.into());
    }
}

/// The events of an append, each with its stream.
fn events(append: &Append) -> Result<Value, usize> {
    let mut events = Vec::with_capacity(append.event_count());
    for stream in &append.streams {
        let (name, category) = (Value::from(&*stream.stream), names::category(&stream.stream));
        for event in &stream.events {
            let mut value = Value::new_object();
            set(&mut value, "stream", name.clone());
            set(&mut value, "category", category);
            set(&mut value, "type", &*event.event_type);
            set(&mut value, "content_type", &*event.content_type);
            let tags = event.tags.iter().map(|tag| Value::from(&**tag));
            set(&mut value, "tags", tags.collect::<Vec<_>>());
            // Whatever they say they are: who says that JSON is something else gets round no rule.
            let text = str::from_utf8(&event.data).ok();
            match text.and_then(|text| Value::from_json_str(text).ok()) {
                Some(data) => set(&mut value, "data", data),
                None if is_json(event) => return Err(events.len()),
                None => {}
            }
            events.push(value);
        }
    }
    Ok(events.into())
}

/// Whether the data of an event say that they are JSON.
fn is_json(event: &EventData) -> bool {
    let kind = event.content_type.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == JSON || kind.ends_with("+json")
}

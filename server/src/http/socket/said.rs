//! What a client says, each a frame of JSON with an `op`.

use std::borrow::Cow;

use nexus_protocol::json::{AppendJson, FailureJson};
use nexus_protocol::schema::AsSchema;
use nexus_protocol::{Filter, Start, Subscribe};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::body::read_json;
use super::super::problem::Problem;
use super::ID_BYTES_MAX;

/// A client's name of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Number(u64),
    Text(String),
}

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Said<'a> {
    /// Who it is, where no header said so.
    Auth { token: String },
    /// It wants to see something as it comes, or to consume.
    Open {
        id: Id,
        channel: Channel,
        #[serde(default)]
        resume: Option<String>,
        #[serde(default)]
        credit: Option<u64>,
    },
    /// It takes so many more events.
    Credit { id: Id, events: u64 },
    /// It wants no more of a channel.
    Close { id: Id },
    /// Deliveries are done.
    #[serde(skip)]
    Ack(Ack<'a>),
    /// Deliveries are not done.
    Nack {
        id: Id,
        #[serde(default)]
        seq: Option<u64>,
        tokens: Vec<Cow<'a, str>>,
        action: String,
        #[serde(default)]
        delay_ms: Option<u64>,
        #[serde(default)]
        error: Option<FailureJson>,
    },
    /// Deliveries take longer.
    Extend {
        id: Id,
        #[serde(default)]
        seq: Option<u64>,
        tokens: Vec<Cow<'a, str>>,
        by_ms: u64,
    },
}

/// Deliveries are done. Read by itself: an append keeps the JSON of its events as it is, of which a tag beside it would
/// leave nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ack<'a> {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    pub(super) id: Id,
    #[serde(default)]
    pub(super) seq: Option<u64>,
    #[serde(borrow)]
    pub(super) tokens: Vec<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(super) append: Option<AppendJson<'a>>,
}

/// Says which of them it is.
#[derive(Debug, Deserialize)]
struct Begun {
    op: Op,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Auth,
    Open,
    Credit,
    Close,
    Ack,
    Nack,
    Extend,
}

impl<'a> Said<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Problem> {
        fn of<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
            read_json(text.as_bytes(), "the frame is not understood")
        }
        match of::<Begun>(text)?.op {
            Op::Ack => of(text).map(Self::Ack),
            _ => of(text),
        }
    }
}

/// What a frame is about that is not understood: the id of a channel, and the number of an answer, as far as they are
/// such. The rest of it, which may be long, is passed over.
pub(super) fn about(text: &str) -> (Option<Id>, Option<u64>) {
    #[derive(Default, Deserialize)]
    struct About<'a> {
        #[serde(default, borrow)]
        id: Option<&'a RawValue>,
        #[serde(default, borrow)]
        seq: Option<&'a RawValue>,
    }
    let About { id, seq } = serde_json::from_str(text).unwrap_or_default();
    let id = id.filter(|id| id.get().len() <= 6 * ID_BYTES_MAX);
    let id = id.and_then(|id| serde_json::from_str(id.get()).ok());
    let is_id = |id: &Id| !matches!(id, Id::Text(text) if text.len() > ID_BYTES_MAX);
    (id.filter(is_id), seq.and_then(|seq| serde_json::from_str(seq.get()).ok()))
}

/// What is watched, or consumed.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Channel {
    Stream {
        stream: String,
        #[serde(default)]
        start: At,
        #[serde(default)]
        as_schema: AsSchema,
    },
    Category {
        category: String,
        #[serde(default)]
        start: At,
        #[serde(default)]
        as_schema: AsSchema,
    },
    Filter {
        #[serde(default)]
        filter: Filter,
        #[serde(default)]
        system: bool,
        #[serde(default)]
        start: At,
        #[serde(default)]
        as_schema: AsSchema,
    },
    Group {
        group: String,
        consumer: String,
        #[serde(default)]
        as_schema: AsSchema,
    },
}

/// Where a channel begins that is not resumed.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum At {
    #[default]
    Beginning,
    End,
}

/// What is opened.
#[derive(Debug)]
pub(super) enum Opened {
    /// A subscription.
    Feed(Subscribe),
    /// A consumer of a group.
    Consumer { group: String, consumer: String, as_schema: AsSchema },
}

impl Channel {
    pub(super) fn opened(self) -> Result<Opened, Problem> {
        let (subscribe, start, as_schema) = match self {
            Self::Stream { stream, start, as_schema } => {
                (Subscribe::stream(stream), start, as_schema)
            }
            Self::Category { category, start, as_schema } => {
                (Subscribe::all().filter(Filter::category(category)), start, as_schema)
            }
            Self::Filter { filter, system, start, as_schema } => {
                filter.check()?;
                (Subscribe { system, ..Subscribe::all().filter(filter) }, start, as_schema)
            }
            Self::Group { group, consumer, as_schema } => {
                return Ok(Opened::Consumer { group, consumer, as_schema });
            }
        };
        Ok(Opened::Feed(subscribe.as_schema(as_schema).start(match start {
            At::Beginning => Start::Beginning,
            At::End => Start::End,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_client_are_understood_or_refused() {
        let good = [
            r#"{"op":"auth","token":"t"}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"stream","stream":"a"},"credit":5}"#,
            r#"{"op":"open","id":"x","channel":{"kind":"category","category":"a","start":"end"}}"#,
            r#"{"op":"open","id":"x","channel":{"kind":"filter","filter":{"types":["T"]}}}"#,
            r#"{"op":"open","id":"x","channel":{"kind":"filter"},"resume":"1-7"}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"group","group":"g","consumer":"c"}}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"stream","stream":"a","as_schema":"latest"}}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"group","group":"g","consumer":"c","as_schema":2}}"#,
            r#"{"op":"credit","id":1,"events":10}"#,
            r#"{"op":"close","id":1}"#,
            r#"{"op":"ack","id":1,"tokens":["a"]}"#,
            r#"{"id":1,"seq":3,"tokens":[],"append":{"appends":[{"stream":"s","events":[
                {"type":"T","data":{"a":12345678901234567890123}}]}]},"op":"ack"}"#,
            r#"{"op":"nack","id":1,"tokens":["a"],"action":"retry","delay_ms":5,"error":"no"}"#,
            r#"{"op":"extend","id":1,"seq":0,"tokens":["a"],"by_ms":5}"#,
        ];
        for text in good {
            assert!(Said::read(text).is_ok(), "{text}");
        }
        let bad = [
            r#"{"id":1}"#,
            r#"["op"]"#,
            r#"{"op":"ack","id":1}"#,
            r#"{"op":"ack","id":1,"tokens":[1]}"#,
            r#"{"op":"ack","id":1,"tokens":[],"consumer":"c"}"#,
            r#"{"op":"nack","id":1,"tokens":[]}"#,
            r#"{"op":"extend","id":1,"tokens":[],"by_ms":-1}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"saga"}}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"stream","stream":"a","x":1}}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"group","group":"g"}}"#,
            r#"{"op":"open","id":1,"channel":{"kind":"group","group":"g","consumer":"c","start":"end"}}"#,
            r#"{"op":"credit","id":-1,"events":10}"#,
            r#"{"op":"close"}"#,
        ];
        for text in bad {
            assert!(Said::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_an_append_says_reaches_the_log_as_it_was_said() {
        let text = r#"{"op":"ack","id":1,"tokens":[],"append":{"appends":[{"stream":"s","events":[
            {"type":"T","data":{"a":12345678901234567890123, "b":1.10}}]}]}}"#;
        let Ok(Said::Ack(ack)) = Said::read(text) else { panic!("it is understood") };
        let append = ack.append.unwrap().into_append().unwrap();
        let data = &append.streams[0].events[0].data;
        assert_eq!(&data[..], br#"{"a":12345678901234567890123, "b":1.10}"#);
    }

    #[test]
    fn what_is_not_understood_is_still_about_something() {
        assert_eq!(about(r#"{"id":"a","seq":7}"#), (Some(Id::Text("a".to_owned())), Some(7)));
        assert_eq!(about(r#"{"id":-1,"seq":"x"}"#), (None, None));
        assert_eq!(about(&format!(r#"{{"id":"{}"}}"#, "x".repeat(65))), (None, None));
        assert_eq!(about("{"), (None, None));
    }
}

//! Deliveries of a group, and answers to them, as JSON.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::EventJson;
use crate::error::Invalid;
use crate::group::{Answered, Delivery, DeliveryToken, Failure, InvalidToken, Nack, NackAction};
use crate::record::RecordedEvent;
use crate::time::Timestamp;

/// An event for a consumer.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Delivery")]
pub struct DeliveryJson<'a> {
    /// To answer with.
    pub token: String,
    /// From 1: how often it was tried, with this time.
    pub attempt: u32,
    /// The lane it belongs to.
    pub lane: u32,
    /// It has to be answered before.
    pub deadline: Timestamp,
    /// The event.
    #[serde(borrow)]
    pub event: EventJson<'a>,
    /// The further parts that the transforms of its schema made of it; missing: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<EventJson<'a>>>,
}

impl<'a> From<&'a Delivery> for DeliveryJson<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self::of(delivery, EventJson::from)
    }
}

impl<'a> DeliveryJson<'a> {
    /// With events as `event` writes them.
    pub fn of(delivery: &'a Delivery, event: impl Fn(&'a RecordedEvent) -> EventJson<'a>) -> Self {
        Self {
            token: delivery.token.to_string(),
            attempt: delivery.attempt,
            lane: delivery.lane,
            deadline: delivery.deadline,
            event: event(&delivery.event),
            parts: (!delivery.parts.is_empty()).then(|| delivery.parts.iter().map(event).collect()),
        }
    }
}

/// An answer that does not count.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "RefusedAnswer")]
pub struct RefusedJson {
    /// The delivery that was answered.
    pub token: String,
    /// Why it does not count: `unknown`, `expired`, `other_owner`, or `already_acked`.
    pub name: &'static str,
}

/// What became of answers. Those that count are durable.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename = "Answered")]
pub struct AnsweredJson {
    /// How many count.
    pub done: u64,
    /// The others.
    pub refused: Vec<RefusedJson>,
}

impl From<&Answered> for AnsweredJson {
    fn from(answered: &Answered) -> Self {
        let refused = answered.refused.iter().map(|refused| RefusedJson {
            token: refused.token.to_string(),
            name: refused.why.name(),
        });
        Self { done: answered.done, refused: refused.collect() }
    }
}

/// Tokens as they came.
///
/// # Errors
/// Where one of them is none.
pub fn tokens_of(texts: &[Cow<'_, str>]) -> Result<Vec<DeliveryToken>, InvalidToken> {
    texts.iter().map(|text| text.parse()).collect()
}

/// Why an event could not be processed: a text, or an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(untagged, rename = "Failure")]
pub enum FailureJson {
    /// The message alone.
    Message(String),
    /// All of it.
    Whole(WholeFailureJson),
}

/// Why an event could not be processed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename = "WholeFailure")]
pub struct WholeFailureJson {
    /// What kind of error it is, for rules: a word of the consumer's.
    pub class: String,
    /// What went wrong.
    pub message: String,
    /// The causes of that, outermost first.
    pub chain: Vec<String>,
}

impl From<&Failure> for WholeFailureJson {
    fn from(failure: &Failure) -> Self {
        let Failure { class, message, chain } = failure.clone();
        Self { class, message, chain }
    }
}

impl From<FailureJson> for Failure {
    fn from(json: FailureJson) -> Self {
        match json {
            FailureJson::Message(message) => Self::new(message),
            FailureJson::Whole(WholeFailureJson { class, message, chain }) => {
                Self { class, message, chain }
            }
        }
    }
}

/// What is to become of an event that was not processed, as it is asked.
///
/// # Errors
/// When there is no such action, or only `retry` may have a delay, or that is beyond a day.
pub fn nack_of(
    action: &str,
    delay_ms: Option<u64>,
    error: Option<FailureJson>,
) -> Result<Nack, Invalid> {
    let action = match (action.parse::<NackAction>()?, delay_ms) {
        (NackAction::Retry(_), delay) => NackAction::Retry(delay.map(Duration::from_millis)),
        (action, None) => action,
        (action, Some(_)) => {
            return Err(Invalid::Request(format!(
                "`delay_ms` means something with `retry` only, not with `{action}`"
            )));
        }
    };
    let nack = Nack { action, failure: error.map(Failure::from).unwrap_or_default() };
    nack.check().map(|()| nack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_text_or_an_object() {
        let of = |text: &str| Failure::from(serde_json::from_str::<FailureJson>(text).unwrap());
        assert_eq!(of("\"bad\""), Failure::new("bad"));
        let whole = of(r#"{"class":"db","message":"bad","chain":["worse"]}"#);
        assert_eq!((&*whole.class, whole.chain.len()), ("db", 1));
        assert!(serde_json::from_str::<FailureJson>(r#"{"text":"bad"}"#).is_err());
    }

    #[test]
    fn only_another_try_has_a_delay() {
        assert!(nack_of("park", Some(1), None).is_err());
        let nack = nack_of("retry", Some(1), None).unwrap();
        assert_eq!(nack.action, NackAction::Retry(Some(Duration::from_millis(1))));
    }
}

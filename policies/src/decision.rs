//! [`Decision`]: what rules answer, and what they demand besides yes.

use std::collections::BTreeSet;

use nexus_protocol::policy::Reason;
use nexus_protocol::{FilterItem, RecordedEvent};
use regorus::Value;

/// Most reasons of a decision that are kept.
const REASONS_MAX: usize = 32;

/// Most tags, types, or masks of a decision.
const VALUES_MAX: usize = 256;

/// Longest text in a decision, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What a decision demands besides yes. All that several demand holds together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Obligations {
    /// Only events with all these tags.
    pub tags_all: BTreeSet<String>,
    /// Only events of these types; `None`: of all types, and an empty set: of none.
    pub types_any: Option<BTreeSet<String>>,
    /// Values that nobody is shown, as JSON pointers into the data; `*` is each element or member.
    pub mask: BTreeSet<String>,
    /// How much of what is decided so is put on record, from 0 (nothing) to 1 (all); `None`: what is denied alone.
    pub log: Option<f64>,
}

impl Obligations {
    /// Whether all events may be seen as they are.
    pub fn is_none(&self) -> bool {
        self.is_every_event() && self.mask.is_empty()
    }

    /// Whether all events may be seen, be it with values that are masked.
    pub fn is_every_event(&self) -> bool {
        self.tags_all.is_empty() && self.types_any.is_none()
    }

    /// Whether they demand the same as others, whatever comes on record.
    pub fn demand_as(&self, other: &Self) -> bool {
        self.tags_all == other.tags_all
            && self.types_any == other.types_any
            && self.mask == other.mask
    }

    /// Whether an event may be seen, or be appended.
    pub fn admits(&self, event_type: &str, mut has_tag: impl FnMut(&str) -> bool) -> bool {
        self.types_any.as_ref().is_none_or(|types| types.contains(event_type))
            && self.tags_all.iter().all(|tag| has_tag(tag))
    }

    /// Whether a recorded event may be seen.
    pub fn shows(&self, event: &RecordedEvent) -> bool {
        self.admits(event.event_type(), |tag| event.has_tag(tag))
    }

    /// What is left of a filter's alternative where only these events may be seen; `None`: nothing.
    pub fn narrow(&self, mut item: FilterItem) -> Option<FilterItem> {
        for tag in &self.tags_all {
            if !item.tags.contains(tag) {
                item.tags.push(tag.clone());
            }
        }
        if let Some(types) = &self.types_any {
            match item.types.is_empty() {
                true => item.types = types.iter().cloned().collect(),
                false => item.types.retain(|it| types.contains(it)),
            }
            if item.types.is_empty() {
                return None;
            }
        }
        Some(item)
    }
}

/// What rules answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Whether it may be done.
    pub allow: bool,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What is demanded besides.
    pub obligations: Obligations,
}

impl Decision {
    /// No, for a reason of the engine's own.
    pub fn deny(code: &str, msg: impl Into<String>) -> Self {
        let reasons = vec![Reason::new(code, msg)];
        Self { allow: false, reasons, obligations: Obligations::default() }
    }

    /// No, since an event is not of those that may be appended.
    pub fn not_covered(number: usize, obligations: &Obligations) -> Self {
        let tags = obligations.tags_all.iter().map(|tag| format!("tag {tag:?}"));
        let types = obligations.types_any.iter().flatten().map(|it| format!("type {it:?}"));
        let wanted: Vec<_> = tags.chain(types).collect();
        let msg = format!(
            "event {number} has not the tags, or is not of a type, that events have to be of here: {}",
            wanted.join(", ")
        );
        // What is masked stays so on record.
        let kept = Obligations {
            mask: obligations.mask.clone(),
            log: obligations.log,
            ..Obligations::default()
        };
        Self { obligations: kept, ..Self::deny("event_not_covered", msg) }
    }

    /// Yes, and nothing is demanded.
    pub fn allow() -> Self {
        Self { allow: true, reasons: Vec::new(), obligations: Obligations::default() }
    }

    /// What a rule said.
    pub(crate) fn of(value: &Value) -> Result<Self, NotADecision> {
        let Value::Object(_) = value else {
            return Err(NotADecision("it is no object".to_owned()));
        };
        check_keys(value, "", &["allow", "reasons", "obligations"])?;
        let allow = match &value["allow"] {
            Value::Bool(allow) => *allow,
            _ => return Err(NotADecision("`allow` is neither true nor false".to_owned())),
        };
        let reasons = reasons(&value["reasons"])?;
        let obligations = obligations(&value["obligations"])?;
        Ok(Self { allow, reasons, obligations })
    }
}

/// Why what a rule said is no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotADecision(pub(crate) String);

fn check_keys(value: &Value, of: &str, known: &[&str]) -> Result<(), NotADecision> {
    let Value::Object(object) = value else { return Ok(()) };
    for key in object.keys() {
        match key {
            Value::String(key) if known.contains(&&**key) => {}
            // A word that is misspelled must not pass for an obligation that is kept.
            other => {
                let known = known.join(", ");
                // A name that is no text may be huge when it is written out.
                let name = match other {
                    Value::String(name) => {
                        format!("{:?}", name.chars().take(64).collect::<String>())
                    }
                    _ => "a name that is no text".to_owned(),
                };
                return Err(NotADecision(format!("{of}{name} is not known: it has {known}")));
            }
        }
    }
    Ok(())
}

fn elements(value: &Value, of: &str) -> Result<Vec<Value>, NotADecision> {
    let all: Vec<Value> = match value {
        Value::Undefined | Value::Null => Vec::new(),
        Value::Array(array) => array.iter().take(VALUES_MAX + 1).cloned().collect(),
        Value::Set(set) => set.iter().take(VALUES_MAX + 1).cloned().collect(),
        _ => return Err(NotADecision(format!("`{of}` is neither an array nor a set"))),
    };
    match all.len() > VALUES_MAX {
        true => Err(NotADecision(format!("`{of}` has more than {VALUES_MAX} values"))),
        false => Ok(all),
    }
}

fn text(value: &Value, of: &str) -> Result<String, NotADecision> {
    match value {
        Value::String(text) if text.len() <= TEXT_BYTES_MAX => Ok((**text).to_owned()),
        Value::String(_) => {
            Err(NotADecision(format!("`{of}` has a text of more than {TEXT_BYTES_MAX} bytes")))
        }
        _ => Err(NotADecision(format!("`{of}` has what is no text"))),
    }
}

fn texts(value: &Value, of: &str) -> Result<BTreeSet<String>, NotADecision> {
    elements(value, of)?.iter().map(|it| text(it, of)).collect()
}

fn reasons(value: &Value) -> Result<Vec<Reason>, NotADecision> {
    let mut reasons = Vec::new();
    for reason in elements(value, "reasons")?.iter().take(REASONS_MAX) {
        let Value::Object(_) = reason else {
            return Err(NotADecision("`reasons` has what is no object".to_owned()));
        };
        check_keys(reason, "of a reason, ", &["code", "msg"])?;
        let msg = match &reason["msg"] {
            Value::Undefined => String::new(),
            msg => text(msg, "msg")?,
        };
        reasons.push(Reason { code: text(&reason["code"], "code")?, msg });
    }
    Ok(reasons)
}

fn obligations(value: &Value) -> Result<Obligations, NotADecision> {
    match value {
        Value::Undefined | Value::Null => return Ok(Obligations::default()),
        Value::Object(_) => {}
        _ => return Err(NotADecision("`obligations` is no object".to_owned())),
    }
    check_keys(value, "of the obligations, ", &["tags_all", "types_any", "mask", "log"])?;
    let types_any = match &value["types_any"] {
        Value::Undefined | Value::Null => None,
        types => Some(texts(types, "types_any")?),
    };
    let mask = texts(&value["mask"], "mask")?;
    if let Some(wrong) = mask.iter().find(|it| !it.is_empty() && !it.starts_with('/')) {
        let why = format!("`mask` has {wrong:?}, which is no JSON pointer: begin it with `/`");
        return Err(NotADecision(why));
    }
    let log = match &value["log"] {
        Value::Undefined | Value::Null => None,
        Value::Bool(all) => Some(f64::from(u8::from(*all))),
        share => match share.as_f64() {
            Ok(share) if (0.0..=1.0).contains(&share) => Some(share),
            _ => {
                let why = "`log` is neither true nor false nor a share from 0 to 1";
                return Err(NotADecision(why.to_owned()));
            }
        },
    };
    Ok(Obligations { tags_all: texts(&value["tags_all"], "tags_all")?, types_any, mask, log })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Decision, String> {
        Decision::of(&Value::from_json_str(json).unwrap()).map_err(|why| why.to_string())
    }

    #[test]
    fn a_decision_says_all_it_can() {
        let decision = of(
            r#"{"allow": true, "reasons": [{"code": "c"}, {"code": "d", "msg": "m"}],
               "obligations": {"tags_all": ["b:1", "a:1"], "types_any": [], "mask": ["/a/*/b"], "log": 0.5}}"#,
        )
        .unwrap();
        assert!(decision.allow);
        assert_eq!(decision.reasons, [Reason::new("c", ""), Reason::new("d", "m")]);
        let obligations = decision.obligations;
        assert_eq!(obligations.tags_all.iter().collect::<Vec<_>>(), ["a:1", "b:1"]);
        assert_eq!((obligations.types_any, obligations.log), (Some(BTreeSet::new()), Some(0.5)));
        assert_eq!(of(r#"{"allow": false}"#).unwrap().obligations, Obligations::default());
    }

    #[test]
    fn what_is_no_decision_says_why() {
        for (json, why) in [
            ("true", "no object"),
            ("{}", "`allow`"),
            (r#"{"allow": 1}"#, "`allow`"),
            (r#"{"allow": true, "obligation": {}}"#, "obligation"),
            (r#"{"allow": true, "obligations": {"tag_all": ["a"]}}"#, "tag_all"),
            (r#"{"allow": true, "obligations": {"tags_all": "a"}}"#, "tags_all"),
            (r#"{"allow": true, "obligations": {"types_any": [1]}}"#, "types_any"),
            (r#"{"allow": true, "obligations": {"mask": ["a"]}}"#, "pointer"),
            (r#"{"allow": true, "obligations": {"log": 2}}"#, "`log`"),
            (r#"{"allow": true, "reasons": [{"msg": "m"}]}"#, "`code`"),
            (r#"{"allow": true, "reasons": "r"}"#, "`reasons`"),
        ] {
            let said = of(json).unwrap_err();
            assert!(said.contains(why), "{json}: {said}");
        }
    }

    #[test]
    fn obligations_are_anded_into_filters() {
        let set = |of: &[&str]| of.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
        let only = Obligations {
            tags_all: set(&["t:1"]),
            types_any: Some(set(&["A", "B"])),
            ..Obligations::default()
        };
        let narrowed = only.narrow(FilterItem::default()).unwrap();
        assert_eq!(
            (narrowed.tags, narrowed.types),
            (vec!["t:1".into()], vec!["A".into(), "B".into()])
        );
        let item = FilterItem {
            tags: vec!["t:1".into(), "u:2".into()],
            types: vec!["B".into(), "C".into()],
            ..FilterItem::default()
        };
        let narrowed = only.narrow(item).unwrap();
        assert_eq!((narrowed.tags.len(), narrowed.types), (2, vec!["B".into()]));
        let item = FilterItem { types: vec!["C".into()], ..FilterItem::default() };
        assert_eq!(only.narrow(item), None);
        assert!(only.admits("A", |tag| tag == "t:1") && !only.admits("A", |_| false));
    }
}

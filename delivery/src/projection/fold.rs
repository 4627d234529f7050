//! The fold of one field: how a rule and an event change what it holds.
//!
//! A change is worked out first, with all that may go wrong, and made afterwards: an event that fails in one field has
//! changed none.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use nexus_protocol::limits::{
    DISTINCT_VALUES_MAX, DOCUMENT_BYTES_MAX, DOCUMENT_KEY_BYTES_MAX, DOCUMENT_TAGS_MAX,
};
use nexus_protocol::{EventPointer, Looked, Timestamp};
use serde_json::{Map, Value as Json};

use super::expression::nearest;
use super::field::{FieldType, Mismatch, Value, json_weight};
use super::file::Operator;

/// Of a text that `first` and `last` go by so many bytes count.
const BY_TEXT_BYTES_MAX: usize = 128;

/// Why an event cannot be folded into its document, which is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// A value is of another type than the field.
    #[error("field {field:?}: {found} is no {wanted}")]
    Mismatch {
        /// Which field.
        field: String,
        /// The value, or the beginning of it, as JSON.
        found: String,
        /// What the field holds.
        wanted: FieldType,
    },
    /// A sum or a difference is beyond what the field holds.
    #[error("field {field:?}: `{operator}` leads beyond what {wanted} holds")]
    OutOfBounds {
        /// Which field.
        field: String,
        /// What was to be done.
        operator: Operator,
        /// What the field holds.
        wanted: FieldType,
    },
    /// There are more different values than are counted.
    #[error("field {field:?}: there are more than {DISTINCT_VALUES_MAX} different values")]
    TooManyDistinct {
        /// Which field.
        field: String,
    },
    /// The document is larger than one may be.
    #[error("the document has more than {DOCUMENT_BYTES_MAX} bytes")]
    DocumentTooLarge,
    /// The document carries more tags than one may.
    #[error("the document carries more than {DOCUMENT_TAGS_MAX} tags: say \"access\": \"last\"")]
    TooManyTags,
    /// The key is none.
    #[error("the key is empty, or has more than {DOCUMENT_KEY_BYTES_MAX} bytes")]
    BadKey,
}

/// Where a rule has its value from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    /// It needs none.
    Nothing,
    /// From there.
    Pointer(EventPointer),
    /// It is always this.
    Value(Json),
}

/// How a field changes with an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) operator: Operator,
    pub(super) source: Source,
    /// What `first` and `last` go by.
    pub(super) by: Option<EventPointer>,
    /// The types of events that it takes; empty: all.
    pub(super) on: Vec<String>,
}

/// What a field of a document holds, and what is needed to go on with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Slot {
    #[default]
    Empty,
    One(Value),
    /// What stands first or last by something, and that.
    By(Value, Rank),
    Many(Vec<Value>),
    /// Digests of the different values.
    Distinct(BTreeSet<u64>),
}

/// What values are put in order by. Those of different kinds are ordered by their kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rank {
    Whole(i128),
    Float(f64),
    Time(Timestamp),
    /// The beginning of a text.
    Text(String),
}

impl Rank {
    fn of(json: &Json) -> Option<Self> {
        match json {
            Json::Number(number) => match number.as_i128() {
                Some(whole) => Some(Self::Whole(whole)),
                None => number.as_f64().map(Self::Float),
            },
            Json::String(text) => Some(Self::of_text(text)),
            _ => None,
        }
    }

    /// Numbers and times are what they say, whatever wrote them as texts.
    fn of_text(text: &str) -> Self {
        if let Ok(whole) = text.parse() {
            return Self::Whole(whole);
        }
        if let Some(float) = text.parse().ok().filter(|it: &f64| it.is_finite()) {
            return Self::Float(float);
        }
        match text.parse() {
            Ok(at) => Self::Time(at),
            Err(_) => Self::Text(text[..text.floor_char_boundary(BY_TEXT_BYTES_MAX)].to_owned()),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let kind = |it: &Self| match it {
            Self::Whole(_) | Self::Float(_) => 0,
            Self::Time(_) => 1,
            Self::Text(_) => 2,
        };
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(b),
            (Self::Whole(a), Self::Float(b)) => nearest(*a).total_cmp(b),
            (Self::Float(a), Self::Whole(b)) => a.total_cmp(&nearest(*b)),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (a, b) => kind(a).cmp(&kind(b)),
        }
    }

    fn weight(&self) -> usize {
        32 + if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

/// What an event does to a field.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Put(Slot),
    /// Values more, of which the last so many are kept.
    Push(Vec<Value>, usize),
    Insert(u64),
}

/// A field as its rules need to know it.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) field_type: FieldType,
    /// How many values `append` keeps.
    pub(super) max: usize,
}

impl Rule {
    pub(super) fn takes(&self, event_type: &str) -> bool {
        self.on.is_empty() || self.on.iter().any(|it| it == event_type)
    }

    /// Where in the event it looks.
    pub(super) fn pointers(&self) -> impl Iterator<Item = &EventPointer> {
        let from = match &self.source {
            Source::Pointer(pointer) => Some(pointer),
            Source::Nothing | Source::Value(_) => None,
        };
        from.into_iter().chain(&self.by)
    }

    /// What an event does to what the field holds; `None`: nothing.
    pub(super) fn change(
        &self,
        field: &Field<'_>,
        slot: &Slot,
        event: &Looked<'_>,
    ) -> Result<Option<Change>, FoldError> {
        let found = match &self.source {
            Source::Nothing => None,
            Source::Value(value) => Some(std::borrow::Cow::Borrowed(value)),
            Source::Pointer(pointer) => event.at(pointer),
        };
        let found = match (self.operator, found) {
            (Operator::Unset, _) => return Ok(Some(Change::Put(Slot::Empty))),
            (Operator::Count, None) if self.source == Source::Nothing => {
                std::borrow::Cow::Owned(Json::Bool(true))
            }
            (_, None) => return Ok(None),
            (Operator::Set, Some(found)) if found.is_null() => {
                return Ok(Some(Change::Put(Slot::Empty)));
            }
            (_, Some(found)) if found.is_null() => return Ok(None),
            // Of what is counted an empty text is as little as it is to numbers.
            (Operator::Count | Operator::CountDistinct, Some(found)) if *found == "" => {
                return Ok(None);
            }
            (_, Some(found)) => found,
        };
        // Before anything is made of it.
        if json_weight(&found) > DOCUMENT_BYTES_MAX {
            return Err(FoldError::DocumentTooLarge);
        }
        match self.operator {
            Operator::Count => field.sum(slot, self.operator, &field.one()).map(Some),
            Operator::CountDistinct => field.insert(slot, &found),
            Operator::Append => field.push(&found),
            Operator::Merge => Ok(Some(Change::Put(merged(slot, &found)))),
            _ => {
                let Some(value) = field.value(&found)? else { return Ok(None) };
                match self.operator {
                    Operator::Add | Operator::Subtract => {
                        field.sum(slot, self.operator, &value).map(Some)
                    }
                    _ => Ok(self.replaces(slot, value, event).map(Change::Put)),
                }
            }
        }
    }

    /// What takes the place of what is there; `None`: that stays.
    fn replaces(&self, slot: &Slot, value: Value, event: &Looked<'_>) -> Option<Slot> {
        let rank = match &self.by {
            // Of what has no place in the order it cannot be said whether it is the first or the last.
            Some(by) => Some(event.at(by).and_then(|it| Rank::of(&it))?),
            None => None,
        };
        let stays = match (self.operator, slot, &rank) {
            (Operator::First, Slot::By(_, before), Some(rank)) => rank.compare(before).is_ge(),
            (Operator::Last, Slot::By(_, before), Some(rank)) => rank.compare(before).is_lt(),
            (Operator::First, Slot::One(_), None) => true,
            (Operator::Min, Slot::One(before), _) => {
                before.compare(&value).is_some_and(Ordering::is_le)
            }
            (Operator::Max, Slot::One(before), _) => {
                before.compare(&value).is_some_and(Ordering::is_ge)
            }
            _ => false,
        };
        let next = match rank {
            Some(rank) => Slot::By(value, rank),
            None => Slot::One(value),
        };
        (!stays).then_some(next)
    }
}

impl Field<'_> {
    fn value(&self, json: &Json) -> Result<Option<Value>, FoldError> {
        self.field_type.value(json).map_err(|Mismatch { found, wanted }| FoldError::Mismatch {
            field: self.name.to_owned(),
            found,
            wanted,
        })
    }

    /// What `count` adds.
    fn one(&self) -> Value {
        if self.field_type == FieldType::U64 { Value::U64(1) } else { Value::I64(1) }
    }

    fn sum(&self, slot: &Slot, operator: Operator, value: &Value) -> Result<Change, FoldError> {
        let before = match slot {
            Slot::One(before) => Some(before),
            _ => None,
        };
        let subtracts = operator == Operator::Subtract;
        let sum = match (before, value) {
            (Some(Value::U64(a)), Value::U64(b)) if subtracts => a.checked_sub(*b).map(Value::U64),
            (None, Value::U64(b)) if subtracts => 0_u64.checked_sub(*b).map(Value::U64),
            (Some(Value::U64(a)), Value::U64(b)) => a.checked_add(*b).map(Value::U64),
            (Some(Value::I64(a)), Value::I64(b)) if subtracts => a.checked_sub(*b).map(Value::I64),
            (None, Value::I64(b)) if subtracts => 0_i64.checked_sub(*b).map(Value::I64),
            (Some(Value::I64(a)), Value::I64(b)) => a.checked_add(*b).map(Value::I64),
            (Some(Value::F64(a)), Value::F64(b)) if subtracts => Value::finite(a - b),
            (None, Value::F64(b)) if subtracts => Value::finite(0.0 - b),
            (Some(Value::F64(a)), Value::F64(b)) => Value::finite(a + b),
            (_, value) => Some(value.clone()),
        };
        let sum = sum.ok_or_else(|| FoldError::OutOfBounds {
            field: self.name.to_owned(),
            operator,
            wanted: self.field_type,
        })?;
        Ok(Change::Put(Slot::One(sum)))
    }

    fn insert(&self, slot: &Slot, json: &Json) -> Result<Option<Change>, FoldError> {
        // In one order, whatever map this process has for objects.
        let mut canonical = json.clone();
        canonical.sort_all_objects();
        let digest = blake3::hash(canonical.to_string().as_bytes());
        let digest: [u8; 8] = digest.as_bytes()[..8].try_into().expect("a digest has 32 bytes");
        let digest = u64::from_le_bytes(digest);
        match slot {
            Slot::Distinct(known) if known.contains(&digest) => Ok(None),
            Slot::Distinct(known) if known.len() >= DISTINCT_VALUES_MAX => {
                Err(FoldError::TooManyDistinct { field: self.name.to_owned() })
            }
            _ => Ok(Some(Change::Insert(digest))),
        }
    }

    fn push(&self, json: &Json) -> Result<Option<Change>, FoldError> {
        let mut values = Vec::new();
        match json {
            Json::Array(items) if self.field_type != FieldType::Json => {
                // From the end: what would be pushed out again at once is not even looked at.
                for item in items.iter().rev() {
                    values.extend(self.value(item)?);
                    if values.len() == self.max {
                        break;
                    }
                }
                values.reverse();
            }
            one => values.extend(self.value(one)?),
        }
        Ok((!values.is_empty()).then_some(Change::Push(values, self.max)))
    }

    /// What documents show of it.
    pub(super) fn shown(&self, slot: &Slot) -> Option<Json> {
        Some(match slot {
            Slot::Empty => return None,
            Slot::One(value) | Slot::By(value, _) => value.to_json(),
            Slot::Many(values) => values.iter().map(Value::to_json).collect(),
            Slot::Distinct(known) => known.len().into(),
        })
    }

    /// What expressions are computed from; lists have no value there.
    pub(super) fn single(&self, slot: &Slot) -> Option<Value> {
        match slot {
            Slot::Empty | Slot::Many(_) => None,
            Slot::One(value) | Slot::By(value, _) => Some(value.clone()),
            Slot::Distinct(known) => u64::try_from(known.len()).ok().map(Value::U64),
        }
    }
}

impl Change {
    /// How much it brings that is new.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Put(slot) => slot.weight(),
            Self::Push(values, _) => values.iter().map(Value::weight).sum(),
            Self::Insert(_) => 8,
        }
    }
}

impl Slot {
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(value) => value.weight(),
            Self::By(value, rank) => value.weight() + rank.weight(),
            Self::Many(values) => values.iter().map(Value::weight).sum(),
            Self::Distinct(known) => 8 * known.len(),
        }
    }

    /// How much it weighs with a change.
    pub(super) fn weight_after(&self, change: &Change) -> usize {
        match change {
            Change::Put(slot) => slot.weight(),
            Change::Push(values, max) => {
                let before: &[Value] = if let Self::Many(all) = self { all } else { &[] };
                let surplus = (before.len() + values.len()).saturating_sub(*max);
                let kept = before.iter().chain(values).skip(surplus);
                kept.map(Value::weight).sum()
            }
            Change::Insert(_) => self.weight() + 8,
        }
    }

    pub(super) fn make(&mut self, change: Change) {
        match change {
            Change::Put(slot) => *self = slot,
            Change::Push(values, max) => {
                if !matches!(self, Self::Many(_)) {
                    *self = Self::Many(Vec::new());
                }
                let Self::Many(all) = self else { return };
                all.extend(values);
                let surplus = all.len().saturating_sub(max);
                all.drain(..surplus);
            }
            Change::Insert(digest) => match self {
                Self::Distinct(known) => drop(known.insert(digest)),
                _ => *self = Self::Distinct(BTreeSet::from([digest])),
            },
        }
    }
}

/// What is there, changed as a merge patch says.
fn merged(slot: &Slot, patch: &Json) -> Slot {
    let mut target = match slot {
        Slot::One(Value::Json(json)) => json.clone(),
        _ => Json::Null,
    };
    merge(&mut target, patch);
    Slot::One(Value::Json(target))
}

/// RFC 7396. As deep as the patch, and JSON that was read is 128 deep at most.
fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    let Json::Object(members) = target else { return };
    for (name, value) in patch {
        match value {
            Json::Null => drop(members.remove(name)),
            value => merge(members.entry(name.clone()).or_insert(Json::Null), value),
        }
    }
}

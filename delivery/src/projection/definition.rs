//! [`Definition`]: a definition that was checked, and what it makes of events.

use std::collections::{BTreeMap, BTreeSet};

use nexus_protocol::limits::{
    APPEND_VALUES_DEFAULT, APPEND_VALUES_MAX, DOCUMENT_BYTES_MAX, DOCUMENT_KEY_BYTES_MAX,
    DOCUMENT_TAGS_MAX, EVENT_TYPE_BYTES_MAX, FILTER_VALUES_MAX, PROJECTION_FIELDS_MAX,
    PROJECTION_NAME_BYTES_MAX, PROJECTION_RULES_MAX, PROJECTION_SUBJECTS_MAX, SUBJECT_BYTES_MAX,
};
use nexus_protocol::{EventPointer, Filter, Looked};
use serde_json::{Map, Value as Json};

use super::codec::{self, NoDocument};
use super::expression::{Datum, Expression, Function, or_leaf};
use super::field::{FieldType, Value};
use super::file::{Access, DefinitionError, DefinitionFile, FieldFile, Operator, RuleFile};
use super::fold::{Change, Field, FoldError, Rule, Slot, Source};

/// A definition that was checked.
#[derive(Clone, Debug)]
pub struct Definition {
    file: DefinitionFile,
    key: Expression<EventPointer>,
    /// The fields that are folded, in the order of their names.
    folded: Vec<Folded>,
    /// Those that are computed, each behind what it is computed from.
    computed: Vec<Computed>,
}

#[derive(Clone, Debug)]
struct Folded {
    name: String,
    field_type: FieldType,
    rules: Vec<Rule>,
    max: usize,
    /// Whether something is computed from it.
    is_named: bool,
}

#[derive(Clone, Debug)]
struct Computed {
    name: String,
    field_type: FieldType,
    expression: Expression<String>,
}

/// What events were folded into.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub(super) slots: Vec<Slot>,
    pub(super) tags: BTreeSet<String>,
    pub(super) events: u64,
    /// What its slots take, about.
    pub(super) bytes: usize,
}

impl Document {
    /// How many events were folded into it.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The bytes that it is kept as: the same for the same document.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The tags that it carries, by which it is known who may see it.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(String::as_str)
    }
}

fn wrong(at: impl Into<String>, why: impl Into<String>) -> DefinitionError {
    DefinitionError::new(at, why)
}

impl Definition {
    /// Checks one.
    ///
    /// # Errors
    /// Says what is wrong with it, and where.
    pub fn new(file: DefinitionFile) -> Result<Self, DefinitionError> {
        check_name("name", &file.name, PROJECTION_NAME_BYTES_MAX)?;
        if file.version == 0 {
            return Err(wrong("version", "versions begin with 1"));
        }
        if file.temporal {
            let why = "documents as of an earlier time are not kept yet: leave it out";
            return Err(wrong("temporal", why));
        }
        file.filter.check().map_err(|why| wrong("filter", why.to_string()))?;
        if file.as_schema.len() > PROJECTION_SUBJECTS_MAX {
            let why = format!("at most {PROJECTION_SUBJECTS_MAX} subjects are named");
            return Err(wrong("as_schema", why));
        }
        for (subject, version) in &file.as_schema {
            if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || *version == 0 {
                let why = format!(
                    "it names subjects, of 1 to {SUBJECT_BYTES_MAX} bytes, and their versions, from 1"
                );
                return Err(wrong("as_schema", why));
            }
        }
        if file.fields.is_empty() || file.fields.len() > PROJECTION_FIELDS_MAX {
            let why = format!("a document has 1 to {PROJECTION_FIELDS_MAX} fields");
            return Err(wrong("fields", why));
        }
        let mut pointer = |text: &str| EventPointer::new(text).map_err(|error| error.to_string());
        let key = Expression::read(&or_leaf(&file.key, "path"), "path", &mut pointer);
        let key = key.map_err(|why| wrong("key", why))?;
        if key.calls(Function::SecondsBetween) {
            return Err(wrong(
                "key",
                "times of an event are texts: `seconds_between` has no value here",
            ));
        }
        check_types(&file.delete).map_err(|why| wrong("delete", why))?;
        let (mut folded, mut computed) = (Vec::new(), BTreeMap::new());
        for (name, field) in &file.fields {
            let at = format!("fields.{name}");
            check_name(&at, name, PROJECTION_NAME_BYTES_MAX)?;
            match &field.compute {
                None => folded.push(Folded::new(name, field).map_err(|why| wrong(at, why))?),
                Some(expression) => {
                    let read = computed_of(name, field, expression, &file.fields);
                    computed.insert(name.clone(), read.map_err(|why| wrong(at, why))?);
                }
            }
        }
        let computed = in_order(computed)?;
        let mut named = Vec::new();
        computed.iter().for_each(|it| it.expression.leaves(&mut named));
        for field in &mut folded {
            field.is_named = named.iter().any(|it| **it == field.name);
        }
        Ok(Self { file, key, folded, computed })
    }

    /// What it was made of.
    pub fn file(&self) -> &DefinitionFile {
        &self.file
    }

    /// What tells it from every other: the digest (BLAKE3) of its JSON form. Keys and documents are the same where it is.
    pub fn fingerprint(&self) -> [u8; 32] {
        let json = serde_json::to_vec(&self.file).expect("a definition has a JSON form");
        *blake3::hash(&json).as_bytes()
    }

    /// Which events it takes.
    pub fn filter(&self) -> &Filter {
        &self.file.filter
    }

    /// What is known of documents by whoever may not see some of the events: the fields that come of what `hides` says of a
    /// pointer, by name; and whether keys do.
    pub fn hidden(&self, hides: impl Fn(&EventPointer) -> bool) -> (BTreeSet<&str>, bool) {
        let mut of_key = Vec::new();
        self.key.leaves(&mut of_key);
        let mut hidden = BTreeSet::new();
        for field in &self.folded {
            if field.rules.iter().flat_map(Rule::pointers).any(&hides) {
                hidden.insert(field.name.as_str());
            }
        }
        // Each stands behind what it is computed from.
        for field in &self.computed {
            let mut leaves = Vec::new();
            field.expression.leaves(&mut leaves);
            if leaves.iter().any(|it| hidden.contains(it.as_str())) {
                hidden.insert(field.name.as_str());
            }
        }
        (hidden, of_key.into_iter().any(hides))
    }

    /// What the document of an event is found by; `None`: the event says nothing of what the key is made of, and belongs to
    /// no document.
    ///
    /// # Errors
    /// `BadKey`.
    pub fn key(&self, event: &Looked<'_>) -> Result<Option<String>, FoldError> {
        let leaf = |pointer: &EventPointer| event.at(pointer).and_then(|it| Datum::of_json(&it));
        let Some(key) = self.key.value(&leaf) else {
            // What is there, and makes no key all the same, is not passed over.
            let mut leaves = Vec::new();
            self.key.leaves(&mut leaves);
            let is_there = |it: &&EventPointer| event.at(it).is_some_and(|found| !found.is_null());
            return if leaves.iter().all(is_there) { Err(FoldError::BadKey) } else { Ok(None) };
        };
        let key = key.to_text();
        if key.is_empty() || key.len() > DOCUMENT_KEY_BYTES_MAX {
            return Err(FoldError::BadKey);
        }
        Ok(Some(key))
    }

    /// Folds an event into its document, which is none before the first, and none again behind one that ends it.
    ///
    /// # Errors
    /// As [`FoldError`] says: the document is as it was.
    pub fn fold(
        &self,
        document: &mut Option<Document>,
        event: &Looked<'_>,
    ) -> Result<(), FoldError> {
        let event_type = event.event().event_type();
        if self.file.delete.iter().any(|it| it == event_type) {
            *document = None;
            return Ok(());
        }
        let empty = Slot::Empty;
        let slot = |number: usize| document.as_ref().map_or(&empty, |it| &it.slots[number]);
        let mut changes: Vec<(usize, Change)> = Vec::new();
        let (mut bytes, mut made) = (document.as_ref().map_or(0, |it| it.bytes), 0);
        for (number, field) in self.folded.iter().enumerate() {
            let Some(rule) = field.rules.iter().find(|it| it.takes(event_type)) else { continue };
            let slot = slot(number);
            if let Some(change) = rule.change(&field.known(), slot, event)? {
                // What is new stays in the document: so this is known before all of it is made.
                made += change.weight();
                if made > DOCUMENT_BYTES_MAX {
                    return Err(FoldError::DocumentTooLarge);
                }
                bytes = (bytes + slot.weight_after(&change)).saturating_sub(slot.weight());
                changes.push((number, change));
            }
        }
        let tags = self.tags_after(document.as_ref(), event)?;
        if bytes > DOCUMENT_BYTES_MAX {
            return Err(FoldError::DocumentTooLarge);
        }
        let document = document.get_or_insert_with(|| Document {
            slots: vec![Slot::Empty; self.folded.len()],
            tags: BTreeSet::new(),
            events: 0,
            bytes: 0,
        });
        for (number, change) in changes {
            let slot = &mut document.slots[number];
            document.bytes -= slot.weight();
            slot.make(change);
            document.bytes += slot.weight();
        }
        if let Some(tags) = tags {
            document.tags = tags;
        }
        document.events += 1;
        Ok(())
    }

    /// The tags that the document carries with the event; `None`: those that it has.
    fn tags_after(
        &self,
        document: Option<&Document>,
        event: &Looked<'_>,
    ) -> Result<Option<BTreeSet<String>>, FoldError> {
        let event = event.event();
        let mut tags = match (self.file.access, document) {
            (Access::None, _) => return Ok(None),
            (Access::Union, Some(document))
                if event.tags().all(|it| document.tags.contains(it)) =>
            {
                return Ok(None);
            }
            (Access::Union, Some(document)) => document.tags.clone(),
            (Access::Union, None) | (Access::Last, _) => BTreeSet::new(),
        };
        tags.extend(event.tags().map(str::to_owned));
        if tags.len() > DOCUMENT_TAGS_MAX { Err(FoldError::TooManyTags) } else { Ok(Some(tags)) }
    }

    /// The document that was kept as these bytes, by this version of the definition.
    ///
    /// # Errors
    /// Says where they are none: the documents are to be folded again.
    pub fn decode(&self, bytes: &[u8]) -> Result<Document, NoDocument> {
        codec::decode(bytes, self.folded.len())
    }

    /// A document as it is shown: its fields that have a value, those that are computed included.
    pub fn shown(&self, document: &Document) -> Map<String, Json> {
        let mut shown = Map::new();
        let mut values: BTreeMap<&str, Value> = BTreeMap::new();
        for (field, slot) in self.folded.iter().zip(&document.slots) {
            let known = field.known();
            shown.extend(known.shown(slot).map(|json| (field.name.clone(), json)));
            if field.is_named {
                values.extend(known.single(slot).map(|value| (field.name.as_str(), value)));
            }
        }
        let mut bytes = 0;
        for field in &self.computed {
            let leaf = |name: &String| values.get(name.as_str()).and_then(Datum::of_value);
            let value = field.expression.value(&leaf).and_then(|it| it.to_value(field.field_type));
            let Some(value) = value else { continue };
            bytes += value.weight();
            if bytes > DOCUMENT_BYTES_MAX {
                break;
            }
            shown.insert(field.name.clone(), value.to_json());
            values.insert(&field.name, value);
        }
        shown
    }
}

impl Folded {
    fn known(&self) -> Field<'_> {
        Field { name: &self.name, field_type: self.field_type, max: self.max }
    }

    fn new(name: &str, file: &FieldFile) -> Result<Self, String> {
        let written = file.all_rules()?;
        if written.is_empty() || written.len() > PROJECTION_RULES_MAX {
            return Err(format!(
                "say how it comes about: `fold`, 1 to {PROJECTION_RULES_MAX} `rules`, or `compute`"
            ));
        }
        let rules = written.iter().map(|rule| rule_of(rule, file.field_type));
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let last = rules.len() - 1;
        if rules[..last].iter().any(|it| it.on.is_empty()) {
            return Err("a rule without `on` takes all events: put it last".to_owned());
        }
        let goes_by = |it: &Rule| it.by.is_some() || it.operator == Operator::Unset;
        if rules.iter().any(|it| it.by.is_some()) && !rules.iter().all(goes_by) {
            return Err("`by` has to stand with every rule of the field".to_owned());
        }
        let mut shapes: Vec<_> = rules.iter().filter_map(|it| shape(it.operator)).collect();
        shapes.dedup();
        if shapes.len() > 1 {
            return Err("`append` and `count_distinct` go together with `unset` alone".to_owned());
        }
        let appends = shapes == [Shape::List];
        let max = match file.max {
            Some(_) if !appends => return Err("`max` goes with `append` alone".to_owned()),
            Some(max) if max == 0 || max > APPEND_VALUES_MAX => {
                return Err(format!("`max` is 1 to {APPEND_VALUES_MAX}"));
            }
            Some(max) => max,
            None => APPEND_VALUES_DEFAULT,
        };
        let (name, field_type) = (name.to_owned(), file.field_type);
        Ok(Self { name, field_type, rules, max, is_named: false })
    }
}

/// What an operator keeps in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Value,
    List,
    Set,
}

fn shape(operator: Operator) -> Option<Shape> {
    match operator {
        Operator::Unset => None,
        Operator::Append => Some(Shape::List),
        Operator::CountDistinct => Some(Shape::Set),
        _ => Some(Shape::Value),
    }
}

fn rule_of(rule: &RuleFile, field_type: FieldType) -> Result<Rule, String> {
    let operator = rule.fold;
    let (fits, wanted) = match operator {
        Operator::Add | Operator::Subtract => (field_type.is_number(), "u64, i64, or f64"),
        Operator::Count | Operator::CountDistinct => (field_type.is_whole(), "u64 or i64"),
        Operator::Min | Operator::Max => {
            (field_type.is_ordered(), "a number, a text, a keyword, a date, or an ip")
        }
        Operator::Merge => (field_type == FieldType::Json, "json"),
        _ => (true, ""),
    };
    if !fits {
        return Err(format!("`{operator}` makes {wanted}, and not {field_type}"));
    }
    let pointer = |text: &String| EventPointer::new(text).map_err(|error| error.to_string());
    let source = match (operator, &rule.from, &rule.value) {
        (_, Some(_), Some(_)) => return Err("it has `from` and `value`: say one".to_owned()),
        (Operator::Unset | Operator::Count, None, None) => Source::Nothing,
        (Operator::Unset, ..) => return Err("`unset` needs neither `from` nor `value`".to_owned()),
        (Operator::Count, None, Some(_)) => {
            return Err("`count` counts events, or those that have something at `from`".to_owned());
        }
        (_, None, None) => {
            return Err(format!(
                "`{operator}` needs `from`, a pointer into the event as /data/a, or `value`"
            ));
        }
        (_, Some(from), None) => Source::Pointer(pointer(from)?),
        (_, None, Some(value)) => {
            let is_one = |it: &Json| field_type.value(it).ok().flatten().is_some();
            let fits = match (operator, value) {
                (Operator::Merge | Operator::CountDistinct, _) => true,
                (Operator::Append, Json::Array(items)) => items.iter().all(is_one),
                (_, value) => is_one(value),
            };
            if !fits {
                return Err(format!("`value` is no {field_type}"));
            }
            Source::Value(value.clone())
        }
    };
    if operator == Operator::Unset && rule.on.is_empty() {
        return Err("`unset` without `on` leaves nothing: name the types of events".to_owned());
    }
    if rule.by.is_some() && !matches!(operator, Operator::First | Operator::Last) {
        return Err("`by` goes with `first` and `last` alone".to_owned());
    }
    check_types(&rule.on)?;
    let by = rule.by.as_ref().map(pointer).transpose()?;
    Ok(Rule { operator, source, by, on: rule.on.clone() })
}

/// Refuses more types of events than a filter may name, and what is no type.
fn check_types(types: &[String]) -> Result<(), String> {
    if types.len() > FILTER_VALUES_MAX {
        return Err(format!("at most {FILTER_VALUES_MAX} types of events are named"));
    }
    match types.iter().any(|it| it.is_empty() || it.len() > EVENT_TYPE_BYTES_MAX) {
        true => Err(format!("a type of events has 1 to {EVENT_TYPE_BYTES_MAX} bytes")),
        false => Ok(()),
    }
}

fn computed_of(
    name: &str,
    field: &FieldFile,
    expression: &Json,
    fields: &BTreeMap<String, FieldFile>,
) -> Result<Computed, String> {
    if !field.all_rules()?.is_empty() {
        return Err("it is folded or computed, not both".to_owned());
    }
    if field.max.is_some() {
        return Err("`max` goes with `append` alone".to_owned());
    }
    let mut leaf = |of: &str| match fields.contains_key(of) {
        true => Ok(of.to_owned()),
        false => Err(format!("there is no field {of:?}")),
    };
    let expression = Expression::read(&or_leaf(expression, "field"), "field", &mut leaf)?;
    Ok(Computed { name: name.to_owned(), field_type: field.field_type, expression })
}

/// Each behind what it is computed from.
fn in_order(mut left: BTreeMap<String, Computed>) -> Result<Vec<Computed>, DefinitionError> {
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_ready = |it: &Computed| {
            let mut leaves = Vec::new();
            it.expression.leaves(&mut leaves);
            leaves.iter().all(|name| !left.contains_key(*name))
        };
        let ready: Vec<_> =
            left.values().filter(|it| is_ready(it)).map(|it| it.name.clone()).collect();
        if ready.is_empty() {
            let names: Vec<_> = left.keys().map(String::as_str).collect();
            let why = format!("{} are computed from each other", names.join(", "));
            return Err(wrong("fields", why));
        }
        ordered.extend(ready.iter().filter_map(|name| left.remove(name)));
    }
    Ok(ordered)
}

/// Refuses a name that a query could not say.
fn check_name(at: &str, name: &str, bytes_max: usize) -> Result<(), DefinitionError> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if begins && goes_on && name.len() <= bytes_max {
        return Ok(());
    }
    let why = format!(
        "a name begins with a letter, goes on with letters, digits, `_`, and `-`, and has at most {bytes_max} bytes"
    );
    Err(wrong(at, why))
}

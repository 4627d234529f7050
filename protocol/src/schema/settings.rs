//! What holds for the versions of a subject, and for the events that it is bound to.

use super::words;
use crate::error::{Invalid, TooLarge};
use crate::event::EventProblem;
use crate::limits::{EVENT_TYPE_BYTES_MAX, SCHEMA_OWNER_BYTES_MAX, SUBJECT_PATTERNS_MAX};

words! {
    /// Which versions of a subject have to understand each other. *Backward*: the new version reads what follows the old one.
    /// *Forward*: the old version reads what follows the new one. *Full*: both. Without *transitive* the old one is the
    /// newest before it; with it, all of them. Drafts do not count, and what is retired reads nothing any more.
    Compatibility, "compatibility" {
        /// None.
        None = "NONE",
        /// The new one reads the one before.
        Backward = "BACKWARD",
        /// The new one reads all before.
        BackwardTransitive = "BACKWARD_TRANSITIVE",
        /// The one before reads the new one.
        Forward = "FORWARD",
        /// All before read the new one.
        ForwardTransitive = "FORWARD_TRANSITIVE",
        /// The new one and the one before read each other.
        Full = "FULL",
        /// The new one and each before read each other.
        FullTransitive = "FULL_TRANSITIVE",
    }
}

impl Compatibility {
    /// Whether the new version has to read what follows the old one.
    pub fn is_backward(self) -> bool {
        use Compatibility as It;
        matches!(self, It::Backward | It::BackwardTransitive | It::Full | It::FullTransitive)
    }

    /// Whether the old version has to read what follows the new one.
    pub fn is_forward(self) -> bool {
        use Compatibility as It;
        matches!(self, It::Forward | It::ForwardTransitive | It::Full | It::FullTransitive)
    }

    /// Whether all versions before count, or only the newest.
    pub fn is_transitive(self) -> bool {
        use Compatibility as It;
        matches!(self, It::BackwardTransitive | It::ForwardTransitive | It::FullTransitive)
    }
}

words! {
    /// What is asked of events that a subject is bound to.
    Validation, "validation" {
        /// Each follows a version: the one it names, or else the newest that is active, which is noted in it.
        Required = "required",
        /// One that names a version follows it; one that names none is taken as it is.
        Optional = "optional",
        /// Nothing is looked at.
        Off = "off",
    }
}

/// Names of event types or categories: a name, in which `*` stands for any characters, also none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern of this text.
    ///
    /// # Errors
    /// Of a text that no name could match: empty, too long, or with control characters.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        crate::names::check("pattern", &text, EVENT_TYPE_BYTES_MAX)?;
        Ok(Self(text))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for one name alone.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// How much of a name it fixes, in bytes: of two patterns that match, the one that fixes more is the closer one.
    pub fn fixed_bytes(&self) -> usize {
        self.0.bytes().filter(|byte| *byte != b'*').count()
    }

    /// Whether a name matches. Takes time in the length of both, multiplied, at the worst.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut of) = (0, 0);
        // Where the newest `*` stands, and how far in the name it reaches.
        let mut star = None;
        while of < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, of));
                    at += 1;
                }
                Some(byte) if Some(byte) == name.get(of) => (at, of) = (at + 1, of + 1),
                _ => match star {
                    Some((star_at, reaches)) => {
                        star = Some((star_at, reaches + 1));
                        (at, of) = (star_at + 1, reaches + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
    }
}

/// What was set, for one subject, for a namespace, or for all namespaces: what is `None` is as the wider one says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaSettings {
    /// Which versions have to understand each other.
    pub compatibility: Option<Compatibility>,
    /// What is asked of events.
    pub validation: Option<Validation>,
    /// Of a subject: the event types that it is bound to; see [`SchemaSettings::closeness`].
    pub types: Vec<Pattern>,
    /// Of a subject: the categories of streams that it is bound to.
    pub categories: Vec<Pattern>,
    /// Of a subject: whom to ask about it; may be empty.
    pub owner: String,
    /// Of a subject: what it is for; may be empty.
    pub description: String,
}

impl SchemaSettings {
    /// Checks sizes.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), EventProblem> {
        let sizes = [
            ("types of a subject", self.types.len(), SUBJECT_PATTERNS_MAX),
            ("categories of a subject", self.categories.len(), SUBJECT_PATTERNS_MAX),
            ("owner of a subject, in bytes", self.owner.len(), SCHEMA_OWNER_BYTES_MAX),
            ("description of a subject, in bytes", self.description.len(), SCHEMA_OWNER_BYTES_MAX),
        ];
        for (what, size, max) in sizes {
            if size > max {
                return Err(EventProblem::TooLarge(TooLarge { what: what.into(), size, max }));
            }
        }
        Ok(())
    }

    /// How closely a subject is bound to events of this type and category; `None`: it is not. It is to those that match one of
    /// its types, if it has any, and one of its categories, if it has any; with neither it is bound to the type of its own
    /// name. Of several subjects the [closest] counts.
    pub fn closeness(&self, subject: &str, event_type: &str, category: &str) -> Option<Closeness> {
        if !self.is_patterned() {
            let types = (true, subject.len());
            return (subject == event_type).then_some(Closeness { types, categories: (false, 0) });
        }
        let closest = |patterns: &[Pattern], name: &str| {
            let matching = patterns.iter().filter(|it| it.matches(name));
            let fit = matching.map(|it| (it.is_exact(), it.fixed_bytes())).max();
            if patterns.is_empty() { Some((false, 0)) } else { fit }
        };
        let types = closest(&self.types, event_type)?;
        let categories = closest(&self.categories, category)?;
        Some(Closeness { types, categories })
    }

    /// Whether a subject says what it is bound to, and is not by its name.
    pub fn is_patterned(&self) -> bool {
        !self.types.is_empty() || !self.categories.is_empty()
    }

    /// With what a change says.
    #[must_use]
    pub fn with(mut self, change: SettingsChange) -> Self {
        if let Some(compatibility) = change.compatibility {
            self.compatibility = compatibility;
        }
        if let Some(validation) = change.validation {
            self.validation = validation;
        }
        self.types = change.types.unwrap_or(self.types);
        self.categories = change.categories.unwrap_or(self.categories);
        self.owner = change.owner.unwrap_or(self.owner);
        self.description = change.description.unwrap_or(self.description);
        self
    }
}

impl From<&SchemaSettings> for SettingsChange {
    /// That makes any settings these.
    fn from(settings: &SchemaSettings) -> Self {
        let settings = settings.clone();
        Self {
            compatibility: Some(settings.compatibility),
            validation: Some(settings.validation),
            types: Some(settings.types),
            categories: Some(settings.categories),
            owner: Some(settings.owner),
            description: Some(settings.description),
        }
    }
}

/// How closely a subject is bound to events: by how the closest of its types fits, whether it is that very name and how much
/// of it it fixes, and then by how its categories do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closeness {
    types: (bool, usize),
    categories: (bool, usize),
}

/// Which of some subjects, each with its settings, events of a type and category are bound to: the closest one, and of
/// equally close ones the first by name.
pub fn closest<'a, T>(
    subjects: impl IntoIterator<Item = (&'a str, &'a SchemaSettings, T)>,
    event_type: &str,
    category: &str,
) -> Option<T> {
    let bound = subjects.into_iter().filter_map(|(name, settings, it)| {
        Some((settings.closeness(name, event_type, category)?, std::cmp::Reverse(name), it))
    });
    bound.max_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1))).map(|(_, _, it)| it)
}

/// A change of settings: what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// `Some(None)`: as the wider settings say.
    pub compatibility: Option<Option<Compatibility>>,
    /// `Some(None)`: as the wider settings say.
    pub validation: Option<Option<Validation>>,
    /// See [`SchemaSettings::types`].
    pub types: Option<Vec<Pattern>>,
    /// See [`SchemaSettings::categories`].
    pub categories: Option<Vec<Pattern>>,
    /// See [`SchemaSettings::owner`].
    pub owner: Option<String>,
    /// See [`SchemaSettings::description`].
    pub description: Option<String>,
}

/// For which subjects settings hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsOf {
    /// For one.
    Subject(String),
    /// For those of the namespace that say nothing themselves.
    Namespace,
    /// For those of all namespaces that say nothing themselves.
    Global,
}

/// What holds for a subject, once all levels are asked: its own settings, those of its namespace, and those of all
/// namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveSettings {
    /// Which versions have to understand each other.
    pub compatibility: Compatibility,
    /// What is asked of events.
    pub validation: Validation,
}

impl EffectiveSettings {
    /// What holds where nothing is set.
    pub const DEFAULT: Self =
        Self { compatibility: Compatibility::BackwardTransitive, validation: Validation::Required };

    /// What holds where these are set in turn, the closest first.
    pub fn of<'a>(levels: impl IntoIterator<Item = &'a SchemaSettings>) -> Self {
        let (mut compatibility, mut validation) = (None, None);
        for level in levels {
            compatibility = compatibility.or(level.compatibility);
            validation = validation.or(level.validation);
        }
        Self {
            compatibility: compatibility.unwrap_or(Self::DEFAULT.compatibility),
            validation: validation.unwrap_or(Self::DEFAULT.validation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let it = Pattern::new(pattern).unwrap();
        for name in matching {
            assert!(it.matches(name), "{pattern} {name}");
        }
        for name in others {
            assert!(!it.matches(name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        check("Order", &["Order"], &["Orders", "order", "", "AnOrder"]);
        check("*", &["", "Order", "ä"], &[]);
        check("Order*", &["Order", "OrderPlaced"], &["AnOrder", "Orde"]);
        check("*Placed", &["OrderPlaced", "Placed"], &["OrderPlacedTwice"]);
        check("a*b*c", &["abc", "aXbYc", "abbc", "abcbc"], &["ab", "acb", "abcd"]);
        check("**a**", &["a", "bab"], &["", "b"]);
        // What would go back over all of it again and again, if each star were tried anew.
        check(&"a*".repeat(120), &[&"a".repeat(250)], &[&"ab".repeat(100)]);
    }

    #[test]
    fn a_subject_is_bound_by_its_name_unless_it_says_by_what() {
        let patterns = |texts: &[&str]| texts.iter().map(|it| Pattern::new(*it).unwrap()).collect();
        let by_name = SchemaSettings::default();
        assert!(by_name.closeness("OrderPlaced", "OrderPlaced", "order").is_some());
        assert_eq!(by_name.closeness("OrderPlaced", "OrderPaid", "order"), None);
        let by_type = SchemaSettings { types: patterns(&["Order*", "Refund"]), ..by_name.clone() };
        assert!(by_type.closeness("x", "OrderPaid", "order").is_some());
        assert!(by_type.closeness("x", "Refund", "refund").is_some());
        assert_eq!(by_type.closeness("x", "x", "order"), None);
        let by_both = SchemaSettings { categories: patterns(&["order"]), ..by_type };
        assert!(by_both.closeness("x", "OrderPaid", "order").is_some());
        assert_eq!(by_both.closeness("x", "OrderPaid", "basket"), None);
    }

    #[test]
    fn the_closest_setting_holds() {
        let set = |compatibility, validation| SchemaSettings {
            compatibility,
            validation,
            ..SchemaSettings::default()
        };
        assert_eq!(EffectiveSettings::of([]), EffectiveSettings::DEFAULT);
        let (closest, wider) = (
            set(Some(Compatibility::Full), None),
            set(Some(Compatibility::None), Some(Validation::Off)),
        );
        let both = EffectiveSettings::of([&closest, &wider]);
        assert_eq!((both.compatibility, both.validation), (Compatibility::Full, Validation::Off));
    }

    #[test]
    fn a_change_changes_what_it_names() {
        let set = SchemaSettings {
            compatibility: Some(Compatibility::Full),
            owner: "shop".to_owned(),
            ..SchemaSettings::default()
        };
        let change = SettingsChange {
            compatibility: Some(None),
            description: Some("orders".to_owned()),
            ..SettingsChange::default()
        };
        let changed = set.with(change);
        assert_eq!((changed.compatibility, &*changed.owner), (None, "shop"));
        assert_eq!(changed.description, "orders");
    }
}

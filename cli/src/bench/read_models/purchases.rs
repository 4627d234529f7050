//! What is folded into documents: purchases as JSON, the same in every run, each made of its number alone.
//!
//! Unlike [`Orders`](super::super::workload::Orders), whose notes have 32 words, theirs are written as texts are: few
//! words stand in most of them, and most words in few. How often a word stands there decides what a search of it costs.

use std::fmt::Write as _;

use bytes::Bytes;
use nexus_protocol::{Append, EventData, JSON};
use serde_json::{Value, json};

use super::super::workload::{DATA_BYTES, STREAM_EVENTS, Seeded};

/// A word of the first octave stands as often as all of the second, and so on: about one over its rank.
const OCTAVES: u64 = 14;
/// Events of a stream that are appended together, so that those of a document stand far apart.
const ROUND_EVENTS: u64 = 10;
const CONSONANTS: [char; 16] =
    ['b', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'z'];
const VOWELS: [char; 4] = ['a', 'e', 'i', 'o'];
const SKUS: [&str; 8] = ["lamp", "chair", "table", "shelf", "carpet", "mirror", "desk", "bed"];
const COUNTRIES: [&str; 10] = ["AT", "BE", "CH", "DE", "DK", "ES", "FR", "IT", "NL", "PL"];
/// Types of events, which are the status of what they are about.
const TYPES: [&str; 4] = ["OrderPlaced", "OrderPaid", "OrderShipped", "OrderDelivered"];

/// One purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Its number, in 16 digits of base 16: no two have the same.
    pub order_id: String,
    /// What became of it, as the type of its event says.
    pub status: &'static str,
    /// Who bought.
    pub customer_id: i64,
    /// Where to.
    pub country: &'static str,
    /// What.
    pub sku: &'static str,
    /// How many.
    pub quantity: i64,
    /// For how much.
    pub total_cents: i64,
    /// Some twenty words.
    pub note: String,
}

/// One of some, chosen by chance.
fn one_of<T: Copy>(all: &[T], seeded: &mut Seeded) -> T {
    let index = seeded.below(all.len() as u64);
    all[usize::try_from(index).unwrap_or(0)]
}

/// A number below `end`, by chance.
fn below(seeded: &mut Seeded, end: u32) -> i64 {
    i64::try_from(seeded.below(u64::from(end))).unwrap_or(0)
}

/// The word of a rank: two syllables, or three of what is rare.
pub(super) fn word(rank: u64) -> String {
    let (mut left, mut text) = (rank, String::with_capacity(6));
    while left > 0 || text.len() < 4 {
        let syllable = usize::try_from(left % 64).unwrap_or(0);
        text.push(CONSONANTS[syllable % CONSONANTS.len()]);
        text.push(VOWELS[syllable / CONSONANTS.len()]);
        left /= 64;
    }
    text
}

/// A word of this octave, the first of which is 0: each has twice as many as the one before.
pub(super) fn word_of(octave: u64, seeded: &mut Seeded) -> String {
    word((1 << octave) - 1 + seeded.below(1 << octave))
}

impl Purchase {
    /// The one with this number.
    pub fn numbered(number: u64) -> Self {
        let mut seeded = Seeded::new(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (quantity, cents) = (1 + below(&mut seeded, 9), 100 + below(&mut seeded, 90_000));
        let status = usize::try_from(number % TYPES.len() as u64).unwrap_or(0);
        let mut purchase = Self {
            order_id: format!("{number:016x}"),
            status: TYPES[status],
            customer_id: below(&mut seeded, 100_000),
            country: one_of(&COUNTRIES, &mut seeded),
            sku: one_of(&SKUS, &mut seeded),
            quantity,
            total_cents: quantity * cents,
            note: String::new(),
        };
        let room = DATA_BYTES - purchase.head().len() - 2;
        loop {
            let octave = seeded.below(OCTAVES);
            let next = word_of(octave, &mut seeded);
            if purchase.note.len() + 1 + next.len() > room {
                return purchase;
            }
            if !purchase.note.is_empty() {
                purchase.note.push(' ');
            }
            purchase.note.push_str(&next);
        }
    }

    /// Its JSON up to its note.
    fn head(&self) -> String {
        let Self { order_id, customer_id, country, sku, quantity, total_cents, .. } = self;
        format!(
            "{{\"order_id\":\"{order_id}\",\"customer_id\":{customer_id},\"country\":\"{country}\",\"sku\":\"{sku}\",\
             \"quantity\":{quantity},\"total_cents\":{total_cents},\"note\":\""
        )
    }

    /// As JSON, of exactly [`DATA_BYTES`].
    pub fn data(&self) -> Bytes {
        let mut text = self.head();
        text.push_str(&self.note);
        let room = DATA_BYTES.saturating_sub(text.len() + 2);
        write!(text, "{:room$}\"}}", "").expect("a String takes all");
        assert_eq!(text.len(), DATA_BYTES, "purchases are as long as they are said to be");
        text.into()
    }

    /// Its event.
    pub fn event(&self) -> EventData {
        EventData::new(self.status, JSON, self.data())
    }
}

/// The appends of purchases 0 to `count`, to streams of a category, each of which gets a hundred of them in ten rounds.
pub fn purchases(count: u64, category: &str) -> impl Iterator<Item = Append> {
    let streams = count.div_ceil(STREAM_EVENTS).max(1);
    let rounds = (0..STREAM_EVENTS).step_by(usize::try_from(ROUND_EVENTS).unwrap_or(1));
    let places = rounds.flat_map(move |written| (0..streams).map(move |stream| (written, stream)));
    places.map(move |(written, stream)| {
        let first = stream * STREAM_EVENTS + written;
        let events = (first..first + ROUND_EVENTS).map(|number| Purchase::numbered(number).event());
        Append::to(format!("{category}-{stream}")).events(events)
    })
}

/// A definition that makes a document of each purchase of a category.
pub fn one_each(name: &str, category: &str) -> Value {
    json!({
        "name": name,
        "version": 1,
        "filter": {"categories": [category]},
        "key": "/data/order_id",
        "sink": "search",
        "fields": {
            "order_id": {"type": "keyword", "fold": "set", "from": "/data/order_id"},
            "status": {"type": "keyword", "fold": "set", "from": "/type"},
            "customer_id": {"type": "i64", "fold": "set", "from": "/data/customer_id"},
            "country": {"type": "keyword", "fold": "set", "from": "/data/country"},
            "sku": {"type": "keyword", "fold": "set", "from": "/data/sku"},
            "quantity": {"type": "i64", "fold": "set", "from": "/data/quantity"},
            "total_cents": {"type": "i64", "fold": "set", "from": "/data/total_cents"},
            "note": {"type": "text", "fold": "set", "from": "/data/note"},
        },
    })
}

/// A definition that folds the purchases of each stream into one document.
pub(super) fn by_stream(name: &str, category: &str, sink: &str) -> Value {
    json!({
        "name": name,
        "version": 1,
        "filter": {"categories": [category]},
        "key": "/stream",
        "sink": sink,
        "fields": {
            "status": {"type": "keyword", "fold": "last", "from": "/type"},
            "purchases": {"type": "u64", "fold": "count"},
            "total_cents": {"type": "i64", "fold": "add", "from": "/data/total_cents"},
            "largest_cents": {"type": "i64", "fold": "max", "from": "/data/total_cents"},
            "skus": {"type": "keyword", "fold": "append", "from": "/data/sku", "max": 20},
            "note": {"type": "text", "fold": "last", "from": "/data/note"},
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nexus_delivery::projection::{Definition, DefinitionFile};

    use super::*;

    #[test]
    fn purchases_are_json_of_one_length_made_of_their_number() {
        let mut all = BTreeSet::new();
        for number in [0, 1, 4_097, 1_000_000] {
            let purchase = Purchase::numbered(number);
            assert_eq!(purchase, Purchase::numbered(number));
            let data: Value = serde_json::from_slice(&purchase.data()).unwrap();
            assert_eq!(data["order_id"], format!("{number:016x}"));
            assert_eq!(data["total_cents"], purchase.total_cents);
            assert_eq!(data["note"].as_str().map(str::trim_end), Some(purchase.note.as_str()));
            assert!(purchase.note.split(' ').count() >= 10, "{purchase:?}");
            all.insert(purchase.note);
        }
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn no_two_words_are_the_same_and_few_are_frequent() {
        let words: BTreeSet<String> = (0..1 << OCTAVES).map(word).collect();
        assert_eq!(words.len(), 1 << OCTAVES);
        let notes: Vec<_> = (0..1_000).map(|it| Purchase::numbered(it).note).collect();
        let with =
            |word: String| notes.iter().filter(|note| note.split(' ').any(|it| it == word)).count();
        assert!(with(word(0)) > 500 && (1..200).contains(&with(word(40))));
    }

    #[test]
    fn each_purchase_is_appended_once() {
        let appends: Vec<_> = purchases(200, "purchase").collect();
        let events = appends.iter().flat_map(|append| &append.streams).flat_map(|it| &it.events);
        let data: BTreeSet<_> = events.map(|event| event.data.clone()).collect();
        assert_eq!((appends.len(), data.len()), (20, 200));
    }

    #[test]
    fn definitions_are_right() {
        let all = [one_each("a", "b"), by_stream("a", "b", "kv"), by_stream("a", "b", "search")];
        for definition in all {
            DefinitionFile::from_json(definition).and_then(Definition::new).unwrap();
        }
    }
}

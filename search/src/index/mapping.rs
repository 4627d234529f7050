//! [`Mapping`]: the fields of documents as fields of an index.
//!
//! Beside those of the definition each document of the index has its key, the bytes that it is kept as, and the tags that
//! it carries. Their names begin with `_`, which no field of a definition does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use nexus_delivery::projection::{Changed, DefinitionFile, FieldType, Kept};
use nexus_protocol::Timestamp;
use nexus_protocol::limits::KEYWORD_BYTES_MAX;
use serde_json::Value;
use tantivy::schema::document::OwnedValue;
use tantivy::schema::{
    BytesOptions, DateOptions, DateTimePrecision, FacetOptions, Field, IndexRecordOption,
    IpAddrOptions, JsonObjectOptions, NumericOptions, Schema, SchemaBuilder, TextFieldIndexing,
    TextOptions,
};
use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RawTokenizer, RemoveLongFilter, SimpleTokenizer, TextAnalyzer,
    TokenizerManager,
};
use tantivy::{DateTime, TantivyDocument, Term};

use crate::kv::record::seal_document;

/// What texts are taken apart by: words, in lower case and without accents.
const TEXT: &str = "text";
/// What keywords are taken apart by: not at all.
const WHOLE: &str = "raw";
/// Words of more bytes are not searched for.
const WORD_BYTES_MAX: usize = 255;
/// Texts in JSON are cut to so many bytes: Tantivy cuts what it keeps in columns at 65,535, if need be inside of a letter.
const JSON_TEXT_BYTES_MAX: usize = 32 * 1024;

/// A field of documents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapped {
    pub(crate) field: Field,
    pub(crate) field_type: FieldType,
}

/// What is where in an index.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) schema: Schema,
    pub(crate) key: Field,
    pub(crate) kept: Field,
    pub(crate) tags: Field,
    pub(crate) fields: BTreeMap<String, Mapped>,
}

/// The name of the field with keys.
pub(crate) const KEY: &str = "_key";
const KEPT: &str = "_kept";
const TAGS: &str = "_tags";

fn words(name: &str) -> TextFieldIndexing {
    TextFieldIndexing::default()
        .set_tokenizer(name)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions)
}

fn whole() -> TextOptions {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(WHOLE)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    TextOptions::default().set_indexing_options(indexing).set_fast(WHOLE)
}

fn add(builder: &mut SchemaBuilder, name: &str, field_type: FieldType) -> Field {
    let number = NumericOptions::default().set_indexed().set_fast();
    match field_type {
        FieldType::Text => {
            builder.add_text_field(name, TextOptions::default().set_indexing_options(words(TEXT)))
        }
        FieldType::Keyword => builder.add_text_field(name, whole()),
        FieldType::U64 => builder.add_u64_field(name, number),
        FieldType::I64 => builder.add_i64_field(name, number),
        FieldType::F64 => builder.add_f64_field(name, number),
        FieldType::Bool => builder.add_bool_field(name, number),
        FieldType::Date => {
            let date = DateOptions::default().set_indexed().set_fast();
            builder.add_date_field(name, date.set_precision(DateTimePrecision::Microseconds))
        }
        FieldType::Ip => {
            builder.add_ip_addr_field(name, IpAddrOptions::default().set_indexed().set_fast())
        }
        FieldType::Facet => builder.add_facet_field(name, FacetOptions::default()),
        FieldType::Json => {
            let json = JsonObjectOptions::default().set_indexing_options(words(TEXT));
            builder.add_json_field(name, json.set_fast(WHOLE))
        }
    }
}

/// How texts are taken apart, when they are written and when they are asked for.
pub(crate) fn tokenizers() -> TokenizerManager {
    // Tantivy asks for what it has by default also where no field does.
    let tokenizers = TokenizerManager::default();
    let text = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter);
    tokenizers.register(TEXT, text.build());
    tokenizers.register(WHOLE, TextAnalyzer::from(RawTokenizer::default()));
    tokenizers
}

impl Mapping {
    /// Of a definition.
    pub(crate) fn new(file: &DefinitionFile) -> Self {
        let mut builder = Schema::builder();
        let key = builder.add_text_field(KEY, whole());
        let kept = builder.add_bytes_field(KEPT, BytesOptions::default().set_stored());
        let tags = builder.add_text_field(TAGS, whole());
        let fields = file.fields.iter().map(|(name, it)| {
            let field = add(&mut builder, name, it.field_type);
            (name.clone(), Mapped { field, field_type: it.field_type })
        });
        let fields = fields.collect();
        Self { schema: builder.build(), key, kept, tags, fields }
    }

    /// What a document is found by that has this key.
    pub(crate) fn key_term(&self, key: &str) -> Term {
        Term::from_field_text(self.key, key)
    }

    /// A document of the index.
    pub(crate) fn document(&self, changed: &Changed, kept: &Kept) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_text(self.key, &changed.key);
        let mut bytes = Vec::with_capacity(12 + kept.bytes.len());
        seal_document(changed.key.as_bytes(), kept, &mut bytes);
        document.add_bytes(self.kept, &bytes);
        changed.tags.iter().for_each(|tag| document.add_text(self.tags, tag));
        for (name, value) in &changed.fields {
            let Some(mapped) = self.fields.get(name) else { continue };
            match value {
                Value::Array(items) if mapped.field_type != FieldType::Json => {
                    // A document counts once for a keyword, however often it has it.
                    let mut known = BTreeSet::new();
                    for item in items {
                        if mapped.field_type != FieldType::Keyword || known.insert(item.as_str()) {
                            put(&mut document, *mapped, item);
                        }
                    }
                }
                value => put(&mut document, *mapped, value),
            }
        }
        document
    }
}

/// Puts a value as it is shown into a document. Of a value that is none of its type there is nothing to search for.
fn put(document: &mut TantivyDocument, Mapped { field, field_type }: Mapped, value: &Value) {
    match (field_type, value) {
        (FieldType::Text, Value::String(text)) => document.add_text(field, text),
        (FieldType::Keyword, Value::String(text)) if text.len() <= KEYWORD_BYTES_MAX => {
            document.add_text(field, text);
        }
        (FieldType::U64, value) => {
            value.as_u64().into_iter().for_each(|it| document.add_u64(field, it));
        }
        (FieldType::I64, value) => {
            value.as_i64().into_iter().for_each(|it| document.add_i64(field, it));
        }
        (FieldType::F64, value) => {
            value.as_f64().into_iter().for_each(|it| document.add_f64(field, float(it)));
        }
        (FieldType::Bool, value) => {
            value.as_bool().into_iter().for_each(|it| document.add_bool(field, it));
        }
        (FieldType::Date, Value::String(text)) => {
            let at = text.parse::<Timestamp>();
            at.into_iter().for_each(|it| document.add_date(field, date(it)));
        }
        (FieldType::Ip, Value::String(text)) => {
            let address = text.parse::<IpAddr>();
            address.into_iter().for_each(|it| document.add_ip_addr(field, ip(it)));
        }
        // Its parts are kept apart by NUL.
        (FieldType::Facet, Value::String(text)) if !text.contains('\0') => {
            let facet = tantivy::schema::Facet::from_text(text);
            facet.into_iter().for_each(|it| document.add_facet(field, it));
        }
        // What is no object has no paths that could be asked for: it stands under its own.
        (FieldType::Json, Value::Object(_)) => {
            document.add_field_value(field, &OwnedValue::from(cut(value.clone())));
        }
        (FieldType::Json, value) => {
            let whole =
                Value::Object(serde_json::Map::from_iter([("value".to_owned(), value.clone())]));
            document.add_field_value(field, &OwnedValue::from(cut(whole)));
        }
        _ => {}
    }
}

/// With texts that are cut where they are too long.
fn cut(value: Value) -> Value {
    match value {
        Value::String(mut text) => {
            text.truncate(text.floor_char_boundary(JSON_TEXT_BYTES_MAX));
            Value::String(text)
        }
        Value::Array(items) => items.into_iter().map(cut).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (name, cut(member))).collect()
        }
        other => other,
    }
}

/// A number as an index has it: 0 and -0 are one.
pub(crate) fn float(value: f64) -> f64 {
    value + 0.0
}

/// A time as an index has it: it reaches from 1677 to 2262, and what is beyond stands at the end.
pub(crate) fn date(at: Timestamp) -> DateTime {
    DateTime::from_timestamp_nanos(at.as_micros().saturating_mul(1_000))
}

/// An address as an index has it: all of version 6.
pub(crate) fn ip(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

//! What a file may cost, before anything is done with it.
//!
//! A short file can ask for much: brackets that lie in each other take stack, and each thing declared in a message is known
//! by its full name, which a reference looks for in one scope after another. Both are counted, and have a bound.

use nexus_protocol::limits::SCHEMA_DEPTH_MAX;
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

use crate::SchemaError;

/// Bytes of a name with its dots, and of a number.
const WORD_BYTES_MAX: usize = 512;
/// Bytes of all full names, and of those that references look for.
const NAMES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Checks a text, which need not be a file.
///
/// # Errors
/// When it is nested too deep, has a word that is too long, or is of an edition.
pub(super) fn check_text(file: Option<&str>, text: &str) -> Result<(), SchemaError> {
    let mut rest = text.as_bytes();
    let mut depth = 0_usize;
    let mut is_first = true;
    while let Some((byte, after)) = rest.split_first() {
        let here = rest;
        let refused = |why: String| {
            let before = text.get(..text.len() - here.len()).unwrap_or_default();
            let line = before.bytes().filter(|it| *it == b'\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
            Err(SchemaError::Refused { pointer: place(file, line, column), why })
        };
        rest = match byte {
            b'/' if after.first() == Some(&b'/') => skip_past(after, b"\n"),
            b'/' if after.first() == Some(&b'*') => {
                skip_past(after.get(1..).unwrap_or_default(), b"*/")
            }
            b'"' | b'\'' => skip_string(after, *byte),
            b'{' | b'[' | b'(' | b'<' => {
                depth += 1;
                if depth > SCHEMA_DEPTH_MAX {
                    return refused(format!("it is nested deeper than {SCHEMA_DEPTH_MAX} levels"));
                }
                after
            }
            b'}' | b']' | b')' | b'>' => {
                depth = depth.saturating_sub(1);
                after
            }
            _ if is_of_word(*byte) => {
                let end = here.iter().position(|it| !is_of_word(*it)).unwrap_or(here.len());
                let (word, after) = here.split_at(end);
                if word.len() > WORD_BYTES_MAX {
                    return refused(format!("a word takes more than {WORD_BYTES_MAX} bytes"));
                }
                if std::mem::take(&mut is_first) && word == b"edition" {
                    let why = "editions are not known: write syntax = \"proto3\" or \"proto2\"";
                    return refused(why.to_owned());
                }
                after
            }
            _ => after,
        };
    }
    Ok(())
}

/// Where something is, in a file that is not the schema's own.
pub(super) fn place(file: Option<&str>, line: usize, column: usize) -> String {
    match file {
        None => format!("line {line}, column {column}"),
        Some(file) => format!("{file}, line {line}, column {column}"),
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

fn skip_past<'a>(text: &'a [u8], end: &[u8]) -> &'a [u8] {
    let at = text.windows(end.len()).position(|it| it == end);
    at.and_then(|at| text.get(at + end.len()..)).unwrap_or_default()
}

fn skip_string(text: &[u8], quote: u8) -> &[u8] {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'\\' => after.get(1..).unwrap_or_default(),
            b'\n' => return after,
            _ if *byte == quote => return after,
            _ => after,
        };
    }
    rest
}

/// Counts the names of files, until there are too many bytes of them.
#[derive(Default)]
pub(super) struct NameBytes(usize);

/// The scope that something is declared in.
#[derive(Clone, Copy)]
struct Scope {
    bytes: usize,
    /// How many scopes a reference is looked for in.
    levels: usize,
}

impl Scope {
    fn below(self, name: &str) -> Self {
        Self { bytes: self.bytes + name.len() + 1, levels: self.levels + 1 }
    }
}

impl NameBytes {
    /// Counts those of a file that was read, and in which nothing was looked for yet.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn add(&mut self, file: &FileDescriptorProto) -> Result<(), SchemaError> {
        let package = file.package();
        let levels = 1 + package.bytes().filter(|it| *it == b'.').count();
        let scope = Scope { bytes: package.len() + 1, levels };
        let options = file.options.as_ref().map_or(0, |it| it.uninterpreted_option.len());
        self.references(scope, options);
        for message in &file.message_type {
            self.message(scope, message);
        }
        for of in &file.enum_type {
            self.enumeration(scope, of);
        }
        self.fields(scope, &file.extension);
        for service in &file.service {
            let scope = scope.below(service.name());
            self.declared(scope, service.method.len());
            let options = service.options.as_ref().map_or(0, |it| it.uninterpreted_option.len());
            self.references(scope, options + 2 * service.method.len());
            for method in &service.method {
                let options = method.options.as_ref();
                let options = options.map_or(0, |it| it.uninterpreted_option.len());
                self.references(scope.below(method.name()), options);
            }
        }
        if self.0 > NAMES_BYTES_MAX {
            return Err(SchemaError::Refused {
                pointer: String::new(),
                why: "its names are too long, with the packages and messages that they are in"
                    .into(),
            });
        }
        Ok(())
    }

    fn declared(&mut self, scope: Scope, count: usize) {
        self.0 = self.0.saturating_add(scope.bytes.saturating_mul(count));
    }

    fn references(&mut self, scope: Scope, count: usize) {
        let one = scope.bytes.saturating_add(WORD_BYTES_MAX / 8).saturating_mul(scope.levels);
        self.0 = self.0.saturating_add(one.saturating_mul(count));
    }

    fn message(&mut self, above: Scope, message: &DescriptorProto) {
        let scope = above.below(message.name());
        self.declared(scope, 1 + message.oneof_decl.len());
        let options = message.options.as_ref().map_or(0, |it| it.uninterpreted_option.len());
        let oneofs = message.oneof_decl.iter().filter_map(|it| it.options.as_ref());
        let oneofs: usize = oneofs.map(|it| it.uninterpreted_option.len()).sum();
        let ranges = message.extension_range.iter().filter_map(|it| it.options.as_ref());
        let ranges: usize = ranges.map(|it| it.uninterpreted_option.len()).sum();
        self.references(scope, options + oneofs + ranges);
        self.fields(scope, &message.field);
        self.fields(scope, &message.extension);
        for of in &message.enum_type {
            self.enumeration(scope, of);
        }
        // The parser bounds how deep messages are declared in each other.
        for inner in &message.nested_type {
            self.message(scope, inner);
        }
    }

    fn fields(&mut self, scope: Scope, fields: &[FieldDescriptorProto]) {
        self.declared(scope, fields.len());
        for field in fields {
            let names =
                usize::from(field.type_name.is_some()) + usize::from(field.extendee.is_some());
            let options = field.options.as_ref().map_or(0, |it| it.uninterpreted_option.len());
            self.references(scope, names + options);
        }
    }

    fn enumeration(&mut self, above: Scope, of: &EnumDescriptorProto) {
        let scope = above.below(of.name());
        self.declared(scope, 1 + of.value.len());
        let options = of.options.as_ref().map_or(0, |it| it.uninterpreted_option.len());
        let values = of.value.iter().filter_map(|it| it.options.as_ref());
        let values: usize = values.map(|it| it.uninterpreted_option.len()).sum();
        self.references(scope, options + values);
    }
}

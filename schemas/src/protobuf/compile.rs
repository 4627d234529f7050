//! A file, with those that it imports, becomes a [`Shape`].
//!
//! Files are taken one after another, those that are imported before those that import them, so that a long chain of
//! imports nests nothing. There is no other source of files than what was handed in, and those of Google that the parser
//! has with it, which nothing that was handed in stands before.
//!
//! The parser looks through all places of a text for each thing that is wrong in it, and for each option, which takes a
//! minute in a file that is made for it. So it is not told of places, but once more for what is wrong in a file that has
//! [few](PLACES_MAX) of them.

use std::collections::{HashMap, HashSet};

use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};

use super::scan::{NameBytes, check_text, place};
use super::shape::Shape;
use super::wire;
use crate::{Referenced, SchemaError};

/// Numbers of fields in a file's descriptor: its own name, and where things stand in its text.
const NAME_NUMBER: u32 = 1;
const SOURCE_NUMBER: u32 = 9;
/// Places in all files, up to which it is told where something is wrong that is no matter of syntax.
const PLACES_MAX: usize = 8_000;

/// Reads a schema, and gives its descriptor as bytes.
pub(super) fn compile(
    text: &str,
    references: &[Referenced<'_>],
) -> Result<(Vec<u8>, Shape), SchemaError> {
    let by_name: HashMap<_, _> = references.iter().map(|it| (it.name, it.text)).collect();
    let mut own = String::from("schema.proto");
    while by_name.contains_key(own.as_str()) {
        own.insert(0, '_');
    }
    let mut files = Files { own, by_name, google: GoogleFileResolver::new(), read: HashMap::new() };
    let order = files.read_all(text)?;
    let Files { own, read, .. } = files;
    let places = read.values().map(|it| {
        let places = it.file_descriptor_proto().source_code_info.as_ref();
        places.map_or(0, |it| it.location.len())
    });
    let has_few_places = places.sum::<usize>() <= PLACES_MAX;
    let without_places = read.iter().map(|(name, file)| {
        let mut file = file.file_descriptor_proto().clone();
        file.source_code_info = None;
        (name.clone(), File::from_file_descriptor_proto(file))
    });
    let pool = link(without_places.collect(), &order).map_err(|why| {
        let with_place = if has_few_places { link(read, &order).err() } else { None };
        malformed(&own, &with_place.unwrap_or(why))
    })?;
    let file = pool.get_file_by_name(&own).expect("the file was opened");
    let Some(root) = file.messages().next() else {
        return Err(SchemaError::Refused {
            pointer: String::new(),
            why: "it declares no message: a payload is the first message of its file".to_owned(),
        });
    };
    Ok((without_source(&file.encode_to_vec()), Shape::new(root)))
}

/// Looks for what the files' names stand for.
fn link(files: HashMap<String, File>, order: &[String]) -> Result<DescriptorPool, protox::Error> {
    let mut compiler = Compiler::with_file_resolver(Read(files));
    for name in order {
        compiler.open_file(name)?;
    }
    Ok(compiler.descriptor_pool())
}

struct Files<'a> {
    own: String,
    by_name: HashMap<&'a str, &'a str>,
    google: GoogleFileResolver,
    read: HashMap<String, File>,
}

impl Files<'_> {
    /// Reads the schema's own file, and those that it leads to. Gives their names, each behind those that it imports.
    fn read_all(&mut self, text: &str) -> Result<Vec<String>, SchemaError> {
        let mut names = NameBytes::default();
        let own = self.own.clone();
        let mut order = Vec::new();
        let mut done = HashSet::new();
        // Files that are begun, with what each imports and is not looked at yet.
        let mut open = vec![(own.clone(), self.read_one(&own, text, &mut names)?)];
        let mut on_the_way = HashSet::from([own]);
        while let Some((name, imports)) = open.last_mut() {
            let Some(import) = imports.pop() else {
                on_the_way.remove(name);
                done.insert(name.clone());
                order.push(name.clone());
                open.pop();
                continue;
            };
            if on_the_way.contains(&import) {
                let why = format!("file {name:?} imports {import:?}, which imports it");
                return Err(SchemaError::Malformed { pointer: String::new(), why });
            }
            if done.contains(&import) || self.google.open_file(&import).is_ok() {
                continue;
            }
            let Some(text) = self.by_name.get(import.as_str()).copied() else {
                return Err(SchemaError::NoReference { name: import });
            };
            let imports = self.read_one(&import, text, &mut names)?;
            on_the_way.insert(import.clone());
            open.push((import, imports));
        }
        Ok(order)
    }

    fn read_one(
        &mut self,
        name: &str,
        text: &str,
        names: &mut NameBytes,
    ) -> Result<Vec<String>, SchemaError> {
        check_text((name != self.own).then_some(name), text)?;
        let file = File::from_source(name, text).map_err(|why| malformed(&self.own, &why))?;
        names.add(file.file_descriptor_proto())?;
        let imports = file.file_descriptor_proto().dependency.clone();
        self.read.insert(name.to_owned(), file);
        Ok(imports)
    }
}

/// Files that were read.
struct Read(HashMap<String, File>);

impl FileResolver for Read {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(file) => Ok(file.clone()),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
}

/// What the parser says, with the place that it says only in this form.
fn malformed(own: &str, why: &protox::Error) -> SchemaError {
    let file = why.file().unwrap_or_default();
    let said = format!("{why:?}");
    let numbers = said.strip_prefix(file).and_then(|it| it.strip_prefix(':')).and_then(|rest| {
        let mut parts = rest.splitn(3, ':');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    let other = (file != own && !file.is_empty()).then_some(file);
    let pointer = match (numbers, other) {
        (Some((line, column)), other) => place(other, line, column),
        (None, Some(other)) => other.to_owned(),
        (None, None) => String::new(),
    };
    SchemaError::Malformed { pointer, why: why.to_string() }
}

/// A file's descriptor without what does not change it. It is cut on the wire, so that options that only extensions know
/// stay as they are.
fn without_source(descriptor: &[u8]) -> Vec<u8> {
    let mut rest = descriptor;
    let mut kept = Vec::with_capacity(descriptor.len());
    while !rest.is_empty() {
        let before = rest;
        let taken = wire::tag(&mut rest)
            .and_then(|(number, kind)| wire::skip(&mut rest, number, kind).map(|()| number));
        let number = taken.expect("a descriptor was just encoded");
        if number != NAME_NUMBER && number != SOURCE_NUMBER {
            kept.extend_from_slice(before.get(..before.len() - rest.len()).unwrap_or_default());
        }
    }
    kept
}

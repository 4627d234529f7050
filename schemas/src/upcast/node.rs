//! A document that is opened only where a path leads into it.
//!
//! What no path leads into stays text, and is written as it came. An object that is opened loses the space between its
//! members, and of members with one name all but the last, and nothing else.
//!
//! Only what is opened is nested in memory. Paths are short, and what is put somewhere is turned back into text when it
//! would be nested too deep ([`Node::closed_below`]), so that the functions that call themselves here have an end.

use std::borrow::Cow;
use std::collections::HashSet;

use super::path::{Name, Path};
use super::scan::{self, Kind};

/// How deep a part of the tree may be nested that is put somewhere, with the way to it.
const DEPTH_MAX: usize = 128;
/// What a member or an element that was opened costs, in bytes or so.
const OPENED_BYTES: usize = 32;
/// With so many members names are looked up, and not compared with each other.
const COMPARED_MAX: usize = 24;

/// A value of a document.
#[derive(Clone, Debug)]
pub(super) enum Node<'a> {
    /// As it is spelled in the document or in a transform.
    Raw(&'a str),
    /// Made by an operation: also text of JSON, without space around it.
    Made(String),
    /// An object that was opened.
    Object(Vec<Member<'a>>),
    /// An array that was opened.
    Array(Vec<Node<'a>>),
}

/// A member of an object that was opened.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    /// With quotation marks, as it is spelled.
    key: Cow<'a, str>,
    /// Whether anything is escaped in it.
    escaped: bool,
    pub(super) value: Node<'a>,
}

impl Member<'_> {
    fn is(&self, name: &Name) -> bool {
        // What is not escaped is spelled in one way only.
        *self.key == name.quoted
            || (self.escaped && scan::decoded(&self.key).is_some_and(|it| it == name.name))
    }

    fn name(&self) -> Cow<'_, str> {
        // What is no text has no other name than what is spelled.
        scan::decoded(&self.key).unwrap_or(Cow::Borrowed(&self.key))
    }
}

impl<'a> Node<'a> {
    /// What it is.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Raw(text) => scan::kind(text),
            Self::Made(text) => scan::kind(text),
            Self::Object(_) => Kind::Object,
            Self::Array(_) => Kind::Array,
        }
    }

    /// Its text, if it was not opened.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Raw(text) => Some(text),
            Self::Made(text) => Some(text),
            Self::Object(_) | Self::Array(_) => None,
        }
    }

    /// What it says, if it is a string. `None` also where that is no text.
    pub(super) fn string(&self) -> Option<Cow<'_, str>> {
        self.text().filter(|it| scan::kind(it) == Kind::String).and_then(scan::decoded)
    }

    /// Its text in any case.
    pub(super) fn to_text(&self) -> Cow<'_, str> {
        if let Some(text) = self.text() {
            return Cow::Borrowed(text);
        }
        let mut text = String::new();
        self.write(&mut text);
        Cow::Owned(text)
    }

    /// Its members, if it is an object.
    pub(super) fn members(&mut self) -> Option<&mut Vec<Member<'a>>> {
        if self.kind() == Kind::Object {
            match self {
                Self::Raw(text) => *self = Self::Object(opened(text, Cow::Borrowed, Node::Raw)),
                Self::Made(text) => {
                    let made = |text: &str| Node::Made(text.to_owned());
                    *self = Self::Object(opened(text, |key| Cow::Owned(key.to_owned()), made));
                }
                Self::Object(_) | Self::Array(_) => {}
            }
        }
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// Its elements, if it is an array.
    pub(super) fn elements(&mut self) -> Option<&mut Vec<Node<'a>>> {
        if self.kind() == Kind::Array {
            match self {
                Self::Raw(text) => {
                    *self = Self::Array(scan::elements(text).map(Node::Raw).collect())
                }
                Self::Made(text) => {
                    let made = scan::elements(text).map(|it| Node::Made(it.to_owned()));
                    *self = Self::Array(made.collect());
                }
                Self::Object(_) | Self::Array(_) => {}
            }
        }
        if let Self::Array(elements) = self { Some(elements) } else { None }
    }

    /// The members of the object at some steps from here.
    fn object_at(&mut self, steps: &[Name]) -> Option<&mut Vec<Member<'a>>> {
        let mut at = self;
        for step in steps {
            at = &mut at.members()?.iter_mut().find(|it| it.is(step))?.value;
        }
        at.members()
    }

    /// What stands at a path.
    pub(super) fn get(&mut self, path: &Path) -> Option<&mut Self> {
        let (last, parents) = path.steps.split_last()?;
        let members = self.object_at(parents)?;
        members.iter_mut().find(|it| it.is(last)).map(|it| &mut it.value)
    }

    /// Takes out what stands at a path.
    pub(super) fn take(&mut self, path: &Path) -> Option<Self> {
        let (last, parents) = path.steps.split_last()?;
        let members = self.object_at(parents)?;
        let at = members.iter().position(|it| it.is(last))?;
        Some(members.remove(at).value)
    }

    /// Puts something at a path: parents that are missing, or something else than objects, are made. Where something
    /// stands already it takes its place. A document that is no object stays as it is.
    pub(super) fn place(&mut self, path: &'a Path, value: Self) {
        let Some((last, parents)) = path.steps.split_last() else { return };
        if self.kind() != Kind::Object {
            return;
        }
        let mut at = self;
        for step in parents {
            if at.kind() != Kind::Object {
                *at = Self::Object(Vec::new());
            }
            let Some(members) = at.members() else { return };
            at = &mut found_or_made(members, step, || Self::Object(Vec::new())).value;
        }
        if at.kind() != Kind::Object {
            *at = Self::Object(Vec::new());
        }
        let Some(members) = at.members() else { return };
        match members.iter_mut().find(|it| it.is(last)) {
            Some(member) => member.value = value,
            None => members.push(Member {
                key: Cow::Borrowed(&last.quoted),
                escaped: is_escaped(last),
                value,
            }),
        }
    }

    /// Whether something could be put at a path without taking anything away: all parents are objects or missing, and
    /// nothing stands there.
    pub(super) fn is_free(&mut self, path: &Path) -> bool {
        let Some((last, parents)) = path.steps.split_last() else { return false };
        let mut at = self;
        for step in parents {
            let Some(members) = at.members() else { return false };
            match members.iter_mut().find(|it| it.is(step)) {
                Some(member) => at = &mut member.value,
                None => return true,
            }
        }
        at.members().is_some_and(|members| !members.iter().any(|it| it.is(last)))
    }

    /// Gives a member another name in its object. What stood under that name goes, also when there is no such member;
    /// whether there is.
    pub(super) fn rename(&mut self, path: &Path, to: &'a Name) -> bool {
        let Some((last, parents)) = path.steps.split_last() else { return false };
        let Some(members) = self.object_at(parents) else { return false };
        if let Some(at) = members.iter().position(|it| it.is(to)) {
            members.remove(at);
        }
        let Some(member) = members.iter_mut().find(|it| it.is(last)) else { return false };
        member.key = Cow::Borrowed(&to.quoted);
        member.escaped = is_escaped(to);
        true
    }

    /// Takes out the parents of a path that are empty objects, from the innermost on. The document itself stays.
    pub(super) fn prune(&mut self, path: &Path) {
        let Some((_, mut parents)) = path.steps.split_last() else { return };
        while let Some((last, above)) = parents.split_last() {
            if let Some(members) = self.object_at(above)
                && let Some(at) = members.iter().position(|it| it.is(last))
            {
                let is_empty = members
                    .get_mut(at)
                    .and_then(|it| it.value.members())
                    .is_some_and(|members| members.is_empty());
                if !is_empty {
                    return;
                }
                members.remove(at);
            }
            parents = above;
        }
    }

    /// What a copy of it costs, in bytes or so: what was opened or made, but not what is only pointed to.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Raw(_) => 0,
            Self::Made(text) => text.len(),
            Self::Object(all) => {
                all.iter().map(|it| OPENED_BYTES + it.key.len() + it.value.weight()).sum()
            }
            Self::Array(all) => all.iter().map(|it| OPENED_BYTES + it.weight()).sum(),
        }
    }

    /// How long its text is.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Raw(text) => text.len(),
            Self::Made(text) => text.len(),
            // Each with a comma or a bracket, and a colon behind a name.
            Self::Object(all) => {
                2 + all.iter().map(|it| 2 + it.key.len() + it.value.size()).sum::<usize>()
            }
            Self::Array(all) => 2 + all.iter().map(|it| 1 + it.size()).sum::<usize>(),
        }
    }

    /// Members of an object that was opened: what it takes to look for one.
    pub(super) fn breadth(&self) -> usize {
        if let Self::Object(members) = self { members.len() } else { 0 }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Raw(_) | Self::Made(_) => 0,
            Self::Object(all) => 1 + all.iter().map(|it| it.value.depth()).max().unwrap_or(0),
            Self::Array(all) => 1 + all.iter().map(Self::depth).max().unwrap_or(0),
        }
    }

    /// The same, as text again if it would be nested too deep so many levels below another.
    pub(super) fn closed_below(self, levels: usize) -> Self {
        if self.text().is_none() && levels + self.depth() > DEPTH_MAX {
            Self::Made(self.to_text().into_owned())
        } else {
            self
        }
    }

    /// Writes it behind what is there.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Raw(text) => out.push_str(text),
            Self::Made(text) => out.push_str(text),
            Self::Object(members) => {
                out.push('{');
                for (at, member) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(&member.key);
                    out.push(':');
                    member.value.write(out);
                }
                out.push('}');
            }
            Self::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
        }
    }
}

fn is_escaped(name: &Name) -> bool {
    name.quoted.contains('\\')
}

fn found_or_made<'n, 'a>(
    members: &'n mut Vec<Member<'a>>,
    name: &'a Name,
    make: impl FnOnce() -> Node<'a>,
) -> &'n mut Member<'a> {
    let at = members.iter().position(|it| it.is(name)).unwrap_or(members.len());
    if at == members.len() {
        members.push(Member {
            key: Cow::Borrowed(&name.quoted),
            escaped: is_escaped(name),
            value: make(),
        });
    }
    members.get_mut(at).expect("it was found, or made at the end")
}

/// The members of an object, each name once: the last counts.
fn opened<'t, 'a>(
    text: &'t str,
    key: impl Fn(&'t str) -> Cow<'a, str>,
    value: impl Fn(&'t str) -> Node<'a>,
) -> Vec<Member<'a>> {
    // A guess that is not far off for objects with few members, of which there may be millions.
    let mut all = Vec::with_capacity((text.len() / 20).clamp(1, 16));
    all.extend(scan::members(text).map(|it| Member {
        key: key(it.key),
        escaped: it.escaped,
        value: value(it.value),
    }));
    if has_twice(&all) {
        let mut seen = HashSet::new();
        let last: Vec<_> =
            all.iter().rev().map(|member| seen.insert(member.name().into_owned())).collect();
        let mut is_last = last.into_iter().rev();
        all.retain(|_| is_last.next().unwrap_or(true));
    }
    all
}

/// Whether a name may stand twice.
fn has_twice(all: &[Member<'_>]) -> bool {
    if all.len() > COMPARED_MAX || all.iter().any(|it| it.escaped) {
        return true;
    }
    let mut rest = all;
    while let Some((last, before)) = rest.split_last() {
        if before.iter().any(|it| it.key == last.key) {
            return true;
        }
        rest = before;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(node: &Node<'_>) -> String {
        node.to_text().into_owned()
    }

    #[test]
    fn what_is_not_opened_stays_as_it_is() {
        let path = Path::new("/b/c").unwrap();
        let mut node = Node::Raw(r#"{"a": [ 1.50 ], "b":{ "c" : { "x" : 1e+2 }, "\u0064":2}}"#);
        assert_eq!(node.get(&path).map(|it| text(it)).as_deref(), Some(r#"{ "x" : 1e+2 }"#));
        assert_eq!(text(&node), r#"{"a":[ 1.50 ],"b":{"c":{ "x" : 1e+2 },"\u0064":2}}"#);
        let escaped = Path::new("/b/d").unwrap();
        assert_eq!(node.take(&escaped).map(|it| text(&it)).as_deref(), Some("2"));
    }

    #[test]
    fn of_one_name_the_last_counts() {
        for (given, expected) in [
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"b":2,"a":3}"#),
            (r#"{"a":1,"\u0061":2}"#, r#"{"\u0061":2}"#),
            (r#"{"\ud800":1,"a":1,"\ud800":2}"#, r#"{"a":1,"\ud800":2}"#),
        ] {
            let mut node = Node::Raw(given);
            node.members().unwrap();
            assert_eq!(text(&node), expected);
        }
        let many: Vec<_> = (0..100).map(|at| format!("\"{}\":{at}", at % 60)).collect();
        let many = format!("{{{}}}", many.join(","));
        let mut node = Node::Raw(&many);
        assert_eq!(node.members().unwrap().len(), 60);
        assert_eq!(node.get(&Path::new("/39").unwrap()).map(|it| text(it)).as_deref(), Some("99"));
    }

    #[test]
    fn what_was_made_is_opened_like_any_other() {
        let mut node = Node::Made(r#"{"a":{"b":[1,{"c":2}]}}"#.to_owned());
        let array = node.get(&Path::new("/a/b").unwrap()).unwrap();
        assert_eq!(array.elements().unwrap().len(), 2);
        assert_eq!(text(&node), r#"{"a":{"b":[1,{"c":2}]}}"#);
    }

    #[test]
    fn empty_parents_are_pruned() {
        let path = Path::new("/a/b/c/d").unwrap();
        for (given, expected) in [
            (r#"{"x":1,"a":{"b":{"c":{}}}}"#, r#"{"x":1}"#),
            (r#"{"a":{"b":{}}}"#, "{}"),
            (r#"{"a":{"b":{"c":{}},"x":1}}"#, r#"{"a":{"x":1}}"#),
            (r#"{"a":{"b":{"c":{"d":1}}}}"#, r#"{"a":{"b":{"c":{"d":1}}}}"#),
            (r#"{"a":{"b":[]}}"#, r#"{"a":{"b":[]}}"#),
            ("[]", "[]"),
            ("{}", "{}"),
        ] {
            let mut node = Node::Raw(given);
            node.prune(&path);
            assert_eq!(text(&node), expected);
        }
    }
}

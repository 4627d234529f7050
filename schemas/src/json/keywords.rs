//! Which keywords hold schemas, and how each of those meets a payload.

use jsonschema::Draft;

/// How a schema meets a payload, next to the schema that it is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meets {
    /// The same value.
    Same,
    /// A part of it, or the name of a part.
    Part,
    /// Nothing, unless it is referred to.
    Nothing,
}

/// How schemas are written under a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// One schema.
    One,
    /// An array of them.
    Many,
    /// One, or an array.
    OneOrMany,
    /// An object of them.
    Named,
    /// An object of them and of arrays of names.
    NamedOrNames,
}

/// What a keyword holds in a draft; `None`: no schema.
pub(super) fn schemas_in(draft: Draft, keyword: &str) -> Option<(&'static str, Holds, Meets)> {
    let (known, holds, meets) = *TABLE.iter().find(|(known, ..)| *known == keyword)?;
    let since = match known {
        "contains" | "propertyNames" => Draft::Draft6,
        "if" | "then" | "else" => Draft::Draft7,
        "$defs"
        | "dependentSchemas"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "contentSchema" => Draft::Draft201909,
        "prefixItems" => Draft::Draft202012,
        _ => Draft::Draft4,
    };
    (draft >= since).then_some((known, holds, meets))
}

const TABLE: &[(&str, Holds, Meets)] = &[
    ("properties", Holds::Named, Meets::Part),
    ("patternProperties", Holds::Named, Meets::Part),
    ("additionalProperties", Holds::One, Meets::Part),
    ("propertyNames", Holds::One, Meets::Part),
    ("items", Holds::OneOrMany, Meets::Part),
    ("prefixItems", Holds::Many, Meets::Part),
    ("additionalItems", Holds::One, Meets::Part),
    ("contains", Holds::One, Meets::Part),
    ("unevaluatedItems", Holds::One, Meets::Part),
    ("unevaluatedProperties", Holds::One, Meets::Part),
    ("allOf", Holds::Many, Meets::Same),
    ("anyOf", Holds::Many, Meets::Same),
    ("oneOf", Holds::Many, Meets::Same),
    ("not", Holds::One, Meets::Same),
    ("if", Holds::One, Meets::Same),
    ("then", Holds::One, Meets::Same),
    ("else", Holds::One, Meets::Same),
    ("dependentSchemas", Holds::Named, Meets::Same),
    ("dependencies", Holds::NamedOrNames, Meets::Same),
    ("$defs", Holds::Named, Meets::Nothing),
    ("definitions", Holds::Named, Meets::Nothing),
    ("contentSchema", Holds::One, Meets::Nothing),
];

/// Whether `$ref` stands alone in a draft: what is written beside it says nothing.
pub(super) fn ref_stands_alone(draft: Draft) -> bool {
    draft <= Draft::Draft7
}

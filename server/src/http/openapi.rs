//! The OpenAPI 3.1 document, made of the table of routes: what it says is what the router does.

use std::sync::LazyLock;

use nexus_protocol::ErrorCode;
use nexus_protocol::Filter;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::problem::PROBLEM_JSON;
use super::route::{Content, Kind, Parameter, Route};
use super::routes;

/// Problems that every route may answer to a request that came through, by status.
const PROBLEMS_OF_ALL: &[u16] = &[400, 401, 403, 404, 429, 500, 503];

/// The document.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    &DOCUMENT
}

fn make() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    for route in routes::all() {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.as_str().to_owned(), operation);
        }
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Nexus",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An event store over HTTP.",
            "description": "Positions and revisions are integers, times are RFC 3339 in UTC. Unknown \
                parameters and fields are refused. Errors are problems (RFC 9457) with stable codes.",
            "license": {"name": "Apache-2.0 OR MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of `nexus token create`. In dev mode none is needed.",
            }},
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let path = route.path_names().map(|name| {
        let about = format!("The {name}, percent-encoded.");
        json!({
            "name": name, "in": "path", "required": true, "description": about,
            "schema": {"type": "string", "minLength": 1},
        })
    });
    let query = route.query_parameters().map(|it| parameter(it, "query", generator));
    let query: Vec<_> = query.collect();
    let headers = route.headers.iter().map(|it| parameter(it, "header", generator));
    let headers: Vec<_> = headers.collect();
    let parameters: Vec<_> = path.chain(query).chain(headers).collect();
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.about,
        "tags": [route.group],
        "parameters": parameters,
        "responses": responses(route, generator),
    });
    if let Some(operation) = operation.as_object_mut() {
        if route.open {
            operation.insert("security".to_owned(), json!([]));
        }
        if !route.body.is_empty() {
            let body = json!({"required": true, "content": content(route.body, generator)});
            operation.insert("requestBody".to_owned(), body);
        }
    }
    operation
}

fn parameter(parameter: &Parameter, place: &str, generator: &mut SchemaGenerator) -> Value {
    let one = match parameter.kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Number => json!({"type": "integer", "minimum": 0}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Time => json!({"type": "string", "format": "date-time"}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::Filter => {
            let filter = generator.subschema_for::<Filter>();
            let content = json!({"application/json": {"schema": filter}});
            return json!({
                "name": parameter.name, "in": place, "description": parameter.about,
                "content": content,
            });
        }
    };
    let schema = match parameter.repeated {
        true => json!({"type": "array", "items": one}),
        false => one,
    };
    json!({
        "name": parameter.name, "in": place, "description": parameter.about, "schema": schema,
    })
}

fn content(content: &[Content], generator: &mut SchemaGenerator) -> Value {
    let all = content
        .iter()
        .map(|one| (one.media_type.to_owned(), json!({"schema": (one.shape)(generator)})));
    Value::Object(all.collect())
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for answer in route.answers {
        let mut response = json!({"description": answer.about});
        if !answer.content.is_empty()
            && let Some(response) = response.as_object_mut()
        {
            response.insert("content".to_owned(), content(answer.content, generator));
        }
        responses.insert(answer.status.to_string(), response);
    }
    for status in problems_of(route) {
        let names: Vec<_> = ErrorCode::ALL.iter().filter(|code| code.status == status).collect();
        let names: Vec<_> = names.iter().map(|code| format!("`{}` ({code})", code.name)).collect();
        let response = json!({
            "description": names.join(", "),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

/// The statuses of problems that a route may answer.
fn problems_of(route: &Route) -> impl Iterator<Item = u16> {
    let open: &[u16] = &[400, 403, 503];
    let of_all = if route.open { open } else { PROBLEMS_OF_ALL };
    of_all.iter().chain(route.problems).copied()
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "Why a request is not answered with what it asks for (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code", "name"],
        "properties": {
            "type": {"type": "string", "description": "Where the error is explained."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong here, and what to do."},
            "code": {"type": "string", "pattern": "^NX[0-9]{4}$"},
            "name": {"enum": ErrorCode::ALL.map(|code| code.name)},
        },
    })
}

/// Whether the document says that an operation may answer so.
#[cfg(test)]
pub(crate) fn documents(method: super::route::Method, path: &str, status: u16) -> bool {
    document()["paths"][path][method.as_str()]["responses"].get(status.to_string()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let text = document().to_string();
        let begin = "\"#/components/schemas/";
        let references = text.match_indices("\"#/").map(|(at, _)| &text[at..]);
        let mut count = 0;
        for reference in references {
            let name = reference.strip_prefix(begin).expect(reference);
            let name = name.split('"').next().unwrap();
            assert!(document()["components"]["schemas"].get(name).is_some(), "{name}");
            count += 1;
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn operations_have_names_of_their_own_and_answers() {
        let ids: std::collections::BTreeSet<_> = routes::all().map(|route| route.id).collect();
        assert_eq!(ids.len(), routes::all().count());
        for route in routes::all() {
            assert!(!route.answers.is_empty(), "{}", route.id);
            assert!(documents(route.method, route.path, 400), "{}", route.id);
            let takes = route.body.is_empty() || documents(route.method, route.path, 415);
            assert!(takes, "{}", route.id);
        }
    }
}

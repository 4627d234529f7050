//! The document at `/openapi.json` is held to: requests are made from it, right and wrong ones, and every
//! answer must be one that it names.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Method;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::client::{Answer, Ask, Http, encoded, full};
use super::generate::{Random, SOON_MS, spoil, value};
use crate::stores::Running;

/// Requests of each operation.
const REQUESTS: usize = 150;
const KEPT: &str = "kept/1";
/// A group that has parked the first events, and how many.
const KEPT_GROUP: &str = "kept";
/// A projection whose documents' keys are streams.
const KEPT_PROJECTION: &str = "kept";
/// The same, to be searched in.
const KEPT_INDEX: &str = "kept-index";
/// The subject that is kept.
const KEPT_SCHEMA: &str = "kept-schema";
const PARKED: usize = 40;
const SEED: u64 = 0x6e65_7875_7301;

/// The document, and what is made of it.
struct Document {
    json: Value,
    validators: BTreeMap<String, Validator>,
}

/// One operation of it.
struct Operation<'a> {
    id: &'a str,
    method: Method,
    path: &'a str,
    json: &'a Value,
}

impl Document {
    async fn of(http: &Http) -> Self {
        let json = http.get("/openapi.json").send().await.unwrap().json();
        Self { json, validators: BTreeMap::new() }
    }

    fn operations(json: &Value) -> Vec<Operation<'_>> {
        let mut all = Vec::new();
        for (path, methods) in json["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let id = operation["operationId"].as_str().unwrap();
                all.push(Operation { id, method, path, json: operation });
            }
        }
        all
    }

    /// What is wrong with a value, by a schema of the document; `None`: nothing.
    fn fault(&mut self, schema: &Value, value: &Value) -> Option<String> {
        let validator = self.validators.entry(schema.to_string()).or_insert_with(|| {
            let whole = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "allOf": [schema], "components": self.json["components"],
            });
            jsonschema::validator_for(&whole).unwrap()
        });
        validator.iter_errors(value).next().map(|error| format!("{error}"))
    }

    /// Checks that an answer is one that the operation may give.
    fn check(&mut self, operation: &Operation<'_>, asked: &str, answer: &Answer) {
        let status = answer.status.as_u16();
        let shown =
            String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)]).into_owned();
        let context = format!("{} {asked:.400}: {status} {shown}", operation.id);
        // What was appended just now may not be folded in the time that the request gives.
        let is_late =
            ["lookUpDocument", "searchDocuments"].contains(&operation.id) && status == 503;
        assert!(status < 500 || is_late, "{context}");
        let response = &operation.json["responses"][status.to_string()];
        assert!(response.is_object(), "the status is documented: {context}");
        let Some(content) = response["content"].as_object() else {
            assert!(answer.body.is_empty(), "{context}");
            return;
        };
        // Parameters, such as a version or a character set, are not part of the kind.
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        assert!(content.contains_key(kind), "{kind} is documented: {context}");
        let schema = &content[kind]["schema"];
        let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let values: Vec<Value> = match kind {
            "application/x-ndjson" => {
                lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
            }
            "text/plain" | "text/csv" => vec![json!(str::from_utf8(&answer.body).unwrap())],
            _ => vec![answer.json()],
        };
        for value in values {
            // A line may be a problem, where it tells of one that came after the status.
            let is_problem = kind == "application/x-ndjson" && value.get("code").is_some();
            let problem = json!({ "$ref": "#/components/schemas/Problem" });
            let fault = self.fault(if is_problem { &problem } else { schema }, &value);
            assert_eq!(fault, None, "{context}");
        }
    }
}

/// A request that was made up.
struct Made {
    ask: Ask,
    /// How to say what it was.
    shown: String,
    /// Why it must be refused; `None`: it may be right.
    wrong: Option<&'static str>,
    follows: bool,
}

/// What a piece of a path may be. The stream `KEPT` is read, and never changed; the group `KEPT_GROUP` is never
/// deleted, nor is anything of it parked but at the beginning.
fn piece(random: &mut Random, operation: &Operation<'_>, name: &str, ids: &[String]) -> String {
    match name {
        "group" if operation.method == Method::GET && random.one_in(2) => KEPT_GROUP.to_owned(),
        "group" => random.pick(&["g-1", "g-2", "gone", "-a", "$"]).to_owned(),
        "projection" if operation.method == Method::GET && random.one_in(2) => {
            KEPT_PROJECTION.to_owned()
        }
        "projection" if operation.id == "searchDocuments" && !random.one_in(4) => {
            KEPT_INDEX.to_owned()
        }
        "projection" => random.pick(&["p-1", "p-1", "p-2", "gone", "$"]).to_owned(),
        "route" => random.pick(&["r-1", "r-1", "r-2", "gone", "$"]).to_owned(),
        "subject" if random.one_in(2) => KEPT_SCHEMA.to_owned(),
        "version" => random.pick(&["1", "1", "latest", "2", "x"]).to_owned(),
        "id" if operation.id == "showSchemaById" => random.pick(&["1", "2", "x"]).to_owned(),
        "id" if operation.id == "editParked" => format!("{}", random.below(2 * PARKED)),
        "stream" if operation.method == Method::GET && random.one_in(3) => KEPT.to_owned(),
        "id" if random.one_in(4) => ids[random.below(ids.len())].clone(),
        "id" if random.one_in(4) => "no-id".to_owned(),
        "id" => random.uuid(),
        "revision" => {
            random.pick(&["0", "1", "5", "latest", "x", "-1", "18446744073709551616"]).to_owned()
        }
        "name" => random.pick(&["default", "orders", "Orders", "$system", "a b"]).to_owned(),
        _ if random.one_in(2) => format!("s-{}", random.below(40)),
        _ => random
            .pick(&["order-1", "a", "größe/ß", "gone", "none", "$meta-a", "-a", "$"])
            .to_owned(),
    }
}

/// A value of a parameter as text: mostly what it should be.
fn text_of(random: &mut Random, document: &Value, parameter: &Value) -> String {
    if random.one_in(12) {
        return random.pick(&["", "x", "-1", "\u{fffd}", "1e3", "[]", "null"]).to_owned();
    }
    match parameter["name"].as_str().unwrap() {
        "limit" => random.pick(&["1", "2", "100"]).to_owned(),
        "min_position" => random.pick(&["0", "1", "40"]).to_owned(),
        "timeout_ms" => random.pick(&["0", "1", "100"]).to_owned(),
        "wait_ms" => random.pick(&["0", "1", "3"]).to_owned(),
        "from_position" => random.pick(&["0", "1-3", "7", "2-1"]).to_owned(),
        "as_of" => {
            random.pick(&["position:3", "revision:1", "recorded:2026-01-02T03:04:05Z"]).to_owned()
        }
        "as_schema" => random.pick(&["raw", "latest", "1", "2"]).to_owned(),
        "namespace" => random.pick(&["default", "default", "orders", "none"]).to_owned(),
        "source" => {
            let sources =
                ["group:kept", "group:kept", "group:none", "kept", "projection:kept", "timers"];
            random.pick(&sources).to_owned()
        }
        "If-Match" => random.pick(&["\"0\"", "\"1\"", "*", "W/\"1\""]).to_owned(),
        "Last-Event-ID" => random.pick(&["0", "1-1", "1-none"]).to_owned(),
        _ => {
            let in_json = &parameter["content"]["application/json"]["schema"];
            let schema = if in_json.is_null() { &parameter["schema"] } else { in_json };
            let schema = if schema["type"] == "array" { &schema["items"] } else { schema };
            match value(random, document, schema, 0) {
                Value::String(text) => text,
                other => other.to_string(),
            }
        }
    }
}

/// Makes up a request of an operation.
fn make(
    random: &mut Random,
    document: &mut Document,
    operation: &Operation<'_>,
    http: &Http,
    ids: &[String],
) -> Made {
    let json = document.json.clone();
    let (mut path, mut query, mut headers) = (operation.path.to_owned(), Vec::new(), Vec::new());
    let mut wrong = None;
    for parameter in operation.json["parameters"].as_array().unwrap() {
        let name = parameter["name"].as_str().unwrap();
        let place = parameter["in"].as_str().unwrap();
        if place == "path" {
            path = path
                .replace(&format!("{{{name}}}"), &encoded(&piece(random, operation, name, ids)));
        } else if random.one_in(if name == "source" { 2 } else { 5 }) {
            let text = text_of(random, &json, parameter);
            if place == "query" {
                query.push(format!("{name}={}", encoded(&text)));
                if parameter["schema"]["type"] != "array" && random.one_in(15) {
                    query.push(format!("{name}={}", encoded(&text)));
                    wrong = Some("a parameter is given twice");
                }
            } else if !text.chars().any(char::is_control) {
                headers.push((name.to_owned(), text));
            }
        }
    }
    let has = |name: &str| query.iter().any(|it| it.starts_with(name));
    if has("min_position=") && !has("timeout_ms=") {
        query.push(format!("timeout_ms={SOON_MS}"));
    }
    if random.one_in(20) {
        query.push("unknown=1".to_owned());
        wrong = Some("a parameter is not known");
    }
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    let mut ask = http.ask(operation.method.clone(), path.as_str());
    let mut shown = format!("{} {path} {headers:?}", operation.method);
    for (name, text) in &headers {
        ask = ask.header(name, text);
    }
    let kinds = ["application/json", "application/x-ndjson", "text/event-stream", "text/html, */*"];
    let accept = random.pick(&kinds);
    if operation.id.starts_with("read") && random.one_in(2) {
        ask = ask.header("accept", accept);
        shown.push_str(accept);
    }
    if operation.id == "searchDocuments" && random.one_in(2) {
        let form = random.pick(&["application/x-ndjson", "text/csv", "text/html, text/csv;q=0.5"]);
        ask = ask.header("accept", form);
        shown.push_str(form);
    }
    let follows = accept == "text/event-stream";
    if let Some(content) = operation.json["requestBody"]["content"].as_object() {
        let (kind, body, refused) = body_of(random, document, content);
        shown.push_str(&format!(" {kind} {}", String::from_utf8_lossy(&body)));
        wrong = wrong.or(refused);
        ask = ask.body(&kind, full(body));
    }
    Made { ask, shown, wrong, follows }
}

/// Makes up a body, and says why it must be refused.
fn body_of(
    random: &mut Random,
    document: &mut Document,
    content: &serde_json::Map<String, Value>,
) -> (String, Vec<u8>, Option<&'static str>) {
    let kinds: Vec<&String> = content.keys().collect();
    let kind = kinds[random.below(kinds.len())].clone();
    let schema = &content[&kind]["schema"];
    let json = document.json.clone();
    let mut body = value(random, &json, schema, 0);
    if random.one_in(3) {
        spoil(random, &mut body);
    }
    let fault = document.fault(schema, &body);
    let mut refused = fault.map(|_| "the body does not fit the schema");
    let mut text = body.to_string().into_bytes();
    if random.one_in(20) {
        text.truncate(text.len() / 2);
        text.push(b'[');
        refused = Some("the body is no JSON");
    }
    if random.one_in(20) {
        return ("text/plain".to_owned(), text, Some("the media type is not taken"));
    }
    (kind, text, refused)
}

/// Sends it; of a stream of events only the head is waited for.
async fn answer(made: Made) -> (Answer, String, Option<&'static str>) {
    let answer = match made.follows {
        false => made.ask.send().await.unwrap(),
        true => {
            let answer = made.ask.open().await.unwrap();
            let (parts, body) = answer.into_parts();
            let is_stream =
                parts.headers.get("content-type").is_some_and(|it| it == "text/event-stream");
            let body = match is_stream {
                true => "\"\"".into(),
                false => http_body_util::BodyExt::collect(body).await.unwrap().to_bytes(),
            };
            Answer { status: parts.status, headers: parts.headers, body }
        }
    };
    (answer, made.shown, made.wrong)
}

/// Registers the schema that is kept.
async fn register(http: &Http) {
    let schema = json!({ "schema": { "type": "object" } });
    let path = format!("/v1/schemas/{KEPT_SCHEMA}/versions");
    let made = http.post(path, &schema).send().await.unwrap();
    assert_eq!((made.status.as_u16(), &made.json()["id"]), (201, &json!(1)), "{made:?}");
}

/// Makes the projections that are kept.
async fn project(http: &Http) {
    for (name, sink) in [(KEPT_PROJECTION, "kv"), (KEPT_INDEX, "search")] {
        let definition = json!({ "name": name, "key": "/stream", "sink": sink,
                                 "fields": { "count": { "type": "u64", "fold": "count" } } });
        let path = format!("/v1/projections/{name}");
        let made = http.ask(Method::PUT, path).json(&definition).send().await.unwrap();
        assert_eq!(made.status, 201, "{made:?}");
    }
}

/// Makes the group that is kept, and parks the first events in it.
async fn park(http: &Http) {
    for number in 0..PARKED {
        http.append("s-0", &json!({ "type": "OrderPlaced", "data": number })).await;
    }
    let config = json!({ "mode": "unordered" });
    let path = format!("/v1/groups/{KEPT_GROUP}");
    let made = http.ask(Method::PUT, path.as_str()).json(&config).send().await.unwrap();
    assert_eq!(made.status, 201);
    let receive = json!({ "consumer": "a", "max": PARKED });
    let given = http.post(format!("{path}/receive"), &receive).send().await.unwrap().json();
    let tokens: Vec<_> =
        given["deliveries"].as_array().unwrap().iter().map(|it| it["token"].clone()).collect();
    let nack = json!({ "tokens": tokens, "action": "park" });
    let parked = http.post(format!("{path}/nack"), &nack).send().await.unwrap().json();
    assert_eq!(parked["done"], PARKED);
}

#[test]
fn every_answer_is_one_that_the_document_names() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let mut document = Document::of(&http).await;
        let mut random = Random::new(SEED);
        let json = document.json.clone();
        let operations = Document::operations(&json);
        let mut ids = Vec::new();
        for number in 0..12 {
            let id = random.uuid();
            let stream = ["order-1", "a", "größe/ß", KEPT][number % 4];
            http.append(stream, &json!({ "id": id, "type": "OrderPlaced", "data": number })).await;
            ids.push(id);
        }
        park(&http).await;
        register(&http).await;
        project(&http).await;
        let timer =
            json!({ "due_at": "2099-01-01T00:00:00Z", "stream": "a", "event": { "type": "Due" } });
        for id in &ids {
            let path = format!("/v1/timers/{id}");
            let armed = http.ask(Method::PUT, path).json(&timer).send().await.unwrap();
            assert_eq!(armed.status, 201);
        }
        let path = format!("/v1/streams/{}/snapshots/0", encoded(KEPT));
        let saved =
            http.ask(Method::PUT, path).json(&json!({ "state": [1] })).send().await.unwrap();
        assert_eq!(saved.status, 201);
        let mut tokens = ids.clone();
        let mut answered: BTreeMap<&str, BTreeMap<u16, usize>> = BTreeMap::new();
        for _ in 0..REQUESTS {
            for operation in &operations {
                let ids = if operation.id == "revokeToken" { &tokens } else { &ids };
                let made = make(&mut random, &mut document, operation, &http, ids);
                let (answer, shown, wrong) = answer(made).await;
                document.check(operation, &shown, &answer);
                let status = answer.status.as_u16();
                if operation.id == "createToken" && status == 201 {
                    tokens.push(answer.json()["id"].as_str().unwrap().to_owned());
                }
                if let Some(why) = wrong {
                    // Many lines are answered one by one: what is wrong is said in its place.
                    let in_its_line = answer.header("content-type") == Some("application/x-ndjson")
                        && operation.id == "append";
                    assert!(status >= 400 || in_its_line, "{why}: {shown}: {answer:?}");
                }
                *answered.entry(operation.id).or_default().entry(status).or_default() += 1;
            }
        }
        let of = |low: u16| {
            let any = move |counts: &BTreeMap<u16, usize>| counts.keys().any(|it| it / 100 == low);
            let ids = answered.iter().filter(|(_, counts)| any(counts));
            ids.map(|(id, _)| *id).collect::<BTreeSet<_>>()
        };
        let all: BTreeSet<_> = operations.iter().map(|operation| operation.id).collect();
        // A WebSocket is no request with an answer: `sockets` has it.
        let mut done = all.clone();
        done.remove("watch");
        assert_eq!(of(2), done, "each was done at least once: {answered:?}");
        assert_eq!(of(4), all, "and refused at least once: {answered:?}");
        println!("count: openapi_operations {}", operations.len());
        println!("count: openapi_requests {}", operations.len() * REQUESTS);
    });
}

#[test]
fn what_the_document_does_not_name_is_not_there() {
    let running = Running::in_memory();
    running.runtime.block_on(async {
        let http = running.http();
        let json = Document::of(&http).await.json;
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        for (path, named) in json["paths"].as_object().unwrap() {
            let asked = path.replace(['{', '}'], "");
            let is_named = |method: &Method| named.get(method.as_str().to_lowercase()).is_some();
            for method in methods.iter().filter(|method| !is_named(method)) {
                let answer = http.ask(method.clone(), asked.as_str()).send().await.unwrap();
                assert_eq!(
                    answer.problem(),
                    (405, "method_not_allowed".to_owned()),
                    "{method} {path}"
                );
                let mut allowed: Vec<_> = answer.header("allow").unwrap().split(',').collect();
                allowed.retain(|method| *method != "HEAD");
                allowed.sort_unstable();
                let mut wanted: Vec<_> =
                    methods.iter().filter(|it| is_named(it)).map(Method::as_str).collect();
                wanted.sort_unstable();
                assert_eq!(allowed, wanted, "{path}");
            }
        }
    });
}

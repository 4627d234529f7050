//! `nexus route`, over a server and on a directory: what the guide shows, and what is refused.

use std::process::Command;

use serde_json::{Value, json};

use crate::nexus::{Folder, bare, finish, lines};
use crate::places::{Ask, at_both, parsed};

fn check(run: impl Fn(Ask<'_>)) {
    at_both(|_| {}, run);
}

/// Orders with numbers from 1, of as many hundred cents.
fn place(ask: Ask<'_>, orders: std::ops::RangeInclusive<u32>) {
    for n in orders {
        let data = format!("{{\"total_cents\": {n}00, \"list price\": {n}}}");
        ask(&["append", &format!("order-{n}"), "--type", "OrderPlaced", "--data", &data]).done();
    }
}

/// The links of a stream, once the route has written so many. On a directory it writes while a command has it open.
fn links(ask: Ask<'_>, route: &str, stream: &str, count: usize) -> Vec<Value> {
    let written = || parsed(ask, &["route", "show", route])["links"] == count;
    assert!((0..TRIES).any(|_| written()), "there are not {count} links");
    lines(&ask(&["read", stream, "--output", "ndjson"]).done())
}

/// How often is asked whether a route has come so far.
const TRIES: u32 = 500;

const LARGE: &[&str] = &["--category", "order", "--where", "/data/total_cents ge 200"];

#[test]
fn a_route_to_a_stream_is_tried_made_watched_and_deleted() {
    check(|ask| {
        place(ask, 1..=3);
        let none = json!({"routes": [], "next": null});
        assert_eq!(parsed(ask, &["route", "list"]), none);
        let to = ["--to", "stream:large", "--limit", "1"];
        let tried = parsed(ask, &[&["route", "dry-run", "large"], LARGE, &to].concat());
        assert_eq!((&tried["matched"], &tried["looked_at"]), (&json!(2), &json!(3)), "{tried}");
        assert_eq!(tried["from_position"], 0);
        assert_eq!(tried["events"].as_array().unwrap().len(), 1, "as many as --limit says");
        assert_eq!(tried["events"][0]["stream"], "order-3", "the newest first");
        ask(&["route", "show", "large"]).fails(1, &["there is no route \"large\""]);
        assert_eq!(parsed(ask, &["stats"])["events"], 3, "a dry run writes nothing");
        let to = ["--to", "stream:large", "--start", "beginning"];
        let set = parsed(ask, &[&["route", "set", "large"], LARGE, &to].concat());
        let condition = json!([{"path": "/data/total_cents", "op": "ge", "value": 200}]);
        assert_eq!((&set["name"], &set["where"]), (&json!("large"), &condition));
        assert_eq!(set["filter"], json!({"categories": ["order"]}));
        assert_eq!((&set["to"], &set["start"]), (&json!("stream:large"), &json!("beginning")));
        let came = links(ask, "large", "large", 2);
        let to: Vec<_> = came.iter().map(|it| it["data"]["stream"].as_str().unwrap()).collect();
        assert_eq!(to, ["order-2", "order-3"], "each once, and in order");
        assert!(came.iter().all(|it| it["type"] == "$Link"));
        let shown = parsed(ask, &["route", "show", "large"]);
        assert_eq!((&shown["state"], &shown["links"]), (&json!("running"), &json!(2)));
        assert!(shown["position"].is_u64() && shown["head_position"].is_u64(), "{shown}");
        assert!(shown["lag_events"].is_u64() && shown.get("error").is_none(), "{shown}");
        // The names alone of those that are there.
        let listed = parsed(ask, &["route", "list"]);
        assert_eq!(listed["routes"][0]["name"], "large");
        let lines = lines(&ask(&["route", "list", "--output", "ndjson"]).done());
        assert_eq!(lines.len(), 1);
        let table = ask(&["route", "show", "large"]).done();
        for part in ["/data/total_cents ge 200", "stream:large", r#"{"categories":["order"]}"#] {
            assert!(table.contains(part), "{table}");
        }
        let again = parsed(ask, &["route", "dry-run", "large"]);
        assert_eq!(
            (&again["matched"], &again["events"][1]["stream"]),
            (&json!(2), &json!("order-2"))
        );
        let deleted = parsed(ask, &["route", "delete", "large"]);
        assert_eq!(deleted, json!({"route": "large", "deleted": true}));
        place(ask, 4..=4);
        assert_eq!(parsed(ask, &["read", "large"])["events"].as_array().unwrap().len(), 2);
        ask(&["route", "delete", "large"]).fails(1, &["there is no route \"large\"", "NX1004"]);
        assert_eq!(parsed(ask, &["route", "list"]), none);
    });
}

#[test]
fn a_stream_of_links_is_read_as_what_they_lead_to() {
    check(|ask| {
        place(ask, 1..=4);
        let to = ["--to", "stream:large", "--start", "beginning"];
        ask(&[&["route", "set", "large"], LARGE, &to].concat()).done();
        assert_eq!(links(ask, "large", "large", 3).len(), 3);
        let resolved = ["read", "large", "--resolve-links"];
        let page = parsed(ask, &[&resolved[..], &["--limit", "2"]].concat());
        let streams = |page: &Value| -> Vec<Value> {
            page["events"].as_array().unwrap().iter().map(|it| it["stream"].clone()).collect()
        };
        assert_eq!(streams(&page), ["order-2", "order-3"]);
        assert_eq!(page["next"], 2, "where the links go on");
        let rest = parsed(ask, &[&resolved[..], &["--from", "2"]].concat());
        assert_eq!((streams(&rest), &rest["next"]), (vec![json!("order-4")], &Value::Null));
        ask(&["stream", "delete", "order-3"]).done();
        let left = parsed(ask, &[&resolved[..], &["--backwards"]].concat());
        assert_eq!(streams(&left), ["order-4", "large", "order-2"], "a link whose event is gone");
        ask(&["read", "--resolve-links"]).fails(2, &["STREAM"]);
        ask(&["read", "large", "--resolve-links", "--explain"]).fails(2, &["--explain"]);
    });
}

#[test]
fn a_route_set_anew_goes_on_from_where_it_is() {
    check(|ask| {
        place(ask, 1..=3);
        let to = ["--to", "stream:large", "--start", "beginning"];
        ask(&[&["route", "set", "large"], LARGE, &to].concat()).done();
        assert_eq!(links(ask, "large", "large", 2).len(), 2);
        let other = ["--category", "order", "--where", "/data/list price in [1, 4]"];
        let set = parsed(ask, &[&["route", "set", "large"][..], &other, &to].concat());
        assert_eq!(set["where"][0]["path"], "/data/list price", "a path may have blanks");
        place(ask, 4..=5);
        let came = links(ask, "large", "large", 3);
        assert_eq!(came[2]["data"]["stream"], "order-4", "the first is behind it: {came:?}");
    });
}

#[test]
fn a_route_to_a_group_goes_with_it() {
    check(|ask| {
        place(ask, 1..=1);
        ask(&["group", "create", "mail", "--only-routes"]).done();
        let to = ["--to", "group:mail"];
        let set = parsed(ask, &[&["route", "set", "urgent"], LARGE, &to].concat());
        assert_eq!((&set["to"], &set["links"]), (&json!("group:mail"), &json!(0)));
        assert_eq!(set["position"], Value::Null, "the group knows");
        place(ask, 2..=3);
        let consume = ["group", "consume", "mail", "--consumer", "a", "--limit", "2"];
        let came = lines(&ask(&[&consume[..], &["--output", "ndjson"]].concat()).done());
        let streams: Vec<_> = came.iter().map(|it| it["event"]["stream"].clone()).collect();
        assert_eq!(streams, ["order-2", "order-3"]);
        let other = ["--to", "stream:large"];
        ask(&[&["route", "set", "urgent"], LARGE, &other].concat())
            .fails(2, &["leads to group:mail", "delete it first"]);
        ask(&["group", "delete", "mail"]).done();
        ask(&["route", "show", "urgent"]).fails(1, &["there is no route \"urgent\""]);
    });
}

#[test]
fn a_route_that_cannot_be_is_refused() {
    let order = ["--category", "order"];
    let condition = |where_: &'static str| {
        [&["route", "set", "r", "--to", "stream:t"], &order[..], &["--where", where_]].concat()
    };
    let to = |to: &'static str| [&["route", "set", "r", "--to", to], &order[..]].concat();
    let many = [&to("stream:t")[..], &["--where", "/type exists"].repeat(33)].concat();
    let cases: Vec<(Vec<&str>, i32, &[&str])> = vec![
        (condition("/data/x like 1"), 2, &["\"like\" is none of eq, ne"]),
        (condition("/data/x"), 2, &["a path, an operator, and a value"]),
        (condition("/data/x eq"), 2, &["a value behind `eq`"]),
        (condition("data/x eq 1"), 2, &["no JSON pointer: begin it with `/`"]),
        (condition("/data/x~2 eq 1"), 2, &["write `~` as `~0`"]),
        (condition("/data/x in 1"), 2, &["takes a list"]),
        (condition("/data/x exists 1"), 2, &["true or false"]),
        (condition("/data/x prefix 1"), 2, &["takes a string"]),
        (many, 2, &["33", "32"]),
        (to("group:nope"), 1, &["there is no group \"nope\": create it first", "NX1004"]),
        (to("group:"), 2, &["group name \"\" is empty"]),
        (to("stream:"), 2, &["stream name \"\" is empty"]),
        (to("stream:$a"), 2, &["one of the system's"]),
        (to("mail"), 2, &["`stream:NAME` or to `group:NAME`"]),
        (vec!["route", "set", "r", "--to", "stream:t"], 2, &["takes what the route writes"]),
        (vec!["route", "set", "r", "--category", "order"], 2, &["--to"]),
        (
            vec!["route", "set", "a b", "--to", "stream:t", "--type", "T"],
            2,
            &["route name \"a b\""],
        ),
        ([&to("stream:t")[..], &["--start", "soon"]].concat(), 2, &["beginning, end, a position"]),
        ([&to("stream:t")[..], &["--start", "99999"]].concat(), 2, &["ends before position 99999"]),
        ([&to("group:g")[..], &["--start", "0"]].concat(), 2, &["begins where the group is"]),
        ([&to("stream:t")[..], &["--system"]].concat(), 2, &["leave out --system"]),
        (vec!["route", "show", "r"], 1, &["there is no route \"r\": set it first", "NX1004"]),
        (vec!["route", "show", "a b"], 2, &["route name \"a b\""]),
        (vec!["route", "delete", "r"], 1, &["there is no route \"r\""]),
        (vec!["route", "dry-run", "r"], 1, &["there is no route \"r\""]),
        (vec!["route", "dry-run", "r", "--type", "T"], 2, &["say with --to"]),
        (vec!["route", "dry-run", "r", "--system"], 2, &["say with --to"]),
        (vec!["route", "dry-run", "r", "--limit", "101"], 2, &["0..=100"]),
        (vec!["route", "dry-run", "a b", "--to", "stream:t", "--type", "T"], 2, &["route name"]),
    ];
    check(|ask| {
        place(ask, 1..=1);
        for (args, code, parts) in &cases {
            ask(args).fails(*code, parts);
        }
        assert_eq!(parsed(ask, &["route", "list"])["routes"], json!([]), "nothing was made");
    });
}

#[test]
fn a_route_is_asked_for_where_nothing_is() {
    let folder = Folder::new();
    folder.run(&["route", "list"]).fails(1, &["holds no Nexus data"]);
    let nobody = |command: &mut Command| {
        finish(
            command.args(["--server", "nexus://127.0.0.1:1?timeout_ms=200", "route", "list"]),
            b"",
        )
    };
    nobody(&mut bare()).fails(5, &["cannot reach 127.0.0.1:1"]);
}

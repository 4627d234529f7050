//! Consumers over the WebSocket: deliveries within their credit, answers by frames, and what becomes of both when a
//! channel, its socket, or the server goes.

use std::time::Duration;

use nexus_client::Client;
use nexus_node::{Engine, Principal, Role};
use nexus_protocol::group::GroupConfig;
use nexus_protocol::{Append, EventData, Read};
use nexus_testing::executor::next;
use serde_json::{Value, json};

use crate::sockets::Socket;
use crate::stores::Running;

/// A group of everything, and so many events, each of a stream of its own.
async fn group_of(client: &Client, events: u64) {
    client.set_group("mail", &GroupConfig::default()).await.unwrap();
    for number in 0..events {
        let event = EventData::json("Counted", &number).unwrap();
        client.append(Append::to(format!("count-{number}")).event(event)).await.unwrap();
    }
}

fn consumer(name: &str) -> Value {
    json!({"kind": "group", "group": "mail", "consumer": name})
}

async fn consuming(running: &Running, name: &str, credit: u64) -> Socket {
    let mut socket = Socket::open(running).await;
    let open = json!({"op": "open", "id": 1, "channel": consumer(name), "credit": credit});
    socket.say(open).await;
    socket
}

/// Tokens of the next deliveries, and their attempts and numbers.
async fn deliveries(socket: &mut Socket, count: usize) -> (Vec<Value>, Vec<(u64, u64)>) {
    let (mut tokens, mut tried) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let frame = socket.hear_of("event").await;
        assert!(frame["lane"].is_u64() && frame["deadline"].is_string(), "{frame}");
        tokens.push(frame["token"].clone());
        let number = frame["event"]["data"].as_u64().unwrap();
        tried.push((frame["attempt"].as_u64().unwrap(), number));
    }
    (tokens, tried)
}

#[test]
fn a_consumer_gets_what_it_has_credit_for_and_answers_by_frames() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        group_of(&client, 5).await;
        let mut socket = consuming(&running, "a", 2).await;
        let (first, tried) = deliveries(&mut socket, 2).await;
        assert!(tried.iter().all(|(attempt, _)| *attempt == 1));
        for _ in 0..20 {
            assert_eq!(client.group("mail").await.unwrap().in_flight, 2);
        }
        socket.say(json!({"op": "ack", "id": 1, "seq": 7, "tokens": [first[0]]})).await;
        let answered = json!({"id": 1, "frame": "answered", "seq": 7, "done": 1, "refused": []});
        assert_eq!(socket.hear().await.unwrap(), answered);
        // Again, and with one that was not: the first no longer counts.
        socket.say(json!({"op": "ack", "id": 1, "tokens": first})).await;
        let again = socket.hear().await.unwrap();
        assert_eq!((&again["seq"], &again["done"]), (&Value::Null, &json!(1)));
        let refused = json!([{"token": first[0], "name": "already_acked"}]);
        assert_eq!(again["refused"], refused);
        socket.say(json!({"op": "credit", "id": 1, "events": 1})).await;
        let (third, tried) = deliveries(&mut socket, 1).await;
        let extend = json!({"op": "extend", "id": 1, "tokens": third, "by_ms": 43_200_000});
        socket.say(extend).await;
        assert_eq!(socket.hear().await.unwrap()["done"], 1);
        // It failed: that takes no credit back, and with more it comes again.
        let error = json!({"class": "smtp", "message": "full"});
        let nack = json!({"op": "nack", "id": 1, "seq": 8, "tokens": third, "action": "retry",
                          "delay_ms": 0, "error": error});
        socket.say(nack).await;
        assert_eq!(socket.hear().await.unwrap()["seq"], 8);
        socket.say(json!({"op": "credit", "id": 1, "events": 3})).await;
        let (rest, mut seen) = deliveries(&mut socket, 3).await;
        seen.sort_unstable();
        assert_eq!(seen.last(), Some(&(2, tried[0].1)), "it comes again");
        socket.say(json!({"op": "ack", "id": 1, "tokens": rest})).await;
        assert_eq!(socket.hear().await.unwrap()["done"], 3);
        assert_eq!(client.group("mail").await.unwrap().lag_events, 0);
    });
}

#[test]
fn an_acknowledgement_over_the_socket_may_carry_an_append() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        group_of(&client, 2).await;
        let mut socket = consuming(&running, "a", 2).await;
        let (tokens, _) = deliveries(&mut socket, 2).await;
        let ack = |token: &Value, stream: &str, expected: &str| {
            let event = json!({"type": "MailSent", "data": {"n": 1}});
            let append = json!({"stream": stream, "expected": expected, "events": [event]});
            json!({"op": "ack", "id": 1, "tokens": [token], "append": {"appends": [append]}})
        };
        socket.say(ack(&tokens[0], "sent", "any")).await;
        let answered = socket.hear_of("answered").await;
        assert_eq!(answered["appended"]["streams"][0]["stream"], "sent");
        // What conflicts leaves the delivery as it was.
        socket.say(ack(&tokens[1], "sent", "no_stream")).await;
        let refused = socket.hear().await.unwrap();
        assert_eq!((&refused["frame"], &refused["id"]), (&json!("error"), &json!(1)));
        assert_eq!(refused["problem"]["clause"], "stream", "{refused}");
        socket.say(ack(&tokens[1], "other", "no_stream")).await;
        assert_eq!(socket.hear_of("answered").await["done"], 1);
        // Said again it is done, and nothing is appended.
        socket.say(ack(&tokens[1], "other", "any")).await;
        let again = socket.hear_of("answered").await;
        assert_eq!(again["refused"][0]["name"], "already_acked");
        assert_eq!(again.get("appended"), None);
    });
    for stream in ["sent", "other"] {
        let mut events = client.read(Read::stream(stream));
        assert!(running.runtime.block_on(next(&mut events)).is_some_and(|event| event.is_ok()));
        assert!(running.runtime.block_on(next(&mut events)).is_none(), "{stream}");
    }
}

#[test]
fn what_a_consumer_had_is_given_to_others_however_it_goes() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        group_of(&client, 3).await;
        // It says that it goes: nothing counts as tried, and what it said before is decided.
        let mut socket = consuming(&running, "a", 3).await;
        let (tokens, _) = deliveries(&mut socket, 3).await;
        socket.say(json!({"op": "ack", "id": 1, "seq": 1, "tokens": [tokens[0]]})).await;
        socket.say(json!({"op": "close", "id": 1})).await;
        assert_eq!(socket.hear().await.unwrap()["seq"], 1);
        assert_eq!(socket.hear().await.unwrap(), json!({"id": 1, "frame": "closed"}));
        // The id is free again; a socket that is closed as it should be is a good-bye, too.
        socket.say(json!({"op": "open", "id": 1, "channel": consumer("b")})).await;
        let (_, tried) = deliveries(&mut socket, 2).await;
        assert!(tried.iter().all(|(attempt, _)| *attempt == 1), "{tried:?}");
        socket.close().await;
        let mut socket = consuming(&running, "c", 2).await;
        let (_, tried) = deliveries(&mut socket, 2).await;
        assert!(tried.iter().all(|(attempt, _)| *attempt == 1), "{tried:?}");
        // So is one that is ended for a frame that is none.
        socket.say_binary().await;
        assert_eq!(socket.hear().await, None);
        let mut socket = consuming(&running, "c", 2).await;
        let (_, tried) = deliveries(&mut socket, 2).await;
        assert!(tried.iter().all(|(attempt, _)| *attempt == 1), "{tried:?}");
        // One that is cut off had tried.
        drop(socket);
        let mut socket = consuming(&running, "d", 2).await;
        let (tokens, tried) = deliveries(&mut socket, 2).await;
        assert!(tried.iter().all(|(attempt, _)| *attempt == 2), "{tried:?}");
        socket.say(json!({"op": "ack", "id": 1, "tokens": tokens})).await;
        assert_eq!(socket.hear_of("answered").await["done"], 2);
    });
}

#[test]
fn a_name_is_one_consumer_whichever_door_it_comes_by() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        group_of(&client, 1).await;
        let mut socket = consuming(&running, "a", 1).await;
        deliveries(&mut socket, 1).await;
        let native = client.consumer("mail", "a");
        let received = native.receive(1, Duration::from_secs(20)).await.unwrap();
        assert_eq!(received.len(), 1);
        let last = socket.hear().await.unwrap();
        assert_eq!((&last["frame"], &last["id"]), (&json!("error"), &json!(1)));
        let detail = last["problem"]["detail"].as_str().unwrap();
        assert!(detail.contains("another session"), "{detail}");
        // The socket goes on, and its id is free.
        native.leave().await.unwrap();
        socket.say(json!({"op": "open", "id": 1, "channel": consumer("b")})).await;
        let (_, tried) = deliveries(&mut socket, 1).await;
        assert_eq!(tried[0].0, 2, "the first one was lost, the second has left");
        // So it is with another socket: it has what this one had, and what this one says no longer counts.
        let mut other = consuming(&running, "b", 1).await;
        let (tokens, _) = deliveries(&mut other, 1).await;
        let last = socket.hear().await.unwrap();
        assert_eq!((&last["frame"], last.get("seq")), (&json!("error"), None));
        socket.say(json!({"op": "ack", "id": 1, "seq": 9, "tokens": tokens})).await;
        let refused = socket.hear().await.unwrap();
        assert_eq!((&refused["frame"], &refused["seq"]), (&json!("error"), &json!(9)));
        other.say(json!({"op": "ack", "id": 1, "tokens": tokens})).await;
        assert_eq!(other.hear().await.unwrap()["done"], 1);
    });
}

#[test]
fn many_answers_may_be_under_way_and_each_is_answered() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        group_of(&client, 200).await;
        let mut socket = consuming(&running, "a", 200).await;
        let (tokens, _) = deliveries(&mut socket, 200).await;
        for (seq, token) in tokens.iter().enumerate() {
            socket.say(json!({"op": "ack", "id": 1, "seq": seq, "tokens": [token]})).await;
        }
        let mut seqs = Vec::new();
        for _ in 0..200 {
            let answered = socket.hear_of("answered").await;
            assert_eq!(answered["done"], 1);
            seqs.push(answered["seq"].as_u64().unwrap());
        }
        seqs.sort_unstable();
        assert!(seqs.into_iter().eq(0..200));
    });
}

#[test]
fn what_no_consumer_may_say_is_refused_and_nothing_is_lost() {
    let running = Running::in_memory();
    let client = running.client();
    running.runtime.block_on(async {
        group_of(&client, 1).await;
        let mut socket = consuming(&running, "a", 2).await;
        let (tokens, _) = deliveries(&mut socket, 1).await;
        // This one has no credit, and asks for nothing.
        let idle = json!({"op": "open", "id": 3, "channel": consumer("idle"), "credit": 0});
        socket.say(idle).await;
        let open = |channel: Value| json!({"op": "open", "id": 2, "channel": channel});
        let of = |group: &str, consumer: &str| {
            json!({"kind": "group", "group": group, "consumer": consumer})
        };
        let mut resumed = open(of("mail", "b"));
        resumed["resume"] = json!("1-7");
        let many: Vec<_> = (0..1001).map(|_| tokens[0].clone()).collect();
        let wrong = [
            (open(of("mail", "")), "empty"),
            (open(of("a b", "c")), "group name"),
            (open(json!({"kind": "group", "group": "mail"})), "missing field `consumer`"),
            (resumed, "leave `resume` out"),
            (open(of("other", "c")), "create it first"),
            (json!({"op": "ack", "id": 1, "seq": 3, "tokens": ["x"]}), "`tokens`"),
            (json!({"op": "ack", "id": 1, "seq": 3, "tokens": many}), "at most 1000"),
            (
                json!({"op": "extend", "id": 1, "seq": 3, "tokens": tokens, "by_ms": 43_200_001}),
                "at most 12 h",
            ),
            (
                json!({"op": "nack", "id": 1, "seq": 3, "tokens": tokens, "action": "park",
                       "delay_ms": 1}),
                "`retry` only",
            ),
            (
                json!({"op": "nack", "id": 1, "seq": 3, "tokens": tokens, "action": "retry",
                       "delay_ms": 86_400_001}),
                "at most 24 h",
            ),
            (
                json!({"op": "nack", "id": 1, "seq": 3, "tokens": tokens, "action": "eat"}),
                "is `retry`",
            ),
            (
                json!({"op": "ack", "id": 1, "seq": 3, "tokens": [],
                       "append": {"appends": [{"stream": "s", "events": [{"type": "T", "data": 1}]}]}}),
                "name one",
            ),
        ];
        for (frame, why) in wrong {
            let (id, seq) = (frame["id"].clone(), frame.get("seq").cloned());
            socket.say(frame).await;
            let said = socket.hear().await.unwrap();
            assert_eq!((&said["frame"], &said["id"]), (&json!("error"), &id), "{said}");
            // The end of a channel has none: that of a group that is not there.
            let expected = if why == "create it first" { None } else { Some(seq.unwrap_or(Value::Null)) };
            assert_eq!(said.get("seq"), expected.as_ref(), "{said}");
            let detail = said["problem"]["detail"].as_str().unwrap();
            assert!(detail.contains(why), "{detail}");
        }
        let long = json!({"op": "ack", "id": 1, "seq": 4, "tokens": tokens, "x": "x".repeat(200_000)});
        socket.say(long).await;
        let said = socket.hear().await.unwrap();
        assert_eq!((&said["seq"], &said["problem"]["name"]), (&json!(4), &json!("too_large")));
        // The delivery stands, until the group goes.
        assert_eq!(client.group("mail").await.unwrap().in_flight, 1);
        client.delete_group("mail").await.unwrap();
        let last = socket.hear().await.unwrap();
        assert_eq!((&last["frame"], &last["id"]), (&json!("error"), &json!(1)));
        assert_eq!(last["problem"]["name"], "not_found", "{last}");
        socket.say(json!({"op": "close", "id": 3})).await;
        assert_eq!(socket.hear().await.unwrap(), json!({"id": 3, "frame": "closed"}));
    });
}

#[test]
fn who_may_not_consume_is_no_consumer_and_who_may_no_more_is_told() {
    let running = Running::guarded(Engine::in_memory());
    let (node, local) = (running.node(), Principal::local);
    let access = node.access(local(), "default").unwrap();
    access.set_group("mail", &GroupConfig::default()).unwrap();
    let append = |number: u64| {
        let event = EventData::json("Counted", &number).unwrap();
        let stream = format!("count-{number}");
        access.append(Append::to(stream).event(event)).unwrap().wait().unwrap();
    };
    append(0);
    let reader = node.create_token(&local(), "reader", Role::Reader, None).unwrap();
    let writer = node.create_token(&local(), "writer", Role::Writer, None).unwrap();
    running.runtime.block_on(async {
        let mut socket = Socket::open(&running).await;
        socket.say(json!({"op": "auth", "token": reader.token})).await;
        socket.say(json!({"op": "open", "id": 1, "channel": consumer("a")})).await;
        let refused = socket.hear().await.unwrap();
        assert_eq!(refused["problem"]["name"], "denied", "{refused}");
        let mut socket = Socket::open(&running).await;
        socket.say(json!({"op": "auth", "token": writer.token})).await;
        socket.say(json!({"op": "open", "id": 1, "channel": consumer("a"), "credit": 9})).await;
        let (tokens, _) = deliveries(&mut socket, 1).await;
        node.revoke_token(&local(), &writer.info.id).unwrap();
        socket.say(json!({"op": "ack", "id": 1, "seq": 1, "tokens": tokens})).await;
        let refused = socket.hear().await.unwrap();
        assert_eq!(refused["problem"]["name"], "unauthenticated", "{refused}");
        // The group has something more for it, and finds out.
        append(1);
        let nobody = json!("unauthenticated");
        while let Some(said) = socket.hear().await {
            if said["frame"] == "revoked" {
                assert_eq!((&said["id"], &said["problem"]["name"]), (&json!(1), &nobody));
                return;
            }
        }
        panic!("it is told that it may consume no more");
    });
}

#[test]
fn a_server_that_goes_counts_nothing_as_tried() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Engine::open(dir.path()).unwrap();
    let running = Running::over(open());
    let client = running.client();
    running.runtime.block_on(group_of(&client, 2));
    drop(client);
    // The client's side outlives the server's.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut socket = runtime.block_on(async {
        let mut socket = consuming(&running, "a", 2).await;
        let (tokens, _) = deliveries(&mut socket, 2).await;
        socket.say(json!({"op": "ack", "id": 1, "tokens": [tokens[0]]})).await;
        assert_eq!(socket.hear_of("answered").await["done"], 1);
        socket
    });
    let again = running.restart(&open);
    runtime.block_on(async {
        let last = socket.hear().await.unwrap();
        assert_eq!((&last["id"], &last["problem"]["name"]), (&json!(1), &json!("unavailable")));
        assert_eq!(socket.hear().await, None);
        let mut socket = consuming(&again, "b", 2).await;
        let (_, tried) = deliveries(&mut socket, 1).await;
        assert_eq!(tried[0].0, 1);
    });
}
